//! The pool on real files: every operation, both ends of a thread's life, the doorbell, and what
//! blocks.

mod bell;
mod life;
mod ops;
mod queues;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;

use super::Threads;
use super::pool::Pool;
use crate::simulated::pump::Pump;
use crate::unix::Files;
use crate::{Cqe, Name, Op, OpenFlags, Ring, Setup, Sqe, Tag};

/// Longer than anything here takes, so that a lost wake-up fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn setup(folder: &TempDir, in_flight: u32) -> Setup {
    let root = folder.path().to_str().expect("a temporary folder with a name in UTF-8");
    Setup { root: Some(root.into()), in_flight }
}

/// A ring as `Threads::new` makes it, below a folder of its own.
fn threads(in_flight: u32) -> (Pump<Threads>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ring = Threads::new(&setup(&folder, in_flight)).expect("a root that exists");
    (Pump::new(ring), folder)
}

/// A ring of at most that many threads, with stacks of that many bytes.
fn bounded(in_flight: u32, threads_max: usize, stack: usize) -> (Pump<Threads>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Files::new(&setup(&folder, in_flight)).expect("a root that exists");
    let pool = Pool::with_stack(Arc::new(files), threads_max, stack);
    (Pump::new(Threads::with(pool, in_flight, threads_max, Vec::new())), folder)
}

/// A pipe with a name, below the root: opening it to read waits until somebody opens it to write.
struct Pipe(PathBuf);

impl Pipe {
    /// The open that waits.
    const OPEN: Op = Op::Open {
        name: Name { ptr: c"pipe".as_ptr().cast(), len: 4 },
        flags: OpenFlags::empty(),
        mode: 0,
    };

    fn new(folder: &TempDir) -> Pipe {
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        Pipe(path)
    }

    /// The other side, which ends the waiting of one open or of many.
    fn writer(&self) -> File {
        File::options().write(true).open(&self.0).expect("a pipe to open")
    }
}

fn push(ring: &mut Threads, tag: u64, op: Op) {
    // SAFETY: each test keeps what its operations point to until they were reaped.
    unsafe { ring.push(&Sqe { tag: Tag(tag), op }) }.expect("room in the ring");
}

/// Submits and waits for the next completion.
fn next(ring: &mut Threads) -> Cqe {
    let started = Instant::now();
    loop {
        if let Some(cqe) = ring.reap() {
            return cqe;
        }
        assert!(started.elapsed() < PATIENCE, "no completion came");
        let waited = ring.doorbell().wait(ring.unsubmitted(), Some(PATIENCE));
        waited.expect("a ring that takes entries");
    }
}

/// Waits until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
