//! The conformance suite in a worker: its stage on the origin's files, and its runner.
//!
//! Nothing may wait here, so checks are futures of the browser's own loop, one after the other, and
//! drivers are stepped by the host's turns that they ask for themselves.

use std::cell::Cell;

use js_sys::{Function, Reflect};
use littoral::platform::faulty::{Faults, Script};
use littoral::platform::{Faulty, Native, Setup};
use littoral::{Result, start, start_on};
use littoral_conformance::{
    Base, Check, Ctx, Exceptions, Extent, Failure, Later, Need, Outcome, Place, Plan, Row, Stage,
    checks, rows_of_run, run, selects,
};
use wasm_bindgen::JsValue;

use crate::limit::within_limit;
use crate::opfs;

/// The folder of the suite's files, below the origin's root.
const ROOT: &str = "conformance";

/// Runs the selected checks; each row as it comes, and all of them in the end. Before each check
/// its name is told as `{ "begins": … }`: so that one which never ends is known. `browser` is what
/// the rows call this browser, by itself if it is empty.
pub(crate) async fn run_all(
    backend: &str,
    browser: String,
    seed: u64,
    filter: &str,
    on_row: &Function,
) -> std::result::Result<Vec<Row>, JsValue> {
    let faulty = match backend {
        "opfs" => false,
        "faulty-opfs" => true,
        other => return Err(js_sys::Error::new(&format!("there is no backend `{other}`")).into()),
    };
    let exceptions = Exceptions::committed().map_err(|text| js_sys::Error::new(&text))?;
    let place = Place {
        backend: backend.to_owned(),
        browser: Some(if browser.is_empty() { by_agent() } else { browser }),
        mode: "host",
        shape: "worker",
        isolated: isolated(),
    };
    let mut rows = Vec::new();
    let mut tell = |row: Row| {
        // Nobody may listen, and then nothing is lost.
        let _ = on_row.call1(&JsValue::NULL, &row.to_json().into());
        rows.push(row);
    };
    for check in checks().filter(|check| selects(filter, check.clause, check.name)) {
        if !check.needs.is_empty() {
            tell(Row::skipped(check, &place, &exceptions));
            continue;
        }
        let _ = on_row.call1(&JsValue::NULL, &begins(check).into());
        let result = watched(check, faulty, seed).await;
        let result = result.map_err(|why| format!("{why} [{backend}, seed {seed}]"));
        tell(Row::new(check, &place, result));
    }
    for row in rows_of_run(&rows, &place, filter, &exceptions) {
        let _ = on_row.call1(&JsValue::NULL, &row.to_json().into());
        rows.push(row);
    }
    Ok(rows)
}

/// Runs one check on a folder of its own, which must be free of open files afterwards.
async fn watched(check: &Check, faulty: bool, seed: u64) -> std::result::Result<Extent, String> {
    cleared("files of an earlier check are still open").await?;
    let result = {
        let stage = Worker { faulty, seed: Cell::new(seed) };
        let ctx = Ctx::new(Box::new(stage), format!("{ROOT}/root"));
        within_limit(run(check, &ctx)).await
    };
    let extent = result??;
    cleared("it left files open").await?;
    Ok(extent)
}

/// That a check begins, as the harness hears it.
fn begins(check: &Check) -> String {
    format!(r#"{{"begins":"{} {}"}}"#, check.clause, check.name)
}

/// Clears the folder. What was dropped closes on some later turn, so it is tried for a while.
async fn cleared(otherwise: &str) -> std::result::Result<(), String> {
    let mut thrown = JsValue::UNDEFINED;
    for _ in 0..50 {
        match opfs::clear(ROOT).await {
            Ok(()) => return Ok(()),
            Err(why) => thrown = why,
        }
        opfs::pause(10).await;
    }
    Err(format!("{otherwise}: {thrown:?}"))
}

/// The origin's private files, through the plain ring or one that misbehaves.
struct Worker {
    faulty: bool,
    /// Decides what rings do; each driver of a check gets a number of its own from it.
    seed: Cell<u64>,
}

impl Stage for Worker {
    fn has(&self, need: Need) -> bool {
        match need {
            Need::Threads | Need::Unwinding => false,
        }
    }

    fn start(&self, root: &str, plan: &Plan) -> Result<Base> {
        let seed = self.seed.replace(self.seed.get().wrapping_add(1));
        let config = plan.config(root);
        if !self.faulty {
            return Ok((start(config)?, None));
        }
        let setup =
            Setup { root: Some(root.to_owned()), in_flight: plan.operations.saturating_mul(2) };
        let script = Script::new();
        let ring = Faulty::new(
            Native::new(&setup)?,
            Faults { seed, ..plan.faults.clone() },
            script.clone(),
        );
        Ok((start_on(Box::new(ring), config)?, Some(script)))
    }

    fn turn(&self) -> Later<'_, ()> {
        // Long enough for a promise or two, and for the turns that they ask for.
        Box::pin(opfs::pause(1))
    }

    fn outside<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome<Option<Vec<u8>>>> {
        Box::pin(async move { opfs::contents(root, name).await.map_err(failure) })
    }

    fn make_directory<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome> {
        Box::pin(async move { opfs::make_folder(root, name).await.map_err(failure) })
    }

    fn open_files(&self, _root: &str) -> Option<usize> {
        // The browser does not say; opening such a file again would be refused.
        None
    }

    fn limit_space(&self, _bytes: Option<u64>) -> bool {
        // Only the browser's driver can, from outside; `ring_out_of_space` is for that.
        false
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failure(thrown: JsValue) -> Failure {
    Failure::new(format!("the browser: {thrown:?}"))
}

/// What the browser says that it is.
fn by_agent() -> String {
    let agent = opfs::worker().navigator().user_agent().unwrap_or_default();
    let known = [("Firefox/", "firefox"), ("Chrom", "chromium"), ("Safari/", "safari")];
    let name = known.iter().find(|(mark, _)| agent.contains(mark)).map_or("unknown", |(_, n)| n);
    name.to_owned()
}

fn isolated() -> bool {
    Reflect::get(&js_sys::global(), &"crossOriginIsolated".into())
        .is_ok_and(|value| value.is_truthy())
}
