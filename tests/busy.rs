//! A kernel that has no room for what is submitted is asked again, but not all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::platform::{Clock, Cqe, Direct, Doorbell, Full, Ring, Setup, Sqe};
use littoral::{Completion, Config, Errno, Io, Limits, OpenOptions, Report, Wait};
use littoral::{start_on, wait};

/// Until when submitting is refused, in milliseconds since the start; and how often it was.
#[derive(Default)]
struct Busy {
    until: AtomicU64,
    refusals: AtomicU64,
}

impl Busy {
    fn refuses(&self, since: Instant) -> bool {
        let refuses = since.elapsed() < Duration::from_millis(self.until.load(SeqCst));
        self.refusals.fetch_add(u64::from(refuses), SeqCst);
        refuses
    }
}

struct BusyRing {
    inner: Simulated,
    busy: Arc<Busy>,
    since: Instant,
}

struct BusyBell(Arc<dyn Doorbell>, Arc<Busy>, Instant);

impl Doorbell for BusyBell {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        if unsubmitted > 0 && self.1.refuses(self.2) {
            return Err(Errno::AGAIN);
        }
        if self.2.elapsed() < Duration::from_millis(self.1.until.load(SeqCst)) {
            // As a kernel does with nothing to end: the time passes.
            std::thread::sleep(timeout.unwrap_or_default());
            return Ok(());
        }
        self.0.wait(unsubmitted, timeout)
    }
    fn ring(&self) {
        self.0.ring();
    }
}

// SAFETY: all promises are those of the ring within.
unsafe impl Ring for BusyRing {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        // SAFETY: the caller's promise is handed on.
        unsafe { self.inner.push(sqe) }
    }
    fn submit(&mut self) -> Result<(), Errno> {
        if self.busy.refuses(self.since) { Err(Errno::BUSY) } else { self.inner.submit() }
    }
    fn unsubmitted(&self) -> u32 {
        self.inner.unsubmitted()
    }
    fn reap(&mut self) -> Option<Cqe> {
        self.inner.reap()
    }
    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::new(BusyBell(self.inner.doorbell(), Arc::clone(&self.busy), self.since))
    }
    fn direct(&self) -> Arc<dyn Direct> {
        self.inner.direct()
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }
    fn on_turn(&mut self, turn: Box<dyn Fn() + Send>) {
        self.inner.on_turn(turn);
    }
    fn report(&self) -> Report {
        self.inner.report()
    }
}

fn busy_driver() -> (Arc<dyn Io>, Arc<Busy>, Instant) {
    let setup = Setup { root: None, in_flight: 16 };
    let inner = Simulated::new(&setup, Disk::new(), Behaviour::seeded(1));
    let (busy, since) = (Arc::new(Busy::default()), Instant::now());
    let ring = BusyRing { inner, busy: Arc::clone(&busy), since };
    (start_on(Box::new(ring), Config::new()).unwrap(), busy, since)
}

fn refuse_for(busy: &Busy, since: Instant, time: Duration) {
    let until = since.elapsed() + time;
    busy.until.store(u64::try_from(until.as_millis()).unwrap(), SeqCst);
}

#[test]
fn a_busy_kernel_is_asked_again_with_pauses() {
    let (io, busy, since) = busy_driver();
    let file = wait(&*io, io.open("file", OpenOptions::new().create(true))).unwrap();
    refuse_for(&busy, since, Duration::from_millis(200));
    wait(&*io, file.pwrite(0, b"in the end".into())).unwrap();
    let refusals = busy.refusals.load(SeqCst);
    assert!((2..=500).contains(&refusals), "{refusals} refusals in 200 ms");
}

#[test]
fn a_driver_that_ends_while_the_kernel_is_busy_does_not_spin() {
    let (io, busy, since) = busy_driver();
    let file = wait(&*io, io.open("file", OpenOptions::new().create(true))).unwrap();
    refuse_for(&busy, since, Duration::from_millis(200));
    let write = file.pwrite(0, b"in the end".into());
    drop(file);
    drop(io);
    drop(write);
    let refusals = busy.refusals.load(SeqCst);
    assert!((2..=500).contains(&refusals), "{refusals} refusals in 200 ms");
}

#[test]
fn who_does_not_wait_for_room_any_more_holds_up_nobody() {
    let setup = Setup { root: None, in_flight: 16 };
    let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(1));
    let io = start_on(Box::new(ring), Config::new().operations(4)).unwrap();
    let file = wait(&*io, io.open("file", OpenOptions::new().create(true))).unwrap();
    let mut sizes: Vec<Completion<u64>> = (0..4).map(|_| file.size()).collect();
    let greedy = io.room(4);
    let mut modest = io.room(1);
    wait(&*io, sizes.pop().expect("four")).unwrap();
    for _ in 0..10 {
        io.step(io.delivered(), Wait::No);
    }
    assert!(modest.try_take().is_none(), "it stands behind the greedy one");
    drop(greedy);
    wait(&*io, modest).expect("there is room for one");
    drop(sizes);
}
