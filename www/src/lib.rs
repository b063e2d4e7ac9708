//! What the browser's worker runs: checks, demonstrations and benchmarks of littoral on OPFS.
//!
//! Every export is a function that the page's harness calls by name: it takes its arguments, and
//! last a function to be called with progress; it answers with text, mostly JSON.

#![cfg(target_arch = "wasm32")]

mod bench;
mod conformance;
mod demo;
mod limit;
mod locks;
mod opfs;
mod ring;
mod row;
mod simulation;

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Runs once, when the module is loaded. A panic ends the module with a bare `unreachable`; its
/// text would be lost unless it were written somewhere first.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        let text = format!("panicked: {info}");
        web_sys::console::error_1(&text.into());
    }));
}

/// Runs the conformance suite on the backend `opfs` or `faulty-opfs`: the checks whose clause or
/// name contains `filter`. `on_row` gets each row as JSON, and all of them are the answer; before
/// each check it gets `{ "begins": … }`. Rows call the browser `browser`, or what it says it is.
#[wasm_bindgen]
pub async fn run_conformance(
    backend: String,
    browser: String,
    seed: f64,
    filter: String,
    on_row: js_sys::Function,
) -> Result<String, JsValue> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "any number will do"
    )]
    let seed = seed as u64;
    Ok(row::to_json(&conformance::run_all(&backend, browser, seed, &filter, &on_row).await?))
}

/// What the driver can do in this browser, as JSON.
#[wasm_bindgen]
pub fn capabilities() -> Result<String, JsValue> {
    let io = littoral::start(littoral::Config::new()).map_err(|e| JsValue::from(e.to_string()))?;
    Ok(littoral_conformance::capabilities(&*io))
}

/// Executes every operation on the platform's ring, with nothing above it; rows as JSON. `on_row`
/// gets each one when it is there.
#[wasm_bindgen]
pub async fn ring_self_test(on_row: js_sys::Function) -> String {
    row::to_json(&ring::checks::everywhere(&on_row).await)
}

/// The same for a browser that was told to grant the origin some MiB only: more than 1, less than
/// 64.
#[wasm_bindgen]
pub async fn ring_out_of_space(on_row: js_sys::Function) -> String {
    row::to_json(&ring::checks::with_a_small_quota(&on_row).await)
}

/// The same for a window that gets no files at all, as the private ones of Firefox.
#[wasm_bindgen]
pub async fn ring_refused(on_row: js_sys::Function) -> String {
    row::to_json(&ring::checks::where_files_are_refused(&on_row).await)
}

/// What a call costs on the platform's ring, by size; rows as JSON.
#[wasm_bindgen]
pub async fn ring_costs() -> String {
    row::to_json(&ring::costs::all().await)
}

/// Measures littoral against the browser's own access handle; rows as JSON.
#[wasm_bindgen]
pub async fn bench_web(on_progress: js_sys::Function) -> Result<String, JsValue> {
    Ok(row::to_json(&bench::all(&on_progress).await?))
}

/// Runs the fixed script of raw operations on `opfs` or `faulty-opfs`; JSON with the digest of the
/// file it leaves.
#[wasm_bindgen]
pub async fn raw_script(backend: String, on_progress: js_sys::Function) -> Result<String, JsValue> {
    demo::raw(&backend, &on_progress).await
}

/// Loads the cities of the JSON at `url` into a new redb database; JSON with the answers, and the
/// name and digest of its file.
#[wasm_bindgen]
pub async fn demo_cities(url: String, on_progress: js_sys::Function) -> Result<String, JsValue> {
    demo::cities(&url, &on_progress).await
}

/// Answers the same questions from the database `name` of the origin; JSON with the answers.
#[wasm_bindgen]
pub async fn demo_open(name: String, on_progress: js_sys::Function) -> Result<String, JsValue> {
    demo::open(&name, &on_progress).await
}

/// Does with files and their locks what `order` says, and keeps them for the next order; the answer
/// is what came of it.
#[wasm_bindgen]
pub async fn lock_order(order: String, _on_progress: js_sys::Function) -> String {
    locks::obey(&order).await
}

/// Runs `count` seeds of the simulation from `first` on; JSON with the digest of all of them.
#[wasm_bindgen]
pub async fn simulate(
    first: f64,
    count: f64,
    on_progress: js_sys::Function,
) -> Result<String, JsValue> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers below 2^53, by the harness"
    )]
    let (first, count) = (first as u64, count as u64);
    simulation::simulate(first, count, &on_progress).await
}
