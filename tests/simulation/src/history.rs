//! The plain model of one file: what was done to it since it was last known, and so what may be
//! found in it.
//!
//! Operations that overlap in time have no order, and one that failed has done some of its work.
//! So the model is not one sequence of bytes but a list of events; of each byte it can say which
//! events it may come from. With `x` before `y` meaning that `x` was over before `y` was submitted,
//! or that a truncate stands between them:
//!
//! - a byte may come from every write that covers it, but for those before another one that has
//!   covered it for sure;
//! - a truncate covers all from its length on, with zeros, and is after everything submitted before
//!   it;
//! - in a file that keeps order, submitted before is before, where two overlap;
//! - what a read sees was submitted before the read was over, and what it must see was over before
//!   the read was submitted;
//! - what is left by a crash must come from events of which a sync said so, or from later ones.
//!
//! ```text
//! write 1 [0, 100) over; write 2 [50, 150) and write 3 [80, 90) submitted; 2 is over
//! bytes 0..50: from 1     50..80: from 2     80..90: from 2 or 3     90..150: from 2
//! after a crash, if a sync covered 1: 0..50 from 1, 50..80 from 1 or 2, 80..90 from 1, 2 or 3, …
//! ```

use core::ops::Range;

/// A moment, by the count of what the script saw happen.
pub(crate) type Moment = u64;

#[derive(Debug)]
pub(crate) enum What {
    /// With the bytes of [`byte_of`].
    Write {
        id: u64,
        at: u64,
        len: u64,
    },
    Truncate {
        len: u64,
    },
}

#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, not one state")]
#[derive(Debug)]
struct Event {
    what: What,
    submitted: Moment,
    ended: Option<Moment>,
    /// So many bytes of a write are written for sure; 1 for a truncate that was done for sure.
    sure: u64,
    /// Its completion was dropped: what failed of it is told by a sync.
    detached: bool,
    /// A sync said that what is sure of it is durable.
    durable: bool,
    /// A flush failed that was to cover it: it may never be durable.
    doomed: bool,
    /// Its completion told of a failure.
    failed: bool,
    /// Refused: it never was.
    void: bool,
    /// Truncates, done for sure, that were submitted before it. Set before each judgement.
    epoch: usize,
}

/// A sync, which tells of failures that nobody took.
#[derive(Debug)]
struct Sync {
    submitted: Moment,
    told_nothing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    /// The file as it was found when all of it was durable and nothing under way.
    base: Vec<u8>,
    events: Vec<Event>,
    syncs: Vec<Sync>,
    /// Opened to keep the order of what overlaps: then whatever was submitted before is before.
    ordered: bool,
    /// There were writes that were to be durable, and any of their flushes may have failed.
    suspect: bool,
}

/// Who looks at a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View {
    /// A read that was submitted then, and is over.
    Since(Moment),
    /// Somebody who finds it after a crash.
    Crash,
}

/// Where a byte may come from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Base,
    Zero,
    Write(u64),
}

/// The number of all that writes zeros.
pub(crate) const ZEROS: u64 = u64::MAX;

/// The byte at an offset of the file that the write of that number writes.
pub(crate) fn byte_of(id: u64, offset: u64) -> u8 {
    if id == ZEROS {
        return 0;
    }
    let mixed = (offset ^ id << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[1]
}

impl What {
    /// What [`Event::sure`] is once all of it is.
    fn all(&self) -> u64 {
        match *self {
            What::Write { len, .. } => len,
            What::Truncate { .. } => 1,
        }
    }

    fn covers(&self, offset: u64) -> bool {
        match *self {
            What::Write { at, len, .. } => (at..at + len).contains(&offset),
            What::Truncate { len } => offset >= len,
        }
    }
}

impl Event {
    fn is_truncate(&self) -> bool {
        matches!(self.what, What::Truncate { .. })
    }

    fn surely_covers(&self, offset: u64) -> bool {
        match self.what {
            What::Write { at, .. } => (at..at + self.sure).contains(&offset),
            What::Truncate { len } => self.sure > 0 && offset >= len,
        }
    }

    fn is_before(&self, other: &Event) -> bool {
        self.ended.is_some_and(|ended| ended <= other.submitted)
            || self.epoch < other.epoch
            || (other.is_truncate() && other.sure > 0 && self.submitted < other.submitted)
    }
}

impl History {
    pub(crate) fn new(ordered: bool) -> History {
        History { ordered, ..History::default() }
    }

    /// Notes an event that begins; its number is for [`History::end`].
    pub(crate) fn begin(&mut self, what: What, submitted: Moment) -> usize {
        self.events.push(Event {
            what,
            submitted,
            ended: None,
            sure: 0,
            detached: false,
            durable: false,
            doomed: false,
            failed: false,
            void: false,
            epoch: 0,
        });
        self.events.len() - 1
    }

    /// An event is over: so much of it is sure.
    pub(crate) fn end(&mut self, event: usize, sure: u64, now: Moment) {
        let event = &mut self.events[event];
        (event.ended, event.sure) = (Some(now), sure);
    }

    /// A write that was to be durable is over, and is.
    pub(crate) fn end_durably(&mut self, event: usize, now: Moment) {
        self.end(event, self.length(event), now);
        self.events[event].durable = true;
    }

    /// A write that is to be durable begins: its flush may fail.
    pub(crate) fn suspect(&mut self) {
        self.suspect = true;
    }

    /// The same of one that failed.
    pub(crate) fn fail(&mut self, event: usize, sure: u64, now: Moment) {
        self.end(event, sure, now);
        self.events[event].failed = true;
    }

    pub(crate) fn length(&self, event: usize) -> u64 {
        self.events[event].what.all()
    }

    pub(crate) fn void(&mut self, event: usize) {
        self.events[event].void = true;
    }

    pub(crate) fn detach(&mut self, event: usize) {
        self.events[event].detached = true;
    }

    /// Notes a sync that begins; its number is for the calls below.
    pub(crate) fn ask(&mut self, submitted: Moment) -> usize {
        self.syncs.push(Sync { submitted, told_nothing: false });
        self.syncs.len() - 1
    }

    /// A sync says that all before it was done, and is durable.
    pub(crate) fn told_nothing(&mut self, sync: usize, now: Moment) {
        self.syncs[sync].told_nothing = true;
        let asked = self.syncs[sync].submitted;
        for event in self.events.iter_mut().filter(|event| event.submitted < asked) {
            if event.detached {
                // Unless another one may have told of it: a failure is told once.
                let told = |other: &Sync| !other.told_nothing && other.submitted > event.submitted;
                if !self.syncs.iter().any(told) && !event.void {
                    event.sure = event.what.all();
                }
            }
            event.ended.get_or_insert(now);
            event.durable |= !event.doomed;
        }
    }

    /// A sync tells of a failure: all before it is over.
    pub(crate) fn told(&mut self, sync: usize, now: Moment) {
        let asked = self.syncs[sync].submitted;
        for event in self.events.iter_mut().filter(|event| event.submitted < asked) {
            event.ended.get_or_insert(now);
        }
    }

    /// A flush failed.
    pub(crate) fn flush_failed(&mut self) {
        self.events.iter_mut().for_each(|event| event.doomed |= !event.durable);
    }

    /// Whether there may be a failure before a sync that nobody had taken by then.
    pub(crate) fn may_have_lost(&self, sync: usize) -> bool {
        let asked = self.syncs[sync].submitted;
        // A sync that failed has a failure of its own, and nobody may have taken that.
        let bad_sync = |sync: &Sync| !sync.told_nothing && sync.submitted < asked;
        let bad_event = |event: &Event| {
            let untaken = |ended| event.failed && ended > asked;
            event.submitted < asked && (event.detached || event.ended.is_none_or(untaken))
        };
        self.events.iter().any(bad_event) || self.syncs.iter().any(bad_sync)
    }

    /// Whether there may be a flush that failed.
    pub(crate) fn has_bad_sync(&self) -> bool {
        self.suspect || self.syncs.iter().any(|sync| !sync.told_nothing)
    }

    /// Whoever wants to know of failures knows: those that nobody took are forgotten.
    pub(crate) fn acknowledge(&mut self) {
        self.events.iter_mut().for_each(|event| event.detached = false);
    }

    /// Nothing is under way.
    pub(crate) fn settle(&mut self, now: Moment) {
        self.events.iter_mut().for_each(|event| _ = event.ended.get_or_insert(now));
    }

    /// Nothing is under way, and a sync after that was good: these are the bytes, from now on.
    pub(crate) fn rebase(&mut self, bytes: Vec<u8>) {
        if self.events.iter().any(|event| event.doomed) {
            return;
        }
        self.base = bytes;
        self.events.clear();
        self.syncs.clear();
    }

    /// The largest the file may be, for the script to aim at its end.
    pub(crate) fn size_max(&self) -> u64 {
        let ends = self.events.iter().map(|event| match event.what {
            What::Write { at, len, .. } => at + len,
            What::Truncate { len } => len,
        });
        ends.fold(self.base.len() as u64, u64::max)
    }

    fn count_epochs(&mut self) {
        let mut epoch = 0;
        for event in &mut self.events {
            event.epoch = epoch;
            epoch += usize::from(event.is_truncate() && event.sure > 0);
        }
    }

    fn epoch_at(&self, moment: Moment) -> usize {
        let done =
            |event: &&Event| event.is_truncate() && event.sure > 0 && event.submitted < moment;
        self.events.iter().filter(done).count()
    }

    /// Whether somebody with this view sees an event for sure.
    fn must_see(&self, event: &Event, view: View) -> bool {
        match view {
            View::Crash => event.durable,
            View::Since(moment) => {
                event.ended.is_some_and(|ended| ended <= moment)
                    || event.epoch < self.epoch_at(moment)
            }
        }
    }

    /// The same for the bytes that both concern.
    fn must_see_here(&self, event: &Event, view: View) -> bool {
        let earlier = |moment| self.ordered && event.submitted < moment;
        self.must_see(event, view) || matches!(view, View::Since(moment) if earlier(moment))
    }

    /// Whether he may see it at all.
    fn may_see(&self, event: &Event, view: View) -> bool {
        let barred = match view {
            View::Crash => false,
            // It waits for the read, or for a truncate that does.
            View::Since(moment) => {
                event.submitted > moment
                    && (event.is_truncate() || event.epoch > self.epoch_at(moment))
            }
        };
        !event.void && !barred
    }

    /// Checks what was found at `at`.
    pub(crate) fn judge(&mut self, at: u64, found: &[u8], view: View) -> Result<(), String> {
        self.count_epochs();
        let end = at + found.len() as u64;
        let mut edges = vec![at, end, self.base.len() as u64];
        for event in &self.events {
            match event.what {
                What::Write { at, len, .. } => edges.extend([at, at + event.sure, at + len]),
                What::Truncate { len } => edges.push(len),
            }
        }
        edges.retain(|edge| (at..=end).contains(edge));
        edges.sort_unstable();
        edges.dedup();
        for edge in edges.windows(2) {
            let within = |edge: u64| usize::try_from(edge - at).expect("a slice's length");
            let part = &found[within(edge[0])..within(edge[1])];
            self.judge_part(edge[0]..edge[1], part, view)?;
        }
        Ok(())
    }

    /// The same where all bytes may come from the same events.
    fn judge_part(&self, range: Range<u64>, found: &[u8], view: View) -> Result<(), String> {
        let origins = self.origins(range.start, view);
        for (offset, byte) in range.clone().zip(found) {
            let fits = |origin: &Origin| {
                *byte
                    == match *origin {
                        Origin::Zero => 0,
                        Origin::Write(id) => byte_of(id, offset),
                        Origin::Base => {
                            let place = usize::try_from(offset).expect("a slice's length");
                            self.base.get(place).copied().unwrap_or(0)
                        }
                    }
            };
            if !origins.iter().any(fits) {
                return Err(format!(
                    "byte {offset} is {byte:#04x}, from none of {origins:?} ({view:?}, {range:?})\n\
                     {}",
                    self.around(offset)
                ));
            }
        }
        Ok(())
    }

    /// The events that concern an offset, for a failure's text.
    fn around(&self, offset: u64) -> String {
        let here = self.events.iter().filter(|event| event.what.covers(offset));
        let lines: Vec<_> = here.map(|event| format!("  {event:?}")).collect();
        lines.join("\n")
    }

    fn origins(&self, offset: u64, view: View) -> Vec<Origin> {
        let hides = |cover: &&Event| cover.surely_covers(offset) && self.must_see_here(cover, view);
        let covers: Vec<&Event> = self.events.iter().filter(hides).collect();
        let mut origins = Vec::new();
        if covers.is_empty() {
            origins.push(Origin::Base);
        }
        for event in &self.events {
            let is_before = |cover: &Event| {
                event.is_before(cover) || (self.ordered && event.submitted < cover.submitted)
            };
            let hidden = || covers.iter().any(|cover| is_before(cover));
            let is_later =
                self.ordered && matches!(view, View::Since(moment) if event.submitted > moment);
            let visible = !is_later && self.may_see(event, view);
            if event.what.covers(offset) && visible && !hidden() {
                origins.push(match event.what {
                    What::Write { id, .. } => Origin::Write(id),
                    What::Truncate { .. } => Origin::Zero,
                });
            }
        }
        origins
    }

    /// What the size may be.
    pub(crate) fn sizes(&mut self, view: View) -> core::ops::RangeInclusive<u64> {
        self.count_epochs();
        let cut = self
            .events
            .iter()
            .rposition(|event| event.is_truncate() && event.sure > 0 && self.must_see(event, view));
        let start = match cut.map(|cut| &self.events[cut].what) {
            Some(What::Truncate { len }) => *len,
            _ => self.base.len() as u64,
        };
        let later = &self.events[cut.map_or(0, |cut| cut + 1)..];
        let (mut low, mut high) = (start, start);
        let mut floor = u64::MAX;
        for event in later.iter().filter(|event| self.may_see(event, view)) {
            match event.what {
                What::Write { at, len, .. } => {
                    if event.sure > 0 && self.must_see(event, view) {
                        low = low.max(at + event.sure);
                    }
                    high = high.max(at + len);
                }
                What::Truncate { len } => {
                    floor = floor.min(len);
                    high = high.max(len);
                }
            }
        }
        low.min(floor)..=high
    }

    /// Checks what a read of up to `asked` bytes found, and where it took the end to be.
    pub(crate) fn judge_read(
        &mut self,
        at: u64,
        asked: usize,
        found: &[u8],
        view: View,
    ) -> Result<(), String> {
        let sizes = self.sizes(view);
        let end = at + found.len() as u64;
        let fits = if found.len() == asked {
            asked == 0 || *sizes.end() >= end
        } else if found.is_empty() {
            *sizes.start() <= at
        } else {
            sizes.contains(&end)
        };
        if !fits {
            let count = found.len();
            return Err(format!("{count} of {asked} bytes at {at}, sizes {sizes:?} ({view:?})"));
        }
        self.judge(at, found, view)
    }

    /// Checks a whole file.
    pub(crate) fn judge_file(&mut self, found: &[u8], view: View) -> Result<(), String> {
        let sizes = self.sizes(view);
        if !sizes.contains(&(found.len() as u64)) {
            let events = &self.events;
            return Err(format!("{} bytes, sizes {sizes:?} ({view:?}) {events:#?}", found.len()));
        }
        self.judge(0, found, view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(history: &mut History, id: u64, at: u64, len: u64, submitted: Moment) -> usize {
        history.begin(What::Write { id, at, len }, submitted)
    }

    fn bytes(parts: &[(u64, Range<u64>)]) -> Vec<u8> {
        let of = |(id, range): &(u64, Range<u64>)| -> Vec<u8> {
            range.clone().map(|offset| byte_of(*id, offset)).collect()
        };
        parts.iter().flat_map(of).collect()
    }

    /// The example above.
    #[test]
    fn bytes_come_from_what_no_later_write_covers() {
        let mut history = History::default();
        let one = write(&mut history, 1, 0, 100, 1);
        history.end(one, 100, 2);
        let two = write(&mut history, 2, 50, 100, 3);
        write(&mut history, 3, 80, 10, 4);
        history.end(two, 100, 5);
        let now = View::Since(6);
        let with_3 = bytes(&[(1, 0..50), (2, 50..80), (3, 80..90), (2, 90..150)]);
        let without = bytes(&[(1, 0..50), (2, 50..150)]);
        assert_eq!(history.sizes(now), 150..=150);
        for found in [&with_3, &without] {
            history.judge_file(found, now).unwrap();
        }
        let old = bytes(&[(1, 0..60), (2, 60..150)]);
        assert!(history.judge_file(&old, now).is_err(), "1 was over before 2 began");
        // A read that began before 2 was over may have been first.
        history.judge(0, &old, View::Since(4)).unwrap();
        assert!(history.judge(0, &[0; 10], View::Since(4)).is_err(), "but not before 1");
        history.judge(0, &[0; 10], View::Since(1)).unwrap();
    }

    #[test]
    fn a_crash_keeps_what_a_sync_covered() {
        let mut history = History::default();
        let one = write(&mut history, 1, 0, 100, 1);
        history.end(one, 100, 2);
        let sync = history.ask(3);
        let two = write(&mut history, 2, 50, 100, 4);
        history.end(two, 100, 5);
        assert!(history.judge_file(&[], View::Crash).is_ok(), "nothing is durable");
        history.told_nothing(sync, 6);
        assert_eq!(history.sizes(View::Crash), 100..=150);
        let mixed = bytes(&[(1, 0..60), (2, 60..70), (1, 70..100)]);
        history.judge_file(&mixed, View::Crash).unwrap();
        assert!(history.judge(0, &[0; 3], View::Crash).is_err());
        history.flush_failed();
        let later = history.ask(7);
        history.told_nothing(later, 8);
        assert_eq!(history.sizes(View::Crash), 100..=150, "2 is doomed");
    }

    #[test]
    fn a_truncate_stands_between() {
        let mut history = History::default();
        let one = write(&mut history, 1, 0, 100, 1);
        let cut = history.begin(What::Truncate { len: 40 }, 2);
        let two = write(&mut history, 2, 60, 10, 3);
        // A read before the cut does not see what waits for it.
        assert!(history.judge(60, &bytes(&[(2, 60..70)]), View::Since(2)).is_ok());
        history.end(cut, 1, 4);
        assert!(history.judge(60, &bytes(&[(2, 60..70)]), View::Since(2)).is_err());
        history.end(one, 100, 4);
        history.end(two, 10, 4);
        assert_eq!(history.sizes(View::Since(5)), 70..=70);
        let mut found = bytes(&[(1, 0..40)]);
        found.resize(60, 0);
        found.extend(bytes(&[(2, 60..70)]));
        history.judge_file(&found, View::Since(5)).unwrap();
        found[45] = byte_of(1, 45);
        assert!(history.judge_file(&found, View::Since(5)).is_err(), "it was cut off");
    }

    #[test]
    fn an_ordered_file_keeps_order() {
        let mut history = History::new(true);
        let one = write(&mut history, 1, 0, 100, 1);
        let two = write(&mut history, 2, 50, 100, 2);
        history.end(one, 100, 4);
        history.end(two, 100, 4);
        let found = bytes(&[(1, 0..50), (2, 50..150)]);
        history.judge_file(&found, View::Since(5)).unwrap();
        assert!(history.judge_file(&bytes(&[(1, 0..100), (2, 100..150)]), View::Since(5)).is_err());
        // A read between the two sees the first and not the second.
        history.judge(50, &bytes(&[(1, 50..60)]), View::Since(2)).unwrap();
        assert!(history.judge(50, &[0; 10], View::Since(2)).is_err());
        assert!(history.judge(50, &bytes(&[(2, 50..60)]), View::Since(1)).is_err());
    }

    #[test]
    fn a_failure_leaves_old_or_new() {
        let mut history = History::default();
        history.rebase(vec![7; 20]);
        let one = write(&mut history, 1, 5, 10, 1);
        history.end(one, 4, 2);
        let mut found = vec![7; 20];
        assert!(history.judge_file(&found, View::Since(3)).is_err(), "4 bytes are confirmed");
        found[5..9].copy_from_slice(&bytes(&[(1, 5..9)]));
        history.judge_file(&found, View::Since(3)).unwrap();
        found[12] = byte_of(1, 12);
        history.judge_file(&found, View::Since(3)).unwrap();
        found[17] = 8;
        assert!(history.judge_file(&found, View::Since(3)).is_err());
    }
}
