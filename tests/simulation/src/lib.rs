//! Random work on littoral over a simulated disk, held against a plain model.
//!
//! A seed decides everything: the shape of the driver, how its ring misbehaves, which operations
//! there are and when the power is lost. It runs natively and in a browser, with the same digest.
//! What is found wrong comes back as text; the same seed finds it again.

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

mod flight;
mod history;
mod random;
mod script;
mod world;

/// What a seed came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Of every result, every byte and every crash: equal for two runs of a seed, on any target.
    pub digest: u64,
    /// How much of everything there was.
    pub counts: Counts,
}

/// How much there was of what a run is to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Counts {
    pub ended: u64,
    pub failed: u64,
    pub detached: u64,
    pub crashes: u64,
    pub merged: u64,
    pub resumed: u64,
    pub retried: u64,
    pub stale: u64,
    pub unaligned: u64,
}

impl Counts {
    /// The sums of both.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        Counts {
            ended: self.ended + other.ended,
            failed: self.failed + other.failed,
            detached: self.detached + other.detached,
            crashes: self.crashes + other.crashes,
            merged: self.merged + other.merged,
            resumed: self.resumed + other.resumed,
            retried: self.retried + other.retried,
            stale: self.stale + other.stale,
            unaligned: self.unaligned + other.unaligned,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { ended, failed, detached, crashes, .. } = self;
        let Counts { merged, resumed, retried, stale, unaligned, .. } = self;
        write!(
            f,
            "{ended} operations ended ({failed} with an error), {detached} were detached, {merged} \
             merged, {resumed} resumed, {retried} retried, {unaligned} of direct files were \
             unaligned; {crashes} crashes, {stale} stale completions"
        )
    }
}

/// The command that runs a seed alone.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("cargo run --profile simulation -p littoral-simulation -- --seed {seed}")
}

/// The seeds that a test is to run: `LITTORAL_SEEDS=a..b` of the environment, or `otherwise`.
///
/// # Panics
/// If there is something else in the environment.
#[must_use]
pub fn seeds(otherwise: Range<u64>) -> Range<u64> {
    std::env::var("LITTORAL_SEEDS").map_or(otherwise, |text| {
        range(&text).unwrap_or_else(|why| panic!("LITTORAL_SEEDS={text}: {why}"))
    })
}

/// Reads `a..b`.
///
/// # Errors
/// Why it is not one.
pub fn range(text: &str) -> Result<Range<u64>, String> {
    let parse = |part: &str| part.parse::<u64>().map_err(|error| format!("`{part}`: {error}"));
    let (start, end) = text.split_once("..").ok_or("a range is two numbers with `..` between")?;
    let range = parse(start)?..parse(end)?;
    if range.is_empty() { Err("no seed is in that range".to_owned()) } else { Ok(range) }
}

/// Runs one seed.
///
/// # Errors
/// What is not as the model says.
pub fn run(seed: u64) -> Result<Seen, String> {
    script::Script::new(seed).and_then(script::Script::run)
}
