//! Memory that operations may own.
//!
//! - [`Buffer`] is unique: reads fill it. While an operation has it, nobody else can reach it.
//! - [`Shared`] is frozen: writes take it. It is cloned and sliced without a copy.
//! - [`Vector`] is a list of shared ones, for vectored writes.
//! - [`Arena`] hands out buffers from one allocation and takes them back however they are lost.
//!
//! All of them are pointers into memory with a counted header, see `raw`.

mod arena;
mod free;
mod raw;
mod regions;
mod shared;
mod unique;
mod vector;

pub use arena::{Arena, ClassStatistics, Spill, TakeError};
pub use shared::Shared;
pub use unique::Buffer;
pub use vector::Vector;
