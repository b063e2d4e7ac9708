//! What errors say: each kind is provoked, and its whole text compared. A text names the operation,
//! the file where there is one, and what to do; a page tells more about each kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use littoral::platform::Setup;
use littoral::platform::faulty::{Faults, Faulty, OpKind, Outcome, Rule, Script};
use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::{
    Buffer, Completion, Config, Errno, Error, File, Intent, Io, LockKind, OpenOptions, SyncKind,
    Wait, start, start_on, wait,
};

/// The kinds as the source lists them: an enumeration cannot be asked.
fn kinds() -> BTreeSet<String> {
    let source = fs::read_to_string("src/error.rs").expect("the source is there");
    let (_, body) = source.split_once("pub enum ErrorKind {").expect("the kinds are listed");
    let (body, _) = body.split_once("\n}").expect("the list ends");
    let variants = body.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let variants: BTreeSet<String> = variants
        .filter_map(|line| line.strip_suffix(','))
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .map(str::to_owned)
        .collect();
    assert!(variants.len() >= 20 && variants.contains("NotFound"), "{variants:?}");
    variants
}

/// A driver on a simulated ring, what is to happen to it, and a file.
struct Bench {
    io: Arc<dyn Io>,
    script: Script,
    file: Arc<dyn File>,
}

const NAME: &str = "main.db";

impl Bench {
    fn new() -> Bench {
        Bench::with(Config::new(), Behaviour::seeded(1))
    }

    fn with(config: Config, behaviour: Behaviour) -> Bench {
        let setup = Setup { root: None, in_flight: 64 };
        let ring = Simulated::new(&setup, Disk::new(), behaviour);
        let script = Script::new();
        let ring = Faulty::new(ring, Faults::default(), script.clone());
        let io = start_on(Box::new(ring), config).expect("a driver");
        let file = wait(&*io, io.open(NAME, OpenOptions::new().create(true))).expect("it opens");
        Bench { io, script, file }
    }

    /// The error that this ends with.
    fn error<T>(&self, mut completion: Completion<T>) -> Error
    where
        Completion<T>: Ends,
    {
        for _ in 0..1000 {
            if let Some(error) = completion.ends() {
                return error;
            }
            self.io.step(self.io.delivered(), Wait::For(Duration::from_millis(5)));
        }
        panic!("it does not end")
    }

    /// The next entries of that kind fail so.
    fn fail(&self, kind: OpKind, code: Errno) {
        self.script.push(Rule::next(kind, Outcome::Fail(code)));
    }
}

/// Ends with an error, whatever else it would have given.
trait Ends {
    fn ends(&mut self) -> Option<Error>;
}

macro_rules! ends {
    ($($type:ty),*) => {$(
        impl Ends for Completion<$type> {
            fn ends(&mut self) -> Option<Error> {
                self.try_take().map(|result| result.expect_err("it fails"))
            }
        }
    )*};
}

ends!((), u64, Buffer, Arc<dyn File>);

fn new() -> OpenOptions {
    OpenOptions::new()
}

/// Provokes errors; each with its whole text.
type Sample = (Error, &'static str);

fn on_names() -> Vec<Sample> {
    let bench = Bench::new();
    let Bench { io, .. } = &bench;
    let long = format!("{}/{}.db", "folder-".repeat(20), "x".repeat(200));
    let long: &str = &long;
    let open = |name: &str, options| bench.error(io.open(name, options));
    vec![
        (
            open("absent", new()),
            "open on `absent` failed: there is no such file (ENOENT); \
             check the name, or open it with `create`",
        ),
        (
            open(NAME, new().create_new(true)),
            "open on `main.db` failed: the file exists already (EEXIST); \
             open it without `create_new`, or remove it first",
        ),
        (
            bench.error(io.remove(NAME)),
            "remove on `main.db` failed: the file is in use; \
             close every handle of it, then try again",
        ),
        (
            {
                bench.fail(OpKind::Open, Errno::ISDIR);
                open("folder", new())
            },
            "open on `folder` failed: it is a directory (EISDIR); name a file",
        ),
        (
            {
                bench.fail(OpKind::Open, Errno::ACCES);
                open("theirs", new())
            },
            "open on `theirs` failed: permission denied (EACCES); \
             open it for writing, or change its permissions",
        ),
        (
            {
                bench.fail(OpKind::Open, Errno::MFILE);
                open("one-more", new())
            },
            "open on `one-more` failed: out of a resource (EMFILE); \
             close files or free memory, or raise the limit",
        ),
        (
            {
                bench.fail(OpKind::Open, Errno::NOENT);
                open(long, new())
            },
            "open on `folder-folder-folder-folder-folder-folder-folder-folder-folder-f\
             …xxxxxxxxxxxxx.db` (344 bytes) failed: there is no such file (ENOENT); \
             check the name, or open it with `create`",
        ),
        (
            open("/etc/passwd", new()),
            "open on `/etc/passwd` failed: invalid argument: names are relative to the root, \
             so none starts with `/`; correct the argument",
        ),
        (
            open("a//b", new()),
            "open on `a//b` failed: invalid argument: a component is empty; correct the argument",
        ),
        (
            open("../up", new()),
            "open on `../up` failed: invalid argument: no component is `.` or `..`; \
             correct the argument",
        ),
        (
            open("line\nbreak", new()),
            "open on `line\\nbreak` failed: invalid argument: a name has no control characters \
             and no `\\`; correct the argument",
        ),
        (open("", new()), "open on `` failed: invalid argument: it is empty; correct the argument"),
    ]
}

fn on_data() -> Vec<Sample> {
    let bench = Bench::new();
    let Bench { io, script, file } = &bench;
    let write = || bench.error(file.pwrite(0, b"12345678".into()));
    let failed = |kind, code| {
        bench.fail(kind, code);
        write()
    };
    let reader = wait(&**io, io.open(NAME, OpenOptions::read_only())).expect("it is there");
    vec![
        (
            failed(OpKind::Write, Errno::IO),
            "pwrite on `main.db` failed: input/output error (EIO), 0 bytes confirmed; \
             check the device",
        ),
        (
            {
                script.push(Rule::next(OpKind::Write, Outcome::Short(3)));
                failed(OpKind::Write, Errno::NOSPC)
            },
            "pwrite on `main.db` failed: no space left (ENOSPC), 3 bytes confirmed; \
             free space or raise the quota, then write again",
        ),
        (
            failed(OpKind::Write, Errno::FBIG),
            "pwrite on `main.db` failed: larger than a file may be here (EFBIG), \
             0 bytes confirmed; stay below the limits of the file system and of the process",
        ),
        (
            failed(OpKind::Write, Errno::INVAL),
            "pwrite on `main.db` failed: the platform refused it as invalid (EINVAL), 0 bytes \
             confirmed; see what kind of file it is, and report it with `capabilities`",
        ),
        (
            {
                script.push(Rule::next(OpKind::Write, Outcome::Short(0)).times(1000));
                let error = write();
                script.clear();
                error
            },
            "pwrite on `main.db` failed: no progress, 0 bytes confirmed; \
             check for a full disk or quota",
        ),
        (
            bench.error(file.pwrite(u64::MAX, b"far".into())),
            "pwrite on `main.db` failed: invalid argument: offset and length reach past the \
             platform's maximum; correct the argument",
        ),
        (
            bench.error(reader.pwrite(0, b"no".into())),
            "pwrite on `main.db` failed: permission denied: this handle is for reading; \
             open it for writing, or change its permissions",
        ),
        (
            {
                bench.fail(OpKind::Truncate, Errno::OPNOTSUPP);
                bench.error(file.truncate(1))
            },
            "truncate on `main.db` failed: not supported on this platform (EOPNOTSUPP); \
             see `capabilities` for what this platform can do",
        ),
        (
            {
                bench.fail(OpKind::Write, Errno::IO);
                file.pwrite(0, b"lost".into()).detach();
                bench.error(file.sync(SyncKind::Full))
            },
            "sync on `main.db` failed: an earlier operation failed and its failure was not taken \
             [first: pwrite on `main.db` failed: input/output error (EIO), 0 bytes confirmed]; \
             take the results of your writes, and write the lost ones again",
        ),
        (
            {
                script.push(Rule::next(OpKind::Read, Outcome::Park));
                let read = file.pread(0, Buffer::with_capacity(8));
                io.step(io.delivered(), Wait::No);
                read.cancel();
                let error = bench.error(read);
                script.release();
                error
            },
            "pread on `main.db` failed: cancelled; \
             submit it again if it is still wanted",
        ),
        (
            {
                wait(&**io, reader.close()).expect("it closes");
                bench.error(reader.size())
            },
            "size on `main.db` failed: it was closed before: by `close` on this handle; \
             open it again, on a live driver",
        ),
    ]
}

fn on_drivers() -> Vec<Sample> {
    let few = Bench::with(Config::new().operations(2).files(1), Behaviour::seeded(1));
    let held = [few.file.size(), few.file.size()];
    let saturated = few.error(few.file.size());
    drop(held);
    few.io.step(few.io.delivered(), Wait::No);
    let crowded = few.error(few.io.open("other", new().create(true)));
    let room = few.error(few.io.room(3));
    wait(&*few.io, few.io.shutdown()).expect("it ends");
    let shut = few.error(few.file.size());

    let dead = Bench::new();
    dead.script.kill(Errno::OWNERDEAD);
    let ring_lost = dead.error(dead.file.pwrite(0, b"no".into()));

    let late =
        Bench::with(Config::new().drain_timeout(Duration::from_millis(20)), Behaviour::seeded(1));
    late.script.push(Rule::next(OpKind::Write, Outcome::Late));
    let mut write = late.file.pwrite(0, b"who knows".into());
    late.io.step(late.io.delivered(), Wait::No);
    drop((late.io, late.file));
    let abandoned = write.try_take().expect("it has ended").expect_err("nobody answered");

    let unsynced = Bench::new();
    unsynced.fail(OpKind::Sync, Errno::IO);
    wait(&*unsynced.io, unsynced.file.pwrite(0, b"unsynced".into())).expect("it is written");
    unsynced.error(unsynced.file.sync(SyncKind::Full));
    let sync_lost = unsynced.error(unsynced.file.sync(SyncKind::Full));

    let bounds = start_on(
        Box::new(Simulated::new(
            &Setup { root: None, in_flight: 64 },
            Disk::new(),
            Behaviour::seeded(1),
        )),
        Config::new().operations(0),
    );
    vec![
        (
            saturated,
            "size on `main.db` failed: too many operations are alive: 2 of 2 are in use; \
             take results, await `room`, or raise `Config::operations`",
        ),
        (
            crowded,
            "open on `other` failed: out of a resource: as many files are open as \
             `Config::files` allows; close files or free memory, or raise the limit",
        ),
        (
            room,
            "room failed: invalid argument: 3, and `Config::operations` is 2; \
             correct the argument",
        ),
        (
            shut,
            "size on `main.db` failed: it was closed before: the driver was shut down; \
             open it again, on a live driver",
        ),
        (
            ring_lost,
            "pwrite on `main.db` failed: the ring is dead (EOWNERDEAD), \
             at least 0 bytes written; start a new driver and reopen its files",
        ),
        (
            abandoned,
            "pwrite on `main.db` failed: the driver went away before the platform answered, \
             at least 0 bytes written; reopen the file and look at what it holds",
        ),
        (
            sync_lost,
            "sync on `main.db` failed: an earlier flush failed, so what was written before may be \
             lost though reads show it, and one more flush would succeed without it \
             [first: sync on `main.db` failed: input/output error (EIO)]; call \
             `acknowledge_sync_loss`, write again what came after the last good sync, then sync",
        ),
        (
            bounds.expect_err("nothing can be submitted to it"),
            "start failed: invalid argument: `operations` and `files` are from 1 to 32768; \
             correct the argument",
        ),
    ]
}

/// As in a browser's worker.
fn hosted() -> Vec<Sample> {
    let setup = Setup { root: None, in_flight: 64 };
    let behaviour = Behaviour { hosted: true, ..Behaviour::seeded(1) };
    let ring = Simulated::new(&setup, Disk::new(), behaviour);
    let io = start_on(Box::new(ring), Config::new()).expect("a driver");
    vec![
        (
            io.open_now("unprepared", new().create(true)).expect_err("it takes the host"),
            "open on `unprepared` failed: the name was not prepared; \
             `prepare` the name first, or use `open`",
        ),
        (
            wait(&*io, io.open("awaited", new().create(true))).expect_err("it takes the host"),
            "wait on `awaited` failed: it cannot be waited for here; \
             await it, or `prepare` the name before",
        ),
    ]
}

/// Of files that somebody has locked: another handle, another driver.
fn locked() -> Vec<Sample> {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new().root(folder.path().to_str().expect("text")).locks(true);
    let config = config.lock_patience(Duration::from_millis(20));
    let io = start(config.clone()).expect("a driver");
    let other = start(config).expect("another driver");
    let held = wait(&*io, io.open(NAME, new().create(true))).expect("it opens");
    wait(&*io, held.lock(LockKind::Exclusive)).expect("nobody has it");
    let wanted = wait(&*other, other.open(NAME, new())).expect("it opens");
    let again = wait(&*io, io.open(NAME, new())).expect("it opens");
    vec![
        (
            wait(&*other, wanted.lock(LockKind::Exclusive)).expect_err("it is held"),
            "lock on `main.db` failed: it is locked by someone else: another process, or another \
             driver of this one, has it, and kept it for 20 ms; close it there, or wait longer \
             (`Config::lock_patience`); LITTORAL_LOCKS=off, or `Config::locks(false)`, goes \
             without locks",
        ),
        (
            wait(&*io, again.lock(LockKind::Shared)).expect_err("it is held"),
            "lock on `main.db` failed: it is locked by someone else: another handle of this driver \
             has it, and kept it for 20 ms; close it there, or wait longer \
             (`Config::lock_patience`); LITTORAL_LOCKS=off, or `Config::locks(false)`, goes \
             without locks",
        ),
    ]
}

/// On the platform itself.
fn native() -> Vec<Sample> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("folder")).expect("a folder in it");
    let io = start(Config::new().root(folder.path().to_str().expect("text"))).expect("a driver");
    std::os::unix::fs::symlink("folder", folder.path().join("link")).expect("a link");
    fs::write(folder.path().join("folder/file"), b"bytes").expect("a file");
    let file = wait(&*io, io.open("folder/file", new())).expect("it opens");
    let busy = wait(&*io, io.rename("folder/file", "moved")).expect_err("it is open");
    let _cut = file.truncate(5);
    let read = file.pread_with(0, Buffer::with_capacity(5), Intent::new().no_wait(true));
    let haste = wait(&*io, read).expect_err("a truncate is before it");
    drop(file);
    vec![
        (
            haste,
            "pread on `folder/file` failed: it would have to wait: \
             for operations submitted before; submit it without `no_wait`, on a thread that may \
             wait",
        ),
        (
            busy,
            "rename of `folder/file` to `moved` failed: the file is in use; \
             close every handle of it, then try again",
        ),
        (
            wait(&*io, io.rename("none", "moved")).expect_err("it is not there"),
            "rename of `none` to `moved` failed: there is no such file (ENOENT); \
             check the names, and what is before each `/`",
        ),
        (
            wait(&*io, io.open("link", new().no_follow(true))).expect_err("it is a link"),
            "open on `link` failed: it is a symbolic link, or links lead in a circle (ELOOP); \
             name the file itself, or open it without `no_follow`",
        ),
        (
            wait(&*io, io.remove_dir("folder")).expect_err("a file is in it"),
            "remove_dir on `folder` failed: there is something in it (ENOTEMPTY); \
             remove what is in it first",
        ),
        (
            wait(&*io, io.list("folder/file")).expect_err("it is a file"),
            "list on `folder/file` failed: a part of it is no directory (ENOTDIR); \
             check the name: what is before a `/` must be a directory",
        ),
        (
            wait(&*io, io.open("folder", new())).expect_err("it is a folder"),
            "open on `folder` failed: it is a directory (EISDIR); name a file",
        ),
        (
            wait(&*io, io.open("absent/too", new())).expect_err("it is not there"),
            "open on `absent/too` failed: there is no such file (ENOENT); \
             check the name, or open it with `create`",
        ),
        (
            start(Config::new().root("/nowhere/at/all")).expect_err("there is no such folder"),
            "start failed: the root is not there: cannot open \"/nowhere/at/all\", which must be \
             an existing folder (ENOENT); create the folder, or pass another to `Config::root`",
        ),
    ]
}

#[test]
fn every_kind_says_what_where_and_what_to_do() {
    let samples = [on_names(), on_data(), on_drivers(), hosted(), locked(), native()].concat();
    let mut wrong = Vec::new();
    let mut provoked = BTreeSet::new();
    for (error, expected) in samples {
        let text = error.to_string();
        provoked.insert(format!("{:?}", error.kind()));
        if text != expected {
            wrong.push(format!("{:?}:\n  {text}\n  {expected}", error.kind()));
        }
        assert!(text.starts_with(error.operation().name()), "no operation: {text}");
        assert!(text.contains("; ") && !text.contains('\n'), "no remedy, or two lines: {text}");
        assert!(text.chars().count() < 400, "too long: {text}");
        if let Some(file) = error.file() {
            let shown: String = file.escape_debug().take(60).collect();
            assert!(text.contains(&shown), "no file: {text}");
        }
        if let Some(code) = error.code() {
            assert!(text.contains(&format!("({code:?})")), "no code: {text}");
        }
        assert!(format!("{error:?}").contains(&text), "the text is in what `unwrap` prints");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(provoked, kinds(), "every kind has a sample");
}

/// The page's sections: by their headings, in their order.
fn sections(page: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut heading = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            heading = name.strip_prefix('`').and_then(|name| name.split('`').next());
            if let Some(heading) = heading {
                let twice = sections.insert(heading.to_owned(), String::new());
                assert!(twice.is_none(), "{heading} has two sections");
            }
        } else if let Some(heading) = heading {
            let section = sections.get_mut(heading).expect("it was begun");
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

#[test]
fn every_kind_has_a_section_in_the_troubleshooting_page() {
    let page = fs::read_to_string(Path::new("docs/troubleshooting.md")).expect("the page is there");
    let sections = sections(&page);
    assert_eq!(sections.keys().cloned().collect::<BTreeSet<_>>(), kinds());
    for (kind, section) in &sections {
        for part in ["**Means.**", "**Natively.**", "**In a browser.**", "**Do.**"] {
            let (_, text) = section.split_once(part).unwrap_or_else(|| panic!("{kind}: no {part}"));
            let text = text.split("**").next().unwrap_or_default().trim();
            assert!(text.len() > 20, "{kind}: {part} says nothing: {text}");
        }
    }
    let order: Vec<_> = page.lines().filter(|line| line.starts_with("## `")).collect();
    assert!(order.is_sorted(), "by the alphabet, so that a kind is found: {order:?}");
}
