//! What a program asks of the browser that it runs in, besides files.

use core::future::Future;

/// Has the host poll a future to its end, in turns of its own.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

/// A line on the console.
pub fn print(text: &str) {
    web_sys::console::log_1(&text.into());
}

/// A line on the console that tells of a failure.
pub fn complain(text: &str) {
    web_sys::console::error_1(&text.into());
}
