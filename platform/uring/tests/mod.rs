//! Against the real kernel: each operation through the ring and by direct calls, the queues at
//! their ends, the doorbell, and the ways down the ladder.

mod doorbell;
mod ops;
mod queues;
mod refusals;
mod regions;
mod slots;

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Uring;
use super::entry::Ops;
use super::setup::{Able, Flags, assemble};
use crate::unix::Files;
use crate::{Cqe, Errno, Handle, Name, Op, OpenFlags, Region, Ring, Setup, Span, Sqe, Tag};

/// Longer than anything here takes, so that a lost wake-up fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn setup(folder: &TempDir, in_flight: u32) -> Setup {
    let root = folder.path().to_str().expect("a temporary folder with a name in UTF-8");
    Setup { root: Some(root.into()), in_flight }
}

/// A ring as `Uring::new` makes it, below a folder of its own.
fn native(in_flight: u32) -> (Uring, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ring = Uring::new(&setup(&folder, in_flight)).expect("a kernel with io_uring");
    (ring, folder)
}

/// A ring of a kernel that can do only what `able` says.
fn able(in_flight: u32, able: &Able) -> (Uring, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setup = setup(&folder, in_flight);
    let files = Arc::new(Files::new(&setup).expect("a root"));
    let ring = io_uring::IoUring::new(in_flight.next_power_of_two()).expect("a ring");
    let made = assemble(&setup, files, ring, Flags::empty(), able, Vec::new());
    (made.map_err(|(error, _)| error).expect("a ring that works"), folder)
}

/// The newest kernel's ring, and that of a kernel of the first days: same results expected.
fn both() -> [(Uring, TempDir); 2] {
    [native(8), able(8, &Able { ops: Ops::FIRST, timeouts: false })]
}

fn push(ring: &mut Uring, tag: u64, op: Op) {
    // SAFETY: each test keeps what its operations point to until they were reaped.
    unsafe { ring.push(&Sqe::new(Tag(tag), op)) }.expect("room in the ring");
}

/// Submits and waits for the next completion.
fn next(ring: &mut Uring) -> Cqe {
    let started = Instant::now();
    loop {
        if let Some(cqe) = ring.reap() {
            return cqe;
        }
        assert!(started.elapsed() < PATIENCE, "no completion came");
        let (doorbell, unsubmitted) = (ring.doorbell(), ring.unsubmitted());
        doorbell.wait(unsubmitted, Some(PATIENCE)).expect("a ring that takes entries");
    }
}

/// One operation from push to reap.
fn run(ring: &mut Uring, op: Op) -> Result<u64, Errno> {
    push(ring, 7, op);
    let cqe = next(ring);
    assert_eq!(cqe.tag, Tag(7));
    assert_eq!(ring.reap(), None, "more than one completion for {op:?}");
    cqe.result
}

/// A name that lives as long as the test holds it.
struct Path(CString);

impl Path {
    fn new(name: &str) -> Path {
        Path(CString::new(name).expect("a name without NUL"))
    }

    fn name(&self) -> Name {
        Name { ptr: self.0.as_ptr().cast(), len: self.0.as_bytes().len() }
    }
}

fn open(ring: &mut Uring, name: &str, flags: OpenFlags) -> Result<Handle, Errno> {
    let path = Path::new(name);
    let number = run(ring, Op::Open { name: path.name(), flags, mode: 0o644 })?;
    Ok(Handle(u32::try_from(number).expect("a descriptor")))
}

/// Creates an empty file.
fn create(ring: &mut Uring, name: &str) -> Handle {
    open(ring, name, OpenFlags::WRITE | OpenFlags::CREATE).expect("a new file")
}

fn span(bytes: &mut [u8]) -> Span {
    Span { ptr: bytes.as_mut_ptr(), len: bytes.len() }
}

/// For writing only.
fn source(bytes: &[u8]) -> Span {
    Span { ptr: bytes.as_ptr().cast_mut(), len: bytes.len() }
}
