//! A quick share of the seeds, for `cargo test`; the command `simulation` runs ten thousand.

use littoral_simulation::{Counts, replay, run, seeds};

#[test]
fn seeds_end_as_the_model_says() {
    let mut counts = Counts::default();
    let seeds = seeds(0..150);
    for seed in seeds.clone() {
        match run(seed) {
            Ok(seen) => counts = counts.and(seen.counts),
            Err(why) => panic!("seed {seed}: {why}\nthe same again: {}", replay(seed)),
        }
    }
    // A run in which little goes wrong would say little.
    let Counts { ended, failed, detached, crashes, .. } = counts;
    let Counts { merged, resumed, retried, stale, unaligned, .. } = counts;
    let often = [resumed / 10, retried / 10, stale, unaligned];
    let enough = [ended / 40, failed, detached, crashes / 4, merged].into_iter().chain(often);
    let enough: Vec<_> = enough.collect();
    let few = seeds.end - seeds.start;
    assert!(few < 100 || enough.iter().all(|count| *count >= few), "{counts}");
}

#[test]
fn a_seed_is_a_run() {
    for seed in seeds(7000..7020) {
        assert_eq!(run(seed), run(seed), "{}", replay(seed));
    }
    assert_ne!(run(1).map(|seen| seen.digest), run(2).map(|seen| seen.digest));
}
