//! Two sides, taking turns.

use littoral::platform::clock;
use serde::Serialize;
use wasm_bindgen::JsValue;

/// A row of the report.
#[derive(Serialize)]
pub(crate) struct Measurement {
    question: &'static str,
    subject: &'static str,
    reference: &'static str,
    unit: &'static str,
    /// The subject's median.
    value: f64,
    rounds: usize,
    /// The median of subject through reference, round by round; less is better.
    ratio: f64,
    low: f64,
    high: f64,
    /// What the ratio should not exceed; none where it is only told.
    target: Option<f64>,
    outcome: &'static str,
    /// Of each round, the subject and the reference.
    raw: Vec<[f64; 2]>,
}

/// A question, before it is asked.
pub(super) struct Duel {
    pub(super) asks: &'static str,
    pub(super) subject: &'static str,
    pub(super) reference: &'static str,
    pub(super) target: Option<f64>,
    /// How often a side does it in one round: enough for a clock with steps of 100 microseconds.
    pub(super) times: usize,
}

/// With 31 rounds, the median lies between the 10th and the 22nd with a probability of 97 %.
const ROUNDS: usize = 31;
const RANKS: [usize; 2] = [9, 21];

/// What a side may end with.
pub(super) type Done = Result<(), JsValue>;

impl Duel {
    /// Measures both sides, in microseconds for each time.
    pub(super) fn ask(
        self,
        mut subject: impl FnMut() -> Done,
        mut reference: impl FnMut() -> Done,
    ) -> Result<Measurement, JsValue> {
        let mut raw = Vec::with_capacity(ROUNDS);
        for round in 0..=ROUNDS {
            // Who comes first changes, so that neither always finds what the other left.
            let pair = if round % 2 == 0 {
                let ours = self.time(&mut subject)?;
                [ours, self.time(&mut reference)?]
            } else {
                let theirs = self.time(&mut reference)?;
                [self.time(&mut subject)?, theirs]
            };
            // The first round compiles and warms.
            if round > 0 {
                raw.push(pair);
            }
        }
        let value = sorted(raw.iter().map(|pair| pair[0]))[ROUNDS / 2];
        let ratios = sorted(raw.iter().map(|pair| pair[0] / pair[1].max(f64::MIN_POSITIVE)));
        let [low, high] = RANKS.map(|rank| hundredths(ratios[rank]));
        let outcome = match self.target {
            None => "no target",
            Some(target) if high <= target => "met",
            Some(target) if low > target => "missed",
            Some(_) => "inconclusive",
        };
        Ok(Measurement {
            question: self.asks,
            subject: self.subject,
            reference: self.reference,
            unit: "us",
            value: hundredths(value),
            rounds: ROUNDS,
            ratio: hundredths(ratios[ROUNDS / 2]),
            low,
            high,
            target: self.target,
            outcome,
            raw,
        })
    }

    fn time(&self, side: &mut impl FnMut() -> Done) -> Result<f64, JsValue> {
        let begun = clock::monotonic_nanos();
        for _ in 0..self.times {
            side()?;
        }
        let nanos = clock::monotonic_nanos() - begun;
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a measurement")]
        let micros = nanos as f64 / 1e3 / self.times as f64;
        Ok(micros)
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Rounded for reading, to four digits or so.
fn hundredths(value: f64) -> f64 {
    let unit = if value < 0.1 { 1e4 } else { 1e2 };
    (value * unit).round() / unit
}
