//! All polled descriptors of one ring.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Polled;

/// The polled descriptors of one ring, kept by its doorbell.
#[derive(Default)]
pub(crate) struct PolledOnes(Mutex<Vec<Weak<Polled>>>);

impl PolledOnes {
    /// Makes one more, readable from the start.
    pub(crate) fn add(&self, polled: Polled) -> Arc<Polled> {
        let polled = Arc::new(polled);
        polled.raise();
        let mut all = self.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&polled));
        polled
    }

    /// There is news for all of them.
    pub(crate) fn raise(&self) {
        self.each(Polled::raise);
    }

    /// There will be news for all of them.
    pub(crate) fn raise_after(&self, time: Duration) {
        self.each(|polled| polled.raise_after(time));
    }

    fn each(&self, what: impl Fn(&Polled)) {
        self.lock().iter().filter_map(Weak::upgrade).for_each(|polled| what(&polled));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Polled>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
