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
//! # let config = Config::new().root(folder.to_str().unwrap());
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
#![deny(unsafe_code)]

mod buffer;
mod completion;
mod core;
mod drive;
mod environment;
mod error;
mod file;
mod group;
mod io;
mod metadata;
mod options;

pub use buffer::{Arena, Buffer, ClassStatistics, Shared, Spill, TakeError, Vector};
pub use completion::Completion;
pub use drive::{batch, block_on, drain, run, wait};
pub use error::{Error, ErrorKind, Operation, Result};
pub use file::File;
pub use group::Group;
pub use io::{Clock, Io, Statistics, Status, Step, start, start_on};
pub use littoral_platform as platform;
pub use littoral_platform::{Errno, FileKind, Limits, Listed, LockKind, Report, SyncKind};
pub use metadata::{Identity, Metadata};
pub use options::{Config, Intent, OpenOptions, Wait};

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
    shared::<Shared>();
    shared::<Arena>();
    sent::<Completion<Buffer>>();
    sent::<Vector>();
    sent::<Error>();
};
