//! R1 to R3: whole reads, true ends, fresh memory.

use littoral::{Buffer, Shared};
use littoral_platform::Errno;
use littoral_platform::faulty::{Faults, OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "R1" a_read_fills_its_buffer_or_ends_with_the_file;
    "R1" several_buffers_are_filled_in_order;
    "R1" short_reads_resume_at_every_byte;
    "R1" short_vectored_reads_resume_at_every_byte;
    "R1" reads_past_one_calls_limits_are_split;
    "R1" a_read_of_nothing_is_nothing;
    "R2" a_count_of_zero_before_the_end_is_no_end;
    "R2" one_count_of_zero_is_tried_again;
    "R2" a_failed_read_is_an_error;
    "R3" bytes_past_the_count_are_not_exposed;
    "R3" recycled_memory_exposes_nothing;
}

async fn a_read_fills_its_buffer_or_ends_with_the_file(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(10_000, 1);
    write(&file, 0, &bytes).await?;
    for (at, len, expected) in [
        (0, 10_000, 0..10_000),
        (0, 20_000, 0..10_000),
        (4_095, 4_098, 4_095..8_193),
        (9_999, 1, 9_999..10_000),
        (9_999, 2, 9_999..10_000),
        (10_000, 5, 0..0),
        (10_001, 5, 0..0),
        // Past 32 bits: an offset that is cut would read the first bytes.
        (1 << 32, 5, 0..0),
        (1 << 52, 5, 0..0),
    ] {
        let found = read(&file, at, len).await?;
        ensure_bytes(&found, &bytes[expected], &format!("{len} bytes at {at}"))?;
    }
    let end = file.pread(9_000, Buffer::with_capacity(4_096)).await?;
    ensure_eq!((end.len(), end.capacity()), (1_000, 4_096), "length and capacity");
    Ok(())
}

async fn several_buffers_are_filled_in_order(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(100, 2);
    write(&file, 0, &bytes).await?;
    for (at, expected) in [(0, [30, 0, 50, 20, 0]), (35, [30, 0, 35, 0, 0]), (100, [0; 5])] {
        let into = [30, 0, 50, 70, 9].map(Buffer::with_capacity).into();
        let found = file.preadv(at, into).await?;
        let lens: Vec<_> = found.iter().map(|buffer| buffer.len()).collect();
        ensure_eq!(lens, expected, "at {at}");
        let start = usize::try_from(at).unwrap_or(100);
        let all: Vec<u8> = found.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        ensure_bytes(&all, &bytes[start..], "all of them together")?;
    }
    let none = file.preadv(0, Vec::new()).await?;
    ensure_eq!(none.len(), 0);
    Ok(())
}

async fn short_reads_resume_at_every_byte(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(13, 3);
    write(&file, 0, &bytes).await?;
    for first in 1..13 {
        for second in [1, 13 - first] {
            if let Some(script) = driver.script() {
                driver.forget_trace();
                script.push(Rule::next(OpKind::Read, Fault::Short(first)));
                script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::INTR)));
                script.push(Rule::next(OpKind::Read, Fault::Short(second)));
            }
            let found = read(&file, 0, 13).await?;
            ensure_bytes(&found, &bytes, &format!("cut at {first}, then after {second}"))?;
            if driver.script().is_some() {
                let reads = driver.trace().visits(OpKind::Read);
                ensure_eq!(
                    (reads[1].entry.at, reads[1].entry.bytes),
                    (first as u64, 13 - first as u64)
                );
            }
        }
    }
    Ok(())
}

async fn short_vectored_reads_resume_at_every_byte(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(13, 4);
    write(&file, 0, &bytes).await?;
    for cut in 1..13 {
        for again in 1..=13 - cut {
            if let Some(script) = driver.script() {
                script.push(Rule::next(OpKind::Read, Fault::Short(cut)));
                script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::AGAIN)));
                script.push(Rule::next(OpKind::Read, Fault::Short(again)));
            }
            let into = [3, 0, 5, 1, 4].map(Buffer::with_capacity).into();
            let found = file.preadv(0, into).await?;
            let lens: Vec<_> = found.iter().map(|buffer| buffer.len()).collect();
            ensure_eq!(lens, [3, 0, 5, 1, 4], "cut at {cut}, then after {again}");
            let all: Vec<u8> = found.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            ensure_bytes(&all, &bytes, &format!("cut at {cut}, then after {again}"))?;
            if let Some(script) = driver.script() {
                script.clear();
            }
        }
    }
    Ok(())
}

async fn reads_past_one_calls_limits_are_split(ctx: &Ctx) -> Outcome {
    let faults = Faults { bytes_per_call: Some(100), spans_per_call: Some(3), ..Faults::default() };
    let (driver, file) = ctx.file(&Plan { faults, ..Plan::calm() }).await?;
    let bytes = pattern(1_050, 5);
    write(&file, 0, &bytes).await?;
    driver.forget_trace();
    ensure_bytes(&read(&file, 0, 2_000).await?, &bytes, "one buffer")?;
    let into = (0..50).map(|n| Buffer::with_capacity(n % 5 * 20)).collect();
    let found = file.preadv(20, into).await?;
    let all: Vec<u8> = found.iter().flat_map(|buffer| buffer.iter().copied()).collect();
    ensure_bytes(&all, &bytes[20..], "fifty buffers")?;
    if driver.script().is_some() {
        // Each entry was within the limits: the ring itself insists on that.
        ensure!(driver.trace().count(OpKind::Read) >= 11 + 11, "calls");
    }
    Ok(())
}

async fn a_read_of_nothing_is_nothing(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"abc").await?;
    for at in [0, 3, 1 << 40] {
        let found = file.pread(at, Buffer::with_capacity(0)).await?;
        ensure_eq!((found.len(), found.capacity()), (0, 0), "at {at}");
    }
    Ok(())
}

async fn a_count_of_zero_before_the_end_is_no_end(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(100, 6);
    write(&file, 0, &bytes).await?;
    ensure_bytes(&read(&file, 0, 100).await?, &bytes, "an honest read")?;
    ensure_eq!(read(&file, 100, 10).await?, b"", "an honest end");
    for rest in [0, 40] {
        let Some(script) = driver.script() else { continue };
        if rest > 0 {
            script.push(Rule::next(OpKind::Read, Fault::Short(rest)));
        }
        script.push(Rule::next(OpKind::Read, Fault::Short(0)).times(1000));
        let error = ensure_kind!(file.pread(0, Buffer::with_capacity(100)).await, Io);
        ensure_eq!(error.file(), Some(file.name()), "the error names its file");
        let pair = vec![Buffer::with_capacity(50), Buffer::with_capacity(50)];
        ensure_kind!(file.preadv(0, pair).await, Io);
        script.clear();
    }
    ensure_bytes(&read(&file, 0, 100).await?, &bytes, "and the file is as it was")
}

async fn one_count_of_zero_is_tried_again(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(100, 7);
    write(&file, 0, &bytes).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Read, Fault::Short(0)));
        script.push(Rule::next(OpKind::Read, Fault::Short(30)));
    }
    ensure_bytes(&read(&file, 0, 100).await?, &bytes, "a read that stalled once")?;
    if let Some(script) = driver.script() {
        ensure_eq!(script.pending(), 0, "rules that were not used");
    }
    Ok(())
}

async fn a_failed_read_is_an_error(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, &pattern(100, 8)).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Read, Fault::Short(60)));
        script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(file.pread(0, Buffer::with_capacity(100)).await, Io);
        ensure_eq!(error.code(), Some(Errno::IO));
    }
    ensure_eq!(read(&file, 0, 100).await?, pattern(100, 8));
    Ok(())
}

async fn bytes_past_the_count_are_not_exposed(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"abc").await?;
    let secret = Buffer::from(vec![0x5e; 64]);
    let mut found = file.pread(0, secret).await?;
    ensure_eq!(&*found, b"abc");
    found.fill_with_zeros();
    ensure!(found[3..].iter().all(|byte| *byte == 0), "the rest is zeros once it is visible");
    let pair = vec![Buffer::from(vec![1; 2]), Buffer::from(vec![2; 9]), Buffer::from(vec![3; 9])];
    let found = file.preadv(1, pair).await?;
    let seen: Vec<&[u8]> = found.iter().map(|buffer| &**buffer).collect();
    ensure_eq!(seen, [&b"bc"[..], b"", b""]);
    Ok(())
}

async fn recycled_memory_exposes_nothing(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let arena = littoral::Arena::new(&[(64, 1)]);
    let mut secret = arena.take(64).map_err(|none| none.to_string())?;
    secret.extend_from_slice(&[0x5e; 64]);
    file.pwrite(100, Shared::from(secret)).await?;
    file.truncate(3).await?;
    let again = arena.take(64).map_err(|none| none.to_string())?;
    ensure_eq!(again.len(), 0, "initialised bytes of a recycled buffer");
    let found = file.pread(0, again).await?;
    ensure_eq!(&*found, [0; 3]);
    Ok(())
}
