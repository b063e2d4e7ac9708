//! The engine on a simulated ring that misbehaves, against a plain model of files, seed by seed.
//!
//! Each test is one kind of trouble; what all of them together do is the library's. A failing seed
//! is in the panic's text, with the command that runs it alone. `LITTORAL_SEEDS=a..b` runs others
//! than the few that a quick test affords.

use core::time::Duration;
use std::ops::Range;
use std::sync::Arc;

use littoral::platform::faulty::{Event, Faults, OpKind, Outcome, Permille, Rule, Script};
use littoral::platform::simulated::{self, Disk, Host};
use littoral::platform::{Faulty, Setup, Simulated};
use littoral::{
    Buffer, Completion, Config, Errno, ErrorKind, File, Io, OpenOptions, Result, Shared, Status,
    SyncKind, Vector, Wait, start_on,
};

/// Steps after which a driver counts as stuck. A held-back completion costs a few.
const STEPS_MAX: u32 = 20_000;

/// The same generator as the platform's, which is not public: `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a usize fits");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// How a driver is made to progress.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A thread waits.
    Waits,
    /// A loop steps without waiting.
    Polls,
    /// As in a browser's worker: the host takes turns.
    Hosted,
}

struct World {
    io: Arc<dyn Io>,
    host: Host,
    shape: Shape,
    disk: Disk,
    script: Script,
    random: Random,
    context: String,
}

impl World {
    fn new(seed: u64, shape: Shape) -> World {
        let mut random = Random(seed);
        let rates = [Permille::NEVER, Permille(100), Permille(500), Permille(900)];
        let mut rate = || rates[random.below(rates.len())];
        let faults = Faults {
            seed,
            short: rate(),
            interrupt: rate(),
            refuse: rate(),
            delay: rate(),
            reorder: rate(),
            spans_per_call: seed.is_multiple_of(3).then_some(3),
            bytes_per_call: seed.is_multiple_of(5).then_some(5000),
            in_flight: seed.is_multiple_of(4).then_some(2),
            lone_calls: false,
        };
        let hosted = matches!(shape, Shape::Hosted);
        let config = simulated::Config { hosted, ..simulated::Config::seeded(seed) };
        let (disk, script) = (Disk::new(), Script::new());
        let setup = Setup { root: None, in_flight: 64 };
        let ring = Simulated::new(&setup, disk.clone(), config);
        let host = ring.host();
        let ring = Faulty::new(ring, faults, script.clone());
        let io = start_on(Box::new(ring), Config::new().operations(32)).unwrap();
        World {
            io,
            host,
            shape,
            disk,
            script,
            random,
            context: format!(
                "LITTORAL_SEEDS={seed}..{} cargo test -p littoral-simulation ({shape:?})",
                seed + 1
            ),
        }
    }

    /// Once around: whatever makes progress in this shape.
    fn turn(&self, seen: u64) {
        let wait = match self.shape {
            Shape::Waits => Wait::For(Duration::from_secs(20)),
            Shape::Polls | Shape::Hosted => Wait::No,
        };
        let step = self.io.step(seen, wait);
        if let Shape::Waits = self.shape {
            assert_ne!(step.status, Status::Pending, "{}: slept for 20 s", self.context);
        }
        self.host.turn();
    }

    fn end<T>(&self, completion: &mut Completion<T>) -> Result<T>
    where
        Completion<T>: Take<T>,
    {
        for _ in 0..STEPS_MAX {
            let seen = self.io.delivered();
            if let Some(result) = completion.take() {
                return result;
            }
            self.turn(seen);
        }
        panic!("{}: stuck with {:?}", self.context, self.io.statistics());
    }

    fn open(&self, name: &str) -> Arc<dyn File> {
        let mut opening = self.io.open(name, OpenOptions::new().create(true));
        self.end(&mut opening).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.random.next().to_le_bytes()[0]).collect()
    }

    /// A write of `bytes`, whole or as a vector of parts.
    fn write(&mut self, file: &dyn File, at: usize, bytes: &[u8]) -> Completion<()> {
        let at = at as u64;
        if self.random.chance(50) {
            return file.pwrite(at, bytes.to_vec().into());
        }
        let mut parts = Vector::new();
        let mut left = bytes;
        while !left.is_empty() {
            let len = self.random.below(left.len() + 1).min(1000);
            let (part, rest) = left.split_at(len);
            parts.push(Shared::from(part.to_vec()));
            left = rest;
        }
        file.pwritev(at, parts)
    }

    fn assert_clean(&self) {
        // A cancel may be answered after its target's end, when nothing is alive any more.
        for _ in 0..STEPS_MAX {
            if self.io.statistics().in_flight == 0 {
                break;
            }
            self.turn(u64::MAX);
        }
        let statistics = self.io.statistics();
        assert_eq!(statistics.stale, 0, "{}", self.context);
        assert_eq!((statistics.alive, statistics.in_flight), (0, 0), "{}", self.context);
    }
}

/// `try_take` for any `T`, whose bound is private.
trait Take<T> {
    fn take(&mut self) -> Option<Result<T>>;
}

macro_rules! take {
    ($($type:ty),*) => {$(
        impl Take<$type> for Completion<$type> {
            fn take(&mut self) -> Option<Result<$type>> {
                self.try_take()
            }
        }
    )*};
}

take!((), Buffer, u64, Arc<dyn File>);

/// Runs `check` on seeds in every shape.
fn seeds(count: u64, check: impl Fn(World)) {
    for seed in littoral_simulation::seeds(0..count) {
        for shape in [Shape::Waits, Shape::Polls, Shape::Hosted] {
            check(World::new(seed, shape));
        }
    }
}

fn overlap(one: &Range<usize>, two: &Range<usize>) -> bool {
    one.start < two.end && two.start < one.end
}

/// A file as it must be once all that was submitted is done, and what is not yet settled of it.
struct Model {
    file: Arc<dyn File>,
    name: String,
    bytes: Vec<u8>,
    /// Written since the last truncate or pause: in no order with what is submitted now.
    writing: Vec<Range<usize>>,
    reading: Vec<Range<usize>>,
    /// The size that it has had since then, whatever is done first.
    floor: usize,
}

const FILE_MAX: usize = 40_000;

impl Model {
    fn new(world: &World, name: &str) -> Model {
        let file = world.open(name);
        let (writing, reading) = (Vec::new(), Vec::new());
        Model { file, name: name.into(), bytes: Vec::new(), writing, reading, floor: 0 }
    }

    fn settle(&mut self) {
        self.writing.clear();
        self.reading.clear();
        self.floor = self.bytes.len();
    }

    /// One more operation, if what was drawn can be checked.
    fn submit(&mut self, world: &mut World) -> Option<Flight> {
        let mut at = world.random.below(FILE_MAX);
        let mut len = 1 + world.random.below(12_000);
        if let (Some(last), true) = (self.writing.last(), world.random.chance(40)) {
            // Behind the last one, so that the two may travel together.
            (at, len) = (last.end, len / 8 + 1);
        }
        let range = at..at + len;
        match world.random.below(10) {
            0 => {
                self.bytes.resize(at, 0);
                self.settle();
                Some(Flight::Unit(self.file.truncate(at as u64)))
            }
            1 => Some(Flight::Unit(self.file.sync(SyncKind::Data))),
            2..=5 => {
                let taken = self.writing.iter().chain(&self.reading);
                if taken.into_iter().any(|other| overlap(other, &range)) {
                    return None;
                }
                let bytes = world.bytes(len);
                let writing = world.write(&*self.file, at, &bytes);
                self.bytes.resize(self.bytes.len().max(range.end), 0);
                self.bytes[range.clone()].copy_from_slice(&bytes);
                self.writing.push(range);
                Some(Flight::Unit(writing))
            }
            _ => {
                // Where the end lies is open while something grows the file.
                let grows = self.bytes.len() > self.floor;
                if self.writing.iter().any(|other| overlap(other, &range))
                    || (grows && range.end > self.floor)
                {
                    return None;
                }
                let end = range.end.min(self.bytes.len());
                let expected = self.bytes.get(at..end).unwrap_or(&[]).to_vec();
                let reading = self.file.pread(at as u64, Buffer::with_capacity(len));
                if range.end > self.floor {
                    // It also pins where the end is.
                    self.reading.push(0..usize::MAX);
                }
                self.reading.push(range);
                Some(Flight::Read(reading, expected))
            }
        }
    }
}

enum Flight {
    Unit(Completion<()>),
    Read(Completion<Buffer>, Vec<u8>),
}

#[test]
fn what_was_asked_for_is_what_happens() {
    seeds(150, |mut world| {
        let mut models = ["a", "b-c"].map(|name| Model::new(&world, name));
        for round in 0..6 {
            let mut flights = Vec::new();
            for _ in 0..24 {
                let model = &mut models[world.random.below(2)];
                flights.extend(model.submit(&mut world));
                if world.random.chance(10) {
                    world.turn(u64::MAX);
                }
            }
            while !flights.is_empty() {
                let any = world.random.below(flights.len());
                match flights.swap_remove(any) {
                    // Detached: the sync at the end speaks for it.
                    Flight::Unit(unit) if world.random.chance(20) => drop(unit),
                    Flight::Unit(mut unit) => world.end(&mut unit).unwrap(),
                    Flight::Read(mut reading, expected) => {
                        let got = world.end(&mut reading).unwrap();
                        let right = got[..] == expected[..];
                        assert!(right, "{} round {round}: another read", world.context);
                    }
                }
            }
            for model in &mut models {
                world.end(&mut model.file.sync(SyncKind::Full)).unwrap();
                let size = world.end(&mut model.file.size()).unwrap();
                assert_eq!(size, model.bytes.len() as u64, "{} round {round}", world.context);
                let contents = world.disk.contents(&model.name).unwrap();
                assert!(contents == model.bytes, "{} round {round}: other bytes", world.context);
                model.settle();
            }
            world.assert_clean();
        }
    });
}

#[test]
fn a_cancelled_write_says_how_far_it_came() {
    let cancelled = core::cell::Cell::new(0);
    seeds(150, |mut world| {
        let file = world.open("f");
        let old = vec![0; 50_000];
        world.end(&mut file.pwrite(0, old.clone().into())).unwrap();
        let mut writes = Vec::new();
        for n in 0..10 {
            let at = n * 5000;
            let len = 1 + world.random.below(5000);
            writes.push((at, len, world.write(&*file, at, &vec![1; len])));
            if world.random.chance(30) {
                world.turn(u64::MAX);
            }
            if world.random.chance(50) {
                let any = world.random.below(writes.len());
                writes[any].2.cancel();
            }
        }
        let mut confirmed = Vec::new();
        for (at, len, mut writing) in writes {
            let done = match world.end(&mut writing) {
                Ok(()) => len as u64,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled, "{}: {error}", world.context);
                    cancelled.set(cancelled.get() + 1);
                    error.confirmed().expect("a write says so")
                }
            };
            confirmed.push((at, len, usize::try_from(done).unwrap()));
        }
        let contents = world.disk.contents("f").unwrap();
        assert_eq!(contents.len(), old.len());
        for (at, len, done) in confirmed {
            let (sure, open) = contents[at..at + len].split_at(done);
            assert!(sure.iter().all(|byte| *byte == 1), "{}: not confirmed", world.context);
            assert!(open.iter().all(|byte| *byte <= 1), "{}: neither", world.context);
            let rest = &contents[at + len..at + 5000];
            assert!(rest.iter().all(|byte| *byte == 0), "{}: too far", world.context);
        }
        world.assert_clean();
    });
    assert!(
        std::env::var_os("LITTORAL_SEEDS").is_some() || cancelled.get() > 100,
        "{}",
        cancelled.get()
    );
}

#[test]
fn a_failed_write_says_how_far_it_came_and_who_takes_no_failure_is_told_by_sync() {
    let (failed, merged) = (core::cell::Cell::new(0), core::cell::Cell::new(0));
    seeds(150, |mut world| {
        let file = world.open("f");
        world.end(&mut file.pwrite(0, vec![0; 40_000].into())).unwrap();
        let orders = 1 + world.random.below(6);
        for _ in 0..orders {
            let code = [Errno::IO, Errno::NOSPC][world.random.below(2)];
            let short = Outcome::Short(1 + world.random.below(3000));
            let outcome = if world.random.chance(40) { short } else { Outcome::Fail(code) };
            let skip = u32::try_from(world.random.below(3)).unwrap();
            world.script.push(Rule::next(OpKind::Write, outcome).skip(skip));
        }
        let mut at = 0;
        let mut writes = Vec::new();
        for _ in 0..10 {
            let len = 1 + world.random.below(3000);
            writes.push((at, len, world.write(&*file, at, &vec![1; len])));
            // Most lie side by side.
            at += len + if world.random.chance(70) { 0 } else { 500 };
        }
        let detached = world.random.below(writes.len());
        let (_, _, lost) = writes.swap_remove(detached);
        drop(lost);
        let mut errors = 0;
        let mut confirmed = vec![];
        for (at, len, mut writing) in writes {
            let done = match world.end(&mut writing) {
                Ok(()) => len as u64,
                Err(error) => {
                    let kinds = [ErrorKind::Io, ErrorKind::StorageFull];
                    assert!(kinds.contains(&error.kind()), "{}: {error}", world.context);
                    errors += 1;
                    error.confirmed().expect("a write says so")
                }
            };
            confirmed.push((at, len, usize::try_from(done).unwrap()));
        }
        failed.set(failed.get() + errors);
        merged.set(merged.get() + world.io.statistics().merged);
        assert!(errors <= orders, "{}: more failures than were ordered", world.context);
        world.script.clear();
        match world.end(&mut file.sync(SyncKind::Data)) {
            // The failures of all others were taken, so it speaks of the detached one.
            Err(error) if error.kind() == ErrorKind::WriteLost => {
                assert!(errors < orders, "{}: all failures were taken", world.context);
                let cause = error.cause().expect("it carries the failure").kind();
                assert!(matches!(cause, ErrorKind::Io | ErrorKind::StorageFull));
            }
            result => result.unwrap(),
        }
        let contents = world.disk.contents("f").unwrap();
        for (at, len, done) in confirmed {
            let (sure, open) = contents[at..at + len].split_at(done);
            assert!(sure.iter().all(|byte| *byte == 1), "{}: not confirmed", world.context);
            assert!(open.iter().all(|byte| *byte <= 1), "{}: neither", world.context);
        }
        world.assert_clean();
    });
    let enough = failed.get() > 100 && merged.get() > 100;
    assert!(std::env::var_os("LITTORAL_SEEDS").is_some() || enough, "{failed:?} {merged:?}");
}

#[test]
fn files_that_are_opened_many_times_are_shared_and_closed() {
    seeds(60, |mut world| {
        let options = OpenOptions::new().create(true);
        let names = ["a", "b", "c"];
        for _ in 0..3 {
            let mut openings: Vec<_> =
                (0..12).map(|n| world.io.open(names[n % 3], options)).collect();
            let mut files = Vec::new();
            while !openings.is_empty() {
                let any = world.random.below(openings.len());
                let mut opening = openings.swap_remove(any);
                match world.random.below(4) {
                    0 => drop(opening),
                    1 => {
                        opening.cancel();
                        match world.end(&mut opening) {
                            Ok(file) => files.push(file),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
                        }
                    }
                    _ => files.push(world.end(&mut opening).unwrap()),
                }
            }
            for file in &files {
                let byte = file.name().as_bytes().to_vec();
                world.end(&mut file.pwrite(0, byte.into())).unwrap();
            }
            let opened: Vec<_> = files.iter().map(|file| file.name().to_owned()).collect();
            drop(files);
            // Removing waits for the close that dropping the last handle started, also where that
            // handle was an open's that nobody wants.
            for name in names {
                match world.end(&mut world.io.remove(name)) {
                    Ok(()) => (),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NotFound, "{}", world.context);
                        assert!(!opened.contains(&name.to_owned()), "{}", world.context);
                    }
                }
            }
            assert!(world.disk.list().is_empty(), "{}", world.context);
        }
        world.assert_clean();
    });
}

#[test]
fn a_dropped_driver_ends_everything() {
    seeds(150, |mut world| {
        let file = world.open("f");
        let mut writes: Vec<_> = (0..12)
            .map(|n| {
                let bytes = world.bytes(3000);
                world.write(&*file, n * 3000, &bytes)
            })
            .collect();
        let mut reading = file.pread(0, Buffer::with_capacity(9000));
        let mut opening = world.io.open("g", OpenOptions::new().create(true));
        for _ in 0..world.random.below(4) {
            world.turn(u64::MAX);
        }
        drop(file);
        let World { io, host, disk, script, context, .. } = world;
        drop(io);
        while host.turn() {}
        for writing in &mut writes {
            match writing.try_take() {
                Some(Ok(())) => (),
                Some(Err(error)) => {
                    let kinds = [ErrorKind::Cancelled, ErrorKind::Abandoned, ErrorKind::Closed];
                    assert!(kinds.contains(&error.kind()), "{context}: {error}");
                }
                None => panic!("{context}: a write has no end"),
            }
        }
        assert!(reading.try_take().is_some(), "{context}: a read has no end");
        assert!(opening.try_take().is_some(), "{context}: an open has no end");
        drop((writes, reading, opening));

        // Every handle that was opened was closed, and so the files are free for the next driver.
        let mut open = 0;
        let mut opens = std::collections::HashSet::new();
        for event in script.take_log() {
            match event {
                Event::Taken { tag: Some(tag), entry, .. } if entry.op == OpKind::Open => {
                    opens.insert(tag);
                }
                Event::Ended { tag: Some(tag), result } if opens.remove(&tag) => {
                    open += i32::from(result.is_ok());
                }
                Event::Taken { entry, .. } if entry.op == OpKind::Close => open -= 1,
                _ => (),
            }
        }
        assert_eq!(open, 0, "{context}: handles left open");
        assert!(disk.list().contains(&"f".to_owned()));
    });
}
