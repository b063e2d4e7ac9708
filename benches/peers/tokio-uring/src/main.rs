//! `tokio-uring`: its runtime, and the operations of a batch joined.

mod hazards;

use std::fs::File as Plain;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Result, ensure};
use futures_util::future::{join_all, try_join_all};
use littoral_bench_side::{
    Batches, DIRECT, Direction, Found, Hazard, Lane, Lanes, Place, Refused, Side, Work, is_page,
    serve,
};
use tokio_uring::buf::{BoundedBuf, Slice};
use tokio_uring::fs::File;
use tokio_uring::{Runtime, builder};

/// What direct reads want of their memory.
const ALIGNMENT: usize = 4096;

fn main() -> Result<()> {
    serve(&TokioUring)
}

struct TokioUring;

impl Side for TokioUring {
    fn configuration(&self, work: &Work) -> String {
        let direct = if work.workload.direct { ", O_DIRECT" } else { "" };
        let durable = if work.workload.durable { ", then sync_data (fdatasync)" } else { "" };
        format!("tokio-uring {}, builder(){direct}{durable}", env!("CARGO_PKG_VERSION"))
    }

    fn open(&self, work: &Work) -> Result<Lanes> {
        let workload = &work.workload;
        if workload.threads > 1 {
            return Refused::because("its driver is for one thread");
        }
        let mut options = Plain::options();
        options.read(true).write(true).custom_flags(if workload.direct { DIRECT } else { 0 });
        let open = |path| Ok(File::from_std(options.open(path)?));
        let batch = match workload.direction {
            Direction::Read => {
                let pages = (0..workload.depth).map(|_| Some(page(workload.bytes)));
                Batch::Reads(pages.collect())
            }
            Direction::Write if workload.spans == 1 => Batch::Writes(work.spans().concat()),
            Direction::Write => Batch::Vectors(work.spans()),
        };
        Ok(Lanes::Here(Box::new(TokioLane {
            files: work.files.iter().map(open).collect::<Result<_>>()?,
            runtime: Runtime::new(&builder())?,
            batch,
            bytes: workload.bytes,
            transfer: workload.transfer(),
            durable: workload.durable,
        })))
    }

    fn meet(&self, hazard: Hazard, folder: &Path) -> Result<Found> {
        hazards::meet(hazard, folder)
    }
}

type Page = Slice<Vec<u8>>;

/// An aligned page.
fn page(bytes: usize) -> Page {
    let memory = vec![0; bytes + ALIGNMENT];
    let skipped = memory.as_ptr().align_offset(ALIGNMENT);
    memory.slice(skipped..skipped + bytes)
}

struct TokioLane {
    // Before the runtime, which they close through.
    files: Vec<File>,
    runtime: Runtime,
    batch: Batch,
    bytes: usize,
    transfer: usize,
    durable: bool,
}

/// The buffers of a batch's transfers.
enum Batch {
    Reads(Vec<Option<Page>>),
    Writes(Vec<&'static [u8]>),
    Vectors(Vec<Vec<&'static [u8]>>),
}

impl Batch {
    async fn run(
        &mut self,
        files: &[File],
        batch: &[Place],
        bytes: usize,
        transfer: usize,
    ) -> Result<()> {
        let whole = |count: std::io::Result<usize>| {
            let count = count?;
            ensure!(count == transfer, "{count} of {transfer} bytes");
            Ok(())
        };
        match self {
            Batch::Reads(pages) => {
                let read = async |(place, page): (&Place, &mut Option<Page>)| {
                    let into = page.take().expect("the page of the read before");
                    let (count, back) = files[place.file].read_at(into, place.at).await;
                    let right = is_page(&back[..count?], place.at, bytes);
                    *page = Some(back);
                    ensure!(right, "not the page at {}", place.at);
                    Ok(())
                };
                match batch {
                    [one] => read((one, &mut pages[0])).await?,
                    _ => drop(try_join_all(batch.iter().zip(pages).map(read)).await?),
                }
            }
            Batch::Writes(pages) => {
                let write = |(place, page): (&Place, &&'static [u8])| {
                    files[place.file].write_at(*page, place.at).submit()
                };
                match batch {
                    [one] => whole(write((one, &pages[0])).await.0)?,
                    _ => {
                        let written = join_all(batch.iter().zip(&*pages).map(write)).await;
                        written.into_iter().try_for_each(|(count, _)| whole(count))?;
                    }
                }
            }
            Batch::Vectors(vectors) => {
                let write = async |(place, spans): (&Place, &mut Vec<&'static [u8]>)| {
                    let from = std::mem::take(spans);
                    let (count, back) = files[place.file].writev_at(from, place.at).await;
                    *spans = back;
                    whole(count)
                };
                try_join_all(batch.iter().zip(vectors).map(write)).await?;
            }
        }
        Ok(())
    }
}

impl Lane for TokioLane {
    fn run(&mut self, batches: Batches<'_>) -> Result<()> {
        let TokioLane { files, runtime, batch, bytes, transfer, durable } = self;
        runtime.block_on(async {
            for places in batches {
                batch.run(files, places, *bytes, *transfer).await?;
                if *durable {
                    match files.as_slice() {
                        [one] => one.sync_data().await?,
                        all => drop(try_join_all(all.iter().map(File::sync_data)).await?),
                    }
                }
            }
            Ok(())
        })
    }
}
