//! Threads from their first entry to the drop of their ring.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use super::super::pool::STACK;
use super::{Gate, PATIENCE, bounded, next, push, threads, until};
use crate::simulated::pump::{create, source};
use crate::{Errno, Op, Ring, SyncKind, Tag};

#[test]
fn threads_are_started_when_entries_wait_and_no_more_than_that() {
    let (mut pump, gate, _folder) = bounded(64, 4, STACK);
    assert_eq!(pump.ring.pool.threads(), 0, "nothing to do yet");
    let file = pump.open(c"file", create()).expect("a new file");
    for _ in 0..50 {
        // What does not block leaves its thread free for the next.
        assert_eq!(pump.one(Op::Sync { file, kind: SyncKind::Data }), Ok(0));
    }
    let few = pump.ring.pool.threads();
    assert!((1..=2).contains(&few), "{few} threads for one entry at a time");

    for tag in 100..110 {
        push(&mut pump.ring, tag, Gate::STUCK);
    }
    assert_eq!(pump.ring.submit(), Ok(()));
    until("four threads", || pump.ring.pool.threads() == 4);
    assert!(pump.ring.pool.has_queued(), "the others wait for one of the four");
    gate.open();
    let mut seen: Vec<u64> = (0..10).map(|_| next(&mut pump.ring).tag.0).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(100..110));
    assert_eq!(pump.ring.pool.threads(), 4);
}

#[test]
fn without_a_single_thread_the_work_is_done_by_who_submits() {
    // No address space is that large, so that the system refuses each thread.
    let (mut pump, _gate, _folder) = bounded(8, 4, 1 << 60);
    let file = pump.open(c"file", create()).expect("a new file");
    let write = |at| Op::Write { file, at, span: source(b"alone") };
    assert_eq!(pump.run(&[write(0), write(5), write(10)]), [Ok(5); 3]);
    // By a wait, too, and by another thread's wait.
    push(&mut pump.ring, 100, write(15));
    let bell = pump.ring.doorbell();
    std::thread::spawn(move || bell.wait(1, Some(PATIENCE))).join().unwrap().unwrap();
    assert_eq!(pump.ring.reap().map(|cqe| (cqe.tag, cqe.result)), Some((Tag(100), Ok(5))));
    assert_eq!(pump.one(Op::Size { file }), Ok(20));
    assert_eq!(pump.one(Op::Cancel { target: Tag(100) }), Err(Errno::NOENT));
    assert_eq!(pump.ring.pool.threads(), 0);
}

#[test]
fn idle_threads_are_joined_by_the_drop() {
    let (mut pump, _gate, _folder) = threads(64);
    let file = pump.open(c"file", create()).expect("a new file");
    let writes: Vec<Op> = (0..500).map(|n| Op::Write { file, at: n, span: source(b"x") }).collect();
    assert!(pump.run(&writes).iter().all(|result| *result == Ok(1)));
    let pool = Arc::downgrade(&pump.ring.pool);
    assert!(pool.strong_count() > 1, "a thread holds it");
    drop(pump);
    assert_eq!(pool.strong_count(), 0, "a thread outlived its ring");
}

#[test]
fn a_call_under_way_does_not_hold_up_the_drop_and_ends_its_thread_later() {
    let (mut pump, gate, folder) = threads(8);
    let file = pump.open(c"file", create()).expect("a new file");
    push(&mut pump.ring, 100, Gate::STUCK);
    assert_eq!(pump.ring.submit(), Ok(()));
    until("started", || !pump.ring.pool.has_queued());
    // Pushed, not submitted, and forgotten.
    push(&mut pump.ring, 101, Op::Write { file, at: 0, span: source(b"never") });
    let pool = Arc::downgrade(&pump.ring.pool);
    let started = Instant::now();
    drop(pump);
    assert!(started.elapsed() < PATIENCE / 2, "the drop waited");
    assert_eq!(pool.strong_count(), 1, "only the call's thread is left");
    gate.open();
    until("the thread ends", || pool.strong_count() == 0);
    assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), b"");
}
