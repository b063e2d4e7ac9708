//! `turso_core`'s own drivers, through its public traits. One text for both versions that are
//! compared; each has a package of its own beside this folder.
//!
//! As its database does, pages are taken from its `BufferPool`, which registers them with the ring,
//! and what is read is given back with its completion.

mod hazards;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail, ensure};
use littoral_bench_side::{Batches, 
    Direction, Found, Hazard, Lane, Lanes, Place, Refused, Side, Work, is_page, serve,
};
use turso_core::io::FileSyncType;
use turso_core::{Buffer, BufferPool, Completion, File, IO, OpenFlags, UnixIO, UringIO};

/// Room for the deepest batch, and for the alignment of its pages.
const ARENA_BYTES: usize = 6 << 20;

fn main() -> Result<()> {
    // Files are shared with other sides, one after another.
    match std::env::args().nth(1).as_deref() {
        Some("uring") => serve(&Turso { start: || Ok(Arc::new(UringIO::new()?)), uring: true }),
        Some("unix") => serve(&Turso { start: || Ok(Arc::new(UnixIO::new()?)), uring: false }),
        other => bail!("which driver: uring or unix, not {other:?}"),
    }
}

struct Turso {
    start: fn() -> Result<Arc<dyn IO>>,
    uring: bool,
}

impl Side for Turso {
    fn configuration(&self, work: &Work) -> String {
        let driver = if self.uring { "UringIO" } else { "UnixIO" };
        let memory = if work.workload.fresh { "heap buffers" } else { "pages of its BufferPool" };
        let durable = if work.workload.durable { ", File::sync (fsync)" } else { "" };
        format!("turso_core {}, {driver}, {memory}{durable}", env!("CARGO_PKG_VERSION"))
    }

    fn open(&self, work: &Work) -> Result<Lanes> {
        let workload = &work.workload;
        if workload.direct {
            return Refused::because("this driver does not open files for direct I/O");
        }
        if workload.contiguous && workload.spans > 1 {
            return Refused::because("its buffers are separate allocations");
        }
        let io = (self.start)()?;
        let flags = OpenFlags::Create | OpenFlags::NoLock;
        let open =
            |path: &std::path::PathBuf| Ok(io.open_file(&path.to_string_lossy(), flags, false)?);
        let files: Vec<Arc<dyn File>> = work.files.iter().map(open).collect::<Result<_>>()?;
        let pool = BufferPool::begin_init(&io, ARENA_BYTES);
        if !workload.fresh {
            pool.finalize_with_page_size(4096)?;
        }
        let lane = || TursoLane::new(work, &io, &files, &pool);
        match workload.threads {
            1 => Ok(Lanes::Here(Box::new(lane()))),
            threads => Ok(Lanes::Across((0..threads).map(|_| Box::new(lane()) as _).collect())),
        }
    }

    fn meet(&self, hazard: Hazard, folder: &Path) -> Result<Found> {
        hazards::meet((self.start)()?, hazard, folder)
    }
}

struct TursoLane {
    io: Arc<dyn IO>,
    files: Vec<Arc<dyn File>>,
    /// What is read into.
    pool: Arc<BufferPool>,
    /// What is written, for each transfer of a batch.
    spans: Vec<Vec<Arc<Buffer>>>,
    pending: Vec<Completion>,
    right: Arc<AtomicUsize>,
    direction: Direction,
    bytes: usize,
    durable: bool,
}

impl TursoLane {
    fn new(
        work: &Work,
        io: &Arc<dyn IO>,
        files: &[Arc<dyn File>],
        pool: &Arc<BufferPool>,
    ) -> TursoLane {
        let workload = &work.workload;
        let copied = |span: &&[u8]| {
            let page = pool.allocate(span.len());
            page.as_mut_slice().copy_from_slice(span);
            Arc::new(page)
        };
        let spans = match workload.direction {
            Direction::Read => Vec::new(),
            Direction::Write => {
                work.spans().iter().map(|write| write.iter().map(copied).collect()).collect()
            }
        };
        TursoLane {
            io: io.clone(),
            files: files.to_vec(),
            pool: pool.clone(),
            spans,
            pending: Vec::with_capacity(workload.depth),
            right: Arc::default(),
            direction: workload.direction,
            bytes: workload.bytes,
            durable: workload.durable,
        }
    }

    fn start(&self, nth: usize, place: Place) -> Result<Completion> {
        let file = &self.files[place.file];
        let right = self.right.clone();
        let written = |len: usize| {
            Completion::new_write(move |written| {
                if written.is_ok_and(|written| usize::try_from(written) == Ok(len)) {
                    right.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Ok(match (self.direction, self.spans.get(nth).map(Vec::as_slice)) {
            (Direction::Read, _) => {
                let (right, len) = (self.right.clone(), self.bytes);
                let into = Arc::new(self.pool.allocate(len));
                let read = Completion::new_read(into, move |read| {
                    let (page, count) = read.ok()?;
                    let count = usize::try_from(count).unwrap_or(0);
                    if is_page(&page.as_slice()[..count], place.at, len) {
                        right.fetch_add(1, Ordering::Relaxed);
                    }
                    None
                });
                file.pread(place.at, read)?
            }
            (Direction::Write, Some([one])) => {
                file.pwrite(place.at, one.clone(), written(self.bytes))?
            }
            (Direction::Write, spans) => {
                let spans = spans.unwrap_or_default();
                file.pwritev(place.at, spans.to_vec(), written(self.bytes * spans.len()))?
            }
        })
    }

    fn wait(&mut self) -> Result<()> {
        while self.pending.iter().any(|one| !one.finished()) {
            self.io.step()?;
        }
        self.pending.clear();
        Ok(())
    }
}

impl Lane for TursoLane {
    fn run(&mut self, batches: Batches<'_>) -> Result<()> {
        for batch in batches {
            self.right.store(0, Ordering::Relaxed);
            for (nth, place) in batch.iter().enumerate() {
                let started = self.start(nth, *place)?;
                self.pending.push(started);
            }
            self.wait()?;
            let right = self.right.load(Ordering::Relaxed);
            ensure!(right == batch.len(), "{right} of {} transfers are right", batch.len());
            if self.durable {
                for file in &self.files {
                    let flushed = Completion::new_sync(|_| {});
                    self.pending.push(file.sync(flushed, FileSyncType::Fsync)?);
                }
                let syncs = self.pending.clone();
                self.wait()?;
                ensure!(syncs.iter().all(Completion::succeeded), "a sync failed");
            }
        }
        Ok(())
    }
}
