//! What a bare ring does to its user, tried on these drivers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use littoral_bench_side::hazards::{BYTES, COUNT, Others, WRITTEN, at, file, is_old, taken_later};
use littoral_bench_side::{Found, Hazard};
use turso_core::{Buffer, Completion, File, IO, OpenFlags};

/// Steps, at most: each waits for a completion.
const STEPS: usize = 100_000;

pub fn meet(io: Arc<dyn IO>, hazard: Hazard, folder: &Path) -> Result<Found> {
    match hazard {
        Hazard::DescriptorReuse => descriptor_reuse(&*io, folder),
        Hazard::SubmitterExit => submitter_exit(&*io, folder),
        Hazard::CompletionOverflow => completion_overflow(&*io, folder),
        Hazard::DropInFlight => drop_in_flight(io, folder),
        Hazard::CancelDirect => {
            Ok(Found::Inapplicable("direct I/O is its own affair, or there is none".to_owned()))
        }
        Hazard::ShortWriteInAChain => Ok(Found::Inapplicable("it ties nothing".to_owned())),
    }
}

fn open(io: &dyn IO, path: &Path) -> Result<Arc<dyn File>> {
    let flags = OpenFlags::Create | OpenFlags::NoLock;
    Ok(io.open_file(&path.to_string_lossy(), flags, false)?)
}

/// Steps until all have ended, within bounds.
fn wait(io: &dyn IO, all: &[Completion]) -> Result<()> {
    for _ in 0..STEPS {
        if all.iter().all(Completion::finished) {
            break;
        }
        io.step()?;
    }
    Ok(())
}

/// Reads of `len` bytes, and how many of them were seen to be right.
fn reads(
    file: &dyn File,
    count: usize,
    len: usize,
    is_right: fn(&[u8]) -> bool,
) -> Result<(Vec<Completion>, Arc<AtomicUsize>)> {
    let right = Arc::new(AtomicUsize::new(0));
    let read = |nth: usize| {
        let right = right.clone();
        let into = Arc::new(Buffer::new(vec![0; len]));
        let read = Completion::new_read(into, move |read| {
            if let Ok((page, count)) = read
                && usize::try_from(count) == Ok(page.len())
                && is_right(page.as_slice())
            {
                right.fetch_add(1, Ordering::Relaxed);
            }
            None
        });
        Ok(file.pread(at(nth % COUNT), read)?)
    };
    Ok(((0..count).map(read).collect::<Result<_>>()?, right))
}

fn descriptor_reuse(io: &dyn IO, folder: &Path) -> Result<Found> {
    let path = file(folder, "reused")?;
    let first = open(io, &path)?;
    let from = Arc::new(Buffer::new(vec![WRITTEN; 4096]));
    let write = first.pwrite(0, from, Completion::new_write(|_| {}))?;
    drop(first);
    let others = Others::open(&path)?;
    wait(io, &[write])?;
    others.look()
}

fn submitter_exit(io: &dyn IO, folder: &Path) -> Result<Found> {
    let path = file(folder, "exited")?;
    let file = open(io, &path)?;
    let (all, right) = thread::scope(|scope| {
        let submit = scope.spawn(|| {
            let started = reads(&*file, COUNT, BYTES, is_old)?;
            // Submits all, and waits for some.
            io.step()?;
            anyhow::Ok(started)
        });
        submit.join().expect("it does not panic")
    })?;
    wait(io, &all)?;
    let wrong = COUNT - right.load(Ordering::Relaxed);
    Ok(Found::none_of(wrong, &format!("of {COUNT} reads failed")))
}

fn completion_overflow(io: &dyn IO, folder: &Path) -> Result<Found> {
    const READS: usize = 8192;
    let path = file(folder, "overflow")?;
    let file = open(io, &path)?;
    let (all, right) = reads(&*file, READS, 512, |_| true)?;
    wait(io, &all)?;
    let wrong = READS - right.load(Ordering::Relaxed);
    Ok(Found::none_of(wrong, &format!("of {READS} reads were not seen")))
}

fn drop_in_flight(io: Arc<dyn IO>, folder: &Path) -> Result<Found> {
    let path = file(folder, "dropped-writes")?;
    let file = open(&*io, &path)?;
    let write = |nth: usize| {
        let from = Arc::new(Buffer::new(vec![WRITTEN; BYTES]));
        Ok(file.pwrite(at(nth), from, Completion::new_write(|_| {}))?)
    };
    let writes: Vec<Completion> = (0..COUNT).map(write).collect::<Result<_>>()?;
    // Submits all, and waits for some.
    io.step()?;
    drop((writes, file));
    drop(io);
    let wrong = taken_later(&path)?;
    Ok(Found::none_of(wrong, &format!("of {COUNT} writes used their memory after it was free")))
}
