//! The demonstration: the cities of the world in redb, in a worker. The work itself is in the
//! `cities` crate, and the same on a server.

use std::sync::Arc;

use cities::query::Answer;
use cities::{demo, raw};
use js_sys::{ArrayBuffer, Function, Uint8Array};
use littoral::platform::faulty::{Faults, Faulty, Script};
use littoral::platform::{Native, Setup};
use littoral::{Config, Io};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

use crate::{opfs, row};

/// The database's file, at the origin's root, where the page looks for it.
const FILE: &str = "cities.redb";

/// Of the ring that misbehaves.
const SEED: u64 = 1;

/// Our word about a database's file, in the report's terms.
#[derive(Serialize)]
struct Cities<'a> {
    rows: u64,
    answers: &'a [Answer],
    scan: &'a [Answer],
    file: &'a str,
    digest_trait: &'a str,
}

#[derive(Serialize)]
struct Answers {
    answers: Vec<Answer>,
}

/// Loads the JSON at `url` into a new database and answers the questions from both.
pub(crate) async fn cities(url: &str, on_progress: &Function) -> Result<String, JsValue> {
    let json = fetch(url).await?;
    let outcome = demo::run(&start()?, FILE, &json, &mut teller(on_progress)).await;
    let outcome = outcome.map_err(told)?;
    Ok(row::to_json_one(&Cities {
        rows: outcome.rows,
        answers: &outcome.answers,
        scan: &outcome.scan,
        file: &outcome.file,
        digest_trait: &outcome.digest,
    }))
}

/// Answers the questions from a database that is there, wherever it was made.
pub(crate) async fn open(name: &str, on_progress: &Function) -> Result<String, JsValue> {
    let answers = demo::answer(&start()?, name, &mut teller(on_progress)).await;
    Ok(row::to_json_one(&Answers { answers: answers.map_err(told)? }))
}

/// Runs the fixed script of raw operations; the digest of what it leaves.
pub(crate) async fn raw(backend: &str, on_progress: &Function) -> Result<String, JsValue> {
    let io = match backend {
        "opfs" => start()?,
        "faulty-opfs" => start_faulty().map_err(|error| told(error.into()))?,
        other => return Err(told(anyhow::anyhow!("there is no backend `{other}`"))),
    };
    let left = raw::run(&io, &mut teller(on_progress)).await;
    Ok(row::to_json_one(&left.map_err(told)?))
}

fn start_faulty() -> littoral::Result<Arc<dyn Io>> {
    let ring = Native::new(&Setup { root: None, in_flight: 2048 })?;
    let ring = Faulty::new(ring, Faults::rough(SEED), Script::new());
    littoral::start_on(Box::new(ring), Config::new())
}

fn start() -> Result<Arc<dyn Io>, JsValue> {
    littoral::start(Config::new()).map_err(|error| told(error.into()))
}

fn teller(on_progress: &Function) -> impl FnMut(cities::progress::Progress) {
    move |progress| {
        // Nobody may listen, and then nothing is lost.
        let _ = on_progress.call1(&JsValue::NULL, &row::to_json_one(&progress).into());
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: anyhow::Error) -> JsValue {
    js_sys::Error::new(&format!("{error:#}")).into()
}

async fn fetch(url: &str) -> Result<Vec<u8>, JsValue> {
    let response = JsFuture::from(opfs::worker().fetch_with_str(url)).await?;
    let response: Response = response.unchecked_into();
    if !response.ok() {
        let text = format!("GET {url}: {} {}", response.status(), response.status_text());
        return Err(js_sys::Error::new(&text).into());
    }
    let bytes: ArrayBuffer = JsFuture::from(response.array_buffer()?).await?.unchecked_into();
    Ok(Uint8Array::new(&bytes).to_vec())
}
