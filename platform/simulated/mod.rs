//! A ring over a disk in memory, on every target, whose only will is its seed.
//!
//! An entry is executed some time after `submit`: some at once, others when the ring is waited for
//! or reaped in vain, in shuffled order; and what was executed is reaped in another shuffled order.
//! So two overlapping writes in flight land either way round, as on a real device. Between two
//! completions nothing happens by itself: a run is a function of the seed and of the calls.
//!
//! This ring tells no lies: counts are whole and nothing is interrupted or refused without reason.
//! [`Faulty`](crate::Faulty) around it adds those.

mod disk;
mod execute;
#[cfg(test)]
pub(crate) mod pump;
mod random;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Cqe, Direct, Doorbell, Errno, Full, Limits, Op, Report, Ring, Setup, Sqe, Tag};

pub use disk::{Disk, PAGE};
use execute::Files;
pub use random::Permille;
pub(crate) use random::Random;

/// The largest size of a file, that of a Linux one.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// How a [`Simulated`] ring behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Decides every choice.
    pub seed: u64,
    /// How many of the entries are executed when `submit` takes them.
    pub prompt: Permille,
    /// [`Limits::spans_per_call`].
    pub spans_per_call: usize,
    /// [`Limits::bytes_per_call`].
    pub bytes_per_call: usize,
    /// [`Limits::write_call_cost`].
    pub write_call_cost: usize,
    /// [`Limits::read_call_cost`].
    pub read_call_cost: usize,
}

impl Default for Config {
    /// Linux's limits per call, and calls that cost as much as 64 KiB, so that adjacent entries
    /// are worth merging.
    fn default() -> Config {
        Config {
            seed: 0,
            prompt: Permille(500),
            spans_per_call: 1024,
            bytes_per_call: 0x7fff_f000,
            write_call_cost: 64 * 1024,
            read_call_cost: 64 * 1024,
        }
    }
}

impl Config {
    /// The default with this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Config {
        Config { seed, ..Config::default() }
    }
}

/// A ring over a [`Disk`]. Dropping it closes its handles and forgets what was not executed, as the
/// end of a process would.
#[derive(Debug)]
pub struct Simulated {
    limits: Limits,
    config: Config,
    shared: Arc<Shared>,
}

/// What the ring, its doorbell and its direct calls share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever a waiter may have something to do.
    news: Condvar,
}

#[derive(Debug)]
struct State {
    random: Random,
    prompt: Permille,
    files: Files,
    /// Pushed and not submitted, in order.
    pushed: VecDeque<Sqe>,
    /// Submitted and not executed.
    waiting: Vec<Sqe>,
    /// Executed and not reaped.
    done: Vec<Cqe>,
    rung: bool,
}

impl Simulated {
    /// A ring on `disk`, with names below `setup.root`.
    #[must_use]
    pub fn new(setup: &Setup, disk: Disk, config: Config) -> Simulated {
        let limits = Limits {
            in_flight: setup.in_flight.max(1),
            spans_per_call: config.spans_per_call,
            bytes_per_call: config.bytes_per_call,
            offset_max: OFFSET_MAX,
            may_block: true,
            executes_at_submit: false,
            one_handle_per_file: false,
            write_call_cost: config.write_call_cost,
            read_call_cost: config.read_call_cost,
        };
        let state = State {
            random: Random::new(config.seed),
            prompt: config.prompt,
            files: Files::new(disk, setup.root.as_deref()),
            pushed: VecDeque::new(),
            waiting: Vec::new(),
            done: Vec::new(),
            rung: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new() });
        Simulated { limits, config, shared }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // The doorbell may live on, and its `wait` executes entries: whose memory nobody keeps now.
        let mut state = self.shared.lock();
        state.pushed.clear();
        state.waiting.clear();
        state.done.clear();
        state.files.close_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn in_flight(&self) -> usize {
        self.pushed.len() + self.waiting.len() + self.done.len()
    }

    /// Takes the first `count` entries in, and executes some of those that wait.
    fn submit(&mut self, count: usize) {
        for sqe in self.pushed.drain(..count) {
            self.waiting.push(sqe);
        }
        let prompt = (0..count).filter(|_| self.random.chance(self.prompt)).count();
        self.execute(prompt);
    }

    /// Executes up to `count` of the entries that wait, any of them.
    fn execute(&mut self, count: usize) {
        for _ in 0..count {
            if self.waiting.is_empty() {
                return;
            }
            let Sqe { tag, op } = self.waiting.swap_remove(self.random.below(self.waiting.len()));
            let result = match op {
                Op::Cancel { target } => self.cancel(target),
                // SAFETY: the entry was pushed and not reaped, so the promise of `push` holds.
                op => unsafe { self.files.execute(&op) },
            };
            self.done.push(Cqe { tag, result });
        }
    }

    /// Executes at least one of the entries that wait, if any do.
    fn execute_some(&mut self) {
        if !self.waiting.is_empty() {
            let count = 1 + self.random.below(self.waiting.len());
            self.execute(count);
        }
    }

    /// Ends `target` if it still waits; an executed one is not found, as with a kernel.
    fn cancel(&mut self, target: Tag) -> Result<u64, Errno> {
        let found = self.waiting.iter().position(|sqe| sqe.tag == target).ok_or(Errno::NOENT)?;
        self.waiting.swap_remove(found);
        self.done.push(Cqe { tag: target, result: Err(Errno::CANCELED) });
        Ok(0)
    }
}

// SAFETY: an accepted entry is in exactly one of `pushed`, `waiting` and `done`, moves along them
// in this order, and leaves `done` by `reap` alone; its memory is touched on the way from `waiting`
// to `done`. Each `submit`, wait and vain `reap` moves some. Counts are those of bytes copied.
unsafe impl Ring for Simulated {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        let mut state = self.shared.lock();
        if state.in_flight() >= self.limits.in_flight as usize {
            return Err(Full);
        }
        state.pushed.push_back(*sqe);
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Errno> {
        let mut state = self.shared.lock();
        let count = state.pushed.len();
        state.submit(count);
        drop(state);
        self.shared.news.notify_all();
        Ok(())
    }

    fn unsubmitted(&self) -> u32 {
        u32::try_from(self.shared.lock().pushed.len()).expect("at most `in_flight` are pushed")
    }

    fn reap(&mut self) -> Option<Cqe> {
        let mut state = self.shared.lock();
        if state.done.is_empty() && !state.waiting.is_empty() {
            // Who only polls must get on too: some are executed now, to be found now or next time.
            state.execute_some();
            if state.random.chance(Permille(500)) {
                return None;
            }
        }
        if state.done.is_empty() {
            return None;
        }
        let len = state.done.len();
        let any = state.random.below(len);
        Some(state.done.swap_remove(any))
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::clone(&self.shared) as Arc<dyn Doorbell>
    }

    fn direct(&self) -> Arc<dyn Direct> {
        Arc::clone(&self.shared) as Arc<dyn Direct>
    }

    fn report(&self) -> Report {
        Report {
            backend: "simulated",
            chosen: vec![format!("seed {:#x}", self.config.seed)],
            refused: Vec::new(),
        }
    }
}

impl Doorbell for Shared {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        let mut state = self.lock();
        let count = state.pushed.len().min(unsubmitted as usize);
        state.submit(count);
        if state.done.is_empty() && state.waiting.is_empty() && !state.rung {
            state = self.sleep(state, timeout);
        }
        state.rung = false;
        if state.done.is_empty() {
            state.execute_some();
        }
        if !state.done.is_empty() {
            self.news.notify_all();
        }
        Ok(())
    }

    fn ring(&self) {
        self.lock().rung = true;
        self.news.notify_all();
    }
}

impl Shared {
    /// Waits for news, once: returning early is allowed, and `submit` and `ring` both bring some.
    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        if cfg!(target_family = "wasm") {
            // One thread: nobody could bring news.
            return state;
        }
        match timeout {
            Some(timeout) => {
                let waited = self.news.wait_timeout(state, timeout);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Direct for Shared {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        let mut state = self.lock();
        match *op {
            Op::Cancel { target } => {
                let result = state.cancel(target);
                drop(state);
                self.news.notify_all();
                result
            }
            // SAFETY: the caller's promise.
            ref op => unsafe { state.files.execute(op) },
        }
    }
}
