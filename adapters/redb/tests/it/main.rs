//! redb's storage over littoral: against a model on rings that misbehave, and with redb itself.

mod database;
mod faults;
mod model;
mod storage;

use std::sync::Arc;

use littoral::platform::Setup;
use littoral::platform::faulty::{Faults, Faulty, Script};
use littoral::platform::simulated::{Config, Disk, Simulated};
use littoral::{Io, block_on};
use littoral_redb::RedbFile;

/// A driver in memory that misbehaves by `seed`, with its orders and its disk.
fn rough(seed: u64, operations: u32) -> (Arc<dyn Io>, Script, Disk) {
    on_disk(Disk::new(), seed, operations)
}

/// The same on a disk that is there already.
fn on_disk(disk: Disk, seed: u64, operations: u32) -> (Arc<dyn Io>, Script, Disk) {
    let setup = Setup { root: None, in_flight: operations };
    let simulated = Simulated::new(&setup, disk.clone(), Config::seeded(seed));
    let script = Script::new();
    let ring = Faulty::new(simulated, Faults::rough(seed), script.clone());
    let config = littoral::Config::new().operations(operations);
    let io = littoral::start_on(Box::new(ring), config).expect("the ring is in memory");
    (io, script, disk)
}

fn open(io: &Arc<dyn Io>, name: &str) -> RedbFile {
    let opened = block_on(io, RedbFile::open(Arc::clone(io), name)).expect("rings here can wait");
    opened.expect("it opens")
}
