//! A ring over a disk in memory, on every target, whose only will is its seed.
//!
//! An entry is executed some time after `submit`: some at once, others when the ring is waited for
//! or reaped in vain, in shuffled order; and what was executed is reaped in another shuffled order.
//! So two overlapping writes in flight land either way round, as on a real device. Between two
//! completions nothing happens by itself: a run is a function of the seed and of the calls. Time
//! is part of it: it passes by what is done, on a [`VirtualClock`] that the driver goes by as well.
//!
//! Left alone this ring tells no lies: counts are whole, nothing is interrupted, refused or late,
//! and nothing fails. [`Faults`] change that, by rates; [`Faulty`](crate::Faulty) around it adds
//! what a test orders entry by entry. The [`Disk`] under it can be full, have sectors that are
//! bad, and lose its power.

mod contents;
#[cfg(test)]
mod crash_tests;
mod disk;
mod doors;
mod execute;
#[cfg(test)]
mod fault_tests;
mod faults;
mod locks;
mod namespace;
#[cfg(test)]
pub(crate) mod pump;
mod random;
mod stable;
#[cfg(test)]
mod tests;
mod time;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::lock::{Condvar, Mutex, MutexGuard};
use crate::{
    Clock, Cqe, Direct, Doorbell, Errno, Full, Geometry, GeometrySource, Limits, Op, Report, Ring,
    RwFlags, Setup, Sqe, Tag,
};

pub use disk::Disk;
pub use doors::{Control, Host};
use execute::Files;
use faults::Trouble;
pub use faults::{Failing, Faults};
pub use random::Permille;
pub(crate) use random::Random;
pub use time::VirtualClock;

/// Bytes of a page: the unit in which a file is sparse and the disk is full.
pub const PAGE: usize = 4096;

/// The largest size of a file, that of a Linux one.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// The largest size in a browser, where offsets are numbers: 2^53 - 1.
const OFFSET_MAX_HOSTED: u64 = (1 << 53) - 1;

/// Makes the seed's choices of latencies others than those of order.
const LATENCIES: u64 = 0x71_3e00;

/// How long it takes to look for completions in vain.
const LOOK: Duration = Duration::from_micros(10);

/// How a [`Simulated`] ring behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Decides every choice.
    pub seed: u64,
    /// How many of the entries are executed when `submit` takes them.
    pub prompt: Permille,
    /// Behaves as in a browser's worker: nothing waits, entries are executed at submit but for
    /// those on names, which take a turn of the [`Host`], and a file is open once only (`EBUSY`).
    pub hosted: bool,
    /// How long an operation takes at most, by the [`Disk::clock`].
    pub latency_max: Duration,
    /// What goes wrong.
    pub faults: Faults,
    /// [`Limits::spans_per_call`].
    pub spans_per_call: usize,
    /// [`Limits::bytes_per_call`].
    pub bytes_per_call: usize,
    /// [`Limits::write_call_cost`].
    pub write_call_cost: usize,
    /// [`Limits::read_call_cost`].
    pub read_call_cost: usize,
    /// [`Limits::lone_calls`]: off unless asked for, so that every entry passes by the ring.
    pub lone_calls: bool,
    /// What direct I/O asks for, and the ring insists on; `None` if there is none. A browser's
    /// worker has none.
    pub direct: Option<Geometry>,
    /// [`Limits::flags`].
    pub flags: RwFlags,
}

impl Default for Config {
    /// Linux's limits per call, and calls that cost as much as 64 KiB, so that adjacent entries
    /// are worth merging.
    fn default() -> Config {
        Config {
            seed: 0,
            prompt: Permille(500),
            hosted: false,
            latency_max: Duration::from_micros(100),
            faults: Faults::default(),
            spans_per_call: 1024,
            bytes_per_call: 0x7fff_f000,
            write_call_cost: 64 * 1024,
            read_call_cost: 64 * 1024,
            lone_calls: false,
            direct: Some(Geometry::uniform(512, GeometrySource::Simulated)),
            flags: RwFlags::all(),
        }
    }
}

impl Config {
    /// The default with this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Config {
        Config { seed, ..Config::default() }
    }

    /// As in a browser's worker, with this seed.
    #[must_use]
    pub fn hosted(seed: u64) -> Config {
        Config { hosted: true, ..Config::seeded(seed) }
    }
}

/// A ring over a [`Disk`]. Dropping it closes its handles and forgets what was not executed, as the
/// end of a process would.
pub struct Simulated {
    limits: Limits,
    config: Config,
    shared: Arc<Shared>,
}

/// What the ring, its doorbell and its direct calls share.
struct Shared {
    state: Mutex<State>,
    /// Told whenever a waiter may have something to do.
    news: Condvar,
}

struct State {
    random: Random,
    clock: VirtualClock,
    /// Draws how long things take, so that time changes nothing else.
    latencies: Random,
    /// In nanoseconds.
    latency_max: usize,
    prompt: Permille,
    hosted: bool,
    files: Files,
    /// Entries that lay in registered memory.
    fixed: u64,
    /// Pushed and not submitted, in order.
    pushed: VecDeque<Sqe>,
    /// Submitted and not executed.
    waiting: Vec<Sqe>,
    /// Submitted and left to the host's turns.
    names: Vec<Sqe>,
    /// Executed and not reaped.
    done: Vec<Cqe>,
    /// Executed, and to be reaped from that moment on.
    late: Vec<(u64, Cqe)>,
    trouble: Trouble,
    rung: bool,
    /// When the host is to give a turn in any case, by the clock.
    alarm: Option<u64>,
    /// What the host calls on its turn.
    turn: Option<Box<dyn Fn() + Send>>,
    /// The ring was dropped.
    gone: bool,
}

impl Simulated {
    /// A ring on `disk`, with names below `setup.root`.
    #[must_use]
    pub fn new(setup: &Setup, disk: Disk, config: Config) -> Simulated {
        let limits = Limits {
            in_flight: setup.in_flight.max(1),
            spans_per_call: config.spans_per_call,
            bytes_per_call: config.bytes_per_call,
            offset_max: if config.hosted { OFFSET_MAX_HOSTED } else { OFFSET_MAX },
            may_block: !config.hosted,
            executes_at_submit: config.hosted,
            one_handle_per_file: config.hosted,
            syncs_directories: !config.hosted,
            write_call_cost: config.write_call_cost,
            read_call_cost: config.read_call_cost,
            lone_calls: config.lone_calls && !config.hosted,
            flags: if config.hosted { RwFlags::empty() } else { config.flags },
        };
        let state = State {
            random: Random::new(config.seed),
            clock: disk.clock(),
            latencies: Random::new(config.seed ^ LATENCIES),
            latency_max: usize::try_from(config.latency_max.as_nanos()).unwrap_or(usize::MAX),
            prompt: if config.hosted { Permille::ALWAYS } else { config.prompt },
            hosted: config.hosted,
            files: Files::new(
                disk,
                setup.root.as_deref(),
                config.hosted,
                config.direct.filter(|_| !config.hosted),
            ),
            fixed: 0,
            pushed: VecDeque::new(),
            waiting: Vec::new(),
            names: Vec::new(),
            done: Vec::new(),
            late: Vec::new(),
            trouble: Trouble::new(config.seed, config.faults.clone()),
            rung: false,
            alarm: None,
            turn: None,
            gone: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new() });
        Simulated { limits, config, shared }
    }

    /// A way to change the faults while an engine owns the ring.
    #[must_use]
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// The host of a [`Config::hosted`] ring; that of another has nothing to do.
    #[must_use]
    pub fn host(&self) -> Host {
        Host(Arc::clone(&self.shared))
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // The doorbell may live on, and its `wait` executes entries: whose memory nobody keeps now.
        let mut state = self.shared.lock();
        state.pushed.clear();
        state.waiting.clear();
        state.names.clear();
        state.done.clear();
        state.late.clear();
        state.files.close_all();
        state.gone = true;
        let turn = state.turn.take();
        drop(state);
        // It is the engine's, and may come back here.
        drop(turn);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn in_flight(&self) -> usize {
        self.pushed.len()
            + self.waiting.len()
            + self.names.len()
            + self.done.len()
            + self.late.len()
    }

    fn is_alive(&self, tag: Tag) -> bool {
        let queued = |sqe: &Sqe| sqe.tag == tag;
        self.pushed.iter().any(queued)
            || self.waiting.iter().chain(&self.names).any(queued)
            || self.done.iter().chain(self.late.iter().map(|(_, cqe)| cqe)).any(|c| c.tag == tag)
    }

    /// Takes the first `count` entries in, and executes some of those that wait.
    fn submit(&mut self, count: usize) {
        for sqe in self.pushed.drain(..count) {
            let name = sqe.op.is_on_name();
            if name && self.hosted { &mut self.names } else { &mut self.waiting }.push(sqe);
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
            let sqe = self.waiting.swap_remove(self.random.below(self.waiting.len()));
            self.finish(sqe);
        }
    }

    /// Lets as much time pass as an operation takes.
    pub(super) fn take_time(&mut self) {
        if self.latency_max > 0 {
            let nanos = 1 + self.latencies.below(self.latency_max);
            self.clock.advance(Duration::from_nanos(nanos as u64));
        }
    }

    fn finish(&mut self, Sqe { tag, op, region: _ }: Sqe) {
        self.take_time();
        let result = match op {
            Op::Cancel { target } => self.cancel(target),
            // SAFETY: the entry was pushed and not reaped, so the promise of `push` holds.
            op => unsafe { self.trouble.execute(&mut self.files, &op, false) },
        };
        let cqe = Cqe { tag, result };
        match self.trouble.lateness() {
            Some(nanos) => {
                let due = self.clock.monotonic_nanos().saturating_add(nanos);
                self.late.push((due, cqe));
            }
            None => self.done.push(cqe),
        }
    }

    /// Where nobody can wait, somebody has to look again.
    fn ask_host(&mut self) {
        self.rung |= self.hosted;
    }

    fn stale(&mut self) -> Option<Cqe> {
        self.trouble.stale().filter(|cqe| !self.is_alive(cqe.tag))
    }

    /// Lets out what is late and has its time by now.
    fn let_out(&mut self) {
        let now = self.clock.monotonic_nanos();
        self.done.extend(self.late.extract_if(.., |(due, _)| *due <= now).map(|(_, cqe)| cqe));
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
        let find = |queue: &[Sqe]| queue.iter().position(|sqe| sqe.tag == target);
        if let Some(found) = find(&self.waiting) {
            self.waiting.swap_remove(found);
        } else if let Some(found) = find(&self.names) {
            self.names.remove(found);
        } else {
            return Err(Errno::NOENT);
        }
        self.done.push(Cqe { tag: target, result: Err(Errno::CANCELED) });
        Ok(0)
    }
}

// SAFETY: an accepted entry is in exactly one of `pushed`, `waiting` or `names`, and `late` or
// `done`, moves along them in this order, and leaves `done` by `reap` alone; its memory is touched
// on the way out of the first three. Each `submit`, wait and vain `reap` moves some, each of the
// host's turns some `names`, and the clock, which each vain `reap` moves on, what is late. Counts
// are those of bytes copied. (`Faults::stale` breaks the promise that a tag comes once, on purpose
// and by the caller's wish; it still comes once from here, the others have nothing behind them.)
unsafe impl Ring for Simulated {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        let mut state = self.shared.lock();
        let in_flight = state.in_flight();
        if in_flight >= self.limits.in_flight as usize {
            return Err(Full);
        }
        // Never where nothing is on its way: whoever was refused then had nothing to wait for.
        let refuse = state.trouble.faults.refuse;
        if in_flight > 0 && state.trouble.is_unhelpful(refuse) {
            state.ask_host();
            return Err(Full);
        }
        // SAFETY: the caller's promise.
        let fixed = unsafe { state.files.take_in(sqe) };
        state.fixed += u64::from(fixed);
        state.pushed.push_back(*sqe);
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Errno> {
        let mut state = self.shared.lock();
        let count = state.pushed.len();
        if count > 0
            && let Some(code) = state.trouble.refusal()
        {
            state.ask_host();
            return Err(code);
        }
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
        state.let_out();
        if state.done.is_empty() && !state.waiting.is_empty() {
            // Who only polls must get on too: some are executed now, to be found now or next time.
            state.execute_some();
            if state.random.chance(Permille(500)) {
                return None;
            }
        }
        if state.done.is_empty() {
            // Looking in vain takes time as well: who only polls is to see deadlines pass.
            state.clock.advance(LOOK);
            if !state.late.is_empty() {
                state.ask_host();
            }
            return None;
        }
        if let Some(cqe) = state.stale() {
            return Some(cqe);
        }
        let len = state.done.len();
        let any = state.random.below(len);
        let cqe = state.done.swap_remove(any);
        state.trouble.reaped(cqe.tag);
        Some(cqe)
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::clone(&self.shared) as Arc<dyn Doorbell>
    }

    fn direct(&self) -> Arc<dyn Direct> {
        Arc::clone(&self.shared) as Arc<dyn Direct>
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.shared.lock().clock.clone())
    }

    fn on_turn(&mut self, turn: Box<dyn Fn() + Send>) {
        let earlier = self.shared.lock().turn.replace(turn);
        drop(earlier);
    }

    fn fixed(&self) -> u64 {
        self.shared.lock().fixed
    }

    fn report(&self) -> Report {
        let mut chosen = vec![format!("seed {:#x}", self.config.seed)];
        if self.config.hosted {
            chosen.push("hosted".to_owned());
        }
        Report { backend: "simulated", chosen, refused: Vec::new() }
    }
}
