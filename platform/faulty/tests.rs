//! That a faulty ring misbehaves as told, tells no lies, and lets a plain engine get on.

use core::time::Duration;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::{Event, Faults, Faulty, OpKind, Outcome, PATIENCE, Permille, Rule, Script, Way};
use crate::simulated::pump::{Pump, create, name, source, span};
use crate::simulated::{Config, Disk, Random, Simulated};
use crate::{Cqe, Direct, Errno, Handle, Limits, Op, Ring, Setup, Span, SyncKind, Tag};

fn simulated(disk: &Disk, seed: u64) -> Simulated {
    let setup = Setup { root: None, in_flight: 8 };
    Simulated::new(&setup, disk.clone(), Config::seeded(seed))
}

fn faulty(disk: &Disk, faults: Faults, script: &Script) -> Pump<Faulty<Simulated>> {
    let inner = simulated(disk, faults.seed);
    Pump::new(Faulty::new(inner, faults, script.clone()))
}

/// No faults but the script's, and a file of `len` bytes to read.
fn scripted(disk: &Disk, len: usize) -> (Pump<Faulty<Simulated>>, Script, Handle) {
    let script = Script::new();
    let mut pump = faulty(disk, Faults::default(), &script);
    let file = pump.open(c"f", create()).unwrap();
    assert_eq!(pump.write(file, 0, &pattern(len)), Ok(len as u64));
    drop(script.take_log());
    (pump, script, file)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

/// One step of a model run: entries on disjoint blocks, all in flight together.
const BLOCK: usize = 6000;

fn model_run<R: Ring>(pump: &mut Pump<Faulty<R>>, contents: impl Fn() -> Vec<u8>, seed: u64) {
    let mut random = Random::new(!seed);
    let file = pump.open(c"f", create()).unwrap();
    let mut model: Vec<u8> = Vec::new();
    for round in 0..6 {
        let at = |block: usize| (block * BLOCK) as u64;
        let writes: Vec<bool> = (0..12).map(|_| random.below(2) == 0).collect();
        let mut bytes: Vec<Vec<u8>> =
            (0..12).map(|n| vec![if writes[n] { 16 * round + 1 } else { 0xee }; BLOCK]).collect();
        // Two thirds go as three spans, one of them empty.
        let spans: Vec<[Span; 3]> = bytes
            .iter_mut()
            .map(|bytes| {
                let (one, two) = bytes.split_at_mut(random.below(BLOCK));
                [span(one), span(&mut []), span(two)]
            })
            .collect();
        let ops: Vec<Op> = (0..12)
            .map(|n| match (writes[n], n % 3) {
                (true, 0) => Op::Write { file, at: at(n), span: source(&bytes[n]) },
                (true, _) => Op::Writev { file, at: at(n), spans: spans[n].as_ptr(), count: 3 },
                (false, 0) => Op::Read { file, at: at(n), span: span(&mut bytes[n]) },
                (false, _) => Op::Readv { file, at: at(n), spans: spans[n].as_ptr(), count: 3 },
            })
            .collect();
        let before = model.clone();
        let results = pump.run(&ops);
        for (n, result) in results.into_iter().enumerate() {
            let context = || format!("seed {seed} round {round} block {n}: {result:?}");
            let count = match result {
                Ok(count) => usize::try_from(count).unwrap(),
                Err(code) => {
                    assert!(matches!(code, Errno::INTR | Errno::AGAIN), "{}", context());
                    0
                }
            };
            assert!(count <= BLOCK, "{}", context());
            let from = n * BLOCK;
            if writes[n] {
                assert!(count > 0 || result.is_err(), "{}", context());
                if count > 0 {
                    model.resize(model.len().max(from + count), 0);
                    model[from..from + count].fill(16 * round + 1);
                }
            } else {
                let known = before.get(from..).unwrap_or(&[]);
                let known = &known[..known.len().min(count)];
                // A concurrent write beyond can grow the file: then what is new reads as zeros.
                assert_eq!(&bytes[n][..known.len()], known, "{}", context());
                assert!(bytes[n][known.len()..count].iter().all(|b| *b == 0), "{}", context());
                assert!(bytes[n][count..].iter().all(|b| *b == 0xee), "{}", context());
            }
        }
        assert!(contents() == model, "seed {seed} round {round}");
    }
}

/// Every mixture of never, sometimes, mostly and always.
fn mixture(seed: u64) -> Faults {
    let rates = [Permille::NEVER, Permille(300), Permille(900), Permille::ALWAYS];
    let mut random = Random::new(seed);
    let mut rate = || rates[random.below(rates.len())];
    Faults {
        seed,
        short: rate(),
        interrupt: rate(),
        refuse: rate(),
        delay: rate(),
        reorder: rate(),
        in_flight: seed.is_multiple_of(3).then_some(2),
        ..Faults::default()
    }
}

#[test]
fn a_plain_engine_gets_on_and_every_count_is_true() {
    for seed in 0..256 {
        for waits in [true, false] {
            let disk = Disk::new();
            let mut pump = faulty(&disk, mixture(seed), &Script::new());
            pump.waits = waits;
            model_run(&mut pump, || disk.contents("f").unwrap(), seed);
        }
    }
}

#[test]
fn it_gets_on_where_the_host_takes_turns() {
    for seed in 0..256 {
        let disk = Disk::new();
        let setup = Setup { root: None, in_flight: 8 };
        let inner = Simulated::new(&setup, disk.clone(), Config::hosted(seed));
        let host = inner.host();
        let mut pump = Pump::new(Faulty::new(inner, mixture(seed), Script::new()));
        pump.host = Some(host);
        model_run(&mut pump, || disk.contents("f").unwrap(), seed);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn it_gets_on_over_the_kernels_ring() {
    for seed in 0..64 {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        let inner = crate::Uring::new(&Setup { root: Some(root), in_flight: 8 }).unwrap();
        let mut pump = Pump::new(Faulty::new(inner, mixture(seed), Script::new()));
        let contents = || std::fs::read(folder.path().join("f")).unwrap();
        model_run(&mut pump, contents, seed);
    }
}

#[test]
fn a_seed_is_a_run() {
    let run = |seed| {
        let (disk, script) = (Disk::new(), Script::new());
        let mut pump = faulty(&disk, Faults::rough(seed), &script);
        model_run(&mut pump, || disk.contents("f").unwrap(), 5);
        (pump.trace, script.take_log())
    };
    let (one, same, other) = (run(1), run(1), run(2));
    assert_eq!(one, same);
    assert_ne!(one.0, other.0);
}

#[test]
fn every_fault_happens() {
    let (disk, script) = (Disk::new(), Script::new());
    let mut pump = faulty(&disk, Faults::rough(3), &script);
    for _ in 0..20 {
        model_run(&mut pump, || disk.contents("f").unwrap(), 3);
        pump.one(Op::Truncate { file: Handle(0), len: 0 }).unwrap();
        pump.run(&[Op::Remove { name: name(c"f") }]);
    }
    let log = script.take_log();
    let count = |is: &dyn Fn(&Event) -> bool| log.iter().filter(|event| is(event)).count();
    let short = |event: &Event| {
        matches!(event, Event::Taken { way: Way::Forwarded, entry, bytes, .. }
            if *bytes < entry.bytes)
    };
    assert!(count(&short) > 100);
    assert!(count(&|event| matches!(event, Event::Taken { way: Way::Answered, .. })) > 30);
    assert!(count(&|event| matches!(event, Event::Refused(_))) > 30);
    let ended = |event: &Event| match event {
        Event::Ended { tag, .. } => *tag,
        _ => None,
    };
    let ends: Vec<Tag> = log.iter().filter_map(ended).collect();
    assert!(!ends.is_sorted(), "completions change places");
    assert!(pump.vain > 30, "completions are late: {} vain rounds", pump.vain);
}

#[test]
fn a_delay_is_one_to_three_rounds() {
    let faults = Faults { delay: Permille::ALWAYS, ..Faults::default() };
    let setup = Setup { root: None, in_flight: 8 };
    let inner = Simulated::new(&setup, Disk::new(), Config::hosted(0));
    let mut pump = Pump::new(Faulty::new(inner, faults, Script::new()));
    pump.waits = false;
    let mut rounds = [0; 5];
    for _ in 0..90 {
        let vain = pump.vain;
        assert_eq!(pump.one(Op::Size { file: Handle(0) }), Err(Errno::BADF));
        rounds[(pump.vain - vain) as usize] += 1;
    }
    assert!(rounds[0] == 0 && rounds[4] == 0, "{rounds:?}");
    assert!(rounds[1..4].iter().all(|count| *count > 9), "{rounds:?}");
}

#[test]
fn nothing_is_refused_where_nothing_is_under_way() {
    let faults = Faults { refuse: Permille::ALWAYS, ..Faults::default() };
    let mut pump = faulty(&Disk::new(), faults, &Script::new());
    for _ in 0..20 {
        let size = Op::Size { file: Handle(0) };
        let tag = pump.push(size).expect("it has nothing to wait for");
        assert!(pump.push(size).is_err());
        pump.submit();
        let end = (0..3).find_map(|_| pump.reap()).unwrap();
        assert_eq!(end.tag, tag);
    }
}

#[test]
fn interruptions_at_one_place_end() {
    let disk = Disk::new();
    let faults = Faults { interrupt: Permille::ALWAYS, short: Permille::ALWAYS, ..rough() };
    let mut pump = faulty(&disk, faults, &Script::new());
    let file = pump.open(c"f", create()).unwrap();
    let bytes = pattern(100_000);
    let mut done = 0;
    while done < bytes.len() {
        let op = Op::Write { file, at: done as u64, span: source(&bytes[done..]) };
        let tried = pump.trace.len();
        let count = pump.insist(op).unwrap();
        assert_eq!(pump.trace.len() - tried, 4, "three interruptions, then some bytes");
        done += usize::try_from(count).unwrap();
    }
    assert_eq!(pump.insist(Op::Sync { file, kind: SyncKind::Data }), Ok(0));
    assert_eq!(disk.contents("f").unwrap(), bytes);
}

fn rough() -> Faults {
    Faults::rough(11)
}

#[test]
fn a_vector_can_be_cut_at_every_byte() {
    let parts: [&[u8]; 6] = [b"", b"abc", b"d", b"", b"efgh", b""];
    let spans = parts.map(source);
    let whole = parts.concat();
    for cut in 0..=whole.len() + 1 {
        let disk = Disk::new();
        let (mut pump, script, file) = scripted(&disk, 0);
        script.push(Rule::next(OpKind::Write, Outcome::Short(cut)));
        let op = Op::Writev { file, at: 0, spans: spans.as_ptr(), count: 6 };
        let count = cut.min(whole.len());
        assert_eq!(pump.one(op), Ok(count as u64));
        assert_eq!(disk.contents("f").unwrap(), whole[..count]);

        // The same on the way back.
        assert_eq!(pump.one(op), Ok(8));
        let mut into = [[0xee; 3], [0xee; 3], [0xee; 3]];
        let spans = into.each_mut().map(|bytes| span(bytes));
        script.push(Rule::next(OpKind::Read, Outcome::Short(cut)));
        let op = Op::Readv { file, at: 0, spans: spans.as_ptr(), count: 3 };
        assert_eq!(pump.one(op), Ok(count as u64));
        let mut expected = whole[..count].to_vec();
        expected.resize(9, 0xee);
        assert_eq!(into.concat(), expected);
        assert_eq!(script.pending(), 0);
    }
}

#[test]
fn rules_apply_in_order_and_only_where_they_match() {
    let disk = Disk::new();
    let (mut pump, script, file) = scripted(&disk, 100);
    script.push(Rule::next(OpKind::Write, Outcome::Short(3)));
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::INTR)));
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)).at(50));
    script.push(Rule::next(OpKind::Read, Outcome::Short(0)).skip(1).times(2));
    script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)).on(Handle(99)));
    script.push(Rule::next(OpKind::Truncate, Outcome::Fail(Errno::NOSPC)).at(7));
    script.push(Rule::next(OpKind::Open, Outcome::Fail(Errno::MFILE)));

    assert_eq!(pump.write(file, 50, b"01234"), Ok(3));
    assert_eq!(pump.write(file, 50, b"01234"), Err(Errno::INTR));
    assert_eq!(pump.write(file, 51, b"01234"), Ok(5), "another place");
    assert_eq!(pump.write(file, 50, b"01234"), Err(Errno::IO));
    assert_eq!(pump.write(file, 50, b"01234"), Ok(5));
    let lens = [(); 4].map(|()| pump.read(file, 0, 9).unwrap().len());
    assert_eq!(lens, [9, 0, 0, 9]);
    assert_eq!(pump.one(Op::Sync { file, kind: SyncKind::Full }), Ok(0));
    assert_eq!(pump.one(Op::Truncate { file, len: 8 }), Ok(0));
    assert_eq!(pump.one(Op::Truncate { file, len: 7 }), Err(Errno::NOSPC));
    assert_eq!(pump.one(Op::Size { file }), Ok(8), "what failed did nothing");
    assert_eq!(pump.open(c"g", create()), Err(Errno::MFILE));
    assert_eq!(disk.list(), ["f"]);
    assert_eq!(script.pending(), 1, "the one for another file");
    script.clear();
    assert_eq!(script.pending(), 0);
}

#[test]
fn a_failed_close_is_a_close() {
    let (mut pump, script, file) = scripted(&Disk::new(), 1);
    script.push(Rule::next(OpKind::Close, Outcome::Fail(Errno::IO)).times(2));
    assert_eq!(pump.one(Op::Close { file }), Err(Errno::IO));
    assert_eq!(pump.one(Op::Size { file }), Err(Errno::BADF));
    assert_eq!(pump.open(c"f", create()), Ok(file));
    // SAFETY: a close points to nothing.
    assert_eq!(unsafe { pump.direct.call(&Op::Close { file }) }, Err(Errno::IO));
    assert_eq!(pump.one(Op::Size { file }), Err(Errno::BADF));
}

#[test]
fn the_log_tells_what_went_where() {
    let (mut pump, script, file) = scripted(&Disk::new(), 9);
    script.push(Rule::next(OpKind::Write, Outcome::Short(5)));
    let spans: Vec<Span> = (0..256).map(|_| source(b"ab")).collect();
    let op = Op::Writev { file, at: 40, spans: spans.as_ptr(), count: 256 };
    assert_eq!(pump.one(op), Ok(5));
    script.push(Rule::next(OpKind::Read, Outcome::Fail(Errno::IO)));
    assert_eq!(pump.read(file, 2, 3), Err(Errno::IO));
    let log = script.take_log();
    let taken: Vec<_> = log
        .iter()
        .filter_map(|event| match *event {
            Event::Taken { entry, way, bytes, .. } => {
                assert_eq!(entry.file, Some(file));
                Some((entry.op, entry.at, entry.bytes, entry.spans, way, bytes))
            }
            _ => None,
        })
        .collect();
    let write = (OpKind::Write, 40, 512, 256, Way::Forwarded, 5);
    assert_eq!(taken, [write, (OpKind::Read, 2, 3, 1, Way::Answered, 0)]);
    assert!(matches!(log[1], Event::Ended { tag: Some(_), result: Ok(5) }));
    assert_eq!(script.take_log(), []);

    for _ in 0..Script::log_max() {
        pump.one(Op::Size { file }).unwrap();
    }
    assert_eq!(script.forgotten(), Script::log_max() as u64, "two events each");
    assert_eq!(script.take_log().len(), Script::log_max());
}

#[test]
fn what_is_parked_begins_when_released_and_can_be_cancelled() {
    let disk = Disk::new();
    let (mut pump, script, file) = scripted(&disk, 0);
    script.push(Rule::next(OpKind::Write, Outcome::Park).times(2));
    let write = |at| Op::Write { file, at, span: source(b"x") };
    let (kept, doomed) = (pump.push(write(0)).unwrap(), pump.push(write(1)).unwrap());
    assert_eq!(pump.one(Op::Sync { file, kind: SyncKind::Data }), Ok(0));
    assert_eq!(disk.contents("f").unwrap(), b"");

    let mut ends = Vec::new();
    let cancel = pump.push(Op::Cancel { target: doomed }).unwrap();
    pump.submit();
    ends.extend((0..4).filter_map(|_| pump.reap()));
    let cancelled = Cqe { tag: doomed, result: Err(Errno::CANCELED) };
    assert_eq!(ends, [cancelled, Cqe { tag: cancel, result: Ok(0) }]);

    // A thread that waits meanwhile hears of the release, and finds the entry to be done.
    let bell = Arc::clone(&pump.bell);
    let waiter = thread::spawn(move || bell.wait(0, None).unwrap());
    thread::sleep(Duration::from_millis(10));
    script.release();
    waiter.join().unwrap();
    let end = (0..4).find_map(|_| pump.reap());
    assert_eq!(end, Some(Cqe { tag: kept, result: Ok(1) }));
    assert_eq!(disk.contents("f").unwrap(), b"x");
}

#[test]
fn what_is_late_is_done_and_comes_out_when_released() {
    let disk = Disk::new();
    let (mut pump, script, file) = scripted(&disk, 0);
    script.push(Rule::next(OpKind::Write, Outcome::Late));
    let tag = pump.push(Op::Write { file, at: 0, span: source(b"x") }).unwrap();
    pump.submit();
    for _ in 0..10 {
        assert_eq!(pump.reap(), None);
        pump.bell.wait(0, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(disk.contents("f").unwrap(), b"x");
    let other = script.clone();
    let releaser = thread::spawn(move || other.release());
    pump.bell.wait(0, None).unwrap();
    releaser.join().unwrap();
    assert_eq!(pump.reap(), Some(Cqe { tag, result: Ok(1) }));
}

#[test]
fn what_is_answered_here_wakes_who_waits_there() {
    let (mut pump, script, file) = scripted(&Disk::new(), 0);
    let bell = Arc::clone(&pump.bell);
    let waiter = thread::spawn(move || bell.wait(0, None).unwrap());
    thread::sleep(Duration::from_millis(20));
    assert!(!waiter.is_finished());
    script.push(Rule::next(OpKind::Size, Outcome::Fail(Errno::IO)));
    let tag = pump.push(Op::Size { file }).unwrap();
    waiter.join().unwrap();
    assert_eq!(pump.reap(), Some(Cqe { tag, result: Err(Errno::IO) }));
}

#[test]
fn a_refusal_by_script_leaves_nobody_asleep() {
    let (mut pump, script, file) = scripted(&Disk::new(), 0);
    script.push(Rule::next(OpKind::Size, Outcome::Refuse).times(5));
    let started = Instant::now();
    assert_eq!(pump.one(Op::Size { file }), Ok(0));
    assert!(started.elapsed() < Duration::from_secs(5));
    let refused = |event: &&Event| matches!(event, Event::Refused(_));
    assert_eq!(script.take_log().iter().filter(refused).count(), 5);
}

#[test]
fn a_dead_ring_starts_and_answers_nothing() {
    let disk = Disk::new();
    let (mut pump, script, file) = scripted(&disk, 0);
    let (bell, other) = (Arc::clone(&pump.bell), script.clone());
    let waiter = thread::spawn(move || bell.wait(0, None).and_then(|()| bell.wait(0, None)));
    thread::sleep(Duration::from_millis(10));
    other.kill(Errno::OWNERDEAD);
    assert_eq!(waiter.join().unwrap(), Err(Errno::OWNERDEAD));
    pump.push(Op::Write { file, at: 0, span: source(b"x") }).unwrap();
    assert_eq!(pump.ring.submit(), Err(Errno::OWNERDEAD));
    assert_eq!(pump.reap(), None);
    assert_eq!(disk.contents("f").unwrap(), b"");
}

#[test]
fn calm_is_calm() {
    let script = Script::new();
    let mut pump = faulty(&Disk::new(), rough(), &script);
    script.calm(true);
    let file = pump.open(c"f", create()).unwrap();
    for n in 0..200 {
        assert_eq!(pump.write(file, n, &[1; 1000]), Ok(1000));
    }
    script.calm(false);
    assert!((0..200).any(|n| pump.write(file, n, &[1; 1000]) != Ok(1000)));
}

#[test]
fn limits_can_be_narrowed_only() {
    let narrow = Faults {
        spans_per_call: Some(3),
        bytes_per_call: Some(1 << 60),
        in_flight: Some(2),
        ..Faults::default()
    };
    let pump = faulty(&Disk::new(), narrow, &Script::new());
    let given = *simulated(&Disk::new(), 0).limits();
    assert_eq!(*pump.ring.limits(), Limits { spans_per_call: 3, in_flight: 2, ..given });
    assert!(pump.ring.report().chosen.iter().any(|line| line.starts_with("faulty")));
}

#[test]
#[should_panic(expected = "more than 2 bytes")]
fn an_engine_that_ignores_a_limit_is_told() {
    let faults = Faults { bytes_per_call: Some(2), ..Faults::default() };
    let mut pump = faulty(&Disk::new(), faults, &Script::new());
    let _ = pump.write(Handle(0), 0, b"abc");
}

#[test]
fn direct_calls_misbehave_too() {
    let disk = Disk::new();
    let (pump, script, file) = scripted(&disk, 0);
    let write = Op::Write { file, at: 0, span: source(b"abcd") };
    let call = |direct: &Arc<dyn Direct>, op: &Op| {
        // SAFETY: what the operation points to lives longer than this.
        unsafe { direct.call(op) }
    };
    script.push(Rule::next(OpKind::Write, Outcome::Park));
    script.push(Rule::next(OpKind::Write, Outcome::Short(3)));
    script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::NOSPC)));
    assert_eq!(call(&pump.direct, &write), Ok(3));
    assert_eq!(disk.contents("f").unwrap(), b"abc");
    assert_eq!(call(&pump.direct, &write), Err(Errno::NOSPC));
    assert_eq!(call(&pump.direct, &write), Ok(4));
    assert_eq!(script.pending(), 1, "a direct call cannot be parked");

    let faults = Faults { short: Permille(500), interrupt: Permille(500), ..Faults::default() };
    let mut pump = faulty(&disk, faults, &Script::new());
    let file = pump.open(c"f", create()).unwrap();
    let write = Op::Write { file, at: 0, span: source(b"abcd") };
    let results: Vec<_> = (0..100).map(|_| call(&pump.direct, &write)).collect();
    for seen in [Err(Errno::INTR), Ok(1), Ok(2), Ok(3), Ok(4)] {
        assert!(results.contains(&seen), "{seen:?} of {results:?}");
    }
    assert!(!results.contains(&Err(Errno::AGAIN)), "that would send it to the ring");
}

#[test]
fn where_nothing_waits_the_host_is_asked_and_rounds_are_few() {
    for seed in 0..100 {
        let setup = Setup { root: None, in_flight: 8 };
        let inner = Simulated::new(&setup, Disk::new(), Config::hosted(seed));
        let host = inner.host();
        let late = Faults { seed, delay: Permille::ALWAYS, ..Faults::default() };
        let worst =
            Faults { interrupt: Permille::ALWAYS, refuse: Permille::ALWAYS, ..late.clone() };
        let faults = if seed.is_multiple_of(2) { late } else { worst };
        let mut pump = Pump::new(Faulty::new(inner, faults, Script::new()));
        pump.host = Some(host.clone());
        let file = pump.open(c"f", create()).unwrap();
        // From here on nobody turns the host: data needs no turn.
        (pump.host, pump.waits) = (None, false);
        for _ in 0..20 {
            while host.turn() {}
            let vain = pump.vain;
            pump.one(Op::Size { file }).unwrap();
            let vain = pump.vain - vain;
            assert!(vain <= PATIENCE, "seed {seed}: {vain} rounds");
            assert!(
                vain == 0 || host.is_asked(),
                "seed {seed}: it is not over, and nobody says so"
            );
        }
    }
}
