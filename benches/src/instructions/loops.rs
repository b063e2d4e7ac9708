//! The loops: one kind of operation, some number in flight, their results taken in one way.
//!
//! Everything that can be is done before: the file is cached, the pages are an arena's, the vectors
//! are reused.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use littoral::{
    Arena, Buffer, Completion, Config, File, Io, OpenOptions, Shared, Vector, Wait, block_on,
    start, wait,
};
use serde::Deserialize;

use crate::bare;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// Pages of a vector.
pub(crate) const PARTS: usize = 4;

/// Whose loop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// This library, through `Arc<dyn File>`.
    Littoral,
    /// The `io-uring` crate by itself.
    Bare,
}

/// What is done in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// Into a page that an arena gives for each read, and that goes home after it.
    Pread,
    /// Into the page of the read before, as the bare loop does.
    PreadReused,
    Pwrite,
    Pwritev,
}

/// How results are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Taken {
    /// By a loop that steps and looks at all of them.
    TryTake,
    /// One after another, by `wait`.
    Wait,
    /// One after another, by `await` inside `block_on`.
    Await,
}

/// One loop.
#[derive(Args, Clone, Debug)]
pub(crate) struct Loop {
    #[arg(long)]
    pub(crate) side: Side,
    #[arg(long)]
    pub(crate) operation: Operation,
    /// How results are taken; the bare ring knows one way only.
    #[arg(long, default_value = "try-take")]
    pub(crate) taken: Taken,
    /// Operations in flight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) depth: u32,
    /// How many times that many operations are done.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rounds: u32,
}

impl Loop {
    /// Runs it; gives how many operations were done.
    pub(crate) fn run(&self) -> Result<u64> {
        let folder = tempfile::tempdir().context("a folder for the measured file")?;
        let path = folder.path().join("file");
        // Enough for every operation to have a place of its own.
        fs::write(&path, vec![7; self.depth as usize * 2 * PARTS * PAGE])?;
        match self.side {
            Side::Bare => bare::run(&path, self)?,
            Side::Littoral => {
                let root = folder.path().to_str().context("the folder's name is not text")?;
                let io = start(Config::new().root(root))?;
                ensure!(
                    io.capabilities().backend == "uring",
                    "measured is io_uring, and this is {:?}",
                    io.capabilities()
                );
                let file = wait(&*io, io.open("file", OpenOptions::new()))?;
                match self.operation {
                    Operation::Pread => Reads::new(self).run(self, &io, &file)?,
                    Operation::PreadReused => Rereads::new(self).run(self, &io, &file)?,
                    Operation::Pwrite => Writes::new(self).run(self, &io, &file)?,
                    Operation::Pwritev => Vectors::new(self).run(self, &io, &file)?,
                }
            }
        }
        Ok(u64::from(self.depth) * u64::from(self.rounds))
    }
}

/// A kind of operation: how one is started, and what is to be seen of its result.
trait Kind {
    type Result;

    fn start(&mut self, file: &dyn File, number: usize) -> Completion<Self::Result>;

    fn take(&mut self, number: usize, result: Self::Result);

    /// The loop. Not inlined, so that a profile shows it under its own name.
    #[inline(never)]
    fn run(&mut self, one: &Loop, io: &Arc<dyn Io>, file: &Arc<dyn File>) -> Result<()>
    where
        Completion<Self::Result>: Waited<Self::Result>,
    {
        let depth = one.depth as usize;
        ensure!(
            depth == 1 || one.taken == Taken::TryTake,
            "one after another is one at a time: --depth 1"
        );
        let mut pending = Vec::with_capacity(depth);
        let rounds = 0..one.rounds;
        match one.taken {
            Taken::TryTake => {
                for _ in rounds {
                    pending.extend((0..depth).map(|number| self.start(&**file, number)));
                    let mut seen = io.delivered();
                    let mut taken = 0;
                    while taken < depth {
                        seen = io.step(seen, Wait::Forever).delivered;
                        // The oldest first, as most end in their order.
                        while let Some(result) = pending.get_mut(taken).and_then(Waited::taken) {
                            self.take(taken, result?);
                            taken += 1;
                        }
                    }
                    pending.clear();
                }
            }
            Taken::Wait => {
                for _ in rounds {
                    let completion = self.start(&**file, 0);
                    self.take(0, completion.waited(io)?);
                }
            }
            Taken::Await => block_on(io, async {
                for _ in rounds {
                    let completion = self.start(&**file, 0);
                    self.take(0, completion.awaited().await?);
                }
                Ok::<(), littoral::Error>(())
            })??,
        }
        Ok(())
    }
}

/// What a completion of each of the kinds can do.
trait Waited<T> {
    fn taken(&mut self) -> Option<littoral::Result<T>>;
    fn waited(self, io: &Arc<dyn Io>) -> littoral::Result<T>;
    fn awaited(self) -> impl Future<Output = littoral::Result<T>>;
}

macro_rules! waited {
    ($($type:ty),*) => {$(
        impl Waited<$type> for Completion<$type> {
            fn taken(&mut self) -> Option<littoral::Result<$type>> {
                self.try_take()
            }

            fn waited(self, io: &Arc<dyn Io>) -> littoral::Result<$type> {
                wait(io, self)
            }

            fn awaited(self) -> impl Future<Output = littoral::Result<$type>> {
                self
            }
        }
    )*};
}

waited!((), Buffer);

struct Reads {
    arena: Arena,
}

impl Reads {
    fn new(one: &Loop) -> Reads {
        Reads { arena: pages(one, 1) }
    }
}

impl Kind for Reads {
    type Result = Buffer;

    fn start(&mut self, file: &dyn File, number: usize) -> Completion<Buffer> {
        file.pread((number * PAGE) as u64, page(&self.arena))
    }

    fn take(&mut self, _: usize, page: Buffer) {
        assert_eq!((page.len(), page[0]), (PAGE, 7));
    }
}

struct Rereads {
    pages: Vec<Option<Buffer>>,
}

impl Rereads {
    fn new(one: &Loop) -> Rereads {
        let arena = pages(one, 1);
        Rereads { pages: (0..one.depth).map(|_| Some(page(&arena))).collect() }
    }
}

impl Kind for Rereads {
    type Result = Buffer;

    fn start(&mut self, file: &dyn File, number: usize) -> Completion<Buffer> {
        let page = self.pages[number].take().expect("the page of the read before");
        file.pread((number * PAGE) as u64, page)
    }

    fn take(&mut self, number: usize, page: Buffer) {
        assert_eq!((page.len(), page[0]), (PAGE, 7));
        self.pages[number] = Some(page);
    }
}

struct Writes {
    pages: Vec<Shared>,
}

impl Writes {
    fn new(one: &Loop) -> Writes {
        Writes { pages: filled(&pages(one, 1)) }
    }
}

impl Kind for Writes {
    type Result = ();

    fn start(&mut self, file: &dyn File, number: usize) -> Completion<()> {
        // Two pages apart: what is measured is one write each, not how neighbours merge.
        file.pwrite((number * 2 * PAGE) as u64, self.pages[number].clone())
    }

    fn take(&mut self, _: usize, (): ()) {}
}

struct Vectors {
    pages: Vec<Shared>,
    /// One for each that is in flight, filled again and again.
    vectors: Vec<Vector>,
}

impl Vectors {
    fn new(one: &Loop) -> Vectors {
        let vectors = (0..one.depth).map(|_| Vector::with_capacity(PARTS)).collect();
        Vectors { pages: filled(&pages(one, PARTS)), vectors }
    }
}

impl Kind for Vectors {
    type Result = ();

    fn start(&mut self, file: &dyn File, number: usize) -> Completion<()> {
        let vector = &mut self.vectors[number];
        vector.extend(self.pages[number * PARTS..][..PARTS].iter().cloned());
        // Twice as far apart as they are long, or they would merge.
        file.pwritev((number * 2 * PARTS * PAGE) as u64, vector.clone())
    }

    fn take(&mut self, number: usize, (): ()) {
        self.vectors[number].clear();
    }
}

/// An arena with as many pages as all operations together have.
fn pages(one: &Loop, each: usize) -> Arena {
    Arena::new(&[(PAGE, one.depth as usize * each)])
}

fn page(arena: &Arena) -> Buffer {
    arena.take(PAGE).expect("as many pages as operations")
}

/// All pages of an arena, to be written.
fn filled(arena: &Arena) -> Vec<Shared> {
    let fill = |mut page: Buffer| {
        page.fill_with_zeros();
        page.freeze()
    };
    (0..arena.free(PAGE)).map(|_| fill(page(arena))).collect()
}
