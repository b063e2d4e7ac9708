//! Waiting for a ring that holds completions back.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Faults, PATIENCE, Permille, Script};
use crate::simulated::Random;
use crate::{Doorbell, Errno};

/// Makes the seed's choices here others than those about entries.
const STREAM: u64 = 0x0be1_1000;

pub(super) struct Bell {
    inner: Arc<dyn Doorbell>,
    /// Whether a completion is held here, of which the ring within knows nothing.
    holding: AtomicBool,
    interrupt: Permille,
    /// With the interruptions in a row.
    random: Mutex<(Random, u32)>,
    script: Script,
}

impl Bell {
    pub(super) fn new(inner: Arc<dyn Doorbell>, faults: &Faults, script: Script) -> Bell {
        let random = Mutex::new((Random::new(faults.seed ^ STREAM), 0));
        let interrupt = faults.interrupt;
        Bell { inner, holding: AtomicBool::new(false), interrupt, random, script }
    }

    /// Says whether a completion is held by the ring.
    pub(super) fn holding(&self, holding: bool) {
        self.holding.store(holding, Ordering::Release);
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
        if self.interrupts() {
            return Err(Errno::INTR);
        }
        let holding = self.holding.load(Ordering::Acquire);
        // Not a plain return: the entries are to be submitted all the same.
        self.inner.wait(unsubmitted, if holding { Some(Duration::ZERO) } else { timeout })
    }

    fn ring(&self) {
        self.inner.ring();
    }
}
