//! N1, N2, N3: what files of a system with processes have, and everywhere else that they have not.
//!
//! What several processes see of each other is tried by several processes, in tests/ranges.rs.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use littoral::native::{LockOwner, NativeFile};
use littoral::{File, LockKind, OpenOptions, Operation};

use super::family;
use crate::ctx::{Driver, contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Failure, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "N1" ranges_of_handles_keep_each_other_out;
    "N1" a_handles_end_gives_its_ranges_up;
    "N1" what_cannot_be_locked_is_refused;
    "N1" the_lock_of_the_whole_file_is_in_the_way;
    "N2" a_process_lock_outlives_closes;
    "N2" what_one_gives_up_the_others_keep;
    "N3" a_mapping_is_the_file;
    "N3" what_cannot_be_mapped_is_refused;
    "N3" a_size_is_set_at_once;
}

use LockKind::{Exclusive, Shared};

const OWNERS: [LockOwner; 2] = [LockOwner::Handle, LockOwner::Process];

/// A driver and a file of it, where files are shared by processes; elsewhere that is said.
async fn shared(ctx: &Ctx) -> Outcome<Option<(Driver, Arc<dyn File>)>> {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let backend = driver.capabilities().backend;
    if ["uring", "threads"].iter().any(|native| backend.contains(native)) {
        ensure!(file.native().is_ok(), "{backend} has processes");
        return Ok(Some((driver, file)));
    }
    let error = ensure_kind!(file.native(), Unsupported);
    ensure_eq!((error.operation(), error.file()), (Operation::Native, Some(file.name())));
    Ok(None)
}

fn native(file: &Arc<dyn File>) -> Outcome<&dyn NativeFile> {
    Ok(file.native()?)
}

/// A place of a mapping that is inside and aligned.
fn there<T>(place: Option<T>) -> Outcome<T> {
    place.ok_or_else(|| Failure::new("a place of the mapping is refused"))
}

async fn ranges_of_handles_keep_each_other_out(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    let other_driver = ctx.driver(&Plan::calm())?;
    let (same, other) =
        (driver.create(file.name()).await?, other_driver.create(file.name()).await?);
    let first = native(&file)?;
    // Also between the two kinds, which the system tells from each other.
    for (mine, yours) in OWNERS.into_iter().flat_map(|mine| OWNERS.map(|yours| (mine, yours))) {
        for second in [native(&same)?, native(&other)?] {
            let case = format!("{mine:?} and {yours:?}");
            ensure!(first.try_lock_range(0..10, Shared, mine)?, "{case}: nobody has it");
            ensure!(second.try_lock_range(5..20, Shared, yours)?, "{case}: shared beside shared");
            ensure!(!first.try_lock_range(9..11, Exclusive, mine)?, "{case}: exclusive alone");
            ensure!(!second.range_is_free(0..1, Exclusive, yours)?, "{case}: what first has");
            ensure!(second.range_is_free(0..30, Shared, yours)?, "{case}: shared would be had");
            ensure!(first.try_lock_range(0..5, Exclusive, mine)?, "{case}: a part converted");
            ensure!(!second.try_lock_range(4..5, Shared, yours)?, "{case}: the converted part");
            ensure!(second.try_lock_range(20..21, Exclusive, yours)?, "{case}: what is free");
            ensure!(first.range_is_free(0..10, Shared, mine)?, "{case}: one's own is no obstacle");
            // Far beyond any byte of the file, up to no end.
            ensure!(first.try_lock_range(1 << 62..u64::MAX, Exclusive, mine)?, "{case}: no end");
            let end = driver.limits().offset_max - 1;
            ensure!(!second.try_lock_range(end..end + 1, Shared, yours)?, "{case}: the last byte");
            first.unlock_range(0..3, mine)?;
            ensure!(second.try_lock_range(0..3, Exclusive, yours)?, "{case}: what was given up");
            ensure!(!second.try_lock_range(0..4, Exclusive, yours)?, "{case}: one byte too far");
            first.lock_range(3..5, Shared, mine)?;
            ensure!(second.try_lock_range(3..5, Shared, yours)?, "{case}: made weaker");
            first.unlock_range(0..u64::MAX, mine)?;
            second.lock_range(0..u64::MAX, Exclusive, yours)?;
            ensure!(!first.range_is_free(1000..1001, Shared, mine)?, "{case}: all of it");
            second.unlock_range(0..u64::MAX, yours)?;
            ensure!(first.range_is_free(0..u64::MAX, Exclusive, mine)?, "{case}: nobody's");
        }
    }
    Ok(())
}

async fn a_handles_end_gives_its_ranges_up(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    for owner in OWNERS {
        let me = native(&file)?;
        let free = || me.range_is_free(0..1, Exclusive, owner);
        let closed = driver.create(file.name()).await?;
        native(&closed)?.lock_range(0..1, Exclusive, owner)?;
        ensure!(!free()?, "somebody else has it");
        let mapping = native(&closed)?;
        mapping.set_len(4096)?;
        let mapping = mapping.map(0, 4096)?;
        closed.close().await?;
        ensure!(free()?, "its handle is closed, and a mapping keeps no lock");
        let gone = closed.native().map(drop);
        ensure_kind!(gone, Closed);
        drop(mapping);

        let dropped = driver.create(file.name()).await?;
        native(&dropped)?.lock_range(0..1, Shared, owner)?;
        ensure!(!free()?, "somebody else has it again");
        drop(dropped);
        ensure!(free()?, "its handle is dropped");

        let other = ctx.driver(&Plan::calm())?;
        let kept = other.create(file.name()).await?;
        native(&kept)?.lock_range(0..1, Exclusive, owner)?;
        ensure!(!free()?, "another driver has it");
        drop(other);
        ensure!(free()?, "the driver is gone, though the file is kept");
        ensure_kind!(kept.native().map(drop), Closed);
    }
    Ok(())
}

async fn what_cannot_be_locked_is_refused(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    for owner in OWNERS {
        let me = native(&file)?;
        for range in [5..5, 0..0, u64::MAX - 1..u64::MAX] {
            let error = ensure_kind!(me.try_lock_range(range.clone(), Shared, owner), InvalidInput);
            ensure_eq!(
                (error.operation(), error.file()),
                (Operation::LockRange, Some(file.name()))
            );
            ensure_kind!(me.unlock_range(range, owner), InvalidInput);
        }
        // Nothing is nobody's to give up.
        me.unlock_range(0..100, owner)?;
        let looking = native(&reader)?;
        ensure_kind!(looking.lock_range(0..1, Exclusive, owner), PermissionDenied);
        ensure!(looking.try_lock_range(0..1, Shared, owner)?, "to look is enough for that");
        ensure!(!me.try_lock_range(0..1, Exclusive, owner)?, "and it counts");
        looking.unlock_range(0..1, owner)?;
    }
    Ok(())
}

async fn the_lock_of_the_whole_file_is_in_the_way(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    let other = driver.create(file.name()).await?;
    for owner in OWNERS {
        file.lock(Exclusive).await?;
        ensure!(!native(&other)?.try_lock_range(5..6, Shared, owner)?, "the whole file is locked");
        ensure!(!native(&file)?.try_lock_range(5..6, Shared, owner)?, "by whomever");
        file.unlock().await?;
        native(&other)?.lock_range(5..6, Shared, owner)?;
        file.lock(Shared).await?;
        ensure_kind!(file.lock(Exclusive).await, Locked);
        file.unlock().await?;
        ensure_kind!(file.lock(Exclusive).await, Locked);
        native(&other)?.unlock_range(5..6, owner)?;
    }
    for owner in OWNERS {
        // It would wait for itself, for ever.
        file.lock(Exclusive).await?;
        let error = ensure_kind!(native(&file)?.lock_range(0..1, Shared, owner), Locked);
        ensure_eq!((error.operation(), error.file()), (Operation::LockRange, Some(file.name())));
        file.unlock().await?;
        native(&file)?.lock_range(0..1, Shared, owner)?;
        native(&file)?.unlock_range(0..1, owner)?;
    }
    Ok(())
}

async fn a_process_lock_outlives_closes(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    write(&file, 0, b"kept").await?;
    native(&file)?.lock_range(3..4, Exclusive, LockOwner::Process)?;
    let watcher = driver.create(file.name()).await?;
    // One of the other kind is not the process's, so the system's own answer is seen.
    let held = || {
        native(&watcher)?
            .range_is_free(3..4, Shared, LockOwner::Handle)
            .map(|free| !free)
            .map_err(Failure::from)
    };
    ensure!(held()?, "it was taken");
    // Every way in which a descriptor of the file is closed here.
    let second = ctx.driver(&Plan::calm())?;
    let visitor = second.create(file.name()).await?;
    native(&visitor)?.lock_range(9..10, Shared, LockOwner::Process)?;
    ensure_eq!(contents(&visitor).await?, b"kept");
    visitor.close().await?;
    ensure!(held()?, "another driver closed the file");
    drop(second.open(file.name(), OpenOptions::read_only()).await?);
    let third = ctx.driver(&Plan::calm())?;
    let now = third.open_now(file.name(), OpenOptions::new())?;
    drop((third, now, second));
    ensure!(held()?, "drivers are gone that had it open");
    let again = driver.open(file.name(), OpenOptions::read_only()).await?;
    again.close().await?;
    ensure!(held()?, "a handle of the same driver was closed");
    native(&file)?.unlock_range(3..4, LockOwner::Process)?;
    ensure!(!held()?, "it was given up");
    // What was kept from being closed is closed.
    if let Some(open) = ctx.open_files() {
        ctx.until("nothing is kept open", || ctx.open_files().is_some_and(|left| left <= open))
            .await?;
    }
    drop((watcher, again));
    file.close().await?;
    drop(driver);
    if ctx.open_files().is_some() {
        ctx.until("everything is closed", || ctx.open_files() == Some(0)).await?;
    }
    Ok(())
}

async fn what_one_gives_up_the_others_keep(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    let other = driver.create(file.name()).await?;
    let watcher = driver.create(file.name()).await?;
    let free = |byte: u64| {
        native(&watcher)?
            .range_is_free(byte..byte + 1, Exclusive, LockOwner::Handle)
            .map_err(Failure::from)
    };
    let (first, second) = (native(&file)?, native(&other)?);
    // The system has one owner for both, and would take from one what the other gives up.
    first.lock_range(0..10, Shared, LockOwner::Process)?;
    second.lock_range(5..15, Shared, LockOwner::Process)?;
    first.unlock_range(0..u64::MAX, LockOwner::Process)?;
    for (byte, is_free) in [(0, true), (4, true), (5, false), (14, false), (15, true)] {
        ensure_eq!(free(byte)?, is_free, "byte {byte}");
    }
    first.lock_range(0..5, Exclusive, LockOwner::Process)?;
    second.unlock_range(0..u64::MAX, LockOwner::Process)?;
    for (byte, is_free) in [(0, false), (4, false), (5, true), (14, true)] {
        ensure_eq!(free(byte)?, is_free, "byte {byte}");
    }
    drop(other);
    ensure!(!free(0)?, "closing one handle gives up no other's");
    Ok(())
}

async fn a_mapping_is_the_file(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    let mut expected = pattern(20_000, 1);
    write(&file, 0, &expected).await?;
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    // At a page's start, inside a page, across several, and to the last byte.
    for (at, len) in [(0, 20_000), (4096, 4096), (5_000, 100), (4_000, 9_000), (19_999, 1)] {
        let place = usize::try_from(at).map_err(|_| Failure::new("it is near"))?;
        let (mapping, view) =
            (native(&file)?.map(at, len)?, native(&reader)?.map_read_only(at, len)?);
        ensure_eq!((mapping.len(), view.len()), (len, len));
        let (mut bytes, mut seen) = (vec![0; len], vec![0; len]);
        ensure_eq!((mapping.load(0, &mut bytes), view.load(0, &mut seen)), (Some(()), Some(())));
        ensure_bytes(&bytes, &expected[place..place + len], "mapped")?;
        ensure_bytes(&seen, &bytes, "mapped to be read")?;
        // What is stored is what is read, and what is written is what is mapped.
        let last = there(mapping.u8(len - 1))?;
        last.store(last.load(Ordering::Relaxed) ^ 0xff, Ordering::Release);
        expected[place + len - 1] ^= 0xff;
        ensure_bytes(&contents(&file).await?, &expected, "stored by the mapping")?;
        ensure_eq!(view.load_u8(len - 1), Some(expected[place + len - 1]));
        write(&file, at, b"!").await?;
        expected[place] = b'!';
        ensure_eq!(
            (there(mapping.u8(0))?.load(Ordering::Acquire), view.load_u8(0)),
            (b'!', Some(b'!'))
        );
        // Nothing is seen of what lies beside.
        for (at, count) in [(len, 1), (0, len + 1), (usize::MAX, 2), (1, usize::MAX)] {
            ensure!(mapping.u8s(at, count).is_none(), "{count} bytes at {at} of {len}");
        }
        ensure_eq!(mapping.load(len, &mut [0]), None);
        ensure_eq!(view.load(0, &mut vec![0; len + 1]), None);
        ensure_eq!(mapping.store(len, b"x"), None);
        ensure_eq!(mapping.load(len, &mut []), Some(()));
    }
    let mapping = native(&file)?.map(4097, 64)?;
    for at in 0..16 {
        let aligned = |size: usize| (4097 + at) % size == 0;
        ensure_eq!(mapping.u16(at).is_some(), aligned(2), "16 bits at {at}");
        ensure_eq!(mapping.u32(at).is_some(), aligned(4), "32 bits at {at}");
        ensure_eq!(mapping.u64s(at, 2).is_some(), aligned(8), "64 bits at {at}");
    }
    let counter = there(mapping.u32(3))?;
    counter.store(7, Ordering::Relaxed);
    counter.fetch_add(1, Ordering::AcqRel);
    ensure_eq!(read(&file, 4100, 4).await?, 8_u32.to_ne_bytes());
    ensure_eq!(mapping.store(10, b"several bytes"), Some(()));
    ensure_eq!(read(&file, 4107, 13).await?, b"several bytes");
    // It outlives the handle, and the driver.
    let name = file.name().to_owned();
    let counter = there(mapping.u32(3))?;
    drop((file, reader, driver));
    counter.fetch_add(1, Ordering::AcqRel);
    let outside = ctx.outside(&name).await?;
    ensure_eq!(outside[4100..4104], 9_u32.to_ne_bytes());
    Ok(())
}

async fn what_cannot_be_mapped_is_refused(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    write(&file, 0, &pattern(5_000, 1)).await?;
    let me = native(&file)?;
    for (at, len) in [(0, 0), (0, 5_001), (5_000, 1), (4_999, 2), (1 << 40, 1), (u64::MAX, 1)] {
        let error = ensure_kind!(me.map(at, len), InvalidInput);
        ensure_eq!((error.operation(), error.file()), (Operation::Map, Some(file.name())));
        ensure_kind!(me.map_read_only(at, len), InvalidInput);
    }
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    ensure_kind!(native(&reader)?.map(0, 10), PermissionDenied);
    ensure_eq!(native(&reader)?.map_read_only(0, 10)?.len(), 10);
    Ok(())
}

async fn a_size_is_set_at_once(ctx: &Ctx) -> Outcome {
    let Some((driver, file)) = shared(ctx).await? else { return Ok(()) };
    let second = ctx.driver(&Plan::calm())?;
    let other = second.create(file.name()).await?;
    let me = native(&file)?;
    me.set_len(10_000)?;
    ensure_eq!(other.size_now()?, 10_000, "seen by another driver, without a step");
    let mapping = native(&other)?.map(0, 10_000)?;
    there(mapping.u64(0))?.store(u64::MAX, Ordering::Release);
    me.set_len((1 << 33) + 5)?;
    ensure_eq!(other.size().await?, (1 << 33) + 5);
    let far = native(&other)?.map(1 << 33, 5)?;
    ensure_eq!(far.store(0, b"far  "), Some(()));
    ensure_eq!(read(&file, (1 << 33) - 1, 10).await?, b"\0far  ");
    drop(far);
    me.set_len(4)?;
    me.set_len(16)?;
    let mut expected = [0; 16];
    expected[..4].fill(0xff);
    ensure_eq!(contents(&file).await?, expected);
    ensure_kind!(me.set_len(driver.limits().offset_max + 1), InvalidInput);
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    let error = ensure_kind!(native(&reader)?.set_len(0), PermissionDenied);
    ensure_eq!(error.operation(), Operation::SetLen);
    Ok(())
}
