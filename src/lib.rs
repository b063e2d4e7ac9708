//! One completion-based file API for databases: `io_uring` on Linux servers, OPFS in browsers.
//!
//! See [`Io`] for drivers, [`File`] for files, [`Completion`] for results, [`Buffer`] and
//! [`Shared`] for memory.
//!
//! ```
//! use littoral::{Buffer, Config, OpenOptions, SyncKind, block_on, start};
//!
//! # fn main() -> littoral::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("littoral-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder).unwrap();
//! # let config = Config::new().root(&folder);
//! let io = start(config)?;
//! let text = block_on(&io, async {
//!     let file = io.open("hello.db", OpenOptions::new().create(true)).await?;
//!     file.pwrite(0, b"the shore".into()).await?;
//!     file.sync(SyncKind::Data).await?;
//!     file.pread(4, Buffer::with_capacity(5)).await
//! })??;
//! assert_eq!(&text[..], b"shore");
//! # drop(io);
//! # std::fs::remove_dir_all(folder).unwrap();
//! # Ok(())
//! # }
//! ```
//!
//! # Operations begin when they are made
//! A [`Completion`] is not a lazy future: its operation is submitted by the call that makes it. So
//! make many first and wait afterwards, and they are under way together; no `join` is needed. What
//! was submitted is started by the next [`step`](Io::step), or at once while some thread waits in
//! one. Dropping a completion, by a time-out for instance, detaches the operation and does not end
//! it: for that there is [`cancel`](Completion::cancel).
//!
//! ```
//! use littoral::{Arena, Config, OpenOptions, block_on, start};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let io = start(Config::new().root(folder.path()))?;
//! // Memory for 32 pages, which comes back to the arena however it is lost.
//! let arena = Arena::new(&[(4096, 32)]);
//! let bytes = block_on(&io, async {
//!     let file = io.open("pages", OpenOptions::new().create(true)).await?;
//!     file.pwrite(0, vec![7; 32 * 4096].into()).await?;
//!     let page = |number: u64| arena.take(4096).map(|page| file.pread(number * 4096, page));
//!     let reads = (0..32).map(page).collect::<Result<Vec<_>, _>>()?;
//!     let mut bytes = 0;
//!     for read in reads {
//!         bytes += read.await?.len();
//!     }
//!     Ok::<_, Box<dyn std::error::Error>>(bytes)
//! })??;
//! assert_eq!(bytes, 32 * 4096);
//! # Ok(())
//! # }
//! ```
//!
//! # Three ways to wait
//! - **Await it.** [`block_on`] runs a future and steps the driver meanwhile; in a browser the host
//!   does both. Any executor will do, as long as some thread steps.
//! - **Poll it.** A loop looks at its completions by [`try_take`](Completion::try_take) and then
//!   steps: see [`step`](Io::step). [`wait`] is that loop for a single one.
//! - **Be called back.** [`on_finish`](Completion::on_finish) runs a closure from a step, with no
//!   lock held: it may submit, cancel, drop and step.
//!
//! ```
//! use std::sync::mpsc;
//! use littoral::{Buffer, Config, OpenOptions, Wait, block_on, start, wait};
//! # fn main() -> littoral::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let io = start(Config::new().root(folder.path()))?;
//! let file = wait(&*io, io.open("twelve", OpenOptions::new().create(true)))?;
//! wait(&*io, file.pwrite(0, b"twelve bytes".into()))?;
//! let read = || file.pread(7, Buffer::with_capacity(5));
//!
//! let awaited = block_on(&io, read())??;
//!
//! let mut reading = read();
//! let mut seen = io.delivered();
//! let polled = loop {
//!     if let Some(result) = reading.try_take() {
//!         break result?;
//!     }
//!     seen = io.step(seen, Wait::Forever).delivered;
//! };
//!
//! let (tell, told) = mpsc::channel();
//! read().on_finish(move |result| tell.send(result).expect("somebody waits"));
//! let called_back = loop {
//!     if let Ok(result) = told.try_recv() {
//!         break result?;
//!     }
//!     io.step(io.delivered(), Wait::Forever);
//! };
//! assert!([awaited, polled, called_back].iter().all(|bytes| bytes[..] == *b"bytes"));
//! # Ok(())
//! # }
//! ```
//!
//! # In a browser
//! The same code runs in a dedicated worker, with the files in the origin's private file system.
//! Operations on open files finish in a step there, so synchronous engines work; opening and other
//! operations on names take a turn of the host and are awaited, or [prepared](Io::prepare).
//! [`run`] is a `main` for both.
//!
//! # When something goes wrong
//! An [`Error`] names the operation, the file, the platform's code and what to do; the page
//! `docs/troubleshooting.md` says more about each [kind](ErrorKind). With the cargo feature
//! `tracing`, off by default, a driver tells what it does besides plain reads and writes: how it
//! started, what was refused, failed, retried, lost or abandoned. What callers may rely on is in
//! `docs/contract.md`, clause by clause, each with its checks.
#![deny(unsafe_code)]

mod buffer;
mod completion;
mod core;
mod drive;
mod environment;
mod error;
mod file;
mod geometry;
mod group;
mod io;
mod metadata;
pub mod native;
mod options;
mod registration;

pub use buffer::{Arena, Buffer, ClassStatistics, Shared, Spill, TakeError, Vector};
pub use completion::{Completion, Outcome};
pub use drive::{Poller, batch, block_on, drain, run, wait};
pub use error::{Error, ErrorKind, Operation, Result};
pub use file::File;
pub use geometry::{DirectIo, Directness, Geometry};
pub use group::Group;
pub use io::{Clock, Interrupter, Io, Statistics, Status, Step, start, start_on};
pub use littoral_platform as platform;
pub use littoral_platform::{
    Errno, FileKind, GeometrySource, Limits, Listed, LockKind, Report, SyncKind,
};
pub use metadata::{Identity, Metadata};
pub use options::{Config, Intent, OpenOptions, Wait};
pub use registration::Registration;

/// The README's program, compiled. (The crate page's, above, is the same one, and runs.)
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// What engines rely on, checked by the compiler: files and drivers are shared between threads, also
// as trait objects, and completions travel between them.
const _: () = {
    const fn shared<T: ?Sized + Send + Sync + 'static>() {}
    const fn sent<T: Send + 'static>() {}
    shared::<dyn Io>();
    shared::<dyn File>();
    shared::<dyn native::NativeFile>();
    shared::<Shared>();
    shared::<Arena>();
    shared::<Registration>();
    sent::<Completion<Buffer>>();
    sent::<Vector>();
    sent::<Error>();
};
