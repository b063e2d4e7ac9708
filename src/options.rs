//! How to open a file, and how to start a driver.

use core::time::Duration;
use std::path::{Path, PathBuf};

use littoral_platform::LockKind;

use crate::{DirectIo, Error, ErrorKind, Operation, Result};

/// How to open a file. Files are always readable.
///
/// ```
/// use littoral::OpenOptions;
/// let fresh = OpenOptions::new().create(true);
/// let look_only = OpenOptions::read_only();
/// assert_ne!(fresh, look_only);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub struct OpenOptions {
    pub(crate) write: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) no_follow: bool,
    pub(crate) ordered: bool,
    pub(crate) mode: u32,
    pub(crate) lock: Option<LockKind>,
    pub(crate) direct: DirectIo,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// An existing file, for reading and writing.
    #[must_use]
    pub const fn new() -> OpenOptions {
        OpenOptions {
            write: true,
            create: false,
            create_new: false,
            no_follow: false,
            ordered: false,
            mode: 0o644,
            lock: None,
            direct: DirectIo::Off,
        }
    }

    /// An existing file, for reading.
    #[must_use]
    pub const fn read_only() -> OpenOptions {
        OpenOptions { write: false, ..OpenOptions::new() }
    }

    /// Create the file if there is none. An existing one keeps its contents.
    #[must_use]
    pub const fn create(mut self, create: bool) -> OpenOptions {
        self.create = create;
        self
    }

    /// Create the file, and fail with `AlreadyExists` if there is one.
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> OpenOptions {
        self.create_new = create_new;
        self
    }

    /// Operations that overlap, one of them writing, run in the order of their submission; what
    /// does not overlap runs as it comes. [`size`](crate::File::size) counts as a read of
    /// everything. For engines that queue writes and read them back.
    ///
    /// It is the file's, for all handles of this driver, from the first open that asks for it until
    /// the file is closed by all. What is under way at that open keeps no order among itself.
    #[must_use]
    pub const fn ordered(mut self, ordered: bool) -> OpenOptions {
        self.ordered = ordered;
        self
    }

    /// Fail with `SymbolicLink` if the name itself is a symbolic link, instead of opening what it
    /// leads to; links on the way to the name are followed. Where there are no links, as in
    /// browsers, nothing.
    #[must_use]
    pub const fn no_follow(mut self, no_follow: bool) -> OpenOptions {
        self.no_follow = no_follow;
        self
    }

    /// The permissions of a file that is created, as the nine bits of `chmod` less the process's
    /// umask; `0o644` unless told. Other bits are `InvalidInput`. An existing file keeps its own.
    /// Where files have none, as in browsers, nothing.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> OpenOptions {
        self.mode = mode;
        self
    }

    /// Take the file's lock on the way, as [`File::lock`](crate::File::lock) does, and be `Locked`
    /// without it. Not taken unless asked for: whoever opens a database alone asks for
    /// [`Exclusive`](LockKind::Exclusive).
    #[must_use]
    pub const fn lock(mut self, kind: LockKind) -> OpenOptions {
        self.lock = Some(kind);
        self
    }

    /// Whether reads and writes go past the platform's page cache: for an engine that has a cache
    /// of its own. Off unless asked for. It is this handle's: another one of the same file may go
    /// through the cache, and both see the same bytes.
    ///
    /// What is aligned as the file's [`geometry`](crate::File::geometry) says goes to the device:
    /// the offset, and of each buffer its memory and its length. What is not goes through the page
    /// cache, as without this, and is as right; [`unaligned`](crate::Statistics::unaligned) counts
    /// it. It is waited for while an aligned write to the same pages is under way, and the other
    /// way round. A read may be aligned and longer than what is left of the file. The file takes a
    /// second descriptor.
    ///
    /// ```
    /// use littoral::{Arena, Config, DirectIo, OpenOptions, start, wait};
    /// # fn main() -> littoral::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let io = start(Config::new().root(folder.path()))?;
    /// let options = OpenOptions::new().create(true).direct(DirectIo::Preferred);
    /// let file = wait(&*io, io.open("main.db", options))?;
    /// println!("{}", file.geometry()?.direct); // on, or why not
    /// let pages = Arena::new(&[(4096, 64)]);
    /// let mut page = pages.take(4096).expect("one of 64");
    /// page.fill_with_zeros();
    /// wait(&*io, file.pwrite(0, page.freeze()))?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn direct(mut self, direct: DirectIo) -> OpenOptions {
        self.direct = direct;
        self
    }

    pub(crate) const fn create_for_reading(self) -> bool {
        (self.create || self.create_new) && !self.write
    }
}

/// What one read or write is asked for beyond moving bytes.
///
/// Each intent may be given on every platform. Where a platform, or the system of a file, has no
/// way to meet it, its downgrade is as told below:
/// [`Statistics::downgraded`](crate::Statistics::downgraded) counts, and
/// [`capabilities`](crate::Io::capabilities) names what there is not, and for which file it was
/// found out.
///
/// ```
/// use littoral::Intent;
/// assert_ne!(Intent::new().durable(true), Intent::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    pub(crate) durable: bool,
    pub(crate) uncached: bool,
    pub(crate) no_wait: bool,
}

impl Intent {
    /// Nothing beyond reading or writing.
    #[must_use]
    pub const fn new() -> Intent {
        Intent { durable: false, uncached: false, no_wait: false }
    }

    /// The write ends when its bytes are durable, as if a
    /// [`SyncKind::Data`](crate::SyncKind::Data) for it alone came with it. Until then nothing of
    /// it is [confirmed](crate::Error::confirmed). Of a read it asks nothing.
    ///
    /// It holds everywhere: by one entry or by a write and a flush, whichever is better.
    #[must_use]
    pub const fn durable(mut self, durable: bool) -> Intent {
        self.durable = durable;
        self
    }

    /// The bytes are not kept in the platform's page cache for it: for a scan or a copy that would
    /// push out what others need. (`RWF_DONTCACHE`, Linux 6.14, on file systems that know it.)
    ///
    /// Downgrade: through the cache, as without it.
    #[must_use]
    pub const fn uncached(mut self, uncached: bool) -> Intent {
        self.uncached = uncached;
        self
    }

    /// It ends with [`WouldBlock`](crate::ErrorKind::WouldBlock) where it would have to wait: for
    /// the device, for a lock of the file's system, for a truncate before it. It is not tried again
    /// by us. A read gives all or nothing; of a write
    /// [`confirmed`](crate::Error::confirmed) tells what was written. (`RWF_NOWAIT`. Through the
    /// page cache ext4 never writes without waiting.)
    ///
    /// Downgrade: `WouldBlock`, always. Together with `durable` it is `InvalidInput`.
    #[must_use]
    pub const fn no_wait(mut self, no_wait: bool) -> Intent {
        self.no_wait = no_wait;
        self
    }
}

/// How to start a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) root: Option<PathBuf>,
    pub(crate) operations: u32,
    pub(crate) files: u32,
    pub(crate) drain_timeout: Duration,
    pub(crate) registered_files: u32,
    pub(crate) lock_patience: Duration,
    pub(crate) locks: bool,
    pub(crate) locks_from_environment: bool,
    pub(crate) thread: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config::new()
    }
}

impl Config {
    /// 1024 operations, 1024 files, the current folder (in a browser: the origin's root).
    #[must_use]
    pub const fn new() -> Config {
        Config {
            root: None,
            operations: 1024,
            files: 1024,
            drain_timeout: Duration::from_secs(10),
            registered_files: 0,
            lock_patience: Duration::from_secs(3),
            locks: true,
            locks_from_environment: false,
            thread: None,
        }
    }

    /// The folder that all names are relative to. It must exist natively; in a browser it is a
    /// folder in the origin's private file system, and is created. A path that is no UTF-8 is
    /// `InvalidInput` at the start.
    #[must_use]
    pub fn root(mut self, folder: impl AsRef<Path>) -> Config {
        self.root = Some(folder.as_ref().to_owned());
        self
    }

    /// How many operations may be alive at once, from 1 to 32768: submitted, and not yet taken or
    /// detached and done. One more is refused as `Saturated`.
    #[must_use]
    pub const fn operations(mut self, operations: u32) -> Config {
        self.operations = operations;
        self
    }

    /// How many files may be open at once, from 1 to 32768. One more is refused as
    /// `OutOfResources`.
    #[must_use]
    pub const fn files(mut self, files: u32) -> Config {
        self.files = files;
        self
    }

    /// How long dropping the driver may wait for the platform. What is unfinished then ends as
    /// `Abandoned`, and its memory is leaked rather than freed under the kernel.
    #[must_use]
    pub const fn drain_timeout(mut self, timeout: Duration) -> Config {
        self.drain_timeout = timeout;
        self
    }

    /// How long a lock is waited for before the answer is `Locked`: 3 s unless told; zero for an
    /// answer at once. In a browser opening waits as long, where a file can be open in one tab or
    /// worker at a time.
    ///
    /// The environment variable `LITTORAL_LOCKS` goes before it: a number is as many milliseconds.
    #[must_use]
    pub const fn lock_patience(mut self, patience: Duration) -> Config {
        self.lock_patience = patience;
        self
    }

    /// Whether locks are taken. Without them every lock that is asked for is granted and none is
    /// there: for a file system that has none, or for looking into a file that somebody else has
    /// locked. What a browser does by itself stays: a file is open in one tab or worker at a time.
    ///
    /// The environment variable `LITTORAL_LOCKS` goes before it: `off`, `on`, or a number of
    /// milliseconds, which is `on` with that patience. [`capabilities`](crate::Io::capabilities)
    /// tell what holds, and by whom.
    #[must_use]
    pub const fn locks(mut self, taken: bool) -> Config {
        self.locks = taken;
        self
    }

    /// Has the platform keep up to that many open files in a table of its own; 0 unless told. On
    /// `io_uring` (Linux 6.15 and later) reads of cached pages that go through the ring then cost 2
    /// to 3 hundredths less, direct I/O nothing less. The price: when the process dies, its locks
    /// and the files that it had removed go some 20 to 40 ms later. (A driver that ends properly
    /// gives them up at once.) More than the process may open, or where there is no such table, it
    /// is refused, which [`capabilities`](crate::Io::capabilities) tell, and changes nothing.
    #[must_use]
    pub const fn registered_files(mut self, files: u32) -> Config {
        self.registered_files = files;
        self
    }

    /// The driver steps by itself, on a thread of its own with that name (of which Linux shows 15
    /// bytes): completions make progress without anybody's [`step`](crate::Io::step), and wakers
    /// and callbacks run on that thread, which they should not hold up. Anybody may step all the
    /// same.
    ///
    /// Whoever submits then starts his entries himself, so that nothing waits for the thread; what
    /// is to meet its neighbours is submitted in a [`batch`](crate::batch()). The thread takes no
    /// signals. A callback that panics on it ends neither the thread nor the driver: the panic is
    /// told by the panic hook, counted in [`Statistics::panics`](crate::Statistics::panics), and
    /// the next callback runs.
    ///
    /// The thread ends with the driver, and whoever drops the last handle waits for it: not if he
    /// is a callback on that very thread, and for a callback that does not come to its end no
    /// longer than [`drain_timeout`](Config::drain_timeout). A forked child has no such thread.
    ///
    /// Where there are no threads, as in browsers, starting the driver fails with `Unsupported`:
    /// there the host steps. A name with a NUL in it is `InvalidInput`.
    #[must_use]
    pub fn driver_thread(mut self, name: impl Into<String>) -> Config {
        self.thread = Some(name.into());
        self
    }
}

impl Config {
    /// The root as text, which it has to be.
    pub(crate) fn root_text(&self) -> Result<Option<String>> {
        let Some(root) = &self.root else { return Ok(None) };
        root.to_str().map(|text| Some(text.to_owned())).ok_or_else(|| {
            let error = Error::new(ErrorKind::InvalidInput, Operation::Start);
            error.because(format!("the path of the root is not UTF-8: {}", root.display()))
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        let bounds = 1..=32_768;
        if bounds.contains(&self.operations) && bounds.contains(&self.files) {
            return Ok(());
        }
        let error = Error::new(ErrorKind::InvalidInput, Operation::Start);
        Err(error.because("`operations` and `files` are from 1 to 32768"))
    }
}

/// How long a `step` may wait for something to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until then.
    For(Duration),
    /// Until something is delivered, or nothing is left that could be. Where a write or a flush is
    /// all there is to do, and the ring would hand it to a worker, this thread does it itself:
    /// then an [interrupt](crate::Io::interrupt) is heeded at the end of that call.
    Forever,
}
