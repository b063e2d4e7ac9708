//! Defects that the engine once had, one test each, named by the clause that each broke.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use littoral::platform::faulty::{Faults, Faulty, OpKind, Outcome, Permille, Rule, Script};
use littoral::platform::simulated::{Config as Disposition, Disk, Simulated};
use littoral::platform::{Native, Op, Setup};
use littoral::*;

#[path = "support/engine.rs"]
mod engine;
use engine::{in_time, open, page, settle};
#[path = "support/gated.rs"]
mod gated;
use gated::{Gate, Wrap};

fn setup() -> Setup {
    Setup { root: None, in_flight: 64 }
}

fn simulated() -> Simulated {
    let disposition = Disposition { prompt: Permille::ALWAYS, ..Disposition::seeded(1) };
    Simulated::new(&setup(), Disk::new(), disposition)
}

fn scripted(config: Config) -> (Arc<dyn Io>, Script) {
    let script = Script::new();
    let ring = Faulty::new(simulated(), Faults::default(), script.clone());
    (start_on(Box::new(ring), config).unwrap(), script)
}

/// S1: a sync that reports an early lost write must not forget a later one.
#[test]
fn s1_a_second_lost_write_is_not_forgotten() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)).at(0));
    script.push(Rule::next(OpKind::Write, Outcome::Park).at(100_000));
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)).at(200_000));
    file.pwrite(0, page(1)).detach();
    settle(&io);
    let slow = file.pwrite(100_000, page(2));
    let first = file.sync(SyncKind::Data);
    file.pwrite(200_000, page(3)).detach();
    settle(&io);
    script.release();
    wait(&*io, slow).unwrap();
    assert_eq!(wait(&*io, first).unwrap_err().kind(), ErrorKind::WriteLost);
    let second = wait(&*io, file.sync(SyncKind::Data));
    assert_eq!(second.map_err(|e| e.kind()), Err(ErrorKind::WriteLost), "page 3 was never written");
}

/// S1: the failure of a detached write that was *refused* is nobody's either.
#[test]
fn s1_a_refused_and_detached_write_fails_the_sync() {
    let (io, _) = scripted(Config::new().operations(2));
    let file = open(&io, "f");
    let a = file.pwrite(0, page(1));
    let b = file.pwrite(4096, page(1));
    file.pwrite(8192, page(1)).detach(); // Saturated, and nobody looks
    wait(&*io, a).unwrap();
    wait(&*io, b).unwrap();
    let commit = wait(&*io, file.sync(SyncKind::Data));
    assert_eq!(
        commit.map_err(|e| e.kind()),
        Err(ErrorKind::WriteLost),
        "the third page is nowhere"
    );
}

/// S1, F8: a close is the last to tell of a failure that nobody took.
#[test]
fn s1_a_close_tells_of_a_lost_write() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "a");
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)));
    file.pwrite(0, page(1)).detach();
    settle(&io);
    let error = wait(&*io, file.close()).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::WriteLost, Operation::Close));
    assert_eq!(error.cause().map(Error::kind), Some(ErrorKind::Io));
    let file = open(&io, "a");
    wait(&*io, file.sync(SyncKind::Full)).unwrap();
    wait(&*io, file.close()).unwrap();
}

/// S1: a failure that a sync has told is told once.
#[test]
fn s1_a_told_failure_is_not_told_again() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)));
    file.pwrite(0, page(1)).detach();
    let first = file.sync(SyncKind::Data);
    assert_eq!(wait(&*io, first).unwrap_err().kind(), ErrorKind::WriteLost);
    wait(&*io, file.pwrite(0, page(1))).unwrap();
    wait(&*io, file.sync(SyncKind::Data)).expect("what was lost is written again");
}

/// S1: a cancelled sync lost no write.
#[test]
fn s1_a_cancelled_sync_is_no_lost_write() {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Sync, Outcome::Park));
    let sync = file.sync(SyncKind::Data);
    settle(&io);
    sync.cancel();
    sync.detach();
    settle(&io);
    wait(&*io, file.sync(SyncKind::Data)).expect("nothing was written at all");
}

/// Two operations travel in one entry; the first is cancelled, and the second none the worse.
fn cancelling_the_first_spares_the_second(
    held: OpKind,
    two: impl Fn(&dyn File) -> (Completion<()>, Completion<()>),
    shared: impl Fn(Statistics) -> u64,
) {
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(held, Outcome::Park));
    let (first, second) = two(&*file);
    settle(&io);
    assert_eq!(shared(io.statistics()), 1);
    first.cancel();
    settle(&io);
    script.release();
    wait(&*io, second).expect("nobody cancelled it");
    drop(first);
}

/// M1, S4, X1: cancelling the first of two syncs that share a flush is not the second's business.
#[test]
fn m1_cancelling_the_head_of_a_shared_flush_spares_the_other() {
    let two = |file: &dyn File| (file.sync(SyncKind::Data), file.sync(SyncKind::Data));
    cancelling_the_first_spares_the_second(OpKind::Sync, two, |counted| counted.syncs_shared);
}

/// M1: the same for a merged write of two.
#[test]
fn m1_cancelling_the_head_of_a_merged_write_spares_the_other() {
    let two = |file: &dyn File| (file.pwrite(0, page(1)), file.pwrite(4096, page(2)));
    cancelling_the_first_spares_the_second(OpKind::Write, two, |counted| counted.merged);
}

/// M1: with one member cancelled and an error, the other is issued again by itself.
#[test]
fn m1_an_error_beside_a_cancelled_member_is_tried_again_alone() {
    let faults = Faults { delay: Permille::ALWAYS, ..Faults::default() };
    let script = Script::new();
    script.calm(true);
    let ring = Faulty::new(simulated(), faults, script.clone());
    let io = start_on(Box::new(ring), Config::new()).unwrap();
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)));
    script.calm(false);
    let (a, b) = (file.pwrite(0, page(1)), file.pwrite(4096, page(2)));
    io.step(io.delivered(), Wait::No);
    assert_eq!((io.statistics().merged, io.statistics().in_flight), (1, 1));
    a.cancel();
    script.calm(true);
    wait(&*io, b).expect("its own try succeeds");
    drop(a);
}

/// O1: who waits for room is told when the one before him in line gives up.
#[test]
fn o1_room_is_granted_when_the_first_in_line_is_cancelled() {
    let (io, _) = scripted(Config::new().operations(3));
    let file = open(&io, "f");
    let kept = file.pwrite(0, page(1));
    settle(&io);
    let (all, one) = (io.room(3), io.room(1));
    settle(&io);
    all.cancel();
    let io2 = Arc::clone(&io);
    let told = in_time(Duration::from_secs(3), move || wait(&*io2, one));
    drop((kept, all));
    told.expect("there is room for two, and nobody is before him").unwrap();
}

/// C2, C5: the callback of a refused operation runs at the next step; a step is bounded.
#[test]
fn c5_a_callback_that_tries_again_does_not_hold_the_step() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn again(file: &Arc<dyn File>) {
        let next = Arc::clone(file);
        file.pwrite(0, page(2)).on_finish(move |result| {
            if result.unwrap_err().kind() != ErrorKind::Saturated {
                return;
            }
            if CALLS.fetch_add(1, Ordering::Relaxed) < 100 {
                again(&next);
            }
        });
    }
    let (io, _) = scripted(Config::new().operations(1));
    let file = open(&io, "f");
    let kept = file.pwrite(0, page(1));
    settle(&io);
    again(&file);
    io.step(io.delivered(), Wait::No);
    assert_eq!(CALLS.load(Ordering::Relaxed), 1, "calls in one step");
    drop(kept);
}

struct Wrapped {
    io: Arc<dyn Io>,
    script: Script,
    dead: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

fn wrapped(config: Config) -> Wrapped {
    let (script, dead, gate) = (Script::new(), Arc::default(), Arc::<Gate>::default());
    let inner = Faulty::new(simulated(), Faults::default(), script.clone());
    let ring = Wrap { inner, dead: Arc::clone(&dead), gate: Arc::clone(&gate) };
    Wrapped { io: start_on(Box::new(ring), config).unwrap(), script, dead, gate }
}

/// D3: the ring dies while somebody waits for room.
#[test]
fn d3_a_lost_ring_ends_who_waits_for_room_once() {
    let Wrapped { io, script, dead, .. } = wrapped(Config::new().operations(2));
    let (file, other) = (open(&io, "f"), open(&io, "g"));
    script.push(Rule::next(OpKind::Read, Outcome::Park).times(2));
    let a = file.pread(0, Buffer::with_capacity(10));
    let b = file.pread(0, Buffer::with_capacity(10));
    let mut room = io.room(1);
    settle(&io);
    dead.store(true, Ordering::SeqCst);
    // A close has to be submitted, of the file that nobody uses.
    drop(other);
    settle(&io);
    for mut read in [a, b] {
        assert_eq!(read.try_take().expect("ended").unwrap_err().kind(), ErrorKind::RingLost);
    }
    assert_eq!(room.try_take().expect("ended").unwrap_err().kind(), ErrorKind::RingLost);
    assert_eq!(io.step(io.delivered(), Wait::No).status, Status::Idle);
}

/// D2: a close that answers after its time.
#[test]
fn d2_a_close_that_answers_between_two_looks() {
    let mut panics = Vec::new();
    for seed in 0..20 {
        let faults = Faults { seed, delay: Permille::ALWAYS, ..Faults::default() };
        let script = Script::new();
        script.calm(true);
        let ring = Faulty::new(simulated(), faults, script.clone());
        let io = start_on(Box::new(ring), Config::new().drain_timeout(Duration::ZERO)).unwrap();
        let file = open(&io, "f");
        script.calm(false);
        let closed = file.close();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(io)));
        if dropped.is_err() {
            panics.push(seed);
        }
        drop(closed);
    }
    assert_eq!(panics, [], "seeds whose drop panicked");
}

/// D2: an open that is between two entries when the time is over.
#[test]
fn d2_an_open_between_its_two_entries() {
    let (io, script) = scripted(Config::new().drain_timeout(Duration::ZERO));
    script.push(Rule::next(OpKind::Stat, Outcome::Refuse).times(1000));
    let opened = io.open("f", OpenOptions::new().create(true));
    io.step(io.delivered(), Wait::No);
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(io)));
    assert!(dropped.is_ok(), "the drop panicked");
    drop(opened);
}

/// C5, C6: a step that waits for a name held by another thread's `open_now` is woken by its end.
#[test]
fn c5_a_name_given_back_wakes_who_steps_for_it() {
    let Wrapped { io, gate, .. } = wrapped(Config::new());
    drop(open(&io, "warm"));
    settle(&io);
    gate.hold(|op| matches!(op, Op::Open { .. }));
    let io2 = Arc::clone(&io);
    let now = thread::spawn(move || io2.open_now("f", OpenOptions::new().create(true)).unwrap());
    gate.wait_held();
    let io3 = Arc::clone(&io);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(wait(&*io3, io3.open("f", OpenOptions::new()))));
    thread::sleep(Duration::from_millis(300)); // until it sleeps
    gate.release();
    let _kept = now.join().unwrap();
    told.recv_timeout(Duration::from_secs(3)).expect("it sleeps for ever").unwrap();
}

/// P1: `open_now` waits for a name, not for somebody's slow read.
#[test]
fn p1_open_now_is_told_when_its_name_is_free() {
    let Wrapped { io, gate, script, .. } = wrapped(Config::new());
    let other = open(&io, "other");
    script.push(Rule::next(OpKind::Read, Outcome::Park));
    let slow = other.pread(0, Buffer::with_capacity(1));
    settle(&io);
    gate.hold(|op| matches!(op, Op::Open { .. }));
    let io2 = Arc::clone(&io);
    let first = thread::spawn(move || io2.open_now("f", OpenOptions::new().create(true)).unwrap());
    gate.wait_held();
    let io3 = Arc::clone(&io);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(io3.open_now("f", OpenOptions::new()).map(drop)));
    thread::sleep(Duration::from_millis(300));
    gate.release();
    let _kept = first.join().unwrap();
    let second = told.recv_timeout(Duration::from_secs(3));
    script.release();
    drop(slow);
    second.expect("it sleeps until the read ends").unwrap();
}

/// F3: the descriptor of a `size_now` is not closed, and so not reused, under it.
#[test]
fn f3_size_now_pins_its_file() {
    let Wrapped { io, gate, .. } = wrapped(Config::new());
    let file = open(&io, "f");
    gate.hold(|op| matches!(op, Op::Size { .. }));
    let file2 = Arc::clone(&file);
    let asks = thread::spawn(move || file2.size_now());
    gate.wait_held();
    drop(file.close());
    settle(&io);
    let closes = gate.closes.load(Ordering::SeqCst);
    gate.release();
    let _ = asks.join().unwrap();
    assert_eq!(closes, 0, "handles closed while a call used them");
}

/// D2: preparing many names again must not use up the stack.
#[test]
fn p1_preparing_many_names_again() {
    let (io, _) = scripted(Config::new().files(32_768));
    let names: Vec<String> = (0..20_000).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    wait(&*io, io.prepare(&names, 0)).unwrap();
    wait(&*io, io.prepare(&names, 0)).unwrap();
}

/// C5: a callback that panics at the end of the driver loses no other.
#[test]
fn c5_a_panic_at_the_end_loses_no_callback() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    let (io, script) = scripted(Config::new());
    let file = open(&io, "f");
    script.push(Rule::next(OpKind::Read, Outcome::Park).times(2));
    file.pread(0, Buffer::with_capacity(1)).on_finish(|_| panic!("on purpose"));
    file.pread(0, Buffer::with_capacity(1)).on_finish(|_| CALLED.store(true, Ordering::SeqCst));
    settle(&io);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(io)));
    assert!(CALLED.load(Ordering::SeqCst));
}

/// Bad input: a full table of files changes nothing on the disk.
#[test]
fn f1_a_full_table_creates_nothing() {
    let (io, _) = scripted(Config::new().files(1));
    let _a = open(&io, "a");
    let refused = wait(&*io, io.open("b", OpenOptions::new().create(true))).map(drop);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::OutOfResources);
    assert!(!io.exists_now("b").unwrap(), "the refused open has created it");
}

/// F3: closing a file by one thread while another reads by it never reads another file.
#[test]
fn f3_close_against_read_on_two_threads() {
    let folder = tempfile::tempdir().unwrap();
    let root = Some(folder.path().to_str().unwrap().to_owned());
    let io =
        start_on(Box::new(Native::new(&Setup { root, in_flight: 64 }).unwrap()), Config::new())
            .unwrap();
    for (name, byte) in [("mine", 1), ("other", 2)] {
        let file = open(&io, name);
        wait(&*io, file.pwrite(0, page(byte))).unwrap();
        wait(&*io, file.close()).unwrap();
    }
    let end = std::time::Instant::now() + Duration::from_secs(8);
    let mut rounds = 0;
    while std::time::Instant::now() < end {
        rounds += 1;
        let mine = open(&io, "mine");
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (mine, io) = (Arc::clone(&mine), Arc::clone(&io));
                thread::spawn(move || {
                    loop {
                        match wait(&*io, mine.pread(0, Buffer::with_capacity(8))) {
                            Ok(bytes) => assert_eq!(bytes[0], 1, "these are another file's bytes"),
                            Err(error) if error.kind() == ErrorKind::Closed => return,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        thread::yield_now();
        wait(&*io, mine.close()).unwrap();
        let other = open(&io, "other");
        for reader in readers {
            reader.join().unwrap_or_else(|_| panic!("round {rounds}"));
        }
        wait(&*io, other.close()).unwrap();
    }
}

/// C5: results that another thread's step took are not slept through (kernel's ring).
#[test]
fn c5_a_polling_thread_beside_a_waiting_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = Some(folder.path().to_str().unwrap().to_owned());
    let io =
        start_on(Box::new(Native::new(&Setup { root, in_flight: 64 }).unwrap()), Config::new())
            .unwrap();
    let file = open(&io, "f");
    wait(&*io, file.pwrite(0, page(1))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let poller = thread::spawn({
        let (io, stop) = (Arc::clone(&io), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                io.step(io.delivered(), Wait::No);
            }
        }
    });
    let io2 = Arc::clone(&io);
    let done = in_time(Duration::from_secs(20), move || {
        for _ in 0..20_000 {
            wait(&*io2, file.pread(0, Buffer::with_capacity(512))).unwrap();
        }
    });
    stop.store(true, Ordering::Relaxed);
    poller.join().unwrap();
    assert!(done.is_some(), "it sleeps for ever");
}

/// F9, F2: a file that is open for reading is opened for writing, where there is one handle.
#[test]
fn f9_writing_beside_reading_where_there_is_one_handle() {
    let ring = Simulated::new(&setup(), Disk::new(), Disposition::hosted(1));
    let host = ring.host();
    let io = start_on(Box::new(ring), Config::new()).unwrap();
    let turned = |mut opening: Completion<Arc<dyn File>>| {
        for _ in 0..20 {
            host.turn();
            if let Some(file) = opening.try_take() {
                return file.unwrap();
            }
        }
        panic!("not opened");
    };
    drop(turned(io.open("f", OpenOptions::new().create(true))));
    settle(&io);
    let reader = turned(io.open("f", OpenOptions::read_only()));
    let writer = turned(io.open("f", OpenOptions::new()));
    wait(&*io, writer.pwrite(0, page(1))).expect("it is open for writing");
    let refused = wait(&*io, reader.pwrite(0, page(2)));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

/// P1: a file that somebody reads is prepared, and then written.
#[test]
fn p1_preparing_what_is_open_for_reading() {
    let folder = tempfile::tempdir().unwrap();
    let root = Some(folder.path().to_str().unwrap().to_owned());
    let ring = Native::new(&Setup { root, in_flight: 64 }).unwrap();
    let io = start_on(Box::new(ring), Config::new()).unwrap();
    drop(open(&io, "f"));
    let _reader = wait(&*io, io.open("f", OpenOptions::read_only())).unwrap();
    wait(&*io, io.prepare(&["f"], 0)).unwrap();
    let writer = io.open_now("f", OpenOptions::new().create(true)).unwrap();
    wait(&*io, writer.pwrite(0, page(1))).expect("it is open for writing");
}

/// X1: a prepare that is cancelled does not open all the rest.
#[test]
fn x1_a_cancelled_prepare_stops() {
    let (io, script) = scripted(Config::new());
    script.push(Rule::next(OpKind::Open, Outcome::Late));
    let names: Vec<String> = (0..50).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let prepare = io.prepare(&names, 0);
    settle(&io);
    prepare.cancel();
    script.release();
    let ended = wait(&*io, prepare).map_err(|error| error.kind());
    let made = names.iter().filter(|name| io.open_now(name, OpenOptions::new()).is_ok()).count();
    assert!(made <= 1, "{made} files were made, {ended:?}");
}

/// D1: files and completions that outlive the driver keep none of the ring's descriptors.
#[test]
fn d1_what_outlives_the_driver_keeps_no_ring() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let io = start(Config::new().root(root)).unwrap();
    let file = open(&io, "kept");
    let read = file.pread(0, Buffer::with_capacity(16));
    drop(io);
    // The folder's name tells this driver's root from those of tests that run beside.
    let kept = std::fs::read_dir("/proc/self/fd").unwrap().filter(|fd| {
        let target = std::fs::read_link(fd.as_ref().unwrap().path());
        target.is_ok_and(|target| target.starts_with(folder.path()))
    });
    assert_eq!(kept.count(), 0, "of the root, or of the file");
    drop((file, read));
}
