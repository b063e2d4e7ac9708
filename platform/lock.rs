//! The lock and the condition variable that engines above a ring use.
//!
//! Natively those of `parking_lot`: one byte, no poison, four instructions to lock and four to
//! unlock where nobody else wants it. That is a third of what the standard library's take, which
//! counts where an operation is to cost two hundred. A lock is not poisoned by a panic: under an
//! engine's lock no code of users runs.
//!
//! In a browser there is one thread: the standard library's lock is a flag there, and to wait for
//! another thread is to be woken at once.
//!
//! With `--cfg littoral_model` all of it is a model checker's, which decides who goes on; so are
//! the threads of `thread`.

cfg_if::cfg_if! {
    if #[cfg(littoral_model)] {
        mod modelled;
        pub use modelled::{Condvar, Mutex, MutexGuard, WaitTimeoutResult};
        pub use shuttle::sync::{RwLock, RwLockReadGuard, atomic};
    } else {
        /// What is shared without a lock.
        pub use core::sync::atomic;
        pub use std::sync::{RwLock, RwLockReadGuard};
    }
}

cfg_if::cfg_if! {
    if #[cfg(littoral_model)] {
    } else if #[cfg(target_arch = "wasm32")] {
        use core::time::Duration;
        use std::sync::{PoisonError, TryLockError};
        pub use std::sync::MutexGuard;

        /// A lock that is not poisoned.
        #[derive(Debug, Default)]
        pub struct Mutex<T>(std::sync::Mutex<T>);

        impl<T> Mutex<T> {
            /// A lock around `value`.
            pub const fn new(value: T) -> Mutex<T> {
                Mutex(std::sync::Mutex::new(value))
            }

            /// Takes the lock.
            pub fn lock(&self) -> MutexGuard<'_, T> {
                self.0.lock().unwrap_or_else(PoisonError::into_inner)
            }

            /// Takes the lock if nobody has it.
            pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
                match self.0.try_lock() {
                    Ok(guard) => Some(guard),
                    Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                    Err(TryLockError::WouldBlock) => None,
                }
            }
        }

        /// Where threads would wait, if there were another one to wake them.
        #[derive(Debug, Default)]
        pub struct Condvar(());

        /// How a wait with a time ended.
        #[derive(Debug)]
        pub struct WaitTimeoutResult(());

        impl WaitTimeoutResult {
            /// The time is over.
            #[must_use]
            pub const fn timed_out(&self) -> bool {
                true
            }
        }

        impl Condvar {
            /// One without waiters.
            #[must_use]
            pub const fn new() -> Condvar {
                Condvar(())
            }

            /// Returns at once.
            pub fn wait<T>(&self, _: &mut MutexGuard<'_, T>) {}

            /// Returns at once, as after that time: nobody can end the wait before.
            #[expect(clippy::must_use_candidate, reason = "threads' own may be ignored as well")]
            pub fn wait_for<T>(
                &self,
                _: &mut MutexGuard<'_, T>,
                _: Duration,
            ) -> WaitTimeoutResult {
                WaitTimeoutResult(())
            }

            /// There is nobody.
            pub fn notify_all(&self) {}
        }
    } else {
        pub use parking_lot::{Condvar, Mutex, MutexGuard, WaitTimeoutResult};
    }
}
