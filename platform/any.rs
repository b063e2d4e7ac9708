//! Any ring, by its own type where a call into it is counted in instructions.
//!
//! An engine works with whatever [`Ring`] it is given, and most of what it asks of one may well be
//! a call through a table. Not so what a plain read asks: one entry in, one completion out. Where
//! the ring is the kernel's these two are compiled into the engine.

use std::sync::Arc;

use crate::clock::Clock;
use crate::{
    Cqe, Direct, Doorbell, Errno, Full, Handle, Limits, Op, Region, Report, Ring, Span, Sqe, Tag,
};

#[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
use crate::Uring;

/// A ring whose type is known where knowing it pays.
pub enum AnyRing {
    /// The kernel's.
    #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
    Uring(Box<Uring>),
    /// Any other, with what a thread may do by itself beside it.
    Other(Box<dyn Ring>, Arc<dyn Direct>),
}

/// The entry of a read into one span, as [`Op::Read`] has it, with its tag and region.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// That of the entry.
    pub tag: Tag,
    /// From which file.
    pub file: Handle,
    /// Byte offset in the file.
    pub at: u64,
    /// Where to.
    pub span: Span,
    /// In which region the span lies.
    pub region: Region,
}

impl From<Box<dyn Ring>> for AnyRing {
    fn from(ring: Box<dyn Ring>) -> AnyRing {
        #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
        let ring = {
            use core::any::Any;
            let as_any: &dyn Any = &*ring;
            if as_any.is::<Uring>() {
                let as_any: Box<dyn Any> = ring;
                return AnyRing::Uring(as_any.downcast().expect("it is one"));
            }
            ring
        };
        let direct = ring.direct();
        AnyRing::Other(ring, direct)
    }
}

/// Does the same with whichever it is.
macro_rules! either {
    ($any:expr, $ring:ident => $does:expr) => {
        match $any {
            #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
            AnyRing::Uring($ring) => $does,
            AnyRing::Other($ring, _) => $does,
        }
    };
}

impl AnyRing {
    /// As [`Ring::push`] of an [`Op::Read`].
    ///
    /// # Errors
    /// As [`Ring::push`].
    ///
    /// # Safety
    /// As [`Ring::push`].
    #[inline]
    pub unsafe fn push_read(&mut self, read: Read) -> Result<(), Full> {
        let Read { tag, file, at, span, region } = read;
        // SAFETY: the caller's promise.
        unsafe { self.push(&Sqe { tag, op: Op::Read { file, at, span }, region }) }
    }

    /// As [`AnyRing::push_read`], but refuses where that would be a call.
    ///
    /// # Errors
    /// As [`Ring::push`], and always where the ring's type is not known.
    ///
    /// # Safety
    /// As [`Ring::push`].
    #[expect(clippy::inline_always, reason = "once an operation, and counted")]
    #[inline(always)]
    pub unsafe fn push_read_inline(&mut self, read: Read) -> Result<(), Full> {
        match self {
            #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
            // SAFETY: the caller's promise.
            AnyRing::Uring(ring) => unsafe { ring.push_read(read) },
            AnyRing::Other(..) => {
                let _ = read;
                Err(Full)
            }
        }
    }

    /// As [`Direct::call_without_waiting`] of an [`Op::Read`].
    ///
    /// # Errors
    /// As [`Direct::call_without_waiting`].
    ///
    /// # Safety
    /// As [`Direct::call_without_waiting`].
    #[inline]
    pub unsafe fn read_without_waiting(
        &self,
        file: Handle,
        at: u64,
        span: Span,
    ) -> Result<u64, Errno> {
        match self {
            #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
            // SAFETY: the caller's promise.
            AnyRing::Uring(_) => unsafe { crate::unix::read_without_waiting(file, at, span) },
            // SAFETY: as above.
            AnyRing::Other(_, direct) => unsafe {
                direct.call_without_waiting(&Op::Read { file, at, span })
            },
        }
    }

    /// Takes completions as long as there are any and `plain` says yes to them; gives how many it
    /// said yes to, and one that it was not asked about or said no to. `None` says that there are
    /// no more now.
    #[expect(clippy::inline_always, reason = "once an operation, and counted")]
    #[inline(always)]
    pub fn reap_while(&mut self, mut plain: impl FnMut(Cqe) -> bool) -> (u32, Option<Cqe>) {
        match self {
            #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))]
            AnyRing::Uring(ring) => ring.reap_while(&mut plain),
            AnyRing::Other(ring, _) => {
                let mut count = 0;
                while let Some(cqe) = ring.reap() {
                    if !plain(cqe) {
                        return (count, Some(cqe));
                    }
                    count += 1;
                }
                (count, None)
            }
        }
    }
}

// SAFETY: everything is handed on to a ring that keeps the promise.
unsafe impl Ring for AnyRing {
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

    fn keep_files(&mut self, files: u32) -> Result<u32, Errno> {
        either!(self, ring => ring.keep_files(files))
    }

    fn has_completions(&self) -> bool {
        either!(self, ring => ring.has_completions())
    }

    fn fixed(&self) -> u64 {
        either!(self, ring => ring.fixed())
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        either!(self, ring => ring.doorbell())
    }

    fn direct(&self) -> Arc<dyn Direct> {
        either!(self, ring => ring.direct())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        either!(self, ring => ring.clock())
    }

    fn on_turn(&mut self, turn: Box<dyn Fn() + Send>) {
        either!(self, ring => ring.on_turn(turn));
    }

    fn forked(self: Box<Self>, files: &[Handle]) {
        either!(*self, ring => ring.forked(files));
    }

    fn report(&self) -> Report {
        either!(self, ring => ring.report())
    }
}
