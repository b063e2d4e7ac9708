//! G1, G2, C6, K3 and draining: operations heard of together, submitted together, and counted.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use littoral::{
    Buffer, ErrorKind, OpenOptions, Shared, Status, SyncKind, Vector, Wait, batch, drain,
};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "G1" a_group_ends_after_its_last_member;
    "G1" an_empty_group_ends_at_once;
    "G1" members_that_end_while_it_is_built_count;
    "G1" the_first_failure_is_kept;
    "G1" a_failure_that_the_group_tells_is_told;
    "G1" a_group_calls_back;
    "G1" a_cancelled_group_asks_each_member;
    "G1" groups_are_members_too;
    "G2" a_batch_tells_each_member_and_the_total;
    "C6" a_batch_is_planned_together;
    "C6" a_batch_holds_up_nothing_else;
    "C8" a_completion_makes_no_progress_by_itself;
    "K3" what_happens_is_counted;
    "D2" draining_ends_when_nothing_is_left;
}

async fn a_group_ends_after_its_last_member(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let bytes = pattern(4000, 1);
    let mut group = driver.group();
    let slow = file.pwrite(0, Shared::from(bytes[..1000].to_vec()));
    group.add(&slow);
    for at in [1000, 2000, 3000] {
        let part = Shared::from(bytes[at..at + 1000].to_vec());
        group.add(&file.pwritev(at as u64, Vector::from(part)));
    }
    let read = file.pread(0, Buffer::with_capacity(10));
    group.add(&read);
    let mut joined = group.join();
    ctx.settle().await;
    if let Some(script) = driver.script() {
        ensure!(joined.try_take().is_none(), "it ended before its last member");
        script.release();
    }
    joined.await?;
    let mut slow = slow;
    ensure!(matches!(slow.try_take(), Some(Ok(()))), "a member keeps its result");
    ensure!(read.await?.len() <= 10, "and its value");
    ensure_bytes(&contents(&file).await?, &bytes, "all of them")
}

async fn an_empty_group_ends_at_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    ensure!(matches!(driver.group().join().try_take(), Some(Ok(()))), "it waits for nothing");
    driver.group().join().await?;
    // Of operations whose results were taken, too.
    let mut size = file.size();
    ctx.until("the size is there", || matches!(size.try_take(), Some(Ok(0)))).await?;
    let mut group = driver.group();
    group.add(&size);
    ensure!(matches!(group.join().try_take(), Some(Ok(()))), "it waits for nothing");
    drop(driver.group());
    ensure_eq!(
        driver.step(driver.delivered(), Wait::No).status,
        Status::Idle,
        "groups are no work"
    );
    Ok(())
}

async fn members_that_end_while_it_is_built_count(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(2)).await?;
    let mut group = driver.group();
    // More than can be alive at once: each is let go of.
    for n in 0..20 {
        driver.room(1).await?;
        group.add(&file.pwrite(n, Shared::from(vec![b'a'; 1])));
    }
    let refused = [file.size(), file.size(), file.size()];
    group.join().await.or_else(|error| match error.kind() {
        ErrorKind::Saturated => Ok(()),
        _ => Err(error),
    })?;
    drop(refused);
    driver.room(2).await?;
    ensure_eq!(contents(&file).await?, [b'a'; 20]);
    Ok(())
}

async fn the_first_failure_is_kept(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let missing = ctx.name();
    let mut group = driver.group();
    let before = driver.delivered();
    let first = driver.open(&missing, OpenOptions::new());
    group.add(&first);
    ctx.until("the open ends", || driver.delivered() != before).await?;
    // Refused: it has failed already.
    let second = file.pwrite(u64::MAX, Shared::from(b"past the end"));
    group.add(&second);
    group.add(&file.pwrite(0, Shared::from(b"fine")));
    let joined = group.join();
    let error = ensure_kind!(joined.await, NotFound);
    ensure_eq!(error.file(), Some(&*missing));
    // Each member tells its own.
    ensure_kind!(second.await, InvalidInput);
    ensure_kind!(first.await, NotFound);
    ensure_eq!(contents(&file).await?, b"fine");
    Ok(())
}

/// S1, through groups: whose failure was told by the group is not told by a sync; whose group was
/// dropped, is.
async fn a_failure_that_the_group_tells_is_told(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    for (refused, told) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut group = driver.group();
        if refused {
            group.add(&file.pwrite(u64::MAX, Shared::from(b"lost")));
        } else if let Some(script) = driver.script() {
            script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
            group.add(&file.pwrite(0, Shared::from(b"lost")));
        } else {
            continue;
        }
        let joined = group.join();
        if told {
            ensure_kind!(joined.await, Io | InvalidInput);
            file.sync(SyncKind::Data).await?;
        } else {
            ctx.settle().await;
            drop(joined);
            ensure_kind!(file.sync(SyncKind::Data).await, WriteLost);
        }
    }
    write(&file, 0, b"whole").await?;
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"whole");
    Ok(())
}

async fn a_group_calls_back(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let calls = Arc::new(AtomicU32::new(0));
    for members in [0_u32, 1, 5] {
        let before = calls.load(SeqCst);
        let mut group = driver.group();
        let mut writes: Vec<_> =
            (0..members).map(|n| file.pwrite(n.into(), Shared::from(b"x"))).collect();
        for write in &writes {
            group.add(write);
        }
        let called = Arc::clone(&calls);
        group.join().on_finish(move |result| {
            called.fetch_add(u32::from(result.is_ok()), SeqCst);
        });
        ensure_eq!(calls.load(SeqCst), before, "called back before a step");
        ctx.until("it calls back", || calls.load(SeqCst) == before + 1).await?;
        let over = writes.iter_mut().all(|write| matches!(write.try_take(), Some(Ok(()))));
        ensure!(over, "all had ended");
    }
    Ok(())
}

async fn a_cancelled_group_asks_each_member(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park).times(3));
    }
    let mut group = driver.group();
    let writes = [0, 100, 200].map(|at| file.pwrite(at, Shared::from(b"unwanted")));
    for write in &writes {
        group.add(write);
    }
    let joined = group.join();
    if driver.script().is_some() {
        ctx.until("they are parked", || driver.trace().writes().len() == 3).await?;
    }
    joined.cancel();
    let outcome = joined.await.map_err(|error| error.kind());
    ensure!(matches!(outcome, Ok(()) | Err(ErrorKind::Cancelled)), "{outcome:?}");
    for write in writes {
        let each = write.await.map_err(|error| error.kind());
        let expected = if driver.script().is_some() { Err(ErrorKind::Cancelled) } else { each };
        ensure_eq!(each, expected, "a member");
    }
    Ok(())
}

async fn groups_are_members_too(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let mut all = driver.group();
    for half in [0, 10] {
        let mut group = driver.group();
        for n in 0..10 {
            group.add(&file.pwrite(half + n, Shared::from(b"g")));
        }
        all.add(&group.join());
    }
    all.join().await?;
    ensure_eq!(contents(&file).await?, [b'g'; 20]);
    // Many at once are refused like operations.
    let (driver, _file) = ctx.file(&Plan::operations(3)).await?;
    let groups: Vec<_> = (0..4).map(|_| driver.group()).collect();
    let mut last = None;
    for group in groups {
        last = Some(group.join());
    }
    if let Some(last) = last {
        ensure_kind!(last.await, Saturated);
    }
    Ok(())
}

async fn a_batch_tells_each_member_and_the_total(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)).at(9000));
    }
    let bytes = pattern(3000, 3);
    let mut total = driver.group();
    let writes = batch(&*driver, || {
        [0, 9000, 3000].map(|at| {
            let parts = bytes.chunks(700).map(|part| Shared::from(part.to_vec()));
            file.pwritev(at, parts.collect::<Vec<_>>().into())
        })
    });
    for write in &writes {
        total.add(write);
    }
    let total = total.join().await.map_err(|error| error.kind());
    let mut each = Vec::new();
    for write in writes {
        each.push(write.await.map_err(|error| error.kind()));
    }
    if driver.script().is_some() {
        ensure_eq!(total, Err(ErrorKind::StorageFull));
        ensure_eq!(each, [Ok(()), Err(ErrorKind::StorageFull), Ok(())]);
    } else {
        ensure_eq!((total, each), (Ok(()), vec![Ok(()); 3]));
    }
    ensure_bytes(&contents(&file).await?[3000..6000], &bytes, "the last one")
}

/// Neighbours meet, and all of it is started without a step.
async fn a_batch_is_planned_together(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    let mut before = driver.statistics();
    let bytes = pattern(8000, 4);
    let writes = batch(&*driver, || {
        let parts = (0..8).zip(bytes.chunks(1000));
        let write = |(n, part): (u64, &[u8])| file.pwrite(n * 1000, Shared::from(part.to_vec()));
        let writes: Vec<_> = parts.map(write).collect();
        before = driver.statistics();
        // A batch within a batch is a part of it.
        let read = batch(&*driver, || file.pread(0, Buffer::with_capacity(0)));
        (writes, read)
    });
    let after = driver.statistics();
    ensure_eq!(before.queued, before.merged.abs_diff(8), "they wait, but for those that joined");
    ensure_eq!(after.queued, 0, "and are started at the end");
    ensure!(after.pushed > before.pushed, "without a step");
    if driver.limits().write_call_cost > 8000 {
        ensure_eq!(after.merged, 7, "neighbours travel together");
    }
    for write in writes.0 {
        write.await?;
    }
    writes.1.await?;
    ensure_bytes(&contents(&file).await?, &bytes, "all of them")
}

/// Steps inside a batch start what it has so far; a batch that submits nothing is none.
async fn a_batch_holds_up_nothing_else(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let before = write_behind(&file);
    let inside = batch(&*driver, || {
        let write = file.pwrite(10, Shared::from(b"inside"));
        let unwanted = file.pwrite(100, Shared::from(b"unwanted"));
        unwanted.cancel();
        driver.step(driver.delivered(), Wait::No);
        (write, unwanted)
    });
    before.await?;
    let (write, unwanted) = inside;
    write.await?;
    ensure_kind!(unwanted.await, Cancelled);
    batch(&*driver, || file.sync(SyncKind::Data)).await?;
    batch(&*driver, || ());
    ensure_eq!(contents(&file).await?, b"before\0\0\0\0inside");
    let other = ctx.driver(&Plan::calm())?;
    // Of another driver, and of another kind.
    let name = ctx.name();
    let opened = batch(&*other, || driver.create(&name));
    opened.await?.size().await?;
    Ok(())
}

fn write_behind(file: &Arc<dyn littoral::File>) -> littoral::Completion<()> {
    file.pwrite(0, Shared::from(b"before"))
}

/// In a browser the host's turns step; here nobody does until the check goes on.
async fn a_completion_makes_no_progress_by_itself(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let mut write = file.pwrite(0, Shared::from(b"bytes"));
    let seen = driver.delivered();
    for _ in 0..1000 {
        ensure!(write.try_take().is_none(), "a result without a step");
        core::hint::spin_loop();
    }
    ensure_eq!(driver.delivered(), seen, "deliveries without a step");
    if driver.limits().may_block {
        while write.try_take().is_none() {
            driver.step(driver.delivered(), Wait::Forever);
        }
    } else {
        // The pump's turns are all that it needs.
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        write.on_finish(move |result| *tell.lock().expect("no panic") = Some(result));
        ctx.until("it is told", || told.lock().expect("no panic").is_some()).await?;
    }
    ensure_eq!(contents(&file).await?, b"bytes");
    Ok(())
}

async fn what_happens_is_counted(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let start = driver.statistics();
    ensure_eq!((start.alive, start.in_flight, start.queued), (0, 0, 0), "{start:?}");
    ensure_eq!((start.stale, start.refused), (0, 0), "{start:?}");
    // Accepted, alive, refused.
    let first = file.pwrite(0, Shared::from(vec![7; 100]));
    ensure_kind!(file.truncate(u64::MAX).await, InvalidInput);
    let now = driver.statistics();
    ensure_eq!(now.accepted, start.accepted + 1, "{now:?}");
    ensure_eq!((now.alive, now.refused), (1, 1), "{now:?}");
    ensure!(now.queued + now.in_flight <= 1, "{now:?}");
    first.await?;
    // Resumed and retried.
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Short(10)));
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INTR)));
    }
    write(&file, 0, &[8; 100]).await?;
    let now = driver.statistics();
    if driver.script().is_some() {
        ensure_eq!((now.resumed, now.retried), (start.resumed + 1, start.retried + 1), "{now:?}");
    }
    // Merged, and syncs shared.
    let before = driver.statistics();
    let units = batch(&*driver, || {
        let writes = [0, 100, 200].map(|at| file.pwrite(at, Shared::from(vec![9; 100])));
        writes.into_iter().chain([SyncKind::Data, SyncKind::Full].map(|kind| file.sync(kind)))
    });
    for unit in units {
        unit.await?;
    }
    let now = driver.statistics();
    let dear = driver.limits().write_call_cost >= 300;
    ensure_eq!(now.merged - before.merged, if dear { 2 } else { 0 }, "{now:?}");
    ensure_eq!(now.syncs_shared - before.syncs_shared, 1, "{now:?}");
    ensure!(now.pushed > before.pushed, "{now:?}");
    ensure_eq!((now.alive, now.queued, now.stale), (0, 0, 0), "{now:?}");
    Ok(())
}

async fn draining_ends_when_nothing_is_left(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    drain(&*driver)?;
    let mut writes: Vec<_> = (0..20).map(|n| file.pwrite(n, Shared::from(vec![1; 1]))).collect();
    let opening = driver.open(&ctx.name(), OpenOptions::new().create(true));
    let result = drain(&*driver);
    if driver.limits().may_block {
        result?;
        ensure!(writes.iter_mut().all(|one| matches!(one.try_take(), Some(Ok(())))), "the writes");
    } else {
        // A name is for the host's turn.
        ensure_kind!(result, NeedsHost);
        for write in writes {
            write.await?;
        }
    }
    let _open = opening.await?;
    drain(&*driver)?;
    ensure_eq!(driver.statistics().in_flight, 0);
    Ok(())
}
