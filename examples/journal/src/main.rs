//! An append-only log with checksums, which is opened again after its tail was torn.
//!
//! There is no platform in it: the same `main` is a program on Linux and, compiled for
//! `wasm32-unknown-unknown`, one in a browser's worker.

mod log;

use std::process::ExitCode;
use std::sync::Arc;

use littoral::{Config, Io, OpenOptions, Result, SyncKind, run};

use crate::log::Log;

const NAME: &str = "journal";
const RECORDS: usize = 1000;

fn main() -> ExitCode {
    // In a browser there are no arguments, and the folder is the origin's.
    let config = match std::env::args().nth(1) {
        Some(folder) => Config::new().root(folder),
        None => Config::new(),
    };
    run(config, journal)
}

async fn journal(io: Arc<dyn Io>) -> Result<String> {
    let mut told = Vec::new();

    // Another run may have left one.
    let file = io.open(NAME, OpenOptions::new().create(true)).await?;
    file.truncate(0).await?;
    file.close().await?;

    let mut log = Log::open(&*io, NAME).await?;
    for number in 0..RECORDS {
        log.append(&record(number)).await?;
    }
    log.commit().await?;
    let whole = log.end();
    told.push(format!("{} records in {whole} bytes", log.len()));

    // As a crash may leave it: half of a record behind the last that was committed, and no close.
    log.append(&record(RECORDS)).await?;
    log.flush().await?;
    let file = io.open(NAME, OpenOptions::new()).await?;
    file.truncate(whole + 9).await?;
    file.sync(SyncKind::Full).await?;
    log.close().await?;

    let mut log = Log::open(&*io, NAME).await?;
    told.push(format!("opened again: {} records, {} bytes cut off", log.len(), log.cut()));
    for number in 0..log.len() {
        assert_eq!(log.read(number).await?, record(number), "record {number}");
    }
    log.append(b"and on it goes").await?;
    log.commit().await?;
    told.push(format!("checksum of {} records: {:08x}", log.len(), log.digest().await?));
    log.close().await?;
    file.close().await?;
    io.remove(NAME).await?;
    Ok(told.join("\n"))
}

/// Bytes that differ in length and in contents, the same in each run.
fn record(number: usize) -> Vec<u8> {
    let byte = |place: usize| (number * 31 + place * 7).to_le_bytes()[0];
    (0..number * 37 % 301).map(byte).collect()
}
