//! What a bare ring does to its user: whether a library does it, too.
//!
//! The scenarios are those of this project's own tests, which show what the kernel does and that
//! littoral does not pass it on. Here they are told in each peer's own words; what they have in
//! common is here.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde::{Deserialize, Serialize};

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hazard {
    /// Queue a write, drop its file, open others, then submit: do they get the bytes?
    DescriptorReuse,
    /// Have a thread submit reads that are not cached, and end: do they?
    SubmitterExit,
    /// Start more reads than the completion queue holds: are all seen?
    CompletionOverflow,
    /// Drop the driver with reads and writes in flight: does the kernel go on with their memory?
    DropInFlight,
    /// Cancel direct reads in flight: does the kernel go on with memory that is free again?
    CancelDirect,
    /// Tie a flush to a write that comes out short: is that told?
    ShortWriteInAChain,
}

impl Hazard {
    /// Every one.
    pub const ALL: [Hazard; 6] = [
        Hazard::DescriptorReuse,
        Hazard::SubmitterExit,
        Hazard::CompletionOverflow,
        Hazard::DropInFlight,
        Hazard::CancelDirect,
        Hazard::ShortWriteInAChain,
    ];
}

/// What a library did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// What it should.
    Safe(String),
    /// What the bare ring does.
    Fails(String),
    /// It offers nothing that could go wrong in this way.
    Inapplicable(String),
}

impl Found {
    /// Of what should be none.
    #[must_use]
    pub fn none_of(wrong: usize, what: &str) -> Found {
        let told = format!("{wrong} {what}");
        if wrong == 0 { Found::Safe(told) } else { Found::Fails(told) }
    }
}

/// Bytes of each transfer.
pub const BYTES: usize = 1 << 20;
/// Transfers.
pub const COUNT: usize = 64;
/// Bytes of the memory of each, which has an aligned part that is large enough.
pub const MEMORY: usize = BYTES + 4096;

/// What files and memory are filled with.
const OLD: u8 = 0x11;
/// What is written.
pub const WRITTEN: u8 = 0x22;
/// What memory is filled with by whoever has it next.
const REUSED: u8 = 0xee;

/// A file for all transfers, which is not in the page cache.
///
/// # Errors
/// Those of the file system.
pub fn file(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, vec![OLD; COUNT * BYTES])?;
    let file = File::open(&path)?;
    file.sync_all()?;
    posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(path)
}

/// Where the nth transfer goes.
#[must_use]
pub fn at(nth: usize) -> u64 {
    (nth * BYTES) as u64
}

/// Whether bytes are what a read of the file gives.
#[must_use]
pub fn is_old(bytes: &[u8]) -> bool {
    bytes.len() == BYTES && bytes.iter().all(|byte| *byte == OLD)
}

/// Takes as much memory as was just freed, fills it, waits, and counts how many pieces of it
/// somebody else has written to. The process must not give freed memory back to the system.
#[must_use]
pub fn overwritten() -> usize {
    let pieces: Vec<Vec<u8>> = (0..COUNT).map(|_| vec![REUSED; MEMORY]).collect();
    thread::sleep(Duration::from_millis(1500));
    pieces.iter().filter(|piece| piece.iter().any(|byte| *byte != REUSED)).count()
}

/// How many writes took what was in their memory after it was freed.
///
/// # Errors
/// Those of the file system.
pub fn taken_later(path: &Path) -> Result<usize> {
    let pieces: Vec<Vec<u8>> = (0..COUNT).map(|_| vec![REUSED; MEMORY]).collect();
    thread::sleep(Duration::from_millis(1500));
    drop(pieces);
    let bytes = fs::read(path)?;
    Ok(bytes.chunks(BYTES).filter(|chunk| chunk.contains(&REUSED)).count())
}

/// What both kinds of dropped transfers did.
#[must_use]
pub fn dropped(reads: usize, writes: usize) -> Found {
    let what = format!(
        "of {COUNT} direct reads and {writes} of {COUNT} writes used their memory after it was free"
    );
    match Found::none_of(reads, &what) {
        Found::Safe(told) if writes > 0 => Found::Fails(told),
        found => found,
    }
}

/// Files whose numbers are those of files that were just closed, and what came of a write of
/// `WRITTEN` bytes to `path`.
pub struct Others {
    files: Vec<File>,
    path: PathBuf,
}

impl Others {
    /// Opens them.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> Result<Others> {
        let other = |nth: usize| File::create_new(path.with_extension(format!("other-{nth}")));
        let files = (0..20).map(other).collect::<std::io::Result<_>>()?;
        Ok(Others { files, path: path.to_owned() })
    }

    /// Whether the bytes are where they belong.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn look(self) -> Result<Found> {
        let strayed = self.files.iter().map(File::metadata);
        let strayed = strayed.filter(|found| found.as_ref().is_ok_and(|found| found.len() > 0));
        let own = fs::read(&self.path)?.first() == Some(&WRITTEN);
        let told = if own { "its own file has them" } else { "its own file has them not" };
        Ok(Found::none_of(strayed.count(), &format!("other files got the bytes, {told}")))
    }
}
