//! What a test says to a [`Faulty`](super::Faulty) ring while an engine owns it, and what it hears.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Cqe, Doorbell, Errno, Handle, Op, RwFlags, Span, SyncKind, Tag};

/// Events kept: enough for a check, small enough for a soak of days.
const LOG_MAX: usize = 16 * 1024;

/// An operation without its particulars. One span or several makes no difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the names of `Op`")]
pub enum OpKind {
    Open,
    OpenDirect,
    Geometry,
    Close,
    Stat,
    Size,
    Read,
    Write,
    Sync,
    Truncate,
    Allocate,
    Punch,
    Zero,
    Seek,
    Lock,
    Unlock,
    Remove,
    Rename,
    MakeDirectory,
    RemoveDirectory,
    List,
    Look,
    Register,
    Unregister,
    Cancel,
}

/// What is to happen to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it goes to the real ring as it is, whatever the seed says.
    Honest,
    /// A read or write moves this many bytes at most; not a byte for 0.
    Short(usize),
    /// It fails, without having done anything. (A close is done all the same, as everywhere.)
    Fail(Errno),
    /// Its push is refused.
    Refuse,
    /// It is accepted, and begins only after [`Script::release`]. Until then a cancel ends it with
    /// `ECANCELED`.
    Park,
    /// It is executed, and its completion comes only after [`Script::release`].
    Late,
}

/// One order of a [`Script`]: which entries, and what is to happen to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    op: OpKind,
    file: Option<Handle>,
    at: Option<u64>,
    skip: u32,
    times: u32,
    outcome: Outcome,
}

impl Rule {
    /// The next `op` on any file ends like this.
    #[must_use]
    pub fn next(op: OpKind, outcome: Outcome) -> Rule {
        Rule { op, file: None, at: None, skip: 0, times: 1, outcome }
    }

    /// Only entries on this handle.
    #[must_use]
    pub fn on(self, file: Handle) -> Rule {
        Rule { file: Some(file), ..self }
    }

    /// Only reads and writes at this offset, or truncates to this length.
    #[must_use]
    pub fn at(self, at: u64) -> Rule {
        Rule { at: Some(at), ..self }
    }

    /// Lets that many matching entries go unharmed before.
    #[must_use]
    pub fn skip(self, skip: u32) -> Rule {
        Rule { skip, ..self }
    }

    /// Holds for that many matching entries, not for one.
    #[must_use]
    pub fn times(self, times: u32) -> Rule {
        Rule { times, ..self }
    }

    fn matches(&self, entry: &Entry) -> bool {
        self.op == entry.op
            && self.file.is_none_or(|file| entry.file == Some(file))
            && self.at.is_none_or(|at| entry.at == at)
    }
}

/// Where an entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the ring within.
    Forwarded,
    /// Nowhere: it was answered here.
    Answered,
    /// Nowhere yet: [`Outcome::Park`].
    Parked,
    /// To the direct calls within, at once.
    Direct,
}

/// An entry as it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it does.
    pub op: OpKind,
    /// To which open file; what is about a name has none.
    pub file: Option<Handle>,
    /// Offset, or the length to truncate to; 0 for the others.
    pub at: u64,
    /// Bytes it asked to move.
    pub bytes: u64,
    /// Spans it asked to move, empty ones included.
    pub spans: usize,
    /// What a sync is to flush.
    pub sync: Option<SyncKind>,
    /// What it asked for beyond moving bytes.
    pub flags: RwFlags,
}

impl Entry {
    /// # Safety
    /// The span array must be alive.
    pub(crate) unsafe fn of(op: &Op) -> Entry {
        let flags = RwFlags::empty();
        let plain = |op, file, at| Entry { op, file, at, bytes: 0, spans: 0, sync: None, flags };
        let moving = |op, file, at, spans: &[Span]| {
            let bytes = spans.iter().map(|span| span.len as u64).sum();
            Entry { op, file: Some(file), at, bytes, spans: spans.len(), sync: None, flags }
        };
        match *op {
            Op::Open { .. } => plain(OpKind::Open, None, 0),
            Op::OpenDirect { file, .. } => plain(OpKind::OpenDirect, Some(file), 0),
            Op::Geometry { file, .. } => plain(OpKind::Geometry, Some(file), 0),
            Op::Close { file } => plain(OpKind::Close, Some(file), 0),
            Op::Stat { file, .. } => plain(OpKind::Stat, Some(file), 0),
            Op::Size { file } => plain(OpKind::Size, Some(file), 0),
            Op::Read { file, at, span } => moving(OpKind::Read, file, at, &[span]),
            Op::Write { file, at, span } => moving(OpKind::Write, file, at, &[span]),
            Op::Readv { file, at, spans, count } => {
                // SAFETY: the caller's promise.
                let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
                moving(OpKind::Read, file, at, spans)
            }
            Op::Writev { file, at, spans, count } => {
                // SAFETY: the caller's promise.
                let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
                moving(OpKind::Write, file, at, spans)
            }
            Op::ReadWith { file, at, spans, count, flags } => {
                // SAFETY: the caller's promise.
                let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
                Entry { flags, ..moving(OpKind::Read, file, at, spans) }
            }
            Op::WriteWith { file, at, spans, count, flags } => {
                // SAFETY: the caller's promise.
                let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
                Entry { flags, ..moving(OpKind::Write, file, at, spans) }
            }
            Op::Sync { file, kind } => {
                Entry { sync: Some(kind), ..plain(OpKind::Sync, Some(file), 0) }
            }
            Op::Truncate { file, len } => plain(OpKind::Truncate, Some(file), len),
            Op::Allocate { file, at, .. } => plain(OpKind::Allocate, Some(file), at),
            Op::Punch { file, at, .. } => plain(OpKind::Punch, Some(file), at),
            Op::Zero { file, at, .. } => plain(OpKind::Zero, Some(file), at),
            Op::Seek { file, at, .. } => plain(OpKind::Seek, Some(file), at),
            Op::Lock { file, .. } => plain(OpKind::Lock, Some(file), 0),
            Op::Unlock { file } => plain(OpKind::Unlock, Some(file), 0),
            Op::Remove { .. } => plain(OpKind::Remove, None, 0),
            Op::Rename { .. } => plain(OpKind::Rename, None, 0),
            Op::MakeDirectory { .. } => plain(OpKind::MakeDirectory, None, 0),
            Op::RemoveDirectory { .. } => plain(OpKind::RemoveDirectory, None, 0),
            Op::List { .. } => plain(OpKind::List, None, 0),
            Op::Look { .. } => plain(OpKind::Look, None, 0),
            Op::Register { .. } => plain(OpKind::Register, None, 0),
            Op::Unregister { .. } => plain(OpKind::Unregister, None, 0),
            Op::Cancel { .. } => plain(OpKind::Cancel, None, 0),
        }
    }

    /// Whether it moves bytes, so that its count can be short.
    pub(super) fn moves(&self) -> bool {
        self.bytes > 0
    }
}

/// What happened at a [`Faulty`](super::Faulty) ring, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An entry was taken. One that was parked is taken twice.
    Taken {
        /// Its tag, `None` for a direct call.
        tag: Option<Tag>,
        /// The entry as it was given.
        entry: Entry,
        /// Where it went.
        way: Way,
        /// The bytes it was cut to, before it went there.
        bytes: u64,
    },
    /// A push was refused.
    Refused(Entry),
    /// A completion was reaped, or a direct call ended.
    Ended {
        /// Its tag, `None` for a direct call.
        tag: Option<Tag>,
        /// What it said.
        result: Result<u64, Errno>,
    },
}

/// Orders to a ring, and its log. Clones are handles to one script, and may be used from any thread
/// while an engine owns the ring.
///
/// An entry is judged by the first rule that matches it, and by the seed only if none does.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    rules: VecDeque<Rule>,
    log: VecDeque<Event>,
    forgotten: u64,
    calm: bool,
    /// The ring is dead, with this code.
    dead: Option<Errno>,
    /// Calls of `release`: what was kept back before the last one is free.
    releases: u64,
    /// Direct handles, and what they want lengths to be multiples of.
    direct: HashMap<Handle, u32>,
    bells: Vec<Weak<dyn Doorbell>>,
}

impl Script {
    /// A script without rules.
    #[must_use]
    pub fn new() -> Script {
        Script::default()
    }

    /// Adds a rule behind those not used up.
    pub fn push(&self, rule: Rule) {
        self.lock().rules.push_back(rule);
    }

    /// Drops the rules not used up.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How many rules are not used up.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().rules.len()
    }

    /// Suspends what the seed would do, or lets it go on. Rules hold in either case.
    pub fn calm(&self, calm: bool) {
        self.lock().calm = calm;
    }

    /// Frees all that is parked or late now.
    pub fn release(&self) {
        let mut state = self.lock();
        state.releases += 1;
        Script::ring(state);
    }

    /// The end of the ring, as of a worker that is gone: from now on it starts and answers nothing,
    /// and says `code` to whoever submits or waits.
    pub fn kill(&self, code: Errno) {
        let mut state = self.lock();
        state.dead = Some(code);
        Script::ring(state);
    }

    fn ring(mut state: MutexGuard<'_, State>) {
        state.bells.retain(|bell| bell.strong_count() > 0);
        let bells: Vec<_> = state.bells.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        // Whoever waits, waits for the ring within, which knows nothing of this.
        for bell in bells {
            bell.ring();
        }
    }

    /// Takes the log since the last call: everything, or the newest [`Script::log_max`] events.
    #[must_use]
    pub fn take_log(&self) -> Vec<Event> {
        let mut state = self.lock();
        state.forgotten = 0;
        core::mem::take(&mut state.log).into()
    }

    /// Events lost from the front of the log since [`Script::take_log`], because it was full.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// How many events the log holds.
    #[must_use]
    pub fn log_max() -> usize {
        LOG_MAX
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn attach(&mut self, bell: Weak<dyn Doorbell>) {
        self.bells.push(bell);
    }

    /// A handle is for direct I/O, or, without a unit, is closed.
    pub(super) fn set_direct(&mut self, file: Handle, unit: Option<u32>) {
        match unit {
            Some(unit) => self.direct.insert(file, unit),
            None => self.direct.remove(&file),
        };
    }

    /// The unit that a direct handle wants kept, also where its entry is cut.
    pub(super) fn unit_of(&self, file: Option<Handle>) -> Option<u32> {
        self.direct.get(&file?).copied()
    }

    pub(super) fn dead(&self) -> Option<Errno> {
        self.dead
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm
    }

    pub(super) fn releases(&self) -> u64 {
        self.releases
    }

    /// What the first matching rule says, with its place for [`State::used`]. `direct` are calls,
    /// which can be neither refused nor kept back: rules of that kind wait for an entry.
    pub(super) fn judge(&self, entry: &Entry, direct: bool) -> Option<(usize, Outcome)> {
        let fits = |rule: &Rule| {
            let kept = matches!(rule.outcome, Outcome::Refuse | Outcome::Park | Outcome::Late);
            rule.matches(entry) && !(direct && kept)
        };
        let place = self.rules.iter().position(fits)?;
        let rule = self.rules[place];
        Some((place, if rule.skip > 0 { Outcome::Honest } else { rule.outcome }))
    }

    /// Counts the rule that [`State::judge`] found as applied.
    pub(super) fn used(&mut self, rule: Option<(usize, Outcome)>) {
        let Some((place, _)) = rule else { return };
        let rule = &mut self.rules[place];
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if rule.times > 1 {
            rule.times -= 1;
        } else {
            self.rules.remove(place);
        }
    }

    pub(super) fn note(&mut self, event: Event) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
            self.forgotten += 1;
        }
        self.log.push_back(event);
    }

    pub(super) fn note_end(&mut self, cqe: Cqe) {
        self.note(Event::Ended { tag: Some(cqe.tag), result: cqe.result });
    }
}
