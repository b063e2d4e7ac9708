//! Seeded chance: the same seed gives the same run, on every target.

/// A rate in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permille(pub u16);

impl Permille {
    /// Not once.
    pub const NEVER: Permille = Permille(0);
    /// Every time.
    pub const ALWAYS: Permille = Permille(1000);
}

/// `SplitMix64` (Steele, Lea, Flood 2014): one word of state, any seed is good, and two seeds that
/// differ in one bit have nothing in common after the first step. Speed and period are far above
/// what choosing faults needs; it must never be asked for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0. The high half of a product and not a remainder:
    /// its bias is below `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is no number below 0");
        let high = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(high).expect("it is below a usize")
    }

    pub(crate) fn chance(&mut self, rate: Permille) -> bool {
        // No draw for the two certain cases: switching one fault off leaves the others' order.
        match rate.0 {
            0 => false,
            1000.. => true,
            rate => self.below(1000) < usize::from(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Permille, Random};

    #[test]
    fn is_the_published_generator() {
        // The reference implementation's first outputs for this seed.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn rates_are_kept() {
        let mut random = Random::new(7);
        let hits = (0..10_000).filter(|_| random.chance(Permille(250))).count();
        assert!((2_300..2_700).contains(&hits), "{hits} of 10000 at 250 per mille");
        assert!(!random.chance(Permille::NEVER));
        assert!(random.chance(Permille::ALWAYS));
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut random = Random::new(3);
        let mut seen = [0; 7];
        for _ in 0..1000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
    }
}
