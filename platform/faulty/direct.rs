//! The same faults for what a thread does by itself.

use std::sync::{Arc, Mutex, PoisonError};

use super::liar::{self, Liar, Verdict};
use super::{Entry, Event, Faults, Outcome, Script, Way, learn, whole_units};
use crate::sharing::Sharing;
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
    fn sharing(&self) -> Option<&dyn Sharing> {
        self.inner.sharing()
    }

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
        let unit = script.unit_of(entry.file);
        if let Op::Close { file } = *op {
            script.set_direct(file, None);
        }
        let way = if answered { Way::Answered } else { Way::Direct };
        let bytes = verdict.bytes(&entry);
        script.note(Event::Taken { tag: None, entry, way, bytes });
        drop(script);
        let result = match verdict {
            Verdict::Answer(result) => result,
            Verdict::Shorten(bytes) => {
                // SAFETY: the caller's promise.
                let (op, spans) = unsafe { liar::cut(op, whole_units(unit, bytes)) };
                // SAFETY: less of the same memory, and the spans live until after the call.
                let result = unsafe { self.inner.call(&op) };
                drop(spans);
                result.map(|count| count.min(bytes as u64))
            }
            // SAFETY: the caller's promise.
            Verdict::Forward => unsafe { self.inner.call(op) },
        };
        let result = match outcome {
            // A close is done whatever it answers.
            Some(Outcome::Fail(code)) => Err(code),
            _ => result,
        };
        if let (Op::OpenDirect { .. }, Ok(handle)) = (op, result) {
            // SAFETY: it was opened just now, and nobody else knows of it.
            unsafe { learn(&self.script, &*self.inner, handle) };
        }
        self.script.lock().note(Event::Ended { tag: None, result });
        result
    }
}
