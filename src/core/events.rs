//! What an operator may want to know, told to `tracing` (the feature of that name; without it,
//! nothing here does anything).
//!
//! A subscriber is the user's code: it may block, it may call the driver. So nothing is told under
//! the lock. What happens there is noted, and whoever leaves the lock takes the notes and tells
//! them when it holds nothing any more. Reads and writes that succeed are not noted at all.
//!
//! Every event is inside the driver's span, `littoral` with its backend, and has the target
//! `littoral`.

use std::sync::Arc;

use littoral_platform::{Errno, Report, Tag};

use crate::{Error, Operation};

/// Something that happened under the lock.
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "there is nobody to tell"))]
pub(crate) enum Event {
    /// A file was opened, closed, removed, or something else was done to its name.
    Done { operation: Operation, file: Option<Arc<str>> },
    /// An operation ended with this.
    Failed(Error),
    /// An operation was not even begun.
    Refused(Error),
    /// The failure of a change, which nobody will ever take.
    Lost(Error),
    /// An entry was interrupted, or refused for now, and is pushed again.
    Retried { operation: Operation, code: Errno, times: u16 },
    /// The ring told the end of something that was not in it.
    Stale(Tag),
    /// The ring answers nothing any more.
    RingLost(Errno),
    /// A callback or a waker panicked on the driver's own thread, which goes on.
    CallbackPanicked,
    /// The driver's last handle is gone, with so many operations under way.
    Draining(usize),
    /// The driver is gone. So many operations were not answered in time: their memory is leaked.
    Ended { abandoned: usize },
}

/// What is to be told once the lock is released.
#[derive(Default)]
pub(crate) struct Events {
    #[cfg(feature = "tracing")]
    noted: Vec<Event>,
}

impl Events {
    /// Notes an event. Without somebody to tell, it is not even made.
    #[inline]
    #[cfg_attr(not(feature = "tracing"), expect(clippy::unused_self, reason = "as with it"))]
    pub(crate) fn note(&mut self, event: impl FnOnce() -> Event) {
        #[cfg(feature = "tracing")]
        self.noted.push(event());
        #[cfg(not(feature = "tracing"))]
        let _ = event;
    }

    /// All that was noted, to be told without the lock.
    #[inline]
    pub(crate) fn take(&mut self) -> Events {
        core::mem::take(self)
    }
}

/// Whether the end of this operation is worth an event even if it is a success. (A close is told
/// where it happens: it may be another handle's, or nobody's.)
#[inline]
pub(crate) const fn is_notable(operation: Operation) -> bool {
    use Operation::{Close, Pread, Preadv, Pwrite, Pwritev, Room, Size, Sync, Truncate};
    let common = matches!(
        operation,
        Pread | Preadv | Pwrite | Pwritev | Sync | Truncate | Size | Room | Close
    );
    cfg!(feature = "tracing") && !common
}

/// Tells events, of one driver.
pub(crate) struct Teller {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

#[cfg(not(feature = "tracing"))]
impl Teller {
    pub(crate) const fn new(_: &Report, _: bool) -> Teller {
        Teller {}
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn tell(&self, _: &Events) {}
}

/// What could not be started, for want of a ring.
pub(crate) fn tell_start_failed(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "littoral", %error, "no driver was started");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

#[cfg(feature = "tracing")]
mod telling {
    use super::{Error, Event, Events, Report, Teller};
    use crate::ErrorKind;

    /// An event of the driver. Only its level is decided at run time, which `tracing` does not
    /// allow: so one call for each.
    macro_rules! event_at {
        ($level:expr, $span:expr, $($fields:tt)*) => {
            match $level {
                tracing::Level::ERROR => {
                    tracing::error!(target: "littoral", parent: $span, $($fields)*);
                }
                tracing::Level::WARN => {
                    tracing::warn!(target: "littoral", parent: $span, $($fields)*);
                }
                _ => tracing::debug!(target: "littoral", parent: $span, $($fields)*),
            }
        };
    }

    /// How loud a failure is told: whoever submitted it is told anyway.
    fn level(error: &Error) -> tracing::Level {
        match error.kind() {
            ErrorKind::Abandoned | ErrorKind::RingLost | ErrorKind::WriteLost => {
                tracing::Level::ERROR
            }
            ErrorKind::Io
            | ErrorKind::OutOfResources
            | ErrorKind::StorageFull
            | ErrorKind::SyncLost
            | ErrorKind::WriteZero => tracing::Level::WARN,
            // Answers that programs ask for.
            _ => tracing::Level::DEBUG,
        }
    }

    impl Teller {
        /// Tells what was chosen, what was refused on the way, and what is done without.
        pub(crate) fn new(report: &Report, locks: bool) -> Teller {
            let backend = report.backend;
            let span = tracing::info_span!(target: "littoral", parent: None, "littoral", backend);
            for (what, code) in &report.refused {
                tracing::warn!(target: "littoral", parent: &span, what, ?code, "refused");
            }
            if !locks {
                tracing::warn!(
                    target: "littoral", parent: &span,
                    "locks are off: nobody keeps others from the files",
                );
            }
            let chosen = &report.chosen;
            tracing::info!(target: "littoral", parent: &span, backend, ?chosen, "driver started");
            Teller { span }
        }

        /// Tells all of them. The caller holds no lock.
        pub(crate) fn tell(&self, events: &Events) {
            for event in &events.noted {
                self.tell_one(event);
            }
        }

        fn tell_one(&self, event: &Event) {
            let span = &self.span;
            match event {
                Event::Done { operation, file } => {
                    let (operation, file) = (operation.name(), file.as_deref());
                    tracing::debug!(target: "littoral", parent: span, operation, file, "done");
                }
                Event::Failed(error) => self.tell_error(error, "failed"),
                Event::Refused(error) => self.tell_error(error, "refused"),
                Event::Lost(error) => {
                    let (operation, file) = (error.operation().name(), error.file());
                    tracing::error!(
                        target: "littoral", parent: span, operation, file, %error,
                        "nobody took the failure of a change: the next sync tells it",
                    );
                }
                Event::Retried { operation, code, times } => {
                    let operation = operation.name();
                    tracing::trace!(
                        target: "littoral", parent: span, operation, ?code, times, "retried",
                    );
                }
                Event::Stale(tag) => {
                    tracing::error!(
                        target: "littoral", parent: span, tag = tag.0,
                        "a completion of nothing that is under way, ignored",
                    );
                }
                Event::RingLost(code) => {
                    tracing::error!(target: "littoral", parent: span, ?code, "the ring is dead");
                }
                Event::CallbackPanicked => {
                    tracing::error!(
                        target: "littoral", parent: span,
                        "a callback panicked on the driver's thread, which goes on",
                    );
                }
                Event::Draining(unfinished) => {
                    tracing::info!(
                        target: "littoral", parent: span, unfinished, "the driver is drained",
                    );
                }
                Event::Ended { abandoned: 0 } => {
                    tracing::info!(target: "littoral", parent: span, "the driver has ended");
                }
                Event::Ended { abandoned } => {
                    tracing::error!(
                        target: "littoral", parent: span, abandoned,
                        "the driver has ended without the platform's answers; memory is leaked",
                    );
                }
            }
        }

        fn tell_error(&self, error: &Error, what: &str) {
            let (operation, file, kind) = (error.operation().name(), error.file(), error.kind());
            let code = error.code().map(tracing::field::debug);
            event_at!(level(error), &self.span, operation, file, ?kind, code, %error, "{what}");
        }
    }
}
