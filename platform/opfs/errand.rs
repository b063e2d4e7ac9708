//! An entry on a name: what it asks for, in memory of its own, and what it brings.
//!
//! Promises are settled when nobody knows where, so an errand keeps nothing of the entry but two
//! addresses, and those are written to only while the entry is alive: when its completion is
//! queued, at a ring that is there to be reaped.

use super::access::Browser;
use super::mark::Mark;
use super::table::Entered;
use super::transfer::Access;
use super::{host, names, path};
use crate::{Errno, Handle, Listed, Op, OpenFlags, Stat};

/// What an entry on a name asks for.
pub(super) enum Errand {
    Open(String, OpenFlags),
    Remove(String),
    Rename(String, String),
    MakeDirectory(String),
    RemoveDirectory(String),
    List(String, *mut Vec<Listed>),
    Look(String, *mut Stat),
    /// The close of a temporary file, which said that.
    Forget(String, Result<(), Errno>),
}

/// What an errand brings.
pub(super) enum Brought {
    Nothing,
    /// A file that nobody knows of before.
    File(Handle),
    Names(Vec<Listed>, *mut Vec<Listed>),
    Known(Stat, *mut Stat),
}

impl Errand {
    /// The errand of an entry, if it is on a name.
    ///
    /// # Safety
    /// The names of the entry are alive.
    pub(super) unsafe fn of(op: &Op) -> Option<Errand> {
        // SAFETY: the caller's promise; the name is copied at once.
        let text = |name: crate::Name| unsafe { name.as_str() }.to_owned();
        Some(match *op {
            Op::Open { name, flags, mode: _ } => Errand::Open(text(name), flags),
            Op::Remove { name } => Errand::Remove(text(name)),
            Op::Rename { from, to } => Errand::Rename(text(from), text(to)),
            Op::MakeDirectory { name } => Errand::MakeDirectory(text(name)),
            Op::RemoveDirectory { name } => Errand::RemoveDirectory(text(name)),
            Op::List { name, into } => Errand::List(text(name), into),
            Op::Look { name, stat } => Errand::Look(text(name), stat),
            _ => return None,
        })
    }

    /// Runs it, on as many of the host's turns as it takes.
    pub(super) async fn run(self, ring: u64, root: Option<&str>) -> Result<Brought, Errno> {
        let place = names::Names { ring, root };
        match self {
            Errand::Open(name, flags) => {
                let file = place.open(&name, flags).await?;
                let file = Browser::new(file, Mark::new(root, &name));
                let temporary = flags.contains(OpenFlags::TEMPORARY);
                let entered = Entered {
                    writable: flags.contains(OpenFlags::WRITE),
                    ring,
                    identity: path::identity(root, &name),
                    temporary: temporary.then_some(name),
                };
                enter(file, entered)
            }
            Errand::Remove(name) => place.remove(&name).await.map(|()| Brought::Nothing),
            Errand::Rename(from, to) => place.rename(&from, &to).await.map(|()| Brought::Nothing),
            Errand::MakeDirectory(name) => {
                place.make_directory(&name).await.map(|()| Brought::Nothing)
            }
            Errand::RemoveDirectory(name) => {
                place.remove_directory(&name).await.map(|()| Brought::Nothing)
            }
            Errand::List(name, into) => Ok(Brought::Names(place.list(&name).await?, into)),
            Errand::Look(name, into) => Ok(Brought::Known(place.look(&name).await?, into)),
            Errand::Forget(name, closed) => {
                // Whoever removed it before has done what is wanted; what cannot be removed now is
                // swept by the next ring.
                let _ = place.remove(&name).await;
                closed.map(|()| Brought::Nothing)
            }
        }
    }
}

fn enter(file: Browser, entered: Entered) -> Result<Brought, Errno> {
    match host::table(|table| table.insert(file, entered)) {
        Ok(handle) => Ok(Brought::File(handle)),
        Err(file) => {
            file.close()?;
            Err(Errno::MFILE)
        }
    }
}

impl Brought {
    /// Writes it where the entry wanted it; what its completion says, and the file it brings.
    ///
    /// # Safety
    /// The entry is alive: its tag was not reaped.
    pub(super) unsafe fn hand_over(self) -> (u64, Option<Handle>) {
        match self {
            Brought::Nothing => (0, None),
            Brought::File(handle) => (u64::from(handle.0), Some(handle)),
            Brought::Names(names, into) => {
                // SAFETY: the caller's promise: the list is there, and nobody else's.
                unsafe { &mut *into }.extend(names);
                (0, None)
            }
            Brought::Known(stat, into) => {
                // SAFETY: the caller's promise, for the stat.
                unsafe { into.write(stat) };
                (stat.size, None)
            }
        }
    }

    /// Nobody wants it any more.
    pub(super) fn discard(self) {
        if let Brought::File(handle) = self {
            close_and_forget(handle);
        }
    }
}

/// Closes a file that nobody knows of, so that nobody waits for what closing it says.
pub(super) fn close_and_forget(handle: Handle) {
    let _ = host::table(|table| table.close(handle));
}
