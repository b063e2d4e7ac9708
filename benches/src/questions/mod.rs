//! The questions, a file for each kind.

mod commits;
mod reads;
mod writes;

use anyhow::Result;

use crate::measure::{Plan, Row};
use crate::sides::Sides;

/// A question, before it is asked.
pub(crate) struct Question {
    pub(crate) asks: &'static str,
    run: fn(&'static str, &Sides, Plan) -> Result<Row>,
}

impl Question {
    pub(crate) fn ask(&self, sides: &Sides, plan: Plan) -> Result<Row> {
        (self.run)(self.asks, sides, plan)
    }
}

/// Every question, in order.
pub(crate) fn all() -> Vec<Question> {
    let all = [
        ("cached 4 KiB reads at depth 1, against pread", reads::one_by_pread as fn(_, &_, _) -> _),
        ("cached 4 KiB reads at depth 1, against the bare ring", reads::one_by_ring),
        ("cached 4 KiB reads at depth 32, against pread", reads::many_by_pread),
        ("cached 4 KiB reads at depth 32, against the bare ring", reads::many_by_ring),
        ("256 pages scattered in memory, written at once", writes::vector),
        ("64 adjacent 4 KiB writes, queued together", writes::adjacent),
        ("commit of 4 KiB", commits::write_and_sync),
        ("commit of 4 KiB, submitted together", commits::write_with_sync),
    ];
    all.into_iter().map(|(asks, run)| Question { asks, run }).collect()
}
