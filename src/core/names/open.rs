//! Opening: a file that is open already is shared, by its name or by what the platform says it is.

use std::sync::Arc;

use littoral_platform::{Errno, FileKind, Handle};

use crate::core::held::{Opened, Value};
use crate::core::overflow::Item;
use crate::core::state::State;
use crate::core::table::{NONE, Phase};
use crate::{Error, ErrorKind, OpenOptions, Operation};

impl State {
    pub(super) fn open_turn(&mut self, slot: u32) -> bool {
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
        match self.share(file, &name, options) {
            Ok(opened) => return self.opened_so_far(slot, opened),
            Err(error) => self.finish(slot, Err(error)),
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
                self.heed(file, options);
                let name = Arc::clone(name);
                return Ok(Opened::new(file, options.write, name));
            }
        };
        Err(Error::new(kind, Operation::Open).on(Arc::clone(name)))
    }

    /// What one of its users wishes holds for the file.
    pub(crate) fn heed(&mut self, file: u32, options: OpenOptions) {
        if options.ordered {
            self.make_ordered(file);
        }
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

    /// An open or prepare was answered.
    pub(super) fn open_answered(&mut self, slot: u32, result: Result<u64, Errno>) -> bool {
        match (result, self.slots[slot].phase) {
            (_, Phase::Direct) => self.open_direct_answered(slot, result),
            (Ok(_), Phase::Identify) => return !self.identified(slot),
            (Ok(handle), _) => {
                let handle = Handle(u32::try_from(handle).expect("a handle's number"));
                self.naming(slot).handle = Some(handle);
                return self.go_on_named(slot, Phase::Identify);
            }
            (Err(code), phase) => {
                if self.naming(slot).temporary && phase != Phase::Identify {
                    return self.temporary_refused(slot, code);
                }
                if phase == Phase::Main && self.is_open_elsewhere(code) {
                    if self.sleep(slot) {
                        return false;
                    }
                    self.unprepare(slot);
                    self.fail_open_elsewhere(slot);
                } else {
                    self.open_failed(slot, code);
                }
            }
        }
        true
    }

    pub(super) fn open_failed(&mut self, slot: u32, code: Errno) {
        self.close_stray(slot);
        self.unprepare(slot);
        self.fail_with(slot, code);
    }

    /// True if it keeps its name.
    fn identified(&mut self, slot: u32) -> bool {
        let (name, stat, options, temporary) = {
            let naming = self.naming(slot);
            (Arc::clone(&naming.name), *naming.stat, naming.options, naming.temporary)
        };
        let name = &name;
        let handle = self.naming(slot).handle.take().expect("what was identified is open");
        match self.adopt(name, handle, options, stat) {
            Err(error) => {
                self.unprepare(slot);
                let error = self.describe(slot, error);
                self.finish(slot, Err(error));
            }
            Ok(file) if temporary && self.slots[slot].operation == Operation::Prepare => {
                self.add_user(file);
                self.naming(slot).prepared.push(file);
                self.prepare_next(slot);
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
                self.heed(file, options);
                let opened = Opened::new(file, options.write, Arc::clone(name));
                return self.opened_so_far(slot, opened);
            }
        }
        false
    }

    /// Enters a handle that was just opened into the table, or joins it to the file it is of.
    pub(crate) fn adopt(
        &mut self,
        name: &Arc<str>,
        handle: Handle,
        options: OpenOptions,
        stat: littoral_platform::Stat,
    ) -> Result<u32, Error> {
        // Pipes and devices are opened as they are: who names one knows why.
        if stat.kind == FileKind::Directory {
            self.queue.urgent(Item::Close(None, handle));
            return Err(Error::new(ErrorKind::IsADirectory, Operation::Open));
        }
        // Where names are all there is, a file is known by its name.
        let known = self.files.by_identity(stat.identity);
        if let Some(file) = known.filter(|_| !self.limits.one_handle_per_file) {
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
            return Err(too_many_files(Operation::Open));
        }
        let write = options.write || self.limits.one_handle_per_file;
        let file = self.files.insert(name, stat.identity, handle, write);
        self.look_for_poison(file);
        Ok(file)
    }

    /// Refuses to create a file that there would be no place for.
    pub(crate) fn room_for_file(&self, name: &Arc<str>, options: OpenOptions) -> Result<(), Error> {
        let creates = options.create || options.create_new;
        if !creates || self.files.open_count() < self.config.files as usize {
            return Ok(());
        }
        // It may be open already, and be shared.
        let open = self.files.by_name(name).is_some() && !options.create_new;
        if open { Ok(()) } else { Err(too_many_files(Operation::Open).on(Arc::clone(name))) }
    }

    pub(crate) fn close_stray(&mut self, slot: u32) {
        if let Some(handle) = self.naming(slot).handle.take() {
            self.queue.urgent(Item::Close(None, handle));
        }
    }

    /// Nobody will take the file that a finished open holds: it is closed now, so that what comes
    /// next to its name finds it closed.
    pub(crate) fn disown(&mut self, slot: u32) {
        let outcome = &mut self.slots[slot].outcome;
        if matches!(outcome, Some(Ok(Value::File(_))))
            && let Some(Ok(Value::File(opened))) = outcome.replace(Ok(Value::Unit))
        {
            self.drop_handle(&opened);
        }
    }
}

pub(crate) fn too_many_files(operation: Operation) -> Error {
    let error = Error::new(ErrorKind::OutOfResources, operation);
    error.because("as many files are open as `Config::files` allows")
}
