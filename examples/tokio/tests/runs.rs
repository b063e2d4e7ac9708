//! The example does what it says, and its `drive` loses no wake-up on any runtime.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use littoral::{Buffer, Config, OpenOptions, SyncKind, start};
use on_tokio::drive;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Far more than anything here takes, far less than for ever.
const PROMPT: Duration = Duration::from_secs(60);

#[test]
fn it_serves_all_pages_on_one_thread() {
    let output = Command::new(env!("CARGO_BIN_EXE_on-tokio")).output().expect("it is built");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("1600 pages of 4096 bytes to 8 clients"), "{printed}");
    assert!(
        printed.contains("1048576 bytes") && printed.contains("the thread `main`"),
        "{printed}"
    );
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    let several = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let one = Builder::new_current_thread().enable_all().build();
    [("one thread", one.unwrap()), ("several threads", several.unwrap())]
}

#[test]
fn many_tasks_lose_nothing() {
    for (name, runtime) in runtimes() {
        let folder = tempfile::tempdir().unwrap();
        let io = start(Config::new().root(folder.path())).unwrap();
        let work = async {
            let driving = tokio::spawn(drive(io.poller().unwrap()));
            let file = io.open("file", OpenOptions::new().create(true)).await.unwrap();
            let tasks: Vec<_> = (0..16_u8)
                .map(|task| {
                    let file = Arc::clone(&file);
                    tokio::spawn(async move {
                        for round in 0..100_u64 {
                            let at = (u64::from(task) * 100 + round) * 512;
                            file.pwrite(at, vec![task; 512].into()).await.unwrap();
                            let read = file.pread(at, Buffer::with_capacity(512)).await.unwrap();
                            assert_eq!(read[..], [task; 512]);
                            if round % 25 == 0 {
                                file.sync(SyncKind::Data).await.unwrap();
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(file.size().await.unwrap(), 16 * 100 * 512);
            drop((file, io));
            driving.await.unwrap().unwrap();
        };
        let done = runtime.block_on(async { timeout(PROMPT, work).await });
        assert!(done.is_ok(), "{name}: a task sleeps for ever");
    }
}
