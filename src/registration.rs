//! An arena's memory, as a driver's platform knows it.

use core::fmt;
use std::sync::Arc;

use crate::core::{Core, Registered};
use crate::{Arena, Error};

/// Says that a driver's platform was told of an [`Arena`]'s memory; until it is dropped.
///
/// Natively the kernel then keeps the memory at hand, so that reads and writes with buffers of that
/// arena, by files of that driver, need less of its time: some hundredths for a cached page, a
/// quarter for 128 KiB by direct I/O. Everything else stays as it is: results, limits, how buffers
/// are taken and lost. A vector gains if all its buffers lie in one class of the arena (and in one
/// gigabyte of it), else it is an ordinary one.
///
/// What the platform [refuses](Registration::refused) does no harm: those buffers work as before.
/// Locked memory is limited for users without privileges (`RLIMIT_MEMLOCK`, by systemd 8 MiB), and
/// only `io_uring` registers any at all.
///
/// It belongs to the arena and the driver, and keeps the arena's memory. Dropping it, before or
/// after the driver, is safe at any time: operations under way end as they would have. The platform
/// is told by then, or by the next step.
///
/// ```
/// use littoral::{Arena, Config, OpenOptions, start, wait};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let io = start(Config::new().root(folder.path()))?;
/// let arena = Arena::new(&[(4096, 256)]);
/// let registration = wait(&*io, io.register(&arena))?;
/// if let Some(refused) = registration.refused() {
///     eprintln!("pages are not registered: {refused}");
/// }
/// let file = wait(&*io, io.open("pages", OpenOptions::new().create(true)))?;
/// wait(&*io, file.pwrite(0, vec![7; 4096].into()))?;
/// let page = wait(&*io, file.pread(0, arena.take(4096)?))?;
/// assert_eq!(page[..], [7; 4096]);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropped, the memory is registered no longer"]
pub struct Registration {
    core: Arc<Core>,
    registered: Registered,
}

impl Registration {
    pub(crate) fn new(core: &Arc<Core>, registered: Registered) -> Registration {
        Registration { core: Arc::clone(core), registered }
    }

    /// Whose memory it is.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.registered.arena
    }

    /// Bytes of the arena that the platform has taken; 0 where it takes none.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.registered.bytes
    }

    /// Why it has not taken the rest, or the first part of it; `None` if it has taken everything.
    #[must_use]
    pub fn refused(&self) -> Option<&Error> {
        self.registered.refused.as_ref()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.core.unregister(&self.registered);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({} bytes", self.bytes())?;
        match self.refused() {
            None => write!(f, ")"),
            Some(refused) => write!(f, ", the rest refused: {refused})"),
        }
    }
}
