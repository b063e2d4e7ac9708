//! What a driver says of itself, for the table that users choose by.

use littoral::Io;
use serde::Serialize;

/// Limits and choices of one driver. Sizes are in bytes.
#[derive(Debug, Serialize)]
struct Capabilities {
    backend: &'static str,
    in_flight: u32,
    spans_per_call: usize,
    bytes_per_call: usize,
    /// As text: 2^63-1 is not a number that JSON's readers keep.
    offset_max: String,
    may_block: bool,
    executes_at_submit: bool,
    one_handle_per_file: bool,
    write_call_cost: usize,
    read_call_cost: usize,
    chosen: Vec<String>,
    refused: Vec<String>,
}

/// The driver's limits and choices as a JSON object.
#[must_use]
pub fn capabilities(io: &dyn Io) -> String {
    let (limits, report) = (io.limits(), io.capabilities());
    let found = Capabilities {
        backend: report.backend,
        in_flight: limits.in_flight,
        spans_per_call: limits.spans_per_call,
        bytes_per_call: limits.bytes_per_call,
        offset_max: limits.offset_max.to_string(),
        may_block: limits.may_block,
        executes_at_submit: limits.executes_at_submit,
        one_handle_per_file: limits.one_handle_per_file,
        write_call_cost: limits.write_call_cost,
        read_call_cost: limits.read_call_cost,
        chosen: report.chosen,
        refused: report.refused.iter().map(|(what, code)| format!("{what}: {code}")).collect(),
    };
    serde_json::to_string(&found).expect("text and numbers can be written")
}
