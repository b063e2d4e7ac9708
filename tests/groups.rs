//! Groups and batches at the ends of drivers, and between threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use littoral::platform::faulty::{Faults, Faulty, OpKind, Outcome, Rule, Script};
use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::platform::{Setup, SyncKind};
use littoral::{Config, ErrorKind, File, Io, OpenOptions, Wait, batch, drain, start_on, wait};

fn driver() -> (Arc<dyn Io>, Arc<dyn File>, Script) {
    let setup = Setup { root: None, in_flight: 64 };
    let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(3));
    let script = Script::new();
    let ring = Faulty::new(ring, Faults::default(), script.clone());
    let config = Config::new().drain_timeout(Duration::ZERO);
    let io = start_on(Box::new(ring), config).expect("a driver");
    let file = wait(&io, io.open("file", OpenOptions::new().create(true))).expect("a file");
    (io, file, script)
}

#[test]
fn a_group_ends_with_its_driver() {
    let (io, file, script) = driver();
    script.push(Rule::next(OpKind::Write, Outcome::Park).times(2));
    let mut open = io.group();
    let mut joined = io.group();
    for at in [0, 100] {
        let write = file.pwrite(at, b"never answered".into());
        open.add(&write);
        joined.add(&write);
        joined.add(&write);
    }
    let joined = joined.join();
    io.step(io.delivered(), Wait::No);
    drop(io);
    // In two groups, of which one was not complete.
    for mut group in [joined, open.join()] {
        let ended = group.try_take().expect("it has ended").map_err(|error| error.kind());
        assert!(matches!(ended, Err(ErrorKind::Abandoned | ErrorKind::Cancelled)), "{ended:?}");
    }
    drop(file);
}

#[test]
fn a_group_ends_with_a_dead_ring() {
    let (io, file, script) = driver();
    script.push(Rule::next(OpKind::Write, Outcome::Park));
    let mut group = io.group();
    group.add(&file.pwrite(0, b"never answered".into()));
    let joined = group.join();
    io.step(io.delivered(), Wait::No);
    script.kill(littoral::Errno::OWNERDEAD);
    assert_eq!(wait(&io, joined).map_err(|error| error.kind()), Err(ErrorKind::RingLost));
    // One that is made later has nothing to wait for.
    let mut late = io.group();
    late.add(&file.size());
    assert_eq!(wait(&io, late.join()).map_err(|error| error.kind()), Err(ErrorKind::RingLost));
}

#[test]
fn groups_outlive_their_driver() {
    let (io, file, _script) = driver();
    let mut group = io.group();
    let write = file.pwrite(0, b"bytes".into());
    group.add(&write);
    drain(&io).expect("nothing needs a host");
    drop((io, file));
    assert!(group.join().try_take().expect("it has ended").is_ok());
    drop(write);
}

/// Nobody starts a part of it, and at its end it is started without a step.
#[test]
fn a_batch_is_started_while_another_thread_waits() {
    let (io, file, script) = driver();
    script.push(Rule::next(OpKind::Size, Outcome::Park));
    let parked = file.size();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            while !over.load(SeqCst) {
                io.step(io.delivered(), Wait::Forever);
            }
        });
        while io.statistics().in_flight == 0 {
            thread::yield_now();
        }
        let writes = batch(&io, || {
            let writes = [0, 10, 20].map(|at| file.pwrite(at, b"0123456789".into()));
            thread::sleep(Duration::from_millis(20));
            assert_eq!(io.statistics().in_flight, 1, "a part of it was started");
            // Another thread's is not held up by it.
            let other =
                scope.spawn(|| wait(&io, file.pread(0, littoral::Buffer::with_capacity(1))));
            other.join().expect("no panic").expect("it is read");
            assert!(io.statistics().queued > 0, "it still waits for its end");
            writes
        });
        for mut write in writes {
            while write.try_take().is_none_or(|result| result.is_err()) {
                thread::yield_now();
            }
        }
        over.store(true, SeqCst);
        script.release();
        io.interrupt();
        waiting.join().expect("no panic");
    });
    wait(&io, parked).expect("it was only parked");
}

#[test]
fn a_batch_ends_where_it_panics() {
    let (io, file, _script) = driver();
    let mut kept = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        batch(&io, || {
            kept.push(file.pwrite(0, b"before".into()));
            panic!("on purpose");
        });
    }));
    assert!(panicked.is_err());
    for write in kept {
        wait(&io, write).expect("it was submitted");
    }
    wait(&io, file.sync(SyncKind::Data)).expect("as ever");
    assert_eq!(io.statistics().queued, 0);
}
