//! Each operation, in the pool and by a direct call, and what is in flight.

use super::super::pool::STACK;
use super::{Gate, bounded, next, push, threads, until};
use crate::simulated::pump::{create, name, source, span};
use crate::{Cqe, Errno, FileKind, Full, Handle, Op, OpenFlags, Ring, Sqe, Stat, SyncKind, Tag};

#[test]
fn every_operation_does_the_same_in_the_pool_and_at_once() {
    for at_once in [false, true] {
        let (mut pump, _gate, folder) = threads(8);
        let mut run = |op: Op| {
            // SAFETY: what the entries of this test point to outlives the call.
            if at_once { unsafe { pump.direct.call(&op) } } else { pump.one(op) }
        };
        let file = run(Op::Open { name: name(c"file"), flags: create(), mode: 0o644 })
            .expect("a new file");
        let file = Handle(u32::try_from(file).expect("a descriptor"));
        let (mut one, mut two) = (*b"lit", *b"toral");
        let spans = [source(&one), source(&two)];
        assert_eq!(run(Op::Writev { file, at: 4, spans: spans.as_ptr(), count: 2 }), Ok(8));
        assert_eq!(run(Op::Write { file, at: 0, span: source(b"on a") }), Ok(4));
        assert_eq!(run(Op::Size { file }), Ok(12));
        let mut stat = Stat::default();
        assert_eq!(run(Op::Stat { file, stat: &raw mut stat }), Ok(12));
        assert_eq!((stat.kind, stat.size), (FileKind::File, 12));
        let spans = [span(&mut two), span(&mut one)];
        assert_eq!(run(Op::Readv { file, at: 2, spans: spans.as_ptr(), count: 2 }), Ok(8));
        assert_eq!((&two[..], &one[..]), (&b" alit"[..], &b"tor"[..]));
        let mut bytes = [0; 16];
        assert_eq!(run(Op::Read { file, at: 8, span: span(&mut bytes) }), Ok(4), "the end");
        assert_eq!(&bytes[..4], b"oral");
        assert_eq!(run(Op::Read { file, at: 12, span: span(&mut bytes) }), Ok(0));
        for kind in [SyncKind::Data, SyncKind::Full] {
            assert_eq!(run(Op::Sync { file, kind }), Ok(0));
        }
        assert_eq!(run(Op::Truncate { file, len: 5 }), Ok(0));
        assert_eq!(std::fs::read(folder.path().join("file")).expect("it is there"), b"on al");
        assert_eq!(run(Op::Remove { name: name(c"file") }), Ok(0));
        assert_eq!(run(Op::Remove { name: name(c"file") }), Err(Errno::NOENT));
        assert_eq!(run(Op::Close { file }), Ok(0));
        assert_eq!(run(Op::Size { file: Handle(1 << 20) }), Err(Errno::BADF));
        let missing = Op::Open { name: name(c"file"), flags: OpenFlags::empty(), mode: 0 };
        assert_eq!(run(missing), Err(Errno::NOENT));
    }
}

#[test]
fn no_more_is_in_flight_than_was_said() {
    let (mut pump, _gate, _folder) = threads(3);
    let file = pump.open(c"file", create()).expect("a new file");
    let ring = &mut pump.ring;
    assert_eq!(ring.limits().in_flight, 3);
    // A size is completed by `push` itself and counts all the same.
    for (tag, op) in [Op::Size { file }, sync(file), sync(file)].into_iter().enumerate() {
        push(ring, tag as u64, op);
    }
    assert_eq!(ring.unsubmitted(), 2);
    for op in [sync(file), Op::Size { file }] {
        // SAFETY: a refused entry; it points to no memory anyway.
        assert_eq!(unsafe { ring.push(&Sqe::new(Tag(9), op)) }, Err(Full));
        assert_eq!(ring.submit(), Ok(()));
    }
    let mut seen = [next(ring), next(ring), next(ring)].map(|cqe| cqe.tag.0);
    seen.sort_unstable();
    assert_eq!((seen, ring.reap(), ring.unsubmitted()), ([0, 1, 2], None, 0));
    push(ring, 9, sync(file));
    assert_eq!(next(ring), Cqe { tag: Tag(9), result: Ok(0) });
}

fn sync(file: Handle) -> Op {
    Op::Sync { file, kind: SyncKind::Data }
}

#[test]
fn hundreds_in_flight_on_many_files_all_come_back() {
    const FILES: usize = 64;
    const PER_FILE: usize = 16;
    let (mut pump, _gate, _folder) = threads(500);
    let names: Vec<_> =
        (0..FILES).map(|n| std::ffi::CString::new(format!("file {n}")).unwrap()).collect();
    let files: Vec<Handle> = names.iter().map(|n| pump.open(n, create()).unwrap()).collect();
    let place = |n: usize| (files[n % FILES], (n / FILES * 100) as u64);
    let blocks: Vec<[u8; 100]> =
        (0..FILES * PER_FILE).map(|n| [u8::try_from(n % 251).unwrap(); 100]).collect();
    let write = |(n, block): (usize, &[u8; 100])| {
        let (file, at) = place(n);
        Op::Write { file, at, span: source(block) }
    };
    let writes: Vec<Op> = blocks.iter().enumerate().map(write).collect();
    assert!(pump.run(&writes).iter().all(|result| *result == Ok(100)));
    let mut read = vec![[0; 100]; blocks.len()];
    let into = |(n, block): (usize, &mut [u8; 100])| {
        let (file, at) = place(n);
        Op::Read { file, at, span: span(block) }
    };
    let reads: Vec<Op> = read.iter_mut().enumerate().map(into).collect();
    assert!(pump.run(&reads).iter().all(|result| *result == Ok(100)));
    assert_eq!(read, blocks);
}

#[test]
fn what_waits_is_cancelled_and_what_runs_is_not() {
    let (mut pump, gate, folder) = bounded(8, 1, STACK);
    let file = pump.open(c"file", create()).expect("a new file");
    let ring = &mut pump.ring;
    push(ring, 1, Gate::STUCK);
    assert_eq!(ring.submit(), Ok(()));
    until("the one thread has it", || !ring.pool.has_queued());
    push(ring, 2, Op::Write { file, at: 0, span: source(b"never") });
    push(ring, 3, Op::Cancel { target: Tag(2) });
    push(ring, 4, Op::Cancel { target: Tag(1) });
    push(ring, 5, Op::Cancel { target: Tag(99) });
    let mut ends = [next(ring), next(ring), next(ring), next(ring)];
    ends.sort_by_key(|cqe| cqe.tag);
    let expected =
        [(2, Err(Errno::CANCELED)), (3, Ok(0)), (4, Err(Errno::ALREADY)), (5, Err(Errno::NOENT))];
    assert_eq!(ends.map(|cqe| (cqe.tag.0, cqe.result)), expected);
    assert_eq!(ring.reap(), None, "the open goes on");
    gate.open();
    let opened = next(ring);
    assert!(opened.tag == Tag(1) && opened.result.is_ok(), "{opened:?}");
    assert_eq!(std::fs::read(folder.path().join("file")).expect("it is there"), b"");
}
