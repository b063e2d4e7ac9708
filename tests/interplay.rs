//! Defects that the engine once had where two of its machines meet, one test each, named by the
//! clause that each broke.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use littoral::platform::faulty::{Faults, Faulty, OpKind, Outcome, Permille, Rule, Script};
use littoral::platform::simulated::{Config as Disposition, Disk, Simulated};
use littoral::platform::{LockKind, Native, Op, Setup};
use littoral::*;

#[path = "support/engine.rs"]
mod engine;
use engine::{in_time, open, page, settle};
#[path = "support/gated.rs"]
mod gated;
use gated::{Gate, Wrap};

/// Long after it should have come back.
const SOON: Duration = Duration::from_secs(5);

/// A ring on which reads go straight.
fn simulated() -> (Faulty<Simulated>, Script) {
    let prompt = Permille::ALWAYS;
    let disposition = Disposition { prompt, read_call_cost: 0, ..Disposition::seeded(1) };
    let setup = Setup { root: None, in_flight: 64 };
    let ring = Simulated::new(&setup, Disk::new(), disposition);
    let script = Script::new();
    (Faulty::new(ring, Faults::default(), script.clone()), script)
}

fn scripted(config: Config) -> (Arc<dyn Io>, Script) {
    let (ring, script) = simulated();
    (start_on(Box::new(ring), config).unwrap(), script)
}

fn kind<T>(result: Result<T>) -> std::result::Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

/// G1: a read that was over when it joined a group is gone once it is taken, and who has its place
/// next is no member.
#[test]
fn g1_who_follows_a_finished_read_is_not_in_its_group() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    // Slots for all of what follows.
    for write in [0, 10_000, 20_000].map(|at| file.pwrite(at, page(1))) {
        wait(&*io, write).unwrap();
    }
    script.push(Rule::next(OpKind::Write, Outcome::Park).at(100_000));
    let slow = file.pwrite(100_000, page(2));
    settle(&io);
    let mut read = file.pread(0, Buffer::with_capacity(4096));
    settle(&io);
    let mut group = io.group();
    group.add(&slow);
    group.add(&read);
    read.try_take().expect("it is over").unwrap();
    let mut joined = group.join();
    wait(&*io, file.pwrite(0, page(3))).unwrap();
    settle(&io);
    assert!(joined.try_take().is_none(), "a member is not over");
    script.release();
    wait(&*io, slow).unwrap();
    wait(&*io, joined).unwrap();
}

/// L3, S3: a handle that is closed behind a flush that fails gives its lock up all the same.
#[test]
fn l3_a_close_behind_a_failed_flush_gives_the_lock_up() {
    for drops in [false, true] {
        let (io, script) = scripted(Config::new().lock_patience(Duration::ZERO));
        let (one, other) = (open(&io, "f"), open(&io, "f"));
        wait(&*io, one.lock(LockKind::Exclusive)).unwrap();
        script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)));
        let sync = one.sync(SyncKind::Data);
        if drops {
            drop(one);
            settle(&io);
        } else {
            let close = one.close();
            settle(&io);
            wait(&*io, close).unwrap();
        }
        assert_eq!(kind(wait(&*io, sync)), Err(ErrorKind::Io));
        wait(&*io, other.lock(LockKind::Exclusive)).expect("nobody has it any more");
    }
}

/// L1, S3: giving a lock up changes no byte: a poisoned file does not keep anybody from it.
#[test]
fn l1_a_poisoned_file_is_unlocked() {
    let (io, script) = scripted(Config::new().lock_patience(Duration::ZERO));
    let (one, other) = (open(&io, "f"), open(&io, "f"));
    wait(&*io, one.lock(LockKind::Exclusive)).unwrap();
    script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)));
    let sync = one.sync(SyncKind::Data);
    let unlock = one.unlock();
    assert_eq!(kind(wait(&*io, sync)), Err(ErrorKind::Io));
    wait(&*io, unlock).expect("behind the flush that fails");
    wait(&*io, one.lock(LockKind::Exclusive)).unwrap();
    wait(&*io, one.unlock()).expect("of a file that is poisoned");
    wait(&*io, other.lock(LockKind::Exclusive)).unwrap();
    assert_eq!(kind(wait(&*io, one.pwrite(0, page(1)))), Err(ErrorKind::SyncLost));
}

/// L1, S3: who waits for a lock waits on when a flush of the file fails.
#[test]
fn l1_who_waits_for_a_lock_outlives_a_failed_flush() {
    let (io, script) = scripted(Config::new().lock_patience(Duration::from_secs(100)));
    let (one, other) = (open(&io, "f"), open(&io, "f"));
    wait(&*io, one.lock(LockKind::Exclusive)).unwrap();
    // The lock has the slot of a write.
    wait(&*io, other.pwrite(0, page(1))).unwrap();
    let mut lock = other.lock(LockKind::Exclusive);
    script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)));
    let sync = one.sync(SyncKind::Data);
    settle(&io);
    assert_eq!(kind(wait(&*io, sync)), Err(ErrorKind::Io));
    assert!(lock.try_take().is_none(), "it waits");
    one.unlock().detach();
    drop(one);
    settle(&io);
    lock.try_take().expect("the lock is free").unwrap();
}

/// G2, P1: what is done at once inside a batch waits for what the batch has staged, so starts it.
#[test]
fn g2_opening_at_once_behind_a_staged_write() {
    let (io, _) = scripted(Config::new());
    let file = open(&io, "f");
    let opened = in_time(SOON, move || {
        batch(&*io, || {
            file.pwrite(0, page(1)).detach();
            drop(file);
            io.open_now("f", OpenOptions::new()).map(drop)
        })
    });
    opened.expect("it waits for ever").unwrap();
}

/// G2, C6: a batch does not delay what another thread closes.
#[test]
fn g2_a_close_is_in_no_batch_of_another_thread() {
    let (io, script) = scripted(Config::new());
    let (mine, yours) = (open(&io, "mine"), open(&io, "yours"));
    wait(&*io, yours.lock(LockKind::Exclusive)).unwrap();
    batch(&*io, || {
        let writes = [0, 100_000, 200_000].map(|at| mine.pwrite(at, page(1)));
        for write in writes {
            wait(&*io, write).unwrap();
        }
        script.push(Rule::next(OpKind::Write, Outcome::Park));
        let (io, script) = (Arc::clone(&io), script.clone());
        let closed = in_time(SOON, move || {
            let write = yours.pwrite(0, page(1));
            settle(&io);
            let close = yours.close();
            script.release();
            wait(&*io, write).unwrap();
            wait(&*io, close)
        });
        closed.expect("it waits for the end of the batch").unwrap();
    });
}

/// X1, L1: an open that was cancelled before it came to its lock does not wait for that.
#[test]
fn x1_a_cancelled_open_waits_for_no_lock() {
    let (io, script) = scripted(Config::new().lock_patience(Duration::from_secs(100)));
    let holder = open(&io, "f");
    wait(&*io, holder.lock(LockKind::Exclusive)).unwrap();
    script.push(Rule::next(OpKind::Stat, Outcome::Late));
    let mut opening = io.open("f", OpenOptions::new().lock(LockKind::Exclusive));
    settle(&io);
    opening.cancel();
    settle(&io);
    script.release();
    settle(&io);
    let ended = opening.try_take().expect("it sleeps").map(drop);
    assert_eq!(kind(ended), Err(ErrorKind::Cancelled));
}

/// X1, L1: the same where to be open is the lock, and somebody else has it open.
#[test]
fn x1_a_cancelled_open_waits_for_no_other_tab() {
    let (disk, script) = (Disk::new(), Script::new());
    let setup = Setup { root: None, in_flight: 64 };
    let tab = |seed| {
        let ring = Simulated::new(&setup, disk.clone(), Disposition::hosted(seed));
        (ring.host(), Faulty::new(ring, Faults::default(), script.clone()))
    };
    let ((host, ring), (other, beside)) = (tab(1), tab(2));
    let here = start_on(Box::new(ring), Config::new()).unwrap();
    let there = start_on(Box::new(beside), Config::new()).unwrap();
    let turns = || {
        for _ in 0..20 {
            host.turn();
            other.turn();
        }
    };
    let mut held = here.open("f", OpenOptions::new().create(true));
    turns();
    let _held = held.try_take().expect("it is open").unwrap();
    script.push(Rule::next(OpKind::Open, Outcome::Late));
    let mut opening = there.open("f", OpenOptions::new().create(true));
    turns();
    opening.cancel();
    turns();
    script.release();
    turns();
    let ended = opening.try_take().expect("it waits").map(drop);
    assert_eq!(kind(ended), Err(ErrorKind::Cancelled));
}

/// D1: an open that is never answered keeps its own handle, not that of the file of its name.
#[test]
fn d1_an_abandoned_open_keeps_no_file_open() {
    for drops in [false, true] {
        let (ring, script) = simulated();
        let gate = Arc::<Gate>::default();
        let ring = Wrap { inner: ring, dead: Arc::default(), gate: Arc::clone(&gate) };
        let io = start_on(Box::new(ring), Config::new().drain_timeout(Duration::ZERO)).unwrap();
        let file = open(&io, "f");
        script.push(Rule::next(OpKind::Open, Outcome::Late));
        let again = io.open("f", OpenOptions::new());
        settle(&io);
        let kept = if drops { None } else { Some(file) };
        settle(&io);
        drop(io);
        assert_eq!(gate.closes.load(Ordering::SeqCst), 1, "dropped before: {drops}");
        drop((kept, again));
    }
}

/// P1: what two prepare stays prepared though one of them is cancelled.
#[test]
fn p1_a_cancelled_prepare_leaves_what_another_one_prepared() {
    let (io, script) = scripted(Config::new());
    drop(open(&io, "other"));
    script.push(Rule::next(OpKind::Open, Outcome::Park).skip(1));
    let cancelled = io.prepare(&["f", "slow"], 0);
    settle(&io);
    wait(&*io, io.prepare(&["f"], 0)).unwrap();
    cancelled.cancel();
    assert_eq!(kind(wait(&*io, cancelled)), Err(ErrorKind::Cancelled));
    settle(&io);
    let refused =
        wait(&*io, io.rename("other", "f")).expect_err("it is open for the driver's life");
    assert_eq!(refused.kind(), ErrorKind::Busy);
    // The one who is left gives it back like any other.
    drop(io.open_now("f", OpenOptions::new().create(true)).unwrap());
    wait(&*io, io.remove("f")).unwrap();
    assert!(!io.exists_now("f").unwrap());
}

/// C6, P1: a result that a thread comes across while it waits for a name is told to whoever waits
/// for that.
#[test]
fn c6_opening_at_once_keeps_nobodys_result() {
    let (ring, script) = simulated();
    let gate = Arc::<Gate>::default();
    let ring = Wrap { inner: ring, dead: Arc::default(), gate: Arc::clone(&gate) };
    let io = start_on(Box::new(ring), Config::new()).unwrap();
    let file = open(&io, "g");
    gate.hold(|op| matches!(op, Op::Open { .. }));
    let open_now = |io: &Arc<dyn Io>| {
        let io = Arc::clone(io);
        thread::spawn(move || io.open_now("f", OpenOptions::new().create(true)).map(drop))
    };
    let first = open_now(&io);
    gate.wait_held();
    script.push(Rule::next(OpKind::Read, Outcome::Park));
    let read = file.pread(0, Buffer::with_capacity(8));
    settle(&io);
    gate.deaf.store(true, Ordering::SeqCst);
    let waits = Arc::clone(&io);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(wait(&*waits, read)));
    while !gate.waiting.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    script.release();
    let second = open_now(&io);
    let read = told.recv_timeout(Duration::from_secs(5));
    gate.release();
    first.join().unwrap().unwrap();
    second.join().unwrap().unwrap();
    read.expect("it sleeps until the name is free").unwrap();
}

/// S3: a rename onto another name of the same file does nothing (`rename(2)`), so the file keeps
/// the name it is known by.
#[cfg(unix)]
#[test]
fn s3_a_rename_of_one_link_onto_another_forgets_no_lost_flush() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"one file").unwrap();
    std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
    let root = Some(folder.path().to_str().unwrap().to_owned());
    let ring = Native::new(&Setup { root, in_flight: 64 }).unwrap();
    let script = Script::new();
    let ring = Faulty::new(ring, Faults::default(), script.clone());
    let io = start_on(Box::new(ring), Config::new()).unwrap();
    let file = open(&io, "a");
    script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)));
    assert_eq!(kind(wait(&*io, file.sync(SyncKind::Data))), Err(ErrorKind::Io));
    wait(&*io, file.close()).unwrap();
    wait(&*io, io.rename("a", "b")).unwrap();
    wait(&*io, io.remove("b")).unwrap();
    let file = open(&io, "a");
    assert_eq!(kind(wait(&*io, file.sync(SyncKind::Data))), Err(ErrorKind::SyncLost));
}

/// G2: a step starts what was submitted so far in a batch, also what has to wait first.
#[test]
fn g2_what_a_step_has_started_goes_on_without_its_batch() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Write, Outcome::Park));
    batch(&*io, || {
        let write = file.pwrite(0, page(1));
        let mut sync = file.sync(SyncKind::Data);
        io.step(io.delivered(), Wait::No);
        script.release();
        // Another thread steps for this one.
        thread::scope(|scope| drop(scope.spawn(|| settle(&io)).join()));
        sync.try_take().expect("it waits for the end of the batch").unwrap();
        drop(write);
    });
}

/// S1, G1: a failure that was taken is known, though nobody took its group's.
#[test]
fn s1_a_failure_taken_beside_its_group_is_not_told_again() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)));
    let write = file.pwrite(0, page(1));
    let mut group = io.group();
    group.add(&write);
    let joined = group.join();
    settle(&io);
    drop(joined);
    assert_eq!(kind(wait(&*io, write)), Err(ErrorKind::Io));
    wait(&*io, file.sync(SyncKind::Data)).expect("somebody was told");
}

/// S1, G1: a group tells of what was refused, too, however much of it there was.
#[test]
fn s1_refusals_told_by_a_group_are_not_told_again() {
    let (io, _) = scripted(Config::new().operations(2));
    let file = open(&io, "f");
    let mut group = io.group();
    let taken = [0, 10_000].map(|at| file.pwrite(at, page(1)));
    for at in [20_000, 30_000, 40_000] {
        group.add(&file.pwrite(at, page(1)));
    }
    for write in taken {
        wait(&*io, write).unwrap();
    }
    assert_eq!(kind(wait(&*io, group.join())), Err(ErrorKind::Saturated));
    wait(&*io, file.sync(SyncKind::Data)).expect("the group has told");
}
