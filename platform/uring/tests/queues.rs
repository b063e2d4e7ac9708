//! Both queues at their ends, and cancelling.

use std::os::unix::ffi::OsStrExt;

use super::{PATIENCE, create, native, next, open, push, run, source, span};
use crate::{Cqe, Errno, Full, Op, OpenFlags, Ring, Span, Sqe, SyncKind, Tag};

#[test]
fn push_refuses_what_the_submission_queue_cannot_hold() {
    let (mut ring, _folder) = native(1000);
    assert!(ring.limits().in_flight >= 1000);
    let file = create(&mut ring, "file");
    let read = Op::Read { file, at: 0, span: span(&mut []) };
    let mut taken = 0;
    // SAFETY: the span is empty and the file open.
    while unsafe { ring.push(&Sqe::new(Tag(taken), read)) } == Ok(()) {
        taken += 1;
    }
    assert_eq!(taken, 255, "all but the doorbell's entry");
    assert_eq!(ring.unsubmitted(), 255);
    assert_eq!(ring.submit(), Ok(()));
    assert_eq!(ring.unsubmitted(), 0);
    push(&mut ring, taken, read);
    let mut seen: Vec<u64> = (0..=taken).map(|_| next(&mut ring).tag.0).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..=taken));
    assert_eq!(ring.reap(), None);
}

#[test]
fn in_flight_never_exceeds_what_the_completion_queue_holds() {
    let (mut ring, _folder) = native(5);
    let file = create(&mut ring, "file");
    let in_flight = ring.limits().in_flight;
    assert_eq!(in_flight, 7, "eight completions, one of them the doorbell's");
    // Sizes are completed by `push` itself and count all the same.
    for tag in 0..in_flight.into() {
        let op = if tag % 2 == 0 { Op::Size { file } } else { flush(file) };
        push(&mut ring, tag, op);
        assert_eq!(ring.submit(), Ok(()));
    }
    for op in [flush(file), Op::Size { file }] {
        // SAFETY: a refused entry; it points to no memory anyway.
        assert_eq!(unsafe { ring.push(&Sqe::new(Tag(99), op)) }, Err(Full));
    }
    let mut seen: Vec<u64> = (0..in_flight).map(|_| next(&mut ring).tag.0).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..in_flight.into()));
    push(&mut ring, 99, flush(file));
    assert_eq!(next(&mut ring), Cqe { tag: Tag(99), result: Ok(0) });
}

fn flush(file: crate::Handle) -> Op {
    Op::Sync { file, kind: SyncKind::Data }
}

#[test]
fn an_overflowed_completion_queue_loses_nothing() {
    let (mut ring, folder) = native(3);
    std::fs::write(folder.path().join("file"), [7; 64]).expect("a file to write");
    let file = open(&mut ring, "file", OpenFlags::empty()).expect("a file to read");
    assert_eq!(ring.bell.ring.params().cq_entries(), 4);
    // Lift the bound that keeps this from happening.
    ring.limits.in_flight = 64;
    let mut bytes = [0_u8; 64];
    let start = bytes.as_mut_ptr();
    for tag in 0..64 {
        let one = Span { ptr: start.wrapping_add(tag), len: 1 };
        push(&mut ring, tag as u64, Op::Read { file, at: tag as u64, span: one });
        assert_eq!(ring.submit(), Ok(()));
    }
    // SAFETY: this is the test's own ring, and `&mut ring` is at hand.
    let overflowed = unsafe { ring.bell.ring.submission_shared() }.cq_overflow();
    assert!(overflowed, "60 completions must be with the kernel for this test to test anything");
    // Without waiting: reads of cached bytes are done when submitted.
    let mut seen: Vec<u64> = std::iter::from_fn(|| ring.reap())
        .map(|cqe| (cqe.result == Ok(1)).then_some(cqe.tag.0).expect("a byte"))
        .collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..64), "{seen:?}");
    assert_eq!(bytes, [7; 64]);
    assert_eq!(ring.live, 0);
}

#[test]
fn a_cancelled_read_ends_once() {
    let (mut ring, folder) = native(8);
    let name = std::ffi::CString::new(folder.path().join("pipe").as_os_str().as_bytes());
    let name = name.expect("a name without NUL");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        name,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .expect("a pipe");
    // Open for both, so that it neither waits for the other side nor ever ends.
    let file = open(&mut ring, "pipe", OpenFlags::WRITE).expect("a pipe to open");
    let mut bytes = [0_u8; 4];
    push(&mut ring, 1, Op::Read { file, at: 0, span: span(&mut bytes) });
    assert_eq!(ring.submit(), Ok(()));
    assert_eq!(ring.reap(), None, "an empty pipe has nothing to read");
    push(&mut ring, 2, Op::Cancel { target: Tag(1) });
    let mut ends = [next(&mut ring), next(&mut ring)];
    ends.sort_by_key(|cqe| cqe.tag);
    assert_eq!(ends[0], Cqe { tag: Tag(1), result: Err(Errno::CANCELED) });
    assert_eq!(ends[1], Cqe { tag: Tag(2), result: Ok(0) });

    // What is written afterwards is not the cancelled read's, and no completion comes again.
    assert_eq!(run(&mut ring, Op::Write { file, at: 0, span: source(b"late") }), Ok(4));
    assert_eq!(run(&mut ring, Op::Cancel { target: Tag(1) }), Err(Errno::NOENT));
    assert_eq!((ring.reap(), ring.live, bytes), (None, 0, [0; 4]));
    assert_eq!(run(&mut ring, Op::Read { file, at: 0, span: span(&mut bytes) }), Ok(4));
    assert_eq!(&bytes, b"late");
}

#[test]
fn a_thread_that_ends_leaves_a_ring_that_works() {
    // The kernel cancels what an ending thread has in its ring: here the doorbell's poll.
    let (mut ring, _folder) = std::thread::spawn(|| native(8)).join().expect("a ring");
    let file = create(&mut ring, "file");
    for _ in 0..3 {
        assert_eq!(run(&mut ring, Op::Size { file }), Ok(0));
        assert_eq!(run(&mut ring, flush(file)), Ok(0));
    }
    let doorbell = ring.doorbell();
    while ring.reap().is_some() {}
    let waiter = std::thread::spawn({
        let (doorbell, unsubmitted) = (doorbell.clone(), ring.unsubmitted());
        move || {
            let started = std::time::Instant::now();
            doorbell.wait(unsubmitted, Some(PATIENCE)).expect("a wait");
            started.elapsed()
        }
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    doorbell.ring();
    assert!(waiter.join().expect("a waiter that returns") < PATIENCE / 2);
}
