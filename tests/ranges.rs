//! What a shared write-ahead log is coordinated by, between processes: locks of byte ranges, and
//! memory. Each process is a real one, and gives its exact answer.
//!
//! (Between the handles and drivers of one process the conformance suite does the same.)
#![cfg(target_os = "linux")]

#[path = "support/child.rs"]
mod child;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use child::Process;
use littoral::native::LockOwner;
use littoral::{Config, LockKind, OpenOptions, start, wait};
use tempfile::TempDir;

const OWNERS: [&str; 2] = ["handle", "process"];

/// How long a wait is watched before what ends it is done.
const WHILE: Duration = Duration::from_millis(200);

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder among the build's")
}

/// Not a test: what the children of the others do.
#[test]
fn child_process() {
    child::serve();
}

#[track_caller]
fn ask(process: &mut Process, order: &str, answer: &str) {
    let given = process.ask(order);
    assert_eq!(given.text, answer, "to {order}, after {:?}", given.time);
}

/// So many processes that have the index open as `a`.
fn several(folder: &TempDir, count: usize) -> Vec<Process> {
    let mut processes: Vec<_> = (0..count).map(|_| Process::new(folder.path(), 0)).collect();
    for process in &mut processes {
        ask(process, "open a index", "opened");
    }
    processes
}

#[test]
fn exclusive_and_shared_ranges_of_several_processes() {
    // Also of different kinds, which see each other.
    for (mine, yours) in OWNERS.into_iter().flat_map(|one| OWNERS.map(|two| (one, two))) {
        let folder = folder();
        let mut processes = several(&folder, 3);
        let [one, two, three] = &mut processes[..] else { unreachable!("three were made") };
        ask(one, &format!("range a {mine} 1 2 try exclusive"), "true");
        ask(two, &format!("range a {yours} 1 2 try exclusive"), "false");
        ask(two, &format!("range a {yours} 1 2 try shared"), "false");
        ask(two, &format!("range a {yours} 0 1 try exclusive"), "true");
        ask(two, &format!("range a {yours} 2 100 try exclusive"), "true");
        ask(three, &format!("range a {mine} 0 100 is-free shared"), "false");
        // A reader each, and nobody may write until all but him are gone.
        ask(one, &format!("range a {mine} 1 2 try shared"), "true");
        ask(two, &format!("range a {yours} 1 2 try shared"), "true");
        ask(three, &format!("range a {mine} 1 2 try shared"), "true");
        ask(three, &format!("range a {mine} 1 2 try exclusive"), "false");
        ask(one, &format!("range a {mine} 0 9 give"), "given");
        ask(three, &format!("range a {mine} 1 2 is-free exclusive"), "false");
        ask(two, "close a", "closed");
        ask(three, &format!("range a {mine} 1 2 is-free exclusive"), "true");
        ask(three, &format!("range a {mine} 1 2 try exclusive"), "true");
        ask(one, &format!("range a {mine} 1 2 is-free shared"), "false");
        // Of the whole file, and of what is not there yet.
        ask(one, &format!("range a {mine} 2 {} try exclusive", u64::MAX), "true");
        ask(three, &format!("range a {mine} {} {} try shared", 1_u64 << 50, u64::MAX), "false");
    }
}

#[test]
fn a_thread_waits_until_the_range_is_given_up_or_its_holder_is_dead() {
    for owner in OWNERS {
        let folder = folder();
        let mut processes = several(&folder, 3);
        let [one, two, three] = &mut processes[..] else { unreachable!("three were made") };
        ask(one, &format!("range a {owner} 3 4 wait exclusive"), "locked");
        two.tell(&format!("range a {owner} 3 4 wait shared"));
        three.tell(&format!("range a {owner} 3 4 wait shared"));
        sleep(WHILE);
        ask(one, &format!("range a {owner} 3 4 give"), "given");
        for waiter in [&mut *two, &mut *three] {
            let answer = waiter.answer();
            assert_eq!(answer.text, "locked");
            assert!(answer.time >= WHILE / 2, "it did not wait: {:?}", answer.time);
        }
        // Both have it now; who wants it alone waits for both, one of whom dies.
        one.tell(&format!("range a {owner} 3 4 wait exclusive"));
        ask(two, &format!("range a {owner} 3 4 give"), "given");
        sleep(WHILE);
        three.kill();
        let answer = one.answer();
        assert_eq!(answer.text, "locked");
        assert!(answer.time >= WHILE / 2, "it did not wait: {:?}", answer.time);
        ask(two, &format!("range a {owner} 3 4 try shared"), "false");
        // So does who closes the handle.
        two.tell(&format!("range a {owner} 3 4 wait exclusive"));
        sleep(WHILE);
        ask(one, "close a", "closed");
        assert_eq!(two.answer().text, "locked");
    }
}

#[test]
fn processes_that_would_wait_for_each_other_are_told() {
    let folder = folder();
    let mut processes = several(&folder, 2);
    let [one, two] = &mut processes[..] else { unreachable!("two were made") };
    ask(one, "range a process 0 1 wait exclusive", "locked");
    ask(two, "range a process 1 2 wait exclusive", "locked");
    one.tell("range a process 1 2 wait exclusive");
    sleep(WHILE);
    let told = two.ask("range a process 0 1 wait exclusive").text;
    assert!(told.starts_with("Locked: lock_range on `index` failed: "), "{told}");
    assert!(told.contains("EDEADLK") && told.contains("this process has"), "{told}");
    // It keeps what it had, and the other one waits for that.
    ask(two, "range a process 1 2 give", "given");
    assert_eq!(one.answer().text, "locked");
}

/// The system drops the locks of a process when it closes any descriptor of the file. What littoral
/// closes does not; what other code closes is beyond it, and the other owner is there for that.
#[test]
fn closing_other_handles_releases_no_range() {
    for owner in OWNERS {
        let folder = folder();
        let mut processes = several(&folder, 2);
        let [holder, other] = &mut processes[..] else { unreachable!("two were made") };
        ask(holder, &format!("range a {owner} 5 6 wait exclusive"), "locked");
        let held = |other: &mut Process| {
            ask(other, &format!("range a {owner} 5 6 is-free shared"), "false");
        };
        for order in ["open b index", "close b", "open b index read-only", "close b"] {
            holder.ask(order);
            held(other);
        }
        // Another driver of the process.
        ask(holder, "start", "started");
        ask(holder, "open b index", "opened");
        ask(holder, &format!("range b {owner} 5 6 try shared"), "false");
        ask(holder, &format!("range b {owner} 8 9 try shared"), "true");
        ask(
            holder,
            "map b 0 0",
            "InvalidInput: map on `index` failed: invalid argument: nothing \
             cannot be mapped; correct the argument",
        );
        ask(holder, "close b", "closed");
        held(other);
        ask(other, &format!("range a {owner} 8 9 is-free exclusive"), "true");
        ask(holder, "peek index", "peeked");
        let free = (owner == "process").to_string();
        ask(other, &format!("range a {owner} 5 6 is-free shared"), &free);
    }
}

#[test]
fn a_record_lock_of_another_library_is_seen() {
    for owner in OWNERS {
        let folder = folder();
        let mut processes = several(&folder, 2);
        let [one, other] = &mut processes[..] else { unreachable!("two were made") };
        ask(one, &format!("range a {owner} 100 101 try shared"), "true");
        let refused = other.ask("record-lock index").text;
        assert!(refused.contains("os error 11"), "{refused}");
        ask(one, "close a", "closed");
        ask(other, "record-lock index", "locked");
        ask(one, "open a index", "opened");
        ask(one, &format!("range a {owner} 7 8 try shared"), "false");
    }
}

#[test]
fn a_mapping_is_seen_by_every_process_and_so_is_growth() {
    let folder = folder();
    let mut processes = several(&folder, 3);
    let [one, two, three] = &mut processes[..] else { unreachable!("three were made") };
    ask(one, "set-len a 8192", "set");
    ask(two, "map a 0 8192", "mapped");
    // Not at a page's start, and a part of the other one.
    ask(three, "map a 100 5000", "mapped");
    ask(two, "store a 4096 123456", "stored");
    ask(three, "load a 3996", "123456");
    ask(three, "store a 0 77", "stored");
    ask(two, "load a 100", "77");
    let told = two.ask("map a 8192 4096").text;
    assert!(told.contains("the file has 8192 bytes, and 12288 are wanted"), "{told}");
    ask(one, "set-len a 12288", "set");
    ask(two, "map a 8192 4096", "mapped");
    ask(two, "store a 4092 9", "stored");
    ask(one, "map a 8000 4288", "mapped");
    ask(one, "load a 4284", "9");
    // What a dead process stored is there.
    two.kill();
    ask(one, "load a 4284", "9");
    let bytes = std::fs::read(folder.path().join("index")).expect("the file");
    assert_eq!((bytes.len(), &bytes[4096..4100]), (12_288, &123_456_u32.to_ne_bytes()[..]));
}

/// What is read, changed and stored under a lock is never read by two at once: not by two
/// processes, nor by two handles of one.
#[test]
fn processes_that_count_in_shared_memory_lose_nothing() {
    for owner in OWNERS {
        let folder = folder();
        let mut processes = several(&folder, 4);
        for process in &mut processes {
            ask(process, "set-len a 64", "set");
            ask(process, "map a 0 64", "mapped");
        }
        for process in &mut processes {
            process.tell(&format!("add a 8 300 {owner}"));
        }
        for process in &mut processes {
            assert_eq!(process.answer().text, "added");
        }
        ask(&mut processes[0], "load a 8", "1200");
    }
}

/// Threads with handles of their own, beside another process, and beside a thread that opens and
/// closes the file all the time, by drivers that come and go: which drops no lock of the process.
#[test]
fn threads_and_a_process_lose_nothing_while_the_file_is_closed_again_and_again() {
    const THREADS: u32 = 3;
    const ROUNDS: u32 = 150;
    for (owner, name) in [(LockOwner::Handle, "handle"), (LockOwner::Process, "process")] {
        let folder = folder();
        let options = OpenOptions::new().create(true);
        let io = start(Config::new().root(folder.path())).expect("a driver");
        let open = || wait(&*io, io.open("index", options)).expect("a file");
        let index = open();
        let index = index.native().expect("processes share it");
        index.set_len(64).expect("a size");
        let mapping = index.map(0, 64).expect("a mapping");
        let place = mapping.u32(0).expect("it is aligned");
        let mut processes = several(&folder, 1);
        ask(&mut processes[0], "map a 0 64", "mapped");
        processes[0].tell(&format!("add a 0 {ROUNDS} {name}"));
        let done = AtomicBool::new(false);
        let closes = thread::scope(|scope| {
            let count = || {
                let file = open();
                let file = file.native().expect("processes share it");
                for _ in 0..ROUNDS {
                    file.lock_range(7..8, LockKind::Exclusive, owner).expect("a lock");
                    let before = place.load(Ordering::Relaxed);
                    thread::yield_now();
                    place.store(before + 1, Ordering::Relaxed);
                    file.unlock_range(7..8, owner).expect("it has it");
                }
            };
            let counting: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
            let closing = scope.spawn(|| {
                let mut closes = 0;
                while !done.load(Ordering::Relaxed) {
                    let other = start(Config::new().root(folder.path())).expect("a driver");
                    for _ in 0..10 {
                        let file = wait(&*other, other.open("index", options)).expect("a file");
                        wait(&*other, file.close()).expect("a close");
                        closes += 1;
                    }
                }
                closes
            });
            for thread in counting {
                thread.join().expect("it counts");
            }
            assert_eq!(processes[0].answer().text, "added");
            done.store(true, Ordering::Relaxed);
            closing.join().expect("it closes")
        });
        assert_eq!(place.load(Ordering::Acquire), (THREADS + 1) * ROUNDS, "{name}");
        assert!(closes >= 10, "{closes}");
    }
}
