//! The skips that are permitted, from `exceptions.toml`.

use serde::Deserialize;

use crate::Check;
use crate::row::Place;

/// All permitted skips.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    exception: Vec<Exception>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    clause: String,
    check: String,
    backends: Vec<String>,
    /// Empty for native backends.
    #[serde(default)]
    browsers: Vec<String>,
    reason: String,
    proof: String,
}

impl Exception {
    fn is_at(&self, place: &Place) -> bool {
        let browser = match &place.browser {
            None => self.browsers.is_empty(),
            Some(browser) => self.browsers.contains(browser),
        };
        browser && self.backends.contains(&place.backend)
    }
}

impl Exceptions {
    /// Those of the tree.
    ///
    /// # Errors
    /// The file is not what it should be.
    pub fn committed() -> Result<Exceptions, String> {
        Exceptions::parse(include_str!("../exceptions.toml"))
    }

    fn parse(text: &str) -> Result<Exceptions, String> {
        toml::from_str(text).map_err(|error| format!("exceptions.toml: {error}"))
    }

    /// Why this check may be skipped there.
    #[must_use]
    pub fn reason(&self, check: &Check, place: &Place) -> Option<String> {
        let found = self.exception.iter().find(|exception| {
            exception.clause == check.clause
                && exception.check == check.name
                && exception.is_at(place)
        })?;
        Some(format!("{} ({})", found.reason, found.proof))
    }

    /// What there is to say against the file after a run at that place: entries whose check was run
    /// or does not exist.
    pub(crate) fn unused<'a>(
        &'a self,
        place: &'a Place,
        selected: impl Fn(&str, &str) -> bool + 'a,
        was_skipped: impl Fn(&str, &str) -> bool + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let here = self.exception.iter().filter(|exception| exception.is_at(place));
        here.filter(move |exception| {
            selected(&exception.clause, &exception.check)
                && !was_skipped(&exception.clause, &exception.check)
        })
        .map(|exception| {
            format!("exceptions.toml permits skipping `{}`, which was not skipped", exception.check)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks;

    #[test]
    fn every_entry_is_about_a_check_and_gives_its_reasons() {
        for entry in Exceptions::committed().unwrap().exception {
            let known = |check: &&Check| check.clause == entry.clause && check.name == entry.check;
            let check = checks().find(known);
            assert!(check.is_some_and(|check| !check.needs.is_empty()), "{entry:?}");
            assert!(!entry.reason.is_empty() && !entry.proof.is_empty(), "{entry:?}");
            assert!(!entry.backends.is_empty(), "{entry:?}");
            // One that names no place of a run would never be found unused.
            let known = ["chromium", "chromium-incognito", "firefox"];
            let runs = entry.browsers.iter().all(|browser| known.contains(&&**browser));
            assert!(runs, "{entry:?}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(Exceptions::parse("[[exception]]\nclaus = 1").is_err());
    }
}
