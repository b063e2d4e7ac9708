//! A side's process, from the outside.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use littoral_bench_side::{Answer, Ask, Found, Hazard, Sample, Workload};
use littoral_benches::callgrind::{Cost, Whole, whole};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// More than a process has: its heap never shrinks.
const LARGE: &str = "1099511627776";

/// What a side may take for one answer before it is given up: it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that answers. Between its turns it is stopped, so that whatever it has running (one
/// peer has a thread of the kernel poll for a second) takes nothing from the others.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[String]) -> Result<Process> {
        let mut child = Command::new(program)
            .args(arguments)
            // What is freed stays in the process, as it does with an allocator of one's own:
            // whoever has it next sees if somebody writes to it.
            .envs([("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TRIM_THRESHOLD_", LARGE)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (answered, answers) = channel();
        // Ends with the child's output, or when nobody listens any more.
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| answered.send(line))
        });
        let process = Process { child, stdin, answers };
        process.signal(Signal::SIGSTOP)?;
        Ok(process)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        self.signal(Signal::SIGCONT)?;
        let stdin = self.stdin.as_mut().expect("it is there until the end");
        writeln!(stdin, "{}", serde_json::to_string(ask)?)?;
        let line = self.answers.recv_timeout(PATIENCE);
        let line = line.with_context(|| format!("no answer, or none in {PATIENCE:?}"))?;
        self.signal(Signal::SIGSTOP)?;
        serde_json::from_str(&line).with_context(|| format!("it answered {line:?}"))
    }

    /// Its configuration, or the reason why it cannot do this.
    pub(crate) fn open(
        &mut self,
        workload: &Workload,
        files: &[PathBuf],
    ) -> Result<Result<String, String>> {
        match self.ask(&open(workload, files))? {
            Answer::Ready { configuration } => Ok(Ok(configuration)),
            Answer::Refused(reason) => Ok(Err(reason)),
            other => bail!("asked to open, it answered {other:?}"),
        }
    }

    pub(crate) fn meet(&mut self, hazard: Hazard, folder: &Path) -> Result<Found> {
        match self.ask(&Ask::Meet(hazard, folder.to_owned()))? {
            Answer::Met(found) => Ok(found),
            other => bail!("in a scenario, it answered {other:?}"),
        }
    }

    pub(crate) fn run(&mut self, batches: u64) -> Result<Sample> {
        match self.ask(&Ask::Run { batches })? {
            Answer::Ran(sample) => Ok(sample),
            other => bail!("asked to run, it answered {other:?}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input is the end of it, but not while it is stopped. One that does not
        // come to its end has no say in ours.
        drop(self.stdin.take());
        let _ = self.signal(Signal::SIGCONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(workload: &Workload, files: &[PathBuf]) -> Ask {
    Ask::Open { workload: workload.clone(), files: files.to_owned() }
}

/// What an operation costs in counts: the slope from one run to one of twice as many batches, each
/// in a process of its own under callgrind.
pub(crate) fn counted(
    program: &Path,
    arguments: &[String],
    workload: &Workload,
    files: &[PathBuf],
    batches: u64,
) -> Result<Cost> {
    let run = |batches: u64| -> Result<Whole> {
        let asks = [open(workload, files), Ask::Run { batches }, Ask::Close];
        let lines: serde_json::Result<Vec<_>> = asks.iter().map(serde_json::to_string).collect();
        whole(program, arguments, format!("{}\n", lines?.join("\n")), |said| {
            let mut ran = said.lines().filter_map(|line| match serde_json::from_str(line) {
                Ok(Answer::Ran(sample)) => Some(sample.operations as f64),
                _ => None,
            });
            ran.next_back().with_context(|| format!("it answered {said:?}"))
        })
    };
    Ok(run(batches)?.slope(&run(batches * 2)?))
}
