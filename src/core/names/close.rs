//! Closing: the last user of a file is gone, and then its operations.

use std::sync::Arc;

use littoral_platform::Errno;

use crate::core::events::Event;
use crate::core::files::{Closing, Waiter};
use crate::core::held::Value;
use crate::core::overflow::Item;
use crate::core::state::State;
use crate::core::table::NONE;
use crate::{Error, ErrorKind, Operation};

impl State {
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
        self.turn_off_of(file);
        if self.files.acquire(&name, Waiter::CloseOf(file)) && !self.close_turn(file) {
            self.next_turn(&name);
        }
    }

    /// True if the name is kept, until the file's operations are over and its handles closed.
    pub(super) fn close_turn(&mut self, file: u32) -> bool {
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

    pub(super) fn close_handles(&mut self, file: u32) {
        self.files.forget_identity(file);
        self.keep_poison(file);
        let entry = self.files.get(file);
        let count = u8::try_from(entry.handles().count()).expect("two of each kind at most");
        entry.closing = Closing::Running(count);
        for handle in self.files.get(file).handles() {
            self.queue.urgent(Item::Close(Some(file), handle));
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
        } else if let Some(error) = gone.close_error {
            self.events.note(|| Event::Failed(error));
        }
        let file = Some(Arc::clone(&name));
        self.events.note(|| Event::Done { operation: Operation::Close, file });
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
