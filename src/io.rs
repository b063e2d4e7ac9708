//! The driver trait, and the driver of a ring.

use core::fmt;
use std::sync::{Arc, Weak};

use littoral_platform::{Limits, Listed, Polled, Report, Ring, Setup, native};

use crate::core::{Core, tell_start_failed};
use crate::file::ring_file;
use crate::{
    Arena, Completion, Config, Error, ErrorKind, File, Group, Metadata, OpenOptions, Operation,
    Poller, Registration, Result, Wait,
};

/// Starts a driver on the platform's own ring. In a browser that is possible in a dedicated worker.
///
/// # Errors
/// What the platform refused, and what to do about it.
pub fn start(config: Config) -> Result<Arc<dyn Io>> {
    let root = config.root_text()?;
    let setup = Setup { root, in_flight: config.operations.saturating_mul(2) };
    let ring = native(&setup).map_err(Error::from).inspect_err(tell_start_failed)?;
    start_on(ring, config)
}

/// Starts a driver on a ring of your own: a simulated one, or one that misbehaves on purpose. The
/// ring has its own root and size ([`Setup`]); those of `config` are not used.
///
/// ```
/// use littoral::platform::faulty::{Faults, Faulty, Script};
/// use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
/// use littoral::platform::Setup;
/// use littoral::{Config, OpenOptions, start_on, wait};
///
/// # fn main() -> littoral::Result<()> {
/// let setup = Setup { root: None, in_flight: 64 };
/// let seed = 7;
/// let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(seed));
/// let ring = Faulty::new(ring, Faults::rough(seed), Script::new());
/// let io = start_on(Box::new(ring), Config::new())?;
/// let file = wait(&*io, io.open("tested.db", OpenOptions::new().create(true)))?;
/// wait(&*io, file.pwrite(0, b"short, interrupted and whole all the same".into()))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidInput` for a configuration outside its bounds; `Unsupported` for a
/// [thread](Config::driver_thread) where there are none.
pub fn start_on(ring: Box<dyn Ring>, config: Config) -> Result<Arc<dyn Io>> {
    config.check()?;
    let config = config.in_environment()?;
    let thread = config.thread.clone();
    let core = Core::new(ring, config);
    let driver = Arc::new_cyclic(|this| Driver { this: Weak::clone(this), core });
    if let Some(name) = thread {
        driver.core.start_thread(&name)?;
    }
    Ok(driver)
}

/// A driver: opens files and makes their operations progress.
///
/// Engines hold an `Arc<dyn Io>`. When the last one goes, unfinished operations are cancelled and
/// waited for; files and completions do not keep the driver alive.
///
/// # Names
/// One rule on every platform: a name is one or more components separated by `/`, below the
/// driver's [root](crate::Config::root). A component is 1 to 255 bytes of UTF-8, not `.` or `..`,
/// without control characters and without `\`, and does not begin with `.littoral-`; a name is at
/// most 1024 bytes. What breaks the rule is `InvalidInput`, before anything is touched.
pub trait Io: fmt::Debug + Send + Sync + 'static {
    /// Opens a file. A directory is `IsADirectory`. A pipe or a device is opened natively as it is,
    /// and what is said of sizes and ends of files does not hold for it.
    fn open(&self, name: &str, options: OpenOptions) -> Completion<Arc<dyn File>>;

    /// Removes a file. One that is open through this driver is `Busy`.
    fn remove(&self, name: &str) -> Completion<()>;

    /// Gives a file another name, in place of the file that has it, which is then gone. Either is
    /// there at any moment. A name that is missing is `NotFound`; one that is open through this
    /// driver, from or onto, by this or another name, is `Busy`, and so is a prepared one; one that
    /// is a directory is `IsADirectory`, on every platform, because browsers cannot move those.
    /// Durable after a [`sync_dir`](Io::sync_dir) of the directory, or directories.
    ///
    /// Two hard links to one file are that file already: natively nothing happens, as `rename(2)`
    /// has it. `Unsupported` in a browser that cannot move files.
    fn rename(&self, from: &str, to: &str) -> Completion<()>;

    /// Whether the name is that of anything: a file, a directory, or what a symbolic link leads to.
    fn exists(&self, name: &str) -> Completion<bool>;

    /// What is known of a file or directory, open or not. The root is the empty name.
    fn metadata(&self, name: &str) -> Completion<Metadata>;

    /// What is in a directory, in the order of the names' bytes. The root is the empty name. Left
    /// out are temporary files, prepared ones that read as absent, and natively names that break
    /// the rule for names.
    fn list(&self, directory: &str) -> Completion<Vec<Listed>>;

    /// Makes a directory and those that it is in, as far as they are not there. A file of that name
    /// is `AlreadyExists`, one on the way `NotADirectory`.
    fn create_dir_all(&self, directory: &str) -> Completion<()>;

    /// Removes a directory. One with something in it is `DirectoryNotEmpty`, a file is
    /// `NotADirectory`.
    fn remove_dir(&self, directory: &str) -> Completion<()>;

    /// Makes durable which names are in a directory: those that were created, removed and renamed
    /// there by operations that have finished. (Bytes are made durable by [`File::sync`].) The root
    /// is the empty name. Where directories cannot be synced this does nothing, and
    /// [`Limits::syncs_directories`] says so.
    fn sync_dir(&self, directory: &str) -> Completion<()>;

    /// Opens a file for reading and writing that no name leads to: it is gone with its last handle.
    /// Nobody can meet it by [`list`](Io::list) or by a name. It lies on the root's file system;
    /// after a crash natively nothing is left of it, and in a browser it is swept away by the next
    /// driver of the same root.
    ///
    /// [`name`](File::name) is one that no file can have, for error texts. Of `options` count those
    /// that are not about names.
    fn temporary(&self, options: OpenOptions) -> Completion<Arc<dyn File>>;

    /// Opens `names` ahead, creating what is missing, and keeps them for the driver's life, so that
    /// [`open_now`](Io::open_now), [`remove_now`](Io::remove_now) and
    /// [`exists_now`](Io::exists_now) work on them without waiting on any platform. A member of
    /// size 0 reads as absent until it is opened with `create`. `temporaries` files are opened
    /// ahead for [`temporary_now`](Io::temporary_now), each to be used once. It is all or nothing.
    fn prepare(&self, names: &[&str], temporaries: usize) -> Completion<()>;

    /// Opens a file at once: a prepared one, or, where the platform can, any.
    ///
    /// # Errors
    /// [`NotPrepared`](crate::ErrorKind::NotPrepared) where neither holds, and those of
    /// [`open`](Io::open).
    fn open_now(&self, name: &str, options: OpenOptions) -> Result<Arc<dyn File>>;

    /// A [`temporary`](Io::temporary) file at once: a prepared one, or, where the platform can, a
    /// new one.
    ///
    /// # Errors
    /// [`NotPrepared`](crate::ErrorKind::NotPrepared) where neither is there.
    fn temporary_now(&self, options: OpenOptions) -> Result<Arc<dyn File>>;

    /// Removes a file at once: a prepared one, which is cut to nothing and reads as absent, or,
    /// where the platform can, any.
    ///
    /// # Errors
    /// As [`open_now`](Io::open_now) and [`remove`](Io::remove).
    fn remove_now(&self, name: &str) -> Result<()>;

    /// Whether a name [`exists`](Io::exists): a prepared one, or, where the platform can, any.
    ///
    /// # Errors
    /// As [`open_now`](Io::open_now).
    fn exists_now(&self, name: &str) -> Result<bool>;

    /// Tells the platform of an arena's memory, so that reads and writes with its buffers cost
    /// less, until the [`Registration`] is dropped. It says how much of it the platform has taken:
    /// a refusal is no error, and changes nothing else. Best done once, at the start: the kernel
    /// takes some 100 ms for a gigabyte, in which nothing else happens here.
    fn register(&self, arena: &Arena) -> Completion<Registration>;

    /// Completes when `operations` more will be accepted. Nothing is reserved: another thread may
    /// be quicker.
    fn room(&self, operations: u32) -> Completion<()>;

    /// A new group of operations, to be heard of together.
    fn group(&self) -> Group;

    /// Runs `submit`. Reads, writes, syncs and truncates that this thread submits meanwhile are
    /// planned together, so that neighbours meet, and started at its end, even if another thread
    /// waits in the kernel. A step in there starts what was submitted so far; a batch inside a
    /// batch is a part of it. See [`batch`](crate::batch()), which gives what its inside gives.
    fn batch(&self, submit: &mut dyn FnMut());

    /// Takes no more operations (they are refused as `Closed`), and completes when those accepted
    /// before have ended by themselves. Fails with [`WriteLost`](crate::ErrorKind::WriteLost) if a
    /// write failed, nobody took that failure, and its file was not closed. Dropping the last
    /// handle instead cancels what is unfinished, and tells nobody.
    fn shutdown(&self) -> Completion<()>;

    /// Makes progress. Nothing that was submitted is started before the next `step` of any thread,
    /// unless one is waiting already: so neighbours meet, and one call to the kernel starts all.
    ///
    /// It starts what is queued, takes what is finished, and delivers results. Wakers
    /// and callbacks run in here, with none of the driver's locks held; they may do anything,
    /// `step` included.
    ///
    /// Returns at once if the [delivery count](Io::delivered) is not `seen`, the one the caller
    /// last looked at its results with, so that a result that another thread delivered is never
    /// slept through. The first time, `seen` is [`delivered`](Io::delivered), read before looking.
    ///
    /// ```
    /// use littoral::{Buffer, Config, OpenOptions, Wait, start, wait};
    /// # fn main() -> littoral::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let io = start(Config::new().root(folder.path()))?;
    /// let file = wait(&*io, io.open("pages", OpenOptions::new().create(true)))?;
    /// wait(&*io, file.pwrite(0, vec![7; 8 * 512].into()))?;
    ///
    /// // A polling loop: eight reads in flight, their results in whatever order they come.
    /// let mut reads: Vec<_> =
    ///     (0..8).map(|page| file.pread(page * 512, Buffer::with_capacity(512))).collect();
    /// let mut seen = io.delivered();
    /// let mut pages = Vec::new();
    /// while pages.len() < 8 {
    ///     pages.extend(reads.iter_mut().filter_map(|read| read.try_take()));
    ///     seen = io.step(seen, Wait::Forever).delivered;
    /// }
    /// assert!(pages.into_iter().all(|page| page.unwrap()[..] == [7; 512]));
    /// # Ok(())
    /// # }
    /// ```
    fn step(&self, seen: u64, wait: Wait) -> Step;

    /// How many results were delivered so far.
    fn delivered(&self) -> u64;

    /// Makes every waiting `step` return, and every one that would wait from a delivery count taken
    /// before. So whoever waits reads the count, looks at his own reasons to stop, then steps.
    fn interrupt(&self);

    /// What [interrupts](Io::interrupt) from elsewhere, without keeping the driver.
    fn interrupter(&self) -> Interrupter;

    /// A descriptor for a foreign event loop to poll, in the place of a thread that waits: see
    /// [`Poller`].
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where there is none: in browsers, where the
    /// host steps, on simulated rings, and on systems other than Linux.
    fn poller(&self) -> Result<Poller> {
        Err(Error::new(ErrorKind::Unsupported, Operation::Poller))
    }

    /// The platform's limits.
    fn limits(&self) -> &Limits;

    /// What was chosen and why: backend, flags, limits, and what was refused with which code.
    fn capabilities(&self) -> Report;

    /// Counters since the start.
    fn statistics(&self) -> Statistics;

    /// Monotonic nanoseconds and wall-clock nanoseconds since 1970, as the ring tells them: those
    /// of the system or of the browser, and on a simulated ring those of its own clock, by which
    /// the driver's timeouts go as well.
    fn now(&self) -> Clock;
}

/// So that what takes a driver takes an `Arc<dyn Io>` and a `dyn Io` alike.
impl AsRef<dyn Io> for dyn Io {
    fn as_ref(&self) -> &dyn Io {
        self
    }
}

/// Interrupts the steps of a driver as long as there is one: for wakers, signal handlers' threads
/// and other event loops.
#[derive(Clone)]
pub struct Interrupter(Weak<Core>);

impl Interrupter {
    /// As [`Io::interrupt`]; nothing once the driver is gone.
    pub fn interrupt(&self) {
        if let Some(core) = self.0.upgrade() {
            core.interrupt();
        }
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}

/// What a [`step`](Io::step) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The delivery count now: what to pass as `seen` next time.
    pub delivered: u64,
    /// Why it returned.
    pub status: Status,
}

/// Why a [`step`](Io::step) returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Results were delivered, here or by another thread since `seen`.
    Delivered,
    /// Nothing is under way: no step would deliver more. Finished results may still be there to be
    /// taken.
    Idle,
    /// Operations are alive, none finished in time (or the wait was interrupted).
    Pending,
    /// Operations are alive, and only the browser's own turn can finish them.
    NeedsHost,
}

/// Counters of a driver since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Operations accepted.
    pub accepted: u64,
    /// Slots in use now: operations under way, or finished and not taken.
    pub alive: u64,
    /// Entries the platform holds now.
    pub in_flight: u64,
    /// Entries that wait to be handed to the platform now.
    pub queued: u64,
    /// Operations refused before they started.
    pub refused: u64,
    /// Entries handed to the ring.
    pub pushed: u64,
    /// Entries that the ring was spared, because the operation was alone: done on the thread that
    /// waited for it. Reads whose pages were cached; writes, and flushes.
    pub direct: u64,
    /// Operations on direct files that went through the page cache, because they were not aligned.
    pub unaligned: u64,
    /// Operations that travelled in another one's entry.
    pub merged: u64,
    /// Operations that an [`Intent`](crate::Intent) was downgraded for.
    pub downgraded: u64,
    /// Entries pushed for the rest of a short count.
    pub resumed: u64,
    /// Entries pushed again after an interruption.
    pub retried: u64,
    /// Syncs that shared another one's flush.
    pub syncs_shared: u64,
    /// Callbacks and wakers that panicked on the [driver's own thread](Config::driver_thread).
    pub panics: u64,
    /// Bytes of arenas that the platform knows now: see [`Io::register`].
    pub registered: u64,
    /// Entries whose memory it knew.
    pub fixed: u64,
    /// Completions with a tag that was not in flight: the platform's fault, and ignored.
    pub stale: u64,
}

/// A moment, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since some fixed moment; never goes back.
    pub monotonic: u64,
    /// Nanoseconds since 1970-01-01 UTC; may be set.
    pub wall: u64,
}

/// The driver of a ring. Its drop is the end of the last handle.
pub(crate) struct Driver {
    /// Itself.
    this: Weak<Driver>,
    core: Arc<Core>,
}

impl Driver {
    pub(crate) fn step_polled(&self, polled: &Polled, seen: u64) -> Option<Step> {
        self.core.step_polled(polled, seen)
    }
}

impl Io for Driver {
    fn open(&self, name: &str, options: OpenOptions) -> Completion<Arc<dyn File>> {
        Completion::new(&self.core, self.core.open(name, options))
    }

    fn remove(&self, name: &str) -> Completion<()> {
        Completion::new(&self.core, self.core.on_entry(Operation::Remove, name))
    }

    fn rename(&self, from: &str, to: &str) -> Completion<()> {
        Completion::new(&self.core, self.core.rename(from, to))
    }

    fn exists(&self, name: &str) -> Completion<bool> {
        Completion::new(&self.core, self.core.on_entry(Operation::Exists, name))
    }

    fn metadata(&self, name: &str) -> Completion<Metadata> {
        Completion::new(&self.core, self.core.on_any(Operation::Metadata, name))
    }

    fn list(&self, directory: &str) -> Completion<Vec<Listed>> {
        Completion::new(&self.core, self.core.on_any(Operation::List, directory))
    }

    fn create_dir_all(&self, directory: &str) -> Completion<()> {
        Completion::new(&self.core, self.core.on_entry(Operation::CreateDirAll, directory))
    }

    fn remove_dir(&self, directory: &str) -> Completion<()> {
        Completion::new(&self.core, self.core.on_entry(Operation::RemoveDir, directory))
    }

    fn sync_dir(&self, directory: &str) -> Completion<()> {
        Completion::new(&self.core, self.core.on_any(Operation::SyncDir, directory))
    }

    fn temporary(&self, options: OpenOptions) -> Completion<Arc<dyn File>> {
        Completion::new(&self.core, self.core.temporary(options))
    }

    fn prepare(&self, names: &[&str], temporaries: usize) -> Completion<()> {
        Completion::new(&self.core, self.core.prepare(names, temporaries))
    }

    fn open_now(&self, name: &str, options: OpenOptions) -> Result<Arc<dyn File>> {
        let opened = self.core.open_now(name, options)?;
        Ok(ring_file(&self.core, opened))
    }

    fn temporary_now(&self, options: OpenOptions) -> Result<Arc<dyn File>> {
        let opened = self.core.temporary_now(options)?;
        Ok(ring_file(&self.core, opened))
    }

    fn remove_now(&self, name: &str) -> Result<()> {
        self.core.remove_now(name)
    }

    fn exists_now(&self, name: &str) -> Result<bool> {
        self.core.exists_now(name)
    }

    fn register(&self, arena: &Arena) -> Completion<Registration> {
        Completion::new(&self.core, self.core.register(arena))
    }

    fn room(&self, operations: u32) -> Completion<()> {
        Completion::new(&self.core, self.core.room(operations))
    }

    fn shutdown(&self) -> Completion<()> {
        Completion::new(&self.core, self.core.shutdown())
    }

    fn group(&self) -> Group {
        Group::new(&self.core)
    }

    fn batch(&self, submit: &mut dyn FnMut()) {
        self.core.batch(submit);
    }

    fn step(&self, seen: u64, wait: Wait) -> Step {
        self.core.step(seen, wait)
    }

    fn delivered(&self) -> u64 {
        self.core.delivered()
    }

    fn interrupt(&self) {
        self.core.interrupt();
    }

    fn interrupter(&self) -> Interrupter {
        Interrupter(Arc::downgrade(&self.core))
    }

    fn poller(&self) -> Result<Poller> {
        let polled = self.core.polled()?;
        Ok(Poller::new(Weak::clone(&self.this), &self.core, polled))
    }

    fn limits(&self) -> &Limits {
        &self.core.limits
    }

    fn capabilities(&self) -> Report {
        self.core.capabilities()
    }

    fn statistics(&self) -> Statistics {
        self.core.statistics()
    }

    fn now(&self) -> Clock {
        let clock = &self.core.clock;
        Clock { monotonic: clock.monotonic_nanos(), wall: clock.wall_nanos() }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Io({})", self.core.report.backend)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.core.end();
    }
}
