//! Several operations, heard of together.

use core::fmt;
use std::sync::Arc;

use crate::core::{Core, Key};
use crate::{Completion, Error};

/// A set of operations of one driver that somebody wants to hear of together, made by
/// [`Io::group`](crate::Io::group).
///
/// Members keep their own completions, which tell of each; those that are dropped are told of by
/// the group alone. [`join`](Group::join) gives the group's own completion, to be polled, called
/// back from, or awaited: it ends after the last member, with the first failure there was. It is
/// right also where members end while the group is being built. A group without members has ended
/// at once.
///
/// ```
/// use littoral::{Config, OpenOptions, SyncKind, start, wait};
/// # fn main() -> littoral::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let io = start(Config::new().root(folder.path()))?;
/// let file = wait(&*io, io.open("pages", OpenOptions::new().create(true)))?;
/// let mut pages = io.group();
/// for page in 0..8 {
///     pages.add(&file.pwrite(page * 4096, vec![1; 4096].into()));
/// }
/// wait(&*io, pages.join())?;
/// wait(&*io, file.sync(SyncKind::Data))?;
/// # Ok(())
/// # }
/// ```
pub struct Group {
    core: Arc<Core>,
    key: Result<Key, Error>,
    joined: bool,
}

impl Group {
    pub(crate) fn new(core: &Arc<Core>) -> Group {
        Group { core: Arc::clone(core), key: core.group(), joined: false }
    }

    /// Counts an operation in. One whose result was taken already is no member, and neither is one
    /// of another driver, which this one hears nothing of. It may be in several groups.
    pub fn add<T>(&mut self, member: &Completion<T>) {
        if let Ok(group) = self.key {
            member.join(&self.core, group);
        }
    }

    /// Ends the building: completes after the last member, with the first failure there was.
    /// Cancelling this asks for the end of each member.
    pub fn join(mut self) -> Completion<()> {
        self.joined = true;
        if let Ok(group) = self.key {
            self.core.complete_group(group);
        }
        Completion::new(&self.core, self.key.clone())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Ok(group) = self.key
            && !self.joined
        {
            self.core.drop_group(group);
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Group")
    }
}
