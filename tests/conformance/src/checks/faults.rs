//! W2: what is retried, for how long, and what a full disk is called.

use littoral::{Shared, SyncKind, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "W2" interruptions_are_retried;
    "W2" retries_are_bounded;
    "W2" no_progress_is_a_failure;
    "W2" a_full_disk_is_storage_full;
    "W2" a_disk_that_fills_up_is_storage_full;
    "W2" a_rough_ring_is_not_noticed;
}

async fn interruptions_are_retried(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let bytes = pattern(100, 1);
    for code in [Errno::INTR, Errno::AGAIN] {
        if let Some(script) = driver.script() {
            for kind in [OpKind::Write, OpKind::Read, OpKind::Sync, OpKind::Truncate] {
                script.push(Rule::next(kind, Fault::Fail(code)).times(3));
            }
        }
        write(&file, 0, &bytes).await?;
        file.sync(SyncKind::Data).await?;
        file.truncate(90).await?;
        ensure_bytes(&read(&file, 0, 100).await?, &bytes[..90], "after interruptions")?;
        if let Some(script) = driver.script() {
            ensure_eq!(script.pending(), 0, "rules that were not used");
        }
    }
    if driver.script().is_some() {
        ensure!(driver.statistics().retried >= 12, "retries are counted");
    }
    Ok(())
}

async fn retries_are_bounded(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"old").await?;
    for code in [Errno::INTR, Errno::AGAIN, Errno::CANCELED] {
        let Some(script) = driver.script() else { continue };
        script.push(Rule::next(OpKind::Write, Fault::Fail(code)).times(u32::MAX));
        script.push(Rule::next(OpKind::Sync, Fault::Fail(code)).times(u32::MAX));
        let error = file.pwrite(0, Shared::from(b"new")).await.err();
        ensure!(error.is_some(), "{code:?} for ever was a success");
        ensure_eq!(error.and_then(|error| error.confirmed()), Some(0), "confirmed");
        ensure!(file.sync(SyncKind::Data).await.is_err(), "{code:?} for ever was a flush");
        script.clear();
    }
    ensure_eq!(contents(&file).await?, b"old");
    write(&file, 0, b"new").await?;
    ensure_eq!(contents(&file).await?, b"new", "and it goes on");
    Ok(())
}

async fn no_progress_is_a_failure(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    for done in [0, 4] {
        let Some(script) = driver.script() else { continue };
        if done > 0 {
            script.push(Rule::next(OpKind::Write, Fault::Short(done)));
        }
        script.push(Rule::next(OpKind::Write, Fault::Short(0)).times(u32::MAX));
        let write = file.pwrite(0, Shared::from(b"abcdefghij")).await;
        let error = ensure_kind!(write, WriteZero | StorageFull);
        ensure_eq!(error.confirmed(), Some(done as u64), "confirmed");
        script.clear();
    }
    write(&file, 0, b"done").await?;
    ensure_eq!(read(&file, 0, 4).await?, b"done");
    Ok(())
}

async fn a_full_disk_is_storage_full(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    for code in [Errno::NOSPC, Errno::DQUOT] {
        let Some(script) = driver.script() else { continue };
        script.push(Rule::next(OpKind::Write, Fault::Short(4)));
        script.push(Rule::next(OpKind::Write, Fault::Fail(code)));
        let vector = Vector::from(vec![Shared::from(b"abc"), Shared::from(b"defghij")]);
        let error = ensure_kind!(file.pwritev(0, vector).await, StorageFull);
        ensure_eq!((error.confirmed(), error.code()), (Some(4), Some(code)));
        ensure_eq!(contents(&file).await?, b"abcd456789");
        script.push(Rule::next(OpKind::Truncate, Fault::Fail(code)));
        ensure_kind!(file.truncate(1 << 30).await, StorageFull);
        write(&file, 0, b"0123456789").await?;
    }
    ensure_eq!(file.size().await?, 10);
    Ok(())
}

/// On the storage itself, where that can be told to be full.
async fn a_disk_that_fills_up_is_storage_full(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, &pattern(4096, 2)).await?;
    if ctx.stage().limit_space(Some(8192)) {
        let bytes = pattern(5 * 4096, 3);
        let result = file.pwrite(4096, Shared::from(bytes.clone())).await;
        let error = ensure_kind!(result, StorageFull | WriteZero);
        let confirmed = usize::try_from(error.confirmed().unwrap_or(0)).unwrap_or(0);
        ensure!((1..bytes.len()).contains(&confirmed), "confirmed: {confirmed}");
        let found = read(&file, 4096, confirmed).await?;
        ensure_bytes(&found, &bytes[..confirmed], "what is confirmed is there")?;
        ctx.stage().limit_space(None);
        write(&file, 4096, &bytes).await?;
    }
    ensure_bytes(&read(&file, 0, 4096).await?, &pattern(4096, 2), "what was there before")
}

/// Everything at once, by the seed: what a caller sees is as if nothing had happened.
async fn a_rough_ring_is_not_noticed(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let mut expected = Vec::new();
    for round in 0..12_u8 {
        let bytes = pattern(1000 + usize::from(round) * 37, round);
        let parts: Vec<_> = bytes.chunks(111).map(|part| Shared::from(part.to_vec())).collect();
        let at = expected.len() as u64;
        let writes = [
            file.pwritev(at, Vector::from(parts)),
            file.pwrite(at + bytes.len() as u64, Shared::from(bytes.clone())),
        ];
        for write in writes {
            write.await?;
        }
        expected.extend_from_slice(&bytes);
        expected.extend_from_slice(&bytes);
        file.sync(SyncKind::Data).await?;
        ensure_eq!(file.size().await?, expected.len() as u64);
    }
    ensure_bytes(&contents(&file).await?, &expected, "all rounds")?;
    ensure_eq!(driver.statistics().stale, 0, "completions of nothing");
    Ok(())
}
