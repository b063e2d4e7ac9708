//! A ring that dies on command, and whose direct calls can be held up.
#![allow(dead_code, reason = "each test program uses its part of this")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use littoral::platform::{Clock, Cqe, Direct, Doorbell, Full, Op, Ring, Sqe};
use littoral::{Errno, Limits, Report};

/// A ring that dies on command, and whose direct calls can be held.
pub(crate) struct Wrap<R: Ring> {
    pub(crate) inner: R,
    pub(crate) dead: Arc<AtomicBool>,
    pub(crate) gate: Arc<Gate>,
}

/// Which operations a gate holds up.
pub(crate) type Which = fn(&Op) -> bool;

#[derive(Default)]
pub(crate) struct Gate {
    /// Direct calls of that kind stop here.
    pub(crate) holds: Mutex<Option<Which>>,
    pub(crate) held: AtomicUsize,
    pub(crate) news: Condvar,
    pub(crate) open: Mutex<bool>,
    pub(crate) closes: AtomicUsize,
    /// Who waits for the ring is woken by the bell only, as where another thread takes each
    /// completion just before.
    pub(crate) deaf: AtomicBool,
    pub(crate) waiting: AtomicBool,
    pub(crate) rung: Mutex<bool>,
    pub(crate) bell: Condvar,
}

impl Gate {
    pub(crate) fn hold(&self, which: Which) {
        *self.holds.lock().unwrap() = Some(which);
    }
    pub(crate) fn pass(&self, op: &Op) {
        let holds = {
            let mut holds = self.holds.lock().unwrap();
            match *holds {
                Some(which) if which(op) => {
                    *holds = None;
                    true
                }
                _ => false,
            }
        };
        if holds {
            self.held.fetch_add(1, Ordering::SeqCst);
            let mut open = self.open.lock().unwrap();
            while !*open {
                open = self.news.wait(open).unwrap();
            }
        }
    }
    pub(crate) fn wait_held(&self) {
        while self.held.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    }
    pub(crate) fn release(&self) {
        *self.open.lock().unwrap() = true;
        self.news.notify_all();
    }
}

struct WrapBell(Arc<dyn Doorbell>, Arc<Gate>);

impl Doorbell for WrapBell {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        if !self.1.deaf.load(Ordering::SeqCst) {
            return self.0.wait(unsubmitted, timeout);
        }
        self.0.wait(unsubmitted, Some(Duration::ZERO))?;
        let mut rung = self.1.rung.lock().unwrap();
        self.1.waiting.store(true, Ordering::SeqCst);
        while !core::mem::take(&mut *rung) {
            rung = self.1.bell.wait(rung).unwrap();
        }
        Ok(())
    }
    fn ring(&self) {
        *self.1.rung.lock().unwrap() = true;
        self.1.bell.notify_all();
        self.0.ring();
    }
    fn ring_after(&self, time: Duration) {
        self.0.ring_after(time);
    }
}

pub(crate) struct WrapDirect(Arc<dyn Direct>, Arc<Gate>);

impl Direct for WrapDirect {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        self.1.pass(op);
        // SAFETY: the caller's promise is handed on.
        unsafe { self.0.call(op) }
    }
}

// SAFETY: all promises are those of the ring within.
unsafe impl<R: Ring> Ring for Wrap<R> {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        if matches!(sqe.op, Op::Close { .. }) {
            self.gate.closes.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the caller's promise is handed on.
        unsafe { self.inner.push(sqe) }
    }
    fn submit(&mut self) -> Result<(), Errno> {
        if self.dead.load(Ordering::SeqCst) { Err(Errno::IO) } else { self.inner.submit() }
    }
    fn unsubmitted(&self) -> u32 {
        self.inner.unsubmitted()
    }
    fn reap(&mut self) -> Option<Cqe> {
        self.inner.reap()
    }
    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::new(WrapBell(self.inner.doorbell(), Arc::clone(&self.gate)))
    }
    fn direct(&self) -> Arc<dyn Direct> {
        Arc::new(WrapDirect(self.inner.direct(), Arc::clone(&self.gate)))
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
