//! The access handles of one worker, by number.

use super::transfer::{self, Access, Staging};
use crate::{Errno, Extent, FileKind, Handle, LockKind, Op, Span, Stat};

/// Open files, and the area that their vectors travel through.
pub(super) struct Table<A> {
    places: Vec<Option<Open<A>>>,
    free: Vec<u32>,
    staging: Staging,
}

struct Open<A> {
    file: A,
    entered: Entered,
}

/// What is known of a file when it is opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Entered {
    pub(super) writable: bool,
    /// The ring that opened it, and with which it goes.
    pub(super) ring: u64,
    /// A hash of its path: it has no other name, and its path cannot change while it is open.
    pub(super) identity: (u64, u64),
    /// The name it has to be removed by after its close.
    pub(super) temporary: Option<String>,
}

impl<A> Default for Table<A> {
    fn default() -> Self {
        Table { places: Vec::new(), free: Vec::new(), staging: Staging::default() }
    }
}

impl<A: Access> Table<A> {
    /// Takes an open file; what its handle is, or the file back if there are 2^32 of them.
    pub(super) fn insert(&mut self, file: A, entered: Entered) -> Result<Handle, A> {
        let open = Open { file, entered };
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(open);
            return Ok(Handle(place));
        }
        match u32::try_from(self.places.len()) {
            Ok(place) => {
                self.places.push(Some(open));
                Ok(Handle(place))
            }
            Err(_) => Err(open.file),
        }
    }

    /// The name that a file has to be removed by after its close, once.
    pub(super) fn take_temporary(&mut self, handle: Handle) -> Option<String> {
        self.places.get_mut(handle.0 as usize)?.as_mut()?.entered.temporary.take()
    }

    /// Closes a file. It is gone whatever the result says.
    pub(super) fn close(&mut self, handle: Handle) -> Result<(), Errno> {
        let place = self.places.get_mut(handle.0 as usize).ok_or(Errno::BADF)?;
        let open = place.take().ok_or(Errno::BADF)?;
        self.free.push(handle.0);
        open.file.close()
    }

    /// Closes all that a ring left open; the names of what was temporary.
    pub(super) fn close_all_of(&mut self, ring: u64) -> Vec<String> {
        let mut temporaries = Vec::new();
        for (number, place) in (0..).zip(&mut self.places) {
            if let Some(open) = place.take_if(|open| open.entered.ring == ring) {
                self.free.push(number);
                temporaries.extend(open.entered.temporary);
                // The ring is gone, and with it whoever could be told.
                let _ = open.file.close();
            }
        }
        temporaries
    }

    /// Executes an operation on an open file; `EAGAIN` for one on a name, which needs the host.
    ///
    /// # Safety
    /// All that the operation points to is alive, and accessible as it asks, until the call
    /// returns.
    pub(super) unsafe fn call(&mut self, op: &Op) -> Result<u64, Errno> {
        let Table { places, staging, free: _ } = self;
        match *op {
            Op::Read { file, at, span } => {
                // SAFETY: the caller's promise for the span.
                unsafe { transfer::read(&get(places, file)?.file, at, span) }
            }
            Op::Readv { file, at, spans, count } => {
                let open = get(places, file)?;
                // SAFETY: the caller's promise for the array and its spans.
                unsafe { transfer::readv(&open.file, at, slice(spans, count), staging) }
            }
            Op::Write { file, at, span } => {
                // SAFETY: the caller's promise for the span.
                unsafe { transfer::write(writable(places, file)?, at, span) }
            }
            Op::Writev { file, at, spans, count } => {
                let file = writable(places, file)?;
                // SAFETY: the caller's promise for the array and its spans.
                unsafe { transfer::writev(file, at, slice(spans, count), staging) }
            }
            Op::Size { file } => transfer::size(&get(places, file)?.file),
            Op::Stat { file, stat } => {
                let open = get(places, file)?;
                let size = transfer::size(&open.file)?;
                let identity = open.entered.identity;
                let known = Stat { kind: FileKind::File, size, identity, modified: None };
                // SAFETY: the caller's promise that `stat` may be written.
                unsafe { stat.write(known) };
                Ok(size)
            }
            // There is one kind of flush, and it covers both.
            Op::Sync { file, kind: _ } => get(places, file)?.file.flush().map(|()| 0),
            Op::Truncate { file, len } => {
                transfer::truncate(writable(places, file)?, len).map(|()| 0)
            }
            // The access handle is the lock: there is one for a file, of all tabs and workers. So
            // it is had already, and cannot be shared.
            Op::Lock { file, kind } => match kind {
                LockKind::Exclusive => writable(places, file).map(|_| 0).map_err(|_| Errno::PERM),
                LockKind::Shared => get(places, file).and(Err(Errno::OPNOTSUPP)),
            },
            Op::Unlock { file } => get(places, file).map(|_| 0),
            Op::Close { file } => self.close(file).map(|()| 0),
            // And a browser copies what it reads and writes, registered or not.
            Op::Allocate { .. }
            | Op::Punch { .. }
            | Op::Zero { .. }
            | Op::OpenDirect { .. }
            | Op::Geometry { .. }
            | Op::ReadWith { .. }
            | Op::WriteWith { .. }
            | Op::Register { .. }
            | Op::Unregister { .. } => Err(Errno::OPNOTSUPP),
            // Nobody is told of holes: all is data.
            Op::Seek { file, at, extent } => match transfer::size(&get(places, file)?.file)? {
                size if at >= size => Err(Errno::NXIO),
                size => Ok(if extent == Extent::Data { at } else { size }),
            },
            // What is about a name, or about the queue.
            _ => Err(Errno::AGAIN),
        }
    }
}

fn get<A>(places: &[Option<Open<A>>], handle: Handle) -> Result<&Open<A>, Errno> {
    places.get(handle.0 as usize).and_then(Option::as_ref).ok_or(Errno::BADF)
}

/// The file, if it may be changed; else what a descriptor without that right says.
fn writable<A>(places: &[Option<Open<A>>], handle: Handle) -> Result<&A, Errno> {
    let open = get(places, handle)?;
    if open.entered.writable { Ok(&open.file) } else { Err(Errno::BADF) }
}

/// # Safety
/// `spans` points to `count` spans that stay for `'a`.
unsafe fn slice<'a>(spans: *const Span, count: u32) -> &'a [Span] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise, and the array is not empty.
    unsafe { core::slice::from_raw_parts(spans, count as usize) }
}
