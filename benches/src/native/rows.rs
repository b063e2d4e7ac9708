//! The rows of the report.

use anyhow::Result;
use littoral_bench_side::{Found, Hazard};
use serde::Serialize;

use crate::plan::{Figure, Over, Role, Target};
use crate::rounds::{Done, Figures, Measured};
use crate::statistics::{Ratio, median, rounded};

/// A peer is faster if the whole interval lies beyond this.
const LEVEL: f64 = 1.03;

/// A row, with what every benchmark of this tree tells, and what only this one does.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    kind: Kind,
    chart: Option<String>,
    question: String,
    subject: String,
    role: Option<Role>,
    reference: Option<String>,
    unit: &'static str,
    value: Option<f64>,
    rounds: usize,
    ratio: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    target: Option<f64>,
    outcome: &'static str,
    /// Where the interval lies, however wide.
    leans: Option<&'static str>,
    configuration: Option<String>,
    refused: Option<String>,
    instructions: Option<f64>,
    syscalls: Option<f64>,
    allocations: Option<f64>,
    switches: Option<f64>,
    /// Microseconds of processor by the operation.
    processor: Option<f64>,
    raw: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// What a workload cost one side. Raw are microseconds by the operation of each turn.
    Figures,
    /// Time of a subject through that of another side. Raw are the rounds' ratios.
    Comparison,
    /// What it should come to.
    Target,
    /// What a library did in a scenario.
    Hazard,
}

impl Row {
    fn new(kind: Kind, question: &str, subject: &str, unit: &'static str) -> Row {
        Row {
            kind,
            chart: None,
            question: question.to_owned(),
            subject: subject.to_owned(),
            role: None,
            reference: None,
            unit,
            value: None,
            rounds: 0,
            ratio: None,
            low: None,
            high: None,
            target: None,
            outcome: "no target",
            leans: None,
            configuration: None,
            refused: None,
            instructions: None,
            syscalls: None,
            allocations: None,
            switches: None,
            processor: None,
            raw: Vec::new(),
        }
    }

    fn with(mut self, ratio: Ratio) -> Row {
        self.ratio = Some(rounded(ratio.estimate));
        self.low = Some(rounded(ratio.low));
        self.high = Some(rounded(ratio.high));
        self
    }
}

/// What a workload cost each side, and the first subject beside every other one.
pub(crate) fn of(done: &Done, seed: u64) -> Vec<Row> {
    let mut rows: Vec<Row> = done.sides.iter().map(|side| figures(done, side)).collect();
    let Some((subject, others)) = done.sides.split_first() else { return rows };
    let Ok(mine) = &subject.figures else { return rows };
    for other in others {
        if let Ok(theirs) = &other.figures {
            rows.push(comparison(done, (subject, mine), (other, theirs), seed));
        }
    }
    rows
}

fn figures(done: &Done, measured: &Measured) -> Row {
    let mut row = Row::new(Kind::Figures, &done.workload.name, &measured.side.name, "us");
    row.chart = Some(done.workload.chart.clone());
    row.role = Some(measured.side.role);
    match &measured.figures {
        Err(reason) => row.refused = Some(reason.clone()),
        Ok(figures) => {
            let raw = figures.turns.iter().map(|turn| turn.seconds * 1e6 / turn.operations as f64);
            row.value = Some(rounded(median(figures.rounds())));
            row.rounds = figures.rounds().len();
            row.configuration = Some(figures.configuration.clone());
            row.instructions = figures.cost.map(|cost| rounded(cost.instructions));
            row.syscalls = figures.cost.map(|cost| rounded(cost.syscalls));
            row.allocations = figures.each(|turn| turn.allocations).map(rounded);
            row.switches = figures.each(|turn| Some(turn.switches)).map(rounded);
            row.processor = figures.each(|turn| Some(turn.processor * 1e6)).map(rounded);
            row.raw = raw.map(rounded).collect();
        }
    }
    row
}

fn comparison(
    done: &Done,
    (subject, mine): (&Measured, &Figures),
    (other, theirs): (&Measured, &Figures),
    seed: u64,
) -> Row {
    let (one, two) = (mine.rounds(), theirs.rounds());
    let ratio = Ratio::of_rounds(&one, &two, seed);
    let mut row = Row::new(Kind::Comparison, &done.workload.name, &subject.side.name, "us");
    row.chart = Some(done.workload.chart.clone());
    row.role = Some(other.side.role);
    row.reference = Some(other.side.name.clone());
    row.value = Some(rounded(median(one.clone())));
    row.rounds = one.len();
    row.raw = one.iter().zip(&two).map(|(one, two)| rounded(one / two)).collect();
    row.leans = Some(if ratio.low > LEVEL {
        "the other is faster"
    } else if ratio.high < 1.0 / LEVEL {
        "the subject is faster"
    } else {
        "level"
    });
    if other.side.role == Role::Peer {
        row.target = Some(LEVEL);
        row.outcome = match () {
            () if ratio.is_wide() => "inconclusive",
            // Not wide, and not as a whole beyond it: then it is not faster.
            () if ratio.low > LEVEL => "missed",
            () => "met",
        };
    }
    row.with(ratio)
}

/// What a library did in a scenario, or that it did not come to an end in it.
pub(crate) fn hazard(side: &str, hazard: Hazard, found: Result<Found>) -> Row {
    let name = serde_json::to_value(hazard).expect("a name is text");
    let mut row = Row::new(Kind::Hazard, name.as_str().expect("a name is text"), side, "");
    let (outcome, told) = match found {
        Ok(Found::Safe(told)) => ("safe", told),
        Ok(Found::Fails(told)) => ("fails", told),
        Ok(Found::Inapplicable(told)) => ("does not apply", told),
        Err(error) => ("fails", format!("{error:#}")),
    };
    row.outcome = outcome;
    row.configuration = Some(told);
    row
}

/// Judges a target; none where not all that it needs was measured.
pub(crate) fn judged(target: &Target, all: &[Done], seed: u64) -> Option<Row> {
    let of = |of: &str, at: &str| -> Option<&Figures> {
        let done = all.iter().find(|done| done.workload.name == at)?;
        let side = done.sides.iter().find(|measured| measured.side.name == of)?;
        side.figures.as_ref().ok()
    };
    let figure = |of: &Figures| match target.figure {
        Figure::Time => Some(median(of.rounds())),
        Figure::Instructions => of.cost.map(|cost| cost.instructions),
        Figure::Syscalls => of.cost.map(|cost| cost.syscalls),
        Figure::Allocations => of.each(|turn| turn.allocations),
        Figure::Switches => of.each(|turn| Some(turn.switches)),
    };
    let subject = of(&target.of, &target.at)?;
    let value = figure(subject)?;
    let mut row = Row::new(Kind::Target, &target.name, &target.of, target.figure.unit());
    row.value = Some(rounded(value));
    row.rounds = subject.rounds().len();
    row.target = Some(target.at_most);
    let exactly = |value: f64| if value <= target.at_most { "met" } else { "missed" };
    let Some(Over { of: whose, at }) = &target.over else {
        row.outcome = exactly(value);
        return Some(row);
    };
    let whose = whose.as_ref().unwrap_or(&target.of);
    let other = of(whose, at.as_ref().unwrap_or(&target.at))?;
    let beside = figure(other)?;
    row.reference = Some(match at {
        Some(at) => format!("{whose}: {at}"),
        None => whose.clone(),
    });
    if target.figure == Figure::Time {
        let (one, two) = (subject.rounds(), other.rounds());
        let ratio = match at {
            None => Ratio::of_rounds(&one, &two, seed),
            Some(_) => Ratio::of_apart(&one, &two, seed),
        };
        row.outcome = ratio.judged(target.at_most);
        return Some(row.with(ratio));
    }
    let compared = if target.minus { value - beside } else { value / beside };
    row.ratio = Some(rounded(compared));
    row.outcome = exactly(compared);
    Some(row)
}
