//! Random calls, compared with bytes in memory.

use std::io::ErrorKind;

use fastrand::Rng;
use littoral::platform::Errno;
use littoral::platform::faulty::{OpKind, Outcome, Rule};
use littoral_redb::RedbFile;
use redb::StorageBackend;

use crate::{open, rough};

const CALLS: usize = 300;

/// Where the file ends, mostly.
const SPACE: u64 = 4000;

fn put(model: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).expect("small");
    let end = at + bytes.len();
    if !bytes.is_empty() && model.len() < end {
        model.resize(end, 0);
    }
    if !bytes.is_empty() {
        model[at..end].copy_from_slice(bytes);
    }
}

/// One random call; its answer, if it succeeds, must be the model's. Gives whether it succeeded,
/// and whether it was a sync.
fn call(file: &RedbFile, model: &mut Vec<u8>, random: &mut Rng) -> (bool, bool) {
    let at = random.u64(0..SPACE);
    match random.u32(0..100) {
        0..60 => {
            let bytes: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
            let written = file.write(at, &bytes);
            if written.is_ok() {
                put(model, at, &bytes);
            }
            (written.is_ok(), false)
        }
        60..85 => {
            let mut out = vec![0; random.usize(1..300)];
            let start = usize::try_from(at).expect("small");
            let expected = model.get(start..start + out.len());
            match (file.read(at, &mut out), expected) {
                (Ok(()), expected) => assert_eq!(Some(&out[..]), expected, "read at {at}"),
                (Err(error), None) if error.kind() == ErrorKind::UnexpectedEof => (),
                (Err(error), _) => {
                    assert_ne!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
                    return (false, false);
                }
            }
            (true, false)
        }
        85..90 => {
            let set = file.set_len(at);
            if set.is_ok() {
                model.resize(usize::try_from(at).expect("small"), 0);
            }
            (set.is_ok(), false)
        }
        90..95 => {
            let len = file.len();
            if let Ok(len) = len {
                assert_eq!(len, model.len() as u64);
            }
            (len.is_ok(), false)
        }
        _ => (file.sync_data().is_ok(), true),
    }
}

#[test]
fn every_call_answers_as_memory_would() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let (io, _, disk) = rough(seed, random.u32(1..80));
        let file = open(&io, "db");
        let mut model = Vec::new();
        for _ in 0..CALLS {
            assert!(call(&file, &mut model, &mut random).0, "nothing here fails");
        }
        file.close().expect("nothing here fails");
        assert_eq!(disk.contents("db").expect("it is there"), model);
    }
}

#[test]
fn after_a_lost_write_nothing_succeeds_and_nothing_lies() {
    let mut late = 0;
    for seed in 0..120 {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let (io, script, _) = rough(seed, random.u32(2..80));
        let file = open(&io, "db");
        let mut model = Vec::new();
        for _ in 0..random.usize(0..60) {
            assert!(call(&file, &mut model, &mut random).0, "nothing fails yet");
        }
        file.sync_data().expect("nothing fails yet");

        // Twice: one that fails as a part of a merged entry is tried again by itself.
        script.push(Rule::next(OpKind::Write, Outcome::Fail(Errno::IO)).times(2));
        let mut failed = false;
        for _ in 0..CALLS {
            // A call that succeeds is compared with the model, in which every write that returned
            // success is done: the lost one would show.
            let (succeeded, was_sync) = call(&file, &mut model, &mut random);
            assert!(!(failed && succeeded), "a call succeeds although a write was lost");
            let lost = script.pending() == 0;
            assert!(!(lost && was_sync && succeeded), "a sync succeeds although a write was lost");
            failed |= !succeeded;
            late += usize::from(succeeded);
        }
        assert!(failed, "the failure was never told");
        assert!(file.sync_data().is_err());
        assert!(file.read(0, &mut [0]).is_err());
        assert!(file.close().is_err(), "closing tells what it lost");
    }
    assert!(late > 120, "no failure came later than its write: this tests nothing");
}
