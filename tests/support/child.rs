//! A process of its own that does as it is told, and answers with exactly what it got.
//!
//! It is this very test program, started again for its one test `child_process` with a variable
//! set. It reads orders from its standard input and answers each with one line: what came of it,
//! and after how many milliseconds. So a test compares answers, and a child that dies, hangs or
//! fails for another reason than the expected one is never taken for a success.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use littoral::native::{LockOwner, Mapping};
use littoral::{Buffer, Config, File, Io, LockKind, OpenOptions, Wait, start, wait};
use rustix::fs::FlockOperation;

const FOLDER: &str = "LITTORAL_TEST_FOLDER";
const PATIENCE: &str = "LITTORAL_TEST_PATIENCE";
const MARK: &str = "answer: ";

/// An answer of a child.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// How long the child took for it.
    pub(crate) time: Duration,
}

/// A child and the way to it.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Process {
    /// A child that begins with a driver on `folder`, which waits that long for locks.
    pub(crate) fn new(folder: &Path, patience_millis: u32) -> Process {
        let mut process = Process::bare(folder, patience_millis, None);
        assert_eq!(process.ask("start").text, "started");
        process
    }

    /// A child without a driver, with that `LITTORAL_LOCKS`.
    pub(crate) fn bare(folder: &Path, patience_millis: u32, locks: Option<&str>) -> Process {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "child_process", "--nocapture"]);
        command.env(FOLDER, folder).env(PATIENCE, patience_millis.to_string());
        match locks {
            Some(value) => command.env("LITTORAL_LOCKS", value),
            None => command.env_remove("LITTORAL_LOCKS"),
        };
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("a child process");
        let orders = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, answers) = mpsc::channel();
        thread::spawn(move || {
            let answer = |line: &str| line.strip_prefix(MARK).map(str::to_owned);
            let lines = output.lines().map_while(Result::ok);
            for answer in lines.filter_map(|line| answer(&line)) {
                if send.send(answer).is_err() {
                    return;
                }
            }
        });
        Process { child, orders, answers }
    }

    /// Gives an order, and does not wait for the answer.
    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("a child that listens");
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let line = self.answers.recv_timeout(Duration::from_secs(30)).expect("an answer in time");
        let (millis, text) = line.split_once(' ').expect("milliseconds and a text");
        let time = Duration::from_millis(millis.parse().expect("a number"));
        Answer { text: text.to_owned(), time }
    }

    pub(crate) fn ask(&mut self, order: &str) -> Answer {
        self.tell(order);
        self.answer()
    }

    /// Ends it without asking, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child to kill");
        self.child.wait().expect("its end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already, and a failing test leaves it alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side: its only work where the variable is set, and nothing where it is not.
pub(crate) fn serve() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let patience = std::env::var(PATIENCE).expect("set with the other").parse().expect("a number");
    let mut served = Served {
        folder: folder.into(),
        patience: Duration::from_millis(patience),
        io: None,
        drivers: Vec::new(),
        files: BTreeMap::new(),
        mappings: BTreeMap::new(),
        others: Vec::new(),
        programs: Vec::new(),
    };
    // libtest has begun a line of its own.
    println!();
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let began = Instant::now();
        let answer = served.obey(&order);
        println!("{MARK}{} {answer}", began.elapsed().as_millis());
    }
}

struct Served {
    folder: PathBuf,
    patience: Duration,
    io: Option<Arc<dyn Io>>,
    /// Those that were started before it.
    drivers: Vec<Arc<dyn Io>>,
    files: BTreeMap<String, Arc<dyn File>>,
    /// By the name of the handle that it was mapped by.
    mappings: BTreeMap<String, Mapping>,
    /// What is held open past littoral.
    others: Vec<std::fs::File>,
    programs: Vec<Child>,
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

fn kind_of(word: &str) -> LockKind {
    match word {
        "shared" => LockKind::Shared,
        "exclusive" => LockKind::Exclusive,
        other => panic!("no such lock: {other}"),
    }
}

fn owner_of(word: &str) -> LockOwner {
    match word {
        "handle" => LockOwner::Handle,
        "process" => LockOwner::Process,
        other => panic!("no such owner: {other}"),
    }
}

impl Served {
    fn obey(&mut self, order: &str) -> String {
        let words: Vec<&str> = order.split(' ').collect();
        match self.try_to(&words) {
            Ok(done) => done,
            Err(error) => format!("{:?}: {error}", error.kind()),
        }
    }

    /// Whose, which bytes, and what about them: the kind of a lock, and whether it is tried, waited
    /// for, asked about; or given up.
    fn range(&self, words: &[&str]) -> littoral::Result<String> {
        let [handle, owner, from, to, how @ ..] = words else { panic!("too short: {words:?}") };
        let (file, range, owner) = (self.file(handle), number(from)..number(to), owner_of(owner));
        let file = file.native()?;
        Ok(match how {
            ["try", how] => file.try_lock_range(range, kind_of(how), owner)?.to_string(),
            ["is-free", how] => file.range_is_free(range, kind_of(how), owner)?.to_string(),
            ["wait", how] => {
                file.lock_range(range, kind_of(how), owner)?;
                "locked".to_owned()
            }
            ["give"] => {
                file.unlock_range(range, owner)?;
                "given".to_owned()
            }
            other => panic!("no such thing to do with a range: {other:?}"),
        })
    }

    fn place(&self, handle: &str, at: &str) -> &AtomicU32 {
        let mapping = self.mappings.get(handle).expect("it was mapped");
        mapping.u32(usize::try_from(number(at)).expect("it is small")).expect("inside, and aligned")
    }

    fn io(&self) -> &Arc<dyn Io> {
        self.io.as_ref().expect("it was started")
    }

    fn file(&self, name: &str) -> Arc<dyn File> {
        Arc::clone(self.files.get(name).expect("it was opened"))
    }

    /// Reads and writes as if nobody else did: under a lock nobody does.
    fn add(&self, handle: &str, at: &str, rounds: u64, owner: LockOwner) -> littoral::Result<()> {
        let file = self.file(handle);
        let (file, place) = (file.native()?, self.place(handle, at));
        for _ in 0..rounds {
            file.lock_range(7..8, LockKind::Exclusive, owner)?;
            let before = place.load(Ordering::Relaxed);
            thread::yield_now();
            place.store(before + 1, Ordering::Relaxed);
            file.unlock_range(7..8, owner)?;
        }
        Ok(())
    }

    fn try_to(&mut self, words: &[&str]) -> littoral::Result<String> {
        Ok(match words {
            ["start"] => {
                let root = self.folder.to_str().expect("a UTF-8 path");
                let config = Config::new().root(root).lock_patience(self.patience);
                self.drivers.extend(self.io.replace(start(config)?));
                "started".to_owned()
            }
            ["policy"] => {
                let chosen = self.io().capabilities().chosen;
                chosen.into_iter().find(|line| line.starts_with("locks")).expect("a policy")
            }
            // A name for the handle, then the file's, then how.
            ["open", handle, name, how @ ..] => {
                let mut options = OpenOptions::new().create(true);
                for word in how {
                    options = match *word {
                        "existing" => OpenOptions::new(),
                        "read-only" => OpenOptions::read_only(),
                        lock => options.lock(kind_of(lock)),
                    };
                }
                let file = wait(&**self.io(), self.io().open(name, options))?;
                self.files.insert((*handle).to_owned(), file);
                "opened".to_owned()
            }
            ["lock", handle, how] => {
                wait(&**self.io(), self.file(handle).lock(kind_of(how)))?;
                "locked".to_owned()
            }
            ["unlock", handle] => {
                wait(&**self.io(), self.file(handle).unlock())?;
                "unlocked".to_owned()
            }
            ["close", handle] => {
                let file = self.files.remove(*handle).expect("it was opened");
                wait(&**self.io(), file.close())?;
                "closed".to_owned()
            }
            ["range", rest @ ..] => return self.range(rest),
            ["set-len", handle, len] => {
                self.file(handle).native()?.set_len(number(len))?;
                "set".to_owned()
            }
            ["map", handle, at, len] => {
                let len = usize::try_from(number(len)).expect("it is small");
                let mapping = self.file(handle).native()?.map(number(at), len)?;
                self.mappings.insert((*handle).to_owned(), mapping);
                "mapped".to_owned()
            }
            // The 32 bits of a mapping at that place.
            ["load", handle, at] => self.place(handle, at).load(Ordering::Acquire).to_string(),
            ["store", handle, at, value] => {
                let value = value.parse().expect("32 bits");
                self.place(handle, at).store(value, Ordering::Release);
                "stored".to_owned()
            }
            ["add", handle, at, rounds, owner] => {
                self.add(handle, at, number(rounds), owner_of(owner))?;
                "added".to_owned()
            }
            // Past littoral, as any other code of the process would.
            ["peek", name] => {
                drop(std::fs::File::open(self.folder.join(name)).expect("a file to open"));
                "peeked".to_owned()
            }
            ["record-lock", name] => {
                let file = std::fs::OpenOptions::new().write(true).open(self.folder.join(name));
                let file = file.expect("a file to open");
                let taken = rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
                self.others.push(file);
                taken.map_or_else(|error| error.to_string(), |()| "locked".to_owned())
            }
            // Writes and reads that nobody waits for: the kernel has them when the process dies.
            ["flood", handle] => {
                let file = self.file(handle);
                for n in 0..100 {
                    file.pwrite(n << 20, vec![1; 1 << 20].into()).detach();
                    file.pread(n << 20, Buffer::with_capacity(1 << 20)).detach();
                }
                self.io().step(self.io().delivered(), Wait::No);
                "flooded".to_owned()
            }
            // A process of its own that outlives this one, and must not keep its lock.
            ["spawn"] => {
                let sleep = Command::new("sleep").arg("20").spawn().expect("a program");
                let number = sleep.id().to_string();
                self.programs.push(sleep);
                number
            }
            ["count", handle, rounds] => {
                let file = self.file(handle);
                let io = Arc::clone(self.io());
                for _ in 0..rounds.parse::<u32>().expect("a number") {
                    wait(&*io, file.lock(LockKind::Exclusive))?;
                    let read = wait(&*io, file.pread(0, Buffer::with_capacity(8)))?;
                    let before = <[u8; 8]>::try_from(&read[..]).map_or(0, u64::from_le_bytes);
                    let after = (before + 1).to_le_bytes().to_vec();
                    // Neither is waited for: the unlock does.
                    file.pwrite(0, after.into()).detach();
                    file.unlock().detach();
                }
                wait(&*io, file.unlock())?;
                "counted".to_owned()
            }
            other => panic!("no such order: {other:?}"),
        })
    }
}
