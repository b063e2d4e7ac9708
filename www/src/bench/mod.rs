//! What littoral costs in a browser's worker, against the access handle by itself.
//!
//! Times of a shared machine drift, so subject and reference take turns, and what is judged is the
//! median of their ratios with the bounds between which it lies for 95 of 100 runs.

mod measure;
mod questions;

use std::sync::Arc;

use js_sys::Function;
use littoral::{Config, File, Io, OpenOptions};
use serde::Serialize;
use wasm_bindgen::JsValue;
use web_sys::{FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

pub(crate) use measure::Measurement;

use crate::opfs;

/// The folder of the files measured on, below the origin's root.
const ROOT: &str = "bench";

/// Both sides of every question: a file through littoral, and one of the browser itself.
struct Sides {
    io: Arc<dyn Io>,
    file: Arc<dyn File>,
    raw: FileSystemSyncAccessHandle,
    options: FileSystemReadWriteOptions,
}

#[derive(Serialize)]
struct Progress {
    stage: &'static str,
    done: usize,
    total: usize,
}

/// Runs all questions.
pub(crate) async fn all(on_progress: &Function) -> Result<Vec<Measurement>, JsValue> {
    opfs::clear(ROOT).await?;
    let io = littoral::start(Config::new().root(ROOT)).map_err(told)?;
    let file = io.open("ours", OpenOptions::new().create(true)).await.map_err(told)?;
    let raw = opfs::access_handle(ROOT, "theirs").await?;
    let sides = Sides { io, file, raw, options: FileSystemReadWriteOptions::new() };
    let mut rows = Vec::new();
    for (done, question) in questions::ALL.iter().enumerate() {
        let progress = Progress { stage: "measuring", done, total: questions::ALL.len() };
        // Nobody may listen, and then nothing is lost.
        let _ = on_progress.call1(&JsValue::NULL, &crate::row::to_json_one(&progress).into());
        rows.push(question(&sides)?);
    }
    sides.raw.close();
    sides.file.close().await.map_err(told)?;
    drop(sides);
    opfs::clear(ROOT).await?;
    Ok(rows)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: littoral::Error) -> JsValue {
    js_sys::Error::new(&error.to_string()).into()
}
