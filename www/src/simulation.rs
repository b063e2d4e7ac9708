//! Seeds of the simulation in a worker: they come to the same here as natively.

use js_sys::Function;
use littoral_simulation::{Counts, replay, run};
use serde::Serialize;
use wasm_bindgen::JsValue;

use crate::opfs;

/// What the seeds came to together.
#[derive(Serialize)]
struct Found {
    /// The sum of theirs, as hexadecimal digits: it does not fit a number of JavaScript.
    digest: String,
    counts: String,
}

/// Runs `count` seeds from `first` on; `on_progress` gets the number of each twentieth.
pub(crate) async fn simulate(
    first: u64,
    count: u64,
    on_progress: &Function,
) -> Result<String, JsValue> {
    let (mut digest, mut counts) = (0_u64, Counts::default());
    for seed in first..first + count {
        let seen = run(seed).map_err(|why| {
            let command = replay(seed);
            js_sys::Error::new(&format!("seed {seed}: {why}; natively: {command}"))
        })?;
        digest = digest.wrapping_add(seen.digest);
        counts = counts.and(seen.counts);
        if seed % 20 == 0 {
            // Nobody may listen, and then nothing is lost.
            let _ = on_progress.call1(&JsValue::NULL, &JsValue::from(seed));
            opfs::pause(0).await;
        }
    }
    let found = Found { digest: format!("{digest:016x}"), counts: counts.to_string() };
    serde_json::to_string(&found).map_err(|error| js_sys::Error::new(&error.to_string()).into())
}
