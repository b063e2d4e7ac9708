//! What the browser itself says and does, past littoral: for tidying up and for comparison.

use js_sys::{ArrayBuffer, Promise, Uint8Array};
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

/// Where all of this runs.
pub(crate) fn worker() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Lets the browser do everything else for that long.
pub(crate) async fn pause(millis: i32) {
    let over = Promise::new(&mut |resolve, _| {
        worker()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, millis)
            .expect("a timer");
    });
    JsFuture::from(over).await.expect("a timer is not rejected");
}

/// A folder by its path below the origin's root, made if it is not there.
async fn folder(path: &str) -> Result<FileSystemDirectoryHandle, JsValue> {
    let mut folder: FileSystemDirectoryHandle =
        settled(worker().navigator().storage().get_directory()).await?;
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        folder = settled(folder.get_directory_handle_with_options(part, &options)).await?;
    }
    Ok(folder)
}

fn is_missing(thrown: &JsValue) -> bool {
    thrown.dyn_ref::<js_sys::Error>().is_some_and(|error| error.name() == "NotFoundError")
}

/// Removes a folder of the origin with all that is in it, if it is there.
pub(crate) async fn clear(root: &str) -> Result<(), JsValue> {
    let options = FileSystemRemoveOptions::new();
    options.set_recursive(true);
    let removed = folder("").await?.remove_entry_with_options(root, &options);
    match settled::<JsValue>(removed).await {
        Err(thrown) if !is_missing(&thrown) => Err(thrown),
        _ => Ok(()),
    }
}

/// Makes a folder in a folder of the origin.
pub(crate) async fn make_folder(root: &str, name: &str) -> Result<(), JsValue> {
    folder(&format!("{root}/{name}")).await.map(drop)
}

/// A file in a folder of the origin.
async fn file(root: &str, name: &str, create: bool) -> Result<FileSystemFileHandle, JsValue> {
    let (below, leaf) = name.rsplit_once('/').unwrap_or(("", name));
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    let folder = folder(&format!("{root}/{below}")).await?;
    settled(folder.get_file_handle_with_options(leaf, &options)).await
}

/// Opens a file in a folder of the origin, new or not.
pub(crate) async fn access_handle(
    root: &str,
    name: &str,
) -> Result<FileSystemSyncAccessHandle, JsValue> {
    settled(file(root, name, true).await?.create_sync_access_handle()).await
}

/// The bytes of a file, also while it is open; none if there is no such file.
pub(crate) async fn contents(root: &str, name: &str) -> Result<Option<Vec<u8>>, JsValue> {
    let file = match file(root, name, false).await {
        Ok(file) => file,
        Err(thrown) if is_missing(&thrown) => return Ok(None),
        Err(thrown) => return Err(thrown),
    };
    let blob: Blob = settled(file.get_file()).await?;
    let bytes: ArrayBuffer = settled(blob.array_buffer()).await?;
    Ok(Some(Uint8Array::new(&bytes).to_vec()))
}

/// The names of the Web Locks that are held, in order.
pub(crate) async fn web_locks() -> Vec<String> {
    let get = |of: &JsValue, key: &str| {
        js_sys::Reflect::get(of, &JsValue::from_str(key)).expect("an object of the browser")
    };
    let locks = get(&get(&js_sys::global(), "navigator"), "locks");
    let query: js_sys::Function = get(&locks, "query").unchecked_into();
    let asked: Promise = query.call0(&locks).expect("a promise").unchecked_into();
    let state: JsValue = settled(asked).await.expect("what is held");
    let held: js_sys::Array = get(&state, "held").unchecked_into();
    let mut names: Vec<String> =
        held.iter().filter_map(|lock| get(&lock, "name").as_string()).collect();
    names.sort();
    names
}
