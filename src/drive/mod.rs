//! Driving a driver from code that waits.

mod block_on;
mod poller;
mod run;

pub use block_on::{batch, block_on, drain, wait};
pub use poller::Poller;
pub use run::run;
