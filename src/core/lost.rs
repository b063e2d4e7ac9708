//! The failures of one file's writes and truncates that nobody has taken yet.
//!
//! A sync must not say that all is durable while a failure before it is known to nobody. So each
//! failure stays here until its completion is taken. One whose completion was dropped is *lost*:
//! the next sync tells it, and is its taker.
//!
//! Lost ones are kept in two places, the first and the last, however many there are. Worked
//! example: writes 5, 9 and 12 are lost, and sync 7 waits among them. It tells 5. What is between 7
//! and 12 is not known any more, so whatever sync comes next is told the failure of 12: better once
//! too often than never.

use super::held::Value;
use super::state::State;
use crate::{Error, ErrorKind, Operation};

/// Failures by the order of admission of what failed.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    untaken: Vec<(u64, Error)>,
    lost: Option<Lost>,
}

#[derive(Debug)]
struct Lost {
    first: (u64, Error),
    last: (u64, Error),
}

impl Failures {
    pub(crate) fn add(&mut self, sequence: u64, error: Error) {
        self.untaken.push((sequence, error));
    }

    /// Somebody has seen it. `None` if it is not, or no longer, here.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<Error> {
        let place = self.untaken.iter().position(|failure| failure.0 == sequence)?;
        Some(self.untaken.swap_remove(place).1)
    }

    /// When the first of them was admitted.
    pub(crate) fn first(&self) -> Option<u64> {
        let untaken = self.untaken.iter().map(|failure| failure.0);
        untaken.chain(self.lost.as_ref().map(|lost| lost.first.0)).min()
    }

    /// Somebody was told of it by another way, and its completion may be gone.
    pub(crate) fn forgive(&mut self, sequence: u64) {
        let only = |lost: &mut Lost| lost.first.0 == sequence && lost.last.0 == sequence;
        if self.take(sequence).is_none() {
            self.lost.take_if(only);
        }
    }

    /// Nobody will ever ask for it. Answers what it is, if it is, or still was, here.
    pub(crate) fn lose(&mut self, sequence: u64) -> Option<Error> {
        let error = self.take(sequence)?;
        let new = (sequence, error.clone());
        match &mut self.lost {
            None => self.lost = Some(Lost { first: new.clone(), last: new }),
            Some(lost) if sequence < lost.first.0 => lost.first = new,
            Some(lost) if sequence > lost.last.0 => lost.last = new,
            Some(_) => {}
        }
        Some(error)
    }

    /// The first failure before the sync of that number, which tells it, and with it all that are
    /// before it.
    pub(crate) fn tell(&mut self, sync: u64) -> Option<Error> {
        let untaken = self.untaken.iter().filter(|failure| failure.0 < sync);
        let lost = self.lost.as_ref().map(|lost| &lost.first).filter(|first| first.0 < sync);
        let error = untaken.chain(lost).min_by_key(|failure| failure.0)?.1.clone();
        self.untaken.retain(|failure| failure.0 > sync);
        if let Some(lost) = self.lost.take_if(|lost| lost.first.0 < sync)
            && lost.last.0 > sync
        {
            self.lost = Some(Lost { first: (sync, lost.last.1.clone()), last: lost.last });
        }
        Some(error)
    }
}

impl State {
    /// What a shutdown ends with: it is the last chance of those who will not close their files.
    /// Failures of other files than the one it tells of are left for their closes.
    pub(crate) fn last_word(&mut self) -> Result<Value, Error> {
        let files: Vec<u32> = self.files.all().collect();
        let first_of = |file: u32| Some((self.files.get(file).failures.first()?, file));
        let Some((_, file)) = files.into_iter().filter_map(first_of).min() else {
            return Ok(Value::Unit);
        };
        let file = self.files.get(file);
        let cause = file.failures.tell(u64::MAX).expect("it has a first one");
        let lost = Error::new(ErrorKind::WriteLost, Operation::Shutdown).caused_by(cause);
        Err(lost.on(std::sync::Arc::clone(&file.names[0])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failures(lost: &[u64]) -> Failures {
        let mut failures = Failures::default();
        for &sequence in lost {
            let error = Error::new(ErrorKind::Io, Operation::Pwrite);
            failures.add(sequence, error.confirmed_to(sequence));
            failures.lose(sequence);
        }
        failures
    }

    #[test]
    fn the_worked_example() {
        let mut failures = failures(&[5, 9, 12]);
        assert_eq!(failures.tell(4).map(|e| e.confirmed()), None);
        assert_eq!(failures.tell(7).map(|e| e.confirmed()), Some(Some(5)));
        assert_eq!(failures.tell(10).map(|e| e.confirmed()), Some(Some(12)));
        assert!(failures.tell(13).is_some());
        assert!(failures.tell(14).is_none());
    }

    proptest! {
        /// Whatever is taken, lost or told in whatever order: a sync is silent only if every
        /// failure before it was taken, or told by an earlier sync that came after the failure.
        #[test]
        fn no_sync_is_silent_about_what_nobody_knows(
            script in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..60)
        ) {
            let mut failures = Failures::default();
            let (mut kept, mut lost): (Vec<u64>, Vec<u64>) = Default::default();
            for (sequence, (action, pick)) in (1..).zip(script) {
                match action {
                    0 => {
                        failures.add(sequence, Error::new(ErrorKind::Io, Operation::Pwrite));
                        kept.push(sequence);
                    }
                    1 | 2 if !kept.is_empty() => {
                        let one = kept.swap_remove(pick.index(kept.len()));
                        if action == 1 {
                            failures.take(one);
                        } else {
                            failures.lose(one);
                            lost.push(one);
                        }
                    }
                    _ => {
                        // Not always the newest: one may have waited for long.
                        let sync = pick.index(usize::try_from(sequence).unwrap()) as u64;
                        let unknown = kept.iter().chain(&lost).any(|failure| *failure < sync);
                        let told = failures.tell(sync).is_some();
                        prop_assert!(told || !unknown);
                        kept.retain(|failure| *failure > sync);
                        lost.retain(|failure| *failure > sync);
                    }
                }
            }
        }
    }
}
