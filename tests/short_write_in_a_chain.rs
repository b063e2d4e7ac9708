//! What does a flush say that is chained behind a write which comes up short?
//!
//! Two links tie a flush to a write. The plain one breaks when the write is short: the flush is
//! cancelled, and a program that took the write for done has nothing durable. The hard one holds:
//! the flush succeeds, and says so of a torn write. Here a vector of 12288 bytes meets a limit of
//! the file's size at 6000. The engine chains nothing: it goes on with a short write, and if
//! it cannot, the write tells how far it came and the flush that something was lost.
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::AsRawFd;
use std::path::Path;

use io_uring::{opcode, squeue, types};
use littoral::{Errno, ErrorKind, Shared, SyncKind, Vector, wait};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::process::{in_a_process, is_child};

const LIMIT: u64 = 6000;
const PART: usize = 4096;
const LETTERS: [u8; 3] = *b"abc";

/// Runs the test in a process whose files may not grow past the limit. (Its signal is ignored, or
/// would end the process.)
fn limited(test: &'static str, run: fn(&'static str)) {
    if !is_child() {
        return in_a_process(test, r#"trap "" XFSZ; exec "$@""#, Path::new("."));
    }
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum: None })
        .expect("a limit may be lowered");
    support::within(60, test, move || run(test));
}

fn torn() -> Vec<u8> {
    LETTERS.iter().flat_map(|letter| [*letter; PART]).take(6000).collect()
}

/// The results of the write and of the flush that is tied to it.
fn chained(test: &str, link: squeue::Flags) -> Option<Vec<(u64, i32)>> {
    let folder = support::folder();
    let path = folder.path().join("file");
    let file = std::fs::File::create_new(&path).expect("a file");
    let fd = types::Fd(file.as_raw_fd());
    let parts = LETTERS.map(|letter| vec![letter; PART]);
    let spans = parts.each_ref().map(|part| std::io::IoSlice::new(part));
    let mut ring = support::raw::Raw::new(test, 8)?;
    let count = u32::try_from(spans.len()).expect("few");
    let write = opcode::Writev::new(fd, spans.as_ptr().cast(), count).build();
    // SAFETY: both are waited for before the memory goes. The standard library promises that an
    // `IoSlice` is laid out as an `iovec`.
    unsafe {
        ring.push(&write.flags(link).user_data(0));
        ring.push(&opcode::Fsync::new(fd).build().user_data(1));
    }
    let mut results = ring.tagged_results(2);
    results.sort_unstable();
    assert!(std::fs::read(&path).expect("it is there") == torn(), "the write is torn");
    Some(results)
}

#[test]
fn a_plain_link_cancels_the_flush_on_a_bare_ring() {
    limited("a_plain_link_cancels_the_flush_on_a_bare_ring", |test| {
        let Some(results) = chained(test, squeue::Flags::IO_LINK) else { return };
        assert_eq!(results, [(0, 6000), (1, -Errno::CANCELED.raw())]);
    });
}

#[test]
fn a_hard_link_has_the_flush_succeed_on_a_bare_ring() {
    limited("a_hard_link_has_the_flush_succeed_on_a_bare_ring", |test| {
        let Some(results) = chained(test, squeue::Flags::IO_HARDLINK) else { return };
        assert_eq!(results, [(0, 6000), (1, 0)]);
    });
}

#[test]
fn the_engine_flushes_no_torn_write_in_silence() {
    limited("the_engine_flushes_no_torn_write_in_silence", |_| {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let file = support::open(&*io, "file");
        let parts: Vector =
            LETTERS.map(|letter| Shared::from(vec![letter; PART])).into_iter().collect();
        let write = file.pwritev(0, parts.clone());
        let sync = file.sync(SyncKind::Data);
        // Nobody has heard of the failure yet.
        let flushed = support::kind(wait(&*io, sync));
        assert_eq!(flushed, Err(ErrorKind::WriteLost), "a flush of a torn write");
        let refused = wait(&*io, write).expect_err("it is torn");
        assert_eq!((refused.kind(), refused.confirmed()), (ErrorKind::InvalidInput, Some(LIMIT)));
        assert!(std::fs::read(folder.path().join("file")).expect("it is there") == torn());
        // Who has heard of it decides what the file is good for.
        wait(&*io, file.sync(SyncKind::Data)).expect("what was written is flushed");
        // A write that nobody looks at is the flush's to tell of.
        file.pwritev(0, parts).detach();
        let sync = support::kind(wait(&*io, file.sync(SyncKind::Data)));
        assert_eq!(sync, Err(ErrorKind::WriteLost));
    });
}
