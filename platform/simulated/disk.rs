//! The disk in memory: sparse files under flat names.
//!
//! A [`Disk`] outlives the rings opened on it, as a real one outlives processes. A file is an inode
//! that its name and its open handles share: removing the name leaves the handles their bytes.
//! What of it all survives a crash is told in `stable` and `namespace`.

mod names;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::contents::{Contents, Space};
use super::locks::Locks;
use super::namespace::{Kept, Names};
use super::stable::{Image, Stable};
use super::{PAGE, Random, VirtualClock};
use crate::Errno;

/// Bytes of a sector, unless [`Disk::set_sector`] says otherwise.
const SECTOR: u64 = 512;

/// Makes what a seed keeps of a disk another choice than what it does to a ring.
const CRASH: u64 = 0xc2a5_4000;

/// A disk in memory, shared by all clones of this handle.
///
/// Beside what everyone sees there is what is durable. [`crash`](Disk::crash) gives the disk as it
/// is found after a loss of power: a database is tested by crashing the disk at any moment and
/// opening what is left with a new ring.
///
/// ```
/// use littoral_platform::simulated::{Config, Disk, Simulated};
/// use littoral_platform::Setup;
///
/// let disk = Disk::new();
/// let setup = Setup { root: None, in_flight: 64 };
/// let ring = Simulated::new(&setup, disk.clone(), Config::seeded(1));
/// // … a driver on this ring writes, syncs, and is in the middle of something …
/// let seed = 7;
/// let after = disk.crash(seed);
/// let ring = Simulated::new(&setup, after, Config::seeded(2));
/// // … a new driver opens the files, and finds every byte that a sync covered.
/// # drop(ring);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Mutex<Names>,
    /// Inode numbers given away.
    inodes: AtomicU64,
    /// Bytes of a sector.
    sector: AtomicU64,
    clock: VirtualClock,
    /// Opens so far: each has a number to hold locks by.
    opens: AtomicU64,
    space: Arc<Space>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            names: Mutex::default(),
            inodes: AtomicU64::new(0),
            opens: AtomicU64::new(0),
            sector: AtomicU64::new(SECTOR),
            clock: VirtualClock::default(),
            space: Arc::default(),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<Inode>),
    Directory { number: u64 },
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) number: u64,
    /// Whether a ring holds the file for itself.
    held: AtomicBool,
    locks: Mutex<Locks>,
    contents: Mutex<Contents>,
    /// Outlives the inode where its removal is not durable.
    pub(super) stable: Arc<Mutex<Stable>>,
}

impl Inode {
    fn new(number: u64, space: &Arc<Space>, stable: Stable, image: Image) -> Inode {
        Inode {
            number,
            held: AtomicBool::new(false),
            locks: Mutex::default(),
            contents: Mutex::new(Contents::new(space, image.pages, image.size)),
            stable: Arc::new(Mutex::new(stable)),
        }
    }

    /// Takes the file for one handle alone, and says whether it was free.
    pub(super) fn hold(&self) -> bool {
        !self.held.swap(true, Ordering::Relaxed)
    }

    pub(super) fn let_go(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    /// Who has locked it.
    pub(super) fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes as they are seen. Taken before [`Inode::stable`], by who needs both.
    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stable(&self) -> MutexGuard<'_, Stable> {
        self.stable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// An empty disk without a limit.
    #[must_use]
    pub fn new() -> Disk {
        Disk::default()
    }

    /// Lets all files together hold `bytes`, rounded up to pages; `None` is no limit. What is
    /// already there stays.
    pub fn limit(&self, bytes: Option<u64>) {
        let pages = bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(PAGE as u64));
        self.0.space.max.store(pages, Ordering::Relaxed);
    }

    /// Bytes of the pages in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.space.used.load(Ordering::Relaxed) * PAGE as u64
    }

    /// The clock of this disk and of all rings on it.
    #[must_use]
    pub fn clock(&self) -> VirtualClock {
        self.0.clock.clone()
    }

    /// Makes `name` a directory, durably.
    ///
    /// # Errors
    /// `EEXIST` if the name is in use.
    pub fn make_directory(&self, name: &str) -> Result<(), Errno> {
        let mut names = self.names();
        if names.seen().contains_key(name) {
            return Err(Errno::EXIST);
        }
        let node = Node::Directory { number: self.next_inode() };
        names.change(vec![(name.to_owned(), Some(node))], true);
        Ok(())
    }

    /// Every name in use, in order.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.names().seen().keys().cloned().collect()
    }

    /// The bytes of the file `name` as they are now, `None` if there is no such file. A sparse file
    /// comes with all its zeros: mind its size.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let inode = self.inode(name)?;
        let contents = inode.lock();
        let len = usize::try_from(contents.size()).expect("too sparse a file to copy");
        let mut bytes = vec![0; len];
        // SAFETY: the vector has `len` bytes and is ours.
        let count = unsafe { contents.read(0, bytes.as_mut_ptr(), len) };
        assert_eq!(count, len);
        drop(contents);
        Some(bytes)
    }

    /// Sets the size of a sector: the disk writes one wholly or not at all. 512 bytes if this is
    /// never called; 1 tears writes at any byte.
    ///
    /// # Panics
    /// If it is 0.
    pub fn set_sector(&self, bytes: u64) {
        assert!(bytes > 0, "a sector has bytes");
        self.0.sector.store(bytes, Ordering::Relaxed);
    }

    /// Makes sectors of a file unreadable: those that hold a byte of `range`. Reading one is `EIO`
    /// until it was written to. Nothing happens if there is no such file.
    pub fn spoil(&self, name: &str, range: Range<u64>) {
        let sector = self.sector();
        if let (Some(inode), false) = (self.inode(name), range.is_empty()) {
            inode.stable().bad.extend(range.start / sector..=(range.end - 1) / sector);
        }
    }

    /// Makes all names durable as they are, as if every directory had been synced.
    pub fn sync_names(&self) {
        self.names().sync_all();
    }

    /// The disk as it is found when the power is lost now: what was synced, and of everything else
    /// what the seed says (see the source of `stable` and `namespace` for what it can be).
    /// Operations under way are lost; rings and handles stay with this disk, which goes on as if
    /// nothing had happened, so that one run can be crashed at every moment of it.
    ///
    /// The other disk has the same sectors and the same limit of space, and a clock of its own that
    /// goes on from this moment.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Disk {
        let mut random = Random::new(seed ^ CRASH);
        let names = self.names();
        let sector = self.sector();
        let disk = Disk(Arc::new(Shared {
            names: Mutex::default(),
            inodes: AtomicU64::new(self.0.inodes.load(Ordering::Relaxed)),
            opens: AtomicU64::new(0),
            sector: AtomicU64::new(sector),
            clock: self.0.clock.copy(),
            space: Arc::default(),
        }));
        disk.0.space.max.store(self.0.space.max.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut files: BTreeMap<u64, Arc<Inode>> = BTreeMap::new();
        let mut inode = |number, stable: &Mutex<Stable>| {
            let found = files.entry(number).or_insert_with(|| {
                let stable = stable.lock().unwrap_or_else(PoisonError::into_inner);
                let image = stable.after_crash(&mut random, sector);
                let mut after = Stable::of(image.clone());
                after.bad.clone_from(&stable.bad);
                Arc::new(Inode::new(number, &disk.0.space, after, image))
            });
            Arc::clone(found)
        };
        let kept = names.after_crash(&mut Random::new(seed ^ CRASH ^ 1));
        let found = kept.into_iter().map(|(name, kept)| match kept {
            Kept::File { number, stable } => (name, Node::File(inode(number, &stable))),
            Kept::Directory { number } => (name, Node::Directory { number }),
        });
        *disk.names() = Names::of(found.collect());
        disk
    }

    pub(super) fn sector(&self) -> u64 {
        self.0.sector.load(Ordering::Relaxed)
    }

    /// What was changed in that directory is durable from now on.
    pub(super) fn sync_directory(&self, directory: &str) {
        self.names().sync(directory);
    }

    fn inode(&self, name: &str) -> Option<Arc<Inode>> {
        match self.names().seen().get(name)? {
            Node::File(inode) => Some(Arc::clone(inode)),
            Node::Directory { .. } => None,
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for one more open of a file.
    pub(super) fn next_open(&self) -> u64 {
        self.0.opens.fetch_add(1, Ordering::Relaxed)
    }

    fn next_inode(&self) -> u64 {
        self.0.inodes.fetch_add(1, Ordering::Relaxed) + 1
    }
}
