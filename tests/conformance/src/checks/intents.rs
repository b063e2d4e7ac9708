//! W5: what an operation is asked for beyond moving bytes.

use std::sync::Arc;

use littoral::{Buffer, File, Intent, Shared, SyncKind, Vector};
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};
use littoral_platform::{Errno, RwFlags};

use super::family;
use crate::ctx::{Driver, contents, pattern, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "W5" uncached_operations_move_the_same_bytes;
    "W5" what_must_not_wait_is_done_or_would_block;
    "W5" what_must_not_wait_does_not_stand_in_line;
    "W5" what_would_block_is_not_tried_again;
    "W5" a_downgrade_is_told;
    "W5" what_contradicts_itself_is_refused;
    "M1" different_intents_do_not_travel_together;
}

const UNCACHED: Intent = Intent::new().uncached(true);
const NO_WAIT: Intent = Intent::new().no_wait(true);

fn page(len: usize) -> Buffer {
    Buffer::with_capacity(len)
}

fn has(driver: &Driver, flag: RwFlags) -> bool {
    driver.limits().flags.contains(flag)
}

async fn uncached_operations_move_the_same_bytes(ctx: &Ctx) -> Outcome {
    for plan in [Plan::calm(), Plan::default()] {
        let (driver, file) = ctx.file(&plan).await?;
        let bytes = pattern(20_000, 3);
        file.pwrite_with(0, Shared::from(bytes[..9_000].to_vec()), UNCACHED).await?;
        let parts: Vec<_> =
            bytes[9_000..].chunks(1_500).map(|c| Shared::from(c.to_vec())).collect();
        // Both at once: the flush is for what was written past the cache, too.
        file.pwritev_with(9_000, Vector::from(parts), UNCACHED.durable(true)).await?;
        file.sync(SyncKind::Data).await?;
        ensure_bytes(&ctx.outside(file.name()).await?, &bytes, "seen from outside")?;
        let read = file.pread_with(100, page(10_000), UNCACHED).await?;
        ensure_bytes(&read, &bytes[100..10_100], "one buffer")?;
        let read = file.preadv_with(15_000, vec![page(3_000), page(9_000)], UNCACHED).await?;
        let read: Vec<u8> = read.iter().flat_map(|part| part.iter().copied()).collect();
        ensure_bytes(&read, &bytes[15_000..], "two buffers, and the end of the file")?;
        // Of a read it asks nothing to be durable.
        let read = file.pread_with(0, page(10), Intent::new().durable(true)).await?;
        ensure_bytes(&read, &bytes[..10], "durable bytes")?;
        if !has(&driver, RwFlags::UNCACHED) {
            ensure_eq!(driver.statistics().downgraded, 4, "each is counted");
        }
    }
    Ok(())
}

async fn what_must_not_wait_is_done_or_would_block(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(8_192, 4);
    write(&file, 0, &bytes).await?;
    let (mut done, mut blocked) = (0, 0);
    for n in 0..40 {
        match file.pread_with(n, page(4_096), NO_WAIT).await {
            Ok(read) => {
                let at = usize::try_from(n).expect("small");
                ensure_bytes(&read, &bytes[at..at + 4_096], "all of it")?;
                done += 1;
            }
            Err(error) => {
                ensure_kind!(Err::<(), _>(error), WouldBlock);
                blocked += 1;
            }
        }
        match file.pwrite_with(0, Shared::from(bytes[..100].to_vec()), NO_WAIT).await {
            Ok(()) => done += 1,
            Err(error) => {
                let error = ensure_kind!(Err::<(), _>(error), WouldBlock);
                ensure!(error.confirmed().is_some(), "it does not say how far it came");
                blocked += 1;
            }
        }
    }
    ensure_eq!(done + blocked, 80);
    if !has(&driver, RwFlags::NO_WAIT) {
        ensure_eq!((done, driver.statistics().downgraded), (0, 80), "nobody can tell here");
    }
    ensure_bytes(&contents(&file).await?, &bytes, "as it was")?;
    file.sync(SyncKind::Data).await?;
    Ok(())
}

/// A truncate is before it, and takes as long as it takes.
async fn what_must_not_wait_does_not_stand_in_line(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Truncate, Fault::Park));
    }
    let cut = file.truncate(5);
    let read = file.pread_with(0, page(10), NO_WAIT);
    let write = file.pwrite_with(0, Shared::from(b"x"), NO_WAIT);
    ensure_kind!(read.await, WouldBlock);
    let error = ensure_kind!(write.await, WouldBlock);
    ensure_eq!(error.confirmed(), Some(0));
    if let Some(script) = driver.script() {
        script.release();
    }
    cut.await?;
    ensure_eq!(contents(&file).await?, b"01234");
    Ok(())
}

async fn what_would_block_is_not_tried_again(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    let Some(script) = driver.script().filter(|_| has(&driver, RwFlags::NO_WAIT)) else {
        if let Err(error) = file.pread_with(0, page(10), NO_WAIT).await {
            ensure_kind!(Err::<(), _>(error), WouldBlock);
        }
        ensure_eq!(driver.statistics().retried, 0);
        return Ok(());
    };
    driver.forget_trace();
    script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::AGAIN)));
    ensure_kind!(file.pread_with(0, page(10), NO_WAIT).await, WouldBlock);
    script.push(Rule::next(OpKind::Write, Fault::Short(3)));
    script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::AGAIN)));
    let error = file.pwrite_with(0, Shared::from(b"abcdef"), NO_WAIT).await;
    let error = ensure_kind!(error, WouldBlock);
    script.clear();
    let (reads, writes) =
        (driver.trace().count(OpKind::Read), driver.trace().visits(OpKind::Write));
    // Where the platform itself would block at once, the second is not made.
    let first = writes[0].ended.and_then(|(_, result)| result.ok());
    ensure_eq!((reads, writes.len()), (1, 1 + usize::from(first.is_some())), "entries");
    ensure_eq!(error.confirmed(), Some(first.unwrap_or(0)));
    // Without the intent the same is tried again.
    script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::AGAIN)));
    ensure_eq!(file.pread(0, page(10)).await?.len(), 10);
    file.acknowledge_sync_loss();
    Ok(())
}

/// The file's system does not know a flag: it is done without, and nobody asks again.
async fn a_downgrade_is_told(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let told = |driver: &Driver| {
        driver.capabilities().refused.iter().any(|(what, _)| what.starts_with("uncached"))
    };
    let uncached = |file: &Arc<dyn File>| file.pwrite_with(0, Shared::from(b"abc"), UNCACHED);
    if let Some(script) = driver.script().filter(|_| has(&driver, RwFlags::UNCACHED)) {
        ensure!(!told(&driver), "nothing was refused yet");
        driver.forget_trace();
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::OPNOTSUPP)));
        uncached(&file).await?;
        ensure_eq!((driver.statistics().downgraded, told(&driver)), (1, true));
        uncached(&file).await?;
        ensure_eq!(driver.statistics().downgraded, 2);
        let flags: Vec<_> =
            driver.trace().visits(OpKind::Write).iter().map(|visit| visit.entry.flags).collect();
        let asked = [RwFlags::UNCACHED, RwFlags::empty(), RwFlags::empty()];
        ensure_eq!(flags, asked, "asked once, then done without");
    } else {
        let before = told(&driver);
        ensure_eq!(before, !has(&driver, RwFlags::UNCACHED), "what there is not is named");
        uncached(&file).await?;
        uncached(&file).await?;
        let now = driver.statistics();
        ensure_eq!(now.downgraded > 0, told(&driver), "counted and named go together");
    }
    ensure_eq!(contents(&file).await?, b"abc");
    Ok(())
}

async fn what_contradicts_itself_is_refused(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::calm()).await?;
    let both = NO_WAIT.durable(true);
    let error = ensure_kind!(file.pwrite_with(0, Shared::from(b"x"), both).await, InvalidInput);
    ensure!(error.to_string().contains("durable"), "it does not say why: {error}");
    ensure_eq!(file.size().await?, 0);
    Ok(())
}

async fn different_intents_do_not_travel_together(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let blocker = file.pwrite(1 << 20, Shared::from(b"blocker"));
    if driver.script().is_some() {
        ctx.until("the ring is taken", || driver.trace().parked(OpKind::Write)).await?;
    }
    let intents = [Intent::new(), UNCACHED, UNCACHED, Intent::new().durable(true)];
    let bytes = pattern(40, 5);
    let parts = bytes.chunks(10).map(|chunk| Shared::from(chunk.to_vec()));
    let writes: Vec<_> = (0..)
        .zip(parts.zip(intents))
        .map(|(n, (part, intent))| file.pwrite_with(n * 10, part, intent))
        .collect();
    if let Some(script) = driver.script() {
        script.release();
    }
    blocker.await?;
    for write in writes {
        write.await?;
    }
    let read = file.pread(0, page(40)).await?;
    ensure_bytes(&read, &bytes, "four neighbours")?;
    if driver.script().is_some() && driver.limits().write_call_cost > 0 {
        let merged = if has(&driver, RwFlags::UNCACHED) {
            vec![(1 << 20, 7), (0, 10), (10, 20), (30, 10)]
        } else {
            // Without such a thing they are plain writes.
            vec![(1 << 20, 7), (0, 30), (30, 10)]
        };
        let mut writes = driver.trace().writes();
        // What the file system turns out not to have is asked for again without it.
        writes.dedup();
        ensure_eq!(writes, merged);
    }
    Ok(())
}
