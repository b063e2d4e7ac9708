//! V1 to V7: the vectored machine, at every byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use littoral::{Arena, Buffer, Shared, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{Faults, OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "V1" a_vector_is_one_write_of_its_concatenation;
    "V1" a_vector_has_one_outcome;
    "V2" any_number_of_buffers;
    "V2" chunks_go_in_order;
    "V3" empties_are_skipped;
    "V3" an_empty_vector_is_no_io;
    "V4" adjacent_memory_travels_as_one_span;
    "V4" memory_that_only_looks_adjacent_is_right;
    "V5" short_counts_resume_at_every_byte;
    "V5" short_counts_resume_under_narrow_limits;
    "V6" a_failing_middle_tells_what_is_confirmed;
    "V6" every_chunk_may_fail;
    "V7" a_cancel_between_two_parts_ends_it;
    "V7" a_cancel_before_a_short_count_ends_it;
}

/// The sizes that the contract's example cuts: an empty one, a single byte, and boundaries.
const SIZES: [usize; 5] = [3, 0, 5, 1, 4];
const TOTAL: usize = 13;

/// Buffers of those sizes, each in memory of its own.
fn vector(sizes: &[usize], bytes: &[u8]) -> Vector {
    let mut rest = bytes;
    let mut part = |len: &usize| {
        let (first, others) = rest.split_at(*len);
        rest = others;
        Shared::from(first.to_vec())
    };
    sizes.iter().map(&mut part).collect()
}

async fn a_vector_is_one_write_of_its_concatenation(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(TOTAL, 1);
    file.pwritev(3, vector(&SIZES, &bytes)).await?;
    ensure_bytes(&contents(&file).await?, &[&[0; 3], &bytes[..]].concat(), "one vector")?;
    let big = pattern(300 * 4096, 2);
    file.pwritev(0, big.chunks(4096).map(<[u8]>::to_vec).collect()).await?;
    ensure_bytes(&contents(&file).await?, &big, "three hundred pages")
}

async fn a_vector_has_one_outcome(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let delivered = driver.delivered();
    let accepted = driver.statistics().accepted;
    let told = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&told);
    file.pwritev(0, vector(&[1; 40], &pattern(40, 3))).on_finish(move |result| {
        count.fetch_add(if result.is_ok() { 1 } else { 100 }, Relaxed);
    });
    ctx.until("it is told", || told.load(Relaxed) > 0).await?;
    ctx.settle().await;
    ensure_eq!(told.load(Relaxed), 1, "results");
    ensure_eq!(driver.delivered() - delivered, 1, "deliveries");
    ensure_eq!(driver.statistics().accepted - accepted, 1, "operations");
    Ok(())
}

async fn any_number_of_buffers(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(10_000, 4);
    file.pwritev(7, vector(&vec![2; 5_000], &bytes)).await?;
    ensure_bytes(&read(&file, 7, 20_000).await?, &bytes, "five thousand buffers")?;
    let into = (0..5_000).map(|_| Buffer::with_capacity(2)).collect();
    let found = file.preadv(7, into).await?;
    let all: Vec<u8> = found.iter().flat_map(|buffer| buffer.iter().copied()).collect();
    ensure_bytes(&all, &bytes, "and read the same way")
}

async fn chunks_go_in_order(ctx: &Ctx) -> Outcome {
    let faults = Faults { spans_per_call: Some(2), bytes_per_call: Some(9), ..Faults::default() };
    let (driver, file) = ctx.file(&Plan { faults, ..Plan::calm() }).await?;
    driver.forget_trace();
    let sizes: Vec<usize> = (0..40).map(|n| n % 7).collect();
    let bytes = pattern(sizes.iter().sum(), 5);
    file.pwritev(0, vector(&sizes, &bytes)).await?;
    ensure_bytes(&contents(&file).await?, &bytes, "in chunks")?;
    if driver.script().is_some() {
        let writes = driver.trace().writes();
        ensure!(writes.len() >= 17, "{} chunks", writes.len());
        let mut at = 0;
        for (offset, bytes) in writes {
            ensure_eq!(offset, at, "each chunk begins where the last one ended");
            at += bytes;
        }
    }
    Ok(())
}

async fn empties_are_skipped(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    let bytes = pattern(6, 6);
    file.pwritev(0, vector(&[0, 0, 2, 0, 1, 0, 0, 3, 0], &bytes)).await?;
    ensure_bytes(&contents(&file).await?, &bytes, "between empties")?;
    if driver.script().is_some() {
        let spans: Vec<_> =
            driver.trace().visits(OpKind::Write).iter().map(|visit| visit.entry.spans).collect();
        ensure_eq!(spans, [3], "spans");
    }
    Ok(())
}

async fn an_empty_vector_is_no_io(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"abc").await?;
    driver.forget_trace();
    file.pwritev(1 << 30, Vector::new()).await?;
    file.pwritev(0, vector(&[0; 9], &[])).await?;
    ensure_eq!(contents(&file).await?, b"abc");
    if driver.script().is_some() {
        ensure_eq!(driver.trace().writes(), []);
    }
    Ok(())
}

async fn adjacent_memory_travels_as_one_span(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    driver.forget_trace();
    let all = Shared::from(pattern(100, 7));
    let parts = [0..10, 10..10, 10..40, 40..41, 41..100].map(|range| all.slice(range));
    file.pwritev(0, Vector::from(parts.to_vec())).await?;
    ensure_bytes(&contents(&file).await?, &pattern(100, 7), "slices of one buffer")?;
    let swapped = vec![all.slice(50..100), all.slice(0..50)];
    file.pwritev(0, Vector::from(swapped)).await?;
    let bytes = pattern(100, 7);
    let expected = [&bytes[50..], &bytes[..50]].concat();
    ensure_bytes(&contents(&file).await?, &expected, "slices in another order")?;
    if driver.script().is_some() {
        let spans: Vec<_> =
            driver.trace().visits(OpKind::Write).iter().map(|visit| visit.entry.spans).collect();
        ensure_eq!(spans, [1, 2], "spans");
    }
    Ok(())
}

/// Buffers of an arena are neighbours in one allocation, single boxes may be neighbours by chance:
/// either way the bytes are right.
async fn memory_that_only_looks_adjacent_is_right(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let arena = Arena::new(&[(64, 64)]);
    let bytes = pattern(64 * 64, 8);
    let mut parts = Vec::new();
    for chunk in bytes.chunks(64) {
        let mut page = arena.take(64).map_err(|none| none.to_string())?;
        page.extend_from_slice(chunk);
        parts.push(page.freeze());
    }
    file.pwritev(0, Vector::from(parts)).await?;
    ensure_bytes(&contents(&file).await?, &bytes, "neighbours of an arena")?;
    ensure_eq!(arena.free(64), 64, "they came home");
    let boxes: Vector = bytes.chunks(64).map(<[u8]>::to_vec).collect();
    file.pwritev(1, boxes).await?;
    ensure_bytes(&read(&file, 1, 5000).await?, &bytes, "boxes of their own")
}

async fn short_counts_resume_at_every_byte(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    for first in 1..TOTAL {
        for second in 1..=TOTAL - first {
            let bytes = pattern(TOTAL, u8::try_from(first * 16 + second).unwrap_or(0));
            if let Some(script) = driver.script() {
                driver.forget_trace();
                script.push(Rule::next(OpKind::Write, Fault::Short(first)));
                script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INTR)));
                script.push(Rule::next(OpKind::Write, Fault::Short(second)));
            }
            file.pwritev(5, vector(&SIZES, &bytes)).await?;
            let what = format!("cut after {first}, interrupted, cut after {second}");
            ensure_bytes(&read(&file, 5, 20).await?, &bytes, &what)?;
            let Some(script) = driver.script() else { continue };
            let (first, second, all) = (first as u64, second as u64, TOTAL as u64);
            let again = (5 + first, all - first);
            let mut expected = vec![(5, all), again, again];
            if first + second < all {
                expected.push((5 + first + second, all - first - second));
            }
            ensure_eq!(driver.trace().writes(), expected, "{what}");
            ensure_eq!(script.pending(), 0, "rules that were not used");
        }
    }
    Ok(())
}

async fn short_counts_resume_under_narrow_limits(ctx: &Ctx) -> Outcome {
    for spans in 1..=3 {
        let faults = Faults { spans_per_call: Some(spans), ..Faults::default() };
        let (driver, file) = ctx.file(&Plan { faults, ..Plan::calm() }).await?;
        for cut in 1..TOTAL {
            for call in 0..4 {
                let bytes = pattern(TOTAL, u8::try_from(cut * 8).unwrap_or(0) + call);
                if let Some(script) = driver.script() {
                    let rule = Rule::next(OpKind::Write, Fault::Short(cut));
                    script.push(rule.skip(u32::from(call)));
                    script.push(Rule::next(OpKind::Write, Fault::Short(1)).times(2));
                }
                file.pwritev(0, vector(&SIZES, &bytes)).await?;
                let what = format!("{spans} spans a call, call {call} cut after {cut}");
                ensure_bytes(&contents(&file).await?, &bytes, &what)?;
                if let Some(script) = driver.script() {
                    script.clear();
                }
            }
        }
    }
    Ok(())
}

async fn a_failing_middle_tells_what_is_confirmed(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let (old, new) = (pattern(TOTAL, 9), pattern(TOTAL, 10));
    for done in 0..TOTAL {
        write(&file, 0, &old).await?;
        let Some(script) = driver.script() else {
            file.pwritev(0, vector(&SIZES, &new)).await?;
            ensure_bytes(&contents(&file).await?, &new, "without a fault")?;
            continue;
        };
        if done > 0 {
            script.push(Rule::next(OpKind::Write, Fault::Short(done)));
        }
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(file.pwritev(0, vector(&SIZES, &new)).await, Io);
        ensure_eq!(error.confirmed(), Some(done as u64), "confirmed");
        let expected = [&new[..done], &old[done..]].concat();
        ensure_bytes(&contents(&file).await?, &expected, "new up to there, old from there")?;
    }
    Ok(())
}

async fn every_chunk_may_fail(ctx: &Ctx) -> Outcome {
    let faults = Faults { spans_per_call: Some(1), ..Faults::default() };
    let (driver, file) = ctx.file(&Plan { faults, ..Plan::calm() }).await?;
    let bytes = pattern(TOTAL, 11);
    let confirmed = [0, 3, 8, 9];
    for (call, confirmed) in (0..).zip(confirmed) {
        file.truncate(0).await?;
        let Some(script) = driver.script() else {
            file.pwritev(0, vector(&SIZES, &bytes)).await?;
            ensure_bytes(&contents(&file).await?, &bytes, "without a fault")?;
            continue;
        };
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)).skip(call));
        let error = ensure_kind!(file.pwritev(0, vector(&SIZES, &bytes)).await, StorageFull);
        ensure_eq!(error.confirmed(), Some(confirmed), "chunk {call}");
        ensure_eq!(file.size().await?, confirmed, "nothing after it was written");
        ensure_eq!(script.pending(), 0);
    }
    Ok(())
}

async fn a_cancel_between_two_parts_ends_it(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let (old, new) = (pattern(TOTAL, 12), pattern(TOTAL, 13));
    write(&file, 0, &old).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Short(5)));
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    driver.forget_trace();
    let write = file.pwritev(0, vector(&SIZES, &new));
    if driver.script().is_none() {
        write.cancel();
        return either_way(write.await, &contents(&file).await?, &old, &new);
    }
    ctx.until("the second part is parked", || driver.trace().parked(OpKind::Write)).await?;
    write.cancel();
    let error = ensure_kind!(write.await, Cancelled);
    ensure_eq!(error.confirmed(), Some(5), "confirmed");
    ctx.settle().await;
    ensure_eq!(driver.trace().writes(), [(0, 13), (5, 8)], "nothing came after the cancel");
    ensure_bytes(&contents(&file).await?, &[&new[..5], &old[5..]].concat(), "one part of two")
}

/// What a cancelled write may leave: all of the new bytes and success, or as many as confirmed.
fn either_way(result: littoral::Result<()>, found: &[u8], old: &[u8], new: &[u8]) -> Outcome {
    match result {
        Ok(()) => ensure_bytes(found, new, "a cancel that came too late"),
        Err(error) => {
            let done = error.confirmed().unwrap_or(0);
            let error = ensure_kind!(Err::<(), _>(error), Cancelled);
            let done = usize::try_from(done).unwrap_or(usize::MAX).min(new.len());
            ensure_bytes(&found[..done], &new[..done], &format!("{error}"))?;
            let unknown = found[done..].iter().zip(old[done..].iter().zip(&new[done..]));
            let mixed = unknown.into_iter().all(|(byte, (old, new))| byte == old || byte == new);
            ensure!(mixed, "bytes that are neither old nor new");
            Ok(())
        }
    }
}

/// The count that comes back after the cancel is short: that was all.
async fn a_cancel_before_a_short_count_ends_it(ctx: &Ctx) -> Outcome {
    let faults = Faults { bytes_per_call: Some(4), ..Faults::default() };
    let (driver, file) = ctx.file(&Plan { faults, ..Plan::calm() }).await?;
    let (old, new) = (pattern(TOTAL, 14), pattern(TOTAL, 15));
    write(&file, 0, &old).await?;
    driver.forget_trace();
    let Some(script) = driver.script() else {
        let write = file.pwritev(0, vector(&SIZES, &new));
        write.cancel();
        return either_way(write.await, &contents(&file).await?, &old, &new);
    };
    // The first chunk is done, and told late: after the cancel.
    script.push(Rule::next(OpKind::Write, Fault::Late));
    let write = file.pwritev(0, vector(&SIZES, &new));
    // It must be done: a cancel that is quicker than the kernel's worker ends it undone.
    ctx.until_outside(file.name(), &new[..4]).await?;
    write.cancel();
    ctx.settle().await;
    script.release();
    let error = ensure_kind!(write.await, Cancelled);
    ensure_eq!(error.confirmed(), Some(4), "confirmed");
    ensure_eq!(driver.trace().writes(), [(0, 4)], "nothing came after the cancel");
    ensure_bytes(&contents(&file).await?, &[&new[..4], &old[4..]].concat(), "one chunk of four")
}
