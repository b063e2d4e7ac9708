//! A test that needs a process of its own, because it takes something from it.
#![allow(dead_code, reason = "each test program uses its part of this")]

use std::path::Path;
use std::process::Command;

const CHILD: &str = "LITTORAL_TEST_CHILD";

/// Whether this is the test that runs by itself.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test of that name once more, in a process of its own that `shell` prepares: it ends
/// with `"$@"`, which is the test. `$PLACE` is a folder it may use.
pub(crate) fn in_a_process(test: &str, shell: &str, place: &Path) {
    let this = std::env::current_exe().expect("the test's program");
    let mut child = Command::new("sh");
    child
        .args(["-c", shell, "sh"])
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env("PLACE", place);
    let ended = child.output().expect("there is a shell");
    let said = String::from_utf8_lossy(&ended.stdout);
    let said_by_it = |line: &&str| !["test ", "running "].iter().any(|word| line.starts_with(word));
    for line in said.lines().filter(|line| !line.is_empty()).filter(said_by_it) {
        println!("in a process of its own: {line}");
    }
    let complaints = String::from_utf8_lossy(&ended.stderr);
    for line in complaints.lines().filter(|line| line.starts_with("SKIPPED ")) {
        eprintln!("{line}");
    }
    assert!(ended.status.success() && said.contains("1 passed"), "the child failed:\n{complaints}");
}
