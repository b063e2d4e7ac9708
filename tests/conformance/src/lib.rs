//! What the contract promises, as checks that every backend runs.
//!
//! A [`Check`] is an async function over a [`Ctx`], which makes drivers on the storage under test.
//! All of them stand in one table, [`checks`]. A runner gives a [`Stage`] (a backend and what can be
//! seen of its storage from outside), drives the futures, and prints one [`Row`] per check.
//!
//! Checks never block: they await completions, so that the same code runs in a browser's worker.
//! They assert through [`ensure!`] and its kin, which count: a check that ends without having
//! asserted anything has failed. What a platform cannot do is a [`Need`] that its stage lacks, and a
//! skip for that reason must stand in `exceptions.toml`, or it is a failure too.

mod checks;
mod ctx;
mod exceptions;
#[cfg(feature = "native")]
pub mod native;
mod row;
mod trace;
mod verdict;

use core::future::Future;
use core::pin::Pin;

pub use checks::checks;
pub use ctx::{Base, Ctx, Driver, Later, Plan, Stage};
pub use exceptions::Exceptions;
pub use row::{Place, Row, rows_of_run, run, selects};
pub use verdict::{Failure, Outcome, count};

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
