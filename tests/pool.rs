//! The threads of a pool as the system sees them. Alone in its process: it looks at all threads.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use littoral::platform::{Setup, Threads};
use littoral::{Config, SyncKind, start_on, wait};
use rustix::process::Signal;

/// The folders in `/proc` of this process's threads with such a name.
fn tasks() -> Vec<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let tasks = tasks.map(|task| task.expect("a thread").path());
    tasks.filter(|task| field(task, "Name").is_some_and(|n| n.starts_with("littoral-"))).collect()
}

/// `None` if the thread is gone.
fn field(task: &Path, name: &str) -> Option<String> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Some(line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned())
}

#[test]
fn its_threads_have_names_take_no_signals_sleep_when_idle_and_end_with_the_driver() {
    let folder = support::folder();
    let root = folder.path().to_str().map(str::to_owned);
    let ring = Threads::new(&Setup { root, in_flight: 64 }).expect("a root");
    let io = start_on(Box::new(ring), Config::new()).expect("a driver");
    assert!(tasks().is_empty(), "threads without work");
    let file = support::open(&*io, "file");
    let writes: Vec<_> = (0..32).map(|n| file.pwrite(n * 100, vec![1; 10].into())).collect();
    for write in writes {
        wait(&*io, write).expect("a write");
    }
    wait(&*io, file.sync(SyncKind::Data)).expect("a sync");

    let tasks = tasks();
    assert!(!tasks.is_empty());
    for task in &tasks {
        let blocked = field(task, "SigBlk").expect("it lives");
        let blocked = u64::from_str_radix(&blocked, 16).expect("a mask");
        for signal in [Signal::TERM, Signal::ALARM, Signal::XFSZ, Signal::PROF] {
            let bit = 1 << (signal.as_raw() - 1);
            assert_ne!(blocked & bit, 0, "{signal:?} is not in {blocked:x}");
        }
    }
    let all = |name| tasks.iter().map(|task| field(task, name)).collect::<Vec<_>>();
    let started = Instant::now();
    while !all("State").iter().flatten().all(|state| state.starts_with('S')) {
        assert!(started.elapsed() < Duration::from_secs(20), "they do not come to rest");
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = all("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(before, all("voluntary_ctxt_switches"), "an idle thread woke up");

    drop(file);
    drop(io);
    assert_eq!(all("Name"), vec![None; tasks.len()], "a thread outlived its driver");
}
