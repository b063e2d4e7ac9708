//! The rings under [littoral](https://docs.rs/littoral): what a platform can do, and nothing else.
//!
//! A [`Ring`] takes entries, submits them, and gives completions back. [`Native`] is the one of
//! the platform that this crate was compiled for. Databases do not use this crate: they use
//! `littoral`, which gives I/O its meaning (whole reads and writes, order, cancellation, teardown)
//! above any ring.
//!
//! Backends are named by mechanism: `uring`, `threads`, `opfs`, `simulated`. [`Faulty`] wraps any
//! of them and misbehaves by a seed, within what a ring is allowed to do.
//!
//! `--cfg littoral_backend="threads"` among the compiler's flags leaves `io_uring` out of a build
//! for Linux; `"uring"` makes its refusal an error.

mod any;
pub mod clock;
mod doors;
mod errno;
pub mod faulty;
pub mod fork;
mod geometry;
#[cfg(target_arch = "wasm32")]
pub mod host;
mod kinds;
mod known;
pub mod lock;
// Its rules are plain Rust, and tested on the machine that builds.
#[cfg(any(test, target_arch = "wasm32"))]
mod opfs;
mod parts;
mod polled;
mod ring;
pub mod sharing;
pub mod simulated;
pub mod thread;
#[cfg(unix)]
pub mod threads;
#[cfg(unix)]
mod unix;

pub use any::{AnyRing, Read};
pub use clock::Clock;
pub use doors::{Direct, Doorbell};
pub use errno::Errno;
pub use faulty::Faulty;
pub use geometry::{Geometry, GeometrySource};
pub use kinds::{Extent, LockKind, RwFlags, SyncKind};
pub use known::{FileKind, Listed, Stat};
pub use parts::{Handle, Name, RESERVED, Region, Span, Tag};
pub use polled::Polled;
pub use ring::{Cqe, Full, Limits, Op, OpenFlags, Report, Ring, Setup, SetupError, Sqe};
pub use simulated::Simulated;
#[cfg(unix)]
pub use threads::Threads;

cfg_if::cfg_if! {
    if #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))] {
        mod native;
        mod uring;
        pub use native::Native;
        pub use uring::Uring;
    } else if #[cfg(unix)] {
        /// The ring of the platform that this crate was compiled for.
        pub type Native = Threads;
    } else if #[cfg(all(target_arch = "wasm32", target_os = "unknown"))] {
        pub use opfs::Opfs;
        /// The ring of the platform that this crate was compiled for.
        pub type Native = Opfs;
    } else {
        compile_error!(
            "littoral-platform has no ring for this target. There is `uring` for Linux, `threads` \
             for every unix system, and `opfs` for wasm32-unknown-unknown in a browser's dedicated \
             worker."
        );
    }
}

/// The ring of the platform, whichever it is.
///
/// # Errors
/// As [`Native::new`].
pub fn native(setup: &Setup) -> Result<Box<dyn Ring>, SetupError> {
    let native = Native::new(setup)?;
    cfg_if::cfg_if! {
        if #[cfg(all(target_os = "linux", not(littoral_backend = "threads")))] {
            Ok(native.into_ring())
        } else {
            Ok(Box::new(native))
        }
    }
}
