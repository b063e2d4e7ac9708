//! What a bare ring does to its user, tried on this runtime.

use std::fs::File as Plain;
use std::future::{Future, poll_fn};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use anyhow::Result;
use futures_util::future::join_all;
use littoral_bench_side::hazards::{
    BYTES, COUNT, MEMORY, Others, WRITTEN, at, dropped, file, overwritten, taken_later,
};
use littoral_bench_side::{DIRECT, Found, Hazard};
use tokio_uring::buf::{BoundedBuf, Slice};
use tokio_uring::fs::File;
use tokio_uring::{Runtime, builder};

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

/// Memory of a transfer, aligned.
fn memory(fill: u8) -> Slice<Vec<u8>> {
    let memory = vec![fill; MEMORY];
    let skipped = memory.as_ptr().align_offset(4096);
    memory.slice(skipped..skipped + BYTES)
}

fn open(path: &Path, direct: bool) -> Result<File> {
    let flags = if direct { DIRECT } else { 0 };
    let file = Plain::options().read(true).write(true).custom_flags(flags).open(path)?;
    Ok(File::from_std(file))
}

/// Polls each future once, which starts it.
async fn started<F: Future>(futures: &mut [Pin<Box<F>>]) {
    poll_fn(|context| {
        for future in futures.iter_mut() {
            let _ = future.as_mut().poll(context);
        }
        Poll::Ready(())
    })
    .await;
    // The runtime submits when it has nothing else to do.
    tokio_uring::no_op().await.expect("a ring can do nothing");
}

fn descriptor_reuse(folder: &Path) -> Result<Found> {
    let path = file(folder, "reused")?;
    Runtime::new(&builder())?.block_on(async {
        let first = open(&path, false)?;
        let write = first.write_at(memory(WRITTEN), 0).submit();
        drop(first);
        let others = Others::open(&path)?;
        write.await.0?;
        others.look()
    })
}

fn completion_overflow(folder: &Path) -> Result<Found> {
    const READS: usize = 8192;
    let path = file(folder, "overflow")?;
    Runtime::new(&builder())?.block_on(async {
        let file = open(&path, false)?;
        let read = |nth| file.read_at(vec![0; 512], at(nth % COUNT));
        let read = join_all((0..READS).map(read)).await;
        let wrong = read.iter().filter(|(count, _)| !matches!(count, Ok(512))).count();
        Ok(Found::none_of(wrong, &format!("of {READS} reads were not seen")))
    })
}

fn drop_in_flight(folder: &Path) -> Result<Found> {
    let path = file(folder, "dropped-reads")?;
    let runtime = Runtime::new(&builder())?;
    runtime.block_on(async {
        let file = open(&path, true)?;
        let mut reads: Vec<_> =
            (0..COUNT).map(|nth| Box::pin(file.read_at(memory(0), at(nth)))).collect();
        started(&mut reads).await;
        anyhow::Ok(())
    })?;
    drop(runtime);
    let read = overwritten();

    let path = file(folder, "dropped-writes")?;
    let runtime = Runtime::new(&builder())?;
    runtime.block_on(async {
        let file = open(&path, false)?;
        let mut writes: Vec<_> = (0..COUNT)
            .map(|nth| Box::pin(file.write_at(memory(WRITTEN), at(nth)).submit()))
            .collect();
        started(&mut writes).await;
        anyhow::Ok(())
    })?;
    drop(runtime);
    Ok(dropped(read, taken_later(&path)?))
}

fn cancel_direct(folder: &Path) -> Result<Found> {
    let path = file(folder, "cancelled")?;
    let runtime = Runtime::new(&builder())?;
    runtime.block_on(async {
        let file = open(&path, true)?;
        let mut reads: Vec<_> =
            (0..COUNT).map(|nth| Box::pin(file.read_at(memory(0), at(nth)))).collect();
        started(&mut reads).await;
        // To drop a future is how it is cancelled.
        drop(reads);
        let wrong = overwritten();
        Ok(Found::none_of(wrong, &format!("of {COUNT} dropped reads used their memory when free")))
    })
}
