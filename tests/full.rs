//! What happens when something is full: the ring, the table, the disk, the file's allowed size?
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use littoral::platform::{Native, Ring, Setup};
use littoral::{
    Buffer, Completion, Config, DirectIo, ErrorKind, Io, OpenOptions, Shared, Status, SyncKind,
    Vector, Wait, start_on, wait,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::process::{in_a_process, is_child};

/// A driver whose ring takes far fewer entries than the driver takes operations.
fn narrow(folder: &Path, in_flight: u32, operations: u32) -> Arc<dyn Io> {
    let setup = Setup { root: folder.to_str().map(str::to_owned), in_flight };
    let ring = Native::new(&setup).expect("a ring");
    assert!(ring.limits().in_flight < operations, "{:?}", ring.limits());
    start_on(Box::new(ring), Config::new().operations(operations)).expect("a driver")
}

/// A thousand writes at once through a ring of fifteen places, then as many reads and syncs.
#[test]
fn a_small_ring_loses_nothing() {
    support::within(120, "a small ring", || {
        let folder = support::folder();
        let io = narrow(folder.path(), 8, 1024);
        let files: Vec<_> = (0..4).map(|n| support::open(&*io, &format!("file-{n}"))).collect();
        let of = |n: u64| &files[usize::try_from(n % 4).expect("small")];
        let bytes = |n: u64| n.to_le_bytes().repeat(512);
        // Backwards, so that nothing is merged.
        let writes: Vec<_> =
            (0..1024).rev().map(|n| of(n).pwrite(n * 4096, bytes(n).into())).collect();
        let mut refused = files[0].pwrite(0, b"one more".into());
        let refused = refused.try_take().expect("it is refused at once");
        assert_eq!(support::kind(refused), Err(ErrorKind::Saturated));
        for write in writes {
            wait(&*io, write).expect("it is written");
        }
        let mut rest: Vec<Completion<()>> = Vec::new();
        for file in &files {
            rest.extend((0..10).map(|_| file.sync(SyncKind::Data)));
        }
        let reads: Vec<_> =
            (0..900).map(|n| (n, of(n).pread(n * 4096, Buffer::with_capacity(4096)))).collect();
        for (n, read) in reads {
            assert!(wait(&*io, read).expect("it is read")[..] == bytes(n), "page {n}");
        }
        for sync in rest {
            wait(&*io, sync).expect("it is flushed");
        }
        let left = io.statistics();
        assert_eq!((left.alive, left.in_flight, left.stale), (0, 0, 0));
    });
}

/// Cancels have room though the ring is full of what does not end, and so have closes.
#[test]
fn a_full_ring_still_takes_cancels_and_closes() {
    support::within(60, "cancels", || {
        let folder = support::folder();
        let io = narrow(folder.path(), 8, 256);
        support::pipe(folder.path(), "pipe");
        let pipe = support::open(&*io, "pipe");
        let reads: Vec<_> = (0..200).map(|_| pipe.pread(0, Buffer::with_capacity(1))).collect();
        io.step(io.delivered(), Wait::No);
        let file = io.open_now("file", OpenOptions::new().create(true)).expect("it opens");
        wait(&*io, file.close()).expect("it closes though nothing ends");
        let behind = support::descriptors_of(&folder.path().join("file"));
        assert!(behind.is_empty(), "a close waits for reads of another file");
        for read in &reads {
            read.cancel();
        }
        for read in reads {
            let ended = wait(&*io, read).map(drop);
            assert_eq!(support::kind(ended), Err(ErrorKind::Cancelled));
        }
    });
}

/// Results that nobody takes keep their places in the table, not in the ring.
#[test]
fn results_left_lying_do_not_stop_the_ring() {
    support::within(60, "untaken", || {
        let folder = support::folder();
        let io = narrow(folder.path(), 8, 256);
        let file = support::open(&*io, "file");
        let mut lying: Vec<_> = (0..200).map(|n| file.pwrite(n * 2, b"x".into())).collect();
        while io.step(io.delivered(), Wait::Forever).status != Status::Idle {}
        assert_eq!(io.statistics().alive, 200);
        for round in 0..500 {
            wait(&*io, file.pwrite(round, b"y".into())).expect("there is room");
        }
        assert!(lying.iter_mut().all(|write| matches!(write.try_take(), Some(Ok(())))));
        assert_eq!(io.statistics().alive, 0);
    });
}

/// Parts of 4096 bytes, each of its own letter.
fn three_parts() -> Vector {
    [b'a', b'b', b'c'].into_iter().map(|letter| Shared::from(vec![letter; 4096])).collect()
}

/// The kernel writes 6000 of 12288 bytes, and refuses the rest.
#[test]
fn a_file_size_limit_tells_how_far_a_write_came() {
    const LIMIT: u64 = 6000;
    if !is_child() {
        // The limit's signal is ignored, or would end the process.
        let test = "a_file_size_limit_tells_how_far_a_write_came";
        return in_a_process(test, r#"trap "" XFSZ; exec "$@""#, Path::new("."));
    }
    support::within(60, "a size limit", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let file = support::open(&*io, "file");
        setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum: None })
            .expect("a limit may be lowered");
        let refused = wait(&*io, file.pwritev(0, three_parts())).expect_err("it is too much");
        assert_eq!((refused.kind(), refused.confirmed()), (ErrorKind::InvalidInput, Some(LIMIT)));
        println!("{refused}");
        let expected: Vec<u8> = [b"a".repeat(4096), b"b".repeat(1904)].concat();
        assert_eq!(std::fs::read(folder.path().join("file")).expect("it is there"), expected);

        let beyond = wait(&*io, file.pwrite(LIMIT, b"x".into())).expect_err("it is past it");
        assert_eq!((beyond.kind(), beyond.confirmed()), (ErrorKind::InvalidInput, Some(0)));
        let grown = wait(&*io, file.truncate(LIMIT + 1)).expect_err("it is past it");
        assert_eq!(grown.kind(), ErrorKind::InvalidInput);
        // Writes within the limit go on, and nothing is owed to a sync: the failures were taken.
        wait(&*io, file.pwrite(0, vec![b'z'; 6000].into())).expect("it fits");
        wait(&*io, file.sync(SyncKind::Full)).expect("nothing was lost");
        // One that nobody takes is.
        file.pwritev(0, three_parts()).detach();
        let lost = wait(&*io, file.sync(SyncKind::Data)).expect_err("a write was lost");
        assert_eq!(lost.kind(), ErrorKind::WriteLost);
    });
}

/// The kernel cuts a direct write to the same 6000 bytes, and finds that they are not aligned.
#[test]
fn a_file_size_limit_is_no_surprise_to_a_direct_write() {
    const LIMIT: u64 = 6000;
    if !is_child() {
        let test = "a_file_size_limit_is_no_surprise_to_a_direct_write";
        return in_a_process(test, r#"trap "" XFSZ; exec "$@""#, Path::new("."));
    }
    support::within(60, "a size limit", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let options = OpenOptions::new().create(true).direct(DirectIo::Preferred);
        let file = wait(&*io, io.open("file", options)).expect("a file");
        println!("{}", file.geometry().expect("it is open").direct);
        setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum: None })
            .expect("a limit may be lowered");
        let parts = [b'a', b'b', b'c'].map(|letter| {
            let mut page = Buffer::with_capacity(4096);
            page.extend_from_slice(&[letter; 4096]);
            page.freeze()
        });
        let refused = wait(&*io, file.pwritev(0, parts.to_vec().into())).expect_err("too much");
        println!("{refused}");
        assert_eq!((refused.kind(), refused.confirmed()), (ErrorKind::InvalidInput, Some(LIMIT)));
        assert_eq!(refused.code(), Some(littoral::Errno::FBIG), "not a word of alignment");
        let expected: Vec<u8> = [b"a".repeat(4096), b"b".repeat(1904)].concat();
        assert_eq!(std::fs::read(folder.path().join("file")).expect("it is there"), expected);
        wait(&*io, file.pwrite(0, parts[2].clone())).expect("it fits");
        wait(&*io, file.sync(SyncKind::Full)).expect("nothing was lost");
    });
}

/// A disk of 64 KiB, mounted for a process of its own.
#[test]
fn a_full_disk_tells_how_far_a_write_came() {
    const DISK: usize = 64 * 1024;
    let test = "a_full_disk_tells_how_far_a_write_came";
    if !is_child() {
        let folder = support::folder();
        let mount = format!(r#"mount -t tmpfs -o size={DISK} littoral-test "$PLACE""#);
        let mut tried = Command::new("unshare");
        tried.args(["--mount", "sh", "-c", &mount]).env("PLACE", folder.path());
        if !tried.output().is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED {test}: this user may not mount a disk of its own");
            return;
        }
        let inside = format!(r#"{mount} && cd "$PLACE" && exec "$@""#);
        let shell = format!(r#"exec unshare --mount sh -c '{inside}' sh "$@""#);
        return in_a_process(test, &shell, folder.path());
    }
    support::within(60, "a full disk", || {
        let folder = std::env::current_dir().expect("the disk's");
        let io = support::driver(&folder, 64);
        let file = support::open(&*io, "file");
        let much = Shared::from(vec![b'm'; DISK + DISK / 2]);
        let refused = wait(&*io, file.pwrite(0, much.clone())).expect_err("it is too much");
        println!("{refused}");
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        let confirmed = refused.confirmed().expect("a write says how far it came");
        assert!(0 < confirmed && confirmed <= DISK as u64, "{confirmed} of {DISK}");
        let there = wait(&*io, file.pread(0, Buffer::with_capacity(2 * DISK))).expect("a read");
        let confirmed = usize::try_from(confirmed).expect("small");
        assert!(there[..confirmed].iter().all(|byte| *byte == b'm'), "confirmed, but not there");

        let other = support::open(&*io, "other");
        let refused = wait(&*io, other.pwrite(0, much.slice(..1))).expect_err("nothing is free");
        assert_eq!((refused.kind(), refused.confirmed()), (ErrorKind::StorageFull, Some(0)));

        // Once there is room, all is well again.
        wait(&*io, file.truncate(0)).expect("it frees the disk");
        wait(&*io, other.pwrite(0, much.slice(..DISK / 2))).expect("it fits");
        wait(&*io, other.sync(SyncKind::Full)).expect("nothing was lost");
        assert_eq!(wait(&*io, other.size()).expect("a size"), DISK as u64 / 2);
    });
}
