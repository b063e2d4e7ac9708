//! Waiting for a ring that holds completions back.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Faults, PATIENCE, Permille, Script};
use crate::simulated::Random;
use crate::{Doorbell, Errno, Polled};

/// Makes the seed's choices here others than those about entries.
const STREAM: u64 = 0x0be1_1000;

pub(super) struct Bell {
    inner: Arc<dyn Doorbell>,
    /// Whether a completion is held here, of which the ring within knows nothing.
    holding: AtomicBool,
    waiters: AtomicU32,
    interrupt: Permille,
    /// With the interruptions in a row.
    random: Mutex<(Random, u32)>,
    script: Script,
}

impl Bell {
    pub(super) fn new(inner: Arc<dyn Doorbell>, faults: &Faults, script: Script) -> Bell {
        let random = Mutex::new((Random::new(faults.seed ^ STREAM), 0));
        let interrupt = faults.interrupt;
        let (holding, waiters) = (AtomicBool::new(false), AtomicU32::new(0));
        Bell { inner, holding, waiters, interrupt, random, script }
    }

    /// Says whether a completion is held by the ring.
    pub(super) fn holding(&self, holding: bool) {
        self.holding.store(holding, Ordering::SeqCst);
        // Who waits already does so for the ring within, which has nothing more to say. Either it
        // is seen here, or it sees what was just stored: both sides store first, then load.
        if holding && self.waiters.load(Ordering::SeqCst) > 0 {
            self.inner.ring();
        }
    }

    fn interrupts(&self) -> bool {
        if self.interrupt == Permille::NEVER || self.script.lock().is_calm() {
            return false;
        }
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupts = random.1 < PATIENCE && random.0.chance(self.interrupt);
        random.1 = if interrupts { random.1 + 1 } else { 0 };
        interrupts
    }
}

impl Doorbell for Bell {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        if let Some(code) = self.script.lock().dead() {
            return Err(code);
        }
        if self.interrupts() {
            return Err(Errno::INTR);
        }
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let holding = self.holding.load(Ordering::SeqCst);
        // Not a plain return: the entries are to be submitted all the same.
        let timeout = if holding { Some(Duration::ZERO) } else { timeout };
        let waited = self.inner.wait(unsubmitted, timeout);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        waited
    }

    fn ring(&self) {
        self.inner.ring();
    }

    fn ring_after(&self, time: Duration) {
        self.inner.ring_after(time);
    }

    fn polled(&self) -> Result<Arc<Polled>, Errno> {
        self.inner.polled()
    }
}
