//! The cities in redb, and the answers from its tables and indexes.

use core::cmp::Reverse;
use core::fmt;
use std::collections::BTreeSet;

use anyhow::{Context, Result};
use redb::{
    Database, MultimapTableDefinition, ReadOnlyMultimapTable, ReadOnlyTable, ReadableDatabase,
    ReadableMultimapTable, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::city::{City, Degrees, ONE};
use crate::progress::{Progress, Report};
use crate::query::{Answer, Area, QUERIES, Query, Rows};

/// Name, latitude, longitude, country, first and second division.
type Record<'a> = (&'a str, i32, i32, &'a str, &'a str, &'a str);

const CITIES: TableDefinition<'_, u32, Record<'_>> = TableDefinition::new("cities");
const BY_NAME: MultimapTableDefinition<'_, &str, u32> = MultimapTableDefinition::new("by name");
const BY_COUNTRY: MultimapTableDefinition<'_, &str, u32> =
    MultimapTableDefinition::new("by country");

/// Cities of one transaction.
const BATCH: usize = 20_000;

/// Stores `cities` and their indexes in an empty database, in a few durable transactions.
///
/// # Errors
/// The database's.
pub fn load(database: &Database, cities: &[City], progress: &mut Report<'_>) -> Result<()> {
    let total = cities.len() as u64;
    let mut done = 0;
    for batch in cities.chunks(BATCH) {
        progress(Progress { stage: "loading", done, total });
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(CITIES)?;
            let mut by_name = write.open_multimap_table(BY_NAME)?;
            let mut by_country = write.open_multimap_table(BY_COUNTRY)?;
            for City { id, name, lat, lng, country, admin1, admin2 } in batch {
                table.insert(id, (&**name, lat.0, lng.0, &**country, &**admin1, &**admin2))?;
                by_country.insert(&**country, id)?;
            }
            // In the order of the keys an index fills page by page.
            let mut sorted: Vec<_> = batch.iter().map(|city| (&*city.name, city.id)).collect();
            sorted.sort_unstable();
            for (name, id) in sorted {
                by_name.insert(name, id)?;
            }
        }
        write.commit()?;
        done += batch.len() as u64;
    }
    progress(Progress { stage: "loading", done, total });
    Ok(())
}

/// Answers every question from the database.
///
/// # Errors
/// The database's; it must have been filled by [`load`].
pub fn answers(database: &Database, progress: &mut Report<'_>) -> Result<Vec<Answer>> {
    let tables = Tables::open(database).context("is it a database of cities?")?;
    let total = QUERIES.len() as u64;
    let mut answers = Vec::new();
    for (done, query) in (0..).zip(QUERIES) {
        progress(Progress { stage: "asking", done, total });
        answers.push(tables.answer(query)?);
    }
    progress(Progress { stage: "asking", done: total, total });
    Ok(answers)
}

/// How many cities a database has.
///
/// # Errors
/// As [`answers`].
pub fn count(database: &Database) -> Result<u64> {
    Ok(Tables::open(database)?.cities.len()?)
}

struct Tables {
    cities: ReadOnlyTable<u32, Record<'static>>,
    by_name: ReadOnlyMultimapTable<&'static str, u32>,
    by_country: ReadOnlyMultimapTable<&'static str, u32>,
}

impl Tables {
    fn open(database: &Database) -> Result<Tables> {
        let read = database.begin_read()?;
        Ok(Tables {
            cities: read.open_table(CITIES)?,
            by_name: read.open_multimap_table(BY_NAME)?,
            by_country: read.open_multimap_table(BY_COUNTRY)?,
        })
    }

    fn answer(&self, query: Query) -> Result<Answer> {
        Ok(match query {
            Query::Named(name) => Rows::answer(query, self.named(name)?),
            Query::Prefix(prefix) => Rows::answer(query, self.prefixed(prefix)?),
            Query::InCountry(country) => Rows::answer(query, self.in_country(country)?),
            Query::InState(country, state, prefix) => {
                let all = self.in_country(country)?.into_iter();
                let fits = |c: &City| c.admin1 == state && c.name.starts_with(prefix);
                Rows::answer(query, all.filter(fits))
            }
            Query::CountByCountry => Rows::answer(query, self.count_by_country()?),
            Query::Northernmost(country) => {
                let all = self.in_country(country)?.into_iter();
                Rows::answer(query, all.max_by_key(|city| (city.lat, Reverse(city.id))))
            }
            Query::Southernmost => {
                let mut best: Option<City> = None;
                self.each(|city| {
                    if best.as_ref().is_none_or(|best| city.lat < best.lat) {
                        best = Some(city);
                    }
                })?;
                Rows::answer(query, best)
            }
            Query::InBox(area) => {
                let mut found = Vec::new();
                self.each(|city| {
                    if is_in(area, &city) {
                        found.push(city);
                    }
                })?;
                Rows::answer(query, found)
            }
            Query::CommonNames(wanted) => Rows::answer(query, self.common_names(wanted)?),
            Query::SharedNames(wanted) => Rows::answer(query, self.shared_names(wanted)?),
            Query::Nearest(lat, lng, wanted) => {
                Rows::answer(query, self.nearest(lat, lng, wanted)?)
            }
        })
    }

    fn city(&self, id: u32) -> Result<City> {
        let record = self.cities.get(id)?.with_context(|| format!("an index has city {id}"))?;
        Ok(decode(id, record.value()))
    }

    /// Every city, in order.
    fn each(&self, mut look: impl FnMut(City)) -> Result<()> {
        for entry in self.cities.iter()? {
            let (id, record) = entry?;
            look(decode(id.value(), record.value()));
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Vec<City>> {
        self.by_name.get(name)?.map(|id| self.city(id?.value())).collect()
    }

    fn in_country(&self, country: &str) -> Result<Vec<City>> {
        self.by_country.get(country)?.map(|id| self.city(id?.value())).collect()
    }

    fn prefixed(&self, prefix: &str) -> Result<Vec<City>> {
        let mut found = Vec::new();
        for entry in self.by_name.range(prefix..)? {
            let (name, ids) = entry?;
            if !name.value().starts_with(prefix) {
                break;
            }
            for id in ids {
                found.push(self.city(id?.value())?);
            }
        }
        Ok(found)
    }

    fn count_by_country(&self) -> Result<Vec<impl fmt::Display>> {
        let entries = self.by_country.iter()?;
        entries
            .map(|entry| {
                let (country, ids) = entry?;
                Ok(format!("{}\t{}", country.value(), ids.len()))
            })
            .collect()
    }

    fn common_names(&self, wanted: usize) -> Result<Vec<impl fmt::Display>> {
        let mut counts = Vec::new();
        for entry in self.by_name.iter()? {
            let (name, ids) = entry?;
            counts.push((Reverse(ids.len()), name.value().to_owned()));
        }
        counts.sort_unstable();
        counts.truncate(wanted);
        Ok(counts.into_iter().map(|(Reverse(count), name)| format!("{name}\t{count}")).collect())
    }

    fn shared_names(&self, wanted: usize) -> Result<Vec<impl fmt::Display>> {
        let mut found = Vec::new();
        for entry in self.by_name.iter()? {
            let (name, ids) = entry?;
            // No name has more countries than cities.
            if ids.len() < wanted as u64 {
                continue;
            }
            let countries = ids.map(|id| Ok(self.city(id?.value())?.country));
            let countries: BTreeSet<String> = countries.collect::<Result<_>>()?;
            if countries.len() >= wanted {
                let countries = Vec::from_iter(countries).join(" ");
                found.push(format!("{}\t{countries}", name.value()));
            }
        }
        Ok(found)
    }

    fn nearest(&self, lat: i32, lng: i32, wanted: usize) -> Result<Vec<City>> {
        let mut found = Vec::new();
        self.each(|city| {
            let square = |of: Degrees, degrees: i32| {
                let apart = i128::from(of.0) - i128::from(degrees) * i128::from(ONE);
                apart * apart
            };
            found.push((square(city.lat, lat) + square(city.lng, lng), city));
        })?;
        found.sort_by_key(|(distance, city)| (*distance, city.id));
        found.truncate(wanted);
        Ok(found.into_iter().map(|(_, city)| city).collect())
    }
}

fn decode(id: u32, (name, lat, lng, country, admin1, admin2): Record<'_>) -> City {
    City {
        id,
        name: name.to_owned(),
        lat: Degrees(lat),
        lng: Degrees(lng),
        country: country.to_owned(),
        admin1: admin1.to_owned(),
        admin2: admin2.to_owned(),
    }
}

fn is_in(area: Area, city: &City) -> bool {
    let border = |tenths: i32| Degrees(tenths * (ONE / 10));
    let (west, east) = (border(area.west), border(area.east));
    let in_width = if west <= east {
        (west..=east).contains(&city.lng)
    } else {
        city.lng >= west || city.lng <= east
    };
    in_width && (border(area.south)..=border(area.north)).contains(&city.lat)
}
