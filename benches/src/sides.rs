//! What both sides work on: a cached file each, the same offsets, the same pages.

use std::fs::{self, File as Plain};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fastrand::Rng;
use littoral::{Config, File, Io, OpenOptions, Shared, start};

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// Pages of each file: 64 MiB, which stay in the page cache.
pub(crate) const FILE_PAGES: usize = 16 * 1024;

/// Random offsets, to be used over and over.
const OFFSETS: usize = 64 * 1024;

pub(crate) struct Sides {
    pub(crate) io: Arc<dyn Io>,
    /// Littoral's.
    pub(crate) file: Arc<dyn File>,
    /// The references'.
    pub(crate) plain: Plain,
    offsets: Vec<u64>,
}

impl Sides {
    pub(crate) fn new(folder: &Path, seed: u64) -> Result<Sides> {
        let contents: Vec<u8> =
            (0..FILE_PAGES).flat_map(|page| [page.to_le_bytes()[0]; PAGE]).collect();
        for name in ["ours", "theirs"] {
            let file = folder.join(name);
            fs::write(&file, &contents)?;
            // Or the writes back would fall into some measurement.
            Plain::open(file)?.sync_all()?;
        }
        let root = folder.to_str().context("the folder's name is not text")?;
        let io = start(Config::new().root(root))?;
        let file = io.open_now("ours", OpenOptions::new())?;
        let plain = Plain::options().read(true).write(true).open(folder.join("theirs"))?;
        let mut random = Rng::with_seed(seed);
        let offsets = (0..OFFSETS).map(|_| (random.usize(..FILE_PAGES) * PAGE) as u64).collect();
        Ok(Sides { io, file, plain, offsets })
    }

    /// A random page's offset, by the operation's number.
    pub(crate) fn offset(&self, number: u32) -> u64 {
        self.offsets[number as usize % OFFSETS]
    }
}

/// Pages that lie apart in memory.
pub(crate) fn pages(count: usize) -> Vec<Shared> {
    (0..count).map(|page| vec![page.to_le_bytes()[0]; PAGE].into()).collect()
}
