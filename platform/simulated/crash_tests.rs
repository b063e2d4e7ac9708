//! What a crash of the disk leaves, by the rings' own operations.

use std::collections::BTreeSet;

use super::pump::{Pump, create, name, source};
use super::{Config, Disk, PAGE, Random, Simulated};
use crate::{Errno, Handle, Op, OpenFlags, Setup, SyncKind};

const SECTOR: usize = 512;

fn pump(disk: &Disk, seed: u64) -> Pump<Simulated> {
    let setup = Setup { root: None, in_flight: 16 };
    Pump::new(Simulated::new(&setup, disk.clone(), Config::seeded(seed)))
}

/// A disk with a durable file `f` of those bytes, and its handle.
fn durable(bytes: &[u8]) -> (Disk, Pump<Simulated>, Handle) {
    let disk = Disk::new();
    let mut pump = pump(&disk, 1);
    let file = pump.open(c"f", create()).unwrap();
    assert_eq!(pump.write(file, 0, bytes), Ok(bytes.len() as u64));
    sync(&mut pump, file);
    disk.sync_names();
    (disk, pump, file)
}

fn sync(pump: &mut Pump<Simulated>, file: Handle) {
    assert_eq!(pump.one(Op::Sync { file, kind: SyncKind::Data }), Ok(0));
}

/// Every way that the file comes out of a crash now, in that many of them.
fn outcomes(disk: &Disk, crashes: u64) -> BTreeSet<Option<Vec<u8>>> {
    (0..crashes).map(|seed| disk.crash(seed).contents("f")).collect()
}

/// The same with a letter for each sector, which must be of one letter.
fn letters(disk: &Disk, crashes: u64) -> BTreeSet<String> {
    let letters = |bytes: Vec<u8>| -> String {
        let letter = |sector: &[u8]| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
            char::from(if sector[0] == 0 { b'0' } else { sector[0] })
        };
        bytes.chunks(SECTOR).map(letter).collect()
    };
    outcomes(disk, crashes).into_iter().map(|bytes| letters(bytes.unwrap())).collect()
}

#[test]
fn what_was_synced_is_there() {
    let (disk, mut pump, file) = durable(&[b'a'; 2 * PAGE]);
    assert_eq!(letters(&disk, 50), BTreeSet::from(["a".repeat(16)]));
    assert_eq!(pump.write(file, 512, &[b'b'; PAGE]), Ok(PAGE as u64));
    assert_eq!(pump.one(Op::Truncate { file, len: 5120 }), Ok(0));
    sync(&mut pump, file);
    assert_eq!(letters(&disk, 50), BTreeSet::from(["abbbbbbbba".to_owned()]));
    // Another disk: what happens here is not seen there.
    let after = disk.crash(1);
    assert_eq!(pump.write(file, 0, &[b'c'; SECTOR]), Ok(SECTOR as u64));
    sync(&mut pump, file);
    assert_eq!(after.contents("f").unwrap()[0], b'a');
    assert_eq!(after.used(), 2 * PAGE as u64);
    assert_eq!(letters(&after, 50), BTreeSet::from(["abbbbbbbba".to_owned()]));
}

#[test]
fn a_write_is_torn_between_sectors_in_every_way() {
    let (disk, mut pump, file) = durable(&[b'a'; 3 * SECTOR]);
    assert_eq!(pump.write(file, 0, &[b'b'; 3 * SECTOR]), Ok(3 * SECTOR as u64));
    let all = ["aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"];
    assert_eq!(letters(&disk, 500), all.map(str::to_owned).into());
    assert_eq!(disk.contents("f").unwrap(), [b'b'; 3 * SECTOR], "all see the new ones");
}

#[test]
fn a_sector_is_torn_where_sectors_are_smaller() {
    let (disk, mut pump, file) = durable(b"aaa");
    assert_eq!(pump.write(file, 0, b"bbb"), Ok(3));
    let whole: BTreeSet<_> = [b"aaa", b"bbb"].map(|bytes| Some(bytes.to_vec())).into();
    assert_eq!(outcomes(&disk, 200), whole);
    disk.set_sector(1);
    assert_eq!(outcomes(&disk, 500).len(), 8);
}

#[test]
fn a_sector_keeps_the_order_of_its_writes() {
    let (disk, mut pump, file) = durable(b"....");
    for (at, bytes) in [(0, b"ab"), (2, b"cd"), (1, b"xy")] {
        assert_eq!(pump.write(file, at, bytes), Ok(2));
    }
    let found = outcomes(&disk, 200);
    let possible = [b"....", b"ab..", b"abcd", b"axyd"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(found, possible.into());
}

/// The example of `stable`.
#[test]
fn sizes_go_back_in_order_and_a_cut_holds_or_does_not() {
    let (disk, mut pump, file) = durable(&[b'a'; 4 * SECTOR]);
    assert_eq!(pump.write(file, 0, &[b'b'; 2 * SECTOR]), Ok(1024));
    assert_eq!(pump.one(Op::Truncate { file, len: 1024 }), Ok(0));
    assert_eq!(pump.write(file, 512, &[b'c'; 2 * SECTOR]), Ok(1024));
    let mut possible = BTreeSet::new();
    for first in ["a", "b"] {
        for second in ["a", "b", "c"] {
            let tails = ["aa", "", "0", "c"];
            possible.extend(tails.map(|tail| format!("{first}{second}{tail}")));
        }
    }
    assert_eq!(letters(&disk, 3000), possible);
}

#[test]
fn what_grows_may_be_there_without_its_bytes() {
    let (disk, mut pump, file) = durable(&[b'a'; SECTOR]);
    assert_eq!(pump.write(file, 1024, &[b'b'; SECTOR]), Ok(512));
    let possible = ["a", "a00", "a0b"].map(str::to_owned);
    assert_eq!(letters(&disk, 200), possible.into());
    // Cut into and grown again: zeros, as soon as it was cut.
    assert_eq!(pump.one(Op::Truncate { file, len: 512 }), Ok(0));
    sync(&mut pump, file);
    assert_eq!(pump.one(Op::Truncate { file, len: 1536 }), Ok(0));
    assert_eq!(letters(&disk, 200), ["a", "a00"].map(str::to_owned).into());
}

#[test]
fn names_that_were_not_synced_may_go_back() {
    let disk = Disk::new();
    let mut pump = pump(&disk, 3);
    let file = pump.open(c"f", create()).unwrap();
    assert_eq!(pump.write(file, 0, b"a"), Ok(1));
    sync(&mut pump, file);
    let (gone, there) = (None, Some(b"a".to_vec()));
    assert_eq!(outcomes(&disk, 100), [gone.clone(), there.clone()].into(), "no name leads there");
    disk.sync_names();
    assert_eq!(outcomes(&disk, 100), [there.clone()].into());
    assert_eq!(pump.one(Op::Remove { name: name(c"f") }), Ok(0));
    assert_eq!(pump.one(Op::Close { file }), Ok(0));
    assert_eq!(outcomes(&disk, 100), [gone.clone(), there.clone()].into(), "it may come back");
    assert_eq!(disk.used(), 0);
    // Another file under the name: never one with the bytes of the other.
    let file = pump.open(c"f", create()).unwrap();
    assert_eq!(pump.write(file, 0, b"b"), Ok(1));
    sync(&mut pump, file);
    let other = Some(b"b".to_vec());
    assert_eq!(outcomes(&disk, 200), [gone, there, other.clone()].into());
    disk.sync_names();
    assert_eq!(outcomes(&disk, 100), [other].into());
}

#[test]
fn what_is_unsynced_is_bounded() {
    let (disk, mut pump, file) = durable(b"");
    let bytes: Vec<_> = (0..PAGE).map(|n| n.to_le_bytes()[0]).collect();
    for page in 0..3000 {
        assert_eq!(pump.write(file, page * PAGE as u64, &bytes), Ok(PAGE as u64));
    }
    let after = disk.crash(0).contents("f").unwrap();
    assert!(after.len() >= 1500 * PAGE, "the cache writes back by itself");
    assert!(after.starts_with(&bytes.repeat(1000)));
}

#[test]
fn spoilt_sectors_are_told_until_they_are_written() {
    let (disk, mut pump, file) = durable(&[b'a'; 4 * SECTOR]);
    disk.spoil("f", 600..601);
    assert_eq!(pump.read(file, 0, 2048).unwrap().len(), 512, "a short count, as of a kernel");
    assert_eq!(pump.read(file, 512, 100), Err(Errno::IO));
    assert_eq!(pump.read(file, 1000, 10), Err(Errno::IO));
    assert_eq!(pump.read(file, 1024, 2048).unwrap().len(), 1024);
    let after = disk.crash(1);
    let mut other = self::pump(&after, 2);
    let reopened = other.open(c"f", OpenFlags::empty()).unwrap();
    assert_eq!(other.read(reopened, 512, 1), Err(Errno::IO));
    let span = source(b"new");
    assert_eq!(pump.one(Op::Write { file, at: 700, span }), Ok(3));
    assert_eq!(pump.read(file, 0, 4000).unwrap().len(), 2048);
}

#[test]
fn a_hole_is_torn_as_a_write_is() {
    let old = [b'a'; 4 * SECTOR];
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let (disk, mut pump, file) = durable(&old);
        let (at, len) = (100, 3 * SECTOR as u64);
        assert_eq!(pump.one(Op::Punch { file, at, len }), Ok(0));
        let after = disk.crash(seed).contents("f").unwrap();
        assert_eq!(after.len(), old.len(), "a hole leaves the size");
        let mut sectors = Vec::new();
        for (number, sector) in after.chunks(SECTOR).enumerate() {
            let mut punched = [b'a'; SECTOR];
            let (from, to) = (100_usize, 100 + 3 * SECTOR);
            let base = number * SECTOR;
            let within = |place: usize| place.clamp(base, base + SECTOR) - base;
            punched[within(from)..within(to)].fill(0);
            assert!(sector == punched || sector == [b'a'; SECTOR], "a sector is whole");
            sectors.push(sector == punched);
        }
        seen.insert(sectors);
        sync(&mut pump, file);
        let after = disk.crash(seed).contents("f").unwrap();
        assert!(after[100..100 + 3 * SECTOR].iter().all(|byte| *byte == 0), "seed {seed}");
    }
    assert!(seen.len() > 8, "all, none, and torn in many ways: {seen:?}");
}

/// After a sync everything is there; before it, each byte is one of those it ever was since.
#[test]
fn a_crash_at_any_moment_leaves_old_or_new() {
    // Sectors are small, and the file ends about a page's end, so that little is compared.
    const BASE: usize = PAGE - 500;
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (disk, mut pump, file) = durable(&[]);
        disk.set_sector(64);
        // For each byte all that it was since the last sync; 0 where it was not there.
        let mut history: Vec<BTreeSet<u8>> = vec![BTreeSet::from([0]); 1200];
        let (mut now, mut sizes) = (vec![0; 1200], BTreeSet::from([0]));
        let mut size = 0;
        for _ in 0..40 {
            let (at, letter) = (random.below(800), random.next().to_le_bytes()[0] | 1);
            match random.below(6) {
                0 => {
                    sync(&mut pump, file);
                    history = now.iter().map(|byte| BTreeSet::from([*byte])).collect();
                    sizes = BTreeSet::from([size]);
                }
                1 => {
                    let len = (BASE + at) as u64;
                    assert_eq!(pump.one(Op::Truncate { file, len }), Ok(0));
                    size = BASE + at;
                    now[at..].fill(0);
                }
                2 => {
                    let (start, len) = ((BASE + at) as u64, 1 + random.below(400));
                    let grows = random.below(2) == 0;
                    let zeros = len as u64;
                    let op = if grows {
                        Op::Zero { file, at: start, len: zeros }
                    } else {
                        Op::Punch { file, at: start, len: zeros }
                    };
                    assert_eq!(pump.one(op), Ok(0));
                    if grows {
                        size = size.max(BASE + at + len);
                    }
                    now[at..at + len].fill(0);
                }
                _ => {
                    let len = 1 + random.below(400);
                    let bytes = vec![letter; len];
                    assert_eq!(pump.write(file, (BASE + at) as u64, &bytes), Ok(len as u64));
                    size = size.max(BASE + at + len);
                    now[at..at + len].fill(letter);
                }
            }
            sizes.insert(size);
            history.iter_mut().zip(&now).for_each(|(all, byte)| _ = all.insert(*byte));
            let after = disk.crash(random.next()).contents("f").unwrap();
            assert!(sizes.contains(&after.len()), "seed {seed}: size {}", after.len());
            let region = after.get(BASE..).unwrap_or(&[]);
            let possible = region.iter().zip(&history).all(|(byte, all)| all.contains(byte));
            assert!(possible, "seed {seed}: a byte that never was");
        }
    }
}
