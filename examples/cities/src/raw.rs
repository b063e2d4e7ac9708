//! A fixed script of raw operations on one file, for comparing platforms byte by byte.

use std::sync::Arc;

use anyhow::{Result, ensure};
use littoral::{Buffer, Completion, Io, OpenOptions, Shared, SyncKind, Vector};
use serde::Serialize;

use crate::demo::digest_of;
use crate::progress::{Progress, Report};

const SEED: u64 = 0x6c69_7474_6f72_616c;

const ROUNDS: u64 = 48;

/// Operations of a round that are under way together. Each has a lane of its own in the file, so
/// that they do not overlap and their order does not matter.
const LANES: u64 = 8;

const LANE_BYTES: u64 = 48 * 1024;

/// The file's name below the driver's root.
pub const FILE: &str = "raw.bin";

/// What the script left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Raw {
    /// SHA-256 of the file, read through the trait.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
}

/// Runs the script: rounds of unaligned writes, vectored writes, truncates both ways, writes past
/// the end and syncs, on a new file. What is read on the way must be what a model in memory says.
///
/// # Errors
/// The driver's, and any byte or size that is not as it should be.
pub async fn run(io: &Arc<dyn Io>, progress: &mut Report<'_>) -> Result<Raw> {
    let file = io.open(FILE, OpenOptions::new().create(true)).await?;
    file.truncate(0).await?;
    // Only 64-bit draws: those of `usize` are different ones where it has 32 bits.
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut model = Vec::new();
    for round in 0..ROUNDS {
        progress(Progress { stage: "raw script", done: round, total: ROUNDS });
        let mut writes: Vec<Completion<()>> = Vec::new();
        for lane in 0..LANES {
            let parts = parts(&mut random);
            let bytes = parts.iter().map(Vec::len).sum::<usize>() as u64;
            let at = lane * LANE_BYTES + random.u64(0..=LANE_BYTES - bytes);
            put(&mut model, at, &parts.concat());
            let mut parts: Vec<Shared> = parts.into_iter().map(Shared::from).collect();
            writes.push(match parts.len() {
                1 => file.pwrite(at, parts.remove(0)),
                _ => file.pwritev(at, Vector::from(parts)),
            });
        }
        for write in writes {
            write.await?;
        }
        if round % 5 == 4 {
            let len = random.u64(0..LANES * LANE_BYTES * 5 / 4);
            file.truncate(len).await?;
            model.resize(usize::try_from(len)?, 0);
        }
        if round % 7 == 6 {
            let kind = if round % 2 == 0 { SyncKind::Data } else { SyncKind::Full };
            file.sync(kind).await?;
        }
        check(&*file, &model, &mut random).await?;
    }
    let size = file.size().await?;
    ensure!(size == model.len() as u64, "the file has {size} bytes, not {}", model.len());
    let digest = digest_of(&*file, |_| ()).await?;
    file.close().await?;
    progress(Progress { stage: "raw script", done: ROUNDS, total: ROUNDS });
    Ok(Raw { digest, size })
}

/// Buffers of one write: one, or several with empty ones among them; less than a lane.
fn parts(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let count = if random.u64(0..2) == 0 { 1 } else { random.u64(2..40) };
    let max = LANE_BYTES / 2 / count;
    let mut part = || {
        let bytes = if random.u64(0..8) == 0 { 0 } else { random.u64(1..=max) };
        (0..bytes).map(|_| random.u64(0..256).to_le_bytes()[0]).collect()
    };
    (0..count).map(|_| part()).collect()
}

/// What writing `bytes` at `at` does to a file.
fn put(model: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let at = usize::try_from(at).expect("the script's file fits into memory");
    let end = at + bytes.len();
    if model.len() < end {
        model.resize(end, 0);
    }
    model[at..end].copy_from_slice(bytes);
}

/// Reads at two places, perhaps past the end, and compares.
async fn check(file: &dyn littoral::File, model: &[u8], random: &mut fastrand::Rng) -> Result<()> {
    let size = file.size().await?;
    ensure!(size == model.len() as u64, "the file has {size} bytes, not {}", model.len());
    for _ in 0..2 {
        let at = usize::try_from(random.u64(0..LANES * LANE_BYTES))?;
        let len = usize::try_from(random.u64(1..LANE_BYTES))?;
        let got = file.pread(at as u64, Buffer::with_capacity(len)).await?;
        let from = at.min(model.len());
        let expected = &model[from..(from + len).min(model.len())];
        ensure!(*got == *expected, "the file differs from its model in {at}..{}", at + len);
    }
    Ok(())
}
