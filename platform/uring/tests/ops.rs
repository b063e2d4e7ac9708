//! One test per operation; each runs through the ring, by calls in `push`, and by `Direct`.

use super::{Path, both, create, native, open, run, source, span};
use crate::{Errno, Extent, FileKind, Handle, Listed, Op, OpenFlags, Ring, Stat, SyncKind};

const RW_NEW: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE);

#[test]
fn open_flags() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        assert_eq!(open(ring, "absent", OpenFlags::empty()), Err(Errno::NOENT));
        assert_eq!(open(ring, "absent", OpenFlags::WRITE), Err(Errno::NOENT));
        create(ring, "file");
        std::fs::write(folder.path().join("file"), "kept").expect("a file to write");
        create(ring, "file");
        let kept = std::fs::read(folder.path().join("file")).expect("a file to read");
        assert_eq!(kept, b"kept", "create must not truncate");
        assert_eq!(open(ring, "file", RW_NEW | OpenFlags::EXCLUSIVE), Err(Errno::EXIST));
        assert!(open(ring, "fresh", RW_NEW | OpenFlags::EXCLUSIVE).is_ok());

        std::fs::create_dir(folder.path().join("sub")).expect("a folder");
        assert_eq!(open(ring, "sub", OpenFlags::WRITE), Err(Errno::ISDIR));
        create(ring, "sub/inner");
        assert!(folder.path().join("sub/inner").is_file());
        assert_eq!(open(ring, "file/under", RW_NEW), Err(Errno::NOTDIR));
        let long = "x".repeat(256);
        assert_eq!(open(ring, &long, RW_NEW), Err(Errno::NAMETOOLONG));
    }
}

#[test]
fn created_files_have_the_stated_mode_and_close_on_exec() {
    use std::os::unix::fs::PermissionsExt;
    let umask = {
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).expect("a umask");
        u32::from_str_radix(line.trim(), 8).expect("an octal number")
    };
    for (mut ring, folder) in both() {
        let file = create(&mut ring, "file");
        let found = std::fs::metadata(folder.path().join("file")).expect("metadata");
        assert_eq!(found.permissions().mode() & 0o777, 0o644 & !umask);
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.0)).expect("info");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("an octal number");
        assert_ne!(flags & rustix::fs::OFlags::CLOEXEC.bits(), 0, "{info}");
    }
}

#[test]
fn read_and_write() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let file = create(ring, "file");
        let text = *b"0123456789";
        assert_eq!(run(ring, Op::Write { file, at: 5, span: source(&text) }), Ok(10));
        let found = std::fs::read(folder.path().join("file")).expect("a file to read");
        assert_eq!(found, b"\0\0\0\0\x000123456789");

        let mut into = [b'-'; 8];
        assert_eq!(run(ring, Op::Read { file, at: 7, span: span(&mut into) }), Ok(8));
        assert_eq!(&into, b"23456789");
        let mut into = [b'-'; 8];
        assert_eq!(run(ring, Op::Read { file, at: 12, span: span(&mut into) }), Ok(3));
        assert_eq!(&into, b"789-----");
        assert_eq!(run(ring, Op::Read { file, at: 15, span: span(&mut into) }), Ok(0));
        assert_eq!(run(ring, Op::Read { file, at: 1 << 40, span: span(&mut into) }), Ok(0));
        assert_eq!(run(ring, Op::Write { file, at: 99, span: source(&[]) }), Ok(0));
        assert_eq!(run(ring, Op::Size { file }), Ok(15));

        let reader = open(ring, "file", OpenFlags::empty()).expect("a file to read");
        let write = Op::Write { file: reader, at: 0, span: source(&text) };
        assert_eq!(run(ring, write), Err(Errno::BADF));
    }
}

#[test]
fn vectors() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let file = create(ring, "file");
        let parts = [source(b"one "), source(b""), source(b"two "), source(b"three")];
        let write = Op::Writev { file, at: 3, spans: parts.as_ptr(), count: 4 };
        assert_eq!(run(ring, write), Ok(13));
        let found = std::fs::read(folder.path().join("file")).expect("a file to read");
        assert_eq!(found, b"\0\0\0one two three");

        let (mut a, mut b) = ([0_u8; 5], [b'-'; 12]);
        let parts = [span(&mut a), span(&mut b)];
        let read = Op::Readv { file, at: 3, spans: parts.as_ptr(), count: 2 };
        assert_eq!(run(ring, read), Ok(13));
        assert_eq!((&a, &b), (b"one t", b"wo three----"));
    }
}

#[test]
fn sync_truncate_size_and_stat() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let file = create(ring, "file");
        assert_eq!(run(ring, Op::Truncate { file, len: 1000 }), Ok(0));
        assert_eq!(run(ring, Op::Size { file }), Ok(1000));
        assert_eq!(run(ring, Op::Truncate { file, len: 10 }), Ok(0));
        assert_eq!(run(ring, Op::Sync { file, kind: SyncKind::Data }), Ok(0));
        assert_eq!(run(ring, Op::Sync { file, kind: SyncKind::Full }), Ok(0));

        let mut stat = Stat::default();
        assert_eq!(run(ring, Op::Stat { file, stat: &raw mut stat }), Ok(10));
        assert_eq!((stat.kind, stat.size), (FileKind::File, 10));
        std::fs::hard_link(folder.path().join("file"), folder.path().join("same")).expect("a link");
        let (same, other) = (create(ring, "same"), create(ring, "other"));
        let (mut second, mut third) = (Stat::default(), Stat::default());
        assert_eq!(run(ring, Op::Stat { file: same, stat: &raw mut second }), Ok(10));
        assert_eq!(run(ring, Op::Stat { file: other, stat: &raw mut third }), Ok(0));
        assert_eq!(stat.identity, second.identity);
        assert_ne!(stat.identity, third.identity);

        std::fs::create_dir(folder.path().join("sub")).expect("a folder");
        let sub = open(ring, "sub", OpenFlags::empty()).expect("a folder opens for reading");
        assert!(run(ring, Op::Stat { file: sub, stat: &raw mut stat }).is_ok());
        assert_eq!(stat.kind, FileKind::Directory);
        let sync = Op::Sync { file: Handle(i32::MAX.cast_unsigned()), kind: SyncKind::Data };
        assert_eq!(run(ring, sync), Err(Errno::BADF));
    }
}

#[test]
fn remove_and_close() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let file = create(ring, "file");
        let [name, sub, absent] = ["file", "sub", "absent"].map(Path::new);
        std::fs::create_dir(folder.path().join("sub")).expect("a folder");
        assert_eq!(run(ring, Op::Remove { name: name.name() }), Ok(0));
        assert!(!folder.path().join("file").exists());
        assert_eq!(run(ring, Op::Remove { name: absent.name() }), Err(Errno::NOENT));
        assert_eq!(run(ring, Op::Remove { name: sub.name() }), Err(Errno::ISDIR));

        let descriptor = format!("/proc/self/fd/{}", file.0);
        let target = std::fs::read_link(&descriptor).expect("an open descriptor");
        assert!(target.to_str().is_some_and(|target| target.ends_with("/file (deleted)")));
        assert_eq!(run(ring, Op::Close { file }), Ok(0));
        // Another test may have got the number by now, but not this file.
        assert_ne!(std::fs::read_link(&descriptor).ok(), Some(target));
    }
}

#[test]
fn names_stay_below_a_root_that_was_renamed() {
    for (mut ring, folder) in both() {
        let moved = folder.path().with_extension("moved");
        std::fs::rename(folder.path(), &moved).expect("a folder to rename");
        create(&mut ring, "file");
        assert!(moved.join("file").is_file());
        std::fs::rename(&moved, folder.path()).expect("a folder to rename back");
    }
}

#[test]
fn direct_calls_answer_like_the_ring() {
    let (mut ring, folder) = native(8);
    let direct = ring.direct();
    // SAFETY: what the operations below point to outlives these calls.
    let call = |op| unsafe { direct.call(&op) };
    let path = Path::new("file");
    let opened =
        call(Op::Open { name: path.name(), flags: RW_NEW, mode: 0o644 }).expect("a new file");
    let file = Handle(u32::try_from(opened).expect("a descriptor"));
    assert_eq!(call(Op::Write { file, at: 2, span: source(b"abc") }), Ok(3));
    let parts = [source(b"de"), source(b"f")];
    let writev = Op::Writev { file, at: 5, spans: parts.as_ptr(), count: 2 };
    assert_eq!(call(writev), Ok(3));
    assert_eq!(call(Op::Truncate { file, len: 7 }), Ok(0));
    assert_eq!(call(Op::Sync { file, kind: SyncKind::Full }), Ok(0));
    assert_eq!(call(Op::Sync { file, kind: SyncKind::Data }), Ok(0));
    assert_eq!(call(Op::Size { file }), Ok(7));
    let mut stat = Stat::default();
    assert_eq!(call(Op::Stat { file, stat: &raw mut stat }), Ok(7));
    assert_eq!((stat.kind, stat.size), (FileKind::File, 7));

    let (mut a, mut b) = ([0_u8; 4], [0_u8; 9]);
    assert_eq!(call(Op::Read { file, at: 0, span: span(&mut a) }), Ok(4));
    let parts = [span(&mut a), span(&mut b)];
    assert_eq!(call(Op::Readv { file, at: 2, spans: parts.as_ptr(), count: 2 }), Ok(5));
    assert_eq!((&a, &b[..2]), (b"abcd", &b"e\0"[..]));
    // The ring sees what the calls did, and the other way round.
    assert_eq!(run(&mut ring, Op::Size { file }), Ok(7));
    assert_eq!(call(Op::Remove { name: path.name() }), Ok(0));
    assert_eq!(call(Op::Remove { name: path.name() }), Err(Errno::NOENT));
    assert!(!folder.path().join("file").exists());
    assert_eq!(call(Op::Cancel { target: crate::Tag(1) }), Err(Errno::OPNOTSUPP));
    assert_eq!(call(Op::Close { file }), Ok(0));
}

#[test]
fn lengths_past_one_call_are_short_and_do_not_wrap() {
    // 4 GiB and one page would be one page in 32 bits. The memory is reserved, never touched: the
    // file holds only a few bytes, and reads past the end touch none.
    let len = (1_usize << 32) + 4096;
    let flags = rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::NORESERVE;
    let access = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing.
    let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, access, flags) };
    let start = start.expect("4 GiB of address space").cast::<u8>();
    for (mut ring, folder) in both() {
        let file = create(&mut ring, "file");
        let size = 1 << 33;
        let sparse = std::fs::File::options().write(true).open(folder.path().join("file"));
        sparse.and_then(|file| file.set_len(size)).expect("a sparse file");
        let whole = crate::Span { ptr: start, len };
        // Eight thousand bytes before the end, so that the count is not that of one page.
        let read = Op::Read { file, at: size - 8000, span: whole };
        assert_eq!(run(&mut ring, read), Ok(8000));
    }
    // SAFETY: the mapping is ours and nothing points into it any more.
    unsafe { rustix::mm::munmap(start.cast(), len) }.expect("a mapping to take away");
}

#[test]
fn names_and_directories() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let inside = |name: &str| folder.path().join(name);
        let [a, b, dir, below] = ["a", "b", "dir", "dir/below"].map(Path::new);
        std::fs::write(inside("a"), "bytes").expect("a file");
        std::fs::write(inside("b"), "other").expect("a file");
        let make = Op::MakeDirectory { name: dir.name() };
        assert_eq!(run(ring, Op::MakeDirectory { name: below.name() }), Err(Errno::NOENT));
        assert_eq!(run(ring, make), Ok(0));
        assert_eq!(run(ring, make), Err(Errno::EXIST));
        let rename = |from: &Path, to: &Path| Op::Rename { from: from.name(), to: to.name() };
        assert_eq!(run(ring, rename(&a, &b)), Ok(0));
        assert_eq!(run(ring, rename(&a, &b)), Err(Errno::NOENT));
        assert_eq!(std::fs::read(inside("b")).expect("it has the name"), b"bytes");
        assert_eq!(run(ring, rename(&b, &below)), Ok(0));

        let mut stat = Stat::default();
        assert_eq!(run(ring, Op::Look { name: below.name(), stat: &raw mut stat }), Ok(5));
        assert_eq!((stat.kind, stat.size), (FileKind::File, 5));
        assert!(stat.modified.is_some_and(|nanos| nanos > 1_600_000_000_000_000_000), "{stat:?}");
        let mut listed = Vec::new();
        let root = Path::new(".");
        assert_eq!(run(ring, Op::List { name: root.name(), into: &raw mut listed }), Ok(0));
        assert_eq!(listed, [Listed { name: "dir".into(), kind: FileKind::Directory }]);
        let list = Op::List { name: below.name(), into: &raw mut listed };
        assert_eq!(run(ring, list), Err(Errno::NOTDIR));

        let flags = OpenFlags::DIRECTORY;
        let folder = open(ring, "dir", flags).expect("a directory");
        assert_eq!(run(ring, Op::Sync { file: folder, kind: SyncKind::Full }), Ok(0));
        assert_eq!(run(ring, Op::Close { file: folder }), Ok(0));
        assert_eq!(open(ring, "dir/below", flags), Err(Errno::NOTDIR));

        let remove = |path: &Path| Op::RemoveDirectory { name: path.name() };
        assert_eq!(run(ring, remove(&dir)), Err(Errno::NOTEMPTY));
        assert_eq!(run(ring, remove(&below)), Err(Errno::NOTDIR));
        assert_eq!(run(ring, Op::Remove { name: below.name() }), Ok(0));
        assert_eq!(run(ring, remove(&dir)), Ok(0));
    }
}

#[test]
fn files_without_a_name_and_space_ahead() {
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let (unnamed, by_name) = (OpenFlags::TEMPORARY | OpenFlags::WRITE, OpenFlags::CREATE);
        for flags in [unnamed, unnamed | by_name] {
            let file = open(ring, ".littoral-test", flags).expect("a temporary file");
            assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
            assert_eq!(run(ring, Op::Write { file, at: 0, span: source(b"kept") }), Ok(4));
            assert_eq!(run(ring, Op::Allocate { file, at: 0, len: 50_000 }), Ok(0));
            assert_eq!(run(ring, Op::Size { file }), Ok(50_000));
            assert_eq!(run(ring, Op::Allocate { file, at: 9, len: 0 }), Err(Errno::INVAL));
            assert_eq!(run(ring, Op::Close { file }), Ok(0));
        }
        std::fs::write(folder.path().join(".littoral-test"), "").expect("a file");
        assert_eq!(open(ring, ".littoral-test", unnamed | by_name), Err(Errno::EXIST));
        std::os::unix::fs::symlink("x", folder.path().join("link")).expect("a link");
        assert_eq!(open(ring, "link", OpenFlags::NO_FOLLOW), Err(Errno::LOOP));
    }
}

/// Whole blocks are given back, and found; where this file system has no such call it says so.
#[test]
fn holes_and_zeros() {
    use std::os::unix::fs::MetadataExt;
    for (mut ring, folder) in both() {
        let ring = &mut ring;
        let file = open(ring, "sparse", OpenFlags::WRITE | OpenFlags::CREATE).expect("a new file");
        let bytes = vec![7; 1 << 20];
        let written = run(ring, Op::Write { file, at: 0, span: source(&bytes) });
        assert_eq!(written, Ok(1 << 20));
        assert_eq!(run(ring, Op::Sync { file, kind: SyncKind::Full }), Ok(0));
        let blocks = || std::fs::metadata(folder.path().join("sparse")).expect("a file").blocks();
        let before = blocks();
        let seek = |at, extent| Op::Seek { file, at, extent };
        match run(ring, Op::Punch { file, at: 100_000, len: 500_000 }) {
            Ok(_) => {
                assert!(blocks() < before, "{} of {before} blocks", blocks());
                let hole = run(ring, seek(0, Extent::Hole)).expect("a hole");
                let data = run(ring, seek(hole, Extent::Data)).expect("data behind it");
                assert!((100_000..200_000).contains(&hole), "a hole at {hole}");
                assert!((hole..=600_000).contains(&data), "data at {data}");
            }
            refused => assert_eq!(refused, Err(Errno::OPNOTSUPP)),
        }
        assert_eq!(run(ring, Op::Size { file }), Ok(1 << 20), "a hole leaves the size");
        // ext4 reserves what it makes zeros: not more than any disk has.
        let far = 1 << 24;
        match run(ring, Op::Zero { file, at: 10, len: far - 10 }) {
            Ok(_) => {
                assert_eq!(run(ring, Op::Size { file }), Ok(far));
                assert_eq!(run(ring, seek(1 << 23, Extent::Hole)), Ok(1 << 23));
            }
            refused => assert_eq!(refused, Err(Errno::OPNOTSUPP)),
        }
        assert_eq!(run(ring, seek(1 << 60, Extent::Data)), Err(Errno::NXIO));
        assert_eq!(run(ring, Op::Punch { file, at: 0, len: 0 }), Err(Errno::INVAL));
        let reader = open(ring, "sparse", OpenFlags::empty()).expect("it is there");
        assert_eq!(run(ring, Op::Punch { file: reader, at: 0, len: 9 }), Err(Errno::BADF));
        assert_eq!(run(ring, Op::Zero { file: reader, at: 0, len: 9 }), Err(Errno::BADF));
    }
}
