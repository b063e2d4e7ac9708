//! A Web Lock beside each access handle, named by the file's path.
//!
//! The access handle decides who has a file: that is the lock, also against code that is not ours.
//! The Web Lock says it to the browser and to the page: a tab that holds one is not frozen in the
//! background with a database in its hands, nor kept aside for the back button, and
//! `navigator.locks.query()` tells which client has which file. So it is asked for when the handle
//! is there, and nobody waits for it: an open takes no longer.
//!
//! Why it does not decide, and nobody waits for it to have the file next: measured from the
//! holder's end (its worker ended, its tab closed or gone elsewhere), a waiting Web Lock was
//! granted after 2 to 110 ms in Chromium 156 and 3 to 13 ms in Firefox ESR 153, and the access
//! handle was free 3 to 44 ms after that. (A worker that was ended while it was busy: both after 2
//! s in Chromium.) So whoever has the Web Lock would have to try for the handle all the same, and
//! the engine's tries are never more than 25 ms apart.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::{Closure, JsValue};
use wasm_bindgen::{JsCast, UnwrapThrowExt};
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// A Web Lock, held or on its way, until this is dropped.
pub(super) struct Mark {
    /// Settles what the browser waits for with the lock.
    release: Function,
}

/// What a file's Web Lock is called.
fn called(root: Option<&str>, name: &str) -> String {
    let folders = root.unwrap_or_default().split('/').filter(|part| !part.is_empty());
    let path: Vec<&str> = folders.chain([name]).collect();
    format!("littoral:{}", path.join("/"))
}

impl Mark {
    /// Asks for it; `None` where the browser has no Web Locks.
    pub(super) fn new(root: Option<&str>, name: &str) -> Option<Mark> {
        let get = |of: &JsValue, key: &str| Reflect::get(of, &JsValue::from_str(key)).ok();
        let navigator = get(&js_sys::global(), "navigator")?;
        let locks = get(&navigator, "locks").filter(JsValue::is_object)?;
        let request: Function = get(&locks, "request")?.dyn_into().ok()?;
        let mut release = None;
        let held = Promise::new(&mut |resolve, _| release = Some(resolve));
        let release = release.expect_throw("a promise calls at once what it is made with");
        // Granted after its release, the lock is given up at once: `held` is settled already.
        let granted = Closure::once_into_js(move |_lock: JsValue| -> JsValue { held.into() });
        let asked = request.call2(&locks, &JsValue::from_str(&called(root, name)), &granted);
        let asked: Promise = asked.ok()?.dyn_into().ok()?;
        // Refused where the origin may have none, for example: it is a mark and no more.
        spawn_local(async move {
            let _ = JsFuture::from(asked).await;
        });
        Some(Mark { release })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // Settling a promise throws nothing.
        let _ = self.release.call0(&JsValue::UNDEFINED);
    }
}
