//! What goes wrong on a simulated ring, and that an honest engine gets on all the same.

use core::time::Duration;
use std::collections::BTreeSet;

use super::pump::{Pump, create, source};
use super::{Config, Disk, Failing, Faults, PAGE, Permille, Random, Simulated};
use crate::faulty::OpKind;
use crate::{Clock, Cqe, Errno, Handle, Op, Ring, Setup, Sqe, SyncKind, Tag};

fn pump(disk: &Disk, seed: u64, faults: Faults) -> Pump<Simulated> {
    let setup = Setup { root: None, in_flight: 16 };
    let config = Config { faults, ..Config::seeded(seed) };
    Pump::new(Simulated::new(&setup, disk.clone(), config))
}

fn failing(op: OpKind, code: Errno) -> Faults {
    let failing = vec![Failing { op, code, rate: Permille::ALWAYS }];
    Faults { failing, ..Faults::default() }
}

/// Writes a file through whatever goes wrong, resuming and retrying; answers the trace.
fn write_all(pump: &mut Pump<Simulated>, file: Handle, bytes: &[u8]) -> Vec<Cqe> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..bytes.len().min(at + 5000)];
        let count = pump.insist(Op::Write { file, at: at as u64, span: source(rest) }).unwrap();
        assert!((1..=rest.len() as u64).contains(&count));
        at += usize::try_from(count).unwrap();
    }
    std::mem::take(&mut pump.trace)
}

#[test]
fn a_rough_ride_ends_where_a_smooth_one_does() {
    // Who polls sees 10 us go by at each look.
    let late_max = Duration::from_micros(200);
    let faults = Faults { late_max, stale: Permille::NEVER, ..Faults::rough() };
    for seed in 0..100 {
        for waits in [false, true] {
            let disk = Disk::new();
            let mut pump = pump(&disk, seed, faults.clone());
            pump.waits = waits;
            let file = pump.open(c"f", create()).unwrap();
            let bytes: Vec<_> =
                (0..6 * PAGE).map(|n| n.to_le_bytes()[usize::from(seed % 2 == 1)]).collect();
            write_all(&mut pump, file, &bytes);
            assert!(disk.contents("f").unwrap() == bytes, "seed {seed}");
        }
    }
}

#[test]
fn a_seed_is_a_run_and_its_time() {
    let run = |seed, faults| {
        let disk = Disk::new();
        let mut pump = pump(&disk, seed, faults);
        let file = pump.open(c"f", create()).unwrap();
        (write_all(&mut pump, file, &vec![7; 6 * PAGE]), disk.clock().monotonic_nanos())
    };
    let rough = || Faults { stale: Permille::NEVER, ..Faults::rough() };
    assert_eq!(run(5, rough()), run(5, rough()));
    assert_ne!(run(5, rough()), run(6, rough()));
    let shortened = |cqes: &[Cqe]| cqes.iter().any(|c| matches!(c.result, Ok(1..5000)));
    assert!(shortened(&run(5, rough()).0));
    let (trace, time) = run(5, Faults::default());
    let counts: BTreeSet<_> = trace[1..].iter().map(|cqe| cqe.result).collect();
    assert_eq!(counts, [Ok(5000), Ok(4576)].into(), "no faults unless asked for");
    assert!((6..600_000).contains(&time), "{time} ns");
}

#[test]
fn what_is_late_comes_in_its_time() {
    let faults = || Faults {
        late: Permille::ALWAYS,
        late_max: Duration::from_secs(3600),
        ..Faults::default()
    };
    for seed in 0..20 {
        let disk = Disk::new();
        let clock = disk.clock();
        let mut pump = pump(&disk, seed, faults());
        pump.push(Op::Cancel { target: Tag(77) }).unwrap();
        pump.submit();
        let second = Duration::from_secs(1);
        let mut waits = 0;
        while pump.reap().is_none() {
            let before = clock.monotonic_nanos();
            pump.bell.wait(0, Some(second)).unwrap();
            let waited = Duration::from_nanos(clock.monotonic_nanos() - before);
            assert!(waited <= second + Duration::from_micros(100), "{waited:?}");
            waits += 1;
        }
        assert!(waits <= 3601, "{waits} waits of a second");
        // Without a time to wait for: until it is there.
        pump.push(Op::Cancel { target: Tag(77) }).unwrap();
        pump.submit();
        let found = (0..3).any(|_| {
            pump.bell.wait(0, None).unwrap();
            pump.reap().is_some()
        });
        assert!(found, "seed {seed}");
    }
}

#[test]
fn refusals_are_bounded_and_take_nothing() {
    let faults =
        Faults { refuse: Permille::ALWAYS, interrupt: Permille::ALWAYS, ..Faults::default() };
    let mut ring = Simulated::new(
        &Setup { root: None, in_flight: 8 },
        Disk::new(),
        Config { faults, ..Config::seeded(1) },
    );
    let push = |ring: &mut Simulated, tag| {
        // SAFETY: a cancel points to nothing.
        unsafe { ring.push(&Sqe::new(Tag(tag), Op::Cancel { target: Tag(99) })) }
    };
    assert!(push(&mut ring, 1).is_ok(), "never refused where nothing is on its way");
    assert!(push(&mut ring, 2).is_err());
    assert_eq!(ring.submit(), Err(Errno::INTR));
    assert_eq!(ring.unsubmitted(), 1, "what was pushed stays pushed");
    assert!(push(&mut ring, 2).is_err());
    assert_eq!(ring.submit(), Ok(()), "three in a row are enough");
    assert!(push(&mut ring, 2).is_ok());
}

#[test]
fn completions_of_nothing_come_between() {
    let faults = Faults { stale: Permille(500), ..Faults::default() };
    let mut ring = Simulated::new(
        &Setup { root: None, in_flight: 8 },
        Disk::new(),
        Config { faults, ..Config::seeded(1) },
    );
    let (mut strange, mut again, mut real) = (0, 0, 0);
    for tag in 1000..1200 {
        // SAFETY: a cancel points to nothing.
        unsafe { ring.push(&Sqe::new(Tag(tag), Op::Cancel { target: Tag(99) })).unwrap() };
        ring.submit().unwrap();
        let mut came = false;
        for _ in 0..8 {
            match ring.reap() {
                Some(cqe) if cqe.tag == Tag(tag) && !came => came = true,
                Some(cqe) if (1000..=tag).contains(&cqe.tag.0) => again += 1,
                Some(_) => strange += 1,
                None => (),
            }
        }
        real += u32::from(came);
    }
    assert_eq!(real, 200);
    assert!(strange > 5 && again > 20, "{strange} strange, {again} again");
}

#[test]
fn a_failed_write_may_have_written_something() {
    let mut counts = BTreeSet::new();
    for seed in 0..64 {
        let disk = Disk::new();
        let mut pump = pump(&disk, seed, failing(OpKind::Write, Errno::IO));
        let file = pump.open(c"f", create()).unwrap();
        assert_eq!(pump.write(file, 0, &[1; 100]), Err(Errno::IO));
        counts.insert(disk.contents("f").unwrap().len());
        pump.ring.control().set_faults(failing(OpKind::Write, Errno::NOSPC));
        assert_eq!(pump.write(file, 200, &[1; 100]), Err(Errno::NOSPC));
        assert!(disk.contents("f").unwrap().len() <= 100, "without room there is nothing");
        pump.ring.control().set_faults(Faults::default());
        assert_eq!(pump.write(file, 0, &[1; 100]), Ok(100));
    }
    assert!(counts.len() > 20, "{counts:?}");
}

#[test]
fn a_failed_flush_loses_what_it_was_to_cover() {
    let mut after = BTreeSet::new();
    for seed in 0..64 {
        let disk = Disk::new();
        let mut pump = pump(&disk, seed, Faults::default());
        let file = pump.open(c"f", create()).unwrap();
        disk.sync_names();
        let sync = Op::Sync { file, kind: SyncKind::Full };
        assert_eq!(pump.write(file, 0, &[b'a'; 1024]), Ok(1024));
        assert_eq!(pump.one(sync), Ok(0));
        assert_eq!(pump.write(file, 0, &[b'b'; 1024]), Ok(1024));
        pump.ring.control().set_faults(failing(OpKind::Sync, Errno::IO));
        assert_eq!(pump.one(sync), Err(Errno::IO));
        pump.ring.control().set_faults(Faults::default());
        // The second one succeeds, and means nothing.
        assert_eq!(pump.one(sync), Ok(0));
        assert_eq!(disk.contents("f").unwrap(), [b'b'; 1024], "it is seen all the same");
        let found = disk.crash(seed).contents("f").unwrap();
        assert_eq!(found, disk.crash(seed + 1).contents("f").unwrap(), "it is decided");
        after.insert((found[0], found[512]));
    }
    let either = [(b'a', b'a'), (b'a', b'b'), (b'b', b'a'), (b'b', b'b')];
    assert_eq!(after, either.into());
}

#[test]
fn rates_are_by_kind() {
    let faults = Faults {
        failing: vec![
            Failing { op: OpKind::Size, code: Errno::IO, rate: Permille(300) },
            Failing { op: OpKind::Size, code: Errno::NOMEM, rate: Permille(500) },
        ],
        ..Faults::default()
    };
    let mut pump = pump(&Disk::new(), 3, faults);
    let file = pump.open(c"f", create()).unwrap();
    let results: Vec<_> = (0..1000).map(|_| pump.one(Op::Size { file })).collect();
    let count = |wanted| results.iter().filter(|result| **result == wanted).count();
    assert!((240..360).contains(&count(Err(Errno::IO))));
    assert!((290..410).contains(&count(Err(Errno::NOMEM))), "a half of the others");
    assert_eq!(pump.one(Op::Sync { file, kind: SyncKind::Data }), Ok(0));
    let mut random = Random::new(1);
    assert!((0..20).all(|_| pump.write(file, random.next() >> 40, b"x") == Ok(1)));
}
