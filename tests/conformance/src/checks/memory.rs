//! B1 to B3: whose memory it is, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use littoral::{Arena, Buffer, File, Shared, Spill, TakeError, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Failure, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "B1" memory_in_flight_cannot_be_written;
    "B1" memory_comes_back_whole;
    "B2" buffers_come_home_however_they_are_lost;
    "B2" buffers_come_home_from_a_dropped_driver;
    "B2" an_arena_outlives_its_handle;
    "B2" each_size_goes_home_to_its_own;
    "B3" an_owner_is_asked_once;
    "B3" an_owner_is_kept_until_the_end;
}

/// The types alone forbid the rest: see the crate's doctests that must not compile.
async fn memory_in_flight_cannot_be_written(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let shared = Buffer::from(&b"frozen"[..]).freeze();
    let write = file.pwrite(0, shared.clone());
    let Err(shared) = shared.try_unfreeze() else {
        return Err("memory of a write in flight became writable".to_owned().into());
    };
    ensure_eq!(shared.as_slice(), Some(&b"frozen"[..]), "it can still be read");
    if let Some(script) = driver.script() {
        ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
        script.release();
    }
    write.await?;
    let Ok(mut buffer) = shared.try_unfreeze() else {
        return Err("memory of a finished write is still frozen".to_owned().into());
    };
    buffer[0] = b'F';
    ensure_eq!(contents(&file).await?, b"frozen");
    ensure_eq!(&*buffer, b"Frozen");
    Ok(())
}

async fn memory_comes_back_whole(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(10_000, 1);
    write(&file, 0, &bytes).await?;
    let mut buffer = Buffer::with_capacity(4_096);
    for at in [0, 4_096, 8_192, 12_288, 0] {
        let address = buffer.as_ptr();
        buffer = file.pread(at, buffer).await?;
        ensure!(buffer.as_ptr() == address, "the same memory comes back");
        ensure_eq!(buffer.capacity(), 4_096);
        let start = usize::try_from(at).unwrap_or(0).min(10_000);
        let expected = &bytes[start..(start + 4_096).min(10_000)];
        ensure_bytes(&buffer, expected, &format!("at {at}"))?;
    }
    Ok(())
}

/// Takes a buffer, runs one way of losing it, and looks whether it is home.
struct Losing<'a> {
    ctx: &'a Ctx,
    driver: &'a Driver,
    file: &'a Arc<dyn File>,
    arena: Arena,
}

impl Losing<'_> {
    fn empty(&self) -> Outcome<Buffer> {
        self.arena.take(256).map_err(|none| Failure::new(none.to_string()))
    }

    fn full(&self) -> Outcome<Shared> {
        let mut buffer = self.empty()?;
        buffer.fill_with_zeros();
        Ok(buffer.freeze())
    }

    async fn is_home(&self, how: &str) -> Outcome {
        self.ctx.until(how, || self.arena.free(256) == 4).await?;
        ensure_eq!(self.arena.free(256), 4, "{how}");
        Ok(())
    }

    /// A faulty ring fails the next entry of that kind.
    fn fail(&self, kind: OpKind) {
        if let Some(script) = self.driver.script() {
            script.push(Rule::next(kind, Fault::Fail(Errno::IO)));
        }
    }
}

async fn buffers_come_home_however_they_are_lost(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan { operations: 4, ..Plan::calm() }).await?;
    write(&file, 0, &pattern(300, 2)).await?;
    let arena = Arena::new(&[(256, 4)]);
    let losing = Losing { ctx, driver: &driver, file: &file, arena };
    drop(losing.empty()?);
    losing.is_home("dropped").await?;
    drop(losing.full()?.slice(3..9));
    losing.is_home("dropped as a slice").await?;
    drop(losing.file.pread(0, losing.empty()?).await?);
    losing.is_home("read into and dropped").await?;
    drop(file.pread(0, losing.empty()?));
    losing.is_home("read into, detached").await?;
    drop(file.preadv(0, vec![losing.empty()?, losing.empty()?]));
    losing.is_home("read into, both detached").await?;
    file.pwrite(0, losing.full()?).await?;
    losing.is_home("written").await?;
    file.pwrite(0, losing.full()?).detach();
    losing.is_home("written, detached").await?;
    file.pwritev(0, Vector::from(vec![losing.full()?, losing.full()?])).await?;
    losing.is_home("written together").await?;
    file.pwrite(0, losing.full()?).on_finish(drop);
    losing.is_home("written, told a callback").await?;
    file.pread(0, losing.empty()?).on_finish(drop);
    losing.is_home("read, dropped by a callback").await?;
    losing.fail(OpKind::Write);
    let _ = file.pwrite(0, losing.full()?).await;
    losing.is_home("failed to be written").await?;
    losing.fail(OpKind::Read);
    let _ = file.pread(0, losing.empty()?).await;
    losing.is_home("failed to be read").await?;
    let write = file.pwrite(0, losing.full()?);
    write.cancel();
    let _ = write.await;
    losing.is_home("cancelled").await?;
    drop(file.pwrite(u64::MAX, losing.full()?));
    losing.is_home("refused").await?;
    let full: Vec<_> = (0..4).map(|_| file.size()).collect();
    ensure_kind!(file.pread(0, losing.empty()?).await, Saturated);
    losing.is_home("refused for lack of room").await?;
    drop(full);
    ctx.until("there is room", || driver.statistics().alive == 0).await?;
    // Of the write that was refused, and that nobody looked at.
    ensure_kind!(file.close().await, WriteLost);
    ensure_kind!(file.pread(0, losing.empty()?).await, Closed);
    losing.is_home("refused by a closed file").await
}

async fn buffers_come_home_from_a_dropped_driver(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, &pattern(300, 3)).await?;
    let arena = Arena::new(&[(256, 8)]);
    let take = || arena.take(256).map_err(|none| Failure::new(none.to_string()));
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Read, Fault::Park).times(2));
    }
    let reads = [file.pread(0, take()?), file.pread(1, take()?), file.pread(2, take()?)];
    file.pread(3, take()?).detach();
    let mut page = take()?;
    page.fill_with_zeros();
    file.pwrite(0, page.freeze()).detach();
    let write = file.pwrite(u64::MAX, take()?.freeze());
    drop(driver.into_io());
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    drop((reads, write, file));
    ensure_eq!(arena.free(256), 8, "buffers that are home");
    Ok(())
}

async fn an_arena_outlives_its_handle(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let arena = Arena::new(&[(256, 2)]);
    let mut page = arena.take(256).map_err(|none| Failure::new(none.to_string()))?;
    page.extend_from_slice(&pattern(256, 4));
    let into = arena.take(256).map_err(|none| Failure::new(none.to_string()))?;
    let write = file.pwrite(0, page.freeze());
    drop(arena);
    write.await?;
    let found = file.pread(0, into).await?;
    ensure_bytes(&found, &pattern(256, 4), "through memory of a dropped arena")
}

/// Pages, and pages with a frame's header, in flight at once until there are no more.
async fn each_size_goes_home_to_its_own(ctx: &Ctx) -> Outcome {
    const PAGE: usize = 4096;
    const FRAME: usize = PAGE + 24;
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let arena = Arena::with_spill(&[(FRAME, 3), (PAGE, 3)], Spill::No);
    let free = || (arena.free(PAGE), arena.free(FRAME));
    let filled = |len, byte| {
        let mut buffer = arena.take(len).map_err(|none| Failure::new(none.to_string()))?;
        buffer.extend_from_slice(&pattern(len, byte));
        Ok::<_, Failure>(buffer.freeze())
    };
    let mut writes = Vec::new();
    for (place, len) in (0_u8..).zip([PAGE, FRAME, FRAME, PAGE, FRAME, PAGE]) {
        writes.push(file.pwrite(u64::from(place) * 8192, filled(len, place)?));
    }
    ensure_eq!(free(), (0, 0), "all in flight");
    ensure_eq!(arena.take(1).err(), Some(TakeError::Empty { len: 1 }));
    ensure_eq!(arena.take(FRAME).err(), Some(TakeError::Empty { len: FRAME }));
    let too_large = TakeError::TooLarge { len: FRAME + 1, largest: FRAME };
    ensure_eq!(arena.take(FRAME + 1).err(), Some(too_large));
    for write in writes {
        write.await?;
    }
    ctx.until("they come home", || free() == (3, 3)).await?;
    let mut reads = Vec::new();
    for (place, len) in (0_u8..).zip([PAGE, FRAME, FRAME, PAGE, FRAME, PAGE]) {
        let into = arena.take(len).map_err(|none| Failure::new(none.to_string()))?;
        reads.push((place, len, file.pread(u64::from(place) * 8192, into)));
    }
    ensure_eq!(free(), (0, 0), "all in flight again");
    for (place, len, read) in reads {
        ensure_bytes(&read.await?, &pattern(len, place), &format!("{len} bytes"))?;
    }
    ensure_eq!(free(), (3, 3), "home, each among its own size");
    let misses: Vec<_> = arena.statistics().iter().map(|of| (of.size, of.misses)).collect();
    ensure_eq!(misses, [(PAGE, 1), (FRAME, 1)], "what could not be served");

    // The other rule: a page may come from the larger frames, never a frame from the pages.
    let arena = Arena::new(&[(PAGE, 1), (FRAME, 1)]);
    let pages = [arena.take(PAGE), arena.take(PAGE)];
    ensure!(pages.iter().all(Result::is_ok), "the second comes from the larger class");
    ensure_eq!(arena.take(PAGE).err(), Some(TakeError::Empty { len: PAGE }));
    drop(pages);
    let frame = arena.take(FRAME);
    ensure_eq!(arena.take(FRAME).err(), Some(TakeError::Empty { len: FRAME }));
    ensure_eq!(frame.map(|frame| frame.capacity()).ok(), Some(FRAME));
    Ok(())
}

/// A page frame of a caller, who counts how often it is asked for its bytes.
struct Frame {
    bytes: Vec<u8>,
    asked: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.asked.fetch_add(1, Relaxed);
        &self.bytes
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

fn frame(bytes: Vec<u8>) -> (Shared, Arc<AtomicU32>, Arc<AtomicU32>) {
    let (asked, dropped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let frame = Frame { bytes, asked: Arc::clone(&asked), dropped: Arc::clone(&dropped) };
    (Shared::from_owner(frame), asked, dropped)
}

async fn an_owner_is_asked_once(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(4_096, 5);
    let (shared, asked, dropped) = frame(bytes.clone());
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Short(1000)));
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INTR)));
    }
    file.pwrite(0, shared.clone()).await?;
    file.pwritev(4_096, Vector::from(vec![shared.slice(2_048..), shared.slice(..2_048)])).await?;
    drop(shared);
    ensure_eq!(asked.load(Relaxed), 1, "times asked for its bytes");
    ensure_eq!(dropped.load(Relaxed), 1, "times dropped");
    ensure_bytes(&read(&file, 0, 4_096).await?, &bytes, "the frame")?;
    let halves = [&bytes[2_048..], &bytes[..2_048]].concat();
    ensure_bytes(&read(&file, 4_096, 9_000).await?, &halves, "its halves")
}

async fn an_owner_is_kept_until_the_end(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let (shared, _, dropped) = frame(pattern(64, 6));
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Late));
    }
    let write = file.pwrite(0, shared);
    if let Some(script) = driver.script() {
        ctx.until("it is in the ring", || driver.trace().count(OpKind::Write) > 0).await?;
        write.cancel();
        ctx.settle().await;
        ensure_eq!(dropped.load(Relaxed), 0, "dropped while the platform may read it");
        script.release();
    }
    let _ = write.await;
    ctx.until("it is let go", || dropped.load(Relaxed) == 1).await?;
    ensure_eq!(dropped.load(Relaxed), 1);
    Ok(())
}
