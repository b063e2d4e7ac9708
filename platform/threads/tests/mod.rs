//! The pool on real files: every operation, both ends of a thread's life, the doorbell, and what
//! blocks.

mod bell;
mod life;
mod ops;
mod queues;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::pool::{Pool, STACK};
use super::{THREADS_MAX, Threads};
use crate::simulated::pump::Pump;
use crate::unix::Files;
use crate::{Cqe, Direct, Errno, Handle, Op, Ring, Setup, Sqe, SyncKind, Tag};

/// Longer than anything here takes, so that a lost wake-up fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn setup(folder: &TempDir, in_flight: u32) -> Setup {
    let root = folder.path().to_str().expect("a temporary folder with a name in UTF-8");
    Setup { root: Some(root.into()), in_flight }
}

/// System calls, but for one that waits until it is let go: a thread that is stuck in it.
struct Gate {
    files: Files,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// The operation that waits.
    const STUCK: Op = Op::Sync { file: Handle(u32::MAX), kind: SyncKind::Full };

    /// Lets go all that is stuck, or ever will be.
    fn open(&self) {
        *self.is_open.lock().expect("a gate") = true;
        self.opened.notify_all();
    }
}

impl Direct for Gate {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        if !matches!(op, Op::Sync { file: Handle(u32::MAX), .. }) {
            // SAFETY: the caller's promise, handed on.
            return unsafe { self.files.call(op) };
        }
        let is_open = self.is_open.lock().expect("a gate");
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).expect("a gate"));
        Ok(0)
    }
}

/// A ring of that size, what its threads may be stuck in, and a folder of its own.
fn threads(in_flight: u32) -> (Pump<Threads>, Arc<Gate>, TempDir) {
    bounded(in_flight, THREADS_MAX, STACK)
}

/// A ring of at most that many threads, with stacks of that many bytes.
fn bounded(
    in_flight: u32,
    threads_max: usize,
    stack: usize,
) -> (Pump<Threads>, Arc<Gate>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Files::new(&setup(&folder, in_flight)).expect("a root that exists");
    let gate = Gate { files, is_open: Mutex::new(false), opened: Condvar::new() };
    let gate = Arc::new(gate);
    let pool = Pool::new(Arc::clone(&gate) as Arc<dyn Direct>, threads_max, stack);
    (Pump::new(Threads::with(pool, in_flight, threads_max, Vec::new())), gate, folder)
}

fn push(ring: &mut Threads, tag: u64, op: Op) {
    // SAFETY: each test keeps what its operations point to until they were reaped.
    unsafe { ring.push(&Sqe::new(Tag(tag), op)) }.expect("room in the ring");
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
