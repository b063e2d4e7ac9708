//! What an operation is asked for beyond moving bytes, and what it gets of that.
//!
//! Each intent is met by a flag on the entry where the platform has one, and by its *downgrade*
//! where it has not: a durable write is written and then flushed; an uncached operation goes by the
//! cache; one that must not wait ends as `WouldBlock`, for nobody can tell whether it would have
//! to. What a ring can be asked for at all stands in [`Limits::flags`]; whether the system of a
//! file takes it is told by the first entry that asks, with `EOPNOTSUPP`: that entry is made again
//! without, and the file remembers. Nothing of it is silent: `Statistics::downgraded` counts, and
//! the driver's capabilities name what was refused, and for which file.
//!
//! # Durable by one entry
//!
//! A write with `RWF_DSYNC` is durable at its end, by one entry. Whether that is better than a
//! write and a flush is for `policy` to say. What an entry has moved with the flag is durable, and
//! what one has moved without it is *unflushed*: a write with unflushed bytes ends with a flush.
//! Worked example: a write of three pages, by an entry with the flag; it gives one page, which is
//! durable and so confirmed. Meanwhile others have come to be flushed, so the rest goes without the
//! flag, and all of it is flushed with theirs.
//!
//! An error of an entry with the flag may be the flush's: for all that can only come from a flush
//! or a device the file is poisoned, as by a flush of its own.

use littoral_platform::{Errno, Limits, Report, RwFlags};

use super::apart::Lane;
use super::flush::is_final;
use super::policy::is_durable_by_entry;
use super::state::State;
use super::table::{NONE, Phase, Slot, Stage};
use crate::{Error, ErrorKind, Intent, Operation};

/// In which order a refused entry goes without: what is least likely to be known first.
const LADDER: [(RwFlags, &str); 3] = [
    (RwFlags::UNCACHED, "uncached"),
    (RwFlags::DURABLE, "durable in one entry"),
    (RwFlags::NO_WAIT, "no-wait"),
];

impl Intent {
    /// Whether no operation can be asked for that.
    pub(crate) fn is_impossible(self) -> bool {
        self.durable && self.no_wait
    }
}

impl Slot {
    /// What those who travel in one entry have in common.
    pub(crate) fn wishes(&self) -> (bool, RwFlags, Lane) {
        (self.durable, self.flags, self.lane)
    }

    /// An entry of it that is in the ring makes what it moves durable, or will be followed by a
    /// flush.
    pub(crate) fn is_durable_write(&self) -> bool {
        self.durable && self.phase == Phase::Main
    }
}

impl State {
    /// Takes note of what an operation is asked for; false if it has ended by that.
    pub(crate) fn heed_intent(&mut self, index: u32, intent: Intent) -> bool {
        let write = matches!(self.slots[index].operation, Operation::Pwrite | Operation::Pwritev);
        let mut wanted = RwFlags::empty();
        wanted.set(RwFlags::UNCACHED, intent.uncached);
        wanted.set(RwFlags::NO_WAIT, intent.no_wait);
        let refused = self.files.get(self.slots[index].file).refused;
        let given = wanted & self.limits.flags.difference(refused);
        let slot = &mut self.slots[index];
        slot.durable = write && intent.durable;
        slot.flags = given;
        if given == wanted {
            return true;
        }
        self.statistics.downgraded += 1;
        if wanted.difference(given).contains(RwFlags::NO_WAIT) {
            self.would_block(index, "and the platform does no less");
            return false;
        }
        true
    }

    /// Ends an operation that must not wait.
    pub(crate) fn would_block(&mut self, index: u32, why: &'static str) {
        let error = Error::new(ErrorKind::WouldBlock, self.slots[index].operation).because(why);
        let error = self.describe(index, error);
        self.finish(index, Err(error));
    }

    /// It was admitted: one that must not wait ends if something is before it.
    pub(crate) fn heed_haste(&mut self, index: u32) {
        let slot = &self.slots[index];
        if slot.flags.contains(RwFlags::NO_WAIT) && slot.stage == Stage::Waiting {
            self.would_block(index, "for operations submitted before");
        }
    }

    /// What the next entry of a chain asks for.
    pub(crate) fn entry_flags(&mut self, head: u32) -> RwFlags {
        let slot = &self.slots[head];
        let (mut flags, durable, file) = (slot.flags, slot.durable, slot.file);
        if !durable {
            return flags;
        }
        let past_the_cache = slot.lane == Lane::Direct;
        let entry = self.files.get(file);
        let can = self.limits.flags.contains(RwFlags::DURABLE)
            && !entry.refused.contains(RwFlags::DURABLE);
        let alone = entry.durables == 0 && !entry.flushes.is_running() && self.queue.is_empty();
        let by_entry = can && is_durable_by_entry(past_the_cache, alone);
        flags.set(RwFlags::DURABLE, by_entry);
        let mut member = head;
        while member != NONE {
            self.slots[member].by_entry = by_entry;
            member = self.slots[member].next;
        }
        flags
    }

    /// Sees to an error that is about what an entry was asked for; false if it is not.
    pub(crate) fn declined(&mut self, head: u32, code: Errno) -> bool {
        let slot = &self.slots[head];
        let mut asked = slot.flags;
        asked.set(RwFlags::DURABLE, slot.by_entry && slot.is_durable_write());
        if asked.is_empty() || slot.phase != Phase::Main {
            return false;
        }
        if code == Errno::AGAIN && asked.contains(RwFlags::NO_WAIT) {
            self.end_members(head, |state, member| state.would_block(member, "for the device"));
            return true;
        }
        if code == Errno::OPNOTSUPP {
            self.go_without(head, asked);
            return true;
        }
        // What only a write can fail with has flushed nothing.
        let by_write = matches!(code, Errno::NOSPC | Errno::DQUOT | Errno::FBIG);
        if !asked.contains(RwFlags::DURABLE) || by_write || !is_final(code) {
            return false;
        }
        let file = self.slots[head].file;
        let error = self.describe(head, Error::from_code(code, Operation::Sync));
        self.end_members(head, |state, member| {
            let error = Error::from_code(code, state.slots[member].operation);
            let error = error.because("it was to be written and flushed at once");
            state.fail_as(member, code, error);
        });
        self.poison(file, error);
        true
    }

    /// The system of a file does not know one of the flags of an entry.
    fn go_without(&mut self, head: u32, asked: RwFlags) {
        let known = LADDER.iter().find(|(flag, _)| asked.contains(*flag));
        let &(flag, name) = known.expect("it was asked for something");
        let file = self.slots[head].file;
        let entry = self.files.get(file);
        entry.refused |= flag;
        if !self.refused_intents.iter().any(|(other, _)| *other == flag) {
            let line = format!("{name}, on {}", self.files.get(file).names[0]);
            self.refused_intents.push((flag, line));
        }
        if flag == RwFlags::NO_WAIT {
            self.end_members(head, |state, member| {
                state.statistics.downgraded += 1;
                state.would_block(member, "and the file's system does no less");
            });
            return;
        }
        let members = self.unchain(head);
        for &member in &members {
            self.slots[member].flags.remove(flag);
        }
        self.statistics.downgraded += members.len() as u64;
        self.resume_chain(&members);
        self.spare(members);
        // The poison of a flush that failed meanwhile is for it, too.
        self.end_changes(file);
    }

    /// What files have refused, for the driver's report.
    pub(crate) fn refused_intents(&self) -> impl Iterator<Item = (String, Errno)> {
        self.refused_intents.iter().map(|(_, line)| (line.clone(), Errno::OPNOTSUPP))
    }

    fn end_members(&mut self, head: u32, end: impl Fn(&mut State, u32)) {
        let members = self.unchain(head);
        for &member in &members {
            end(self, member);
        }
        self.spare(members);
    }
}

/// Adds what can be asked of entries.
pub(crate) fn with_intents(mut report: Report, limits: &Limits) -> Report {
    for (flag, name) in LADDER {
        if limits.flags.contains(flag) {
            report.chosen.push(format!("{name}, where the file's system takes it"));
        } else {
            report.refused.push((name.to_owned(), Errno::OPNOTSUPP));
        }
    }
    report
}
