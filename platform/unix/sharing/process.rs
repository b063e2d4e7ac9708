//! Locks of byte ranges that belong to the process, as POSIX has them.
//!
//! Three things about them have to be made good. The process owns them, whoever of it took them:
//! so its users are told apart here (`spans.rs`), and only what none of them is in the way of is
//! asked of the system. What one user gives up the system takes from all: so it is told of those
//! bytes only that nobody else has. And closing *any* descriptor of a file drops every such lock
//! of it: so as long as there is one, descriptors of the file are kept here instead of being
//! closed, and closed when the last lock is gone.
//!
//! A close costs nothing of that where no such lock is held by anybody, but two counts: of closes
//! under way, and of files with locks. Who takes the first lock of a file counts it, and then waits
//! until no close is under way; who closes counts himself before he looks. So either he sees the
//! file, or his close is over before the lock is taken.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;

use parking_lot::lock_api::RawMutex as _;
use parking_lot::{Condvar, Mutex, RawMutex};

use super::spans::Spans;
use super::{How, Own, set};
use crate::sharing::LockOwner;
use crate::{Errno, LockKind};

/// Files with locks of this process.
static LOCKED: AtomicU32 = AtomicU32::new(0);
/// Threads that are closing a descriptor.
static CLOSING: AtomicU32 = AtomicU32::new(0);
/// Counts the forks that this process came from.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());

#[derive(Debug)]
struct Registry {
    /// By device and inode: those with locks.
    files: BTreeMap<(u64, u64), File>,
    /// By which ranges are locked, of whatever owner: a forked child has no use for them.
    descriptors: BTreeSet<RawFd>,
}

#[derive(Debug, Default)]
struct File {
    spans: Spans,
    /// To be closed when the last lock is gone.
    kept: Vec<RawFd>,
    /// Something was given up.
    changed: Arc<Condvar>,
}

impl Registry {
    const fn new() -> Registry {
        Registry { files: BTreeMap::new(), descriptors: BTreeSet::new() }
    }

    /// The file, whose descriptors are not closed any more.
    fn enter(&mut self, identity: (u64, u64)) -> &mut File {
        self.files.entry(identity).or_insert_with(|| {
            LOCKED.fetch_add(1, Ordering::SeqCst);
            while CLOSING.load(Ordering::SeqCst) > 0 {
                std::thread::yield_now();
            }
            File::default()
        })
    }

    /// Lets go of a file without locks.
    fn leave(&mut self, identity: (u64, u64)) {
        if self.files.get(&identity).is_none_or(|file| !file.spans.is_empty()) {
            return;
        }
        let file = self.files.remove(&identity).expect("it was there");
        LOCKED.fetch_sub(1, Ordering::SeqCst);
        for fd in file.kept {
            // SAFETY: who closed it gave it to us.
            let _ = unsafe { rustix::io::try_close(fd) };
        }
    }
}

/// Tells the system what nobody of this process has any more.
fn settle(file: &File, fd: RawFd, range: &Range<u64>) -> Result<(), Errno> {
    file.spans
        .free(range)
        .iter()
        .try_for_each(|piece| set(fd, piece, None, LockOwner::Process, How::Try).map(drop))
}

pub(super) fn lock(own: &Own, range: &Range<u64>, kind: LockKind, wait: bool) -> Result<(), Errno> {
    let Own { fd, identity, who, .. } = *own;
    let mut registry = REGISTRY.lock();
    loop {
        own.check()?;
        let file = registry.enter(identity);
        if !file.spans.admits(who, range, kind) {
            if !wait {
                return Err(Errno::BUSY);
            }
            let changed = Arc::clone(&file.changed);
            changed.wait(&mut registry);
            continue;
        }
        match set(fd, range, Some(kind), LockOwner::Process, How::Try) {
            Ok(_) => {
                file.spans.grant(who, range, kind);
                // What was made weaker may be what another one waits for.
                file.changed.notify_all();
                return Ok(());
            }
            Err(Errno::BUSY) if wait => break,
            Err(code) => {
                registry.leave(identity);
                return Err(code);
            }
        }
    }
    // Another process has it.
    registry.enter(identity).spans.wait(who, range, kind);
    drop(registry);
    let granted = set(fd, range, Some(kind), LockOwner::Process, How::Wait);
    let mut registry = REGISTRY.lock();
    let file = registry.enter(identity);
    file.spans.waited(who, range, kind);
    match granted {
        Ok(_) => file.spans.grant(who, range, kind),
        // What others gave up meanwhile was left to this thread.
        Err(_) => _ = settle(file, fd, range),
    }
    file.changed.notify_all();
    registry.leave(identity);
    granted.map(drop)
}

pub(super) fn unlock(own: &Own, range: &Range<u64>) -> Result<(), Errno> {
    let mut registry = REGISTRY.lock();
    let Some(file) = registry.files.get_mut(&own.identity) else { return Ok(()) };
    file.spans.give(own.who, range);
    let settled = settle(file, own.fd, range);
    file.changed.notify_all();
    registry.leave(own.identity);
    settled
}

/// Whether no other user of this process is in the way.
pub(super) fn admits(own: &Own, range: &Range<u64>, kind: LockKind) -> bool {
    let registry = REGISTRY.lock();
    let file = registry.files.get(&own.identity);
    file.is_none_or(|file| file.spans.admits(own.who, range, kind))
}

/// A number for one more user.
pub(super) fn next_user() -> u64 {
    static USERS: AtomicU64 = AtomicU64::new(0);
    USERS.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Takes note of a descriptor for locks, and of the process that has it.
pub(super) fn own(fd: RawFd) -> (u64, RawFd) {
    REGISTRY.lock().descriptors.insert(fd);
    (generation(), fd)
}

pub(super) fn forget(fd: RawFd) {
    REGISTRY.lock().descriptors.remove(&fd);
}

/// Closes a descriptor, or keeps it until that drops no lock of the process.
pub(crate) fn close(fd: RawFd) -> rustix::io::Result<()> {
    CLOSING.fetch_add(1, Ordering::SeqCst);
    if LOCKED.load(Ordering::SeqCst) == 0 {
        // SAFETY: the caller has it, and uses it no more.
        let closed = unsafe { rustix::io::try_close(fd) };
        CLOSING.fetch_sub(1, Ordering::SeqCst);
        return closed;
    }
    CLOSING.fetch_sub(1, Ordering::SeqCst);
    // No lock is taken meanwhile.
    let mut registry = REGISTRY.lock();
    // SAFETY: it is open until it is closed below.
    let found = super::super::execute::stat(unsafe { BorrowedFd::borrow_raw(fd) });
    if let Some(file) = found.ok().and_then(|stat| registry.files.get_mut(&stat.identity)) {
        file.kept.push(fd);
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { rustix::io::try_close(fd) }
}

/// Nothing is half done while the process forks.
pub(crate) fn before_fork() {
    core::mem::forget(REGISTRY.lock());
}

pub(crate) fn after_fork_in_parent() {
    // SAFETY: `before_fork` has locked it on this thread, and kept no guard.
    unsafe { REGISTRY.force_unlock() };
}

/// The child has none of the locks, which are the process's or of descriptions that it shares with
/// its parent; so it closes its copies of the descriptors.
pub(crate) fn after_fork_in_child() {
    // SAFETY: as in the parent: this thread's copy of the lock is held, and there is no guard.
    let mut guard = unsafe { REGISTRY.make_guard_unchecked() };
    let registry = core::mem::replace(&mut *guard, Registry::new());
    core::mem::forget(guard);
    // SAFETY: it is not unlocked through this.
    let raw: &RawMutex = unsafe { REGISTRY.raw() };
    // SAFETY: no other thread is in the child, so nobody else uses the lock. All of it is an
    // atomic, which may be written to behind a shared reference; threads that waited for it are
    // the parent's, and must not be handed it.
    unsafe { core::ptr::from_ref(raw).cast_mut().write(RawMutex::INIT) };
    LOCKED.store(0, Ordering::SeqCst);
    CLOSING.store(0, Ordering::SeqCst);
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let kept = registry.files.values().flat_map(|file| &file.kept);
    for fd in kept.chain(&registry.descriptors) {
        // SAFETY: the number is that of a copy that nobody in the child uses: users of the
        // descriptors look at the generation before.
        let _ = unsafe { rustix::io::try_close(*fd) };
    }
}
