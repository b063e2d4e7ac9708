//! Time that passes only where the simulation says so.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Clock;

/// Nanoseconds from 1970 to the moment at which every simulated clock begins: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600_000_000_000;

/// The clock of a [`Disk`](super::Disk) and of all rings on it; clones are the same clock.
///
/// It begins at the same moment in every run. An operation that is executed takes some time, as the
/// seed says; a wait in which nothing else can happen takes as long as it was to last, and none of
/// the caller's; and a test may [`advance`](VirtualClock::advance) it.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    monotonic: AtomicU64,
    /// What to add to have nanoseconds since 1970; it wraps.
    wall: AtomicU64,
}

impl Default for Hands {
    fn default() -> Hands {
        Hands { monotonic: AtomicU64::new(0), wall: AtomicU64::new(BEGINNING) }
    }
}

impl VirtualClock {
    /// Lets that much time pass.
    pub fn advance(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let later = |now: u64| Some(now.saturating_add(time));
        // It answers an error only where the closure does.
        let _ = self.0.monotonic.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Lets time pass up to that monotonic moment, if it is not over.
    pub fn advance_to(&self, nanos: u64) {
        self.0.monotonic.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Another clock, that goes on from this moment.
    pub(super) fn copy(&self) -> VirtualClock {
        let hand = |hand: &AtomicU64| AtomicU64::new(hand.load(Ordering::Relaxed));
        let (monotonic, wall) = (hand(&self.0.monotonic), hand(&self.0.wall));
        VirtualClock(Arc::new(Hands { monotonic, wall }))
    }

    /// Sets the wall clock, to nanoseconds since 1970. The monotonic one stays.
    pub fn set_wall(&self, nanos: u64) {
        self.0.wall.store(nanos.wrapping_sub(self.monotonic_nanos()), Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn monotonic_nanos(&self) -> u64 {
        self.0.monotonic.load(Ordering::Relaxed)
    }

    fn wall_nanos(&self) -> u64 {
        self.monotonic_nanos().wrapping_add(self.0.wall.load(Ordering::Relaxed))
    }

    fn slept(&self, time: Duration) {
        self.advance(time);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{BEGINNING, VirtualClock};
    use crate::Clock;

    #[test]
    fn it_goes_where_it_is_told_to() {
        let clock = VirtualClock::default();
        assert_eq!((clock.monotonic_nanos(), clock.wall_nanos()), (0, BEGINNING));
        clock.advance(Duration::from_micros(3));
        clock.advance_to(2000);
        assert_eq!((clock.monotonic_nanos(), clock.wall_nanos()), (3000, BEGINNING + 3000));
        clock.clone().set_wall(7);
        clock.slept(Duration::from_nanos(1));
        assert_eq!((clock.monotonic_nanos(), clock.wall_nanos()), (3001, 8));
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.monotonic_nanos(), u64::MAX);
    }
}
