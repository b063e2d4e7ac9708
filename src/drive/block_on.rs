//! Waiting for results by stepping.

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};

use crate::{
    Completion, Error, ErrorKind, Interrupter, Io, Operation, Outcome, Result, Status, Wait,
};

/// Runs a future to its end, stepping `io` meanwhile.
///
/// The future may wait for other things too: its waker interrupts the step. Only `io` is stepped:
/// the completions of another driver are not moved by this. The outer result is that of the
/// waiting, `F::Output` that of the future.
///
/// # Errors
/// [`NeedsHost`](ErrorKind::NeedsHost) where waiting would be for something that only the browser's
/// own turn can do.
pub fn block_on<F: Future>(io: &(impl AsRef<dyn Io> + ?Sized), future: F) -> Result<F::Output> {
    let io = io.as_ref();
    let mut future = pin!(future);
    let woken = Arc::new(Woken {
        flag: AtomicBool::new(false),
        // In a browser nothing parks, and asking for the thread is not free.
        thread: io.limits().may_block.then(thread::current),
        interrupter: io.interrupter(),
    });
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        let seen = io.delivered();
        woken.flag.store(false, Ordering::Relaxed);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        while !woken.flag.load(Ordering::Acquire) {
            match io.step(seen, Wait::Forever).status {
                Status::Idle if woken.thread.is_some() => {
                    // What the future waits for is not ours.
                    if !woken.flag.load(Ordering::Acquire) {
                        thread::park();
                    }
                }
                Status::Idle | Status::NeedsHost if !woken.flag.load(Ordering::Acquire) => {
                    return Err(needs_host());
                }
                // Somebody's results: those of this future, if its waker was among them.
                _ => break,
            }
        }
    }
}

/// Waits for one operation, stepping `io` meanwhile.
///
/// # Errors
/// The operation's own, and [`NeedsHost`](ErrorKind::NeedsHost) where waiting would be for
/// something that only the browser's own turn can do; the operation then runs on, detached.
#[inline]
pub fn wait<T: Outcome>(
    io: &(impl AsRef<dyn Io> + ?Sized),
    mut completion: Completion<T>,
) -> Result<T> {
    if let Some(value) = completion.wait_alone() {
        // Nothing is left of it to be dropped.
        core::mem::forget(completion);
        return Ok(value);
    }
    wait_by_steps(io.as_ref(), completion)
}

fn wait_by_steps<T: Outcome>(io: &dyn Io, mut completion: Completion<T>) -> Result<T> {
    loop {
        let seen = io.delivered();
        if let Some(result) = completion.try_take() {
            return result;
        }
        match io.step(seen, Wait::Forever).status {
            Status::Idle => {
                let error = Error::new(ErrorKind::InvalidInput, Operation::Wait);
                return completion.try_take().unwrap_or_else(|| {
                    Err(error.because(
                        "the completion's result was taken already, or it is of another driver",
                    ))
                });
            }
            Status::NeedsHost => {
                let needs_host = completion.describe(needs_host());
                return completion.try_take().unwrap_or(Err(needs_host));
            }
            Status::Delivered | Status::Pending => {}
        }
    }
}

/// Runs `submit`, and starts what it submits together at its end: reads, writes, syncs and
/// truncates of this thread are planned as one, so that neighbours meet, and no part of them is
/// started by somebody else meanwhile. Gives what `submit` gives.
///
/// ```
/// use littoral::{Config, OpenOptions, batch, start, wait};
/// # fn main() -> littoral::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let io = start(Config::new().root(folder.path()))?;
/// let file = wait(&*io, io.open("pages", OpenOptions::new().create(true)))?;
/// // Each page has its completion, and the group that of all of them.
/// let mut all = io.group();
/// let pages = batch(&*io, || {
///     [0, 1, 2, 3].map(|page| file.pwrite(page * 4096, vec![1; 4096].into()))
/// });
/// pages.iter().for_each(|page| all.add(page));
/// wait(&*io, all.join())?;
/// assert!(pages.into_iter().all(|mut page| page.try_take().unwrap().is_ok()));
/// # Ok(())
/// # }
/// ```
pub fn batch<R>(io: &(impl AsRef<dyn Io> + ?Sized), submit: impl FnOnce() -> R) -> R {
    let (mut submit, mut given) = (Some(submit), None);
    io.as_ref().batch(&mut || given = submit.take().map(|submit| submit()));
    given.expect("a driver runs what it is given")
}

/// Waits until nothing is under way, whoever submitted it. Results are delivered on the way;
/// what is not taken stays to be taken. (Only the close of a dropped file may go on.)
///
/// # Errors
/// [`NeedsHost`](ErrorKind::NeedsHost) where what is under way is for the browser's own turn to do.
pub fn drain(io: &(impl AsRef<dyn Io> + ?Sized)) -> Result<()> {
    let io = io.as_ref();
    loop {
        match io.step(io.delivered(), Wait::Forever).status {
            Status::Idle => return Ok(()),
            Status::NeedsHost => return Err(needs_host()),
            Status::Delivered | Status::Pending => {}
        }
    }
}

fn needs_host() -> Error {
    Error::new(ErrorKind::NeedsHost, Operation::Wait)
}

/// Wakes a thread that steps, or is parked because there is nothing to step for.
struct Woken {
    flag: AtomicBool,
    thread: Option<Thread>,
    interrupter: Interrupter,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.flag.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(thread) = &self.thread else { return };
        // Results are told by a step, which the waiting thread notices by the delivery count; only
        // a waker that is called from elsewhere has to interrupt it.
        if thread.id() != thread::current().id() {
            self.interrupter.interrupt();
            thread.unpark();
        }
    }
}
