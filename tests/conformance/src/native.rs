//! The runner for backends that may block: every check in a thread of its own, with a time limit.

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::Wake;
use std::thread;

use littoral::{Config, Result, Status, Wait};
use littoral_platform::faulty::{Faults, Script};
use littoral_platform::simulated::{self, Disk};
use littoral_platform::{
    Errno, Faulty, Native, Report, Ring, Setup, SetupError, Simulated, Threads,
};
use tempfile::TempDir;

use crate::ctx::{Base, Later, Plan, Stage};
#[cfg(target_os = "linux")]
use crate::restrict::{mode, started};
use crate::row::{Place, Row, rows_of_run, selects};
use crate::verdict::{Extent, Failure, Outcome};
use crate::{Check, Ctx, Exceptions, Need, checks};

/// A check that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// What can be tested natively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "native", derive(clap::ValueEnum))]
pub enum Backend {
    /// The kernel's ring, as `littoral::start` gives it.
    Uring,
    /// The ring over a disk in memory.
    Simulated,
    /// The pool of threads.
    Threads,
    /// The kernel's ring, misbehaving.
    FaultyUring,
    /// The pool of threads, misbehaving.
    FaultyThreads,
    /// The disk in memory, misbehaving.
    FaultySimulated,
    /// What `littoral::start` gives; rows name what that was.
    Native,
    /// The same, misbehaving.
    FaultyNative,
}

impl Backend {
    fn is_simulated(self) -> bool {
        matches!(self, Backend::Simulated | Backend::FaultySimulated)
    }

    /// Where its rows come from; `used` are the backends that it gave.
    fn place(self, used: &BTreeSet<&'static str>) -> Place {
        let is_any = matches!(self, Backend::Native | Backend::FaultyNative) && !used.is_empty();
        let (faulty, used) = (self == Backend::FaultyNative, used.iter().copied());
        let used = used.collect::<Vec<_>>().join("+");
        let used = if faulty { format!("faulty-{used}") } else { used };
        Place {
            backend: if is_any { used } else { self.to_string() },
            browser: None,
            mode: mode().unwrap_or("shared"),
            shape: "native",
            isolated: false,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Uring => "uring",
            Backend::Simulated => "simulated",
            Backend::Threads => "threads",
            Backend::FaultyUring => "faulty-uring",
            Backend::FaultyThreads => "faulty-threads",
            Backend::FaultySimulated => "faulty-simulated",
            Backend::Native => "native",
            Backend::FaultyNative => "faulty-native",
        })
    }
}

/// One backend and the storage of one check.
struct NativeStage {
    backend: Backend,
    /// What its drivers ran on.
    used: Used,
    /// Decides what rings do; each driver of a check gets a number of its own from it.
    seed: AtomicU64,
    folder: TempDir,
    disk: RefCell<Disk>,
}

/// Names of backends, told by the thread of a check.
type Used = Arc<Mutex<BTreeSet<&'static str>>>;

impl NativeStage {
    fn new(backend: Backend, seed: u64, used: Used) -> Outcome<NativeStage> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let seed = AtomicU64::new(seed);
        Ok(NativeStage { backend, used, seed, folder, disk: RefCell::default() })
    }

    /// Notes what the platform gave, and that its report says why.
    fn started(&self, report: &Report) -> Result<()> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(report.backend);
        started(report).map_err(|what| SetupError { what, code: Errno::OPNOTSUPP }.into())
    }

    fn path(&self, root: &str, name: &str) -> PathBuf {
        self.folder.path().join(root).join(name)
    }
}

impl Stage for NativeStage {
    fn has(&self, need: Need) -> bool {
        match need {
            Need::Threads => true,
            Need::Unwinding => cfg!(panic = "unwind"),
        }
    }

    fn start(&self, root: &str, plan: &Plan) -> Result<Base> {
        let seed = self.seed.fetch_add(1, Relaxed);
        let folder = self.path(root, "");
        if !self.backend.is_simulated() {
            // A failure shows as the driver's own, which says what to do.
            let _ = fs::create_dir_all(&folder);
        }
        let root = if self.backend.is_simulated() {
            root.to_owned()
        } else {
            folder.to_string_lossy().into_owned()
        };
        let config = plan.config(&root);
        let setup = Setup { root: Some(root), in_flight: plan.operations.saturating_mul(2) };
        let simulated =
            || Simulated::new(&setup, self.disk.borrow().clone(), simulated::Config::seeded(seed));
        let faults = Faults { seed, ..plan.faults.clone() };
        match self.backend {
            Backend::Uring => {
                let io = littoral::start(config)?;
                is_uring(&io.capabilities())?;
                Ok((io, None))
            }
            Backend::Native => {
                let io = littoral::start(config)?;
                self.started(&io.capabilities())?;
                Ok((io, None))
            }
            Backend::FaultyNative => {
                let ring = Native::new(&setup)?;
                self.started(&ring.report())?;
                faulty(ring, faults, config)
            }
            Backend::Threads => {
                Ok((littoral::start_on(Box::new(Threads::new(&setup)?), config)?, None))
            }
            Backend::FaultyThreads => faulty(Threads::new(&setup)?, faults, config),
            Backend::Simulated => Ok((littoral::start_on(Box::new(simulated()), config)?, None)),
            Backend::FaultySimulated => faulty(simulated(), faults, config),
            Backend::FaultyUring => {
                let ring = Native::new(&setup)?;
                is_uring(&ring.report())?;
                // With its files in the kernel's table: the plain one is without.
                faulty(ring, faults, config.registered_files(64))
            }
        }
    }

    fn turn(&self) -> Later<'_, ()> {
        let mut turned = false;
        Box::pin(core::future::poll_fn(move |context| {
            if turned {
                return Poll::Ready(());
            }
            turned = true;
            // Kernels and other threads need time, the driver a step: the executor gives it one.
            thread::sleep(Duration::from_micros(100));
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn outside<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome<Option<Vec<u8>>>> {
        Box::pin(async move {
            if self.backend.is_simulated() {
                return Ok(self.disk.borrow().contents(&format!("{root}/{name}")));
            }
            match fs::read(self.path(root, name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{name} cannot be read: {error}").into()),
            }
        })
    }

    fn make_directory<'a>(&'a self, root: &'a str, name: &'a str) -> Later<'a, Outcome> {
        Box::pin(async move {
            if self.backend.is_simulated() {
                let made = self.disk.borrow().make_directory(&format!("{root}/{name}"));
                return made.map_err(|code| Failure::new(format!("{name}: {code:?}")));
            }
            fs::create_dir(self.path(root, name))
                .map_err(|error| Failure::new(format!("{name}: {error}")))
        })
    }

    fn open_files(&self, root: &str) -> Option<usize> {
        if self.backend.is_simulated() {
            return None;
        }
        let folder = self.path(root, "");
        let descriptors = fs::read_dir("/proc/self/fd").ok()?;
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        // The folder itself is the driver's root.
        Some(links.filter(|link| link.parent().is_some_and(|parent| parent == folder)).count())
    }

    fn lose_power(&self) -> bool {
        if self.backend.is_simulated() {
            let disk = self.disk.borrow().clone();
            disk.sync_names();
            self.disk.replace(disk.crash(self.seed.fetch_add(1, Relaxed)));
        }
        self.backend.is_simulated()
    }

    fn limit_space(&self, bytes: Option<u64>) -> bool {
        if self.backend.is_simulated() {
            self.disk.borrow().limit(bytes);
        }
        self.backend.is_simulated()
    }
}

/// Elsewhere there is nothing to take away that a ring would miss.
#[cfg(not(target_os = "linux"))]
fn started(_: &Report) -> core::result::Result<(), String> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn mode() -> Option<&'static str> {
    None
}

/// What runs in the kernel ring's name must not run on what stands in for it.
fn is_uring(report: &Report) -> Result<()> {
    if report.backend == "uring" {
        return Ok(());
    }
    let last = report.refused.last().cloned();
    let (what, code) = last.unwrap_or_else(|| ("not asked for".to_owned(), Errno::OPNOTSUPP));
    Err(SetupError { what, code }.into())
}

fn faulty<R: Ring + 'static>(ring: R, faults: Faults, config: Config) -> Result<Base> {
    let script = Script::new();
    let ring = Faulty::new(ring, faults, script.clone());
    Ok((littoral::start_on(Box::new(ring), config)?, Some(script)))
}

/// Remembers that something woke the check.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Runs a check's future to its end, stepping every driver that the context has made: several at
/// once is what `littoral::block_on` cannot do.
///
/// # Errors
/// Nothing is left that could wake it.
pub fn drive<T>(ctx: &Ctx, future: impl Future<Output = T>) -> core::result::Result<T, String> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    let mut idle = 0;
    loop {
        let seen: Vec<_> = ctx.live().iter().map(|io| io.delivered()).collect();
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(value);
        }
        let live = ctx.live();
        let mut alive = false;
        for (n, io) in live.iter().enumerate() {
            let seen = seen.get(n).copied().unwrap_or(0);
            // Waiting is only for a check that waits, and only where one driver can end that.
            let wait = match live.len() {
                _ if woken.0.load(Relaxed) => Wait::No,
                1 => Wait::For(Duration::from_millis(20)),
                _ => Wait::For(Duration::from_micros(200)),
            };
            alive |= io.step(seen, wait).status != Status::Idle;
        }
        drop(live);
        let turn = woken.0.swap(false, Relaxed);
        idle = if turn || alive { 0 } else { idle + 1 };
        if idle > 200 {
            return Err("it waits, and no driver has anything alive".to_owned());
        }
        if idle > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs one check in a thread of its own.
fn watched(
    backend: Backend,
    seed: u64,
    check: &'static Check,
    used: Used,
) -> Result<Extent, String> {
    let (sender, receiver) = mpsc::channel();
    let body = move || {
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let stage =
                NativeStage::new(backend, seed, used).map_err(|failure| failure.to_string())?;
            let ctx = Ctx::new(Box::new(stage), "root".to_owned());
            drive(&ctx, crate::run(check, &ctx))?
        }));
        let result = tried.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("it panicked: {}", text.unwrap_or_default()))
        });
        // Nobody listens any more where the time was over.
        let _ = sender.send(result);
    };
    let named = thread::Builder::new().name(format!("{} {}", check.clause, check.name));
    if let Err(error) = named.spawn(body) {
        return Err(format!("no thread for it: {error}"));
    }
    match receiver.recv_timeout(TIME_LIMIT) {
        Ok(result) => result,
        // Its thread is left behind: what hangs in a kernel cannot be ended.
        Err(_) => Err(format!("it hangs: no end within {} s", TIME_LIMIT.as_secs())),
    }
}

/// Runs every selected check on a backend, and tells each row as it comes.
///
/// # Errors
/// The list of exceptions is broken.
pub fn run_all(
    backend: Backend,
    seed: u64,
    filter: &str,
    mut told: impl FnMut(&Row),
) -> Result<Vec<Row>, String> {
    let (exceptions, used) = (Exceptions::committed()?, Used::default());
    let place = backend.place(&BTreeSet::new());
    let lacks = |need: &Need| *need == Need::Unwinding && !cfg!(panic = "unwind");
    let mut rows = Vec::new();
    for check in checks().filter(|check| selects(filter, check.clause, check.name)) {
        let row = if check.needs.iter().any(lacks) {
            Row::skipped(check, &place, &exceptions)
        } else {
            let failed = |why| format!("{why} [--backend {backend} --seed {seed}]");
            used.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let result = watched(backend, seed, check, Arc::clone(&used)).map_err(failed);
            let used = used.lock().unwrap_or_else(PoisonError::into_inner);
            Row::new(check, &backend.place(&used), result)
        };
        told(&row);
        rows.push(row);
    }
    let about = rows_of_run(&rows, &place, filter, &exceptions);
    about.iter().for_each(&mut told);
    rows.extend(about);
    Ok(rows)
}
