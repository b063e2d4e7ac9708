//! The file of ceilings, and the rows that come of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use littoral_benches::callgrind::Cost;
use serde::{Deserialize, Serialize};

use crate::counted::{cost, word};
use crate::loops::{Loop, Operation, Side, Taken};

/// Operations of the shorter of two runs, about.
const OPERATIONS: u32 = 4096;

/// The file: what its comment says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ceilings {
    r#loop: Vec<Ceiling>,
    /// Judged by the test that counts allocations.
    #[serde(rename = "allocations")]
    _allocations: toml::Table,
}

/// What a loop may cost by the operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ceiling {
    operation: Operation,
    taken: Taken,
    depth: u32,
    instructions: f64,
    /// What it should come down to, where that was said.
    target: Option<f64>,
    syscalls: f64,
}

/// A row of the report.
#[derive(Serialize)]
pub(crate) struct Row {
    question: String,
    subject: &'static str,
    reference: &'static str,
    unit: &'static str,
    value: f64,
    /// The reference's.
    beside: f64,
    rounds: u32,
    ratio: f64,
    /// A count has no interval.
    low: Option<f64>,
    high: Option<f64>,
    target: Option<f64>,
    outcome: &'static str,
    ceiling: f64,
    within: bool,
    raw: [Cost; 2],
}

impl Ceilings {
    pub(crate) fn read(path: &Path) -> Result<Ceilings> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Those with `only` in their name; at least one.
    pub(crate) fn named(self, only: &str) -> Result<Vec<Ceiling>> {
        let mut found = self.r#loop;
        found.retain(|ceiling| ceiling.name().contains(only));
        ensure!(!found.is_empty(), "no loop has `{only}` in its name");
        Ok(found)
    }
}

impl Ceiling {
    pub(crate) fn name(&self) -> String {
        let Ceiling { operation, taken, depth, .. } = self;
        format!("{}, {}, depth {depth}", word(operation), word(taken))
    }

    /// Measures both sides; a row each for instructions and for system calls.
    pub(crate) fn judge(&self) -> Result<[Row; 2]> {
        let Ceiling { operation, taken, depth, .. } = *self;
        let rounds = (OPERATIONS / depth).max(1);
        let of = |side| cost(&Loop { side, operation, taken, depth, rounds });
        let raw = [of(Side::Littoral)?, of(Side::Bare)?];
        let row = |unit, [value, beside]: [f64; 2], ceiling, target| Row {
            question: format!("{unit} of an operation: {}", self.name()),
            subject: "littoral",
            reference: "a bare loop",
            unit,
            value: rounded(value),
            beside: rounded(beside),
            rounds,
            ratio: rounded(value / beside),
            low: None,
            high: None,
            target,
            outcome: match target {
                None => "no target",
                Some(target) if value <= target => "met",
                Some(_) => "missed",
            },
            ceiling,
            within: value <= ceiling,
            raw,
        };
        Ok([
            row("instructions", raw.map(|of| of.instructions), self.instructions, self.target),
            row("syscalls", raw.map(|of| of.syscalls), self.syscalls, None),
        ])
    }
}

/// To hundredths.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
