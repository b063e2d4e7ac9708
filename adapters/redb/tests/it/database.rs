//! redb at work.

use std::sync::Arc;
use std::thread;

use littoral::{Config, ErrorKind, Io, block_on, start};
use littoral_redb::RedbFile;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::{on_disk, open, rough};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blobs");

fn database(io: &Arc<dyn Io>) -> Database {
    let mut builder = Database::builder();
    // Small, so that pages are read back and written in the middle of transactions.
    builder.set_cache_size(64 * 1024).create_with_backend(open(io, "db")).expect("it opens")
}

fn blob(key: u64) -> Vec<u8> {
    let len = usize::try_from(key * 37 % 3000).expect("small");
    key.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn fill(database: &Database, keys: core::ops::Range<u64>) {
    let write = database.begin_write().expect("begin");
    {
        let mut table = write.open_table(TABLE).expect("table");
        for key in keys {
            table.insert(key, &*blob(key)).expect("insert");
        }
    }
    write.commit().expect("commit");
}

fn check(database: &Database, keys: u64) {
    let table = database.begin_read().expect("begin").open_table(TABLE).expect("table");
    assert_eq!(table.len().expect("count"), keys);
    for (key, entry) in (0..).zip(table.iter().expect("iterate")) {
        let (found, value) = entry.expect("entry");
        assert_eq!((found.value(), value.value()), (key, &*blob(key)));
    }
}

fn lives_through(start: impl Fn() -> Arc<dyn Io>) {
    let io = start();
    let first = database(&io);
    for batch in 0..10 {
        fill(&first, batch * 100..(batch + 1) * 100);
    }
    check(&first, 1000);
    drop(first);
    // The same driver, then another one.
    let again = database(&io);
    check(&again, 1000);
    fill(&again, 1000..1100);
    drop((again, io));
    let io = start();
    let mut last = database(&io);
    check(&last, 1100);
    assert!(last.check_integrity().expect("it is checked"), "it had to be repaired");
    last.compact().expect("it shrinks");
    check(&last, 1100);
}

#[test]
fn a_database_lives_through_reopening_on_the_kernel() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("text").to_owned();
    lives_through(|| start(Config::new().root(root.clone())).expect("a ring"));
    // The same file is one for redb's own backend too.
    let plain = Database::open(folder.path().join("db")).expect("redb opens it by itself");
    check(&plain, 1100);
}

#[test]
fn a_database_lives_through_reopening_on_rough_rings() {
    for seed in 0..2 {
        println!("seed {seed}");
        let (_, _, disk) = rough(seed, 128);
        lives_through(|| on_disk(disk.clone(), seed, 128).0);
    }
}

/// Two that write to one database would destroy it.
#[test]
fn a_database_is_opened_by_one_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new().root(folder.path().to_str().expect("text"));
    let config = config.lock_patience(core::time::Duration::ZERO);
    let (io, other) = (start(config.clone()).expect("a ring"), start(config).expect("a ring"));
    let opened = database(&io);
    let refused = block_on(&other, RedbFile::open(Arc::clone(&other), "db")).expect("it waits");
    assert_eq!(refused.expect_err("it is open").kind(), ErrorKind::Locked);
    drop(opened);
    database(&other);
}

#[test]
fn readers_on_other_threads_see_whole_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("text");
    let io = start(Config::new().root(root)).expect("a ring");
    let database = database(&io);
    fill(&database, 0..100);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let read = database.begin_read().expect("begin");
                    let count = read.open_table(TABLE).expect("table").len().expect("count");
                    assert_eq!(count % 100, 0);
                    check_prefix(&database, count);
                }
            });
        }
        for batch in 1..8 {
            fill(&database, batch * 100..(batch + 1) * 100);
        }
    });
    check(&database, 800);
}

/// Every one of the first keys is there with its value.
fn check_prefix(database: &Database, keys: u64) {
    let table = database.begin_read().expect("begin").open_table(TABLE).expect("table");
    for key in (0..keys).step_by(7) {
        let value = table.get(key).expect("get").expect("it was committed");
        assert_eq!(value.value(), &*blob(key));
    }
}

#[test]
fn commits_without_durability_are_read_back() {
    let (io, ..) = rough(7, 128);
    let database = database(&io);
    for batch in 0..5 {
        let mut write = database.begin_write().expect("begin");
        write.set_durability(Durability::None).expect("redb offers it");
        write.open_table(TABLE).expect("table").insert(batch, &*blob(batch)).expect("insert");
        write.commit().expect("commit");
    }
    check(&database, 5);
}
