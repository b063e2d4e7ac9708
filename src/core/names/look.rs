//! Looking: whether there is something, what it is, and what is in a directory.

use std::sync::Arc;

use littoral_platform::{Errno, Listed, RESERVED};

use crate::core::held::Value;
use crate::core::names::rule;
use crate::core::state::State;
use crate::core::table::Phase;
use crate::{ErrorKind, Operation};

impl State {
    pub(super) fn look_turn(&mut self, slot: u32) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        let file = self.files.by_name(&name);
        if !file.is_some_and(|file| self.files.get(file).absent) {
            return self.push_named(slot, Phase::Look);
        }
        if self.slots[slot].operation == Operation::Exists {
            self.finish(slot, Ok(Value::Exists(false)));
        } else {
            self.fail(slot, ErrorKind::NotFound);
        }
        false
    }

    pub(super) fn look_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        let stat = *self.naming(slot).stat;
        let value = if self.slots[slot].operation == Operation::Exists {
            match result {
                Ok(_) => Ok(Value::Exists(true)),
                // Also what is below a file.
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(Value::Exists(false)),
                Err(code) => Err(code),
            }
        } else {
            result.map(|_| Value::Metadata(stat))
        };
        self.end_named(slot, value)
    }

    pub(super) fn list_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        let naming = self.naming(slot);
        let (directory, mut list) = (Arc::clone(&naming.name), core::mem::take(&mut *naming.list));
        list.retain(|listed| self.is_to_be_seen(&directory, listed));
        list.sort_unstable();
        self.end_named(slot, result.map(|_| Value::List(list)))
    }

    /// Not what cannot be named, nor a temporary file, nor a prepared one that reads as absent.
    fn is_to_be_seen(&mut self, directory: &str, listed: &Listed) -> bool {
        if rule::broken(&listed.name).is_some() || listed.name.starts_with(RESERVED) {
            return false;
        }
        let below = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let file = self.files.by_name(&format!("{below}{}", listed.name));
        !file.is_some_and(|file| self.files.get(file).absent)
    }

    /// The answer to a look at an open file.
    pub(crate) fn stated(&mut self, slot: u32, result: Result<u64, Errno>) {
        let value = match &self.slots[slot].held {
            crate::core::held::Held::Stat(stat) => Value::Metadata(**stat),
            _ => unreachable!("it holds what was filled"),
        };
        self.end_named(slot, result.map(|_| value));
    }
}
