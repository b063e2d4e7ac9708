//! What making 4 KiB durable costs.

use std::os::unix::fs::FileExt;

use anyhow::Result;
use littoral::{Shared, SyncKind, wait};

use crate::measure::{Duel, Plan, Row};
use crate::sides::{PAGE, Sides};

const REFERENCE: &str = "pwrite, fdatasync";

fn pwrite_and_fdatasync(sides: &Sides) -> impl FnMut(u32) -> Result<()> {
    let page = vec![1; PAGE];
    move |number| {
        sides.plain.write_all_at(&page, sides.offset(number))?;
        Ok(sides.plain.sync_data()?)
    }
}

/// As an engine does that waits for each call.
pub(super) fn write_and_sync(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let subject = "pwrite and wait, sync and wait";
    let duel = Duel { asks, subject, reference: REFERENCE, target: Some(1.25), times: 8 };
    let page = Shared::from(vec![1; PAGE]);
    let ours = |number| {
        wait(&*sides.io, sides.file.pwrite(sides.offset(number), page.clone()))?;
        Ok(wait(&*sides.io, sides.file.sync(SyncKind::Data))?)
    };
    duel.ask(plan, ours, pwrite_and_fdatasync(sides))
}

/// As an engine can, because a sync covers what was submitted before it.
pub(super) fn write_with_sync(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let subject = "pwrite and sync, wait for the sync";
    let duel = Duel { asks, subject, reference: REFERENCE, target: Some(1.25), times: 8 };
    let page = Shared::from(vec![1; PAGE]);
    let ours = |number| {
        let written = sides.file.pwrite(sides.offset(number), page.clone());
        wait(&*sides.io, sides.file.sync(SyncKind::Data))?;
        Ok(wait(&*sides.io, written)?)
    };
    duel.ask(plan, ours, pwrite_and_fdatasync(sides))
}
