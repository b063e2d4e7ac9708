//! The questions, and what an answer is.

use core::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// A question to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The cities of exactly this name.
    Named(&'static str),
    /// The cities whose name starts so, by name.
    Prefix(&'static str),
    /// The cities of a country.
    InCountry(&'static str),
    /// The cities of a first division of a country whose name starts so.
    InState(&'static str, &'static str, &'static str),
    /// How many cities each country has, by country.
    CountByCountry,
    /// The northernmost city of a country.
    Northernmost(&'static str),
    /// The southernmost city of all.
    Southernmost,
    /// The cities in an area, borders included.
    InBox(Area),
    /// The most frequent names with their counts, most frequent first, then by name.
    CommonNames(usize),
    /// The names that at least so many countries have, with the countries, by name.
    SharedNames(usize),
    /// The cities nearest to a point (latitude and longitude in whole degrees) on a flat map,
    /// nearest first.
    Nearest(i32, i32, usize),
}

/// Borders in tenths of a degree. One whose west is east of its east spans the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The southern border.
    pub south: i32,
    /// The western border.
    pub west: i32,
    /// The northern border.
    pub north: i32,
    /// The eastern border.
    pub east: i32,
}

/// Every question, in order.
pub const QUERIES: [Query; 15] = [
    Query::Named("San Francisco"),
    Query::Named("Zürich"),
    Query::Named("No Such Place"),
    Query::Prefix("Saint-"),
    Query::Prefix("Å"),
    Query::InCountry("IS"),
    Query::InState("US", "CA", "San "),
    Query::CountByCountry,
    Query::Northernmost("NO"),
    Query::Southernmost,
    // The Swiss Alps, and the Pacific on both sides of the date line.
    Query::InBox(Area { south: 458, west: 59, north: 478, east: 105 }),
    Query::InBox(Area { south: -300, west: 1750, north: 300, east: -1700 }),
    Query::CommonNames(20),
    Query::SharedNames(10),
    Query::Nearest(0, 0, 10),
];

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::Named(name) => write!(f, "named `{name}`"),
            Query::Prefix(prefix) => write!(f, "name starts with `{prefix}`"),
            Query::InCountry(country) => write!(f, "in {country}"),
            Query::InState(country, state, prefix) => {
                write!(f, "in {country}-{state}, name starts with `{prefix}`")
            }
            Query::CountByCountry => write!(f, "count by country"),
            Query::Northernmost(country) => write!(f, "northernmost of {country}"),
            Query::Southernmost => write!(f, "southernmost"),
            Query::InBox(Area { south, west, north, east }) => {
                let [south, west, north, east] =
                    [south, west, north, east].map(|tenths| f64::from(*tenths) / 10.0);
                write!(f, "in the area {south}..{north} north, {west}..{east} east")
            }
            Query::CommonNames(count) => write!(f, "the {count} most frequent names"),
            Query::SharedNames(count) => write!(f, "names in at least {count} countries"),
            Query::Nearest(lat, lng, count) => {
                write!(f, "the {count} nearest to {lat} north, {lng} east")
            }
        }
    }
}

/// The answer to a question, by its canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The question.
    pub query: String,
    /// Rows.
    pub count: u64,
    /// SHA-256 of the rows' text, each ended by a line feed.
    pub digest: String,
}

/// An answer in the making.
pub(crate) struct Rows {
    count: u64,
    hash: Sha256,
}

impl Rows {
    /// The answer to `query` that consists of these rows.
    pub(crate) fn answer<R: fmt::Display>(
        query: Query,
        rows: impl IntoIterator<Item = R>,
    ) -> Answer {
        let mut all = Rows { count: 0, hash: Sha256::new() };
        for row in rows {
            all.push(row);
        }
        Answer { query: query.to_string(), count: all.count, digest: hex(all.hash) }
    }

    fn push(&mut self, row: impl fmt::Display) {
        self.count += 1;
        self.hash.update(format!("{row}\n"));
    }
}

/// The digest in hexadecimal.
pub(crate) fn hex(hash: Sha256) -> String {
    use core::fmt::Write;
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
