//! M1: operations that travel in one entry, and still have an outcome each.

use std::sync::Arc;

use littoral::{Buffer, Completion, File, Result, Shared, SyncKind};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "M1" adjacent_writes_are_all_there;
    "M1" adjacent_reads_get_their_own_bytes;
    "M1" a_failing_middle_is_its_members_own;
    "M1" a_member_fails_alone;
    "M1" a_cancelled_member_harms_no_other;
    "M1" a_cancelled_head_in_the_ring_harms_no_other;
    "M1" no_merging_across_a_barrier;
}

/// Four writes of ten bytes side by side, queued behind an entry that is parked far away, so that
/// they are planned together where merging pays. Gives them, the parked one first.
async fn queued(
    ctx: &Ctx,
    driver: &Driver,
    file: &Arc<dyn File>,
    bytes: &[u8],
) -> Outcome<(Completion<()>, Vec<Completion<()>>)> {
    driver.forget_trace();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let blocker = file.pwrite(1 << 20, Shared::from(b"blocker"));
    if driver.script().is_some() {
        ctx.until("the ring is taken", || driver.trace().parked(OpKind::Write)).await?;
    }
    let chunks = bytes.chunks(10).enumerate();
    let members =
        chunks.map(|(n, chunk)| file.pwrite(n as u64 * 10, Shared::from(chunk.to_vec()))).collect();
    Ok((blocker, members))
}

fn go(driver: &Driver, rules: &[Rule]) {
    if let Some(script) = driver.script() {
        for rule in rules {
            script.push(*rule);
        }
        script.release();
    }
}

/// Whether this ring is one where the four must have travelled together.
fn must_merge(driver: &Driver) -> bool {
    driver.script().is_some() && driver.limits().write_call_cost > 0
}

async fn all(members: Vec<Completion<()>>) -> Vec<Result<()>> {
    let mut results = Vec::new();
    for member in members {
        results.push(member.await);
    }
    results
}

async fn adjacent_writes_are_all_there(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    let bytes = pattern(40, 1);
    let (blocker, members) = queued(ctx, &driver, &file, &bytes).await?;
    go(&driver, &[]);
    blocker.await?;
    for result in all(members).await {
        result?;
    }
    ensure_bytes(&read(&file, 0, 40).await?, &bytes, "four neighbours")?;
    if must_merge(&driver) {
        ensure_eq!(driver.trace().writes(), [(1 << 20, 7), (0, 40)], "one entry for the four");
        ensure_eq!(driver.statistics().merged, 3);
    }
    Ok(())
}

async fn adjacent_reads_get_their_own_bytes(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    let bytes = pattern(95, 2);
    write(&file, 0, &bytes).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Read, Fault::Park));
        script.push(Rule::next(OpKind::Read, Fault::Short(25)));
    }
    driver.forget_trace();
    let blocker = file.pread(50, Buffer::with_capacity(1));
    let reads: Vec<_> = (0..11).map(|n| file.pread(n * 10, Buffer::with_capacity(10))).collect();
    if let Some(script) = driver.script() {
        ctx.until("the ring is taken", || driver.trace().parked(OpKind::Read)).await?;
        script.release();
    }
    ensure_eq!(*blocker.await?, bytes[50..51]);
    let mut lens = Vec::new();
    for (n, read) in reads.into_iter().enumerate() {
        let found = read.await?;
        let start = (n * 10).min(95);
        ensure_bytes(&found, &bytes[start..(start + 10).min(95)], &format!("read {n}"))?;
        lens.push(found.len());
    }
    ensure_eq!(lens, [10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 0], "the file ends in the tenth");
    Ok(())
}

async fn a_failing_middle_is_its_members_own(ctx: &Ctx) -> Outcome {
    for done in [0, 5, 10, 15, 20, 25] {
        let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
        let bytes = pattern(40, 3);
        let (blocker, members) = queued(ctx, &driver, &file, &bytes).await?;
        let mut rules = Vec::new();
        if must_merge(&driver) {
            if done > 0 {
                rules.push(Rule::next(OpKind::Write, Fault::Short(done)));
            }
            rules.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        }
        go(&driver, &rules);
        blocker.await?;
        // The failure was the entry's: issued again one by one, every member succeeds.
        for (n, result) in all(members).await.into_iter().enumerate() {
            ensure!(result.is_ok(), "{done} done, member {n}: {result:?}");
        }
        ensure_bytes(&read(&file, 0, 40).await?, &bytes, &format!("{done} done"))?;
        if must_merge(&driver) {
            ensure_eq!(driver.statistics().merged, 3, "{done} done: members");
        }
    }
    Ok(())
}

async fn a_member_fails_alone(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    let bytes = pattern(40, 4);
    write(&file, 0, &[0xee; 40]).await?;
    let (blocker, members) = queued(ctx, &driver, &file, &bytes).await?;
    let mut rules = Vec::new();
    if driver.script().is_some() {
        if must_merge(&driver) {
            rules.push(Rule::next(OpKind::Write, Fault::Short(14)));
            rules.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)).at(14));
        }
        // Issued again, the third one fails by itself.
        rules.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)).at(20));
    }
    go(&driver, &rules);
    blocker.await?;
    let results = all(members).await;
    for (n, result) in results.into_iter().enumerate() {
        if n == 2 && driver.script().is_some() {
            let error = ensure_kind!(result, StorageFull);
            ensure_eq!(error.confirmed(), Some(0), "its own bytes, not the entry's");
        } else {
            ensure!(result.is_ok(), "member {n}: {result:?}");
        }
    }
    let mut expected = bytes;
    if driver.script().is_some() {
        expected[20..30].fill(0xee);
    }
    ensure_bytes(&read(&file, 0, 40).await?, &expected, "all but the third")
}

async fn a_cancelled_member_harms_no_other(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
    let bytes = pattern(40, 5);
    write(&file, 0, &[0xee; 40]).await?;
    let (blocker, members) = queued(ctx, &driver, &file, &bytes).await?;
    members[1].cancel();
    go(&driver, &[]);
    blocker.await?;
    let mut expected = bytes.clone();
    for (n, result) in all(members).await.into_iter().enumerate() {
        match result {
            Err(error) if n == 1 => {
                let error = ensure_kind!(Err::<(), _>(error), Cancelled);
                ensure_eq!(error.confirmed(), Some(0));
                expected[10..20].fill(0xee);
            }
            other => ensure!(other.is_ok(), "member {n}: {other:?}"),
        }
    }
    ensure_bytes(&read(&file, 0, 40).await?, &expected, "all but the cancelled one")
}

/// What is in the ring already is only marked: also where the first of them is cancelled, and where
/// their entry is then interrupted or fails.
async fn a_cancelled_head_in_the_ring_harms_no_other(ctx: &Ctx) -> Outcome {
    for code in [None, Some(Errno::INTR), Some(Errno::IO)] {
        let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
        let bytes = pattern(40, 7);
        write(&file, 0, &[0xee; 40]).await?;
        let (blocker, members) = queued(ctx, &driver, &file, &bytes).await?;
        let mut rules = Vec::new();
        if must_merge(&driver) {
            rules.push(Rule::next(OpKind::Write, Fault::Park));
        }
        go(&driver, &rules);
        blocker.await?;
        if must_merge(&driver) {
            ctx.until("the four are in the ring", || driver.trace().parked(OpKind::Write)).await?;
        }
        members[0].cancel();
        members[2].cancel();
        ctx.settle().await;
        let failing = code.filter(|_| must_merge(&driver));
        let fail = failing.map(|code| Rule::next(OpKind::Write, Fault::Fail(code)));
        go(&driver, fail.as_slice());
        let found = all(members).await;
        let left = read(&file, 0, 40).await?;
        for (n, result) in found.into_iter().enumerate() {
            let (there, wanted) = (&left[n * 10..n * 10 + 10], n % 2 == 1);
            match result {
                Ok(()) => ensure!(there == &bytes[n * 10..n * 10 + 10], "{code:?}: member {n}"),
                Err(error) => {
                    ensure!(!wanted, "{code:?}: member {n}, which nobody cancelled: {error}");
                    ensure_eq!(error.kind(), littoral::ErrorKind::Cancelled);
                }
            }
        }
    }
    Ok(())
}

/// Neighbours on both sides of a truncate or a sync are not one entry.
async fn no_merging_across_a_barrier(ctx: &Ctx) -> Outcome {
    for cut in [true, false] {
        let (driver, file) = ctx.file(&Plan::narrow(1)).await?;
        let bytes = pattern(20, 6);
        driver.forget_trace();
        if let Some(script) = driver.script() {
            script.push(Rule::next(OpKind::Write, Fault::Park));
        }
        let units = [
            file.pwrite(1 << 20, Shared::from(b"blocker")),
            file.pwrite(0, Shared::from(bytes[..10].to_vec())),
            if cut { file.truncate(4) } else { file.sync(SyncKind::Data) },
            file.pwrite(10, Shared::from(bytes[10..].to_vec())),
        ];
        ctx.settle().await;
        go(&driver, &[]);
        for unit in units {
            unit.await?;
        }
        let mut expected = bytes;
        if cut {
            expected[4..10].fill(0);
        }
        ensure_bytes(&read(&file, 0, 20).await?, &expected, "what stands on both sides")?;
        if driver.script().is_some() {
            ensure_eq!(driver.trace().writes(), [(1 << 20, 7), (0, 10), (10, 10)]);
        }
    }
    Ok(())
}
