//! Every operation of the platform's ring, in the real browser.
//!
//! What a file API means is the conformance suite's business. Here is what only the backend knows:
//! which number a browser's complaint becomes, that a vector is one call, when a turn comes, and
//! that no access handle is left behind, which would lock its file until the worker ends.

mod data;
mod lies;
mod life;
mod names;
mod refused;
mod space;

use std::fmt::Debug;
use std::pin::Pin;

use littoral_platform::{Errno, OpenFlags};
use wasm_bindgen::JsValue;

use super::Driver;
use crate::limit::within_limit;
use crate::opfs;
use crate::row::Row;

type Outcome = Result<(), String>;
type Check = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

/// The folder of these checks, below the origin's root.
const ROOT: &str = "ring-self-test";

const WRITE: OpenFlags = OpenFlags::WRITE;
const CREATE: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE);
const CREATE_NEW: OpenFlags = CREATE.union(OpenFlags::EXCLUSIVE);

macro_rules! checks {
    ($($module:ident: $($check:ident),+;)+) => {
        &[$($((stringify!($check), || Box::pin($module::$check()))),+),+]
    };
}

const EVERYWHERE: &[(&str, Check)] = checks! {
    names: open_finds_and_creates, folders_are_no_files, bad_names, an_open_file_is_busy,
        a_removed_root_is_found_again;
    data: bytes_come_back, vectors_are_one_call, vectors_end_at_the_area, sync_truncate_and_size,
        a_file_for_reading, far_offsets, memory_may_grow, direct_calls;
    life: full_and_reaped_once, cancel_asks_in_vain, turns_are_gathered, waiting_is_refused,
        a_late_open_is_closed, an_unreaped_open_is_closed, files_go_with_the_last_owner;
    lies: counts, thrown_values, a_silent_truncate;
};

const WITH_A_SMALL_QUOTA: &[(&str, Check)] = checks! {
    space: a_write_without_room_is_no_space, a_truncate_without_room_is_no_space,
        room_that_was_given_back_is_there;
};

const WHERE_FILES_ARE_REFUSED: &[(&str, Check)] = checks! {
    refused: a_refusal_is_no_access;
};

/// Runs the checks that hold in every browser; tells each row as text when it is there.
pub(crate) async fn everywhere(on_row: &js_sys::Function) -> Vec<Row> {
    run(EVERYWHERE, true, on_row).await
}

/// Runs those for a window that gets no files at all.
pub(crate) async fn where_files_are_refused(on_row: &js_sys::Function) -> Vec<Row> {
    run(WHERE_FILES_ARE_REFUSED, false, on_row).await
}

/// Runs those for which someone gave the origin some MiB only.
pub(crate) async fn with_a_small_quota(on_row: &js_sys::Function) -> Vec<Row> {
    run(WITH_A_SMALL_QUOTA, true, on_row).await
}

/// With `clear` on a folder that is empty at the beginning of each.
async fn run(
    checks: &'static [(&'static str, Check)],
    clear: bool,
    on_row: &js_sys::Function,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (check, run) in checks {
        // Nobody may listen, and then nothing is lost.
        let begins = format!(r#"{{"begins":"ring {check}"}}"#);
        let _ = on_row.call1(&JsValue::NULL, &begins.into());
        let cleared = if clear { opfs::clear(ROOT).await } else { Ok(()) };
        let outcome = match cleared {
            Ok(()) => within_limit(run()).await.and_then(|outcome| outcome),
            Err(thrown) => Err(format!("the folder cannot be cleared: {thrown:?}")),
        };
        let row = Row {
            clause: "ring",
            check,
            backend: "opfs",
            mode: "default",
            shape: "worker",
            outcome: if outcome.is_ok() { "passed" } else { "failed" },
            reason: outcome.err().unwrap_or_default(),
        };
        let _ = on_row.call1(&JsValue::NULL, &crate::row::to_json_one(&row).into());
        rows.push(row);
    }
    rows
}

#[allow(clippy::needless_pass_by_value, reason = "called with what was just computed")]
fn same<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Outcome {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}

fn fine<T>(what: &str, got: Result<T, Errno>) -> Result<T, String> {
    got.map_err(|errno| format!("{what}: {errno}"))
}

fn driver() -> Driver {
    Driver::new(Some(ROOT))
}
