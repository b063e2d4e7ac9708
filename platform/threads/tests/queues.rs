//! The queues against the simplest description of them: a set of places, one for each tag.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::queues::Queues;
use crate::{Cqe, Errno, Handle, Op, Sqe, Tag};

#[derive(Clone, Copy, Debug)]
enum Act {
    Push,
    /// Of the entry that was pushed as this share of all so far.
    Cancel(prop::sample::Index),
    Submit(usize),
    Start,
    /// The one that started as this share of those that run.
    End(prop::sample::Index),
    Take,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Push),
        2 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        2 => (0..5_usize).prop_map(Act::Submit),
        2 => Just(Act::Start),
        2 => any::<prop::sample::Index>().prop_map(Act::End),
        1 => Just(Act::Take),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pushed,
    Queued,
    Running,
    Done(Result<u64, Errno>),
    Taken,
}

proptest! {
    #[test]
    fn every_entry_ends_once_with_what_happened_to_it(acts in vec(act(), 0..200)) {
        let mut queues = Queues::default();
        let mut model: BTreeMap<u64, (Op, Place)> = BTreeMap::new();
        let in_place = |model: &BTreeMap<u64, (Op, Place)>, place: Place| {
            let there = model.iter().filter(|(_, (_, at))| *at == place);
            there.map(|(tag, _)| *tag).collect::<Vec<u64>>()
        };
        for act in acts {
            match act {
                Act::Push | Act::Cancel(_) => {
                    let tag = model.len() as u64;
                    let op = match act {
                        Act::Cancel(target) if tag > 0 => {
                            Op::Cancel { target: Tag(target.index(model.len()) as u64) }
                        }
                        _ => Op::Size { file: Handle(0) },
                    };
                    queues.push(Sqe::new(Tag(tag), op));
                    model.insert(tag, (op, Place::Pushed));
                }
                Act::Submit(count) => {
                    queues.submit(count);
                    for tag in in_place(&model, Place::Pushed).into_iter().take(count) {
                        let after = match model[&tag].0 {
                            Op::Cancel { target: Tag(target) } => {
                                Place::Done(match model[&target].1 {
                                    Place::Queued => {
                                        let ended = Place::Done(Err(Errno::CANCELED));
                                        model.get_mut(&target).unwrap().1 = ended;
                                        Ok(0)
                                    }
                                    Place::Running => Err(Errno::ALREADY),
                                    _ => Err(Errno::NOENT),
                                })
                            }
                            _ => Place::Queued,
                        };
                        model.get_mut(&tag).unwrap().1 = after;
                    }
                }
                Act::Start => {
                    let first = in_place(&model, Place::Queued).first().copied();
                    let started = queues.start(7).map(|sqe| sqe.tag.0);
                    prop_assert_eq!(started, first);
                    if let Some(tag) = started {
                        model.get_mut(&tag).unwrap().1 = Place::Running;
                    }
                }
                Act::End(which) => {
                    let running = in_place(&model, Place::Running);
                    if !running.is_empty() {
                        let tag = running[which.index(running.len())];
                        queues.end(Tag(tag), Ok(tag));
                        model.get_mut(&tag).unwrap().1 = Place::Done(Ok(tag));
                    }
                }
                Act::Take => take(&mut queues, &mut model)?,
            }
            prop_assert_eq!(queues.unsubmitted(), in_place(&model, Place::Pushed).len());
            prop_assert_eq!(queues.has_queued(), !in_place(&model, Place::Queued).is_empty());
            prop_assert_eq!(queues.is_running(7), !in_place(&model, Place::Running).is_empty());
            let done = model.values().any(|(_, place)| matches!(place, Place::Done(_)));
            prop_assert_eq!(queues.has_done(), done);
        }
        // To the end: nothing is lost.
        queues.submit(usize::MAX);
        while let Some(sqe) = queues.start(7) {
            queues.end(sqe.tag, Ok(sqe.tag.0));
        }
        for tag in in_place(&model, Place::Running) {
            queues.end(Tag(tag), Ok(tag));
        }
        let mut taken = VecDeque::new();
        queues.take(&mut taken);
        let mut last: Vec<u64> = taken.iter().map(|cqe| cqe.tag.0).collect();
        last.extend(in_place(&model, Place::Taken));
        last.sort_unstable();
        prop_assert!(last.into_iter().eq(0..model.len() as u64));
        prop_assert!(queues.unsubmitted() == 0 && !queues.has_queued() && !queues.has_done());
    }
}

/// Everything that is done, each once, with its result.
fn take(queues: &mut Queues, model: &mut BTreeMap<u64, (Op, Place)>) -> Result<(), TestCaseError> {
    let mut taken = VecDeque::new();
    queues.take(&mut taken);
    for Cqe { tag: Tag(tag), result } in taken {
        let place = &mut model.get_mut(&tag).unwrap().1;
        prop_assert_eq!(*place, Place::Done(result));
        *place = Place::Taken;
    }
    let left = model.values().any(|(_, place)| matches!(place, Place::Done(_)));
    prop_assert!(!left, "done and not taken");
    Ok(())
}
