//! A workload on its files: where each transfer goes, and what is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use fastrand::Rng;

use crate::{Order, Workload, memory};

/// Transfers whose places are made; after them it begins again. With 4 KiB each they fill 64 MiB,
/// so that what is read stays in the page cache, however large the file is.
const PLACES: usize = 16 * 1024;

/// The unit in which contents are told apart.
const PAGE: usize = 4096;

/// Decides the places. One number for all sides, so that all do the same.
const SEED: u64 = 1;

/// Where a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which file, from 0.
    pub file: usize,
    /// Bytes from its start.
    pub at: u64,
}

/// A workload, its files and its places.
pub struct Work {
    /// What is to be done.
    pub workload: Workload,
    /// Where.
    pub files: Vec<PathBuf>,
    places: Vec<Place>,
}

impl Work {
    /// Lays out the places.
    ///
    /// # Errors
    /// Where a batch has not room enough in the files.
    pub fn new(workload: Workload, files: Vec<PathBuf>) -> Result<Work> {
        ensure!(files.len() == workload.files, "{} files for {workload:?}", files.len());
        let places = places(&workload);
        ensure!(places.len() >= workload.depth, "a batch is more than the files: {workload:?}");
        Ok(Work { workload, files, places })
    }

    /// So many batches, beginning with the given one. After the last one comes the first again.
    #[must_use]
    pub fn batches(&self, first: u64, count: u64) -> Batches<'_> {
        let depth = self.workload.depth;
        let skipped = usize::try_from(first % self.distinct()).expect("less than there are");
        Batches { places: &self.places, depth, next: skipped * depth, left: count }
    }

    /// How many batches there are before places come again.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        (self.places.len() / self.workload.depth) as u64
    }

    /// The spans of every write of a batch, filled, and for ever: neighbours within their write
    /// where the workload wants it.
    #[must_use]
    pub fn spans(&self) -> Vec<Vec<&'static [u8]>> {
        let Workload { depth, spans, bytes, contiguous, .. } = self.workload;
        let fill = |(number, span): (usize, &'static mut [u8])| {
            span.fill(u8::try_from(number % 251).expect("less than 251"));
            &*span
        };
        let write = |_| {
            if contiguous {
                memory::neighbours(spans, bytes).enumerate().map(fill).collect()
            } else {
                memory::apart(spans, bytes).enumerate().map(fill).collect()
            }
        };
        (0..depth).map(write).collect()
    }

    /// Makes the files: the bytes of every place, holes elsewhere; durable, and in the page cache
    /// where the workload does not go past it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn prepare(&self) -> Result<()> {
        let made: io::Result<Vec<File>> = self.files.iter().map(File::create_new).collect();
        let made = made?;
        let empty = self.workload.order == Order::Append;
        for file in &made {
            file.set_len(if empty { 0 } else { self.workload.file_bytes })?;
        }
        if !empty {
            let mut sorted = self.places.clone();
            // In order, so that the file system can lay them out together.
            sorted.sort_unstable_by_key(|place| (place.file, place.at));
            let mut page = vec![0; self.workload.transfer()];
            for place in sorted {
                page.fill(page_number(place.at));
                made[place.file].write_all_at(&page, place.at)?;
            }
        }
        for file in made {
            file.sync_all()?;
        }
        Ok(())
    }

    /// Cuts files that grow to nothing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn rewind(&self) -> Result<()> {
        if self.workload.order == Order::Append {
            for path in &self.files {
                let file = File::options().write(true).open(path)?;
                file.set_len(0)?;
                file.sync_all()?;
            }
        }
        Ok(())
    }
}

/// The batches of a run, one after another. Its own type, so that going on with the next one costs
/// a side nothing to speak of.
pub struct Batches<'w> {
    places: &'w [Place],
    depth: usize,
    next: usize,
    left: u64,
}

impl<'w> Iterator for Batches<'w> {
    type Item = &'w [Place];

    #[inline]
    fn next(&mut self) -> Option<&'w [Place]> {
        self.left = self.left.checked_sub(1)?;
        let end = self.next + self.depth;
        let batch = &self.places[self.next..end];
        self.next = if end == self.places.len() { 0 } else { end };
        Some(batch)
    }
}

/// What the bytes of a page at an offset are.
#[must_use]
#[inline]
pub fn page_number(at: u64) -> u8 {
    (at / PAGE as u64).to_le_bytes()[0]
}

/// Whether a page is whole and the one that was asked for, by its first and last byte: reading all
/// of it would measure memory.
#[must_use]
#[inline]
pub fn is_page(page: &[u8], at: u64, len: usize) -> bool {
    let byte = page_number(at);
    page.len() == len && page[0] == byte && page[len - 1] == byte
}

fn places(workload: &Workload) -> Vec<Place> {
    let len = workload.transfer() as u64;
    let (depth, files) = (workload.depth, workload.files);
    let room = match workload.order {
        Order::Append => usize::MAX,
        _ => usize::try_from(workload.file_bytes / len).unwrap_or(usize::MAX),
    };
    let count = PLACES.max(depth).min(room.saturating_mul(files)) / depth * depth;
    let mut random = Rng::with_seed(SEED);
    // Number of the transfer in its file, in file order.
    let each = count.div_ceil(files).min(room);
    let numbers: Vec<u64> = match workload.order {
        Order::Random | Order::Sorted => {
            let mut drawn = random.choose_multiple(0..room.min(MANY), each);
            random.shuffle(&mut drawn);
            drawn.into_iter().map(|number| spread(number as u64, room)).collect()
        }
        Order::Sequential | Order::Alternating | Order::Append => (0..each as u64).collect(),
    };
    let mut places: Vec<Place> =
        (0..count).map(|nth| Place { file: nth % files, at: numbers[nth / files] * len }).collect();
    for batch in places.chunks_exact_mut(depth) {
        match workload.order {
            Order::Sorted => batch.sort_unstable_by_key(|place| (place.file, place.at)),
            Order::Alternating => {
                let every_other = |from: usize| batch.iter().skip(from).step_by(2).copied();
                let apart: Vec<Place> = every_other(0).chain(every_other(1)).collect();
                batch.copy_from_slice(&apart);
            }
            Order::Random | Order::Sequential | Order::Append => (),
        }
    }
    places
}

/// Numbers to draw from at most: those of larger files are spread over them.
const MANY: usize = 1 << 20;

fn spread(number: u64, room: usize) -> u64 {
    number * (room / room.min(MANY)) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Direction;

    fn work(order: Order, depth: usize, files: usize, file_bytes: u64) -> Work {
        let workload = Workload {
            name: String::new(),
            chart: String::new(),
            direction: Direction::Read,
            depth,
            bytes: PAGE,
            spans: 1,
            contiguous: false,
            order,
            direct: false,
            durable: false,
            fresh: false,
            threads: 1,
            files,
            file_bytes,
        };
        Work::new(workload, vec![PathBuf::new(); files]).expect("there is room")
    }

    const ORDERS: [Order; 5] =
        [Order::Random, Order::Sorted, Order::Sequential, Order::Alternating, Order::Append];

    #[test]
    fn no_place_comes_twice_and_none_is_past_its_file() {
        for order in ORDERS {
            for (depth, files, bytes) in [(1, 1, 1 << 20), (32, 1000, 1 << 16), (32, 1, 1 << 40)] {
                let work = work(order, depth, files, bytes);
                let places: Vec<Place> =
                    work.batches(0, work.distinct()).flatten().copied().collect();
                assert!(places.len() >= 256, "{order:?}");
                let distinct: HashSet<_> = places.iter().map(|at| (at.file, at.at)).collect();
                assert_eq!(distinct.len(), places.len(), "{order:?}, {files} files");
                let in_file = |place: &Place| place.file < files && place.at + 4096 <= bytes;
                assert!(order == Order::Append || places.iter().all(in_file), "{order:?}");
            }
        }
    }

    #[test]
    fn large_files_are_reached_all_over() {
        let work = work(Order::Random, 32, 1, 1 << 40);
        let far = work.batches(0, 100).flatten().filter(|place| place.at > 1 << 39).count();
        assert!((1000..2200).contains(&far), "{far} of 3200 in the second half");
    }

    #[test]
    fn alternating_batches_cover_what_sequential_ones_do_without_neighbours() {
        let alternating = work(Order::Alternating, 256, 1, 64 << 20);
        let sequential = work(Order::Sequential, 256, 1, 64 << 20);
        for (one, other) in alternating.batches(0, 64).zip(sequential.batches(0, 64)) {
            assert!(one.windows(2).all(|pair| pair[0].at + 4096 != pair[1].at));
            let mut sorted = one.to_vec();
            sorted.sort_unstable_by_key(|place| place.at);
            assert_eq!(sorted, other);
        }
    }

    #[test]
    fn batches_begin_where_they_are_asked_to_and_come_again() {
        let work = work(Order::Random, 32, 1, 64 << 20);
        let all: Vec<&[Place]> = work.batches(0, work.distinct()).collect();
        let last_and_first: Vec<&[Place]> = work.batches(work.distinct() - 1, 2).collect();
        assert_eq!(last_and_first, [all[all.len() - 1], all[0]]);
        assert_eq!(work.batches(work.distinct() + 3, 1).next(), Some(all[3]));
        assert_eq!(work.batches(5, 0).next(), None);
    }

    #[test]
    fn files_have_their_pages_and_are_holes_elsewhere() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("littoral-work-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let mut work = work(Order::Random, 32, 1, 1 << 36);
        work.files = vec![folder.join("file")];
        work.places.truncate(64);
        work.prepare()?;
        let file = File::open(&work.files[0])?;
        let mut page = [0; PAGE];
        for place in work.batches(0, 2).flatten() {
            file.read_exact_at(&mut page, place.at)?;
            assert!(is_page(&page, place.at, PAGE));
            assert!(!is_page(&page, place.at + 4096, PAGE), "another page's");
        }
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata()?);
        assert!(blocks < 64 * 64, "{blocks} blocks");
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}
