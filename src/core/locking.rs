//! Taking, converting and giving up a file's lock.
//!
//! A try is one direct call at most, made under the engine's lock: it never blocks. Whoever is
//! refused sleeps and tries again, after a time that doubles from one millisecond on, until his
//! patience is over. There is no timer: a thread that waits does so no longer than to the next try,
//! and where nothing may wait the host is asked for a turn then. What another handle of this driver
//! gives up is tried for at once.
//!
//! Giving up waits for the file's operations, as a truncate does: what was written under a lock is
//! written before anybody else has it. So does the close of a handle that has one.

use core::time::Duration;

use littoral_platform::{Errno, LockKind};

use super::barrier::Class;
use super::held::{Held, Opened, Value};
use super::locks::Call;
use super::push::{Now, call};
use super::state::State;
use super::table::{Gate, Key, NONE, Stage};
use super::{Core, nanos};
use crate::{Error, ErrorKind, OpenOptions, Operation, Result};

/// How long the first sleep is, and how long any is at most: whoever waits has the lock that late
/// after its holder is gone.
const SLEEP_FIRST: u64 = 1_000_000;
const SLEEP_MAX: u64 = 25_000_000;

/// How often a direct call may be interrupted.
const INTERRUPTIONS_MAX: u32 = 256;

/// A lock that is asked for.
#[derive(Debug)]
pub(crate) struct Locking {
    pub(crate) kind: LockKind,
    /// By which handle.
    pub(crate) who: u64,
    pub(crate) nap: Option<Nap>,
    /// The handle was closed before its turn.
    closed: bool,
}

/// The patience of one who was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nap {
    /// When he tries again, and when for the last time.
    due: u64,
    deadline: u64,
    sleep: u64,
}

/// Who sleeps.
#[derive(Debug, Default)]
pub(crate) struct Naps {
    slots: Vec<u32>,
    /// Locks that have not been tried for: they stand behind a barrier.
    gated: Vec<u32>,
    /// When the host was asked to give a turn.
    alarm: Option<u64>,
}

/// Why a try failed.
enum Refused {
    /// Another handle of this driver has it.
    Here,
    /// Another driver, process, tab or worker has it.
    Elsewhere,
    Code(Errno),
}

impl Naps {
    /// Takes a sleeper out; false if he does not sleep.
    pub(crate) fn wake(&mut self, slot: u32) -> bool {
        let place = self.slots.iter().position(|&sleeping| sleeping == slot);
        place.map(|at| self.slots.remove(at)).is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.gated.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.gated.is_empty()
    }
}

/// Refuses a lock that this handle can never have.
pub(crate) fn check_lock(write: bool, kind: LockKind, operation: Operation) -> Result<()> {
    if write || kind == LockKind::Shared {
        return Ok(());
    }
    let error = Error::new(ErrorKind::PermissionDenied, operation);
    Err(error.because("an exclusive lock is for a file that is open for writing"))
}

impl Core {
    pub(crate) fn lock_file(&self, opened: &Opened, kind: LockKind) -> Result<Key> {
        check_lock(opened.write, kind, Operation::Lock)?;
        let mut state = self.lock();
        let refusal = state.refusal_on(opened, Operation::Lock);
        if let Some(error) = refusal.or_else(|| state.saturation(Operation::Lock)) {
            return Err(error);
        }
        let locking = Locking { kind, who: opened.who, nap: None, closed: false };
        let held = Held::Locking(Box::new(locking));
        let index = state.begin(Operation::Lock, opened.file, held);
        let key = state.key(index);
        if state.files.get(opened.file).barrier.is_open() {
            state.try_to_lock(index);
        } else {
            // Behind an unlock of this very handle, it may be, which must not take it away again.
            state.naps.gated.push(index);
            state.admit(index, Class::Read);
        }
        self.leave(state);
        Ok(key)
    }

    pub(crate) fn unlock_file(&self, opened: &Opened) -> Result<Key> {
        let who = opened.who;
        self.on_file(Operation::Unlock, Class::Truncate, opened, Held::Nothing, |slot| {
            slot.at = who;
        })
    }

    /// A `File` is dropped.
    pub(crate) fn drop_handle(&self, opened: &Opened) {
        let mut state = self.lock();
        state.drop_handle(opened);
        self.leave(state);
    }
}

impl State {
    /// The lock of an `open_now`: one try.
    pub(crate) fn locked_now(&mut self, opened: Opened, options: OpenOptions) -> Result<Opened> {
        let Some(kind) = options.lock else { return Ok(opened) };
        match self.try_lock(opened.file, opened.who, kind) {
            Ok(()) => Ok(opened),
            Err(refused) => {
                let error = self.explain(&refused, Operation::Open, None);
                self.let_go(opened.file);
                Err(error.on(opened.name))
            }
        }
    }

    /// An open has its file: it ends with it, or tries for its lock before.
    pub(crate) fn opened(&mut self, slot: u32, opened: Opened) {
        if self.naming(slot).options.lock.is_some() {
            self.naming(slot).opened = Some(opened);
            self.try_to_lock(slot);
            return;
        }
        self.finish(slot, Ok(Value::File(opened)));
        if self.slots[slot].detached {
            self.disown(slot);
        }
    }

    /// A lock, or the lock of an open, is tried for; who is refused sleeps, or is told.
    fn try_to_lock(&mut self, slot: u32) {
        let (file, who, kind) = match &self.slots[slot].held {
            Held::Locking(locking) => (self.slots[slot].file, locking.who, locking.kind),
            Held::Naming(naming) => {
                let opened = naming.opened.as_ref().expect("it is open before it is locked");
                (opened.file, opened.who, naming.options.lock.expect("it wants a lock"))
            }
            _ => unreachable!("only these two want a lock"),
        };
        let converts = self.files.get(file).locks.of(who).is_some();
        let refused = match self.try_lock(file, who, kind) {
            Ok(()) => {
                self.lock_taken(slot);
                // A lock that was made weaker may be what another one waits for.
                if converts {
                    self.wake_sleepers_of(file);
                }
                return;
            }
            Err(refused) => refused,
        };
        let waits = !converts && !matches!(refused, Refused::Code(_));
        if waits && self.sleep(slot) {
            return;
        }
        let error = self.explain(&refused, self.slots[slot].operation, waits.then_some(slot));
        let error = self.describe(slot, error);
        if let Held::Naming(naming) = &mut self.slots[slot].held {
            let opened = naming.opened.take().expect("as above");
            self.let_go(opened.file);
        }
        self.finish(slot, Err(error));
    }

    fn lock_taken(&mut self, slot: u32) {
        let opened = match &mut self.slots[slot].held {
            Held::Naming(naming) => naming.opened.take(),
            _ => None,
        };
        self.finish(slot, Ok(opened.map_or(Value::Unit, Value::File)));
        if self.slots[slot].detached {
            self.disown(slot);
        }
    }

    fn explain(&self, refused: &Refused, operation: Operation, waited: Option<u32>) -> Error {
        if waited.is_some_and(|slot| self.slots[slot].cancelled) {
            return Error::new(ErrorKind::Cancelled, operation);
        }
        let holder = match refused {
            Refused::Code(code) => return Error::from_code(*code, operation),
            Refused::Here => "another handle of this driver has it",
            Refused::Elsewhere if self.limits.one_handle_per_file => {
                "another tab, worker or driver has it open"
            }
            Refused::Elsewhere => "another process, or another driver of this one, has it",
        };
        let patience = self.config.lock_patience.as_millis();
        let waited = match waited.and_then(|slot| self.nap(slot)) {
            Some(_) if patience > 0 => format!(", and kept it for {patience} ms"),
            _ => String::new(),
        };
        Error::new(ErrorKind::Locked, operation).because(format!("{holder}{waited}"))
    }

    fn try_lock(
        &mut self,
        file: u32,
        who: u64,
        kind: LockKind,
    ) -> core::result::Result<(), Refused> {
        if !self.config.locks {
            return Ok(());
        }
        let registry = &self.files.get(file).locks;
        if !registry.admits(who, kind) {
            return Err(Refused::Here);
        }
        let level = registry.level_with(who, Some(kind));
        self.reach(file, level).map_err(|code| match code {
            Errno::BUSY => Refused::Elsewhere,
            code => Refused::Code(code),
        })?;
        self.files.get(file).locks.set(who, Some(kind));
        Ok(())
    }

    /// Has the platform give what the handles of a file are to have.
    fn reach(&mut self, file: u32, level: Option<LockKind>) -> core::result::Result<(), Errno> {
        loop {
            let entry = self.files.get(file);
            let best = entry.writable.unwrap_or(entry.readable);
            let Some(next) = entry.locks.next_call(level, best) else { return Ok(()) };
            let direct = self.direct.as_ref().ok_or(Errno::BADF)?;
            let try_once = || match next {
                Call::Lock(handle, kind) => call(&**direct, Now::Lock(handle, kind)),
                Call::Unlock(handle) => call(&**direct, Now::Unlock(handle)),
            };
            let passing = |result: &_| matches!(result, Err(Errno::INTR | Errno::AGAIN));
            let mut result = try_once();
            for _ in 0..INTERRUPTIONS_MAX {
                if !passing(&result) {
                    break;
                }
                result = try_once();
            }
            result?;
            self.files.get(file).locks.called(next);
        }
    }

    /// The barrier lets a lock go. It does not stay for as long as it may sleep: what it waits for
    /// may be an unlock that would stand behind it.
    pub(crate) fn lock_turn(&mut self, slot: u32) {
        self.leave_gate(slot);
        self.naps.gated.retain(|&gated| gated != slot);
        match &self.slots[slot].held {
            Held::Locking(locking) if locking.closed => self.fail(slot, ErrorKind::Closed),
            _ => self.try_to_lock(slot),
        }
    }

    /// The barrier lets an unlock, or the close of a handle with a lock, go.
    pub(crate) fn unlock_turn(&mut self, slot: u32) {
        let (file, who, operation) =
            (self.slots[slot].file, self.slots[slot].at, self.slots[slot].operation);
        let level = self.files.get(file).locks.level_with(who, None);
        let reached = self.reach(file, level);
        if reached.is_ok() || operation == Operation::Close {
            self.files.get(file).locks.set(who, None);
        }
        if operation == Operation::Close {
            // What the platform says to a lock that goes with its file is not worth an error.
            self.leave_file(slot);
            self.slots[slot].file = NONE;
            self.wake_sleepers_of(file);
            self.close(slot, file);
            return;
        }
        match reached {
            Ok(()) => self.finish(slot, Ok(Value::Unit)),
            Err(code) => self.fail_with(slot, code),
        }
        self.wake_sleepers_of(file);
    }

    /// A handle of a file is closed on purpose, and `slot` waits for it.
    pub(crate) fn close_handle(&mut self, slot: u32, opened: &Opened) {
        self.end_sleepers_of(opened.who);
        let entry = self.files.get(opened.file);
        if entry.locks.of(opened.who).is_none() {
            self.close(slot, opened.file);
            return;
        }
        entry.pins += 1;
        self.slots[slot].file = opened.file;
        self.slots[slot].at = opened.who;
        self.slots[slot].class = Class::Truncate;
        self.forget_tails(opened.file);
        match self.files.get(opened.file).barrier.admit(slot, Class::Truncate) {
            // Not by the queue: nobody may step any more.
            Some(epoch) => {
                self.slots[slot].gate = Gate::Went(epoch);
                self.unlock_turn(slot);
            }
            None => self.slots[slot].gate = Gate::Waiting,
        }
    }

    /// A handle goes that nobody has any more.
    pub(crate) fn drop_handle(&mut self, opened: &Opened) {
        self.release_ranges_of(opened.who);
        self.end_sleepers_of(opened.who);
        let alive = self.ring.is_some() && self.dead.is_none();
        let file = self.files.try_get(opened.file);
        if !alive || file.is_none_or(|file| file.locks.of(opened.who).is_none()) {
            self.let_go(opened.file);
            return;
        }
        let slot = self.begin(Operation::Close, NONE, Held::Nothing);
        self.slots[slot].detached = true;
        self.close_handle(slot, opened);
    }

    /// Waits out an answer that somebody else's lock is in the way; false if patience is over, or
    /// its end was asked for meanwhile. Also for an open, where being open is the lock.
    pub(crate) fn sleep(&mut self, slot: u32) -> bool {
        self.sleep_within(slot, self.config.lock_patience)
    }

    /// As [`State::sleep`], for so long at most since the first time.
    pub(crate) fn sleep_within(&mut self, slot: u32, patience: Duration) -> bool {
        if self.slots[slot].cancelled {
            return false;
        }
        let now = self.clock.monotonic_nanos();
        let patience = nanos(patience);
        let nap = match &mut self.slots[slot].held {
            Held::Locking(locking) => &mut locking.nap,
            Held::Naming(naming) => &mut naming.nap,
            Held::Registering(registering) => &mut registering.nap,
            _ => unreachable!("only these wait for what somebody else has"),
        };
        let first = Nap { due: 0, deadline: now.saturating_add(patience), sleep: SLEEP_FIRST };
        let nap = nap.get_or_insert(first);
        if now >= nap.deadline {
            return false;
        }
        nap.due = now.saturating_add(nap.sleep).min(nap.deadline);
        nap.sleep = (nap.sleep * 2).min(SLEEP_MAX);
        self.slots[slot].stage = Stage::Waiting;
        self.naps.slots.push(slot);
        // Whoever waits for the ring has to mind the time.
        self.rings_bell = true;
        true
    }

    fn nap(&self, slot: u32) -> Option<Nap> {
        match &self.slots[slot].held {
            Held::Locking(locking) => locking.nap,
            Held::Naming(naming) => naming.nap,
            Held::Registering(registering) => registering.nap,
            _ => None,
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.naps.slots.iter().filter_map(|&slot| self.nap(slot)).map(|nap| nap.due).min()
    }

    /// How long until somebody tries again.
    pub(crate) fn time_to_next_try(&self) -> Option<Duration> {
        let due = self.next_due()?;
        Some(Duration::from_nanos(due.saturating_sub(self.clock.monotonic_nanos())))
    }

    /// Where nothing may wait, or a descriptor is polled: after what time to ask the host for a
    /// turn, if it was not yet.
    #[inline]
    pub(crate) fn alarm(&mut self) -> Option<Duration> {
        if self.naps.slots.is_empty() { None } else { self.next_alarm() }
    }

    #[cold]
    fn next_alarm(&mut self) -> Option<Duration> {
        let due = self.next_due().filter(|_| !self.limits.may_block || self.polled > 0)?;
        let now = self.clock.monotonic_nanos();
        if self.naps.alarm.is_some_and(|alarm| now < alarm && alarm <= due) {
            return None;
        }
        self.naps.alarm = Some(due);
        Some(Duration::from_nanos(due.saturating_sub(now)))
    }

    /// The host is to be asked anew: there is another one.
    pub(crate) fn forget_alarm(&mut self) {
        self.naps.alarm = None;
    }

    /// Those whose time has come try again.
    #[inline]
    pub(crate) fn wake_sleepers(&mut self) {
        if !self.naps.slots.is_empty() {
            self.wake_who_is_due();
        }
    }

    #[cold]
    fn wake_who_is_due(&mut self) {
        let now = self.clock.monotonic_nanos();
        let is_due = |slot: &u32| self.nap(*slot).is_none_or(|nap| nap.due <= now);
        let due: Vec<u32> = self.naps.slots.iter().copied().filter(is_due).collect();
        self.try_again(due);
    }

    /// A lock of this file was given up, or made weaker.
    fn wake_sleepers_of(&mut self, file: u32) {
        if self.naps.slots.is_empty() {
            return;
        }
        let wants = |slot: &u32| match &self.slots[*slot].held {
            Held::Naming(naming) => naming.opened.as_ref().is_some_and(|o| o.file == file),
            _ => self.slots[*slot].file == file,
        };
        let waiting: Vec<u32> = self.naps.slots.iter().copied().filter(wants).collect();
        self.try_again(waiting);
    }

    /// A handle goes: it must not get a lock that nobody would give up.
    fn end_sleepers_of(&mut self, who: u64) {
        let mut gated = core::mem::take(&mut self.naps.gated);
        // One that was cancelled there has left its place to another operation.
        gated.retain(|&slot| matches!(self.slots[slot].held, Held::Locking(_)));
        for &slot in &gated {
            if let Held::Locking(locking) = &mut self.slots[slot].held {
                locking.closed |= locking.who == who;
            }
        }
        self.naps.gated = gated;
        if self.naps.slots.is_empty() {
            return;
        }
        let is_by = |slot: &u32| match &self.slots[*slot].held {
            Held::Locking(locking) => locking.who == who,
            _ => false,
        };
        let sleeping: Vec<u32> = self.naps.slots.iter().copied().filter(is_by).collect();
        for slot in sleeping {
            self.naps.wake(slot);
            self.fail(slot, ErrorKind::Closed);
        }
    }

    /// In the order in which they came.
    fn try_again(&mut self, mut slots: Vec<u32>) {
        slots.sort_unstable_by_key(|&slot| self.slots[slot].sequence);
        for slot in slots {
            // One of them may have ended another one's wait.
            if !self.naps.wake(slot) {
                continue;
            }
            match &self.slots[slot].held {
                Held::Naming(naming) if naming.opened.is_none() => self.open_again(slot),
                Held::Registering(_) => self.requeue(slot),
                _ => self.try_to_lock(slot),
            }
        }
    }

    /// One who sleeps is cancelled.
    pub(crate) fn cancel_sleeper(&mut self, slot: u32) {
        let Held::Naming(naming) = &mut self.slots[slot].held else {
            self.fail(slot, ErrorKind::Cancelled);
            return;
        };
        let (name, opened) = (naming.name.clone(), naming.opened.take());
        if let Some(opened) = opened {
            self.let_go(opened.file);
            self.fail(slot, ErrorKind::Cancelled);
        } else {
            // It kept its name meanwhile.
            self.unprepare(slot);
            self.fail(slot, ErrorKind::Cancelled);
            self.next_turn(&name);
        }
    }

    /// The platform has no more than one handle for this file, and somebody else has that.
    pub(crate) fn is_open_elsewhere(&self, code: Errno) -> bool {
        self.limits.one_handle_per_file && code == Errno::BUSY
    }

    pub(crate) fn fail_open_elsewhere(&mut self, slot: u32) {
        let operation = self.slots[slot].operation;
        let error = self.explain(&Refused::Elsewhere, operation, Some(slot));
        let error = self.describe(slot, error);
        self.finish(slot, Err(error));
    }
}
