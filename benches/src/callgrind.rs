//! Counting, by callgrind: user instructions of all threads, and calls of the kernel.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;

/// What operations cost, each.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// In user mode, of all threads.
    pub instructions: f64,
    /// Calls of the kernel.
    pub syscalls: f64,
}

/// What one run cost as a whole: counts, exact far beyond what is counted here.
pub struct Whole {
    /// As many as the program did.
    pub operations: f64,
    instructions: f64,
    syscalls: f64,
}

impl Whole {
    /// The slope from a run to a longer one: what does not grow with the length falls out.
    #[must_use]
    pub fn slope(&self, longer: &Whole) -> Cost {
        let operations = longer.operations - self.operations;
        Cost {
            instructions: (longer.instructions - self.instructions) / operations,
            syscalls: (longer.syscalls - self.syscalls) / operations,
        }
    }
}

/// Runs a program under callgrind, with `input` on its standard input. `operations` tells from its
/// output how many it did.
///
/// # Errors
/// Where valgrind is not here, or the program fails.
pub fn whole<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    input: String,
    operations: impl FnOnce(&str) -> Result<f64>,
) -> Result<Whole> {
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-syscalls=yes"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("valgrind cannot be run (package valgrind)")?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let writing = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    let wrote = writing.join().map_err(|_| anyhow!("the writing thread panicked"))?;
    let told = String::from_utf8_lossy(&stderr);
    if !status.success() {
        let tail: Vec<_> = told.lines().rev().filter(|line| !is_call(line)).take(20).collect();
        bail!(
            "under valgrind: {status}: {}",
            tail.into_iter().rev().collect::<Vec<_>>().join("; ")
        );
    }
    wrote?;
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    let (_, instructions) = collected.context("valgrind told no count")?;
    let syscalls = told.lines().filter(|line| is_call(line)).map(|_| 1.0).sum();
    ensure!(syscalls > 0.0, "valgrind told no system call");
    Ok(Whole {
        operations: operations(&String::from_utf8_lossy(&stdout))?,
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
    use super::*;

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

    #[test]
    fn a_slope_has_nothing_of_the_start() {
        let run = |operations: f64| Whole {
            operations,
            instructions: 1e6 + 90.0 * operations,
            syscalls: 50.0 + operations / 32.0,
        };
        let Cost { instructions, syscalls } = run(64.0).slope(&run(128.0));
        assert_eq!((instructions, syscalls), (90.0, 1.0 / 32.0));
    }
}
