//! X1, D1, D2: cancelling, and the end of a driver.

use core::time::Duration;

use littoral::{Arena, Buffer, ErrorKind, OpenOptions, Shared, SyncKind, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "X1" a_cancel_asks;
    "X1" a_cancelled_buffer_comes_back_at_the_end;
    "X1" a_cancel_after_the_end_is_nothing;
    "D1" operations_end_with_the_driver;
    "D1" what_never_answers_is_abandoned;
    "D1" files_are_closed_with_the_driver;
    "D1" an_unwanted_open_closes_what_it_opened;
    "D1" a_gone_driver_refuses;
    "D1" files_and_completions_keep_no_driver;
    "D1" shutdown_drains_without_cancelling;
    "D3" a_dead_ring_ends_everything;
    "D3" time_alone_declares_nothing;
    "D2" a_drop_in_the_middle_of_everything;
    "D2" a_drop_before_anything;
    "D2" results_outlive_the_driver;
}

async fn a_cancel_asks(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(1000, 1);
    if let Some(script) = driver.script() {
        // Done already, only the news is late: the cancel cannot undo it.
        script.push(Rule::next(OpKind::Write, Fault::Late));
    }
    let mut write = file.pwrite(0, Shared::from(bytes.clone()));
    if driver.script().is_some() {
        ctx.until_outside(file.name(), &bytes).await?;
    }
    write.cancel();
    if let Some(script) = driver.script() {
        ctx.settle().await;
        ensure!(write.try_take().is_none(), "it looked finished at once");
        script.release();
        write.await?;
        return ensure_bytes(&contents(&file).await?, &bytes, "it was done");
    }
    match write.await {
        Ok(()) => ensure_bytes(&contents(&file).await?, &bytes, "it was done"),
        Err(error) => {
            ensure_eq!(error.kind(), ErrorKind::Cancelled);
            ensure!(error.confirmed().is_some(), "confirmed");
            Ok(())
        }
    }
}

async fn a_cancelled_buffer_comes_back_at_the_end(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, &pattern(64, 2)).await?;
    let arena = Arena::new(&[(64, 2)]);
    let take = || arena.take(64).map_err(|none| none.to_string());
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Read, Fault::Late));
    }
    let read = file.pread(0, take()?);
    if let Some(script) = driver.script() {
        ctx.until("it is in the ring", || driver.trace().count(OpKind::Read) > 0).await?;
        read.cancel();
        ctx.settle().await;
        ensure_eq!(arena.free(64), 1, "free while the platform may write to it");
        script.release();
    } else {
        read.cancel();
    }
    match read.await {
        Ok(bytes) => ensure_bytes(&bytes, &pattern(64, 2), "what was read")?,
        Err(error) => ensure_eq!(error.kind(), ErrorKind::Cancelled),
    }
    ensure_eq!(arena.free(64), 2, "home");
    Ok(())
}

async fn a_cancel_after_the_end_is_nothing(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(2)).await?;
    for n in 0..10 {
        let seen = driver.delivered();
        let old = file.pwrite(n, Shared::from(b"o"));
        ctx.delivered(&driver, seen, 1).await?;
        old.cancel();
        let new = file.pwrite(n + 1, Shared::from(b"n"));
        old.cancel();
        old.await?;
        new.await?;
    }
    ensure_eq!(contents(&file).await?, b"oooooooooon");
    Ok(())
}

/// What an operation that was alive when its driver went may end with.
fn ended_with_the_driver(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Cancelled | ErrorKind::Abandoned | ErrorKind::Closed)
}

async fn operations_end_with_the_driver(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let name = file.name().to_owned();
    let bytes = pattern(40 * 512, 3);
    let arena = Arena::new(&[(512, 40)]);
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park).skip(10).times(5));
        script.push(Rule::next(OpKind::Sync, Fault::Park));
    }
    let mut writes = Vec::new();
    for (n, chunk) in bytes.chunks(512).enumerate() {
        let mut page = arena.take(512).map_err(|none| none.to_string())?;
        page.extend_from_slice(chunk);
        writes.push(file.pwrite(n as u64 * 512, page.freeze()));
    }
    let sync = file.sync(SyncKind::Data);
    drop(driver.into_io());
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    let mut outcomes = Vec::new();
    for mut write in writes {
        // Every result is there: nobody is left who could bring it.
        let Some(outcome) = write.try_take() else { return Err("unfinished".to_owned().into()) };
        outcomes.push(outcome);
    }
    let sync = sync.await;
    if let Err(error) = &sync {
        ensure!(ended_with_the_driver(error.kind()), "the sync: {error}");
    }
    ensure_eq!(arena.free(512), 40, "buffers that are home");
    let next = ctx.driver(&Plan::default())?;
    let file = next.create(&name).await?;
    for (n, (outcome, chunk)) in outcomes.into_iter().zip(bytes.chunks(512)).enumerate() {
        match outcome {
            Ok(()) => {
                let found = read(&file, n as u64 * 512, 512).await?;
                ensure_bytes(&found, chunk, &format!("write {n}, which succeeded"))?;
            }
            Err(error) => {
                ensure!(ended_with_the_driver(error.kind()), "write {n}: {error}");
                ensure!(sync.is_err(), "write {n} failed, and the sync behind it did not");
            }
        }
    }
    Ok(())
}

/// Memory that the platform may still touch is never given back.
async fn what_never_answers_is_abandoned(ctx: &Ctx) -> Outcome {
    let plan = Plan { drain: Duration::from_millis(100), ..Plan::calm() };
    let (driver, file) = ctx.file(&plan).await?;
    write(&file, 0, &pattern(64, 4)).await?;
    let arena = Arena::new(&[(64, 3)]);
    let take = || arena.take(64).map_err(|none| none.to_string());
    let Some(script) = driver.script().cloned() else {
        let read = file.pread(0, take()?);
        drop(driver);
        ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
        match read.await {
            Ok(bytes) => ensure_bytes(&bytes, &pattern(64, 4), "what was read")?,
            Err(error) => ensure!(ended_with_the_driver(error.kind()), "{error}"),
        }
        ensure_eq!(arena.free(64), 3, "home, since the platform answered");
        return Ok(());
    };
    script.push(Rule::next(OpKind::Read, Fault::Late));
    let late = file.pread(0, take()?);
    ctx.until("it is in the ring", || driver.trace().count(OpKind::Read) > 0).await?;
    drop(driver.into_io());
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    let error = ensure_kind!(late.await, Abandoned);
    ensure_eq!(error.file(), Some(file.name()));
    ensure_eq!(arena.free(64), 2, "leaked, never freed under the platform");
    Ok(())
}

async fn files_are_closed_with_the_driver(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let names: Vec<_> = (0..5).map(|_| ctx.name()).collect();
    let mut files = Vec::new();
    for name in &names {
        let file = driver.create(name).await?;
        file.pwrite(0, Shared::from(name.clone().into_bytes())).await?;
        files.push(file);
    }
    driver.prepare(&["prepared"], 0).await?;
    ensure!(ctx.open_files().is_none_or(|count| count >= 6), "{:?} are open", ctx.open_files());
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    // Where a file can be open once only, these would be `Locked` or `Busy`.
    let next = ctx.driver(&Plan::default())?;
    for name in &names {
        let again = next.open(name, OpenOptions::new()).await?;
        ensure_eq!(contents(&again).await?, name.as_bytes());
    }
    next.open("prepared", OpenOptions::new()).await?;
    drop(files);
    Ok(())
}

async fn an_unwanted_open_closes_what_it_opened(ctx: &Ctx) -> Outcome {
    let name = ctx.name();
    for round in 0..4 {
        let driver = ctx.driver(&Plan::default())?;
        let open = driver.open(&name, OpenOptions::new().create(true));
        if round % 2 == 0 {
            open.cancel();
        }
        drop(driver);
        ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
        if let Err(error) = open.await {
            ensure!(ended_with_the_driver(error.kind()), "round {round}: {error}");
        }
        ctx.settle().await;
    }
    ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    let driver = ctx.driver(&Plan::default())?;
    let file = driver.create(&name).await?;
    ensure_eq!(contents(&file).await?, b"");
    Ok(())
}

async fn a_gone_driver_refuses(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"before").await?;
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    ensure_kind!(file.pwrite(0, Shared::from(b"after!")).await, Closed);
    ensure_kind!(file.pread(0, Buffer::with_capacity(6)).await, Closed);
    ensure_kind!(file.sync(SyncKind::Data).await, Closed);
    ensure_kind!(file.truncate(0).await, Closed);
    ensure_kind!(file.size().await, Closed);
    ensure!(file.size_now().is_err(), "a size without a driver");
    ensure_eq!(ctx.outside(file.name()).await?, b"before");
    Ok(())
}

async fn files_and_completions_keep_no_driver(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let completions = [file.pwrite(0, Shared::from(b"x")), file.sync(SyncKind::Data)];
    let shutdown = driver.shutdown();
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    ensure!(ctx.live().is_empty());
    for completion in completions {
        if let Err(error) = completion.await {
            ensure!(ended_with_the_driver(error.kind()), "{error}");
        }
    }
    let _ = shutdown.await;
    Ok(())
}

async fn shutdown_drains_without_cancelling(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(30 * 100, 5);
    let chunks = bytes.chunks(100).enumerate();
    let writes: Vec<_> = chunks
        .map(|(n, chunk)| file.pwrite(n as u64 * 100, Shared::from(chunk.to_vec())))
        .collect();
    let sync = file.sync(SyncKind::Data);
    let shutdown = driver.shutdown();
    ensure_kind!(file.pwrite(0, Shared::from(b"late")).await, Closed);
    ensure_kind!(driver.open("late", OpenOptions::new().create(true)).await, Closed);
    shutdown.await?;
    for write in writes {
        write.await?;
    }
    sync.await?;
    ensure_bytes(&ctx.outside(file.name()).await?, &bytes, "seen from outside")?;
    ensure!(!ctx.exists_outside("late").await?, "what was refused did nothing");
    Ok(())
}

async fn a_dead_ring_ends_everything(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let Some(script) = driver.script().cloned() else {
        ensure_eq!(file.size().await?, 0, "a ring that is alive");
        return Ok(());
    };
    script.push(Rule::next(OpKind::Write, Fault::Park));
    let held = file.pwrite(0, Shared::from(b"held"));
    ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
    script.kill(Errno::OWNERDEAD);
    let units =
        [file.pwrite(9, Shared::from(b"x")), file.truncate(0), file.sync(SyncKind::Data), held];
    let (room, open) = (driver.room(64), driver.open("x", OpenOptions::new().create(true)));
    for (n, unit) in units.into_iter().enumerate() {
        let error = ensure_kind!(unit.await, RingLost);
        ensure_eq!(error.file(), Some(file.name()), "operation {n}");
    }
    ensure_kind!(open.await, RingLost);
    ensure_kind!(room.await, RingLost);
    // And what comes later is refused.
    ensure_kind!(file.pread(0, Buffer::with_capacity(1)).await, RingLost);
    ensure_kind!(driver.open("x", OpenOptions::new().create(true)).await, RingLost);
    drop(file);
    drop(driver.into_io());
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    let (_next, file) = ctx.file(&Plan::default()).await?;
    ensure_eq!(file.size().await?, 0, "another driver works");
    Ok(())
}

async fn time_alone_declares_nothing(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let mut slow = file.pwrite(0, Shared::from(b"slow"));
    if let Some(script) = driver.script() {
        for _ in 0..20 {
            ctx.settle().await;
            ensure!(slow.try_take().is_none(), "it is not over");
        }
        script.release();
    }
    slow.await?;
    ensure_eq!(contents(&file).await?, b"slow");
    Ok(())
}

async fn a_drop_in_the_middle_of_everything(ctx: &Ctx) -> Outcome {
    for round in 0..6 {
        let plan = Plan { drain: Duration::from_secs(2), ..Plan::default() };
        let (driver, file) = ctx.file(&plan).await?;
        let other = driver.create(&ctx.name()).await?;
        if let Some(script) = driver.script() {
            script.push(Rule::next(OpKind::Write, Fault::Park).skip(round).times(4));
            script.push(Rule::next(OpKind::Truncate, Fault::Park));
        }
        let mut units = Vec::new();
        let mut reads = Vec::new();
        for n in 0..8 {
            units.push(file.pwrite(n * 10, Shared::from(b"0123456789")));
            units.push(other.pwritev(n, Vector::from(vec![Shared::from(b"ab"); 3])));
            units.push(file.truncate(n));
            units.push(other.sync(SyncKind::Data));
            reads.push(other.pread(n, Buffer::with_capacity(5)));
        }
        let open = driver.open(&ctx.name(), OpenOptions::new().create(true));
        let remove = driver.remove("nothing");
        let close = other.close();
        for _ in 0..round {
            ctx.stage().turn().await;
        }
        drop(driver.into_io());
        ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
        units.push(remove);
        units.push(close);
        for (n, unit) in units.into_iter().enumerate() {
            let kind = unit.await.err().map(|error| error.kind());
            let expected = kind.is_none_or(|kind| {
                ended_with_the_driver(kind)
                    || matches!(kind, ErrorKind::NotFound | ErrorKind::WriteLost)
            });
            ensure!(expected, "round {round}, operation {n}: {kind:?}");
        }
        for read in reads {
            let kind = read.await.err().map(|error| error.kind());
            ensure!(kind.is_none_or(ended_with_the_driver), "round {round}: {kind:?}");
        }
        let kind = open.await.err().map(|error| error.kind());
        ensure!(kind.is_none_or(ended_with_the_driver), "round {round}: {kind:?}");
        ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    }
    Ok(())
}

async fn a_drop_before_anything(ctx: &Ctx) -> Outcome {
    for _ in 0..10 {
        let driver = ctx.driver(&Plan::default())?;
        let shutdown = driver.shutdown();
        drop(driver);
        drop(shutdown);
    }
    let (driver, file) = ctx.file(&Plan::default()).await?;
    ensure_eq!(file.size().await?, 0, "and the next one works");
    drop(driver);
    Ok(())
}

async fn results_outlive_the_driver(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"bytes").await?;
    let seen = driver.delivered();
    let mut read = file.pread(0, Buffer::with_capacity(9));
    let size = file.size();
    ctx.delivered(&driver, seen, 2).await?;
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    let Some(Ok(found)) = read.try_take() else {
        return Err("a finished read was lost with its driver".to_owned().into());
    };
    ensure_eq!(&*found, b"bytes");
    ensure_eq!(size.await?, 5);
    Ok(())
}
