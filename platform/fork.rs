//! What a process that is forked does first and last, on systems that fork.
//!
//! A forked child has a copy of the memory and one thread: whatever another thread was doing stays
//! half done for ever, its locks held. So who has something to say in a child takes its own locks
//! before the fork and gives them back after it, in the parent and in the child
//! (`pthread_atfork(3)`); in between nothing is half done.

use std::sync::Arc;

use crate::lock::MutexGuard;

/// What to do around a fork, on the thread that forks.
#[derive(Clone, Copy, Debug)]
pub struct Handlers {
    /// Before it: takes locks.
    pub before: fn(),
    /// After it, in the process that forked: gives them back.
    pub in_parent: fn(),
    /// After it, in the new process: renews them. No other thread is there: a lock that one held
    /// is never released, and one that others wait for must not be handed to them.
    pub in_child: fn(&Child),
}

/// Says that this is a forked child with one thread. Lent by the one who knows.
#[derive(Debug)]
pub struct Child(());

/// A lock that is held together with what it is part of.
pub struct Held<C: 'static, T: 'static> {
    /// Dropped before what it borrows from: fields are dropped in their order.
    guard: MutexGuard<'static, T>,
    owner: Arc<C>,
}

impl<C, T> Held<C, T> {
    /// Locks.
    pub fn lock(owner: Arc<C>, lock: impl for<'a> FnOnce(&'a C) -> MutexGuard<'a, T>) -> Self {
        let guard: MutexGuard<'_, T> = lock(&owner);
        // SAFETY: the guard borrows from what `owner` points to, which the `Arc` keeps where it is
        // and `Held` drops after the guard. The longer lifetime leaves neither this file nor the
        // type: `get` borrows from `self`.
        let guard: MutexGuard<'static, T> = unsafe { core::mem::transmute(guard) };
        Held { guard, owner }
    }

    /// What the lock guards.
    pub fn get(&mut self) -> &mut T {
        &mut self.guard
    }

    /// Unlocks, and gives back what the lock is part of.
    #[must_use]
    pub fn unlock(self) -> Arc<C> {
        let Held { guard, owner } = self;
        drop(guard);
        owner
    }

    /// Unlocks in a forked child, and forgets who waits for the lock.
    #[must_use]
    pub fn renew(self, child: &Child) -> Arc<C> {
        let Held { guard, owner } = self;
        renew(guard, child);
        owner
    }
}

cfg_if::cfg_if! {
    if #[cfg(all(unix, not(littoral_model)))] {
        use std::alloc::{Layout, handle_alloc_error};
        use std::sync::OnceLock;

        use parking_lot::RawMutex;
        use parking_lot::lock_api::RawMutex as _;

        fn renew<T>(guard: MutexGuard<'_, T>, _: &Child) {
            // SAFETY: it is not unlocked through this.
            let raw: &RawMutex = unsafe { MutexGuard::mutex(&guard).raw() };
            core::mem::forget(guard);
            // SAFETY: nobody else uses the lock, as `Child` says. All of it is an atomic, which may
            // be written to behind a shared reference; its first value is that of a lock that
            // nobody holds or waits for, and the forgotten guard was the only one.
            unsafe { core::ptr::from_ref(raw).cast_mut().write(RawMutex::INIT) };
        }

        static HANDLERS: OnceLock<Handlers> = OnceLock::new();

        extern "C" fn before() {
            if let Some(handlers) = HANDLERS.get() {
                (handlers.before)();
            }
            crate::unix::sharing::before_fork();
        }

        extern "C" fn in_parent() {
            crate::unix::sharing::after_fork_in_parent();
            if let Some(handlers) = HANDLERS.get() {
                (handlers.in_parent)();
            }
        }

        extern "C" fn in_child() {
            crate::unix::sharing::after_fork_in_child();
            if let Some(handlers) = HANDLERS.get() {
                (handlers.in_child)(&Child(()));
            }
        }

        /// Has `handlers` called around every `fork` of this process from now on. The first ones
        /// stay; they are not called around `vfork`, `posix_spawn` and a raw `clone`.
        pub fn on_fork(handlers: Handlers) {
            HANDLERS.get_or_init(|| {
                // SAFETY: the three functions are there as long as the program's code is, and
                // unwind into nobody: a panic in an `extern "C"` function ends the process.
                let code = unsafe {
                    libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child))
                };
                if code != 0 {
                    // ENOMEM is the one error.
                    handle_alloc_error(Layout::new::<Handlers>());
                }
                handlers
            });
        }
    } else {
        fn renew<T>(guard: MutexGuard<'_, T>, _: &Child) {
            drop(guard);
        }

        /// Nothing forks here.
        pub fn on_fork(_: Handlers) {}
    }
}
