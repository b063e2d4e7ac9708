//! `fio` with the same parameters: what a tool made for measuring gets out of the device.
//!
//! It tells its times in milliseconds, so a run lasts for a while, however many batches were asked
//! for; what it did is told.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use littoral_bench_side::{Batches, Lane, Lanes, Order, Refused, Sample, Side, Work, serve};
use serde::Deserialize;

fn main() -> Result<()> {
    serve(&Fio)
}

struct Fio;

impl Side for Fio {
    fn configuration(&self, work: &Work) -> String {
        let version = Command::new("fio").arg("--version").output();
        let version = version.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        let version = version.unwrap_or_default();
        format!("{version}, {}", arguments(work).join(" "))
    }

    fn open(&self, work: &Work) -> Result<Lanes> {
        let workload = &work.workload;
        let plain = workload.order == Order::Random
            && (workload.files, workload.spans, workload.threads) == (1, 1, 1)
            && workload.file_bytes <= 64 << 20
            && !workload.durable
            && !workload.fresh;
        if !plain {
            return Refused::because("fio is asked for plain random transfers in one file only");
        }
        let arguments = arguments(work);
        Ok(Lanes::Here(Box::new(FioLane { file: work.files[0].clone(), arguments, told: None })))
    }
}

/// As all sides do: a batch is submitted at once, and waited for as a whole.
fn arguments(work: &Work) -> Vec<String> {
    let workload = &work.workload;
    let (depth, bytes) = (workload.depth, workload.bytes);
    let rw = if workload.writes() { "randwrite" } else { "randread" };
    let batched = ["iodepth", "iodepth_batch_submit", "iodepth_batch_complete_min"];
    let direct = format!("--direct={}", u8::from(workload.direct));
    let fixed = ["--ioengine=io_uring".to_owned(), format!("--rw={rw}"), direct];
    let depths = batched.map(|option| format!("--{option}={depth}"));
    fixed
        .into_iter()
        .chain([format!("--bs={bytes}"), "--iodepth_low=1".to_owned()])
        .chain(depths)
        .collect()
}

struct FioLane {
    file: PathBuf,
    arguments: Vec<String>,
    told: Option<Sample>,
}

/// What fio tells of a run, as far as it is read.
#[derive(Deserialize)]
struct Told {
    jobs: [Job; 1],
}

#[derive(Deserialize)]
struct Job {
    read: Transfers,
    write: Transfers,
    /// Percent.
    usr_cpu: f64,
    sys_cpu: f64,
    ctx: f64,
}

#[derive(Deserialize)]
struct Transfers {
    total_ios: u64,
    /// Milliseconds.
    runtime: f64,
}

impl Lane for FioLane {
    fn run(&mut self, _: Batches<'_>) -> Result<()> {
        let said = Command::new("fio")
            .args(["--name=bench", "--time_based", "--runtime=300ms", "--output-format=json"])
            .args(["--allow_file_create=0", "--invalidate=0"])
            .arg(format!("--filename={}", self.file.display()))
            .args(&self.arguments)
            .output()
            .context("fio cannot be run (package fio)")?;
        ensure!(said.status.success(), "fio: {}", String::from_utf8_lossy(&said.stderr));
        let Told { jobs: [job] } = serde_json::from_slice(&said.stdout)?;
        let operations = job.read.total_ios + job.write.total_ios;
        let seconds = (job.read.runtime + job.write.runtime) / 1e3;
        let processor = (job.usr_cpu + job.sys_cpu) / 100.0 * seconds;
        let switches = job.ctx;
        self.told = Some(Sample { operations, seconds, processor, switches, allocations: None });
        Ok(())
    }

    fn told(&mut self) -> Option<Sample> {
        self.told.take()
    }
}
