//! What times of sides that took turns say.
//!
//! In a round every side has two turns, in an order that is read alike from both ends (ABBA for
//! two), so that a machine that slows down steadily slows all alike. A round's ratio is that of
//! what two sides took in it. The estimate is the median of the rounds' ratios, and the interval
//! holds 95 of 100 medians of rounds drawn from these with replacement (a bootstrap).
//!
//! For example, with rounds of ratios 0.5, 0.5, 0.6, 0.5 and 2.0 (somebody else had the processor)
//! the estimate is 0.5; the interval reaches to 2.0 because five rounds are few.

use fastrand::Rng;

/// Drawn medians. Their 2.5th percentile is the 100th of them.
const DRAWN: usize = 4000;

/// An interval wider than this to either side, as a part of its estimate, says nothing yet.
const WIDE: f64 = 0.05;

/// A ratio of times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) estimate: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// Of two sides whose turns stand in the same rounds.
    pub(crate) fn of_rounds(subject: &[f64], other: &[f64], seed: u64) -> Ratio {
        let ratios: Vec<f64> = subject.iter().zip(other).map(|(one, other)| one / other).collect();
        let medians = drawn(seed, |random| median_of_draw(&ratios, random));
        Ratio::of(median(ratios), &medians)
    }

    /// Of two that stand in different rounds: each is drawn by itself.
    pub(crate) fn of_apart(subject: &[f64], other: &[f64], seed: u64) -> Ratio {
        let medians =
            drawn(seed, |random| median_of_draw(subject, random) / median_of_draw(other, random));
        Ratio::of(median(subject.to_vec()) / median(other.to_vec()), &medians)
    }

    fn of(estimate: f64, medians: &[f64]) -> Ratio {
        Ratio { estimate, low: medians[DRAWN / 40], high: medians[DRAWN - 1 - DRAWN / 40] }
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.high - self.estimate > WIDE * self.estimate
            || self.estimate - self.low > WIDE * self.estimate
    }

    /// Whether the interval as a whole is at or below a bound (`met`), above it (`missed`), or on
    /// both sides of it.
    pub(crate) fn judged(&self, at_most: f64) -> &'static str {
        if self.high <= at_most {
            "met"
        } else if self.low > at_most {
            "missed"
        } else {
            "inconclusive"
        }
    }
}

/// Medians of draws, sorted.
fn drawn(seed: u64, mut draw: impl FnMut(&mut Rng) -> f64) -> Vec<f64> {
    let mut random = Rng::with_seed(seed);
    let mut medians: Vec<f64> = (0..DRAWN).map(|_| draw(&mut random)).collect();
    medians.sort_unstable_by(f64::total_cmp);
    medians
}

fn median_of_draw(values: &[f64], random: &mut Rng) -> f64 {
    median((0..values.len()).map(|_| values[random.usize(..values.len())]).collect())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// To four significant digits, for reading.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number as it was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ratio: impl Fn(u32) -> f64) -> Ratio {
        let subject: Vec<f64> = (0..21).map(|round| ratio(round) * 3.0).collect();
        Ratio::of_rounds(&subject, &[3.0; 21], 1)
    }

    #[test]
    fn a_steady_ratio_is_told_exactly() {
        let ratio = of(|_| 0.5);
        assert_eq!(ratio, Ratio { estimate: 0.5, low: 0.5, high: 0.5 });
        assert_eq!([0.5, 0.4].map(|bound| ratio.judged(bound)), ["met", "missed"]);
        assert!(!ratio.is_wide());
    }

    #[test]
    fn a_bound_inside_the_interval_is_inconclusive() {
        let ratio = of(|round| 0.9 + f64::from(round) / 100.0);
        assert!(ratio.low < 1.0 && 1.0 < ratio.high, "{ratio:?}");
        assert_eq!(ratio.judged(1.0), "inconclusive");
    }

    #[test]
    fn few_disturbed_rounds_do_not_decide() {
        let ratio = of(|round| if round % 7 == 0 { 40.0 } else { 0.5 });
        assert_eq!((ratio.estimate, ratio.judged(1.0)), (0.5, "met"));
    }

    #[test]
    fn what_jumps_is_wide() {
        assert!(of(|round| if round % 2 == 0 { 1.0 } else { 1.3 }).is_wide());
    }

    #[test]
    fn what_stands_in_other_rounds_is_drawn_by_itself() {
        let slow: Vec<f64> = (0..30).map(|round| 8.0 + f64::from(round % 3) / 10.0).collect();
        let ratio = Ratio::of_apart(&slow, &[2.0; 15], 1);
        assert!((ratio.estimate - 4.05).abs() < 1e-9, "{ratio:?}");
        assert!(4.0 <= ratio.low && ratio.high <= 4.1, "{ratio:?}");
    }

    #[test]
    fn numbers_are_told_with_four_digits() {
        let told = [123_456.0, 0.001_234_56, 1.0].map(|value| rounded(value).to_string());
        assert_eq!(told, ["123500", "0.001235", "1"]);
    }
}
