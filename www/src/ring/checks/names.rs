//! Open and remove: what each complaint of the browser becomes.

use littoral_platform::{Errno, Op, OpenFlags};

use super::{CREATE, CREATE_NEW, Outcome, ROOT, WRITE, driver, fine, same};
use crate::opfs;

pub(super) async fn open_finds_and_creates() -> Outcome {
    let mut d = driver();
    same("open of none", d.open("a", WRITE).await, Err(Errno::NOENT))?;
    same("open of none for reading", d.open("a", OpenFlags::empty()).await, Err(Errno::NOENT))?;
    let file = fine("create new", d.open("a", CREATE_NEW).await)?;
    fine("write", d.write(file, 0, b"kept").await)?;
    fine("close", d.plain(Op::Close { file }).await)?;
    same("create new over one", d.open("a", CREATE_NEW).await, Err(Errno::EXIST))?;
    let file = fine("create of one", d.open("a", CREATE).await)?;
    same("create keeps it", d.plain(Op::Size { file }).await, Ok(4))?;
    fine("close", d.plain(Op::Close { file }).await)?;
    same("remove", d.remove("a").await, Ok(()))?;
    same("remove of none", d.remove("a").await, Err(Errno::NOENT))?;
    same("open after remove", d.open("a", WRITE).await, Err(Errno::NOENT))
}

pub(super) async fn folders_are_no_files() -> Outcome {
    opfs::make_folder(ROOT, "folder").await.map_err(|thrown| format!("{thrown:?}"))?;
    let mut d = driver();
    same("open", d.open("folder", WRITE).await, Err(Errno::ISDIR))?;
    same("create", d.open("folder", CREATE).await, Err(Errno::ISDIR))?;
    same("create new", d.open("folder", CREATE_NEW).await, Err(Errno::EXIST))?;
    same("remove", d.remove("folder").await, Err(Errno::ISDIR))?;
    let file = fine("create inside", d.open("folder/a", CREATE).await)?;
    same("remove, full", d.remove("folder").await, Err(Errno::ISDIR))?;
    fine("close", d.plain(Op::Close { file }).await)?;
    same("below a file", d.open("folder/a/b", CREATE).await, Err(Errno::NOTDIR))?;
    same("below nothing", d.open("none/b", CREATE).await, Err(Errno::NOENT))?;
    same("remove below nothing", d.remove("none/b").await, Err(Errno::NOENT))?;
    same("remove inside", d.remove("folder/a").await, Ok(()))
}

pub(super) async fn bad_names() -> Outcome {
    let mut d = driver();
    for name in ["", ".", "..", "../a", "a/", "/a", "./a"] {
        let got = d.open(name, CREATE).await;
        same(&format!("open of {name:?}"), got.err().is_some_and(refused), true)?;
        let got = d.remove(name).await;
        same(&format!("remove of {name:?}"), got.err().is_some_and(refused), true)?;
    }
    let file = fine("other letters", d.open("größe 漢字 🦀 'x' %20", CREATE).await)?;
    fine("close", d.plain(Op::Close { file }).await)?;
    same("remove of it", d.remove("größe 漢字 🦀 'x' %20").await, Ok(()))
}

/// A folder named `a` would have to be there before the empty part behind it is looked at.
fn refused(errno: Errno) -> bool {
    errno == Errno::INVAL || errno == Errno::NOENT
}

pub(super) async fn an_open_file_is_busy() -> Outcome {
    let (mut d, mut other) = (driver(), driver());
    let file = fine("open", d.open("a", CREATE).await)?;
    same("again", d.open("a", WRITE).await, Err(Errno::BUSY))?;
    same("by another ring", other.open("a", CREATE).await, Err(Errno::BUSY))?;
    same("remove", d.remove("a").await, Err(Errno::BUSY))?;
    fine("close", d.plain(Op::Close { file }).await)?;
    let file = fine("after close", other.open("a", WRITE).await)?;
    fine("close", other.plain(Op::Close { file }).await)?;
    same("remove", d.remove("a").await, Ok(()))
}

pub(super) async fn a_removed_root_is_found_again() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    fine("close", d.plain(Op::Close { file }).await)?;
    opfs::clear(ROOT).await.map_err(|thrown| format!("{thrown:?}"))?;
    same("open of what was in it", d.open("a", WRITE).await, Err(Errno::NOENT))?;
    let file = fine("open", d.open("a", CREATE).await)?;
    same("close", d.plain(Op::Close { file }).await, Ok(0))
}
