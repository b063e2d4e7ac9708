//! Flushes: one of a file at a time, for all that wait for it, and what one that fails leaves.
//!
//! Two flushes of one file in the ring could lie: a system reports a failed write-back to the one
//! that asks first, so that a second, which ran beside it, ends well. Hence a flush that finds
//! another one in the ring waits in the file's *line*. Worked example: sync S1 is in the ring; S2
//! and S3 come, and stand in the line. S1 ends well: S2 and S3 travel in one flush. S1 fails: S2
//! and S3 fail with it, unflushed.
//!
//! A flush that ran and failed poisons the file (`poison`): what was admitted to change it and is
//! not in the ring ends as `SyncLost`, and so does whatever comes until that is acknowledged. What
//! the ring has already ends by itself. A flush that never ran leaves nothing.

use littoral_platform::{Errno, Op, RESERVED, SyncKind};

use super::Core;
use super::held::{Opened, Value};
use super::state::{State, is_transient};
use super::table::{NONE, Phase, Slot, Stage};
use crate::{Error, ErrorKind, Operation};

/// The flushes of one file.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The head of the flush that is in the ring.
    running: Option<u32>,
    waiting: Vec<u32>,
}

impl Line {
    /// Whether the flush of `head` may go to the ring now.
    fn begin(&mut self, head: u32) -> bool {
        *self.running.get_or_insert(head) == head
    }

    fn wait(&mut self, slot: u32) {
        self.waiting.push(slot);
    }

    /// The flush of `head` has come back, or will not be pushed: who may go now.
    fn end(&mut self, head: u32) -> Vec<u32> {
        if self.running != Some(head) {
            return Vec::new();
        }
        self.running = None;
        core::mem::take(&mut self.waiting)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// It does not want to go any more.
    fn withdraw(&mut self, slot: u32) {
        self.waiting.retain(|waiting| *waiting != slot);
    }
}

impl Slot {
    /// Whether its entry is a flush.
    pub(crate) fn is_flush(&self) -> bool {
        self.operation == Operation::Sync || self.phase == Phase::Flush
    }
}

impl State {
    /// The flush of a chain. Members that must not be told that all is well end here.
    pub(crate) fn flush_entry(&mut self, head: u32) -> Option<Op> {
        let file = self.slots[head].file;
        let chain = self.unchain(head);
        let entry = self.files.get(file);
        if entry.queued_sync == head {
            entry.queued_sync = NONE;
        }
        if !entry.flushes.begin(head) {
            for &member in &chain {
                self.slots[member].stage = Stage::Waiting;
                self.files.get(file).flushes.wait(member);
            }
            self.spare(chain);
            return None;
        }
        let mut covered = chain;
        covered.retain(|&member| {
            let lost = match self.slots[member].operation {
                Operation::Sync => self.lost_before(file, member),
                // A durable write speaks for itself only.
                _ => None,
            };
            let Some(lost) = lost else { return true };
            let error = self.describe(member, lost);
            self.finish(member, Err(error));
            false
        });
        // The entry goes by the head's number, so a head that has ended lets the next one lead.
        let lead = covered.first().copied();
        if lead != Some(head) {
            if let Some(lead) = lead {
                self.slots[lead].stage = Stage::Queued;
                self.chain_up(&covered);
                self.queue.resume(lead);
            }
            self.spare(covered);
            self.flush_over(file, head);
            return None;
        }
        let kind = covered.iter().map(|&member| self.slots[member].sync_kind).max()?;
        self.chain_up(&covered);
        self.spare(covered);
        Some(Op::Sync { file: self.handle(file, false), kind })
    }

    /// What a sync has to tell instead of flushing.
    fn lost_before(&mut self, file: u32, sync: u32) -> Option<Error> {
        let sequence = self.slots[sync].sequence;
        let cause = self.files.get(file).failures.tell(sequence)?;
        Some(Error::new(ErrorKind::WriteLost, Operation::Sync).caused_by(cause))
    }

    /// The ring has answered a flush.
    pub(crate) fn flushed(&mut self, head: u32, result: Result<u64, Errno>) {
        let file = self.slots[head].file;
        let members = self.unchain(head);
        if let Err(code) = result
            && is_final(code)
        {
            let error = Error::from_code(code, Operation::Sync);
            let error = self.describe(head, error);
            self.poison(file, error);
        }
        for &member in &members {
            match result {
                Err(code) if self.slots[member].phase == Phase::Flush => {
                    let error = Error::from_code(code, self.slots[member].operation);
                    let error = error.because("it was written, but its flush failed");
                    self.fail_as(member, code, error);
                }
                _ => self.ended(member, result.map(|_| Value::Unit)),
            }
        }
        self.spare(members);
        self.flush_over(file, head);
    }

    /// A durable write has written all of its bytes: they are flushed, with what waits for a flush
    /// as well, and before everything that was never pushed.
    pub(crate) fn flush_write(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        (slot.phase, slot.retries, slot.sync_kind) = (Phase::Flush, 0, SyncKind::Data);
        if slot.cancelled {
            self.fail(index, ErrorKind::Cancelled);
        } else if self.join_sync(index) {
            let slot = &mut self.slots[index];
            slot.stage = Stage::Member;
            let head = slot.head;
            self.queue.promote(head);
        } else {
            self.requeue(index);
        }
        // One that was in the ring when another flush failed may have been marked clean with it.
        self.end_changes(self.slots[index].file);
    }

    /// The flush of `head` is not in the ring any more: those who waited for that go together.
    pub(crate) fn flush_over(&mut self, file: u32, head: u32) {
        let Some(entry) = self.files.try_get(file) else { return };
        for waiting in entry.flushes.end(head) {
            self.enqueue(waiting);
            if self.slots[waiting].phase == Phase::Flush {
                let head = self.slots[waiting].head;
                self.queue.promote(head);
            }
        }
    }

    pub(crate) fn leave_line(&mut self, slot: u32) {
        let file = self.slots[slot].file;
        self.files.get(file).flushes.withdraw(slot);
        self.leave_apart(slot);
    }

    /// Why a change or a sync of a file cannot be taken now.
    pub(crate) fn sync_loss(&mut self, opened: &Opened, operation: Operation) -> Option<Error> {
        let cause = self.files.get(opened.file).poison.as_ref().filter(|_| changes(operation))?;
        Some(Error::new(ErrorKind::SyncLost, operation).caused_by(cause.clone()))
    }

    /// A flush of the file has failed, for good.
    pub(crate) fn poison(&mut self, file: u32, error: Error) {
        let entry = self.files.get(file);
        self.poisons.add(entry.identity, &entry.names, &error);
        entry.poison = Some(error);
        self.end_changes(file);
    }

    /// Ends what would change a poisoned file and is not in the ring.
    pub(crate) fn end_changes(&mut self, file: u32) {
        let Some(cause) = self.files.try_get(file).and_then(|file| file.poison.clone()) else {
            return;
        };
        let is_one = |slot: u32| {
            let slot = &self.slots[slot];
            slot.file == file && changes(slot.operation) && !slot.is_over()
        };
        let unwanted: Vec<u32> = self.slots.alive().filter(|&slot| is_one(slot)).collect();
        for index in unwanted {
            let slot = &self.slots[index];
            let head = slot.head;
            match slot.stage {
                Stage::Waiting => self.leave_line(index),
                Stage::Queued | Stage::Member if self.slots[head].stage == Stage::Queued => {
                    self.take_out(head, index);
                }
                _ => continue,
            }
            let operation = self.slots[index].operation;
            let error = Error::new(ErrorKind::SyncLost, operation).caused_by(cause.clone());
            let error = self.describe(index, error);
            self.finish(index, Err(error));
        }
    }

    /// What is known of lost flushes when a file was just opened, or is not poisoned any more.
    pub(crate) fn look_for_poison(&mut self, file: u32) {
        let entry = self.files.get(file);
        entry.poison = self.poisons.of(entry.identity, &entry.names[0]).cloned();
    }

    /// The last that is known of a poisoned file's names before it is closed.
    pub(crate) fn keep_poison(&mut self, file: u32) {
        let entry = self.files.get(file);
        let Some(error) = &entry.poison else { return };
        if entry.names[0].starts_with(RESERVED) {
            // A temporary file is gone now, and its identity may be another file's.
            self.poisons.acknowledge(entry.identity, &entry.names);
        } else {
            self.poisons.add(entry.identity, &entry.names, error);
        }
    }

    /// Somebody knows that what was written may be lost: that is no failure to be told any more.
    pub(crate) fn acknowledge(&mut self, file: u32) -> Option<Error> {
        let entry = self.files.get(file);
        let error = entry.poison.take()?;
        self.poisons.acknowledge(entry.identity, &entry.names);
        entry.failures = super::lost::Failures::default();
        Some(error)
    }
}

impl Core {
    pub(crate) fn acknowledge_sync_loss(&self, opened: &Opened) -> Option<Error> {
        let mut state = self.lock();
        if state.refusal_on(opened, Operation::Sync).is_some() {
            return None;
        }
        let error = state.acknowledge(opened.file);
        self.leave(state);
        error
    }
}

/// What a poisoned file does not take. Locks are given up, and handles closed, all the same.
fn changes(operation: Operation) -> bool {
    use Operation::{Allocate, PunchHole, Pwrite, Pwritev, SetLen, Sync, Truncate, ZeroRange};
    matches!(
        operation,
        Allocate | PunchHole | Pwrite | Pwritev | SetLen | Sync | Truncate | ZeroRange
    )
}

/// Whether a flush that ended so has run. One that was interrupted, cancelled, or refused for what
/// the handle or the file system is, has not, and nothing is lost by it.
pub(crate) fn is_final(code: Errno) -> bool {
    let refused =
        matches!(code, Errno::BADF | Errno::INVAL | Errno::ROFS | Errno::NOSYS | Errno::OPNOTSUPP);
    !refused && !is_transient(code)
}
