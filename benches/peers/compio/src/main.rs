//! `compio-driver`: its proactor, pushed to and polled by hand, as its own runtime does.

mod hazards;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use compio_buf::{BufResult, IntoInner};
use compio_driver::op::{ReadAt, Sync, WriteAt, WriteVectoredAt};
use compio_driver::{Key, OpCode, Proactor, PushEntry, SharedFd};
use littoral_bench_side::{
    Batches, DIRECT, Direction, Found, Hazard, Lane, Lanes, Refused, Side, Work, is_page, memory,
    serve,
};

fn main() -> Result<()> {
    serve(&Compio)
}

struct Compio;

impl Side for Compio {
    fn configuration(&self, work: &Work) -> String {
        let direct = if work.workload.direct { ", O_DIRECT" } else { "" };
        let durable = if work.workload.durable { ", then Sync (fdatasync)" } else { "" };
        format!("compio-driver {}, Proactor::new(){direct}{durable}", env!("CARGO_PKG_VERSION"))
    }

    fn open(&self, work: &Work) -> Result<Lanes> {
        let workload = &work.workload;
        if workload.threads > 1 {
            return Refused::because("its driver is for one thread");
        }
        Ok(Lanes::Here(match (workload.direction, workload.spans) {
            (Direction::Read, _) => {
                let pages = memory::neighbours(workload.depth, workload.bytes).map(Some);
                CompioLane::open(work, Reads(pages.collect()))?
            }
            (Direction::Write, 1) => CompioLane::open(work, Writes(work.spans().concat()))?,
            (Direction::Write, _) => {
                let spans = work.spans().into_iter().map(|spans| &*spans.leak());
                CompioLane::open(work, Vectors(spans.collect()))?
            }
        }))
    }

    fn meet(&self, hazard: Hazard, folder: &Path) -> Result<Found> {
        hazards::meet(hazard, folder)
    }
}

type Fd = SharedFd<File>;
type Page = &'static mut [u8];
type Pushed<O> = PushEntry<Key<O>, BufResult<usize, O>>;

struct CompioLane<K: Kind> {
    proactor: Proactor,
    files: Vec<Fd>,
    kind: K,
    pushed: Vec<Pushed<K::Operation>>,
    syncs: Vec<Pushed<Sync<Fd>>>,
    transfer: usize,
    durable: bool,
}

/// A kind of operation, and its buffers.
trait Kind {
    type Operation: OpCode + 'static;

    fn start(&mut self, nth: usize, file: Fd, at: u64) -> Self::Operation;

    /// Takes the buffers back and looks at what came.
    fn end(&mut self, _nth: usize, _at: u64, _count: usize, _operation: Self::Operation) -> bool {
        true
    }
}

struct Reads(Vec<Option<Page>>);

impl Kind for Reads {
    type Operation = ReadAt<Page, Fd>;

    fn start(&mut self, nth: usize, file: Fd, at: u64) -> Self::Operation {
        ReadAt::new(file, at, self.0[nth].take().expect("the page of the read before"))
    }

    fn end(&mut self, nth: usize, at: u64, count: usize, read: Self::Operation) -> bool {
        let page = self.0[nth].insert(read.into_inner());
        is_page(&page[..count], at, page.len())
    }
}

struct Writes(Vec<&'static [u8]>);

impl Kind for Writes {
    type Operation = WriteAt<&'static [u8], Fd>;

    fn start(&mut self, nth: usize, file: Fd, at: u64) -> Self::Operation {
        WriteAt::new(file, at, self.0[nth])
    }
}

struct Vectors(Vec<&'static [&'static [u8]]>);

impl Kind for Vectors {
    type Operation = WriteVectoredAt<&'static [&'static [u8]], Fd>;

    fn start(&mut self, nth: usize, file: Fd, at: u64) -> Self::Operation {
        WriteVectoredAt::new(file, at, self.0[nth])
    }
}

impl<K: Kind + 'static> CompioLane<K> {
    fn open(work: &Work, kind: K) -> Result<Box<dyn Lane>> {
        let workload = &work.workload;
        let mut options = File::options();
        options.read(true).write(true).custom_flags(if workload.direct { DIRECT } else { 0 });
        let open = |path| Ok(SharedFd::new(options.open(path)?));
        let mut proactor = Proactor::new()?;
        // The first poll pushes an entry of its own. If it came with the queue full, it would take
        // all completions on its way in, and then wait for one more for ever.
        match proactor.poll(Some(Duration::ZERO)) {
            Err(error) if error.kind() != ErrorKind::TimedOut => return Err(error.into()),
            _ => (),
        }
        Ok(Box::new(CompioLane {
            proactor,
            files: work.files.iter().map(open).collect::<Result<_>>()?,
            kind,
            pushed: Vec::with_capacity(workload.depth),
            syncs: Vec::with_capacity(workload.files),
            transfer: workload.transfer(),
            durable: workload.durable,
        }))
    }
}

/// Polls until an operation has ended.
fn wait<O: OpCode>(proactor: &mut Proactor, mut entry: Pushed<O>) -> Result<(usize, O)> {
    loop {
        entry = match entry {
            PushEntry::Ready(BufResult(count, operation)) => return Ok((count?, operation)),
            PushEntry::Pending(key) => match proactor.pop(key) {
                PushEntry::Pending(key) => {
                    proactor.poll(None)?;
                    PushEntry::Pending(key)
                }
                ready @ PushEntry::Ready(_) => ready,
            },
        }
    }
}

impl<K: Kind> Lane for CompioLane<K> {
    fn run(&mut self, batches: Batches<'_>) -> Result<()> {
        let CompioLane { proactor, files, kind, pushed, syncs, transfer, durable } = self;
        for batch in batches {
            for (nth, place) in batch.iter().enumerate() {
                let operation = kind.start(nth, files[place.file].clone(), place.at);
                pushed.push(proactor.push(operation));
            }
            for ((nth, place), entry) in batch.iter().enumerate().zip(pushed.drain(..)) {
                let (count, operation) = wait(proactor, entry)?;
                let right = kind.end(nth, place.at, count, operation);
                ensure!(right && count == *transfer, "{count} bytes, or wrong ones");
            }
            if *durable {
                let flush = |file: &Fd| proactor.push(Sync::new(file.clone(), true));
                syncs.extend(files.iter().map(flush));
                for entry in syncs.drain(..) {
                    wait(proactor, entry)?;
                }
            }
        }
        Ok(())
    }
}
