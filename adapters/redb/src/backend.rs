//! The file that redb stores a database in.

use core::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use littoral::{
    Buffer, ErrorKind, File, Io, LockKind, OpenOptions, Result, Shared, SyncKind, wait,
};
use redb::StorageBackend;

use crate::queue::Queue;

/// A file of a littoral driver as redb's storage.
///
/// Its calls wait by stepping the driver, so they must not be made from inside one of the driver's
/// callbacks for as long as another call on the same file is under way on that thread.
///
/// # Errors
/// Every [`io::Error`] that a [`littoral::Error`] caused carries it inside, see
/// [`io::Error::get_ref`]. Reading past the end is [`io::ErrorKind::UnexpectedEof`].
///
/// ```
/// use littoral::{Config, block_on, start};
/// use littoral_redb::RedbFile;
/// use redb::{Database, ReadableDatabase, TableDefinition};
///
/// const HEIGHTS: TableDefinition<&str, u32> = TableDefinition::new("heights");
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().to_str().expect("a temporary folder's name is text");
/// let io = start(Config::new().root(folder))?;
/// let file = block_on(&io, RedbFile::open(io.clone(), "peaks.redb"))??;
/// let database = Database::builder().create_with_backend(file)?;
///
/// let write = database.begin_write()?;
/// write.open_table(HEIGHTS)?.insert("Säntis", 2502)?;
/// write.commit()?;
///
/// let heights = database.begin_read()?.open_table(HEIGHTS)?;
/// assert_eq!(heights.get("Säntis")?.map(|height| height.value()), Some(2502));
/// # Ok(())
/// # }
/// ```
pub struct RedbFile {
    file: Arc<dyn File>,
    queue: Mutex<Queue>,
    // Last: the file's operations end before what may be the last handle of the driver goes.
    io: Arc<dyn Io>,
}

const ALONE: OpenOptions = OpenOptions::new().create(true).lock(LockKind::Exclusive);

impl RedbFile {
    /// Opens `name` for itself alone, by its exclusive lock, and creates it if there is none: two
    /// that write to one database would destroy it.
    ///
    /// # Errors
    /// Those of [`Io::open`], `Locked` among them.
    pub async fn open(io: Arc<dyn Io>, name: &str) -> Result<RedbFile> {
        let file = io.open(name, ALONE).await?;
        Ok(RedbFile::new(io, file))
    }

    /// Opens `name` at once, alone as well, and creates it if there is none: a prepared name, or
    /// natively any.
    ///
    /// # Errors
    /// Those of [`Io::open_now`].
    pub fn open_now(io: Arc<dyn Io>, name: &str) -> Result<RedbFile> {
        let file = io.open_now(name, ALONE)?;
        Ok(RedbFile::new(io, file))
    }

    /// An open file of `io`. Nobody else should write to it while redb has it, and redb closes this
    /// handle of it.
    #[must_use]
    pub fn new(io: Arc<dyn Io>, file: Arc<dyn File>) -> RedbFile {
        RedbFile { file, queue: Mutex::default(), io }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic in the middle of a wait leaves it consistent, see `Queue::drain`.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes an operation; one that the driver has no room for is submitted again when it has.
    fn run<T>(&self, attempt: impl Fn(&dyn Io, &dyn File) -> Result<T>) -> Result<T> {
        loop {
            match attempt(&*self.io, &*self.file) {
                Err(e) if e.kind() == ErrorKind::Saturated => wait(&*self.io, self.io.room(1))?,
                outcome => return outcome,
            }
        }
    }

    /// Writes all that is queued and waits for it; fails if any of it, or any before, did.
    fn settle(&self) -> Result<()> {
        self.queue().drain(&*self.io, &*self.file)
    }

    /// Reads, and says how much there was.
    fn pread(&self, at: u64, out: &mut [u8]) -> Result<usize> {
        let got =
            self.run(|io, file| wait(io, file.pread(at, Buffer::with_capacity(out.len()))))?;
        out[..got.len()].copy_from_slice(&got);
        Ok(got.len())
    }

    fn end_of_file(&self, at: u64, wanted: usize, got: usize) -> io::Error {
        let name = self.file.name();
        let text = format!("`{name}` ends {got} bytes into a read of {wanted} bytes at {at}");
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }
}

impl StorageBackend for RedbFile {
    fn len(&self) -> io::Result<u64> {
        self.settle()?;
        Ok(self.run(|io, file| wait(io, file.size()))?)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if out.is_empty() {
            let inside = offset <= self.len()?;
            return if inside { Ok(()) } else { Err(self.end_of_file(offset, 0, 0)) };
        }
        let end = offset.saturating_add(out.len() as u64);
        let unsettled = {
            let mut queue = self.queue();
            queue.check()?;
            if queue.overlaps(offset, end) {
                queue.drain(&*self.io, &*self.file)?;
            }
            !queue.is_empty()
        };
        let mut got = self.pread(offset, out)?;
        if got < out.len() && unsettled {
            // One of the writes that were queued then may be what makes the file long enough.
            self.settle()?;
            got = self.pread(offset, out)?;
        }
        if got < out.len() { Err(self.end_of_file(offset, out.len(), got)) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.settle()?;
        Ok(self.run(|io, file| wait(io, file.truncate(len)))?)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Not under the lock: a flush takes long, and readers need the queue.
        self.settle()?;
        self.run(|io, file| wait(io, file.sync(SyncKind::Data))).map_err(|error| {
            // What a flush failed to store may look stored to the next one.
            self.queue().fail(error.clone());
            io::Error::from(error)
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut queue = self.queue();
        queue.check()?;
        if data.is_empty() {
            return Ok(());
        }
        let bytes = Shared::from(Buffer::from(data));
        if let Err(bytes) = queue.try_push(offset, bytes) {
            queue.drain(&*self.io, &*self.file)?;
            queue.try_push(offset, bytes).expect("an empty queue takes anything");
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        let written = self.settle();
        let closed = self.run(|io, file| wait(io, file.close()));
        // What comes now is told so at once.
        if let Err(error) = self.run(|io, file| wait(io, file.size())) {
            self.queue().fail(error);
        }
        Ok(written.and(closed)?)
    }
}

impl Drop for RedbFile {
    fn drop(&mut self) {
        // These writes were reported as done. Whom their failure would concern is gone.
        let _ = self.settle();
    }
}

impl fmt::Debug for RedbFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("RedbFile");
        text.field("name", &self.file.name());
        if let Ok(queue) = self.queue.try_lock() {
            text.field("queued", &queue.len());
        }
        text.finish_non_exhaustive()
    }
}
