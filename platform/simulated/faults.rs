//! What a simulated ring does to entries besides executing them.
//!
//! Cut and interrupted entries are the same as those of [`Faulty`](crate::Faulty), and decided by
//! the same code. What only a device can do is here: errors that leave something done, flushes that
//! fail, completions that come late or that nobody has waited for.

use core::time::Duration;

use super::execute::Files;
use super::{Permille, Random};
use crate::faulty::{self, Entry, Liar, OpKind, Verdict, cut};
use crate::{Cqe, Errno, Op, RwFlags, Tag};

/// Makes the seed's choices of faults others than those of order.
const STREAM: u64 = 0xfa_0175;

/// Tags remembered, to come once more.
const REMEMBERED: usize = 64;

/// How often a [`Simulated`](super::Simulated) ring misbehaves, and in what. The default does not.
///
/// An engine that submits, reaps and retries always gets on: of interruptions at most three follow
/// each other at one place, of refusals at most [`PATIENCE`](faulty::PATIENCE) between two
/// completions, and what is late comes in its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Reads and writes that are cut to a length from 1 to all of their bytes.
    pub short: Permille,
    /// Reads, writes and syncs that end with `EINTR` or `EAGAIN` without having begun; submits and
    /// waits that are interrupted (`EINTR`).
    pub interrupt: Permille,
    /// Pushes that are refused though there is room ([`Full`](crate::Full)), and submits that are
    /// (`EAGAIN`, `EBUSY`).
    pub refuse: Permille,
    /// Completions that come late, by up to [`late_max`](Faults::late_max) of the disk's clock.
    pub late: Permille,
    /// See [`late`](Faults::late).
    pub late_max: Duration,
    /// Completions before which one comes that belongs to nothing in flight: of an entry that was
    /// reaped before, or with a tag that was never given. A ring must not do that, and an engine
    /// must not be harmed by it. ([`Faulty`](crate::Faulty) around such a ring panics.)
    pub stale: Permille,
    /// Reads and writes that are not to wait, and would have to: `EAGAIN`.
    pub waits: Permille,
    /// What fails, and how; of several that fit an entry each has its chance, in this order.
    pub failing: Vec<Failing>,
}

/// Operations of a kind that fail.
///
/// A write that fails with anything but `ENOSPC`, `EDQUOT`, `EINTR` or `EAGAIN` may have changed
/// some of its bytes, as on a real device. A sync that fails makes some of what it was to cover
/// durable, and the rest never will be. Everything else does nothing when it fails; a close is done
/// all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// What.
    pub op: OpKind,
    /// With which code.
    pub code: Errno,
    /// How often.
    pub rate: Permille,
}

impl Faults {
    /// A rough ride that does no harm: everything now and then that an engine makes up for.
    #[must_use]
    pub fn rough() -> Faults {
        Faults {
            short: Permille(300),
            interrupt: Permille(100),
            refuse: Permille(200),
            late: Permille(100),
            late_max: Duration::from_millis(1),
            stale: Permille(50),
            waits: Permille(300),
            failing: Vec::new(),
        }
    }
}

/// The seed's voice in what goes wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) faults: Faults,
    liar: Liar,
    seed: u64,
    /// Refusals and interruptions since the last completion.
    unhelpful: u32,
    reaped: Vec<Tag>,
    /// The last completion was one of nothing.
    was_stale: bool,
}

impl Trouble {
    pub(super) fn new(seed: u64, faults: Faults) -> Trouble {
        Trouble {
            liar: liar(seed, &faults),
            faults,
            seed,
            unhelpful: 0,
            reaped: Vec::new(),
            was_stale: false,
        }
    }

    pub(super) fn set(&mut self, faults: Faults) {
        // Goes on where it was: who sets the same faults again changes nothing.
        let mut liar = liar(self.seed, &faults);
        core::mem::swap(&mut liar.random, &mut self.liar.random);
        (self.liar, self.faults) = (liar, faults);
    }

    fn random(&mut self) -> &mut Random {
        &mut self.liar.random
    }

    /// Whether to be unhelpful now, within the bound.
    pub(super) fn is_unhelpful(&mut self, rate: Permille) -> bool {
        let unhelpful = self.unhelpful < faulty::PATIENCE && self.liar.random.chance(rate);
        self.unhelpful += u32::from(unhelpful);
        unhelpful
    }

    /// Why a submit is not taken now.
    pub(super) fn refusal(&mut self) -> Option<Errno> {
        self.interruption().or_else(|| {
            let busy = self.is_unhelpful(self.faults.refuse);
            busy.then(|| [Errno::AGAIN, Errno::BUSY][self.random().below(2)])
        })
    }

    /// Why a wait ends before it has begun.
    pub(super) fn interruption(&mut self) -> Option<Errno> {
        self.is_unhelpful(self.faults.interrupt).then_some(Errno::INTR)
    }

    /// Executes one operation, or what is left of it.
    ///
    /// # Safety
    /// As [`crate::Direct::call`].
    pub(super) unsafe fn execute(
        &mut self,
        files: &mut Files,
        op: &Op,
        direct: bool,
    ) -> Result<u64, Errno> {
        // SAFETY: the caller's promise.
        let entry = unsafe { Entry::of(op) };
        // What is cut below was whole to whoever pushed it.
        // SAFETY: as above.
        unsafe { files.check_alignment(op)? };
        if let Some(code) = self.failure(&entry) {
            // SAFETY: as above.
            return Err(unsafe { self.fail(files, op, &entry, code) });
        }
        let waits = self.faults.waits;
        if entry.flags.contains(RwFlags::NO_WAIT) && self.random().chance(waits) {
            return Err(Errno::AGAIN);
        }
        match self.liar.verdict(None, &entry, false, direct) {
            // SAFETY: as above.
            Verdict::Forward => unsafe { files.execute(op) },
            Verdict::Answer(result) => result,
            Verdict::Shorten(bytes) => {
                // SAFETY: as above; it is less of the same, and the spans live until after it.
                let (op, _spans) = unsafe { cut(op, bytes) };
                // SAFETY: as above.
                unsafe { files.execute(&op) }
            }
        }
    }

    fn failure(&mut self, entry: &Entry) -> Option<Errno> {
        let random = &mut self.liar.random;
        let fits = |one: &&Failing| one.op == entry.op && random.chance(one.rate);
        self.faults.failing.iter().find(fits).map(|failing| failing.code)
    }

    /// # Safety
    /// As [`crate::Direct::call`].
    unsafe fn fail(&mut self, files: &mut Files, op: &Op, entry: &Entry, code: Errno) -> Errno {
        let nothing_done = matches!(code, Errno::NOSPC | Errno::DQUOT | Errno::INTR | Errno::AGAIN);
        let done = match op {
            Op::Sync { file, .. } if !nothing_done => files.fail_to_sync(*file, self.random()),
            Op::Write { .. } | Op::Writev { .. } | Op::WriteWith { .. } if !nothing_done => {
                let bytes = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
                let bytes = self.random().below(bytes.saturating_add(1));
                // SAFETY: the caller's promise; the spans live until after the execution.
                let (op, _spans) = unsafe { cut(op, bytes) };
                // SAFETY: it is less of the same.
                unsafe { files.execute(&op) }.map(drop)
            }
            // SAFETY: the caller's promise.
            Op::Close { .. } => unsafe { files.execute(op) }.map(drop),
            _ => Ok(()),
        };
        // What it would have been refused for anyhow comes first.
        done.err().unwrap_or(code)
    }

    /// How late a completion is to come, in nanoseconds.
    pub(super) fn lateness(&mut self) -> Option<u64> {
        let max = usize::try_from(self.faults.late_max.as_nanos()).unwrap_or(usize::MAX);
        let late = max > 0 && self.liar.random.chance(self.faults.late);
        late.then(|| 1 + self.random().below(max) as u64)
    }

    /// A completion to come before the next real one, with a tag that may be in flight again.
    pub(super) fn stale(&mut self) -> Option<Cqe> {
        self.was_stale = !self.was_stale && self.liar.random.chance(self.faults.stale);
        if !self.was_stale {
            return None;
        }
        let random = &mut self.liar.random;
        let tag = if self.reaped.is_empty() || random.below(4) == 0 {
            // Any but the two that are rings' own.
            Tag(random.next().min(u64::MAX - 2))
        } else {
            self.reaped[random.below(self.reaped.len())]
        };
        let results = [Ok(0), Ok(1), Ok(4096), Err(Errno::IO), Err(Errno::CANCELED)];
        let result = results[random.below(results.len())];
        Some(Cqe { tag, result })
    }

    pub(super) fn reaped(&mut self, tag: Tag) {
        self.unhelpful = 0;
        if self.faults.stale == Permille::NEVER {
            return;
        }
        if self.reaped.len() < REMEMBERED {
            self.reaped.push(tag);
        } else {
            let place = self.random().below(REMEMBERED);
            self.reaped[place] = tag;
        }
    }
}

fn liar(seed: u64, faults: &Faults) -> Liar {
    let Faults { short, interrupt, .. } = *faults;
    let faults = faulty::Faults { seed, short, interrupt, ..faulty::Faults::default() };
    Liar::new(&faults, STREAM)
}
