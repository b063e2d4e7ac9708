//! What a call costs, by size: from this come the limits that the engine merges by.

use littoral_platform::{Handle, Op, OpenFlags, Ring, Span, Sqe, SyncKind, Tag, clock};
use serde::Serialize;

use super::{Driver, span_of};

/// A cost.
#[derive(Serialize)]
pub(crate) struct Cost {
    what: String,
    bytes: usize,
    /// The median of the rounds.
    micros: f64,
}

const ROUNDS: usize = 15;
const SPACE: usize = 8 << 20;

/// Measures them all.
pub(crate) async fn all() -> Vec<Cost> {
    let mut d = Driver::new(Some("ring-costs"));
    let file = d
        .open("a", OpenFlags::WRITE | OpenFlags::CREATE)
        .await
        .unwrap_or_else(|errno| panic!("open: {errno}"));
    let mut bench = Bench { buffer: vec![3; SPACE], d, file };
    bench.run(&[Op::Write { file, at: 0, span: span_of(&bench.buffer) }]);
    let mut costs = Vec::new();
    for shift in [9, 12, 14, 16, 17, 18, 19, 20, 21, 22] {
        let bytes = 1 << shift;
        // Few enough to stay inside the file, many enough for a clock of coarse steps.
        let times = (SPACE / bytes).min(64);
        costs.push(bench.spread("write", bytes, times, |at, span| Op::Write { file, at, span }));
        costs.push(bench.spread("read", bytes, times, |at, span| Op::Read { file, at, span }));
    }
    costs.push(bench.time("size", 0, 64, &vec![Op::Size { file }; 64]));
    costs.push(bench.turns().await);
    for pages in [2, 4, 16, 64, 256] {
        bench.vectors(pages, &mut costs);
    }
    let page = Span { ptr: bench.buffer.as_mut_ptr(), len: 4096 };
    let commit = [Op::Write { file, at: 0, span: page }, Op::Sync { file, kind: SyncKind::Data }];
    costs.push(bench.time("write 4096 and sync", 4096, 1, &commit));
    // Leaves nothing of 8 MiB behind.
    bench.run(&[Op::Truncate { file, len: 0 }, Op::Close { file }]);
    costs
}

struct Bench {
    d: Driver,
    file: Handle,
    buffer: Vec<u8>,
}

impl Bench {
    /// `ops` in one submission. All of them point into `buffer`, or to arrays of the caller.
    fn run(&mut self, ops: &[Op]) {
        let ring = &mut self.d.ring;
        for op in ops {
            // SAFETY: everything is executed inside `submit`, below.
            unsafe { ring.push(&Sqe::new(Tag(0), *op)) }.expect("room");
        }
        ring.submit().expect("a ring that takes entries");
        for op in ops {
            let cqe = ring.reap().expect("executed at submit");
            assert!(cqe.result.is_ok(), "{op:?}: {:?}", cqe.result);
        }
    }

    fn spread(
        &mut self,
        what: &str,
        bytes: usize,
        times: usize,
        op: impl Fn(u64, Span) -> Op,
    ) -> Cost {
        let base = self.buffer.as_mut_ptr();
        let ops: Vec<Op> = (0..times)
            .map(|index| {
                // Scattered in the file and in memory.
                let at = (index * 7 % times) * (SPACE / times);
                op(at as u64, Span { ptr: base.wrapping_add(at), len: bytes })
            })
            .collect();
        self.time(what, bytes, times, &ops)
    }

    /// The median time of `ops`, for one of `times`.
    fn time(&mut self, what: &str, bytes: usize, times: usize, ops: &[Op]) -> Cost {
        let mut rounds: Vec<u64> = (0..ROUNDS)
            .map(|_| {
                let begun = clock::monotonic_nanos();
                self.run(ops);
                clock::monotonic_nanos() - begun
            })
            .collect();
        rounds.sort_unstable();
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a measurement")]
        let micros = rounds[ROUNDS / 2] as f64 / times as f64 / 1e3;
        Cost { what: what.to_owned(), bytes, micros }
    }

    /// What an engine pays that awaits each result: the doorbell, and the host's turn after it.
    async fn turns(&self) -> Cost {
        const TURNS: u32 = 500;
        let bell = self.d.doorbell();
        let begun = clock::monotonic_nanos();
        for _ in 0..TURNS {
            bell.ring();
            self.d.turn().await;
        }
        let nanos = clock::monotonic_nanos() - begun;
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a measurement")]
        let micros = nanos as f64 / f64::from(TURNS) / 1e3;
        Cost { what: "turn of the host".to_owned(), bytes: 0, micros }
    }

    /// Pages that lie apart in memory: one vector, against a call each.
    fn vectors(&mut self, pages: usize, costs: &mut Vec<Cost>) {
        const PAGE: usize = 4096;
        let (file, base) = (self.file, self.buffer.as_mut_ptr());
        let spans: Vec<Span> = (0..pages)
            .map(|page| Span { ptr: base.wrapping_add(page * 2 * PAGE), len: PAGE })
            .collect();
        let (spans_at, count) = (spans.as_ptr(), u32::try_from(pages).expect("few pages"));
        let bytes = pages * PAGE;
        let gathered = Op::Writev { file, at: 0, spans: spans_at, count };
        let scattered = Op::Readv { file, at: 0, spans: spans_at, count };
        let offsets = (0_u64..).step_by(PAGE);
        let writes: Vec<Op> = offsets
            .clone()
            .zip(&spans)
            .map(|(at, span)| Op::Write { file, at, span: *span })
            .collect();
        let reads: Vec<Op> =
            offsets.zip(&spans).map(|(at, span)| Op::Read { file, at, span: *span }).collect();
        costs.push(self.time(&format!("{pages} pages in one writev"), bytes, 1, &[gathered]));
        costs.push(self.time(&format!("{pages} pages in {pages} writes"), bytes, 1, &writes));
        costs.push(self.time(&format!("{pages} pages in one readv"), bytes, 1, &[scattered]));
        costs.push(self.time(&format!("{pages} pages in {pages} reads"), bytes, 1, &reads));
    }
}
