//! C8: a thread of the driver's own, and a descriptor for a foreign event loop.
//!
//! Between their `await`s these checks step nothing, and nobody else does: what comes to its end
//! there, came to it by the thread, or by the descriptor's own steps. Where there are neither, that
//! is what they check.

use core::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;

use littoral::{Completion, ErrorKind, File, Outcome as Value, Poller, Shared, Status, SyncKind};

use super::family;
use crate::ctx::{contents, pattern, write};
use crate::{Ctx, Failure, Need, Outcome, Plan, ensure, ensure_eq};

family! {
    "C8" a_thread_of_its_own_drives;
    "C8" a_thread_of_its_own_outlives_a_panic;
    "C8" a_driver_ends_on_its_own_thread;
    "C8" a_polled_descriptor_drives;
    "C8" a_polled_descriptor_tells_of_others_and_of_the_end;
}

const PATIENCE: Duration = Duration::from_secs(10);

/// A driver with a thread, or `None` where it is refused as it has to be.
fn threaded(ctx: &Ctx) -> Outcome<Option<Plan>> {
    let plan = Plan { thread: Some("on-its-own"), ..Plan::default() };
    if ctx.driver(&Plan::default())?.limits().may_block {
        return Ok(Some(plan));
    }
    let refusal = ctx.refusal(&plan);
    ensure_eq!(refusal.map(|error| error.kind()), Some(ErrorKind::Unsupported), "a thread");
    Ok(None)
}

/// The result, which comes without a step of this thread.
fn comes<T: Value>(completion: &mut Completion<T>) -> Outcome<T> {
    for _ in 0..PATIENCE.as_millis() {
        if let Some(result) = completion.try_take() {
            return Ok(result?);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(Failure::new("nobody has stepped"))
}

fn write_by_hundreds(file: &Arc<dyn File>, bytes: &[u8]) -> Vec<Completion<()>> {
    let writes = (0..).step_by(100).zip(bytes.chunks(100));
    writes.map(|(at, bytes)| file.pwrite(at, Shared::from(bytes.to_vec()))).collect()
}

async fn a_thread_of_its_own_drives(ctx: &Ctx) -> Outcome {
    let Some(plan) = threaded(ctx)? else { return Ok(()) };
    let (driver, file) = ctx.file(&plan).await?;
    let bytes = pattern(3000, 1);
    let mut writes = write_by_hundreds(&file, &bytes);
    for write in &mut writes {
        comes(write)?;
    }
    comes(&mut file.sync(SyncKind::Data))?;
    ensure_eq!(comes(&mut file.size())?, 3000);
    let (tell, told) = mpsc::channel();
    file.size().on_finish(move |size| {
        let _ = tell.send((size.ok(), thread::current().id()));
    });
    let (size, teller) = told.recv_timeout(PATIENCE).map_err(|e| Failure::new(e.to_string()))?;
    ensure_eq!(size, Some(3000));
    ensure!(teller != thread::current().id(), "called back from elsewhere");
    // Somebody may step beside it.
    ensure_eq!(contents(&file).await?, bytes);
    drop(driver);
    Ok(())
}

async fn a_thread_of_its_own_outlives_a_panic(ctx: &Ctx) -> Outcome {
    let Some(plan) = threaded(ctx)? else { return Ok(()) };
    let (driver, file) = ctx.file(&plan).await?;
    let panics = u64::from(ctx.stage().has(Need::Unwinding));
    let told = Arc::new(AtomicU32::new(0));
    for n in 0..6 {
        let told = Arc::clone(&told);
        file.size().on_finish(move |_| {
            told.fetch_add(1, Relaxed);
            assert!(n != 2 || panics == 0, "on purpose: a callback of a check panics");
        });
    }
    for _ in 0..PATIENCE.as_millis() {
        if told.load(Relaxed) == 6 && driver.statistics().panics == panics {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    ensure_eq!(told.load(Relaxed), 6, "callbacks that ran");
    ensure_eq!(driver.statistics().panics, panics, "panics that are told of");
    comes(&mut file.pwrite(0, Shared::from(b"still alive")))?;
    ensure_eq!(contents(&file).await?, b"still alive");
    Ok(())
}

/// The last handle goes inside a callback: where there is a thread, on that one.
async fn a_driver_ends_on_its_own_thread(ctx: &Ctx) -> Outcome {
    let Some(plan) = threaded(ctx)? else { return Ok(()) };
    let (driver, file) = ctx.file(&plan).await?;
    let mut left = file.pwrite(0, Shared::from(pattern(100, 1)));
    let (tell, told) = mpsc::channel();
    let (give, given) = mpsc::channel();
    file.size().on_finish(move |_| {
        // The handle, once it is the last.
        drop(given.recv_timeout(PATIENCE));
        let _ = tell.send(());
    });
    let io = driver.into_io();
    give.send(io).map_err(|_| Failure::new("the callback is gone"))?;
    told.recv_timeout(PATIENCE).map_err(|_| Failure::new("the driver hangs on its own thread"))?;
    let outcome = comes(&mut left);
    let cancelled = matches!(&outcome, Err(failure) if failure.to_string().contains("cancel"));
    ensure!(outcome.is_ok() || cancelled, "{outcome:?}");
    let refused = file.size().await;
    ensure_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Closed));
    Ok(())
}

/// A descriptor, or `None` where it is refused as it has to be: it is one of Linux, and a
/// simulated ring is none of that.
fn polled(driver: &crate::Driver) -> Outcome<Option<Poller>> {
    let backend = driver.capabilities().backend;
    match driver.poller() {
        Ok(poller) => {
            ensure!(cfg!(target_os = "linux") && backend != "simulated", "one on {backend}");
            Ok(Some(poller))
        }
        Err(error) => {
            ensure_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            let has_some = ["uring", "threads"].contains(&backend);
            ensure!(!(cfg!(target_os = "linux") && has_some), "none on {backend}");
            Ok(None)
        }
    }
}

#[cfg(all(feature = "native", target_os = "linux"))]
fn is_readable(poller: &Poller, within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let time = Timespec {
        tv_sec: within.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: within.subsec_nanos().into(),
    };
    loop {
        match poll(&mut [PollFd::new(poller, PollFlags::IN)], Some(&time)) {
            Ok(ready) => return ready > 0,
            // What the kernel does for a ring may interrupt whoever waits.
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(not(all(feature = "native", target_os = "linux")))]
fn is_readable(_: &Poller, _: Duration) -> bool {
    false
}

/// The result, which comes by steps that the descriptor asks for, and no others.
fn comes_polled<T: Value>(poller: &Poller, completion: &mut Completion<T>) -> Outcome<T> {
    loop {
        if let Some(result) = completion.try_take() {
            return Ok(result?);
        }
        ensure!(is_readable(poller, PATIENCE), "slept through a result");
        ensure!(poller.step().is_some(), "the driver is there");
    }
}

/// Steps until it is not readable any more.
fn settle(poller: &Poller) -> Outcome {
    for _ in 0..1000 {
        if !is_readable(poller, Duration::from_millis(20)) {
            return Ok(());
        }
        poller.step();
    }
    Err(Failure::new("readable for ever, with nothing to do"))
}

async fn a_polled_descriptor_drives(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let Some(poller) = polled(&driver)? else { return Ok(()) };
    settle(&poller)?;
    let bytes = pattern(3000, 1);
    let mut writes = write_by_hundreds(&file, &bytes);
    let before = driver.delivered();
    ensure!(is_readable(&poller, Duration::ZERO), "something was submitted");
    ensure_eq!(driver.delivered(), before, "nothing is delivered by looking");
    for write in &mut writes {
        comes_polled(&poller, write)?;
    }
    comes_polled(&poller, &mut file.sync(SyncKind::Data))?;
    ensure_eq!(comes_polled(&poller, &mut file.size())?, 3000);
    settle(&poller)?;
    ensure_eq!(contents(&file).await?, bytes);
    Ok(())
}

async fn a_polled_descriptor_tells_of_others_and_of_the_end(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let Some(poller) = polled(&driver)? else { return Ok(()) };
    settle(&poller)?;
    // Delivered by other steps than its own.
    write(&file, 0, b"elsewhere").await?;
    ensure!(is_readable(&poller, Duration::ZERO), "somebody else has delivered a result");
    let step = poller.step().map(|step| step.status);
    ensure!(step == Some(Status::Delivered), "{step:?}");
    settle(&poller)?;
    driver.interrupt();
    ensure!(is_readable(&poller, Duration::ZERO), "somebody has interrupted");
    settle(&poller)?;
    let mut left = file.pwrite(0, Shared::from(b"left"));
    drop(driver);
    ensure!(is_readable(&poller, Duration::ZERO), "the driver is gone");
    ensure!(poller.step().is_none(), "and says so");
    ensure!(left.try_take().is_some(), "what was under way has ended with it");
    Ok(())
}
