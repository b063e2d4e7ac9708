//! Memory that operations may own.
//!
//! - [`Buffer`] is unique: reads fill it. While an operation has it, nobody else can reach it.
//! - [`Shared`] is frozen: writes take it. It is cloned and sliced without a copy.
//! - [`Vector`] is a list of shared ones, for vectored writes.
//! - [`Arena`] hands out buffers from one allocation and takes them back however they are lost.
//!
//! All unsafe code is in `raw`, which knows one thing: a pointer with a counted header behind it.

mod arena;
mod raw;
mod vector;

pub use arena::Arena;
pub use raw::{Buffer, Shared};
pub use vector::Vector;
