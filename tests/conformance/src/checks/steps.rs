//! C5 to C8: stepping, promptness, threads.

use core::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use littoral::{Buffer, Shared, Status, SyncKind, Wait, wait};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::{Ctx, Failure, Outcome, Plan, ensure, ensure_eq};

family! {
    "C5" idle_is_told_at_once;
    "C5" a_step_that_has_missed_something_returns;
    "C5" nested_steps_go_on_delivering;
    "C5" results_are_published_before_the_first_callback;
    "C5" a_panicking_callback_loses_no_other [Unwinding];
    "C5" no_wakeup_is_lost_between_threads [Threads];
    "C6" one_operation_alone_is_started;
    "C6" an_operation_starts_while_another_stays;
    "C6" an_operation_starts_while_a_thread_waits [Threads];
    "C7" an_unasked_cancellation_is_retried;
    "C7" an_unasked_cancellation_is_retried_from_its_progress;
    "C7" operations_survive_their_thread [Threads];
    "C7" any_thread_takes_any_result [Threads];
    "C8" nothing_finishes_without_a_step;
}

async fn idle_is_told_at_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"x").await?;
    for wait in [Wait::No, Wait::For(Duration::from_secs(3600)), Wait::Forever] {
        let step = driver.step(driver.delivered(), wait);
        ensure_eq!(step.status, Status::Idle, "{wait:?}");
        ensure_eq!(step.delivered, driver.delivered(), "{wait:?}");
    }
    Ok(())
}

/// A result that somebody else's step delivered is not slept through, whatever is still alive.
async fn a_step_that_has_missed_something_returns(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let parked = file.pwrite(0, Shared::from(b"x"));
    let seen = driver.delivered();
    let size = driver.create("another").await?;
    ensure!(driver.delivered() > seen, "a delivery is counted");
    let step = driver.step(seen, Wait::Forever);
    // Without a parked write there may be nothing left to wait for.
    let idle = driver.script().is_none() && step.status == Status::Idle;
    ensure!(step.status == Status::Delivered || idle, "{:?}", step.status);
    ensure_eq!(step.delivered, driver.delivered());
    drop(size);
    if let Some(script) = driver.script() {
        script.release();
    }
    parked.await?;
    Ok(())
}

/// The first callback waits, by steps of its own, for all the others.
async fn nested_steps_go_on_delivering(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let (told, nested) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for _ in 0..6 {
        let (told, nested) = (Arc::clone(&told), Arc::clone(&nested));
        let weak = Arc::downgrade(&driver);
        file.size().on_finish(move |_| {
            let first = told.fetch_add(1, Relaxed) == 0;
            let Some(io) = weak.upgrade().filter(|_| first) else { return };
            for _ in 0..100_000 {
                if told.load(Relaxed) == 6 {
                    nested.store(1, Relaxed);
                    return;
                }
                io.step(io.delivered(), Wait::For(Duration::from_millis(1)));
            }
        });
    }
    ctx.until("all callbacks ran", || told.load(Relaxed) == 6).await?;
    ctx.until("the first one came back", || nested.load(Relaxed) == 1).await?;
    ensure_eq!(nested.load(Relaxed), 1, "the others ran inside the first");
    Ok(())
}

/// Where both are in one batch, the first callback can take the other's result; where they are not,
/// it comes with the next one. Either way nothing is counted as delivered that cannot be taken.
async fn results_are_published_before_the_first_callback(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let rest: Vec<_> = (0..5).map(|_| file.size()).collect();
    let shelf = Arc::new(Mutex::new(rest));
    let found = Arc::new(Mutex::new(None));
    let (weak, before) = (Arc::downgrade(&driver), driver.delivered());
    let (shelf_there, found_there) = (Arc::clone(&shelf), Arc::clone(&found));
    file.size().on_finish(move |_| {
        let Some(io) = weak.upgrade() else { return };
        let mut rest = shelf_there.lock().unwrap_or_else(PoisonError::into_inner);
        let there = rest.iter_mut().filter_map(littoral::Completion::try_take).count() as u64;
        let told = (io.delivered() - before, there + 1);
        *found_there.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    });
    let seen = || *found.lock().unwrap_or_else(PoisonError::into_inner);
    ctx.until("the callback ran", || seen().is_some()).await?;
    let Some((delivered, takeable)) = seen() else { return Err("no news".to_owned().into()) };
    ensure_eq!(takeable, delivered, "results that can be taken of those delivered");
    Ok(())
}

async fn a_panicking_callback_loses_no_other(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let told = Arc::new(AtomicU32::new(0));
    for n in 0..9 {
        let told = Arc::clone(&told);
        file.size().on_finish(move |_| {
            told.fetch_add(1, Relaxed);
            assert!(n % 3 != 1, "on purpose: a callback of a check panics");
        });
    }
    let mut panics = 0;
    for _ in 0..10_000 {
        let io = &*driver;
        let step = || io.step(io.delivered(), Wait::For(Duration::from_millis(1)));
        panics += u32::from(std::panic::catch_unwind(core::panic::AssertUnwindSafe(step)).is_err());
        if told.load(Relaxed) == 9 && panics == 3 {
            break;
        }
    }
    ensure_eq!(told.load(Relaxed), 9, "callbacks that ran");
    ensure_eq!(panics, 3, "panics that reached their step");
    write(&file, 0, b"still alive").await?;
    ensure_eq!(contents(&file).await?, b"still alive");
    Ok(())
}

/// Runs `work` on that many threads and brings home what they say.
fn on_threads(count: u32, work: impl Fn(u32) -> Outcome + Send + Clone + 'static) -> Outcome {
    let spawn = |n| {
        let work = work.clone();
        thread::spawn(move || work(n))
    };
    let threads: Vec<_> = (0..count).map(spawn).collect();
    for thread in threads {
        thread.join().map_err(|_| Failure::new("a thread panicked"))??;
    }
    Ok(())
}

async fn no_wakeup_is_lost_between_threads(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let (io, shared) = (Arc::clone(&driver), Arc::clone(&file));
    let work = move |n: u32| {
        for round in 0..150 {
            let (byte, at) = (u8::try_from(round).unwrap_or(0), u64::from(n));
            wait(&*io, shared.pwrite(at, Shared::from(vec![byte])))?;
            let found = wait(&*io, shared.pread(at, Buffer::with_capacity(1)))?;
            if *found != [byte] {
                return Err(Failure::new(format!("{found:?} instead of {byte}")));
            }
        }
        Ok(())
    };
    on_threads(4, work)?;
    ensure_eq!(contents(&file).await?, [149; 4]);
    Ok(())
}

async fn one_operation_alone_is_started(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    let pushed = driver.statistics().pushed;
    file.pwrite(0, Shared::from(b"alone")).await?;
    ensure_eq!(contents(&file).await?, b"alone", "it waited for no company");
    if driver.script().is_some() {
        ensure_eq!(driver.trace().writes(), [(0, 5)]);
        ensure!(driver.statistics().pushed >= pushed, "entries are counted");
    }
    Ok(())
}

async fn an_operation_starts_while_another_stays(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let other = driver.create("other").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let mut stays = file.pwrite(0, Shared::from(b"stays"));
    for n in 0..20 {
        write(&other, n, b"y").await?;
        ensure_eq!(read(&file, 100, 4).await?, b"", "of the file that is written");
    }
    ensure_eq!(contents(&other).await?, [b'y'; 20]);
    if let Some(script) = driver.script() {
        ensure!(stays.try_take().is_none(), "it is parked");
        script.release();
    }
    stays.await?;
    Ok(())
}

async fn an_operation_starts_while_a_thread_waits(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let other = driver.create("other").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let (io, shared) = (Arc::clone(&driver), Arc::clone(&file));
    let waiter = thread::spawn(move || wait(&*io, shared.pwrite(0, Shared::from(b"stays"))));
    if driver.script().is_some() {
        ctx.until("the write is parked", || driver.trace().parked(OpKind::Write)).await?;
    }
    // The waiter sleeps in the kernel now, or soon.
    thread::sleep(Duration::from_millis(5));
    for n in 0..50 {
        wait(&**driver, other.pwrite(n, Shared::from(b"y")))?;
    }
    wait(&**driver, other.sync(SyncKind::Data))?;
    ensure_eq!(contents(&other).await?, [b'y'; 50]);
    if let Some(script) = driver.script() {
        ensure!(!waiter.is_finished(), "the parked write is not done");
        script.release();
    }
    waiter.join().map_err(|_| Failure::new("the waiter panicked"))??;
    Ok(())
}

/// What a kernel ends because the submitting thread went, nobody asked to end.
async fn an_unasked_cancellation_is_retried(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(300, 1);
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::CANCELED)));
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::CANCELED)));
        script.push(Rule::next(OpKind::Truncate, Fault::Fail(Errno::CANCELED)));
        script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::CANCELED)));
        script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::FAULT)));
    }
    write(&file, 0, &bytes).await?;
    file.sync(SyncKind::Data).await?;
    file.truncate(200).await?;
    ensure_eq!(read(&file, 0, 300).await?, bytes[..200]);
    if let Some(script) = driver.script() {
        ensure_eq!(script.pending(), 0, "rules that were not used");
        ensure!(driver.statistics().retried > 0, "retries are counted");
    }
    Ok(())
}

async fn an_unasked_cancellation_is_retried_from_its_progress(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(300, 1);
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Short(70)));
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::CANCELED)));
    }
    write(&file, 0, &bytes).await?;
    ensure_eq!(contents(&file).await?, bytes);
    if driver.script().is_some() {
        ensure_eq!(driver.trace().writes(), [(0, 300), (70, 230), (70, 230)]);
    }
    Ok(())
}

async fn operations_survive_their_thread(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(1 << 20, 4);
    write(&file, 0, &bytes).await?;
    for round in 0..12 {
        let shared = Arc::clone(&file);
        let submit = move || {
            let reads: Vec<_> =
                (0..4).map(|n| shared.pread(n << 18, Buffer::with_capacity(1 << 18))).collect();
            let write = shared.pwrite((1 << 20) + round, Shared::from(b"w"));
            (reads, write, shared.sync(SyncKind::Data))
        };
        let submitted = thread::spawn(submit).join();
        let (reads, write, sync) = submitted.map_err(|_| Failure::new("a thread panicked"))?;
        for (read, chunk) in reads.into_iter().zip(bytes.chunks(1 << 18)) {
            ensure!(*wait(&**driver, read)? == *chunk, "round {round}: other bytes");
        }
        wait(&**driver, write)?;
        wait(&**driver, sync)?;
    }
    Ok(())
}

async fn any_thread_takes_any_result(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let writes: Vec<_> = (0..16).map(|n| file.pwrite(n, Shared::from(b"z"))).collect();
    let shelf = Arc::new(Mutex::new(writes));
    let io = Arc::clone(&driver);
    let work = move |_| {
        loop {
            let next = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(write) = next else { return Ok(()) };
            wait(&*io, write)?;
        }
    };
    on_threads(4, work)?;
    ensure_eq!(contents(&file).await?, [b'z'; 16]);
    Ok(())
}

async fn nothing_finishes_without_a_step(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let delivered = driver.delivered();
    let mut write = file.pwrite(0, Shared::from(b"abc"));
    for _ in 0..1000 {
        ensure!(write.try_take().is_none(), "a result without a step");
    }
    ensure_eq!(driver.delivered(), delivered, "deliveries without a step");
    write.await?;
    ensure!(driver.delivered() > delivered, "deliveries after steps");
    Ok(())
}
