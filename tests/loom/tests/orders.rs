//! Every order of the small parts. How long each takes is printed: none may be out of proportion.

use std::time::Instant;

fn timed(name: &str, model: fn()) {
    let started = Instant::now();
    model();
    println!("{name}: {:.1?}", started.elapsed());
}

#[test]
fn polled_descriptor() {
    timed("polled descriptor", littoral_loom::polled_descriptor);
}

#[test]
fn doorbell() {
    timed("doorbell", littoral_loom::doorbell);
}

#[test]
fn arena_return() {
    timed("arena return", littoral_loom::arena_return);
}

#[test]
fn holders() {
    timed("holders", littoral_loom::holders);
}
