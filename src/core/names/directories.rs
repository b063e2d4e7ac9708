//! Directories: making them with all that they are in, and making the names in one durable.

use littoral_platform::{Errno, FileKind, Handle};

use crate::core::held::Value;
use crate::core::state::State;
use crate::core::table::Phase;
use crate::{ErrorKind, OpenOptions};

impl State {
    /// One directory of the way was made, or is there; `done` is how much of the name that is.
    pub(super) fn create_dir_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        let is_last = self.slots[slot].done == self.naming(slot).name.len() as u64;
        match (self.slots[slot].phase, result) {
            (Phase::Look, Ok(_)) if self.naming(slot).stat.kind != FileKind::Directory => {
                self.fail(slot, ErrorKind::AlreadyExists);
                true
            }
            (Phase::Main, Err(Errno::EXIST)) if is_last => self.go_on_named(slot, Phase::Look),
            (Phase::Main, Ok(_) | Err(Errno::EXIST)) if !is_last => {
                if self.slots[slot].cancelled {
                    self.fail(slot, ErrorKind::Cancelled);
                    return true;
                }
                let from = usize::try_from(self.slots[slot].done).expect("a name's length") + 1;
                self.slots[slot].done = self.naming(slot).cut(from) as u64;
                self.go_on_named(slot, Phase::Main)
            }
            (_, result) => self.end_named(slot, result.map(|_| Value::Unit)),
        }
    }

    /// Opened, flushed and closed; only looked at where that cannot be done.
    pub(super) fn sync_dir_turn(&mut self, slot: u32) -> bool {
        self.naming(slot).options = OpenOptions::read_only();
        let can = self.limits.syncs_directories;
        self.push_named(slot, if can { Phase::Main } else { Phase::Look })
    }

    pub(super) fn sync_dir_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        match (self.slots[slot].phase, result) {
            (Phase::Main, Ok(handle)) => {
                let handle = Handle(u32::try_from(handle).expect("a handle's number"));
                self.naming(slot).handle = Some(handle);
                return self.go_on_named(slot, Phase::FlushNames);
            }
            (Phase::Look, Ok(_)) if self.naming(slot).stat.kind != FileKind::Directory => {
                self.fail(slot, ErrorKind::NotADirectory);
            }
            (_, result) => {
                self.close_stray(slot);
                self.end_named(slot, result.map(|_| Value::Unit));
            }
        }
        true
    }
}
