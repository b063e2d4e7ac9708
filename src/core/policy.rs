//! The right tool: a ring, or a call on the thread that waits.
//!
//! # A read that is alone
//!
//! A ring pays when many operations share its calls. One read that is waited for at once costs a
//! hand-over to the ring and back on top of the same trip to the kernel; where the page is cached,
//! a read that must not wait (`RWF_NOWAIT`) does it all in one call. Where the page is not cached
//! that call was for nothing, and the ring is asked after all.
//!
//! So each file has a bet. A hit keeps it on. Each miss in a row doubles how many lone reads go to
//! the ring before the next try, up to 1024: a file that is never cached pays one call in a
//! thousand for it. Worked example: miss (1 sits out), miss (2 sit out), miss (4 sit out), hit: the
//! next one is tried again.
//!
//! # A write or a flush that is alone
//!
//! What a ring hands to a kernel worker (buffered writes, flushes, changes of size) costs two
//! hand-overs between threads, which a thread that would only wait can spare itself. It must really
//! have nothing else to do: a call cannot be left before its end, so it is made only where the wait
//! has no limit of time, and nothing is under way or untold that somebody may be waiting for. Then
//! nothing of that file is in flight either, and a call keeps the order of things as the ring does.
//!
//! A write past the page cache counts among them. The submitter hands it to the device, unless the
//! file's time of change has to be set, which may wait: once in a tick of the kernel's clock, and
//! so every time where a trip by a worker takes as long as a tick. On a machine with 16 threads for
//! 2 processors such a write took 2.0 ms by the ring, and 0.16 ms by a call.

/// How often in a row the pause doubles at most.
const DOUBLINGS_MAX: u32 = 10;

/// One file's bet on its pages being cached.
#[derive(Debug, Default)]
pub(crate) struct Bet {
    misses: u32,
    /// Reads that sit out.
    pause: u32,
}

impl Bet {
    /// Whether to try the next lone read without the ring.
    #[inline]
    pub(crate) fn is_on(&mut self) -> bool {
        if self.pause == 0 {
            return true;
        }
        self.pause -= 1;
        false
    }

    /// The page was there.
    #[inline]
    pub(crate) fn won(&mut self) {
        self.misses = 0;
    }

    /// It was not.
    #[cold]
    pub(crate) fn lost(&mut self) {
        self.pause = 1 << self.misses;
        self.misses = (self.misses + 1).min(DOUBLINGS_MAX);
    }
}

/// Whether a durable write goes as one entry that is durable at its end (`RWF_DSYNC`), and not as a
/// write and a flush. `alone` says that no other write of the file is being made durable.
///
/// Past the page cache, alone: the submitter hands both to the device, and wakes once, where the
/// flush would go to a kernel worker: 1.0 context switches in place of 4. Through the cache the
/// entry goes to a worker in any case, and saves 3 % of a flush's time; but it has an error that
/// may be a write's or a flush's. And many of them cost a flush each: 32 at once take 0.6 ms past
/// the cache and 3.4 ms through it, in place of 0.3 and 0.4 for 32 writes that share one flush.
pub(crate) fn is_durable_by_entry(past_the_cache: bool, alone: bool) -> bool {
    past_the_cache && alone
}

/// What there is besides an operation, and so would wait for a call's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Company {
    /// Entries that are in the ring, or go there next.
    pub(crate) in_ring: usize,
    /// Threads that wait for the ring or for results.
    pub(crate) threads: u32,
    /// Results that nobody was told of yet.
    pub(crate) untold: usize,
    /// Entries of batches that have not ended.
    pub(crate) planned: usize,
}

impl Company {
    /// Whether there is none: then the thread that is about to wait without a limit of time does a
    /// write, a flush or a change of size itself.
    pub(crate) fn is_nobody(&self) -> bool {
        *self == Company::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_example() {
        let mut bet = Bet::default();
        let tries = |bet: &mut Bet, reads: usize| (0..reads).filter(|_| bet.is_on()).count();
        for sits_out in [1, 2, 4] {
            assert!(bet.is_on());
            bet.lost();
            assert_eq!(tries(&mut bet, sits_out), 0);
        }
        assert!(bet.is_on());
        bet.won();
        assert_eq!(tries(&mut bet, 5), 5);
    }

    #[test]
    fn a_flush_that_can_be_shared_is() {
        assert!(is_durable_by_entry(true, true));
        for (past_the_cache, alone) in [(true, false), (false, true), (false, false)] {
            assert!(!is_durable_by_entry(past_the_cache, alone));
        }
    }

    #[test]
    fn nobody_is_made_to_wait_for_a_call() {
        let somebody = [
            Company { in_ring: 1, ..Company::default() },
            Company { threads: 1, ..Company::default() },
            Company { untold: 1, ..Company::default() },
            Company { planned: 1, ..Company::default() },
        ];
        assert!(Company::default().is_nobody());
        assert!(!somebody.iter().any(Company::is_nobody));
    }

    proptest! {
        /// Whatever is cached: without hits the useless calls stay few, and every hit is repaid at
        /// once.
        #[test]
        fn misses_become_rare_and_hits_are_followed(
            cached in prop::collection::vec(any::<bool>(), 1..4000)
        ) {
            let mut bet = Bet::default();
            let mut misses_in_a_row = 0_u32;
            let mut sat_out = 0_u32;
            for is_cached in cached {
                if !bet.is_on() {
                    sat_out += 1;
                    let doublings = misses_in_a_row.saturating_sub(1).min(DOUBLINGS_MAX);
                    prop_assert!(sat_out <= 1 << doublings);
                    continue;
                }
                if misses_in_a_row > 0 {
                    prop_assert_eq!(sat_out, 1 << (misses_in_a_row - 1).min(DOUBLINGS_MAX));
                }
                sat_out = 0;
                if is_cached {
                    bet.won();
                    misses_in_a_row = 0;
                } else {
                    bet.lost();
                    misses_in_a_row += 1;
                }
            }
        }
    }
}
