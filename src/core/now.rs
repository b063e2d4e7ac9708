//! What is done at once, on the caller's thread: for engines that open, delete and probe names
//! synchronously.
//!
//! Prepared names need no platform for that. Other names do, and only some platforms can.

use std::sync::Arc;

use littoral_platform::{Errno, Handle, Stat};

use super::Core;
use super::files::Waiter;
use super::held::{Naming, Opened};
use super::names::rule::check_name;
use super::names::submit::{check_open, check_temporary};
use super::names::too_many_files;
use super::push::{Now, call};
use super::table::NONE;
use crate::{Error, ErrorKind, OpenOptions, Operation, Result};

/// How often a browser's worker goes round for a name that is busy: a close needs one.
const ROUNDS_MAX: u32 = 64;

impl Core {
    pub(crate) fn open_now(&self, name: &str, options: OpenOptions) -> Result<Opened> {
        let name = check_open(name, options)?;
        self.with_name(&name, Operation::Open, |core| {
            let mut state = core.lock();
            if let Some(file) = state.shareable(&name) {
                let opened = state.share(file, &name, options);
                let opened = opened.and_then(|opened| state.locked_now(opened, options));
                core.leave(state);
                return core.direct_now(opened?, options);
            }
            state.room_for_file(&name, options)?;
            drop(state);
            core.open_directly(&name, options)
        })
    }

    fn open_directly(&self, name: &Arc<str>, options: OpenOptions) -> Result<Opened> {
        let naming = Naming::new(Arc::clone(name), options);
        let handle = self.call(Now::Open(&naming));
        self.adopt_directly(handle, Operation::Open, name, options)
    }

    /// The file of a handle that was opened just now.
    fn adopt_directly(
        &self,
        handle: core::result::Result<u64, Errno>,
        operation: Operation,
        name: &Arc<str>,
        options: OpenOptions,
    ) -> Result<Opened> {
        let failed = |code| refused(code, operation, name);
        let handle = Handle(u32::try_from(handle.map_err(failed)?).expect("a handle's number"));
        let mut stat = Stat::default();
        if let Err(code) = self.call(Now::Stat(handle, &mut stat)) {
            // The first error is the one to tell.
            let _ = self.call(Now::Close(handle));
            return Err(failed(code));
        }
        let mut state = self.lock();
        let opened = state.adopt(name, handle, options, stat).map(|file| {
            state.add_user(file);
            state.heed(file, options);
            Opened::new(file, options.write, Arc::clone(name))
        });
        let opened = opened.and_then(|opened| state.locked_now(opened, options));
        self.leave(state);
        let opened = opened.and_then(|opened| self.direct_now(opened, options));
        opened.map_err(|error| error.on(Arc::clone(name)))
    }

    /// A temporary file that was opened ahead, or, where the platform can, a new one.
    pub(crate) fn temporary_now(&self, options: OpenOptions) -> Result<Opened> {
        check_temporary(options)?;
        let mut state = self.lock();
        if let Some(error) = state.refusal(Operation::Temporary) {
            return Err(error);
        }
        if let Some(opened) = state.prepared_temporary() {
            state.heed(opened.file, options);
            let opened = state.locked_now(opened, options);
            self.leave(state);
            return self.direct_now(opened?, options);
        }
        if state.files.open_count() >= state.config.files as usize {
            return Err(too_many_files(Operation::Temporary));
        }
        let name = state.temporary_name();
        drop(state);
        let naming = Naming::new(Arc::clone(&name), options);
        let handle = match self.call(Now::Temporary(&naming, false)) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => self.call(Now::Temporary(&naming, true)),
            opened => opened,
        };
        self.adopt_directly(handle, Operation::Temporary, &name, options)
    }

    pub(crate) fn remove_now(&self, name: &str) -> Result<()> {
        let name = check_name(name, Operation::Remove)?;
        self.with_name(&name, Operation::Remove, |core| {
            let mut state = core.lock();
            let Some(file) = state.files.by_name(&name) else {
                let other_names = state.has_other_names();
                drop(state);
                let naming = Naming::new(Arc::clone(&name), OpenOptions::new());
                let mut stat = Stat::default();
                if other_names && core.call(Now::Look(&naming, &mut stat)).is_ok() {
                    let mut state = core.lock();
                    state
                        .unknown(stat.identity, Operation::Remove)
                        .map_err(|error| error.on(Arc::clone(&name)))?;
                }
                let removed = core.call(Now::Remove(&naming));
                removed.map_err(|code| refused(code, Operation::Remove, &name))?;
                core.lock().poisons.removed(&name);
                return Ok(());
            };
            let fail = |kind| Error::new(kind, Operation::Remove).on(Arc::clone(&name));
            let handle = state.removable(file).map_err(fail)?;
            // Under the lock, so that nobody opens the file between the cut and the note of it.
            core.call(Now::Truncate(handle, 0))
                .map_err(|code| refused(code, Operation::Remove, &name))?;
            state.files.get(file).absent = true;
            state.acknowledge(file);
            Ok(())
        })
    }

    pub(crate) fn exists_now(&self, name: &str) -> Result<bool> {
        let name = check_name(name, Operation::Exists)?;
        self.with_name(&name, Operation::Exists, |core| {
            let mut state = core.lock();
            if let Some(file) = state.files.by_name(&name) {
                return Ok(!state.files.get(file).absent);
            }
            drop(state);
            let naming = Naming::new(Arc::clone(&name), OpenOptions::new());
            match core.call(Now::Look(&naming, &mut Stat::default())) {
                Ok(_) => Ok(true),
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
                Err(code) => Err(refused(code, Operation::Exists, &name)),
            }
        })
    }

    pub(crate) fn call(&self, now: Now<'_>) -> core::result::Result<u64, Errno> {
        match &*self.platform() {
            Some(platform) => call(&*platform.direct, now),
            None => Err(Errno::BADF),
        }
    }

    /// The size, as of all finished operations.
    pub(crate) fn size_now(&self, opened: &Opened) -> Result<u64> {
        self.ask_now(opened, Now::Size)?.map_err(|code| match code {
            Errno::AGAIN => Error::new(ErrorKind::Unsupported, Operation::Size),
            code => Error::from_code(code, Operation::Size),
        })
    }

    /// Asks the platform of an open file at once.
    pub(crate) fn ask_now<'a>(
        &self,
        opened: &Opened,
        ask: impl FnOnce(Handle) -> Now<'a>,
    ) -> Result<core::result::Result<u64, Errno>> {
        let mut state = self.lock();
        if let Some(error) = state.refusal_on(opened, Operation::Size) {
            return Err(error);
        }
        let entry = state.files.get(opened.file);
        entry.pins += 1;
        let handle = entry.readable;
        drop(state);
        let answer = self.call(ask(handle));
        let mut state = self.lock();
        state.files.get(opened.file).pins -= 1;
        state.close_if_unused(opened.file);
        self.leave(state);
        Ok(answer)
    }

    /// Does something while nobody else opens, closes or removes that name.
    fn with_name<T>(
        &self,
        name: &Arc<str>,
        operation: Operation,
        act: impl FnOnce(&Core) -> Result<T>,
    ) -> Result<T> {
        self.acquire_now(name, operation)?;
        let result = act(self);
        let mut state = self.lock();
        state.next_turn(name);
        // Another thread may wait for the ring until the name is free.
        state.rings_bell = true;
        self.leave(state);
        result
    }

    /// Waits for a name by working on what keeps it, without telling anybody's results.
    fn acquire_now(&self, name: &Arc<str>, operation: Operation) -> Result<()> {
        let mut rounds = 0;
        loop {
            let mut state = self.lock();
            if let Some(error) = state.refusal(operation) {
                return Err(error.on(Arc::clone(name)));
            }
            if !state.files.is_busy(name) {
                state.files.acquire(name, Waiter::Slot(NONE));
                return Ok(());
            }
            if !state.batches.is_empty() {
                // What this thread has staged may be what keeps the name.
                state.start_staged();
            }
            state.work(true, false);
            if !state.ended.is_empty() && (state.leader || state.followers > 0) {
                // Somebody waits for the ring, which has nothing more to say to him.
                state.rings_bell = true;
                self.leave(state);
                state = self.lock();
            }
            if !state.files.is_busy(name) {
                continue;
            }
            if state.limits.may_block {
                if state.in_flight > 0 && !state.leader {
                    drop(self.lead(state, None));
                } else {
                    // Another thread waits for the ring, or has the name: it does the rest.
                    drop(self.follow(state, Some(core::time::Duration::from_millis(1))));
                }
                continue;
            }
            rounds += 1;
            if rounds > ROUNDS_MAX {
                let error = Error::new(ErrorKind::Busy, operation).on(Arc::clone(name));
                return Err(error.because(
                    "an open or a close of it needs the host's turn: await, then try again",
                ));
            }
        }
    }
}

fn refused(code: Errno, operation: Operation, name: &Arc<str>) -> Error {
    let error = match code {
        Errno::AGAIN => Error::new(ErrorKind::NotPrepared, operation),
        code => Error::from_code(code, operation),
    };
    error.on(Arc::clone(name))
}
