//! Two sides, taking turns, and what their times say.
//!
//! A round runs subject, reference, reference, subject (or the other way round, every other time),
//! so that a machine that slows down steadily slows both alike. Its ratio is that of the two sums.
//! The estimate is the median of the rounds' ratios, and the interval holds 95 of 100 medians of
//! rounds drawn from these with replacement (a bootstrap).
//!
//! For example, with rounds of ratios 0.5, 0.5, 0.6, 0.5 and 2.0 (somebody else had the processor)
//! the estimate is 0.5; the interval reaches to 2.0 because five rounds are few.

use std::time::Instant;

use anyhow::Result;
use fastrand::Rng;
use serde::Serialize;

/// How a question is asked.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
}

/// What is compared.
pub(crate) struct Duel {
    pub(crate) asks: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) reference: &'static str,
    /// What the ratio should not exceed; `None` where it is only told.
    pub(crate) target: Option<f64>,
    /// Operations of one run: enough for some milliseconds.
    pub(crate) times: u32,
}

/// A row of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    question: &'static str,
    subject: &'static str,
    reference: &'static str,
    unit: &'static str,
    /// The subject's median.
    value: f64,
    rounds: usize,
    /// Time of the subject through time of the reference: less is better.
    ratio: f64,
    low: f64,
    high: f64,
    target: Option<f64>,
    outcome: &'static str,
    /// Of each round, the subject and the reference.
    raw: Vec<[f64; 2]>,
}

/// Drawn medians. Their 2.5th percentile is the 100th of them.
const DRAWN: usize = 4000;

impl Duel {
    /// Asks. Each side is called with an operation's number.
    pub(crate) fn ask(
        &self,
        plan: Plan,
        mut subject: impl FnMut(u32) -> Result<()>,
        mut reference: impl FnMut(u32) -> Result<()>,
    ) -> Result<Row> {
        // What is only done once: page tables, lazily made kernel workers, branch predictors.
        self.time(&mut subject)?;
        self.time(&mut reference)?;
        let mut raw = Vec::with_capacity(plan.rounds);
        for round in 0..plan.rounds {
            let mut sums = [0.0; 2];
            let turns = if round % 2 == 0 { [0, 1, 1, 0] } else { [1, 0, 0, 1] };
            for side in turns {
                sums[side] += match side {
                    0 => self.time(&mut subject)?,
                    _ => self.time(&mut reference)?,
                };
            }
            raw.push(sums.map(|sum| sum / 2.0));
        }
        Ok(self.judge(plan, raw))
    }

    /// Microseconds of one operation.
    fn time(&self, side: &mut impl FnMut(u32) -> Result<()>) -> Result<f64> {
        let begun = Instant::now();
        for number in 0..self.times {
            side(number)?;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(self.times))
    }

    fn judge(&self, plan: Plan, raw: Vec<[f64; 2]>) -> Row {
        let ratios: Vec<f64> = raw.iter().map(|[subject, reference]| subject / reference).collect();
        let [low, high] = interval(&ratios, plan.seed);
        let outcome = match self.target {
            None => "no target",
            Some(target) if high <= target => "met",
            Some(target) if low > target => "missed",
            Some(_) => "inconclusive",
        };
        Row {
            question: self.asks,
            subject: self.subject,
            reference: self.reference,
            unit: "us",
            value: rounded(median(raw.iter().map(|pair| pair[0]).collect())),
            rounds: raw.len(),
            ratio: rounded(median(ratios)),
            low: rounded(low),
            high: rounded(high),
            target: self.target,
            outcome,
            raw: raw.into_iter().map(|pair| pair.map(rounded)).collect(),
        }
    }
}

/// Where 95 of 100 medians of as many draws lie.
fn interval(values: &[f64], seed: u64) -> [f64; 2] {
    let mut random = Rng::with_seed(seed);
    let mut draw =
        || median((0..values.len()).map(|_| values[random.usize(..values.len())]).collect());
    let mut medians: Vec<f64> = (0..DRAWN).map(|_| draw()).collect();
    medians.sort_unstable_by(f64::total_cmp);
    [medians[DRAWN / 40], medians[DRAWN - 1 - DRAWN / 40]]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// To four significant digits, for reading.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number as it was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: Option<f64>, ratio: impl Fn(u32) -> f64) -> Row {
        let duel = Duel { asks: "?", subject: "a", reference: "b", target, times: 1 };
        let raw: Vec<_> = (0..21).map(|round| [ratio(round) * 3.0, 3.0]).collect();
        duel.judge(Plan { rounds: 21, seed: 1 }, raw)
    }

    #[test]
    fn a_steady_ratio_is_told_exactly() {
        let row = judged(Some(1.0), |_| 0.5);
        assert_eq!((row.ratio, row.low, row.high, row.outcome), (0.5, 0.5, 0.5, "met"));
        assert_eq!((row.value, row.rounds), (1.5, 21));
        assert_eq!(judged(Some(0.4), |_| 0.5).outcome, "missed");
        assert_eq!(judged(None, |_| 0.5).outcome, "no target");
    }

    #[test]
    fn a_target_inside_the_interval_is_inconclusive() {
        let row = judged(Some(1.0), |round| 0.9 + f64::from(round) / 100.0);
        assert!(row.low < 1.0 && 1.0 < row.high, "{row:?}");
        assert_eq!((row.ratio, row.outcome), (1.0, "inconclusive"));
    }

    #[test]
    fn few_disturbed_rounds_do_not_decide() {
        let row = judged(Some(1.0), |round| if round % 7 == 0 { 40.0 } else { 0.5 });
        assert_eq!((row.ratio, row.outcome), (0.5, "met"));
    }

    #[test]
    fn turns_are_balanced_and_errors_are_told() {
        let duel = Duel { asks: "?", subject: "a", reference: "b", target: None, times: 3 };
        let calls = std::cell::RefCell::new(Vec::new());
        let note = |side: char| {
            let calls = &calls;
            move |number: u32| {
                calls.borrow_mut().push((side, number));
                Ok(())
            }
        };
        duel.ask(Plan { rounds: 2, seed: 1 }, note('a'), note('b')).expect("it counts");
        let calls = calls.take();
        assert!(calls.chunks(3).all(|run| run.iter().map(|call| call.1).eq(0..3)));
        let turns: String = calls.iter().step_by(3).map(|call| call.0).collect();
        assert_eq!(turns, "ababbabaab");
        let failing = |_| anyhow::bail!("no");
        assert!(duel.ask(Plan { rounds: 1, seed: 1 }, failing, |_| Ok(())).is_err());
    }
}
