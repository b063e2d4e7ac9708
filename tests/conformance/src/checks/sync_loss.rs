//! S3: a flush that ran and failed is final, and what that means for its file.

use std::sync::Arc;

use littoral::{Completion, ErrorKind, File, OpenOptions, Shared, SyncKind, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, read, write};
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "S3" a_failed_flush_poisons_its_file;
    "S3" the_poison_outlives_the_handles;
    "S3" a_file_made_anew_is_sound;
    "S3" a_prepared_file_made_anew_is_sound;
    "S3" a_flush_that_never_ran_poisons_nothing;
    "S3" what_waits_ends_with_the_flush_and_what_runs_goes_on;
    "S3" flushes_of_one_file_take_turns;
    "S3" acknowledging_covers_what_was_refused;
    "D1" a_shutdown_is_the_last_to_tell_of_a_lost_write;
}

/// Makes a flush of the file fail, where the ring can be told to; `false` where it cannot.
async fn lose_a_flush(driver: &Driver, file: &Arc<dyn File>) -> Outcome<bool> {
    let Some(script) = driver.script() else {
        file.sync(SyncKind::Data).await?;
        ensure!(file.acknowledge_sync_loss().is_none(), "nothing was lost");
        return Ok(false);
    };
    script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
    let error = ensure_kind!(file.sync(SyncKind::Data).await, Io);
    ensure_eq!(error.code(), Some(Errno::IO));
    Ok(true)
}

fn changes(file: &Arc<dyn File>) -> [Completion<()>; 4] {
    [
        file.pwrite(0, Shared::from(b"new")),
        file.pwritev(0, Vector::from(Shared::from(b"new"))),
        file.truncate(1),
        file.sync(SyncKind::Full),
    ]
}

async fn ensure_lost(file: &Arc<dyn File>) -> Outcome {
    for change in changes(file) {
        let error = ensure_kind!(change.await, SyncLost);
        let cause = error.cause().map(|cause| (cause.kind(), cause.code()));
        ensure_eq!(cause, Some((ErrorKind::Io, Some(Errno::IO))), "the cause of {error}");
        let text = error.to_string();
        for part in ["acknowledge_sync_loss", file.name()] {
            ensure!(text.contains(part), "`{part}` is not in: {text}");
        }
    }
    Ok(())
}

async fn ensure_sound(file: &Arc<dyn File>) -> Outcome {
    for change in changes(file) {
        change.await?;
    }
    ensure_eq!(contents(file).await?, b"n");
    Ok(())
}

async fn a_failed_flush_poisons_its_file(ctx: &Ctx) -> Outcome {
    for last in [0, 1] {
        let (driver, file) = ctx.file(&Plan::calm()).await?;
        let other = driver.create(&ctx.name()).await?;
        let second = driver.open(file.name(), OpenOptions::new()).await?;
        write(&file, 0, b"bytes").await?;
        if lose_a_flush(&driver, &file).await? {
            for _ in 0..2 {
                ensure_lost(&file).await?;
                ensure_lost(&second).await?;
            }
            ensure_eq!(contents(&second).await?, b"bytes", "reads go on");
            ensure_sound(&other).await?;
            let error = [&file, &second][last].acknowledge_sync_loss();
            ensure_eq!(error.and_then(|error| error.code()), Some(Errno::IO), "the flush's");
        }
        for file in [&file, &second] {
            ensure!(file.acknowledge_sync_loss().is_none(), "it is acknowledged");
            ensure_sound(file).await?;
        }
    }
    Ok(())
}

async fn the_poison_outlives_the_handles(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let name = file.name().to_owned();
    write(&file, 0, b"bytes").await?;
    let lost = lose_a_flush(&driver, &file).await?;
    file.close().await?;
    ensure!(file.acknowledge_sync_loss().is_none(), "a closed handle knows of nothing");
    for _ in 0..2 {
        let file = driver.create(&name).await?;
        if lost {
            ensure_lost(&file).await?;
        }
        file.close().await?;
    }
    let file = driver.open(&name, OpenOptions::new()).await?;
    ensure_eq!(file.acknowledge_sync_loss().is_some(), lost);
    file.close().await?;
    let file = driver.open(&name, OpenOptions::new()).await?;
    ensure_sound(&file).await
}

async fn a_file_made_anew_is_sound(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::calm())?;
    let name = ctx.name();
    for now in [false, true, false] {
        let file = driver.create(&name).await?;
        ensure_sound(&file).await?;
        lose_a_flush(&driver, &file).await?;
        file.close().await?;
        if now && driver.remove_now(&name).is_ok() {
            continue;
        }
        driver.remove(&name).await?;
    }
    ensure_sound(&driver.create(&name).await?).await
}

async fn a_prepared_file_made_anew_is_sound(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::calm())?;
    let name = ctx.name();
    driver.prepare(&[&name], 0).await?;
    for now in [false, true] {
        let file = driver.create(&name).await?;
        write(&file, 0, b"bytes").await?;
        if lose_a_flush(&driver, &file).await? {
            ensure_lost(&file).await?;
        }
        file.close().await?;
        if now {
            driver.remove_now(&name)?;
        } else {
            driver.remove(&name).await?;
        }
        let file = driver.create(&name).await?;
        ensure_eq!(file.size().await?, 0);
        ensure_sound(&file).await?;
    }
    Ok(())
}

async fn a_flush_that_never_ran_poisons_nothing(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let read_only = driver.open(file.name(), OpenOptions::read_only()).await?;
    write(&file, 0, b"bytes").await?;
    if let Some(script) = driver.script() {
        for code in [Errno::BADF, Errno::INVAL, Errno::ROFS, Errno::OPNOTSUPP] {
            script.push(Rule::next(OpKind::Sync, Fault::Fail(code)));
            let result = file.sync(SyncKind::Data).await;
            ensure!(result.is_err(), "{code:?} was a flush");
            ensure_sound(&file).await?;
        }
        script.push(Rule::next(OpKind::Sync, Fault::Park));
        let sync = file.sync(SyncKind::Data);
        ctx.until("it is parked", || driver.trace().parked(OpKind::Sync)).await?;
        sync.cancel();
        ensure_kind!(sync.await, Cancelled);
    }
    // What a flush through a handle that cannot write says is the platform's affair.
    let _ = read_only.sync(SyncKind::Full).await;
    ensure_kind!(read_only.truncate(0).await, PermissionDenied);
    ensure!(file.acknowledge_sync_loss().is_none(), "nothing was lost");
    ensure_sound(&file).await
}

/// In the ring: the flush that fails, and a write. Outside: a sync, a truncate behind all of them,
/// and what stands behind the truncate.
async fn what_waits_ends_with_the_flush_and_what_runs_goes_on(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park).at(9));
        script.push(Rule::next(OpKind::Write, Fault::Late).at(0));
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
    }
    let covered = file.pwrite(9, Shared::from(b"x"));
    let fails = file.sync(SyncKind::Data);
    let runs = file.pwrite(0, Shared::from(b"runs"));
    let waits = file.sync(SyncKind::Data);
    let [cut, behind] = [file.truncate(5), file.pwrite(5, Shared::from(b"behind"))];
    let size = file.size();
    let Some(script) = driver.script() else {
        for unit in [covered, fails, runs, waits, cut, behind] {
            unit.await?;
        }
        ensure!([5, 11].contains(&size.await?), "beside the last write");
        ensure_eq!(contents(&file).await?, b"runs4behind");
        return Ok(());
    };
    ctx.until("both writes are in the ring", || driver.trace().writes().len() == 2).await?;
    ctx.settle().await;
    script.release();
    covered.await?;
    ensure_kind!(fails.await, Io);
    // It may have come in time to share that flush.
    ensure_kind!(waits.await, Io | SyncLost);
    for unit in [cut, behind] {
        ensure_kind!(unit.await, SyncLost);
    }
    runs.await?;
    ensure_eq!(size.await?, 10);
    ensure_eq!(contents(&file).await?, b"runs45678x");
    ensure_eq!(driver.trace().count(OpKind::Sync), 1, "flushes");
    ensure_eq!(driver.trace().count(OpKind::Truncate), 0, "truncates");
    ensure_lost(&file).await
}

/// Of two at once, one would be told of a failure, and the other that all is well.
async fn flushes_of_one_file_take_turns(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let other = driver.create(&ctx.name()).await?;
    write(&file, 0, b"bytes").await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Sync, Fault::Park));
    }
    let first = file.sync(SyncKind::Data);
    if driver.script().is_some() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Sync)).await?;
    }
    let unwanted = file.sync(SyncKind::Full);
    let [second, third] = [file.sync(SyncKind::Data), file.sync(SyncKind::Full)];
    other.sync(SyncKind::Data).await?;
    ctx.settle().await;
    unwanted.cancel();
    if let Some(script) = driver.script() {
        ensure_eq!(driver.trace().count(OpKind::Sync), 2, "flushes, one of each file");
        script.release();
    }
    for sync in [first, second, third] {
        sync.await?;
    }
    let outcome = unwanted.await.map_err(|error| error.kind());
    ensure!(matches!(outcome, Ok(()) | Err(ErrorKind::Cancelled)), "{outcome:?}");
    if driver.script().is_some() {
        let trace = driver.trace();
        let flushes = trace.visits(OpKind::Sync);
        ensure_eq!(flushes.len(), 3, "flushes, the last for two");
        let ended = flushes[0].ended.map(|(place, _)| place);
        ensure!(ended < flushes[2].began, "it began before the first one ended");
    }
    ensure_eq!(read(&file, 0, 5).await?, b"bytes");
    Ok(())
}

async fn acknowledging_covers_what_was_refused(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let lost = lose_a_flush(&driver, &file).await?;
    for change in changes(&file) {
        if lost {
            change.detach();
        } else {
            change.await?;
        }
    }
    ctx.settle().await;
    ensure_eq!(file.acknowledge_sync_loss().is_some(), lost);
    ensure_sound(&file).await?;
    file.close().await?;
    Ok(())
}

/// As a close is, for who closes nothing.
async fn a_shutdown_is_the_last_to_tell_of_a_lost_write(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let past_the_end_of_all_files = u64::MAX;
    file.pwrite(past_the_end_of_all_files, Shared::from(b"lost")).detach();
    let error = ensure_kind!(driver.shutdown().await, WriteLost);
    ensure_eq!(error.cause().map(littoral::Error::kind), Some(ErrorKind::InvalidInput));
    ensure_eq!(error.file(), Some(file.name()));
    // It is told once.
    driver.shutdown().await?;
    file.close().await?;
    Ok(())
}
