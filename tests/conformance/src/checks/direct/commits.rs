//! S5 on direct files: a durable overwrite that is alone is one entry.

use std::sync::Arc;

use littoral::{Completion, File, Intent, SyncKind};
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};
use littoral_platform::{Errno, RwFlags};

use super::super::family;
use super::{aligned, direct_file, is_direct, unit_of};
use crate::ctx::{Driver, contents, pattern, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "S5" alone_past_the_cache_it_is_one_entry;
    "S5" what_one_entry_moved_is_confirmed;
    "S5" an_entry_that_may_have_failed_to_flush_is_final;
    "S5" in_company_one_flush_is_for_all;
    "S5" a_system_without_durable_entries_flushes;
}

const DURABLE: Intent = Intent::new().durable(true);

fn durable(file: &Arc<dyn File>, at: u64, bytes: &[u8]) -> Completion<()> {
    file.pwrite_with(at, aligned(bytes), DURABLE)
}

/// Whether the ring was to be asked for it, and somebody has looked.
fn is_seen(driver: &Driver, file: &Arc<dyn File>) -> littoral::Result<bool> {
    let asked = driver.limits().flags.contains(RwFlags::DURABLE) && is_direct(file)?;
    Ok(asked && driver.script().is_some())
}

/// A direct file of two blocks, and the length of one.
async fn two_blocks(ctx: &Ctx) -> Outcome<(Driver, Arc<dyn File>, usize)> {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let block = unit_of(&file)?;
    write(&file, 0, &pattern(2 * block, 1)).await?;
    file.sync(SyncKind::Full).await?;
    driver.forget_trace();
    Ok((driver, file, block))
}

async fn alone_past_the_cache_it_is_one_entry(ctx: &Ctx) -> Outcome {
    let (driver, file, block) = two_blocks(ctx).await?;
    let bytes = pattern(block, 2);
    durable(&file, block as u64, &bytes).await?;
    if is_seen(&driver, &file)? {
        let trace = driver.trace();
        let flags: Vec<_> = trace.visits(OpKind::Write).iter().map(|v| v.entry.flags).collect();
        ensure_eq!((flags, trace.count(OpKind::Sync)), (vec![RwFlags::DURABLE], 0));
    }
    ensure_bytes(&ctx.outside(file.name()).await?[block..], &bytes, "seen from outside")?;
    Ok(())
}

/// A short count ends a durable entry: what it counts is durable, and the rest goes on.
async fn what_one_entry_moved_is_confirmed(ctx: &Ctx) -> Outcome {
    let (driver, file, block) = two_blocks(ctx).await?;
    let bytes = pattern(2 * block, 3);
    if is_seen(&driver, &file)?
        && let Some(script) = driver.script()
    {
        script.push(Rule::next(OpKind::Write, Fault::Short(block)));
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)));
        let error = ensure_kind!(durable(&file, 0, &bytes).await, StorageFull);
        ensure_eq!(error.confirmed(), Some(block as u64), "durable bytes");
        script.push(Rule::next(OpKind::Write, Fault::Short(block)));
    }
    driver.forget_trace();
    durable(&file, 0, &bytes).await?;
    if is_seen(&driver, &file)? {
        let (writes, flushes) = (driver.trace().writes(), driver.trace().count(OpKind::Sync));
        let whole = 2 * block as u64;
        ensure_eq!((writes, flushes), (vec![(0, whole), (block as u64, whole / 2)], 0));
    }
    ensure_bytes(&ctx.outside(file.name()).await?, &bytes, "seen from outside")?;
    Ok(())
}

async fn an_entry_that_may_have_failed_to_flush_is_final(ctx: &Ctx) -> Outcome {
    let (driver, file, block) = two_blocks(ctx).await?;
    let bytes = pattern(block, 4);
    if is_seen(&driver, &file)?
        && let Some(script) = driver.script()
    {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(durable(&file, 0, &bytes).await, Io);
        ensure_eq!((error.confirmed(), error.code()), (Some(0), Some(Errno::IO)));
        ensure_kind!(durable(&file, 0, &bytes).await, SyncLost);
        ensure_kind!(file.sync(SyncKind::Data).await, SyncLost);
        ensure!(file.acknowledge_sync_loss().is_some(), "a flush may have been lost");
        // Interrupted, it has done nothing, and is made again.
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INTR)).times(2));
    }
    durable(&file, 0, &bytes).await?;
    file.sync(SyncKind::Data).await?;
    ensure_bytes(&contents(&file).await?[..block], &bytes, "in the end")?;
    Ok(())
}

async fn in_company_one_flush_is_for_all(ctx: &Ctx) -> Outcome {
    let (driver, file, block) = two_blocks(ctx).await?;
    let bytes = pattern(40 * block, 5);
    // Every other block, so that none of them are neighbours.
    let all: Vec<_> = (0..20)
        .map(|n| durable(&file, 2 * n * block as u64, &bytes[2 * index(n) * block..][..block]))
        .collect();
    for one in all {
        one.await?;
    }
    if is_seen(&driver, &file)? {
        let trace = driver.trace();
        ensure_eq!(trace.count(OpKind::Write), 20, "writes");
        ensure!(trace.count(OpKind::Sync) <= 20, "each has a flush of its own");
        let by_entry = |v: &&crate::trace::Visit| v.entry.flags.contains(RwFlags::DURABLE);
        let flushed_each = trace.visits(OpKind::Write).iter().filter(by_entry).count();
        ensure_eq!(flushed_each, 0, "entries that flush for themselves");
    }
    let seen = ctx.outside(file.name()).await?;
    for n in 0..20 {
        let at = 2 * n * block;
        ensure_bytes(&seen[at..at + block], &bytes[at..at + block], "seen from outside")?;
    }
    Ok(())
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("small")
}

async fn a_system_without_durable_entries_flushes(ctx: &Ctx) -> Outcome {
    let (driver, file, block) = two_blocks(ctx).await?;
    let bytes = pattern(block, 6);
    if is_seen(&driver, &file)?
        && let Some(script) = driver.script()
    {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::OPNOTSUPP)));
    }
    durable(&file, 0, &bytes).await?;
    durable(&file, block as u64, &bytes).await?;
    if is_seen(&driver, &file)? {
        let (writes, flushes) =
            (driver.trace().count(OpKind::Write), driver.trace().count(OpKind::Sync));
        ensure_eq!((writes, flushes), (3, 2), "one that is refused, and two with their flushes");
        ensure_eq!(driver.statistics().downgraded, 1);
        let told = driver.capabilities().refused;
        ensure!(told.iter().any(|(what, _)| what.starts_with("durable in one")), "{told:?}");
    }
    ensure_bytes(&ctx.outside(file.name()).await?[..block], &bytes, "seen from outside")?;
    Ok(())
}
