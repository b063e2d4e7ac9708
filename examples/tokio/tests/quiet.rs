//! With nothing under way nothing wakes the runtime. In a process of its own, whose time is looked
//! at.

use std::time::Duration;

use littoral::{Config, OpenOptions, start};
use on_tokio::drive;
use tokio::runtime::Builder;

/// With nothing to do the runtime sleeps: nothing wakes it again and again.
#[test]
fn it_is_quiet_when_nothing_is_under_way() {
    let several = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let one = Builder::new_current_thread().enable_all().build();
    for (name, runtime) in [("one thread", one), ("several threads", several)] {
        let runtime = runtime.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let io = start(Config::new().root(folder.path())).unwrap();
        runtime.block_on(async {
            let driving = tokio::spawn(drive(io.poller().unwrap()));
            let file = io.open("file", OpenOptions::new().create(true)).await.unwrap();
            file.pwrite(0, b"once".into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let before = cpu_time();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let spent = cpu_time().saturating_sub(before);
            assert!(spent < Duration::from_millis(100), "{name}: {spent:?} for nothing");
            assert_eq!(
                runtime.metrics().num_alive_tasks(),
                1,
                "{name}: the driving task, and no other"
            );
            drop((file, io));
            driving.await.unwrap().unwrap();
        });
    }
}

/// What this process has spent so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
