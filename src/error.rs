//! What went wrong, with which operation on which file, and what to do about it.

use core::fmt;
use std::sync::Arc;

use littoral_platform::Errno;

use crate::core::Naming;

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error: kind, operation, file, the platform's code, and what of a write is known to be done.
///
/// One pointer wide; cloning it is cheap.
#[derive(Clone)]
pub struct Error(Arc<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    operation: Operation,
    file: Option<Arc<str>>,
    target: Option<Arc<str>>,
    code: Option<Errno>,
    confirmed: Option<u64>,
    detail: Option<Box<str>>,
    cause: Option<Error>,
}

/// What kind of failure it is. The same on every platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operation may have happened or not: the driver went away before the platform answered.
    Abandoned,
    /// `create_new` met an existing file.
    AlreadyExists,
    /// The name is open, or something else holds it.
    Busy,
    /// The operation was cancelled; `confirmed` says how far it had come.
    Cancelled,
    /// The file, or the driver, was closed before.
    Closed,
    /// An argument can never work: a bad name, an offset past the platform's maximum.
    InvalidInput,
    /// The platform failed to read or write.
    Io,
    /// The name is a directory.
    IsADirectory,
    /// Someone else holds the file's lock, and did not let go of it in time. In a browser: or has
    /// the file open.
    Locked,
    /// A part of the name that should be a directory is a file, or the name itself is.
    NotADirectory,
    /// A directory to be removed has something in it.
    DirectoryNotEmpty,
    /// The name is a symbolic link, and [`no_follow`](crate::OpenOptions::no_follow) was asked for;
    /// or links lead round in a circle.
    SymbolicLink,
    /// A synchronous wait for something that only the browser's own turn can do.
    NeedsHost,
    /// The file, or a folder on its way, does not exist.
    NotFound,
    /// A synchronous open of a name that was not prepared, where the platform cannot open now.
    NotPrepared,
    /// The platform is out of memory, descriptors or another of its resources.
    OutOfResources,
    /// Writing through a read-only file, or the platform forbids it.
    PermissionDenied,
    /// The ring is dead; nothing submitted to it will be answered.
    RingLost,
    /// As many operations are alive as the driver was configured for.
    Saturated,
    /// The disk, or the origin's quota, is full.
    StorageFull,
    /// An earlier flush of the file failed: what was written before it may be lost for good.
    SyncLost,
    /// This platform cannot do it.
    Unsupported,
    /// It would have had to wait, and was asked [not to](crate::Intent::no_wait).
    WouldBlock,
    /// A write made no progress, and the platform does not say why.
    WriteZero,
    /// An earlier write failed and nobody took that failure, so this sync would have lied.
    WriteLost,
}

/// Which operation an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum Operation {
    Start,
    Open,
    Close,
    Pread,
    Preadv,
    Pwrite,
    Pwritev,
    Sync,
    Truncate,
    Size,
    Lock,
    Unlock,
    Allocate,
    PunchHole,
    ZeroRange,
    SeekData,
    SeekHole,
    Native,
    LockRange,
    UnlockRange,
    SetLen,
    Map,
    Metadata,
    Remove,
    Rename,
    Exists,
    List,
    CreateDirAll,
    RemoveDir,
    SyncDir,
    Temporary,
    Prepare,
    Register,
    Room,
    Group,
    Shutdown,
    Poller,
    Wait,
}

impl Operation {
    /// The method's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Start => "start",
            Operation::Open => "open",
            Operation::Close => "close",
            Operation::Pread => "pread",
            Operation::Preadv => "preadv",
            Operation::Pwrite => "pwrite",
            Operation::Pwritev => "pwritev",
            Operation::Sync => "sync",
            Operation::Truncate => "truncate",
            Operation::Size => "size",
            Operation::Lock => "lock",
            Operation::Unlock => "unlock",
            Operation::Allocate => "allocate",
            Operation::PunchHole => "punch_hole",
            Operation::ZeroRange => "zero_range",
            Operation::SeekData => "seek_data",
            Operation::SeekHole => "seek_hole",
            Operation::Native => "native",
            Operation::LockRange => "lock_range",
            Operation::UnlockRange => "unlock_range",
            Operation::SetLen => "set_len",
            Operation::Map => "map",
            Operation::Metadata => "metadata",
            Operation::Remove => "remove",
            Operation::Rename => "rename",
            Operation::Exists => "exists",
            Operation::List => "list",
            Operation::CreateDirAll => "create_dir_all",
            Operation::RemoveDir => "remove_dir",
            Operation::SyncDir => "sync_dir",
            Operation::Temporary => "temporary",
            Operation::Prepare => "prepare",
            Operation::Register => "register",
            Operation::Room => "room",
            Operation::Group => "group",
            Operation::Shutdown => "shutdown",
            Operation::Poller => "poller",
            Operation::Wait => "wait",
        }
    }
}

impl ErrorKind {
    /// What the platform's code means to a caller.
    pub(crate) fn of(code: Errno) -> ErrorKind {
        match code {
            Errno::NOENT => ErrorKind::NotFound,
            Errno::NOTDIR => ErrorKind::NotADirectory,
            Errno::NOTEMPTY => ErrorKind::DirectoryNotEmpty,
            Errno::LOOP => ErrorKind::SymbolicLink,
            Errno::EXIST => ErrorKind::AlreadyExists,
            Errno::ISDIR => ErrorKind::IsADirectory,
            Errno::PERM | Errno::ACCES | Errno::ROFS => ErrorKind::PermissionDenied,
            Errno::NOSPC | Errno::DQUOT => ErrorKind::StorageFull,
            Errno::BUSY => ErrorKind::Busy,
            Errno::CANCELED => ErrorKind::Cancelled,
            Errno::INVAL | Errno::NAMETOOLONG | Errno::OVERFLOW | Errno::FBIG => {
                ErrorKind::InvalidInput
            }
            Errno::DEADLK => ErrorKind::Locked,
            Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::NOLCK => ErrorKind::OutOfResources,
            Errno::NOSYS | Errno::OPNOTSUPP => ErrorKind::Unsupported,
            Errno::OWNERDEAD => ErrorKind::RingLost,
            _ => ErrorKind::Io,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            ErrorKind::Abandoned => "the driver went away before the platform answered",
            ErrorKind::AlreadyExists => "the file exists already",
            ErrorKind::Busy => "the file is in use",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Closed => "it was closed before",
            ErrorKind::InvalidInput => "invalid argument",
            ErrorKind::Io => "input/output error",
            ErrorKind::IsADirectory => "it is a directory",
            ErrorKind::Locked => "it is locked by someone else",
            ErrorKind::NeedsHost => "it cannot be waited for here",
            ErrorKind::NotADirectory => "a part of it is no directory",
            ErrorKind::DirectoryNotEmpty => "there is something in it",
            ErrorKind::SymbolicLink => "it is a symbolic link, or links lead in a circle",
            ErrorKind::NotFound => "there is no such file",
            ErrorKind::NotPrepared => "the name was not prepared",
            ErrorKind::OutOfResources => "out of a resource",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::RingLost => "the ring is dead",
            ErrorKind::Saturated => "too many operations are alive",
            ErrorKind::StorageFull => "no space left",
            ErrorKind::SyncLost => {
                "an earlier flush failed, so what was written before may be lost though reads show \
                 it, and one more flush would succeed without it"
            }
            ErrorKind::Unsupported => "not supported on this platform",
            ErrorKind::WouldBlock => "it would have to wait",
            ErrorKind::WriteZero => "no progress",
            ErrorKind::WriteLost => "an earlier operation failed and its failure was not taken",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            ErrorKind::Abandoned => "reopen the file and look at what it holds",
            ErrorKind::AlreadyExists => "open it without `create_new`, or remove it first",
            ErrorKind::Busy => "close every handle of it, then try again",
            ErrorKind::Cancelled => "submit it again if it is still wanted",
            ErrorKind::Closed => "open it again, on a live driver",
            ErrorKind::InvalidInput => "correct the argument",
            ErrorKind::Io => "check the device",
            ErrorKind::IsADirectory => "name a file",
            ErrorKind::Locked => {
                "close it there, or wait longer (`Config::lock_patience`); LITTORAL_LOCKS=off, or \
                 `Config::locks(false)`, goes without locks"
            }
            ErrorKind::NeedsHost => "await it, or `prepare` the name before",
            ErrorKind::NotADirectory => "check the name: what is before a `/` must be a directory",
            ErrorKind::DirectoryNotEmpty => "remove what is in it first",
            ErrorKind::SymbolicLink => "name the file itself, or open it without `no_follow`",
            ErrorKind::NotFound => "check the name, or open it with `create`",
            ErrorKind::NotPrepared => "`prepare` the name first, or use `open`",
            ErrorKind::OutOfResources => "close files or free memory, or raise the limit",
            ErrorKind::PermissionDenied => "open it for writing, or change its permissions",
            ErrorKind::RingLost => "start a new driver and reopen its files",
            ErrorKind::Saturated => "take results, await `room`, or raise `Config::operations`",
            ErrorKind::StorageFull => "free space or raise the quota, then write again",
            ErrorKind::SyncLost => {
                "call `acknowledge_sync_loss`, write again what came after the last good sync, \
                 then sync"
            }
            ErrorKind::Unsupported => "see `capabilities` for what this platform can do",
            ErrorKind::WouldBlock => "submit it without `no_wait`, on a thread that may wait",
            ErrorKind::WriteZero => "check for a full disk or quota",
            ErrorKind::WriteLost => {
                "take the results of your writes, and write the lost ones again"
            }
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, operation: Operation) -> Error {
        Error(Arc::new(Repr {
            kind,
            operation,
            file: None,
            target: None,
            code: None,
            confirmed: None,
            detail: None,
            cause: None,
        }))
    }

    pub(crate) fn from_code(code: Errno, operation: Operation) -> Error {
        let mut error = Error::new(ErrorKind::of(code), operation);
        error.repr().code = Some(code);
        error
    }

    fn repr(&mut self) -> &mut Repr {
        Arc::make_mut(&mut self.0)
    }

    /// What the code means in this place, where it is not what it means in general.
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Error {
        self.repr().kind = kind;
        self
    }

    pub(crate) fn on(mut self, file: impl Into<Arc<str>>) -> Error {
        self.repr().file = Some(file.into());
        self
    }

    /// With the name or names of an operation on such.
    pub(crate) fn of_naming(self, naming: &Naming) -> Error {
        let error = self.on(Arc::clone(&naming.name));
        match &naming.target {
            Some((target, _)) => error.onto(Arc::clone(target)),
            None => error,
        }
    }

    /// The other file, of a rename.
    pub(crate) fn onto(mut self, target: impl Into<Arc<str>>) -> Error {
        self.repr().target = Some(target.into());
        self
    }

    pub(crate) fn confirmed_to(mut self, bytes: u64) -> Error {
        self.repr().confirmed = Some(bytes);
        self
    }

    pub(crate) fn because(mut self, detail: impl Into<Box<str>>) -> Error {
        self.repr().detail = Some(detail.into());
        self
    }

    /// What came first is the cause, not what passed it on.
    pub(crate) fn caused_by(mut self, mut cause: Error) -> Error {
        while cause.kind() == self.kind()
            && let Some(first) = cause.cause().cloned()
        {
            cause = first;
        }
        self.repr().cause = Some(cause);
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The file's name as it was opened, where the operation had one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// For a rename: the name that the file was to have.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// The platform's code, where the platform said no.
    #[must_use]
    pub fn code(&self) -> Option<Errno> {
        self.0.code
    }

    /// For writes: how many bytes from the start are known to be written. What follows them, up to
    /// the end of the request, is old, new or mixed.
    #[must_use]
    pub fn confirmed(&self) -> Option<u64> {
        self.0.confirmed
    }

    /// For [`ErrorKind::WriteLost`]: the first failure that nobody took. For
    /// [`ErrorKind::SyncLost`]: that of the flush.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }
}

/// A name as it stands in a text: of one that is too long for a line, its begin and its end.
struct Shown<'a>(&'a str);

/// Characters of a name that is shown whole, and of the two ends of a longer one.
const SHOWN_MAX: usize = 96;
const SHOWN_ENDS: (usize, usize) = (64, 16);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.chars().count();
        if count <= SHOWN_MAX {
            return write!(f, "`{}`", self.0.escape_debug());
        }
        let place = |at: usize| self.0.char_indices().nth(at).map_or(0, |(place, _)| place);
        let (head, tail) = (&self.0[..place(SHOWN_ENDS.0)], &self.0[place(count - SHOWN_ENDS.1)..]);
        write!(f, "`{}…{}` ({} bytes)", head.escape_debug(), tail.escape_debug(), self.0.len())
    }
}

impl Error {
    /// What went wrong, without what to do about it.
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &*self.0;
        write!(f, "{}", repr.operation.name())?;
        match (&repr.file, &repr.target) {
            (Some(file), Some(target)) => write!(f, " of {} to {}", Shown(file), Shown(target))?,
            // An empty name is the root's, where it is not what is wrong.
            (Some(file), None) if file.is_empty() && repr.kind != ErrorKind::InvalidInput => {
                f.write_str(" on the root")?;
            }
            (Some(file), None) => write!(f, " on {}", Shown(file))?,
            _ => {}
        }
        write!(f, " failed: {}", self.what())?;
        if let Some(detail) = &repr.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(code) = repr.code {
            write!(f, " ({code:?})")?;
        }
        match repr.confirmed {
            // The platform has not said what it did.
            Some(confirmed) if matches!(repr.kind, ErrorKind::Abandoned | ErrorKind::RingLost) => {
                write!(f, ", at least {confirmed} bytes written")
            }
            Some(confirmed) => write!(f, ", {confirmed} bytes confirmed"),
            None => Ok(()),
        }
    }

    /// What the kind means for this operation.
    fn what(&self) -> &'static str {
        let repr = &*self.0;
        match (repr.kind, repr.operation, repr.code) {
            (ErrorKind::NotFound, Operation::Start, _) => "the root is not there",
            (ErrorKind::InvalidInput, _, Some(Errno::FBIG)) => "larger than a file may be here",
            (ErrorKind::InvalidInput, _, Some(Errno::INVAL)) => {
                "the platform refused it as invalid"
            }
            (kind, ..) => kind.what(),
        }
    }

    /// What to do about it.
    fn remedy(&self) -> &'static str {
        let repr = &*self.0;
        match (repr.kind, repr.operation, repr.code) {
            (ErrorKind::NotFound, Operation::Start, _) => {
                "create the folder, or pass another to `Config::root`"
            }
            (
                ErrorKind::NotFound,
                Operation::Rename | Operation::List | Operation::RemoveDir | Operation::SyncDir,
                _,
            ) => "check the names, and what is before each `/`",
            (ErrorKind::InvalidInput, _, Some(Errno::FBIG)) => {
                "stay below the limits of the file system and of the process"
            }
            (ErrorKind::InvalidInput, _, Some(Errno::INVAL)) => {
                "see what kind of file it is, and report it with `capabilities`"
            }
            (kind, ..) => kind.remedy(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f)?;
        // What a failure led to is told by kind: of a chain, only where it began.
        let mut first = self;
        while let Some(cause) = first.cause() {
            first = cause;
        }
        if !core::ptr::eq(first, self) {
            write!(f, " [first: ")?;
            first.tell(f)?;
            write!(f, "]")?;
        }
        write!(f, "; {}", self.remedy())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.cause.as_ref().map(|e| e as _)
    }
}

impl From<littoral_platform::SetupError> for Error {
    /// For drivers on rings of the caller's own: why there is no ring.
    fn from(refused: littoral_platform::SetupError) -> Error {
        Error::from_code(refused.code, Operation::Start).because(refused.what)
    }
}

impl From<Error> for std::io::Error {
    /// For engines that speak `std::io`: the nearest kind there, with the whole error inside.
    fn from(error: Error) -> std::io::Error {
        use std::io::ErrorKind as Std;
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotPrepared => Std::NotFound,
            ErrorKind::AlreadyExists => Std::AlreadyExists,
            ErrorKind::PermissionDenied => Std::PermissionDenied,
            ErrorKind::InvalidInput => Std::InvalidInput,
            ErrorKind::StorageFull => Std::StorageFull,
            ErrorKind::WriteZero => Std::WriteZero,
            ErrorKind::IsADirectory => Std::IsADirectory,
            ErrorKind::NotADirectory => Std::NotADirectory,
            ErrorKind::DirectoryNotEmpty => Std::DirectoryNotEmpty,
            ErrorKind::Busy | ErrorKind::Locked => Std::ResourceBusy,
            ErrorKind::Unsupported => Std::Unsupported,
            ErrorKind::OutOfResources => Std::OutOfMemory,
            _ => Std::Other,
        };
        std::io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_operation_file_code_progress_and_remedy() {
        let error =
            Error::from_code(Errno::NOSPC, Operation::Pwrite).on("main.db").confirmed_to(4096);
        assert_eq!(
            error.to_string(),
            "pwrite on `main.db` failed: no space left (ENOSPC), 4096 bytes confirmed; \
             free space or raise the quota, then write again"
        );
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn a_text_names_both_files_of_a_rename_and_the_root() {
        let error = Error::new(ErrorKind::Busy, Operation::Rename).on("a").onto("b");
        assert!(error.to_string().starts_with("rename of `a` to `b` failed: "), "{error}");
        let root = Error::new(ErrorKind::NotFound, Operation::List).on("");
        assert!(root.to_string().starts_with("list on the root failed: "), "{root}");
    }

    #[test]
    fn a_lost_write_carries_its_cause() {
        let first = Error::from_code(Errno::IO, Operation::Pwritev).on("wal");
        let error = Error::new(ErrorKind::WriteLost, Operation::Sync).on("wal").caused_by(first);
        assert_eq!(error.cause().map(Error::kind), Some(ErrorKind::Io));
        assert!(error.to_string().contains("pwritev on `wal`"));
    }
}
