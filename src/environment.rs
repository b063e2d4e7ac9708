//! What the environment overrides: the lock policy, for the one who runs a program and cannot
//! change it.

use core::time::Duration;
use std::env;

use crate::{Config, Error, ErrorKind, Operation, Result};

/// `off`, `on`, or how many milliseconds to wait for a lock.
pub(crate) const LOCKS: &str = "LITTORAL_LOCKS";

impl Config {
    /// With what the environment says. (In a browser there is none.)
    pub(crate) fn in_environment(self) -> Result<Config> {
        match env::var_os(LOCKS) {
            None => Ok(self),
            Some(value) => self.with_locks(&value.to_string_lossy()),
        }
    }

    fn with_locks(mut self, value: &str) -> Result<Config> {
        match (value, value.parse()) {
            ("off", _) => self.locks = false,
            ("on", _) => self.locks = true,
            (_, Ok(millis)) => {
                (self.locks, self.lock_patience) = (true, Duration::from_millis(millis));
            }
            (_, Err(_)) => {
                let what = format!(
                    "the environment variable {LOCKS} is {value:?}; it takes `off`, `on`, or \
                     milliseconds"
                );
                return Err(Error::new(ErrorKind::InvalidInput, Operation::Start).because(what));
            }
        }
        self.locks_from_environment = true;
        Ok(self)
    }

    /// What was chosen, for `capabilities`.
    pub(crate) fn describe_locks(&self) -> String {
        let state = if self.locks {
            format!("on, waiting up to {} ms", self.lock_patience.as_millis())
        } else {
            "off, none is taken".to_owned()
        };
        let by = if self.locks_from_environment { LOCKS } else { "Config" };
        format!("locks {state} (by {by})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_says_so() {
        let config = || Config::new().lock_patience(Duration::from_secs(3));
        assert_eq!(config().describe_locks(), "locks on, waiting up to 3000 ms (by Config)");
        let off = config().with_locks("off").unwrap();
        assert_eq!(off.describe_locks(), "locks off, none is taken (by LITTORAL_LOCKS)");
        let on = config().locks(false).with_locks("on").unwrap();
        assert_eq!(on.describe_locks(), "locks on, waiting up to 3000 ms (by LITTORAL_LOCKS)");
        let quick = config().locks(false).with_locks("250").unwrap();
        assert_eq!(quick.describe_locks(), "locks on, waiting up to 250 ms (by LITTORAL_LOCKS)");
    }

    #[test]
    fn another_value_is_an_error_that_tells_the_values() {
        for value in ["", "no", "-1", "1.5", "off "] {
            let error = Config::new().with_locks(value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("LITTORAL_LOCKS"), "{error}");
            assert!(error.to_string().contains("`off`, `on`, or milliseconds"), "{error}");
        }
    }
}
