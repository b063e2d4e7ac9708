//! Running checks, and the row that each of them leaves.

use serde::Serialize;

use crate::verdict::{Extent, Outcome, take_count, take_extent};
use crate::{Check, Ctx, Exceptions, checks};

/// Before the name of a backend whose ring is wrapped in one that misbehaves.
const FAULTY: &str = "faulty-";

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
    /// `passed`; `covered` where the check passed as far as a plain ring goes, and its whole is for
    /// the faulty one; `failed`; or `skipped`.
    pub outcome: &'static str,
    /// Why not `passed`.
    pub reason: Option<String>,
}

impl Row {
    /// A row of that check.
    #[must_use]
    pub fn new(check: &Check, place: &Place, result: Result<Extent, String>) -> Row {
        let (outcome, reason) = match result {
            Ok(Extent::Whole) => ("passed", None),
            Ok(Extent::Part) if place.backend.starts_with(FAULTY) => {
                ("failed", Some("it asked for a script where there should be one".to_owned()))
            }
            Ok(Extent::Part) => {
                let whole =
                    format!("a ring that misbehaves is asked for: {FAULTY}{}", place.backend);
                ("covered", Some(whole))
            }
            Err(why) => ("failed", Some(why)),
        };
        Row {
            clause: check.clause.to_owned(),
            check: check.name.to_owned(),
            place: place.clone(),
            outcome,
            reason,
        }
    }

    /// The row of a check that this stage cannot run: a skip if that is permitted.
    #[must_use]
    pub fn skipped(check: &Check, place: &Place, exceptions: &Exceptions) -> Row {
        let Some(reason) = exceptions.reason(check, place) else {
            let why = format!("it needs {:?}, and exceptions.toml has no entry", check.needs);
            return Row::new(check, place, Err(why));
        };
        let row = Row::new(check, place, Ok(Extent::Whole));
        Row { outcome: "skipped", reason: Some(reason), ..row }
    }

    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"broken\":\"{error}\"}}"))
    }
}

/// Runs one check to its end, and sees that it has asserted something; tells how much of it the
/// ring allowed.
///
/// # Errors
/// The check failed, for that reason.
pub async fn run(check: &Check, ctx: &Ctx) -> Result<Extent, String> {
    take_count();
    take_extent();
    let outcome: Outcome = (check.run)(ctx).await;
    outcome.map_err(|failure| failure.to_string())?;
    if take_count() == 0 {
        return Err("it ended without having asserted anything".to_owned());
    }
    Ok(take_extent())
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
