//! L1 to L5 with drivers and handles of one process; `tests/locks.rs` and the harness do the same
//! with processes and tabs.

use core::time::Duration;
use std::sync::Arc;

use littoral::{File, Io, LockKind, OpenOptions, Shared};
use littoral_platform::faulty::{OpKind, Outcome as Scripted, Rule};

use super::family;
use crate::ctx::{contents, write};
use crate::{Ctx, Driver, Outcome, Plan, ensure, ensure_eq, ensure_kind};

use LockKind::{Exclusive, Shared as Together};

family! {
    "L1" an_exclusive_lock_stands_alone;
    "L1" shared_locks_stand_side_by_side;
    "L1" patience_bounds_the_wait;
    "L1" no_patience_is_an_answer_at_once;
    "L1" who_waits_gets_what_is_given_up;
    "L1" a_wait_can_be_cancelled;
    "L1" a_failed_conversion_keeps_the_old_lock;
    "L1" an_exclusive_lock_is_for_who_may_write;
    "L1" a_file_is_opened_with_its_lock;
    "L1" open_now_tries_once;
    "L1" an_unlock_waits_for_what_was_written;
    "L1" a_lock_after_an_unlock_is_kept;
    "L2" two_drivers_conflict_like_two_processes;
    "L2" who_waits_for_another_driver_gets_it;
    "L3" closing_one_handle_releases_only_its_own;
    "L3" a_dropped_handle_gives_up_its_lock;
    "L3" a_closed_handle_gets_no_lock_later;
    "L4" the_end_of_the_driver_releases;
    "L5" what_cannot_be_shared_is_unsupported;
    "L5" locks_that_are_off_say_so;
}

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(15);

/// Whether a file can be open in two drivers: else being open is its lock, which is exclusive.
fn can_share(io: &dyn Io) -> bool {
    !io.limits().one_handle_per_file
}

async fn another(driver: &Driver, file: &Arc<dyn File>) -> Outcome<Arc<dyn File>> {
    Ok(driver.open(file.name(), OpenOptions::new()).await?)
}

async fn an_exclusive_lock_stands_alone(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::default()).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    let error = ensure_kind!(second.lock(Exclusive).await, Locked);
    ensure_eq!(error.file(), Some(first.name()));
    ensure_eq!(error.operation().name(), "lock");
    let text = error.to_string();
    for part in [first.name(), "another handle", "lock_patience", "LITTORAL_LOCKS"] {
        ensure!(text.contains(part), "`{part}` is not in: {text}");
    }
    first.lock(Exclusive).await?;
    first.unlock().await?;
    second.lock(Exclusive).await?;
    ensure_kind!(first.lock(Exclusive).await, Locked);
    // It keeps nobody from reading and writing who asks for none.
    write(&first, 0, b"free").await?;
    ensure_eq!(contents(&second).await?, b"free");
    second.unlock().await?;
    second.unlock().await?;
    first.lock(Exclusive).await?;
    Ok(())
}

async fn shared_locks_stand_side_by_side(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::default()).await?;
    let second = another(&driver, &first).await?;
    let reader = driver.open(first.name(), OpenOptions::read_only()).await?;
    if !can_share(&**driver) {
        ensure_kind!(first.lock(Together).await, Unsupported);
        ensure_kind!(reader.lock(Together).await, Unsupported);
        second.lock(Exclusive).await?;
        ensure_kind!(first.lock(Together).await, Locked);
        return Ok(());
    }
    for file in [&first, &second, &reader] {
        file.lock(Together).await?;
    }
    ensure_kind!(first.lock(Exclusive).await, Locked);
    reader.unlock().await?;
    second.close().await?;
    first.lock(Exclusive).await?;
    ensure_kind!(reader.lock(Together).await, Locked);
    // Weaker again: others may come in.
    first.lock(Together).await?;
    reader.lock(Together).await?;
    Ok(())
}

async fn patience_bounds_the_wait(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::patience(SHORT)).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    let began = driver.now().monotonic;
    let error = ensure_kind!(second.lock(Exclusive).await, Locked);
    let waited = Duration::from_nanos(driver.now().monotonic - began);
    ensure!(waited >= SHORT, "it waited {waited:?} only");
    ensure!(waited < SHORT + Duration::from_secs(3), "it waited {waited:?}");
    ensure!(error.to_string().contains("30 ms"), "{error}");
    first.unlock().await?;
    second.lock(Exclusive).await?;
    Ok(())
}

async fn no_patience_is_an_answer_at_once(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::default()).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    let mut refused = second.lock(Exclusive);
    ensure!(refused.try_take().is_none(), "results come from steps only");
    driver.step(driver.delivered(), littoral::Wait::No);
    let answer = refused.try_take();
    ensure!(answer.is_some(), "one step is enough");
    ensure_kind!(answer.unwrap_or(Ok(())), Locked);
    Ok(())
}

async fn who_waits_gets_what_is_given_up(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::patience(LONG)).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    let began = driver.now().monotonic;
    let mut waiting = second.lock(Exclusive);
    ctx.settle().await;
    ensure!(waiting.try_take().is_none(), "it is locked");
    first.unlock().await?;
    waiting.await?;
    let waited = Duration::from_nanos(driver.now().monotonic - began);
    ensure!(waited < LONG, "it waited until its patience was over");
    // Nor is there room beside it now; that is not waited out.
    let mut asked = first.lock(Together);
    ctx.settle().await;
    if let Some(answer) = asked.try_take() {
        ensure_kind!(answer, Unsupported);
    } else {
        asked.cancel();
        ensure_kind!(asked.await, Cancelled);
    }
    Ok(())
}

async fn a_wait_can_be_cancelled(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::patience(LONG)).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    let waiting = second.lock(Exclusive);
    let opening = driver.open(first.name(), OpenOptions::new().lock(Exclusive));
    ctx.settle().await;
    waiting.cancel();
    opening.cancel();
    ensure_kind!(waiting.await, Cancelled);
    ensure_kind!(opening.await, Cancelled);
    first.unlock().await?;
    // Neither got it behind everybody's back.
    first.lock(Exclusive).await?;
    Ok(())
}

async fn a_failed_conversion_keeps_the_old_lock(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::patience(LONG)).await?;
    let second = another(&driver, &first).await?;
    let began = driver.now().monotonic;
    if can_share(&**driver) {
        first.lock(Together).await?;
        second.lock(Together).await?;
        ensure_kind!(first.lock(Exclusive).await, Locked);
        ensure_kind!(second.lock(Exclusive).await, Locked);
        second.unlock().await?;
        let third = another(&driver, &first).await?;
        let mut waiting = third.lock(Exclusive);
        ctx.settle().await;
        ensure!(waiting.try_take().is_none(), "the first has its shared lock still");
        first.lock(Exclusive).await?;
        first.unlock().await?;
        waiting.await?;
    } else {
        first.lock(Exclusive).await?;
        ensure_kind!(first.lock(Together).await, Unsupported);
        let mut waiting = second.lock(Exclusive);
        ctx.settle().await;
        ensure!(waiting.try_take().is_none(), "the first has its exclusive lock still");
        first.unlock().await?;
        waiting.await?;
    }
    let waited = Duration::from_nanos(driver.now().monotonic - began);
    ensure!(waited < LONG, "a conversion is a try, and this one waited");
    Ok(())
}

async fn an_exclusive_lock_is_for_who_may_write(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    let error = ensure_kind!(reader.lock(Exclusive).await, PermissionDenied);
    ensure_eq!(error.file(), Some(file.name()));
    let options = OpenOptions::read_only().lock(Exclusive);
    let error = ensure_kind!(driver.open(file.name(), options).await, PermissionDenied);
    ensure_eq!(error.file(), Some(file.name()));
    ensure_kind!(driver.open_now(file.name(), options), PermissionDenied);
    file.lock(Exclusive).await?;
    Ok(())
}

async fn a_file_is_opened_with_its_lock(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let name = ctx.name();
    let options = OpenOptions::new().create(true).lock(Exclusive);
    let first = driver.open(&name, options).await?;
    let error = ensure_kind!(driver.open(&name, options).await, Locked);
    ensure_eq!((error.operation().name(), error.file()), ("open", Some(name.as_str())));
    let second = driver.create(&name).await?;
    ensure_kind!(second.lock(Exclusive).await, Locked);
    first.close().await?;
    let again = driver.open(&name, options).await?;
    ensure_kind!(second.lock(Exclusive).await, Locked);
    drop((again, second));
    // An open that nobody waits for any more keeps nothing.
    drop(driver.open(&name, options));
    ctx.settle().await;
    driver.open(&name, options).await?.close().await?;
    driver.remove(&name).await?;
    Ok(())
}

async fn open_now_tries_once(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::patience(LONG))?;
    driver.prepare(&["main"], 0).await?;
    let began = driver.now().monotonic;
    let options = OpenOptions::new().create(true).lock(Exclusive);
    let first = driver.open_now("main", options)?;
    let error = ensure_kind!(driver.open_now("main", options), Locked);
    ensure_eq!(error.file(), Some("main"));
    first.unlock().await?;
    let second = driver.open_now("main", options)?;
    ensure_kind!(driver.open_now("main", options), Locked);
    second.close().await?;
    driver.open_now("main", options)?;
    let waited = Duration::from_nanos(driver.now().monotonic - began);
    ensure!(waited < LONG, "it waited");
    Ok(())
}

async fn an_unlock_waits_for_what_was_written(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan { patience: LONG, ..Plan::calm() }).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Scripted::Late));
    }
    let written = first.pwrite(0, Shared::from(b"under the lock"));
    let mut unlocked = first.unlock();
    let mut waiting = second.lock(Exclusive);
    if let Some(script) = driver.script() {
        ctx.settle().await;
        ensure!(unlocked.try_take().is_none(), "the write has not ended");
        ensure!(waiting.try_take().is_none(), "the write has not ended");
        script.release();
    }
    waiting.await?;
    ensure_eq!(contents(&second).await?, b"under the lock");
    unlocked.await?;
    written.await?;
    Ok(())
}

async fn a_lock_after_an_unlock_is_kept(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::calm()).await?;
    let second = another(&driver, &first).await?;
    let third = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Scripted::Late));
    }
    // The unlock waits for the write, the locks for the unlock; nobody waits for either.
    first.pwrite(0, Shared::from(b"under the lock")).detach();
    first.unlock().detach();
    let gone = second.lock(Exclusive);
    let locked = first.lock(Exclusive);
    drop(second);
    if let Some(script) = driver.script() {
        ctx.settle().await;
        script.release();
    }
    // Its handle was closed: before its turn, or after it, which gives the lock up again.
    if let Err(error) = gone.await {
        ensure_eq!(error.kind(), littoral::ErrorKind::Closed);
    }
    if locked.await.is_err() {
        first.lock(Exclusive).await?;
    }
    ensure_kind!(third.lock(Exclusive).await, Locked);
    first.unlock().await?;
    third.lock(Exclusive).await?;
    Ok(())
}

async fn two_drivers_conflict_like_two_processes(ctx: &Ctx) -> Outcome {
    let (here, first) = ctx.file(&Plan::default()).await?;
    write(&first, 0, b"kept").await?;
    first.lock(Exclusive).await?;
    let there = ctx.driver(&Plan::patience(SHORT))?;
    let name = first.name();
    if !can_share(&**here) {
        let began = there.now().monotonic;
        let error = ensure_kind!(there.open(name, OpenOptions::new()).await, Locked);
        let waited = Duration::from_nanos(there.now().monotonic - began);
        ensure!(waited >= SHORT, "it waited {waited:?} only");
        ensure_eq!((error.operation().name(), error.file()), ("open", Some(name)));
        ensure!(error.to_string().contains("another tab"), "{error}");
        first.close().await?;
        let second = there.open(name, OpenOptions::new().lock(Exclusive)).await?;
        ensure_eq!(contents(&second).await?, b"kept");
        ensure_kind!(here.open(name, OpenOptions::new()).await, Locked);
        return Ok(());
    }
    let second = there.open(name, OpenOptions::new()).await?;
    let error = ensure_kind!(second.lock(Exclusive).await, Locked);
    ensure!(error.to_string().contains("another process"), "{error}");
    ensure_kind!(second.lock(Together).await, Locked);
    let options = OpenOptions::read_only().lock(Together);
    ensure_kind!(there.open(name, options).await, Locked);
    first.lock(Together).await?;
    second.lock(Together).await?;
    ensure_kind!(second.lock(Exclusive).await, Locked);
    ensure_kind!(first.lock(Exclusive).await, Locked);
    first.unlock().await?;
    second.lock(Exclusive).await?;
    ensure_kind!(here.open(name, options).await, Locked);
    Ok(())
}

async fn who_waits_for_another_driver_gets_it(ctx: &Ctx) -> Outcome {
    let (here, first) = ctx.file(&Plan::default()).await?;
    first.lock(Exclusive).await?;
    let there = ctx.driver(&Plan::patience(LONG))?;
    let began = there.now().monotonic;
    let mut opening = there.open(first.name(), OpenOptions::new().lock(Exclusive));
    for _ in 0..4 {
        ctx.settle().await;
        ensure!(opening.try_take().is_none(), "it is locked");
    }
    first.close().await?;
    let second = opening.await?;
    let waited = Duration::from_nanos(there.now().monotonic - began);
    ensure!(waited < LONG, "it waited {waited:?}");
    ensure_kind!(here.open(second.name(), OpenOptions::new().lock(Exclusive)).await, Locked);
    Ok(())
}

async fn closing_one_handle_releases_only_its_own(ctx: &Ctx) -> Outcome {
    let (here, locked) = ctx.file(&Plan::default()).await?;
    locked.lock(Exclusive).await?;
    let there = ctx.driver(&Plan::default())?;
    let outside = || there.open(locked.name(), OpenOptions::new().lock(Exclusive));
    // The lock of a process, of the older kind, would be gone after any of these.
    another(&here, &locked).await?.close().await?;
    ensure_kind!(outside().await, Locked);
    drop(another(&here, &locked).await?);
    let reader = here.open(locked.name(), OpenOptions::read_only()).await?;
    ensure_kind!(reader.lock(Exclusive).await, PermissionDenied);
    reader.close().await?;
    let other = another(&here, &locked).await?;
    ensure_kind!(other.lock(Exclusive).await, Locked);
    other.unlock().await?;
    other.close().await?;
    ctx.settle().await;
    ensure_kind!(outside().await, Locked);
    if can_share(&**here) {
        let other = another(&here, &locked).await?;
        locked.lock(Together).await?;
        other.lock(Together).await?;
        locked.unlock().await?;
        ensure_kind!(outside().await, Locked);
        other.close().await?;
    } else {
        locked.close().await?;
    }
    outside().await?;
    Ok(())
}

async fn a_dropped_handle_gives_up_its_lock(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::patience(LONG)).await?;
    let second = another(&driver, &first).await?;
    first.lock(Exclusive).await?;
    let mut waiting = second.lock(Exclusive);
    ctx.settle().await;
    ensure!(waiting.try_take().is_none(), "the first one has it");
    drop(first);
    waiting.await?;
    // The same for one that is granted and never taken.
    let third = another(&driver, &second).await?;
    second.unlock().await?;
    let seen = driver.delivered();
    let opening = driver.open(second.name(), OpenOptions::new().lock(Exclusive));
    ctx.delivered(&driver, seen, 1).await?;
    let mut waiting = third.lock(Exclusive);
    ctx.settle().await;
    ensure!(waiting.try_take().is_none(), "the one who came first has it");
    drop(opening);
    waiting.await?;
    Ok(())
}

async fn a_closed_handle_gets_no_lock_later(ctx: &Ctx) -> Outcome {
    let (driver, first) = ctx.file(&Plan::patience(LONG)).await?;
    let (second, third) = (another(&driver, &first).await?, another(&driver, &first).await?);
    first.lock(Exclusive).await?;
    let (closed, dropped) = (second.lock(Exclusive), third.lock(Exclusive));
    ctx.settle().await;
    second.close().await?;
    drop(third);
    ensure_kind!(closed.await, Closed);
    ensure_kind!(dropped.await, Closed);
    first.unlock().await?;
    first.lock(Exclusive).await?;
    Ok(())
}

async fn the_end_of_the_driver_releases(ctx: &Ctx) -> Outcome {
    let (here, first) = ctx.file(&Plan::default()).await?;
    first.lock(Exclusive).await?;
    let there = ctx.driver(&Plan::patience(Duration::from_secs(3)))?;
    let opening = there.open(first.name(), OpenOptions::new().lock(Exclusive));
    ctx.settle().await;
    // Its files are not dropped, and one of them is forgotten for good.
    std::mem::forget(another(&here, &first).await?);
    drop(here);
    let second = opening.await?;
    write(&second, 0, b"mine").await?;
    ensure_kind!(first.lock(Exclusive).await, Closed);
    ensure_kind!(first.unlock().await, Closed);
    Ok(())
}

async fn what_cannot_be_shared_is_unsupported(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let options = OpenOptions::read_only().lock(Together);
    if can_share(&**driver) {
        file.lock(Together).await?;
        let there = ctx.driver(&Plan::default())?;
        let reader = there.open(file.name(), options).await?;
        ensure_kind!(there.open(file.name(), OpenOptions::new().lock(Exclusive)).await, Locked);
        drop(reader);
        return Ok(());
    }
    let error = ensure_kind!(file.lock(Together).await, Unsupported);
    ensure_eq!(error.file(), Some(file.name()));
    ensure_kind!(driver.open(file.name(), options).await, Unsupported);
    // It was no lock at all.
    another(&driver, &file).await?.lock(Exclusive).await?;
    Ok(())
}

async fn locks_that_are_off_say_so(ctx: &Ctx) -> Outcome {
    let says = |driver: &Driver, what: &str| {
        driver.capabilities().chosen.iter().any(|line| line.contains(what))
    };
    let on = ctx.driver(&Plan::patience(SHORT))?;
    ensure!(says(&on, "locks on, waiting up to 30 ms"), "{:?}", on.capabilities());
    let (off, first) = ctx.file(&Plan { locks: false, ..Plan::default() }).await?;
    ensure!(says(&off, "locks off"), "{:?}", off.capabilities());
    let second = off.open(first.name(), OpenOptions::new().lock(Exclusive)).await?;
    first.lock(Exclusive).await?;
    second.lock(Together).await?;
    first.unlock().await?;
    let other = on.open(first.name(), OpenOptions::new().lock(Exclusive)).await;
    if can_share(&**on) {
        let other = other?;
        // Who takes none does not see those of others either.
        first.lock(Exclusive).await?;
        ensure_kind!(on.open(other.name(), OpenOptions::new().lock(Exclusive)).await, Locked);
    } else {
        ensure_kind!(other, Locked);
    }
    Ok(())
}
