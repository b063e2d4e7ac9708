//! Does a driver that is dropped at any moment end everything, leak nothing and stay calm?
//!
//! Each seed is a random mixture of all operations, some cancelled, detached, forgotten or called
//! back from, a random number of steps, and the drop. A failure prints its seed;
//! `LITTORAL_SEED=N cargo test --test drop_anything` replays it alone (as far as a kernel does).
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use littoral::platform::faulty::{Faults, Faulty, Script as FaultScript};
use littoral::platform::{Native, Setup};
use littoral::{
    Arena, Buffer, Completion, ErrorKind, File, Io, OpenOptions, Result, SyncKind, Vector, Wait,
    start, start_on,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Forgotten completions keep descriptors, of which a process has perhaps a thousand.
const SEEDS: u64 = 60;
const PAGE: usize = 16 * 1024;

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("LITTORAL_SEED").map(|seed| seed.parse::<u64>()) {
        Ok(seed) => {
            let seed = seed.expect("LITTORAL_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    }
}

/// Completions of any kind, asked for their ends only.
type Ended = Box<dyn FnMut() -> Option<Result<(), ErrorKind>>>;

struct Script {
    random: StdRng,
    ends: Vec<Ended>,
    called: mpsc::Sender<Result<(), ErrorKind>>,
    calls: u32,
    forgotten: usize,
}

impl Script {
    /// Keeps a completion in one of the ways there are.
    fn keep<T>(&mut self, mut completion: Completion<T>)
    where
        Completion<T>: TryTake,
        T: 'static,
    {
        if self.random.random_bool(0.2) {
            completion.cancel();
        }
        match self.random.random_range(0..10) {
            0 | 1 => completion.detach(),
            2 => {
                let called = self.called.clone();
                self.calls += 1;
                completion.call(move |ended| called.send(ended).expect("it is counted"));
            }
            3 if self.forgotten < 3 => {
                self.forgotten += 1;
                std::mem::forget(completion);
            }
            _ => self.ends.push(Box::new(move || completion.ended())),
        }
    }
}

/// What all completions have in common here.
trait TryTake {
    fn ended(&mut self) -> Option<Result<(), ErrorKind>>;
    fn call(self, callback: impl FnOnce(Result<(), ErrorKind>) + Send + 'static);
}

macro_rules! try_take {
    ($($value:ty),*) => {$(
        impl TryTake for Completion<$value> {
            fn ended(&mut self) -> Option<Result<(), ErrorKind>> {
                Some(support::kind(self.try_take()?).map(drop))
            }
            fn call(self, callback: impl FnOnce(Result<(), ErrorKind>) + Send + 'static) {
                self.on_finish(move |ended| callback(support::kind(ended).map(drop)));
            }
        }
    )*};
}
try_take!((), u64, Buffer, Vec<Buffer>, Arc<dyn File>);

/// Starts one random operation.
fn start_one(script: &mut Script, io: &dyn Io, files: &mut Vec<Arc<dyn File>>, arena: &Arena) {
    let at = script.random.random_range(0..64) * 4096;
    let choice = script.random.random_range(0..14);
    let file = Arc::clone(&files[script.random.random_range(0..files.len())]);
    let name = format!("name-{}", script.random.random_range(0..5));
    let page = |byte| {
        let mut page = arena.take(PAGE).ok()?;
        page.fill_with_zeros();
        page.fill(byte);
        Some(page.freeze())
    };
    match choice {
        0..3 => {
            let Some(page) = page(1) else { return };
            script.keep(file.pwrite(at, page));
        }
        3 => {
            let parts: Vector = [2, 3, 4].into_iter().filter_map(page).collect();
            script.keep(file.pwritev(at, parts));
        }
        4..6 => {
            let Ok(buffer) = arena.take(PAGE) else { return };
            script.keep(file.pread(at, buffer));
        }
        6 => {
            let buffers = (0..3).filter_map(|_| arena.take(PAGE).ok()).collect();
            script.keep(file.preadv(at, buffers));
        }
        7 => script.keep(file.sync(SyncKind::Data)),
        8 => script.keep(file.truncate(at)),
        9 => script.keep(file.size()),
        10 => script.keep(io.open(&name, OpenOptions::new().create(true))),
        11 => script.keep(io.remove(&name)),
        12 => script.keep(file.close()),
        _ => match io.open_now(&name, OpenOptions::new().create(true)) {
            Ok(file) => files.push(file),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Busy | ErrorKind::OutOfResources),
                "{error}"
            ),
        },
    }
}

/// What this process has open in a folder. (The folder itself is open as long as a completion
/// lives, and some are forgotten.)
fn open_below(folder: &Path) -> Vec<(RawFd, std::path::PathBuf)> {
    let folder = folder.canonicalize().expect("it exists");
    let below = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        (target != folder && target.starts_with(&folder)).then_some((number, target))
    };
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").filter_map(below).collect()
}

/// Runs one seed; how many operations were abandoned.
fn run(seed: u64, drain: Duration) -> u32 {
    const PAGES: usize = 64;
    let folder = support::folder();
    let arena = Arena::new(&[(PAGE, PAGES)]);
    let config = support::config(folder.path()).operations(64).drain_timeout(drain);
    let io = if seed.is_multiple_of(2) {
        start(config)
    } else {
        // The same ring, whose answers are late, short, refusals, and in any order.
        let setup = Setup { root: folder.path().to_str().map(str::to_owned), in_flight: 128 };
        let ring = Native::new(&setup).expect("a ring");
        start_on(Box::new(Faulty::new(ring, Faults::rough(seed), FaultScript::new())), config)
    };
    let io = io.expect("a driver");
    let mut files: Vec<_> = (0..3).map(|n| support::open(&*io, &format!("file-{n}"))).collect();
    support::pipe(folder.path(), "pipe");
    let pipe = support::open(&*io, "pipe");
    let (called, calls) = mpsc::channel();
    let random = StdRng::seed_from_u64(seed);
    let mut script = Script { random, ends: Vec::new(), called, calls: 0, forgotten: 0 };
    for _ in 0..script.random.random_range(1..80) {
        start_one(&mut script, &*io, &mut files, &arena);
        if script.random.random_bool(0.1) {
            script.keep(pipe.pread(0, arena.take(PAGE).unwrap_or(Buffer::with_capacity(1))));
        }
        if script.random.random_bool(0.2) {
            io.step(io.delivered(), Wait::No);
        }
    }
    if script.random.random() {
        files.clear();
    }
    let start = Instant::now();
    drop(io);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "seed {seed}: the drop took {took:?}");

    let Script { mut ends, calls: called, forgotten, .. } = script;
    let mut kinds: Vec<Result<(), ErrorKind>> = calls.try_iter().collect();
    assert_eq!(kinds.len(), called as usize, "seed {seed}: every callback is called");
    for end in &mut ends {
        kinds.push(end().unwrap_or_else(|| panic!("seed {seed}: an operation has no end")));
        assert!(end().is_none(), "seed {seed}: a second end");
    }
    drop(ends);
    for kind in &kinds {
        use ErrorKind::{Abandoned, Busy, Cancelled, Closed, NotFound, Saturated, WriteLost};
        let Err(kind) = kind else { continue };
        let expected = [Abandoned, Busy, Cancelled, Closed, NotFound, Saturated, WriteLost];
        assert!(expected.contains(kind), "seed {seed}: it ended as {kind:?}");
    }
    let abandoned = kinds.iter().filter(|kind| **kind == Err(ErrorKind::Abandoned)).count();
    for file in &files {
        let after = file.pread(0, Buffer::with_capacity(1)).try_take().expect("it is refused");
        assert_eq!(support::kind(after).map(drop), Err(ErrorKind::Closed), "seed {seed}");
    }
    drop((files, pipe));
    if drain > Duration::ZERO {
        assert_eq!(abandoned, 0, "seed {seed}: there was time: {kinds:?}");
        let open = open_below(folder.path());
        assert!(open.is_empty(), "seed {seed}: still open: {open:?}");
        // A forgotten completion keeps what its operation read, three pages at most.
        let lost = PAGES - arena.free(PAGE);
        assert!(lost <= 3 * forgotten, "seed {seed}: {lost} pages lost, {forgotten} forgotten");
    }
    u32::try_from(abandoned).expect("few")
}

#[test]
fn a_drop_at_any_moment_ends_everything() {
    support::within(120, "drops", || {
        for seed in seeds() {
            run(seed, Duration::from_secs(10));
        }
    });
}

/// Without time to drain, what the kernel has not answered is abandoned; nothing else changes.
#[test]
fn a_drop_without_time_ends_everything_too() {
    static ABANDONED: AtomicU32 = AtomicU32::new(0);
    support::within(120, "hasty drops", || {
        for seed in seeds() {
            ABANDONED.fetch_add(run(seed, Duration::ZERO), Ordering::Relaxed);
        }
    });
    println!("{ABANDONED:?} operations were abandoned");
}
