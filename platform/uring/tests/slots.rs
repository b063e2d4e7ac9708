//! Files that the kernel knows ahead: which have a slot, and that none is ever another one's.

use std::os::fd::AsRawFd;

use super::*;
use crate::{Full, LockKind, Read};

/// The files in the kernel's table, as it tells of the ring.
fn registered(ring: &Uring) -> usize {
    let fd = ring.bell.ring.as_raw_fd();
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("/proc");
    let mut lines = told.lines().skip_while(|line| !line.starts_with("UserFiles:"));
    let head = lines.next().expect("it tells of its files");
    assert!(head.ends_with('8'), "a table of 8: {head}");
    lines.take_while(|line| line.starts_with(' ')).count()
}

/// A ring with a table; `None` on a kernel whose table is not used, which says so.
fn kept(files: u32) -> Option<(Uring, TempDir)> {
    let (mut ring, folder) = native(16);
    if !ring.ops.contains(Ops::READV_FIXED) {
        assert_eq!(ring.keep_files(files), Err(Errno::OPNOTSUPP));
        eprintln!("SKIPPED: before Linux 6.15 no table of files is used");
        return None;
    }
    assert_eq!(ring.keep_files(files), Ok(files));
    Some((ring, folder))
}

/// Reads the first byte so many times, in all forms, and says which it was.
fn byte(ring: &mut Uring, file: Handle, times: usize) -> u8 {
    let mut found = Vec::new();
    for round in 0..times {
        let mut bytes = [0; 2];
        let [first, second] = &mut bytes;
        let (one, two) = (core::slice::from_mut(first), core::slice::from_mut(second));
        let parts = [span(one), span(two)];
        let op = match round % 2 {
            0 => Op::Read { file, at: 0, span: span(&mut bytes) },
            _ => Op::Readv { file, at: 0, spans: parts.as_ptr(), count: 2 },
        };
        assert_eq!(run(ring, op), Ok(2));
        assert_eq!(bytes[0], bytes[1]);
        found.push(bytes[0]);
    }
    found.dedup();
    assert_eq!(found.len(), 1, "one file, one answer: {found:?}");
    found[0]
}

#[test]
fn who_is_used_often_gets_a_slot_and_gives_it_back() {
    let Some((mut ring, folder)) = kept(8) else { return };
    let ring = &mut ring;
    std::fs::write(folder.path().join("a"), "aa").expect("a file");
    let file = open(ring, "a", OpenFlags::WRITE).expect("it opens");
    assert_eq!(byte(ring, file, 4), b'a');
    assert_eq!(registered(ring), 0, "not worth it yet");
    assert_eq!(byte(ring, file, 10), b'a');
    assert_eq!(registered(ring), 1);
    // By the slot all forms do what they do by the descriptor, registered memory among them.
    let text = *b"bb";
    assert_eq!(run(ring, Op::Write { file, at: 0, span: source(&text) }), Ok(2));
    assert_eq!(byte(ring, file, 2), b'b');
    let parts = [source(b"c"), source(b"c")];
    assert_eq!(run(ring, Op::Writev { file, at: 0, spans: parts.as_ptr(), count: 2 }), Ok(2));
    assert_eq!(byte(ring, file, 2), b'c');
    let mut memory = [0_u8; 64];
    let region = Region(5);
    assert_eq!(run(ring, Op::Register { region, span: span(&mut memory) }), Ok(0));
    let read = Op::Read { file, at: 0, span: span(&mut memory[3..5]) };
    // SAFETY: `memory` lives on; it is reaped below.
    unsafe { ring.push(&Sqe { tag: Tag(7), op: read, region }) }.expect("room");
    assert_eq!(next(ring).result, Ok(2));
    assert_eq!(&memory[2..6], b"\0cc\0");
    assert_eq!(run(ring, Op::Unregister { region }), Ok(0));
    assert_eq!(run(ring, Op::Sync { file, kind: crate::SyncKind::Data }), Ok(0));
    assert_eq!(run(ring, Op::Close { file }), Ok(0));
    assert_eq!(registered(ring), 0);
}

/// The short way that plain reads have does not look slots up.
#[test]
fn plain_reads_go_the_long_way() {
    let Some((mut ring, folder)) = kept(8) else { return };
    let ring = &mut ring;
    std::fs::write(folder.path().join("a"), "aa").expect("a file");
    let file = open(ring, "a", OpenFlags::empty()).expect("it opens");
    let mut bytes = [0; 2];
    let span = span(&mut bytes);
    let read = Read { tag: Tag(7), file, at: 0, span, region: Region::NONE };
    // SAFETY: the bytes live until the ring is gone, and the handle is open.
    assert_eq!(unsafe { ring.push_read(read) }, Err(Full));
    for _ in 0..20 {
        assert_eq!(run(ring, Op::Read { file, at: 0, span }), Ok(2));
    }
    assert_eq!((registered(ring), &bytes), (1, b"aa"));
    assert_eq!(run(ring, Op::Close { file }), Ok(0));
    assert_eq!(registered(ring), 0);
}

#[test]
fn a_descriptor_that_is_used_again_is_the_new_file() {
    let Some((mut ring, folder)) = kept(8) else { return };
    let ring = &mut ring;
    let names = ["a", "b", "c"];
    for name in names {
        std::fs::write(folder.path().join(name), name.repeat(2)).expect("a file");
    }
    let mut numbers = std::collections::BTreeSet::new();
    for round in 0..60 {
        let name = names[round % 3];
        let file = open(ring, name, OpenFlags::empty()).expect("it opens");
        numbers.insert(file.0);
        assert_eq!(byte(ring, file, 1 + round % 15), name.as_bytes()[0], "round {round}");
        assert_eq!(run(ring, Op::Close { file }), Ok(0));
    }
    assert!(numbers.len() < 60, "numbers come again");
    assert_eq!(registered(ring), 0);
}

#[test]
fn more_files_than_slots() {
    let Some((mut ring, folder)) = kept(8) else { return };
    let ring = &mut ring;
    let mut files = Vec::new();
    for byte in b'a'..b'a' + 12 {
        std::fs::write(folder.path().join((byte as char).to_string()), [byte; 2]).expect("a file");
        let name = (byte as char).to_string();
        files.push((byte, open(ring, &name, OpenFlags::empty()).expect("it opens")));
    }
    for _ in 0..3 {
        for &(expected, file) in &files {
            assert_eq!(byte(ring, file, 6), expected);
        }
    }
    assert_eq!(registered(ring), 8);
    for (_, file) in files {
        assert_eq!(run(ring, Op::Close { file }), Ok(0));
    }
    assert_eq!(registered(ring), 0);
}

/// What has a slot is open twice, and its lock must go with the close all the same.
#[test]
fn a_closed_file_has_no_lock() {
    let Some((mut ring, folder)) = kept(8) else { return };
    let ring = &mut ring;
    std::fs::write(folder.path().join("a"), "aa").expect("a file");
    for round in 0..20 {
        let file = open(ring, "a", OpenFlags::WRITE).expect("it opens");
        let other = open(ring, "a", OpenFlags::WRITE).expect("it opens");
        assert_eq!(byte(ring, file, 10), b'a');
        assert_eq!(registered(ring), 1);
        let direct = ring.direct();
        let lock = |file| Op::Lock { file, kind: LockKind::Exclusive };
        // SAFETY: no memory, and the handle is open.
        assert_eq!(unsafe { direct.call(&lock(file)) }, Ok(0));
        // SAFETY: as above.
        assert_eq!(unsafe { direct.call(&lock(other)) }, Err(Errno::BUSY));
        assert_eq!(run(ring, Op::Close { file }), Ok(0));
        // SAFETY: as above.
        assert_eq!(unsafe { direct.call(&lock(other)) }, Ok(0), "round {round}");
        assert_eq!(run(ring, Op::Close { file: other }), Ok(0));
    }
}

#[test]
fn older_kernels_have_none() {
    let (mut ring, _folder) = able(8, &Able { ops: Ops::FIRST, timeouts: false });
    assert_eq!(ring.keep_files(8), Err(Errno::OPNOTSUPP));
}
