//! Does the kernel touch memory after the driver that lent it is gone?
//!
//! One program, run on the engine and on a naive driver: it has 64 direct reads or writes of 1 MiB
//! in flight, drops the driver, takes the memory that is free now, fills it with a pattern, and
//! looks at it, or at the file, once the disk has been quiet. The memory is an arena's, which the
//! test keeps: so "free" is what a database would be given next, and never unmapped.
//!
//! Closing a ring does not wait for what is in it. The naive driver shows what that does.
#![cfg(target_os = "linux")]

mod support;

use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{opcode, types};
use littoral::{
    Arena, Buffer, Completion, Error, ErrorKind, File, Io, OpenOptions, Registration, Wait, start,
    wait,
};

const COUNT: usize = 64;
const LEN: usize = LEN_OF_ENTRY as usize;
const LEN_OF_ENTRY: u32 = 1 << 20;
/// What the file holds, what is written to it, and what the memory is filled with afterwards.
const OLD: u8 = 0xF1;
const NEW: u8 = 0xA1;
const AFTERWARDS: u8 = 0x5A;
/// How often a naive driver may be lucky, and a disk too quick.
const TRIES: usize = 10;
/// Longer than the disk needs for 64 MiB.
const QUIET: Duration = Duration::from_millis(300);

type Ended = Result<Option<Buffer>, Error>;

/// A driver as the program sees it.
trait Subject: Sized {
    /// Opens the file for direct I/O; `None` where there is none, or no ring.
    fn open(path: &Path, drain: Duration) -> Option<Self>;
    /// Where its memory will come from.
    fn lend(&mut self, arena: &Arena) {
        let _ = arena;
    }
    fn read(&mut self, at: u64, into: Buffer);
    fn write(&mut self, at: u64, from: Buffer);
    /// Starts them; how many the kernel has at this moment.
    fn submit(&mut self) -> usize;
    fn is_pool(&self) -> bool;
    /// Drops the driver. How each operation ended, as far as one can know.
    fn end(self) -> Vec<Ended>;
}

struct Engine {
    io: Arc<dyn Io>,
    file: Arc<dyn File>,
    reads: Vec<Completion<Buffer>>,
    writes: Vec<Completion<()>>,
}

impl Subject for Engine {
    fn open(path: &Path, drain: Duration) -> Option<Engine> {
        let config = support::config(path.parent().expect("it is in a folder"));
        let io = start(config.drain_timeout(drain)).expect("a driver");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let file = wait(&*io, io.open(name, OpenOptions::new())).expect("the file opens");
        let subject = Engine { io, file, reads: Vec::new(), writes: Vec::new() };
        support::make_direct(path).then_some(subject)
    }

    fn read(&mut self, at: u64, into: Buffer) {
        self.reads.push(self.file.pread(at, into));
    }

    fn write(&mut self, at: u64, from: Buffer) {
        self.writes.push(self.file.pwrite(at, from.freeze()));
    }

    fn submit(&mut self) -> usize {
        self.io.step(self.io.delivered(), Wait::No);
        usize::try_from(self.io.statistics().in_flight).expect("few")
    }

    fn is_pool(&self) -> bool {
        self.io.capabilities().backend == "threads"
    }

    fn end(self) -> Vec<Ended> {
        let Engine { io, file, reads, writes } = self;
        drop(io);
        let told = "the driver is gone, so every operation has ended";
        let reads = reads.into_iter().map(|mut read| read.try_take().expect(told).map(Some));
        let writes =
            writes.into_iter().map(|mut write| write.try_take().expect(told).map(|()| None));
        let ended = reads.chain(writes).collect();
        drop(file);
        ended
    }
}

/// As the engine, with its memory registered; and that is given up while all is in flight.
struct Registered(Engine, Option<Registration>);

impl Subject for Registered {
    fn open(path: &Path, drain: Duration) -> Option<Registered> {
        Engine::open(path, drain).map(|engine| Registered(engine, None))
    }

    fn lend(&mut self, arena: &Arena) {
        let registration = wait(&*self.0.io, self.0.io.register(arena)).expect("a registration");
        self.1 = Some(registration);
    }

    fn read(&mut self, at: u64, into: Buffer) {
        self.0.read(at, into);
    }

    fn write(&mut self, at: u64, from: Buffer) {
        self.0.write(at, from);
    }

    fn submit(&mut self) -> usize {
        let in_flight = self.0.submit();
        // Or little memory may be locked, and then it is one more run of the plain engine.
        let whole = self.1.as_ref().is_some_and(|registration| registration.refused().is_none());
        let fixed = if whole { COUNT as u64 } else { 0 };
        assert_eq!(self.0.io.statistics().fixed, fixed, "{:?}", self.1);
        in_flight
    }

    fn is_pool(&self) -> bool {
        self.0.is_pool()
    }

    fn end(self) -> Vec<Ended> {
        drop(self.1);
        self.0.end()
    }
}

/// Owns its buffers until it is dropped, and no longer; and it closes its ring first.
struct Naive {
    ring: support::raw::Raw,
    file: std::fs::File,
    buffers: Vec<Buffer>,
}

impl Subject for Naive {
    fn open(path: &Path, _: Duration) -> Option<Naive> {
        let file = std::fs::File::options().read(true).write(true).open(path).expect("it opens");
        let ring = support::raw::Raw::new("a naive drop", 128)?;
        let naive = Naive { ring, file, buffers: Vec::new() };
        support::make_direct(path).then_some(naive)
    }

    fn read(&mut self, at: u64, mut into: Buffer) {
        into.fill_with_zeros();
        let fd = types::Fd(self.file.as_raw_fd());
        let entry = opcode::Read::new(fd, into.as_mut_ptr(), LEN_OF_ENTRY).offset(at).build();
        // SAFETY: the test keeps the memory mapped. That the kernel writes to it when it is
        // somebody else's is what is to be seen.
        unsafe { self.ring.push(&entry) };
        self.buffers.push(into);
    }

    fn write(&mut self, at: u64, from: Buffer) {
        let fd = types::Fd(self.file.as_raw_fd());
        let entry = opcode::Write::new(fd, from.as_ptr(), LEN_OF_ENTRY).offset(at).build();
        // SAFETY: the test keeps the memory mapped.
        unsafe { self.ring.push(&entry) };
        self.buffers.push(from);
    }

    fn submit(&mut self) -> usize {
        self.ring.submit();
        self.buffers.len() - self.ring.finished()
    }

    fn is_pool(&self) -> bool {
        false
    }

    fn end(self) -> Vec<Ended> {
        let Naive { ring, file, buffers } = self;
        drop(ring);
        drop(file);
        drop(buffers);
        Vec::new()
    }
}

/// What came of one run.
struct Report {
    in_flight: usize,
    /// Whether it was no ring of the kernel's.
    is_pool: bool,
    ended: Vec<Result<(), ErrorKind>>,
    /// Places of memory that are free after the drop.
    free: usize,
    damaged: usize,
    dropping: Duration,
}

impl Report {
    fn count(&self, kind: ErrorKind) -> usize {
        self.ended.iter().filter(|ended| **ended == Err(kind)).count()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Reads,
    Writes,
}

/// The program. `None` where there is no direct I/O.
fn run<S: Subject>(direction: Direction, path: &Path, drain: Duration) -> Option<Report> {
    let arena = Arena::new(&[(LEN, COUNT)]);
    let mut subject = S::open(path, drain)?;
    subject.lend(&arena);
    for place in 0..COUNT {
        let mut buffer = arena.take(LEN).expect("64 are free");
        let at = (place * LEN) as u64;
        match direction {
            Direction::Reads => subject.read(at, buffer),
            Direction::Writes => {
                buffer.fill_with_zeros();
                buffer.fill(NEW);
                subject.write(at, buffer);
            }
        }
    }
    let in_flight = subject.submit();
    let is_pool = subject.is_pool();
    let start = Instant::now();
    let ended = subject.end();
    let dropping = start.elapsed();
    // What was read is looked at and given back, so that its memory is free, too.
    let ended: Vec<Result<(), ErrorKind>> = ended.into_iter().map(look_at).collect();

    let mut again: Vec<Buffer> = (0..COUNT).map_while(|_| arena.take(LEN).ok()).collect();
    for buffer in &mut again {
        buffer.fill_with_zeros();
        black_box(buffer).fill(AFTERWARDS);
    }
    thread::sleep(QUIET);
    let damaged = match direction {
        Direction::Reads => {
            again.iter().filter(|buffer| !all(black_box(buffer), AFTERWARDS)).count()
        }
        Direction::Writes => check_file(path, &ended),
    };
    Some(Report { in_flight, is_pool, ended, free: again.len(), damaged, dropping })
}

fn all(bytes: &[u8], byte: u8) -> bool {
    // Blocks are many and this is not an optimised build: compared by the library's `memcmp`.
    bytes.len() == LEN && bytes.chunks(4096).all(|part| part == [byte; 4096])
}

/// A read that says it is done has the file's bytes.
fn look_at(ended: Ended) -> Result<(), ErrorKind> {
    let read = ended.map_err(|error| error.kind())?;
    assert!(read.is_none_or(|buffer| all(&buffer, OLD)), "a read lied");
    Ok(())
}

/// How many blocks of the file have what nobody wrote: the memory's contents after the drop. Writes
/// that say they are done are.
fn check_file(path: &Path, ended: &[Result<(), ErrorKind>]) -> usize {
    let bytes = std::fs::read(path).expect("the file is there");
    assert_eq!(bytes.len(), COUNT * LEN);
    let mut damaged = 0;
    for (place, block) in bytes.chunks(LEN).enumerate() {
        let written = all(block, NEW);
        if ended.get(place) == Some(&Ok(())) {
            assert!(written, "block {place}: a write lied");
        }
        let ours = written || all(block, OLD) || block.iter().all(|byte| [OLD, NEW].contains(byte));
        damaged += usize::from(!ours);
    }
    damaged
}

fn file(folder: &Path) -> PathBuf {
    support::file_of(folder, "data", OLD, COUNT * LEN)
}

/// The engine's runs: no damage, ever; in at least one of them there was something to damage.
fn never_damages<S: Subject>(direction: Direction) {
    let folder = support::folder();
    for round in 1..=TRIES {
        let path = file(folder.path());
        let Some(report) = run::<S>(direction, &path, Duration::from_secs(10)) else { return };
        println!(
            "{direction:?}, engine: {} in flight, dropped in {:?}, {} damaged",
            report.in_flight, report.dropping, report.damaged
        );
        assert_eq!(report.damaged, 0, "the kernel touched memory that was given back");
        assert_eq!(report.ended.len(), COUNT);
        for ended in &report.ended {
            assert!(matches!(ended, Ok(()) | Err(ErrorKind::Cancelled)), "it ended with {ended:?}");
        }
        assert_eq!(report.free, COUNT, "the drain was long enough to lose nothing");
        assert!(support::descriptors_of(&path).is_empty(), "the file is closed");
        if report.in_flight > COUNT / 4 {
            return;
        }
        assert!(round < TRIES, "the disk is too quick: nothing was in flight at the drop");
    }
}

#[test]
fn reads_never_touch_freed_memory() {
    support::within(120, "reads", || never_damages::<Engine>(Direction::Reads));
}

#[test]
fn writes_never_take_freed_memory_to_the_disk() {
    support::within(120, "writes", || never_damages::<Engine>(Direction::Writes));
}

#[test]
fn reads_into_registered_memory_never_touch_it_freed() {
    support::within(120, "fixed reads", || never_damages::<Registered>(Direction::Reads));
}

#[test]
fn writes_of_registered_memory_never_take_it_freed_to_the_disk() {
    support::within(120, "fixed writes", || never_damages::<Registered>(Direction::Writes));
}

/// A driver that may not wait for the platform abandons: memory and file are leaked, not freed.
fn abandons(direction: Direction) {
    let folder = support::folder();
    for round in 1..=TRIES {
        let path = file(folder.path());
        let Some(report) = run::<Engine>(direction, &path, Duration::ZERO) else { return };
        assert_eq!(report.damaged, 0, "the kernel touched memory that was given back");
        let abandoned = report.count(ErrorKind::Abandoned);
        println!("{direction:?}, engine without time to drain: {abandoned} abandoned");
        assert_eq!(report.free, COUNT - abandoned, "abandoned memory is not free");
        if abandoned > 0 {
            assert!(!support::descriptors_of(&path).is_empty(), "its file is leaked, too");
            return;
        }
        if report.is_pool && round == TRIES {
            eprintln!("NOT SEEN: the pool of threads cancels what it has not begun");
            return;
        }
        assert!(round < TRIES, "the disk is too quick: nothing was in flight at the drop");
    }
}

#[test]
fn reads_without_time_are_abandoned_and_leak() {
    support::within(120, "abandoned reads", || abandons(Direction::Reads));
}

#[test]
fn writes_without_time_are_abandoned_and_leak() {
    support::within(120, "abandoned writes", || abandons(Direction::Writes));
}

/// The same program on a driver that frees at once: the detector sees what the kernel does then.
fn naive_damages(direction: Direction) {
    let folder = support::folder();
    for _ in 0..TRIES {
        let path = file(folder.path());
        let Some(report) = run::<Naive>(direction, &path, Duration::ZERO) else { return };
        println!(
            "{direction:?}, naive: {} in flight, dropped in {:?}, {} of {COUNT} damaged",
            report.in_flight, report.dropping, report.damaged
        );
        if report.damaged > 0 {
            return;
        }
    }
    panic!("a naive drop did no harm in {TRIES} tries: the detector proves nothing here");
}

#[test]
fn a_naive_drop_damages_memory_by_reads() {
    support::within(120, "naive reads", || naive_damages(Direction::Reads));
}

#[test]
fn a_naive_drop_damages_the_file_by_writes() {
    support::within(120, "naive writes", || naive_damages(Direction::Writes));
}
