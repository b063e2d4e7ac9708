//! What littoral costs on Linux, against what a program would use without it: plain `pread` and
//! `pwrite`, and the bare `io-uring` crate in a loop.
//!
//! Every question prints one row as JSON on a line of its own. Times of a shared machine drift, so
//! subject and reference take turns, and what is judged is the ratio of their times with an
//! interval, never a time by itself.
#![deny(unsafe_code)]

mod measure;
mod questions;
mod reference;
mod sides;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::measure::Plan;
use crate::sides::Sides;

/// Measures littoral on this machine; rows as JSON, one on a line.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Rounds of each question: in a round the reference runs between two runs of the subject, and
    /// the other way round.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(5..=1000))]
    rounds: u32,
    /// Only the questions with this text in them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// An existing folder on the device to measure on; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Decides the offsets read at, and the samples of the intervals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let Arguments { rounds, only, dir, seed } = Arguments::parse();
    let parent = dir.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(&parent);
    let folder = folder.with_context(|| format!("a folder in {}", parent.display()))?;
    let sides = Sides::new(folder.path(), seed)?;
    eprintln!("littoral on {:?}", sides.io.capabilities());

    let asked: Vec<_> =
        questions::all().into_iter().filter(|question| question.asks.contains(&only)).collect();
    ensure!(!asked.is_empty(), "no question has `{only}` in it");
    let bar = ProgressBar::new(asked.len() as u64);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}")?;
    bar.set_style(style);
    for question in asked {
        bar.set_message(question.asks);
        let plan = Plan { rounds: rounds as usize, seed };
        let row = question.ask(&sides, plan).with_context(|| question.asks.to_owned())?;
        // Not `println`, which panics when nobody reads.
        bar.suspend(|| writeln!(std::io::stdout(), "{}", serde_json::to_string(&row)?))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
