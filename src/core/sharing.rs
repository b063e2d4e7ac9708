//! Locks of byte ranges, and mapped files: what processes of one system share, on the caller's
//! thread and at once. The platform does it; here is who may, and for how long.
//!
//! Each handle has locks of its own, held by what the platform gave for it (`ranges`), until the
//! handle is closed or dropped, or the driver ends. A thread that waits for one holds nothing of
//! the engine's meanwhile.

use core::ops::Range;
use std::sync::Arc;

use littoral_platform::sharing::{LockOwner, Mapped, Ranges, Sharing};
use littoral_platform::{Direct, Errno, Handle, LockKind};

use super::locking::check_lock;
use super::push::{Now, call, map, ranges};
use super::{Core, Opened, State};
use crate::{Error, ErrorKind, Operation, Result};

/// How often a direct call may be interrupted.
const INTERRUPTIONS_MAX: u32 = 256;

impl Core {
    pub(crate) fn has_sharing(&self, opened: &Opened) -> Result<()> {
        if let Some(error) = self.lock().refusal_on(opened, Operation::Native) {
            return Err(error);
        }
        let platform = self.platform();
        match platform.as_ref().and_then(|platform| platform.direct.sharing()) {
            Some(_) => Ok(()),
            None => Err(without_sharing(Operation::Native)),
        }
    }

    /// Takes or converts a lock; whether it was had.
    pub(crate) fn lock_range(
        &self,
        opened: &Opened,
        range: Range<u64>,
        kind: LockKind,
        owner: LockOwner,
        wait: bool,
    ) -> Result<bool> {
        check_lock(opened.write, kind, Operation::LockRange)?;
        let ranges = self.ranges_of(opened, &range, Operation::LockRange)?;
        if wait {
            self.check_own_lock(opened)?;
        }
        match ranges.lock(range, kind, owner, wait) {
            Ok(()) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(code) => Err(explain(code, Operation::LockRange)),
        }
    }

    pub(crate) fn range_is_free(
        &self,
        opened: &Opened,
        range: Range<u64>,
        kind: LockKind,
        owner: LockOwner,
    ) -> Result<bool> {
        let ranges = self.ranges_of(opened, &range, Operation::LockRange)?;
        ranges.is_free(range, kind, owner).map_err(|code| explain(code, Operation::LockRange))
    }

    pub(crate) fn unlock_range(
        &self,
        opened: &Opened,
        range: Range<u64>,
        owner: LockOwner,
    ) -> Result<()> {
        let ranges = self.ranges_of(opened, &range, Operation::UnlockRange)?;
        ranges.unlock(range, owner).map_err(|code| explain(code, Operation::UnlockRange))
    }

    pub(crate) fn set_len(&self, opened: &Opened, len: u64) -> Result<()> {
        let operation = Operation::SetLen;
        if len > self.limits.offset_max {
            let error = Error::new(ErrorKind::InvalidInput, operation);
            return Err(error.because("the size is past the platform's maximum"));
        }
        let mut state = self.lock();
        // A closed handle's place in the table may be another file's.
        let refusal = state.refusal_on(opened, operation);
        if let Some(error) = refusal.or_else(|| state.sync_loss(opened, operation)) {
            return Err(error);
        }
        drop(state);
        self.with_handle(opened, operation, true, |direct, handle| {
            persist(|| call(direct, Now::Truncate(handle, len)))
        })?;
        Ok(())
    }

    pub(crate) fn map(&self, opened: &Opened, at: u64, len: usize, write: bool) -> Result<Mapped> {
        let operation = Operation::Map;
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidInput, operation).because(why));
        let Some(end) = at.checked_add(len as u64).filter(|end| *end <= self.limits.offset_max)
        else {
            return refuse("offset and length reach past the platform's maximum".to_owned());
        };
        if len == 0 {
            return refuse("nothing cannot be mapped".to_owned());
        }
        let size = self.with_handle(opened, operation, false, |direct, handle| {
            persist(|| call(direct, Now::Size(handle)))
        })?;
        if end > size {
            // Touching it would end the process.
            return refuse(format!("the file has {size} bytes, and {end} are wanted: `set_len`"));
        }
        self.with_sharing(opened, operation, write, |sharing, handle| {
            map(sharing, handle, at, len, write)
        })
    }

    /// Refuses a wait that this very handle would have to end: the system takes its lock of the
    /// whole file for another user's.
    fn check_own_lock(&self, opened: &Opened) -> Result<()> {
        let mut state = self.lock();
        let refusal = state.refusal_on(opened, Operation::LockRange);
        if let Some(error) = refusal {
            return Err(error);
        }
        if state.files.get(opened.file).locks.of(opened.who).is_none() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Locked, Operation::LockRange);
        Err(error.because("this handle has the lock of the whole file: `unlock` it first"))
    }

    /// What holds the locks of this handle: made for the first of them.
    fn ranges_of(
        &self,
        opened: &Opened,
        range: &Range<u64>,
        operation: Operation,
    ) -> Result<Arc<dyn Ranges>> {
        if range.is_empty() || range.start >= self.limits.offset_max {
            let error = Error::new(ErrorKind::InvalidInput, operation);
            return Err(error.because(format!("there are no bytes in {range:?}")));
        }
        let mut state = self.lock();
        if let Some(error) = state.refusal_on(opened, operation) {
            return Err(error);
        }
        if let Some(ranges) = state.ranges.get(&opened.who) {
            return Ok(Arc::clone(ranges));
        }
        drop(state);
        let made = self.with_sharing(opened, operation, opened.write, |sharing, handle| {
            ranges(sharing, handle, opened.write)
        })?;
        state = self.lock();
        if let Some(error) = state.refusal_on(opened, operation) {
            return Err(error);
        }
        // Another thread may have been quicker.
        Ok(Arc::clone(state.ranges.entry(opened.who).or_insert(made)))
    }

    fn with_sharing<T>(
        &self,
        opened: &Opened,
        operation: Operation,
        write: bool,
        act: impl FnOnce(&dyn Sharing, Handle) -> core::result::Result<T, Errno>,
    ) -> Result<T> {
        let mut has = true;
        let done = self.with_handle(opened, operation, write, |direct, handle| {
            let Some(sharing) = direct.sharing() else {
                has = false;
                return Err(Errno::OPNOTSUPP);
            };
            act(sharing, handle)
        });
        if has { done } else { Err(without_sharing(operation)) }
    }

    /// Does something with the platform's handle of a file, which stays open meanwhile.
    fn with_handle<T>(
        &self,
        opened: &Opened,
        operation: Operation,
        write: bool,
        act: impl FnOnce(&dyn Direct, Handle) -> core::result::Result<T, Errno>,
    ) -> Result<T> {
        let mut state = self.lock();
        if let Some(error) = state.refusal_on(opened, operation) {
            return Err(error);
        }
        state.files.get(opened.file).pins += 1;
        let handle = state.handle(opened.file, write);
        let direct = state.direct.clone();
        drop(state);
        let done = match direct {
            Some(direct) => act(&*direct, handle),
            None => Err(Errno::BADF),
        };
        let mut state = self.lock();
        state.files.get(opened.file).pins -= 1;
        state.close_if_unused(opened.file);
        self.leave(state);
        done.map_err(|code| explain(code, operation))
    }
}

impl State {
    /// A handle is closed: so much for its locks.
    pub(crate) fn release_ranges_of(&mut self, who: u64) {
        if let Some(ranges) = self.ranges.remove(&who) {
            ranges.release();
        }
    }

    /// The driver ends.
    pub(crate) fn release_ranges(&mut self) {
        while let Some((_, ranges)) = self.ranges.pop_first() {
            ranges.release();
        }
    }
}

fn persist<T>(
    mut act: impl FnMut() -> core::result::Result<T, Errno>,
) -> core::result::Result<T, Errno> {
    let mut times = 0;
    loop {
        match act() {
            Err(Errno::INTR) if times < INTERRUPTIONS_MAX => times += 1,
            done => return done,
        }
    }
}

fn without_sharing(operation: Operation) -> Error {
    let error = Error::new(ErrorKind::Unsupported, operation);
    error.because("files of this platform are not shared by processes")
}

fn explain(code: Errno, operation: Operation) -> Error {
    let error = Error::from_code(code, operation);
    match code {
        // What holds the locks was given up while a thread was waiting for one.
        Errno::BADF => super::handle_closed(operation),
        Errno::DEADLK => error.because("who has it waits for a lock that this process has"),
        Errno::OPNOTSUPP if operation == Operation::LockRange => error.because(
            "a handle's own locks are Linux's, and want /proc to be mounted; `LockOwner::Process` \
             is for everywhere",
        ),
        _ => error,
    }
}
