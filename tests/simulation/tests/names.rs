//! Names and crashes: what `sync_dir` covered is there, what it did not is as before or as after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::platform::{Clock, Setup};
use littoral::{Completion, Config, ErrorKind, Io, OpenOptions, SyncKind, start_on, wait};

const DIRECTORIES: [&str; 2] = ["", "d"];
const NAMES: [&str; 6] = ["a", "b", "c", "d/a", "d/b", "d/c"];

fn driver(disk: &Disk, seed: u64) -> Arc<dyn Io> {
    // Names are below a root that is not the disk's.
    let setup = Setup { root: Some("root".into()), in_flight: 64 };
    let ring = Simulated::new(&setup, disk.clone(), Behaviour::seeded(seed));
    start_on(Box::new(ring), Config::new()).unwrap()
}

/// What a name may stand for: the number in a file, or nothing.
type Stands = Option<u8>;

#[derive(Default)]
struct Model {
    now: BTreeMap<&'static str, u8>,
    /// What each name stood for when its directory was synced.
    synced: BTreeMap<&'static str, Stands>,
    /// What each name has stood for since then.
    since: BTreeMap<&'static str, BTreeSet<Stands>>,
    /// Files that a rename moved since, with both names, and that nothing has happened to after.
    moved: BTreeMap<u8, (&'static str, &'static str)>,
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    fn set(&mut self, name: &'static str, stands: Stands) {
        match stands {
            Some(number) => self.now.insert(name, number),
            None => self.now.remove(name),
        };
        self.since.entry(name).or_default().insert(stands);
    }

    fn sync(&mut self, directory: &str) {
        for name in NAMES.into_iter().filter(|name| parent(name) == directory) {
            let stands = self.now.get(name).copied();
            self.synced.insert(name, stands);
            self.since.insert(name, BTreeSet::from([stands]));
        }
        self.moved.retain(|_, (from, to)| parent(from) != directory && parent(to) != directory);
    }

    fn touched(&mut self, name: &str) {
        self.moved.retain(|_, (from, to)| *from != name && *to != name);
    }

    fn judge(&self, after: &Disk, context: &str) {
        let mut found = BTreeMap::new();
        for name in NAMES {
            let bytes = after.contents(&format!("root/{name}"));
            let stands = bytes.map(|bytes| bytes.first().copied().unwrap_or(0));
            let possible = self.since.get(name).is_none_or(|all| all.contains(&stands));
            assert!(possible, "{context}: `{name}` is {stands:?}, not of {:?}", self.since[name]);
            found.insert(name, stands);
        }
        for (number, (from, to)) in &self.moved {
            let there = [from, to].into_iter().filter(|name| found[*name] == Some(*number)).count();
            assert!(there <= 1, "{context}: {number} has both names, `{from}` and `{to}`");
            // Where its first name was synced, and nothing else happened to the other one.
            let alone = self.synced[from] == Some(*number)
                && self.since[from].len() == 2
                && self.since[to].len() == 2;
            if alone {
                assert_eq!(there, 1, "{context}: {number} has no name, `{from}` or `{to}`");
            }
        }
    }
}

/// Whether it was done; what else may happen to a name is that it is not there.
fn done(io: &dyn Io, completion: Completion<()>) -> bool {
    match wait(io, completion) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            false
        }
    }
}

#[test]
fn names_outlive_a_crash_as_they_were_synced() {
    let mut lost = 0;
    for seed in littoral_simulation::seeds(0..300) {
        let context =
            format!("LITTORAL_SEEDS={seed}..{} cargo test -p littoral-simulation", seed + 1);
        let disk = Disk::new();
        disk.make_directory("root").unwrap();
        let io = driver(&disk, seed);
        wait(&*io, io.create_dir_all("d")).unwrap();
        let (mut model, mut number) = (Model::default(), 0);
        for directory in DIRECTORIES {
            wait(&*io, io.sync_dir(directory)).unwrap();
            model.sync(directory);
        }
        let mut random = fastrand::Rng::with_seed(seed);
        for step in 0..40 {
            let (one, two) = (NAMES[random.usize(..6)], NAMES[random.usize(..6)]);
            match random.u8(..10) {
                0..4 if !model.now.contains_key(one) => {
                    number += 1;
                    let file = wait(&*io, io.open(one, OpenOptions::new().create(true))).unwrap();
                    wait(&*io, file.pwrite(0, vec![number].into())).unwrap();
                    wait(&*io, file.sync(SyncKind::Full)).unwrap();
                    wait(&*io, file.close()).unwrap();
                    model.touched(one);
                    // The file is there from its open on, and was empty.
                    model.set(one, Some(number));
                }
                4 | 5 if done(&*io, io.remove(one)) => {
                    model.touched(one);
                    model.set(one, None);
                }
                6 | 7 if one != two && done(&*io, io.rename(one, two)) => {
                    let moved = model.now[one];
                    model.touched(one);
                    model.touched(two);
                    model.set(one, None);
                    model.set(two, Some(moved));
                    model.moved.insert(moved, (one, two));
                }
                8 => {
                    let directory = DIRECTORIES[random.usize(..2)];
                    wait(&*io, io.sync_dir(directory)).unwrap();
                    model.sync(directory);
                }
                _ => (),
            }
            let after = disk.crash(random.u64(..));
            model.judge(&after, &format!("{context} (step {step})"));
            let now = |name: &&str| model.now.contains_key(*name);
            let there = |name: &&str| after.contents(&format!("root/{name}")).is_some();
            lost += NAMES.iter().filter(|name| now(name) && !there(name)).count();
            if step == 39 {
                // A new driver finds the same.
                let again = driver(&after, seed);
                let listed = wait(&*again, again.list("d")).unwrap();
                let there = NAMES[3..].iter().filter(|name| there(name)).count();
                assert_eq!(listed.len(), there, "{context}");
            }
        }
        assert!(disk.clock().monotonic_nanos() > 0);
    }
    assert!(std::env::var_os("LITTORAL_SEEDS").is_some() || lost > 500, "{lost} names were lost");
}
