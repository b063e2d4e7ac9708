//! Is a write or a flush that is alone done by the thread that waits for it, and does everything
//! else stay right while that thread is inside the call?
#![cfg(target_os = "linux")]

#[path = "support/gated.rs"]
mod gated;
mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gated::{Gate, Which, Wrap};
use littoral::platform::faulty::{Faults, OpKind, Outcome, Rule, Script};
use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::platform::{Faulty, Op, Ring, Setup, Threads, Uring};
use littoral::{
    Buffer, Config, Errno, ErrorKind, File, Intent, Io, Shared, Statistics, SyncKind, Vector, Wait,
    batch, start_on, wait,
};

const DURABLE: Intent = Intent::new().durable(true);

fn setup(folder: &std::path::Path) -> Setup {
    Setup { root: folder.to_str().map(str::to_owned), in_flight: 64 }
}

struct Bench {
    folder: tempfile::TempDir,
    io: Arc<dyn Io>,
    file: Arc<dyn File>,
    before: Statistics,
}

impl Bench {
    fn on(folder: tempfile::TempDir, ring: Box<dyn Ring>) -> Bench {
        let io = start_on(ring, Config::new()).expect("a driver");
        let file = support::open(&*io, "file");
        let before = io.statistics();
        Bench { folder, io, file, before }
    }

    /// The kernel's ring, and the pool of threads.
    fn both() -> [Bench; 2] {
        let (one, other) = (support::folder(), support::folder());
        let ring = Uring::new(&setup(one.path())).expect("a kernel with io_uring");
        let pool = Threads::new(&setup(other.path())).expect("a root");
        [Bench::on(one, Box::new(ring)), Bench::on(other, Box::new(pool))]
    }

    /// How many calls and how many entries there were since the last time.
    fn counted(&mut self) -> (u64, u64) {
        let now = self.io.statistics();
        let before = core::mem::replace(&mut self.before, now);
        assert_eq!((now.stale, now.in_flight, now.queued), (0, 0, 0));
        (now.direct - before.direct, now.pushed - before.pushed)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("file")).expect("it is there")
    }
}

fn shared(bytes: &[u8]) -> Shared {
    Shared::from(bytes.to_vec())
}

#[test]
fn alone_it_needs_no_entry() {
    for mut bench in Bench::both() {
        let (io, file) = (Arc::clone(&bench.io), Arc::clone(&bench.file));
        wait(&io, file.pwrite(0, shared(b"01234567"))).expect("it writes");
        assert_eq!(bench.counted(), (1, 0), "a write");
        let parts = Vector::from(vec![shared(b"ab"), shared(b"cd")]);
        wait(&io, file.pwritev(2, parts)).expect("it writes");
        assert_eq!(bench.counted(), (1, 0), "a vectored write");
        wait(&io, file.sync(SyncKind::Full)).expect("it syncs");
        assert_eq!(bench.counted(), (1, 0), "a sync");
        wait(&io, file.pwrite_with(8, shared(b"89"), DURABLE)).expect("it writes");
        assert_eq!(bench.counted(), (2, 0), "a durable write: written, then flushed");
        wait(&io, file.truncate(9)).expect("it cuts");
        assert_eq!(bench.counted(), (1, 0), "a truncate");
        assert_eq!(bench.bytes(), b"01abcd678");
        // A commit: the sync waits for the write, and the two are alone.
        let written = file.pwrite(0, shared(b"xy"));
        wait(&io, file.sync(SyncKind::Data)).expect("it syncs");
        wait(&io, written).expect("it was written");
        assert_eq!(bench.counted(), (2, 0), "a write with its sync");
        assert_eq!(&bench.bytes()[..2], b"xy");
    }
}

#[test]
fn in_company_each_has_its_entry() {
    for mut bench in Bench::both() {
        let (io, file) = (Arc::clone(&bench.io), Arc::clone(&bench.file));
        let (one, other) = (file.pwrite(0, shared(b"a")), file.pwrite(100, shared(b"b")));
        wait(&io, one).expect("it writes");
        wait(&io, other).expect("it writes");
        assert_eq!(bench.counted(), (0, 2), "two writes");
        let (read, write) = (file.pread(0, Buffer::with_capacity(1)), file.pwrite(9, shared(b"c")));
        wait(&io, write).expect("it writes");
        assert_eq!(wait(&io, read).expect("it reads")[..], *b"a");
        assert_eq!(bench.counted(), (0, 2), "a read and a write");
        // What somebody may want back in time is not begun by a call that cannot be left.
        let mut write = file.pwrite(10, shared(b"d"));
        while write.try_take().is_none() {
            io.step(io.delivered(), Wait::For(Duration::from_secs(60)));
        }
        assert_eq!(bench.counted(), (0, 1), "a wait with a limit");
        let mut sync = file.sync(SyncKind::Data);
        while sync.try_take().is_none() {
            io.step(io.delivered(), Wait::No);
        }
        assert_eq!(bench.counted(), (0, 1), "no wait");
        // Another thread may be about to submit more of its batch.
        let staged = batch(&io, || file.pwrite(11, shared(b"e")));
        wait(&io, staged).expect("it writes");
        assert_eq!(bench.counted(), (0, 1), "started by its batch");
    }
}

#[test]
fn a_short_count_and_an_interruption_go_on() {
    for pool in [false, true] {
        let (folder, script) = (support::folder(), Script::new());
        let faults = Faults { lone_calls: true, ..Faults::default() };
        let ring: Box<dyn Ring> = if pool {
            let ring = Threads::new(&setup(folder.path())).expect("a root");
            Box::new(Faulty::new(ring, faults, script.clone()))
        } else {
            let ring = Uring::new(&setup(folder.path())).expect("a kernel with io_uring");
            Box::new(Faulty::new(ring, faults, script.clone()))
        };
        let mut bench = Bench::on(folder, ring);
        script.push(Rule::next(OpKind::Write, Outcome::Short(3)));
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::INTR)));
        script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::INTR)).times(2));
        let write = bench.file.pwrite_with(0, shared(b"0123456789"), DURABLE);
        wait(&bench.io, write).expect("it is durable");
        assert_eq!(bench.bytes(), b"0123456789");
        assert_eq!(bench.counted(), (6, 0), "three writes and three flushes");
        script.push(Rule::next(OpKind::Write, Outcome::Short(4)));
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::NOSPC)));
        let full = wait(&bench.io, bench.file.pwrite(0, shared(b"abcdefghij"))).expect_err("full");
        assert_eq!((full.kind(), full.confirmed()), (ErrorKind::StorageFull, Some(4)));
        script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)));
        let lost = wait(&bench.io, bench.file.sync(SyncKind::Data)).expect_err("it fails");
        assert_eq!(lost.kind(), ErrorKind::Io);
        let lost = wait(&bench.io, bench.file.sync(SyncKind::Data)).expect_err("it is poisoned");
        assert_eq!(lost.kind(), ErrorKind::SyncLost);
        bench.file.acknowledge_sync_loss().expect("it was lost");
    }
}

/// A driver and its file, the gate, and what tells the ring that it is dead.
type Gated = (Arc<dyn Io>, Arc<dyn File>, Arc<Gate>, Arc<AtomicBool>);

/// The next call of that kind stops at the gate.
fn gated(which: Which) -> Gated {
    let behaviour = Behaviour { lone_calls: true, ..Behaviour::seeded(5) };
    let setup = Setup { root: None, in_flight: 64 };
    let inner = Simulated::new(&setup, Disk::new(), behaviour);
    let (gate, dead) = (Arc::<Gate>::default(), Arc::<AtomicBool>::default());
    let ring = Wrap { inner, dead: Arc::clone(&dead), gate: Arc::clone(&gate) };
    let io = start_on(Box::new(ring), Config::new()).expect("a driver");
    let file = support::open(&*io, "file");
    wait(&io, file.pwrite(0, shared(b"0123456789"))).expect("it writes");
    gate.hold(which);
    (io, file, gate, dead)
}

fn is_sync(op: &Op) -> bool {
    matches!(op, Op::Sync { .. })
}

fn is_write(op: &Op) -> bool {
    matches!(op, Op::Write { .. } | Op::Writev { .. })
}

/// Runs `meanwhile` while another thread, which steps, is inside a call.
fn inside(io: &Arc<dyn Io>, gate: &Gate, meanwhile: impl FnOnce()) {
    let stepping = Arc::clone(io);
    let waiter = thread::spawn(move || stepping.step(stepping.delivered(), Wait::Forever));
    gate.wait_held();
    meanwhile();
    gate.release();
    waiter.join().expect("it steps");
}

#[test]
fn other_threads_go_on_beside_the_call() {
    support::within(60, "other threads", || {
        let (io, file, gate, _) = gated(is_sync);
        let other = support::open(&*io, "other");
        let sync = file.sync(SyncKind::Data);
        inside(&io, &gate, || {
            assert_eq!(io.statistics().in_flight, 1, "the call counts as in flight");
            // Reads, writes, and waits: by the ring, and led by this thread.
            let read = wait(&io, file.pread(3, Buffer::with_capacity(4))).expect("it reads");
            assert_eq!(read[..], *b"3456");
            wait(&io, file.pwrite(0, shared(b"ab"))).expect("it writes");
            // A second sync has to wait for the first; nobody else of the file is in its way.
            let second = file.sync(SyncKind::Data);
            wait(&io, other.pwrite(0, shared(b"x"))).expect("it writes");
            wait(&io, other.sync(SyncKind::Data)).expect("it syncs");
            gate.release();
            wait(&io, second).expect("it syncs");
        });
        wait(&io, sync).expect("it syncs");
        assert_eq!((io.statistics().in_flight, io.statistics().stale), (0, 0));
    });
}

/// C6: nobody steps but the thread that is inside the call.
#[test]
fn what_is_submitted_meanwhile_is_started() {
    support::within(60, "a start", || {
        let (io, file, gate, _) = gated(is_sync);
        let before = io.statistics().pushed;
        let sync = file.sync(SyncKind::Data);
        inside(&io, &gate, || {
            let write = file.pwrite(0, shared(b"ab"));
            assert_eq!(io.statistics().pushed - before, 1, "it waits for the call's end");
            let read = file.pread(0, Buffer::with_capacity(1));
            assert_eq!(io.statistics().pushed - before, 2, "it waits for the call's end");
            gate.release();
            wait(&io, write).expect("it writes");
            wait(&io, read).expect("it reads");
        });
        wait(&io, sync).expect("it syncs");
    });
}

#[test]
fn a_cancel_finds_it_in_flight() {
    support::within(60, "a cancel", || {
        let (io, file, gate, _) = gated(is_write);
        let write = file.pwrite(0, shared(b"abc"));
        inside(&io, &gate, || {
            write.cancel();
            // The cancel has an entry of its own, which finds nothing to end.
            wait(&io, file.size()).expect("a size");
        });
        wait(&io, write).expect("it was under way");
        let read = wait(&io, file.pread(0, Buffer::with_capacity(4))).expect("it reads");
        assert_eq!(read[..], *b"abc3");
    });
}

#[test]
fn a_ring_that_dies_meanwhile_loses_it() {
    support::within(60, "a dead ring", || {
        let (io, file, gate, dead) = gated(is_write);
        let write = file.pwrite(0, shared(b"abc"));
        inside(&io, &gate, || {
            dead.store(true, Ordering::SeqCst);
            let other = wait(&io, file.pread(0, Buffer::with_capacity(1))).expect_err("dead");
            assert_eq!(other.kind(), ErrorKind::RingLost);
        });
        let lost = wait(&io, write).expect_err("it is lost");
        assert_eq!(lost.kind(), ErrorKind::RingLost);
        assert_eq!(io.statistics().stale, 0);
    });
}
