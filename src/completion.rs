//! The handle of an operation: polled, called back from, or awaited.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use littoral_platform::Listed;

use crate::core::{Core, Key, Value};
use crate::file::RingFile;
use crate::{Buffer, Error, File, Metadata, Result};

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
    /// The engine, as long as the operation's slot is ours to ask for.
    core: Option<Arc<Core>>,
    key: Key,
    /// The end of an operation that never began.
    refusal: Option<Box<Refusal>>,
    result: PhantomData<fn() -> T>,
}

struct Refusal {
    core: Arc<Core>,
    error: Error,
    /// Its place among the failures of its file, if it has one.
    unseen: Option<(u32, u64)>,
}

impl Refusal {
    /// Somebody takes the error, or nobody ever will.
    #[cold]
    fn see(&self, taken: bool) -> Error {
        if let Some(unseen) = self.unseen {
            self.core.refusal_seen(unseen, taken);
        }
        self.error.clone()
    }
}

impl<T> Completion<T> {
    pub(crate) fn new(core: &Arc<Core>, started: Result<Key>) -> Completion<T> {
        match started {
            Ok(key) => Completion::started(core, key),
            Err(error) => Completion::refused(core, error, None),
        }
    }

    #[inline]
    pub(crate) fn started(core: &Arc<Core>, key: Key) -> Completion<T> {
        Completion { core: Some(Arc::clone(core)), key, refusal: None, result: PhantomData }
    }

    /// Of an operation that was refused, with its place among the failures of its file.
    pub(crate) fn refused(core: &Arc<Core>, error: Error, unseen: Option<(u32, u64)>) -> Self {
        core.count_refusal(&error);
        let refusal = Some(Box::new(Refusal { core: Arc::clone(core), error, unseen }));
        Completion { core: None, key: Key::NONE, refusal, result: PhantomData }
    }

    /// Asks for the operation's end. It ends at its own completion, with what happened: done, or
    /// `Cancelled` with what is confirmed. Its buffers come back only then.
    pub fn cancel(&self) {
        if let Some(core) = &self.core {
            core.cancel(self.key);
        }
    }

    /// Names the operation's file in an error of waiting for it.
    pub(crate) fn describe(&self, error: Error) -> Error {
        match &self.core {
            Some(core) => core.name_file(self.key, error),
            None => error,
        }
    }

    /// Counts it to a group.
    pub(crate) fn join(&self, to: &Arc<Core>, group: Key) {
        if let Some(core) = &self.core {
            if Arc::ptr_eq(core, to) {
                core.join(self.key, group);
            }
        } else if let Some(refusal) = &self.refusal
            && Arc::ptr_eq(&refusal.core, to)
        {
            to.join_refused(&refusal.error, refusal.unseen, group);
        }
    }

    /// Lets the operation run on by itself; the same as dropping this, said aloud.
    pub fn detach(self) {}
}

#[expect(private_bounds, reason = "the results of operations are a closed set")]
impl<T: Outcome> Completion<T> {
    /// The result, once: `None` before it was delivered and after it was taken.
    #[inline]
    pub fn try_take(&mut self) -> Option<Result<T>> {
        let Some(core) = &self.core else {
            return self.refusal.take().map(|refusal| Err(refusal.see(true)));
        };
        let outcome = T::take(core, self.key)?;
        // Nothing to detach any more.
        self.core = None;
        Some(outcome)
    }

    /// As a step and `try_take`, where both come down to one call of the platform.
    #[inline]
    pub(crate) fn wait_alone(&mut self) -> Option<T> {
        let value = T::wait_alone(self.core.as_ref()?, self.key)?;
        self.core = None;
        Some(value)
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
        if let Some(core) = self.core.take() {
            core.on_finish(self.key, callback);
        } else if let Some(refusal) = self.refusal.take() {
            let error = refusal.see(true);
            refusal.core.call_back(callback, Err(error));
        }
    }
}

impl<T> Drop for Completion<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(core) = &self.core {
            core.detach(self.key);
        } else if let Some(refusal) = &self.refusal {
            drop(refusal.see(false));
        }
    }
}

impl<T: Outcome> Future for Completion<T> {
    type Output = Result<T>;

    /// # Panics
    /// If it was polled again after it gave its result.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let Some(core) = &self.core else {
            let refusal = self.refusal.take();
            let refusal = refusal.expect("a completion was polled after it gave its result");
            return Poll::Ready(Err(refusal.see(true)));
        };
        let Some(outcome) = core.poll(self.key, context.waker()) else { return Poll::Pending };
        let outcome = outcome.map(|value| T::from_value(value, core));
        self.core = None;
        Poll::Ready(outcome)
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.core, &self.refusal) {
            (Some(_), _) => "Completion(submitted)",
            (None, Some(_)) => "Completion(refused)",
            (None, None) => "Completion(taken)",
        })
    }
}

/// What an operation can give.
pub(crate) trait Outcome: Sized {
    fn from_value(value: Value, core: &Arc<Core>) -> Self;

    /// The result, if this is a read that is alone and can be had at once.
    fn wait_alone(core: &Core, key: Key) -> Option<Self> {
        let _ = (core, key);
        None
    }

    /// The result, if it was published.
    fn take(core: &Arc<Core>, key: Key) -> Option<Result<Self>> {
        Some(core.try_take(key)?.map(|value| Self::from_value(value, core)))
    }
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
outcome!(Vec<Buffer>, Value::Buffers(buffers) => buffers);
outcome!(u64, Value::Size(size) => size);
outcome!(bool, Value::Exists(exists) => exists);
outcome!(Vec<Listed>, Value::List(list) => list);
outcome!(Metadata, Value::Metadata(stat) => stat.into());

impl Outcome for Buffer {
    fn from_value(value: Value, _: &Arc<Core>) -> Self {
        value.into_buffer()
    }

    #[inline]
    fn take(core: &Arc<Core>, key: Key) -> Option<Result<Self>> {
        core.take_read(key)
    }

    #[inline]
    fn wait_alone(core: &Core, key: Key) -> Option<Self> {
        core.wait_alone(key)
    }
}

impl Outcome for Arc<dyn File> {
    fn from_value(value: Value, core: &Arc<Core>) -> Self {
        match value {
            Value::File(opened) => Arc::new(RingFile::new(core, opened)),
            _ => unreachable!("the value of another kind of operation"),
        }
    }
}
