//! The ring of a browser's worker.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::spawn_local;

use super::errand::{Brought, Errand, close_and_forget};
use super::transfer::{BYTES_PER_CALL, OFFSET_MAX, STAGING_BYTES};
use super::{host, names};
use crate::{
    Cqe, Direct, Doorbell, Errno, Full, Handle, Limits, Op, Report, Ring, RwFlags, Setup,
    SetupError, Sqe, Tag,
};

/// What a write costs without its bytes, in bytes. Measured by `./build.sh bench web`, which tells
/// what calls cost by size (microseconds a call, then a MiB): Chromium 156 35 and 130, Firefox ESR
/// 153 65 and 120, Chromium incognito 900 and 5000. So 280 KiB, 550 KiB, 180 KiB.
const WRITE_CALL_COST: usize = 256 << 10;

/// The same for reads: Chromium 1.5 and 85, Firefox 21 and 85, incognito 250 and 1000. So 20 KiB,
/// 250 KiB, 250 KiB. Erring upwards costs Chromium one copy within the cache (16 pages of 4 KiB
/// scattered from one read: 5 us, by 16 reads: 25), erring downwards costs the others a call.
const READ_CALL_COST: usize = 128 << 10;

/// A ring over the origin's private files, in a dedicated worker. See the module's page.
pub struct Opfs {
    limits: Limits,
    /// Pushed, not submitted.
    pushed: VecDeque<Sqe>,
    shared: Arc<Shared>,
}

/// What the ring, its doorbell, its direct calls and its promises have in common. The worker's side
/// of the ring, and with it the files left open, go when the last of them does.
struct Shared {
    /// The number of the worker's side.
    ring: u64,
    root: Option<String>,
    /// A turn was asked for and has not come.
    asked: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: VecDeque<Done>,
    /// Entries on names whose promises are not settled.
    waiting: Vec<Tag>,
    /// The ring is gone: nobody reaps any more.
    gone: bool,
}

struct Done {
    cqe: Cqe,
    /// The file that the completion brings, and that nobody knows of before.
    opened: Option<Handle>,
}

impl Opfs {
    /// A ring in the worker that calls.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where there are no access handles, with what to do about it. Whether the origin
    /// may store anything is told by the first open: a browser's private window may refuse it with
    /// `EACCES` then.
    pub fn new(setup: &Setup) -> Result<Self, SetupError> {
        let ring = host::enter()?;
        let root = setup.root.clone();
        spawn_local(async move { names::sweep(root.as_deref()).await });
        Ok(Opfs {
            limits: Limits {
                in_flight: setup.in_flight.max(1),
                spans_per_call: 4096,
                bytes_per_call: BYTES_PER_CALL,
                offset_max: OFFSET_MAX,
                may_block: false,
                executes_at_submit: true,
                one_handle_per_file: true,
                syncs_directories: false,
                write_call_cost: WRITE_CALL_COST,
                read_call_cost: READ_CALL_COST,
                lone_calls: false,
                flags: RwFlags::empty(),
            },
            pushed: VecDeque::new(),
            shared: Arc::new(Shared {
                ring,
                root: setup.root.clone(),
                asked: AtomicBool::new(false),
                state: Mutex::default(),
            }),
        })
    }

    fn start(&self, sqe: &Sqe) {
        // SAFETY: the pusher keeps names alive until the completion.
        if let Some(errand) = unsafe { Errand::of(&sqe.op) } {
            return self.send(sqe.tag, errand);
        }
        let result = match sqe.op {
            // What runs inside `submit` is over; a promise cannot be taken back.
            Op::Cancel { target } => {
                let waiting = self.shared.state().waiting.contains(&target);
                Err(if waiting { Errno::ALREADY } else { Errno::NOENT })
            }
            Op::Close { file } => {
                let temporary = host::table(|table| table.take_temporary(file));
                let closed = host::table(|table| table.close(file));
                if let Some(name) = temporary {
                    return self.send(sqe.tag, Errand::Forget(name, closed));
                }
                closed.map(|()| 0)
            }
            // SAFETY: the promise of `push`, which holds until the tag is reaped.
            ref on_file => host::table(|table| unsafe { table.call(on_file) }),
        };
        let cqe = Cqe { tag: sqe.tag, result };
        self.shared.state().done.push_back(Done { cqe, opened: None });
    }

    /// Has an errand run on the host's turns, and its result queued.
    fn send(&self, tag: Tag, errand: Errand) {
        self.shared.state().waiting.push(tag);
        let (ring, root) = (self.shared.ring, self.shared.root.clone());
        // Not the ring itself: an unfinished promise must not keep it.
        let shared = Arc::downgrade(&self.shared);
        spawn_local(async move {
            let result = errand.run(ring, root.as_deref()).await;
            deliver(&shared, tag, result);
        });
    }
}

/// Queues what an errand brought, and asks for the turn that takes it; what comes too late is
/// discarded.
fn deliver(shared: &Weak<Shared>, tag: Tag, result: Result<Brought, Errno>) {
    let Some(shared) = shared.upgrade().filter(|shared| !shared.state().gone) else {
        if let Ok(brought) = result {
            brought.discard();
        }
        return;
    };
    let mut state = shared.state();
    state.waiting.retain(|waiting| *waiting != tag);
    // SAFETY: the tag is reaped from the queue only, into which it goes below.
    let result = result.map(|brought| unsafe { brought.hand_over() });
    let opened = result.ok().and_then(|(_, opened)| opened);
    let cqe = Cqe { tag, result: result.map(|(value, _)| value) };
    state.done.push_back(Done { cqe, opened });
    drop(state);
    shared.ask_turn();
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_turn(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) && !host::ask_turn(self.ring) {
            self.asked.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let temporaries = host::leave(self.ring);
        if !temporaries.is_empty() {
            let root = self.root.take();
            spawn_local(async move { names::forget(root.as_deref(), &temporaries).await });
        }
    }
}

impl Drop for Opfs {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.gone = true;
        let unreaped = core::mem::take(&mut state.done);
        drop(state);
        for done in unreaped {
            done.opened.into_iter().for_each(close_and_forget);
        }
        host::on_turn(self.shared.ring, None);
    }
}

// SAFETY: every accepted entry is either executed inside `submit` and queued then, or kept by a
// promise, which the browser settles once, and queued then; `reap` takes each from the queue once.
// Entries on files touch their memory inside `submit` only, those on names copy the name there, and
// write what they bring when it is queued. Counts are checked against what was asked for in
// `errors::count`.
unsafe impl Ring for Opfs {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        let state = self.shared.state();
        let alive = self.pushed.len() + state.done.len() + state.waiting.len();
        drop(state);
        if alive >= self.limits.in_flight as usize {
            return Err(Full);
        }
        self.pushed.push_back(*sqe);
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Errno> {
        while let Some(sqe) = self.pushed.pop_front() {
            self.start(&sqe);
        }
        Ok(())
    }

    fn unsubmitted(&self) -> u32 {
        u32::try_from(self.pushed.len()).unwrap_or(u32::MAX)
    }

    fn reap(&mut self) -> Option<Cqe> {
        self.shared.state().done.pop_front().map(|done| done.cqe)
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::new(Bell(Arc::clone(&self.shared)))
    }

    fn direct(&self) -> Arc<dyn Direct> {
        Arc::new(Calls { _files: Arc::clone(&self.shared) })
    }

    fn on_turn(&mut self, turn: Box<dyn Fn() + Send>) {
        let shared = Arc::downgrade(&self.shared);
        let turn = Closure::<dyn Fn()>::new(move || {
            // Before the call: what is asked for during it is another turn.
            if let Some(shared) = shared.upgrade() {
                shared.asked.store(false, Ordering::Relaxed);
            }
            turn();
        });
        host::on_turn(self.shared.ring, Some(turn));
    }

    fn report(&self) -> Report {
        Report {
            backend: "opfs",
            chosen: vec![
                format!("vectors gathered in up to {STAGING_BYTES} bytes"),
                format!("folder {:?}", self.shared.root.as_deref().unwrap_or("")),
            ],
            refused: Vec::new(),
        }
    }
}

struct Bell(Arc<Shared>);

impl Doorbell for Bell {
    fn wait(&self, _unsubmitted: u32, _timeout: Option<Duration>) -> Result<(), Errno> {
        // A promise is settled only after the worker went back to its event loop.
        Err(Errno::AGAIN)
    }

    fn ring(&self) {
        self.0.ask_turn();
    }

    fn ring_after(&self, time: Duration) {
        let shared = Arc::downgrade(&self.0);
        host::set_alarm(self.0.ring, time, move || {
            if let Some(shared) = shared.upgrade() {
                shared.ask_turn();
            }
        });
    }
}

struct Calls {
    /// The files stay open with it.
    _files: Arc<Shared>,
}

impl Direct for Calls {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        // SAFETY: the caller's promise.
        host::table(|table| unsafe { table.call(op) })
    }
}
