//! What the tests on the real kernel share.
#![allow(dead_code, reason = "each test program uses its part of this")]

pub(crate) mod backends;
pub(crate) mod process;
pub(crate) mod raw;

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use littoral::{Config, ErrorKind, File, Io, OpenOptions, start, wait};
use rustix::fs::OFlags;
use tempfile::TempDir;

/// Runs it, and fails if it has not ended in time: a hang is an answer, too.
pub(crate) fn within<T: Send + 'static>(
    seconds: u64,
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, ended) = mpsc::channel();
    let running = thread::Builder::new().name(what.into());
    let running = running.spawn(move || done.send(run())).expect("a thread");
    match ended.recv_timeout(Duration::from_secs(seconds)) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: not done in {seconds} s"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match running.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it ended without an answer"),
        },
    }
}

/// A folder of its own on the file system of the build, which is a disk's: `/tmp` may be in memory.
/// `LITTORAL_TEST_PLACE` names another one, for a program that runs elsewhere than it was built.
pub(crate) fn folder() -> TempDir {
    let builds = env!("CARGO_TARGET_TMPDIR").into();
    let place = std::env::var_os("LITTORAL_TEST_PLACE").unwrap_or(builds);
    let folder = tempfile::Builder::new().prefix("native-").tempdir_in(&place);
    folder.unwrap_or_else(|error| panic!("{}: {error}", place.display()))
}

pub(crate) fn config(folder: &Path) -> Config {
    Config::new().root(folder.to_str().expect("a UTF-8 path"))
}

pub(crate) fn driver(folder: &Path, operations: u32) -> Arc<dyn Io> {
    start(config(folder).operations(operations)).expect("a driver")
}

pub(crate) fn open(io: &dyn Io, name: &str) -> Arc<dyn File> {
    let file = wait(io, io.open(name, OpenOptions::new().create(true)));
    file.unwrap_or_else(|error| panic!("open {name}: {error}"))
}

/// The kind of failure, in place of the error.
pub(crate) fn kind<T>(result: littoral::Result<T>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

/// This process's descriptors that stand for `path` now.
pub(crate) fn descriptors_of(path: &Path) -> Vec<RawFd> {
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        (target == path).then(|| entry.file_name().to_str()?.parse().ok())?
    };
    let all = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    all.filter_map(number).collect()
}

/// Has the descriptors of `path` do direct I/O; false, said aloud, if the file system has none.
pub(crate) fn make_direct(path: &Path) -> bool {
    let descriptors = descriptors_of(path);
    assert!(!descriptors.is_empty(), "{} is not open", path.display());
    for fd in descriptors {
        // SAFETY: the caller keeps the file open, so the number stays its own.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        if let Err(error) = rustix::fs::fcntl_setfl(fd, OFlags::DIRECT) {
            // Not to be passed over unseen: what rests on it is the end of a driver.
            assert!(
                std::env::var_os("LITTORAL_NO_DIRECT").is_some(),
                "direct I/O is refused on {}: {error}; set LITTORAL_NO_DIRECT=1 to do without",
                path.display()
            );
            return false;
        }
    }
    true
}

/// A file of `len` bytes `byte`, on the disk and nowhere else.
pub(crate) fn file_of(folder: &Path, name: &str, byte: u8, len: usize) -> PathBuf {
    let path = folder.canonicalize().expect("the folder exists").join(name);
    std::fs::write(&path, vec![byte; len]).expect("a file");
    uncache(&path);
    path
}

/// Forgets the page cache's copy of a file, so that reads of it go to the disk.
pub(crate) fn uncache(path: &Path) {
    let file = std::fs::File::open(path).expect("the file exists");
    file.sync_all().expect("a sync");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice is taken");
}

/// Which pages of a file are in the page cache.
pub(crate) fn cached(path: &Path) -> Vec<bool> {
    const PAGE: usize = 4096;
    let file = std::fs::File::open(path).expect("the file exists");
    let len = usize::try_from(file.metadata().expect("it is a file").len()).expect("it is small");
    let mut pages = vec![0_u8; len.div_ceil(PAGE)];
    // SAFETY: a new mapping, which no reference is made of.
    let start = unsafe {
        let place = core::ptr::null_mut();
        libc::mmap(place, len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(start, libc::MAP_FAILED, "a mapping");
    // SAFETY: the range is that of the mapping, and the vector has a byte for each of its pages.
    let told = unsafe { libc::mincore(start, len, pages.as_mut_ptr()) };
    // SAFETY: it was mapped above, and nothing points into it.
    unsafe { libc::munmap(start, len) };
    assert_eq!(told, 0, "the kernel tells what is cached");
    pages.into_iter().map(|page| page & 1 != 0).collect()
}

/// A pipe with a name: a read of it waits until somebody writes to it.
pub(crate) fn pipe(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let (kind, mode) =
        (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a pipe");
    path
}
