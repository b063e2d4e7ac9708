//! Runs the contract's checks on a native backend: a row of JSON per check on stdout, progress on
//! stderr, status 1 if any failed.

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use littoral_conformance::native::{Backend, run_all};
use littoral_conformance::{checks, selects};

#[derive(Parser)]
#[command(about = "Runs the contract's checks on a native backend")]
struct Args {
    /// What to run them on.
    #[arg(long, value_enum, required_unless_present_any = ["list", "capabilities"])]
    backend: Option<Backend>,
    /// Decides every choice of the simulated and of the faulty rings.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only checks whose clause or name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Lists the checks and runs none.
    #[arg(long)]
    list: bool,
    /// Prints what the kernel's ring can do here, as JSON, and runs no check.
    #[arg(long)]
    capabilities: bool,
}

fn main() -> ExitCode {
    let Args { backend, seed, filter, list, capabilities } = Args::parse();
    if capabilities {
        return match littoral::start(littoral::Config::new()) {
            Ok(io) => {
                println!("{}", littoral_conformance::capabilities(&*io));
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("error: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(backend) = backend.filter(|_| !list) else {
        for check in checks().filter(|check| selects(&filter, check.clause, check.name)) {
            println!("{} {}", check.clause, check.name);
        }
        return ExitCode::SUCCESS;
    };
    eprintln!("conformance: {backend}, seed {seed}");
    // One line each: the row tells the rest, and one check panics on purpose.
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("a panic at {place}");
    }));
    let started = Instant::now();
    let rows = run_all(backend, seed, &filter, |row| {
        println!("{}", row.to_json());
        if let Some(reason) = row.reason.as_ref().filter(|_| row.outcome != "covered") {
            eprintln!("{} {} {}: {reason}", row.outcome, row.clause, row.check);
        }
    });
    let rows = match rows {
        Ok(rows) => rows,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    let of = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let failed = of("failed");
    eprintln!(
        "{} passed, {} covered by the faulty ring, {failed} failed, {} skipped in {:.1} s",
        of("passed"),
        of("covered"),
        of("skipped"),
        started.elapsed().as_secs_f32()
    );
    // Threads of checks that hang are not waited for.
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
