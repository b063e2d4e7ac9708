//! Does a thread that waits in the kernel keep others from getting on, and does it wake in time?
//!
//! The thread waits for a read of a pipe into which nobody writes before the test says so.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use littoral::{
    Buffer, Completion, File, Io, OpenOptions, Result, Status, SyncKind, Wait, block_on, wait,
};

/// Far more than anything here takes, far less than for ever.
const PROMPT: Duration = Duration::from_secs(5);

fn read_from_pipe(io: &Arc<dyn Io>, folder: &Path, name: &str) -> Completion<Buffer> {
    support::pipe(folder, name);
    support::open(&**io, name).pread(0, Buffer::with_capacity(4))
}

fn write_into_pipe(folder: &Path, name: &str) {
    fs::OpenOptions::new()
        .write(true)
        .open(folder.join(name))
        .and_then(|mut pipe| std::io::Write::write_all(&mut pipe, b"ping"))
        .expect("the driver has the pipe open, so it takes bytes");
}

/// A thread that waits for a read of a pipe, and surely sleeps in the kernel.
fn waiter(io: &Arc<dyn Io>, folder: &Path, name: &str) -> JoinHandle<Result<Buffer>> {
    let read = read_from_pipe(io, folder, name);
    let (io, about_to) = (Arc::clone(io), Arc::new(Barrier::new(2)));
    let there = Arc::clone(&about_to);
    let thread = thread::spawn(move || {
        there.wait();
        wait(&*io, read)
    });
    about_to.wait();
    thread::sleep(Duration::from_millis(30));
    thread
}

fn in_time<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = act();
    let took = start.elapsed();
    assert!(took < PROMPT, "{what}: {took:?}");
    value
}

#[test]
fn operations_of_all_kinds_start_while_another_thread_waits() {
    support::within(60, "all kinds", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let waiting = waiter(&io, folder.path(), "pipe");
        let all_kinds = |round: u64| -> Result<()> {
            let name = format!("file-{round}");
            let file = wait(&*io, io.open(&name, OpenOptions::new().create(true)))?;
            wait(&*io, file.pwrite(0, vec![7; 10_000].into()))?;
            wait(&*io, file.truncate(5000))?;
            assert_eq!(wait(&*io, file.size())?, 5000);
            let read = wait(&*io, file.pread(4000, Buffer::with_capacity(4000)))?;
            assert_eq!(&read[..], [7; 1000]);
            wait(&*io, file.sync(SyncKind::Data))?;
            wait(&*io, file.close())?;
            wait(&*io, io.remove(&name))?;
            wait(&*io, io.room(1))
        };
        for round in 0..50 {
            in_time("a round of operations", || all_kinds(round)).expect("nothing fails");
        }
        assert!(!waiting.is_finished(), "it waits for the pipe");
        write_into_pipe(folder.path(), "pipe");
        let read = waiting.join().expect("no panic").expect("a read");
        assert_eq!(&read[..], b"ping");
    });
}

/// Nobody but the thread that waits makes progress: what others submit starts all the same, and its
/// results are delivered by that thread.
#[test]
fn who_waits_delivers_what_others_submit() {
    support::within(60, "callbacks", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let file = support::open(&*io, "file");
        let waiting = waiter(&io, folder.path(), "pipe");
        let (told, answers) = mpsc::channel();
        let mut outstanding = 0;
        for round in 0..500_u32 {
            let told = told.clone();
            let at = u64::from(round) * 4;
            file.pwrite(at, round.to_le_bytes().to_vec().into())
                .on_finish(move |result| told.send((round, result)).expect("the test listens"));
            outstanding += 1;
            if round % 3 == 0 {
                continue; // Two are in flight together.
            }
            for _ in 0..core::mem::take(&mut outstanding) {
                let (_, result) = answers.recv_timeout(PROMPT).expect("it is delivered");
                result.expect("it is written");
            }
        }
        // A refusal is told by the next step, which the waiting thread has to take for it.
        let told_refused = told.clone();
        io.open("../outside", OpenOptions::new())
            .on_finish(move |result| told_refused.send((0, result.map(drop))).expect("it listens"));
        let (_, refused) = answers.recv_timeout(PROMPT).expect("it is told");
        assert_eq!(support::kind(refused), Err(littoral::ErrorKind::InvalidInput));
        assert!(!waiting.is_finished(), "it waits for the pipe");
        write_into_pipe(folder.path(), "pipe");
        waiting.join().expect("no panic").expect("a read");
    });
}

#[test]
fn a_cancel_reaches_what_another_thread_waits_for() {
    support::within(60, "cancel", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let reads: Vec<_> =
            (0..20).map(|n| read_from_pipe(&io, folder.path(), &format!("pipe-{n}"))).collect();
        let held = Arc::new(reads);
        let asks = Arc::clone(&held);
        let cancelling = thread::spawn(move || {
            for read in asks.iter() {
                thread::sleep(Duration::from_millis(5));
                read.cancel();
            }
        });
        // Only steps, until nothing is in flight.
        while io.step(io.delivered(), Wait::For(PROMPT)).status == Status::Delivered {
            if io.statistics().in_flight == 0 {
                break;
            }
        }
        cancelling.join().expect("no panic");
        let reads = Arc::into_inner(held).expect("the other thread is over");
        for read in reads {
            let ended = wait(&*io, read);
            assert_eq!(support::kind(ended).map(drop), Err(littoral::ErrorKind::Cancelled));
        }
    });
}

#[test]
fn an_interrupt_ends_a_wait() {
    support::within(60, "interrupt", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let read = read_from_pipe(&io, folder.path(), "pipe");
        let (stop, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let begun = Arc::new(Barrier::new(5));
        let mut threads = Vec::new();
        // One of them waits for the ring, the others for that one.
        for _ in 0..4 {
            let (io, stop, steps) = (Arc::clone(&io), Arc::clone(&stop), Arc::clone(&steps));
            let begun = Arc::clone(&begun);
            threads.push(thread::spawn(move || {
                // What is interrupted is a step from a count before it, waiting already or not.
                let mut seen = io.delivered();
                begun.wait();
                while !stop.load(Ordering::SeqCst) {
                    io.step(seen, Wait::Forever);
                    steps.fetch_add(1, Ordering::SeqCst);
                    seen = io.delivered();
                }
            }));
        }
        begun.wait();
        for round in 0..2000 {
            let before = steps.load(Ordering::SeqCst);
            io.interrupt();
            let start = Instant::now();
            while steps.load(Ordering::SeqCst) == before {
                assert!(start.elapsed() < PROMPT, "no thread returned from its step ({round})");
                std::hint::spin_loop();
            }
            if round % 100 == 0 {
                thread::sleep(Duration::from_millis(1)); // All of them sleep again.
            }
        }
        stop.store(true, Ordering::SeqCst);
        io.interrupt();
        in_time("all return", || threads.into_iter().for_each(|t| t.join().expect("no panic")));
        read.cancel();
        assert!(wait(&*io, read).is_err());
    });
}

/// Threads that wait each for its own pipe wake in the order of the pipes, not of the threads, and
/// whichever of them leads.
#[test]
fn every_waiting_thread_wakes_for_its_own_result() {
    support::within(60, "followers", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
            let names: Vec<_> = (0..5).map(|n| format!("pipe-{}-{n}", order[0])).collect();
            let mut waiting: Vec<_> =
                names.iter().map(|name| Some(waiter(&io, folder.path(), name))).collect();
            for next in order {
                assert!(waiting.iter().flatten().all(|thread| !thread.is_finished()));
                write_into_pipe(folder.path(), &names[next]);
                let thread = waiting[next].take().expect("each is written to once");
                let read = in_time("its pipe was written to", || thread.join());
                assert_eq!(&read.expect("no panic").expect("a read")[..], b"ping");
            }
        }
    });
}

#[test]
fn a_step_for_a_time_returns_after_it() {
    support::within(60, "a time", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let read = read_from_pipe(&io, folder.path(), "pipe");
        let time = Duration::from_millis(40);
        let alone = |io: &dyn Io| {
            let start = Instant::now();
            let mut status = io.step(io.delivered(), Wait::For(time)).status;
            while status == Status::Delivered {
                status = io.step(io.delivered(), Wait::For(time)).status;
            }
            assert_eq!(status, Status::Pending);
            let took = start.elapsed();
            assert!(time <= took && took < PROMPT, "{took:?}");
        };
        alone(&*io);
        // Also where another thread waits for the ring, and this one for that.
        let other = {
            let io = Arc::clone(&io);
            thread::spawn(move || wait(&*io, read))
        };
        thread::sleep(time);
        alone(&*io);
        write_into_pipe(folder.path(), "pipe");
        other.join().expect("no panic").expect("a read");
        assert_eq!(io.step(io.delivered(), Wait::Forever).status, Status::Idle);
    });
}

/// A future that waits for something else than I/O is woken while its thread waits in the kernel.
#[test]
fn a_foreign_waker_ends_the_wait() {
    struct Elsewhere(mpsc::Receiver<()>, Option<mpsc::Sender<std::task::Waker>>);
    impl Future for Elsewhere {
        type Output = ();
        fn poll(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            if self.0.try_recv().is_ok() {
                return std::task::Poll::Ready(());
            }
            if let Some(to) = self.1.take() {
                to.send(context.waker().clone()).expect("the other thread listens");
            }
            std::task::Poll::Pending
        }
    }
    support::within(60, "a foreign waker", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let read = read_from_pipe(&io, folder.path(), "pipe");
        for round in 0..200 {
            let ((say, heard), (give, waker)) = (mpsc::channel(), mpsc::channel());
            let other = thread::spawn(move || {
                let waker: std::task::Waker = waker.recv().expect("it waits");
                if round % 10 == 0 {
                    thread::sleep(Duration::from_millis(3));
                }
                say.send(()).expect("it waits");
                waker.wake();
            });
            in_time("woken", || block_on(&io, Elsewhere(heard, Some(give)))).expect("it may wait");
            other.join().expect("no panic");
        }
        drop(read);
    });
}

#[test]
fn files_may_be_used_while_another_thread_waits_at_a_closed_door() {
    // A name that is being opened by one thread is waited for by `open_now` of another, while a
    // third sleeps in the kernel.
    support::within(60, "open_now", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let waiting = waiter(&io, folder.path(), "pipe");
        let opened: Vec<Arc<dyn File>> = (0..100)
            .map(|round| {
                let options = OpenOptions::new().create(true);
                let name = format!("file-{}", round % 7);
                let opening = io.open(&name, options);
                let now = in_time("it opens now", || io.open_now(&name, options));
                drop(opening);
                now.expect("it opens")
            })
            .collect();
        drop(opened);
        assert!(!waiting.is_finished(), "it waits for the pipe");
        write_into_pipe(folder.path(), "pipe");
        waiting.join().expect("no panic").expect("a read");
    });
}
