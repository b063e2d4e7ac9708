//! Ranges that become zeros, and where the data and the holes of a file are.
//!
//! A range is made zeros by one call where the platform has one. Where it has not (a file system
//! without it, a browser) the file ends up the same by other means, as one operation that keeps its
//! place: a hole is punched and the last byte written, so that the file grows as it would have; and
//! where holes cannot be had, either, zeros are written, one block at a time.
//!
//! Worked example, 5 MiB on tmpfs, which has holes only: `Zero` is refused, `Punch` works, a byte
//! is written at the end. The same in a browser: `Zero` and `Punch` are refused, and five entries
//! write a mebibyte each.

use littoral_platform::{Errno, Op};

use super::Core;
use super::barrier::Class;
use super::held::{Held, Opened, Value};
use super::state::State;
use super::table::{Key, Phase};
use super::writev::Parts;
use crate::{Error, ErrorKind, Operation, Shared};

/// Bytes that are written at once where nothing but writing makes zeros.
const ZEROS_MAX: u64 = 1 << 20;

impl Core {
    /// Waited for by syncs, as writes: `operation` is one of the two that make zeros.
    pub(crate) fn make_zeros(
        &self,
        operation: Operation,
        file: &Opened,
        at: u64,
        len: u64,
    ) -> Result<Key, Error> {
        if at.checked_add(len).is_none_or(|end| end > self.limits.offset_max) {
            let error = Error::new(ErrorKind::InvalidInput, operation);
            return Err(error.because("offset and length reach past the platform's maximum"));
        }
        if len == 0 {
            return self.at_once(operation);
        }
        self.on_file(operation, Class::Write, file, Held::Nothing, |slot| {
            (slot.at, slot.total) = (at, len);
        })
    }

    pub(crate) fn seek(&self, operation: Operation, file: &Opened, at: u64) -> Result<Key, Error> {
        if at > self.limits.offset_max {
            let error = Error::new(ErrorKind::InvalidInput, operation);
            return Err(error.because("the offset is past the platform's maximum"));
        }
        self.on_file(operation, Class::Read, file, Held::Nothing, |slot| slot.at = at)
    }
}

impl State {
    /// The next entry of an operation that makes zeros.
    pub(crate) fn space_entry(&mut self, index: u32) -> Op {
        let bytes_max = self.limits.bytes_per_call;
        let file = self.slots[index].file;
        let file = self.handle(file, true);
        let slot = &mut self.slots[index];
        let (at, len) = (slot.position(), slot.total - slot.done);
        match (slot.operation, slot.phase) {
            (_, Phase::Zeros) => {
                let mut span = slot.held.part(0).span;
                let left = usize::try_from(len).unwrap_or(usize::MAX);
                span.len = span.len.min(left).min(bytes_max);
                slot.asked = span.len as u64;
                Op::Write { file, at, span }
            }
            (Operation::PunchHole, _) | (_, Phase::Punch) => Op::Punch { file, at, len },
            _ => Op::Zero { file, at, len },
        }
    }

    /// An entry of an operation that makes zeros came back.
    pub(crate) fn zeroed(&mut self, index: u32, result: Result<u64, Errno>) {
        let slot = &mut self.slots[index];
        let written = slot.phase == Phase::Zeros;
        let refused = matches!(result, Err(Errno::OPNOTSUPP | Errno::NOSYS));
        let next = match (slot.operation, slot.phase) {
            (Operation::ZeroRange, Phase::Main) if refused => Phase::Punch,
            (_, Phase::Punch) if refused => Phase::Zeros,
            (_, Phase::Punch) if result.is_ok() => {
                // The last byte says how far the file goes.
                slot.done = slot.total - 1;
                Phase::Zeros
            }
            (_, Phase::Zeros) => {
                let asked = slot.asked;
                match result {
                    Ok(0) => return self.fail(index, ErrorKind::WriteZero),
                    // A count past what was asked would claim what nobody wrote.
                    Ok(count) if count > asked => return self.fail_with(index, Errno::IO),
                    Ok(count) => {
                        slot.done += count;
                        (slot.retries, slot.stalls) = (0, 0);
                    }
                    Err(code) => return self.fail_with(index, code),
                }
                Phase::Zeros
            }
            _ => return self.ended(index, result.map(|_| Value::Unit)),
        };
        if slot.done == slot.total {
            return self.finish(index, Ok(Value::Unit));
        }
        if slot.cancelled {
            return self.fail(index, ErrorKind::Cancelled);
        }
        (slot.phase, slot.retries) = (next, 0);
        if next == Phase::Zeros && matches!(slot.held, Held::Nothing) {
            let len = usize::try_from((slot.total - slot.done).min(ZEROS_MAX));
            slot.held = Held::Write(Shared::from(vec![0; len.expect("it is small")]));
        }
        let file = slot.file;
        self.statistics.resumed += u64::from(written);
        self.requeue(index);
        // One that was in the ring when a flush failed goes no further.
        self.end_changes(file);
    }

    /// The answer to a seek: that there is no such place is one.
    pub(crate) fn sought(&mut self, index: u32, result: Result<u64, Errno>) {
        let place = match result {
            Err(Errno::NXIO) => Ok(None),
            found => found.map(Some),
        };
        self.ended(index, place.map(Value::Place));
    }
}
