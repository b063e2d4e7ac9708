//! Operations under way, of whatever type.

use std::sync::Arc;

use littoral::{Buffer, Completion, Error, File, Result};

use crate::history::Moment;

/// An operation under way.
pub(crate) struct Flight {
    /// Counts what the script started.
    pub(crate) number: u64,
    /// On which file.
    pub(crate) file: usize,
    pub(crate) submitted: Moment,
    /// A cancel was asked.
    pub(crate) cancelled: bool,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    /// A write or truncate, with its event.
    Change(Completion<()>, usize),
    /// A write that is to be durable when it ends.
    Durable(Completion<()>, usize),
    /// A sync, with its number.
    Sync(Completion<()>, usize),
    /// Of one handle of several: it waits for nothing, and tells nothing.
    Close(Completion<()>),
    Read(Completion<Buffer>, u64, usize),
    Readv(Completion<Vec<Buffer>>, u64, usize),
    Size(Completion<u64>),
    Open(Completion<Arc<dyn File>>),
    Room(Completion<()>),
}

/// What came of it.
pub(crate) enum Outcome {
    Done,
    Bytes(Vec<u8>),
    Size(u64),
    File(Arc<dyn File>),
}

impl Work {
    /// Its result, once it is there.
    pub(crate) fn take(&mut self) -> Option<core::result::Result<Outcome, Error>> {
        fn of<T>(result: Option<Result<T>>, into: fn(T) -> Outcome) -> Option<Result<Outcome>> {
            result.map(|result| result.map(into))
        }
        match self {
            Work::Change(unit, _)
            | Work::Durable(unit, _)
            | Work::Sync(unit, _)
            | Work::Close(unit)
            | Work::Room(unit) => of(unit.try_take(), |()| Outcome::Done),
            Work::Read(read, ..) => of(read.try_take(), |into| Outcome::Bytes(into.to_vec())),
            Work::Readv(read, ..) => of(read.try_take(), |into| {
                Outcome::Bytes(into.iter().flat_map(|part| part.to_vec()).collect())
            }),
            Work::Size(size) => of(size.try_take(), Outcome::Size),
            Work::Open(open) => of(open.try_take(), Outcome::File),
        }
    }

    pub(crate) fn cancel(&self) {
        match self {
            Work::Change(unit, _)
            | Work::Durable(unit, _)
            | Work::Sync(unit, _)
            | Work::Close(unit)
            | Work::Room(unit) => {
                unit.cancel();
            }
            Work::Read(read, ..) => read.cancel(),
            Work::Readv(read, ..) => read.cancel(),
            Work::Size(size) => size.cancel(),
            Work::Open(open) => open.cancel(),
        }
    }

    /// What it is, as a number for the digest.
    pub(crate) fn kind(&self) -> u64 {
        match self {
            Work::Change(..) => 1,
            Work::Sync(..) => 2,
            Work::Close(_) => 3,
            Work::Read(..) => 4,
            Work::Readv(..) => 5,
            Work::Size(_) => 6,
            Work::Open(_) => 7,
            Work::Room(_) => 8,
            Work::Durable(..) => 9,
        }
    }

    /// Changes first: what a read may see is judged by how they ended.
    pub(crate) fn is_judged(&self) -> bool {
        matches!(self, Work::Read(..) | Work::Readv(..) | Work::Size(_))
    }
}
