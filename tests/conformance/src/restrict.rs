//! Takes from this process what a container or an administrator may take: the kernel's ring, locked
//! memory, privileges. Once, at the start: threads inherit what their maker has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use littoral_platform::{Errno, Report};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{Gid, Uid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use tempfile::TempDir;

/// What `io_uring_setup` and its companions answer, where they are denied.
static DENIED: OnceLock<Errno> = OnceLock::new();
/// Whether locked memory is short.
static SHORT: OnceLock<u64> = OnceLock::new();
/// How many drivers were started on which backend, and how many were refused memory on the way.
static STARTED: Mutex<BTreeMap<&'static str, u32>> = Mutex::new(BTreeMap::new());

/// The name of the copy of a program in the folder of the user who is to run it.
const COPY: &str = "program";

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`: the same numbers on every architecture.
const CALLS: [i64; 3] = [425, 426, 427];

/// Has every call of `io_uring` fail with that code, as a container's seccomp filter does.
///
/// # Errors
/// The filter cannot be installed.
pub fn deny_io_uring(code: Errno) -> Result<(), String> {
    let number = code.raw().cast_unsigned();
    let rules = CALLS.into_iter().map(|call| (call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into();
    let filter = architecture.and_then(|architecture| {
        let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(number));
        SeccompFilter::new(rules, others, these, architecture)
    });
    let program = filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())?;
    DENIED.set(code).map_err(|earlier| format!("denied already, with {earlier:?}"))
}

/// Limits the memory that this process may lock.
///
/// # Errors
/// The limit cannot be set.
pub fn limit_memlock(bytes: u64) -> Result<(), String> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    rustix::process::setrlimit(Resource::Memlock, limit).map_err(|error| error.to_string())?;
    SHORT.set(bytes).map_err(|earlier| format!("limited already, to {earlier}"))
}

/// Becomes that user for good, with a folder for temporary files that is theirs, and a copy of the
/// program to [`run`] in it; does nothing for who is not root. The folder is removed with what this
/// gives.
///
/// # Errors
/// There is no such user, or no place for the folder.
pub fn become_user(name: &str, program: Option<&Path>) -> Result<Option<TempDir>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let (uid, gid) = user(name)?;
    let folder = folder_for(uid, gid)?;
    if let Some(program) = program {
        fs::copy(program, folder.path().join(COPY))
            .map_err(|error| format!("{}: {error}", program.display()))?;
    }
    tempfile::env::override_temp_dir(folder.path())
        .map_err(|earlier| format!("temporary files go to {} already", earlier.display()))?;
    let changed = rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_res_gid(Some(gid), Some(gid), Some(gid)))
        .and_then(|()| rustix::thread::set_thread_res_uid(Some(uid), Some(uid), Some(uid)))
        // Or `/proc/self` would stay root's, where the checks look for open files.
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable));
    changed.map_err(|error| format!("cannot become {name}: {error}"))?;
    Ok(Some(folder))
}

/// Runs a program, which inherits what was taken from this process; gives its status. `folder` is
/// the user's, if this process has become one: the tests' files go there.
///
/// The program is opened again by that user: where it lies, only its owner may be allowed to go, so
/// [`become_user`] has left a copy of it in the folder.
///
/// # Errors
/// It cannot be started, or a signal ended it.
pub fn run(command: &[OsString], folder: Option<&Path>) -> Result<u8, String> {
    let (program, arguments) = command.split_first().ok_or("no program to run")?;
    let copy = folder.map(|folder| folder.join(COPY));
    let mut child = Command::new(copy.as_deref().map_or(program.as_os_str(), Path::as_os_str));
    child.args(arguments);
    if let Some(folder) = folder {
        child.env("LITTORAL_TEST_PLACE", folder).env("TMPDIR", folder).current_dir(folder);
    }
    let ended = child.status().map_err(|error| format!("{}: {error}", program.display()))?;
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    code.ok_or_else(|| format!("{}: {ended}", program.display()))
}

fn user(name: &str) -> Result<(Uid, Gid), String> {
    let users = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name));
    let fields: Vec<&str> = line.unwrap_or_default().split(':').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
    let found = number(2).zip(number(3));
    let (uid, gid) = found.ok_or_else(|| format!("/etc/passwd has no user {name}"))?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

/// A folder of that user, below one that everybody can walk through.
fn folder_for(uid: Uid, gid: Gid) -> Result<TempDir, String> {
    let is_open = |folder: &Path| {
        let mut above = folder.ancestors();
        above.all(|each| fs::metadata(each).is_ok_and(|it| it.permissions().mode() & 1 != 0))
    };
    let places = [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
    let place = places.iter().find(|place| place.is_absolute() && is_open(place));
    let place = place.ok_or("no folder for temporary files that everybody can walk through")?;
    let folder = tempfile::Builder::new().prefix("conformance-").tempdir_in(place);
    let folder = folder.map_err(|error| format!("no folder in {}: {error}", place.display()))?;
    chown(folder.path(), Some(uid.as_raw()), Some(gid.as_raw()))
        .map_err(|error| error.to_string())?;
    let owner = fs::metadata(folder.path()).map_err(|error| error.to_string())?.uid();
    debug_assert_eq!(owner, uid.as_raw());
    Ok(folder)
}

/// What was taken, in a word for the rows.
pub(crate) fn mode() -> Option<&'static str> {
    match (DENIED.get(), SHORT.get()) {
        (Some(&Errno::PERM), _) => Some("eperm"),
        (Some(&Errno::NOSYS), _) => Some("enosys"),
        (Some(_), _) => Some("denied"),
        (None, Some(_)) => Some("memlock"),
        (None, None) => None,
    }
}

/// Counts a driver, and holds its report to what was taken from the process.
///
/// # Errors
/// The report does not say what happened: another backend than is left, or another reason.
pub(crate) fn started(report: &Report) -> Result<(), String> {
    let mut counts = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(report.backend).or_default() += 1;
    let short = report.refused.iter().any(|(_, code)| *code == Errno::NOMEM);
    if short {
        *counts.entry("refused memory").or_default() += 1;
    }
    drop(counts);
    let reason = report.refused.last();
    let why = reason.filter(|(what, _)| what.starts_with("io_uring refused"));
    let code = why.map(|(_, code)| *code);
    let expected = match (DENIED.get(), SHORT.get(), report.backend) {
        (Some(denied), ..) => ("threads", Some(*denied)),
        (None, Some(_), "threads") => ("threads", Some(Errno::NOMEM)),
        _ => ("uring", None),
    };
    if (report.backend, code) == expected {
        return Ok(());
    }
    Err(format!("on {} because of {reason:?}; expected was {expected:?}", report.backend))
}

/// How many drivers were started on which backend, in words.
#[must_use]
pub fn mix() -> String {
    let counts = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let parts: Vec<_> =
        counts.iter().map(|(backend, count)| format!("{backend} {count}")).collect();
    parts.join(", ")
}
