//! Locks between processes: each is a real one, and each gives its exact answer.
//!
//! (Between the drivers and handles of one process the conformance suite does the same, on every
//! backend; between tabs the harness does.)
#![cfg(target_os = "linux")]

#[path = "support/child.rs"]
mod child;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use child::Process;
use littoral::platform::Setup;
use littoral::platform::simulated::{Config as Behaviour, Disk, Host, Simulated};
use littoral::{Completion, Config, ErrorKind, File, Io, OpenOptions, start_on};
use support::folder;
use tempfile::TempDir;

/// More than anything here takes, so that what waits for its patience shows.
const LONG: u32 = 20_000;

const TOLD: &str = "has it; close it there, or wait longer (`Config::lock_patience`); \
                    LITTORAL_LOCKS=off, or `Config::locks(false)`, goes without locks";

/// Not a test: what the children of the others do.
#[test]
fn child_process() {
    child::serve();
}

#[track_caller]
fn ask(process: &mut Process, order: &str, answer: &str) -> Duration {
    let given = process.ask(order);
    assert_eq!(given.text, answer, "to {order}, after {:?}", given.time);
    given.time
}

/// An error of that kind, and how long it took.
#[track_caller]
fn fails(process: &mut Process, order: &str, kind: &str) -> Duration {
    let given = process.ask(order);
    assert!(given.text.starts_with(&format!("{kind}: ")), "to {order}: {given:?}");
    given.time
}

#[test]
fn a_second_process_cannot_lock_a_locked_file() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    let mut other = Process::new(folder.path(), 0);
    // The answer to a file that is not there is another one.
    fails(&mut other, "open x main.db existing exclusive", "NotFound");
    ask(&mut holder, "open a main.db exclusive", "opened");
    let holder_is = "another process, or another driver of this one,";
    let told = format!(
        "Locked: open on `main.db` failed: it is locked by someone else: {holder_is} {TOLD}"
    );
    ask(&mut other, "open b main.db exclusive", &told);
    ask(&mut other, "open b main.db", "opened");
    ask(&mut other, "lock b exclusive", &told.replace("open on", "lock on"));
    fails(&mut other, "lock b shared", "Locked");
    ask(&mut holder, "close a", "closed");
    ask(&mut other, "lock b exclusive", "locked");
    fails(&mut holder, "open a main.db exclusive", "Locked");
}

#[test]
fn shared_locks_of_several_processes_stand_side_by_side() {
    let folder = folder();
    let mut processes: Vec<_> = (0..3).map(|_| Process::new(folder.path(), 0)).collect();
    for process in &mut processes {
        ask(process, "open a main.db shared", "opened");
    }
    // A conversion that fails keeps the old lock.
    for process in &mut processes {
        fails(process, "lock a exclusive", "Locked");
    }
    let [first, second, third] = &mut processes[..] else { unreachable!("three were made") };
    ask(second, "unlock a", "unlocked");
    fails(third, "lock a exclusive", "Locked");
    fails(second, "lock a exclusive", "Locked");
    ask(third, "close a", "closed");
    ask(first, "lock a exclusive", "locked");
    fails(second, "lock a shared", "Locked");
    ask(first, "lock a shared", "locked");
    ask(second, "lock a shared", "locked");
    fails(first, "lock a exclusive", "Locked");
}

#[test]
fn patience_is_bounded_and_rewarded() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    ask(&mut holder, "open a main.db exclusive", "opened");
    let mut impatient = Process::new(folder.path(), 300);
    let waited = fails(&mut impatient, "open b main.db exclusive", "Locked");
    assert!((300..2000).contains(&waited.as_millis()), "{waited:?}");
    let mut patient = Process::new(folder.path(), LONG);
    patient.tell("open b main.db exclusive");
    std::thread::sleep(Duration::from_millis(200));
    ask(&mut holder, "unlock a", "unlocked");
    let answer = patient.answer();
    assert_eq!(answer.text, "opened");
    assert!((150..3000).contains(&answer.time.as_millis()), "{:?}", answer.time);
}

/// The record lock of a process, of the older kind, is dropped by the close of any descriptor.
#[test]
fn closing_other_handles_releases_nothing() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    let mut other = Process::new(folder.path(), 0);
    ask(&mut holder, "open a main.db exclusive", "opened");
    ask(&mut holder, "open b main.db", "opened");
    ask(&mut holder, "open c main.db read-only", "opened");
    ask(&mut holder, "peek main.db", "peeked");
    fails(&mut other, "open x main.db exclusive", "Locked");
    for order in ["close b", "close c"] {
        ask(&mut holder, order, "closed");
        fails(&mut other, "open x main.db exclusive", "Locked");
    }
    // Another driver of the holder's process is another one, and comes and goes as such.
    ask(&mut holder, "start", "started");
    fails(&mut holder, "open d main.db exclusive", "Locked");
    ask(&mut holder, "open d main.db", "opened");
    ask(&mut holder, "close d", "closed");
    fails(&mut other, "open x main.db exclusive", "Locked");
    ask(&mut other, "open x main.db read-only", "opened");
    fails(&mut other, "lock x exclusive", "PermissionDenied");
    fails(&mut other, "lock x shared", "Locked");
}

fn free_after_the_death_of(holder: &mut Process, last_order: Option<&str>, folder: &TempDir) {
    let mut waiter = Process::new(folder.path(), LONG);
    waiter.tell("open b main.db exclusive");
    std::thread::sleep(Duration::from_millis(100));
    if let Some(order) = last_order {
        holder.ask(order);
    }
    let killed = Instant::now();
    holder.kill();
    let answer = waiter.answer();
    let late = killed.elapsed();
    assert_eq!(answer.text, "opened");
    assert!(late < Duration::from_secs(3), "free {late:?} after the holder's death");
    println!("free {} ms after the holder's death", late.as_millis());
    ask(&mut waiter, "close b", "closed");
    let mut newcomer = Process::new(folder.path(), 0);
    ask(&mut newcomer, "open b main.db exclusive", "opened");
}

#[test]
fn the_death_of_the_holder_releases() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    ask(&mut holder, "open a main.db exclusive", "opened");
    free_after_the_death_of(&mut holder, None, &folder);
}

#[test]
fn the_death_of_the_holder_releases_though_the_kernel_is_busy_for_it() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    ask(&mut holder, "open a main.db exclusive", "opened");
    free_after_the_death_of(&mut holder, Some("flood a"), &folder);
}

#[test]
fn a_program_that_the_holder_started_does_not_keep_its_lock() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    ask(&mut holder, "open a main.db exclusive", "opened");
    let child = holder.ask("spawn").text;
    free_after_the_death_of(&mut holder, None, &folder);
    let child = rustix::process::Pid::from_raw(child.parse().expect("a process's number"));
    let ended = rustix::process::kill_process(child.expect("not 0"), rustix::process::Signal::KILL);
    ended.expect("it outlived the holder");
}

/// A database that takes record locks and littoral see each other.
#[test]
fn a_record_lock_of_another_library_is_seen() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    let mut other = Process::new(folder.path(), 0);
    ask(&mut holder, "open a main.db exclusive", "opened");
    let refused = other.ask("record-lock main.db").text;
    assert!(refused.contains("os error 11"), "{refused}");
    ask(&mut holder, "close a", "closed");
    ask(&mut other, "record-lock main.db", "locked");
    fails(&mut holder, "open a main.db exclusive", "Locked");
}

#[test]
fn the_environment_goes_before_the_program() {
    let folder = folder();
    let mut holder = Process::new(folder.path(), 0);
    ask(&mut holder, "policy", "locks on, waiting up to 0 ms (by Config)");
    ask(&mut holder, "open a main.db exclusive", "opened");

    let mut off = Process::bare(folder.path(), 0, Some("off"));
    ask(&mut off, "start", "started");
    ask(&mut off, "policy", "locks off, none is taken (by LITTORAL_LOCKS)");
    ask(&mut off, "open b main.db exclusive", "opened");

    let mut quick = Process::bare(folder.path(), LONG, Some("100"));
    ask(&mut quick, "start", "started");
    ask(&mut quick, "policy", "locks on, waiting up to 100 ms (by LITTORAL_LOCKS)");
    let waited = fails(&mut quick, "open b main.db exclusive", "Locked");
    assert!((100..u128::from(LONG)).contains(&waited.as_millis()), "{waited:?}");

    let mut wrong = Process::bare(folder.path(), 0, Some("maybe"));
    let told = "InvalidInput: start failed: invalid argument: the environment variable \
                LITTORAL_LOCKS is \"maybe\"; it takes `off`, `on`, or milliseconds; correct the \
                argument";
    ask(&mut wrong, "start", told);
}

/// What is read, changed and written under a lock is never read by two at once.
#[test]
fn processes_that_count_under_a_lock_lose_nothing() {
    let folder = folder();
    let mut processes: Vec<_> = (0..4).map(|_| Process::new(folder.path(), LONG)).collect();
    for process in &mut processes {
        ask(process, "open a counter", "opened");
        process.tell("count a 50");
    }
    for process in &mut processes {
        assert_eq!(process.answer().text, "counted");
    }
    let counted = std::fs::read(folder.path().join("counter")).expect("the counter");
    assert_eq!(counted, 200_u64.to_le_bytes());
}

/// A driver as a browser's worker has it, and the event loop around it.
fn tab(disk: &Disk, seed: u64) -> (Arc<dyn Io>, Host) {
    let setup = Setup { root: None, in_flight: 64 };
    let ring = Simulated::new(&setup, disk.clone(), Behaviour::hosted(seed));
    let host = ring.host();
    (start_on(Box::new(ring), Config::new()).expect("it is in memory"), host)
}

/// Gives turns for as long as somebody asks for one.
fn opened(hosts: [&Host; 2], mut opening: Completion<Arc<dyn File>>) -> Option<OpenResult> {
    loop {
        if let Some(result) = opening.try_take() {
            return Some(result.map_err(|error| error.kind()));
        }
        let asked = hosts.map(Host::turn);
        if asked == [false, false] {
            return opening.try_take().map(|result| result.map_err(|error| error.kind()));
        }
    }
}

type OpenResult = Result<Arc<dyn File>, ErrorKind>;

/// Three seconds of patience by the simulated clock take none of the test's time, and no step but
/// those of the turns that were asked for.
#[test]
fn where_nothing_waits_turns_are_asked_for_until_patience_is_over() {
    for seed in 0..50 {
        let disk = Disk::new();
        let ((here, one), (there, other)) = (tab(&disk, seed), tab(&disk, seed + 1000));
        let options = OpenOptions::new().create(true);
        let held = opened([&one, &other], here.open("main.db", options)).expect("an answer");
        let held = held.expect("it is free");
        let began = there.now().monotonic;
        let refused = opened([&one, &other], there.open("main.db", options)).expect("an answer");
        assert_eq!(refused.map(drop), Err(ErrorKind::Locked), "seed {seed}");
        let waited = Duration::from_nanos(there.now().monotonic - began);
        assert!((3000..3200).contains(&waited.as_millis()), "seed {seed}: {waited:?}");

        let waiting = there.open("main.db", options);
        for _ in 0..5 {
            other.turn();
        }
        let began = there.now().monotonic;
        drop(held);
        let got = opened([&one, &other], waiting).expect("an answer");
        got.unwrap_or_else(|kind| panic!("seed {seed}: {kind:?}"));
        let waited = Duration::from_nanos(there.now().monotonic - began);
        assert!(waited < Duration::from_millis(100), "seed {seed}: {waited:?}");
    }
}
