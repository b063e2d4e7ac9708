//! The contract's checks in a worker: the stage they stand on here, and their runner.

use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::task::Poll;
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use littoral::{Config, Result};
use littoral_conformance::{
    Base, Check, Ctx, Exceptions, Failure, Later, Need, Outcome, Place, Plan, Row, Stage, checks,
    rows_of_run, run, selects,
};
use littoral_platform::faulty::{Faults, Script};
use littoral_platform::{Faulty, Native, Setup};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::opfs;

/// A check that takes longer hangs.
const TIME_LIMIT_MILLIS: i32 = 20_000;

/// One backend of the worker.
struct WebStage {
    faulty: bool,
    /// Decides what rings do; each driver of a check gets a number of its own from it.
    seed: Cell<u64>,
}

impl Stage for WebStage {
    fn has(&self, need: Need) -> bool {
        match need {
            // A module without shared memory has one thread, and a panic ends it.
            Need::Threads | Need::Unwinding => false,
        }
    }

    fn start(&self, root: &str, plan: &Plan) -> Result<Base> {
        let seed = self.seed.replace(self.seed.get() + 1);
        let config = Config::new()
            .root(root.to_owned())
            .operations(plan.operations)
            .drain_timeout(plan.drain);
        let in_flight = plan.operations.saturating_mul(2);
        let setup = Setup { root: Some(root.to_owned()), in_flight };
        if let Ok(ring) = Native::new(&setup)
            && self.faulty
        {
            let script = Script::new();
            let ring = Faulty::new(ring, Faults { seed, ..plan.faults.clone() }, script.clone());
            return Ok((littoral::start_on(Box::new(ring), config)?, Some(script)));
        }
        Ok((littoral::start(config)?, None))
    }

    fn turn(&self) -> Later<'_, ()> {
        Box::pin(async { timer(0).await })
    }

    fn outside<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome<Option<Vec<u8>>>> {
        Box::pin(async move { opfs::read(root, name).await.map_err(|thrown| told(&thrown)) })
    }

    fn make_directory<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome> {
        Box::pin(async move { opfs::make_folder(root, name).await.map_err(|thrown| told(&thrown)) })
    }

    /// A quota is the browser's, and for the whole origin: see `ring_out_of_space`.
    fn limit_space(&self, _: Option<u64>) -> bool {
        false
    }
}

#[track_caller]
fn told(thrown: &JsValue) -> Failure {
    Failure::new(format!("the browser threw {thrown:?}"))
}

/// A task of the host later, at least that many milliseconds.
async fn timer(millis: i32) {
    let mut started = |resolve: Function, _: Function| {
        let timer = Reflect::get(&js_sys::global(), &"setTimeout".into());
        let timer: Function = timer.expect("every worker has timers").unchecked_into();
        timer.call2(&JsValue::NULL, &resolve, &millis.into()).expect("a timer starts");
    };
    // A timer's promise is never rejected.
    let _ = JsFuture::from(Promise::new(&mut started)).await;
}

/// Runs `future` until the time is over.
async fn limited<T>(future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut timer) = (pin!(future), pin!(timer(TIME_LIMIT_MILLIS)));
    core::future::poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

fn place(backend: &str) -> Place {
    let global = js_sys::global();
    let of = |object: &JsValue, name: &str| Reflect::get(object, &name.into()).unwrap_or_default();
    let agent = of(&of(&global, "navigator"), "userAgent").as_string().unwrap_or_default();
    let browser = if agent.contains("Firefox") { "firefox" } else { "chromium" };
    Place {
        backend: backend.to_owned(),
        browser: Some(browser.to_owned()),
        mode: "host",
        shape: "worker",
        isolated: of(&global, "crossOriginIsolated").as_bool().unwrap_or(false),
    }
}

/// Runs one check in a folder of its own.
async fn check_result(check: &Check, stage: WebStage, root: String) -> Result<(), String> {
    opfs::clear(&root).await.map_err(|thrown| told(&thrown).to_string())?;
    let ctx = Rc::new(Ctx::new(Box::new(stage), root.clone()));
    let result = limited(run(check, &ctx)).await;
    drop(ctx);
    // What a failed check left open cannot be removed; the profile goes with the browser.
    let _ = opfs::clear(&root).await;
    result.unwrap_or_else(|| Err(format!("it hangs: no end within {TIME_LIMIT_MILLIS} ms")))
}

/// Runs every selected check on `opfs` or `faulty-opfs`.
pub(crate) async fn all(
    backend: &str,
    seed: u64,
    filter: &str,
    on_row: &Function,
) -> Result<Vec<Row>, JsValue> {
    let faulty = match backend {
        "opfs" => false,
        "faulty-opfs" => true,
        other => return Err(format!("there is no backend {other} here").into()),
    };
    let (exceptions, place) = (Exceptions::committed()?, place(backend));
    let mut rows = Vec::new();
    let tell = |row: &Row| on_row.call1(&JsValue::NULL, &row.to_json().into()).map(drop);
    let selected = checks().filter(|check| selects(filter, check.clause, check.name));
    for (n, check) in selected.enumerate() {
        let stage = WebStage { faulty, seed: Cell::new(seed) };
        let row = if check.needs.iter().any(|need| !stage.has(*need)) {
            Row::skipped(check, &place, &exceptions)
        } else {
            let result = check_result(check, stage, format!("conformance-{n}")).await;
            let why = |why| format!("{why} [{backend}, seed {seed}]");
            Row::new(check, &place, result.map_err(why))
        };
        tell(&row)?;
        rows.push(row);
    }
    for row in rows_of_run(&rows, &place, filter, &exceptions) {
        tell(&row)?;
        rows.push(row);
    }
    Ok(rows)
}
