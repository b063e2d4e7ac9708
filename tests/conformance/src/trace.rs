//! What a faulty ring has seen, asked as checks ask.

use littoral_platform::faulty::{Entry, Event, OpKind, Way};
use littoral_platform::{Errno, Handle, Tag};

/// The events of one ring, in order.
pub struct Trace(Vec<Event>);

/// One entry's way through the ring.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// What it asked for.
    pub entry: Entry,
    /// When it was taken, parked ones included: a place in the trace.
    pub taken: usize,
    /// When it went to the platform (or was answered instead); `None` while it is parked.
    pub began: Option<usize>,
    /// When its completion came out, and what that said.
    pub ended: Option<(usize, Result<u64, Errno>)>,
}

impl Trace {
    pub(crate) fn new(events: Vec<Event>) -> Trace {
        Trace(events)
    }

    /// The entries of one kind, in the order in which they were taken.
    #[must_use]
    pub fn visits(&self, kind: OpKind) -> Vec<Visit> {
        let mut visits: Vec<(Option<Tag>, Visit)> = Vec::new();
        for (place, event) in self.0.iter().enumerate() {
            match *event {
                Event::Taken { tag, entry, way, .. } => {
                    let parked = visits.iter_mut().find(|(other, visit)| {
                        tag.is_some() && *other == tag && visit.began.is_none()
                    });
                    if let Some((_, visit)) = parked {
                        visit.began = Some(place);
                        continue;
                    }
                    let began = (way != Way::Parked).then_some(place);
                    visits.push((tag, Visit { entry, taken: place, began, ended: None }));
                }
                Event::Ended { tag, result } => {
                    let open = |(other, visit): &&mut (Option<Tag>, Visit)| {
                        *other == tag && visit.ended.is_none()
                    };
                    if let Some((_, visit)) = visits.iter_mut().find(open) {
                        visit.ended = Some((place, result));
                    }
                }
                Event::Refused(_) => (),
            }
        }
        let of_kind = visits.into_iter().map(|(_, visit)| visit);
        of_kind.filter(|visit| visit.entry.op == kind).collect()
    }

    /// The entries of one kind on one open file.
    #[must_use]
    pub fn on(&self, kind: OpKind, file: Handle) -> Vec<Visit> {
        let visits = self.visits(kind).into_iter();
        visits.filter(|visit| visit.entry.file == Some(file)).collect()
    }

    /// Offset and bytes of each write, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<(u64, u64)> {
        let visits = self.visits(OpKind::Write);
        visits.iter().map(|visit| (visit.entry.at, visit.entry.bytes)).collect()
    }

    /// How many entries of that kind were taken.
    #[must_use]
    pub fn count(&self, kind: OpKind) -> usize {
        self.visits(kind).len()
    }

    /// Whether an entry of that kind is parked now.
    #[must_use]
    pub fn parked(&self, kind: OpKind) -> bool {
        self.visits(kind).iter().any(|visit| visit.began.is_none() && visit.ended.is_none())
    }

    /// The handle of the file that was opened last.
    #[must_use]
    pub fn last_opened(&self) -> Option<Handle> {
        let opens = self.visits(OpKind::Open);
        let (_, result) = opens.iter().rev().find_map(|visit| visit.ended)?;
        u32::try_from(result.ok()?).ok().map(Handle)
    }
}
