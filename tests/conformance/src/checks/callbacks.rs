//! C3: what the user's code may do in the places where we run it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use littoral::{Buffer, Completion, File, Io, Shared, SyncKind, Wait};

use super::family;
use crate::ctx::{contents, pattern};
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq};

family! {
    "C3" callbacks_submit;
    "C3" callbacks_that_try_again_hold_no_step;
    "C3" callbacks_step;
    "C3" callbacks_drop_files_and_completions;
    "C3" callbacks_drop_the_last_driver_handle;
    "C3" wakers_submit_and_step;
    "C3" wakers_are_dropped_unlocked;
    "C3" owners_of_buffers_are_dropped_unlocked;
    "C3" untaken_results_are_dropped_unlocked;
}

/// Writes byte after byte, each from the callback of the one before.
fn chain(file: &Arc<dyn File>, at: u64, end: u64, done: Arc<AtomicU32>) {
    if at == end {
        done.store(1, Relaxed);
        return;
    }
    let byte = u8::try_from(at % 251).unwrap_or_default();
    let next = Arc::clone(file);
    file.pwrite(at, Shared::from(vec![byte])).on_finish(move |result| match result {
        Ok(()) => chain(&next, at + 1, end, done),
        Err(_) => done.store(2, Relaxed),
    });
}

async fn callbacks_submit(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::operations(2)).await?;
    let done = Arc::new(AtomicU32::new(0));
    chain(&file, 0, 60, Arc::clone(&done));
    ctx.until("the chain of writes ends", || done.load(Relaxed) != 0).await?;
    ensure_eq!(done.load(Relaxed), 1, "1 is success, 2 a failed write");
    ensure_eq!(contents(&file).await?, (0..60).collect::<Vec<u8>>());
    Ok(())
}

/// Submits from its own callback for as long as it is refused.
fn insist(file: &Arc<dyn File>, tries: Arc<AtomicU32>) {
    let again = Arc::clone(file);
    file.pwrite(0, Shared::from(b"!")).on_finish(move |result| {
        let refused = result.is_err_and(|error| error.kind() == littoral::ErrorKind::Saturated);
        // A bound, so that a step without one is a failure and not a hang.
        if refused && tries.fetch_add(1, Relaxed) < 100_000 {
            insist(&again, tries);
        }
    });
}

async fn callbacks_that_try_again_hold_no_step(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(2)).await?;
    let full = [file.size(), file.size()];
    let tries = Arc::new(AtomicU32::new(0));
    insist(&file, Arc::clone(&tries));
    for _ in 0..3 {
        let before = tries.load(Relaxed);
        driver.step(driver.delivered(), Wait::No);
        let here = tries.load(Relaxed) - before;
        ensure!(here <= 2, "{here} tries within one step");
    }
    for size in full {
        ensure_eq!(size.await?, 0);
    }
    ctx.until_outside(file.name(), b"!").await?;
    ensure_eq!(contents(&file).await?, b"!");
    Ok(())
}

async fn callbacks_step(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let told = Arc::new(AtomicU32::new(0));
    for _ in 0..8 {
        let (told, weak) = (Arc::clone(&told), Arc::downgrade(&driver));
        file.size().on_finish(move |_| {
            if let Some(io) = weak.upgrade() {
                io.step(io.delivered(), Wait::No);
                io.interrupt();
            }
            told.fetch_add(1, Relaxed);
        });
    }
    ctx.until("all callbacks ran", || told.load(Relaxed) == 8).await?;
    ctx.settle().await;
    ensure_eq!(told.load(Relaxed), 8);
    Ok(())
}

async fn callbacks_drop_files_and_completions(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let name = file.name().to_owned();
    let other = driver.create("other").await?;
    let reads: Vec<_> = (0..4).map(|n| other.pread(n, Buffer::with_capacity(3))).collect();
    let (all, told) = (Mutex::new(Some((other, reads))), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&told);
    file.pwrite(0, Shared::from(b"abc")).on_finish(move |result| {
        drop(all.lock().unwrap_or_else(PoisonError::into_inner).take());
        flag.store(result.is_ok(), Relaxed);
    });
    ctx.until("the callback ran", || told.load(Relaxed)).await?;
    // The dropped file closes behind its dropped reads; its name is free then.
    driver.remove("other").await?;
    drop(file);
    let file = driver.create(&name).await?;
    ensure_eq!(contents(&file).await?, b"abc");
    Ok(())
}

async fn callbacks_drop_the_last_driver_handle(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let name = file.name().to_owned();
    let told = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&told);
    let size = file.size();
    let io = driver.into_io();
    let later = file.pwrite(0, Shared::from(b"abc"));
    size.on_finish(move |_| {
        // The runner's own handle aside, which it drops after its step.
        drop(io);
        flag.store(true, Relaxed);
    });
    ctx.until("the callback ran", || told.load(Relaxed)).await?;
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    let outcome = later.await;
    let next = ctx.driver(&Plan::default())?;
    let again = next.create(&name).await?;
    let found = contents(&again).await?;
    let prefix = outcome.is_err() && b"abc".starts_with(&found);
    ensure!(prefix || found == b"abc", "{outcome:?}, and there is {found:?}");
    Ok(())
}

/// A waker that uses the driver when it is woken, and when it is dropped.
struct Busy {
    io: std::sync::Weak<dyn Io>,
    file: std::sync::Weak<dyn File>,
    woken: AtomicU32,
    dropped: Arc<AtomicU32>,
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        // The first wake only: what it submits ends, too.
        if self.woken.fetch_add(1, Relaxed) == 0
            && let (Some(io), Some(file)) = (self.io.upgrade(), self.file.upgrade())
        {
            file.pwrite(7, Shared::from(b"!")).detach();
            io.step(io.delivered(), Wait::No);
            io.statistics();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let (Some(io), Some(file)) = (self.io.upgrade(), self.file.upgrade()) {
            file.size().detach();
            io.statistics();
        }
        self.dropped.fetch_add(1, Relaxed);
    }
}

fn busy(io: &Arc<dyn Io>, file: &Arc<dyn File>) -> (Arc<Busy>, Arc<AtomicU32>) {
    let dropped = Arc::new(AtomicU32::new(0));
    let busy = Busy {
        io: Arc::downgrade(io),
        file: Arc::downgrade(file),
        woken: AtomicU32::new(0),
        dropped: Arc::clone(&dropped),
    };
    (Arc::new(busy), dropped)
}

/// Polls with that waker, which the completion keeps.
fn register<T>(completion: &mut Completion<T>, waker: &Waker) -> bool
where
    Completion<T>: Future + Unpin,
{
    let mut context = core::task::Context::from_waker(waker);
    core::pin::Pin::new(completion).poll(&mut context).is_ready()
}

async fn wakers_submit_and_step(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let (waker, dropped) = busy(&driver, &file);
    let mut write = file.pwrite(0, Shared::from(b"0123456"));
    ensure!(!register(&mut write, &Waker::from(Arc::clone(&waker))), "it was ready at once");
    ctx.until("the waker was woken", || waker.woken.load(Relaxed) > 0).await?;
    write.await?;
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"0123456!", "the write of the waker is done");
    drop(waker);
    ensure_eq!(dropped.load(Relaxed), 1, "the completion has let its waker go");
    Ok(())
}

/// Replacing a waker, and dropping a completion, drop it: with nothing locked.
async fn wakers_are_dropped_unlocked(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let (first, first_dropped) = busy(&driver, &file);
    let (second, second_dropped) = busy(&driver, &file);
    let mut size = file.size();
    ensure!(!register(&mut size, &Waker::from(first)));
    ensure_eq!(first_dropped.load(Relaxed), 0, "it is kept");
    ensure!(!register(&mut size, &Waker::from(second)));
    ensure_eq!(first_dropped.load(Relaxed), 1, "it was replaced");
    drop(size);
    ctx.until("the operation is over", || driver.statistics().alive == 0).await?;
    ensure_eq!(second_dropped.load(Relaxed), 1, "it went with its completion");
    Ok(())
}

/// Bytes whose owner uses the driver when it goes.
struct Owner {
    io: std::sync::Weak<dyn Io>,
    bytes: Vec<u8>,
    dropped: Arc<AtomicU32>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(io) = self.io.upgrade() {
            io.statistics();
            io.step(io.delivered(), Wait::No);
        }
        self.dropped.fetch_add(1, Relaxed);
    }
}

async fn owners_of_buffers_are_dropped_unlocked(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(4)).await?;
    let dropped = Arc::new(AtomicU32::new(0));
    let owned = |salt| {
        let bytes = pattern(64, salt);
        Shared::from_owner(Owner {
            io: Arc::downgrade(&driver),
            bytes,
            dropped: Arc::clone(&dropped),
        })
    };
    // Taken, detached, refused for its place, refused for lack of room.
    file.pwrite(0, owned(0)).await?;
    file.pwrite(64, owned(1)).detach();
    drop(file.pwrite(u64::MAX, owned(2)));
    let full: Vec<_> = (0..8).map(|n| file.pwrite(128 + n * 64, owned(3))).collect();
    for write in full {
        let _ = write.await;
    }
    ctx.until("all owners are gone", || dropped.load(Relaxed) == 11).await?;
    ensure_eq!(dropped.load(Relaxed), 11);
    ensure_eq!(contents(&file).await?[..64], pattern(64, 0)[..]);
    Ok(())
}

/// A file nobody takes closes when its completion goes, which is work for the driver.
async fn untaken_results_are_dropped_unlocked(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let name = ctx.name();
    let seen = driver.delivered();
    let open = driver.open(&name, littoral::OpenOptions::new().create(true));
    let reads: Vec<_> = (0..4).map(|_| file.pread(0, Buffer::with_capacity(8))).collect();
    ctx.delivered(&driver, seen, 5).await?;
    drop(open);
    drop(reads);
    driver.remove(&name).await?;
    ctx.until("their slots are free", || driver.statistics().alive == 0).await?;
    ensure_eq!(driver.statistics().alive, 0);
    Ok(())
}
