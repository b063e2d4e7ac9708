//! Runs the contract's checks on a native backend: a row of JSON per check on stdout, progress on
//! stderr, status 1 if any failed. What can be taken from it first can be taken from any other
//! program: `conformance --deny-io-uring eperm -- PROGRAM ARGUMENT...`.

use std::ffi::OsString;
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use littoral_conformance::native::{Backend, run_all};
use littoral_conformance::{checks, selects};
use tempfile::TempDir;

#[derive(Parser)]
#[command(about = "Runs the contract's checks on a native backend")]
struct Args {
    /// What to run them on.
    #[arg(long, value_enum, required_unless_present_any = ["list", "capabilities", "instead"])]
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
    /// Has the kernel refuse io_uring from now on, as a container's filter does (Linux).
    #[arg(long, value_enum, conflicts_with = "memlock")]
    deny_io_uring: Option<Refusal>,
    /// Bytes of memory that may be locked, which rings count against (Linux).
    #[arg(long)]
    memlock: Option<u64>,
    /// Gives up root's privileges for this user's, who is not spared the limit; no change for who
    /// is not root.
    #[arg(long, requires = "memlock")]
    as_user: Option<String>,
    /// Runs this program in place of the checks, and ends as it does (Linux).
    #[arg(last = true)]
    instead: Vec<OsString>,
}

/// What a refused call answers.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Refusal {
    /// Forbidden.
    Eperm,
    /// Hidden.
    Enosys,
}

/// Takes from this process what was asked for; gives what has to live as long as it.
#[cfg(target_os = "linux")]
fn restrict(args: &Args) -> Result<Option<TempDir>, String> {
    use littoral_conformance::restrict::{become_user, deny_io_uring, limit_memlock};
    use littoral_platform::Errno;
    if let Some(refusal) = args.deny_io_uring {
        deny_io_uring(match refusal {
            Refusal::Eperm => Errno::PERM,
            Refusal::Enosys => Errno::NOSYS,
        })?;
    }
    args.memlock.map_or(Ok(()), limit_memlock)?;
    let program = args.instead.first().map(Path::new);
    args.as_user.as_deref().map_or(Ok(None), |user| become_user(user, program))
}

/// Runs another program without what was taken from this one; its status.
#[cfg(target_os = "linux")]
fn run_instead(command: &[OsString], folder: Option<&Path>) -> Result<ExitCode, String> {
    littoral_conformance::restrict::run(command, folder).map(ExitCode::from)
}

#[cfg(not(target_os = "linux"))]
fn run_instead(_: &[OsString], _: Option<&Path>) -> Result<ExitCode, String> {
    Err("only Linux can take something away from it".to_owned())
}

#[cfg(not(target_os = "linux"))]
fn restrict(args: &Args) -> Result<Option<TempDir>, String> {
    let none = args.deny_io_uring.is_none() && args.memlock.is_none();
    if none { Ok(None) } else { Err("only Linux can take that away".to_owned()) }
}

/// How many drivers were started on what, where that was not sure beforehand.
fn mix() -> String {
    #[cfg(target_os = "linux")]
    return littoral_conformance::restrict::mix();
    #[cfg(not(target_os = "linux"))]
    return String::new();
}

fn main() -> ExitCode {
    let args = Args::parse();
    let kept = match restrict(&args) {
        Ok(kept) => kept,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    if !args.instead.is_empty() {
        return run_instead(&args.instead, kept.as_ref().map(TempDir::path)).unwrap_or_else(
            |why| {
                eprintln!("error: {why}");
                ExitCode::FAILURE
            },
        );
    }
    let Args { backend, seed, filter, list, capabilities, .. } = args;
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
    let mix = mix();
    if !mix.is_empty() {
        eprintln!("drivers: {mix}");
    }
    // Threads of checks that hang are not waited for.
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
