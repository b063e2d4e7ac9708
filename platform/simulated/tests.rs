//! What the simulated ring and its disk do, and that they do it by the seed alone.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use super::pump::{Pump, create, name, source, span};
use super::{Config, Disk, OFFSET_MAX, PAGE, Permille, Random, Simulated};
use crate::{
    Cqe, Doorbell, Errno, Extent, FileKind, Handle, Listed, Op, OpenFlags, Ring, Setup, Stat,
    SyncKind, Tag,
};

fn setup(in_flight: u32) -> Setup {
    Setup { root: None, in_flight }
}

fn pump(disk: &Disk, seed: u64) -> Pump<Simulated> {
    Pump::new(Simulated::new(&setup(16), disk.clone(), Config::seeded(seed)))
}

/// Forty writes of a page each, more than may be in flight.
fn forty_writes(pump: &mut Pump<Simulated>) -> Vec<Cqe> {
    let pages: Vec<_> = (0..40u8).map(|n| vec![n; PAGE]).collect();
    let file = pump.open(c"f", create()).unwrap();
    let write = |(n, page): (u64, &Vec<u8>)| Op::Write { file, at: n * 4096, span: source(page) };
    let ops: Vec<_> = (0..).zip(&pages).map(write).collect();
    assert_eq!(pump.run(&ops), [Ok(4096); 40]);
    std::mem::take(&mut pump.trace)
}

#[test]
fn every_tag_is_reaped_once_by_waiters_and_by_pollers() {
    for seed in 0..200 {
        for waits in [false, true] {
            for prompt in [Permille::NEVER, Permille(500), Permille::ALWAYS] {
                let disk = Disk::new();
                let config = Config { prompt, ..Config::seeded(seed) };
                let mut pump = Pump::new(Simulated::new(&setup(16), disk.clone(), config));
                pump.waits = waits;
                forty_writes(&mut pump);
                let bytes = disk.contents("f").unwrap();
                let right = (0..40u8).zip(bytes.chunks(PAGE)).all(|(n, page)| page == [n; PAGE]);
                assert!(right && bytes.len() == 40 * PAGE, "seed {seed}");
            }
        }
    }
}

#[test]
fn a_seed_is_a_run() {
    let run = |seed| forty_writes(&mut pump(&Disk::new(), seed));
    assert_eq!(run(9), run(9));
    let in_order = |trace: &[Cqe]| trace.is_sorted_by_key(|cqe| cqe.tag);
    assert!(!in_order(&run(9)), "completions come shuffled");
    assert_ne!(run(9), run(10));
}

#[test]
fn overlapping_writes_land_either_way_round() {
    let mut last = [0; 2];
    for seed in 0..64 {
        let disk = Disk::new();
        let mut pump = pump(&disk, seed);
        let file = pump.open(c"f", create()).unwrap();
        let write = |bytes| Op::Write { file, at: 0, span: source(bytes) };
        assert_eq!(pump.run(&[write(b"aaaa"), write(b"bbbb")]), [Ok(4), Ok(4)]);
        match disk.contents("f").unwrap().as_slice() {
            b"aaaa" => last[0] += 1,
            b"bbbb" => last[1] += 1,
            mixed => panic!("mixed: {mixed:?}"),
        }
    }
    assert!(last.iter().all(|count| *count > 8), "{last:?}");
}

#[test]
fn no_more_than_the_limit_is_in_flight() {
    let mut ring = Simulated::new(&setup(2), Disk::new(), Config::seeded(1));
    let push = |ring: &mut Simulated, tag| {
        // SAFETY: a cancel points to nothing.
        unsafe { ring.push(&crate::Sqe::new(Tag(tag), Op::Cancel { target: Tag(99) })) }
    };
    assert!(push(&mut ring, 1).is_ok() && push(&mut ring, 2).is_ok());
    assert!(push(&mut ring, 3).is_err());
    assert_eq!(ring.unsubmitted(), 2);
    ring.submit().unwrap();
    assert!(push(&mut ring, 3).is_err(), "submitted is not reaped");
    let cqe = std::iter::repeat_with(|| ring.reap()).take(3).flatten().next().unwrap();
    assert_eq!(cqe.result, Err(Errno::NOENT));
    assert!(push(&mut ring, 3).is_ok());
}

#[test]
fn far_offsets_cost_a_page() {
    let disk = Disk::new();
    let mut pump = pump(&disk, 1);
    let file = pump.open(c"f", create()).unwrap();
    let at = (1 << 62) - 2;
    assert_eq!(pump.write(file, at, b"abcd"), Ok(4));
    assert_eq!(pump.one(Op::Size { file }), Ok(at + 4));
    assert_eq!(pump.read(file, at - 3, 100).unwrap(), b"\0\0\0abcd");
    assert_eq!(pump.read(file, 0, 5).unwrap(), [0; 5]);
    assert_eq!(disk.used(), 2 * PAGE as u64);
    assert_eq!(pump.write(file, OFFSET_MAX - 1, b"ab"), Ok(1));
    assert_eq!(pump.write(file, OFFSET_MAX, b"ab"), Err(Errno::FBIG));
    assert_eq!(pump.write(file, OFFSET_MAX + 1, b"ab"), Err(Errno::INVAL));
    assert_eq!(pump.one(Op::Truncate { file, len: OFFSET_MAX + 1 }), Err(Errno::INVAL));
}

#[test]
fn names_follow_the_flags() {
    let disk = Disk::new();
    disk.make_directory("d").unwrap();
    assert_eq!(disk.make_directory("d"), Err(Errno::EXIST));
    let mut pump = pump(&disk, 2);
    let (write, exclusive) = (OpenFlags::WRITE, create() | OpenFlags::EXCLUSIVE);
    assert_eq!(pump.open(c"f", write), Err(Errno::NOENT));
    assert_eq!(pump.open(c"f", OpenFlags::CREATE), Err(Errno::INVAL));
    let made = pump.open(c"f", exclusive).unwrap();
    assert_eq!(pump.write(made, 0, b"kept"), Ok(4));
    assert_eq!(pump.open(c"f", exclusive), Err(Errno::EXIST));
    let again = pump.open(c"f", create()).unwrap();
    assert_eq!(pump.read(again, 0, 9).unwrap(), b"kept", "create never truncates");
    assert_eq!(pump.stat(made).unwrap(), pump.stat(again).unwrap());
    assert_eq!(pump.open(c"f/g", create()), Err(Errno::NOTDIR));
    assert_eq!(pump.open(c"f/g/h", create()), Err(Errno::NOTDIR));
    assert_eq!(pump.open(c"no/such/parent", create()), Err(Errno::NOENT));

    assert_eq!(pump.open(c"d", write), Err(Errno::ISDIR));
    let directory = pump.open(c"d", OpenFlags::empty()).unwrap();
    assert_eq!(pump.stat(directory).unwrap().kind, FileKind::Directory);
    assert_eq!(pump.read(directory, 0, 9), Err(Errno::ISDIR));
    assert_eq!(pump.one(Op::Remove { name: name(c"d") }), Err(Errno::ISDIR));
    assert_eq!(disk.list(), ["d", "f"]);
}

#[test]
fn names_move_and_directories_hold_them() {
    let disk = Disk::new();
    let mut pump = pump(&disk, 4);
    let file = pump.open(c"f", create()).unwrap();
    let make = |text| Op::MakeDirectory { name: name(text) };
    let rename = |from, to| Op::Rename { from: name(from), to: name(to) };
    assert_eq!(pump.one(make(c"d/e")), Err(Errno::NOENT));
    assert_eq!(pump.one(make(c"f/e")), Err(Errno::NOTDIR));
    assert_eq!(pump.one(make(c"d")), Ok(0));
    assert_eq!(pump.one(make(c"d")), Err(Errno::EXIST));
    assert_eq!(pump.one(rename(c"f", c"d")), Err(Errno::ISDIR));
    assert_eq!(pump.one(rename(c"f", c"no/f")), Err(Errno::NOENT));
    assert_eq!(pump.one(rename(c"f", c"d/f")), Ok(0));
    assert_eq!(pump.one(rename(c"f", c"d/f")), Err(Errno::NOENT));
    let mut stat = Stat::default();
    assert_eq!(pump.one(Op::Look { name: name(c"d/f"), stat: &raw mut stat }), Ok(0));
    assert_eq!(stat, pump.stat(file).unwrap());
    let mut listed = Vec::new();
    assert_eq!(pump.one(Op::List { name: name(c"."), into: &raw mut listed }), Ok(0));
    assert_eq!(listed, [Listed { name: "d".into(), kind: FileKind::Directory }]);
    let remove = |text| Op::RemoveDirectory { name: name(text) };
    assert_eq!(pump.one(remove(c"d")), Err(Errno::NOTEMPTY));
    assert_eq!(pump.one(remove(c"d/f")), Err(Errno::NOTDIR));
    assert_eq!(pump.one(Op::Remove { name: name(c"d/f") }), Ok(0));
    assert_eq!(pump.one(remove(c"d")), Ok(0));
    assert_eq!(disk.list(), [""; 0]);
}

#[test]
fn handles_are_checked_and_their_numbers_reused() {
    let mut pump = pump(&Disk::new(), 3);
    let writer = pump.open(c"f", create()).unwrap();
    let reader = pump.open(c"f", OpenFlags::empty()).unwrap();
    assert_eq!(pump.write(reader, 0, b"x"), Err(Errno::BADF));
    assert_eq!(pump.one(Op::Truncate { file: reader, len: 0 }), Err(Errno::INVAL));
    assert_eq!(pump.one(Op::Sync { file: reader, kind: SyncKind::Data }), Ok(0));
    assert_eq!(pump.one(Op::Close { file: writer }), Ok(0));
    for op in [
        Op::Close { file: writer },
        Op::Size { file: writer },
        Op::Sync { file: writer, kind: SyncKind::Full },
        Op::Write { file: Handle(77), at: 0, span: source(b"x") },
    ] {
        assert_eq!(pump.one(op), Err(Errno::BADF), "{op:?}");
    }
    assert_eq!(pump.open(c"g", create()), Ok(writer), "as descriptors are");
}

#[test]
fn a_removed_file_lives_as_long_as_its_handles() {
    let disk = Disk::new();
    let mut pump = pump(&disk, 4);
    let old = pump.open(c"f", create()).unwrap();
    assert_eq!(pump.write(old, 0, b"old"), Ok(3));
    assert_eq!(pump.one(Op::Remove { name: name(c"f") }), Ok(0));
    assert_eq!(pump.one(Op::Remove { name: name(c"f") }), Err(Errno::NOENT));
    let new = pump.open(c"f", create()).unwrap();
    assert_ne!(pump.stat(old).unwrap().identity, pump.stat(new).unwrap().identity);
    assert_eq!(pump.read(old, 0, 9).unwrap(), b"old");
    assert_eq!(disk.contents("f").unwrap(), b"");
    assert_eq!(disk.used(), PAGE as u64);
    assert_eq!(pump.one(Op::Close { file: old }), Ok(0));
    assert_eq!(disk.used(), 0, "its pages are given back");
}

#[test]
fn files_outlive_the_ring_and_roots_are_apart() {
    let disk = Disk::new();
    let mut first = pump(&disk, 5);
    disk.make_directory("a").unwrap();
    let file = first.open(c"a/f", create()).unwrap();
    assert_eq!(first.write(file, 0, b"bytes"), Ok(5));
    drop(first);
    let below = Setup { root: Some("a".into()), in_flight: 1 };
    let mut second = Pump::new(Simulated::new(&below, disk.clone(), Config::seeded(6)));
    let file = second.open(c"f", OpenFlags::empty()).unwrap();
    assert_eq!(second.read(file, 1, 3).unwrap(), b"yte");
    assert_eq!(second.open(c"a/f", OpenFlags::empty()), Err(Errno::NOENT));
}

#[test]
fn a_full_disk_gives_a_count_and_then_enospc() {
    let disk = Disk::new();
    disk.limit(Some(2 * PAGE as u64));
    let mut pump = pump(&disk, 6);
    let file = pump.open(c"f", create()).unwrap();
    let bytes = vec![7; 3 * PAGE];
    assert_eq!(pump.write(file, 100, &bytes), Ok(2 * PAGE as u64 - 100));
    assert_eq!(pump.write(file, 2 * PAGE as u64, b"x"), Err(Errno::NOSPC));
    assert_eq!(pump.write(file, 5, b"x"), Ok(1), "a page that is there can be overwritten");
    assert_eq!(pump.one(Op::Truncate { file, len: 10 }), Ok(0));
    assert_eq!(pump.write(file, 2 * PAGE as u64, b"x"), Ok(1), "room was made");
    disk.limit(None);
    assert_eq!(pump.write(file, 1 << 40, b"x"), Ok(1));
}

#[test]
fn the_disk_agrees_with_a_vector() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut pump = pump(&Disk::new(), seed);
        let file = pump.open(c"f", create()).unwrap();
        let mut model: Vec<u8> = Vec::new();
        for step in 0..40 {
            let (at, len) = (random.below(3 * PAGE), random.below(2 * PAGE));
            match random.below(5) {
                0 => {
                    let bytes: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
                    assert_eq!(pump.write(file, at as u64, &bytes), Ok(len as u64));
                    if len > 0 {
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].copy_from_slice(&bytes);
                    }
                }
                1 => {
                    assert_eq!(pump.one(Op::Truncate { file, len: at as u64 }), Ok(0));
                    model.resize(at, 0);
                }
                2 if len > 0 => {
                    let (start, end) = (at as u64, (at + len).min(model.len()));
                    let grows = random.below(2) == 0;
                    let (file, at, len) = (file, start, len as u64);
                    let op = if grows {
                        Op::Zero { file, at, len }
                    } else {
                        Op::Punch { file, at, len }
                    };
                    assert_eq!(pump.one(op), Ok(0));
                    let start = usize::try_from(start).unwrap();
                    model[start.min(end)..end].fill(0);
                    if grows {
                        model.resize(model.len().max(start + usize::try_from(len).unwrap()), 0);
                    }
                }
                3 => {
                    let (at, size) = (at as u64, model.len() as u64);
                    let seek = |extent| Op::Seek { file, at, extent };
                    let data = pump.one(seek(Extent::Data));
                    let hole = pump.one(seek(Extent::Hole));
                    if at >= size {
                        assert_eq!((data, hole), (Err(Errno::NXIO), Err(Errno::NXIO)));
                        continue;
                    }
                    assert!((at..=size).contains(&hole.unwrap()), "seed {seed} step {step}");
                    let to = usize::try_from(data.unwrap_or(size)).unwrap();
                    let skipped = &model[usize::try_from(at).unwrap()..to];
                    assert!(skipped.iter().all(|byte| *byte == 0), "seed {seed} step {step}");
                    assert!(data == Ok(at) || hole == Ok(at), "one of the two begins here");
                }
                _ => {
                    let from = at.min(model.len());
                    let to = (at + len).clamp(from, model.len());
                    let (mut one, mut two) = (vec![1; len / 3], vec![1; len - len / 3]);
                    let spans = [span(&mut one), span(&mut []), span(&mut two)];
                    let spans = spans.as_ptr();
                    let op = Op::Readv { file, at: at as u64, spans, count: 3 };
                    assert_eq!(pump.one(op), Ok((to - from) as u64), "seed {seed} step {step}");
                    one.extend_from_slice(&two);
                    assert_eq!(one[..to - from], model[from..to], "seed {seed} step {step}");
                    assert!(one[to - from..].iter().all(|byte| *byte == 1), "past the count");
                }
            }
            assert_eq!(pump.one(Op::Size { file }), Ok(model.len() as u64));
        }
    }
}

#[test]
fn holes_give_their_pages_back() {
    let disk = Disk::new();
    let mut pump = pump(&disk, 1);
    let file = pump.open(c"f", create()).unwrap();
    let page = PAGE as u64;
    assert_eq!(pump.write(file, 0, &vec![7; 4 * PAGE]), Ok(4 * page));
    assert_eq!(pump.one(Op::Punch { file, at: page - 1, len: 2 * page + 1 }), Ok(0));
    assert_eq!(disk.used(), 2 * page);
    let seek = |at, extent| Op::Seek { file, at, extent };
    assert_eq!(pump.one(seek(0, Extent::Hole)), Ok(page));
    assert_eq!(pump.one(seek(page, Extent::Data)), Ok(3 * page));
    assert_eq!(pump.one(seek(3 * page, Extent::Hole)), Ok(4 * page));
    assert_eq!(pump.one(Op::Zero { file, at: 3 * page, len: 1 << 60 }), Ok(0));
    assert_eq!(disk.used(), page);
    assert_eq!(pump.one(Op::Size { file }), Ok(3 * page + (1 << 60)));
    assert_eq!(pump.one(seek(page, Extent::Data)), Err(Errno::NXIO));
    assert_eq!(pump.write(file, 1 << 41, b"far"), Ok(3));
    assert_eq!(pump.one(seek(page, Extent::Data)), Ok(1 << 41));
}

#[test]
fn a_cancel_finds_its_target_or_does_not() {
    let mut found = [0; 2];
    for seed in 0..64 {
        let disk = Disk::new();
        let mut pump = pump(&disk, seed);
        let file = pump.open(c"f", create()).unwrap();
        // Tag 0 was the open.
        let write = Op::Write { file, at: 0, span: source(b"x") };
        let results = pump.run(&[write, Op::Cancel { target: Tag(1) }]);
        match results.as_slice() {
            [Err(Errno::CANCELED), Ok(0)] => found[0] += 1,
            [Ok(1), Err(Errno::NOENT)] => found[1] += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        assert_eq!(disk.contents("f").unwrap().len() as u64, results[0].unwrap_or(0));
    }
    assert!(found.iter().all(|count| *count > 8), "{found:?}");
}

#[test]
fn nothing_is_executed_after_the_ring_is_gone() {
    let disk = Disk::new();
    let config = Config { prompt: Permille::NEVER, ..Config::default() };
    let mut pump = Pump::new(Simulated::new(&setup(4), disk.clone(), config));
    let file = pump.open(c"f", create()).unwrap();
    let bytes = vec![1; 9];
    let op = Op::Write { file, at: 0, span: source(&bytes) };
    pump.push(Op::Open { name: name(c"late"), flags: create(), mode: 0o644 }).unwrap();
    pump.submit();
    pump.push(op).unwrap();
    let Pump { ring, bell, direct, .. } = pump;
    drop(ring);
    drop(bytes);
    bell.wait(1, Some(Duration::ZERO)).unwrap();
    assert_eq!(disk.contents("f").unwrap(), b"");
    assert_eq!(disk.list(), ["f"]);
    // SAFETY: the operation points to nothing.
    assert_eq!(unsafe { direct.call(&Op::Size { file }) }, Err(Errno::BADF));
}

/// A thread in an endless wait, and whether it came back.
fn waiter(bell: Arc<dyn Doorbell>) -> thread::JoinHandle<()> {
    let waiter = thread::spawn(move || bell.wait(0, None).unwrap());
    // It may not be asleep yet; that only makes the test easier, not wrong.
    thread::sleep(Duration::from_millis(20));
    assert!(!waiter.is_finished(), "there was nothing to come back for");
    waiter
}

#[test]
fn a_sleeper_is_woken_by_the_bell_and_by_work() {
    let mut pump = pump(&Disk::new(), 8);
    let sleeper = waiter(Arc::clone(&pump.bell));
    pump.bell.ring();
    sleeper.join().unwrap();

    // A bell that rang before the wait ends that wait, and only that one.
    pump.bell.ring();
    pump.bell.wait(0, None).unwrap();
    let sleeper = waiter(Arc::clone(&pump.bell));
    pump.push(Op::Open { name: name(c"f"), flags: create(), mode: 0o644 }).unwrap();
    pump.submit();
    sleeper.join().unwrap();
    assert!((0..2).any(|_| pump.reap().is_some()));
}

#[test]
fn direct_calls_do_the_same_at_once() {
    let pump = pump(&Disk::new(), 9);
    let call = |op: &Op| {
        // SAFETY: what the operations point to lives longer than this.
        unsafe { pump.direct.call(op) }
    };
    let file = call(&Op::Open { name: name(c"f"), flags: create(), mode: 0o644 }).unwrap();
    let file = Handle(file.try_into().unwrap());
    assert_eq!(call(&Op::Write { file, at: 2, span: source(b"ab") }), Ok(2));
    let mut bytes = [9; 6];
    assert_eq!(call(&Op::Read { file, at: 0, span: span(&mut bytes) }), Ok(4));
    assert_eq!(&bytes, b"\0\0ab\x09\x09");
    assert_eq!(call(&Op::Cancel { target: Tag(5) }), Err(Errno::NOENT));
}

fn hosted(disk: &Disk, seed: u64) -> Pump<Simulated> {
    let ring = Simulated::new(&setup(16), disk.clone(), Config::hosted(seed));
    let host = ring.host();
    let mut pump = Pump::new(ring);
    pump.host = Some(host);
    pump
}

#[test]
fn hosted_names_take_turns_and_data_does_not() {
    for seed in 0..50 {
        let disk = Disk::new();
        let mut pump = hosted(&disk, seed);
        let open = Op::Open { name: name(c"f"), flags: create(), mode: 0o644 };
        // SAFETY: the name is static.
        assert_eq!(unsafe { pump.direct.call(&open) }, Err(Errno::AGAIN));
        let tag = pump.push(open).unwrap();
        pump.submit();
        for _ in 0..10 {
            assert_eq!(pump.reap(), None);
            pump.bell.wait(0, None).unwrap();
        }
        let host = pump.host.take().unwrap();
        host.turn();
        let Some(Cqe { result: Ok(file), .. }) = pump.reap().filter(|cqe| cqe.tag == tag) else {
            panic!("seed {seed}: not opened");
        };
        let file = Handle(file.try_into().unwrap());
        pump.waits = false;
        let write = |at| Op::Write { file, at, span: source(b"ab") };
        assert_eq!(pump.run(&[write(0), write(2), Op::Size { file }])[..2], [Ok(2), Ok(2)]);
        assert_eq!(pump.vain, 0, "all is done when `submit` returns");
        assert_eq!(disk.contents("f").unwrap(), b"abab");
    }
}

#[test]
fn hosted_files_are_open_once() {
    let disk = Disk::new();
    let (mut one, mut two) = (hosted(&disk, 1), hosted(&disk, 2));
    let file = one.open(c"f", create()).unwrap();
    for pump in [&mut one, &mut two] {
        assert_eq!(pump.open(c"f", OpenFlags::empty()), Err(Errno::BUSY));
        assert_eq!(pump.one(Op::Remove { name: name(c"f") }), Err(Errno::BUSY));
    }
    assert_eq!(one.one(Op::Close { file }), Ok(0));
    two.open(c"f", create()).unwrap();
    assert_eq!(one.open(c"f", create()), Err(Errno::BUSY));
    drop(two);
    assert_eq!(one.open(c"f", create()), Ok(file), "the end of a ring closes its files");
}

#[test]
fn a_turn_calls_back_after_a_bell_and_after_names() {
    let mut pump = hosted(&Disk::new(), 3);
    let host = pump.host.clone().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let (counter, inside) = (Arc::clone(&calls), host.clone());
    pump.ring.on_turn(Box::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        assert!(!inside.is_asked(), "the bell is answered, and no lock is held");
    }));
    assert!(!host.turn());
    assert_eq!(calls.load(Ordering::Relaxed), 0, "nobody asked");
    pump.bell.ring();
    pump.bell.ring();
    assert!(host.is_asked());
    host.turn();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    pump.push(Op::Remove { name: name(c"none") }).unwrap();
    pump.submit();
    assert!(host.is_asked());
    host.turn();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(pump.reap().unwrap().result, Err(Errno::NOENT));
    assert_eq!(Arc::strong_count(&calls), 2);
    drop(pump);
    assert_eq!(Arc::strong_count(&calls), 1, "the ring's end lets go of the engine");
}
