//! C6: an operation that is alone, done by the thread that waits for it where that is better than
//! the ring. It ends as any other does.

use littoral::{Completion, Intent, Result, Shared, SyncKind, Vector, Wait};
use littoral_platform::Errno;
use littoral_platform::faulty::{Faults, OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, pattern};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "C6" what_is_alone_is_done_by_its_waiter;
    "C6" what_fails_in_a_call_fails_as_in_the_ring;
}

fn plans() -> [Plan; 2] {
    let with_calls =
        |plan: Plan| Plan { faults: Faults { lone_calls: true, ..plan.faults }, ..plan };
    [with_calls(Plan::calm()), with_calls(Plan::default())]
}

/// Waits without a limit of time, where a thread may wait.
async fn waited(driver: &Driver, mut operation: Completion<()>) -> Result<()> {
    if !driver.limits().may_block {
        return operation.await;
    }
    loop {
        let seen = driver.delivered();
        if let Some(result) = operation.try_take() {
            return result;
        }
        driver.step(seen, Wait::Forever);
    }
}

async fn what_is_alone_is_done_by_its_waiter(ctx: &Ctx) -> Outcome {
    for plan in plans() {
        let (driver, file) = ctx.file(&plan).await?;
        let (bytes, durable) = (pattern(9_000, 1), Intent::new().durable(true));
        let part = |from: usize, to: usize| Shared::from(bytes[from..to].to_vec());
        let before = driver.statistics();
        waited(&driver, file.pwrite(0, part(0, 3_000))).await?;
        let parts = (3..6).map(|n| part(n * 1_000, (n + 1) * 1_000)).collect::<Vec<_>>();
        waited(&driver, file.pwritev(3_000, Vector::from(parts))).await?;
        waited(&driver, file.pwrite_with(6_000, part(6_000, 7_000), durable)).await?;
        waited(&driver, file.truncate(9_001)).await?;
        waited(&driver, file.truncate(9_000)).await?;
        waited(&driver, file.sync(SyncKind::Full)).await?;
        // A commit as engines make it: both are submitted, and the sync is waited for.
        let written = file.pwrite(7_000, part(7_000, 9_000));
        waited(&driver, file.sync(SyncKind::Data)).await?;
        waited(&driver, written).await?;
        ensure_bytes(&ctx.outside(file.name()).await?, &bytes, "seen from outside")?;
        let now = driver.statistics();
        let (calls, entries) = (now.direct - before.direct, now.pushed - before.pushed);
        if driver.limits().lone_calls {
            ensure!(entries == 0 && calls >= 9, "{calls} calls and {entries} entries");
        } else {
            ensure!(calls == 0 && entries >= 9, "{calls} calls and {entries} entries");
        }
        ensure_eq!((now.stale, now.in_flight), (0, 0));
    }
    Ok(())
}

async fn what_fails_in_a_call_fails_as_in_the_ring(ctx: &Ctx) -> Outcome {
    let [plan, _] = plans();
    let (driver, file) = ctx.file(&plan).await?;
    waited(&driver, file.pwrite(0, Shared::from(b"0123456789"))).await?;
    let Some(script) = driver.script() else {
        // Nothing fails on demand here, but what nobody can do.
        ensure_kind!(
            waited(&driver, file.pwrite(u64::MAX, Shared::from(b"x"))).await,
            InvalidInput
        );
        return Ok(());
    };
    script.push(Rule::next(OpKind::Write, Fault::Short(4)));
    script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)));
    let full = waited(&driver, file.pwrite(0, Shared::from(b"abcdefghij"))).await;
    let full = ensure_kind!(full, StorageFull);
    ensure_eq!(full.confirmed(), Some(4));
    // One that nobody takes is told by the sync that is alone behind it.
    script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::NOSPC)));
    file.pwrite(0, Shared::from(b"abc")).detach();
    let sync = file.sync(SyncKind::Data);
    let lost = ensure_kind!(waited(&driver, sync).await, WriteLost);
    ensure!(lost.cause().is_some(), "it does not say what was lost");
    script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
    ensure_kind!(waited(&driver, file.sync(SyncKind::Data)).await, Io);
    ensure_kind!(waited(&driver, file.pwrite(0, Shared::from(b"x"))).await, SyncLost);
    ensure!(file.acknowledge_sync_loss().is_some(), "a flush was lost");
    waited(&driver, file.sync(SyncKind::Data)).await?;
    Ok(())
}
