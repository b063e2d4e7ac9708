//! Files that have lost a flush: which they are, across close and reopening.
//!
//! A system that fails to write a page back tells so once and marks the page clean: the next flush
//! finds nothing to do and succeeds, without the bytes ("Can Applications Recover from fsync
//! Failures?", USENIX ATC 2020; fsync(2), EIO). So a flush that ran and failed is final. Its file
//! stays *poisoned* for this driver: whatever handle it is used by, also one opened later, it takes
//! no change and no sync until somebody says that he knows.
//!
//! A file is known by what the platform calls its identity, where that holds across opens, else by
//! its name. Names matter in both cases: once every name that it was known by is removed, what is
//! made under one of them is a new file, also if the file system gives it the old one's inode.
//! Worked example: `a` and its hard link `b` were open when their file 7 lost a flush. `a` is
//! removed: `b` is still poisoned. `b` is removed, too: file 7 may come again, as good as new.
//!
//! The list is bounded. Should more files lose a flush than it holds, then what is forgotten must
//! not pass for sound: from there on every file counts as poisoned when it is opened.

use std::sync::Arc;

use crate::Error;

/// The platform's number for a file: device and inode.
pub(crate) type Identity = (u64, u64);

/// The poisoned files of one driver.
#[derive(Debug)]
pub(crate) struct Poisons {
    known: Vec<Poison>,
    known_max: usize,
    /// Identities hold across opens.
    by_identity: bool,
    /// A flush that failed when the list was full.
    overflowed: Option<Error>,
}

#[derive(Debug)]
struct Poison {
    identity: Identity,
    names: Vec<Arc<str>>,
    /// What the flush failed with.
    error: Error,
}

impl Poisons {
    pub(crate) fn new(known_max: usize, by_identity: bool) -> Poisons {
        Poisons { known: Vec::new(), known_max, by_identity, overflowed: None }
    }

    /// An open file of these names lost a flush; or is poisoned, and has these names now.
    pub(crate) fn add(&mut self, identity: Identity, names: &[Arc<str>], error: &Error) {
        if let Some(at) = self.place(identity, names) {
            self.known[at].names = names.to_vec();
        } else if self.known.len() < self.known_max {
            self.known.push(Poison { identity, names: names.to_vec(), error: error.clone() });
        } else {
            self.overflowed = Some(error.clone());
        }
    }

    /// Whether a file that was just opened is poisoned, and by what.
    pub(crate) fn of(&self, identity: Identity, name: &Arc<str>) -> Option<&Error> {
        let found = self.place(identity, core::slice::from_ref(name));
        found.map(|at| &self.known[at].error).or(self.overflowed.as_ref())
    }

    /// Somebody knows of it.
    pub(crate) fn acknowledge(&mut self, identity: Identity, names: &[Arc<str>]) {
        if let Some(at) = self.place(identity, names) {
            self.known.swap_remove(at);
        }
    }

    /// The file of that name is gone.
    pub(crate) fn removed(&mut self, name: &str) {
        self.known.retain_mut(|poison| {
            poison.names.retain(|known| **known != *name);
            !poison.names.is_empty()
        });
    }

    /// A file has another name, in place of the one that had it.
    pub(crate) fn renamed(&mut self, from: &str, to: &Arc<str>) {
        if *from == **to {
            return;
        }
        self.removed(to);
        let names = self.known.iter_mut().flat_map(|poison| &mut poison.names);
        for name in names.filter(|name| ***name == *from) {
            *name = Arc::clone(to);
        }
    }

    fn place(&self, identity: Identity, names: &[Arc<str>]) -> Option<usize> {
        self.known.iter().position(|poison| {
            if self.by_identity {
                poison.identity == identity
            } else {
                poison.names.iter().any(|name| names.contains(name))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{ErrorKind, Operation};

    fn failed() -> Error {
        Error::new(ErrorKind::Io, Operation::Sync)
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn the_worked_example() {
        let mut poisons = Poisons::new(4, true);
        poisons.add((0, 7), &names(&["a", "b"]), &failed());
        poisons.removed("a");
        assert!(poisons.of((0, 7), &"b".into()).is_some());
        poisons.removed("b");
        assert!(poisons.of((0, 7), &"a".into()).is_none());
    }

    #[test]
    fn a_full_list_takes_no_file_for_sound() {
        let mut poisons = Poisons::new(1, false);
        poisons.add((0, 1), &names(&["a"]), &failed());
        assert!(poisons.of((0, 2), &"b".into()).is_none());
        poisons.add((0, 2), &names(&["b"]), &failed());
        poisons.acknowledge((0, 1), &names(&["a"]));
        for name in ["a", "b", "c"] {
            assert!(poisons.of((0, 3), &name.into()).is_some(), "{name}");
        }
    }

    /// A folder: files by name, several names for one file where there are identities.
    #[derive(Debug, Default)]
    struct Folder {
        files: BTreeMap<u8, u64>,
        poisoned: BTreeSet<u64>,
    }

    impl Folder {
        fn names_of(&self, file: u64) -> Vec<Arc<str>> {
            let of = self.files.iter().filter(|(_, other)| **other == file);
            of.map(|(name, _)| name.to_string().into()).collect()
        }

        /// The lowest number that no name has: inodes are given out again.
        fn unused(&self) -> u64 {
            (0..100)
                .find(|file| !self.files.values().any(|other| other == file))
                .expect("few files")
        }
    }

    proptest! {
        /// Against a folder that knows its files: what lost a flush, and was neither acknowledged
        /// nor removed, is found under every name of it, and nothing else is.
        #[test]
        fn finds_what_lost_a_flush_and_nothing_else(
            by_identity in any::<bool>(),
            script in prop::collection::vec((0u8..6, 0u8..5, 0u8..5), 1..80),
        ) {
            let mut poisons = Poisons::new(100, by_identity);
            let mut folder = Folder::default();
            for (action, name, other) in script {
                let text: Arc<str> = name.to_string().into();
                match (action, folder.files.get(&name).copied()) {
                    (0, None) => {
                        let file = folder.unused();
                        folder.files.insert(name, file);
                    }
                    // A hard link; it is opened, so that the driver knows of it.
                    (0, Some(file)) if by_identity => {
                        folder.files.entry(other).or_insert(file);
                        if folder.poisoned.contains(&file) {
                            poisons.add((0, file), &folder.names_of(file), &failed());
                        }
                    }
                    (1 | 2, Some(file)) => {
                        poisons.add((0, file), &folder.names_of(file), &failed());
                        folder.poisoned.insert(file);
                    }
                    (3, Some(file)) => {
                        poisons.removed(&text);
                        folder.files.remove(&name);
                        if folder.names_of(file).is_empty() {
                            folder.poisoned.remove(&file);
                        }
                    }
                    // Of two names of one file, none goes away.
                    (5, Some(file)) if folder.files.get(&other) != Some(&file) => {
                        poisons.renamed(&text, &other.to_string().into());
                        folder.files.remove(&name);
                        let replaced = folder.files.insert(other, file);
                        folder.poisoned.retain(|file| {
                            Some(*file) != replaced || folder.files.values().any(|f| f == file)
                        });
                    }
                    (4, Some(file)) => {
                        poisons.acknowledge((0, file), &folder.names_of(file));
                        folder.poisoned.remove(&file);
                    }
                    _ => {}
                }
                for (name, file) in &folder.files {
                    // Where names count, the platform's number is another one at each open.
                    let identity = (0, if by_identity { *file } else { 1000 });
                    let found = poisons.of(identity, &name.to_string().into()).is_some();
                    prop_assert_eq!(found, folder.poisoned.contains(file), "{:?}", folder);
                }
            }
        }
    }
}
