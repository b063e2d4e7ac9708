//! What every side of a native benchmark has in common.
//!
//! A *side* is whatever does a [workload](Workload): littoral, a library beside it, or a bare loop.
//! Each is a process of its own, so that their locks, allocators and versions cannot meet, and
//! speaks one small protocol with the program that compares them: a line of JSON [asks](Ask), a
//! line of JSON [answers](Answer). A side only says how it opens files ([`Side`]) and does batches
//! ([`Lane`]); everything else, measuring included, is done here and so is the same for all.
//!
//! A *batch* is some number of transfers that are started together and all awaited, then a sync if
//! the workload is to be durable.
#![deny(unsafe_code)]
#![allow(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]

pub mod hazards;
pub mod memory;
mod protocol;
mod serve;
mod work;
mod workload;

pub use hazards::{Found, Hazard};
pub use protocol::{Answer, Ask, Sample};
pub use serve::serve;
pub use work::{Batches, Place, Work, is_page, page_number};
pub use workload::{Direction, Order, Workload};

use std::error::Error;
use std::fmt;
use std::path::Path;

use anyhow::Result;

/// The flag of `open(2)` for direct I/O.
pub const DIRECT: i32 = nix::fcntl::OFlag::O_DIRECT.bits();

/// One library, or one configuration of it.
pub trait Side {
    /// What is measured: versions, flags, and how bytes are made durable.
    fn configuration(&self, work: &Work) -> String;

    /// Starts its driver and opens the files.
    ///
    /// # Errors
    /// [`Refused`] where the library cannot do such work.
    fn open(&self, work: &Work) -> Result<Lanes>;

    /// Goes into a scenario, with files in a folder.
    ///
    /// # Errors
    /// Where it could not be gone into.
    fn meet(&self, _hazard: Hazard, _folder: &Path) -> Result<Found> {
        Ok(Found::Inapplicable("it is tried by this project's tests".to_owned()))
    }
}

/// A driver, and what each thread needs to use it.
pub enum Lanes {
    /// For this thread alone.
    Here(Box<dyn Lane>),
    /// One for each thread.
    Across(Vec<Box<dyn Lane + Send>>),
}

/// What one thread needs to do batches: handles, buffers, and a hold on the driver.
pub trait Lane {
    /// Does batches, one after another. Reads are checked: their length, and whose page it is.
    ///
    /// # Errors
    /// Where a transfer fails, is not whole, or has wrong bytes.
    fn run(&mut self, batches: Batches<'_>) -> Result<()>;

    /// What the last run cost, where the lane has measured it by itself.
    fn told(&mut self) -> Option<Sample> {
        None
    }
}

/// A library cannot do a workload, for this reason.
#[derive(Debug)]
pub struct Refused(pub String);

impl Refused {
    /// Gives the reason as an error.
    pub fn because<T>(reason: impl Into<String>) -> Result<T> {
        Err(Refused(reason.into()).into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}
