//! Where there is nothing to poll.

use core::time::Duration;

#[cfg(unix)]
use crate::Errno;

/// There is none here.
#[derive(Debug)]
pub enum Polled {}

impl Polled {
    /// `EOPNOTSUPP`.
    #[cfg(unix)]
    pub(crate) fn new() -> Result<Polled, Errno> {
        Err(Errno::OPNOTSUPP)
    }

    /// There is news.
    pub fn raise(&self) {
        match *self {}
    }

    /// There will be news after that time.
    pub fn raise_after(&self, _: Duration) {
        match *self {}
    }

    /// A step begins.
    pub fn begin(&self) {
        match *self {}
    }

    /// The step is over.
    pub fn end(&self) {
        match *self {}
    }
}
