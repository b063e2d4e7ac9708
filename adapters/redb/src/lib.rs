#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod queue;

pub use backend::RedbFile;
