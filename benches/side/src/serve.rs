//! A side's process: answers what it is asked until nobody asks.

use std::alloc::System;
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::{Answer, Ask, Lanes, Order, Refused, Sample, Side, Work};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is open now.
struct Open {
    work: Work,
    /// None where every batch opens its own.
    lanes: Option<Lanes>,
    /// The batch to go on with.
    next: u64,
}

/// Serves a side until its standard input ends.
///
/// # Errors
/// Where nobody reads the answers, or what is asked makes no sense.
pub fn serve(side: &dyn Side) -> Result<()> {
    // Even if this process is stopped when whoever started it ends.
    set_pdeathsig(Signal::SIGKILL)?;
    let mut open = None;
    for line in io::stdin().lines() {
        let answer = answer(side, &mut open, serde_json::from_str(&line?)?);
        let answer = answer.unwrap_or_else(|error| match error.downcast::<Refused>() {
            Ok(Refused(reason)) => Answer::Refused(reason),
            Err(error) => Answer::Failed(format!("{error:#}")),
        });
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
        stdout.flush()?;
    }
    Ok(())
}

fn answer(side: &dyn Side, open: &mut Option<Open>, ask: Ask) -> Result<Answer> {
    match ask {
        Ask::Open { workload, files } => {
            *open = None;
            let work = Work::new(workload, files)?;
            let configuration = side.configuration(&work);
            let lanes = side.open(&work)?;
            let lanes = (!work.workload.fresh).then_some(lanes);
            *open = Some(Open { work, lanes, next: 0 });
            Ok(Answer::Ready { configuration })
        }
        Ask::Run { batches } => {
            let open = open.as_mut().context("nothing is open")?;
            Ok(Answer::Ran(open.measure(side, batches)?))
        }
        Ask::Meet(hazard, folder) => Ok(Answer::Met(side.meet(hazard, &folder)?)),
        Ask::Close => {
            *open = None;
            Ok(Answer::Closed)
        }
    }
}

impl Open {
    fn measure(&mut self, side: &dyn Side, batches: u64) -> Result<Sample> {
        if self.work.workload.order == Order::Append {
            ensure!(batches <= self.work.distinct(), "files would not grow any more");
            self.work.rewind()?;
            self.next = 0;
        }
        let allocated = ALLOCATOR.stats();
        let used = getrusage(UsageWho::RUSAGE_SELF)?;
        let begun = Instant::now();
        self.run(side, batches)?;
        let seconds = begun.elapsed().as_secs_f64();
        let after = getrusage(UsageWho::RUSAGE_SELF)?;
        let given = ALLOCATOR.stats() - allocated;
        if let Some(Lanes::Here(lane)) = &mut self.lanes
            && let Some(told) = lane.told()
        {
            return Ok(told);
        }
        Ok(Sample {
            operations: batches * self.work.workload.depth as u64,
            seconds,
            processor: processor(&after) - processor(&used),
            switches: switches(&after) - switches(&used),
            allocations: Some((given.allocations + given.reallocations) as f64),
        })
    }

    fn run(&mut self, side: &dyn Side, batches: u64) -> Result<()> {
        let Open { work, lanes, next } = self;
        let first = *next;
        *next += batches;
        match lanes {
            None => {
                for nth in first..*next {
                    let Lanes::Here(mut lane) = side.open(work)? else {
                        anyhow::bail!("a fresh driver is for one thread");
                    };
                    lane.run(work.batches(nth, 1))?;
                }
                Ok(())
            }
            Some(Lanes::Here(lane)) => lane.run(work.batches(first, batches)),
            Some(Lanes::Across(lanes)) => {
                let threads = lanes.len() as u64;
                ensure!(batches.is_multiple_of(threads), "{batches} batches for {threads} threads");
                let (work, each) = (&*work, batches / threads);
                thread::scope(|scope| {
                    let mut running = Vec::with_capacity(lanes.len());
                    for (lane, thread) in lanes.iter_mut().zip(0..) {
                        // Far from one another, so that they do not read the same pages.
                        let first = first / threads + thread * (work.distinct() / threads);
                        let run = move || lane.run(work.batches(first, each));
                        running.push(scope.spawn(run));
                    }
                    running.into_iter().try_for_each(|lane| {
                        lane.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked"))
                    })
                })
            }
        }
    }
}

/// Seconds.
fn processor(usage: &Usage) -> f64 {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1e6
}

fn switches(usage: &Usage) -> f64 {
    (usage.voluntary_context_switches() + usage.involuntary_context_switches()) as f64
}
