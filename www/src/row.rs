//! One line of a result, as the reports have it.

use serde::Serialize;

/// The outcome of a check, in the shape of the conformance suite.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) clause: &'static str,
    pub(crate) check: &'static str,
    pub(crate) backend: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) shape: &'static str,
    pub(crate) outcome: &'static str,
    /// What went wrong; empty when nothing did.
    pub(crate) reason: String,
}

/// Rows as JSON. They hold text and numbers only, which can always be written.
pub(crate) fn to_json<T: Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("rows of text and numbers")
}

/// One row as JSON.
pub(crate) fn to_json_one<T: Serialize>(row: &T) -> String {
    serde_json::to_string(row).expect("a row of text and numbers")
}
