//! What time it is. Neither clock panics, in a browser's worker or elsewhere.
//!
//! A driver asks its ring for a [`Clock`]: real platforms give [`System`], the simulated one a
//! clock of its own, so that there simulated time decides what is too late.

use core::time::Duration;

/// What time it is for a driver, and all that it waits for.
pub trait Clock: Send + Sync {
    /// Nanoseconds since some fixed moment; never goes back.
    fn monotonic_nanos(&self) -> u64;

    /// Nanoseconds since 1970-01-01 UTC; may be set.
    fn wall_nanos(&self) -> u64;

    /// A thread has slept that long, waiting for another thread, and nothing came. A clock that
    /// runs by itself knows; a simulated one takes it for time that went by.
    fn slept(&self, time: Duration) {
        let _ = time;
    }
}

/// The clock of the system, or of the browser.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    fn monotonic_nanos(&self) -> u64 {
        monotonic_nanos()
    }

    fn wall_nanos(&self) -> u64 {
        wall_nanos()
    }
}

cfg_if::cfg_if! {
    if #[cfg(target_arch = "wasm32")] {
        use std::cell::Cell;

        use wasm_bindgen::prelude::wasm_bindgen;

        #[wasm_bindgen]
        extern "C" {
            /// Of the window or of the worker; a web-sys getter would fix which of them.
            #[wasm_bindgen(thread_local_v2, js_name = performance)]
            static PERFORMANCE: Option<web_sys::Performance>;
        }

        /// What a browser tells as milliseconds. Casting saturates, and a number that is none is 0.
        fn nanos(millis: f64) -> u64 {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates at 0 and at 584 years"
            )]
            {
                (millis * 1e6) as u64
            }
        }

        /// Nanoseconds since some moment of this process or worker; never goes back.
        ///
        /// Browsers tell it in steps of 5 or 100 microseconds.
        #[must_use]
        pub fn monotonic_nanos() -> u64 {
            thread_local!(static LATEST: Cell<u64> = const { Cell::new(0) });
            let now = PERFORMANCE.with(|clock| {
                clock.as_ref().map_or_else(js_sys::Date::now, web_sys::Performance::now)
            });
            // The wall clock, where it must serve, may be set back.
            LATEST.set(nanos(now).max(LATEST.get()));
            LATEST.get()
        }

        /// Nanoseconds since 1970-01-01 UTC; 0 before. A browser tells milliseconds.
        #[must_use]
        pub fn wall_nanos() -> u64 {
            nanos(js_sys::Date::now())
        }
    } else {
        use std::sync::LazyLock;
        use std::time::{Instant, SystemTime};

        fn nanos(time: Duration) -> u64 {
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
        }

        /// Nanoseconds since some moment of this process or worker; never goes back.
        #[must_use]
        pub fn monotonic_nanos() -> u64 {
            static START: LazyLock<Instant> = LazyLock::new(Instant::now);
            nanos(START.elapsed())
        }

        /// Nanoseconds since 1970-01-01 UTC; 0 before.
        #[must_use]
        pub fn wall_nanos() -> u64 {
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{monotonic_nanos, wall_nanos};

    #[test]
    fn clocks_run() {
        let before = monotonic_nanos();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic_nanos() - before >= 2_000_000);
        // 2020-01-01, and 2200-01-01.
        assert!((1_577_836_800_000_000_000..7_258_118_400_000_000_000).contains(&wall_nanos()));
    }
}
