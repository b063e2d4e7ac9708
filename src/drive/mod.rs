//! Driving a driver from code that waits.

mod block_on;

pub use block_on::{batch, block_on, drain, wait};
