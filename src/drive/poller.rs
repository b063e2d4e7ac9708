//! Driving from a foreign event loop.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Weak};

#[cfg(doc)]
use crate::Io;
use crate::Step;
use crate::core::Core;
use crate::io::Driver;
use crate::platform::Polled;

/// A descriptor for the event loop that a program has already, in the place of a thread that waits:
/// from [`Io::poller`].
///
/// The rule is one sentence: **when the descriptor is readable, call [`step`](Poller::step).** It
/// is readable from the start, when completions are there, when something was submitted that nobody
/// has started, when another thread has delivered results or [interrupted](Io::interrupt), and when
/// a lock that was refused is to be tried for again. A step takes all of that away, or leaves it
/// readable; so a loop that asks for levels works, and one that asks for edges, which may wait for
/// the next after each step.
///
/// Nothing that is submitted is started before that step: so what one turn of the loop submits is
/// planned and started together, by one call to the kernel. A program that has just submitted may
/// call `step` at the end of its turn, and saves the loop the way back to it.
///
/// Each poller is told for itself: two loops that drive one driver have two. It does not keep the
/// driver. It is a descriptor of Linux; where there is none, `poller` says `Unsupported`.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use rustix::event::{PollFd, PollFlags, poll};
/// use littoral::{Config, OpenOptions, start, wait};
/// # fn main() -> littoral::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let io = start(Config::new().root(folder.path()))?;
/// let poller = io.poller()?;
/// let mut opening = io.open("polled", OpenOptions::new().create(true));
/// // The loop that the program has already, around any other descriptors.
/// let file = loop {
///     poll(&mut [PollFd::new(&poller, PollFlags::IN)], None).unwrap();
///     poller.step();
///     if let Some(file) = opening.try_take() {
///         break file?;
///     }
/// };
/// # drop(file);
/// # Ok(())
/// # }
/// # main().unwrap();
/// # }
/// ```
pub struct Poller {
    driver: Weak<Driver>,
    core: Weak<Core>,
    polled: Arc<Polled>,
    /// The delivery count when its owner was told last.
    seen: AtomicU64,
}

impl Poller {
    pub(crate) fn new(driver: Weak<Driver>, core: &Arc<Core>, polled: Arc<Polled>) -> Poller {
        let seen = AtomicU64::new(core.delivered());
        Poller { driver, core: Arc::downgrade(core), polled, seen }
    }

    /// As [`Io::step`] without waiting, for the results since this poller's last step; `None` once
    /// the driver is gone: then there is nothing to poll for any more.
    ///
    /// The driver stays for the length of this call: if its last handle is dropped meanwhile, the
    /// driver ends in here.
    pub fn step(&self) -> Option<Step> {
        let driver = self.driver.upgrade()?;
        let seen = self.seen.load(Ordering::Acquire);
        let step = driver.step_polled(&self.polled, seen)?;
        self.seen.store(step.delivered, Ordering::Release);
        Some(step)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.unpolled();
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller")
    }
}

#[cfg(target_os = "linux")]
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.polled.as_fd()
    }
}

#[cfg(target_os = "linux")]
impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.polled.as_raw_fd()
    }
}
