//! What the seed decides about an entry, and the bounds that keep an honest engine going.

use std::collections::HashMap;

use super::Faults;
use super::script::{Entry, OpKind, Outcome};
use crate::simulated::{Permille, Random};
use crate::{Errno, Handle, Op, Span};

/// Interruptions in a row of operations at one place. An engine's patience is bounded, and so is
/// what a real kernel asks of it.
const INTERRUPTIONS_MAX: u8 = 3;

/// Places remembered; operations that nobody retried would gather otherwise.
const PLACES_MAX: usize = 4096;

/// The seed's voice.
#[derive(Debug)]
pub(crate) struct Liar {
    pub(crate) random: Random,
    faults: Faults,
    /// Interruptions in a row, by operation, handle and offset: a retry has the same ones.
    interrupted: HashMap<(OpKind, Handle, u64), u8>,
}

/// What becomes of an entry that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Forward,
    /// Forward with this many of its bytes.
    Shorten(usize),
    Answer(Result<u64, Errno>),
}

impl Verdict {
    /// How many of the entry's bytes go on.
    pub(super) fn bytes(self, entry: &Entry) -> u64 {
        match self {
            Verdict::Forward => entry.bytes,
            Verdict::Shorten(bytes) => bytes as u64,
            Verdict::Answer(_) => 0,
        }
    }
}

impl Liar {
    pub(crate) fn new(faults: &Faults, stream: u64) -> Liar {
        let random = Random::new(faults.seed ^ stream);
        Liar { random, faults: faults.clone(), interrupted: HashMap::new() }
    }

    /// What becomes of `entry`, for which the script says `outcome`; the seed decides where it says
    /// nothing and is not calm. What is refused or parked never gets here.
    pub(crate) fn verdict(
        &mut self,
        outcome: Option<Outcome>,
        entry: &Entry,
        calm: bool,
        direct: bool,
    ) -> Verdict {
        match outcome {
            Some(Outcome::Short(0)) if entry.moves() => Verdict::Answer(Ok(0)),
            Some(Outcome::Short(bytes)) if (bytes as u64) < entry.bytes => Verdict::Shorten(bytes),
            // A close is done whatever it answers.
            Some(Outcome::Fail(code)) if entry.op != OpKind::Close => Verdict::Answer(Err(code)),
            Some(_) => Verdict::Forward,
            None if calm => Verdict::Forward,
            None => self.chance(entry, direct),
        }
    }

    fn chance(&mut self, entry: &Entry, direct: bool) -> Verdict {
        if !(entry.moves() || matches!(entry.op, OpKind::Sync | OpKind::Lock | OpKind::Unlock)) {
            return Verdict::Forward;
        }
        if let Some(code) = self.interrupt(entry, direct) {
            return Verdict::Answer(Err(code));
        }
        if entry.moves() && self.random.chance(self.faults.short) {
            return Verdict::Shorten(self.shorter(entry));
        }
        Verdict::Forward
    }

    fn interrupt(&mut self, entry: &Entry, direct: bool) -> Option<Errno> {
        let place = (entry.op, entry.file?, entry.at);
        if !self.random.chance(self.faults.interrupt) {
            self.interrupted.remove(&place);
            return None;
        }
        if self.interrupted.len() >= PLACES_MAX {
            self.interrupted.clear();
        }
        let count = self.interrupted.entry(place).or_insert(0);
        if *count >= INTERRUPTIONS_MAX {
            self.interrupted.remove(&place);
            return None;
        }
        *count += 1;
        // To a direct call EAGAIN says that it is in the wrong place, not that it is too early.
        let again = !direct && self.random.chance(Permille(500));
        Some(if again { Errno::AGAIN } else { Errno::INTR })
    }

    /// From one byte to all of them: the two ends often, for they are where resuming goes wrong.
    fn shorter(&mut self, entry: &Entry) -> usize {
        let bytes = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
        match self.random.below(8) {
            0 => 1,
            1 => (bytes - 1).max(1),
            _ => 1 + self.random.below(bytes),
        }
    }
}

/// The first `bytes` of what `op` moves. The spans of a vectored one are copied into the array that
/// comes with it, to be kept until the entry's end.
///
/// # Safety
/// The span array of `op` must be alive.
pub(crate) unsafe fn cut(op: &Op, bytes: usize) -> (Op, Option<Box<[Span]>>) {
    let first = |span: Span| Span { ptr: span.ptr, len: span.len.min(bytes) };
    match *op {
        Op::Read { file, at, span } => (Op::Read { file, at, span: first(span) }, None),
        Op::Write { file, at, span } => (Op::Write { file, at, span: first(span) }, None),
        Op::Readv { file, at, spans, count } => {
            // SAFETY: the caller's promise.
            let (kept, count) = unsafe { cut_spans(spans, count, bytes) };
            (Op::Readv { file, at, spans: kept.as_ptr(), count }, Some(kept))
        }
        Op::Writev { file, at, spans, count } => {
            // SAFETY: the caller's promise.
            let (kept, count) = unsafe { cut_spans(spans, count, bytes) };
            (Op::Writev { file, at, spans: kept.as_ptr(), count }, Some(kept))
        }
        Op::ReadWith { file, at, spans, count, flags } => {
            // SAFETY: the caller's promise.
            let (kept, count) = unsafe { cut_spans(spans, count, bytes) };
            (Op::ReadWith { file, at, spans: kept.as_ptr(), count, flags }, Some(kept))
        }
        Op::WriteWith { file, at, spans, count, flags } => {
            // SAFETY: the caller's promise.
            let (kept, count) = unsafe { cut_spans(spans, count, bytes) };
            (Op::WriteWith { file, at, spans: kept.as_ptr(), count, flags }, Some(kept))
        }
        op => (op, None),
    }
}

/// # Safety
/// `count` spans must be alive at `spans`.
unsafe fn cut_spans(spans: *const Span, count: u32, bytes: usize) -> (Box<[Span]>, u32) {
    // SAFETY: the caller's promise.
    let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
    let mut left = bytes;
    let mut kept = Vec::new();
    for span in spans {
        if left == 0 {
            break;
        }
        let len = span.len.min(left);
        kept.push(Span { ptr: span.ptr, len });
        left -= len;
    }
    let count = u32::try_from(kept.len()).expect("no more than there were");
    (kept.into_boxed_slice(), count)
}
