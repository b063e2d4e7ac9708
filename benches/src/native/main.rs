//! What littoral costs on Linux, beside bare loops and beside other libraries.
//!
//! `benches/native.toml` lists who takes part, what is done, and what it should come to. Every side
//! is a process of its own; they take turns. Rows come as JSON, one on a line.
#![deny(unsafe_code)]
#![allow(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]

mod built;
mod plan;
mod process;
mod rounds;
mod rows;
mod statistics;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use littoral_bench_side::Hazard;

use crate::built::built;
use crate::plan::{Plan, Role};
use crate::process::Process;
use crate::rounds::{How, Ready, done};

/// Measures littoral on this machine; rows as JSON, one on a line.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What is measured.
    #[arg(long, value_name = "FILE", default_value = "benches/native.toml")]
    plan: PathBuf,
    /// Only the workloads with one of these texts in their names.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only the peers with one of these texts in their names, comma-separated; an empty text for
    /// all, `-` for none. Peers are built when they take part.
    #[arg(long, value_name = "TEXTS", value_delimiter = ',', default_value = "")]
    peers: Vec<String>,
    /// Rounds: in each, every side has two turns.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=1000))]
    rounds: u32,
    /// How often as many rounds again are run where an interval is wider than 5 % to a side.
    #[arg(long, default_value_t = 1)]
    repeats: u32,
    /// Milliseconds of a turn, about. Short ones are less likely to be interrupted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    turn: u32,
    /// Five short rounds and no repeats: for a look, not for a judgement.
    #[arg(long)]
    quick: bool,
    /// Without counting instructions and system calls under valgrind.
    #[arg(long)]
    no_counts: bool,
    /// Without trying on peers what a bare ring does to its user.
    #[arg(long)]
    no_hazards: bool,
    /// An existing folder on the device to measure on; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Decides the samples of the intervals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Arguments {
    fn how(&self) -> How {
        let Arguments { rounds, repeats, turn, quick, no_counts, seed, .. } = *self;
        let (rounds, repeats, turn) = if quick { (5, 0, 2) } else { (rounds, repeats, turn) };
        How {
            rounds: rounds as usize,
            repeats: repeats as usize,
            turn: Duration::from_millis(turn.into()),
            counts: !no_counts,
            seed,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let how = arguments.how();
    let Plan { sides, workloads, targets } =
        Plan::read(&arguments.plan, &arguments.only, &arguments.peers)?;
    let ready = |side: plan::Taker| Ok(Ready { program: built(&side)?, side });
    let sides: Vec<Ready> = sides.into_iter().map(ready).collect::<Result<_>>()?;

    let parent = arguments.dir.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(&parent);
    let folder = folder.with_context(|| format!("a folder in {}", parent.display()))?;
    let bar = ProgressBar::new(workloads.len() as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} {msg}")?);
    let tell = |rows: &[rows::Row]| {
        // Not `println`, which panics when nobody reads.
        bar.suspend(|| {
            rows.iter().try_for_each(|row| -> Result<()> {
                Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(row)?)?)
            })
        })
    };
    let mut all = Vec::with_capacity(workloads.len());
    for workload in &workloads {
        bar.set_message(workload.name.clone());
        let done = done(workload, &sides, folder.path(), how);
        let done = done.with_context(|| workload.name.clone())?;
        tell(&rows::of(&done, how.seed))?;
        all.push(done);
        bar.inc(1);
    }
    for Ready { side, program } in sides.iter().filter(|ready| ready.side.role == Role::Peer) {
        if arguments.no_hazards {
            break;
        }
        for hazard in Hazard::ALL {
            bar.set_message(format!("{hazard:?}: {}", side.name));
            let folder = tempfile::tempdir_in(folder.path())?;
            // A process for each: one that goes wrong may be beyond repair.
            let found = Process::start(program, &side.arguments)
                .and_then(|mut process| process.meet(hazard, folder.path()));
            tell(&[rows::hazard(&side.name, hazard, found)])?;
        }
    }
    let judged = targets.iter().filter_map(|target| rows::judged(target, &all, how.seed));
    tell(&judged.collect::<Vec<_>>())?;
    bar.finish_and_clear();
    Ok(())
}
