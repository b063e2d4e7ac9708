//! What concerns a name, and therefore waits for promises: open and remove.
//!
//! Nothing is created on the way: of a name with slashes, every folder must be there. Only the
//! ring's own root is made, since nobody else could have.

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DedicatedWorkerGlobalScope, FileSystemDirectoryHandle, FileSystemFileHandle,
    FileSystemGetDirectoryOptions, FileSystemGetFileOptions, FileSystemSyncAccessHandle,
};

use super::errors::{self, Place};
use super::host;
use crate::{Errno, OpenFlags};

/// Waits for a promise of a `T`: what the specification says it is settled with.
async fn settled<T: JsCast>(promise: Promise, place: Place) -> Result<T, Errno> {
    match JsFuture::from(promise).await {
        Ok(value) => Ok(value.unchecked_into()),
        Err(thrown) => Err(errors::thrown(&thrown, place)),
    }
}

/// The folder below which a ring's names live.
async fn root(ring: u64, path: Option<&str>) -> Result<FileSystemDirectoryHandle, Errno> {
    if let Some(root) = host::root(ring) {
        return Ok(root);
    }
    let worker: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let promise = worker.navigator().storage().get_directory();
    let mut folder: FileSystemDirectoryHandle = settled(promise, Place::Folder).await?;
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    for part in path.into_iter().flat_map(|path| path.split('/')).filter(|part| !part.is_empty()) {
        let promise = folder.get_directory_handle_with_options(part, &options);
        folder = settled(promise, Place::Folder).await?;
    }
    host::set_root(ring, Some(folder.clone()));
    Ok(folder)
}

/// The folder of a name, and the name's last part.
async fn parent<'n>(
    ring: u64,
    path: Option<&str>,
    name: &'n str,
) -> Result<(FileSystemDirectoryHandle, &'n str), Errno> {
    let mut folder = root(ring, path).await?;
    let Some((folders, leaf)) = name.rsplit_once('/') else { return Ok((folder, name)) };
    for part in folders.split('/') {
        folder = settled(folder.get_directory_handle(part), Place::Folder).await?;
    }
    Ok((folder, leaf))
}

async fn file(
    folder: &FileSystemDirectoryHandle,
    leaf: &str,
    create: bool,
) -> Result<FileSystemFileHandle, Errno> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    settled(folder.get_file_handle_with_options(leaf, &options), Place::Leaf).await
}

/// Opens a file.
///
/// "There must be none" is two steps, since the browser has no such flag: two workers that both
/// create a file may both find none. The access handle of the later one is refused with `EBUSY`
/// while the earlier one is open.
pub(super) async fn open(
    ring: u64,
    path: Option<&str>,
    name: &str,
    flags: OpenFlags,
) -> Result<FileSystemSyncAccessHandle, Errno> {
    let result = async {
        let (folder, leaf) = parent(ring, path, name).await?;
        let create = flags.contains(OpenFlags::CREATE);
        if create && flags.contains(OpenFlags::EXCLUSIVE) {
            match file(&folder, leaf, false).await {
                Ok(_) | Err(Errno::ISDIR) => return Err(Errno::EXIST),
                Err(Errno::NOENT) => {}
                Err(other) => return Err(other),
            }
        }
        let file = file(&folder, leaf, create).await?;
        settled(file.create_sync_access_handle(), Place::Leaf).await
    };
    forget_lost_root(ring, result.await)
}

/// Removes a file. `removeEntry` would remove an empty folder too, so the kind is asked first.
pub(super) async fn remove(ring: u64, path: Option<&str>, name: &str) -> Result<(), Errno> {
    let result = async {
        let (folder, leaf) = parent(ring, path, name).await?;
        file(&folder, leaf, false).await?;
        settled::<JsValue>(folder.remove_entry(leaf), Place::Leaf).await.map(drop)
    };
    forget_lost_root(ring, result.await)
}

/// Something not found may be the root itself, removed by someone else: look for it anew next time.
fn forget_lost_root<T>(ring: u64, result: Result<T, Errno>) -> Result<T, Errno> {
    if matches!(result, Err(Errno::NOENT)) {
        host::set_root(ring, None);
    }
    result
}
