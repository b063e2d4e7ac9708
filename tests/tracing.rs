//! The feature `tracing`: what is told, and that a subscriber may do anything.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use littoral::platform::Setup;
use littoral::platform::faulty::{Faults, Faulty, OpKind, Outcome, Rule, Script};
use littoral::platform::simulated::{self, Config as Behaviour, Disk, Permille, Simulated};
use littoral::{
    Buffer, Config, Errno, File, Io, OpenOptions, SyncKind, Wait, start, start_on, wait,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What one event said: its level, and its fields, the message among them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Told {
    fn is(&self, level: Level, message: &str) -> bool {
        self.level == level && self.get("message").starts_with(message)
    }

    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("a string takes all");
        self.0.insert(field.name(), text.trim_matches('"').to_owned());
    }
}

/// Called with each event, on the thread that tells it.
type React = Box<dyn Fn(&Told) + Send + Sync>;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Capture {
    told: Arc<Mutex<Vec<Told>>>,
    spans: Arc<Mutex<Vec<(&'static str, Fields)>>>,
    react: Arc<Mutex<Option<Arc<React>>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *locked(&self.told))
    }

    /// Runs with this as the thread's subscriber.
    fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.clone(), run)
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "littoral"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut spans = locked(&self.spans);
        spans.push((attributes.metadata().name(), fields));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // What could not be started has no span.
        let unstarted = event.metadata().level() == &Level::ERROR;
        assert!(event.parent().is_some() || unstarted, "every event is inside its driver's span");
        let mut fields = Fields::default();
        event.record(&mut fields);
        let told = Told { level: *event.metadata().level(), fields: fields.0 };
        locked(&self.told).push(told.clone());
        let react = locked(&self.react).clone();
        if let Some(react) = react {
            react(&told);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A driver on a simulated ring, its disorder, and what is to happen to it.
fn driver(config: Config) -> (Arc<dyn Io>, Script) {
    let setup = Setup { root: None, in_flight: 64 };
    let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(1));
    let script = Script::new();
    let ring = Faulty::new(ring, Faults::default(), script.clone());
    (start_on(Box::new(ring), config).expect("a driver"), script)
}

fn open(io: &dyn Io, name: &str) -> Arc<dyn File> {
    wait(io, io.open(name, OpenOptions::new().create(true))).expect("it opens")
}

#[test]
fn a_life_without_trouble_is_told_in_a_few_events() {
    let capture = Capture::default();
    capture.during(|| {
        let (io, _) = driver(Config::new());
        let file = open(&*io, "log");
        for place in 0..100 {
            wait(&*io, file.pwrite(place * 10, b"0123456789".into())).expect("a write");
        }
        wait(&*io, file.sync(SyncKind::Full)).expect("a sync");
        wait(&*io, file.pread(0, Buffer::with_capacity(10))).expect("a read");
        wait(&*io, file.close()).expect("a close");
        wait(&*io, io.remove("log")).expect("it is removed");
    });
    let told: Vec<_> = capture.take();
    let short: Vec<_> = told
        .iter()
        .map(|told| format!("{} {} {}", told.level, told.get("message"), told.get("operation")))
        .collect();
    assert_eq!(
        short,
        [
            "INFO driver started ",
            "DEBUG done open",
            "DEBUG done close",
            "DEBUG done remove",
            "INFO the driver is drained ",
            "INFO the driver has ended ",
        ]
    );
    assert!(told[1..4].iter().all(|told| told.get("file") == "log"), "{told:?}");
    let spans = locked(&capture.spans);
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].0, "littoral");
    assert!(spans[0].1.0.contains_key("backend"), "{spans:?}");
}

#[test]
fn what_the_platform_refused_is_told_at_the_start() {
    let capture = Capture::default();
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("its name is text");
    let report = capture.during(|| start(Config::new().root(root)).expect("one").capabilities());
    let told = capture.take();
    let refused = told.iter().filter(|told| told.is(Level::WARN, "refused"));
    assert!(refused.map(|told| told.get("what")).eq(report.refused.iter().map(|(what, _)| what)));
    let started = told.iter().find(|told| told.is(Level::INFO, "driver started"));
    let started = started.expect("it started");
    assert_eq!(started.get("backend"), report.backend);
    assert_eq!(started.get("chosen"), format!("{:?}", report.chosen));
}

#[test]
fn going_without_locks_is_told() {
    for locks in [true, false] {
        let capture = Capture::default();
        capture.during(|| drop(driver(Config::new().locks(locks))));
        let told = capture.take();
        let warned = told.iter().any(|told| told.is(Level::WARN, "locks are off"));
        assert_eq!(warned, !locks, "{told:?}");
    }
}

#[test]
fn a_failure_that_nobody_takes_is_told_twice() {
    let capture = Capture::default();
    capture.during(|| {
        let (io, script) = driver(Config::new());
        let file = open(&*io, "log");
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)));
        file.pwrite(0, b"lost".into()).detach();
        wait(&*io, file.sync(SyncKind::Full)).expect_err("it is told");
        capture.take().clear();
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::NOSPC)));
        file.pwrite(0, b"seen".into()).detach();
        wait(&*io, file.size()).expect("a size");
        let told = capture.take();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].is(Level::WARN, "failed"), "{told:?}");
        let fields = ["operation", "file", "kind", "code"].map(|field| told[0].get(field));
        assert_eq!(fields, ["pwrite", "log", "StorageFull", "ENOSPC"]);
        assert!(told[0].get("error").contains("free space"), "{told:?}");
        assert!(told[1].is(Level::ERROR, "nobody took"), "{told:?}");
        assert_eq!((told[1].get("operation"), told[1].get("file")), ("pwrite", "log"));

        // The sync that tells it is a failure of its own.
        wait(&*io, file.sync(SyncKind::Full)).expect_err("it is told");
        let told = capture.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].is(Level::ERROR, "failed"), "{told:?}");
        assert_eq!((told[0].get("operation"), told[0].get("kind")), ("sync", "WriteLost"));
    });
}

#[test]
fn refusals_and_answers_that_programs_ask_for_are_told_softly() {
    let capture = Capture::default();
    capture.during(|| {
        let (io, _) = driver(Config::new());
        wait(&*io, io.open("absent", OpenOptions::new())).expect_err("it is not there");
        let file = open(&*io, "log");
        let reader = wait(&*io, io.open("log", OpenOptions::read_only())).expect("it is there");
        capture.take();
        wait(&*io, reader.pwrite(0, b"no".into())).expect_err("it is read-only");
        wait(&*io, file.pwrite(u64::MAX, b"no".into())).expect_err("it is too far");
        let told = capture.take();
        let kinds: Vec<_> = told.iter().map(|told| told.get("kind")).collect();
        assert_eq!(kinds, ["PermissionDenied", "InvalidInput"], "{told:?}");
        assert!(told.iter().all(|told| told.is(Level::DEBUG, "refused")), "{told:?}");
    });
}

#[test]
fn interruptions_and_lies_are_told() {
    let capture = Capture::default();
    capture.during(|| {
        let (io, script) = driver(Config::new());
        let file = open(&*io, "log");
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::INTR)).times(3));
        wait(&*io, file.pwrite(0, b"at last".into())).expect("it is tried again");
        let told = capture.take();
        let retried: Vec<_> = told.iter().filter(|told| told.is(Level::TRACE, "retried")).collect();
        let times: Vec<_> = retried.iter().map(|told| told.get("times")).collect();
        assert_eq!(times, ["1", "2", "3"], "{told:?}");
        assert!(retried.iter().all(|told| told.get("code") == "EINTR"), "{told:?}");

        let setup = Setup { root: None, in_flight: 64 };
        let faults = simulated::Faults { stale: Permille(500), ..simulated::Faults::default() };
        let behaviour = Behaviour { faults, ..Behaviour::seeded(1) };
        let ring = Simulated::new(&setup, Disk::new(), behaviour);
        let io = start_on(Box::new(ring), Config::new()).expect("a driver");
        let file = open(&*io, "log");
        for _ in 0..20 {
            wait(&*io, file.pwrite(0, b"whatever else is said".into())).expect("a write");
        }
        let told = capture.take();
        let stale = told.iter().filter(|told| told.is(Level::ERROR, "a completion of nothing"));
        assert_eq!(stale.count() as u64, io.statistics().stale, "{told:?}");
        assert!(io.statistics().stale > 0);
    });
}

#[test]
fn what_is_abandoned_and_a_dead_ring_are_told() {
    let capture = Capture::default();
    capture.during(|| {
        let (io, script) = driver(Config::new().drain_timeout(Duration::from_millis(20)));
        let file = open(&*io, "log");
        script.push(Rule::next(OpKind::Write, Outcome::Late).times(2));
        let writes = [file.pwrite(0, b"who knows".into()), file.pwrite(999, b"this".into())];
        io.step(io.delivered(), Wait::No);
        drop(file);
        drop(io);
        drop(writes);
        let told = capture.take();
        let draining = told.iter().find(|told| told.is(Level::INFO, "the driver is drained"));
        assert_eq!(draining.expect("it is drained").get("unfinished"), "2");
        let ended = told.iter().find(|told| told.is(Level::ERROR, "the driver has ended"));
        assert_eq!(ended.expect("it has ended").get("abandoned"), "2", "{told:?}");
        let abandoned = |told: &&Told| told.get("kind") == "Abandoned";
        assert_eq!(told.iter().filter(abandoned).count(), 2, "{told:?}");

        let (io, script) = driver(Config::new());
        let file = open(&*io, "log");
        script.kill(Errno::OWNERDEAD);
        wait(&*io, file.pwrite(0, b"no".into())).expect_err("the ring is dead");
        let told = capture.take();
        assert!(told.iter().any(|told| told.is(Level::ERROR, "the ring is dead")), "{told:?}");
    });
}

#[test]
fn what_cannot_be_started_is_told() {
    let capture = Capture::default();
    capture.during(|| {
        start(Config::new().root("/nowhere/at/all")).expect_err("there is no such folder");
    });
    let told = capture.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].is(Level::ERROR, "no driver was started"), "{told:?}");
    assert!(told[0].get("error").contains("/nowhere/at/all"), "{told:?}");
}

/// From inside of every event the subscriber calls all that could lock, on the telling thread and,
/// waiting for it, on another one. It hangs where an event is told under a lock.
#[test]
fn a_subscriber_may_call_the_driver() {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let capture = Capture::default();
        let calls = capture.during(|| call_back(&capture));
        done.send(calls).expect("somebody waits");
    });
    let calls = ended.recv_timeout(Duration::from_secs(60)).expect("no event is told under a lock");
    assert!(calls > 12, "only {calls} events called back");
}

fn call_back(capture: &Capture) -> usize {
    let (io, script) = driver(Config::new().drain_timeout(Duration::from_millis(20)));
    let file = open(&*io, "log");
    let (inner, handle) = (Arc::downgrade(&io), Arc::clone(&file));
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let react: React = Box::new(move |_| {
        *locked(&counted) += 1;
        let call = |io: &dyn Io, handle: &dyn File| {
            io.statistics();
            io.interrupt();
            drop(handle.pread(0, Buffer::with_capacity(4)));
            handle.pwrite(0, b"more".into()).detach();
            io.step(io.delivered(), Wait::No);
        };
        // Of a driver that is ending, only what needs no handle of it is left.
        let Some(io) = inner.upgrade() else {
            drop(handle.size());
            return;
        };
        call(&*io, &*handle);
        let handle = Arc::clone(&handle);
        thread::spawn(move || call(&*io, &*handle)).join().expect("it calls");
    });
    *locked(&capture.react) = Some(Arc::new(react));

    for round in 0..3 {
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)));
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::INTR)));
        let name = format!("other-{round}");
        let other = open(&*io, &name);
        other.pwrite(0, b"lost".into()).detach();
        let _ = wait(&*io, other.pwrite(5, b"or not".into()));
        let _ = wait(&*io, other.sync(SyncKind::Data));
        let _ = wait(&*io, other.pwrite(u64::MAX, b"refused".into()));
        let _ = wait(&*io, other.close());
        let _ = wait(&*io, io.remove(&name));
    }
    script.push(Rule::next(OpKind::Write, Outcome::Late));
    drop(file.pwrite(0, b"never answered".into()));
    io.step(io.delivered(), Wait::No);
    drop(io);
    *locked(&capture.react) = None;
    *locked(&calls)
}
