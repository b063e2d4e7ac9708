//! What the contract promises, as checks that every backend runs.
//!
//! A [`Check`] is an async function over a [`Ctx`], which makes drivers on the storage under test.
//! All of them stand in one table, [`checks`]. A runner gives a [`Stage`] (a backend and what can
//! be seen of its storage from outside), drives the futures, and prints one [`Row`] per check.
//!
//! Checks never block: they await completions, so that the same code runs in a browser's worker.
//! They assert through [`ensure!`] and its kin, which count: a check that ends without having
//! asserted anything has failed. What a platform cannot do is a [`Need`] that its stage lacks, and
//! a skip for that reason must stand in `exceptions.toml`, or it is a failure too.
//!
//! # What the compiler checks
//! B1: while an operation has its memory, safe code can neither reach it nor write it.
//! ```compile_fail,E0382
//! # async fn check(file: &dyn littoral::File) -> littoral::Result<()> {
//! let buffer = littoral::Buffer::with_capacity(16);
//! let read = file.pread(0, buffer);
//! println!("{}", buffer.len()); // it moved into the operation
//! # read.await?; Ok(())
//! # }
//! ```
//! ```compile_fail,E0594
//! # fn check(file: &dyn littoral::File) {
//! let shared = littoral::Shared::from(vec![0; 16]);
//! file.pwrite(0, shared.clone()).detach();
//! shared.as_slice().unwrap()[0] = 1; // what a write may be reading cannot be written
//! # }
//! ```
//! ```compile_fail,E0716
//! # fn check(file: &dyn littoral::File) {
//! let bytes: &'static [u8] = &vec![0_u8; 16]; // only what outlives the operation gets in
//! file.pwrite(0, bytes.into()).detach();
//! # }
//! ```
//! C1: a completion of one kind cannot be taken for another.
//! ```compile_fail,E0308
//! # async fn check(file: &dyn littoral::File) -> littoral::Result<()> {
//! let bytes: littoral::Buffer = file.size().await?;
//! # Ok(())
//! # }
//! ```
//! C4: results are owned, so that dropping the driver or the file first is no danger, and this,
//! which differs from the ones above by nothing else, compiles.
//! ```
//! # async fn check(file: &dyn littoral::File) -> littoral::Result<()> {
//! let buffer = littoral::Buffer::with_capacity(16);
//! let read = file.pread(0, buffer);
//! let buffer = read.await?;
//! println!("{}", buffer.len());
//! let shared = littoral::Shared::from(vec![0; 16]);
//! file.pwrite(0, shared.clone()).detach();
//! println!("{}", shared.as_slice().unwrap()[0]);
//! let size: u64 = file.size().await?;
//! # drop(size); Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod capabilities;
mod checks;
mod ctx;
mod exceptions;
#[cfg(feature = "native")]
pub mod native;
#[cfg(all(feature = "native", target_os = "linux"))]
pub mod restrict;
mod row;
mod trace;
mod verdict;

use core::future::Future;
use core::pin::Pin;

pub use capabilities::capabilities;
pub use checks::checks;
pub use ctx::{Base, Ctx, Driver, Later, Plan, Stage};
pub use exceptions::Exceptions;
pub use row::{Place, Row, rows_of_run, run, selects};
pub use verdict::{Extent, Failure, Outcome, count};

/// One promise, tried.
pub struct Check {
    /// The clause of the contract it belongs to.
    pub clause: &'static str,
    /// Unique within its clause.
    pub name: &'static str,
    /// What the platform must be able to do for it to mean something.
    pub needs: &'static [Need],
    /// The check itself.
    pub run: for<'a> fn(&'a Ctx) -> Running<'a>,
}

/// A check that has begun.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// What not every platform has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Threads that may block, beside the one that runs the check.
    Threads,
    /// Panics that unwind.
    Unwinding,
}
