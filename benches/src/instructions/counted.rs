//! Counting, by callgrind: user instructions of all threads, and calls of the kernel.

use std::env;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::loops::Loop;

/// What a loop costs by the operation.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) syscalls: f64,
}

/// What one run cost as a whole: counts, exact far beyond what is counted here.
struct Whole {
    operations: f64,
    instructions: f64,
    syscalls: f64,
}

/// The slope between a run of `one` and one with twice its rounds: what does not grow with the
/// rounds falls out.
pub(crate) fn cost(one: &Loop) -> Result<Cost> {
    let low = whole(one)?;
    let high = whole(&Loop { rounds: one.rounds * 2, ..one.clone() })?;
    let operations = high.operations - low.operations;
    Ok(Cost {
        instructions: (high.instructions - low.instructions) / operations,
        syscalls: (high.syscalls - low.syscalls) / operations,
    })
}

/// A choice as it stands on the command line.
pub(crate) fn word(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().expect("no choice is hidden").get_name().to_owned()
}

/// One run under callgrind.
fn whole(one: &Loop) -> Result<Whole> {
    let Output { status, stdout, stderr } = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-syscalls=yes"])
        .arg(env::current_exe()?)
        .args(["run", "--side", &word(&one.side)])
        .args(["--operation", &word(&one.operation)])
        .args(["--taken", &word(&one.taken)])
        .args(["--depth", &one.depth.to_string(), "--rounds", &one.rounds.to_string()])
        .output()
        .context("valgrind cannot be run (package valgrind)")?;
    let told = String::from_utf8_lossy(&stderr);
    if !status.success() {
        let tail: Vec<_> = told.lines().rev().filter(|line| !is_call(line)).take(20).collect();
        bail!(
            "under valgrind: {status}: {}",
            tail.into_iter().rev().collect::<Vec<_>>().join("; ")
        );
    }
    let operations = String::from_utf8_lossy(&stdout).trim().parse();
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    let (_, instructions) = collected.context("valgrind told no count")?;
    let syscalls = told.lines().filter(|line| is_call(line)).map(|_| 1.0).sum();
    ensure!(syscalls > 0.0, "valgrind told no system call");
    Ok(Whole {
        operations: operations.context("the loop told no count")?,
        instructions: instructions.trim().parse()?,
        syscalls,
    })
}

/// Whether valgrind tells the start of a system call with this line. Clocks are not counted: by
/// itself a program reads them without the kernel.
fn is_call(line: &str) -> bool {
    line.starts_with("SYSCALL[") && !line.contains(" ... [async]") && !line.contains("clock_get")
}

#[cfg(test)]
mod tests {
    use super::is_call;

    #[test]
    fn each_call_is_counted_once_and_clocks_are_not() {
        let lines = [
            "SYSCALL[13023,1](1) sys_write ( 1, 0x4078340, 4 ) --> [async] ... ",
            "350",
            "SYSCALL[13023,1](1) ... [async] --> Success(0x4) ",
            "SYSCALL[13,1](426) sys_io_uring_enter ( 0x4, 1, 0 0, 0 0 )[sync] --> Success(0x1) ",
            "SYSCALL[13,1](228) sys_clock_gettime( 1, 0x1ffefff2a0 )[sync] --> Success(0x0) ",
            "==13023== Collected : 1768611",
        ];
        assert_eq!(lines.map(is_call), [true, false, false, true, false, false]);
    }
}
