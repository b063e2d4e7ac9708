//! What the programs of this package have in common.
#![deny(unsafe_code)]

pub mod callgrind;
