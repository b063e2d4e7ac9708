//! What a seed does: random operations on some files, now and then a crash of the disk beside the
//! run, and everything that comes back held against the model.

use std::sync::Arc;

use littoral::{
    Buffer, DirectIo, Error, ErrorKind, File, Intent, OpenOptions, Shared, SyncKind, Vector,
};

use crate::flight::{Flight, Outcome, Work};
use crate::history::{History, Moment, View, What, ZEROS, byte_of};
use crate::random::{Digest, Random};
use crate::world::World;
use crate::{Counts, Seen};

/// Where writes begin at most, so that they meet.
const START_MAX: usize = 12_000;
const LENGTH_MAX: usize = 6000;

struct Target {
    name: String,
    history: History,
    /// Its open handles, at least one.
    handles: Vec<Arc<dyn File>>,
    options: OpenOptions,
    /// A flush failed: changes may be refused, until that is acknowledged.
    poisoned: bool,
}

pub(crate) struct Script {
    world: World,
    random: Random,
    targets: Vec<Target>,
    flights: Vec<Flight>,
    now: Moment,
    started: u64,
    digest: Digest,
    seen: Counts,
}

type Outcomes = Result<(), String>;

impl Script {
    pub(crate) fn new(seed: u64) -> Result<Script, String> {
        let mut random = Random::new(seed);
        let world = World::new(seed, &mut random)?;
        let count = 1 + random.below(3);
        let mut script = Script {
            world,
            random,
            targets: Vec::new(),
            flights: Vec::new(),
            now: 0,
            started: 0,
            digest: Digest::default(),
            seen: Counts::default(),
        };
        script.world.disk.make_directory("folder").map_err(|code| code.to_string())?;
        for name in 0..count {
            let name = format!("folder/{name}");
            let ordered = script.random.chance(25);
            let options = OpenOptions::new().ordered(ordered);
            let opened = options.create(true).direct(script.way());
            let mut opening = script.world.io.open(&name, opened);
            let file = loop {
                if let Some(file) = opening.try_take() {
                    break file.map_err(|error| error.to_string())?;
                }
                script.world.turn()?;
            };
            let (history, handles) = (History::new(ordered), vec![file]);
            script.targets.push(Target { name, history, handles, options, poisoned: false });
        }
        // The files are there to stay; what becomes of names is another script.
        script.world.disk.sync_names();
        Ok(script)
    }

    /// Everything that the seed has in store.
    pub(crate) fn run(mut self) -> Result<Seen, String> {
        let Script { world, random, .. } = &mut self;
        world.unleash(random);
        for _ in 0..4 {
            for _ in 0..10 + self.random.below(15) {
                self.start()?;
                match self.random.below(10) {
                    0 | 1 => self.turn()?,
                    2 => self.harvest()?,
                    _ => (),
                }
            }
            if self.random.chance(60) {
                self.crash()?;
            }
            self.pause()?;
        }
        self.finish()
    }

    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    fn turn(&mut self) -> Outcomes {
        self.tick();
        self.world.turn()
    }

    fn take_off(&mut self, file: usize, work: Work) {
        let (number, submitted) = (self.started, self.now);
        self.started += 1;
        if self.random.chance(10) {
            self.drop_later(&work, file);
            return;
        }
        let mut flight = Flight { number, file, submitted, cancelled: false, work };
        if self.random.chance(8) {
            flight.work.cancel();
            flight.cancelled = true;
        }
        self.flights.push(flight);
    }

    /// Nobody waits for that one: what it does is only told by a sync.
    fn drop_later(&mut self, work: &Work, file: usize) {
        let history = &mut self.targets[file].history;
        if let Work::Change(_, event) | Work::Durable(_, event) = work {
            history.detach(*event);
        }
        self.seen.detached += 1;
    }

    /// Whether a handle is for direct I/O.
    fn way(&mut self) -> DirectIo {
        self.random.one_of(&[DirectIo::Preferred, DirectIo::Off])
    }

    /// Half of all numbers are such as direct I/O takes.
    fn aligned(&mut self, number: u64) -> u64 {
        if self.random.chance(70) { number - number % self.world.grain } else { number }
    }

    fn aligned_len(&mut self, len: usize) -> usize {
        usize::try_from(self.aligned(len as u64)).expect("no more than it was")
    }

    /// Starts one operation.
    fn start(&mut self) -> Outcomes {
        let now = self.tick();
        let file = self.random.below(self.targets.len());
        let handle = Arc::clone(&self.random.one_of(&self.targets[file].handles));
        let at = self.random.below(START_MAX) as u64;
        let len = match self.random.below(10) {
            0 => 0,
            1 => 1,
            _ => 1 + self.random.below(LENGTH_MAX),
        };
        let (at, len) = (self.aligned(at), self.aligned_len(len));
        let way = self.way();
        let target = &mut self.targets[file];
        let work = match self.random.below(100) {
            0..4 => {
                self.burst(file, &handle);
                return Ok(());
            }
            4..36 => self.write(file, &handle, at, len, now),
            36..40 => {
                let len = len as u64;
                let event = target.history.begin(What::Write { id: ZEROS, at, len }, now);
                Work::Change(handle.zero_range(at, len), event)
            }
            40..60 => self.read(&handle, at, len),
            60..68 => {
                let size = self.random.below(START_MAX + LENGTH_MAX) as u64;
                let event = target.history.begin(What::Truncate { len: size }, now);
                Work::Change(handle.truncate(size), event)
            }
            68..80 => {
                let number = target.history.ask(now);
                let kind = self.random.one_of(&[SyncKind::Data, SyncKind::Full]);
                Work::Sync(handle.sync(kind), number)
            }
            80..85 => Work::Size(handle.size()),
            85..90 => Work::Open(self.world.io.open(&target.name, target.options.direct(way))),
            90..93 if target.handles.len() > 1 => {
                let any = self.random.below(target.handles.len());
                let handle = target.handles.swap_remove(any);
                Work::Close(handle.close())
            }
            93..95 if target.handles.len() > 1 => {
                let any = self.random.below(target.handles.len());
                drop(target.handles.swap_remove(any));
                return Ok(());
            }
            95..97 => {
                self.world.has_room = true;
                Work::Room(self.world.io.room(1))
            }
            _ => return self.meddle(),
        };
        self.take_off(file, work);
        Ok(())
    }

    /// Neighbours, which may travel together.
    fn burst(&mut self, file: usize, handle: &Arc<dyn File>) {
        let at = self.random.below(START_MAX) as u64;
        let mut at = self.aligned(at);
        let reads = self.random.chance(30);
        for _ in 0..2 + self.random.below(6) {
            let (len, now) = (1 + self.random.below(900), self.tick());
            let len = self.aligned_len(len).max(1);
            let work = if reads {
                self.read(handle, at, len)
            } else {
                self.write_at(file, handle, at, len, now)
            };
            self.take_off(file, work);
            at += len as u64;
        }
    }

    /// Something about an operation that is under way.
    fn meddle(&mut self) -> Outcomes {
        if self.flights.is_empty() {
            return self.turn();
        }
        let any = self.random.below(self.flights.len());
        if self.random.chance(50) {
            self.flights[any].work.cancel();
            self.flights[any].cancelled = true;
        } else {
            let flight = self.flights.swap_remove(any);
            self.drop_later(&flight.work, flight.file);
        }
        Ok(())
    }

    fn write(
        &mut self,
        file: usize,
        handle: &Arc<dyn File>,
        mut at: u64,
        len: usize,
        now: Moment,
    ) -> Work {
        let history = &self.targets[file].history;
        if self.random.chance(30) {
            // Behind what is there, where neighbours meet and travel together.
            at = history.size_max().min(START_MAX as u64 * 2);
            at = self.aligned(at);
        }
        self.write_at(file, handle, at, len, now)
    }

    fn write_at(
        &mut self,
        file: usize,
        handle: &Arc<dyn File>,
        at: u64,
        len: usize,
        now: Moment,
    ) -> Work {
        let history = &mut self.targets[file].history;
        let id = now;
        let event = history.begin(What::Write { id, at, len: len as u64 }, now);
        let bytes: Vec<u8> = (at..at + len as u64).map(|offset| byte_of(id, offset)).collect();
        if self.random.chance(8) {
            // Known of as it begins: what its flush spoils may be told before it is.
            history.suspect();
            let intent = Intent::new().durable(true).uncached(self.random.chance(30));
            return Work::Durable(handle.pwrite_with(at, bytes.into(), intent), event);
        }
        if self.random.chance(60) {
            let intent = Intent::new().uncached(self.random.chance(10));
            return Work::Change(handle.pwrite_with(at, bytes.into(), intent), event);
        }
        let mut parts = Vector::new();
        let mut left = &bytes[..];
        while !left.is_empty() {
            let len = self.random.below(left.len() + 1).min(2000);
            let (part, rest) = left.split_at(self.aligned_len(len));
            parts.push(Shared::from(part.to_vec()));
            left = rest;
        }
        Work::Change(handle.pwritev(at, parts), event)
    }

    fn read(&mut self, handle: &Arc<dyn File>, at: u64, len: usize) -> Work {
        if self.random.chance(70) {
            return Work::Read(handle.pread(at, Buffer::with_capacity(len)), at, len);
        }
        let mut buffers = Vec::new();
        let mut left = len;
        while left > 0 {
            let part = self.random.below(left + 1).min(2000);
            let part = self.aligned_len(part);
            buffers.push(Buffer::with_capacity(part));
            left -= part;
        }
        Work::Readv(handle.preadv(at, buffers), at, len)
    }

    /// Takes all results that are there, and judges them.
    fn harvest(&mut self) -> Outcomes {
        let now = self.tick();
        for judged in [false, true] {
            let mut place = 0;
            while place < self.flights.len() {
                let work = &mut self.flights[place].work;
                let result = if work.is_judged() == judged { work.take() } else { None };
                let Some(result) = result else {
                    place += 1;
                    continue;
                };
                let flight = self.flights.remove(place);
                let context = format!("operation {} on file {}", flight.number, flight.file);
                self.note(&flight, &result);
                self.ended(flight, result, now).map_err(|why| format!("{context}: {why}"))?;
            }
        }
        Ok(())
    }

    fn note(&mut self, flight: &Flight, result: &Result<Outcome, Error>) {
        self.digest.number(flight.number << 8 | flight.work.kind());
        match result {
            Ok(Outcome::Bytes(bytes)) => self.digest.add(bytes),
            Ok(Outcome::Size(size)) => self.digest.number(*size),
            Ok(Outcome::Done | Outcome::File(_)) => self.digest.number(0),
            Err(error) => {
                self.digest.add(format!("{:?}", error.kind()).as_bytes());
                self.digest.number(error.confirmed().unwrap_or(u64::MAX));
            }
        }
        self.seen.ended += 1;
        self.seen.failed += u64::from(result.is_err());
    }

    fn ended(&mut self, flight: Flight, result: Result<Outcome, Error>, now: Moment) -> Outcomes {
        if let Err(error) = &result {
            self.may_fail(&flight, error)?;
        }
        let Target { history, handles, poisoned, .. } = &mut self.targets[flight.file];
        let view = View::Since(flight.submitted);
        match (flight.work, result) {
            (Work::Change(_, event), Ok(_)) => {
                let all = history.length(event);
                history.end(event, all, now);
            }
            (Work::Durable(_, event), Ok(_)) => history.end_durably(event, now),
            (Work::Durable(_, event), Err(error)) => {
                match error.kind() {
                    ErrorKind::Saturated => history.void(event),
                    ErrorKind::Cancelled => (),
                    // Of the write or of its flush: one is as bad as the other.
                    _ => history.flush_failed(),
                }
                history.fail(event, 0, now);
            }
            (Work::Change(_, event), Err(error)) => {
                if error.kind() == ErrorKind::SyncLost {
                    history.flush_failed();
                    *poisoned = true;
                }
                if error.kind() == ErrorKind::Saturated {
                    history.void(event);
                }
                let sure = error.confirmed().unwrap_or(0);
                if sure > history.length(event) {
                    return Err(format!("{sure} bytes are confirmed: {error}"));
                }
                history.fail(event, sure, now);
            }
            (Work::Sync(_, sync), Ok(_)) => history.told_nothing(sync, now),
            (Work::Sync(_, sync), Err(error)) => match error.kind() {
                ErrorKind::WriteLost => history.told(sync, now),
                ErrorKind::Io | ErrorKind::StorageFull | ErrorKind::SyncLost => {
                    history.flush_failed();
                    *poisoned = true;
                }
                _ => (),
            },
            (Work::Read(_, at, len) | Work::Readv(_, at, len), Ok(Outcome::Bytes(bytes))) => {
                history.judge_read(at, len, &bytes, view)?;
            }
            (Work::Size(_), Ok(Outcome::Size(size))) => {
                let sizes = history.sizes(view);
                if !sizes.contains(&size) {
                    return Err(format!("the size is {size}, not one of {sizes:?}"));
                }
            }
            (Work::Open(_), Ok(Outcome::File(file))) => handles.push(file),
            _ => (),
        }
        Ok(())
    }

    /// Whether there was a reason for that failure.
    fn may_fail(&self, flight: &Flight, error: &Error) -> Outcomes {
        let target = &self.targets[flight.file];
        let (broken, small) = (self.world.broken, self.world.is_small);
        let lost = match flight.work {
            Work::Sync(_, sync) => target.history.may_have_lost(sync),
            _ => false,
        };
        let fits = match error.kind() {
            ErrorKind::Cancelled => flight.cancelled,
            ErrorKind::Saturated => self.world.is_narrow || self.flights.len() > 20,
            ErrorKind::Io => broken,
            ErrorKind::StorageFull => broken || small,
            ErrorKind::WriteLost => lost,
            ErrorKind::SyncLost => target.poisoned || (broken && target.history.has_bad_sync()),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("no reason for: {error} ({error:?})")) }
    }

    /// What the disk would be after a crash now is held against the model, and opened again.
    fn crash(&mut self) -> Outcomes {
        let seed = self.random.next();
        let after = self.world.disk.crash(seed);
        self.seen.crashes += 1;
        for target in &mut self.targets {
            let found = after.contents(&target.name);
            let found = found.ok_or_else(|| format!("{} is lost by a crash", target.name))?;
            self.digest.add(&found);
            let judged = target.history.judge_file(&found, View::Crash);
            judged.map_err(|why| format!("{} after a crash: {why}", target.name))?;
        }
        Ok(())
    }

    /// Lets everything end, and holds the files against the model.
    fn pause(&mut self) -> Outcomes {
        while !self.flights.is_empty() {
            self.turn()?;
            self.harvest()?;
        }
        self.world.settle()?;
        let now = self.tick();
        self.targets.iter_mut().for_each(|target| target.history.settle(now));
        self.judge_files()?;
        for file in 0..self.targets.len() {
            if self.random.chance(60) {
                self.sync(file)?;
            }
        }
        self.crash()
    }

    fn judge_files(&mut self) -> Outcomes {
        let now = self.tick();
        for target in &mut self.targets {
            let found = self.world.disk.contents(&target.name).ok_or("a file is gone")?;
            self.digest.add(&found);
            let judged = target.history.judge_file(&found, View::Since(now));
            judged.map_err(|why| format!("{}: {why}", target.name))?;
        }
        Ok(())
    }

    /// A sync with nothing under way: if it is good, all is known.
    fn sync(&mut self, file: usize) -> Outcomes {
        let now = self.tick();
        let target = &mut self.targets[file];
        let asked = target.history.ask(now);
        let mut syncing = target.handles[0].sync(SyncKind::Full);
        let result = loop {
            if let Some(result) = syncing.try_take() {
                break result;
            }
            self.world.turn()?;
        };
        let good = result.is_ok();
        let work = Work::Sync(syncing, asked);
        let number = self.started;
        let flight = Flight { number, file, submitted: now, cancelled: false, work };
        let result = result.map(|()| Outcome::Done);
        self.note(&flight, &result);
        self.ended(flight, result, now)?;
        let target = &mut self.targets[file];
        if good {
            let found = self.world.disk.contents(&target.name).ok_or("a file is gone")?;
            target.history.rebase(found);
        } else if target.poisoned && self.random.chance(50) {
            let told = target.handles[0].acknowledge_sync_loss();
            if told.is_none() {
                return Err("a flush failed, and the file does not know".to_owned());
            }
            target.history.acknowledge();
            target.poisoned = false;
        }
        Ok(())
    }

    /// The end of the driver, and of the power.
    fn finish(mut self) -> Result<Seen, String> {
        self.world.calm();
        let statistics = self.world.io.statistics();
        let clock = self.world.io.now();
        for number in [statistics.pushed, statistics.retried, statistics.resumed, clock.monotonic] {
            self.digest.number(number);
        }
        self.seen.merged = statistics.merged;
        self.seen.resumed = statistics.resumed;
        self.seen.retried = statistics.retried;
        self.seen.stale = statistics.stale;
        self.seen.unaligned = statistics.unaligned;
        let misaligned = self.world.control.misaligned();
        if misaligned > 0 {
            return Err(format!("{misaligned} entries were not aligned as their handle asks for"));
        }
        // A last sync that nothing disturbs, and then whatever is left must be there.
        for target in &mut self.targets {
            if target.handles[0].acknowledge_sync_loss().is_some() {
                // Perhaps of a sync that nobody waited for.
                target.history.flush_failed();
                target.history.acknowledge();
            }
            target.poisoned = false;
        }
        for file in 0..self.targets.len() {
            self.sync(file)?;
        }
        self.targets.iter_mut().for_each(|target| target.handles.clear());
        self.world.settle()?;
        self.judge_files()?;
        self.crash()?;
        let (digest, seen) = (self.digest.0, self.seen);
        Ok(Seen { digest, counts: seen })
    }
}
