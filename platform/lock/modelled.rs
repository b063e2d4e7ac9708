//! A model checker's locks, with the faces of the usual ones.

use core::ops::{Deref, DerefMut};
use core::time::Duration;

use shuttle::sync as model;

/// A lock that is not poisoned.
#[derive(Debug, Default)]
pub struct Mutex<T>(model::Mutex<T>);

/// Who holds one.
#[derive(Debug)]
pub struct MutexGuard<'a, T>(Option<model::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(model::Mutex::new(value))
    }

    /// Takes the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // Poisoned only where a model has failed, and its threads are unwound.
        MutexGuard(Some(self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }
}

const HELD: &str = "it is held, but for the time of a wait";

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(HELD)
    }
}

/// Where threads wait.
#[derive(Debug, Default)]
pub struct Condvar(model::Condvar);

/// How a wait with a time ended.
#[derive(Debug)]
pub struct WaitTimeoutResult(());

impl WaitTimeoutResult {
    /// The time is over: never, here.
    #[must_use]
    pub const fn timed_out(&self) -> bool {
        false
    }
}

impl Condvar {
    /// One without waiters.
    #[must_use]
    pub const fn new() -> Condvar {
        Condvar(model::Condvar::new())
    }

    /// Waits to be notified.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.0.take().expect(HELD);
        guard.0 = Some(self.0.wait(held).unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Waits to be notified. No time passes in a model: what waits for ever is a finding.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> WaitTimeoutResult {
        self.wait(guard);
        WaitTimeoutResult(())
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
