//! The engine against a plain vector on the real kernel, honest and made faulty. (On simulated
//! rings that is `simulation.rs`.)
//!
//! Each seed is a script of batches. Within a batch writes do not overlap (overlapping operations
//! in flight have no order), a truncate may stand between them, some are vectored, and some
//! completions are dropped. After each batch the file is what the model is, byte by byte. A failure
//! prints its seed; `LITTORAL_SEED=N cargo test --test kernel_model` replays it alone.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use littoral::platform::faulty::{Faults, Faulty, Script};
use littoral::platform::{Native, Ring, Setup};
use littoral::{
    Buffer, Config, Io, OpenOptions, Result, Shared, SyncKind, Vector, block_on, start_on,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const OPERATIONS: u32 = 24;

fn seeds() -> Range<u64> {
    match std::env::var("LITTORAL_SEED").map(|seed| seed.parse::<u64>()) {
        Ok(seed) => {
            let seed = seed.expect("LITTORAL_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..60,
    }
}

/// Cuts bytes into a vector of pieces, some of them empty.
fn pieces(random: &mut StdRng, bytes: &[u8]) -> Vector {
    let mut vector = Vector::new();
    let all = Shared::from(bytes.to_vec());
    let mut at = 0;
    while at < bytes.len() {
        let len = random.random_range(0..=(bytes.len() - at).min(700));
        vector.push(all.slice(at..at + len));
        at += len;
    }
    vector
}

async fn script(io: Arc<dyn Io>, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let file = io.open("model", OpenOptions::new().create(true)).await?;
    file.truncate(0).await?;
    let mut model: Vec<u8> = Vec::new();
    for _ in 0..8 {
        let mut writes = Vec::new();
        // Disjoint ranges, shuffled; neighbours often touch, so that they are merged.
        let mut at = random.random_range(0..3000);
        for _ in 0..random.random_range(1..OPERATIONS / 2) {
            let len = random.random_range(0..3000);
            let bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
            writes.push((at, bytes));
            at += len + if random.random_bool(0.7) { 0 } else { random.random_range(0..500) };
        }
        if random.random_bool(0.3) {
            writes.reverse();
        }
        let cut = random.random_bool(0.4).then(|| random.random_range(0..writes.len()));
        let mut pending = Vec::new();
        for (place, (at, bytes)) in writes.into_iter().enumerate() {
            if cut == Some(place) {
                let len = random.random_range(0..9000);
                pending.push(file.truncate(len as u64));
                model.resize(len, 0);
            }
            let write = if random.random_bool(0.5) {
                file.pwritev(at as u64, pieces(&mut random, &bytes))
            } else {
                file.pwrite(at as u64, bytes.clone().into())
            };
            if random.random_bool(0.1) {
                write.detach();
            } else {
                pending.push(write);
            }
            if !bytes.is_empty() {
                model.resize(model.len().max(at + bytes.len()), 0);
                model[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            if random.random_bool(0.1) {
                pending.push(file.sync(SyncKind::Data));
            }
        }
        pending.push(file.sync(SyncKind::Full));
        for completion in pending {
            completion.await?;
        }
        assert_eq!(file.size().await?, model.len() as u64);
        check(&*file, &mut random, &model).await?;
    }
    file.close().await
}

/// Reads all of it, whole and in pieces at once.
async fn check(file: &dyn littoral::File, random: &mut StdRng, model: &[u8]) -> Result<()> {
    let whole = file.pread(0, Buffer::with_capacity(model.len() + 100)).await?;
    assert!(whole[..] == *model, "the file is not the model");
    let reads: Vec<_> = (0..5)
        .map(|_| {
            let at = random.random_range(0..model.len() + 200);
            let lens: Vec<usize> = (0..3).map(|_| random.random_range(0..2000)).collect();
            let buffers = lens.iter().map(|&len| Buffer::with_capacity(len)).collect();
            (at, lens, file.preadv(at as u64, buffers))
        })
        .collect();
    for (at, lens, read) in reads {
        let mut rest = model.get(at..).unwrap_or_default();
        for (len, buffer) in lens.into_iter().zip(read.await?) {
            let (here, behind) = rest.split_at(len.min(rest.len()));
            assert!(buffer[..] == *here, "{} bytes read of {}", buffer.len(), here.len());
            rest = behind;
        }
    }
    Ok(())
}

fn run(seed: u64, ring: Box<dyn Ring>) {
    let config = Config::new().operations(OPERATIONS * 2);
    let io = start_on(ring, config).expect("a driver");
    println!("seed {seed}");
    block_on(&io, script(Arc::clone(&io), seed)).expect("it may wait").expect("nothing fails");
    let left = io.statistics();
    assert_eq!((left.alive, left.stale), (0, 0), "seed {seed}: {left:?}");
}

fn setup(root: &Path) -> Setup {
    let root = root.to_str().expect("UTF-8").to_owned();
    Setup { root: Some(root), in_flight: OPERATIONS * 4 }
}

#[test]
fn uring() {
    let folder = tempfile::tempdir().expect("a folder");
    for seed in seeds() {
        run(seed, Box::new(Native::new(&setup(folder.path())).expect("a ring")));
    }
}

#[test]
fn faulty_uring() {
    let folder = tempfile::tempdir().expect("a folder");
    for seed in seeds() {
        let inner = Native::new(&setup(folder.path())).expect("a ring");
        run(seed, Box::new(Faulty::new(inner, faults(seed), Script::new())));
    }
}

/// Rough, and every third seed with limits that force splitting.
fn faults(seed: u64) -> Faults {
    let mut faults = Faults::rough(seed);
    if seed.is_multiple_of(3) {
        (faults.spans_per_call, faults.bytes_per_call) = (Some(2), Some(777));
        faults.in_flight = Some(4);
    }
    faults
}
