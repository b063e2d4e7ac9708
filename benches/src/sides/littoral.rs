//! This library as an engine uses it: through `Arc<dyn Io>` and `Arc<dyn File>`, in its default
//! configuration unless the side's name says otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use littoral::{
    Arena, Buffer, Completion, Config, DirectIo, File, Intent, Io, OpenOptions, Outcome, Shared,
    SyncKind, Vector, Wait, start, wait,
};
use littoral_bench_side::{
    Batches, Direction, Lane, Lanes, Place, Refused, Side, Work, Workload, is_page, serve,
};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("default") => serve(&Littoral { durable: Durable::Sync, waits: true }),
        Some("intent") => serve(&Littoral { durable: Durable::Intent, waits: true }),
        Some("stepped") => serve(&Littoral { durable: Durable::Sync, waits: false }),
        other => bail!("how: default, intent or stepped, not {other:?}"),
    }
}

struct Littoral {
    durable: Durable,
    /// Whether one operation alone is waited for by `wait`, which may do without the ring.
    waits: bool,
}

/// How a batch is made durable.
#[derive(Clone, Copy, PartialEq)]
enum Durable {
    /// Writes and a sync are submitted together; the sync covers the writes.
    Sync,
    /// Each write is durable by itself.
    Intent,
    /// It is not.
    No,
}

impl Side for Littoral {
    fn configuration(&self, work: &Work) -> String {
        let durable = match self.durable {
            _ if !work.workload.durable => "",
            Durable::Sync => ", with it File::sync (Data)",
            Durable::Intent => ", each with Intent::durable",
            Durable::No => "",
        };
        let direct = if work.workload.direct { ", DirectIo::Required" } else { "" };
        let taken = match (work.workload.depth, self.waits) {
            (1, true) => "wait",
            _ => "step and try_take",
        };
        format!("littoral, Config::new(), {taken}{direct}{durable}")
    }

    fn open(&self, work: &Work) -> Result<Lanes> {
        let workload = &work.workload;
        if self.durable == Durable::Intent && !workload.durable {
            return Refused::because("nothing is durable here");
        }
        if !self.waits && (workload.depth > 1 || workload.durable) {
            return Refused::because("many at once are always taken by steps");
        }
        let folder = work.files[0].parent().context("files lie in a folder")?;
        let io = start(Config::new().root(folder))?;
        ensure!(io.capabilities().backend == "uring", "{:?}", io.capabilities());
        let direct = if workload.direct { DirectIo::Required } else { DirectIo::Off };
        let open = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.context("a name that is text")?;
            Ok(io.open_now(name, OpenOptions::new().direct(direct))?)
        };
        let files: Vec<Arc<dyn File>> = work.files.iter().map(open).collect::<Result<_>>()?;
        let durable = if workload.durable { self.durable } else { Durable::No };
        let how = (durable, self.waits);
        let lane = || -> Box<dyn Lane + Send> {
            match (workload.direction, workload.spans) {
                (Direction::Read, _) => LittoralLane::<Reads>::boxed(work, &io, &files, how),
                (Direction::Write, 1) => LittoralLane::<Writes>::boxed(work, &io, &files, how),
                (Direction::Write, _) => LittoralLane::<Vectors>::boxed(work, &io, &files, how),
            }
        };
        match workload.threads {
            1 => Ok(Lanes::Here(lane())),
            threads => Ok(Lanes::Across((0..threads).map(|_| lane()).collect())),
        }
    }
}

struct LittoralLane<K: Kind> {
    io: Arc<dyn Io>,
    files: Vec<Arc<dyn File>>,
    kind: K,
    pending: Vec<Completion<K::Result>>,
    syncs: Vec<Completion<()>>,
    durable: Durable,
    waits: bool,
}

/// A kind of operation, and its buffers.
trait Kind: Sized + Send + 'static {
    type Result: Outcome + Send;

    fn new(work: &Work) -> Self;

    fn start(
        &mut self,
        nth: usize,
        file: &dyn File,
        at: u64,
        intent: Intent,
    ) -> Completion<Self::Result>;

    /// Takes the buffer back and looks at what came.
    fn end(&mut self, nth: usize, at: u64, result: Self::Result) -> bool;
}

/// Into the page of the read before.
struct Reads {
    pages: Vec<Option<Buffer>>,
    len: usize,
}

impl Kind for Reads {
    type Result = Buffer;

    fn new(work: &Work) -> Reads {
        let (depth, len) = (work.workload.depth, work.workload.bytes);
        let arena = Arena::new(&[(len, depth)]);
        let page = |_| Some(arena.take(len).expect("as many as operations"));
        Reads { pages: (0..depth).map(page).collect(), len }
    }

    fn start(&mut self, nth: usize, file: &dyn File, at: u64, _: Intent) -> Completion<Buffer> {
        file.pread(at, self.pages[nth].take().expect("the page of the read before"))
    }

    fn end(&mut self, nth: usize, at: u64, page: Buffer) -> bool {
        let page = self.pages[nth].insert(page);
        is_page(page, at, self.len)
    }
}

struct Writes(Vec<Shared>);

impl Kind for Writes {
    type Result = ();

    fn new(work: &Work) -> Writes {
        Writes(work.spans().concat().into_iter().map(Shared::from_owner).collect())
    }

    fn start(&mut self, nth: usize, file: &dyn File, at: u64, intent: Intent) -> Completion<()> {
        file.pwrite_with(at, self.0[nth].clone(), intent)
    }

    fn end(&mut self, _: usize, _: u64, (): ()) -> bool {
        true
    }
}

/// The list of each vector is filled again and again.
struct Vectors {
    spans: Vec<Vec<Shared>>,
    vectors: Vec<Vector>,
}

impl Kind for Vectors {
    type Result = ();

    fn new(work: &Work) -> Vectors {
        let Workload { depth, spans, bytes, contiguous, .. } = work.workload;
        let own = |spans_of: Vec<&'static [u8]>| -> Vec<Shared> {
            if contiguous {
                let whole = Shared::from(spans_of.concat());
                (0..spans).map(|nth| whole.slice(nth * bytes..(nth + 1) * bytes)).collect()
            } else {
                spans_of.into_iter().map(Shared::from_owner).collect()
            }
        };
        Vectors {
            spans: work.spans().into_iter().map(own).collect(),
            vectors: (0..depth).map(|_| Vector::with_capacity(spans)).collect(),
        }
    }

    fn start(&mut self, nth: usize, file: &dyn File, at: u64, intent: Intent) -> Completion<()> {
        let vector = &mut self.vectors[nth];
        vector.extend(self.spans[nth].iter().cloned());
        file.pwritev_with(at, vector.clone(), intent)
    }

    fn end(&mut self, nth: usize, _: u64, (): ()) -> bool {
        self.vectors[nth].clear();
        true
    }
}

impl<K: Kind> LittoralLane<K> {
    fn boxed(
        work: &Work,
        io: &Arc<dyn Io>,
        files: &[Arc<dyn File>],
        (durable, waits): (Durable, bool),
    ) -> Box<dyn Lane + Send> {
        Box::new(LittoralLane {
            io: io.clone(),
            files: files.to_vec(),
            kind: K::new(work),
            pending: Vec::with_capacity(work.workload.depth),
            syncs: Vec::with_capacity(work.workload.files),
            durable,
            waits,
        })
    }

    fn end(&mut self, batch: &[Place], nth: usize, result: K::Result) -> Result<()> {
        let at = batch[nth].at;
        ensure!(self.kind.end(nth, at, result), "not the page at {at}");
        Ok(())
    }

    /// Steps until all have ended, and takes the oldest first, as most end in their order.
    fn take_all(&mut self, batch: &[Place]) -> Result<()> {
        let mut seen = self.io.delivered();
        let mut taken = 0;
        loop {
            while let Some(result) = self.pending.get_mut(taken).and_then(Completion::try_take) {
                self.end(batch, taken, result?)?;
                taken += 1;
            }
            if taken == batch.len() {
                self.pending.clear();
                return Ok(());
            }
            seen = self.io.step(seen, Wait::Forever).delivered;
        }
    }
}

impl<K: Kind> Lane for LittoralLane<K> {
    fn run(&mut self, batches: Batches<'_>) -> Result<()> {
        let intent = Intent::new().durable(self.durable == Durable::Intent);
        for batch in batches {
            for (nth, place) in batch.iter().enumerate() {
                let file = &*self.files[place.file];
                self.pending.push(self.kind.start(nth, file, place.at, intent));
            }
            if self.durable == Durable::Sync {
                self.syncs.extend(self.files.iter().map(|file| file.sync(SyncKind::Data)));
                for sync in self.syncs.drain(..) {
                    wait(&*self.io, sync)?;
                }
            }
            if batch.len() == 1 && self.waits {
                let one = self.pending.pop().expect("it was just started");
                let result = wait(&*self.io, one)?;
                self.end(batch, 0, result)?;
            } else {
                self.take_all(batch)?;
            }
        }
        Ok(())
    }
}
