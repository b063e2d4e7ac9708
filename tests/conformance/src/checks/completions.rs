//! C1, C2, C4: one result each, later than its submission, wanted or not.

use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use littoral::{
    Buffer, Completion, ErrorKind, File, Io, OpenOptions, Result, Shared, SyncKind, Vector, Wait,
};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "C1" each_operation_finishes_once;
    "C1" a_taken_result_is_gone;
    "C1" failures_come_through_the_completion;
    "C2" no_result_inside_the_submitting_call;
    "C2" a_refused_operation_is_born_finished;
    "C2" a_refusal_takes_no_slot;
    "C2" a_refusals_callback_runs_at_the_next_step;
    "C2" a_refusals_callback_runs_in_place_without_a_driver;
    "C4" a_detached_write_is_done;
    "C4" a_detached_open_is_closed;
    "C4" a_forgotten_completion_costs_its_slot;
    "C4" forgotten_handles_are_safe;
}

/// Counts how often something is told, and how often it was good news.
#[derive(Default)]
struct Tally {
    told: AtomicU32,
    good: AtomicU32,
}

/// Counts what a completion tells. A macro, since results of operations are a closed set.
macro_rules! tally {
    ($completion:expr) => {{
        let tally = Arc::new(Tally::default());
        let kept = Arc::clone(&tally);
        $completion.on_finish(move |result| {
            kept.told.fetch_add(1, Relaxed);
            kept.good.fetch_add(u32::from(result.is_ok()), Relaxed);
        });
        tally
    }};
}

async fn each_operation_finishes_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, &pattern(100, 0)).await?;
    let mut tallies = Vec::new();
    for n in 0..8 {
        tallies.push(tally!(file.pwrite(n * 100, Shared::from(pattern(100, 1)))));
        tallies.push(tally!(file.pread(n * 10, Buffer::with_capacity(10))));
        tallies.push(tally!(file.pwritev(n * 100, Vector::from(Shared::from(pattern(7, 2))))));
        tallies.push(tally!(file.sync(SyncKind::Data)));
        tallies.push(tally!(file.size()));
    }
    let other = tally!(driver.open("other", OpenOptions::new().create(true)));
    let done = || tallies.iter().all(|one| one.told.load(Relaxed) > 0);
    ctx.until("every operation is done", done).await?;
    ctx.until("the open is done", || other.told.load(Relaxed) > 0).await?;
    ctx.settle().await;
    for one in tallies.iter().chain([&other]) {
        ensure_eq!(one.told.load(Relaxed), 1, "results of one operation");
        ensure_eq!(one.good.load(Relaxed), 1, "good ones");
    }
    Ok(())
}

async fn a_taken_result_is_gone(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let mut size = file.size();
    let mut result = None;
    let mut seen = |result: &mut Option<Result<u64>>| {
        *result = size.try_take();
        result.is_some()
    };
    ctx.until("the size is known", || seen(&mut result)).await?;
    let Some(Ok(0)) = result else { return Err(format!("not 0: {result:?}").into()) };
    ensure!(size.try_take().is_none(), "a result is there twice");
    Ok(())
}

/// There is no second channel: what is wrong with the arguments, and what the platform says, both
/// arrive as the completion's one error.
async fn failures_come_through_the_completion(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let too_far = driver.limits().offset_max;
    ensure_kind!(file.pwrite(too_far, Shared::from(b"ab")).await, InvalidInput);
    ensure_kind!(driver.open("absent", OpenOptions::new()).await, NotFound);
    let tallied = tally!(driver.open("absent", OpenOptions::new()));
    ctx.until("the open failed", || tallied.told.load(Relaxed) > 0).await?;
    ensure_eq!(tallied.good.load(Relaxed), 0);
    Ok(())
}

async fn no_result_inside_the_submitting_call(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"some bytes").await?;
    let before = driver.delivered();
    let mut reads = file.pread(0, Buffer::with_capacity(4));
    let mut pair = file.preadv(0, vec![Buffer::with_capacity(2), Buffer::with_capacity(2)]);
    let mut sizes = file.size();
    let mut opens = driver.open("other", OpenOptions::new().create(true));
    let mut removes = driver.remove("absent");
    let mut units = [
        file.pwrite(0, Shared::from(b"SOME")),
        file.pwritev(5, Vector::from(Shared::from(b"BYTES"))),
        file.sync(SyncKind::Full),
        file.truncate(9),
        file.pwrite(3, Shared::from(b"")),
        file.pwritev(3, Vector::new()),
    ];
    let early = units.iter_mut().any(|unit| unit.try_take().is_some())
        || reads.try_take().is_some()
        || pair.try_take().is_some()
        || sizes.try_take().is_some()
        || opens.try_take().is_some()
        || removes.try_take().is_some();
    ensure!(!early, "a result before any step");
    let told = tally!(file.size());
    ensure_eq!(told.told.load(Relaxed), 0, "callbacks inside the submitting call");
    ensure_eq!(driver.delivered(), before, "deliveries without a step");
    for unit in units {
        unit.await?;
    }
    reads.await?;
    pair.await?;
    sizes.await?;
    opens.await?;
    ensure_kind!(removes.await, NotFound);
    ctx.until("the callback came", || told.told.load(Relaxed) == 1).await?;
    ensure_eq!(contents(&file).await?, b"SOME BYTE");
    Ok(())
}

/// Polls once, outside any executor.
fn poll_once<T: Unpin>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    core::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn a_refused_operation_is_born_finished(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let delivered = driver.delivered();
    let mut refused = file.pwrite(u64::MAX, Shared::from(b"x"));
    let Some(result) = refused.try_take() else {
        return Err("a refused operation has no result at once".to_owned().into());
    };
    ensure_kind!(result, InvalidInput);
    let mut refused = file.truncate(u64::MAX);
    let Poll::Ready(result) = poll_once(&mut refused) else {
        return Err("a refused operation is pending at its first poll".to_owned().into());
    };
    ensure_kind!(result, InvalidInput);
    let mut refused = driver.open("a//b", OpenOptions::new());
    let Some(result) = refused.try_take() else {
        return Err("a refused open has no result at once".to_owned().into());
    };
    ensure_kind!(result, InvalidInput);
    ensure_eq!(driver.delivered(), delivered, "refusals are not delivered");
    Ok(())
}

async fn a_refusal_takes_no_slot(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    let refused: Vec<_> = (0..20).map(|_| file.pwrite(u64::MAX, Shared::from(b"x"))).collect();
    let writes: Vec<_> = (0..4).map(|n| file.pwrite(n, Shared::from(b"y"))).collect();
    for write in writes {
        write.await?;
    }
    for refusal in refused {
        ensure_kind!(refusal.await, InvalidInput);
    }
    ensure!(driver.statistics().refused >= 20, "refusals are counted");
    ensure_eq!(contents(&file).await?, b"yyyy");
    Ok(())
}

async fn a_refusals_callback_runs_at_the_next_step(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let told = tally!(file.pwrite(u64::MAX, Shared::from(b"x")));
    ensure_eq!(told.told.load(Relaxed), 0, "callbacks inside `on_finish`");
    driver.step(driver.delivered(), Wait::No);
    ensure_eq!(told.told.load(Relaxed), 1, "callbacks after the next step");
    ensure_eq!(told.good.load(Relaxed), 0);
    Ok(())
}

async fn a_refusals_callback_runs_in_place_without_a_driver(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    let told = tally!(file.size());
    ensure_eq!(told.told.load(Relaxed), 1, "callbacks inside `on_finish`");
    ensure_kind!(file.pwrite(0, Shared::from(b"x")).await, Closed);
    Ok(())
}

async fn a_detached_write_is_done(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(8)).await?;
    let bytes = pattern(5000, 3);
    for n in 0..4 {
        let part = Shared::from(bytes[n * 1250..(n + 1) * 1250].to_vec());
        let write = file.pwrite(n as u64 * 1250, part);
        if n % 2 == 0 { write.detach() } else { drop(write) }
    }
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, bytes);
    ctx.until("their slots are free", || driver.statistics().alive == 0).await?;
    ensure_eq!(driver.statistics().alive, 0);
    Ok(())
}

/// Nobody has the file that it opened, so nothing keeps it open.
async fn a_detached_open_is_closed(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let name = ctx.name();
    driver.open(&name, OpenOptions::new().create(true)).detach();
    ctx.until("the open is over", || driver.statistics().alive == 0).await?;
    driver.remove(&name).await?;
    ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    ensure!(!ctx.exists_outside(&name).await?, "the file is still there");
    Ok(())
}

async fn a_forgotten_completion_costs_its_slot(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    core::mem::forget(file.pwrite(0, Shared::from(b"kept")));
    for round in 0..20 {
        let sizes: Vec<_> = (0..3).map(|_| file.size()).collect();
        for size in sizes {
            ensure!(size.await.is_ok(), "round {round}: three slots are left");
        }
    }
    let full: Vec<_> = (0..4).map(|_| file.size()).collect();
    let refused = full.into_iter().map(|mut size| size.try_take());
    let kinds: Vec<_> = refused.flatten().map(|result| result.map_err(|e| e.kind())).collect();
    ensure_eq!(kinds, [Err(ErrorKind::Saturated)], "of four more");
    ctx.until("the three are done", || driver.statistics().alive == 1).await?;
    // The forgotten write is finished by nobody's wait but this one's.
    file.sync(SyncKind::Data).await?;
    ensure_eq!(read(&file, 0, 4).await?, b"kept");
    drop(file);
    drop(driver);
    Ok(())
}

async fn forgotten_handles_are_safe(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(8)).await?;
    let name = file.name().to_owned();
    let seen = driver.delivered();
    core::mem::forget(file.pwrite(0, Shared::from(b"bytes")));
    core::mem::forget(file.pread(0, Buffer::with_capacity(5)));
    core::mem::forget(Arc::clone(&file));
    core::mem::forget(file);
    core::mem::forget(driver.open("never taken", OpenOptions::new().create(true)));
    ctx.delivered(&driver, seen, 3).await?;
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    // On a platform where a file is open once only, this tells that the driver closed it.
    let next = ctx.driver(&Plan::default())?;
    let again = next.open(&name, OpenOptions::new()).await?;
    ensure_eq!(read(&again, 0, 9).await?, b"bytes");
    Ok(())
}

/// The traits are what engines hold: these must stay object-safe, and shareable on every target.
const _: () = {
    const fn shareable<T: ?Sized + Send + Sync>() {}
    const fn sendable<T: Send>() {}
    shareable::<dyn Io>();
    shareable::<dyn File>();
    sendable::<Completion<Buffer>>();
};
