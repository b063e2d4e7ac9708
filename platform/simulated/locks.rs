//! Who has the lock of a simulated file: the rules of open-file-description locks.

use crate::{Errno, LockKind};

/// The locks of one file, by who opened it. Each open is a holder of its own, also within one ring.
#[derive(Debug, Default)]
pub(super) struct Locks(Vec<(u64, LockKind)>);

impl Locks {
    /// Takes the lock or converts it; where another one is in the way, everything stays as it is.
    pub(super) fn take(&mut self, who: u64, kind: LockKind) -> Result<(), Errno> {
        let is_in_the_way = |held: LockKind| LockKind::Exclusive == held.max(kind);
        if self.0.iter().any(|&(other, held)| other != who && is_in_the_way(held)) {
            return Err(Errno::BUSY);
        }
        self.give(who);
        self.0.push((who, kind));
        Ok(())
    }

    /// Gives the lock up, if there is one.
    pub(super) fn give(&mut self, who: u64) {
        self.0.retain(|&(holder, _)| holder != who);
    }
}
