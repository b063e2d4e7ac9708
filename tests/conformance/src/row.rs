//! Running checks, and the row that each of them leaves.

use serde::Serialize;

use crate::verdict::{Outcome, take_count};
use crate::{Check, Ctx, Exceptions, checks};

/// Where a run takes place.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// The mechanism, `faulty-` before it where the ring is wrapped.
    pub backend: String,
    /// The browser, none for native backends.
    pub browser: Option<String>,
    /// How the driver is driven: `shared` by any thread, `host` by the browser's turns.
    pub mode: &'static str,
    /// Where the engine runs: `native`, or `worker` beside the access handles.
    pub shape: &'static str,
    /// Whether the page is cross-origin isolated.
    pub isolated: bool,
}

/// What came of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The clause, `runner` for what is wrong with the run itself.
    pub clause: String,
    /// The check's name.
    pub check: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// `passed`, `failed` or `skipped`.
    pub outcome: &'static str,
    /// Why not `passed`.
    pub reason: Option<String>,
}

impl Row {
    /// A row of that check.
    #[must_use]
    pub fn new(check: &Check, place: &Place, result: Result<(), String>) -> Row {
        let outcome = if result.is_ok() { "passed" } else { "failed" };
        Row {
            clause: check.clause.to_owned(),
            check: check.name.to_owned(),
            place: place.clone(),
            outcome,
            reason: result.err(),
        }
    }

    /// The row of a check that this stage cannot run: a skip if that is permitted.
    #[must_use]
    pub fn skipped(check: &Check, place: &Place, exceptions: &Exceptions) -> Row {
        let Some(reason) = exceptions.reason(check, place) else {
            let why = format!("it needs {:?}, and exceptions.toml has no entry", check.needs);
            return Row::new(check, place, Err(why));
        };
        Row { outcome: "skipped", reason: Some(reason), ..Row::new(check, place, Ok(())) }
    }

    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"broken\":\"{error}\"}}"))
    }
}

/// Runs one check to its end, and sees that it has asserted something.
///
/// # Errors
/// The check failed, for that reason.
pub async fn run(check: &Check, ctx: &Ctx) -> Result<(), String> {
    take_count();
    let outcome: Outcome = (check.run)(ctx).await;
    outcome.map_err(|failure| failure.to_string())?;
    if take_count() == 0 {
        return Err("it ended without having asserted anything".to_owned());
    }
    Ok(())
}

/// Whether a filter means this check.
#[must_use]
pub fn selects(filter: &str, clause: &str, name: &str) -> bool {
    clause.contains(filter) || name.contains(filter)
}

/// The rows about a run as a whole: unused exceptions, and a filter that selects nothing.
#[must_use]
pub fn rows_of_run(rows: &[Row], place: &Place, filter: &str, exceptions: &Exceptions) -> Vec<Row> {
    let skipped = |clause: &str, name: &str| {
        rows.iter().any(|r| r.outcome == "skipped" && r.clause == clause && r.check == name)
    };
    let selected = |clause: &str, name: &str| selects(filter, clause, name);
    let mut reasons: Vec<_> = exceptions.unused(place, selected, skipped).collect();
    if !checks().any(|check| selects(filter, check.clause, check.name)) {
        reasons.push(format!("no check is selected by `{filter}`"));
    }
    let row = |reason| Row {
        clause: "runner".to_owned(),
        check: "exceptions are used".to_owned(),
        place: place.clone(),
        outcome: "failed",
        reason: Some(reason),
    };
    reasons.into_iter().map(row).collect()
}
