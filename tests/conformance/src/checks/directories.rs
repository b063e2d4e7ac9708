//! F10, S6: directories, what is in them, and their names made durable.

use littoral::{FileKind, OpenOptions, SyncKind};

use super::family;
use crate::ctx::{contents, write};
use crate::{Ctx, Driver, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "F10" directories_are_made_and_removed;
    "F10" a_list_is_what_is_there;
    "F10" a_long_list_is_in_order;
    "F6" names_of_directories_keep_the_rule;
    "S6" names_are_made_durable;
    "S6" synced_names_outlive_a_crash;
}

async fn list(driver: &Driver, directory: &str) -> Outcome<Vec<(String, FileKind)>> {
    let list = driver.list(directory).await?;
    Ok(list.into_iter().map(|listed| (listed.name, listed.kind)).collect())
}

async fn directories_are_made_and_removed(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.create_dir_all("a/b/c").await?;
    driver.create_dir_all("a/b/c").await?;
    driver.create_dir_all("a/b").await?;
    driver.create_dir_all("a/d").await?;
    let file = driver.create("a/b/c/file").await?;
    write(&file, 0, b"deep").await?;
    ensure_eq!(ctx.outside("a/b/c/file").await?, b"deep");
    ensure_kind!(driver.create_dir_all("a/b/c/file").await, AlreadyExists);
    ensure_kind!(driver.create_dir_all("a/b/c/file/below").await, NotADirectory);
    ensure_kind!(driver.remove_dir("a/b/c/file").await, NotADirectory);
    ensure_kind!(driver.remove_dir("a/b/c").await, DirectoryNotEmpty);
    file.close().await?;
    let error = ensure_kind!(driver.remove_dir("a/b").await, DirectoryNotEmpty);
    ensure_eq!(error.file(), Some("a/b"));
    driver.remove("a/b/c/file").await?;
    driver.remove_dir("a/b/c").await?;
    let error = ensure_kind!(driver.remove_dir("a/b/c").await, NotFound);
    ensure_eq!(error.file(), Some("a/b/c"));
    ensure_kind!(driver.open("a/b/c/file", OpenOptions::new().create(true)).await, NotFound);
    driver.remove_dir("a/b").await?;
    driver.remove_dir("a/d").await?;
    driver.remove_dir("a").await?;
    ensure!(!driver.exists("a").await?, "it was removed");
    // Several at once, one inside the other.
    let made: Vec<_> =
        ["x/y/z", "x", "x/y", "x/y/z/w"].map(|name| driver.create_dir_all(name)).into();
    for made in made {
        made.await?;
    }
    ensure_eq!(driver.metadata("x/y/z/w").await?.kind, FileKind::Directory);
    Ok(())
}

async fn a_list_is_what_is_there(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    ensure_eq!(list(&driver, "").await?, []);
    let file = driver.create("b").await?;
    driver.create("a").await?.close().await?;
    driver.create_dir_all("dir/below").await?;
    driver.create("dir/Größe-文").await?.close().await?;
    // Neither has a name that anybody meets.
    let temporary = driver.temporary(OpenOptions::new()).await?;
    driver.prepare(&["absent", "dir/absent"], 0).await?;
    let (is_file, is_directory) = (FileKind::File, FileKind::Directory);
    let root = [("a".to_owned(), is_file), ("b".to_owned(), is_file)];
    let root = [&root[..], &[("dir".to_owned(), is_directory)]].concat();
    ensure_eq!(list(&driver, "").await?, root);
    let below = [("Größe-文".to_owned(), is_file), ("below".to_owned(), is_directory)];
    ensure_eq!(list(&driver, "dir").await?, below);
    ensure_eq!(list(&driver, "dir/below").await?, []);
    driver.open_now("absent", OpenOptions::new().create(true))?;
    driver.rename("a", "dir/below/a").await?;
    file.close().await?;
    driver.remove("b").await?;
    let root = [("absent".to_owned(), is_file), ("dir".to_owned(), is_directory)];
    ensure_eq!(list(&driver, "").await?, root);
    ensure_eq!(list(&driver, "dir/below").await?, [("a".to_owned(), is_file)]);
    ensure_kind!(driver.list("none").await, NotFound);
    ensure_kind!(driver.list("dir/below/a").await, NotADirectory);
    drop(temporary);
    Ok(())
}

async fn a_long_list_is_in_order(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.create_dir_all("many").await?;
    let mut names: Vec<_> = (0..200).map(|n| format!("{}-{n}", n * 37 % 200)).collect();
    for names in names.chunks(20) {
        let open = |name| driver.open(&format!("many/{name}"), OpenOptions::new().create(true));
        let made: Vec<_> = names.iter().map(open).collect();
        for file in made {
            file.await?.close().await?;
        }
    }
    names.sort();
    let listed = list(&driver, "many").await?;
    let listed: Vec<_> = listed.into_iter().map(|(name, _)| name).collect();
    ensure_eq!(listed, names);
    Ok(())
}

async fn names_of_directories_keep_the_rule(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    for bad in ["..", "a/..", "/a", "a//b", ".littoral-x", "a\nb"] {
        ensure_kind!(driver.create_dir_all(bad).await, InvalidInput);
        ensure_kind!(driver.remove_dir(bad).await, InvalidInput);
        ensure_kind!(driver.list(bad).await, InvalidInput);
        ensure_kind!(driver.sync_dir(bad).await, InvalidInput);
        ensure_kind!(driver.exists(bad).await, InvalidInput);
        ensure_kind!(driver.metadata(bad).await, InvalidInput);
        ensure_kind!(driver.exists_now(bad), InvalidInput);
    }
    // The root is there, and stays.
    ensure_kind!(driver.remove_dir("").await, InvalidInput);
    ensure_kind!(driver.create_dir_all("").await, InvalidInput);
    ensure_eq!(list(&driver, "").await?, []);
    Ok(())
}

async fn names_are_made_durable(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    driver.create_dir_all("dir").await?;
    let file = driver.create("dir/file").await?;
    write(&file, 0, b"bytes").await?;
    driver.forget_trace();
    driver.sync_dir("dir").await?;
    driver.sync_dir("").await?;
    if driver.script().is_some() {
        let syncs = driver.trace().count(littoral_platform::faulty::OpKind::Sync);
        let expected = if driver.limits().syncs_directories { 2 } else { 0 };
        ensure!(
            syncs >= expected && (expected > 0 || syncs == 0),
            "{syncs} flushes of directories"
        );
    }
    let error = ensure_kind!(driver.sync_dir("none").await, NotFound);
    ensure_eq!(error.file(), Some("none"));
    ensure_kind!(driver.sync_dir("dir/file").await, NotADirectory);
    ensure_eq!(ctx.outside("dir/file").await?, b"bytes");
    Ok(())
}

/// Where the power can be lost it is; elsewhere everything is dropped.
async fn synced_names_outlive_a_crash(ctx: &Ctx) -> Outcome {
    for round in 0..6 {
        let driver = ctx.driver(&Plan::default())?;
        let (first, second) = (format!("first-{round}"), format!("second-{round}"));
        let below = format!("dir-{round}/below");
        driver.create_dir_all(&below).await?;
        driver.sync_dir("").await?;
        driver.sync_dir(&format!("dir-{round}")).await?;
        for name in [&first, &format!("{below}/file")] {
            let file = driver.create(name).await?;
            write(&file, 0, name.as_bytes()).await?;
            file.sync(SyncKind::Full).await?;
            file.close().await?;
        }
        driver.create("gone").await?.close().await?;
        driver.sync_dir("").await?;
        driver.rename(&first, &second).await?;
        driver.remove("gone").await?;
        driver.sync_dir("").await?;
        driver.sync_dir(&below).await?;
        ctx.stage().lose_power();
        drop(driver);
        let driver = ctx.driver(&Plan::default())?;
        ensure!(!driver.exists(&first).await?, "round {round}: it was renamed");
        ensure!(!driver.exists("gone").await?, "round {round}: it was removed");
        for (name, bytes) in
            [(&second, &first), (&format!("{below}/file"), &format!("{below}/file"))]
        {
            let file = driver.open(name, OpenOptions::read_only()).await?;
            ensure_eq!(contents(&file).await?, bytes.as_bytes(), "round {round}: {name}");
            file.close().await?;
        }
    }
    Ok(())
}
