//! The disk in memory: sparse files under flat names.
//!
//! A [`Disk`] outlives the rings opened on it, as a real one outlives processes. A file is an inode
//! that its name and its open handles share: removing the name leaves the handles their bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::VirtualClock;
use crate::{Errno, OpenFlags};

/// Bytes of a page: the unit in which a file is sparse and the disk is full.
pub const PAGE: usize = 4096;

/// A disk in memory, shared by all clones of this handle.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<BTreeMap<String, Node>>,
    /// Inode numbers given away.
    inodes: AtomicU64,
    clock: VirtualClock,
    space: Arc<Space>,
}

/// Pages in use by all files, those without a name included, and how many there may be.
#[derive(Debug)]
struct Space {
    used: AtomicU64,
    max: AtomicU64,
}

impl Default for Space {
    fn default() -> Space {
        Space { used: AtomicU64::new(0), max: AtomicU64::new(u64::MAX) }
    }
}

impl Space {
    fn take_page(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let take = |used: u64| (used < max).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_pages(&self, pages: usize) {
        self.used.fetch_sub(pages as u64, Ordering::Relaxed);
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
    space: Arc<Space>,
    contents: Mutex<Contents>,
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.space.give_pages(self.lock().pages.len());
    }
}

impl Inode {
    /// Takes the file for one handle alone, and says whether it was free.
    pub(super) fn hold(&self) -> bool {
        !self.held.swap(true, Ordering::Relaxed)
    }

    pub(super) fn let_go(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a file. What no page holds is zeros.
#[derive(Debug)]
pub(super) struct Contents {
    space: Arc<Space>,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    size: u64,
}

/// The page of an offset, and where in it.
fn split(at: u64) -> (u64, usize) {
    let within = usize::try_from(at % PAGE as u64).expect("it is below a page");
    (at / PAGE as u64, within)
}

impl Contents {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Copies up to `len` bytes at `at`, fewer only where the file ends first.
    ///
    /// # Safety
    /// `to` must be valid for writes of `len` bytes, and nobody else may use them meanwhile.
    pub(super) unsafe fn read(&self, at: u64, to: *mut u8, len: usize) -> usize {
        let left = self.size.saturating_sub(at);
        let len = usize::try_from(left).map_or(len, |left| len.min(left));
        let mut done = 0;
        while done < len {
            let (page, within) = split(at + done as u64);
            let count = (PAGE - within).min(len - done);
            // SAFETY: done + count <= len, which the caller's memory has, and within + count <=
            // PAGE. A page is the disk's own memory, so the two do not overlap.
            unsafe {
                let to = to.add(done);
                match self.pages.get(&page) {
                    Some(page) => to.copy_from_nonoverlapping(page.as_ptr().add(within), count),
                    None => to.write_bytes(0, count),
                }
            }
            done += count;
        }
        len
    }

    /// Writes `bytes` at `at`: all, or as many as the disk has pages for.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let (page, within) = split(at + done as u64);
            let count = (PAGE - within).min(bytes.len() - done);
            let page = match self.pages.entry(page) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(_) if !self.space.take_page() => break,
                Entry::Vacant(hole) => hole.insert(Box::new([0; PAGE])),
            };
            page[within..within + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
        if done > 0 {
            self.size = self.size.max(at + done as u64);
        }
        done
    }

    /// Cuts or grows the file. What a later growth uncovers reads as zeros, so the rest of the last
    /// page is wiped and not only forgotten.
    pub(super) fn truncate(&mut self, len: u64) {
        let (last, within) = split(len);
        let keep = if within == 0 { last } else { last + 1 };
        let cut = self.pages.split_off(&keep);
        self.space.give_pages(cut.len());
        if within > 0
            && let Some(page) = self.pages.get_mut(&last)
        {
            page[within..].fill(0);
        }
        self.size = len;
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

    /// Makes `name` a directory.
    ///
    /// # Errors
    /// `EEXIST` if the name is in use.
    pub fn make_directory(&self, name: &str) -> Result<(), Errno> {
        match self.names().entry(name.to_owned()) {
            Entry::Occupied(_) => Err(Errno::EXIST),
            Entry::Vacant(free) => {
                free.insert(Node::Directory { number: self.next_inode() });
                Ok(())
            }
        }
    }

    /// Every name in use, in order.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.names().keys().cloned().collect()
    }

    /// The bytes of the file `name` as they are now, `None` if there is no such file. A sparse file
    /// comes with all its zeros: mind its size.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let inode = match self.names().get(name)? {
            Node::File(inode) => Arc::clone(inode),
            Node::Directory { .. } => return None,
        };
        let contents = inode.lock();
        let len = usize::try_from(contents.size()).expect("too sparse a file to copy");
        let mut bytes = vec![0; len];
        // SAFETY: the vector has `len` bytes and is ours.
        let count = unsafe { contents.read(0, bytes.as_mut_ptr(), len) };
        assert_eq!(count, len);
        drop(contents);
        Some(bytes)
    }

    /// Opens `name` as `flags` say.
    pub(super) fn open(&self, name: &str, flags: OpenFlags) -> Result<Node, Errno> {
        let create = flags.contains(OpenFlags::CREATE);
        if create && !flags.contains(OpenFlags::WRITE) {
            return Err(Errno::INVAL);
        }
        let mut names = self.names();
        if let Some(node) = names.get(name) {
            if create && flags.contains(OpenFlags::EXCLUSIVE) {
                return Err(Errno::EXIST);
            }
            let directory = matches!(node, Node::Directory { .. });
            if directory && flags.contains(OpenFlags::WRITE) {
                return Err(Errno::ISDIR);
            }
            return Ok(node.clone());
        }
        // Parents need not exist, but what exists and is a file has nothing below it.
        let mut parents = name.match_indices('/').map(|(at, _)| &name[..at]);
        if parents.any(|parent| matches!(names.get(parent), Some(Node::File(_)))) {
            return Err(Errno::NOTDIR);
        }
        if !create || name.is_empty() {
            return Err(Errno::NOENT);
        }
        let space = &self.0.space;
        let contents = Contents { space: Arc::clone(space), pages: BTreeMap::new(), size: 0 };
        let node = Node::File(Arc::new(Inode {
            number: self.next_inode(),
            held: AtomicBool::new(false),
            space: Arc::clone(space),
            contents: Mutex::new(contents),
        }));
        names.insert(name.to_owned(), node.clone());
        Ok(node)
    }

    /// Removes the name of a file that nobody holds for himself.
    pub(super) fn remove(&self, name: &str) -> Result<(), Errno> {
        let removed = match self.names().entry(name.to_owned()) {
            Entry::Vacant(_) => return Err(Errno::NOENT),
            Entry::Occupied(node) if matches!(node.get(), Node::Directory { .. }) => {
                return Err(Errno::ISDIR);
            }
            Entry::Occupied(node) => {
                if let Node::File(inode) = node.get()
                    && inode.held.load(Ordering::Relaxed)
                {
                    return Err(Errno::BUSY);
                }
                node.remove()
            }
        };
        drop(removed);
        Ok(())
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_inode(&self) -> u64 {
        self.0.inodes.fetch_add(1, Ordering::Relaxed) + 1
    }
}
