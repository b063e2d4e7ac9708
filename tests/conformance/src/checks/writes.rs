//! W1, W3, W4: all or an error, gaps, large offsets, and what is refused beforehand.

use littoral::{Shared, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{Faults, OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "W1" a_write_is_all_there;
    "W1" short_writes_resume_at_every_byte;
    "W1" a_failure_carries_what_is_confirmed;
    "W1" writes_in_flight_together_are_all_there;
    "W3" a_gap_reads_as_zeros;
    "W3" a_write_of_nothing_changes_nothing;
    "W4" writes_past_one_calls_limit_are_split;
    "W4" offsets_past_32_bits_are_not_cut;
    "W4" offsets_past_the_platforms_maximum_are_refused;
    "W4" a_megabyte_is_one_write;
}

async fn a_write_is_all_there(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(200_000, 1);
    write(&file, 0, &bytes).await?;
    ensure_bytes(&contents(&file).await?, &bytes, "a new file")?;
    let over = pattern(5_000, 2);
    write(&file, 4_000, &over).await?;
    let mut expected = bytes;
    expected[4_000..9_000].copy_from_slice(&over);
    ensure_bytes(&contents(&file).await?, &expected, "with some bytes written over")
}

async fn short_writes_resume_at_every_byte(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    for first in 1..13 {
        for second in 1..=13 - first {
            let bytes = pattern(13, u8::try_from(first * 13 + second).unwrap_or(0));
            if let Some(script) = driver.script() {
                driver.forget_trace();
                script.push(Rule::next(OpKind::Write, Fault::Short(first)));
                script.push(Rule::next(OpKind::Write, Fault::Short(second)));
            }
            write(&file, 7, &bytes).await?;
            ensure_bytes(&read(&file, 7, 20).await?, &bytes, &format!("{first} and {second}"))?;
            let Some(script) = driver.script() else { continue };
            let (first, second) = (first as u64, second as u64);
            let mut expected = vec![(7, 13), (7 + first, 13 - first)];
            if first + second < 13 {
                expected.push((7 + first + second, 13 - first - second));
            }
            ensure_eq!(driver.trace().writes(), expected, "entries");
            script.clear();
        }
    }
    Ok(())
}

async fn a_failure_carries_what_is_confirmed(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let old = pattern(13, 3);
    write(&file, 0, &old).await?;
    for done in 0..13 {
        write(&file, 0, &old).await?;
        let new = pattern(13, 4);
        let Some(script) = driver.script() else {
            write(&file, 0, &new).await?;
            ensure_bytes(&contents(&file).await?, &new, "without a fault")?;
            continue;
        };
        if done > 0 {
            script.push(Rule::next(OpKind::Write, Fault::Short(done)));
        }
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(file.pwrite(0, Shared::from(new.clone())).await, Io);
        ensure_eq!(error.confirmed(), Some(done as u64), "confirmed");
        ensure_eq!(error.code(), Some(Errno::IO));
        let expected = [&new[..done], &old[done..]].concat();
        ensure_bytes(&contents(&file).await?, &expected, "new up to there, old from there")?;
    }
    Ok(())
}

async fn writes_in_flight_together_are_all_there(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(60 * 700, 5);
    let chunks = bytes.chunks(700).enumerate().rev();
    let writes: Vec<_> = chunks
        .map(|(n, chunk)| file.pwrite(n as u64 * 700, Shared::from(chunk.to_vec())))
        .collect();
    for write in writes {
        write.await?;
    }
    ensure_bytes(&contents(&file).await?, &bytes, "sixty writes, the last one first")
}

async fn a_gap_reads_as_zeros(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 10, b"abc").await?;
    write(&file, 9_000, b"xyz").await?;
    let mut expected = vec![0; 9_003];
    expected[10..13].copy_from_slice(b"abc");
    expected[9_000..].copy_from_slice(b"xyz");
    ensure_bytes(&contents(&file).await?, &expected, "two islands")
}

async fn a_write_of_nothing_changes_nothing(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"abc").await?;
    driver.forget_trace();
    for at in [0, 2, 3, 4, 1 << 20] {
        write(&file, at, b"").await?;
        file.pwritev(at, Vector::from(vec![Shared::default(), Shared::default()])).await?;
        ensure_eq!(file.size().await?, 3, "after nothing at {at}");
    }
    if driver.script().is_some() {
        ensure_eq!(driver.trace().writes(), [], "nothing is no I/O");
    }
    ensure_eq!(contents(&file).await?, b"abc");
    Ok(())
}

async fn writes_past_one_calls_limit_are_split(ctx: &Ctx) -> Outcome {
    let faults = Faults { bytes_per_call: Some(64), ..Faults::rough(0) };
    let (driver, file) = ctx.file(&Plan { faults, ..Plan::default() }).await?;
    let bytes = pattern(1_000, 6);
    write(&file, 5, &bytes).await?;
    ensure_bytes(&read(&file, 5, 2_000).await?, &bytes, "in pieces of 64")?;
    if driver.script().is_some() {
        ensure!(driver.trace().count(OpKind::Write) >= 16, "calls");
    }
    Ok(())
}

/// Where the disk has no room for so large a file, the refusal must leave the file as it is.
async fn offsets_past_32_bits_are_not_cut(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"first bytes").await?;
    let far = (1 << 32) + 3;
    match file.pwrite(far, Shared::from(b"far")).await {
        Ok(()) => {
            ensure_eq!(file.size().await?, far + 3);
            ensure_eq!(read(&file, far - 2, 9).await?, b"\0\0far");
            file.truncate(far + 1).await?;
            ensure_eq!(file.size().await?, far + 1);
            file.truncate(11).await?;
        }
        Err(error) => {
            ensure_kind!(Err::<(), _>(error), StorageFull | WriteZero);
            ensure!(file.size().await? <= far + 3, "the size is not negative");
            file.truncate(11).await?;
        }
    }
    ensure_eq!(contents(&file).await?, b"first bytes");
    Ok(())
}

async fn offsets_past_the_platforms_maximum_are_refused(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"untouched").await?;
    driver.forget_trace();
    let max = driver.limits().offset_max;
    let two = || Shared::from(b"ab");
    for at in [max - 1, max, max + 1, u64::MAX - 1, u64::MAX] {
        let error = ensure_kind!(file.pwrite(at, two()).await, InvalidInput);
        ensure_eq!(error.confirmed().unwrap_or(0), 0);
        let vector = Vector::from(vec![two(), two()]);
        ensure_kind!(file.pwritev(at, vector).await, InvalidInput);
    }
    ensure_kind!(file.truncate(max + 1).await, InvalidInput);
    ensure_kind!(file.truncate(u64::MAX).await, InvalidInput);
    if driver.script().is_some() {
        ensure_eq!(driver.trace().writes(), [], "nothing went to the platform");
    }
    ensure_eq!(contents(&file).await?, b"untouched");
    Ok(())
}

async fn a_megabyte_is_one_write(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(3 << 20, 7);
    write(&file, 1, &bytes).await?;
    ensure_eq!(file.size().await?, (3 << 20) + 1);
    ensure_bytes(&read(&file, 1, 3 << 20).await?, &bytes, "three megabytes")
}
