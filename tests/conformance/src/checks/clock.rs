//! K2: the two clocks, and that waiting goes by one of them.

use core::time::Duration;

use littoral::{Shared, Status, Wait};
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::write;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq};

family! {
    "K2" clocks_run_and_never_go_back;
    "K2" a_wait_lasts_as_long_as_the_clock_says;
}

/// 2020-01-01 and 2200-01-01, in nanoseconds since 1970.
const YEARS: core::ops::Range<u64> = 1_577_836_800_000_000_000..7_258_118_400_000_000_000;

/// Operations after which a clock counts as stopped; browsers tell it in steps of up to 100 us.
const WRITES_MAX: u32 = 20_000;

async fn clocks_run_and_never_go_back(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let start = driver.now();
    ensure!(YEARS.contains(&start.wall), "the wall clock says {}", start.wall);
    let (mut latest, mut moved) = (start, 0);
    for _ in 0..WRITES_MAX {
        write(&file, 0, b"time goes by").await?;
        let now = driver.now();
        ensure!(now.monotonic >= latest.monotonic, "it went back");
        moved += u32::from(now.monotonic > latest.monotonic);
        latest = now;
        if moved > 3 {
            break;
        }
    }
    ensure!(moved > 3, "the monotonic clock stands still");
    ensure!(YEARS.contains(&latest.wall), "the wall clock says {}", latest.wall);
    Ok(())
}

async fn a_wait_lasts_as_long_as_the_clock_says(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let time = Duration::from_millis(30);
    let waits = driver.limits().may_block;
    let before = driver.now().monotonic;
    // What is not there cannot be waited for, on any platform.
    let step = driver.step(driver.delivered(), Wait::For(Duration::from_secs(3600)));
    ensure_eq!(step.status, Status::Idle);
    ensure!(driver.now().monotonic - before < 60_000_000_000, "it waited for nothing");
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
        let mut parked = file.pwrite(0, Shared::from(b"late"));
        let before = driver.now().monotonic;
        let mut step = driver.step(driver.delivered(), Wait::For(time));
        while waits && step.status == Status::Delivered {
            step = driver.step(step.delivered, Wait::For(time));
        }
        let waited = u128::from(driver.now().monotonic - before);
        ensure!(parked.try_take().is_none(), "it is parked");
        if waits {
            ensure_eq!(step.status, Status::Pending);
            ensure!(waited >= time.as_nanos(), "it came back after {waited} ns");
        } else {
            ensure_eq!(step.status, Status::NeedsHost);
        }
        script.release();
        parked.await?;
    }
    Ok(())
}
