//! F1, F2, F4, F6: opening and removing, and what a name may be.

use littoral::{OpenOptions, Shared, SyncKind, Vector};

use super::family;
use crate::ctx::{contents, read, write};
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "F1" a_missing_file_is_not_found;
    "F1" create_never_truncates;
    "F1" create_new_wants_none;
    "F1" a_directory_is_no_file;
    "F1" opens_of_one_name_at_once;
    "F1" a_full_table_of_files_creates_nothing;
    "F2" a_read_only_file_is_not_written;
    "F4" removing_a_missing_name;
    "F4" an_open_file_is_busy;
    "F6" names_that_break_the_rule;
    "F6" names_that_keep_the_rule;
}

async fn a_missing_file_is_not_found(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let name = ctx.name();
    for options in [OpenOptions::new(), OpenOptions::read_only()] {
        let error = ensure_kind!(driver.open(&name, options).await, NotFound);
        ensure_eq!(error.file(), Some(name.as_str()));
        ensure!(!ctx.exists_outside(&name).await?, "a failed open left a file");
    }
    ensure_kind!(driver.open("no/such/folder", OpenOptions::new()).await, NotFound);
    Ok(())
}

async fn create_never_truncates(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"kept").await?;
    let again = driver.create(file.name()).await?;
    ensure_eq!(contents(&again).await?, b"kept", "while it is open");
    file.close().await?;
    again.close().await?;
    let again = driver.create(file.name()).await?;
    ensure_eq!(contents(&again).await?, b"kept", "after it was closed");
    Ok(())
}

async fn create_new_wants_none(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let (name, fresh) = (ctx.name(), OpenOptions::new().create_new(true));
    let file = driver.open(&name, fresh).await?;
    write(&file, 0, b"kept").await?;
    ensure_kind!(driver.open(&name, fresh).await, AlreadyExists);
    ensure_eq!(contents(&file).await?, b"kept", "while it is open");
    file.close().await?;
    ensure_kind!(driver.open(&name, fresh).await, AlreadyExists);
    driver.remove(&name).await?;
    let file = driver.open(&name, fresh).await?;
    ensure_eq!(contents(&file).await?, b"");
    Ok(())
}

async fn a_directory_is_no_file(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    // Something must have been opened for the folder to be there in a browser.
    driver.create(&ctx.name()).await?;
    ctx.make_directory("folder").await?;
    for options in [OpenOptions::new(), OpenOptions::read_only(), OpenOptions::new().create(true)] {
        ensure_kind!(driver.open("folder", options).await, IsADirectory);
    }
    ensure_kind!(driver.remove("folder").await, IsADirectory);
    Ok(())
}

async fn opens_of_one_name_at_once(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let name = ctx.name();
    let options = OpenOptions::new().create(true);
    let opens: Vec<_> = (0..6).map(|_| driver.open(&name, options)).collect();
    let removed = driver.remove(&name);
    let mut files = Vec::new();
    for open in opens {
        files.push(open.await?);
    }
    ensure_kind!(removed.await, Busy);
    for (n, file) in (0_u8..).zip(&files) {
        write(file, u64::from(n), &[n]).await?;
    }
    ensure_eq!(contents(&files[0]).await?, [0, 1, 2, 3, 4, 5]);
    Ok(())
}

async fn a_full_table_of_files_creates_nothing(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan { files: 2, ..Plan::default() }).await?;
    let second = driver.create(&ctx.name()).await?;
    let name = ctx.name();
    let error = ensure_kind!(driver.create(&name).await, OutOfResources);
    ensure_eq!(error.file(), Some(name.as_str()));
    ensure!(!ctx.exists_outside(&name).await?, "a refused open created a file");
    let again = driver.create(file.name()).await?;
    write(&again, 0, b"an open file opens again").await?;
    second.close().await?;
    driver.create(&name).await?;
    ensure!(ctx.exists_outside(&name).await?, "there is room again");
    Ok(())
}

async fn a_read_only_file_is_not_written(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"kept").await?;
    file.close().await?;
    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    let error = ensure_kind!(reader.pwrite(0, Shared::from(b"x")).await, PermissionDenied);
    ensure_eq!(error.file(), Some(file.name()));
    let vector = Vector::from(Shared::from(b"x"));
    ensure_kind!(reader.pwritev(0, vector).await, PermissionDenied);
    ensure_kind!(reader.truncate(0).await, PermissionDenied);
    ensure_eq!(read(&reader, 0, 9).await?, b"kept");
    ensure_eq!(reader.size().await?, 4);
    Ok(())
}

async fn removing_a_missing_name(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let name = ctx.name();
    let error = ensure_kind!(driver.remove(&name).await, NotFound);
    ensure_eq!(error.file(), Some(name.as_str()));
    driver.create(&name).await?.close().await?;
    driver.remove(&name).await?;
    ensure_kind!(driver.remove(&name).await, NotFound);
    ensure!(!ctx.exists_outside(&name).await?, "it is still there");
    Ok(())
}

async fn an_open_file_is_busy(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"kept").await?;
    ensure_kind!(driver.remove(file.name()).await, Busy);
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"kept");
    file.close().await?;
    driver.remove(file.name()).await?;
    Ok(())
}

async fn names_that_break_the_rule(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let (long, longer) = ("x".repeat(256), "x/".repeat(520) + "x");
    for name in [
        "", ".", "..", "/", "/etc", "a/", "a//b", "./a", "a/../b", "a/..", "a\\b", "a\0b", "a\nb",
        "\u{7f}", &long, &longer,
    ] {
        let create = OpenOptions::new().create(true);
        let error = ensure_kind!(driver.open(name, create).await, InvalidInput);
        ensure!(!error.to_string().contains('\0'), "an error text with a NUL");
        ensure_kind!(driver.remove(name).await, InvalidInput);
        ensure_kind!(driver.prepare(&["fine", name], 0).await, InvalidInput);
    }
    ensure!(!ctx.exists_outside("fine").await?, "a refused `prepare` created a file");
    Ok(())
}

async fn names_that_keep_the_rule(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let long = "y".repeat(255);
    for name in ["a", "...", ".hidden", "with space", "Größe-ß-文件-🐚", "a.b-c_d~e", "con", &long]
    {
        let file = driver.create(name).await?;
        ensure_eq!(file.name(), name);
        write(&file, 0, name.as_bytes()).await?;
        file.close().await?;
        ensure_eq!(ctx.outside(name).await?, name.as_bytes());
        driver.remove(name).await?;
    }
    Ok(())
}
