//! Memory that the kernel knows ahead: the forms of the entries, and what happens at the ends of a
//! region's life.

use io_uring::opcode::{
    Fsync, Read, ReadFixed, Readv, ReadvFixed, Write, WriteFixed, Writev, WritevFixed,
};

use super::super::entry::{Ops, encode};
use super::*;

/// Pages, as an arena has them.
#[repr(C, align(4096))]
struct Pages([[u8; 4096]; 4]);

fn pages() -> Box<Pages> {
    Box::new(Pages([[0; 4096]; 4]))
}

fn all(pages: &mut Pages) -> Span {
    span(pages.0.as_flattened_mut())
}

/// Pushes an entry that names a region.
fn push_in(ring: &mut Uring, tag: u64, op: Op, region: Region) {
    // SAFETY: each test keeps what its operations point to until they were reaped.
    unsafe { ring.push(&Sqe { tag: Tag(tag), op, region }) }.expect("room in the ring");
}

fn run_in(ring: &mut Uring, op: Op, region: Region) -> Result<u64, Errno> {
    push_in(ring, 7, op, region);
    next(ring).result
}

#[test]
fn each_form_has_its_opcode() {
    let file = Handle(3);
    let mut byte = [0];
    let one = span(&mut byte);
    let spans = [one, one];
    let (at, spans, count) = (0, spans.as_ptr(), 2);
    let [read, write, readv, writev] = [
        Op::Read { file, at, span: one },
        Op::Write { file, at, span: one },
        Op::Readv { file, at, spans, count },
        Op::Writev { file, at, spans, count },
    ];
    let code = |op: &Op, ops, place| {
        let entry = encode(op, ops, 0, place).expect("the ring executes it");
        u8::try_from(entry.get_opcode()).expect("a byte in the entry")
    };
    let forms = [
        (read, Read::CODE, ReadFixed::CODE, ReadFixed::CODE),
        (write, Write::CODE, WriteFixed::CODE, WriteFixed::CODE),
        (readv, Readv::CODE, ReadvFixed::CODE, Readv::CODE),
        (writev, Writev::CODE, WritevFixed::CODE, Writev::CODE),
    ];
    let older = Ops::all() - Ops::READV_FIXED - Ops::WRITEV_FIXED;
    for (op, plain, fixed, before_vectors) in forms {
        assert_eq!(code(&op, Ops::all(), None), plain, "{op:?}");
        assert_eq!(code(&op, Ops::all(), Some(5)), fixed, "{op:?}");
        assert_eq!(code(&op, older, Some(5)), before_vectors, "{op:?}");
    }
    let flags = crate::RwFlags::DURABLE;
    let read = Op::ReadWith { file, at, spans, count, flags: crate::RwFlags::empty() };
    let write = Op::WriteWith { file, at, spans, count, flags };
    assert_eq!(code(&read, Ops::all(), Some(5)), ReadvFixed::CODE);
    assert_eq!(code(&write, Ops::all(), Some(5)), WritevFixed::CODE);
    assert_eq!(code(&read, older, Some(5)), Readv::CODE);
    assert_eq!(code(&write, Ops::all(), None), Writev::CODE);
    let sync = Op::Sync { file, kind: crate::SyncKind::Data };
    assert_eq!(code(&sync, Ops::all(), Some(5)), Fsync::CODE);
}

#[test]
fn every_form_moves_the_same_bytes() {
    let (mut ring, folder) = native(8);
    let ring = &mut ring;
    let file = create(ring, "file");
    let (mut pages, region) = (pages(), Region(9));
    assert_eq!(run(ring, Op::Register { region, span: all(&mut pages) }), Ok(0));
    for (page, byte) in pages.0.iter_mut().zip(b'a'..) {
        page.fill(byte);
    }
    let write = Op::Write { file, at: 0, span: source(&pages.0[1]) };
    assert_eq!(run_in(ring, write, region), Ok(4096));
    let parts = [source(&pages.0[3][..100]), source(&pages.0[0][7..]), source(&pages.0[2])];
    let bytes = 100 + 4089 + 4096;
    let writev = Op::Writev { file, at: 4096, spans: parts.as_ptr(), count: 3 };
    assert_eq!(run_in(ring, writev, region), Ok(bytes));
    let expected = [&[b'b'; 4096][..], &[b'd'; 100], &[b'a'; 4089], &[b'c'; 4096]].concat();
    assert_eq!(std::fs::read(folder.path().join("file")).expect("a file"), expected);

    pages.0.fill([0; 4096]);
    let read = Op::Read { file, at: 4090, span: span(&mut pages.0[2][..10]) };
    assert_eq!(run_in(ring, read, region), Ok(10));
    assert_eq!(&pages.0[2][..11], b"bbbbbbdddd\0");
    let [first, second, ..] = &mut pages.0;
    let parts = [span(second), span(&mut first[..9])];
    let readv = Op::Readv { file, at: 4096, spans: parts.as_ptr(), count: 2 };
    assert_eq!(run_in(ring, readv, region), Ok(4105));
    assert_eq!(pages.0[1], expected[4096..8192]);
    assert_eq!(pages.0[0][..9], expected[8192..8201]);
    // The end of the file is where it was.
    let read = Op::Read { file, at: expected.len() as u64 - 3, span: span(&mut pages.0[0]) };
    assert_eq!(run_in(ring, read, region), Ok(3));
    let read = Op::Read { file, at: 1 << 40, span: span(&mut pages.0[0]) };
    assert_eq!(run_in(ring, read, region), Ok(0));
    assert_eq!(ring.fixed(), 6);

    // Of another region, of none, and after the end of this one: as ever.
    assert_eq!(run_in(ring, write, Region(8)), Ok(4096));
    assert_eq!(run_in(ring, write, Region::NONE), Ok(4096));
    assert_eq!(run(ring, Op::Unregister { region }), Ok(0));
    assert_eq!(run_in(ring, write, region), Ok(4096));
    assert_eq!(ring.fixed(), 6);
    assert_eq!(run(ring, Op::Unregister { region }), Err(Errno::NOENT));
}

/// What was pushed before its region was forgotten goes to the memory it was pushed for, also when
/// the place is another region's at once.
#[test]
fn forgetting_waits_for_nothing_and_harms_nothing() {
    let (mut ring, folder) = native(64);
    let ring = &mut ring;
    std::fs::write(folder.path().join("file"), [b'x'; 4096]).expect("a file");
    let file = open(ring, "file", OpenFlags::empty()).expect("it opens");
    let (mut mine, mut others) = (pages(), pages());
    let (first, second) = (Region(0), Region(1));
    for round in 0..50 {
        mine.0.fill([0; 4096]);
        others.0.fill([0; 4096]);
        assert_eq!(run(ring, Op::Register { region: first, span: all(&mut mine) }), Ok(0));
        for tag in 0..4 {
            let into = span(&mut mine.0[usize::try_from(tag).expect("small")]);
            push_in(ring, 10 + tag, Op::Read { file, at: 0, span: into }, first);
        }
        assert!(ring.unsubmitted() >= 4, "they are not with the kernel yet");
        push(ring, 20, Op::Unregister { region: first });
        push(ring, 21, Op::Register { region: second, span: all(&mut others) });
        let mut results = std::collections::BTreeMap::new();
        while results.len() < 6 {
            let cqe = next(ring);
            results.insert(cqe.tag.0, cqe.result);
        }
        let expected = [(10, 4096), (11, 4096), (12, 4096), (13, 4096), (20, 0), (21, 0)];
        assert_eq!(results, expected.map(|(tag, count)| (tag, Ok(count))).into(), "{round}");
        assert!(mine.0.iter().all(|page| *page == [b'x'; 4096]), "{round}");
        assert!(others.0.iter().all(|page| *page == [0; 4096]), "{round}");
        assert_eq!(run(ring, Op::Unregister { region: second }), Ok(0));
    }
}

/// The memory of a region may be gone the moment it is forgotten, with entries on their way.
#[test]
fn a_pipe_keeps_its_entry_and_nothing_else() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let (mut ring, _folder) = native(8);
    let ring = &mut ring;
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let file = Handle(reader.as_raw_fd().cast_unsigned());
    let (mut pages, region) = (pages(), Region(2));
    assert_eq!(run(ring, Op::Register { region, span: all(&mut pages) }), Ok(0));
    let read = Op::Read { file, at: 0, span: span(&mut pages.0[1]) };
    push_in(ring, 1, read, region);
    push(ring, 2, Op::Unregister { region });
    let forgotten = next(ring);
    assert_eq!((forgotten.tag, forgotten.result), (Tag(2), Ok(0)));
    writer.write_all(b"late").expect("somebody reads");
    let cqe = next(ring);
    assert_eq!((cqe.tag, cqe.result), (Tag(1), Ok(4)));
    assert_eq!(&pages.0[1][..5], b"late\0");
}

#[test]
fn a_full_table_says_so() {
    let (mut ring, _folder) = native(8);
    let ring = &mut ring;
    let mut pages = pages();
    let whole = all(&mut pages);
    let register =
        |ring: &mut Uring, id| run(ring, Op::Register { region: Region(id), span: whole });
    for id in 0..256 {
        assert_eq!(register(ring, id), Ok(0), "{id}");
    }
    assert_eq!(register(ring, 256), Err(Errno::NFILE));
    assert_eq!(run(ring, Op::Unregister { region: Region(17) }), Ok(0));
    assert_eq!(register(ring, 256), Ok(0));
    // What the kernel refuses takes no place.
    assert_eq!(run(ring, Op::Unregister { region: Region(18) }), Ok(0));
    let nowhere = Span { ptr: core::ptr::without_provenance_mut(4096), len: 4096 };
    let refused = run(ring, Op::Register { region: Region(300), span: nowhere });
    assert_eq!(refused, Err(Errno::FAULT));
    assert_eq!(register(ring, 301), Ok(0));
}
