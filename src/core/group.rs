//! Groups: operations that somebody wants to hear of together.
//!
//! A group has a slot of its own, so that its end is told like any operation's: polled, called back
//! from, or awaited. A member stays what it is, with a completion of its own; its slot names the
//! group, and its end is counted there. The group ends when it is complete (nobody adds to it any
//! more) and none of its members is unfinished, with the first failure there was.
//!
//! Worked example: writes a and b are added; a fails while the group is still open; it is closed
//! (one unfinished), b ends well: the group ends, with a's failure. Whoever takes that has been
//! told of a: a sync does not tell it again, though a's own completion was dropped.

use std::collections::HashMap;

use super::Core;
use super::held::{Held, Value};
use super::state::State;
use super::table::{Key, NONE, Stage};
use crate::{Error, ErrorKind, Operation};

/// Where a failure stands among those of its file.
pub(crate) type Place = (u32, u64);

/// The groups that there are, by slot.
pub(crate) type Groups = HashMap<u32, Members>;

/// What one group knows of its members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    unfinished: u32,
    complete: bool,
    first: Option<Error>,
    keys: Vec<Key>,
    /// Failures that this group has to tell.
    untold: Vec<Place>,
}

impl Members {
    fn add(&mut self, member: Key) {
        self.unfinished += 1;
        self.keys.push(member);
    }

    fn end(&mut self) {
        self.unfinished -= 1;
    }

    fn fail(&mut self, error: &Error, place: Option<Place>) {
        self.first.get_or_insert_with(|| error.clone());
        self.untold.extend(place);
    }

    fn is_over(&self) -> bool {
        self.complete && self.unfinished == 0
    }
}

impl State {
    /// Counts an operation to a group, also one that has ended.
    fn join(&mut self, member: Key, group: u32) {
        self.off_the_road(member);
        // One whose result was taken has been told already.
        if self.slots.find(member).is_none() {
            return;
        }
        let group = self.key(group);
        let slot = &mut self.slots[member.slot];
        if slot.stage == Stage::PublishedRead {
            slot.stage = Stage::Published;
        }
        let over = slot.is_over();
        if slot.group == Key::NONE {
            slot.group = group;
        } else {
            let further = self.further_groups.entry(member.slot).or_default();
            if slot.group == group || further.contains(&group) {
                return;
            }
            further.push(group);
        }
        self.groups.entry(group.slot).or_default().add(member);
        if over {
            self.tell_group(member.slot, group);
        }
    }

    /// A member has ended: its groups hear of it.
    pub(crate) fn leave_groups(&mut self, index: u32) {
        self.tell_group(index, self.slots[index].group);
        for group in self.further_groups.get(&index).cloned().unwrap_or_default() {
            self.tell_group(index, group);
        }
    }

    fn tell_group(&mut self, index: u32, group: Key) {
        let slot = &self.slots[index];
        let place = (slot.file != NONE).then_some((slot.file, slot.sequence));
        if self.slots[group.slot].generation != group.generation {
            return;
        }
        let Some(members) = self.groups.get_mut(&group.slot) else { return };
        if let Some(Err(error)) = &slot.outcome {
            members.fail(error, place);
        }
        members.end();
        self.end_group(group.slot);
    }

    fn end_group(&mut self, group: u32) {
        let Some(members) = self.groups.get_mut(&group) else { return };
        if members.is_over() {
            let outcome = members.first.clone().map_or(Ok(Value::Unit), Err);
            self.finish(group, outcome);
        }
    }

    /// Whether the failure of a slot that nobody took is told by a group of its.
    pub(crate) fn is_told_by_group(&self, index: u32) -> bool {
        let slot = &self.slots[index];
        let place = (slot.file, slot.sequence);
        let further = self.further_groups.get(&index).into_iter().flatten();
        core::iter::once(&slot.group).chain(further).any(|group| {
            self.slots.get(group.slot).is_some_and(|slot| slot.generation == group.generation)
                && self.groups.get(&group.slot).is_some_and(|g| g.untold.contains(&place))
        })
    }

    /// Whether some group has that failure to tell.
    pub(crate) fn has_a_teller(&self, place: Place) -> bool {
        self.groups.values().any(|group| group.untold.contains(&place))
    }

    /// A group is gone: somebody took what it had to tell, or nobody will.
    pub(crate) fn forget_group(&mut self, index: u32, told: bool) {
        let Some(members) = self.groups.remove(&index) else { return };
        // Members whose completions are still there tell of themselves.
        let present = |key: &Key| {
            let slot = self.slots.find(*key)?;
            Some((slot.file, slot.sequence))
        };
        let present: Vec<Place> =
            if told { Vec::new() } else { members.keys.iter().filter_map(present).collect() };
        for (file, sequence) in members.untold {
            if present.contains(&(file, sequence)) {
                continue;
            }
            let Some(entry) = self.files.try_get(file) else { continue };
            if told {
                entry.failures.forgive(sequence);
            } else {
                entry.failures.lose(sequence);
            }
        }
    }

    /// A cancel of a group is one of each of its members; it ends when they do.
    pub(crate) fn cancel_group(&mut self, group: u32) {
        let members = self.groups.get(&group).map(|members| members.keys.clone());
        for member in members.unwrap_or_default() {
            self.cancel(member);
        }
    }
}

impl Core {
    /// A group without members, which is not complete.
    pub(crate) fn group(&self) -> Result<Key, Error> {
        let mut state = self.lock();
        if state.groups.len() >= state.config.operations as usize {
            return Err(Error::new(ErrorKind::Saturated, Operation::Group));
        }
        let index = state.begin(Operation::Group, NONE, Held::Nothing);
        // Nobody has to step for it before it is complete, and it is no operation of its own.
        state.unfinished -= 1;
        state.statistics.accepted -= 1;
        state.groups.insert(index, Members::default());
        Ok(state.key(index))
    }

    pub(crate) fn join(&self, member: Key, group: Key) {
        let mut state = self.lock();
        state.join(member, group.slot);
        self.leave(state);
    }

    /// An operation that was refused counts as a member that has failed.
    pub(crate) fn join_refused(&self, error: &Error, place: Option<Place>, group: Key) {
        let mut state = self.lock();
        if let Some(members) = state.groups.get_mut(&group.slot) {
            members.fail(error, place);
        }
    }

    /// Nobody adds to the group any more.
    pub(crate) fn complete_group(&self, group: Key) {
        let mut state = self.lock();
        let Some(members) = state.groups.get_mut(&group.slot) else { return };
        members.complete = true;
        if members.is_over() {
            // Nothing is left to wait for: it is born finished.
            let outcome = members.first.clone().map_or(Ok(Value::Unit), Err);
            let slot = &mut state.slots[group.slot];
            (slot.stage, slot.outcome) = (Stage::Published, Some(outcome));
        } else {
            state.unfinished += 1;
            state.queue.road = 0;
        }
        self.leave(state);
    }

    /// A group that was never completed is dropped.
    pub(crate) fn drop_group(&self, group: Key) {
        let mut state = self.lock();
        let slot = &mut state.slots[group.slot];
        debug_assert_eq!(slot.stage, Stage::Waiting, "it is not complete");
        slot.stage = Stage::Published;
        state.free(group.slot);
        self.leave(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of members: over exactly when it is complete and all have ended, whatever
        /// ended before, with the first failure in time.
        #[test]
        fn ends_with_its_last_member(
            script in prop::collection::vec((0u8..5, any::<prop::sample::Index>()), 0..40),
            complete_at in 0usize..40,
        ) {
            let mut members = Members::default();
            let mut running: Vec<u32> = Vec::new();
            let mut first = None;
            for (round, (action, pick)) in (0u32..).zip(script) {
                if round as usize == complete_at {
                    members.complete = true;
                }
                if action < 3 && !members.complete {
                    members.add(Key { slot: round, ..Key::NONE });
                    running.push(round);
                } else if !running.is_empty() {
                    let ended = running.swap_remove(pick.index(running.len()));
                    if action % 2 == 0 {
                        let error = Error::new(ErrorKind::Io, Operation::Pwrite);
                        members.fail(&error.confirmed_to(ended.into()), None);
                        first = first.or(Some(u64::from(ended)));
                    }
                    members.end();
                }
                prop_assert_eq!(members.is_over(), members.complete && running.is_empty());
                prop_assert_eq!(members.first.as_ref().and_then(Error::confirmed), first);
            }
        }
    }
}
