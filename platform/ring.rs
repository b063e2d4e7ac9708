//! What a platform is: a ring of entries, a doorbell, and direct calls.
//!
//! An entry ([`Sqe`]) goes in by [`Ring::push`], becomes the platform's business with
//! [`Ring::submit`], and comes back exactly once as a completion ([`Cqe`]) from [`Ring::reap`].
//! Nothing here retries, resumes, reorders or splits for policy: a backend may answer any short
//! count, and what that means is decided once, above, for all of them.

use core::any::Any;
use std::sync::Arc;

use crate::clock::{Clock, System};
use crate::{
    Direct, Doorbell, Errno, Extent, Geometry, Handle, Listed, LockKind, Name, Region, RwFlags,
    Span, Stat, SyncKind, Tag,
};

bitflags::bitflags! {
    /// How to open a file. A file is always opened for reading.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u8 {
        /// Open for writing too.
        const WRITE = 1;
        /// Create the file if there is none; needs `WRITE`.
        const CREATE = 1 << 1;
        /// With `CREATE`: fail with `EEXIST` if there is one.
        const EXCLUSIVE = 1 << 2;
        /// Fail with `ELOOP` if the name is a symbolic link. Nothing where there are none.
        const NO_FOLLOW = 1 << 3;
        /// A directory, to be flushed and closed; `ENOTDIR` for anything else. Only where
        /// [`Limits::syncs_directories`].
        const DIRECTORY = 1 << 4;
        /// With `WRITE`: a file that no name leads to and that is gone with its handle. The name,
        /// which is directly below the root and begins with [`RESERVED`], is the platform's to use
        /// or not. `EOPNOTSUPP` if there is none without a name: with `CREATE` as well, the file
        /// is created under the name, and the name removed.
        const TEMPORARY = 1 << 5;
    }
}

/// One operation, as plain data.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Opens `name`; the result is a [`Handle`]'s number. Directories may be refused with `EISDIR`
    /// here or be found out by `Stat`.
    Open {
        /// Below the root.
        name: Name,
        /// How.
        flags: OpenFlags,
        /// The permissions of a file that is created, where files have such.
        mode: u32,
    },
    /// Opens the file of a handle once more, for direct I/O, and fills `geometry`; the result is
    /// the new [`Handle`]'s number. Its reads and writes are refused with `EINVAL` unless they are
    /// aligned as the geometry says; a count may be any, also there. `EINVAL` or `EOPNOTSUPP` for a
    /// file without direct I/O, and `EOPNOTSUPP` where the platform has none.
    OpenDirect {
        /// Of which file.
        file: Handle,
        /// For writing too.
        write: bool,
        /// Where to.
        geometry: *mut Geometry,
    },
    /// Fills `geometry` with what direct I/O would ask for; the codes are those of `OpenDirect`.
    Geometry {
        /// Of which file.
        file: Handle,
        /// Where to.
        geometry: *mut Geometry,
    },
    /// Closes a handle. It is gone afterwards whatever the result says.
    Close {
        /// Which.
        file: Handle,
    },
    /// Fills `stat`; the result is the size.
    Stat {
        /// Of which file.
        file: Handle,
        /// Where to.
        stat: *mut Stat,
    },
    /// The result is the size in bytes.
    Size {
        /// Of which file.
        file: Handle,
    },
    /// Reads into one span; the result is a count, 0 only at or past the end.
    Read {
        /// From which file.
        file: Handle,
        /// Byte offset in the file.
        at: u64,
        /// Where to.
        span: Span,
    },
    /// Reads into several spans in order.
    Readv {
        /// From which file.
        file: Handle,
        /// Byte offset in the file.
        at: u64,
        /// The first span.
        spans: *const Span,
        /// How many.
        count: u32,
    },
    /// Writes one span; the result is a count.
    Write {
        /// To which file.
        file: Handle,
        /// Byte offset in the file.
        at: u64,
        /// Where from.
        span: Span,
    },
    /// Writes several spans in order.
    Writev {
        /// To which file.
        file: Handle,
        /// Byte offset in the file.
        at: u64,
        /// The first span.
        spans: *const Span,
        /// How many.
        count: u32,
    },
    /// As `Readv`, with what is asked for beyond it. `EOPNOTSUPP`, and nothing was read, where the
    /// file's system has no such thing.
    ReadWith {
        /// From which file.
        file: Handle,
        /// Byte offset in the file.
        at: u64,
        /// The first span.
        spans: *const Span,
        /// How many.
        count: u32,
        /// Some of [`Limits::flags`].
        flags: RwFlags,
    },
    /// As `Writev`, with what is asked for beyond it. `EOPNOTSUPP`, and nothing was written, where
    /// the file's system has no such thing.
    WriteWith {
        /// To which file.
        file: Handle,
        /// Byte offset in the file.
        at: u64,
        /// The first span.
        spans: *const Span,
        /// How many.
        count: u32,
        /// Some of [`Limits::flags`].
        flags: RwFlags,
    },
    /// Flushes what earlier, finished writes left to be flushed.
    Sync {
        /// Of which file.
        file: Handle,
        /// How much of it.
        kind: SyncKind,
    },
    /// Cuts or grows the file to `len` bytes.
    Truncate {
        /// Which file.
        file: Handle,
        /// The new size.
        len: u64,
    },
    /// Reserves space for `len` bytes, which are not 0. No byte of the file changes; one that is
    /// shorter grows, with zeros. `EOPNOTSUPP` where there is no such thing.
    Allocate {
        /// Which file.
        file: Handle,
        /// From which byte offset on.
        at: u64,
        /// How many bytes.
        len: u64,
    },
    /// Makes `len` bytes at `at`, which are not 0, a hole: they read as zeros, and the space of
    /// blocks that lie wholly inside is given back. The size stays. `EOPNOTSUPP` where there is no
    /// such thing.
    Punch {
        /// Which file.
        file: Handle,
        /// From which byte offset on.
        at: u64,
        /// How many bytes.
        len: u64,
    },
    /// Makes `len` bytes at `at`, which are not 0, zeros, without writing them. A file that ends
    /// before grows. `EOPNOTSUPP` where there is no such thing.
    Zero {
        /// Which file.
        file: Handle,
        /// From which byte offset on.
        at: u64,
        /// How many bytes.
        len: u64,
    },
    /// The result is the first byte offset at or after `at` that is in data, or in a hole; the end
    /// of the file is one. `ENXIO` if there is none, and if `at` is at or past the end. Where holes
    /// are not known of, all is data.
    Seek {
        /// In which file.
        file: Handle,
        /// From which byte offset on.
        at: u64,
        /// What to look for.
        extent: Extent,
    },
    /// Takes the lock of the whole file for this handle, or converts the one it has; a try, which
    /// never waits. `EBUSY` where another handle's lock, of whomever, is in the way; then the
    /// handle keeps what it had. `EPERM` for an exclusive lock by a handle that may not write,
    /// `EOPNOTSUPP` for a lock that the platform does not have.
    Lock {
        /// Which.
        file: Handle,
        /// How.
        kind: LockKind,
    },
    /// Gives up the handle's lock, if it has one.
    Unlock {
        /// Of which file.
        file: Handle,
    },
    /// Removes a file's name; `EISDIR` for a directory.
    Remove {
        /// Below the root.
        name: Name,
    },
    /// Gives a file another name, in place of the file that has it. Where a file can be open once
    /// only, a directory (from or onto) is refused with `EISDIR` here; elsewhere it may not be.
    Rename {
        /// Below the root.
        from: Name,
        /// Below the root.
        to: Name,
    },
    /// Makes a directory in one that is there; `EEXIST` if the name is a file, and also, at the
    /// platform's choice, if it is a directory.
    MakeDirectory {
        /// Below the root.
        name: Name,
    },
    /// Removes an empty directory: `ENOTEMPTY`, or `ENOTDIR` for a file.
    RemoveDirectory {
        /// Below the root.
        name: Name,
    },
    /// Adds to `into` what is in a directory, in any order.
    List {
        /// Below the root.
        name: Name,
        /// Where to.
        into: *mut Vec<Listed>,
    },
    /// Fills `stat` with what is known of the file or directory that the name leads to; the result
    /// is the size.
    Look {
        /// Below the root.
        name: Name,
        /// Where to.
        stat: *mut Stat,
    },
    /// Tells the ring of memory: entries whose spans lie in it cost less from now on. The result is
    /// 0. `EOPNOTSUPP` where that would gain nothing; `ENOMEM` where the process may lock no more
    /// memory, which may be over soon if other memory was given up just before. A region is told
    /// of once at a time.
    Register {
        /// Its id: not [`Region::NONE`], and not that of another one which the ring knows.
        region: Region,
        /// All of it, [`Region::BYTES_MAX`] at most. It stays allocated until the ring has been
        /// told to forget it, or is gone.
        span: Span,
    },
    /// Has the ring forget a region. Entries that were pushed before are not touched by that, and
    /// those pushed later are told nothing by its id. An error says that the ring still knows it.
    Unregister {
        /// Its id.
        region: Region,
    },
    /// Asks for the end of another entry. The result is 0 if it was found and cancelled; the
    /// target's own completion says what happened to it.
    Cancel {
        /// The target.
        target: Tag,
    },
}

impl Op {
    /// Of what moves bytes: which file, from which offset on, and whether it writes.
    #[must_use]
    pub const fn place(&self) -> Option<(Handle, u64, bool)> {
        match *self {
            Op::Read { file, at, .. }
            | Op::Readv { file, at, .. }
            | Op::ReadWith { file, at, .. } => Some((file, at, false)),
            Op::Write { file, at, .. }
            | Op::Writev { file, at, .. }
            | Op::WriteWith { file, at, .. } => Some((file, at, true)),
            _ => None,
        }
    }

    /// The spans of what moves bytes; none of what does not.
    ///
    /// # Safety
    /// The span array must be alive.
    #[must_use]
    pub unsafe fn spans(&self) -> &[Span] {
        match self {
            Op::Read { span, .. } | Op::Write { span, .. } => core::slice::from_ref(span),
            Op::Readv { spans, count, .. }
            | Op::Writev { spans, count, .. }
            | Op::ReadWith { spans, count, .. }
            | Op::WriteWith { spans, count, .. } => {
                // SAFETY: the caller's promise.
                unsafe { core::slice::from_raw_parts(*spans, *count as usize) }
            }
            _ => &[],
        }
    }

    /// Whether it is about a name: what in a browser needs the host's turn.
    #[must_use]
    pub const fn is_on_name(&self) -> bool {
        matches!(
            self,
            Op::Open { .. }
                | Op::Remove { .. }
                | Op::Rename { .. }
                | Op::MakeDirectory { .. }
                | Op::RemoveDirectory { .. }
                | Op::List { .. }
                | Op::Look { .. }
        )
    }
}

// SAFETY: an `Op` is addresses and numbers; see `Span` and `Name`.
unsafe impl Send for Op {}
// SAFETY: as above.
unsafe impl Sync for Op {}

/// A submission entry.
#[derive(Clone, Copy, Debug)]
pub struct Sqe {
    /// Comes back with the completion.
    pub tag: Tag,
    /// What to do.
    pub op: Op,
    /// In which one region all spans of a read or write lie; [`Region::NONE`] if in none or in
    /// several. One that the ring was not told of is as good as none.
    pub region: Region,
}

impl Sqe {
    /// An entry that names no region.
    #[inline]
    #[must_use]
    pub const fn new(tag: Tag, op: Op) -> Sqe {
        Sqe { tag, op, region: Region::NONE }
    }
}

/// A completion entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cqe {
    /// That of the entry.
    pub tag: Tag,
    /// A count, a size, a handle's number or 0, by the operation; or why not.
    pub result: Result<u64, Errno>,
}

/// The ring has no room now. Submitting and reaping makes some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What the engine must know of a ring to use it well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Limits {
    /// Entries that may be in flight at once; the completion side can hold as many.
    pub in_flight: u32,
    /// Spans that one vectored call takes.
    pub spans_per_call: usize,
    /// Bytes that one call moves at most.
    pub bytes_per_call: usize,
    /// The largest offset + length a file can have.
    pub offset_max: u64,
    /// Whether a thread may wait for this ring. Where it may not, names need the host's turn.
    pub may_block: bool,
    /// Entries are done when `submit` returns, except those that need the host's turn.
    pub executes_at_submit: bool,
    /// A file can be open once only, and has one name: the engine shares the one handle.
    pub one_handle_per_file: bool,
    /// Directories can be flushed, so that created, removed and renamed names are durable. Where
    /// they cannot, when names become durable is the platform's business.
    pub syncs_directories: bool,
    /// What one write call costs, in bytes that could be written meanwhile. Queued adjacent writes
    /// are merged while their bytes stay below it; 0 where merging does not pay.
    pub write_call_cost: usize,
    /// The same for reads.
    pub read_call_cost: usize,
    /// A write or a flush that is alone is done at least as well by [`Direct::call`] on the thread
    /// that is about to wait for it. Only where a thread may wait.
    pub lone_calls: bool,
    /// What `ReadWith` and `WriteWith` may ask for. A file's system may still refuse it.
    pub flags: RwFlags,
}

/// What a driver asks of its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The folder below which all names live: a path natively, a folder below the origin's root in
    /// a browser. `None` is the current folder, and the origin's root.
    pub root: Option<String>,
    /// Entries that must be able to be in flight at once.
    pub in_flight: u32,
}

/// Why there is no ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// The step that failed, and what to do about it.
    pub what: String,
    /// The platform's code for it.
    pub code: Errno,
}

/// What a platform chose, and what it was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The mechanism: `uring`, `threads`, `opfs`, `simulated`.
    pub backend: &'static str,
    /// What is in use: flags, features, sizes.
    pub chosen: Vec<String>,
    /// What was asked for and refused, with the code.
    pub refused: Vec<(String, Errno)>,
}

/// A ring of entries: all that a platform is.
///
/// # Safety
/// The implementor promises:
/// - every tag that `push` accepted comes out of `reap` exactly once, as long as the ring lives and
///   is submitted and waited for;
/// - after that, and after a `push` that was refused, the memory which the entry pointed to (spans,
///   the array of spans, names, the stat, the list) is not touched any more;
/// - a count in a completion never exceeds the bytes of the entry.
pub unsafe trait Ring: Any + Send {
    /// What the engine must know. Constant over the ring's life.
    fn limits(&self) -> &Limits;

    /// Takes an entry. It may start at once or with the next `submit`.
    ///
    /// # Errors
    /// [`Full`] if there is no room before the next `submit` or `reap`; nothing was taken.
    ///
    /// # Safety
    /// All that the entry points to (spans with their memory, the span array, names, the stat, the
    /// list) stays alive, and unaliased by writers or, where the entry writes to it, by anyone,
    /// until the tag was reaped. The handle is open until then.
    unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full>;

    /// Hands every pushed entry to the platform, without waiting.
    ///
    /// # Errors
    /// The platform takes no entries now (`EAGAIN`, `EBUSY`, `EINTR`: reap and try again) or is
    /// dead (any other). What was pushed stays pushed.
    fn submit(&mut self) -> Result<(), Errno>;

    /// How many entries were pushed and not submitted: what [`Doorbell::wait`] may submit.
    fn unsubmitted(&self) -> u32;

    /// The next completion, `None` when there is none now.
    fn reap(&mut self) -> Option<Cqe>;

    /// Whether `reap` would give something now, as far as can be told without asking the platform.
    /// Only a ring whose doorbell gives descriptors to poll is asked, after a step: what is left is
    /// raised once more.
    fn has_completions(&self) -> bool {
        false
    }

    /// What to wait on, and to wake a waiter with.
    fn doorbell(&self) -> Arc<dyn Doorbell>;

    /// What a thread may do by itself, at once.
    fn direct(&self) -> Arc<dyn Direct>;

    /// What time it is. Constant over the ring's life, and usable after it.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(System)
    }

    /// `turn` is to be called on the host's next turn after a [`Doorbell::ring`] or after a
    /// completion that came from outside `submit`. Only rings that may not block heed it.
    fn on_turn(&mut self, turn: Box<dyn Fn() + Send>) {
        drop(turn);
    }

    /// The process was forked, and this is the child: the ring, its entries and whatever it shares
    /// with other threads are the parent's, who goes on with them. Closes this process's copies of
    /// `files`, and of what else is its own, without taking a lock, waiting, or touching what the
    /// parent sees. Nothing else may be done with a ring in a child, not even its drop.
    fn forked(self: Box<Self>, files: &[Handle]) {
        let _ = files;
        core::mem::forget(self);
    }

    /// Has the platform know up to that many open files ahead, so that entries on them cost less.
    /// How many it will.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where there is no such thing, or why there is none now.
    fn keep_files(&mut self, files: u32) -> Result<u32, Errno> {
        let _ = files;
        Err(Errno::OPNOTSUPP)
    }

    /// Entries so far whose memory lay in a region that the ring was told of.
    fn fixed(&self) -> u64 {
        0
    }

    /// What was chosen and refused.
    fn report(&self) -> Report;
}
