//! Is a read that is alone done without the ring, and every other one by it?
#![cfg(target_os = "linux")]

use std::sync::Arc;

use littoral::{Buffer, Config, File, Io, OpenOptions, Statistics, Wait, block_on, start, wait};

const PAGE: usize = 4096;
const PAGES: u64 = 16;

struct Bench {
    _folder: tempfile::TempDir,
    io: Arc<dyn Io>,
    file: Arc<dyn File>,
    before: Statistics,
}

impl Bench {
    /// A file in the page cache: what was just written is.
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let pages: Vec<u8> = (0..PAGES).flat_map(|page| [page.to_le_bytes()[0]; PAGE]).collect();
        std::fs::write(folder.path().join("file"), pages).expect("it is written");
        let io = start(Config::new().root(folder.path())).expect("a driver");
        let file = wait(&io, io.open("file", OpenOptions::read_only())).expect("it opens");
        // The first operations take fresh slots, and so the long way.
        wait(&io, file.size()).expect("a size");
        let before = io.statistics();
        Bench { _folder: folder, io, file, before }
    }

    /// How many reads needed no entry, and how many entries there were, since the start.
    fn counted(&self) -> (u64, u64) {
        let now = self.io.statistics();
        (now.direct - self.before.direct, now.pushed - self.before.pushed)
    }
}

fn page() -> Buffer {
    Buffer::with_capacity(PAGE)
}

#[test]
fn alone_and_cached_it_needs_no_entry_however_it_is_waited_for() {
    let bench = Bench::new();
    let (io, file) = (&bench.io, &bench.file);
    for number in 0..PAGES {
        let at = number * PAGE as u64;
        let expected = [number.to_le_bytes()[0]; PAGE];
        assert_eq!(wait(io, file.pread(at, page())).expect("it reads")[..], expected);

        let seen = io.delivered();
        let mut read = file.pread(at, page());
        io.step(seen, Wait::Forever);
        let taken = read.try_take().expect("it was delivered").expect("it reads");
        assert_eq!(taken[..], expected);

        let awaited = block_on(io, file.pread(at, page())).expect("it can wait");
        assert_eq!(awaited.expect("it reads")[..], expected);
    }
    assert_eq!(bench.counted(), (3 * PAGES, 0));
}

#[test]
fn at_the_end_of_the_file_the_ring_says_so() {
    let bench = Bench::new();
    for (left, pushed) in [(100, 2), (0, 2)] {
        let before = bench.counted();
        let at = PAGES * PAGE as u64 - left;
        let read = wait(&bench.io, bench.file.pread(at, page())).expect("it reads");
        assert_eq!(read.len() as u64, left);
        let after = bench.counted();
        // The read, and the size that tells whether a short count is the end.
        assert_eq!((after.0 - before.0, after.1 - before.1), (0, pushed));
    }
}

#[test]
fn in_company_each_has_its_entry() {
    let bench = Bench::new();
    let reads: Vec<_> =
        (0..PAGES).map(|number| bench.file.pread(number * PAGE as u64, page())).collect();
    for (number, read) in (0..PAGES).zip(reads) {
        let read = wait(&bench.io, read).expect("it reads");
        assert_eq!(read[..], [number.to_le_bytes()[0]; PAGE]);
    }
    assert_eq!(bench.counted(), (0, PAGES));
}

#[test]
fn a_read_without_a_wait_is_left_to_the_ring() {
    let bench = Bench::new();
    let mut read = bench.file.pread(0, page());
    while read.try_take().is_none() {
        bench.io.step(bench.io.delivered(), Wait::No);
    }
    assert_eq!(bench.counted(), (0, 1));
}

/// The ring's queue holds a quarter of them. Those behind a full one go straight as well, once it
/// was handed to the kernel, and none has to wait for a step to be pushed.
#[test]
fn more_than_the_queue_holds_go_straight_too() {
    const READS: u64 = 1000;
    let bench = Bench::new();
    let (io, file) = (&bench.io, &bench.file);
    // The second time there are slots that were used before, which is what going straight takes.
    for _ in 0..2 {
        let before = io.statistics();
        let at = |number: u64| number % PAGES * PAGE as u64;
        let reads: Vec<_> = (0..READS).map(|number| file.pread(at(number), page())).collect();
        let all = io.statistics();
        if before.pushed > bench.before.pushed {
            assert_eq!(all.pushed - before.pushed, READS, "all were pushed before any step");
            assert!(all.queued < READS / 2, "{} were not handed to the kernel", all.queued);
        }
        for (number, read) in (0..).zip(reads) {
            let expected = [(number % PAGES).to_le_bytes()[0]; PAGE];
            assert_eq!(wait(io, read).expect("it reads")[..], expected);
        }
    }
    assert!(bench.counted().1 >= READS);
}
