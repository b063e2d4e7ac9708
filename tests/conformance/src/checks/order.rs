//! S1, S2, S4, T1 to T4: what covers what, and in which order things happen.

use std::sync::Arc;

use littoral::{Buffer, ErrorKind, File, OpenOptions, Shared, SyncKind, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "S1" a_sync_covers_unfinished_writes;
    "S1" a_sync_waits_for_the_writes_before_it;
    "S1" what_comes_after_a_sync_is_not_held_up;
    "S1" a_lost_write_fails_the_sync;
    "S1" a_lost_write_fails_a_sync_that_waits_for_it;
    "S1" each_lost_write_is_told_once;
    "S1" a_refused_write_nobody_looked_at_is_lost;
    "S1" a_close_is_the_last_to_tell_of_a_lost_write;
    "S1" a_failure_that_was_taken_is_not_lost;
    "S1" a_lost_write_of_another_file_does_not_matter;
    "S2" both_kinds_are_flushes;
    "S2" a_failed_flush_is_a_failure;
    "S4" syncs_that_wait_together_are_all_right;
    "S4" a_running_flush_covers_nothing_later;
    "S4" a_cancelled_sync_harms_no_other;
    "T1" a_truncate_runs_between_its_neighbours;
    "T1" a_truncate_waits_and_is_waited_for;
    "T2" what_grows_reads_as_zeros;
    "T2" zeros_after_a_shrink_into_a_page;
    "T3" size_reflects_finished_operations;
    "T4" size_now_never_waits;
}

/// Parks the next write of the driver's ring.
fn park(driver: &Driver) {
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
}

fn release(driver: &Driver) {
    if let Some(script) = driver.script() {
        script.release();
    }
}

/// A commit that awaits only its sync.
async fn a_sync_covers_unfinished_writes(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let name = file.name().to_owned();
    let bytes = pattern(64 * 1000, 1);
    let chunks = bytes.chunks(1000).enumerate().take(60);
    let writes: Vec<_> = chunks
        .map(|(n, chunk)| file.pwrite(n as u64 * 1000, Shared::from(chunk.to_vec())))
        .collect();
    file.sync(SyncKind::Data).await?;
    let mut writes = writes;
    ensure!(writes.iter_mut().all(|one| matches!(one.try_take(), Some(Ok(())))), "unfinished");
    ensure_bytes(&ctx.outside(&name).await?, &bytes[..60_000], "seen from outside")?;
    drop(driver);
    Ok(())
}

async fn a_sync_waits_for_the_writes_before_it(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    park(&driver);
    let slow = file.pwrite(0, Shared::from(b"slow"));
    let quick = file.pwrite(1000, Shared::from(b"quick"));
    let mut sync = file.sync(SyncKind::Data);
    quick.await?;
    ctx.settle().await;
    if driver.script().is_some() {
        ensure!(sync.try_take().is_none(), "a sync that did not wait");
        ensure_eq!(driver.trace().count(OpKind::Sync), 0, "flushes behind an unfinished write");
    }
    release(&driver);
    slow.await?;
    sync.await?;
    if driver.script().is_some() {
        let trace = driver.trace();
        let (writes, syncs) = (trace.visits(OpKind::Write), trace.visits(OpKind::Sync));
        ensure_eq!(syncs.len(), 1, "flushes");
        let ended = writes.iter().filter_map(|write| write.ended).map(|(place, _)| place).max();
        ensure!(ended < syncs[0].began, "it began at {:?}, writes ended {ended:?}", syncs[0].began);
    }
    ensure_eq!(read(&file, 0, 4).await?, b"slow");
    Ok(())
}

async fn what_comes_after_a_sync_is_not_held_up(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    park(&driver);
    let slow = file.pwrite(0, Shared::from(b"slow"));
    let mut sync = file.sync(SyncKind::Data);
    write(&file, 100, b"after").await?;
    ensure_eq!(read(&file, 100, 5).await?, b"after");
    if driver.script().is_some() {
        ensure!(sync.try_take().is_none(), "the sync waits for the slow one");
    }
    release(&driver);
    slow.await?;
    sync.await?;
    Ok(())
}

async fn a_lost_write_fails_the_sync(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let Some(script) = driver.script() else {
        file.pwrite(0, Shared::from(b"fine")).detach();
        file.sync(SyncKind::Data).await?;
        ensure_eq!(contents(&file).await?, b"fine");
        return Ok(());
    };
    for vectored in [false, true] {
        driver.forget_trace();
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        let bytes = Shared::from(b"lost");
        if vectored {
            file.pwritev(0, Vector::from(bytes)).detach();
        } else {
            file.pwrite(0, bytes).detach();
        }
        ctx.until("the write failed", || script.pending() == 0).await?;
        ctx.settle().await;
        let error = ensure_kind!(file.sync(SyncKind::Data).await, WriteLost);
        let cause = error.cause().map(|cause| (cause.kind(), cause.code()));
        ensure_eq!(cause, Some((ErrorKind::Io, Some(Errno::IO))), "the cause");
        ensure_eq!(driver.trace().count(OpKind::Sync), 0, "flushes");
        write(&file, 0, b"again").await?;
    }
    script.push(Rule::next(OpKind::Truncate, Fault::Fail(Errno::IO)));
    file.truncate(2).detach();
    ensure_kind!(file.sync(SyncKind::Full).await, WriteLost);
    ensure_eq!(contents(&file).await?, b"again");
    Ok(())
}

/// The first failure is the cause, also where it comes after the sync was submitted.
async fn a_lost_write_fails_a_sync_that_waits_for_it(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    park(&driver);
    let slow = file.pwrite(0, Shared::from(b"slow"));
    if let Some(script) = driver.script() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)));
    }
    driver.forget_trace();
    file.pwrite(1000, Shared::from(b"lost")).detach();
    let sync = file.sync(SyncKind::Data);
    ctx.settle().await;
    release(&driver);
    if driver.script().is_some() {
        let error = ensure_kind!(sync.await, WriteLost);
        ensure_eq!(error.cause().map(littoral::Error::kind), Some(ErrorKind::StorageFull));
        ensure_eq!(driver.trace().count(OpKind::Sync), 0, "flushes");
    } else {
        sync.await?;
    }
    slow.await?;
    ensure_eq!(read(&file, 0, 4).await?, b"slow");
    Ok(())
}

/// Two failures, and a sync after each; then nothing is left to be told.
async fn each_lost_write_is_told_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let first = file.sync(SyncKind::Data);
    for (round, code) in [Errno::IO, Errno::NOSPC].into_iter().enumerate() {
        let Some(script) = driver.script() else { continue };
        let seen = driver.delivered();
        script.push(Rule::next(OpKind::Write, Fault::Fail(code)));
        file.pwrite(0, Shared::from(b"lost")).detach();
        // Also where it was told to a sync that came before it was published.
        if round == 0 {
            ctx.delivered(&driver, seen, 1).await?;
        }
        let error = ensure_kind!(file.sync(SyncKind::Data).await, WriteLost);
        ensure_eq!(error.cause().and_then(littoral::Error::code), Some(code), "round {round}");
    }
    write(&file, 0, b"mine").await?;
    file.sync(SyncKind::Data).await?;
    first.await?;
    ensure_eq!(contents(&file).await?, b"mine");
    Ok(())
}

/// Nobody could learn of it later: the next open of the file knows nothing of this one.
async fn a_close_is_the_last_to_tell_of_a_lost_write(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let name = file.name().to_owned();
    let past_the_end_of_all_files = u64::MAX;
    file.pwrite(past_the_end_of_all_files, Shared::from(b"lost")).detach();
    let error = ensure_kind!(file.close().await, WriteLost);
    ensure_eq!(error.cause().map(littoral::Error::kind), Some(ErrorKind::InvalidInput));
    let file = driver.open(&name, OpenOptions::new()).await?;
    file.sync(SyncKind::Data).await?;
    file.close().await?;
    Ok(())
}

/// It was submitted, it was not done, and nobody knows: a sync that said otherwise would lie.
async fn a_refused_write_nobody_looked_at_is_lost(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(2)).await?;
    let full = [file.size(), file.size()];
    file.pwrite(0, Shared::from(b"refused")).detach();
    for size in full {
        size.await?;
    }
    driver.room(2).await?;
    let error = ensure_kind!(file.sync(SyncKind::Data).await, WriteLost);
    ensure_eq!(error.cause().map(littoral::Error::kind), Some(ErrorKind::Saturated));
    let full = [file.size(), file.size()];
    ensure_kind!(file.pwrite(0, Shared::from(b"refused")).await, Saturated);
    for size in full {
        size.await?;
    }
    file.sync(SyncKind::Data).await?;
    ensure_eq!(file.size().await?, 0);
    Ok(())
}

async fn a_failure_that_was_taken_is_not_lost(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        ensure_kind!(file.pwrite(0, Shared::from(b"known")).await, Io);
    }
    file.sync(SyncKind::Data).await?;
    write(&file, 0, b"known").await?;
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"known");
    Ok(())
}

async fn a_lost_write_of_another_file_does_not_matter(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let other = driver.create("other").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        other.pwrite(0, Shared::from(b"lost")).detach();
        ctx.until("the write failed", || script.pending() == 0).await?;
    }
    write(&file, 0, b"mine").await?;
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"mine");
    Ok(())
}

async fn both_kinds_are_flushes(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    for (round, kind) in (0..).zip([SyncKind::Data, SyncKind::Full]) {
        driver.forget_trace();
        let bytes = pattern(5000, round);
        write(&file, 0, &bytes).await?;
        file.sync(kind).await?;
        if driver.script().is_some() {
            let flushes: Vec<_> = driver.trace().visits(OpKind::Sync);
            let kinds: Vec<_> = flushes.iter().filter_map(|flush| flush.entry.sync).collect();
            ensure_eq!(kinds, [kind], "flushes for {kind:?}");
        }
        let outside = ctx.outside(file.name()).await?;
        ensure_bytes(&outside, &bytes, &format!("after {kind:?}, seen from outside"))?;
    }
    Ok(())
}

async fn a_failed_flush_is_a_failure(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"bytes").await?;
    for kind in [SyncKind::Data, SyncKind::Full] {
        let Some(script) = driver.script() else {
            file.sync(kind).await?;
            continue;
        };
        let other = driver.create(&ctx.name()).await?;
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(other.sync(kind).await, Io);
        ensure_eq!(error.code(), Some(Errno::IO));
    }
    ensure_eq!(contents(&file).await?, b"bytes");
    Ok(())
}

async fn syncs_that_wait_together_are_all_right(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    park(&driver);
    let slow = file.pwrite(0, Shared::from(b"slow"));
    let mut syncs = Vec::new();
    for n in 0..6 {
        syncs.push(file.sync(if n == 3 { SyncKind::Full } else { SyncKind::Data }));
        syncs.push(file.pwrite(100 + n, Shared::from(b"w")));
    }
    ctx.settle().await;
    release(&driver);
    for sync in syncs {
        sync.await?;
    }
    slow.await?;
    ensure_eq!(file.size().await?, 106);
    if driver.script().is_some() {
        let trace = driver.trace();
        let flushes = trace.visits(OpKind::Sync);
        ensure!((1..=6).contains(&flushes.len()), "{} flushes", flushes.len());
        let full = flushes.iter().any(|flush| flush.entry.sync == Some(SyncKind::Full));
        ensure!(full, "the one that asked for metadata shares a flush without it");
        let slow = trace.visits(OpKind::Write)[0].ended.map(|(place, _)| place);
        ensure!(flushes.iter().all(|flush| flush.began > slow), "a flush before the slow write");
    }
    Ok(())
}

/// What is written while a flush runs is for the next one.
async fn a_running_flush_covers_nothing_later(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"early").await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Sync, Fault::Park));
    }
    let first = file.sync(SyncKind::Data);
    if driver.script().is_some() {
        ctx.until("a flush runs", || driver.trace().parked(OpKind::Sync)).await?;
    }
    write(&file, 5, b"late").await?;
    let second = file.sync(SyncKind::Data);
    ctx.settle().await;
    release(&driver);
    first.await?;
    second.await?;
    if driver.script().is_some() {
        let trace = driver.trace();
        let (writes, flushes) = (trace.visits(OpKind::Write), trace.visits(OpKind::Sync));
        ensure_eq!(flushes.len(), 2, "flushes");
        let written = writes[0].ended.map(|(place, _)| place);
        ensure!(flushes[1].taken > written.unwrap_or(usize::MAX), "the second came too early");
    }
    ensure_bytes(&ctx.outside(file.name()).await?, b"earlylate", "seen from outside")
}

/// Three that wait together, the first two unwanted by the time their flush is interrupted.
async fn a_cancelled_sync_harms_no_other(ctx: &Ctx) -> Outcome {
    for interrupted in [false, true] {
        let (driver, file) = ctx.file(&Plan::calm()).await?;
        driver.forget_trace();
        park(&driver);
        let slow = file.pwrite(0, Shared::from(b"slow"));
        let syncs = [SyncKind::Data, SyncKind::Full, SyncKind::Data].map(|kind| file.sync(kind));
        if let Some(script) = driver.script() {
            script.push(Rule::next(OpKind::Sync, Fault::Park));
            if interrupted {
                script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::INTR)).times(2));
            }
            ctx.until("the write is parked", || driver.trace().parked(OpKind::Write)).await?;
            release(&driver);
            ctx.until("a flush is parked", || driver.trace().parked(OpKind::Sync)).await?;
        }
        let [first, second, third] = syncs;
        first.cancel();
        second.cancel();
        ctx.settle().await;
        release(&driver);
        slow.await?;
        third.await?;
        for unwanted in [first, second] {
            let kind = unwanted.await.err().map(|error| error.kind());
            ensure!(kind.is_none_or(|kind| kind == ErrorKind::Cancelled), "{kind:?}");
        }
        ensure_eq!(contents(&file).await?, b"slow");
    }
    Ok(())
}

async fn a_truncate_runs_between_its_neighbours(ctx: &Ctx) -> Outcome {
    for round in 0..10 {
        let (_driver, file) = ctx.file(&Plan::default()).await?;
        let bytes = pattern(100, round);
        let before = file.pwrite(0, Shared::from(bytes.clone()));
        let cut = file.truncate(10);
        let after = file.pwrite(20, Shared::from(b"after"));
        let seen = file.pread(0, Buffer::with_capacity(15));
        let cut_again = file.truncate(22);
        let size = file.size();
        for unit in [before, cut, after, cut_again] {
            unit.await?;
        }
        let expected = [&bytes[..10], &[0; 10], b"af"].concat();
        ensure_bytes(&contents(&file).await?, &expected, "in order of submission")?;
        let seen = seen.await?;
        ensure_bytes(&seen[..10], &bytes[..10], "read between the cuts")?;
        ensure!(seen[10..].iter().all(|byte| *byte == 0), "bytes that were cut off");
        ensure_eq!(size.await?, 22, "submitted after the last cut");
    }
    Ok(())
}

async fn a_truncate_waits_and_is_waited_for(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    park(&driver);
    let slow = file.pwrite(0, Shared::from(b"slow"));
    let mut cut = file.truncate(2);
    let mut behind = file.pwrite(1, Shared::from(b"behind"));
    ctx.settle().await;
    if driver.script().is_some() {
        ensure!(cut.try_take().is_none() && behind.try_take().is_none(), "they did not wait");
        ensure_eq!(driver.trace().count(OpKind::Truncate), 0, "truncates");
        ensure_eq!(driver.trace().writes().len(), 1, "writes");
    }
    release(&driver);
    for unit in [slow, cut, behind] {
        unit.await?;
    }
    ensure_eq!(contents(&file).await?, b"sbehind");
    if driver.script().is_some() {
        let trace = driver.trace();
        let (writes, cuts) = (trace.visits(OpKind::Write), trace.visits(OpKind::Truncate));
        let ended = |end: Option<(usize, _)>| end.map(|(place, _)| place);
        ensure!(ended(writes[0].ended) < cuts[0].began, "the cut began before the write ended");
        ensure!(ended(cuts[0].ended) < writes[1].began, "the write began before the cut ended");
    }
    Ok(())
}

async fn what_grows_reads_as_zeros(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, &[0xff; 10]).await?;
    file.truncate(10_000).await?;
    let expected = [&[0xff; 10][..], &[0; 9_990]].concat();
    ensure_bytes(&contents(&file).await?, &expected, "grown by truncate")
}

async fn zeros_after_a_shrink_into_a_page(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    for (cut, grown) in [(100, 9_000), (4_096, 9_000), (5_000, 5_001), (0, 9_000), (4_095, 4_097)] {
        write(&file, 0, &[0xff; 9_000]).await?;
        file.truncate(cut).await?;
        file.truncate(grown).await?;
        let (old, new) = (vec![0xff; to_len(cut)], vec![0; to_len(grown - cut)]);
        let what = format!("cut to {cut}, grown to {grown}");
        ensure_bytes(&contents(&file).await?, &[&old[..], &new].concat(), &what)?;
        file.truncate(cut).await?;
        write(&file, grown, b"z").await?;
        let what = format!("cut to {cut}, written at {grown}");
        ensure_bytes(&contents(&file).await?, &[&old[..], &new, b"z"].concat(), &what)?;
        file.truncate(0).await?;
    }
    Ok(())
}

fn to_len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

async fn size_reflects_finished_operations(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let second = driver.create(file.name()).await?;
    let steps: [(u64, u64); 5] = [(0, 10), (5, 10), (100, 1), (20, 20), (4_095, 2)];
    let mut size = 0;
    for (at, len) in steps {
        write(&file, at, &vec![1; to_len(len)]).await?;
        size = size.max(at + len);
        ensure_eq!(file.size().await?, size, "after {len} bytes at {at}");
        ensure_eq!(second.size().await?, size, "through another handle");
    }
    for cut in [4_000, 5_000, 0, 1] {
        file.truncate(cut).await?;
        ensure_eq!(second.size().await?, cut, "after a truncate");
    }
    Ok(())
}

async fn size_now_never_waits(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let now = |file: &Arc<dyn File>, expected: u64| -> Outcome {
        match file.size_now() {
            Ok(size) => ensure_eq!(size, expected),
            Err(error) => ensure_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
        Ok(())
    };
    now(&file, 0)?;
    write(&file, 0, b"0123456789").await?;
    now(&file, 10)?;
    park(&driver);
    let slow = file.pwrite(10, Shared::from(b"slow"));
    if driver.script().is_some() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
        now(&file, 10)?;
    }
    release(&driver);
    slow.await?;
    now(&file, 14)?;
    file.truncate(3).await?;
    now(&file, 3)
}
