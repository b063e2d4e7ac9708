//! Waiting and being woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::super::Uring;
use super::super::entry::Ops;
use super::super::setup::Able;
use super::{PATIENCE, able, create, native, open, push, span};
use crate::{Doorbell, Op, OpenFlags, Ring, SyncKind};

/// A ring that waits with a timeout, and one that has to poll for it.
fn rings() -> [(Uring, tempfile::TempDir); 2] {
    [native(8), able(8, &Able { ops: Ops::all(), timeouts: false })]
}

/// Reaps until nothing is left, as every holder does before it waits.
fn settle(ring: &mut Uring) -> u32 {
    while ring.reap().is_some() {}
    ring.unsubmitted()
}

fn wait(doorbell: &dyn Doorbell, unsubmitted: u32, timeout: Duration) -> Duration {
    let started = Instant::now();
    doorbell.wait(unsubmitted, Some(timeout)).expect("a wait");
    started.elapsed()
}

/// How long a wait takes whose bell is rung after it began.
fn rung_while_waiting(doorbell: &dyn Doorbell, unsubmitted: u32) -> Duration {
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(doorbell, unsubmitted, PATIENCE));
        std::thread::sleep(Duration::from_millis(30));
        doorbell.ring();
        waiter.join().expect("a waiter that returns")
    })
}

#[test]
fn a_bell_before_the_wait_is_not_lost() {
    for (mut ring, _folder) in rings() {
        let doorbell = ring.doorbell();
        doorbell.ring();
        doorbell.ring();
        assert!(wait(&*doorbell, 0, PATIENCE) < PATIENCE / 2);
        // Two bells before a wait are one; the next wait sleeps.
        settle(&mut ring);
        let pause = Duration::from_millis(30);
        assert!(wait(&*doorbell, 0, pause) >= pause);
    }
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    for (mut ring, _folder) in rings() {
        let doorbell = ring.doorbell();
        let unsubmitted = settle(&mut ring);
        let pause = Duration::from_millis(50);
        let took = wait(&*doorbell, unsubmitted, pause);
        assert!(took >= pause && took < PATIENCE / 2, "{took:?}");
        assert!(wait(&*doorbell, 0, Duration::ZERO) < PATIENCE / 2);
        doorbell.ring();
        assert!(wait(&*doorbell, 0, Duration::MAX) < PATIENCE / 2);
    }
}

#[test]
fn a_bell_from_another_thread_wakes_again_and_again() {
    for (mut ring, _folder) in rings() {
        let doorbell = ring.doorbell();
        let (rung, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let ringer = std::thread::spawn({
            let (doorbell, rung, seen) = (doorbell.clone(), rung.clone(), seen.clone());
            move || {
                for round in 1..=2000 {
                    rung.store(round, Ordering::SeqCst);
                    doorbell.ring();
                    let started = Instant::now();
                    while seen.load(Ordering::SeqCst) < round && started.elapsed() < PATIENCE {
                        std::hint::spin_loop();
                        if round % 3 == 0 {
                            std::thread::yield_now();
                        }
                    }
                    // At odd moments: while the waiter enters, sleeps, returns, arms.
                    for _ in 0..round % 97 {
                        std::hint::spin_loop();
                    }
                }
            }
        });
        while seen.load(Ordering::SeqCst) < 2000 {
            let unsubmitted = settle(&mut ring);
            // Not one of them must end by its time. (All together may take long where much runs.)
            let started = Instant::now();
            doorbell.wait(unsubmitted, Some(PATIENCE)).expect("a wait");
            assert!(started.elapsed() < PATIENCE, "a bell was lost");
            seen.store(rung.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        ringer.join().expect("a thread that rings");
    }
}

#[test]
fn a_holder_that_takes_the_bells_completion_does_not_keep_it_from_the_waiter() {
    for (ring, _folder) in rings() {
        let doorbell = ring.doorbell();
        let ring = std::sync::Mutex::new(ring);
        let (turns, rounds, lost) = (AtomicU32::new(0), 500, AtomicBool::new(false));
        std::thread::scope(|scope| {
            // One thread waits, and never reaps before it waits.
            scope.spawn(|| {
                for _ in 0..rounds {
                    let started = Instant::now();
                    if doorbell.wait(0, Some(PATIENCE)).is_err() || started.elapsed() >= PATIENCE {
                        lost.store(true, Ordering::SeqCst);
                        break;
                    }
                    turns.fetch_add(1, Ordering::SeqCst);
                }
                turns.store(u32::MAX, Ordering::SeqCst);
            });
            // One reaps all the time: it takes the poll's completion first, whenever it can.
            scope.spawn(|| {
                while turns.load(Ordering::SeqCst) != u32::MAX {
                    settle(&mut ring.lock().expect("a ring"));
                }
            });
            // One rings once per turn.
            scope.spawn(|| {
                let mut answered = u32::MAX;
                loop {
                    match turns.load(Ordering::SeqCst) {
                        u32::MAX => break,
                        turn if turn == answered => std::thread::yield_now(),
                        turn => {
                            answered = turn;
                            doorbell.ring();
                        }
                    }
                }
            });
        });
        assert!(!lost.into_inner(), "a bell was lost");
    }
}

#[test]
fn a_wait_submits_what_was_pushed_and_returns_with_its_completion() {
    for (mut ring, _folder) in rings() {
        let file = create(&mut ring, "file");
        let doorbell = ring.doorbell();
        settle(&mut ring);
        push(&mut ring, 1, Op::Sync { file, kind: SyncKind::Data });
        assert_eq!(ring.unsubmitted(), 1);
        assert!(wait(&*doorbell, 1, PATIENCE) < PATIENCE / 2);
        assert_eq!(ring.unsubmitted(), 0);
        assert_eq!(ring.reap().map(|cqe| cqe.result), Some(Ok(0)));
    }
}

#[test]
fn a_wait_that_promises_too_many_entries_returns() {
    // Another thread may have submitted them since they were counted.
    let (mut ring, _folder) = native(8);
    let doorbell = ring.doorbell();
    settle(&mut ring);
    assert!(wait(&*doorbell, 3, PATIENCE) < PATIENCE / 2);
}

#[test]
fn completions_made_by_calls_end_a_wait() {
    for (mut ring, _folder) in rings() {
        let file = create(&mut ring, "file");
        let doorbell = ring.doorbell();
        settle(&mut ring);
        // Before it sleeps.
        push(&mut ring, 1, Op::Size { file });
        assert!(wait(&*doorbell, 0, PATIENCE) < PATIENCE / 2);
        assert!(wait(&*doorbell, 0, PATIENCE) < PATIENCE / 2, "it is still there");
        settle(&mut ring);
        // While it sleeps.
        let waiter = std::thread::spawn({
            let doorbell = doorbell.clone();
            move || wait(&*doorbell, 0, PATIENCE)
        });
        std::thread::sleep(Duration::from_millis(30));
        push(&mut ring, 2, Op::Size { file });
        assert!(waiter.join().expect("a waiter that returns") < PATIENCE / 2);
        settle(&mut ring);
        let pause = Duration::from_millis(30);
        assert!(wait(&*doorbell, 0, pause) >= pause, "nothing is left to return for");
    }
}

#[test]
fn a_bell_taken_before_its_waiter_entered_the_kernel_is_given_back() {
    for (mut ring, _folder) in rings() {
        settle(&mut ring);
        let bell = ring.bell.clone();
        // A waiter between its first step and the kernel, slow enough for all of this:
        assert!(bell.waiter.begin());
        bell.ring();
        settle(&mut ring);
        let started = Instant::now();
        bell.enter_for(0, PATIENCE).expect("a wait");
        assert!(started.elapsed() < PATIENCE / 2, "the bell was lost");
    }
}

#[test]
fn a_holder_that_reaps_only_what_it_expects_leaves_the_bell_armed() {
    for (mut ring, folder) in rings() {
        std::fs::write(folder.path().join("file"), "x").expect("a file to write");
        let file = open(&mut ring, "file", OpenFlags::empty()).expect("a file to read");
        let doorbell = ring.doorbell();
        // The bell's completion comes first, the read's behind it.
        assert!(rung_while_waiting(&*doorbell, settle(&mut ring)) < PATIENCE / 2);
        let mut byte = [0];
        push(&mut ring, 1, Op::Read { file, at: 0, span: span(&mut byte) });
        assert_eq!(ring.submit(), Ok(()));
        assert_eq!(ring.reap().map(|cqe| cqe.result), Some(Ok(1)));
        assert!(rung_while_waiting(&*doorbell, ring.unsubmitted()) < PATIENCE / 2);
    }
}

#[test]
fn entries_counted_before_another_holder_arms_the_bell_suffice() {
    for (mut ring, _folder) in rings() {
        let doorbell = ring.doorbell();
        assert!(rung_while_waiting(&*doorbell, settle(&mut ring)) < PATIENCE / 2);
        let counted = ring.unsubmitted();
        settle(&mut ring);
        assert!(rung_while_waiting(&*doorbell, counted) < PATIENCE / 2);
    }
}

#[test]
fn a_waiter_outlives_its_ring() {
    let (mut ring, _folder) = native(8);
    let (doorbell, unsubmitted) = (ring.doorbell(), settle(&mut ring));
    let waiter = std::thread::spawn({
        let doorbell = doorbell.clone();
        move || wait(&*doorbell, unsubmitted, PATIENCE)
    });
    std::thread::sleep(Duration::from_millis(30));
    drop(ring);
    doorbell.ring();
    assert!(waiter.join().expect("a waiter that returns") < PATIENCE / 2);
}
