//! F4, F8, F10: renaming, what is known of a name, and of a file.

use littoral::{FileKind, OpenOptions, SyncKind};
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, write};
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "F4" a_rename_replaces_its_target;
    "F4" renaming_an_open_file_is_busy;
    "F4" a_directory_is_not_renamed;
    "F4" renaming_into_a_folder;
    "F6" both_names_of_a_rename_keep_the_rule;
    "F8" a_rename_waits_for_a_close;
    "F10" a_name_is_what_was_done_with_it;
    "F10" a_file_has_an_identity;
    "X1" a_rename_that_waits_is_cancelled;
}

async fn make(driver: &crate::Driver, name: &str, bytes: &[u8]) -> Outcome {
    let file = driver.create(name).await?;
    write(&file, 0, bytes).await?;
    file.close().await?;
    Ok(())
}

async fn a_rename_replaces_its_target(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    make(&driver, "new", b"new bytes").await?;
    driver.rename("new", "fresh").await?;
    ensure!(!ctx.exists_outside("new").await?, "the old name is still there");
    ensure_eq!(ctx.outside("fresh").await?, b"new bytes");
    make(&driver, "old", b"the bytes of the file that is replaced").await?;
    driver.rename("fresh", "old").await?;
    ensure_eq!(ctx.outside("old").await?, b"new bytes");
    let error = ensure_kind!(driver.rename("fresh", "old").await, NotFound);
    ensure_eq!((error.file(), error.target()), (Some("fresh"), Some("old")));
    ensure_eq!(ctx.outside("old").await?, b"new bytes", "after a rename that failed");
    driver.rename("old", "old").await?;
    let file = driver.open("old", OpenOptions::new()).await?;
    ensure_eq!(contents(&file).await?, b"new bytes");
    // A file that takes the old name is another one.
    make(&driver, "fresh", b"").await?;
    ensure_eq!(contents(&file).await?, b"new bytes");
    Ok(())
}

async fn renaming_an_open_file_is_busy(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    write(&file, 0, b"kept").await?;
    make(&driver, "other", b"other").await?;
    let error = ensure_kind!(driver.rename(file.name(), "x").await, Busy);
    ensure_eq!((error.file(), error.target()), (Some(file.name()), Some("x")));
    ensure_kind!(driver.rename("other", file.name()).await, Busy);
    ensure!(!ctx.exists_outside("x").await?, "a refused rename did something");
    file.sync(SyncKind::Data).await?;
    ensure_eq!(contents(&file).await?, b"kept");
    ensure_eq!(ctx.outside("other").await?, b"other");
    let name = file.name().to_owned();
    file.close().await?;
    driver.rename("other", &name).await?;
    ensure_eq!(ctx.outside(&name).await?, b"other");
    driver.prepare(&["member"], 0).await?;
    ensure_kind!(driver.rename(&name, "member").await, Busy);
    ensure_kind!(driver.rename("member", "x").await, NotFound);
    driver.open_now("member", OpenOptions::new().create(true))?;
    ensure_kind!(driver.rename("member", "x").await, Busy);
    Ok(())
}

async fn a_directory_is_not_renamed(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.create_dir_all("folder/below").await?;
    make(&driver, "file", b"kept").await?;
    ensure_kind!(driver.rename("folder/below", "moved").await, IsADirectory);
    ensure_kind!(driver.rename("folder", "moved").await, IsADirectory);
    ensure_kind!(driver.rename("file", "folder/below").await, IsADirectory);
    ensure_kind!(driver.rename("file", "folder").await, IsADirectory);
    ensure_eq!(ctx.outside("file").await?, b"kept");
    ensure!(driver.exists("folder/below").await?, "it is where it was");
    Ok(())
}

async fn renaming_into_a_folder(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    make(&driver, "file", b"bytes").await?;
    ensure_kind!(driver.rename("file", "none/file").await, NotFound);
    ensure_kind!(driver.rename("none/file", "x").await, NotFound);
    driver.create_dir_all("a").await?;
    driver.create_dir_all("b").await?;
    driver.rename("file", "a/file").await?;
    driver.rename("a/file", "b/other").await?;
    ensure_eq!(ctx.outside("b/other").await?, b"bytes");
    driver.rename("b/other", "file").await?;
    ensure_eq!(ctx.outside("file").await?, b"bytes");
    ensure_kind!(driver.rename("file", "file/below").await, NotADirectory);
    Ok(())
}

async fn both_names_of_a_rename_keep_the_rule(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    make(&driver, "fine", b"kept").await?;
    for bad in ["", "..", "a//b", "/a", ".littoral-1", "a/.littoral-2", "a\u{1}"] {
        ensure_kind!(driver.rename("fine", bad).await, InvalidInput);
        let error = ensure_kind!(driver.rename(bad, "fine").await, InvalidInput);
        ensure!(error.to_string().contains("invalid argument: "), "which rule? {error}");
    }
    ensure_eq!(ctx.outside("fine").await?, b"kept");
    Ok(())
}

async fn a_rename_waits_for_a_close(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::calm())?;
    for round in 0..4_u8 {
        let (from, to) = (ctx.name(), ctx.name());
        // In both orders of the names, one of which is taken first.
        let (from, to) = if round % 2 == 0 { (from, to) } else { (to, from) };
        let (source, target) = (driver.create(&from).await?, driver.create(&to).await?);
        let write = source.pwrite(0, vec![round; 5000].into());
        write.detach();
        drop(source);
        target.pwrite(0, vec![9; 9000].into()).detach();
        drop(target);
        driver.rename(&from, &to).await?;
        ensure_eq!(ctx.outside(&to).await?, vec![round; 5000], "round {round}");
        ensure!(!ctx.exists_outside(&from).await?, "round {round}: the old name");
    }
    // Renames round in a circle wait for each other's names, and all of them end.
    for name in ["a", "b", "c"] {
        make(&driver, name, name.as_bytes()).await?;
    }
    let renames = [driver.rename("a", "b"), driver.rename("b", "c"), driver.rename("c", "a")];
    let mut done = 0;
    for rename in renames {
        done += u32::from(rename.await.is_ok());
    }
    ensure!(done >= 1, "none of three renames was done");
    Ok(())
}

async fn a_name_is_what_was_done_with_it(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    ensure!(!driver.exists("file").await?, "it was never made");
    ensure_kind!(driver.metadata("file").await, NotFound);
    let file = driver.create("file").await?;
    write(&file, 0, &[7; 300]).await?;
    ensure!(driver.exists("file").await?, "it is open");
    ensure_eq!(driver.metadata("file").await?.size, 300, "while it is open");
    ensure_eq!(file.metadata().await?.size, 300);
    file.truncate(100).await?;
    ensure_eq!(file.metadata().await?.size, 100);
    file.close().await?;
    ensure_kind!(file.metadata().await, Closed);
    let known = driver.metadata("file").await?;
    ensure_eq!((known.kind, known.size), (FileKind::File, 100));
    driver.create_dir_all("folder").await?;
    ensure_eq!(driver.metadata("folder").await?.kind, FileKind::Directory);
    ensure_eq!(driver.metadata("").await?.kind, FileKind::Directory, "the root");
    ensure!(driver.exists("folder").await?, "a directory is something, too");
    ensure!(!driver.exists("folder/none").await?, "there is nothing in it");
    ensure!(!driver.exists("file/below").await?, "below a file is nothing");
    driver.rename("file", "moved").await?;
    ensure!(!driver.exists("file").await?, "it was renamed");
    ensure_eq!(driver.metadata("moved").await?.size, 100);
    driver.remove("moved").await?;
    ensure!(!driver.exists("moved").await?, "it was removed");
    driver.prepare(&["member"], 0).await?;
    ensure!(!driver.exists("member").await?, "it reads as absent");
    ensure_kind!(driver.metadata("member").await, NotFound);
    driver.open_now("member", OpenOptions::new().create(true))?;
    ensure!(driver.exists("member").await?, "it was created");
    ensure_eq!(driver.metadata("member").await?.size, 0);
    Ok(())
}

async fn a_file_has_an_identity(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let mut seen = std::collections::HashSet::new();
    for name in ["a", "b", "c"] {
        let file = driver.create(name).await?;
        let identity = file.metadata().await?.identity;
        ensure!(seen.insert(identity), "{name} has the identity of another file");
        let again = driver.open(name, OpenOptions::read_only()).await?;
        ensure_eq!(again.metadata().await?.identity, identity, "a second handle");
        ensure_eq!(driver.metadata(name).await?.identity, identity, "by its name");
        again.close().await?;
        file.close().await?;
        ensure_eq!(driver.metadata(name).await?.identity, identity, "closed");
        let again = driver.open(name, OpenOptions::new()).await?;
        ensure_eq!(again.metadata().await?.identity, identity, "opened anew");
    }
    let other = ctx.driver(&Plan::default())?;
    ensure!(seen.contains(&other.metadata("a").await?.identity), "another driver");
    Ok(())
}

async fn a_rename_that_waits_is_cancelled(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::calm())?;
    make(&driver, "a", b"a").await?;
    make(&driver, "b", b"b").await?;
    // For the second of its names: it must give back the first.
    let held = driver.create("b").await?;
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Write, Fault::Park));
    }
    let write = held.pwrite(0, b"B".into());
    drop(held);
    let rename = driver.rename("a", "b");
    ctx.settle().await;
    rename.cancel();
    let outcome = rename.await;
    if let Some(script) = driver.script() {
        ensure_kind!(outcome, Cancelled);
        script.release();
    }
    write.await?;
    // Done or not, both names are free again.
    let there = [driver.exists("a").await?, driver.exists("b").await?];
    ensure!(there == [true, true] || there == [false, true], "{there:?}");
    make(&driver, "a", b"again").await?;
    make(&driver, "b", b"again").await?;
    driver.remove("a").await?;
    driver.remove("b").await?;
    Ok(())
}
