//! S5: a write that ends when it is durable.

use littoral::{Buffer, Completion, ErrorKind, File, Intent, Shared, SyncKind, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "S5" a_durable_write_is_flushed_before_it_ends;
    "S5" a_short_count_cannot_make_it_lie;
    "S5" nothing_is_confirmed_before_the_flush;
    "S5" a_failed_flush_of_a_write_is_final;
    "S5" durable_writes_together_are_all_right;
    "S5" a_write_beside_a_failed_flush_does_not_claim_to_be_durable;
    "O2" the_flush_of_a_write_keeps_its_place;
    "X1" a_durable_write_can_be_cancelled;
}

const DURABLE: Intent = Intent::new().durable(true);

fn durable(file: &dyn File, at: u64, bytes: &[u8]) -> Completion<()> {
    file.pwrite_with(at, Shared::from(bytes.to_vec()), DURABLE)
}

async fn a_durable_write_is_flushed_before_it_ends(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(10_000, 1);
    driver.forget_trace();
    durable(&*file, 0, &bytes[..5_000]).await?;
    let parts: Vec<_> = bytes[5_000..].chunks(700).map(|c| Shared::from(c.to_vec())).collect();
    file.pwritev_with(5_000, Vector::from(parts), DURABLE).await?;
    ensure_bytes(&ctx.outside(file.name()).await?, &bytes, "seen from outside")?;
    if driver.script().is_some() {
        let trace = driver.trace();
        let (writes, flushes) = (trace.visits(OpKind::Write), trace.visits(OpKind::Sync));
        ensure_eq!((writes.len(), flushes.len()), (2, 2));
        for (write, flush) in writes.iter().zip(&flushes) {
            ensure_eq!(flush.entry.sync, Some(SyncKind::Data));
            ensure!(write.ended.map(|end| end.0) < flush.began, "flushed before it was written");
        }
        driver.forget_trace();
    }
    // What nobody asked to be durable is not flushed, and neither is nothing.
    file.pwrite_with(0, Shared::from(b"x"), Intent::new()).await?;
    durable(&*file, 20_000, b"").await?;
    if driver.script().is_some() {
        ensure_eq!(driver.trace().count(OpKind::Sync), 0, "flushes");
    }
    ensure_eq!(file.size().await?, 10_000);
    Ok(())
}

async fn a_short_count_cannot_make_it_lie(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Short(3)));
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INTR)));
        script.push(Rule::next(OpKind::Write, Fault::Short(4)));
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::INTR)).times(2));
    }
    durable(&*file, 0, b"0123456789").await?;
    ensure_eq!(ctx.outside(file.name()).await?, b"0123456789");
    if driver.script().is_some() {
        let trace = driver.trace();
        ensure_eq!(trace.writes(), [(0, 10), (3, 7), (3, 7), (7, 3)], "writes");
        let (writes, flushes) = (trace.visits(OpKind::Write), trace.visits(OpKind::Sync));
        ensure_eq!(flushes.len(), 3, "flushes");
        ensure!(writes[3].ended.map(|end| end.0) < flushes[0].began, "flushed too early");
    }
    Ok(())
}

async fn nothing_is_confirmed_before_the_flush(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    let Some(script) = driver.script() else {
        durable(&*file, 0, b"abcdefghij").await?;
        ensure_eq!(contents(&file).await?, b"abcdefghij");
        return Ok(());
    };
    driver.forget_trace();
    script.push(Rule::next(OpKind::Write, Fault::Short(4)));
    script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)));
    let error = ensure_kind!(durable(&*file, 0, b"abcdefghij").await, StorageFull);
    ensure_eq!(error.confirmed(), Some(0), "durable bytes");
    ensure_eq!(driver.trace().count(OpKind::Sync), 0, "flushes");
    // The same without the intent tells what is written.
    script.push(Rule::next(OpKind::Write, Fault::Short(4)));
    script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)));
    let error = ensure_kind!(file.pwrite(0, Shared::from(b"abcdefghij")).await, StorageFull);
    ensure_eq!(error.confirmed(), Some(4), "written bytes");
    // A flush that never ran: nothing is confirmed, and nothing is lost.
    script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::ROFS)));
    let error = ensure_kind!(durable(&*file, 0, b"abcdefghij").await, PermissionDenied);
    ensure_eq!(error.confirmed(), Some(0), "durable bytes");
    durable(&*file, 0, b"abcdefghij").await?;
    Ok(())
}

async fn a_failed_flush_of_a_write_is_final(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(durable(&*file, 0, b"bytes").await, Io);
        ensure_eq!((error.confirmed(), error.code()), (Some(0), Some(Errno::IO)));
        ensure!(error.to_string().contains("flush"), "it does not say that it flushed: {error}");
        let error = ensure_kind!(durable(&*file, 0, b"bytes").await, SyncLost);
        ensure_eq!(error.cause().and_then(littoral::Error::code), Some(Errno::IO));
        ensure_kind!(file.sync(SyncKind::Data).await, SyncLost);
        ensure!(file.acknowledge_sync_loss().is_some(), "a flush was lost");
    }
    durable(&*file, 0, b"bytes").await?;
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"bytes");
    Ok(())
}

/// Neighbours, which may travel together, with syncs and plain writes between.
async fn durable_writes_together_are_all_right(ctx: &Ctx) -> Outcome {
    for plan in [Plan::calm(), Plan::default(), Plan::narrow(1)] {
        let (_driver, file) = ctx.file(&plan).await?;
        let bytes = pattern(12_000, 2);
        let mut units = Vec::new();
        for (n, chunk) in (0..).zip(bytes.chunks(1_000)) {
            let plain = || file.pwrite(n * 1_000, Shared::from(chunk.to_vec()));
            units.push(if n % 4 == 3 { plain() } else { durable(&*file, n * 1_000, chunk) });
            if n % 5 == 4 {
                units.push(file.sync(SyncKind::Full));
            }
        }
        for unit in units {
            unit.await?;
        }
        ensure_bytes(&ctx.outside(file.name()).await?, &bytes, "seen from outside")?;
    }
    Ok(())
}

/// It is being written while a flush fails: its pages may be among those marked clean.
async fn a_write_beside_a_failed_flush_does_not_claim_to_be_durable(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Late));
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
    }
    let sync = file.sync(SyncKind::Data);
    let beside = durable(&*file, 0, b"beside");
    let Some(script) = driver.script() else {
        sync.await?;
        beside.await?;
        ensure_eq!(contents(&file).await?, b"beside6789");
        return Ok(());
    };
    ensure_kind!(sync.await, Io);
    ctx.until("it is written", || driver.trace().writes().len() == 2).await?;
    script.release();
    let error = ensure_kind!(beside.await, SyncLost);
    ensure_eq!(error.confirmed(), Some(0));
    ensure_eq!(contents(&file).await?, b"beside6789");
    Ok(())
}

/// One entry at a time, and others waiting: the flush comes right behind its write.
async fn the_flush_of_a_write_keeps_its_place(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    let other = driver.create(&ctx.name()).await?;
    write(&file, 0, b"0123456789").await?;
    driver.forget_trace();
    let written = durable(&*file, 0, b"abc");
    let reads: Vec<_> = (0..5).map(|n| file.pread(n, Buffer::with_capacity(1))).collect();
    let later = other.sync(SyncKind::Data);
    written.await?;
    for read in reads {
        ensure_eq!(read.await?.len(), 1);
    }
    later.await?;
    if driver.script().is_some() {
        let trace = driver.trace();
        let first_read = trace.visits(OpKind::Read)[0].taken;
        let flushes = trace.visits(OpKind::Sync);
        ensure!(flushes[0].taken < first_read, "a read that came later went before");
    }
    Ok(())
}

async fn a_durable_write_can_be_cancelled(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Sync, Fault::Park));
    }
    let unwanted = durable(&*file, 0, b"abc");
    if let Some(script) = driver.script() {
        ctx.until("its flush is parked", || driver.trace().parked(OpKind::Sync)).await?;
        unwanted.cancel();
        ctx.settle().await;
        script.release();
        let error = ensure_kind!(unwanted.await, Cancelled);
        ensure_eq!(error.confirmed(), Some(0));
    } else {
        unwanted.cancel();
        let outcome = unwanted.await.map_err(|error| (error.kind(), error.confirmed()));
        let expected = [Ok(()), Err((ErrorKind::Cancelled, Some(0)))];
        ensure!(expected.contains(&outcome), "{outcome:?}");
    }
    durable(&*file, 0, b"xyz").await?;
    ensure_eq!(contents(&file).await?, b"xyz3456789");
    Ok(())
}
