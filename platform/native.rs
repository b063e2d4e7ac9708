//! Which ring a Linux system gets: `uring`, or `threads` where that is refused.

use std::sync::Arc;

use crate::unix::Files;
use crate::{
    Cqe, Direct, Doorbell, Errno, Full, Handle, Limits, Report, Ring, Setup, SetupError, Sqe,
    Threads, Uring,
};

/// The ring of the platform that this crate was compiled for: the kernel's, or a pool of threads
/// where it refuses one for whatever reason. [`Ring::report`] says which, and why.
pub enum Native {
    /// The kernel's.
    Uring(Uring),
    /// In its place.
    Threads(Threads),
}

impl Native {
    /// Sets up the ring that can be had.
    ///
    /// # Errors
    /// The root cannot be opened. A kernel without rings is not an error.
    pub fn new(setup: &Setup) -> Result<Native, SetupError> {
        // First, so that a root that is not there is never taken for a refusal.
        let files = Arc::new(Files::new(setup)?);
        match Uring::on(Arc::clone(&files), setup) {
            Ok(uring) => Ok(Native::Uring(uring)),
            Err((error, _)) if cfg!(littoral_backend = "uring") => Err(error),
            Err((error, mut refused)) => {
                refused.push((error.what, error.code));
                Ok(Native::Threads(Threads::on(files, setup, refused)))
            }
        }
    }

    /// The one that it is, without this between.
    #[must_use]
    pub fn into_ring(self) -> Box<dyn Ring> {
        match self {
            Native::Uring(uring) => Box::new(uring),
            Native::Threads(threads) => Box::new(threads),
        }
    }
}

/// Does the same with whichever it is.
macro_rules! either {
    ($native:expr, $ring:ident => $does:expr) => {
        match $native {
            Native::Uring($ring) => $does,
            Native::Threads($ring) => $does,
        }
    };
}

// SAFETY: everything is handed on to a ring that keeps the promise.
unsafe impl Ring for Native {
    fn limits(&self) -> &Limits {
        either!(self, ring => ring.limits())
    }

    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        // SAFETY: the caller's promise, handed on.
        either!(self, ring => unsafe { ring.push(sqe) })
    }

    fn submit(&mut self) -> Result<(), Errno> {
        either!(self, ring => ring.submit())
    }

    fn unsubmitted(&self) -> u32 {
        either!(self, ring => ring.unsubmitted())
    }

    fn reap(&mut self) -> Option<Cqe> {
        either!(self, ring => ring.reap())
    }

    fn has_completions(&self) -> bool {
        either!(self, ring => ring.has_completions())
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        either!(self, ring => ring.doorbell())
    }

    fn direct(&self) -> Arc<dyn Direct> {
        either!(self, ring => ring.direct())
    }

    fn forked(self: Box<Self>, files: &[Handle]) {
        either!(*self, ring => Box::new(ring).forked(files));
    }

    fn keep_files(&mut self, files: u32) -> Result<u32, Errno> {
        either!(self, ring => ring.keep_files(files))
    }

    fn fixed(&self) -> u64 {
        either!(self, ring => ring.fixed())
    }

    fn report(&self) -> Report {
        either!(self, ring => ring.report())
    }
}
