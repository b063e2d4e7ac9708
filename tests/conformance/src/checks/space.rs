//! A2, A3, A4: holes, ranges of zeros, and where the data is; and files that are mostly hole.

use std::sync::Arc;

use littoral::{ErrorKind, File, OpenOptions, Operation, Shared, SyncKind};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Failure, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "A2" a_hole_reads_as_zeros;
    "A2" punching_is_checked;
    "A3" zeros_are_as_if_they_were_written;
    "A3" zeros_are_written_where_there_is_no_call;
    "A3" a_range_that_failed_is_lost_and_told;
    "A3" zeros_keep_their_order;
    "A4" data_and_holes_are_found;
    "A4" seeking_is_checked;
    "W4" sizes_past_a_tebibyte_are_not_cut;
}

async fn a_hole_reads_as_zeros(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let mut expected = pattern(300_000, 1);
    write(&file, 0, &expected).await?;
    match file.punch_hole(70_001, 150_000).await {
        Ok(()) => {
            expected[70_001..220_001].fill(0);
            ensure_bytes(&contents(&file).await?, &expected, "a hole in the middle")?;
            // Past the end there is nothing to be done.
            file.punch_hole(290_000, 1 << 33).await?;
            expected[290_000..].fill(0);
            ensure_bytes(&contents(&file).await?, &expected, "a hole over the end")?;
            file.punch_hole(1 << 34, 1 << 20).await?;
            file.sync(SyncKind::Full).await?;
            ensure_bytes(&ctx.outside(file.name()).await?, &expected, "seen from outside")?;
            write(&file, 100_000, b"again").await?;
            expected[100_000..100_005].copy_from_slice(b"again");
            ensure_bytes(&contents(&file).await?, &expected, "written into a hole")
        }
        Err(error) => {
            let error = ensure_kind!(Err::<(), _>(error), Unsupported);
            ensure_eq!(
                (error.operation(), error.file()),
                (Operation::PunchHole, Some(file.name()))
            );
            ensure_bytes(&contents(&file).await?, &expected, "as it was")?;
            // The bytes are not zeros, and who does not look must not think so.
            file.punch_hole(0, 10).detach();
            let lost = ensure_kind!(file.sync(SyncKind::Data).await, WriteLost);
            ensure_eq!(lost.cause().map(littoral::Error::kind), Some(ErrorKind::Unsupported));
            Ok(())
        }
    }
}

async fn punching_is_checked(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"untouched").await?;
    file.punch_hole(3, 0).await?;
    file.zero_range(300, 0).await?;
    let max = driver.limits().offset_max;
    for (at, len) in [(u64::MAX, 1), (1, max), (max, 1)] {
        ensure_kind!(file.punch_hole(at, len).await, InvalidInput);
        ensure_kind!(file.zero_range(at, len).await, InvalidInput);
    }
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    ensure_kind!(reader.punch_hole(0, 1).await, PermissionDenied);
    ensure_kind!(reader.zero_range(0, 1).await, PermissionDenied);
    ensure_eq!(contents(&file).await?, b"untouched");
    reader.close().await?;
    ensure_kind!(reader.punch_hole(0, 1).await, Closed);
    let error = ensure_kind!(reader.zero_range(0, 1).await, Closed);
    ensure_eq!(error.operation(), Operation::ZeroRange);
    Ok(())
}

async fn zeros_are_as_if_they_were_written(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let mut expected = pattern(20_000, 1);
    write(&file, 0, &expected).await?;
    // Inside, one byte, over the end, behind the end, and more than one block of zeros.
    let far = 3_000_000;
    for (at, len) in [(4_095, 8_194), (19_000, 1), (19_990, 20), (30_000, 5), (30_003, far)] {
        file.zero_range(at as u64, len as u64).await?;
        expected.resize(expected.len().max(at + len), 0);
        expected[at..at + len].fill(0);
        ensure_eq!(file.size().await?, expected.len() as u64, "after {at} and {len}");
        ensure_bytes(&contents(&file).await?, &expected, &format!("{len} zeros at {at}"))?;
    }
    file.sync(SyncKind::Data).await?;
    ensure_bytes(&ctx.outside(file.name()).await?, &expected, "seen from outside")
}

/// A file system may have holes and no zeros, or neither.
async fn zeros_are_written_where_there_is_no_call(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    for punches in [true, false] {
        let mut expected = pattern(50_000, u8::from(punches));
        file.truncate(0).await?;
        write(&file, 0, &expected).await?;
        driver.forget_trace();
        if let Some(script) = driver.script() {
            script.push(Rule::next(OpKind::Zero, Fault::Fail(Errno::OPNOTSUPP)));
            if !punches {
                script.push(Rule::next(OpKind::Punch, Fault::Fail(Errno::OPNOTSUPP)));
                script.push(Rule::next(OpKind::Write, Fault::Short(1_000)));
                script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INTR)));
            }
        }
        file.zero_range(10_000, 2_500_000).await?;
        expected.resize(2_510_000, 0);
        expected[10_000..].fill(0);
        ensure_bytes(&contents(&file).await?, &expected, "by other means")?;
        if driver.script().is_none() {
            continue;
        }
        let writes = driver.trace().writes();
        let by_hole = driver.trace().visits(OpKind::Punch);
        if punches && by_hole.iter().any(|visit| visit.ended.is_some_and(|end| end.1.is_ok())) {
            ensure_eq!(writes, [(2_509_999, 1)], "the last byte says where the end is");
        } else {
            ensure!(writes.len() >= 3, "a mebibyte at a time: {writes:?}");
            let written = writes.iter().all(|write| write.1 <= 1 << 20);
            ensure!(written, "more than a mebibyte at once: {writes:?}");
        }
    }
    // Nothing is resumed after a cancel.
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Zero, Fault::Park));
        let zeros = file.zero_range(0, 100);
        ctx.until("it is parked", || driver.trace().parked(OpKind::Zero)).await?;
        zeros.cancel();
        script.release();
        match zeros.await {
            Ok(()) => ensure_eq!(read(&file, 0, 100).await?, [0; 100]),
            Err(error) => ensure_eq!(error.kind(), ErrorKind::Cancelled),
        }
    }
    Ok(())
}

async fn a_range_that_failed_is_lost_and_told(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"0123456789").await?;
    let max = driver.limits().offset_max;
    // Refused, and nobody looks.
    file.zero_range(max, 5).detach();
    let lost = ensure_kind!(file.sync(SyncKind::Data).await, WriteLost);
    ensure_eq!(lost.cause().map(littoral::Error::operation), Some(Operation::ZeroRange));
    file.sync(SyncKind::Data).await?;
    if let Some(script) = driver.script() {
        for (kind, operation) in
            [(OpKind::Zero, Operation::ZeroRange), (OpKind::Punch, Operation::PunchHole)]
        {
            let start = || match kind {
                OpKind::Zero => file.zero_range(2, 3),
                _ => file.punch_hole(2, 3),
            };
            script.push(Rule::next(kind, Fault::Fail(Errno::IO)));
            let error = ensure_kind!(start().await, Io);
            ensure_eq!(error.operation(), operation);
            file.sync(SyncKind::Data).await?;
            script.push(Rule::next(kind, Fault::Fail(Errno::IO)));
            start().detach();
            let lost = ensure_kind!(file.sync(SyncKind::Full).await, WriteLost);
            ensure_eq!(lost.cause().map(littoral::Error::operation), Some(operation));
            // A file that lost a flush takes neither.
            script.push(Rule::next(OpKind::Sync, Fault::Fail(Errno::IO)));
            ensure_kind!(file.sync(SyncKind::Data).await, Io);
            ensure_kind!(start().await, SyncLost);
            file.acknowledge_sync_loss();
        }
    }
    ensure_eq!(contents(&file).await?, b"0123456789");
    Ok(())
}

async fn zeros_keep_their_order(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let options = OpenOptions::new().create(true).ordered(true);
    let file = driver.open(&ctx.name(), options).await?;
    for round in 0..8 {
        let bytes = pattern(9_000, round);
        let writing = file.pwrite(0, Shared::from(bytes.clone()));
        let zeros = file.zero_range(1_000, 5_000);
        let after = file.pwrite(4_000, Shared::from(b"over the zeros"));
        let reading = file.pread(0, littoral::Buffer::with_capacity(9_000));
        let place = file.seek_hole(0);
        let sync = file.sync(SyncKind::Data);
        // It stands between what came before and what comes after.
        let cut = file.truncate(4_500);
        let tail = file.zero_range(4_400, 200);
        let mut expected = bytes;
        expected[1_000..6_000].fill(0);
        expected[4_000..4_014].copy_from_slice(b"over the zeros");
        ensure_bytes(&reading.await?, &expected, "in the order of submission")?;
        let place = place.await?;
        ensure!(place.is_some_and(|at| at <= 9_000), "a hole at {place:?}");
        expected.truncate(4_400);
        expected.resize(4_600, 0);
        for done in [writing, zeros, after, sync, cut, tail] {
            done.await?;
        }
        ensure_bytes(&contents(&file).await?, &expected, "after the truncate")?;
        file.truncate(0).await?;
    }
    Ok(())
}

/// The ranges of a file that are data, from its start to its end.
async fn extents(file: &Arc<dyn File>) -> Outcome<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(data) = file.seek_data(at).await? {
        ensure!(data >= at, "data before the place where the search began");
        let end = file.seek_hole(data).await?;
        let end = end.ok_or_else(|| Failure::new("data without an end"))?;
        ensure!(end > data, "an extent of nothing at {data}");
        found.push((data, end));
        at = end;
    }
    Ok(found)
}

async fn data_and_holes_are_found(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    ensure_eq!(file.seek_data(0).await?, None, "an empty file has no data");
    ensure_eq!(file.seek_hole(0).await?, None, "and ends before there is a hole");
    let (size, bytes) = (4 << 20, pattern(70_000, 1));
    let places = [300_000, (2 << 20) + 17];
    file.truncate(size).await?;
    for at in places {
        write(&file, at, &bytes).await?;
    }
    let found = extents(&file).await?;
    for at in places {
        let held = found.iter().any(|(from, to)| *from <= at && at + 70_000 <= *to);
        ensure!(held, "what was written at {at} is in none of {found:?}");
    }
    ensure!(found.iter().all(|(_, to)| *to <= size), "data past the end: {found:?}");
    let mut expected = vec![0; 4 << 20];
    for (from, to) in &found {
        let len = usize::try_from(to - from).map_err(|_| Failure::new("an extent too long"))?;
        let at = usize::try_from(*from).map_err(|_| Failure::new("an extent too far"))?;
        expected[at..at + len].copy_from_slice(&read(&file, *from, len).await?);
    }
    ensure_bytes(&contents(&file).await?, &expected, "outside of all extents there are zeros")?;
    if driver.limits().one_handle_per_file {
        ensure_eq!(found, [(0, size)], "who is not told of holes has data everywhere");
    }
    for at in [size, size + 1, 1 << 40] {
        ensure_eq!(file.seek_data(at).await?, None);
        ensure_eq!(file.seek_hole(at).await?, None);
    }
    // A search sees what is finished.
    write(&file, size, b"one more").await?;
    ensure_eq!(file.seek_data(size + 3).await?, Some(size + 3));
    ensure_eq!(file.seek_hole(size + 3).await?, Some(size + 8));
    Ok(())
}

async fn seeking_is_checked(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"bytes").await?;
    let past = driver.limits().offset_max + 1;
    ensure_kind!(file.seek_data(past).await, InvalidInput);
    let error = ensure_kind!(file.seek_hole(u64::MAX).await, InvalidInput);
    ensure_eq!(error.operation(), Operation::SeekHole);
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    ensure_eq!(reader.seek_data(2).await?, Some(2));
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Seek, Fault::Fail(Errno::INTR)).times(2));
        ensure_eq!(reader.seek_hole(0).await?, Some(5), "an interruption is retried");
        script.push(Rule::next(OpKind::Seek, Fault::Fail(Errno::IO)));
        ensure_kind!(reader.seek_data(0).await, Io);
    }
    reader.close().await?;
    ensure_kind!(reader.seek_data(0).await, Closed);
    Ok(())
}

async fn sizes_past_a_tebibyte_are_not_cut(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"first bytes").await?;
    let far = (1 << 40) + (1 << 33) + 5;
    match file.truncate(far).await {
        Ok(()) => {
            ensure_eq!(file.size().await?, far);
            ensure_eq!(read(&file, far - 3, 9).await?, [0; 3]);
        }
        // The quota of a browser, or the largest file of a file system.
        Err(error) => {
            ensure_kind!(Err::<(), _>(error), StorageFull | InvalidInput | Io);
            ensure!(file.size().await? <= far, "the size is not negative");
            file.truncate(11).await?;
            ensure_eq!(contents(&file).await?, b"first bytes");
            return Ok(());
        }
    }
    if driver.limits().one_handle_per_file {
        // What no quota forbids here, a disk may yet be too small for: nothing is written there.
        file.truncate(11).await?;
        ensure_eq!(contents(&file).await?, b"first bytes");
        return Ok(());
    }
    write(&file, far, b"the last").await?;
    ensure_eq!(file.size().await?, far + 8);
    ensure_eq!(file.size_now()?, far + 8);
    ensure_eq!(read(&file, far - 2, 20).await?, b"\0\0the last");
    ensure_eq!(file.metadata().await?.size, far + 8);
    let middle = 1 << 39;
    file.zero_range(middle, 100).await?;
    file.pwrite(middle + 50, Shared::from(b"half way")).await?;
    ensure_eq!(read(&file, middle + 48, 12).await?, b"\0\0half way\0\0");
    let data = file.seek_data(1 << 20).await?;
    ensure!(data.is_some_and(|at| at <= middle + 50 && at > 1 << 38), "data at {data:?}");
    let hole = file.seek_hole(middle + 50).await?;
    ensure!(hole.is_some_and(|at| at > middle + 57 && at < far), "a hole at {hole:?}");
    match file.punch_hole(1, far).await {
        Ok(()) => ensure_eq!(read(&file, middle + 50, 8).await?, [0; 8]),
        Err(error) => drop(ensure_kind!(Err::<(), _>(error), Unsupported)),
    }
    ensure_eq!(file.size().await?, far + 8);
    file.truncate((1 << 32) + 1).await?;
    ensure_eq!(file.size().await?, (1 << 32) + 1);
    file.sync(SyncKind::Full).await?;
    file.truncate(1).await?;
    ensure_eq!(contents(&file).await?, b"f");
    Ok(())
}
