//! F5, P1, A1, F1: files without a name, space reserved, and how files are created.

use littoral::{Buffer, OpenOptions, Shared, SyncKind};

use super::family;
use crate::ctx::{contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "F5" a_temporary_file_has_no_name;
    "F5" temporary_files_are_apart;
    "F5" a_temporary_file_is_gone_with_its_handle;
    "F5" an_unwanted_temporary_file_is_gone;
    "P1" temporary_files_opened_ahead;
    "A1" space_is_reserved_or_refused;
    "A1" reserving_is_checked;
    "F1" options_of_a_creation;
}

async fn a_temporary_file_has_no_name(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let file = driver.temporary(OpenOptions::new()).await?;
    let bytes = pattern(20_000, 1);
    write(&file, 0, &bytes).await?;
    file.sync(SyncKind::Full).await?;
    file.truncate(15_000).await?;
    ensure_bytes(&contents(&file).await?, &bytes[..15_000], "it reads as any file")?;
    ensure_eq!(file.size().await?, 15_000);
    ensure_eq!(driver.list("").await?, []);
    // Its name is for texts: nobody can say it.
    ensure_kind!(driver.open(file.name(), OpenOptions::new()).await, InvalidInput);
    ensure_kind!(driver.remove(file.name()).await, InvalidInput);
    let error = ensure_kind!(file.pwrite(u64::MAX, Shared::from(b"x")).await, InvalidInput);
    ensure_eq!(error.file(), Some(file.name()));
    ensure_kind!(driver.temporary(OpenOptions::read_only()).await, InvalidInput);
    Ok(())
}

async fn temporary_files_are_apart(ctx: &Ctx) -> Outcome {
    let (driver, other) = (ctx.driver(&Plan::default())?, ctx.driver(&Plan::default())?);
    let mut opens = Vec::new();
    for _ in 0..5 {
        opens.push(driver.temporary(OpenOptions::new()));
        opens.push(other.temporary(OpenOptions::new()));
    }
    let mut files = Vec::new();
    for open in opens {
        files.push(open.await?);
    }
    for (n, file) in (1_u8..).zip(&files) {
        write(file, 0, &[n; 100]).await?;
    }
    let mut identities = std::collections::HashSet::new();
    for (n, file) in (1_u8..).zip(&files) {
        ensure_eq!(contents(file).await?, [n; 100]);
        ensure!(identities.insert(file.metadata().await?.identity), "two are one");
    }
    Ok(())
}

async fn a_temporary_file_is_gone_with_its_handle(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    for round in 0..3 {
        let file = driver.temporary(OpenOptions::new()).await?;
        let name = file.name().to_owned();
        write(&file, 0, b"bytes").await?;
        if round == 0 {
            file.close().await?;
            ensure_kind!(file.size().await, Closed);
        } else {
            let read = file.pread(0, Buffer::with_capacity(9));
            drop(file);
            ensure_eq!(&read.await?[..], b"bytes", "what is under way keeps it");
        }
        driver.open("by", OpenOptions::new().create(true)).await?.close().await?;
        for _ in 0..200 {
            if !ctx.exists_outside(&name).await? {
                break;
            }
            ctx.settle().await;
        }
        ensure!(!ctx.exists_outside(&name).await?, "round {round}: {name} is left");
    }
    ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    Ok(())
}

async fn an_unwanted_temporary_file_is_gone(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    drop(driver.temporary(OpenOptions::new()));
    let cancelled = driver.temporary(OpenOptions::new());
    cancelled.cancel();
    drop(cancelled.await);
    let file = driver.temporary(OpenOptions::new()).await?;
    write(&file, 0, b"still works").await?;
    drop(file);
    drop(driver);
    // A new driver of the same folder meets nothing of it.
    let driver = ctx.driver(&Plan::default())?;
    for _ in 0..50 {
        ctx.settle().await;
    }
    ensure_eq!(driver.list("").await?, []);
    ensure!(ctx.open_files().is_none_or(|count| count == 0), "{:?} are open", ctx.open_files());
    Ok(())
}

async fn temporary_files_opened_ahead(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.prepare(&["member"], 3).await?;
    driver.prepare(&[], 1).await?;
    let mut files = Vec::new();
    for n in 0..4_u8 {
        let file = driver.temporary_now(OpenOptions::new())?;
        ensure_eq!(contents(&file).await?, b"", "{n}: a fresh one");
        write(&file, 0, &[n; 50]).await?;
        files.push(file);
    }
    for (n, file) in (0_u8..).zip(&files) {
        ensure_eq!(read(file, 0, 99).await?, [n; 50]);
    }
    let more = driver.temporary_now(OpenOptions::new());
    if driver.limits().may_block {
        write(&more?, 0, b"one that was not opened ahead").await?;
    } else {
        ensure_kind!(more, NotPrepared);
    }
    ensure_kind!(driver.temporary_now(OpenOptions::read_only()), InvalidInput);
    // All or nothing: with the member and four above, the table of files has no room for so many.
    ensure_kind!(driver.prepare(&["one more"], 1000).await, OutOfResources);
    // What was opened for it is given back: there is room again, once it is closed.
    let mut opened = driver.create("later").await;
    for _ in 0..400 {
        if opened.is_ok() {
            break;
        }
        ctx.settle().await;
        opened = driver.create("later").await;
    }
    let opened = opened?;
    ensure_eq!(opened.name(), "later");
    ensure_eq!(driver.list("").await?.iter().filter(|e| e.name.starts_with('.')).count(), 0);
    Ok(())
}

async fn space_is_reserved_or_refused(ctx: &Ctx) -> Outcome {
    let (_driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"kept").await?;
    match file.allocate(0, 100_000).await {
        Ok(()) => {
            ensure_eq!(file.size().await?, 100_000);
            let bytes = contents(&file).await?;
            ensure_eq!(&bytes[..4], b"kept");
            ensure!(bytes[4..].iter().all(|&byte| byte == 0), "it grows with zeros");
            file.allocate(10, 50).await?;
            ensure_eq!(file.size().await?, 100_000, "never shorter");
            ensure_eq!(&contents(&file).await?[..4], b"kept");
            let sync = file.sync(SyncKind::Full);
            file.truncate(2).await?;
            sync.await?;
            ensure_eq!(contents(&file).await?, b"ke");
        }
        Err(error) => {
            let error = ensure_kind!(Err::<(), _>(error), Unsupported);
            ensure_eq!(error.file(), Some(file.name()));
            ensure_eq!(contents(&file).await?, b"kept");
        }
    }
    // Nothing was lost, whatever it said.
    file.allocate(0, 10).detach();
    file.sync(SyncKind::Data).await?;
    Ok(())
}

async fn reserving_is_checked(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    file.allocate(7, 0).await?;
    ensure_eq!(file.size().await?, 0, "nothing reserves nothing");
    ensure_kind!(file.allocate(u64::MAX, 1).await, InvalidInput);
    ensure_kind!(file.allocate(1, driver.limits().offset_max).await, InvalidInput);
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    ensure_kind!(reader.allocate(0, 1).await, PermissionDenied);
    reader.close().await?;
    ensure_kind!(reader.allocate(0, 1).await, Closed);
    Ok(())
}

async fn options_of_a_creation(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let create = OpenOptions::new().create(true);
    let file = driver.open("private", create.mode(0o600).no_follow(true)).await?;
    write(&file, 0, b"bytes").await?;
    file.close().await?;
    // Opening it again changes nothing, with whatever mode.
    let file = driver.open("private", create.mode(0o644)).await?;
    ensure_eq!(contents(&file).await?, b"bytes");
    ensure_kind!(driver.open("other", create.mode(0o1_0000)).await, InvalidInput);
    ensure_kind!(driver.open("other", create.mode(0o4755)).await, InvalidInput);
    ensure_kind!(driver.open_now("other", create.mode(0o1_0000)), InvalidInput);
    ensure!(!ctx.exists_outside("other").await?, "a refused open created a file");
    Ok(())
}
