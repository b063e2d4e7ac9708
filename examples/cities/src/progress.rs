//! How far something is.

use serde::Serialize;

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Of `total`.
    pub done: u64,
    /// When `done` is this, the stage is over.
    pub total: u64,
}

/// Whom to tell.
pub type Report<'a> = dyn FnMut(Progress) + 'a;
