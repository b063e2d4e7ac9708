//! Removing: what is open stays, and a prepared file is cut to nothing.

use std::sync::Arc;

use littoral_platform::{Errno, Handle};

use crate::core::held::Value;
use crate::core::state::State;
use crate::core::table::Phase;
use crate::{Error, ErrorKind, Operation};

impl State {
    pub(super) fn remove_turn(&mut self, slot: u32) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        let Some(file) = self.files.by_name(&name) else {
            let phase = if self.has_other_names() { Phase::Look } else { Phase::Main };
            return self.push_named(slot, phase);
        };
        match self.removable(file) {
            Ok(handle) => {
                self.naming(slot).handle = Some(handle);
                self.push_named(slot, Phase::Empty)
            }
            Err(kind) => {
                self.fail(slot, kind);
                false
            }
        }
    }

    /// Whether a name may be that of a file which is open by another one.
    pub(crate) fn has_other_names(&self) -> bool {
        !self.limits.one_handle_per_file && self.files.open_count() > 0
    }

    /// No open file is the one of that identity.
    pub(crate) fn unknown(
        &mut self,
        identity: (u64, u64),
        operation: Operation,
    ) -> Result<(), Error> {
        let Some(file) = self.files.by_identity(identity) else { return Ok(()) };
        let other = &self.files.get(file).names[0];
        let why = format!("it is open by another name, `{}`", other.escape_debug());
        Err(Error::new(ErrorKind::Busy, operation).because(why))
    }

    pub(super) fn remove_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        match (self.slots[slot].phase, result) {
            // What is not there, or leads nowhere, is not open.
            (Phase::Look, Ok(_) | Err(Errno::NOENT)) => {
                let identity = self.naming(slot).stat.identity;
                match self.unknown(identity, Operation::Remove) {
                    Err(error) if result.is_ok() => self.finish(slot, Err(error.on(name))),
                    _ => return self.go_on_named(slot, Phase::Main),
                }
            }
            (Phase::Empty, Ok(_)) => {
                if let Some(file) = self.files.by_name(&name) {
                    self.files.get(file).absent = true;
                    self.acknowledge(file);
                }
                self.finish(slot, Ok(Value::Unit));
            }
            (Phase::Main, Ok(_)) => {
                self.poisons.removed(&name);
                self.finish(slot, Ok(Value::Unit));
            }
            (_, result) => return self.end_named(slot, result.map(|_| Value::Unit)),
        }
        true
    }

    /// A prepared file that nobody uses is removed by cutting it to nothing.
    pub(crate) fn removable(&mut self, file: u32) -> Result<Handle, ErrorKind> {
        let entry = self.files.get(file);
        if entry.users > u32::from(entry.prepared) || entry.pins > 0 || !entry.prepared {
            return Err(ErrorKind::Busy);
        }
        if entry.absent {
            Err(ErrorKind::NotFound)
        } else {
            Ok(entry.writable.unwrap_or(entry.readable))
        }
    }
}
