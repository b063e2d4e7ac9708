//! What `StorageBackend` demands, call by call.

use std::io::ErrorKind;

use littoral::platform::faulty::{Event, OpKind};
use littoral::{Config, Error, OpenOptions, block_on, start};
use littoral_redb::RedbFile;
use redb::StorageBackend;

use crate::{open, rough};

#[test]
fn reading_past_the_end_is_unexpected_eof() {
    let (io, ..) = rough(1, 64);
    let file = open(&io, "db");
    file.set_len(100).expect("room");
    let mut out = [0; 64];
    file.read(36, &mut out).expect("it ends at 100");
    for at in [37, 100, 1000] {
        let error = file.read(at, &mut out).expect_err("past the end");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "at {at}: {error}");
    }
    file.read(100, &mut []).expect("nothing is inside");
    let error = file.read(101, &mut []).expect_err("past the end");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    file.read(0, &mut out).expect("such an error leaves the file usable");
}

#[test]
fn a_gap_before_a_queued_write_reads_as_zeros() {
    // The read overlaps nothing that is queued, and the file is long enough only with it.
    for seed in 0..32 {
        let (io, ..) = rough(seed, 64);
        let file = open(&io, "db");
        file.write(4096, b"far").expect("accepted");
        let mut out = [1; 16];
        file.read(8, &mut out).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(out, [0; 16], "seed {seed}");
        assert_eq!(file.len().expect("a size"), 4099, "seed {seed}");
    }
}

#[test]
fn overlapping_writes_end_in_their_order() {
    for seed in 0..64 {
        let (io, _, disk) = rough(seed, 64);
        let file = open(&io, "db");
        for byte in 1..=20_u8 {
            file.write(u64::from(byte % 3), &[byte; 4]).expect("accepted");
        }
        file.close().expect("it closes");
        // 18 at 0, 19 at 1, 20 at 2.
        let expected = [18, 19, 20, 20, 20, 20];
        assert_eq!(disk.contents("db").expect("it is there"), expected, "seed {seed}");
    }
}

#[test]
fn a_driver_with_little_room_is_no_error() {
    for operations in [1, 2, 5] {
        let (io, _, disk) = rough(3, operations);
        let file = open(&io, "db");
        for page in 0..40_u8 {
            file.write(u64::from(page) * 10, &[page; 10]).expect("it waits for room");
        }
        file.sync_data().expect("it waits for room");
        let expected: Vec<u8> = (0..40).flat_map(|page| [page; 10]).collect();
        assert_eq!(disk.contents("db").expect("it is there"), expected, "{operations} operations");
    }
}

#[test]
fn the_cause_travels_inside_the_error() {
    let (io, ..) = rough(1, 64);
    let written = block_on(&io, async {
        io.open("db", OpenOptions::new().create(true)).await?.close().await?;
        let looking = io.open("db", OpenOptions::read_only()).await?;
        Ok::<_, Error>(RedbFile::new(io.clone(), looking))
    });
    let file = written.expect("rings here can wait").expect("it is there");
    file.write(0, b"no").expect("it is queued");
    for _ in 0..2 {
        let error = file.sync_data().expect_err("it is read-only");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
        assert_eq!(cause.expect("inside").kind(), littoral::ErrorKind::PermissionDenied);
    }
}

#[test]
fn adjacent_writes_are_one_call() {
    let (io, script, _) = rough(1, 64);
    script.calm(true);
    let file = open(&io, "db");
    drop(script.take_log());
    for page in [3, 1, 2, 0, 9] {
        file.write(page * 4096, &[1; 4096]).expect("accepted");
    }
    file.write(0, &[2; 4096]).expect("it replaces");
    file.sync_data().expect("it syncs");
    let written: Vec<_> = script.take_log().into_iter().filter_map(write_of).collect();
    assert_eq!(written, [(0, 4 * 4096), (9 * 4096, 4096)]);
    let mut out = [0; 1];
    file.read(0, &mut out).expect("it is there");
    assert_eq!(out, [2]);
}

fn write_of(event: Event) -> Option<(u64, u64)> {
    match event {
        Event::Taken { entry, .. } if entry.op == OpKind::Write => Some((entry.at, entry.bytes)),
        _ => None,
    }
}

#[test]
fn calls_after_close_fail() {
    let (io, ..) = rough(1, 64);
    let file = open(&io, "db");
    file.write(0, b"kept").expect("accepted");
    file.close().expect("it closes");
    assert!(file.write(0, b"late").is_err());
    assert!(file.read(0, &mut [0; 4]).is_err());
    assert!(file.sync_data().is_err());
}

#[test]
fn dropping_without_close_keeps_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("text");
    let io = start(Config::new().root(root)).expect("a ring");
    let file = RedbFile::open_now(io, "db").expect("it opens");
    for page in 0..200_u8 {
        file.write(u64::from(page) * 4096, &[page; 4096]).expect("accepted");
    }
    // The last handle of the driver goes with it.
    drop(file);
    let bytes = std::fs::read(folder.path().join("db")).expect("it is there");
    assert!((0..200_u8).eq(bytes.chunks(4096).map(|page| page[4095])));
}
