//! The plainest engine there is, for the tests of rings: push, submit, reap, and try again.

use core::ffi::CStr;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::Host;
use crate::{
    Cqe, Direct, Doorbell, Errno, Full, Handle, Name, Op, OpenFlags, Ring, Span, Sqe, Stat, Tag,
};

/// Rounds without a completion after which a ring counts as stuck.
const ROUNDS_MAX: u32 = 32;

pub(crate) struct Pump<R> {
    pub(crate) ring: R,
    pub(crate) bell: Arc<dyn Doorbell>,
    pub(crate) direct: Arc<dyn Direct>,
    /// Whether to wait between rounds, or to poll.
    pub(crate) waits: bool,
    /// Whose turn it is between rounds.
    pub(crate) host: Option<Host>,
    /// Completions in the order of reaping.
    pub(crate) trace: Vec<Cqe>,
    /// Rounds without a completion, altogether.
    pub(crate) vain: u32,
    tags: u64,
}

pub(crate) fn name(text: &CStr) -> Name {
    Name { ptr: text.as_ptr().cast(), len: text.count_bytes() }
}

pub(crate) fn span(bytes: &mut [u8]) -> Span {
    Span { ptr: bytes.as_mut_ptr(), len: bytes.len() }
}

/// To be written from only.
pub(crate) fn source(bytes: &[u8]) -> Span {
    Span { ptr: bytes.as_ptr().cast_mut(), len: bytes.len() }
}

pub(crate) fn create() -> OpenFlags {
    OpenFlags::WRITE | OpenFlags::CREATE
}

impl<R: Ring> Pump<R> {
    pub(crate) fn new(ring: R) -> Pump<R> {
        let (bell, direct) = (ring.doorbell(), ring.direct());
        Pump { ring, bell, direct, waits: true, host: None, trace: Vec::new(), vain: 0, tags: 0 }
    }

    /// Pushes one entry, once.
    pub(crate) fn push(&mut self, op: Op) -> Result<Tag, Full> {
        let tag = Tag(self.tags);
        // SAFETY: the tests keep what their entries point to until they have reaped them.
        unsafe { self.ring.push(&Sqe::new(tag, op))? };
        self.tags += 1;
        Ok(tag)
    }

    pub(crate) fn submit(&mut self) {
        match self.ring.submit() {
            Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::BUSY) => (),
            Err(code) => panic!("the ring is dead: {code}"),
        }
    }

    pub(crate) fn reap(&mut self) -> Option<Cqe> {
        let cqe = self.ring.reap()?;
        self.trace.push(cqe);
        Some(cqe)
    }

    fn wait(&self) {
        let started = Instant::now();
        let waited = self.bell.wait(self.ring.unsubmitted(), Some(Duration::from_secs(20)));
        assert!(started.elapsed() < Duration::from_secs(10), "slept through a completion");
        assert!(matches!(waited, Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::BUSY)));
    }

    /// Executes all of `ops` and answers their results, in the same order.
    pub(crate) fn run(&mut self, ops: &[Op]) -> Vec<Result<u64, Errno>> {
        let mut tags: HashMap<Tag, usize> = HashMap::new();
        let mut results = vec![None; ops.len()];
        let (mut pushed, mut ended, mut vain) = (0, 0, 0);
        while ended < ops.len() {
            while pushed < ops.len() {
                let Ok(tag) = self.push(ops[pushed]) else { break };
                tags.insert(tag, pushed);
                pushed += 1;
            }
            self.submit();
            let before = ended;
            while let Some(cqe) = self.reap() {
                let index = tags[&cqe.tag];
                let earlier = results[index].replace(cqe.result);
                assert_eq!(earlier, None, "{:?} was reaped twice", cqe.tag);
                ended += 1;
            }
            if ended > before {
                vain = 0;
                continue;
            }
            vain += 1;
            self.vain += 1;
            assert!(vain <= ROUNDS_MAX, "stuck with {ended} of {} ended", ops.len());
            if let Some(host) = &self.host {
                host.turn();
            } else if self.waits {
                self.wait();
            }
        }
        assert_eq!(self.ring.unsubmitted(), 0);
        results.into_iter().map(|result| result.expect("all ended")).collect()
    }

    pub(crate) fn one(&mut self, op: Op) -> Result<u64, Errno> {
        self.run(&[op])[0]
    }

    /// Tries again after an interruption.
    pub(crate) fn insist(&mut self, op: Op) -> Result<u64, Errno> {
        for _ in 0..ROUNDS_MAX {
            match self.one(op) {
                Err(Errno::INTR | Errno::AGAIN) => (),
                result => return result,
            }
        }
        panic!("interrupted for ever: {op:?}");
    }

    pub(crate) fn open(&mut self, text: &CStr, flags: OpenFlags) -> Result<Handle, Errno> {
        let number = self.one(Op::Open { name: name(text), flags, mode: 0o644 })?;
        Ok(Handle(number.try_into().expect("a handle's number")))
    }

    pub(crate) fn write(&mut self, file: Handle, at: u64, bytes: &[u8]) -> Result<u64, Errno> {
        self.one(Op::Write { file, at, span: source(bytes) })
    }

    pub(crate) fn read(&mut self, file: Handle, at: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0xee; len];
        let count = self.one(Op::Read { file, at, span: span(&mut bytes) })?;
        bytes.truncate(count.try_into().expect("no more than asked for"));
        Ok(bytes)
    }

    pub(crate) fn stat(&mut self, file: Handle) -> Result<Stat, Errno> {
        let mut stat = Stat::default();
        let size = self.one(Op::Stat { file, stat: &raw mut stat })?;
        assert_eq!(size, stat.size);
        Ok(stat)
    }
}
