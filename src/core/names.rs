//! Opening, removing, preparing and closing: what happens to a name, one thing at a time.
//!
//! Each name is a queue of those who want to do something to it (`Files::acquire`). The one whose
//! turn it is keeps the name until its business is over, also across entries in the ring; then the
//! next one has its turn. A close takes its turn as well: so whatever comes later finds the file
//! closed, and opens it anew.

use std::sync::Arc;

use littoral_platform::{Errno, FileKind, Handle};

use super::files::{Closing, Waiter};
use super::held::{Held, Naming, Opened, Value};
use super::overflow::Item;
use super::state::State;
use super::table::{NONE, Phase, Stage};
use crate::{Error, ErrorKind, OpenOptions, Operation};

impl State {
    fn naming(&mut self, slot: u32) -> &mut Naming {
        match &mut self.slots[slot].held {
            Held::Naming(naming) => naming,
            _ => unreachable!("operations on names hold a name until they end"),
        }
    }

    /// An open, remove or prepare asks for its name.
    pub(crate) fn want_name(&mut self, slot: u32) {
        let name = Arc::clone(&self.naming(slot).name);
        self.slots[slot].stage = Stage::Waiting;
        if self.files.acquire(&name, Waiter::Slot(slot)) && !self.turn(Waiter::Slot(slot)) {
            self.next_turn(&name);
        }
    }

    /// A name is free: whoever waits has his turn, until one keeps it.
    pub(crate) fn next_turn(&mut self, name: &Arc<str>) {
        while let Some(waiter) = self.files.release(name) {
            if self.turn(waiter) {
                return;
            }
        }
    }

    /// True if the name is kept.
    fn turn(&mut self, waiter: Waiter) -> bool {
        match waiter {
            Waiter::CloseOf(file) => self.close_turn(file),
            Waiter::Slot(slot) => match self.slots[slot].operation {
                Operation::Open => self.open_turn(slot),
                Operation::Remove => self.remove_turn(slot),
                _ => self.prepare_turn(slot),
            },
        }
    }

    fn push_named(&mut self, slot: u32, phase: Phase) -> bool {
        let slot_ref = &mut self.slots[slot];
        (slot_ref.stage, slot_ref.phase) = (Stage::Queued, phase);
        self.queue.admit(slot);
        true
    }

    fn open_turn(&mut self, slot: u32) -> bool {
        let (name, options) = {
            let naming = self.naming(slot);
            (Arc::clone(&naming.name), naming.options)
        };
        let Some(file) = self.shareable(&name) else {
            if let Err(error) = self.room_for_file(&name, options) {
                self.finish(slot, Err(error));
                return false;
            }
            return self.push_named(slot, Phase::Main);
        };
        let outcome = self.share(file, &name, options);
        self.finish(slot, outcome.map(Value::File));
        if self.slots[slot].detached {
            self.disown(slot);
        }
        false
    }

    /// The file of that name, if it is to be shared without asking the platform.
    pub(crate) fn shareable(&mut self, name: &str) -> Option<u32> {
        let file = self.files.by_name(name)?;
        (self.limits.one_handle_per_file || self.files.get(file).prepared).then_some(file)
    }

    /// One more user of an open file.
    pub(crate) fn share(
        &mut self,
        file: u32,
        name: &Arc<str>,
        options: OpenOptions,
    ) -> Result<Opened, Error> {
        let entry = self.files.get(file);
        let kind = match entry.absent {
            true if !options.create && !options.create_new => ErrorKind::NotFound,
            false if options.create_new => ErrorKind::AlreadyExists,
            _ => {
                entry.absent = false;
                self.add_user(file);
                let name = Arc::clone(name);
                return Ok(Opened::new(file, options.write, name));
            }
        };
        Err(Error::new(kind, Operation::Open).on(Arc::clone(name)))
    }

    pub(crate) fn add_user(&mut self, file: u32) {
        let entry = self.files.get(file);
        entry.users += 1;
        // Whoever waited for the close has closed his handle; the file goes on for another.
        let closer = core::mem::replace(&mut entry.closer, NONE);
        if closer != NONE {
            self.finish(closer, Ok(Value::Unit));
        }
    }

    fn remove_turn(&mut self, slot: u32) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        let Some(file) = self.files.by_name(&name) else {
            return self.push_named(slot, Phase::Main);
        };
        match self.removable(file) {
            Ok(handle) => {
                self.naming(slot).handle = Some(handle);
                self.push_named(slot, Phase::Empty)
            }
            Err(kind) => {
                self.fail(slot, kind);
                false
            }
        }
    }

    /// A prepared file that nobody uses is removed by cutting it to nothing.
    pub(crate) fn removable(&mut self, file: u32) -> Result<Handle, ErrorKind> {
        let entry = self.files.get(file);
        if entry.users > u32::from(entry.prepared) || entry.pins > 0 || !entry.prepared {
            return Err(ErrorKind::Busy);
        }
        if entry.absent {
            Err(ErrorKind::NotFound)
        } else {
            Ok(entry.writable.unwrap_or(entry.readable))
        }
    }

    fn prepare_turn(&mut self, slot: u32) -> bool {
        if self.prepare_one(slot) {
            return true;
        }
        self.prepare_next(slot);
        false
    }

    /// Prepares the name that `slot` has now; true if that takes the platform, and keeps the name.
    fn prepare_one(&mut self, slot: u32) -> bool {
        let name = Arc::clone(&self.naming(slot).name);
        match self.files.by_name(&name) {
            // What is open for reading only gets a handle to write with.
            Some(file) if self.files.get(file).writable.is_some() => {
                self.prepare_file(slot, file);
                false
            }
            _ => self.push_named(slot, Phase::Main),
        }
    }

    /// Adds a file to the prepared set.
    fn prepare_file(&mut self, slot: u32, file: u32) {
        if !self.files.get(file).prepared {
            self.files.get(file).prepared = true;
            self.add_user(file);
            self.naming(slot).prepared.push(file);
        }
    }

    /// Goes on to the names that are left, as far as they are free and open already. A loop: there
    /// may be more of them than the stack has room for.
    fn prepare_next(&mut self, slot: u32) {
        while let Some(name) = self.naming(slot).to_prepare.pop_front() {
            if self.slots[slot].cancelled {
                self.unprepare(slot);
                self.fail(slot, ErrorKind::Cancelled);
                return;
            }
            (self.slots[slot].stage, self.slots[slot].phase) = (Stage::Waiting, Phase::Main);
            let naming = self.naming(slot);
            naming.handle = None;
            naming.rename(Arc::clone(&name));
            if !self.files.acquire(&name, Waiter::Slot(slot)) || self.prepare_one(slot) {
                return;
            }
            self.next_turn(&name);
        }
        self.finish(slot, Ok(Value::Unit));
    }

    /// The ring has answered an operation on a name.
    pub(crate) fn named(&mut self, slot: u32, result: Result<u64, Errno>) {
        let name = Arc::clone(&self.naming(slot).name);
        let phase = self.slots[slot].phase;
        let operation = self.slots[slot].operation;
        match (operation, phase, result) {
            (Operation::Remove, Phase::Main, Ok(_)) => self.finish(slot, Ok(Value::Unit)),
            (Operation::Remove, _, Ok(_)) => {
                if let Some(file) = self.files.by_name(&name) {
                    self.files.get(file).absent = true;
                }
                self.finish(slot, Ok(Value::Unit));
            }
            (_, Phase::Main, Ok(handle)) if operation != Operation::Remove => {
                let handle = Handle(u32::try_from(handle).expect("a handle's number"));
                self.naming(slot).handle = Some(handle);
                self.slots[slot].phase = Phase::Identify;
                self.requeue(slot);
                return;
            }
            (_, _, Ok(_)) => self.identified(slot, &name),
            (_, _, Err(code)) => {
                if operation != Operation::Remove {
                    self.close_stray(slot);
                    self.unprepare(slot);
                }
                self.fail_with(slot, code);
            }
        }
        self.next_turn(&name);
    }

    fn identified(&mut self, slot: u32, name: &Arc<str>) {
        let (stat, options) = {
            let naming = self.naming(slot);
            (*naming.stat, naming.options)
        };
        let handle = self.naming(slot).handle.take().expect("what was identified is open");
        match self.adopt(name, handle, options, stat) {
            Err(error) => {
                self.unprepare(slot);
                let error = self.describe(slot, error);
                self.finish(slot, Err(error));
            }
            Ok(file) if self.slots[slot].operation == Operation::Prepare => {
                let entry = self.files.get(file);
                // One that is in use exists, however small it is.
                entry.absent = stat.size == 0 && entry.users == 0;
                self.prepare_file(slot, file);
                self.prepare_next(slot);
            }
            Ok(file) => {
                self.add_user(file);
                let opened = Opened::new(file, options.write, Arc::clone(name));
                self.finish(slot, Ok(Value::File(opened)));
                if self.slots[slot].detached {
                    self.disown(slot);
                }
            }
        }
    }

    /// Enters a handle that was just opened into the table, or joins it to the file it is of.
    pub(crate) fn adopt(
        &mut self,
        name: &Arc<str>,
        handle: Handle,
        options: OpenOptions,
        stat: littoral_platform::Stat,
    ) -> Result<u32, Error> {
        if stat.kind == FileKind::Directory {
            self.queue.urgent(Item::Close(None, handle));
            return Err(Error::new(ErrorKind::IsADirectory, Operation::Open));
        }
        if let Some(file) = self.files.by_identity(stat.identity) {
            let entry = self.files.get(file);
            if options.write && entry.writable.is_none() {
                entry.writable = Some(handle);
            } else {
                self.queue.urgent(Item::Close(None, handle));
            }
            self.files.name(file, name);
            return Ok(file);
        }
        if self.files.open_count() >= self.config.files as usize {
            self.queue.urgent(Item::Close(None, handle));
            return Err(too_many_files());
        }
        let write = options.write || self.limits.one_handle_per_file;
        Ok(self.files.insert(name, stat.identity, handle, write))
    }

    /// Refuses to create a file that there would be no place for.
    pub(crate) fn room_for_file(&self, name: &Arc<str>, options: OpenOptions) -> Result<(), Error> {
        let creates = options.create || options.create_new;
        if !creates || self.files.open_count() < self.config.files as usize {
            return Ok(());
        }
        // It may be open already, and be shared.
        let open = self.files.by_name(name).is_some() && !options.create_new;
        if open { Ok(()) } else { Err(too_many_files().on(Arc::clone(name))) }
    }

    pub(crate) fn close_stray(&mut self, slot: u32) {
        if let Some(handle) = self.naming(slot).handle.take() {
            self.queue.urgent(Item::Close(None, handle));
        }
    }

    /// A prepare that failed gives back what it had opened.
    pub(crate) fn unprepare(&mut self, slot: u32) {
        for file in core::mem::take(&mut self.naming(slot).prepared) {
            self.files.get(file).prepared = false;
            self.let_go(file);
        }
    }

    /// Nobody will take the file that a finished open holds: it is closed now, so that what comes
    /// next to its name finds it closed.
    pub(crate) fn disown(&mut self, slot: u32) {
        let slot = &mut self.slots[slot];
        if let Some(Ok(Value::File(opened))) = &slot.outcome {
            let file = opened.file;
            slot.outcome = Some(Ok(Value::Unit));
            self.let_go(file);
        }
    }

    /// One user less; the last one's leaving closes the file.
    pub(crate) fn let_go(&mut self, file: u32) {
        let Some(entry) = self.files.try_get(file) else { return };
        if entry.users == 0 {
            // The driver ended, and took its files back; this one could not be closed.
            return;
        }
        entry.users -= 1;
        if entry.users > 0 || entry.closing != Closing::No {
            return;
        }
        entry.closing = Closing::Queued;
        let name = Arc::clone(&entry.names[0]);
        if self.files.acquire(&name, Waiter::CloseOf(file)) && !self.close_turn(file) {
            self.next_turn(&name);
        }
    }

    /// True if the name is kept, until the file's operations are over and its handles closed.
    fn close_turn(&mut self, file: u32) -> bool {
        let entry = self.files.get(file);
        if entry.users > 0 {
            entry.closing = Closing::No;
            return false;
        }
        entry.closing = Closing::Draining;
        if entry.pins == 0 {
            self.close_handles(file);
        }
        true
    }

    /// The last operation of a file may have ended.
    pub(crate) fn close_if_unused(&mut self, file: u32) {
        let entry = self.files.get(file);
        if entry.pins > 0 || entry.closing != Closing::Draining {
            return;
        }
        if entry.users == 0 {
            self.close_handles(file);
            return;
        }
        // Opened again meanwhile, by another name.
        entry.closing = Closing::No;
        let name = Arc::clone(&entry.names[0]);
        self.next_turn(&name);
    }

    fn close_handles(&mut self, file: u32) {
        self.files.forget_identity(file);
        let entry = self.files.get(file);
        let (first, second) = (entry.readable, entry.writable.filter(|h| *h != entry.readable));
        entry.closing = Closing::Running(1 + u8::from(second.is_some()));
        self.queue.urgent(Item::Close(Some(file), first));
        if let Some(second) = second {
            self.queue.urgent(Item::Close(Some(file), second));
        }
    }

    /// A handle of a file was closed, whatever the platform said to it.
    pub(crate) fn handle_closed(&mut self, file: u32, result: Result<u64, Errno>) {
        let entry = self.files.get(file);
        let name = Arc::clone(&entry.names[0]);
        if let Err(code) = result {
            let error = Error::from_code(code, Operation::Close).on(Arc::clone(&name));
            entry.close_error.get_or_insert(error);
        }
        match &mut entry.closing {
            Closing::Running(left) if *left > 1 => {
                *left -= 1;
                return;
            }
            _ => {}
        }
        let mut gone = self.files.remove(file);
        if gone.closer != NONE {
            // The last chance to tell of a failure that nobody took.
            let lost = gone.failures.tell(u64::MAX).map(|cause| {
                let lost = Error::new(ErrorKind::WriteLost, Operation::Close).caused_by(cause);
                lost.on(Arc::clone(&name))
            });
            let outcome = lost.or(gone.close_error).map_or(Ok(Value::Unit), Err);
            self.finish(gone.closer, outcome);
        }
        self.next_turn(&name);
    }

    /// A handle of a file is closed on purpose, and `slot` waits for it.
    pub(crate) fn close(&mut self, slot: u32, file: u32) {
        let entry = self.files.get(file);
        if entry.users > 1 {
            self.finish(slot, Ok(Value::Unit));
        } else {
            entry.closer = slot;
        }
        self.let_go(file);
    }
}

fn too_many_files() -> Error {
    let error = Error::new(ErrorKind::OutOfResources, Operation::Open);
    error.because("as many files are open as `Config::files` allows")
}
