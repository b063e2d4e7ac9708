//! The demonstration: real data into a real database, and every answer twice.

use std::sync::Arc;

use anyhow::{Context, Result};
use littoral::{Buffer, ErrorKind, File, Io, OpenOptions};
use littoral_redb::RedbFile;
use redb::Database;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::progress::{Progress, Report};
use crate::query::{Answer, hex};
use crate::{city, scan, store};

/// redb's cache. Its default, 1 GiB, is much for a browser's worker.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of one read where a file is read from end to end.
const CHUNK: usize = 1024 * 1024;

/// What a run found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Cities in the database.
    pub rows: u64,
    /// From the database.
    pub answers: Vec<Answer>,
    /// From the JSON.
    pub scan: Vec<Answer>,
    /// SHA-256 of the database's file, read through the trait.
    pub digest: String,
    /// The file's name below the driver's root.
    pub file: String,
}

/// Loads the cities of `json` into a new database `name`, replacing the one that is there, and
/// answers every question from it and from the JSON.
///
/// redb is a synchronous engine: only opening the file awaits.
///
/// # Errors
/// Those of the data, the database and the driver.
pub async fn run(
    io: &Arc<dyn Io>,
    name: &str,
    json: &[u8],
    progress: &mut Report<'_>,
) -> Result<Outcome> {
    match io.remove(name).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => (),
    }
    progress(Progress { stage: "parsing", done: 0, total: 1 });
    let cities = city::parse(json)?;
    progress(Progress { stage: "parsing", done: 1, total: 1 });

    let database = open(RedbFile::open(Arc::clone(io), name).await?)?;
    store::load(&database, &cities, progress)?;
    let rows = store::count(&database)?;
    let answers = store::answers(&database, progress)?;
    drop(database);

    let digest = digest(io, name, progress).await?;
    progress(Progress { stage: "scanning", done: 0, total: 1 });
    let scan = scan::answers(json)?;
    progress(Progress { stage: "scanning", done: 1, total: 1 });
    Ok(Outcome { rows, answers, scan, digest, file: name.to_owned() })
}

/// Answers every question from an existing database, wherever it was made.
///
/// # Errors
/// Those of the database and the driver.
pub async fn answer(
    io: &Arc<dyn Io>,
    name: &str,
    progress: &mut Report<'_>,
) -> Result<Vec<Answer>> {
    let file = io.open(name, OpenOptions::new()).await?;
    let database = open(RedbFile::new(Arc::clone(io), file))?;
    store::answers(&database, progress)
}

fn open(file: RedbFile) -> Result<Database> {
    let text = format!("{file:?}");
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).create_with_backend(file).context(text)
}

/// SHA-256 of a file's bytes, read through the trait.
///
/// # Errors
/// The driver's.
pub async fn digest(io: &Arc<dyn Io>, name: &str, progress: &mut Report<'_>) -> Result<String> {
    let file = io.open(name, OpenOptions::read_only()).await?;
    let total = file.size().await?;
    let digest = digest_of(&*file, |done| progress(Progress { stage: "hashing", done, total }));
    let digest = digest.await?;
    file.close().await?;
    Ok(digest)
}

/// SHA-256 of an open file's bytes, to the end that reading meets.
pub(crate) async fn digest_of(file: &dyn File, mut read: impl FnMut(u64)) -> Result<String> {
    let mut hash = Sha256::new();
    let mut at = 0;
    loop {
        let chunk = file.pread(at, Buffer::with_capacity(CHUNK)).await?;
        hash.update(&*chunk);
        at += chunk.len() as u64;
        read(at);
        if chunk.len() < CHUNK {
            return Ok(hex(hash));
        }
    }
}
