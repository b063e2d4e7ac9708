//! Waiting, and being woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Gate, PATIENCE, push, threads, until};
use crate::simulated::pump::create;
use crate::{Doorbell, Op, Ring, SyncKind};

/// How long a wait took.
fn wait(bell: &dyn Doorbell, unsubmitted: u32, timeout: Duration) -> Duration {
    let started = Instant::now();
    bell.wait(unsubmitted, Some(timeout)).expect("a wait");
    started.elapsed()
}

#[test]
fn a_bell_before_a_wait_ends_that_wait_and_only_that() {
    let (pump, _gate, _folder) = threads(8);
    pump.bell.ring();
    pump.bell.ring();
    assert!(wait(&*pump.bell, 0, PATIENCE) < PATIENCE / 2);
    let pause = Duration::from_millis(50);
    assert!(wait(&*pump.bell, 0, pause) >= pause);
}

#[test]
fn a_wait_ends_in_time_or_with_the_bell() {
    let (pump, _gate, _folder) = threads(8);
    let pause = Duration::from_millis(50);
    let took = wait(&*pump.bell, 0, pause);
    assert!(took >= pause && took < PATIENCE / 2, "{took:?}");
    assert!(wait(&*pump.bell, 0, Duration::ZERO) < PATIENCE / 2);
    for timeout in [Some(Duration::MAX), None] {
        let waiter = std::thread::spawn({
            let bell = Arc::clone(&pump.bell);
            move || bell.wait(0, timeout)
        });
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiter.is_finished(), "{timeout:?}: nothing to return for");
        pump.bell.ring();
        waiter.join().expect("a waiter").expect("a wait");
    }
}

#[test]
fn no_bell_of_another_thread_is_lost() {
    let (pump, _gate, _folder) = threads(8);
    let (rung, seen) = (AtomicU32::new(0), AtomicU32::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=2000 {
                rung.store(round, Ordering::SeqCst);
                pump.bell.ring();
                while seen.load(Ordering::SeqCst) < round && started.elapsed() < PATIENCE {
                    std::thread::yield_now();
                }
                // At odd moments: while the waiter comes, sleeps, goes.
                for _ in 0..round % 97 {
                    std::hint::spin_loop();
                }
            }
        });
        while seen.load(Ordering::SeqCst) < 2000 && started.elapsed() < PATIENCE {
            // The whole run must not need a single time-out.
            pump.bell.wait(0, Some(PATIENCE)).expect("a wait");
            seen.store(rung.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    assert!(started.elapsed() < PATIENCE, "a bell was lost");
}

#[test]
fn a_wait_submits_what_was_pushed_and_returns_with_its_completion() {
    let (mut pump, _gate, _folder) = threads(8);
    let file = pump.open(c"file", create()).expect("a new file");
    for more in [0, 5] {
        push(&mut pump.ring, 100, Op::Sync { file, kind: SyncKind::Data });
        assert_eq!(pump.ring.unsubmitted(), 1);
        // Another thread may have submitted some since they were counted.
        assert!(wait(&*pump.bell, 1 + more, PATIENCE) < PATIENCE / 2);
        assert_eq!(pump.ring.unsubmitted(), 0);
        assert_eq!(pump.ring.reap().map(|cqe| cqe.result), Some(Ok(0)));
        assert_eq!(pump.ring.reap(), None);
    }
}

#[test]
fn completions_that_are_left_end_a_wait_and_so_do_those_of_another_thread() {
    let (mut pump, gate, _folder) = threads(8);
    let file = pump.open(c"file", create()).expect("a new file");
    push(&mut pump.ring, 100, Op::Size { file });
    push(&mut pump.ring, 101, Op::Size { file });
    for left in [2, 1] {
        assert!(wait(&*pump.bell, 0, PATIENCE) < PATIENCE / 2, "{left} are left");
        assert!(pump.ring.reap().is_some());
    }
    assert_eq!(pump.ring.reap(), None);
    let pause = Duration::from_millis(30);
    assert!(wait(&*pump.bell, 0, pause) >= pause, "nothing is left to return for");

    // While it sleeps: by the holder of the ring, and by a thread of the pool.
    let waiter = |bell: &Arc<dyn Doorbell>| {
        let bell = Arc::clone(bell);
        let waiter = std::thread::spawn(move || wait(&*bell, 0, PATIENCE));
        std::thread::sleep(Duration::from_millis(30));
        waiter
    };
    let sleeps = waiter(&pump.bell);
    push(&mut pump.ring, 102, Op::Size { file });
    assert!(sleeps.join().expect("a waiter") < PATIENCE / 2);
    assert!(pump.ring.reap().is_some() && pump.ring.reap().is_none());
    push(&mut pump.ring, 103, Gate::STUCK);
    assert_eq!(pump.ring.submit(), Ok(()));
    let sleeps = waiter(&pump.bell);
    gate.open();
    assert!(sleeps.join().expect("a waiter") < PATIENCE / 2);
    assert!(pump.ring.reap().is_some());
}

#[test]
fn a_waiter_outlives_its_ring() {
    let (pump, _gate, _folder) = threads(8);
    let bell = Arc::clone(&pump.bell);
    let waiter = std::thread::spawn(move || wait(&*bell, 0, PATIENCE));
    std::thread::sleep(Duration::from_millis(30));
    drop(pump);
    assert!(waiter.join().expect("a waiter that returns") < PATIENCE / 2);
}

#[test]
fn two_waiters_both_return() {
    let (mut pump, gate, _folder) = threads(8);
    push(&mut pump.ring, 100, Gate::STUCK);
    assert_eq!(pump.ring.submit(), Ok(()));
    until("started", || !pump.ring.pool.has_queued());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!(wait(&*pump.bell, 0, PATIENCE) < PATIENCE / 2));
        }
        std::thread::sleep(Duration::from_millis(30));
        gate.open();
    });
    assert!(pump.ring.reap().is_some());
}
