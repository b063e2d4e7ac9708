//! O1 to O4: bounds, fairness, freedom from deadlock, cancels.

use littoral::{Buffer, ErrorKind, Shared, SyncKind, Vector};
use littoral_platform::faulty::{Faults, OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "O1" one_more_than_allowed_is_refused;
    "O1" room_completes_when_there_is_some;
    "O1" room_goes_on_to_the_next_in_line;
    "O1" a_close_needs_no_room;
    "O1" a_cancel_needs_no_room;
    "O2" what_the_ring_refuses_keeps_its_order;
    "O2" a_continuation_goes_first;
    "O2" a_held_file_delays_no_other;
    "O2" one_entry_at_a_time_is_enough;
    "O3" no_result_is_lost_in_a_crowd;
    "O3" no_result_is_lost_on_a_rough_ring;
    "O4" a_queued_target_ends_at_once;
    "O4" a_held_target_ends_at_once;
    "O4" a_cancel_never_overtakes;
}

async fn one_more_than_allowed_is_refused(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    for round in 0..5 {
        let writes: Vec<_> = (0..4).map(|n| file.pwrite(n, Shared::from(b"w"))).collect();
        let mut refused = file.pwrite(9, Shared::from(b"never"));
        let Some(result) = refused.try_take() else {
            return Err(format!("round {round}: the fifth was accepted").into());
        };
        let error = ensure_kind!(result, Saturated);
        ensure_eq!(error.file(), Some(file.name()));
        ensure_kind!(file.sync(SyncKind::Data).await, Saturated);
        ensure_kind!(driver.open("x", littoral::OpenOptions::new()).await, Saturated);
        for write in writes {
            write.await?;
        }
        write(&file, 3, b"w").await?;
    }
    ensure_eq!(contents(&file).await?, b"wwww", "what was refused did nothing");
    Ok(())
}

async fn room_completes_when_there_is_some(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    driver.room(4).await?;
    let mut writes: Vec<_> = (0..4).map(|n| file.pwrite(n, Shared::from(b"w"))).collect();
    let (mut one, mut all) = (driver.room(1), driver.room(4));
    ctx.settle().await;
    ensure!(one.try_take().is_none(), "room for one, and four are untaken");
    if let Some(write) = writes.pop() {
        write.await?;
    }
    one.await?;
    ctx.settle().await;
    ensure!(all.try_take().is_none(), "room for four, and three are untaken");
    for write in writes {
        write.await?;
    }
    all.await?;
    let four: Vec<_> = (0..4).map(|_| file.size()).collect();
    for size in four {
        ensure_eq!(size.await?, 4);
    }
    Ok(())
}

/// The first in line wants more than the second, and gives up.
async fn room_goes_on_to_the_next_in_line(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    let mut sizes: Vec<_> = (0..4).map(|_| file.size()).collect();
    let (first, second) = (driver.room(4), driver.room(1));
    if let Some(size) = sizes.pop() {
        size.await?;
    }
    ctx.settle().await;
    first.cancel();
    second.await?;
    ensure_kind!(first.await, Cancelled);
    for size in sizes {
        ensure_eq!(size.await?, 0);
    }
    driver.room(4).await?;
    Ok(())
}

async fn a_close_needs_no_room(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    let name = file.name().to_owned();
    let writes: Vec<_> = (0..4).map(|n| file.pwrite(n, Shared::from(b"w"))).collect();
    let close = file.close();
    close.await?;
    for write in writes {
        write.await?;
    }
    let file = driver.create(&name).await?;
    ensure_eq!(contents(&file).await?, b"wwww");
    Ok(())
}

async fn a_cancel_needs_no_room(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan { operations: 4, ..Plan::calm() }).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park).times(4));
    }
    driver.forget_trace();
    let writes: Vec<_> = (0..4).map(|n| file.pwrite(n * 100, Shared::from(b"w"))).collect();
    if driver.script().is_some() {
        let all = || driver.trace().writes().len() == 4;
        ctx.until("all four are in the ring", all).await?;
    }
    for write in &writes {
        write.cancel();
    }
    for write in writes {
        let result = write.await;
        if driver.script().is_some() || result.is_err() {
            let error = ensure_kind!(result, Cancelled);
            ensure_eq!(error.confirmed(), Some(0));
        }
    }
    write(&file, 0, b"free").await?;
    ensure_eq!(read(&file, 0, 4).await?, b"free");
    Ok(())
}

async fn what_the_ring_refuses_keeps_its_order(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Refuse).times(3));
        script.push(Rule::next(OpKind::Write, Fault::Refuse).skip(2).times(2));
    }
    // Far from each other, so that none is merged.
    let places: Vec<u64> = (0..16).map(|n| (n * 7 % 16) << 20).collect();
    let writes: Vec<_> = places.iter().map(|at| file.pwrite(*at, Shared::from(b"order"))).collect();
    for write in writes {
        write.await?;
    }
    for at in &places {
        ensure_eq!(read(&file, *at, 5).await?, b"order");
    }
    if driver.script().is_some() {
        let taken: Vec<u64> = driver.trace().writes().iter().map(|(at, _)| *at).collect();
        ensure_eq!(taken, places, "the order of admission");
    }
    Ok(())
}

async fn a_continuation_goes_first(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Short(3)));
        script.push(Rule::next(OpKind::Write, Fault::Short(2)));
    }
    let places = [0, 1 << 20, 2 << 20];
    let writes = places.map(|at| file.pwrite(at, Shared::from(b"0123456789")));
    for write in writes {
        write.await?;
    }
    for at in places {
        ensure_eq!(read(&file, at, 10).await?, b"0123456789");
    }
    if driver.script().is_some() {
        let expected = [(0, 10), (3, 7), (5, 5), (1 << 20, 10), (2 << 20, 10)];
        ensure_eq!(driver.trace().writes(), expected);
    }
    Ok(())
}

async fn a_held_file_delays_no_other(ctx: &Ctx) -> Outcome {
    let (driver, held) = ctx.file(&Plan::narrow(2)).await?;
    let other = driver.create("other").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let first = held.pwrite(0, Shared::from(b"first"));
    let truncate = held.truncate(3);
    let behind: Vec<_> =
        (0..10).map(|n| held.pwrite(10 + n * 100, Shared::from(b"behind"))).collect();
    let mut sync = held.sync(SyncKind::Data);
    for n in 0..20 {
        write(&other, n, b"o").await?;
    }
    other.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&other).await?, [b'o'; 20]);
    if let Some(script) = driver.script() {
        ensure!(sync.try_take().is_none(), "the held file's sync waits");
        script.release();
    }
    first.await?;
    truncate.await?;
    for write in behind {
        write.await?;
    }
    sync.await?;
    ensure_eq!(read(&held, 0, 12).await?, b"fir\0\0\0\0\0\0\0be");
    Ok(())
}

async fn one_entry_at_a_time_is_enough(ctx: &Ctx) -> Outcome {
    let faults = Faults { in_flight: Some(1), ..Faults::rough(0) };
    let (driver, file) = ctx.file(&Plan { faults, ..Plan::default() }).await?;
    let name = file.name().to_owned();
    let other = driver.create("other").await?;
    let mut units = Vec::new();
    for n in 0..9 {
        units.push(file.pwrite(n * 50, Shared::from(pattern(50, 1))));
        units.push(other.pwritev(n * 10, Vector::from(vec![Shared::from(b"0123456789")])));
        units.push(file.sync(SyncKind::Data));
        units.push(other.truncate((n + 1) * 10));
        units.push(other.sync(SyncKind::Full));
    }
    let reads: Vec<_> = (0..9).map(|n| other.pread(n * 10, Buffer::with_capacity(10))).collect();
    units.push(file.close());
    for unit in units {
        unit.await?;
    }
    for read in reads {
        ensure_eq!(&*read.await?, b"0123456789");
    }
    let file = driver.create(&name).await?;
    ensure_eq!(file.size().await?, 450);
    Ok(())
}

async fn crowd(ctx: &Ctx, plan: &Plan, count: usize) -> Outcome {
    let (driver, file) = ctx.file(plan).await?;
    let bytes = pattern(count * 3, 1);
    let chunks = bytes.chunks(3).enumerate();
    let writes: Vec<_> =
        chunks.map(|(n, chunk)| file.pwrite(n as u64 * 3, Shared::from(chunk.to_vec()))).collect();
    for write in writes {
        write.await?;
    }
    let reads: Vec<_> =
        (0..count).map(|n| file.pread(n as u64 * 3, Buffer::with_capacity(3))).collect();
    let mut found = Vec::new();
    for read in reads {
        found.extend_from_slice(&read.await?);
    }
    ensure_bytes(&found, &bytes, "the crowd's bytes")?;
    ensure_eq!(driver.statistics().alive, 0, "operations alive");
    ensure_eq!(driver.statistics().in_flight, 0, "entries in flight");
    ensure_eq!(driver.statistics().stale, 0, "completions of nothing");
    Ok(())
}

async fn no_result_is_lost_in_a_crowd(ctx: &Ctx) -> Outcome {
    crowd(ctx, &Plan { operations: 2048, ..Plan::calm() }, 2048).await
}

async fn no_result_is_lost_on_a_rough_ring(ctx: &Ctx) -> Outcome {
    let faults = Faults { in_flight: Some(5), ..Faults::rough(0) };
    crowd(ctx, &Plan { operations: 300, faults, ..Plan::default() }, 300).await
}

async fn a_queued_target_ends_at_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    write(&file, 0, b"old old old").await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let first = file.pwrite(1 << 20, Shared::from(b"first"));
    let queued = file.pwrite(0, Shared::from(b"new new new"));
    queued.cancel();
    let result = queued.await;
    if driver.script().is_some() {
        let error = ensure_kind!(result, Cancelled);
        ensure_eq!(error.confirmed(), Some(0));
        ensure_eq!(driver.trace().writes().len(), 1, "writes that reached the ring");
    }
    if let Some(script) = driver.script() {
        script.release();
    }
    first.await?;
    let found = read(&file, 0, 11).await?;
    ensure!(found == b"old old old" || driver.script().is_none(), "{found:?}");
    Ok(())
}

async fn a_held_target_ends_at_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let first = file.pwrite(0, Shared::from(b"first"));
    let units = [file.truncate(3), file.pwrite(0, Shared::from(b"x")), file.sync(SyncKind::Data)];
    for unit in units.iter().rev() {
        unit.cancel();
    }
    for unit in units {
        match unit.await {
            Ok(()) => ensure!(driver.script().is_none(), "it was held, and cancelled"),
            Err(error) => ensure_eq!(error.kind(), ErrorKind::Cancelled),
        }
    }
    if let Some(script) = driver.script() {
        script.release();
        first.await?;
        ensure_eq!(contents(&file).await?, b"first56789", "what was cancelled did nothing");
    }
    Ok(())
}

async fn a_cancel_never_overtakes(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    for round in 0..40_u8 {
        let (old, new) = ([round; 64], [round + 1; 64]);
        write(&file, 0, &old).await?;
        let change = file.pwrite(0, Shared::from(new.to_vec()));
        change.cancel();
        // A cancel that came first would end nothing, and the next operation of that slot later.
        let after = file.pwrite(64, Shared::from(vec![round; 4]));
        let outcome = change.await;
        after.await?;
        let found = read(&file, 0, 64).await?;
        match outcome {
            Ok(()) => ensure!(found == new, "round {round}: it succeeded"),
            Err(error) => {
                ensure_eq!(error.kind(), ErrorKind::Cancelled);
                let done = usize::try_from(error.confirmed().unwrap_or(0)).unwrap_or(0);
                ensure!(found[..done] == new[..done], "round {round}: {done} confirmed");
            }
        }
    }
    ensure_eq!(driver.statistics().stale, 0, "completions of nothing");
    Ok(())
}
