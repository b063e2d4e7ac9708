//! The handle of an operation: polled, called back from, or awaited.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use littoral_platform::Listed;

use crate::core::{Core, Key, Value};
use crate::file::ring_file;
use crate::{Buffer, Error, File, Metadata, Registration, Result};

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
    /// Dropped by `drop`, unless there is nothing in it.
    inner: ManuallyDrop<Inner>,
    result: PhantomData<fn() -> T>,
}

enum Inner {
    /// The operation's slot is ours to ask for.
    Started(Arc<Core>, Key),
    /// It never began, or its result was taken.
    Over(Option<Box<Refusal>>),
}

// Two registers: it is moved at least as often as there are operations.
const _: () = assert!(size_of::<Inner>() <= 2 * size_of::<u64>());

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
        Completion {
            inner: ManuallyDrop::new(Inner::Started(Arc::clone(core), key)),
            result: PhantomData,
        }
    }

    /// Of an operation that was refused, with its place among the failures of its file.
    pub(crate) fn refused(core: &Arc<Core>, error: Error, unseen: Option<(u32, u64)>) -> Self {
        core.count_refusal(&error);
        let refusal = Box::new(Refusal { core: Arc::clone(core), error, unseen });
        Completion { inner: ManuallyDrop::new(Inner::Over(Some(refusal))), result: PhantomData }
    }

    /// The error of an operation that was refused, once.
    /// Nobody took what it has, and nobody will.
    #[cold]
    fn drop_unseen(&mut self) {
        match core::mem::replace(&mut *self.inner, Inner::Over(None)) {
            Inner::Over(None) => {}
            Inner::Started(core, key) => core.detach(key),
            Inner::Over(Some(refusal)) => drop(refusal.see(false)),
        }
    }

    #[cold]
    fn take_refusal(&mut self) -> Option<Error> {
        match &mut *self.inner {
            Inner::Over(refusal) => refusal.take().map(|refusal| refusal.see(true)),
            Inner::Started(..) => None,
        }
    }

    /// Asks for the operation's end. It ends at its own completion, with what happened: done, or
    /// `Cancelled` with what is confirmed. Its buffers come back only then.
    pub fn cancel(&self) {
        if let Inner::Started(core, key) = &*self.inner {
            core.cancel(*key);
        }
    }

    /// Names the operation's file in an error of waiting for it.
    pub(crate) fn describe(&self, error: Error) -> Error {
        match &*self.inner {
            Inner::Started(core, key) => core.name_file(*key, error),
            Inner::Over(_) => error,
        }
    }

    /// Counts it to a group.
    pub(crate) fn join(&self, to: &Arc<Core>, group: Key) {
        match &*self.inner {
            Inner::Started(core, key) if Arc::ptr_eq(core, to) => core.join(*key, group),
            Inner::Over(Some(refusal)) if Arc::ptr_eq(&refusal.core, to) => {
                to.join_refused(&refusal.error, refusal.unseen, group);
            }
            _ => {}
        }
    }

    /// Lets the operation run on by itself; the same as dropping this, said aloud.
    pub fn detach(self) {}
}

impl<T: Outcome> Completion<T> {
    /// The result, once: `None` before it was delivered and after it was taken.
    #[inline]
    pub fn try_take(&mut self) -> Option<Result<T>> {
        let Inner::Started(core, key) = &*self.inner else {
            return self.take_refusal().map(Err);
        };
        let outcome = T::take(core, *key)?;
        // Nothing to detach any more.
        *self.inner = Inner::Over(None);
        Some(outcome)
    }

    /// As a step and `try_take`, where both come down to one call of the platform.
    #[inline]
    pub(crate) fn wait_alone(&mut self) -> Option<T> {
        let Inner::Started(core, key) = &*self.inner else { return None };
        let value = T::wait_alone(core, *key)?;
        *self.inner = Inner::Over(None);
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
    /// # let io = start(Config::new().root(folder.path()))?;
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
        match core::mem::replace(&mut *self.inner, Inner::Over(None)) {
            Inner::Started(core, key) => core.on_finish(key, callback),
            Inner::Over(Some(refusal)) => {
                let error = refusal.see(true);
                refusal.core.call_back(callback, Err(error));
            }
            Inner::Over(None) => {}
        }
    }
}

impl<T> Drop for Completion<T> {
    #[inline]
    fn drop(&mut self) {
        // Nearly always: its result was taken, and nothing is left to be dropped.
        if !matches!(&*self.inner, Inner::Over(None)) {
            self.drop_unseen();
        }
    }
}

impl<T: Outcome> Future for Completion<T> {
    type Output = Result<T>;

    /// # Panics
    /// If it was polled again after it gave its result.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let Inner::Started(core, key) = &*self.inner else {
            let refusal = self.take_refusal();
            let refusal = refusal.expect("a completion was polled after it gave its result");
            return Poll::Ready(Err(refusal));
        };
        let outcome = match T::take(core, *key) {
            Some(outcome) => outcome,
            None => match core.poll(*key, context.waker()) {
                Some(outcome) => outcome.map(|value| T::from_value(value, core)),
                None => return Poll::Pending,
            },
        };
        *self.inner = Inner::Over(None);
        Poll::Ready(outcome)
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.inner {
            Inner::Started(..) => "Completion(submitted)",
            Inner::Over(Some(_)) => "Completion(refused)",
            Inner::Over(None) => "Completion(taken)",
        })
    }
}

/// What an operation can give: nothing, a buffer or several, a size, a file, and so on. The set is
/// closed.
#[expect(private_bounds, reason = "nobody else's type is the result of an operation")]
pub trait Outcome: FromValue {}

impl<T: FromValue> Outcome for T {}

pub(crate) trait FromValue: Sized {
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
        impl FromValue for $type {
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
outcome!(Option<u64>, Value::Place(place) => place);
outcome!(bool, Value::Exists(exists) => exists);
outcome!(Vec<Listed>, Value::List(list) => list);
outcome!(Metadata, Value::Metadata(stat) => stat.into());

impl FromValue for Buffer {
    fn from_value(value: Value, _: &Arc<Core>) -> Self {
        value.into_buffer()
    }

    #[expect(clippy::inline_always, reason = "once an operation, and counted")]
    #[inline(always)]
    fn take(core: &Arc<Core>, key: Key) -> Option<Result<Self>> {
        core.take_read(key)
    }

    #[inline]
    fn wait_alone(core: &Core, key: Key) -> Option<Self> {
        core.wait_alone(key)
    }
}

impl FromValue for Registration {
    fn from_value(value: Value, core: &Arc<Core>) -> Self {
        match value {
            Value::Registered(registered) => Registration::new(core, *registered),
            _ => unreachable!("the value of another kind of operation"),
        }
    }
}

impl FromValue for Arc<dyn File> {
    fn from_value(value: Value, core: &Arc<Core>) -> Self {
        match value {
            Value::File(opened) => ring_file(core, opened),
            _ => unreachable!("the value of another kind of operation"),
        }
    }
}
