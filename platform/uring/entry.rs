//! From an [`Op`] to the kernel's entry.

use std::os::fd::RawFd;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{Probe, opcode, squeue};

use crate::unix::{BYTES_PER_CALL, DIRECTORY_MODE, UNNAMED, mode, open_flags, raw, rw_flags};
use crate::{Handle, Op, OpenFlags, Read, Region, Span, SyncKind, Tag};

bitflags::bitflags! {
    /// The operations that this kernel's ring executes; the others are direct calls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Ops: u32 {
        const READV = 1;
        const WRITEV = 1 << 1;
        const FSYNC = 1 << 2;
        const POLL_ADD = 1 << 3;
        const READ = 1 << 4;
        const WRITE = 1 << 5;
        const OPENAT = 1 << 6;
        const ASYNC_CANCEL = 1 << 7;
        const UNLINKAT = 1 << 8;
        const FTRUNCATE = 1 << 9;
        const RENAMEAT = 1 << 10;
        const MKDIRAT = 1 << 11;
        const FALLOCATE = 1 << 12;
        const READV_FIXED = 1 << 13;
        const WRITEV_FIXED = 1 << 14;
        /// What every ring has had since Linux 5.1, before rings could be asked.
        const FIRST = Self::READV.bits() | Self::WRITEV.bits() | Self::FSYNC.bits()
            | Self::POLL_ADD.bits();
    }
}

/// fallocate(2): a hole is punched with the size kept, always.
const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;

/// Each operation with its code and the kernel that brought it.
pub(super) const CODES: [(Ops, u8, &str); 15] = [
    (Ops::READV, opcode::Readv::CODE, "5.1"),
    (Ops::WRITEV, opcode::Writev::CODE, "5.1"),
    (Ops::FSYNC, opcode::Fsync::CODE, "5.1"),
    (Ops::POLL_ADD, opcode::PollAdd::CODE, "5.1"),
    (Ops::ASYNC_CANCEL, opcode::AsyncCancel::CODE, "5.5"),
    (Ops::READ, opcode::Read::CODE, "5.6"),
    (Ops::WRITE, opcode::Write::CODE, "5.6"),
    (Ops::OPENAT, opcode::OpenAt::CODE, "5.6"),
    (Ops::FALLOCATE, opcode::Fallocate::CODE, "5.6"),
    (Ops::UNLINKAT, opcode::UnlinkAt::CODE, "5.11"),
    (Ops::RENAMEAT, opcode::RenameAt::CODE, "5.11"),
    (Ops::MKDIRAT, opcode::MkDirAt::CODE, "5.15"),
    (Ops::FTRUNCATE, opcode::Ftruncate::CODE, "6.9"),
    (Ops::READV_FIXED, opcode::ReadvFixed::CODE, "6.15"),
    (Ops::WRITEV_FIXED, opcode::WritevFixed::CODE, "6.15"),
];

impl Ops {
    /// What a kernel's answer to the probe says.
    pub(super) fn of(probe: &Probe) -> Ops {
        CODES.iter().filter(|(_, code, _)| probe.is_supported(*code)).map(|(op, ..)| *op).collect()
    }
}

/// A submission entry as `io_uring.h` lays it out, for what a read or write says in it.
#[repr(C)]
struct Plain {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: RawFd,
    off: u64,
    addr: u64,
    len: u32,
    rw_flags: u32,
    user_data: u64,
    buf_index: u16,
    personality: u16,
    splice_fd_in: i32,
    rest: [u64; 2],
}

/// The entry of a read; with a place the span lies in what is registered there. The crate's builder
/// makes the same one in twice as many instructions, since it moves all of it a few times; the test
/// below compares the two.
#[inline]
pub(super) fn read(read: &Read, place: Option<u16>) -> squeue::Entry {
    let Read { tag, file, at, span, .. } = *read;
    let plain = Plain {
        opcode: if place.is_none() { opcode::Read::CODE } else { opcode::ReadFixed::CODE },
        flags: 0,
        ioprio: 0,
        fd: raw(file),
        off: at,
        addr: span.ptr.expose_provenance() as u64,
        len: len(span),
        rw_flags: 0,
        user_data: tag.0,
        buf_index: place.unwrap_or(0),
        personality: 0,
        splice_fd_in: 0,
        rest: [0; 2],
    };
    // SAFETY: the crate's entry is the kernel's 64 bytes, in which every value is a valid one.
    unsafe { core::mem::transmute::<Plain, squeue::Entry>(plain) }
}

#[inline]
fn write(file: Handle, at: u64, span: Span, place: Option<u16>) -> squeue::Entry {
    let (file, bytes) = (Fd(raw(file)), len(span));
    match place {
        None => opcode::Write::new(file, span.ptr, bytes).offset(at).build(),
        Some(place) => opcode::WriteFixed::new(file, span.ptr, bytes, place).offset(at).build(),
    }
}

/// The entry of a vector, and what it needs. Without the fixed form it is a plain one.
fn readv(
    file: Handle,
    at: u64,
    (spans, count): (*const Span, u32),
    flags: i32,
    ops: Ops,
    place: Option<u16>,
) -> (Ops, squeue::Entry) {
    let (file, spans) = (Fd(raw(file)), spans.cast());
    if let Some(place) = place.filter(|_| ops.contains(Ops::READV_FIXED)) {
        let entry = opcode::ReadvFixed::new(file, spans, count, place).offset(at);
        (Ops::READV_FIXED, entry.rw_flags(flags).build())
    } else {
        let entry = opcode::Readv::new(file, spans, count).offset(at);
        (Ops::READV, entry.rw_flags(flags).build())
    }
}

/// As `readv`.
fn writev(
    file: Handle,
    at: u64,
    (spans, count): (*const Span, u32),
    flags: i32,
    ops: Ops,
    place: Option<u16>,
) -> (Ops, squeue::Entry) {
    let (file, spans) = (Fd(raw(file)), spans.cast());
    if let Some(place) = place.filter(|_| ops.contains(Ops::WRITEV_FIXED)) {
        let entry = opcode::WritevFixed::new(file, spans, count, place).offset(at);
        (Ops::WRITEV_FIXED, entry.rw_flags(flags).build())
    } else {
        let entry = opcode::Writev::new(file, spans, count).offset(at);
        (Ops::WRITEV, entry.rw_flags(flags).build())
    }
}

/// The entry for `op`, without its tag; `None` if a direct call executes it. With a place all its
/// spans lie in what is registered there.
#[inline]
pub(super) fn encode(op: &Op, ops: Ops, root: RawFd, place: Option<u16>) -> Option<squeue::Entry> {
    let (needs, entry) = match *op {
        Op::Read { file, at, span } => {
            let plain = Read { tag: Tag(0), file, at, span, region: Region::NONE };
            (Ops::READ, read(&plain, place))
        }
        Op::Write { file, at, span } => (Ops::WRITE, write(file, at, span, place)),
        Op::Readv { file, at, spans, count } => readv(file, at, (spans, count), 0, ops, place),
        Op::Writev { file, at, spans, count } => writev(file, at, (spans, count), 0, ops, place),
        Op::ReadWith { file, at, spans, count, flags } => {
            let flags = rw_flags(flags).bits().cast_signed();
            readv(file, at, (spans, count), flags, ops, place)
        }
        Op::WriteWith { file, at, spans, count, flags } => {
            let flags = rw_flags(flags).bits().cast_signed();
            writev(file, at, (spans, count), flags, ops, place)
        }
        Op::Sync { file, kind } => {
            let flags = match kind {
                SyncKind::Data => FsyncFlags::DATASYNC,
                SyncKind::Full => FsyncFlags::empty(),
            };
            (Ops::FSYNC, opcode::Fsync::new(Fd(raw(file))).flags(flags).build())
        }
        Op::Open { name, flags, mode: bits } => {
            let (name, flags) = if flags.contains(OpenFlags::TEMPORARY) {
                // Under a name it takes two calls.
                (c".".as_ptr(), UNNAMED.filter(|_| !flags.contains(OpenFlags::CREATE))?)
            } else {
                (name.ptr.cast(), open_flags(flags))
            };
            let entry = opcode::OpenAt::new(Fd(root), name)
                .flags(flags.bits().cast_signed())
                .mode(mode(bits).bits())
                .build();
            (Ops::OPENAT, entry)
        }
        Op::Truncate { file, len } => {
            (Ops::FTRUNCATE, opcode::Ftruncate::new(Fd(raw(file)), len).build())
        }
        Op::Allocate { file, at, len } => {
            (Ops::FALLOCATE, opcode::Fallocate::new(Fd(raw(file)), len).offset(at).build())
        }
        Op::Punch { file, at, len } => {
            let entry = opcode::Fallocate::new(Fd(raw(file)), len).offset(at).mode(PUNCH);
            (Ops::FALLOCATE, entry.build())
        }
        Op::Zero { file, at, len } => {
            let entry = opcode::Fallocate::new(Fd(raw(file)), len).offset(at);
            (Ops::FALLOCATE, entry.mode(libc::FALLOC_FL_ZERO_RANGE).build())
        }
        Op::Remove { name } => {
            (Ops::UNLINKAT, opcode::UnlinkAt::new(Fd(root), name.ptr.cast()).build())
        }
        Op::RemoveDirectory { name } => {
            let entry = opcode::UnlinkAt::new(Fd(root), name.ptr.cast());
            (Ops::UNLINKAT, entry.flags(libc::AT_REMOVEDIR).build())
        }
        Op::Rename { from, to } => {
            let (from, to) = (from.ptr.cast(), to.ptr.cast());
            (Ops::RENAMEAT, opcode::RenameAt::new(Fd(root), from, Fd(root), to).build())
        }
        Op::MakeDirectory { name } => {
            let entry = opcode::MkDirAt::new(Fd(root), name.ptr.cast());
            (Ops::MKDIRAT, entry.mode(mode(DIRECTORY_MODE).bits()).build())
        }
        Op::Cancel { target } => (Ops::ASYNC_CANCEL, opcode::AsyncCancel::new(target.0).build()),
        // `IORING_OP_STATX` goes to a kernel worker and needs a second buffer, `fstat` and
        // `fstatat` do not. No ring reads directories, seeks, or locks. What is opened once more
        // goes by a path of its own, and memory is registered by a call, see `regions`.
        Op::Stat { .. }
        | Op::OpenDirect { .. }
        | Op::Geometry { .. }
        | Op::Size { .. }
        | Op::Look { .. }
        | Op::List { .. }
        | Op::Seek { .. }
        | Op::Lock { .. }
        | Op::Unlock { .. }
        | Op::Register { .. }
        | Op::Unregister { .. }
        // A close may have to wait: see `unix::sharing`. The ring does it on this thread, too.
        | Op::Close { .. } => return None,
    };
    ops.contains(needs).then_some(entry)
}

/// A length as the entry's 32 bits. What is cut off is a short count, never a wrapped one.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "`BYTES_PER_CALL` is below 2^31")]
fn len(span: Span) -> u32 {
    span.len.min(BYTES_PER_CALL) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_read_is_the_one_of_the_crate() {
        let mut byte = 0;
        for (at, bytes) in [(0, 1), (u64::MAX >> 1, 4096), (7, usize::MAX)] {
            let span = Span { ptr: &raw mut byte, len: bytes };
            let (tag, file) = (Tag(0x0123_4567_89ab_cdef), Handle(77));
            let built = opcode::Read::new(Fd(raw(file)), span.ptr, len(span)).offset(at).build();
            let fixed = opcode::ReadFixed::new(Fd(raw(file)), span.ptr, len(span), 9);
            let fixed = fixed.offset(at).build();
            // SAFETY: an entry is 64 bytes without a gap.
            let words = |entry| unsafe { core::mem::transmute::<squeue::Entry, [u64; 8]>(entry) };
            for (built, place) in [(built, None), (fixed, Some(9))] {
                let plain = Read { tag, file, at, span, region: Region::NONE };
                let plain = read(&plain, place);
                assert_eq!(words(plain), words(built.user_data(tag.0)));
            }
        }
    }
}
