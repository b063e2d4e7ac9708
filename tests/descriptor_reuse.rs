//! Can a queued write land in another file, because its descriptor's number was given away?
//!
//! A ring looks a descriptor up when it executes an entry, not when the entry is made. So one
//! program queues a write, drops its file, opens another, and only then has the ring work. On a
//! bare ring the second file has the bytes if it got the first one's number. The engine keeps the
//! number until the write is over.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::fd::AsRawFd;

use io_uring::{opcode, types};
use littoral::{Completion, File, OpenOptions, Result, SyncKind, Wait, wait};

const BYTES: &[u8] = b"meant for the first file";

/// Queues operations on a file, the last of which is a write of `BYTES` at 0.
type Queue = fn(&dyn File) -> Vec<Completion<()>>;
/// Parts with a file.
type Part = fn(&dyn File) -> Option<Completion<()>>;

fn lands_in_its_own_file(queue: Queue, part: Part) -> Result<()> {
    let folder = support::folder();
    let path = folder.path().canonicalize().expect("it exists").join("first");
    let io = support::driver(folder.path(), 64);
    let first = support::open(&*io, "first");
    let number = support::descriptors_of(&path);
    assert_eq!(number.len(), 1);

    let queued = queue(&*first);
    let closed = part(&*first);
    drop(first);
    let others: Vec<_> = (0..20)
        .map(|n| io.open_now(&format!("other-{n}"), OpenOptions::new().create(true)))
        .collect::<Result<_>>()?;
    assert_eq!(support::descriptors_of(&path), number, "its number is not given away");
    for completion in queued {
        wait(&*io, completion)?;
    }
    if let Some(closed) = closed {
        wait(&*io, closed)?;
    }
    assert_eq!(fs::read(&path).expect("it is there"), BYTES);
    for other in &others {
        assert_eq!(other.size_now()?, 0, "{}: bytes of another file", other.name());
    }
    while !support::descriptors_of(&path).is_empty() {
        io.step(io.delivered(), Wait::Forever);
    }
    let again = io.open_now("again", OpenOptions::new().create(true))?;
    wait(&*io, again.pwrite(0, BYTES.into()))?;
    assert_eq!(again.size_now()?, BYTES.len() as u64);
    Ok(())
}

fn write(file: &dyn File) -> Vec<Completion<()>> {
    vec![file.pwrite(0, BYTES.into())]
}

/// The write waits for a truncate, which waits for a sync, which waits for a write.
fn write_behind_a_barrier(file: &dyn File) -> Vec<Completion<()>> {
    vec![
        file.pwrite(100, BYTES.into()),
        file.sync(SyncKind::Data),
        file.truncate(3),
        file.pwrite(0, BYTES.into()),
    ]
}

fn a_drop(_: &dyn File) -> Option<Completion<()>> {
    None
}

#[expect(clippy::unnecessary_wraps, reason = "one of two ways to part")]
fn a_close(file: &dyn File) -> Option<Completion<()>> {
    Some(file.close())
}

#[test]
fn a_dropped_file_keeps_its_descriptor() {
    let run = || lands_in_its_own_file(write, a_drop).expect("nothing fails");
    support::within(20, "dropped", run);
}

#[test]
fn a_closed_file_keeps_its_descriptor() {
    let run = || lands_in_its_own_file(write, a_close).expect("nothing fails");
    support::within(20, "closed", run);
}

#[test]
fn what_waits_for_a_barrier_keeps_the_descriptor() {
    let run = || lands_in_its_own_file(write_behind_a_barrier, a_drop).expect("nothing fails");
    support::within(20, "dropped", run);
    let run = || lands_in_its_own_file(write_behind_a_barrier, a_close).expect("nothing fails");
    support::within(20, "closed", run);
}

/// The same on a bare ring: the other file gets the bytes.
#[test]
fn on_a_bare_ring_the_other_file_gets_the_bytes() {
    let folder = support::folder();
    let create = |name| fs::File::create_new(folder.path().join(name)).expect("a file");
    let mut first = std::os::fd::OwnedFd::from(create("first"));
    let test = "on_a_bare_ring_the_other_file_gets_the_bytes";
    let Some(mut ring) = support::raw::Raw::new(test, 8) else { return };
    let len = u32::try_from(BYTES.len()).expect("it is short");
    let entry = opcode::Write::new(types::Fd(first.as_raw_fd()), BYTES.as_ptr(), len).build();
    // SAFETY: the memory is static.
    unsafe { ring.push(&entry) };
    // Closes the first file, and has the second one under its number: what an open may do as well,
    // but for sure, also while other tests open files.
    rustix::io::dup2(create("second"), &mut first).expect("it is a number of ours");
    assert_eq!(ring.results(1), [BYTES.len().try_into().expect("it is short")]);

    let bytes = |name| fs::read(folder.path().join(name)).expect("it is there");
    assert_eq!((bytes("first"), bytes("second")), (Vec::new(), BYTES.to_vec()));
}
