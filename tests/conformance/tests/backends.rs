//! `cargo test` runs every check on every native backend.

use littoral_conformance::native::{Backend, run_all};

fn all_pass(backend: Backend, seed: u64) {
    let rows = run_all(backend, seed, "", |_| ()).unwrap();
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row.outcome == "failed")
        .map(|row| format!("{} {}: {}", row.clause, row.check, row.reason.as_deref().unwrap_or("")))
        .collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(rows.iter().any(|row| row.outcome == "passed"));
}

#[test]
fn uring() {
    all_pass(Backend::Uring, 1);
}

#[test]
fn threads() {
    all_pass(Backend::Threads, 1);
}

#[test]
fn faulty_threads() {
    all_pass(Backend::FaultyThreads, 1);
}

#[test]
fn simulated() {
    for seed in 1..4 {
        all_pass(Backend::Simulated, seed);
    }
}

#[test]
fn faulty_uring() {
    all_pass(Backend::FaultyUring, 1);
}

#[test]
fn faulty_simulated() {
    for seed in 1..4 {
        all_pass(Backend::FaultySimulated, seed);
    }
}
