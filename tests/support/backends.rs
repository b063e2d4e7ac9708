//! The rings that a Linux system has, plain and misbehaving.

use std::sync::Arc;

use littoral::platform::faulty::{Faults, Script};
use littoral::platform::{Faulty, Ring, Setup, Threads, Uring};
use littoral::{Config, Io, start_on};
use tempfile::TempDir;

/// What drivers are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Uring,
    Threads,
    FaultyUring,
    FaultyThreads,
}

impl Backend {
    pub(crate) const ALL: [Backend; 4] =
        [Backend::Uring, Backend::Threads, Backend::FaultyUring, Backend::FaultyThreads];

    /// A driver on it, in a folder of its own.
    pub(crate) fn driver(self, config: Config) -> (Arc<dyn Io>, TempDir) {
        let (folder, setup) = place();
        let ring = match self {
            Backend::Uring => Box::new(uring(&setup)) as Box<dyn Ring>,
            Backend::Threads => Box::new(threads(&setup)),
            Backend::FaultyUring => faulty(uring(&setup), Faults::rough(7), &Script::new()),
            Backend::FaultyThreads => faulty(threads(&setup), Faults::rough(7), &Script::new()),
        };
        (start_on(ring, config).expect("a driver"), folder)
    }

    /// One that does what the script says, and nothing else that is out of the ordinary.
    pub(crate) fn scripted(self, config: Config) -> (Arc<dyn Io>, Script, TempDir) {
        let ((folder, setup), script) = (place(), Script::new());
        let ring = match self {
            Backend::Uring | Backend::FaultyUring => {
                faulty(uring(&setup), Faults::default(), &script)
            }
            _ => faulty(threads(&setup), Faults::default(), &script),
        };
        (start_on(ring, config).expect("a driver"), script, folder)
    }
}

fn place() -> (TempDir, Setup) {
    let folder = super::folder();
    let root = folder.path().to_str().map(str::to_owned);
    (folder, Setup { root, in_flight: 256 })
}

fn uring(setup: &Setup) -> Uring {
    Uring::new(setup).expect("a kernel with io_uring")
}

fn threads(setup: &Setup) -> Threads {
    Threads::new(setup).expect("a root")
}

fn faulty(ring: impl Ring + 'static, faults: Faults, script: &Script) -> Box<dyn Ring> {
    Box::new(Faulty::new(ring, faults, script.clone()))
}
