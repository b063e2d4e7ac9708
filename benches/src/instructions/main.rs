//! What an operation costs in user instructions and in system calls, counted and not timed.
//!
//! `instructions measure` runs `instructions run` under callgrind, each loop with some number of
//! rounds and then with twice as many: the difference is what the additional rounds cost, without
//! start, first allocations and end. The bare `io-uring` crate in a loop is measured beside it in
//! the same way. One row as JSON for each line of a file of ceilings goes to stdout.
//!
//! By hand, for a look at which function it is:
//!
//! ```sh
//! cargo build --profile measured -p littoral-benches --bin instructions
//! valgrind --tool=callgrind --callgrind-out-file=out target/measured/instructions \
//!     run --side littoral --operation pread --taken try-take --depth 1 --rounds 4000
//! callgrind_annotate out
//! ```
#![deny(unsafe_code)]

mod bare;
mod ceilings;
mod counted;
mod loops;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::ceilings::Ceilings;
use crate::loops::Loop;

/// Counts what operations cost; rows as JSON, one on a line.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures every loop of a file of ceilings, under callgrind.
    Measure {
        /// The ceilings.
        #[arg(long, value_name = "FILE", default_value = "tests/gates.toml")]
        ceilings: PathBuf,
        /// Only the loops with this text in their names, such as `pread` or `depth 32`.
        #[arg(long, value_name = "TEXT", default_value = "")]
        only: String,
    },
    /// Runs one loop: what is measured.
    Run(Loop),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(one) => {
            // Not `println`, which panics when nobody reads.
            writeln!(std::io::stdout(), "{}", one.run()?)?;
            Ok(())
        }
        Command::Measure { ceilings, only } => measure(&ceilings, &only),
    }
}

fn measure(ceilings: &Path, only: &str) -> Result<()> {
    let ceilings = Ceilings::read(ceilings)?.named(only)?;
    let bar = ProgressBar::new(ceilings.len() as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}")?);
    for ceiling in ceilings {
        let name = ceiling.name();
        bar.set_message(name.clone());
        for row in ceiling.judge().context(name)? {
            bar.suspend(|| writeln!(std::io::stdout(), "{}", serde_json::to_string(&row)?))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
