//! What becomes of completions when the queue for them is full?
//!
//! The kernel takes more entries than the queue has places for their completions. Those that find
//! none are held back: a program that only looks at its queue never sees them, and it has to ask
//! for them by a call. The engine hands the kernel no more than the queue can take, and keeps the
//! rest in its own.
#![cfg(target_os = "linux")]

mod support;

use io_uring::{opcode, types};
use littoral::platform::{Native, Ring, Setup};
use littoral::{Buffer, Config, Wait, start_on};
use std::os::fd::AsRawFd;

const BATCH: u32 = 4;
const READS: u64 = 64;
const LEN: u32 = 512;

/// A file each of whose blocks tells its number.
fn bytes() -> Vec<u8> {
    (0..READS).flat_map(|block| block.to_le_bytes().repeat(LEN as usize / 8)).collect()
}

/// 64 reads through a queue of 4 places: all are taken, 4 completions are there, the others only
/// after a call.
#[test]
fn on_a_bare_ring_completions_are_held_back() {
    let test = "on_a_bare_ring_completions_are_held_back";
    let folder = support::folder();
    std::fs::write(folder.path().join("data"), bytes()).expect("a file");
    let file = std::fs::File::open(folder.path().join("data")).expect("it is there");
    let mut memory = vec![0; bytes().len()];
    let Some(mut ring) = support::raw::Raw::with_completions(test, BATCH, BATCH) else { return };
    for (part, place) in memory.chunks_mut(LEN as usize).zip(0..READS) {
        let fd = types::Fd(file.as_raw_fd());
        let read = opcode::Read::new(fd, part.as_mut_ptr(), LEN).offset(place * u64::from(LEN));
        // SAFETY: all are waited for below, before the memory goes.
        unsafe { ring.push(&read.build()) };
        if place % u64::from(BATCH) == u64::from(BATCH) - 1 {
            ring.submit();
        }
    }
    // Reads of what is cached end at once, or soon.
    while !ring.holds_back() {
        std::thread::yield_now();
    }
    let there = ring.take().len();
    assert_eq!(there, BATCH as usize, "no more than there are places for");
    assert!(ring.take().is_empty(), "the others do not come by themselves");
    let rest = usize::try_from(READS).expect("few") - there;
    assert_eq!(ring.results(rest), vec![LEN.cast_signed(); rest]);
    assert!(memory == bytes(), "other bytes");
}

/// The same on the engine, whose user only ever looks: every result comes, once, and no more are
/// in the ring than it has places for.
#[test]
fn every_result_comes_to_who_only_looks() {
    support::within(60, "overflow", || {
        let folder = support::folder();
        std::fs::write(folder.path().join("data"), bytes()).expect("a file");
        let root = folder.path().to_str().map(str::to_owned);
        let ring = Native::new(&Setup { root, in_flight: BATCH }).expect("a ring");
        let places = u64::from(ring.limits().in_flight);
        assert!(places < READS, "{:?}", ring.limits());
        let config = Config::new().operations(u32::try_from(READS).expect("few"));
        let io = start_on(Box::new(ring), config).expect("a driver");
        let file = support::open(&*io, "data");
        for round in 0..20 {
            let mut reads: Vec<_> = (0..READS)
                .map(|n| file.pread(n * u64::from(LEN), Buffer::with_capacity(LEN as usize)))
                .map(Some)
                .collect();
            while reads.iter().any(Option::is_some) {
                io.step(io.delivered(), Wait::No);
                assert!(io.statistics().in_flight <= places, "more than there are places for");
                for (slot, n) in reads.iter_mut().zip(0..READS) {
                    let Some(read) = slot else { continue };
                    let Some(result) = read.try_take() else { continue };
                    let block = n.to_le_bytes().repeat(LEN as usize / 8);
                    assert!(result.expect("it is read")[..] == block, "round {round}, block {n}");
                    *slot = None;
                }
            }
            let left = io.statistics();
            assert_eq!((left.alive, left.in_flight, left.stale), (0, 0, 0));
        }
    });
}
