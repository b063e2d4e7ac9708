//! Driving a driver from code that waits.

mod block_on;
mod run;

pub use block_on::{batch, block_on, drain, wait};
pub use run::run;
