//! I3: a file that is open both ways.

use std::sync::Arc;

use littoral::{Buffer, Completion, Directness, File, SyncKind};
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::super::family;
use super::{PLAIN, aligned, as_offset, crooked, direct_file, is_direct, shown, unit_of};
use crate::ctx::{Driver, contents, pattern, read};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "I3" a_file_open_both_ways_is_one;
    "I3" neighbours_of_both_kinds_do_not_harm_each_other;
    "I3" a_write_waits_for_one_of_the_other_kind;
    "I3" who_waits_for_the_other_kind_can_be_cancelled;
}

async fn a_file_open_both_ways_is_one(ctx: &Ctx) -> Outcome {
    let (driver, direct) = direct_file(ctx, &Plan::default()).await?;
    let plain = driver.open(direct.name(), PLAIN).await?;
    let unit = unit_of(&direct)?;
    ensure_eq!(plain.geometry()?.direct, Directness::Off, "each has its own way");
    let mut model = pattern(8 * unit, 1);
    plain.pwrite(0, aligned(&model)).await?;
    for (salt, at) in (2..).zip([0, unit, 3 * unit, 7 * unit]) {
        let bytes = pattern(unit, salt);
        let (writer, reader) = if salt % 2 == 0 { (&direct, &plain) } else { (&plain, &direct) };
        writer.pwrite(as_offset(at), aligned(&bytes)).await?;
        model[at..at + unit].copy_from_slice(&bytes);
        let found = reader.pread(0, Buffer::with_capacity(8 * unit)).await?;
        ensure_bytes(&found, &model, &shown(at, unit, "seen by the other way"))?;
    }
    ensure_eq!(direct.size().await?, plain.size().await?);
    plain.pwrite(0, aligned(b"through the cache")).await?;
    // A sync of either covers both.
    direct.sync(SyncKind::Full).await?;
    model[..17].copy_from_slice(b"through the cache");
    ensure_bytes(&ctx.outside(direct.name()).await?, &model, "seen from outside")?;
    // A truncate by one stands before what the other does later.
    let (cut, late) =
        (plain.truncate(as_offset(unit)), direct.pread(0, Buffer::with_capacity(8 * unit)));
    cut.await?;
    ensure_bytes(&late.await?, &model[..unit], "after a cut")?;
    let name = direct.name().to_owned();
    drop(direct);
    ensure_bytes(&read(&plain, 0, 9 * unit).await?, &model[..unit], "with the other one gone")?;
    plain.close().await?;
    driver.remove(&name).await?;
    if let Some(open) = ctx.open_files() {
        ensure_eq!(open, 0, "handles that are left");
    }
    Ok(())
}

/// All at once, by both ways, with no byte in common: every byte is that of its writer.
async fn neighbours_of_both_kinds_do_not_harm_each_other(ctx: &Ctx) -> Outcome {
    let (driver, direct) = direct_file(ctx, &Plan::default()).await?;
    let plain = driver.open(direct.name(), PLAIN).await?;
    let unit = unit_of(&direct)?;
    let mut model = vec![0; 32 * unit];
    plain.pwrite(0, aligned(&model)).await?;
    plain.sync(SyncKind::Data).await?;
    for round in 0..4_u8 {
        let mut writes = Vec::new();
        for block in 0..32 {
            let salt = round * 32 + u8::try_from(block).unwrap_or(0);
            let at = block * unit;
            let (file, bytes, at) = match block % 4 {
                0 | 2 => (&direct, pattern(unit, salt), at),
                1 => (&direct, pattern(unit - 30, salt), at + 17),
                _ => (&plain, pattern(unit - 100, salt), at + 50),
            };
            model[at..at + bytes.len()].copy_from_slice(&bytes);
            writes.push(file.pwrite(as_offset(at), aligned(&bytes)));
        }
        for write in writes {
            write.await?;
        }
        ensure_bytes(&read(&direct, 0, 33 * unit).await?, &model, "by the direct file")?;
        ensure_bytes(&read(&plain, 0, 33 * unit).await?, &model, "by the plain one")?;
    }
    direct.sync(SyncKind::Data).await?;
    ensure_bytes(&ctx.outside(direct.name()).await?, &model, "seen from outside")
}

/// A direct write of the first unit, which is parked, and what is submitted behind it.
struct Parked {
    driver: Driver,
    file: Arc<dyn File>,
    unit: usize,
    first: Completion<()>,
}

/// `None` where there is no telling the ring to park anything, or nothing is direct.
async fn parked(ctx: &Ctx) -> Outcome<Option<Parked>> {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let unit = unit_of(&file)?;
    file.pwrite(0, aligned(&vec![b'0'; 4 * unit])).await?;
    let is_direct = is_direct(&file)?;
    let Some(script) = driver.script().filter(|_| is_direct) else {
        ensure_bytes(&contents(&file).await?, &vec![b'0'; 4 * unit], "it is written")?;
        return Ok(None);
    };
    script.push(Rule::next(OpKind::Write, Fault::Park));
    driver.forget_trace();
    let first = file.pwrite(0, aligned(&vec![b'1'; unit]));
    ctx.until("it is parked", || driver.trace().parked(OpKind::Write)).await?;
    Ok(Some(Parked { driver, file, unit, first }))
}

async fn a_write_waits_for_one_of_the_other_kind(ctx: &Ctx) -> Outcome {
    let Some(Parked { driver, file, unit, first }) = parked(ctx).await? else { return Ok(()) };
    // One of the same pages waits; one of the same kind, and a read of any kind, do not.
    let cached = file.pwrite(as_offset(unit + 1), crooked(b"2"));
    let behind = file.pwrite(as_offset(2 * unit), aligned(&vec![b'3'; unit]));
    let far = file.pwrite(64 << 20, crooked(b"far away"));
    far.await?;
    ensure_eq!(read(&file, as_offset(unit + 1), 1).await?, b"0", "it is not written");
    ctx.settle().await;
    let writes = driver.trace().writes();
    ensure_eq!(writes, [(0, as_offset(unit)), (64 << 20, 8)], "in the ring");
    let Some(script) = driver.script() else { return Ok(()) };
    script.release();
    first.await?;
    cached.await?;
    behind.await?;
    let ends = driver.trace();
    let visits = ends.visits(OpKind::Write);
    let of = |at: usize| visits.iter().find(|visit| visit.entry.at == as_offset(at));
    let began = |at: usize| of(at).and_then(|visit| visit.began);
    let ended = |at: usize| of(at).and_then(|visit| visit.ended).map(|end| end.0);
    ensure!(ended(0) < began(unit + 1), "the cached one began before the direct one ended");
    ensure!(ended(unit + 1) < began(2 * unit), "the second direct one has overtaken the cached");
    let mut model = vec![b'0'; 4 * unit];
    model[..unit].fill(b'1');
    model[unit + 1] = b'2';
    model[2 * unit..3 * unit].fill(b'3');
    ensure_bytes(&read(&file, 0, 4 * unit).await?, &model, "in the end")
}

async fn who_waits_for_the_other_kind_can_be_cancelled(ctx: &Ctx) -> Outcome {
    let Some(Parked { driver, file, unit, first }) = parked(ctx).await? else { return Ok(()) };
    let cached = file.pwrite(as_offset(unit + 1), crooked(b"2"));
    let behind = file.pwrite(as_offset(2 * unit), aligned(&vec![b'3'; unit]));
    ctx.settle().await;
    cached.cancel();
    let error = ensure_kind!(cached.await, Cancelled);
    ensure_eq!(error.confirmed(), Some(0));
    // Who waited for that one only has nothing to wait for.
    behind.await?;
    let Some(script) = driver.script() else { return Ok(()) };
    script.release();
    first.await?;
    let mut model = vec![b'0'; 4 * unit];
    model[..unit].fill(b'1');
    model[2 * unit..3 * unit].fill(b'3');
    ensure_bytes(&read(&file, 0, 4 * unit).await?, &model, "in the end")
}
