//! Names on the real kernel, which browsers know nothing of: links, permissions, pipes, and files
//! that no name leads to.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use littoral::{ErrorKind, FileKind, Io, OpenOptions, wait};
use support::{driver, folder, kind, open, within};

fn create(io: &dyn Io, name: &str, options: OpenOptions) -> littoral::Result<()> {
    wait(io, wait(io, io.open(name, options.create(true)))?.close())
}

#[test]
fn a_file_is_known_by_whatever_name() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let io = driver(folder.path(), 64);
    let file = open(&*io, "file");
    fs::hard_link(path("file"), path("hard")).unwrap();
    symlink("file", path("soft")).unwrap();
    fs::write(path("other"), b"other").unwrap();
    for name in ["file", "hard", "soft"] {
        assert_eq!(kind(wait(&*io, io.remove(name))), Err(ErrorKind::Busy), "{name}");
        assert_eq!(kind(io.remove_now(name)), Err(ErrorKind::Busy), "{name} now");
        assert_eq!(kind(wait(&*io, io.rename(name, "x"))), Err(ErrorKind::Busy), "from {name}");
        assert_eq!(kind(wait(&*io, io.rename("other", name))), Err(ErrorKind::Busy), "to {name}");
        assert!(path(name).exists(), "{name} is untouched");
    }
    let identity = wait(&*io, file.metadata()).unwrap().identity;
    for name in ["file", "hard", "soft"] {
        assert_eq!(wait(&*io, io.metadata(name)).unwrap().identity, identity, "{name}");
    }
    let error = wait(&*io, io.remove("hard")).unwrap_err();
    assert!(error.to_string().contains("open by another name, `file`"), "{error}");

    wait(&*io, file.close()).unwrap();
    wait(&*io, io.rename("hard", "harder")).unwrap();
    wait(&*io, io.remove("soft")).unwrap();
    wait(&*io, io.remove("file")).unwrap();
    assert_eq!(wait(&*io, io.metadata("harder")).unwrap().identity, identity, "a rename keeps it");
}

#[test]
fn links_that_lead_nowhere_are_names_too() {
    let folder = folder();
    let io = driver(folder.path(), 64);
    // So that names are looked at before they are removed.
    let _open = open(&*io, "open");
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    assert!(!wait(&*io, io.exists("dangling")).unwrap(), "it leads to nothing");
    wait(&*io, io.rename("dangling", "moved")).unwrap();
    assert!(folder.path().join("moved").symlink_metadata().unwrap().is_symlink());
    let listed = wait(&*io, io.list("")).unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].kind), ("moved", FileKind::Other));
    wait(&*io, io.remove("moved")).unwrap();
    assert!(folder.path().join("moved").symlink_metadata().is_err());
}

#[test]
fn links_are_followed_unless_told() {
    let folder = folder();
    let io = driver(folder.path(), 64);
    create(&*io, "file", OpenOptions::new()).unwrap();
    symlink("file", folder.path().join("link")).unwrap();
    symlink("circle", folder.path().join("circle")).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    symlink("folder", folder.path().join("way")).unwrap();
    let strict = OpenOptions::new().no_follow(true);
    create(&*io, "link", OpenOptions::new()).unwrap();
    assert_eq!(kind(create(&*io, "link", strict)), Err(ErrorKind::SymbolicLink));
    assert_eq!(io.open_now("link", strict).unwrap_err().kind(), ErrorKind::SymbolicLink);
    create(&*io, "file", strict).unwrap();
    create(&*io, "way/file", strict).unwrap();
    assert_eq!(kind(create(&*io, "circle", OpenOptions::new())), Err(ErrorKind::SymbolicLink));
}

#[test]
fn a_mode_is_that_of_what_is_created() {
    let folder = folder();
    let io = driver(folder.path(), 64);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let umask = {
        let probe = folder.path().join("probe");
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true), 0o777);
        options.open(&probe).unwrap();
        0o777 & !mode(&probe)
    };
    create(&*io, "usual", OpenOptions::new()).unwrap();
    create(&*io, "private", OpenOptions::new().mode(0o600)).unwrap();
    io.open_now("shared", OpenOptions::new().mode(0o660).create(true)).unwrap();
    // An existing one keeps its own.
    create(&*io, "private", OpenOptions::new().mode(0o666)).unwrap();
    for (name, bits) in [("usual", 0o644), ("private", 0o600), ("shared", 0o660)] {
        assert_eq!(mode(&folder.path().join(name)), bits & !umask, "{name}");
    }
}

#[test]
fn a_root_is_a_path_in_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let root = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&root).unwrap();
    let error = littoral::start(littoral::Config::new().root(&root)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the root is not UTF-8"), "{error}");
    littoral::start(littoral::Config::new().root(folder.path())).unwrap();
}

#[test]
fn a_temporary_file_has_no_links() {
    let folder = folder();
    let io = driver(folder.path(), 64);
    wait(&*io, io.prepare(&[], 1)).unwrap();
    let files = [
        wait(&*io, io.temporary(OpenOptions::new())).unwrap(),
        io.temporary_now(OpenOptions::new()).unwrap(),
        io.temporary_now(OpenOptions::new()).unwrap(),
    ];
    for file in &files {
        wait(&*io, file.pwrite(0, vec![7; 10_000].into())).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no name leads to them");
    let inside = folder.path().canonicalize().unwrap();
    let ours: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|fd| {
            let target = fs::read_link(fd).unwrap_or_default();
            target != inside && target.starts_with(&inside)
        })
        .collect();
    assert_eq!(ours.len(), 3, "{ours:?}");
    for fd in ours {
        assert_eq!(fs::metadata(fd).unwrap().nlink(), 0);
    }
    drop(files);
    drop(io);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    within(20, "opens of a pipe", || {
        let folder = folder();
        let io = driver(folder.path(), 64);
        support::pipe(folder.path(), "pipe");
        // Nobody ever opens it to write.
        let pipe = io.open_now("pipe", OpenOptions::read_only()).unwrap();
        assert_eq!(wait(&*io, pipe.metadata()).unwrap().kind, FileKind::Other);
        let again = wait(&*io, io.open("pipe", OpenOptions::read_only())).unwrap();
        assert_eq!(wait(&*io, again.metadata()).unwrap().kind, FileKind::Other);
        assert!(io.exists_now("pipe").unwrap());
    });
}

/// Each of them frees a name for the next one, and the stack must not grow with their number.
#[test]
fn a_long_line_for_one_name_takes_no_stack() {
    let folder = folder();
    let io = driver(folder.path(), 20_000);
    let file = open(&*io, "a");
    let held = open(&*io, "z");
    let renames: Vec<_> = (0..9_000).map(|_| io.rename("a", "z")).collect();
    let removes: Vec<_> = (0..9_000).map(|_| io.remove("z")).collect();
    for busy in renames.into_iter().chain(removes) {
        assert_eq!(kind(wait(&*io, busy)), Err(ErrorKind::Busy));
    }
    // The same, waiting for a close.
    drop((file, held));
    let renames: Vec<_> = (0..9_000).map(|_| io.rename("none", "z")).collect();
    for missing in renames {
        assert_eq!(kind(wait(&*io, missing)), Err(ErrorKind::NotFound));
    }
}
