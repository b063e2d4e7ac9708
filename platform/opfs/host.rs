//! What a ring has on the side of JavaScript, in the worker that made it: the table of access
//! handles, the folder its names are below, and the channel by which it asks for a turn.
//!
//! None of it may be `Send`, so the ring holds its number only.

use core::time::Duration;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue};
use web_sys::{DedicatedWorkerGlobalScope, FileSystemDirectoryHandle, MessageChannel, MessagePort};

use super::access::Browser;
use super::table::Table;
use crate::{Errno, SetupError};

thread_local! {
    static TABLE: RefCell<Table<Browser>> = RefCell::default();
    static RINGS: RefCell<HashMap<u64, Side>> = RefCell::default();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Runs `with` on the worker's table. The calls of an access handle run no code of ours, so the
/// table is never asked for twice at once.
pub(super) fn table<T>(with: impl FnOnce(&mut Table<Browser>) -> T) -> T {
    TABLE.with_borrow_mut(with)
}

/// A ring's side here.
struct Side {
    /// The folder of its names, found at the first use.
    root: Option<FileSystemDirectoryHandle>,
    /// A message to oneself is the shortest way to a task of one's own: timers are held back by
    /// browsers, and a microtask is no task.
    ask: MessagePort,
    heard: MessagePort,
    /// Called by `heard`. JavaScript keeps it alive while it runs, even if it drops the ring.
    turn: Option<Closure<dyn Fn()>>,
    alarm: Option<Alarm>,
}

/// A turn that is to be asked for later.
struct Alarm {
    timer: i32,
    /// Called by the timer.
    _call: Closure<dyn Fn()>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // One that has gone off is cleared as well, to no effect.
        worker().clear_timeout_with_handle(self.timer);
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.heard.set_onmessage(None);
        self.heard.close();
        self.ask.close();
    }
}

/// Enters a new ring; its number.
pub(super) fn enter() -> Result<u64, SetupError> {
    probe()?;
    let channel = MessageChannel::new().map_err(|_| SetupError {
        what: "the worker got no MessageChannel, by which turns are asked for".into(),
        code: Errno::NOMEM,
    })?;
    let (ask, heard) = (channel.port1(), channel.port2());
    let ring = NEXT.replace(NEXT.get() + 1);
    let side = Side { root: None, ask, heard, turn: None, alarm: None };
    RINGS.with_borrow_mut(|rings| rings.insert(ring, side));
    Ok(ring)
}

/// Strikes a ring off, and closes the files it left open; the names of those to be removed now.
pub(super) fn leave(ring: u64) -> Vec<String> {
    let side = RINGS.with_borrow_mut(|rings| rings.remove(&ring));
    let temporaries = table(|table| table.close_all_of(ring));
    drop(side);
    temporaries
}

/// From now on calls `turn` for each [`ask_turn`]; `None` is silence.
pub(super) fn on_turn(ring: u64, turn: Option<Closure<dyn Fn()>>) {
    let before = RINGS.with_borrow_mut(|rings| {
        let side = rings.get_mut(&ring)?;
        side.heard.set_onmessage(turn.as_ref().map(|turn| turn.as_ref().unchecked_ref()));
        core::mem::replace(&mut side.turn, turn)
    });
    // After the borrow: dropping it runs the user's code.
    drop(before);
}

/// Asks for a turn; false if nobody wants one.
pub(super) fn ask_turn(ring: u64) -> bool {
    RINGS.with_borrow(|rings| {
        let side = rings.get(&ring).filter(|side| side.turn.is_some());
        side.is_some_and(|side| side.ask.post_message(&JsValue::NULL).is_ok())
    })
}

/// Calls `call` after that time, instead of what was to be called before. Where the browser gives
/// no timer a turn is asked for now.
pub(super) fn set_alarm(ring: u64, time: Duration, call: impl Fn() + 'static) {
    let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
    let call = Closure::<dyn Fn()>::new(call);
    let function = call.as_ref().unchecked_ref();
    let set = worker().set_timeout_with_callback_and_timeout_and_arguments_0(function, millis);
    let Ok(timer) = set else {
        ask_turn(ring);
        return;
    };
    let before = RINGS.with_borrow_mut(|rings| {
        rings.get_mut(&ring).and_then(|side| side.alarm.replace(Alarm { timer, _call: call }))
    });
    drop(before);
}

fn worker() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// The folder of a ring, if it was found before.
pub(super) fn root(ring: u64) -> Option<FileSystemDirectoryHandle> {
    RINGS.with_borrow(|rings| rings.get(&ring).and_then(|side| side.root.clone()))
}

/// Remembers the folder of a ring, or forgets it.
pub(super) fn set_root(ring: u64, root: Option<FileSystemDirectoryHandle>) {
    RINGS.with_borrow_mut(|rings| {
        if let Some(side) = rings.get_mut(&ring) {
            side.root = root;
        }
    });
}

/// Whether this thread can have access handles at all.
fn probe() -> Result<(), SetupError> {
    let refuse = |what: &str| Err(SetupError { what: what.into(), code: Errno::OPNOTSUPP });
    let global: JsValue = js_sys::global().into();
    if !global.is_instance_of::<DedicatedWorkerGlobalScope>() {
        return refuse(
            "OPFS access handles exist in dedicated workers only, and this is none: start the \
             driver in a `new Worker(…)` of the page",
        );
    }
    let get = |of: &JsValue, name: &str| {
        js_sys::Reflect::get(of, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
    };
    let storage = get(&get(&global, "navigator"), "storage");
    if storage.is_falsy() {
        return refuse(
            "this page may not use storage, there is no navigator.storage: serve it over https, \
             or from localhost",
        );
    }
    if !get(&storage, "getDirectory").is_function() {
        return refuse(
            "this browser has no OPFS, there is no navigator.storage.getDirectory: use Chromium \
             108, Firefox 111, Safari 16.4 or newer",
        );
    }
    let handle = get(&get(&global, "FileSystemSyncAccessHandle"), "prototype");
    if !["read", "write", "getSize", "truncate", "flush", "close"]
        .iter()
        .all(|method| get(&handle, method).is_function())
    {
        return refuse(
            "this browser has no synchronous access handles, or incomplete ones: use Chromium \
             108, Firefox 111, Safari 16.4 or newer",
        );
    }
    Ok(())
}
