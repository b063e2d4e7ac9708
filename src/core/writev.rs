//! The one machine for vectored and partial transfers, on every backend.
//!
//! A transfer is a list of parts. The ring takes them in calls of limited spans and bytes, and may
//! answer each call with any count. [`Cursor`] says where the next call begins; [`Gather`] fills a
//! call from there.
//!
//! Worked example: parts of 3, 0, 5 and 4 bytes, the last two adjacent in one allocation. The first
//! call is two spans, of 3 and of 9 bytes. The ring answers 5. The cursor moves to part 2, offset
//! 2, and the next call is one span of 3 + 4 = 7 bytes. The ring answers 7: done.

use littoral_platform::{Region, Span};

/// One buffer of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) span: Span,
    /// Which allocation it lies in: one span may cover neighbours in the same one only.
    pub(crate) allocation: usize,
    /// The piece of an arena that it lies in.
    pub(crate) region: Region,
}

/// A list of parts, by index, so that nobody has to collect them.
pub(crate) trait Parts {
    fn count(&self) -> usize;
    fn part(&self, index: usize) -> Part;
}

/// Where a transfer goes on: `offset` bytes into part `part`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    part: usize,
    offset: usize,
}

impl Cursor {
    /// Moves past `bytes` more.
    pub(crate) fn advance(&mut self, parts: &impl Parts, mut bytes: u64) {
        while bytes > 0 {
            let left = parts.part(self.part).span.len - self.offset;
            if bytes < left as u64 {
                // Less than `left`, which is a usize.
                #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
                let part_of_it = bytes as usize;
                self.offset += part_of_it;
                return;
            }
            bytes -= left as u64;
            *self = Cursor { part: self.part + 1, offset: 0 };
        }
    }

    /// Moves back by `bytes`, of those that it was moved past.
    pub(crate) fn step_back(&mut self, parts: &impl Parts, bytes: u64) {
        let mut bytes = usize::try_from(bytes).expect("it was moved past them");
        while bytes > self.offset {
            bytes -= self.offset;
            let part = self.part - 1;
            *self = Cursor { part, offset: parts.part(part).span.len };
        }
        self.offset -= bytes;
    }
}

/// Collects the spans of one call.
#[derive(Debug)]
pub(crate) struct Gather<'a> {
    spans: &'a mut Vec<Span>,
    spans_left: usize,
    bytes_left: usize,
    bytes: u64,
    last_allocation: usize,
    /// In which one all of the spans lie; `None` before the first.
    region: Option<Region>,
}

impl<'a> Gather<'a> {
    /// Starts a call of at most that many spans and bytes, both above zero.
    pub(crate) fn new(spans: &'a mut Vec<Span>, spans_max: usize, bytes_max: usize) -> Self {
        debug_assert!(spans_max > 0 && bytes_max > 0);
        spans.clear();
        Gather {
            spans,
            spans_left: spans_max,
            bytes_left: bytes_max,
            bytes: 0,
            last_allocation: 0,
            region: None,
        }
    }

    /// Adds what follows `cursor`; false if the call is full before the parts end.
    pub(crate) fn add(&mut self, parts: &impl Parts, cursor: Cursor) -> bool {
        let Cursor { part: first, mut offset } = cursor;
        for index in first..parts.count() {
            let Part { span, allocation, region } = parts.part(index);
            let rest = Span { ptr: span.ptr.wrapping_add(offset), len: span.len - offset };
            offset = 0;
            if rest.len == 0 {
                continue;
            }
            let bytes = self.bytes;
            let all = self.add_span(rest, allocation);
            if self.bytes > bytes {
                let known = self.region.get_or_insert(region);
                if *known != region {
                    // A call names one region, or none.
                    *known = Region::NONE;
                }
            }
            if !all {
                return false;
            }
        }
        true
    }

    fn add_span(&mut self, span: Span, allocation: usize) -> bool {
        let len = span.len.min(self.bytes_left);
        if len == 0 {
            return false;
        }
        match self.spans.last_mut() {
            Some(last)
                if self.last_allocation == allocation
                    && last.ptr.wrapping_add(last.len) == span.ptr =>
            {
                last.len += len;
            }
            _ if self.spans_left == 0 => return false,
            _ => {
                self.spans_left -= 1;
                self.spans.push(Span { ptr: span.ptr, len });
            }
        }
        self.last_allocation = allocation;
        self.bytes_left -= len;
        self.bytes += len as u64;
        len == span.len
    }

    /// The one region that all of the call lies in.
    pub(crate) fn region(&self) -> Region {
        self.region.unwrap_or(Region::NONE)
    }

    /// Bytes of the call.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parts as (address, length), all in one allocation if they touch.
    impl Parts for Vec<(usize, usize)> {
        fn count(&self) -> usize {
            self.len()
        }

        fn part(&self, index: usize) -> Part {
            let (at, len) = self[index];
            Part {
                span: Span { ptr: core::ptr::without_provenance_mut(at), len },
                allocation: 1,
                region: Region::NONE,
            }
        }
    }

    fn bytes_of(spans: &[Span]) -> Vec<usize> {
        spans.iter().flat_map(|s| s.ptr.addr()..s.ptr.addr() + s.len).collect()
    }

    #[test]
    fn the_worked_example() {
        let parts = vec![(100, 3), (0, 0), (200, 5), (205, 4)];
        let mut spans = Vec::new();
        let mut call = Gather::new(&mut spans, 8, 1000);
        assert!(call.add(&parts, Cursor::default()));
        assert_eq!(call.bytes(), 12);
        assert_eq!(spans.iter().map(|s| s.len).collect::<Vec<_>>(), [3, 9]);

        let mut cursor = Cursor::default();
        cursor.advance(&parts, 5);
        assert_eq!(cursor, Cursor { part: 2, offset: 2 });
        assert!(Gather::new(&mut spans, 8, 1000).add(&parts, cursor));
        assert_eq!(bytes_of(&spans), (202..209).collect::<Vec<_>>());
    }

    #[test]
    fn touching_allocations_stay_apart() {
        struct Two;
        impl Parts for Two {
            fn count(&self) -> usize {
                2
            }
            fn part(&self, index: usize) -> Part {
                let ptr = core::ptr::without_provenance_mut(4096 + 8 * index);
                Part { span: Span { ptr, len: 8 }, allocation: index, region: Region::NONE }
            }
        }
        let mut spans = Vec::new();
        assert!(Gather::new(&mut spans, 8, 100).add(&Two, Cursor::default()));
        assert_eq!(spans.len(), 2);
    }

    proptest! {
        /// Whatever was moved past, a step back is as if less had been.
        #[test]
        fn a_step_back_undoes_an_advance(
            lens in prop::collection::vec(0usize..9, 1..12),
            done in any::<prop::sample::Index>(),
            back in any::<prop::sample::Index>(),
        ) {
            let parts: Vec<(usize, usize)> = lens.iter().map(|&len| (1000, len)).collect();
            let total: usize = lens.iter().sum();
            let done = done.index(total + 1);
            let back = back.index(done + 1);
            let (mut stepped, mut fresh) = (Cursor::default(), Cursor::default());
            stepped.advance(&parts, done as u64);
            stepped.step_back(&parts, back as u64);
            fresh.advance(&parts, (done - back) as u64);
            let rest = |cursor| {
                let mut spans = Vec::new();
                let mut call = Gather::new(&mut spans, 100, 1000);
                call.add(&parts, cursor);
                (call.bytes(), spans)
            };
            prop_assert_eq!(rest(stepped), rest(fresh));
        }

        /// Whatever the limits and the counts, every byte travels once, in order.
        #[test]
        fn any_split_moves_every_byte_once(
            lens in prop::collection::vec((0usize..9, 0usize..2), 0..12),
            spans_max in 1usize..5,
            bytes_max in 1usize..20,
            answers in prop::collection::vec(1u64..20, 1..8),
        ) {
            let mut at = 1000;
            let parts: Vec<(usize, usize)> = lens
                .iter()
                .map(|&(len, gap)| {
                    at += gap;
                    let part = (at, len);
                    at += len;
                    part
                })
                .collect();
            let want: Vec<usize> = parts.iter().flat_map(|&(at, len)| at..at + len).collect();

            let (mut cursor, mut moved, mut spans) = (Cursor::default(), Vec::new(), Vec::new());
            let mut answers = answers.iter().cycle();
            loop {
                let mut call = Gather::new(&mut spans, spans_max, bytes_max);
                let complete = call.add(&parts, cursor);
                let bytes = call.bytes();
                prop_assert!(spans.len() <= spans_max && bytes <= bytes_max as u64);
                prop_assert!(spans.iter().all(|span| span.len > 0));
                if bytes == 0 {
                    prop_assert!(complete);
                    break;
                }
                let count = bytes.min(*answers.next().unwrap());
                let taken = usize::try_from(count).unwrap();
                moved.extend(bytes_of(&spans).into_iter().take(taken));
                cursor.advance(&parts, count);
            }
            prop_assert_eq!(moved, want);
        }
    }
}
