//! The open files, and the names they are known by.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use littoral_platform::{Handle, RwFlags};

use super::barrier::Barrier;
use super::direct::DirectSide;
use super::flush::Line;
use super::locks::Registry;
use super::lost::Failures;
use super::ordered::Order;
use super::policy::Bet;
use super::table::NONE;
use crate::Error;

/// One file, however often and under however many names it is open.
pub(crate) struct OpenFile {
    /// The names it was opened by, the first one first.
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) identity: (u64, u64),
    /// Handles of the platform: the first serves reads, `writable` all. They stay open until the
    /// file is closed, because operations in the ring may use either.
    pub(crate) readable: Handle,
    pub(crate) writable: Option<Handle>,
    /// Handles past the page cache, where somebody asked for them.
    pub(crate) direct: Option<Box<DirectSide>>,
    /// `File`s, and the prepared set as one more.
    pub(crate) users: u32,
    /// Operations that are alive.
    pub(crate) pins: u32,
    pub(crate) barrier: Barrier,
    /// On its pages being cached.
    pub(crate) bet: Bet,
    /// The last read and the last write that are queued and could be joined.
    pub(crate) tails: [u32; 2],
    /// The sync that is queued and could be joined.
    pub(crate) queued_sync: u32,
    pub(crate) locks: Registry,
    /// Failed writes and truncates that nobody took yet.
    pub(crate) failures: Failures,
    /// Where overlapping operations keep their order.
    pub(crate) order: Option<Box<Order>>,
    pub(crate) flushes: Line,
    /// Entries of durable writes in the ring.
    pub(crate) durables: u32,
    /// What its system does not do for entries.
    pub(crate) refused: RwFlags,
    /// What a flush failed with, until that is acknowledged.
    pub(crate) poison: Option<Error>,
    pub(crate) closing: Closing,
    /// Who waits for the close.
    pub(crate) closer: u32,
    /// What the platform said to the closes so far.
    pub(crate) close_error: Option<Error>,
    pub(crate) prepared: bool,
    /// How many count on that: who prepares it, and who has.
    pub(crate) preparers: u32,
    /// A prepared file that reads as if it did not exist.
    pub(crate) absent: bool,
}

impl OpenFile {
    /// Every handle of it, once.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> + use<> {
        let pair = |readable, writable: Option<Handle>| {
            [Some(readable), writable.filter(|second| *second != readable)]
        };
        let direct = self.direct.as_ref().map(|side| pair(side.readable, side.writable));
        let cached = pair(self.readable, self.writable);
        cached.into_iter().chain(direct.into_iter().flatten()).flatten()
    }
}

/// How far the end of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    /// It waits for its name.
    Queued,
    /// It has its name, and waits for its operations.
    Draining,
    /// So many handles are still being closed.
    Running(u8),
}

/// What waits for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Slot(u32),
    CloseOf(u32),
}

/// One name's turn-taking: opening, removing, closing happen one at a time.
#[derive(Default)]
pub(crate) struct NameEntry {
    pub(crate) file: Option<u32>,
    busy: bool,
    waiting: VecDeque<Waiter>,
}

#[derive(Default)]
pub(crate) struct Files {
    open: Vec<Option<OpenFile>>,
    free: Vec<u32>,
    identities: HashMap<(u64, u64), u32>,
    names: HashMap<Arc<str>, NameEntry>,
}

impl Files {
    #[expect(clippy::inline_always, reason = "three instructions, and each operation asks")]
    #[inline(always)]
    pub(crate) fn get(&mut self, file: u32) -> &mut OpenFile {
        self.open[file as usize].as_mut().expect("a file in use is open")
    }

    pub(crate) fn try_get(&mut self, file: u32) -> Option<&mut OpenFile> {
        self.open.get_mut(file as usize)?.as_mut()
    }

    /// A file that is being closed is not found by its identity any more.
    pub(crate) fn forget_identity(&mut self, file: u32) {
        let identity = self.get(file).identity;
        if self.identities.get(&identity) == Some(&file) {
            self.identities.remove(&identity);
        }
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len() - self.free.len()
    }

    pub(crate) fn by_identity(&self, identity: (u64, u64)) -> Option<u32> {
        self.identities.get(&identity).copied()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<u32> {
        self.names.get(name)?.file
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.open).filter(|(_, file)| file.is_some()).map(|(index, _)| index)
    }

    pub(crate) fn insert(
        &mut self,
        name: &Arc<str>,
        identity: (u64, u64),
        handle: Handle,
        write: bool,
    ) -> u32 {
        let file = OpenFile {
            names: Vec::new(),
            identity,
            readable: handle,
            writable: write.then_some(handle),
            direct: None,
            users: 0,
            pins: 0,
            barrier: Barrier::default(),
            bet: Bet::default(),
            tails: [NONE; 2],
            queued_sync: NONE,
            locks: Registry::default(),
            failures: Failures::default(),
            order: None,
            flushes: Line::default(),
            durables: 0,
            refused: RwFlags::empty(),
            poison: None,
            closing: Closing::No,
            closer: NONE,
            close_error: None,
            prepared: false,
            preparers: 0,
            absent: false,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            u32::try_from(self.open.len() - 1).expect("files are bounded far below 2^32")
        });
        self.open[index as usize] = Some(file);
        self.identities.insert(identity, index);
        self.name(index, name);
        index
    }

    /// The file is known by that name, too.
    pub(crate) fn name(&mut self, file: u32, name: &Arc<str>) {
        let entry = self.names.entry(Arc::clone(name)).or_default();
        if entry.file != Some(file) {
            entry.file = Some(file);
            self.get(file).names.push(Arc::clone(name));
        }
    }

    /// Forgets a closed file.
    pub(crate) fn remove(&mut self, file: u32) -> OpenFile {
        let gone = self.open[file as usize].take().expect("a file in use is open");
        self.free.push(file);
        for name in &gone.names {
            if let Some(entry) = self.names.get_mut(name)
                && entry.file == Some(file)
            {
                entry.file = None;
                self.tidy(name);
            }
        }
        gone
    }

    /// Takes a name, or waits for it.
    pub(crate) fn acquire(&mut self, name: &Arc<str>, who: Waiter) -> bool {
        let entry = self.names.entry(Arc::clone(name)).or_default();
        if !entry.busy {
            entry.busy = true;
            return true;
        }
        match who {
            Waiter::Slot(_) => entry.waiting.push_back(who),
            // Whoever waits already finds the file closed, as it is for its users.
            Waiter::CloseOf(_) => entry.waiting.push_front(who),
        }
        false
    }

    /// Gives a name up; the next in line has it now.
    pub(crate) fn release(&mut self, name: &Arc<str>) -> Option<Waiter> {
        let entry = self.names.get_mut(name).expect("a taken name has its entry");
        let next = entry.waiting.pop_front();
        entry.busy = next.is_some();
        if next.is_none() {
            self.tidy(name);
        }
        next
    }

    /// Leaves the line.
    pub(crate) fn withdraw(&mut self, name: &str, who: Waiter) -> bool {
        let Some(entry) = self.names.get_mut(name) else { return false };
        let place = entry.waiting.iter().position(|waiting| *waiting == who);
        place.map(|at| entry.waiting.remove(at)).is_some()
    }

    pub(crate) fn is_busy(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|entry| entry.busy)
    }

    fn tidy(&mut self, name: &Arc<str>) {
        let idle = |e: &NameEntry| e.file.is_none() && !e.busy && e.waiting.is_empty();
        if self.names.get(name).is_some_and(idle) {
            self.names.remove(name);
        }
    }
}
