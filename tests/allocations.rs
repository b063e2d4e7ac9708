//! In the steady state an operation allocates nothing: counted by a global allocator, on `uring`,
//! with an arena's buffers, registered or not, through `Arc<dyn File>`, for each way to take a
//! result.
//!
//! One test only, in a process of its own: what another one allocates would be counted with it.
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use littoral::{
    Arena, Buffer, Completion, Config, File, Io, OpenOptions, Shared, SyncKind, Vector, Wait,
    block_on, start, wait,
};
use serde::Deserialize;

struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

// SAFETY: `System` serves every request unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as of the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const PAGE: usize = 4096;
/// A page with a frame's header, the second size that logs write.
const FRAME: usize = PAGE + 24;
const DEPTH: usize = 8;
/// Until everything has grown to what the loop needs.
const WARM_UP: usize = 50;
const ROUNDS: usize = 200;

/// Of the file of ceilings, the part that is judged here.
#[derive(Deserialize)]
struct Ceilings {
    allocations: BTreeMap<String, f64>,
}

/// How results are taken.
const TAKEN: [&str; 3] = ["try_take", "wait", "await"];

/// All that a round needs.
struct Bench {
    io: Arc<dyn Io>,
    file: Arc<dyn File>,
    arena: Arena,
    vectors: Vec<Vector>,
}

impl Bench {
    /// A read of a page into the arena's memory.
    fn pread(&mut self, number: usize) -> Completion<Buffer> {
        let page = self.arena.take(PAGE).expect("enough pages");
        self.file.pread((number * PAGE) as u64, page)
    }

    /// Fresh bytes in the arena's memory, frozen.
    fn frame(&self, number: usize) -> Shared {
        let mut frame = self.arena.take(FRAME).expect("enough frames");
        frame.extend_from_slice(&[number.to_le_bytes()[0]; 64]);
        frame.freeze()
    }

    fn pwrite(&mut self, number: usize) -> Completion<()> {
        self.file.pwrite((number * 2 * PAGE) as u64, self.frame(number))
    }

    /// Writes that are neighbours in the file, and so travel together.
    fn adjacent(&mut self, number: usize) -> Completion<()> {
        self.file.pwrite((number * FRAME) as u64, self.frame(number))
    }

    fn sync(&mut self, _: usize) -> Completion<()> {
        self.file.sync(SyncKind::Data)
    }

    fn pwritev(&mut self, number: usize) -> Completion<()> {
        let frames = [0, 1, 2, 3].map(|part| self.frame(number + part));
        // What was written by it before has ended.
        self.vectors[number].clear();
        self.vectors[number].extend(frames);
        self.file.pwritev((number * 2 * PAGE) as u64, self.vectors[number].clone())
    }

    /// A round of one kind of operation: some in flight at once, their results taken in one way.
    fn round(&mut self, operation: &str, taken: &str) {
        match operation {
            "pread" => self.turn(taken, Bench::pread, |page| assert_eq!(page.len(), PAGE)),
            "pwrite" => self.turn(taken, Bench::pwrite, |()| ()),
            "adjacent-pwrite" => self.turn(taken, Bench::adjacent, |()| ()),
            "sync" => self.turn(taken, Bench::sync, |()| ()),
            "pwritev" => self.turn(taken, Bench::pwritev, |()| ()),
            other => panic!("{other} has a ceiling and is not measured"),
        }
    }

    fn turn<T>(
        &mut self,
        taken: &str,
        start: impl Fn(&mut Bench, usize) -> Completion<T>,
        look: impl Fn(T),
    ) where
        Completion<T>: Taken<T>,
    {
        let mut started: [_; DEPTH] = std::array::from_fn(|number| start(self, number));
        match taken {
            "try_take" => {
                let mut seen = self.io.delivered();
                let mut left = DEPTH;
                while left > 0 {
                    seen = self.io.step(seen, Wait::Forever).delivered;
                    for result in started.iter_mut().filter_map(Taken::now) {
                        look(result);
                        left -= 1;
                    }
                }
            }
            "wait" => started.into_iter().for_each(|each| look(each.waited(&*self.io))),
            _ => block_on(&self.io, async {
                for each in started {
                    look(each.awaited().await);
                }
            })
            .expect("it can wait here"),
        }
    }
}

/// The three ways, for the two types of result there are.
trait Taken<T>: Sized {
    fn now(&mut self) -> Option<T>;
    fn waited(self, io: &dyn Io) -> T;
    async fn awaited(self) -> T;
}

macro_rules! taken {
    ($($type:ty),*) => {$(
        impl Taken<$type> for Completion<$type> {
            fn now(&mut self) -> Option<$type> {
                self.try_take().map(|result| result.expect("it succeeds"))
            }

            fn waited(self, io: &dyn Io) -> $type {
                wait(io, self).expect("it succeeds")
            }

            async fn awaited(self) -> $type {
                self.await.expect("it succeeds")
            }
        }
    )*};
}

taken!((), Buffer);

#[test]
fn nothing_allocates_in_the_steady_state() {
    let text = include_str!("gates.toml");
    let Ceilings { allocations: ceilings } = toml::from_str(text).expect("the ceilings are TOML");
    assert_eq!(ceilings.len(), 5, "{ceilings:?}");

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), vec![7; 4 * DEPTH * PAGE]).expect("a file");
    let root = folder.path().to_str().expect("its name is text");
    let io = start(Config::new().root(root)).expect("a driver");
    assert_eq!(io.capabilities().backend, "uring", "{:?}", io.capabilities());
    let file = wait(&*io, io.open("file", OpenOptions::new())).expect("it opens");
    let arena = Arena::new(&[(PAGE, DEPTH), (FRAME, 8 * DEPTH)]);
    let vectors = (0..DEPTH).map(|_| Vector::with_capacity(4)).collect();
    let mut bench = Bench { io, file, arena, vectors };

    let mut above = judge(&mut bench, &ceilings);
    let registration = wait(&*bench.io, bench.io.register(&bench.arena)).expect("it is tried");
    above.extend(judge(&mut bench, &ceilings));
    // Unless little memory may be locked.
    let of_use = bench.io.statistics().fixed > 0;
    assert!(of_use || registration.refused().is_some(), "{registration:?}");
    assert!(
        above.is_empty(),
        "more allocations by the operation than tests/gates.toml allows: {above:#?}"
    );
}

/// What is above its ceiling.
fn judge(bench: &mut Bench, ceilings: &BTreeMap<String, f64>) -> Vec<String> {
    let mut above = Vec::new();
    for (operation, &ceiling) in ceilings {
        for taken in TAKEN {
            let mut count = |rounds| {
                let before = ALLOCATED.load(Ordering::Relaxed);
                (0..rounds).for_each(|_| bench.round(operation, taken));
                ALLOCATED.load(Ordering::Relaxed) - before
            };
            count(WARM_UP);
            // `block_on` makes one waker each time it is called: that is no operation's.
            let own = if taken == "await" { ROUNDS } else { 0 } as u64;
            let counted = count(ROUNDS) - own;
            let exact = |count: u64| f64::from(u32::try_from(count).expect("a small count"));
            let each = exact(counted) / exact((ROUNDS * DEPTH) as u64);
            println!("{operation}, {taken}: {each} allocations, ceiling {ceiling}");
            if each > ceiling {
                above.push(format!("{operation}, {taken}: {each} of {ceiling}"));
            }
        }
    }
    above
}
