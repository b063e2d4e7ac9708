//! Does a cancel end a direct read that the disk is busy with?
//!
//! No: a cancel is advice. Direct reads in flight run to their end and write to their memory after
//! the cancel has been answered, and a program that takes the answer for an end has its memory
//! written to later. The engine keeps the memory until the read's own completion says how it
//! ended.
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{opcode, types};
use littoral::{Arena, Buffer, Errno, ErrorKind, OpenOptions, Wait, wait};

const COUNT: usize = 32;
const LEN: usize = LEN_OF_ENTRY as usize;
const LEN_OF_ENTRY: u32 = 1 << 20;
/// What the file holds, and what memory is filled with that was given back.
const OLD: u8 = 0xF1;
const AFTERWARDS: u8 = 0x5A;
/// A cancel's tag, above those of the reads.
const CANCEL: u64 = 1 << 32;

fn all(bytes: &[u8], byte: u8) -> bool {
    bytes.len() == LEN && bytes.chunks(4096).all(|part| part == [byte; 4096])
}

#[test]
fn on_a_bare_ring_reads_go_on_after_their_cancel() {
    let test = "on_a_bare_ring_reads_go_on_after_their_cancel";
    support::within(60, test, move || {
        let folder = support::folder();
        let path = support::file_of(folder.path(), "data", OLD, COUNT * LEN);
        let file = std::fs::File::open(&path).expect("it is there");
        if !support::make_direct(&path) {
            return;
        }
        let Some(mut ring) = support::raw::Raw::new(test, 64) else { return };
        let mut memory = Buffer::zeroed(COUNT * LEN);
        for (part, place) in memory.chunks_mut(LEN).zip(0..) {
            let fd = types::Fd(file.as_raw_fd());
            let at = place * u64::from(LEN_OF_ENTRY);
            let read = opcode::Read::new(fd, part.as_mut_ptr(), LEN_OF_ENTRY).offset(at).build();
            // SAFETY: all are waited for below, before the memory goes.
            unsafe { ring.push(&read.user_data(place)) };
        }
        ring.submit();
        for place in 0..COUNT as u64 {
            let cancel = opcode::AsyncCancel::new(place).build().user_data(CANCEL + place);
            // SAFETY: it points to nothing.
            unsafe { ring.push(&cancel) };
        }
        let (mut whole, mut cancelled, mut refused) = (0, 0, 0);
        for (tag, result) in ring.tagged_results(2 * COUNT) {
            if tag < CANCEL {
                let ended = [LEN_OF_ENTRY.cast_signed(), -Errno::CANCELED.raw()];
                assert!(ended.contains(&result), "read {tag}: {result}");
                whole += usize::from(result >= 0);
                cancelled += usize::from(result < 0);
            } else {
                let answers = [0, -Errno::NOENT.raw(), -Errno::ALREADY.raw()];
                assert!(answers.contains(&result), "cancel of {}: {result}", tag - CANCEL);
                refused += usize::from(result != 0);
            }
        }
        println!("bare ring: {whole} of {COUNT} reads went on, {refused} cancels were refused");
        assert_eq!(whole, refused, "a cancel that was granted ends the read, no other does");
        if cancelled > 0 {
            eprintln!("NOT SEEN: this kernel cancelled {cancelled} direct reads");
        }
    });
}

/// Memory comes home by the end of its read and not before: what is taken again as soon as it can
/// be is never written to.
#[test]
fn memory_of_cancelled_reads_comes_back_when_they_have_ended() {
    support::within(120, "cancelled reads", || {
        let folder = support::folder();
        let path = support::file_of(folder.path(), "data", OLD, COUNT * LEN);
        let io = support::driver(folder.path(), 256);
        let file = wait(&*io, io.open("data", OpenOptions::new())).expect("it opens");
        if !support::make_direct(&path) {
            return;
        }
        let arena = Arena::new(&[(LEN, COUNT)]);
        let (mut ended_by_cancel, mut in_flight) = (0, 0);
        for round in 0..10 {
            let reads: Vec<_> = (0..COUNT)
                .map(|place| {
                    let buffer = arena.take(LEN).expect("all are free");
                    file.pread((place * LEN) as u64, buffer)
                })
                .collect();
            io.step(io.delivered(), Wait::No);
            in_flight += io.statistics().in_flight;
            for read in &reads {
                read.cancel();
            }
            // Half of them are not even looked at again.
            let kept: Vec<_> = reads.into_iter().step_by(2).collect();
            let mut again: Vec<Buffer> = Vec::new();
            let reuse = |again: &mut Vec<Buffer>| {
                while let Ok(mut buffer) = arena.take(LEN) {
                    buffer.fill_with_zeros();
                    buffer.fill(AFTERWARDS);
                    again.push(buffer);
                }
            };
            reuse(&mut again);
            for read in kept {
                match wait(&*io, read) {
                    Ok(bytes) => assert!(all(&bytes, OLD), "round {round}: a read lied"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Cancelled);
                        ended_by_cancel += 1;
                    }
                }
                reuse(&mut again);
            }
            while again.len() < COUNT {
                io.step(io.delivered(), Wait::For(Duration::from_millis(10)));
                reuse(&mut again);
            }
            std::thread::sleep(Duration::from_millis(30));
            let damaged = again.iter().filter(|buffer| !all(buffer, AFTERWARDS)).count();
            assert_eq!(damaged, 0, "round {round}: the kernel wrote to memory that was given back");
        }
        println!("engine: {in_flight} in flight at their cancel, {ended_by_cancel} ended by it");
        assert!(in_flight > 0, "nothing was in flight: this shows nothing");
    });
}
