//! What concerns a name, and therefore waits for promises: open, remove, rename, directories.
//!
//! Nothing is created on the way: of a name with slashes, every folder must be there. Only the
//! ring's own root is made, since nobody else could have.

use js_sys::{AsyncIterator, Function, IteratorNext, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DedicatedWorkerGlobalScope, File, FileSystemDirectoryHandle, FileSystemFileHandle,
    FileSystemGetDirectoryOptions, FileSystemGetFileOptions, FileSystemHandle,
    FileSystemHandleKind, FileSystemSyncAccessHandle,
};

use super::errors::{self, Place};
use super::{host, path};
use crate::{Errno, FileKind, Listed, OpenFlags, RESERVED, Stat};

/// Waits for a promise of a `T`: what the specification says it is settled with.
async fn settled<T: JsCast>(promise: Promise, place: Place) -> Result<T, Errno> {
    match JsFuture::from(promise).await {
        Ok(value) => Ok(value.unchecked_into()),
        Err(thrown) => Err(errors::thrown(&thrown, place)),
    }
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

async fn folder(
    parent: &FileSystemDirectoryHandle,
    leaf: &str,
    create: bool,
) -> Result<FileSystemDirectoryHandle, Errno> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(create);
    settled(parent.get_directory_handle_with_options(leaf, &options), Place::Folder).await
}

async fn remove_entry(parent: &FileSystemDirectoryHandle, leaf: &str) -> Result<(), Errno> {
    settled::<JsValue>(parent.remove_entry(leaf), Place::Leaf).await.map(drop)
}

/// The folder of that path below the origin's root.
async fn walk(root: Option<&str>, create: bool) -> Result<FileSystemDirectoryHandle, Errno> {
    let worker: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let promise = worker.navigator().storage().get_directory();
    let mut below: FileSystemDirectoryHandle = settled(promise, Place::Folder).await?;
    for part in path::parts(root, "") {
        below = folder(&below, part, create).await?;
    }
    Ok(below)
}

async fn entries(of: &FileSystemDirectoryHandle) -> Result<Vec<Listed>, Errno> {
    let mut listed = Vec::new();
    let values: AsyncIterator = of.values();
    loop {
        let next = values.next().map_err(|thrown| errors::thrown(&thrown, Place::Folder))?;
        let next: IteratorNext = settled(next, Place::Folder).await?;
        if next.done() {
            return Ok(listed);
        }
        let entry: FileSystemHandle = next.value().unchecked_into();
        let kind = match entry.kind() {
            FileSystemHandleKind::File => FileKind::File,
            FileSystemHandleKind::Directory => FileKind::Directory,
            _ => FileKind::Other,
        };
        listed.push(Listed { name: entry.name(), kind });
    }
}

/// Removes the temporary files that a worker which was ended left behind. One that is open
/// somewhere cannot be removed, and stays.
pub(super) async fn sweep(root: Option<&str>) {
    let Ok(folder) = walk(root, false).await else { return };
    for entry in entries(&folder).await.unwrap_or_default() {
        if entry.kind == FileKind::File && entry.name.starts_with(RESERVED) {
            let _ = remove_entry(&folder, &entry.name).await;
        }
    }
}

/// Removes these names directly below the root.
pub(super) async fn forget(root: Option<&str>, names: &[String]) {
    let Ok(folder) = walk(root, false).await else { return };
    for name in names {
        // What cannot be removed now is swept by the next ring.
        let _ = remove_entry(&folder, name).await;
    }
}

/// The names of a ring: those below its root.
pub(super) struct Names<'a> {
    pub(super) ring: u64,
    pub(super) root: Option<&'a str>,
}

impl Names<'_> {
    /// The folder below which they live.
    async fn root(&self) -> Result<FileSystemDirectoryHandle, Errno> {
        if let Some(root) = host::root(self.ring) {
            return Ok(root);
        }
        let found = walk(self.root, true).await?;
        host::set_root(self.ring, Some(found.clone()));
        Ok(found)
    }

    /// The folder of a name, and the name's last part.
    async fn parent<'n>(
        &self,
        name: &'n str,
    ) -> Result<(FileSystemDirectoryHandle, &'n str), Errno> {
        let mut below = self.root().await?;
        let Some((folders, leaf)) = name.rsplit_once('/') else { return Ok((below, name)) };
        for part in folders.split('/') {
            below = folder(&below, part, false).await?;
        }
        Ok((below, leaf))
    }

    /// The folder of that name.
    async fn folder(&self, name: &str) -> Result<FileSystemDirectoryHandle, Errno> {
        if name == "." {
            return self.root().await;
        }
        let (parent, leaf) = self.parent(name).await?;
        folder(&parent, leaf, false).await
    }

    /// Opens a file.
    ///
    /// "There must be none" is two steps, since the browser has no such flag: two workers that both
    /// create a file may both find none. The access handle of the later one is refused with `EBUSY`
    /// while the earlier one is open.
    pub(super) async fn open(
        &self,
        name: &str,
        flags: OpenFlags,
    ) -> Result<FileSystemSyncAccessHandle, Errno> {
        let result = async {
            let (folder, leaf) = self.parent(name).await?;
            let temporary = flags.contains(OpenFlags::TEMPORARY);
            let create = temporary || flags.contains(OpenFlags::CREATE);
            if temporary || (create && flags.contains(OpenFlags::EXCLUSIVE)) {
                match file(&folder, leaf, false).await {
                    Ok(_) | Err(Errno::ISDIR) => return Err(Errno::EXIST),
                    Err(Errno::NOENT) => {}
                    Err(other) => return Err(other),
                }
            }
            let file = file(&folder, leaf, create).await?;
            settled(file.create_sync_access_handle(), Place::Leaf).await
        };
        self.forget_lost_root(result.await)
    }

    /// Removes a file. `removeEntry` would remove an empty folder too, so the kind is asked first.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Errno> {
        let result = async {
            let (folder, leaf) = self.parent(name).await?;
            file(&folder, leaf, false).await?;
            remove_entry(&folder, leaf).await
        };
        self.forget_lost_root(result.await)
    }

    /// Moves a file, in place of another one. `move` is in no specification, but in all three
    /// engines, which replace its target: asked for, since it may go.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let result = async {
            let (folder, leaf) = self.parent(from).await?;
            let moved = file(&folder, leaf, false).await?;
            let (folder, leaf) = self.parent(to).await?;
            match file(&folder, leaf, false).await {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(other) => return Err(other),
            }
            if from == to {
                return Ok(());
            }
            let call = Reflect::get(&moved, &JsValue::from_str("move")).ok();
            let call = call.and_then(|call| call.dyn_into::<Function>().ok());
            let promise = call
                .ok_or(Errno::OPNOTSUPP)?
                .call2(&moved, &folder, &JsValue::from_str(leaf))
                .map_err(|thrown| errors::thrown(&thrown, Place::Leaf))?;
            settled::<JsValue>(promise.unchecked_into(), Place::Leaf).await.map(drop)
        };
        self.forget_lost_root(result.await)
    }

    /// Makes a directory, or finds it there.
    pub(super) async fn make_directory(&self, name: &str) -> Result<(), Errno> {
        let result = async {
            let (parent, leaf) = self.parent(name).await?;
            match folder(&parent, leaf, true).await {
                // Nothing on the way: the name itself.
                Err(Errno::NOTDIR) => Err(Errno::EXIST),
                made => made.map(drop),
            }
        };
        self.forget_lost_root(result.await)
    }

    /// Removes an empty directory. `removeEntry` would remove a file too, so the kind is asked
    /// first.
    pub(super) async fn remove_directory(&self, name: &str) -> Result<(), Errno> {
        let result = async {
            let (parent, leaf) = self.parent(name).await?;
            let removed = folder(&parent, leaf, false).await?;
            match remove_entry(&parent, leaf).await {
                // Something in it is open.
                Err(Errno::BUSY) if !entries(&removed).await?.is_empty() => Err(Errno::NOTEMPTY),
                result => result,
            }
        };
        self.forget_lost_root(result.await)
    }

    /// What is in a directory.
    pub(super) async fn list(&self, name: &str) -> Result<Vec<Listed>, Errno> {
        let result = async { entries(&self.folder(name).await?).await };
        self.forget_lost_root(result.await)
    }

    /// What is known of a name.
    pub(super) async fn look(&self, name: &str) -> Result<Stat, Errno> {
        let result = async {
            let identity = path::identity(self.root, name);
            let directory = Stat { kind: FileKind::Directory, size: 0, identity, modified: None };
            if name == "." {
                return self.root().await.map(|_| directory);
            }
            let (folder, leaf) = self.parent(name).await?;
            let file = match file(&folder, leaf, false).await {
                Ok(file) => file,
                Err(Errno::ISDIR) => return Ok(directory),
                Err(other) => return Err(other),
            };
            let file: File = settled(file.get_file(), Place::Leaf).await?;
            let size = errors::size(file.size())?;
            let modified = errors::size(file.last_modified()).ok();
            let modified = modified.and_then(|millis| millis.checked_mul(1_000_000));
            Ok(Stat { kind: FileKind::File, size, identity, modified })
        };
        self.forget_lost_root(result.await)
    }

    /// Something not found may be the root itself, removed by someone else: look for it anew next
    /// time.
    fn forget_lost_root<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        if matches!(result, Err(Errno::NOENT)) {
            host::set_root(self.ring, None);
        }
        result
    }
}
