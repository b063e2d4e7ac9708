//! What of a file survives the loss of power.
//!
//! Beside the bytes that everyone sees stands the image that is durable, and the list of changes
//! that were made since. A flush lets the image catch up and empties the list. A crash ends with
//! the image and *some* of the list:
//!
//! - The size goes back to what it was after some number of the changes: metadata is journaled, so
//!   its changes survive in order.
//! - Each sector is as it was after some number of the changes *to that sector*. So a write that
//!   spans sectors comes out whole, not at all, or torn between any of them; a sector alone never
//!   does. Sectors and sizes know nothing of each other, except that bytes which a surviving cut
//!   took off stay off, and that nothing is there which was written after a cut that did not
//!   survive.
//!
//! ```text
//! sectors of 512:  durable "aaaa", size 2048; write "bb" at 0, truncate 1024, write "cc" at 512
//! size:            2048 | 2048 | 1024 | 1536           after 0, 1, 2, 3 changes
//! sector 0:        a | b       sector 1: a | b | c   sector 2: a | (cut) | c   sector 3: a | (cut)
//! a crash:         the size of 1 change, so 2048 and the cut did not survive:  b a a a, for one
//! another:         all 3: sectors 2 and 3 were cut for sure:  a c c, or b b 0, size 1536
//! ```
//!
//! A flush that fails is like a crash of the file that nobody notices: some of the changes became
//! durable, the others never will, because the cache takes its pages for clean; what everyone sees
//! is unchanged (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::contents::{Contents, Page, resize, split, wipe};
use super::{PAGE, Random};

/// Changes kept, in bytes. A cache does not hold everything back for ever: past this, the oldest
/// ones become durable.
const UNSYNCED_MAX: usize = 4 << 20;

/// What a change costs beyond its bytes, so that their number is bounded, too.
const CHANGE_COST: usize = 256;

#[derive(Debug)]
enum Change {
    Write {
        at: u64,
        bytes: Box<[u8]>,
    },
    Resize {
        len: u64,
    },
    /// Zeros that nobody wrote: sector by sector as a write of them, and as small as a cut. The
    /// size is changed by it if it `grows`.
    Zero {
        range: Range<u64>,
        grows: bool,
    },
}

impl Change {
    fn cost(&self) -> usize {
        match self {
            Change::Write { bytes, .. } => CHANGE_COST + bytes.len(),
            Change::Resize { .. } | Change::Zero { .. } => CHANGE_COST,
        }
    }

    fn size_after(&self, size: u64) -> u64 {
        match self {
            Change::Write { at, bytes } => size.max(at + bytes.len() as u64),
            Change::Resize { len } => *len,
            Change::Zero { range, grows: true } => size.max(range.end),
            Change::Zero { .. } => size,
        }
    }
}

/// The durable side of a file.
#[derive(Debug, Default)]
pub(super) struct Stable {
    image: Image,
    unsynced: Vec<Change>,
    cost: usize,
    /// Sectors that cannot be read, until they are written.
    pub(super) bad: BTreeSet<u64>,
}

/// A file's bytes: as in [`Contents`], without a disk to take room on.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) pages: BTreeMap<u64, Page>,
    pub(super) size: u64,
}

impl Image {
    fn write(&mut self, mut at: u64, mut bytes: &[u8]) {
        self.size = self.size.max(at + bytes.len() as u64);
        while !bytes.is_empty() {
            let (page, within) = split(at);
            let (part, rest) = bytes.split_at(bytes.len().min(PAGE - within));
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + part.len()].copy_from_slice(part);
            at += part.len() as u64;
            bytes = rest;
        }
    }

    fn resize(&mut self, len: u64) {
        resize(&mut self.pages, len);
        self.size = len;
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { at, bytes } => self.write(*at, bytes),
            Change::Resize { len } => self.resize(*len),
            Change::Zero { range, .. } => {
                self.size = change.size_after(self.size);
                wipe(&mut self.pages, range.clone());
            }
        }
    }
}

impl Stable {
    /// A file that is durable as it is.
    pub(super) fn of(image: Image) -> Stable {
        Stable { image, ..Stable::default() }
    }

    /// The first byte at or after `at` that cannot be read.
    pub(super) fn first_bad(&self, at: u64, sector: u64) -> u64 {
        let bad = self.bad.range(at / sector..).next();
        bad.map_or(u64::MAX, |bad| at.max(bad * sector))
    }

    pub(super) fn wrote(&mut self, at: u64, bytes: &[u8], sector: u64) {
        if !bytes.is_empty() {
            self.mend(&(at..at + bytes.len() as u64), sector);
            self.changed(Change::Write { at, bytes: bytes.into() });
        }
    }

    /// A range was made zeros; it is not empty.
    pub(super) fn zeroed(&mut self, range: Range<u64>, grows: bool, sector: u64) {
        self.mend(&range, sector);
        self.changed(Change::Zero { range, grows });
    }

    /// A bad sector is sound again once something was written to it.
    fn mend(&mut self, range: &Range<u64>, sector: u64) {
        if !self.bad.is_empty() {
            let written = range.start / sector..=(range.end - 1) / sector;
            self.bad.retain(|bad| !written.contains(bad));
        }
    }

    pub(super) fn resized(&mut self, len: u64) {
        self.changed(Change::Resize { len });
    }

    fn changed(&mut self, change: Change) {
        self.cost += change.cost();
        self.unsynced.push(change);
        if self.cost <= UNSYNCED_MAX {
            return;
        }
        let mut written_back = 0;
        while self.cost > UNSYNCED_MAX / 2 {
            let change = &self.unsynced[written_back];
            self.image.apply(change);
            self.cost -= change.cost();
            written_back += 1;
        }
        self.unsynced.drain(..written_back);
    }

    /// Everything that is seen is durable from now on.
    pub(super) fn flush(&mut self, seen: &Contents) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { at, bytes } => {
                    let last = at + bytes.len() as u64 - 1;
                    for page in split(at).0..=split(last).0 {
                        // Cut off since, if it is not there.
                        if let Some(bytes) = seen.pages().get(&page) {
                            self.image.pages.insert(page, Arc::clone(bytes));
                        }
                    }
                }
                Change::Resize { len } => self.image.resize(len),
                Change::Zero { range, .. } => {
                    wipe(&mut self.image.pages, range);
                }
            }
        }
        self.cost = 0;
        self.image.resize(seen.size());
    }

    /// The bytes there, with all of their pages, and the size, are durable from now on.
    pub(super) fn flush_range(&mut self, seen: &Contents, at: u64, len: u64) {
        if len == 0 {
            return;
        }
        let journaled = |change: &Change| !matches!(change, Change::Write { .. });
        if self.unsynced.iter().any(journaled) {
            // Sizes and holes, as one with all that came before.
            self.flush(seen);
            return;
        }
        let pages = split(at).0..=split(at + len - 1).0;
        let (start, end) = (pages.start() * PAGE as u64, (pages.end() + 1) * PAGE as u64);
        for page in pages {
            if let Some(bytes) = seen.pages().get(&page) {
                self.image.pages.insert(page, Arc::clone(bytes));
            }
        }
        let mut left = Vec::new();
        for change in self.unsynced.drain(..) {
            let Change::Write { at, bytes } = change else { unreachable!("it is journaled") };
            let (first, last) = (start.saturating_sub(at), end.saturating_sub(at));
            let within = |n: u64| usize::try_from(n).map_or(bytes.len(), |n| n.min(bytes.len()));
            let (before, behind) = (&bytes[..within(first)], &bytes[within(last)..]);
            if !before.is_empty() {
                left.push(Change::Write { at, bytes: before.into() });
            }
            if !behind.is_empty() {
                left.push(Change::Write { at: at.max(end), bytes: behind.into() });
            }
        }
        self.unsynced = left;
        self.cost = self.unsynced.iter().map(Change::cost).sum();
        self.image.resize(seen.size());
    }

    /// A flush that fails: some of it becomes durable, and the rest is forgotten.
    pub(super) fn fail_to_flush(&mut self, random: &mut Random, sector: u64) {
        self.image = self.after_crash(random, sector);
        self.unsynced.clear();
        self.cost = 0;
    }

    /// What is left once the power was lost.
    pub(super) fn after_crash(&self, random: &mut Random, sector: u64) -> Image {
        let mood = Mood::any(random);
        // So many changes of the size survive.
        let survived = mood.choose(random, self.unsynced.len());
        let mut after = self.image.clone();
        for (sector_number, touched_by) in self.touched(sector) {
            // The last cut that survived holds for sure, and nothing after the first that did not.
            let is_cut = |change: &&usize| matches!(self.unsynced[**change], Change::Resize { .. });
            let cuts = touched_by.iter().filter(is_cut);
            let (held, lost): (Vec<usize>, Vec<usize>) =
                cuts.partition(|change| **change < survived);
            let place = |change: &usize| touched_by.binary_search(change).expect("it is in there");
            let least = held.last().map_or(0, |cut| place(cut) + 1);
            let most = lost.first().map_or(touched_by.len(), place);
            let chosen = least + mood.choose(random, most - least);
            let start = sector_number * sector;
            for change in &touched_by[..chosen] {
                after.apply_within(&self.unsynced[*change], start..start.saturating_add(sector));
            }
        }
        let size = self.unsynced[..survived].iter().fold(self.image.size, |s, c| c.size_after(s));
        after.resize(size);
        after
    }

    /// The sectors that changes touch, each with the places of those in the list, in order. A
    /// change of the size touches what it cuts off.
    fn touched(&self, sector: u64) -> BTreeMap<u64, Vec<usize>> {
        let mut touched: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let cut = |change: &Change| match change {
            Change::Resize { len } => Some(*len),
            Change::Write { .. } | Change::Zero { .. } => None,
        };
        if let Some(shortest) = self.unsynced.iter().filter_map(cut).min() {
            for page in self.image.pages.range(split(shortest).0..) {
                let start = page.0 * PAGE as u64;
                for sector in start / sector..(start + PAGE as u64).div_ceil(sector) {
                    touched.entry(sector).or_default();
                }
            }
        }
        for change in &self.unsynced {
            match change {
                Change::Write { at, bytes } => {
                    let last = at + bytes.len() as u64 - 1;
                    for sector in at / sector..=last / sector {
                        touched.entry(sector).or_default();
                    }
                }
                // Elsewhere there are zeros already, or what another change has written.
                Change::Zero { range, .. } => {
                    let (first, last) = (split(range.start).0, split(range.end - 1).0);
                    for page in self.image.pages.range(first..=last) {
                        let start = page.0 * PAGE as u64;
                        for sector in start / sector..(start + PAGE as u64).div_ceil(sector) {
                            touched.entry(sector).or_default();
                        }
                    }
                }
                Change::Resize { .. } => {}
            }
        }
        for (place, change) in self.unsynced.iter().enumerate() {
            let range = match change {
                Change::Write { at, bytes } => at / sector..=(at + bytes.len() as u64 - 1) / sector,
                Change::Resize { len } => len / sector..=u64::MAX,
                Change::Zero { range, .. } => range.start / sector..=(range.end - 1) / sector,
            };
            touched.range_mut(range).for_each(|(_, by)| by.push(place));
        }
        touched
    }
}

impl Image {
    /// As [`Image::apply`], to the bytes in that range, and not to the size.
    fn apply_within(&mut self, change: &Change, range: Range<u64>) {
        let size = self.size;
        match change {
            Change::Write { at, bytes } => {
                let (start, end) = (range.start.max(*at), range.end.min(at + bytes.len() as u64));
                let within = |offset: u64| usize::try_from(offset - at).expect("it is in there");
                self.write(start, &bytes[within(start)..within(end)]);
            }
            Change::Resize { len } => {
                wipe(&mut self.pages, range.start.max(*len)..range.end);
            }
            Change::Zero { range: zeros, .. } => {
                let (start, end) = (range.start.max(zeros.start), range.end.min(zeros.end));
                wipe(&mut self.pages, start..end);
            }
        }
        self.size = size;
    }
}

/// How a crash chooses: all or nothing come out as well, not only what is torn everywhere.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Nothing,
    Everything,
    Anything,
}

impl Mood {
    fn any(random: &mut Random) -> Mood {
        match random.below(8) {
            0 => Mood::Nothing,
            1 => Mood::Everything,
            _ => Mood::Anything,
        }
    }

    /// A number up to `most`.
    fn choose(self, random: &mut Random, most: usize) -> usize {
        match self {
            Mood::Nothing => 0,
            Mood::Everything => most,
            Mood::Anything => random.below(most + 1),
        }
    }
}
