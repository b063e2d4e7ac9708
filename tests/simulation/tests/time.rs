//! Simulated time decides what is too late, and takes none of ours.

use core::time::Duration;
use std::time::Instant;

use littoral::platform::simulated::{Config as Behaviour, Disk, Faults, Permille, Simulated};
use littoral::platform::{Clock, Setup};
use littoral::{Config, ErrorKind, OpenOptions, Status, Wait, start_on, wait};

const HOUR: Duration = Duration::from_secs(3600);

/// A ring whose completions come late, by up to that much.
fn late(seed: u64, late_max: Duration) -> (Disk, Simulated) {
    let faults = Faults { late: Permille::ALWAYS, late_max, ..Faults::default() };
    let disk = Disk::new();
    let setup = Setup { root: None, in_flight: 16 };
    let ring =
        Simulated::new(&setup, disk.clone(), Behaviour { faults, ..Behaviour::seeded(seed) });
    (disk, ring)
}

#[test]
fn a_wait_of_an_hour_is_over_at_once() {
    let started = Instant::now();
    for seed in 0..50 {
        let (_, ring) = late(seed, 3 * HOUR);
        let io = start_on(Box::new(ring), Config::new()).unwrap();
        let file = wait(&*io, io.open("f", OpenOptions::new().create(true))).unwrap();
        let mut size = file.size();
        let mut waits = 0;
        loop {
            let before = io.now().monotonic;
            let step = io.step(io.delivered(), Wait::For(HOUR));
            let waited = Duration::from_nanos(io.now().monotonic - before);
            assert!(waited <= HOUR + Duration::from_millis(1), "seed {seed}: {waited:?}");
            if let Some(size) = size.try_take() {
                assert_eq!(size.unwrap(), 0);
                break;
            }
            assert!(waited >= HOUR, "seed {seed}: only {waited:?}");
            assert_eq!(step.status, Status::Pending);
            waits += 1;
        }
        assert!(waits <= 3, "seed {seed}: {waits} hours");
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_drain_ends_when_simulated_time_says_so() {
    let started = Instant::now();
    let mut ends = [0; 2];
    for seed in 0..60 {
        let (disk, ring) = late(seed, 2 * HOUR);
        let clock = disk.clock();
        let io = start_on(Box::new(ring), Config::new().drain_timeout(HOUR)).unwrap();
        let file = wait(&*io, io.open("f", OpenOptions::new().create(true))).unwrap();
        let mut writing = file.pwrite(0, b"in time, or not".to_vec().into());
        io.step(io.delivered(), Wait::No);
        let before = clock.monotonic_nanos();
        drop(file);
        drop(io);
        let drained = Duration::from_nanos(clock.monotonic_nanos() - before);
        match writing.try_take().expect("every operation ends") {
            Ok(()) => ends[0] += 1,
            Err(error) => {
                assert!(drained >= HOUR, "seed {seed}: gave up after {drained:?}");
                let kinds = [ErrorKind::Abandoned, ErrorKind::Cancelled];
                assert!(kinds.contains(&error.kind()), "seed {seed}: {error}");
                ends[1] += 1;
            }
        }
        assert!(drained <= HOUR + Duration::from_secs(1), "seed {seed}: {drained:?}");
    }
    assert!(ends.iter().all(|count| *count > 10), "{ends:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_wall_clock_is_the_simulations() {
    let (disk, ring) = late(1, Duration::ZERO);
    let io = start_on(Box::new(ring), Config::new()).unwrap();
    disk.clock().set_wall(42);
    assert_eq!(io.now().wall, 42);
    disk.clock().advance(HOUR);
    assert_eq!(io.now().wall, 42 + 3_600_000_000_000);
}
