//! What a check works with: drivers on the storage under test, and some bytes.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::ops::Deref;
use core::pin::Pin;
use core::time::Duration;
use std::sync::{Arc, Weak};

use littoral::{Buffer, Config, Error, File, Io, OpenOptions, Result, Shared};
use littoral_platform::faulty::{Event, Faults, Script};

use crate::verdict::{Failure, Outcome, missed_a_script};
use crate::{Need, trace::Trace};

/// A boxed future of a stage.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A driver as a stage starts it, with the script of its ring if that is a faulty one.
pub type Base = (Arc<dyn Io>, Option<Script>);

/// A backend, the storage under it, and what can be done to that storage from outside.
pub trait Stage {
    /// Whether the platform has what a check needs.
    fn has(&self, need: Need) -> bool;

    /// Starts a driver whose names live below `root`, which is the same storage for equal roots.
    ///
    /// # Errors
    /// The platform has no such driver.
    fn start(&self, root: &str, plan: &Plan) -> Result<Base>;

    /// Lets everything else go on for a moment: the pump, other threads, the kernel.
    fn turn(&self) -> Later<'_, ()>;

    /// The bytes of a file, read past the driver, by whatever else reads files here. `None` if
    /// there is no such file.
    fn outside<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome<Option<Vec<u8>>>>;

    /// Makes a directory.
    fn make_directory<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome>;

    /// How many files below `root` this process has open, where the platform can be asked. (Where a
    /// file is open once only, opening it again asks as well.)
    fn open_files(&self, root: &str) -> Option<usize>;

    /// Lets the storage hold that many more bytes at most. `false` where it cannot be told to.
    fn limit_space(&self, bytes: Option<u64>) -> bool;

    /// Loses the power: from now on the storage is as it is found after that, and drivers that are
    /// there work on one that nobody sees any more. Names outlive it. `false`, and nothing happens,
    /// where that cannot be had.
    fn lose_power(&self) -> bool {
        false
    }
}

/// How a check wants its driver.
#[derive(Clone, Debug)]
pub struct Plan {
    /// [`littoral::Config::operations`].
    pub operations: u32,
    /// [`littoral::Config::files`].
    pub files: u32,
    /// [`littoral::Config::drain_timeout`].
    pub drain: Duration,
    /// [`littoral::Config::lock_patience`].
    pub patience: Duration,
    /// [`littoral::Config::locks`].
    pub locks: bool,
    /// [`littoral::Config::driver_thread`].
    pub thread: Option<&'static str>,
    /// How a faulty ring misbehaves; a plain one heeds nothing of it. The seed is the stage's.
    pub faults: Faults,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            operations: 64,
            files: 64,
            drain: Duration::from_secs(5),
            patience: Duration::ZERO,
            locks: true,
            thread: None,
            faults: Faults::rough(0),
        }
    }
}

impl Plan {
    /// The configuration of such a driver, below that root.
    #[must_use]
    pub fn config(&self, root: &str) -> Config {
        let config = Config::new()
            .root(root)
            .operations(self.operations)
            .files(self.files)
            .drain_timeout(self.drain)
            .lock_patience(self.patience)
            .locks(self.locks);
        match self.thread {
            Some(name) => config.driver_thread(name),
            None => config,
        }
    }

    /// That many operations.
    #[must_use]
    pub fn operations(operations: u32) -> Plan {
        Plan { operations, ..Plan::default() }
    }

    /// That patience with locks.
    #[must_use]
    pub fn patience(patience: Duration) -> Plan {
        Plan { patience, ..Plan::default() }
    }

    /// A faulty ring that misbehaves by its script alone.
    #[must_use]
    pub fn calm() -> Plan {
        Plan { faults: Faults::default(), ..Plan::default() }
    }

    /// As [`Plan::calm`], with that many entries of operations in flight at most: the engine keeps
    /// as many again for cancels and closes.
    #[must_use]
    pub fn narrow(in_flight: u32) -> Plan {
        let faults = Faults { in_flight: Some(2 * in_flight), ..Faults::default() };
        Plan { faults, ..Plan::calm() }
    }
}

/// What a check is given.
pub struct Ctx {
    stage: Box<dyn Stage>,
    root: String,
    drivers: RefCell<Vec<Weak<dyn Io>>>,
    names: Cell<u32>,
}

impl Ctx {
    /// A context with a fresh folder of that name.
    #[must_use]
    pub fn new(stage: Box<dyn Stage>, root: String) -> Ctx {
        Ctx { stage, root, drivers: RefCell::default(), names: Cell::new(0) }
    }

    /// What the platform is.
    #[must_use]
    pub fn stage(&self) -> &dyn Stage {
        &*self.stage
    }

    /// A driver; all drivers of one context share their storage.
    ///
    /// # Errors
    /// It cannot be started.
    #[track_caller]
    pub fn driver(&self, plan: &Plan) -> Outcome<Driver> {
        let (io, script) = self.stage.start(&self.root, plan)?;
        self.drivers.borrow_mut().push(Arc::downgrade(&io));
        let release = Release(script.clone());
        Ok(Driver { release, io, script, log: RefCell::default() })
    }

    /// Why there is no such driver; `None` where there is.
    pub fn refusal(&self, plan: &Plan) -> Option<Error> {
        self.stage.start(&self.root, plan).err()
    }

    /// A driver and a new file of it.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub async fn file(&self, plan: &Plan) -> Outcome<(Driver, Arc<dyn File>)> {
        let driver = self.driver(plan)?;
        let file = driver.create(&self.name()).await?;
        Ok((driver, file))
    }

    /// A name that no file of this context has.
    pub fn name(&self) -> String {
        self.names.set(self.names.get() + 1);
        format!("file-{}", self.names.get())
    }

    /// The drivers that are alive, for a runner to step.
    pub fn live(&self) -> Vec<Arc<dyn Io>> {
        let mut drivers = self.drivers.borrow_mut();
        drivers.retain(|io| io.strong_count() > 0);
        drivers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets everything else go on until it had every chance to do what it should not.
    pub async fn settle(&self) {
        for _ in 0..8 {
            self.stage.turn().await;
        }
    }

    /// Lets everything else go on until `condition` holds.
    ///
    /// # Errors
    /// It does not come to hold.
    pub async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Outcome {
        for _ in 0..4000 {
            if condition() {
                return Ok(());
            }
            self.stage.turn().await;
        }
        Err(Failure::new(format!("it never came to this: {what}")))
    }

    /// Lets everything else go on until that many results were delivered, wanted or not.
    ///
    /// # Errors
    /// They are not.
    pub async fn delivered(&self, driver: &Driver, seen: u64, results: u64) -> Outcome {
        let count = || driver.delivered() - seen;
        let waited = self.until("the results are delivered", || count() >= results).await;
        waited.map_err(|_| Failure::new(format!("{} of {results} were delivered", count())))
    }

    /// The bytes of a file, read past the driver.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub async fn outside(&self, name: &str) -> Outcome<Vec<u8>> {
        let bytes = self.stage.outside(&self.root, name).await?;
        bytes.ok_or_else(|| Failure::new(format!("seen from outside there is no `{name}`")))
    }

    /// Lets everything else go on until the file, read past the driver, begins like this: a
    /// completion that a faulty ring keeps back says nothing of whether the platform is done.
    ///
    /// # Errors
    /// It does not come to begin so.
    pub async fn until_outside(&self, name: &str, beginning: &[u8]) -> Outcome {
        for _ in 0..4000 {
            if self.outside(name).await?.starts_with(beginning) {
                return Ok(());
            }
            self.stage.turn().await;
        }
        Err(Failure::new(format!("`{name}` never came to hold what was written")))
    }

    /// Whether the file exists, looked at past the driver.
    ///
    /// # Errors
    /// It cannot be told.
    pub async fn exists_outside(&self, name: &str) -> Outcome<bool> {
        Ok(self.stage.outside(&self.root, name).await?.is_some())
    }

    /// How many files of this context the process has open, where that can be told.
    pub fn open_files(&self) -> Option<usize> {
        self.stage.open_files(&self.root)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn make_directory(&self, name: &str) -> Outcome {
        self.stage.make_directory(&self.root, name).await
    }
}

/// Frees what a script holds back, however the check ended.
struct Release(Option<Script>);

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(script) = self.0.take() {
            script.clear();
            script.calm(true);
            script.release();
        }
    }
}

/// A driver under test.
pub struct Driver {
    /// First, so that what is parked is freed before the driver drains.
    release: Release,
    io: Arc<dyn Io>,
    script: Option<Script>,
    log: RefCell<Vec<Event>>,
}

impl Deref for Driver {
    type Target = Arc<dyn Io>;

    fn deref(&self) -> &Arc<dyn Io> {
        &self.io
    }
}

impl Driver {
    /// Opens a file, which is created if there is none.
    ///
    /// # Errors
    /// Those of `open`.
    pub async fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        self.io.open(name, OpenOptions::new().create(true)).await
    }

    /// What makes the ring misbehave, where it is a faulty one. A check that asks on a plain ring
    /// does only a part there: its row says `covered`, and the faulty ring has to pass it whole.
    pub fn script(&self) -> Option<&Script> {
        if self.script.is_none() {
            missed_a_script();
        }
        self.script.as_ref()
    }

    /// The driver itself; what is parked stays so.
    pub fn into_io(mut self) -> Arc<dyn Io> {
        self.release.0 = None;
        Arc::clone(&self.io)
    }

    /// Everything the faulty ring has taken and ended so far; empty for a plain one.
    pub fn trace(&self) -> Trace {
        let mut log = self.log.borrow_mut();
        log.extend(self.script.iter().flat_map(Script::take_log));
        Trace::new(log.clone())
    }

    /// Forgets what was taken and ended so far.
    pub fn forget_trace(&self) {
        self.trace();
        self.log.borrow_mut().clear();
    }
}

/// Bytes that are different at every place and for every salt, as far as a byte can be.
pub(crate) fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len)
        .map(|at| {
            let mixed = (at as u64 ^ u64::from(salt) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed.to_be_bytes()[1]
        })
        .collect()
}

/// Reads up to `len` bytes.
pub(crate) async fn read(file: &Arc<dyn File>, at: u64, len: usize) -> Result<Vec<u8>> {
    Ok(file.pread(at, Buffer::with_capacity(len)).await?.to_vec())
}

/// Writes bytes.
pub(crate) async fn write(file: &Arc<dyn File>, at: u64, bytes: &[u8]) -> Result<()> {
    file.pwrite(at, Shared::from(bytes.to_vec())).await
}

/// Every byte of a file.
pub(crate) async fn contents(file: &Arc<dyn File>) -> Outcome<Vec<u8>> {
    let size = file.size().await?;
    let len = usize::try_from(size).map_err(|_| Failure::new("the file is too large"))?;
    // One more: a file that ends late shows.
    Ok(read(file, 0, len + 1).await?)
}
