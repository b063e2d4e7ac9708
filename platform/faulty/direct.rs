//! The same faults for what a thread does by itself.

use std::sync::{Arc, Mutex, PoisonError};

use super::liar::{self, Liar, Verdict};
use super::{Entry, Event, Faults, Outcome, Script, Way};
use crate::{Direct, Errno, Op};

/// Makes the seed's choices here others than those about entries.
const STREAM: u64 = 0x0d12_ec7c;

pub(super) struct FaultyDirect {
    inner: Arc<dyn Direct>,
    liar: Mutex<Liar>,
    script: Script,
}

impl FaultyDirect {
    pub(super) fn new(inner: Arc<dyn Direct>, faults: &Faults, script: Script) -> FaultyDirect {
        FaultyDirect { inner, liar: Mutex::new(Liar::new(faults, STREAM)), script }
    }
}

impl Direct for FaultyDirect {
    unsafe fn call(&self, op: &Op) -> Result<u64, Errno> {
        // SAFETY: the caller's promise.
        let entry = unsafe { Entry::of(op) };
        let mut script = self.script.lock();
        let rule = script.judge(&entry, true);
        script.used(rule);
        let outcome = rule.map(|(_, outcome)| outcome);
        let calm = script.is_calm();
        let mut liar = self.liar.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = liar.verdict(outcome, &entry, calm, true);
        drop(liar);
        let answered = matches!(verdict, Verdict::Answer(_));
        let way = if answered { Way::Answered } else { Way::Direct };
        let bytes = verdict.bytes(&entry);
        script.note(Event::Taken { tag: None, entry, way, bytes });
        drop(script);
        let result = match verdict {
            Verdict::Answer(result) => result,
            Verdict::Shorten(bytes) => {
                // SAFETY: the caller's promise.
                let (op, spans) = unsafe { liar::cut(op, bytes) };
                // SAFETY: less of the same memory, and the spans live until after the call.
                let result = unsafe { self.inner.call(&op) };
                drop(spans);
                result
            }
            // SAFETY: the caller's promise.
            Verdict::Forward => unsafe { self.inner.call(op) },
        };
        let result = match outcome {
            // A close is done whatever it answers.
            Some(Outcome::Fail(code)) => Err(code),
            _ => result,
        };
        self.script.lock().note(Event::Ended { tag: None, result });
        result
    }
}
