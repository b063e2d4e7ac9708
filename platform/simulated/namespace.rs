//! The names on the disk: as they are seen, as they are durable, and the changes between the two.
//!
//! A change is what one operation does to names: creating sets one, removing clears one, renaming
//! clears one and sets another, both or neither. A crash keeps some of the changes that were not
//! made durable: each wholly or not at all, and none without those before it that concern one of
//! its names.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use super::Random;
use super::disk::{Inode, Node};
use super::stable::Stable;

/// What a name durably stands for.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    File { number: u64, stable: Arc<Mutex<Stable>> },
    Directory { number: u64 },
}

impl Kept {
    fn of(node: &Node) -> Kept {
        match node {
            Node::File(inode) => {
                let Inode { number, stable, .. } = &**inode;
                Kept::File { number: *number, stable: Arc::clone(stable) }
            }
            Node::Directory { number } => Kept::Directory { number: *number },
        }
    }
}

/// Names with what they come to stand for.
type Sets = Vec<(String, Option<Kept>)>;

#[derive(Debug, Default)]
pub(super) struct Names {
    seen: BTreeMap<String, Node>,
    durable: BTreeMap<String, Kept>,
    unsynced: Vec<Sets>,
}

/// The directory that a name is in; that of all names without one is empty.
pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Names {
    /// Names that are durable as they are.
    pub(super) fn of(seen: BTreeMap<String, Node>) -> Names {
        let durable = seen.iter().map(|(name, node)| (name.clone(), Kept::of(node))).collect();
        Names { seen, durable, unsynced: Vec::new() }
    }

    pub(super) fn seen(&self) -> &BTreeMap<String, Node> {
        &self.seen
    }

    /// Makes one change. It is durable at once where nobody could ask for that later.
    pub(super) fn change(&mut self, sets: Vec<(String, Option<Node>)>, durable: bool) {
        let kept =
            sets.iter().map(|(name, node)| (name.clone(), node.as_ref().map(Kept::of))).collect();
        self.unsynced.push(kept);
        let names: HashSet<String> = sets.iter().map(|(name, _)| name.clone()).collect();
        for (name, node) in sets {
            match node {
                Some(node) => self.seen.insert(name, node),
                None => self.seen.remove(&name),
            };
        }
        if durable {
            self.make_durable(|sets| sets.iter().any(|(name, _)| names.contains(name)));
        }
    }

    /// What was changed in that directory is durable from now on.
    pub(super) fn sync(&mut self, directory: &str) {
        self.make_durable(|sets| sets.iter().any(|(name, _)| parent(name) == directory));
    }

    pub(super) fn sync_all(&mut self) {
        self.make_durable(|_| true);
    }

    /// Makes the wanted changes durable, and with each those before it that concern its names.
    fn make_durable(&mut self, wanted: impl Fn(&Sets) -> bool) {
        let mut needed: HashSet<String> = HashSet::new();
        let mut going = vec![false; self.unsynced.len()];
        for (place, sets) in self.unsynced.iter().enumerate().rev() {
            if wanted(sets) || sets.iter().any(|(name, _)| needed.contains(name)) {
                going[place] = true;
                needed.extend(sets.iter().map(|(name, _)| name.clone()));
            }
        }
        let mut place = 0;
        let durable = &mut self.durable;
        self.unsynced.retain_mut(|sets| {
            place += 1;
            if going[place - 1] {
                apply(durable, core::mem::take(sets));
            }
            !going[place - 1]
        });
    }

    /// What is left once the power was lost.
    pub(super) fn after_crash(&self, random: &mut Random) -> BTreeMap<String, Kept> {
        let mut after = self.durable.clone();
        let mut lost: HashSet<&str> = HashSet::new();
        // As for files: all of it and nothing are to come out as well.
        let mood = random.below(8);
        for sets in &self.unsynced {
            let survives = match mood {
                0 => false,
                1 => true,
                _ => random.below(2) == 0,
            };
            if survives && sets.iter().all(|(name, _)| !lost.contains(name.as_str())) {
                apply(&mut after, sets.clone());
            } else {
                lost.extend(sets.iter().map(|(name, _)| name.as_str()));
            }
        }
        let is_directory =
            |sets: &(String, Option<Kept>)| matches!(sets.1, Some(Kept::Directory { .. }));
        let made: BTreeSet<&str> = self
            .unsynced
            .iter()
            .flatten()
            .filter(|s| is_directory(s))
            .map(|(name, _)| name.as_str())
            .collect();
        // What is in a directory that did not survive cannot be reached.
        let reachable = |name: &str| {
            let mut parents = name.match_indices('/').map(|(at, _)| &name[..at]);
            parents.all(|parent| !made.contains(parent) || after.contains_key(parent))
        };
        after
            .iter()
            .filter(|(name, _)| reachable(name))
            .map(|(n, k)| (n.clone(), k.clone()))
            .collect()
    }
}

fn apply(durable: &mut BTreeMap<String, Kept>, sets: Sets) {
    for (name, kept) in sets {
        match kept {
            Some(kept) => durable.insert(name, kept),
            None => durable.remove(&name),
        };
    }
}
