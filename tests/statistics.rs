//! Do the counters move when they should, by as much as they should?
//!
//! On a simulated disk, where nothing happens by chance: its ring is calm, and misbehaves only at
//! the word of a script.

use std::sync::Arc;

use littoral::platform::faulty::{Faults, Faulty, OpKind, Outcome, Rule, Script};
use littoral::platform::simulated::{Config as Disposition, Disk, Permille, Simulated};
use littoral::platform::{Errno, Setup};
use littoral::{
    Buffer, Config, ErrorKind, File, Io, OpenOptions, Statistics, SyncKind, Wait, start_on, wait,
};

const OPERATIONS: u32 = 32;

struct Bench {
    io: Arc<dyn Io>,
    file: Arc<dyn File>,
    script: Script,
    before: Statistics,
}

impl Bench {
    /// Calls of that many bytes are worth merging; 0: none are.
    fn new(call_cost: usize) -> Bench {
        let disposition = Disposition {
            prompt: Permille::ALWAYS,
            write_call_cost: call_cost,
            read_call_cost: call_cost,
            ..Disposition::default()
        };
        let ring = Simulated::new(&Setup { root: None, in_flight: 64 }, Disk::new(), disposition);
        let script = Script::new();
        let ring = Faulty::new(ring, Faults::default(), script.clone());
        let config = Config::new().operations(OPERATIONS);
        let io = start_on(Box::new(ring), config).expect("a driver");
        let open = io.open("file", OpenOptions::new().create(true));
        let file = wait(&*io, open).expect("it opens");
        wait(&*io, file.pwrite(0, vec![7; 64 * 1024].into())).expect("it is written");
        let before = io.statistics();
        Bench { io, file, script, before }
    }

    /// What was counted since the start of the test, and what is alive now.
    fn counted(&self) -> Statistics {
        let (now, before) = (self.io.statistics(), self.before);
        Statistics {
            accepted: now.accepted - before.accepted,
            refused: now.refused - before.refused,
            pushed: now.pushed - before.pushed,
            merged: now.merged - before.merged,
            resumed: now.resumed - before.resumed,
            retried: now.retried - before.retried,
            syncs_shared: now.syncs_shared - before.syncs_shared,
            stale: now.stale - before.stale,
            ..now
        }
    }
}

#[test]
fn a_plain_operation_is_one_entry() {
    let bench = Bench::new(0);
    wait(&*bench.io, bench.file.pwrite(0, b"x".into())).expect("it is written");
    wait(&*bench.io, bench.file.pread(0, Buffer::with_capacity(100))).expect("it is read");
    wait(&*bench.io, bench.file.sync(SyncKind::Data)).expect("it is flushed");
    let expected = Statistics { accepted: 3, pushed: 3, ..Statistics::default() };
    assert_eq!(bench.counted(), expected);
}

#[test]
fn neighbours_are_merged_where_calls_are_dear() {
    // Ten in one entry; none merged; or ten in entries of at most four.
    for (call_cost, merged) in [(64 * 1024, 9), (0, 0), (400, 7)] {
        let bench = Bench::new(call_cost);
        let writes: Vec<_> =
            (0..10).map(|n| bench.file.pwrite(n * 100, vec![8; 100].into())).collect();
        for write in writes {
            wait(&*bench.io, write).expect("it is written");
        }
        let counted = bench.counted();
        assert_eq!((counted.merged, counted.pushed), (merged, 10 - merged), "cost {call_cost}");
    }
}

#[test]
fn what_is_no_neighbour_is_not_merged() {
    let bench = Bench::new(64 * 1024);
    let started = [
        bench.file.pwrite(0, b"abc".into()),
        bench.file.pwrite(10, b"a gap".into()),
        bench.file.truncate(1000),
        bench.file.pwrite(15, b"behind a barrier".into()),
    ];
    for completion in started {
        wait(&*bench.io, completion).expect("nothing fails");
    }
    assert_eq!((bench.counted().merged, bench.counted().pushed), (0, 4));
}

#[test]
fn the_rest_of_a_short_count_is_resumed() {
    let bench = Bench::new(0);
    bench.script.push(Rule::next(OpKind::Write, Outcome::Short(10)).times(3));
    wait(&*bench.io, bench.file.pwrite(0, vec![1; 100].into())).expect("it is written");
    assert_eq!((bench.counted().resumed, bench.counted().pushed), (3, 4));

    bench.script.push(Rule::next(OpKind::Read, Outcome::Short(10)).times(1));
    let read = wait(&*bench.io, bench.file.pread(0, Buffer::with_capacity(100)));
    assert_eq!(read.expect("it is read").len(), 100);
    // A short read asks for the size first: it may be the end.
    assert_eq!((bench.counted().resumed, bench.counted().pushed), (4, 7));
    assert_eq!(bench.counted().retried, 0);
}

#[test]
fn an_interruption_is_retried() {
    let bench = Bench::new(0);
    let cases = [
        (OpKind::Write, Errno::INTR),
        (OpKind::Write, Errno::AGAIN),
        // As of a thread that has ended.
        (OpKind::Write, Errno::CANCELED),
        (OpKind::Read, Errno::FAULT),
        (OpKind::Sync, Errno::INTR),
        (OpKind::Truncate, Errno::CANCELED),
    ];
    let mut retried = 0;
    for (op, code) in cases {
        bench.script.push(Rule::next(op, Outcome::Fail(code)).times(2));
        retried += 2;
        let ended = match op {
            OpKind::Write => wait(&*bench.io, bench.file.pwrite(0, b"again".into())),
            OpKind::Sync => wait(&*bench.io, bench.file.sync(SyncKind::Full)),
            OpKind::Truncate => wait(&*bench.io, bench.file.truncate(100)),
            _ => wait(&*bench.io, bench.file.pread(0, Buffer::with_capacity(5))).map(drop),
        };
        ended.unwrap_or_else(|error| panic!("{op:?} {code:?}: {error}"));
        assert_eq!(bench.counted().retried, retried, "{op:?} {code:?}");
    }
    assert_eq!((bench.counted().resumed, bench.script.pending()), (0, 0));
}

#[test]
fn syncs_that_wait_together_share_a_flush() {
    let bench = Bench::new(0);
    bench.script.push(Rule::next(OpKind::Write, Outcome::Late));
    let write = bench.file.pwrite(0, b"x".into());
    let syncs: Vec<_> = (0..5).map(|_| bench.file.sync(SyncKind::Data)).collect();
    bench.io.step(bench.io.delivered(), Wait::No);
    bench.script.release();
    wait(&*bench.io, write).expect("it is written");
    for sync in syncs {
        wait(&*bench.io, sync).expect("it is flushed");
    }
    assert_eq!((bench.counted().syncs_shared, bench.counted().pushed), (4, 2));
}

#[test]
fn what_is_alive_and_in_flight_is_told() {
    let bench = Bench::new(0);
    bench.script.push(Rule::next(OpKind::Write, Outcome::Park).times(3));
    let writes: Vec<_> = (0..3).map(|n| bench.file.pwrite(n * 100, b"x".into())).collect();
    let behind = bench.file.sync(SyncKind::Data);
    assert_eq!((bench.counted().alive, bench.counted().in_flight), (4, 0));
    bench.io.step(bench.io.delivered(), Wait::No);
    assert_eq!((bench.counted().alive, bench.counted().in_flight), (4, 3));
    bench.script.release();
    wait(&*bench.io, behind).expect("it is flushed");
    // Done, and not taken.
    assert_eq!((bench.counted().alive, bench.counted().in_flight), (3, 0));
    drop(writes);
    assert_eq!(bench.counted().alive, 0);
}

#[test]
fn refusals_are_counted() {
    let bench = Bench::new(0);
    let past = bench.file.pwrite(u64::MAX, b"x".into());
    let name = bench.io.open("../x", OpenOptions::new());
    let refusals = [wait(&*bench.io, past).map_err(|e| e.kind()), {
        wait(&*bench.io, name).map(drop).map_err(|e| e.kind())
    }];
    assert_eq!(refusals, [Err(ErrorKind::InvalidInput); 2]);
    assert_eq!((bench.counted().refused, bench.counted().accepted), (2, 0));

    let lying: Vec<_> = (0..OPERATIONS).map(|_| bench.file.size()).collect();
    let one_more = wait(&*bench.io, bench.file.size());
    assert_eq!(one_more.map_err(|e| e.kind()), Err(ErrorKind::Saturated));
    assert_eq!(bench.counted().refused, 3);
    drop(lying);
}
