//! U1: overlapping operations have no order, unless the file was opened for it.

use std::sync::Arc;

use littoral::{Buffer, Completion, File, OpenOptions, Shared, Status, SyncKind, Vector, Wait};
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, pattern, read};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "U1" an_unordered_file_keeps_no_order;
    "U1" overlapping_writes_land_as_submitted;
    "U1" reads_see_what_was_queued_before_them;
    "U1" what_does_not_overlap_is_not_held_up;
    "U1" a_cancelled_one_lets_the_next_go;
    "U1" order_goes_with_syncs_and_truncates;
    "U1" the_order_is_the_files;
    "U1" neighbours_still_travel_together;
}

const ORDERED: OpenOptions = OpenOptions::new().create(true).ordered(true);

async fn ordered(ctx: &Ctx, plan: &Plan) -> Outcome<(Driver, Arc<dyn File>)> {
    let driver = ctx.driver(plan)?;
    let file = driver.open(&ctx.name(), ORDERED).await?;
    Ok((driver, file))
}

fn put(file: &Arc<dyn File>, at: u64, bytes: &[u8]) -> Completion<()> {
    file.pwrite(at, Shared::from(bytes.to_vec()))
}

fn park(driver: &Driver, kind: OpKind) {
    if let Some(script) = driver.script() {
        script.push(Rule::next(kind, Fault::Park));
    }
}

/// The later write is done while the earlier one is not: what is found depends on which ends last.
async fn an_unordered_file_keeps_no_order(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    park(&driver, OpKind::Write);
    let early = put(&file, 0, b"early");
    if driver.script().is_some() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
    }
    put(&file, 0, b"later").await?;
    if let Some(script) = driver.script() {
        ensure_eq!(contents(&file).await?, b"later", "it waited for nothing");
        script.release();
    }
    early.await?;
    let found = contents(&file).await?;
    if driver.script().is_some() {
        ensure_eq!(found, b"early", "the one that ended last");
    }
    ensure!(found.len() == 5, "{} bytes", found.len());
    Ok(())
}

async fn overlapping_writes_land_as_submitted(ctx: &Ctx) -> Outcome {
    for plan in [Plan::default(), Plan::calm(), Plan::narrow(1)] {
        let (_driver, file) = ordered(ctx, &plan).await?;
        let mut expected = vec![0; 4000];
        let mut writes = Vec::new();
        for round in 0..40_u8 {
            // Half of them overlap the one before, some more than one.
            let (at, len) = (usize::from(round) * 37 % 3000, 50 + usize::from(round) * 20);
            let bytes = pattern(len, round);
            expected[at..at + len].copy_from_slice(&bytes);
            writes.push(if round % 3 == 0 {
                let parts: Vec<_> = bytes.chunks(99).map(|p| Shared::from(p.to_vec())).collect();
                file.pwritev(at as u64, Vector::from(parts))
            } else {
                put(&file, at as u64, &bytes)
            });
        }
        for write in writes {
            write.await?;
        }
        let found = contents(&file).await?;
        ensure_bytes(&found, &expected[..found.len()], "in order of submission")?;
    }
    Ok(())
}

/// A synchronous engine that queues its writes.
async fn reads_see_what_was_queued_before_them(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ordered(ctx, &Plan::default()).await?;
    let mut units = Vec::new();
    let mut reads = Vec::new();
    for round in 0..15_u8 {
        units.push(put(&file, u64::from(round), &[round; 100]));
        for _ in 0..=round % 2 {
            reads.push((round, file.pread(50, Buffer::with_capacity(30))));
        }
    }
    let size = file.size();
    for unit in units {
        unit.await?;
    }
    for (round, read) in reads {
        ensure_eq!(read.await?[..], [round; 30], "read behind write {round}");
    }
    ensure_eq!(size.await?, 114, "as of what was queued before");
    Ok(())
}

async fn what_does_not_overlap_is_not_held_up(ctx: &Ctx) -> Outcome {
    let (driver, file) = ordered(ctx, &Plan::calm()).await?;
    put(&file, 0, &[b'.'; 30]).await?;
    park(&driver, OpKind::Write);
    let slow = put(&file, 0, b"slow slow ");
    if driver.script().is_some() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
    }
    let mut overlapping =
        [file.pread(9, Buffer::with_capacity(2)), file.pread(0, Buffer::with_capacity(1))];
    let mut behind = put(&file, 5, b"behind");
    put(&file, 11, b"beside").await?;
    ensure_eq!(read(&file, 11, 6).await?, b"beside");
    ctx.settle().await;
    if let Some(script) = driver.script() {
        let early = overlapping.iter_mut().any(|read| read.try_take().is_some());
        ensure!(!early && behind.try_take().is_none(), "they did not wait");
        script.release();
    }
    slow.await?;
    let [both, first] = overlapping;
    ensure_eq!(both.await?[..], *b" .", "before what came behind it");
    ensure_eq!(first.await?[..], *b"s");
    behind.await?;
    ensure_eq!(contents(&file).await?[..17], *b"slow behindbeside");
    // Reads hold up no reads.
    park(&driver, OpKind::Read);
    let slow = file.pread(0, Buffer::with_capacity(10));
    if driver.script().is_some() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Read)).await?;
    }
    ensure_eq!(read(&file, 0, 4).await?, b"slow");
    if let Some(script) = driver.script() {
        script.release();
    }
    ensure_eq!(slow.await?.len(), 10);
    Ok(())
}

async fn a_cancelled_one_lets_the_next_go(ctx: &Ctx) -> Outcome {
    let (driver, file) = ordered(ctx, &Plan::calm()).await?;
    park(&driver, OpKind::Write);
    let slow = put(&file, 0, b"slow");
    let unwanted = put(&file, 2, b"unwanted");
    let last = put(&file, 8, b"last");
    unwanted.cancel();
    ensure_kind!(unwanted.await, Cancelled);
    // It waited for the unwanted one alone.
    last.await?;
    if let Some(script) = driver.script() {
        script.release();
    }
    slow.await?;
    ensure_eq!(contents(&file).await?, b"slow\0\0\0\0last");
    Ok(())
}

async fn order_goes_with_syncs_and_truncates(ctx: &Ctx) -> Outcome {
    for plan in [Plan::calm(), Plan::default()] {
        let (driver, file) = ordered(ctx, &plan).await?;
        park(&driver, OpKind::Write);
        let mut units = vec![put(&file, 0, b"aaaaaaaaaa"), put(&file, 0, b"bbbbbbbb")];
        let mut sync = file.sync(SyncKind::Data);
        units.push(put(&file, 0, b"cccccc"));
        units.push(file.truncate(5));
        units.push(put(&file, 2, b"dd"));
        units.push(put(&file, 3, b"ee"));
        let seen = file.pread(0, Buffer::with_capacity(20));
        ctx.settle().await;
        if let Some(script) = driver.script() {
            ensure!(sync.try_take().is_none(), "it covers what waits for its turn");
            script.release();
        }
        for unit in units {
            unit.await?;
        }
        if driver.script().is_some() {
            sync.await?;
        } else if let Some(synced) = sync.try_take() {
            synced?;
        }
        ensure_eq!(seen.await?[..], *b"ccdee");
    }
    Ok(())
}

/// For every handle, from the first that asks for it on, and no longer than it is open.
async fn the_order_is_the_files(ctx: &Ctx) -> Outcome {
    let (driver, plain) = ctx.file(&Plan::calm()).await?;
    let name = plain.name().to_owned();
    park(&driver, OpKind::Write);
    // Under way before there is an order: what comes later waits for it all the same.
    let under_way = put(&plain, 0, b"under way");
    if driver.script().is_some() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
    }
    let ordered = driver.open(&name, ORDERED).await?;
    let units = [put(&plain, 0, b"second"), put(&ordered, 0, b"3rd"), put(&plain, 1, b"4")];
    ctx.settle().await;
    if let Some(script) = driver.script() {
        ensure_eq!(driver.trace().writes().len(), 1, "writes that began");
        script.release();
    }
    under_way.await?;
    for unit in units {
        unit.await?;
    }
    ensure_eq!(contents(&plain).await?, b"34dondway");
    ordered.close().await?;
    plain.close().await?;
    ensure_eq!(driver.step(driver.delivered(), Wait::No).status, Status::Idle);
    // Opened anew it is as it is opened.
    let file = driver.open(&name, OpenOptions::new()).await?;
    park(&driver, OpKind::Write);
    let slow = put(&file, 0, b"slow");
    put(&file, 0, b"fast").await?;
    if let Some(script) = driver.script() {
        script.release();
    }
    slow.await?;
    Ok(())
}

async fn neighbours_still_travel_together(ctx: &Ctx) -> Outcome {
    let (driver, file) = ordered(ctx, &Plan::calm()).await?;
    let before = driver.statistics().merged;
    let bytes = pattern(4000, 9);
    let mut units: Vec<_> =
        (0..4).zip(bytes.chunks(1000)).map(|(n, part)| put(&file, n * 1000, part)).collect();
    // Never with what it has to wait for.
    units.push(put(&file, 3500, &[0; 500]));
    units.push(put(&file, 4000, &[1; 100]));
    for unit in units {
        unit.await?;
    }
    if driver.limits().write_call_cost > 4100 {
        ensure!(driver.statistics().merged >= before + 3, "neighbours");
    }
    let expected = [&bytes[..3500], &[0; 500], &[1; 100]].concat();
    ensure_bytes(&contents(&file).await?, &expected, "all of them")
}
