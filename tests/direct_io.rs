//! Does a direct file go past the page cache, on a real disk, and stay right beside one that does
//! not?
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use littoral::{
    Arena, Buffer, Completion, DirectIo, Directness, ErrorKind, File, GeometrySource, Io,
    OpenOptions, Shared, SyncKind, wait,
};

const PREFERRED: OpenOptions = OpenOptions::new().create(true).direct(DirectIo::Preferred);
const PAGE: u64 = 4096;

/// A direct file; `None`, said aloud, if the file system of the build has none.
fn direct(io: &dyn Io, name: &str) -> Option<Arc<dyn File>> {
    let file = wait(io, io.open(name, PREFERRED)).expect("a file");
    let geometry = file.geometry().expect("it is open");
    if geometry.direct == Directness::On {
        return Some(file);
    }
    // Not to be passed over unseen: all that follows rests on it.
    assert!(
        std::env::var_os("LITTORAL_NO_DIRECT").is_some(),
        "{}; set LITTORAL_NO_DIRECT=1 to do without",
        geometry.direct
    );
    None
}

/// How many of the first pages of a file are in the page cache.
fn cached_pages(path: &Path, pages: usize) -> usize {
    support::cached(path).into_iter().take(pages).filter(|cached| *cached).count()
}

/// The flags of this process's descriptors of a file, as `/proc` has them.
fn flags(path: &Path) -> Vec<u32> {
    let of = |fd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("it is open");
        let line = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("it has flags");
        u32::from_str_radix(line.trim(), 8).expect("they are octal")
    };
    support::descriptors_of(path).into_iter().map(of).collect()
}

fn filled(byte: u8, len: usize) -> Shared {
    let mut buffer = Buffer::with_capacity(len.max(4096));
    buffer.extend_from_slice(&vec![byte; len]);
    buffer.freeze().slice(..len)
}

#[test]
fn aligned_transfers_leave_the_page_cache_alone() {
    support::within(60, "direct transfers", || {
        let folder = support::folder();
        let path = support::file_of(folder.path(), "file", b'o', 64 * 4096);
        let io = support::driver(folder.path(), 64);
        let Some(file) = direct(&*io, "file") else { return };
        let is_direct = |flags: &u32| flags & rustix::fs::OFlags::DIRECT.bits() != 0;
        assert_eq!(flags(&path).iter().filter(|flags| is_direct(flags)).count(), 1);
        assert_eq!(flags(&path).len(), 2, "one past the cache, one through it");

        assert_eq!(cached_pages(&path, 64), 0, "it was forgotten");
        let arena = Arena::new(&[(4096, 32)]);
        let reads: Vec<_> =
            (0..32).map(|page| file.pread(page * PAGE, arena.take(4096).unwrap())).collect();
        for read in reads {
            assert!(wait(&*io, read).expect("a read").iter().all(|byte| *byte == b'o'));
        }
        for page in 0..32 {
            wait(&*io, file.pwrite(page * PAGE, filled(b'n', 4096))).expect("a write");
        }
        wait(&*io, file.pwrite(64 * PAGE, filled(b'a', 1 << 20))).expect("it grows");
        assert_eq!(cached_pages(&path, 64 + 256), 0, "nothing was cached");
        assert_eq!(io.statistics().unaligned, 0);

        // What is not aligned goes through the cache, and shows there.
        let read = wait(&*io, file.pread(40 * PAGE + 1, Buffer::with_capacity(100)));
        assert_eq!(&read.expect("a read")[..], [b'o'; 100]);
        assert!(support::cached(&path)[40], "read through the cache");
        wait(&*io, file.pwrite(50 * PAGE + 7, filled(b'u', 9))).expect("a write");
        assert!(support::cached(&path)[50], "written through the cache");
        assert_eq!(io.statistics().unaligned, 2);
        // A direct write takes what is cached of it away, and a direct read sees what is cached.
        let seen = wait(&*io, file.pread(50 * PAGE, arena.take(4096).unwrap())).expect("a read");
        assert_eq!((&seen[7..16], seen[16]), (&[b'u'; 9][..], b'o'));
        wait(&*io, file.pwrite(40 * PAGE, filled(b'd', 4096))).expect("a write");
        assert!(!support::cached(&path)[40], "it would be out of date");
        wait(&*io, file.sync(SyncKind::Data)).expect("a flush");
        drop((file, io));
        let all = fs::read(&path).expect("it is there");
        let expected = [
            vec![b'n'; 32 * 4096],
            vec![b'o'; 8 * 4096],
            vec![b'd'; 4096],
            vec![b'o'; 9 * 4096 + 7],
            vec![b'u'; 9],
            vec![b'o'; 14 * 4096 - 16],
            vec![b'a'; 1 << 20],
        ];
        assert!(all == expected.concat(), "it holds what was written");
    });
}

#[test]
fn the_geometry_is_that_of_the_kernel() {
    let folder = support::folder();
    let io = support::driver(folder.path(), 8);
    let Some(file) = direct(&*io, "file") else { return };
    let geometry = file.geometry().expect("it is open");
    println!("{geometry:?}");
    wait(&*io, file.pwrite(0, filled(1, 8192))).expect("a write");
    // Whoever told it: an operation that is aligned as it says is one that goes past the cache.
    let unit = u64::from(geometry.offset_align.max(geometry.memory_align));
    let len = usize::try_from(unit).expect("small");
    wait(&*io, file.pwrite(unit, filled(2, len))).expect("a write");
    assert_eq!(io.statistics().unaligned, 0, "{geometry:?} is not what the kernel takes");
    let found = rustix::fs::statx(
        fs::File::open(folder.path().join("file")).expect("it exists"),
        c"",
        rustix::fs::AtFlags::EMPTY_PATH,
        rustix::fs::StatxFlags::DIOALIGN,
    );
    let Ok(found) = found else { return };
    if found.stx_mask & rustix::fs::StatxFlags::DIOALIGN.bits() != 0 {
        assert_eq!(geometry.source, GeometrySource::Kernel);
        assert_eq!(geometry.memory_align, found.stx_dio_mem_align);
        assert_eq!(geometry.offset_align, found.stx_dio_offset_align);
    } else {
        assert_ne!(geometry.source, GeometrySource::Kernel);
    }
}

#[test]
fn a_file_system_in_memory_has_none() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
    let kind = rustix::fs::statfs(folder.path()).expect("it is there").f_type;
    if kind != 0x0102_1994 {
        eprintln!("SKIPPED: /dev/shm is no tmpfs here");
        return;
    }
    let io = support::driver(folder.path(), 8);
    let required = OpenOptions::new().create(true).direct(DirectIo::Required);
    let refused = wait(&*io, io.open("file", required)).expect_err("there is none");
    println!("{refused}");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("DirectIo::Preferred"), "{refused}");
    assert_eq!(support::kind(io.open_now("file", required).map(drop)), Err(ErrorKind::Unsupported));
    let file = wait(&*io, io.open("file", PREFERRED)).expect("it does without");
    let geometry = file.geometry().expect("it is open");
    assert!(matches!(geometry.direct, Directness::Refused(_)), "{geometry:?}");
    wait(&*io, file.pwrite(0, filled(1, 4096))).expect("a write");
    assert_eq!(io.statistics().unaligned, 0, "it is no direct file");
}

/// Blocks of 512 of the same pages, written at once: every other one past the cache, those between
/// through it. Each of them is there afterwards, on the disk and in the cache, and no flush fails.
#[test]
fn neighbours_of_both_kinds_do_not_undo_each_other() {
    const BLOCKS: u64 = 64;
    support::within(240, "neighbours", || {
        let folder = support::folder();
        let path = folder.path().join("file");
        let io = support::driver(folder.path(), 256);
        let Some(file) = direct(&*io, "file") else { return };
        let unit = u64::from(file.geometry().expect("it is open").offset_align);
        let len = usize::try_from(unit).expect("small");
        wait(&*io, file.pwrite(0, filled(0, len * 64))).expect("a write");
        wait(&*io, file.sync(SyncKind::Full)).expect("a flush");
        let mut lost = 0;
        for round in 1..=30_u8 {
            let writes: Vec<Completion<()>> = (0..BLOCKS)
                .map(|block| match block % 2 {
                    0 => file.pwrite(block * unit, filled(round, len)),
                    // Not all of it, so it is not aligned.
                    _ => file.pwrite(block * unit, filled(round, len - 1)),
                })
                .collect();
            for write in writes {
                wait(&*io, write).expect("a write");
            }
            let cached = fs::read(&path).expect("it is there");
            wait(&*io, file.sync(SyncKind::Data)).expect("a flush");
            support::uncache(&path);
            let stored = fs::read(&path).expect("it is there");
            let right = |bytes: &[u8]| {
                bytes.chunks(len).enumerate().all(|(block, bytes)| {
                    let whole = if block % 2 == 0 { len } else { len - 1 };
                    bytes[..whole].iter().all(|byte| *byte == round)
                })
            };
            lost += usize::from(!right(&cached)) + usize::from(!right(&stored));
        }
        assert_eq!(lost, 0, "writes were undone by their neighbours");
    });
}
