//! The engine: everything that gives I/O its meaning, above any ring.
//!
//! An operation is a slot in a table. It passes through: the name or the file's barrier it may have
//! to wait for (`names`, `barrier`), the queue (`overflow`), where neighbours join it (`merge`),
//! the ring (`push`), the answers to its entries (`reap`), its end (`state`), and the next `step`,
//! which publishes its result. Cancelling may take it out at any point (`cancel`), and so does the
//! end of the driver (`drain`).
//!
//! One lock guards all of it. Under that lock only our own code runs: what belongs to the user
//! (wakers, callbacks, owners of buffers, results) is moved out and dropped or called after it.

mod apart;
mod barrier;
mod batch;
mod cancel;
mod direct;
mod drain;
mod events;
mod files;
mod flush;
mod fork;
mod group;
mod held;
mod intent;
mod locking;
mod locks;
mod lone;
mod lost;
mod merge;
mod names;
mod now;
mod ordered;
mod overflow;
mod poison;
mod policy;
mod polled;
mod push;
mod reap;
mod registered;
mod sharing;
mod space;
mod state;
mod step;
mod straight;
mod submit;
mod table;
mod thread;
mod writev;

use core::task::Waker;
use core::time::Duration;
use std::sync::{Arc, PoisonError};

use littoral_platform::lock::atomic::{AtomicU64, Ordering};
use littoral_platform::lock::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use littoral_platform::{AnyRing, Clock, Direct, Doorbell, Limits, Report, Ring};

pub(crate) use events::tell_start_failed;
use events::{Event, Teller};
pub(crate) use held::{Held, Naming, Opened, Value};
use intent::with_intents;
pub(crate) use registered::Registered;
pub(crate) use state::handle_closed;
pub(crate) use table::{Callback, Key};

use crate::{Config, Error, ErrorKind, Operation, Statistics};
use state::{Delivery, Leftover, State};
use step::nanos;
use table::Notify;

/// The engine of one driver. Files and completions keep it, but it works only as long as the driver
/// does.
pub(crate) struct Core {
    state: Mutex<State>,
    /// Where threads wait for the one that waits for the ring.
    followers: Condvar,
    /// The delivery count, to be read without the lock.
    delivered: AtomicU64,
    /// What is used without the lock. Gone with the driver, so that files and completions which
    /// outlive it do not keep the ring's memory and descriptors.
    platform: RwLock<Option<Platform>>,
    /// The ring's: a simulated one decides what is too late.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) report: Report,
    teller: Teller,
}

struct Platform {
    doorbell: Arc<dyn Doorbell>,
    direct: Arc<dyn Direct>,
}

impl Core {
    pub(crate) fn new(ring: Box<dyn Ring>, config: Config) -> Arc<Core> {
        let mut ring = AnyRing::from(ring);
        let report = with_files(&mut ring, &config);
        let report = with_intents(with_locks(report, &config), ring.limits());
        let teller = Teller::new(&report, config.locks);
        let core = Arc::new(Core {
            followers: Condvar::new(),
            delivered: AtomicU64::new(0),
            platform: RwLock::new(Some(Platform {
                doorbell: ring.doorbell(),
                direct: ring.direct(),
            })),
            clock: ring.clock(),
            limits: *ring.limits(),
            report,
            teller,
            state: Mutex::new(State {
                salt: ring.clock().wall_nanos(),
                ..State::new(ring, config)
            }),
        });
        let host_turn = Arc::downgrade(&core);
        let turn = move || {
            if let Some(core) = host_turn.upgrade() {
                core.host_turn();
            }
        };
        if let Some(ring) = &mut core.lock().ring {
            ring.on_turn(Box::new(turn));
        }
        fork::watch(&core);
        core
    }

    /// Takes the lock. What is not settled is nobody's business but `straight`'s.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.unsettled > 0 || state.lone.is_some() {
            state.settle();
        }
        state
    }

    fn platform(&self) -> RwLockReadGuard<'_, Option<Platform>> {
        self.platform.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_bell(&self) {
        if let Some(platform) = &*self.platform() {
            platform.doorbell.ring();
        }
    }

    fn ring_bell_after(&self, time: Duration) {
        if let Some(platform) = &*self.platform() {
            platform.doorbell.ring_after(time);
        }
    }

    /// Every way out of the lock but `step`'s: sees to it that what was queued is started and what
    /// ended is noticed, then drops what may be the user's.
    fn leave(&self, mut state: MutexGuard<'_, State>) {
        let mut ring_bell = false;
        if state.leader {
            // A thread waits in the kernel: what is new is started here and now.
            state.pump();
            state.submit();
            ring_bell = state.rings_bell || !state.ended.is_empty() || state.must_not_rest();
        } else if !state.limits.may_block {
            ring_bell = !state.turn_asked && state.has_business();
            state.turn_asked |= ring_bell;
        } else if state.calling || state.queue.has_urgent() {
            // Whoever waits in a call of his own starts nothing, and closes and cancels do not wait
            // for somebody to step.
            state.pump();
            state.submit();
        }
        let news = core::mem::take(&mut state.rings_bell)
            || !(state.ended.is_empty() && state.deliveries.is_empty());
        // Where nobody leads, a follower has to take the lead for what is new.
        let leaderless = !state.leader && (state.in_flight > 0 || state.is_anything_queued());
        let wake = state.followers > 0 && (news || leaderless);
        let raise = wake && state.is_for_polled(news);
        let mut leftovers = state.take_leftovers();
        let alarm = state.alarm();
        let events = state.events.take();
        drop(state);
        if ring_bell {
            self.ring_bell();
        }
        if let Some(time) = alarm {
            self.ring_bell_after(time);
        }
        if wake {
            self.followers.notify_all();
        }
        if raise && !ring_bell {
            self.ring_bell();
        }
        if !leftovers.is_empty() {
            leftovers.clear();
            self.return_leftovers(leftovers);
        }
        self.teller.tell(&events);
    }

    /// Gives the emptied list back, so that it is allocated once.
    fn return_leftovers(&self, emptied: Vec<Leftover>) {
        let mut state = self.lock();
        if state.leftovers.capacity() < emptied.capacity() && state.leftovers.is_empty() {
            state.leftovers = emptied;
        }
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let state = self.lock();
        let unsubmitted = state.unsubmitted().min(state.in_flight);
        let in_flight = u64::from(state.in_flight - unsubmitted);
        let alive = u64::from(state.alive);
        let queued = (state.queue.len() + state.batches.len()) as u64 + u64::from(unsubmitted);
        let registered = state.registry.bytes;
        let fixed = state.ring.as_ref().map_or(state.statistics.fixed, Ring::fixed);
        Statistics { alive, in_flight, queued, registered, fixed, ..state.statistics }
    }

    /// What the platform chose and refused, memory and intents included.
    pub(crate) fn capabilities(&self) -> Report {
        let mut report = self.report.clone();
        let state = self.lock();
        let refused = state.registry.refused;
        report.refused.extend(state.refused_intents());
        drop(state);
        if let Some((bytes, code)) = refused {
            report.refused.push((format!("registering {bytes} bytes of arenas"), code));
        }
        report
    }

    // For `Completion`.

    pub(crate) fn count_refusal(&self, error: &Error) {
        let mut state = self.lock();
        state.statistics.refused += 1;
        state.events.note(|| Event::Refused(error.clone()));
        self.leave(state);
    }

    /// A change of a file was refused for want of room, for its arguments or a lost flush, which a
    /// sync must not hide if nobody looks. Answers what to tell [`Core::refusal_seen`] with.
    pub(crate) fn remember_refusal(&self, opened: &Opened, error: &Error) -> Option<(u32, u64)> {
        use Operation::{PunchHole, Pwrite, Pwritev, Truncate, ZeroRange};
        let changes =
            matches!(error.operation(), PunchHole | Pwrite | Pwritev | Truncate | ZeroRange);
        let kinds = [ErrorKind::Saturated, ErrorKind::InvalidInput, ErrorKind::SyncLost];
        if !changes || !kinds.contains(&error.kind()) {
            return None;
        }
        let mut state = self.lock();
        if state.refusal_on(opened, error.operation()).is_some() {
            return None;
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.files.get(opened.file).failures.add(sequence, error.clone());
        Some((opened.file, sequence))
    }

    /// Somebody took the error of a refused operation, or dropped it unseen.
    pub(crate) fn refusal_seen(&self, (file, sequence): (u32, u64), taken: bool) {
        let mut state = self.lock();
        if !taken && state.has_a_teller((file, sequence)) {
            return;
        }
        // The file may be gone, and another one in its place: then this finds nothing.
        let Some(entry) = state.files.try_get(file) else { return };
        if taken {
            entry.failures.take(sequence);
        } else if let Some(error) = entry.failures.lose(sequence) {
            state.events.note(|| Event::Lost(error));
        }
        self.leave(state);
    }

    /// The result, if it was published.
    pub(crate) fn try_take(&self, key: Key) -> Option<Result<Value, Error>> {
        let mut state = self.lock();
        let slot = state.slots.find(key)?;
        if !slot.is_published() {
            return None;
        }
        Some(self.take_with(state, key))
    }

    /// The result, which was published.
    fn take_with(&self, mut state: MutexGuard<'_, State>, key: Key) -> Result<Value, Error> {
        let outcome = state.take(key.slot);
        self.leave(state);
        outcome
    }

    /// The result, or `waker` is woken when it is there. For one who has just found none.
    pub(crate) fn poll(&self, key: Key, waker: &Waker) -> Option<Result<Value, Error>> {
        let waker = match self.wake_alone(key, waker.clone()) {
            Ok(()) => return None,
            Err(waker) => waker,
        };
        let mut state = self.lock();
        let slot = state.slots.find(key)?;
        let unused = if slot.is_published() {
            waker
        } else {
            match core::mem::replace(&mut slot.notify, Notify::Wake(waker)) {
                Notify::Wake(previous) => {
                    drop(state);
                    drop(previous);
                    return None;
                }
                _ => return None,
            }
        };
        let outcome = state.take(key.slot);
        self.leave(state);
        drop(unused);
        Some(outcome)
    }

    /// Calls back when the result is there: from the next `step` if it is there already.
    pub(crate) fn on_finish(self: &Arc<Self>, key: Key, callback: Callback) {
        let mut state = self.lock();
        state.off_the_road(key);
        let Some(slot) = state.slots.find(key) else { return };
        if slot.is_published() {
            let outcome = state.take(key.slot);
            self.call_later(state, callback, outcome);
            return;
        }
        let replaced = core::mem::replace(&mut slot.notify, Notify::Call(callback));
        state.leftovers.push(Leftover::Notify(replaced));
        self.leave(state);
    }

    /// Calls back from the next `step`, or at once when there is no driver to step.
    pub(crate) fn call_back(self: &Arc<Self>, callback: Callback, outcome: Result<Value, Error>) {
        self.call_later(self.lock(), callback, outcome);
    }

    fn call_later(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        callback: Callback,
        outcome: Result<Value, Error>,
    ) {
        if state.ring.is_none() {
            drop(state);
            callback(outcome, self);
            return;
        }
        state.deliveries.push_back(Delivery::Call(callback, outcome));
        state.rings_bell = true;
        self.leave(state);
    }

    /// Nobody wants the result any more.
    pub(crate) fn detach(&self, key: Key) {
        let mut state = self.lock();
        state.off_the_road(key);
        let Some(slot) = state.slots.find(key) else { return };
        if slot.is_published() {
            state.free(key.slot);
        } else {
            slot.detached = true;
            let notify = core::mem::take(&mut slot.notify);
            if !matches!(notify, Notify::Nobody) {
                state.leftovers.push(Leftover::Notify(notify));
            }
            state.disown(key.slot);
            if state.slots[key.slot].operation == Operation::Room {
                // Who does not wait any more holds up nobody behind him.
                state.cancel(key);
            }
        }
        self.leave(state);
    }

    /// Names the operation's file in an error that is not its own.
    pub(crate) fn name_file(&self, key: Key, error: Error) -> Error {
        let mut state = self.lock();
        if state.slots.find(key).is_none() {
            return error;
        }
        state.describe(key.slot, error)
    }

    pub(crate) fn cancel(&self, key: Key) {
        let mut state = self.lock();
        state.cancel(key);
        self.leave(state);
    }
}

/// What the ring chose, and what came of its keeping files.
fn with_files(ring: &mut dyn Ring, config: &Config) -> Report {
    let kept = (config.registered_files > 0).then(|| ring.keep_files(config.registered_files));
    let mut report = ring.report();
    match kept {
        None => {}
        Some(Ok(files)) => report.chosen.push(format!("{files} registered files")),
        Some(Err(code)) => report.refused.push(("registered files".into(), code)),
    }
    report
}

/// What the ring chose, and how locks are taken on it.
fn with_locks(mut report: Report, config: &Config) -> Report {
    report.chosen.push(config.describe_locks());
    report
        .chosen
        .extend(config.thread.as_ref().map(|name| format!("a thread of its own, `{name}`")));
    report
}
