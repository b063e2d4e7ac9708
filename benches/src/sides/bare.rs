//! The floors: what a program would write that needs nothing but its own transfers. A bare
//! `io-uring` ring, and bare system calls. They know one kind of transfer, check counts, and resume
//! nothing.
#![allow(unsafe_code, reason = "pushing an entry to the kernel, and a vectored write, are")]

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use anyhow::{Result, bail, ensure};
use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use littoral_bench_side::{
    Batches, DIRECT, Direction, Lane, Lanes, Place, Side, Work, Workload, is_page, memory, serve,
};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("ring") => serve(&Bare { by: By::Ring }),
        Some("syscalls") => serve(&Bare { by: By::Syscalls }),
        other => bail!("by what: ring or syscalls, not {other:?}"),
    }
}

struct Bare {
    by: By,
}

#[derive(Clone, Copy)]
enum By {
    Ring,
    Syscalls,
}

impl Side for Bare {
    fn configuration(&self, work: &Work) -> String {
        let Workload { direct, durable, threads, .. } = work.workload;
        let by = match (self.by, durable) {
            (By::Ring, false) => "io-uring 0.7, no flags, submit all and wait for all",
            (By::Ring, true) => "io-uring 0.7, no flags, submit all and wait, then fdatasync",
            (By::Syscalls, false) => "pread, pwrite, pwritev, one after another",
            (By::Syscalls, true) => "pwrite, one after another, then fdatasync",
        };
        let rings = matches!(self.by, By::Ring) && threads > 1;
        let of_its_own = if rings { ", a ring for each thread" } else { "" };
        format!("{by}{of_its_own}{}", if direct { ", O_DIRECT" } else { "" })
    }

    fn open(&self, work: &Work) -> Result<Lanes> {
        match work.workload.threads {
            1 => Ok(Lanes::Here(self.lane(work)?)),
            threads => Ok(Lanes::Across(
                (0..threads)
                    .map(|_| {
                        let lane: Box<dyn Lane + Send> = self.lane(work)?;
                        Ok(lane)
                    })
                    .collect::<Result<_>>()?,
            )),
        }
    }
}

impl Bare {
    fn lane(&self, work: &Work) -> Result<Box<dyn Lane + Send>> {
        Ok(match self.by {
            By::Ring => Box::new(Ring::open(work)?),
            By::Syscalls => Box::new(Syscalls(Transfers::open(work)?)),
        })
    }
}

/// The files, and the memory of each transfer of a batch.
struct Transfers {
    files: Vec<File>,
    /// What is read into.
    pages: Vec<&'static mut [u8]>,
    /// What is written.
    spans: Vec<Vec<IoSlice<'static>>>,
    workload: Workload,
}

impl Transfers {
    fn open(work: &Work) -> Result<Transfers> {
        let workload = work.workload.clone();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(if workload.direct { DIRECT } else { 0 });
        let files: std::io::Result<Vec<File>> =
            work.files.iter().map(|path| options.open(path)).collect();
        let (pages, spans) = match workload.direction {
            Direction::Read => {
                (memory::neighbours(workload.depth, workload.bytes).collect(), Vec::new())
            }
            Direction::Write => {
                let span = |span: &'static [u8]| IoSlice::new(span);
                let write = |spans: Vec<&'static [u8]>| spans.into_iter().map(span).collect();
                (Vec::new(), work.spans().into_iter().map(write).collect())
            }
        };
        Ok(Transfers { files: files?, pages, spans, workload })
    }

    fn check(&self, batch: &[Place], nth: usize, count: i32) -> Result<()> {
        let whole = self.workload.transfer();
        ensure!(usize::try_from(count) == Ok(whole), "{count} of {whole} bytes");
        let right = self.pages.get(nth).is_none_or(|page| is_page(page, batch[nth].at, whole));
        ensure!(right, "not the page at {}", batch[nth].at);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        Ok(())
    }
}

/// `pread` and the like.
struct Syscalls(Transfers);

impl Syscalls {
    fn transfer(&mut self, nth: usize, place: Place) -> std::io::Result<usize> {
        let Transfers { files, pages, spans, .. } = &mut self.0;
        let file = &files[place.file];
        match spans.get(nth).map(Vec::as_slice) {
            None => file.read_at(pages[nth], place.at),
            Some([one]) => file.write_at(one, place.at),
            Some(many) => {
                let (spans, count) = (many.as_ptr().cast(), i32::try_from(many.len()));
                let count = count.expect("as many as a vector may have");
                let at = i64::try_from(place.at).expect("files are smaller");
                // SAFETY: an `IoSlice` is laid out as an `iovec`, as its documentation says, and
                // its memory is leaked.
                let written = unsafe { libc::pwritev(file.as_raw_fd(), spans, count, at) };
                usize::try_from(written).map_err(|_| std::io::Error::last_os_error())
            }
        }
    }
}

impl Lane for Syscalls {
    fn run(&mut self, batches: Batches<'_>) -> Result<()> {
        for batch in batches {
            for (nth, place) in batch.iter().enumerate() {
                let count = self.transfer(nth, *place)?;
                self.0.check(batch, nth, i32::try_from(count)?)?;
            }
            if self.0.workload.durable {
                self.0.sync()?;
            }
        }
        Ok(())
    }
}

struct Ring {
    ring: IoUring,
    transfers: Transfers,
}

impl Ring {
    fn open(work: &Work) -> Result<Ring> {
        let entries = work.workload.depth.max(work.workload.files);
        let ring = IoUring::new(u32::try_from(entries)?.min(1024))?;
        Ok(Ring { ring, transfers: Transfers::open(work)? })
    }

    fn entry(&mut self, nth: usize, place: Place) -> Entry {
        let Transfers { files, pages, spans, .. } = &mut self.transfers;
        let fd = types::Fd(files[place.file].as_raw_fd());
        let len = |bytes: usize| u32::try_from(bytes).expect("transfers are small");
        match spans.get(nth).map(Vec::as_slice) {
            None => {
                let page = &mut pages[nth];
                opcode::Read::new(fd, page.as_mut_ptr(), len(page.len())).offset(place.at).build()
            }
            Some([one]) => {
                opcode::Write::new(fd, one.as_ptr(), len(one.len())).offset(place.at).build()
            }
            Some(many) => opcode::Writev::new(fd, many.as_ptr().cast(), len(many.len()))
                .offset(place.at)
                .build(),
        }
    }

    fn push(&mut self, nth: usize, entry: &Entry) -> Result<()> {
        let entry = entry.clone().user_data(nth as u64);
        // SAFETY: the memory that the entry names is leaked, but for the list of spans, which lives
        // as long as the ring; every batch is waited for.
        unsafe { self.ring.submission().push(&entry)? };
        Ok(())
    }

    /// Waits for all that was pushed, and hands the count of each to `ended`.
    fn wait(&mut self, count: usize, batch: &[Place]) -> Result<()> {
        self.ring.submit_and_wait(count)?;
        let mut seen = 0;
        for completion in self.ring.completion() {
            let (nth, result) = (completion.user_data(), completion.result());
            match usize::try_from(nth).ok().filter(|nth| *nth < batch.len()) {
                Some(nth) => self.transfers.check(batch, nth, result)?,
                None => ensure!(result == 0, "fdatasync: {result}"),
            }
            seen += 1;
        }
        ensure!(seen == count, "{seen} of {count} completions");
        Ok(())
    }
}

impl Lane for Ring {
    fn run(&mut self, batches: Batches<'_>) -> Result<()> {
        for batch in batches {
            for (nth, place) in batch.iter().enumerate() {
                let entry = self.entry(nth, *place);
                self.push(nth, &entry)?;
            }
            self.wait(batch.len(), batch)?;
            if self.transfers.workload.durable {
                for nth in 0..self.transfers.files.len() {
                    let fd = types::Fd(self.transfers.files[nth].as_raw_fd());
                    let flags = types::FsyncFlags::DATASYNC;
                    self.push(usize::MAX, &opcode::Fsync::new(fd).flags(flags).build())?;
                }
                self.wait(self.transfers.files.len(), &[])?;
            }
        }
        Ok(())
    }
}
