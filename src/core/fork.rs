//! A driver in a forked child.
//!
//! The ring is the parent's: its entries are the parent's operations, its completions come to the
//! parent, and the threads that wait for it are not in the child. So a fork waits for the lock of
//! every engine, and in the child each is told at once that its ring is lost. What was unfinished
//! ends there as `RingLost`, new operations are refused, waiting ends; the copies of the files'
//! descriptors are closed, so that the child keeps no file and no lock of the parent's. In the
//! parent nothing changes. Nothing of this costs an operation anything.

use core::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use littoral_platform::fork::{Child, Handlers, Held, on_fork};
use littoral_platform::{Errno, Handle, Ring};

use super::Core;
use super::files::Closing;
use super::state::State;

/// The engines of this process.
static ENGINES: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

/// What a fork has locked.
struct Stopped {
    engines: Vec<Held<Core, State>>,
    all: MutexGuard<'static, Vec<Weak<Core>>>,
}

std::thread_local! {
    /// From before a fork to after it.
    static STOPPED: RefCell<Option<Stopped>> = const { RefCell::new(None) };
}

/// The reason why a ring is lost in a child.
pub(crate) const FORKED: Errno = Errno::STALE;
pub(crate) const FORKED_TEXT: &str = "the process was forked, and the driver is its parent's";

fn engines() -> MutexGuard<'static, Vec<Weak<Core>>> {
    ENGINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine has to be told.
pub(crate) fn watch(core: &Arc<Core>) {
    on_fork(Handlers { before, in_parent, in_child });
    let mut engines = engines();
    engines.retain(|engine| engine.strong_count() > 0);
    engines.push(Arc::downgrade(core));
}

fn before() {
    // A thread that forks from the last of its destructors has no such place any more.
    let _ = STOPPED.try_with(|stopped| {
        let all = engines();
        // One thread at a time comes here, and no other holds two of them: their order is free.
        let engines = all.iter().filter_map(Weak::upgrade);
        let engines = engines.map(|core| Held::lock(core, Core::lock)).collect();
        stopped.replace(Some(Stopped { engines, all }));
    });
}

fn stopped() -> Option<Stopped> {
    STOPPED.try_with(RefCell::take).ok().flatten()
}

fn in_parent() {
    if let Some(Stopped { engines, all }) = stopped() {
        let cores: Vec<Arc<Core>> = engines.into_iter().map(Held::unlock).collect();
        drop(all);
        // The last holder may have gone meanwhile: then this is its end, and frees what is the
        // user's, with no lock held.
        drop(cores);
    }
}

fn in_child(child: &Child) {
    if let Some(Stopped { mut engines, mut all }) = stopped() {
        for engine in &mut engines {
            engine.get().forked();
        }
        all.clear();
        let cores: Vec<Arc<Core>> = engines.into_iter().map(|engine| engine.renew(child)).collect();
        drop(all);
        drop(cores);
    }
}

impl State {
    /// This is the child, and all of it is a copy.
    fn forked(&mut self) {
        let Some(ring) = self.ring.take() else { return };
        let files: Vec<u32> = self.files.all().collect();
        let mut handles: Vec<Handle> = Vec::new();
        for file in files {
            let entry = self.files.get(file);
            // What is being closed may be closed already, and the number another file's.
            if !matches!(entry.closing, Closing::Running(_)) {
                handles.extend(entry.handles());
            }
        }
        Box::new(ring).forked(&handles);
        // A call on such a number from here on, to unlock a file, would be to the parent's file, or
        // to another one.
        self.direct = None;
        // Those who led and waited are not here.
        (self.leader, self.followers, self.calling) = (false, 0, false);
        self.polled = 0;
        self.forget_thread();
        self.ring_lost(FORKED);
    }
}
