//! What a bare ring does to its user, tried on this driver.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use compio_buf::{BufResult, IoBuf, Slice};
use compio_driver::op::{ReadAt, WriteAt};
use compio_driver::{Key, Proactor, PushEntry, SharedFd};
use littoral_bench_side::hazards::{
    BYTES, COUNT, MEMORY, Others, WRITTEN, at, dropped, file, overwritten, taken_later,
};
use littoral_bench_side::{DIRECT, Found, Hazard};

use crate::{Fd, wait};

pub fn meet(hazard: Hazard, folder: &Path) -> Result<Found> {
    match hazard {
        Hazard::DescriptorReuse => descriptor_reuse(folder),
        Hazard::SubmitterExit => {
            Ok(Found::Inapplicable("the driver ends with its thread".to_owned()))
        }
        Hazard::CompletionOverflow => completion_overflow(folder),
        Hazard::DropInFlight => drop_in_flight(folder),
        Hazard::CancelDirect => cancel_direct(folder),
        Hazard::ShortWriteInAChain => Ok(Found::Inapplicable("it ties nothing".to_owned())),
    }
}

type Memory = Slice<Vec<u8>>;
type Read = ReadAt<Memory, Fd>;
type Write = WriteAt<Memory, Fd>;

/// Memory of a transfer, aligned.
fn memory(fill: u8) -> Memory {
    let memory = vec![fill; MEMORY];
    let skipped = memory.as_ptr().align_offset(4096);
    memory.slice(skipped..skipped + BYTES)
}

fn open(path: &Path, direct: bool) -> Result<Fd> {
    let flags = if direct { DIRECT } else { 0 };
    Ok(SharedFd::new(File::options().read(true).write(true).custom_flags(flags).open(path)?))
}

fn pushed<O>(entry: PushEntry<Key<O>, BufResult<usize, O>>) -> Option<Key<O>> {
    match entry {
        PushEntry::Pending(key) => Some(key),
        PushEntry::Ready(_) => None,
    }
}

fn reads(proactor: &mut Proactor, file: &Fd) -> Vec<Key<Read>> {
    let mut read = |nth| pushed(proactor.push(ReadAt::new(file.clone(), at(nth), memory(0))));
    (0..COUNT).filter_map(&mut read).collect()
}

fn descriptor_reuse(folder: &Path) -> Result<Found> {
    let path = file(folder, "reused")?;
    let mut proactor = Proactor::new()?;
    let first = open(&path, false)?;
    let write = proactor.push(WriteAt::new(first.clone(), 0, memory(WRITTEN)));
    drop(first);
    let others = Others::open(&path)?;
    wait::<Write>(&mut proactor, write)?;
    others.look()
}

fn completion_overflow(folder: &Path) -> Result<Found> {
    const READS: usize = 8192;
    let path = file(folder, "overflow")?;
    let mut proactor = Proactor::new()?;
    // Not with a full queue: it would wait for ever.
    match proactor.poll(Some(Duration::ZERO)) {
        Err(error) if error.kind() != ErrorKind::TimedOut => return Err(error.into()),
        _ => (),
    }
    let fd = open(&path, false)?;
    let started: Vec<_> = (0..READS)
        .map(|nth| proactor.push(ReadAt::new(fd.clone(), at(nth % COUNT), vec![0; 512])))
        .collect();
    for read in started {
        wait(&mut proactor, read)?;
    }
    Ok(Found::none_of(0, &format!("of {READS} reads were not seen")))
}

fn drop_in_flight(folder: &Path) -> Result<Found> {
    let path = file(folder, "dropped-reads")?;
    let mut proactor = Proactor::new()?;
    let keys = reads(&mut proactor, &open(&path, true)?);
    proactor.flush();
    drop(keys);
    drop(proactor);
    let read = overwritten();

    let path = file(folder, "dropped-writes")?;
    let mut proactor = Proactor::new()?;
    let fd = open(&path, false)?;
    let keys: Vec<Option<Key<Write>>> = (0..COUNT)
        .map(|nth| pushed(proactor.push(WriteAt::new(fd.clone(), at(nth), memory(WRITTEN)))))
        .collect();
    proactor.flush();
    drop((keys, fd));
    drop(proactor);
    Ok(dropped(read, taken_later(&path)?))
}

fn cancel_direct(folder: &Path) -> Result<Found> {
    let path = file(folder, "cancelled")?;
    let mut proactor = Proactor::new()?;
    let keys = reads(&mut proactor, &open(&path, true)?);
    proactor.flush();
    for key in keys {
        drop(proactor.cancel(key));
    }
    // Whoever cancels goes on with his own: the driver frees the memory when it may.
    let wrong = overwritten();
    Ok(Found::none_of(wrong, &format!("of {COUNT} cancelled reads used their memory when free")))
}
