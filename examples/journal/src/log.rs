//! The log: records one behind the other, each behind its length and its checksum.
//!
//! What is appended is gathered in memory and written together: a write of many records costs as
//! much as one of a single record. A record counts as written once a commit behind it has ended.

use littoral::{Arena, Buffer, Completion, File, Io, OpenOptions, Result, Shared, SyncKind};
use std::sync::Arc;

/// Bytes in front of a record: its length and its checksum, 32 bits each, the lowest byte first.
const HEADER: usize = 8;

/// How much is gathered before it is written.
const GATHERED: usize = 16 * 1024;

/// Writes under way at once.
const WRITES: usize = 4;

pub(crate) struct Log {
    file: Arc<dyn File>,
    /// Where each record's bytes are, and how many.
    places: Vec<(u64, usize)>,
    /// Behind the last record, of those in memory too.
    end: u64,
    /// Bytes that were found behind the last whole record.
    cut: u64,
    arena: Arena,
    gathered: Option<Buffer>,
    writes: Vec<Completion<()>>,
}

impl Log {
    /// Opens a log, finds its records, and cuts off what is behind the last whole one.
    pub(crate) async fn open(io: &dyn Io, name: &str) -> Result<Log> {
        let file = io.open(name, OpenOptions::new().create(true)).await?;
        let size = file.size().await?;
        let arena = Arena::new(&[(GATHERED, WRITES + 1)]);
        let (places, gathered, writes) = (Vec::new(), None, Vec::new());
        let mut log = Log { file, places, end: 0, cut: 0, arena, gathered, writes };
        while let Some((at, len)) = log.find(log.end, size).await? {
            log.places.push((at, len));
            log.end = at + len as u64;
        }
        log.cut = size - log.end;
        if log.cut > 0 {
            log.file.truncate(log.end).await?;
        }
        Ok(log)
    }

    /// The record whose header is at that place, if it is whole.
    async fn find(&self, at: u64, size: u64) -> Result<Option<(u64, usize)>> {
        let header = self.file.pread(at, Buffer::with_capacity(HEADER)).await?;
        let Some((len, checksum)) = parse(&header) else { return Ok(None) };
        let at = at + HEADER as u64;
        if at + len as u64 > size {
            return Ok(None);
        }
        let bytes = self.file.pread(at, Buffer::with_capacity(len)).await?;
        Ok((crc32fast::hash(&bytes) == checksum).then_some((at, len)))
    }

    /// Appends a record.
    pub(crate) async fn append(&mut self, record: &[u8]) -> Result<()> {
        let bytes = HEADER + record.len();
        if self.gathered.as_ref().is_some_and(|all| all.capacity() - all.len() < bytes) {
            self.flush().await?;
        }
        let fresh = || match self.arena.take(bytes.max(GATHERED)) {
            Ok(buffer) => buffer,
            // Larger than what is gathered usually: it has memory of its own.
            Err(_) => Buffer::with_capacity(bytes),
        };
        let gathered = self.gathered.get_or_insert_with(fresh);
        let len = u32::try_from(record.len()).expect("a record is smaller than 4 GiB");
        gathered.extend_from_slice(&len.to_le_bytes());
        gathered.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
        gathered.extend_from_slice(record);
        self.places.push((self.end + HEADER as u64, record.len()));
        self.end += bytes as u64;
        Ok(())
    }

    /// Starts to write what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        let Some(gathered) = self.gathered.take() else { return Ok(()) };
        let gathered: Shared = gathered.freeze();
        if self.writes.len() == WRITES {
            // The oldest, whose buffer is the next to be filled.
            self.writes.remove(0).await?;
        }
        let at = self.end - gathered.len() as u64;
        self.writes.push(self.file.pwrite(at, gathered));
        Ok(())
    }

    /// Comes back when all records are safe.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        self.flush().await?;
        // It covers the writes before it, so it need not wait for their ends.
        let sync = self.file.sync(SyncKind::Data);
        for write in self.writes.drain(..) {
            write.await?;
        }
        sync.await
    }

    /// A record's bytes.
    pub(crate) async fn read(&self, number: usize) -> Result<Vec<u8>> {
        let (at, len) = self.places[number];
        Ok(self.file.pread(at, Buffer::with_capacity(len)).await?.to_vec())
    }

    /// A checksum of all records that are written, read in one sweep.
    pub(crate) async fn digest(&self) -> Result<u32> {
        let mut digest = crc32fast::Hasher::new();
        let mut buffer = Buffer::with_capacity(GATHERED);
        for at in (0..self.end).step_by(GATHERED) {
            buffer = self.file.pread(at, buffer).await?;
            digest.update(&buffer);
        }
        Ok(digest.finalize())
    }

    /// Ends the writes that are under way, and closes the file. What was not committed may be lost.
    pub(crate) async fn close(mut self) -> Result<()> {
        for write in self.writes.drain(..) {
            write.await?;
        }
        self.file.close().await
    }

    /// Records.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of all records and their headers.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that were cut off when it was opened.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}

/// Length and checksum, of a header that is whole.
fn parse(header: &[u8]) -> Option<(usize, u32)> {
    let (len, rest) = header.split_first_chunk::<4>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    Some((len, u32::from_le_bytes(*checksum)))
}
