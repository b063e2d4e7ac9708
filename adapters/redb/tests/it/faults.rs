//! Failures of single operations.

use littoral::platform::Errno;
use littoral::platform::faulty::{Event, OpKind, Outcome, Rule};
use littoral::{Error, ErrorKind};
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

use crate::{on_disk, open, rough};

const TABLE: TableDefinition<'_, u32, u32> = TableDefinition::new("table");

fn cause(error: &std::io::Error) -> &Error {
    error.get_ref().and_then(|cause| cause.downcast_ref()).expect("littoral's error is inside")
}

#[test]
fn a_failed_sync_is_told_for_ever() {
    let (io, script, _) = rough(5, 64);
    let file = open(&io, "db");
    file.write(0, b"page").expect("accepted");
    script.push(Rule::next(OpKind::Sync, Outcome::Fail(Errno::IO)));
    for _ in 0..3 {
        let error = file.sync_data().expect_err("the flush failed once");
        assert_eq!(cause(&error).kind(), ErrorKind::Io);
        assert_eq!(cause(&error).code(), Some(Errno::IO));
    }
    assert!(file.read(0, &mut [0; 4]).is_err(), "it may show what is not stored");
}

#[test]
fn a_failed_read_is_told_once() {
    let (io, script, _) = rough(5, 64);
    let file = open(&io, "db");
    file.write(0, b"page").expect("accepted");
    file.sync_data().expect("it syncs");
    script.push(Rule::next(OpKind::Read, Outcome::Fail(Errno::IO)));
    let mut out = [0; 4];
    let error = file.read(0, &mut out).expect_err("the read failed");
    assert_eq!(cause(&error).kind(), ErrorKind::Io);
    file.read(0, &mut out).expect("a read changes nothing");
    assert_eq!(&out, b"page");
}

#[test]
fn a_full_disk_keeps_its_kind() {
    let (io, _, disk) = rough(5, 64);
    let file = open(&io, "db");
    disk.limit(Some(2 * 4096));
    let wrote = file.write(0, &vec![1; 5 * 4096]).and_then(|()| file.sync_data());
    let error = wrote.expect_err("it does not fit");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(cause(&error).kind(), ErrorKind::StorageFull);
}

/// Whatever write of a commit fails, the commit fails, and what was committed before is there.
#[test]
fn a_commit_that_loses_a_write_fails_and_harms_nothing_before_it() {
    let (mut failures, mut successes) = (0, 0);
    for skip in [0, 1, 2, 3, 1000] {
        println!("write {skip} fails");
        let (io, script, disk) = rough(u64::from(skip), 64);
        let database = Database::builder().create_with_backend(open(&io, "db"));
        let database = database.expect("nothing fails yet");
        let commit = |value: u32| -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            {
                let mut table = write.open_table(TABLE)?;
                for key in 0..500 {
                    table.insert(key, value)?;
                }
            }
            Ok(write.commit()?)
        };
        commit(1).expect("nothing fails yet");
        drop(script.take_log());
        // From then on every write: one that fails as a part of a merged entry is tried again.
        let rule = Rule::next(OpKind::Write, Outcome::Fail(Errno::IO));
        script.push(rule.skip(skip).times(u32::MAX));
        let second = commit(2);
        let failed = |event: &Event| matches!(event, Event::Ended { result: Err(Errno::IO), .. });
        let lost = script.take_log().iter().any(failed);
        assert_eq!(second.is_err(), lost, "{second:?}");
        *(if lost { &mut failures } else { &mut successes }) += 1;
        if lost {
            assert!(commit(3).is_err(), "redb goes on after a lost write");
        }
        drop(database);
        drop(io);

        let (io, ..) = on_disk(disk, 0, 64);
        let database = Database::builder().create_with_backend(open(&io, "db"));
        let database = database.expect("it recovers");
        let read = database.begin_read().expect("it reads");
        let table = read.open_table(TABLE).expect("the first commit made it");
        let values: Vec<u32> =
            (0..500).map(|key| table.get(key).expect("it reads").expect("there").value()).collect();
        // A commit that was told to have failed may be there or not, as a whole.
        assert!(values.iter().all(|value| *value == values[0]), "half a commit: {values:?}");
        let expected: &[u32] = if lost { &[1, 2] } else { &[2] };
        assert!(expected.contains(&values[0]), "{} is there", values[0]);
    }
    assert!(failures > 1 && successes > 0, "{failures} commits failed, {successes} did not");
}
