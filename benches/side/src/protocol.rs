//! What goes over the pipes: each a line of JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Found, Hazard, Workload};

/// Asked of a side, on its standard input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Get ready for a workload on these files. They are laid out by [`Work`](crate::Work).
    Open {
        /// What will be done.
        workload: Workload,
        /// As many as the workload has.
        files: Vec<PathBuf>,
    },
    /// Do so many batches and tell what they cost.
    Run {
        /// By every thread together.
        batches: u64,
    },
    /// Go into a scenario, with files in this folder.
    Meet(Hazard, PathBuf),
    /// Let go of everything.
    Close,
}

/// Answered by a side, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The workload is open.
    Ready {
        /// See [`Side::configuration`](crate::Side::configuration).
        configuration: String,
    },
    /// The library cannot do it, for this reason.
    Refused(String),
    /// What the batches cost.
    Ran(Sample),
    /// What came of a scenario.
    Met(Found),
    /// All is let go.
    Closed,
    /// It went wrong.
    Failed(String),
}

/// What a run cost, all threads and kernel workers of the process together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sample {
    /// Transfers done.
    pub operations: u64,
    /// Of the wall's clock.
    pub seconds: f64,
    /// Of processors, for the program and in the kernel for it.
    pub processor: f64,
    /// Voluntary and involuntary.
    pub switches: f64,
    /// Calls of the allocator that gave new memory; none where they are not seen.
    pub allocations: Option<f64>,
}
