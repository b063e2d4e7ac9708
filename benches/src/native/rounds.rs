//! A workload, done by all sides in turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use littoral_bench_side::{Order, Sample, Work, Workload};
use littoral_benches::callgrind::Cost;

use crate::plan::{Role, Taker};
use crate::process::{Process, counted};
use crate::statistics::{Ratio, median};

/// A side whose program is built.
pub(crate) struct Ready {
    pub(crate) side: Taker,
    pub(crate) program: PathBuf,
}

/// How a workload is measured.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) rounds: usize,
    /// How often as many rounds are added where an interval is too wide.
    pub(crate) repeats: usize,
    /// Of a turn.
    pub(crate) turn: Duration,
    /// Whether instructions and system calls are counted.
    pub(crate) counts: bool,
    pub(crate) seed: u64,
}

/// What came of a workload.
pub(crate) struct Done {
    pub(crate) workload: Workload,
    pub(crate) sides: Vec<Measured>,
}

/// What came of it for one side.
pub(crate) struct Measured {
    pub(crate) side: Taker,
    /// Or why it was refused.
    pub(crate) figures: Result<Figures, String>,
}

pub(crate) struct Figures {
    pub(crate) configuration: String,
    /// Of each turn, two a round.
    pub(crate) turns: Vec<Sample>,
    pub(crate) cost: Option<Cost>,
}

impl Figures {
    /// Microseconds of an operation in each round.
    pub(crate) fn rounds(&self) -> Vec<f64> {
        let micros = |pair: &[Sample]| {
            let each = |turn: &Sample| turn.seconds * 1e6 / turn.operations as f64;
            pair.iter().map(each).sum::<f64>() / pair.len() as f64
        };
        self.turns.chunks(2).map(micros).collect()
    }

    /// The median of something by the operation.
    pub(crate) fn each(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let each = |turn: &Sample| Some(of(turn)? / turn.operations as f64);
        Some(median(self.turns.iter().map(each).collect::<Option<_>>()?))
    }
}

/// A side in the middle of it.
struct Running {
    process: Process,
    figures: Figures,
    batches: u64,
    files: Vec<PathBuf>,
}

/// Does a workload in a folder of its own.
pub(crate) fn done(workload: &Workload, sides: &[Ready], folder: &Path, how: How) -> Result<Done> {
    let folder = tempfile::tempdir_in(folder)?;
    let together = files(workload, &folder.path().join("all"))?;
    let mut running: Vec<Result<Running, String>> = Vec::new();
    for (nth, ready) in sides.iter().enumerate() {
        // Nobody may meet what another one has appended.
        let files = match workload.order {
            Order::Append => files(workload, &folder.path().join(format!("of-{nth}")))?,
            _ => together.clone(),
        };
        let started = start(ready, workload, files, how);
        running.push(started.unwrap_or_else(|error| Err(failed(&error))));
    }
    let order: Vec<usize> = (0..sides.len()).filter(|nth| running[*nth].is_ok()).collect();
    for repeat in 0..=how.repeats {
        for round in 0..how.rounds {
            turns(workload, &mut running, &order, repeat * how.rounds + round)?;
        }
        if !any_wide(sides, &running, how.seed) {
            break;
        }
    }
    if how.counts {
        count(workload, sides, &mut running)?;
    }
    let measured = |(ready, side): (&Ready, Result<Running, String>)| Measured {
        side: ready.side.clone(),
        figures: side.map(|side| side.figures),
    };
    let sides = sides.iter().zip(running).map(measured).collect();
    Ok(Done { workload: workload.clone(), sides })
}

/// Makes a workload's files.
fn files(workload: &Workload, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir(folder)?;
    let name = |nth| folder.join(format!("file-{nth}"));
    let work = Work::new(workload.clone(), (0..workload.files).map(name).collect())?;
    work.prepare()?;
    Ok(work.files)
}

/// Starts a side, and finds out how many batches a turn of it has.
fn start(
    ready: &Ready,
    workload: &Workload,
    files: Vec<PathBuf>,
    how: How,
) -> Result<Result<Running, String>> {
    let mut process = Process::start(&ready.program, &ready.side.arguments)?;
    let configuration = match process.open(workload, &files)? {
        Ok(configuration) => configuration,
        Err(reason) => return Ok(Err(reason)),
    };
    // A file that grows begins anew with each turn, and is full at some point.
    let most = match workload.order {
        Order::Append => Work::new(workload.clone(), files.clone())?.distinct(),
        _ => u64::MAX,
    };
    let least = workload.threads as u64;
    let mut batches = least;
    // What is only done once (page tables, lazily made kernel workers) falls in here, too.
    loop {
        let taken = Duration::from_secs_f64(process.run(batches)?.seconds);
        if taken >= how.turn || batches == most {
            break;
        }
        // A little more than it seems, and not too far ahead: the first batches are slow.
        let wanted = u128::from(batches) * how.turn.as_nanos() * 11 / 10 / taken.as_nanos().max(1);
        let wanted = u64::try_from(wanted).unwrap_or(most).min(batches * 8) + least;
        batches = wanted.next_multiple_of(least).min(most);
    }
    let figures = Figures { configuration, turns: Vec::new(), cost: None };
    Ok(Ok(Running { process, figures, batches, files }))
}

/// What is told of a side that failed: a row, and the others go on.
fn failed(error: &Error) -> String {
    format!("failed: {error:#}")
}

/// A round: everybody's turn, and everybody's turn in the opposite order. Who begins changes.
fn turns(
    workload: &Workload,
    running: &mut [Result<Running, String>],
    order: &[usize],
    round: usize,
) -> Result<()> {
    let mut order = order.to_vec();
    if !order.is_empty() {
        let first = round % order.len();
        order.rotate_left(first);
    }
    for nth in order.iter().chain(order.iter().rev()) {
        let Ok(side) = &mut running[*nth] else { continue };
        match side.process.run(side.batches) {
            Ok(turn) => side.figures.turns.push(turn),
            Err(error) => {
                running[*nth] = Err(failed(&error));
                continue;
            }
        }
        if workload.writes() && !workload.durable {
            // Or what one has written would be written back in another one's turn.
            for file in &side.files {
                fs::File::open(file)?.sync_all()?;
            }
        }
    }
    Ok(())
}

/// Whether an interval that is judged, that of the first subject and a peer, is too wide.
fn any_wide(sides: &[Ready], running: &[Result<Running, String>], seed: u64) -> bool {
    let of = |role: Role| {
        let all = sides.iter().zip(running).filter(move |(ready, _)| ready.side.role == role);
        all.filter_map(|(_, side)| Some(side.as_ref().ok()?.figures.rounds()))
    };
    let Some(subject) = of(Role::Subject).next() else { return false };
    of(Role::Peer).any(|peer| Ratio::of_rounds(&subject, &peer, seed).is_wide())
}

/// Counts what each side's operations cost, two at a time: counts do not mind.
fn count(
    workload: &Workload,
    sides: &[Ready],
    running: &mut [Result<Running, String>],
) -> Result<()> {
    let to_count = sides.iter().zip(running).filter_map(|(ready, side)| {
        if ready.side.counted { Some((ready, side.as_mut().ok()?)) } else { None }
    });
    let queue = Mutex::new(to_count);
    let batches = counted_batches(workload);
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().map_err(|_| anyhow!("the other thread panicked"))?.next();
            let Some((ready, side)) = next else { return Ok(()) };
            let Ready { program, side: Taker { name, arguments, .. } } = ready;
            match counted(program, arguments, workload, &side.files, batches) {
                Ok(cost) => side.figures.cost = Some(cost),
                // What valgrind cannot run has no counts.
                Err(error) => eprintln!("{name}, {}: {error:#}", workload.name),
            }
        }
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let mut ended = threads.into_iter().map(ScopedJoinHandle::join);
        ended.try_for_each(|ended| ended.map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// Batches of the shorter of two runs under callgrind, which is some fifty times slower.
fn counted_batches(workload: &Workload) -> u64 {
    let operations: u64 = match workload {
        Workload { fresh: true, .. } => 16,
        Workload { durable: true, .. } => 128,
        _ => 2048,
    };
    let each = (workload.depth * workload.spans) as u64;
    (operations / each).clamp(4, 2048).next_multiple_of(workload.threads as u64)
}
