//! What the tests of the engine's defects do again and again.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use littoral::{File, Io, OpenOptions, Shared, Wait, wait};

pub(crate) fn open(io: &Arc<dyn Io>, name: &str) -> Arc<dyn File> {
    wait(&**io, io.open(name, OpenOptions::new().create(true))).unwrap()
}

pub(crate) fn settle(io: &Arc<dyn Io>) {
    for _ in 0..50 {
        io.step(io.delivered(), Wait::No);
    }
}

pub(crate) fn page(byte: u8) -> Shared {
    Shared::from(vec![byte; 4096])
}

/// Runs `act` elsewhere; `None` if it has not come back in time.
pub(crate) fn in_time<T: Send + 'static>(
    limit: Duration,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(act()));
    told.recv_timeout(limit).ok()
}
