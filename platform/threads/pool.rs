//! The threads, what they share with the ring, and waiting for them.
//!
//! Whoever leaves an entry in the queue sees to help for it: wakes one idle thread, or starts one
//! more if none is idle and the bound allows. A thread that took an entry does the same for what is
//! still queued, before it executes. So a submit costs one wake-up however much it submits, the
//! pool grows only while entries are waiting, and no entry waits with an idle thread beside it:
//!
//! ```text
//!   submit(3 entries)   wakes A
//!   A takes 1, sees 2   wakes B     executes 1
//!   B takes 2, sees 1   starts C    executes 2
//!   C takes 3                       executes 3
//! ```
//!
//! Threads live as long as the ring. An idle one sleeps on a condition variable: it costs its stack
//! and no time.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::queues::{Queues, Worker};
use crate::polled::PolledOnes;
use crate::thread::{self, JoinHandle};
use crate::{Cqe, Direct, Doorbell, Errno, Polled, Sqe};

/// A system call needs little; what a debug build adds fits as well.
pub(super) const STACK: usize = 128 * 1024;

/// What the ring, its doorbell and the threads share.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Threads sleep here until there is an entry.
    work: Condvar,
    /// The ring's waiter sleeps here.
    news: Condvar,
    /// Descriptors that foreign loops poll in the place of waiting.
    polled: PolledOnes,
    /// Makes the system calls.
    pub(super) calls: Arc<dyn Direct>,
    /// How many threads there may be.
    threads_max: usize,
    /// Bytes of each one's stack.
    stack: usize,
}

struct State {
    queues: Queues,
    threads: Vec<(Worker, JoinHandle<()>)>,
    /// Threads that sleep, or were started and have not looked yet.
    idle: usize,
    /// Threads in [`Doorbell::wait`].
    waiters: usize,
    rung: bool,
    /// The ring has taken completions that nobody has reaped.
    taken: bool,
    /// The ring was dropped.
    gone: bool,
}

impl Pool {
    pub(super) fn new(calls: Arc<dyn Direct>, threads_max: usize, stack: usize) -> Pool {
        let state = State {
            queues: Queues::default(),
            threads: Vec::new(),
            idle: 0,
            waiters: 0,
            rung: false,
            taken: false,
            gone: false,
        };
        Pool {
            state: Mutex::new(state),
            work: Condvar::new(),
            news: Condvar::new(),
            polled: PolledOnes::default(),
            calls,
            threads_max,
            stack,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under it panics, but for an invariant of ours.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, sqe: Sqe) {
        self.lock().queues.push(sqe);
    }

    pub(super) fn unsubmitted(&self) -> usize {
        self.lock().queues.unsubmitted()
    }

    /// A completion of what was executed in place.
    pub(super) fn done_at_once(&self, cqe: Cqe) {
        let mut state = self.lock();
        state.queues.done_at_once(cqe);
        self.tell(&state);
    }

    pub(super) fn submit(self: &Arc<Self>) {
        let state = self.lock();
        let count = state.queues.unsubmitted();
        drop(self.submit_some(state, count));
    }

    fn submit_some<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        count: usize,
    ) -> MutexGuard<'a, State> {
        state.queues.submit(count);
        self.tell(&state);
        self.help(&mut state);
        if !state.threads.is_empty() {
            return state;
        }
        // Not one thread is to be had. Late, and not beside one another, but none is lost.
        while let Some(sqe) = state.queues.start(NOBODY) {
            drop(state);
            // SAFETY: the entry was pushed and is not reaped before `end`.
            let result = unsafe { self.calls.call(&sqe.op) };
            state = self.lock();
            state.queues.end(sqe.tag, result);
        }
        state
    }

    /// Wakes whoever waits for completions, if there are any.
    fn tell(&self, state: &State) {
        if !state.queues.has_done() {
            return;
        }
        if state.waiters > 0 {
            self.news.notify_all();
        }
        self.polled.raise();
    }

    /// Finds a thread for what is queued.
    fn help(self: &Arc<Self>, state: &mut State) {
        if !state.queues.has_queued() {
            return;
        }
        if state.idle > 0 {
            self.work.notify_one();
        } else if state.threads.len() < self.threads_max {
            let worker = Worker::try_from(state.threads.len()).expect("few threads");
            let (name, pool) = (format!("littoral-{worker}"), Arc::clone(self));
            // Refused (EAGAIN): those that are there do it, or whoever submits.
            if let Ok(thread) = thread::start(&name, Some(self.stack), move || pool.run(worker)) {
                state.threads.push((worker, thread));
                state.idle += 1;
            }
        }
    }

    /// A thread's life.
    fn run(self: &Arc<Self>, worker: Worker) {
        let mut state = self.lock();
        state.idle -= 1;
        while !state.gone {
            let Some(sqe) = state.queues.start(worker) else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            self.help(&mut state);
            drop(state);
            // SAFETY: the entry was pushed and is not reaped before `end`. If the ring is dropped
            // meanwhile, its memory is kept for ever, as the ring's page says.
            let result = unsafe { self.calls.call(&sqe.op) };
            state = self.lock();
            state.queues.end(sqe.tag, result);
            self.tell(&state);
        }
    }

    /// Moves what is done into `taken`, which is empty.
    pub(super) fn take(&self, taken: &mut VecDeque<Cqe>) {
        let mut state = self.lock();
        state.queues.take(taken);
        state.taken = !taken.is_empty();
    }

    pub(super) fn has_done(&self) -> bool {
        self.lock().queues.has_done()
    }

    /// How many threads there are.
    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.lock().threads.len()
    }

    #[cfg(test)]
    pub(super) fn has_queued(&self) -> bool {
        self.lock().queues.has_queued()
    }

    /// Ends the threads. Those in a system call end by themselves after it.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.queues.forget();
        let threads = core::mem::take(&mut state.threads);
        let (_, idle): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|(worker, _)| state.queues.is_running(*worker));
        drop(state);
        self.work.notify_all();
        self.news.notify_all();
        for (_, thread) in idle {
            // It has no panic to tell of but one of an invariant, which was told when it happened.
            let _ = thread.join();
        }
    }
}

/// The one that executes where there are no threads.
const NOBODY: Worker = Worker::MAX;

/// Waits for a pool.
pub(super) struct Bell(pub(super) Arc<Pool>);

impl Doorbell for Bell {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        let Bell(pool) = self;
        // A time past the clock's end is never.
        let deadline = timeout.map(|timeout| Instant::now().checked_add(timeout));
        let mut state = pool.submit_some(pool.lock(), unsubmitted as usize);
        while !(state.rung || state.taken || state.gone || state.queues.has_done()) {
            state.waiters += 1;
            state = match deadline.flatten() {
                None => pool.news.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let waited = pool.news.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waiters -= 1;
            if deadline.flatten().is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        state.rung = false;
        Ok(())
    }

    fn ring(&self) {
        let Bell(pool) = self;
        let mut state = pool.lock();
        state.rung = true;
        if state.waiters > 0 {
            pool.news.notify_all();
        }
        drop(state);
        pool.polled.raise();
    }

    fn ring_after(&self, time: Duration) {
        self.0.polled.raise_after(time);
    }

    fn polled(&self) -> Result<Arc<Polled>, Errno> {
        Ok(self.0.polled.add(Polled::new()?))
    }
}
