//! The ways in of operations on names.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rule::{check_directory, check_name};
use crate::core::Core;
use crate::core::held::{Held, Naming};
use crate::core::locking::check_lock;
use crate::core::table::{Key, NONE};
use crate::{Error, ErrorKind, OpenOptions, Operation};

/// Options that contradict themselves.
fn check_options(options: OpenOptions, operation: Operation) -> Result<(), Error> {
    let what = if options.create_for_reading() {
        "a file that is created is opened for writing"
    } else if options.mode & !0o777 != 0 {
        "a mode has the nine bits of `chmod`, up to 0o777"
    } else {
        return match options.lock {
            Some(kind) => check_lock(options.write, kind, operation),
            None => Ok(()),
        };
    };
    Err(Error::new(ErrorKind::InvalidInput, operation).because(what))
}

/// The name of what is to be opened, if it can be opened so.
pub(crate) fn check_open(name: &str, options: OpenOptions) -> Result<Arc<str>, Error> {
    check_options(options, Operation::Open).map_err(|error| error.on(name))?;
    check_name(name, Operation::Open)
}

/// Options of a file without a name.
pub(crate) fn check_temporary(options: OpenOptions) -> Result<(), Error> {
    check_options(options, Operation::Temporary)?;
    if options.write {
        return Ok(());
    }
    let error = Error::new(ErrorKind::InvalidInput, Operation::Temporary);
    Err(error.because("a temporary file is opened for writing"))
}

impl Core {
    pub(crate) fn open(&self, name: &str, options: OpenOptions) -> Result<Key, Error> {
        self.on_name(Operation::Open, Naming::new(check_open(name, options)?, options))
    }

    pub(crate) fn temporary(&self, options: OpenOptions) -> Result<Key, Error> {
        check_temporary(options)?;
        let mut naming = Naming::new(self.lock().temporary_name(), options);
        naming.temporary = true;
        self.on_name(Operation::Temporary, naming)
    }

    /// An operation on a file or directory that is not the root.
    pub(crate) fn on_entry(&self, operation: Operation, name: &str) -> Result<Key, Error> {
        self.on_name(operation, Naming::new(check_name(name, operation)?, OpenOptions::new()))
    }

    /// An operation on a name, the root's among them.
    pub(crate) fn on_any(&self, operation: Operation, name: &str) -> Result<Key, Error> {
        self.on_name(operation, Naming::new(check_directory(name, operation)?, OpenOptions::new()))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<Key, Error> {
        let operation = Operation::Rename;
        // Which of the two is wrong shows in the text: it alone is named.
        let (from, to) = (check_name(from, operation)?, check_name(to, operation)?);
        self.on_name(operation, Naming::new(from, OpenOptions::new()).onto(to))
    }

    pub(crate) fn prepare(&self, names: &[&str], temporaries: usize) -> Result<Key, Error> {
        let names: Result<VecDeque<_>, _> =
            names.iter().map(|name| check_name(name, Operation::Prepare)).collect();
        let (mut names, mut temporaries) = (names?, temporaries);
        let first = names.pop_front();
        let temporary = first.is_none() && temporaries > 0;
        let first = match first {
            Some(name) => name,
            None if temporary => self.lock().temporary_name(),
            None => return self.at_once(Operation::Prepare),
        };
        temporaries -= usize::from(temporary);
        let options = OpenOptions::new().create(true);
        let mut naming = Naming::new(first, options);
        (naming.temporary, naming.temporaries) = (temporary, temporaries);
        naming.to_prepare = names;
        self.on_name(Operation::Prepare, naming)
    }

    fn on_name(&self, operation: Operation, naming: Naming) -> Result<Key, Error> {
        let mut state = self.lock();
        if let Some(error) = state.refusal(operation).or_else(|| state.saturation(operation)) {
            return Err(error.of_naming(&naming));
        }
        let index = state.begin(operation, NONE, Held::Naming(Box::new(naming)));
        let key = state.key(index);
        state.want_name(index);
        self.leave(state);
        Ok(key)
    }
}
