//! The handle of an operation: polled, called back from, or awaited.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use crate::core::{Core, Key, Value};
use crate::file::RingFile;
use crate::{Buffer, Error, File, Result};

/// An operation that was submitted, and the way to its result.
///
/// It can be [polled](Completion::try_take) by a loop that steps, [call
/// back](Completion::on_finish), or be awaited. It makes no progress by itself: somebody has to
/// call [`Io::step`](crate::Io::step) (in a browser the host does). Results arrive from `step`
/// only. An operation that was refused is finished from the start.
///
/// Dropping it detaches the operation, which runs on and frees what it owns at its own end; that
/// holds for a future dropped by a time-out or a `select`, too. To end it,
/// [`cancel`](Completion::cancel).
#[must_use = "dropped, it is detached, and a failure goes unseen until the next sync"]
pub struct Completion<T> {
    inner: Inner,
    result: PhantomData<fn() -> T>,
}

enum Inner {
    Slot(Arc<Core>, Key),
    /// With its place among the failures of its file, if it has one.
    Refused(Arc<Core>, Error, Option<(u32, u64)>),
    Taken,
}

impl<T> Completion<T> {
    pub(crate) fn new(core: &Arc<Core>, started: Result<Key>) -> Completion<T> {
        let core = Arc::clone(core);
        let inner = match started {
            Ok(key) => Inner::Slot(core, key),
            Err(error) => {
                core.count_refusal(&error);
                Inner::Refused(core, error, None)
            }
        };
        Completion { inner, result: PhantomData }
    }

    /// As `new`, of an operation that changes a file and was refused.
    pub(crate) fn refused(core: &Arc<Core>, error: Error, unseen: Option<(u32, u64)>) -> Self {
        core.count_refusal(&error);
        Completion { inner: Inner::Refused(Arc::clone(core), error, unseen), result: PhantomData }
    }

    /// Asks for the operation's end. It ends at its own completion, with what happened: done, or
    /// `Cancelled` with what is confirmed. Its buffers come back only then.
    pub fn cancel(&self) {
        if let Inner::Slot(core, key) = &self.inner {
            core.cancel(*key);
        }
    }

    /// Lets the operation run on by itself; the same as dropping this, said aloud.
    pub fn detach(self) {}
}

#[expect(private_bounds, reason = "the results of operations are a closed set")]
impl<T: Outcome> Completion<T> {
    /// The result, once: `None` before it was delivered and after it was taken.
    pub fn try_take(&mut self) -> Option<Result<T>> {
        let outcome = match &self.inner {
            Inner::Slot(core, key) => {
                let outcome = core.try_take(*key)?;
                outcome.map(|value| T::from_value(value, core))
            }
            Inner::Refused(core, error, unseen) => {
                see(core, *unseen, true);
                Err(error.clone())
            }
            Inner::Taken => return None,
        };
        // Nothing to detach any more.
        self.inner = Inner::Taken;
        Some(outcome)
    }

    /// Calls `callback` with the result, from a `step` (of whichever thread), with none of the
    /// driver's locks held. When the driver is gone, it is called at once. A failure counts as
    /// taken, whatever the callback does with it. A callback that keeps an `Arc<dyn Io>` keeps the
    /// driver until it has run.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use littoral::{Config, OpenOptions, Status, Wait, start, wait};
    /// # fn main() -> littoral::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let io = start(Config::new().root(folder.path().to_str().unwrap()))?;
    /// let file = wait(&*io, io.open("log", OpenOptions::new().create(true)))?;
    /// let (tell, told) = mpsc::channel();
    /// for record in 0..4 {
    ///     let tell = tell.clone();
    ///     file.pwrite(record * 100, vec![1; 100].into())
    ///         .on_finish(move |result| tell.send((record, result)).unwrap());
    /// }
    /// // Until nothing is left to be told.
    /// while io.step(io.delivered(), Wait::Forever).status != Status::Idle {}
    /// assert!(told.try_iter().all(|(_, result)| result.is_ok()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_finish(mut self, callback: impl FnOnce(Result<T>) + Send + 'static) {
        let callback = Box::new(move |outcome: Result<Value>, core: &Arc<Core>| {
            callback(outcome.map(|value| T::from_value(value, core)));
        });
        match core::mem::replace(&mut self.inner, Inner::Taken) {
            Inner::Slot(core, key) => core.on_finish(key, callback),
            Inner::Refused(core, error, unseen) => {
                see(&core, unseen, true);
                core.call_back(callback, Err(error));
            }
            Inner::Taken => {}
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        match &self.inner {
            Inner::Slot(core, key) => core.detach(*key),
            Inner::Refused(core, _, unseen) => see(core, *unseen, false),
            Inner::Taken => {}
        }
    }
}

fn see(core: &Core, unseen: Option<(u32, u64)>, taken: bool) {
    if let Some(unseen) = unseen {
        core.refusal_seen(unseen, taken);
    }
}

impl<T: Outcome> Future for Completion<T> {
    type Output = Result<T>;

    /// # Panics
    /// If it was polled again after it gave its result.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let outcome = match &self.inner {
            Inner::Slot(core, key) => match core.poll(*key, context.waker()) {
                None => return Poll::Pending,
                Some(outcome) => outcome.map(|value| T::from_value(value, core)),
            },
            Inner::Refused(core, error, unseen) => {
                see(core, *unseen, true);
                Err(error.clone())
            }
            Inner::Taken => panic!("a completion was polled after it gave its result"),
        };
        self.inner = Inner::Taken;
        Poll::Ready(outcome)
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.inner {
            Inner::Slot(..) => "Completion(submitted)",
            Inner::Refused(..) => "Completion(refused)",
            Inner::Taken => "Completion(taken)",
        })
    }
}

/// What an operation can give.
pub(crate) trait Outcome {
    fn from_value(value: Value, core: &Arc<Core>) -> Self;
}

/// The type of a completion is fixed where its operation is started, so the value is of that kind.
macro_rules! outcome {
    ($type:ty, $pattern:pat => $value:expr) => {
        impl Outcome for $type {
            fn from_value(value: Value, _: &Arc<Core>) -> Self {
                match value {
                    $pattern => $value,
                    _ => unreachable!("the value of another kind of operation"),
                }
            }
        }
    };
}

outcome!((), Value::Unit => ());
outcome!(Buffer, Value::Buffer(buffer) => buffer);
outcome!(Vec<Buffer>, Value::Buffers(buffers) => buffers);
outcome!(u64, Value::Size(size) => size);

impl Outcome for Arc<dyn File> {
    fn from_value(value: Value, core: &Arc<Core>) -> Self {
        match value {
            Value::File(opened) => Arc::new(RingFile::new(core, opened)),
            _ => unreachable!("the value of another kind of operation"),
        }
    }
}
