//! Renaming: neither name is that of an open file, by whatever name that is open, and neither is a
//! directory's.
//!
//! Where a file can be open once only it has one name, and the platform refuses directories: the
//! rename is one entry. Elsewhere both names are looked at before.

use std::sync::Arc;

use littoral_platform::{Errno, FileKind};

use crate::core::files::Waiter;
use crate::core::held::Value;
use crate::core::state::State;
use crate::core::table::Phase;
use crate::{Error, ErrorKind, Operation};

impl State {
    /// A rename has the next of its names. It gives them up by itself, so that both are kept.
    pub(super) fn rename_turn(&mut self, slot: u32) -> bool {
        let [_, second] = self.names_of(slot);
        let naming = self.naming(slot);
        naming.has += 1;
        if let Some(second) = second.filter(|_| naming.has == 1) {
            if !self.files.acquire(&second, Waiter::Slot(slot)) {
                return true;
            }
            self.naming(slot).has += 1;
        }
        if let Err(error) = self.may_rename(slot) {
            let names = self.names_of(slot);
            let error = self.describe(slot, error);
            self.finish(slot, Err(error));
            for name in names.iter().flatten() {
                self.next_turn(name);
            }
            return true;
        }
        let direct = self.limits.one_handle_per_file;
        self.push_named(slot, if direct { Phase::Main } else { Phase::Look })
    }

    fn may_rename(&mut self, slot: u32) -> Result<(), Error> {
        let naming = self.naming(slot);
        let (from, (to, _)) = (&naming.name, naming.target.as_ref().expect("a rename has one"));
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        let error = |kind| Error::new(kind, Operation::Rename);
        if let Some(file) = self.files.by_name(&from) {
            let kind =
                if self.files.get(file).absent { ErrorKind::NotFound } else { ErrorKind::Busy };
            return Err(error(kind));
        }
        match self.files.by_name(&to) {
            None => Ok(()),
            Some(file) if self.files.get(file).prepared => Err(error(ErrorKind::Busy)
                .because("the target is prepared, and so stays open for the driver's life")),
            Some(_) => Err(error(ErrorKind::Busy).because("the target is open")),
        }
    }

    pub(super) fn rename_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        let phase = self.slots[slot].phase;
        let absent = result == Err(Errno::NOENT);
        if matches!(phase, Phase::Look | Phase::LookAtTarget) {
            let naming = self.naming(slot);
            let found = result.is_ok().then_some(naming.stat.identity);
            let linked = phase == Phase::Look || naming.linked == found;
            naming.linked = found.filter(|_| linked);
        }
        let refused = match (phase, result) {
            (Phase::Look | Phase::LookAtTarget, Ok(_)) => {
                let stat = *self.naming(slot).stat;
                if stat.kind == FileKind::Directory {
                    Some(Error::new(ErrorKind::IsADirectory, Operation::Rename))
                } else {
                    self.unknown(stat.identity, Operation::Rename).err()
                }
            }
            // A symbolic link that leads nowhere can be renamed; what is not there cannot, and the
            // rename says so.
            (Phase::Look | Phase::LookAtTarget, Err(_)) if absent => None,
            (_, result) => {
                if result.is_ok() {
                    self.renamed(slot);
                }
                return self.end_named(slot, result.map(|_| Value::Unit));
            }
        };
        match refused {
            Some(error) => {
                let error = self.describe(slot, error);
                self.finish(slot, Err(error));
                true
            }
            None if phase == Phase::Look => self.go_on_named(slot, Phase::LookAtTarget),
            None => self.go_on_named(slot, Phase::Main),
        }
    }

    /// What is known by name goes along.
    fn renamed(&mut self, slot: u32) {
        let naming = self.naming(slot);
        // Of two names of one file, none goes away.
        if let Some((to, _)) = naming.target.as_ref().filter(|_| naming.linked.is_none()) {
            let (from, to) = (Arc::clone(&naming.name), Arc::clone(to));
            self.poisons.renamed(&from, &to);
        }
    }
}
