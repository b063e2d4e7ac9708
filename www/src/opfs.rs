//! What the browser itself says and does, past littoral: for tidying up and for comparison.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, DedicatedWorkerGlobalScope, FileSystemDirectoryHandle, FileSystemFileHandle,
    FileSystemGetDirectoryOptions, FileSystemGetFileOptions, FileSystemRemoveOptions,
    FileSystemSyncAccessHandle,
};

async fn settled<T: JsCast>(promise: Promise) -> Result<T, JsValue> {
    Ok(JsFuture::from(promise).await?.unchecked_into())
}

async fn origin() -> Result<FileSystemDirectoryHandle, JsValue> {
    let worker: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    settled(worker.navigator().storage().get_directory()).await
}

async fn folder(
    of: &FileSystemDirectoryHandle,
    name: &str,
) -> Result<FileSystemDirectoryHandle, JsValue> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    settled(of.get_directory_handle_with_options(name, &options)).await
}

/// Removes a folder of the origin with all that is in it, if it is there.
pub(crate) async fn clear(root: &str) -> Result<(), JsValue> {
    let options = FileSystemRemoveOptions::new();
    options.set_recursive(true);
    let removed = origin().await?.remove_entry_with_options(root, &options);
    match settled::<JsValue>(removed).await {
        Err(thrown) if thrown.dyn_ref::<js_sys::Error>().is_none_or(not_missing) => Err(thrown),
        _ => Ok(()),
    }
}

fn not_missing(thrown: &js_sys::Error) -> bool {
    thrown.name() != "NotFoundError"
}

/// Makes a folder in a folder of the origin.
pub(crate) async fn make_folder(root: &str, name: &str) -> Result<(), JsValue> {
    let root = folder(&origin().await?, root).await?;
    folder(&root, name).await.map(drop)
}

/// The bytes of a file in a folder of the origin, read without an access handle; `None` if there is
/// no such file.
pub(crate) async fn read(root: &str, name: &str) -> Result<Option<Vec<u8>>, JsValue> {
    let root = folder(&origin().await?, root).await?;
    let handle: FileSystemFileHandle = match settled(root.get_file_handle(name)).await {
        Ok(handle) => handle,
        Err(thrown) if thrown.dyn_ref::<js_sys::Error>().is_none_or(not_missing) => {
            return Err(thrown);
        }
        Err(_) => return Ok(None),
    };
    let file: Blob = settled(handle.get_file()).await?;
    let bytes: JsValue = settled(file.array_buffer()).await?;
    Ok(Some(Uint8Array::new(&bytes).to_vec()))
}

/// Opens a file in a folder of the origin, new or not.
pub(crate) async fn access_handle(
    root: &str,
    name: &str,
) -> Result<FileSystemSyncAccessHandle, JsValue> {
    let root = folder(&origin().await?, root).await?;
    let options = FileSystemGetFileOptions::new();
    options.set_create(true);
    let file: FileSystemFileHandle =
        settled(root.get_file_handle_with_options(name, &options)).await?;
    settled(file.create_sync_access_handle()).await
}
