//! A ring around another that misbehaves by a seed, within what a ring is allowed to do.
//!
//! Kernels and browsers rarely give a short count, an interruption or a full queue on demand. This
//! ring does, above any of them, so that the machines which deal with such things are tried on the
//! real platform and not on a model of it only. It never lies: a shortened count is that of a
//! shortened entry, an interrupted entry did nothing, and every tag comes out once (until the
//! script says that the ring is dead). A direct handle takes no entry of any length, so one of its
//! is cut to the next length that it takes, and the count, which may be any, is cut to the byte.
//!
//! An engine that submits, reaps and retries always gets on: of all unhelpful answers (a refused
//! push, an interrupted submit, nothing to reap while something is held back) at most
//! [`PATIENCE`] follow each other without a completion between them.

mod bell;
mod direct;
mod liar;
mod script;
#[cfg(test)]
mod tests;

use core::mem::ManuallyDrop;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use crate::{
    Clock, Cqe, Direct, Doorbell, Errno, Full, Geometry, Handle, Limits, Op, Report, Ring, Span,
    Sqe, Tag,
};

pub use crate::simulated::Permille;
use bell::Bell;
use direct::FaultyDirect;
pub(crate) use liar::{Liar, Verdict, cut};
pub use script::{Entry, Event, OpKind, Outcome, Rule, Script, Way};

/// Unhelpful answers between two completions.
pub const PATIENCE: u32 = 3;

/// How often a [`Faulty`] ring misbehaves, and in what. The default does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Decides every choice.
    pub seed: u64,
    /// Reads and writes that are cut to a length from 1 to all of their bytes.
    pub short: Permille,
    /// Reads, writes and syncs that are answered `EINTR` or `EAGAIN` without having begun, at most
    /// three times in a row at one place; submits and waits that are interrupted.
    pub interrupt: Permille,
    /// Pushes that are refused although there is room.
    pub refuse: Permille,
    /// Completions that are held back for up to [`PATIENCE`] vain reaps.
    pub delay: Permille,
    /// Reaps that take any completion, not the oldest.
    pub reorder: Permille,
    /// A smaller [`Limits::spans_per_call`].
    pub spans_per_call: Option<usize>,
    /// A smaller [`Limits::bytes_per_call`].
    pub bytes_per_call: Option<usize>,
    /// A smaller [`Limits::in_flight`].
    pub in_flight: Option<u32>,
    /// Leaves the [`Limits::lone_calls`] of the ring within as they are. Else there are none, so
    /// that everything passes by the ring, where it can be refused and kept back.
    pub lone_calls: bool,
}

impl Faults {
    /// A rough ride: everything now and then.
    #[must_use]
    pub fn rough(seed: u64) -> Faults {
        Faults {
            seed,
            short: Permille(300),
            interrupt: Permille(100),
            refuse: Permille(200),
            delay: Permille(300),
            reorder: Permille(500),
            ..Faults::default()
        }
    }
}

/// A ring that wraps another and misbehaves.
pub struct Faulty<R: Ring> {
    inner: R,
    limits: Limits,
    faults: Faults,
    liar: Liar,
    script: Script,
    bell: Arc<Bell>,
    /// Accepted and not reaped.
    alive: HashSet<Tag>,
    /// What was changed about entries that the ring within has. Not dropped with this: closing a
    /// ring does not wait for what is in flight, a span array may still be read.
    kept: ManuallyDrop<HashMap<Tag, Kept>>,
    parked: Vec<Parked>,
    late: Vec<Late>,
    /// Completions on their way out, oldest first.
    held: Vec<Held>,
    /// Unhelpful answers since the last completion.
    unhelpful: u32,
}

#[derive(Default)]
struct Kept {
    spans: Option<Box<[Span]>>,
    /// Instead of what the ring within answers.
    code: Option<Errno>,
    /// No count is larger.
    count_max: Option<u64>,
    /// It opens a direct handle.
    opens_direct: bool,
    /// To be let out by the script, after this many releases.
    late: Option<u64>,
}

/// Accepted, not begun, until the script was released more often than `since`.
struct Parked {
    sqe: Sqe,
    since: u64,
}

struct Late {
    cqe: Cqe,
    since: u64,
}

struct Held {
    cqe: Cqe,
    /// Vain reaps to come before it.
    rounds: u32,
}

// SAFETY: each tag that `push` accepted is in `alive`, and in exactly one of: the ring within, that
// promises it once, `parked`, `late`, `held`; `reap` moves it out of the last. Parked ones go on
// or are cancelled at the script's word; `held` empties by itself. What the ring within may still
// touch is the pusher's, until its completion came from there, or in `kept`, until the same moment.
// Counts are those within, of no more bytes than were given.
unsafe impl<R: Ring> Ring for Faulty<R> {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        // SAFETY: the pusher's promise.
        let entry = unsafe { Entry::of(&sqe.op) };
        self.assert_within_limits(sqe.tag, &entry);
        if self.alive.len() >= self.limits.in_flight as usize {
            return Err(Full);
        }
        // Held until the end, so that no other thread gets a rule that is being applied here.
        let script = self.script.clone();
        let mut script = script.lock();
        let rule = script.judge(&entry, false);
        let outcome = rule.map(|(_, outcome)| outcome);
        let calm = script.is_calm();
        if outcome == Some(Outcome::Refuse) || (outcome.is_none() && !calm && self.refuses()) {
            script.note(Event::Refused(entry));
            script.used(rule);
            drop(script);
            // There may be nothing in flight whose completion would end a wait.
            self.bell.ring();
            return Err(Full);
        }
        let verdict = self.liar.verdict(outcome, &entry, calm, false);
        let unit = script.unit_of(entry.file);
        if let Op::Close { file } = sqe.op {
            script.set_direct(file, None);
        }
        let since = script.releases();
        let (way, bytes) = if outcome == Some(Outcome::Park) {
            self.parked.push(Parked { sqe: *sqe, since });
            (Way::Parked, entry.bytes)
        } else if let Verdict::Answer(result) = verdict {
            self.answer(sqe.tag, result, calm);
            (Way::Answered, 0)
        } else if self.cancels_parked(&sqe.op, calm) {
            self.answer(sqe.tag, Ok(0), calm);
            (Way::Answered, 0)
        } else {
            let mut kept = Kept::default();
            match outcome {
                Some(Outcome::Late) => kept.late = Some(since),
                Some(Outcome::Fail(code)) => kept.code = Some(code),
                _ => (),
            }
            // SAFETY: the pusher's promise is handed on.
            let pushed = unsafe { self.forward(sqe, verdict, unit, kept) };
            pushed.inspect_err(|_: &Full| script.note(Event::Refused(entry)))?;
            (Way::Forwarded, verdict.bytes(&entry))
        };
        script.used(rule);
        script.note(Event::Taken { tag: Some(sqe.tag), entry, way, bytes });
        self.alive.insert(sqe.tag);
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Errno> {
        if let Some(code) = self.script.lock().dead() {
            return Err(code);
        }
        self.go_on_with_parked();
        let interrupt = self.faults.interrupt;
        if self.inner.unsubmitted() > 0 && self.lie(interrupt) {
            let codes = [Errno::INTR, Errno::AGAIN, Errno::BUSY];
            return Err(codes[self.liar.random.below(codes.len())]);
        }
        self.inner.submit()
    }

    fn unsubmitted(&self) -> u32 {
        self.inner.unsubmitted()
    }

    fn reap(&mut self) -> Option<Cqe> {
        if self.script.lock().dead().is_some() {
            return None;
        }
        self.go_on_with_parked();
        let calm = self.script.lock().is_calm();
        self.gather(calm);
        let cqe = self.take(calm);
        self.bell.holding(!self.held.is_empty());
        if let Some(cqe) = cqe {
            self.unhelpful = 0;
            assert!(self.alive.remove(&cqe.tag), "{:?} came out twice, or never went in", cqe.tag);
            self.script.lock().note_end(cqe);
        } else if !self.held.is_empty() && !self.limits.may_block {
            // Nobody waits for what is held: the host is to look again.
            self.bell.ring();
        }
        cqe
    }

    fn has_completions(&self) -> bool {
        !self.held.is_empty() || self.inner.has_completions()
    }

    fn doorbell(&self) -> Arc<dyn Doorbell> {
        Arc::clone(&self.bell) as Arc<dyn Doorbell>
    }

    fn direct(&self) -> Arc<dyn Direct> {
        Arc::new(FaultyDirect::new(self.inner.direct(), &self.faults, self.script.clone()))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn on_turn(&mut self, turn: Box<dyn Fn() + Send>) {
        self.inner.on_turn(turn);
    }

    fn forked(self: Box<Self>, files: &[Handle]) {
        let Faulty { inner, .. } = *self;
        Box::new(inner).forked(files);
    }

    fn keep_files(&mut self, files: u32) -> Result<u32, Errno> {
        self.inner.keep_files(files)
    }

    fn fixed(&self) -> u64 {
        self.inner.fixed()
    }

    fn report(&self) -> Report {
        let mut report = self.inner.report();
        report.chosen.push(format!("faulty: {:?}", self.faults));
        report
    }
}

impl Kept {
    fn changes_anything(&self) -> bool {
        let Kept { spans, code, count_max, opens_direct, late } = self;
        let cut = spans.is_some() || count_max.is_some();
        cut || code.is_some() || *opens_direct || late.is_some()
    }
}

/// To how many bytes an entry of so many is cut, where its handle wants whole units.
fn whole_units(unit: Option<u32>, bytes: usize) -> usize {
    unit.map_or(bytes, |unit| bytes.next_multiple_of(unit as usize))
}

/// Takes note of a direct handle that was opened just now.
///
/// # Safety
/// It is open.
unsafe fn learn(script: &Script, platform: &dyn Direct, handle: u64) {
    let file = Handle(u32::try_from(handle).expect("a handle's number"));
    let mut geometry = Geometry::NONE;
    let asked = Op::Geometry { file, geometry: &raw mut geometry };
    // SAFETY: the caller's promise, and the geometry lives until after the call.
    if unsafe { platform.call(&asked) }.is_ok() {
        let unit = geometry.offset.max(geometry.read_offset).max(geometry.memory);
        script.lock().set_direct(file, Some(unit));
    }
}

impl<R: Ring> Faulty<R> {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: R, faults: Faults, script: Script) -> Faulty<R> {
        let given = *inner.limits();
        let limits = Limits {
            in_flight: faults.in_flight.map_or(given.in_flight, |n| given.in_flight.min(n)).max(1),
            spans_per_call: faults
                .spans_per_call
                .map_or(given.spans_per_call, |n| given.spans_per_call.min(n))
                .max(1),
            bytes_per_call: faults
                .bytes_per_call
                .map_or(given.bytes_per_call, |n| given.bytes_per_call.min(n))
                .max(1),
            lone_calls: given.lone_calls && faults.lone_calls,
            ..given
        };
        let bell = Arc::new(Bell::new(inner.doorbell(), &faults, script.clone()));
        let weak = Arc::downgrade(&bell);
        script.lock().attach(weak as Weak<dyn Doorbell>);
        Faulty {
            inner,
            limits,
            liar: Liar::new(&faults, 0),
            faults,
            script,
            bell,
            alive: HashSet::new(),
            kept: ManuallyDrop::new(HashMap::new()),
            parked: Vec::new(),
            late: Vec::new(),
            held: Vec::new(),
            unhelpful: 0,
        }
    }

    /// The limits are there to be kept: an engine that passes them is wrong, even where the
    /// platform below would not notice.
    fn assert_within_limits(&self, tag: Tag, entry: &Entry) {
        assert!(!self.alive.contains(&tag), "{tag:?} is in flight already");
        let Limits { spans_per_call, bytes_per_call, offset_max, .. } = self.limits;
        assert!(entry.spans <= spans_per_call, "more than {spans_per_call} spans: {entry:?}");
        assert!(
            entry.bytes <= bytes_per_call as u64,
            "more than {bytes_per_call} bytes: {entry:?}"
        );
        let end = entry.at.checked_add(entry.bytes);
        assert!(end.is_some_and(|end| end <= offset_max), "ends past {offset_max}: {entry:?}");
    }

    /// Whether to be unhelpful now, within the bound; says so to the host where nothing waits.
    fn lie(&mut self, rate: Permille) -> bool {
        if self.unhelpful >= PATIENCE || self.script.lock().is_calm() {
            return false;
        }
        let lies = self.liar.random.chance(rate);
        if lies {
            self.unhelpful += 1;
            if !self.limits.may_block {
                self.bell.ring();
            }
        }
        lies
    }

    /// Whether the seed refuses a push. Never where nothing is on its way: whoever was refused then
    /// would have nothing to wait for.
    fn refuses(&mut self) -> bool {
        let under_way = self.alive.len() - self.parked.len() - self.late.len();
        let refuses = under_way > 0
            && self.unhelpful < PATIENCE
            && self.liar.random.chance(self.faults.refuse);
        self.unhelpful += u32::from(refuses);
        refuses
    }

    /// # Safety
    /// As [`Ring::push`].
    unsafe fn forward(
        &mut self,
        sqe: &Sqe,
        verdict: Verdict,
        unit: Option<u32>,
        mut kept: Kept,
    ) -> Result<(), Full> {
        let mut op = sqe.op;
        if let Verdict::Shorten(bytes) = verdict {
            let cut_to = whole_units(unit, bytes);
            kept.count_max = (cut_to > bytes).then_some(bytes as u64);
            // SAFETY: the pusher's promise: the span array is alive.
            (op, kept.spans) = unsafe { cut(&sqe.op, cut_to) };
        }
        kept.opens_direct = matches!(op, Op::OpenDirect { .. });
        // SAFETY: the entry is the pusher's own or points to less of the same memory; a span array
        // of ours is kept until the completion.
        unsafe { self.inner.push(&Sqe { op, ..*sqe })? };
        if kept.changes_anything() {
            self.kept.insert(sqe.tag, kept);
        }
        Ok(())
    }

    /// Puts a completion on its way out, of which the ring within does not know.
    fn answer(&mut self, tag: Tag, result: Result<u64, Errno>, calm: bool) {
        let rounds = self.rounds(calm);
        self.held.push(Held { cqe: Cqe { tag, result }, rounds });
        self.bell.holding(true);
    }

    /// How long to hold a completion back.
    fn rounds(&mut self, calm: bool) -> u32 {
        if calm || !self.liar.random.chance(self.faults.delay) {
            return 0;
        }
        1 + u32::try_from(self.liar.random.below(PATIENCE as usize)).expect("it is small")
    }

    fn cancels_parked(&mut self, op: &Op, calm: bool) -> bool {
        let Op::Cancel { target } = *op else { return false };
        let Some(place) = self.parked.iter().position(|parked| parked.sqe.tag == target) else {
            return false;
        };
        self.parked.remove(place);
        self.answer(target, Err(Errno::CANCELED), calm);
        true
    }

    /// Hands released entries to the ring within.
    fn go_on_with_parked(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        let script = self.script.clone();
        let mut script = script.lock();
        let mut pushed = false;
        while let Some(place) = self.parked.iter().position(|one| one.since < script.releases()) {
            let sqe = self.parked[place].sqe;
            // SAFETY: the entry was accepted and not reaped, so the pusher's promise holds.
            if unsafe { self.inner.push(&sqe) }.is_err() {
                break;
            }
            self.parked.remove(place);
            pushed = true;
            // SAFETY: as above.
            let entry = unsafe { Entry::of(&sqe.op) };
            let way = Way::Forwarded;
            script.note(Event::Taken { tag: Some(sqe.tag), entry, way, bytes: entry.bytes });
        }
        drop(script);
        if pushed {
            // An engine that only reaps has nothing of its own to submit. What fails here with
            // EAGAIN stays pushed, is counted by `unsubmitted`, and a dead ring says so again.
            let _ = self.inner.submit();
        }
    }

    /// Takes all there is from the ring within.
    fn gather(&mut self, calm: bool) {
        while let Some(Cqe { tag, result }) = self.inner.reap() {
            let kept = self.kept.remove(&tag).unwrap_or_default();
            let result = kept.code.map_or(result, Err);
            let result = result.map(|n| kept.count_max.map_or(n, |max| n.min(max)));
            if kept.opens_direct
                && let Ok(handle) = result
            {
                // SAFETY: the handle is open until the engine, which does not know of it yet,
                // closes it.
                unsafe { learn(&self.script, &*self.inner.direct(), handle) };
            }
            if let Some(since) = kept.late {
                self.late.push(Late { cqe: Cqe { tag, result }, since });
            } else {
                let rounds = self.rounds(calm);
                self.held.push(Held { cqe: Cqe { tag, result }, rounds });
            }
        }
        if !self.late.is_empty() {
            let releases = self.script.lock().releases();
            for late in self.late.extract_if(.., |late| late.since < releases) {
                self.held.push(Held { cqe: late.cqe, rounds: 0 });
            }
        }
    }

    /// The next completion to give out; where all are held back, a round is over.
    fn take(&mut self, calm: bool) -> Option<Cqe> {
        if self.held.is_empty() {
            return None;
        }
        let due = |held: &Held| held.rounds == 0;
        let count = self.held.iter().filter(|held| due(held)).count();
        if count == 0 {
            if self.unhelpful < PATIENCE {
                self.unhelpful += 1;
                for held in &mut self.held {
                    held.rounds -= 1;
                }
                return None;
            }
            return Some(self.held.remove(0).cqe);
        }
        let reorder = !calm && self.liar.random.chance(self.faults.reorder);
        let nth = if reorder { self.liar.random.below(count) } else { 0 };
        let mut places = (0..self.held.len()).filter(|place| due(&self.held[*place]));
        let place = places.nth(nth).expect("it is one of the counted");
        Some(self.held.remove(place).cqe)
    }
}
