//! All that the engine's lock guards, and the ends of operations.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use littoral_platform::sharing::Ranges;
use littoral_platform::{AnyRing, Clock, Direct, Errno, Limits, Ring, RwFlags, Tag};

use super::apart::Lane;
use super::barrier::Ready;
use super::batch::{ALONE, Batches};
use super::events::{Event, Events, is_notable};
use super::files::Files;
use super::fork::{FORKED, FORKED_TEXT};
use super::group::Groups;
use super::held::{Held, Opened, Value};
use super::locking::Naps;
use super::overflow::Queue;
use super::poison::Poisons;
use super::registered::Registry;
use super::straight::{Lone, STRAIGHT_MAX};
use super::table::{Callback, Gate, Key, NONE, Notify, Phase, Stage, Table};
use super::thread::Thread;
use crate::{Arena, Config, Error, ErrorKind, Operation, Statistics};

/// What the user's code is told once the lock is released.
pub(crate) enum Delivery {
    Wake(core::task::Waker),
    Call(Callback, Result<Value, Error>),
}

/// What may run the user's code when it is dropped, so it is dropped once the lock is released.
#[expect(dead_code, reason = "the values are kept to be dropped")]
pub(crate) enum Leftover {
    Held(Held),
    Outcome(Result<Value, Error>),
    Notify(Notify),
    Ring(AnyRing),
    Arena(Arena),
}

#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, not one state")]
pub(crate) struct State {
    /// `None` once the driver is gone.
    pub(crate) ring: Option<AnyRing>,
    pub(crate) limits: Limits,
    pub(crate) config: Config,
    pub(crate) slots: Table,
    pub(crate) files: Files,
    pub(crate) poisons: Poisons,
    /// Names to be given on.
    pub(crate) freed: VecDeque<Arc<str>>,
    /// Temporary files that were opened ahead, one user each.
    pub(crate) temporaries: Vec<u32>,
    /// Temporary files that were given a name so far.
    pub(crate) temporaries_named: u64,
    /// What makes their names others than those of another driver.
    pub(crate) salt: u64,
    pub(crate) queue: Queue,
    /// The memory that the ring knows ahead.
    pub(crate) registry: Registry,
    /// Those who wait for somebody else's lock.
    pub(crate) naps: Naps,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` once the driver is gone.
    pub(crate) direct: Option<Arc<dyn Direct>>,
    pub(crate) batches: Batches,
    pub(crate) groups: Groups,
    /// Of those who are in several groups, all but the first.
    pub(crate) further_groups: HashMap<u32, Vec<Key>>,
    /// Over, and not published yet.
    pub(crate) ended: VecDeque<u32>,
    pub(crate) deliveries: VecDeque<Delivery>,
    pub(crate) leftovers: Vec<Leftover>,
    /// What the user's subscriber is told once the lock is released.
    pub(crate) events: Events,
    /// Those who wait for room, and for the end of everything.
    pub(crate) rooms: VecDeque<u32>,
    pub(crate) shutdowns: Vec<u32>,
    /// Slots taken by operations that count against `Config::operations`.
    pub(crate) alive: u32,
    /// Slots whose operation is not published.
    pub(crate) unfinished: u32,
    /// Entries in the ring: in all, and of operations.
    pub(crate) in_flight: u32,
    pub(crate) ordinary_in_flight: u32,
    /// How often in a row the platform had no room for what was submitted.
    pub(crate) submits_refused: u32,
    /// The cancels and closes among them.
    pub(crate) aside: Vec<Tag>,
    /// Half of the completion side is kept for cancels and closes.
    pub(crate) ordinary_max: u32,
    /// The read that is all there is.
    pub(crate) lone: Option<Lone>,
    /// Reads that have set out on the road and are counted nowhere yet.
    pub(crate) unsettled: u32,
    /// It did not take the last read that was to set out.
    pub(crate) ring_is_full: bool,
    /// The largest offset from which a read goes straight.
    pub(crate) straight_at_max: u64,
    /// The longest read that goes straight; an empty one does not.
    pub(crate) straight_len_max: usize,
    /// The ring is handed entries without doing anything yet, and joining reads gains nothing.
    pub(crate) reads_go_straight: bool,
    pub(crate) sequence: u64,
    pub(crate) delivered: u64,
    /// A thread waits for the ring, and how many wait for that thread.
    pub(crate) leader: bool,
    pub(crate) followers: u32,
    /// A thread does a lone operation by itself, and waits in that call.
    pub(crate) calling: bool,
    /// Descriptors that foreign loops poll; each is one of the followers.
    pub(crate) polled: u32,
    /// The driver's own thread, if it has one.
    pub(crate) thread: Option<Thread>,
    /// The leader has to look, though the ring may not wake it.
    pub(crate) rings_bell: bool,
    /// The host was asked for a turn that has not come yet.
    pub(crate) turn_asked: bool,
    /// The locks of byte ranges, by whose handle.
    pub(crate) ranges: BTreeMap<u64, Arc<dyn Ranges>>,
    /// No more operations are taken.
    pub(crate) closed: bool,
    /// The ring is dead, for that reason.
    pub(crate) dead: Option<Errno>,
    pub(crate) statistics: Statistics,
    /// What some file's system has refused entries for, once each, with what to tell of it.
    pub(crate) refused_intents: Vec<(RwFlags, String)>,
    /// Lists of slots, to be used again.
    pub(crate) spares: Vec<Vec<u32>>,
    /// Reused between ends of operations.
    pub(crate) ready: Vec<Ready>,
}

impl State {
    pub(crate) fn new(ring: AnyRing, config: Config) -> State {
        let limits = *ring.limits();
        let waits = limits.may_block && !limits.executes_at_submit;
        State {
            reads_go_straight: waits && limits.read_call_cost == 0,
            ordinary_max: (limits.in_flight / 2).max(1),
            lone: None,
            unsettled: 0,
            ring_is_full: false,
            straight_len_max: limits.bytes_per_call.min(STRAIGHT_MAX),
            straight_at_max: limits.offset_max.saturating_sub(STRAIGHT_MAX as u64),
            limits,
            freed: VecDeque::new(),
            temporaries: Vec::new(),
            temporaries_named: 0,
            salt: 0,
            poisons: Poisons::new(config.files as usize, !limits.one_handle_per_file),
            clock: ring.clock(),
            direct: Some(ring.direct()),
            ring: Some(ring),
            config,
            slots: Table::default(),
            files: Files::default(),
            queue: Queue::default(),
            registry: Registry::default(),
            naps: Naps::default(),
            batches: Batches::default(),
            groups: Groups::new(),
            further_groups: HashMap::new(),
            ended: VecDeque::new(),
            deliveries: VecDeque::new(),
            leftovers: Vec::new(),
            events: Events::default(),
            rooms: VecDeque::new(),
            shutdowns: Vec::new(),
            alive: 0,
            unfinished: 0,
            in_flight: 0,
            ordinary_in_flight: 0,
            submits_refused: 0,
            aside: Vec::new(),
            sequence: 0,
            delivered: 0,
            leader: false,
            followers: 0,
            calling: false,
            polled: 0,
            thread: None,
            rings_bell: false,
            turn_asked: false,
            ranges: BTreeMap::new(),
            closed: false,
            dead: None,
            statistics: Statistics::default(),
            refused_intents: Vec::new(),
            spares: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// What is to be dropped without the lock. An empty list stays, so that it is allocated once.
    pub(crate) fn take_leftovers(&mut self) -> Vec<Leftover> {
        if self.leftovers.is_empty() { Vec::new() } else { core::mem::take(&mut self.leftovers) }
    }

    /// Why an operation cannot be taken now.
    pub(crate) fn refusal(&self, operation: Operation) -> Option<Error> {
        if let Some(code) = self.dead {
            let error = Error::new(ErrorKind::RingLost, operation);
            return Some(if code == FORKED { error.because(FORKED_TEXT) } else { error });
        }
        let error = || Error::new(ErrorKind::Closed, operation).because("the driver was shut down");
        self.closed.then(error)
    }

    /// Why an operation on this file cannot be taken now.
    pub(crate) fn refusal_on(&self, opened: &Opened, operation: Operation) -> Option<Error> {
        let closed = || opened.is_closed().then(|| handle_closed(operation));
        self.refusal(operation).or_else(closed)
    }

    /// Why an operation that counts cannot be taken now.
    pub(crate) fn saturation(&self, operation: Operation) -> Option<Error> {
        let most = self.config.operations;
        (self.alive >= most).then(|| {
            let error = Error::new(ErrorKind::Saturated, operation);
            error.because(format!("{} of {most} are in use", self.alive))
        })
    }

    /// A slot for an operation that was let in.
    pub(crate) fn begin(&mut self, operation: Operation, file: u32, held: Held) -> u32 {
        self.queue.road = 0;
        let index = self.slots.take();
        self.sequence += 1;
        let slot = &mut self.slots[index];
        slot.stage = Stage::Waiting;
        slot.phase = Phase::Main;
        slot.operation = operation;
        slot.gate = Gate::None;
        slot.batch = ALONE;
        slot.file = file;
        slot.sequence = self.sequence;
        (slot.at, slot.total, slot.done) = (0, 0, 0);
        slot.cursor = super::writev::Cursor::default();
        (slot.retries, slot.stalls) = (0, 0);
        (slot.cancelled, slot.detached) = (false, false);
        (slot.durable, slot.by_entry, slot.unflushed) = (false, false, false);
        slot.flags = RwFlags::empty();
        (slot.head, slot.next) = (index, NONE);
        (slot.lane, slot.kept_apart) = (Lane::Cached, false);
        slot.held = held;
        if file != NONE {
            self.files.get(file).pins += 1;
        }
        self.alive += u32::from(counts(operation));
        self.unfinished += 1;
        self.statistics.accepted += 1;
        index
    }

    pub(crate) fn key(&self, slot: u32) -> Key {
        self.slots.key(slot)
    }

    /// An error of this slot's operation, with its file and, for writes, its progress.
    pub(crate) fn describe(&mut self, slot: u32, error: Error) -> Error {
        let slot = &self.slots[slot];
        let error = match &slot.held {
            Held::Naming(naming) => error.of_naming(naming),
            _ if slot.file != NONE => error.on(Arc::clone(&self.files.get(slot.file).names[0])),
            _ => error,
        };
        if matches!(slot.operation, Operation::Pwrite | Operation::Pwritev) {
            // What a durable write has written counts when it is flushed, and then it has ended.
            error.confirmed_to(if slot.unflushed { 0 } else { slot.done })
        } else {
            error
        }
    }

    pub(crate) fn fail(&mut self, slot: u32, kind: ErrorKind) {
        let error = Error::new(kind, self.slots[slot].operation);
        let error = self.describe(slot, error);
        self.finish(slot, Err(error));
    }

    pub(crate) fn fail_with(&mut self, slot: u32, code: Errno) {
        self.fail_as(slot, code, Error::from_code(code, self.slots[slot].operation));
    }

    /// Ends with an error that says more than its code.
    pub(crate) fn fail_as(&mut self, slot: u32, code: Errno, mut error: Error) {
        if self.slots[slot].cancelled && is_transient(code) {
            // It would have been tried again, had nobody asked for its end.
            error = error.of_kind(ErrorKind::Cancelled);
        }
        let error = self.describe(slot, error);
        self.finish(slot, Err(error));
    }

    /// The operation is over. Its result is published by the next `step`.
    pub(crate) fn finish(&mut self, index: u32, outcome: Result<Value, Error>) {
        let slot = &mut self.slots[index];
        debug_assert!(!slot.is_over(), "an operation ends once");
        slot.stage = Stage::Ended;
        let held = core::mem::take(&mut slot.held);
        let named = match &held {
            Held::Naming(naming) if is_notable(slot.operation) => Some(Arc::clone(&naming.name)),
            _ => None,
        };
        let (operation, file) = (slot.operation, slot.file);
        if !matches!(held, Held::Nothing) {
            if let Held::Registering(registering) = &held {
                self.undo_registering(registering);
            }
            self.leftovers.push(Leftover::Held(held));
        }
        match &outcome {
            Err(error) => self.events.note(|| Event::Failed(error.clone())),
            Ok(_) if is_notable(operation) => {
                let opened = (file != NONE).then(|| Arc::clone(&self.files.get(file).names[0]));
                self.events.note(|| Event::Done { operation, file: named.or(opened) });
            }
            Ok(_) => {}
        }
        // A sync that never ran has lost nothing.
        let nothing_lost = operation == Operation::Sync
            && outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled);
        let slot = &mut self.slots[index];
        let sequence = slot.sequence;
        let failure = match &outcome {
            Err(error) if is_covered(operation) && !nothing_lost => Some(error.clone()),
            _ => None,
        };
        slot.outcome = Some(outcome);
        self.ended.push_back(index);
        if self.slots[index].group != Key::NONE {
            self.leave_groups(index);
        }
        if file == NONE {
            return;
        }
        if let Some(error) = failure {
            self.files.get(file).failures.add(sequence, error);
        }
        self.leave_file(index);
        self.close_if_unused(file);
    }

    /// An operation has nothing more to do with its file: those who waited for it may go.
    pub(crate) fn leave_file(&mut self, index: u32) {
        let file = self.slots[index].file;
        self.files.get(file).pins -= 1;
        self.leave_gate(index);
    }

    /// The barrier of its file has to do with an operation no longer.
    pub(crate) fn leave_gate(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        let (file, class) = (slot.file, slot.class);
        let gate = core::mem::replace(&mut slot.gate, Gate::None);
        let barrier = &mut self.files.get(file).barrier;
        let mut ready = core::mem::take(&mut self.ready);
        match gate {
            Gate::None => {}
            Gate::Waiting => barrier.withdraw(index, &mut ready),
            Gate::Went(epoch) => barrier.end(class, epoch, &mut ready),
        }
        for (slot, epoch) in ready.drain(..) {
            self.pass_barrier(slot, epoch);
        }
        self.ready = ready;
        if self.files.get(file).order.is_some() {
            self.leave_order(file, index);
        }
    }

    /// Publishes what is over: to whoever has the completion, or was named to be told.
    pub(crate) fn publish(&mut self) {
        while let Some(index) = self.ended.pop_front() {
            self.delivered += 1;
            self.unfinished -= 1;
            let slot = &mut self.slots[index];
            slot.stage = Stage::Published;
            if slot.detached {
                self.free(index);
                continue;
            }
            match core::mem::take(&mut slot.notify) {
                Notify::Nobody => {}
                Notify::Wake(waker) => self.deliveries.push_back(Delivery::Wake(waker)),
                Notify::Call(callback) => {
                    let outcome = self.take(index);
                    self.deliveries.push_back(Delivery::Call(callback, outcome));
                }
            }
        }
    }

    /// Takes a published result; the slot is free again.
    pub(crate) fn take(&mut self, index: u32) -> Result<Value, Error> {
        let slot = &mut self.slots[index];
        let in_place = |held| match held {
            Held::Read(buffer) => Ok(Value::Buffer(buffer)),
            _ => unreachable!("a published operation has its result"),
        };
        let outcome = slot.outcome.take();
        let outcome = outcome.unwrap_or_else(|| in_place(core::mem::take(&mut slot.held)));
        let group = slot.operation == Operation::Group;
        if outcome.is_err() && slot.file != NONE {
            self.take_failure(index, true);
        }
        if group {
            self.forget_group(index, true);
        }
        self.free(index);
        outcome
    }

    /// Frees a published slot. A failure that nobody took is remembered for the next sync.
    pub(crate) fn free(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        let (operation, notify) = (slot.operation, core::mem::take(&mut slot.notify));
        if let Some(outcome) = slot.outcome.take() {
            if let Ok(Value::File(opened)) = &outcome {
                self.drop_handle(opened);
            } else if let Ok(Value::Registered(registered)) = &outcome {
                self.unregister(&registered.regions);
            } else if outcome.is_err() && slot.file != NONE && !self.is_told_by_group(index) {
                self.take_failure(index, false);
            }
            self.leftovers.push(Leftover::Outcome(outcome));
        } else if let Held::Read(buffer) = core::mem::take(&mut slot.held) {
            self.leftovers.push(Leftover::Held(Held::Read(buffer)));
        }
        if !matches!(notify, Notify::Nobody) {
            self.leftovers.push(Leftover::Notify(notify));
        }
        if operation == Operation::Group {
            self.forget_group(index, false);
        }
        if core::mem::replace(&mut self.slots[index].group, Key::NONE) != Key::NONE {
            self.further_groups.remove(&index);
        }
        self.slots.give_back(index);
        if counts(operation) {
            self.alive -= 1;
            self.grant_room();
        }
    }

    /// A slot's failure has no keeper any more: somebody took it, or nobody will.
    fn take_failure(&mut self, index: u32, seen: bool) {
        let (file, sequence) = (self.slots[index].file, self.slots[index].sequence);
        // The file may be gone, and another one in its place: then this finds nothing.
        let Some(entry) = self.files.try_get(file) else { return };
        if seen {
            entry.failures.take(sequence);
        } else if let Some(error) = entry.failures.lose(sequence) {
            self.events.note(|| Event::Lost(error));
        }
    }

    /// Tells those who wait for room, in their order, as far as there is any.
    pub(crate) fn grant_room(&mut self) {
        while let Some(&waiting) = self.rooms.front() {
            let room = u64::from(self.config.operations.saturating_sub(self.alive));
            if self.slots[waiting].at > room {
                return;
            }
            self.rooms.pop_front();
            self.finish(waiting, Ok(Value::Unit));
        }
    }
}

/// The handle was closed; the driver goes on, and other handles do.
pub(crate) fn handle_closed(operation: Operation) -> Error {
    Error::new(ErrorKind::Closed, operation).because("by `close` on this handle")
}

/// Interrupted, or refused for now; or ended by the kernel because the thread that submitted it is
/// gone (reads as EFAULT, queued work as ECANCELED), which nobody asked for.
pub(crate) fn is_transient(code: Errno) -> bool {
    matches!(code, Errno::INTR | Errno::AGAIN | Errno::FAULT | Errno::CANCELED)
}

/// Closes, and those who wait for room, have places of their own.
fn counts(operation: Operation) -> bool {
    use Operation::{Close, Group, Room, Shutdown};
    !matches!(operation, Close | Group | Room | Shutdown)
}

/// Whose failure a later sync must not hide: a sync's own too, where it passes one on.
fn is_covered(operation: Operation) -> bool {
    use Operation::{PunchHole, Pwrite, Pwritev, Sync, Truncate, ZeroRange};
    matches!(operation, PunchHole | Pwrite | Pwritev | Sync | Truncate | ZeroRange)
}
