//! A city, and the text that answers are compared by.

use core::fmt;
use core::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Degrees of latitude or longitude, in units of 10⁻⁷.
///
/// A whole number, so that comparing and squaring it is exact everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Degrees(pub i32);

/// Decimals of a [`Degrees`].
const DECIMALS: usize = 7;

/// One degree.
pub const ONE: i32 = 10_i32.pow(7);

impl FromStr for Degrees {
    type Err = anyhow::Error;

    /// Reads a decimal number exactly.
    fn from_str(text: &str) -> Result<Degrees> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            bail!("`{text}` is not a decimal number");
        }
        ensure!(fraction.len() <= DECIMALS, "`{text}` has more than {DECIMALS} decimals");
        let shifted = format!("{whole}{fraction:0<DECIMALS$}");
        let value: i64 = shifted.parse().with_context(|| format!("`{text}` is too large"))?;
        let limit = 180 * i64::from(ONE);
        ensure!(value <= limit, "`{text}` is more than 180 degrees");
        Ok(Degrees(sign * i32::try_from(value)?))
    }
}

impl fmt::Display for Degrees {
    /// As short as exactness allows: `51`, `-0.85833`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (
            self.0.unsigned_abs() / ONE.unsigned_abs(),
            self.0.unsigned_abs() % ONE.unsigned_abs(),
        );
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:0DECIMALS$}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A row of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct City {
    /// Its place in the data, from 0.
    pub id: u32,
    /// What it is called.
    pub name: String,
    /// North of the equator.
    pub lat: Degrees,
    /// East of Greenwich.
    pub lng: Degrees,
    /// Two letters, ISO 3166.
    pub country: String,
    /// First division of the country, by GeoNames' code; may be empty.
    pub admin1: String,
    /// Second division; may be empty.
    pub admin2: String,
}

impl fmt::Display for City {
    /// The canonical text, without the end of line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let City { id, name, lat, lng, country, admin1, admin2 } = self;
        write!(f, "{id}\t{name}\t{lat}\t{lng}\t{country}\t{admin1}\t{admin2}")
    }
}

/// As the file has it.
#[derive(Deserialize)]
struct Record {
    name: String,
    lat: String,
    lng: String,
    country: String,
    admin1: String,
    admin2: String,
}

/// Reads the cities of a JSON file: one array of objects, all fields text.
///
/// # Errors
/// Text that is not such a JSON, or has a coordinate that is none.
pub fn parse(json: &[u8]) -> Result<Vec<City>> {
    let records: Vec<Record> = serde_json::from_slice(json).context("cities in JSON")?;
    let city = |(id, record): (u32, Record)| {
        let Record { name, lat, lng, country, admin1, admin2 } = record;
        let degrees = |text: &str| text.parse().with_context(|| format!("city {id}, `{name}`"));
        let (lat, lng) = (degrees(&lat)?, degrees(&lng)?);
        Ok(City { id, name, lat, lng, country, admin1, admin2 })
    };
    (0..).zip(records).map(city).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_read_and_written_exactly() {
        let cases = [("51", 510_000_000), ("-0.85833", -8_583_300), ("0.0000001", 1)];
        for (text, value) in cases {
            let degrees: Degrees = text.parse().expect(text);
            assert_eq!((degrees.0, degrees.to_string().as_str()), (value, text));
        }
        assert_eq!("-0.50".parse::<Degrees>().expect("a number").to_string(), "-0.5");
    }

    #[test]
    fn what_is_no_coordinate_is_refused() {
        for text in
            ["", "-", ".5", "1e3", "+1", "1.12345678", "180.0000001", "99999999999999999999"]
        {
            assert!(text.parse::<Degrees>().is_err(), "`{text}`");
        }
    }
}
