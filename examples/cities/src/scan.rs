//! The answers without a database: everything is read from the JSON again and looked at.
//!
//! It shares the questions with the other path and nothing else: not the parser, not the type of a
//! city, not the conversion of coordinates, which are floating-point numbers here.

use core::cmp::Reverse;
use core::fmt;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::query::{Answer, Area, QUERIES, Query, Rows};

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    lat: Cow<'a, str>,
    #[serde(borrow)]
    lng: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    admin1: Cow<'a, str>,
    #[serde(borrow)]
    admin2: Cow<'a, str>,
}

struct Row<'a> {
    id: usize,
    record: Record<'a>,
    lat: f64,
    lng: f64,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { id, record: Record { name, country, admin1, admin2, .. }, lat, lng } = self;
        write!(f, "{id}\t{name}\t{lat}\t{lng}\t{country}\t{admin1}\t{admin2}")
    }
}

impl Row<'_> {
    fn is_in(&self, Area { south, west, north, east }: Area) -> bool {
        let [south, west, north, east] =
            [south, west, north, east].map(|tenths| f64::from(tenths) / 10.0);
        let in_width = if west <= east {
            west <= self.lng && self.lng <= east
        } else {
            west <= self.lng || self.lng <= east
        };
        in_width && south <= self.lat && self.lat <= north
    }

    fn distance(&self, lat: i32, lng: i32) -> f64 {
        (self.lat - f64::from(lat)).powi(2) + (self.lng - f64::from(lng)).powi(2)
    }
}

/// Answers every question from the JSON itself.
///
/// # Errors
/// As [`parse`](crate::city::parse).
pub fn answers(json: &[u8]) -> Result<Vec<Answer>> {
    let records: Vec<Record<'_>> = serde_json::from_slice(json).context("cities in JSON")?;
    let mut rows = Vec::with_capacity(records.len());
    for (id, record) in records.into_iter().enumerate() {
        // Adding zero makes a zero positive.
        let number = |text: &str| text.parse().map(|value: f64| value + 0.0);
        let (lat, lng) = (number(&record.lat)?, number(&record.lng)?);
        rows.push(Row { id, record, lat, lng });
    }
    Ok(QUERIES.iter().map(|query| answer(*query, &rows)).collect())
}

fn answer(query: Query, rows: &[Row<'_>]) -> Answer {
    let those = |wanted: &dyn Fn(&Row<'_>) -> bool| {
        Rows::answer(query, rows.iter().filter(|row| wanted(row)))
    };
    match query {
        Query::Named(name) => those(&|row| row.record.name == name),
        Query::InCountry(country) => those(&|row| row.record.country == country),
        Query::InBox(sides) => those(&|row| row.is_in(sides)),
        Query::InState(country, state, prefix) => those(&|row| {
            let Record { name, country: c, admin1, .. } = &row.record;
            c == country && admin1 == state && name.starts_with(prefix)
        }),
        Query::Prefix(prefix) => {
            let mut found: Vec<_> =
                rows.iter().filter(|row| row.record.name.starts_with(prefix)).collect();
            found.sort_by_key(|row| (&row.record.name, row.id));
            Rows::answer(query, found)
        }
        Query::Northernmost(country) => {
            let found = rows.iter().filter(|row| row.record.country == country);
            Rows::answer(
                query,
                found.reduce(|best, row| if row.lat > best.lat { row } else { best }),
            )
        }
        Query::Southernmost => Rows::answer(
            query,
            rows.iter().reduce(|best, row| if row.lat < best.lat { row } else { best }),
        ),
        Query::CountByCountry => {
            let counts = count(rows.iter().map(|row| &*row.record.country));
            Rows::answer(query, counts.iter().map(|(country, count)| format!("{country}\t{count}")))
        }
        Query::CommonNames(wanted) => {
            let counts = count(rows.iter().map(|row| &*row.record.name));
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort_by_key(|(name, count)| (Reverse(*count), *name));
            let most = counts.iter().take(wanted);
            Rows::answer(query, most.map(|(name, count)| format!("{name}\t{count}")))
        }
        Query::SharedNames(wanted) => {
            let mut countries = BTreeMap::<&str, BTreeSet<&str>>::new();
            for Row { record, .. } in rows {
                countries.entry(&record.name).or_default().insert(&record.country);
            }
            let shared = countries.iter().filter(|(_, countries)| countries.len() >= wanted);
            let text = shared.map(|(name, countries)| {
                let countries: Vec<_> = countries.iter().copied().collect();
                format!("{name}\t{}", countries.join(" "))
            });
            Rows::answer(query, text)
        }
        Query::Nearest(lat, lng, wanted) => {
            let mut found: Vec<_> = rows.iter().collect();
            // A stable sort: of two at one distance the first in the data comes first.
            found.sort_by(|a, b| a.distance(lat, lng).total_cmp(&b.distance(lat, lng)));
            Rows::answer(query, found.into_iter().take(wanted))
        }
    }
}

fn count<'a>(keys: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}
