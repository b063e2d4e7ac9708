//! F3, F7, F8, F9, P1: handles, closing, bytes as they are, files opened ahead.

use littoral::{Buffer, OpenOptions, Shared, SyncKind};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "F3" an_operation_keeps_its_file;
    "F3" reused_handles_redirect_nothing;
    "F7" bytes_are_those_written;
    "F7" another_driver_reads_the_same;
    "F8" a_closed_file_takes_nothing;
    "F8" a_close_waits_for_its_operations;
    "F8" a_close_tells_how_it_went;
    "F8" open_and_remove_wait_for_a_close;
    "F8" one_handle_of_two_closes_alone;
    "F9" one_file_opened_twice_is_one;
    "F9" a_reader_does_not_keep_writers_out;
    "P1" prepared_files_open_at_once;
    "P1" a_prepared_file_is_absent_until_created;
    "P1" a_removed_member_is_absent_and_empty;
    "P1" a_member_with_bytes_is_there;
    "P1" names_outside_the_set;
    "P1" preparing_again_changes_nothing;
}

/// The seed's defect: a write is queued, its file is dropped, another one gets its descriptor.
async fn an_operation_keeps_its_file(ctx: &Ctx) -> Outcome {
    for round in 0..8 {
        let driver = ctx.driver(&Plan::calm())?;
        let (first, second) = (ctx.name(), ctx.name());
        let file = driver.create(&first).await?;
        if let Some(script) = driver.script().filter(|_| round % 2 == 0) {
            script.push(Rule::next(OpKind::Write, Fault::Park));
        }
        let write = file.pwrite(0, Shared::from(b"for the first"));
        drop(file);
        let other = driver.create(&second).await?;
        ctx.settle().await;
        if let Some(script) = driver.script() {
            script.release();
        }
        write.await?;
        ensure_eq!(contents(&other).await?, b"", "round {round}: the second file");
        let file = driver.open(&first, OpenOptions::new()).await?;
        ensure_eq!(contents(&file).await?, b"for the first", "round {round}");
    }
    Ok(())
}

async fn reused_handles_redirect_nothing(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let names: Vec<_> = (0..12).map(|_| ctx.name()).collect();
    let mut writes = Vec::new();
    for (n, name) in (0_u8..).zip(&names) {
        let file = driver.create(name).await?;
        for part in 0..5 {
            writes.push(file.pwrite(part * 100, Shared::from(vec![n; 100])));
        }
        // Dropped with its writes in flight; the next open may get its descriptor.
    }
    for write in writes {
        write.await?;
    }
    for (n, name) in (0_u8..).zip(&names) {
        let file = driver.open(name, OpenOptions::read_only()).await?;
        ensure_bytes(&contents(&file).await?, &[n; 500], name)?;
    }
    Ok(())
}

async fn bytes_are_those_written(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    let mut expected = pattern(10_000, 1);
    write(&file, 0, &expected).await?;
    write(&file, 9_000, &pattern(9_000, 2)).await?;
    expected.truncate(9_000);
    expected.extend(pattern(9_000, 2));
    file.truncate(17_500).await?;
    expected.truncate(17_500);
    file.sync(SyncKind::Full).await?;
    let name = file.name().to_owned();
    ensure_bytes(&ctx.outside(&name).await?, &expected, "seen from outside, open")?;
    file.close().await?;
    ensure_bytes(&ctx.outside(&name).await?, &expected, "seen from outside, closed")
}

async fn another_driver_reads_the_same(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let bytes = pattern(70_000, 3);
    write(&file, 0, &bytes).await?;
    file.close().await?;
    let next = ctx.driver(&Plan::default())?;
    let again = next.open(file.name(), OpenOptions::new()).await?;
    ensure_bytes(&contents(&again).await?, &bytes, "another driver, beside the first")?;
    drop(driver);
    write(&again, 70_000, b"more").await?;
    again.close().await?;
    ensure_eq!(ctx.outside(again.name()).await?.len(), 70_004);
    Ok(())
}

async fn a_closed_file_takes_nothing(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"before").await?;
    file.close().await?;
    ensure_kind!(file.pwrite(0, Shared::from(b"after!")).await, Closed);
    ensure_kind!(file.pwritev(0, littoral::Vector::from(Shared::from(b"x"))).await, Closed);
    ensure_kind!(file.pread(0, Buffer::with_capacity(3)).await, Closed);
    ensure_kind!(file.preadv(0, vec![Buffer::with_capacity(3)]).await, Closed);
    ensure_kind!(file.truncate(0).await, Closed);
    ensure_kind!(file.sync(SyncKind::Data).await, Closed);
    ensure_kind!(file.size().await, Closed);
    ensure_kind!(file.size_now(), Closed);
    let error = ensure_kind!(file.close().await, Closed);
    ensure_eq!(error.file(), Some(file.name()));
    ensure_eq!(ctx.outside(file.name()).await?, b"before");
    Ok(())
}

async fn a_close_waits_for_its_operations(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    driver.forget_trace();
    let write = file.pwrite(0, Shared::from(b"bytes"));
    let sync = file.sync(SyncKind::Data);
    let mut close = file.close();
    ctx.settle().await;
    if let Some(script) = driver.script() {
        ensure!(close.try_take().is_none(), "a close that did not wait");
        ensure_eq!(driver.trace().count(OpKind::Close), 0, "closes");
        script.release();
    }
    write.await?;
    sync.await?;
    close.await?;
    ensure_eq!(ctx.outside(file.name()).await?, b"bytes");
    Ok(())
}

async fn a_close_tells_how_it_went(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Close, Fault::Fail(Errno::IO)));
        let error = ensure_kind!(file.close().await, Io);
        ensure_eq!(error.code(), Some(Errno::IO));
        ensure_eq!(error.file(), Some(file.name()));
        // The handle is gone all the same.
        driver.remove(file.name()).await?;
    } else {
        file.close().await?;
        ensure!(ctx.exists_outside(file.name()).await?);
    }
    Ok(())
}

async fn open_and_remove_wait_for_a_close(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::calm())?;
    for round in 0..6 {
        let name = ctx.name();
        let file = driver.create(&name).await?;
        if let Some(script) = driver.script().filter(|_| round % 2 == 0) {
            script.push(Rule::next(OpKind::Write, Fault::Park));
        }
        let bytes = pattern(50_000, round);
        let write = file.pwrite(0, Shared::from(bytes.clone()));
        drop(file);
        // The last handle is gone: its close has begun, and these stand behind it.
        let mut next = driver.open(&name, OpenOptions::new());
        ctx.settle().await;
        if let Some(script) = driver.script().filter(|_| round % 2 == 0) {
            ensure!(next.try_take().is_none(), "round {round}: an open that did not wait");
            script.release();
        }
        write.await?;
        let file = next.await?;
        ensure_bytes(&contents(&file).await?, &bytes, "after the reopen")?;
        file.pwrite(0, Shared::from(b"detached")).detach();
        drop(file);
        driver.remove(&name).await?;
        ensure!(!ctx.exists_outside(&name).await?, "round {round}: it was removed");
    }
    Ok(())
}

async fn one_handle_of_two_closes_alone(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let second = driver.open(file.name(), OpenOptions::new()).await?;
    file.close().await?;
    ensure_kind!(file.size().await, Closed);
    write(&second, 0, b"goes on").await?;
    ensure_eq!(contents(&second).await?, b"goes on");
    ensure_kind!(driver.remove(second.name()).await, Busy);
    second.close().await?;
    ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    driver.remove(second.name()).await?;
    Ok(())
}

async fn one_file_opened_twice_is_one(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let second = driver.open(file.name(), OpenOptions::new()).await?;
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    let third = driver.create(file.name()).await?;
    write(&file, 0, b"one").await?;
    write(&second, 3, b"two").await?;
    write(&third, 6, b"six").await?;
    ensure_eq!(read(&reader, 0, 20).await?, b"onetwosix");
    ensure_kind!(reader.pwrite(0, Shared::from(b"x")).await, PermissionDenied);
    ensure_kind!(reader.truncate(0).await, PermissionDenied);
    drop((file, second, third));
    ensure_eq!(read(&reader, 0, 20).await?, b"onetwosix");
    Ok(())
}

/// The first open is for reading: where there is one handle, it must serve the writer as well.
async fn a_reader_does_not_keep_writers_out(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let name = file.name().to_owned();
    write(&file, 0, b"old").await?;
    file.close().await?;
    let reader = driver.open(&name, OpenOptions::read_only()).await?;
    ensure_eq!(contents(&reader).await?, b"old");
    let writer = driver.open(&name, OpenOptions::new()).await?;
    write(&writer, 3, b"new").await?;
    writer.truncate(5).await?;
    writer.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&reader).await?, b"oldne");
    ensure_kind!(reader.pwrite(0, Shared::from(b"x")).await, PermissionDenied);
    writer.close().await?;
    ensure_eq!(contents(&reader).await?, b"oldne");
    let writer = driver.create(&name).await?;
    write(&writer, 0, b"N").await?;
    ensure_eq!(read(&reader, 0, 3).await?, b"Nld");
    Ok(())
}

async fn prepared_files_open_at_once(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.prepare(&["main", "main-journal"], 0).await?;
    let main = driver.open_now("main", OpenOptions::new().create(true))?;
    let journal = driver.open_now("main-journal", OpenOptions::new().create_new(true))?;
    write(&main, 0, b"database").await?;
    write(&journal, 0, b"journal").await?;
    main.sync(SyncKind::Data).await?;
    journal.sync(SyncKind::Data).await?;
    let again = driver.open_now("main", OpenOptions::read_only())?;
    ensure_eq!(contents(&again).await?, b"database");
    ensure_eq!(again.name(), "main");
    ensure!(driver.exists_now("main")?, "it exists");
    drop((main, journal, again));
    // Prepared files stay open, so that they open at once again.
    let main = driver.open_now("main", OpenOptions::new())?;
    ensure_eq!(contents(&main).await?, b"database");
    ensure_eq!(ctx.outside("main-journal").await?, b"journal");
    Ok(())
}

async fn a_prepared_file_is_absent_until_created(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.prepare(&["a"], 0).await?;
    ensure!(!driver.exists_now("a")?, "it was never created");
    ensure_kind!(driver.open_now("a", OpenOptions::new()), NotFound);
    ensure_kind!(driver.open_now("a", OpenOptions::read_only()), NotFound);
    ensure_kind!(driver.remove_now("a"), NotFound);
    let file = driver.open_now("a", OpenOptions::new().create_new(true))?;
    ensure!(driver.exists_now("a")?, "it was created");
    ensure_kind!(driver.open_now("a", OpenOptions::new().create_new(true)), AlreadyExists);
    ensure_eq!(contents(&file).await?, b"");
    Ok(())
}

async fn a_removed_member_is_absent_and_empty(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.prepare(&["journal"], 0).await?;
    for round in 0..5 {
        let file = driver.open_now("journal", OpenOptions::new().create_new(true))?;
        ensure_eq!(contents(&file).await?, b"", "round {round}: a new file");
        write(&file, 0, &pattern(3000, round)).await?;
        ensure_kind!(driver.remove_now("journal"), Busy);
        file.close().await?;
        driver.remove_now("journal")?;
        ensure!(!driver.exists_now("journal")?, "round {round}: it was removed");
        ensure_kind!(driver.open_now("journal", OpenOptions::new()), NotFound);
        ensure_kind!(driver.remove_now("journal"), NotFound);
    }
    // The same by the operation that may wait.
    let file = driver.open("journal", OpenOptions::new().create(true)).await?;
    write(&file, 0, b"once more").await?;
    ensure_kind!(driver.remove("journal").await, Busy);
    file.close().await?;
    driver.remove("journal").await?;
    ensure!(!driver.exists_now("journal")?, "it was removed");
    ensure_kind!(driver.open("journal", OpenOptions::new()).await, NotFound);
    ensure_kind!(driver.remove("journal").await, NotFound);
    let outside = ctx.outside("journal").await.unwrap_or_default();
    ensure_eq!(outside, b"", "what is left of it on the storage");
    Ok(())
}

async fn a_member_with_bytes_is_there(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let name = file.name().to_owned();
    write(&file, 0, b"from before").await?;
    file.close().await?;
    drop(driver);
    let driver = ctx.driver(&Plan::default())?;
    driver.prepare(&[&name, "new"], 0).await?;
    ensure!(driver.exists_now(&name)?, "a file with bytes exists");
    ensure!(!driver.exists_now("new")?, "an empty one does not");
    let file = driver.open_now(&name, OpenOptions::new())?;
    ensure_eq!(contents(&file).await?, b"from before");
    Ok(())
}

async fn names_outside_the_set(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.prepare(&["inside"], 0).await?;
    if driver.limits().may_block {
        let file = driver.open_now("outside", OpenOptions::new().create(true))?;
        write(&file, 0, b"native").await?;
        ensure!(driver.exists_now("outside")?, "it was created");
        file.close().await?;
        driver.remove_now("outside")?;
        ensure!(!driver.exists_now("outside")?, "it was removed");
        ensure_kind!(driver.open_now("outside", OpenOptions::new()), NotFound);
    } else {
        let create = OpenOptions::new().create(true);
        let error = ensure_kind!(driver.open_now("outside", create), NotPrepared);
        ensure_eq!(error.file(), Some("outside"));
        ensure_kind!(driver.exists_now("outside"), NotPrepared);
        ensure_kind!(driver.remove_now("outside"), NotPrepared);
    }
    ensure_kind!(driver.open_now("../x", OpenOptions::new()), InvalidInput);
    Ok(())
}

async fn preparing_again_changes_nothing(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let names: Vec<_> = (0..20).map(|n| format!("prepared-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    driver.prepare(&names, 0).await?;
    let file = driver.open_now(names[7], OpenOptions::new().create(true))?;
    write(&file, 0, b"bytes").await?;
    let many: Vec<_> = (0..1000).map(|n| names[n % 20]).collect();
    driver.prepare(&many, 0).await?;
    ensure_eq!(contents(&file).await?, b"bytes");
    ensure!(driver.exists_now(names[7])?, "it was created");
    ensure!(!driver.exists_now(names[8])?, "it was not");
    Ok(())
}
