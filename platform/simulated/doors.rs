//! The ways to a ring for those who do not hold it: its bell, direct calls, and the host's turns.

use core::time::Duration;
use std::sync::Arc;

use super::{Faults, Shared, State};
use crate::lock::MutexGuard;
use crate::{Clock, Direct, Doorbell, Errno, Op};

impl Doorbell for Shared {
    fn wait(&self, unsubmitted: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        let mut state = self.lock();
        let count = state.pushed.len().min(unsubmitted as usize);
        let trouble = &mut state.trouble;
        let refusal = if count > 0 { trouble.refusal() } else { trouble.interruption() };
        if let Some(code) = refusal {
            return Err(code);
        }
        state.submit(count);
        state.let_out();
        if state.done.is_empty() && state.waiting.is_empty() && !state.rung {
            state = self.sleep(state, timeout);
        }
        state.rung = false;
        if state.done.is_empty() {
            state.execute_some();
        }
        if !state.done.is_empty() {
            self.news.notify_all();
        }
        Ok(())
    }

    fn ring(&self) {
        self.lock().rung = true;
        self.news.notify_all();
    }

    fn ring_after(&self, time: Duration) {
        let mut state = self.lock();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let due = state.clock.monotonic_nanos().saturating_add(nanos);
        state.alarm = Some(due).filter(|_| state.hosted);
    }
}

impl Shared {
    /// Waits for news, once, or lets all of the time pass. Without a time that is for another
    /// thread to end; returning early is allowed, and `submit` and `ring` both bring news.
    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let now = state.clock.monotonic_nanos();
        let until = state.late.iter().map(|(due, _)| Duration::from_nanos(due - now)).min();
        match until.into_iter().chain(timeout).min() {
            // Nothing else will happen by itself, so the time is over now.
            Some(time) => {
                state.clock.advance(time);
                state.let_out();
                state
            }
            // One thread: nobody could bring news.
            None if state.hosted || cfg!(target_family = "wasm") => state,
            None => {
                self.news.wait(&mut state);
                state
            }
        }
    }
}

impl Direct for Shared {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        let mut state = self.lock();
        match *op {
            Op::Cancel { target } => {
                let result = state.cancel(target);
                drop(state);
                self.news.notify_all();
                result
            }
            ref op if op.is_on_name() && state.hosted => Err(Errno::AGAIN),
            ref op => {
                state.take_time();
                let State { trouble, files, .. } = &mut *state;
                files.check_direct_close(op);
                // SAFETY: the caller's promise.
                unsafe { trouble.execute(files, op, true) }
            }
        }
    }
}

/// What a test changes about a ring that an engine owns.
#[derive(Clone)]
pub struct Control(pub(super) Arc<Shared>);

impl Control {
    /// From now on these faults, and no others.
    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().trouble.set(faults);
    }

    /// Entries so far that a direct handle did not take, for how they were aligned.
    #[must_use]
    pub fn misaligned(&self) -> u64 {
        self.0.lock().files.misaligned
    }
}

/// The event loop that a [`Config::hosted`](super::Config::hosted) ring lives in, for a test to
/// turn.
#[derive(Clone)]
pub struct Host(pub(super) Arc<Shared>);

impl Host {
    /// One turn: some of the opens and removes are executed, and what was given to
    /// [`Ring::on_turn`](crate::Ring::on_turn) is called if any was, or if the bell was rung. Where
    /// neither is so and a turn was asked for later, it is that late now.
    /// Answers whether another turn has something to do.
    #[expect(clippy::must_use_candidate, reason = "what a turn does is its use")]
    pub fn turn(&self) -> bool {
        let mut state = self.0.lock();
        let any = !state.names.is_empty();
        if any {
            let len = state.names.len();
            // Not in order: each of them is several promises deep.
            for _ in 0..=state.random.below(len) {
                let left = state.names.len();
                let any = state.random.below(left);
                let sqe = state.names.swap_remove(any);
                state.finish(sqe);
            }
        }
        let mut asked = core::mem::take(&mut state.rung);
        if !any
            && !asked
            && let Some(due) = state.alarm.take()
        {
            // Nothing happens before, so it is that late now.
            state.clock.advance_to(due);
            asked = true;
        }
        let turn = if any || asked { state.turn.take() } else { None };
        drop(state);
        if let Some(turn) = turn {
            turn();
            let mut state = self.0.lock();
            // It may have put another in its place, or dropped the ring.
            if state.turn.is_none() && !state.gone {
                state.turn = Some(turn);
            }
        }
        self.is_asked()
    }

    /// Whether the next turn has something to do.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        let state = self.0.lock();
        state.rung || state.alarm.is_some() || !state.names.is_empty()
    }
}
