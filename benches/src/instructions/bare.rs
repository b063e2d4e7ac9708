//! The `io-uring` crate in a loop, as a program would write it that needs nothing else: one file,
//! no resumed counts, buffers that outlive the ring.
#![allow(unsafe_code, reason = "pushing an entry to the kernel is")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Result, ensure};
use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use libc::iovec;

use crate::loops::{Loop, Operation, PAGE, PARTS};

const PAGE_U32: u32 = 4096;
const PARTS_U32: u32 = 4;
const _: () = assert!(PAGE_U32 as usize == PAGE && PARTS_U32 as usize == PARTS);

/// Opens the file and runs the loop on it.
pub(crate) fn run(path: &Path, one: &Loop) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let depth = one.depth as usize;
    // Leaked, so that they outlive the ring even when the loop ends early.
    let pages: &'static mut [Vec<u8>] = vec![vec![0; PAGE]; depth * PARTS].leak();
    let span = |page: &mut Vec<u8>| iovec { iov_base: page.as_mut_ptr().cast(), iov_len: PAGE };
    let spans: &'static [iovec] = pages.iter_mut().map(span).collect::<Vec<_>>().leak();
    let fd = types::Fd(file.as_raw_fd());
    let entry = |number: usize| -> Entry {
        let first = &spans[number * PARTS];
        let apart = |pages: usize| (number * pages * PAGE) as u64;
        match one.operation {
            Operation::Pread | Operation::PreadReused => {
                opcode::Read::new(fd, first.iov_base.cast(), PAGE_U32).offset(apart(1)).build()
            }
            Operation::Pwrite => {
                opcode::Write::new(fd, first.iov_base.cast(), PAGE_U32).offset(apart(2)).build()
            }
            Operation::Pwritev => {
                opcode::Writev::new(fd, first, PARTS_U32).offset(apart(2 * PARTS)).build()
            }
        }
    };
    let whole = match one.operation {
        Operation::Pread | Operation::PreadReused | Operation::Pwrite => PAGE_U32,
        Operation::Pwritev => PAGE_U32 * PARTS_U32,
    };
    turn(&mut IoUring::new(64)?, one, whole.cast_signed(), entry)
}

/// The loop. Not inlined, so that a profile shows it under its own name.
#[inline(never)]
fn turn(ring: &mut IoUring, one: &Loop, whole: i32, entry: impl Fn(usize) -> Entry) -> Result<()> {
    let depth = one.depth as usize;
    for _ in 0..one.rounds {
        let mut queue = ring.submission();
        for number in 0..depth {
            let entry = entry(number).user_data(number as u64);
            // SAFETY: the memory that the entry names is leaked.
            unsafe { queue.push(&entry)? };
        }
        drop(queue);
        ring.submit_and_wait(depth)?;
        let mut seen = 0;
        for completion in ring.completion() {
            ensure!(completion.result() == whole, "not the whole of an operation");
            seen += 1;
        }
        ensure!(seen == depth, "{seen} of {depth} completions");
    }
    Ok(())
}
