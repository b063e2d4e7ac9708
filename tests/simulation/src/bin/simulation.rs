//! Runs seeds of the simulation: a range of them, over all cores. A failing one is told with the
//! command that runs it alone; status 1 if there was any.

use std::ops::Range;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use littoral_simulation::{Counts, Seen, range, replay, run};

/// Failing seeds after which a run ends early: they are rarely of many kinds.
const FAILED_MAX: usize = 8;

#[derive(Parser)]
#[command(about = "Runs random work over a simulated disk that fails and crashes, seed by seed")]
struct Args {
    /// The first and, after two dots, the one that is not run any more.
    #[arg(long, value_parser = range, default_value = "0..10000")]
    seeds: Range<u64>,
    /// Runs that one alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs at once; as many as there are cores if this is not given.
    #[arg(long)]
    jobs: Option<usize>,
}

/// What the seeds came to, from several threads.
#[derive(Default)]
struct Found {
    counts: Counts,
    digest: u64,
    failed: Vec<(u64, String)>,
}

fn main() -> ExitCode {
    let Args { seeds, seed, jobs } = Args::parse();
    let seeds = seed.map_or(seeds, |seed| seed..seed + 1);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let style = "{bar:40} {pos}/{len} seeds, {eta} left";
    let bar = ProgressBar::new(seeds.end - seeds.start)
        .with_style(ProgressStyle::with_template(style).expect("the template is right"));
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(Found::default()));
    thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(cores).max(1) {
            scope.spawn(|| work(&seeds, &next, &found, &bar));
        }
    });
    bar.finish_and_clear();
    let Found { counts, digest, mut failed } = found.into_inner().expect("no run panics out here");
    failed.sort();
    for (seed, why) in &failed {
        println!("FAILED seed {seed}: {why}\nthe same again: {}", replay(*seed));
    }
    println!(
        "simulation: {}, seeds {}..{} in {:.1} s, digest {digest:016x}, {counts}",
        if failed.is_empty() { "ok" } else { "FAILED" },
        seeds.start,
        seeds.end,
        started.elapsed().as_secs_f64(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes seeds until there is none left.
fn work(seeds: &Range<u64>, next: &AtomicU64, found: &Mutex<Found>, bar: &ProgressBar) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let result = catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            let text =
                panic.downcast::<String>().map_or_else(|_| "it panicked".into(), |text| *text);
            Err(text)
        });
        bar.inc(1);
        let mut found = found.lock().expect("no run panics in here");
        match result {
            Ok(Seen { digest, counts }) => {
                found.counts = found.counts.and(counts);
                // In no order, as the seeds end.
                found.digest = found.digest.wrapping_add(digest);
            }
            Err(why) => {
                found.failed.push((seed, why));
                if found.failed.len() >= FAILED_MAX {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    }
}
