//! S7: what is there after a crash.
//!
//! Where the power can be lost, it is. Elsewhere everything is dropped without a close or a sync,
//! and a new driver must find what a sync covered; what no sync covered is old, new or a mixture
//! in both cases.

use std::sync::Arc;

use littoral::{File, Shared, SyncKind};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, pattern, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq};

family! {
    "S7" what_a_sync_covered_outlives_a_crash;
    "S7" what_no_sync_covered_is_old_or_new;
    "S7" a_size_is_one_it_had;
    "S7" a_failed_flush_covers_nothing;
}

/// Ends everything at once, and opens the file again.
async fn crash(ctx: &Ctx, driver: Driver, file: Arc<dyn File>) -> Outcome<(Driver, Arc<dyn File>)> {
    let name = file.name().to_owned();
    // What is in flight at that moment ends on a disk that nobody sees any more, or is dropped.
    ctx.stage().lose_power();
    drop((driver, file));
    let driver = ctx.driver(&Plan::default())?;
    // Where a file is open once only, the host closes what was dropped on some turn of its own.
    let mut opened = Err(crate::Failure::new("it was never opened"));
    for _ in 0..200 {
        opened = driver.create(&name).await.map_err(Into::into);
        if opened.is_ok() {
            break;
        }
        ctx.settle().await;
    }
    Ok((driver, opened?))
}

async fn what_a_sync_covered_outlives_a_crash(ctx: &Ctx) -> Outcome {
    let (mut driver, mut file) = ctx.file(&Plan::default()).await?;
    let mut expected = Vec::new();
    for round in 0..4_u8 {
        let bytes = pattern(5000 + usize::from(round) * 997, round);
        // Not awaited: the sync speaks for them.
        let at = expected.len() as u64;
        let (first, second) = bytes.split_at(3000);
        let writes = [
            file.pwrite(at, Shared::from(first.to_vec())),
            file.pwrite(at + 3000, Shared::from(second.to_vec())),
        ];
        file.sync(if round % 2 == 0 { SyncKind::Data } else { SyncKind::Full }).await?;
        drop(writes);
        expected.extend_from_slice(&bytes);
        (driver, file) = crash(ctx, driver, file).await?;
        ensure_bytes(&contents(&file).await?, &expected, "what was synced")?;
    }
    file.truncate(1234).await?;
    file.sync(SyncKind::Data).await?;
    let (_driver, file) = crash(ctx, driver, file).await?;
    ensure_bytes(&contents(&file).await?, &expected[..1234], "a synced cut")
}

async fn what_no_sync_covered_is_old_or_new(ctx: &Ctx) -> Outcome {
    for round in 0..8 {
        let (driver, file) = ctx.file(&Plan::default()).await?;
        let (old, new) = (pattern(20_000, 1), pattern(20_000, 2));
        write(&file, 0, &old).await?;
        file.sync(SyncKind::Data).await?;
        write(&file, 1000, &new[1000..9000]).await?;
        let pending = file.pwrite(9000, Shared::from(new[9000..15_000].to_vec()));
        if round % 2 == 0 {
            // Begun, and perhaps not ended.
            ctx.stage().turn().await;
        }
        drop(pending);
        let (_driver, file) = crash(ctx, driver, file).await?;
        let found = contents(&file).await?;
        ensure_eq!(found.len(), old.len());
        let either = |place: usize| found[place] == old[place] || found[place] == new[place];
        let strange = (1000..15_000).find(|place| !either(*place));
        ensure!(strange.is_none(), "byte {strange:?} is neither old nor new");
        ensure_bytes(&found[..1000], &old[..1000], "before what was written")?;
        ensure_bytes(&found[15_000..], &old[15_000..], "behind what was written")?;
    }
    Ok(())
}

async fn a_size_is_one_it_had(ctx: &Ctx) -> Outcome {
    for _ in 0..8 {
        let (driver, file) = ctx.file(&Plan::default()).await?;
        write(&file, 0, &pattern(5000, 1)).await?;
        file.sync(SyncKind::Data).await?;
        write(&file, 5000, &pattern(3000, 2)).await?;
        file.truncate(2500).await?;
        file.truncate(12_000).await?;
        let (_driver, file) = crash(ctx, driver, file).await?;
        let found = contents(&file).await?;
        let sizes = [5000, 8000, 2500, 12_000];
        ensure!(sizes.contains(&found.len()), "it has {} bytes", found.len());
        ensure_bytes(&found[..2500], &pattern(2500, 1), "what was synced and never cut")?;
        if found.len() == 12_000 {
            let zeros = found[2500..].iter().all(|byte| *byte == 0);
            ensure!(zeros, "a cut that led to this size took off all behind it");
        }
    }
    Ok(())
}

async fn a_failed_flush_covers_nothing(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let (old, new) = (pattern(6000, 1), pattern(6000, 2));
    write(&file, 0, &old).await?;
    file.sync(SyncKind::Full).await?;
    write(&file, 0, &new).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
        ensure!(file.sync(SyncKind::Full).await.is_err(), "the flush failed");
    }
    let (_driver, file) = crash(ctx, driver, file).await?;
    let found = contents(&file).await?;
    ensure_eq!(found.len(), 6000);
    let either = |place: usize| found[place] == old[place] || found[place] == new[place];
    ensure!((0..6000).all(either), "a byte is neither old nor new");
    // After the crash all is as new: the file takes changes and syncs.
    write(&file, 0, &new).await?;
    file.sync(SyncKind::Full).await?;
    ensure_bytes(&contents(&file).await?, &new, "written again")
}
