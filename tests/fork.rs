//! A process with a driver is forked: what the child is told, and that the parent loses nothing.
#![cfg(target_os = "linux")]

#[path = "support/gated.rs"]
mod gated;
mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gated::{Gate, Wrap};
use littoral::native::LockOwner;
use littoral::platform::faulty::{Faults, OpKind, Outcome, Rule, Script};
use littoral::platform::{Faulty, Op, Ring, Setup, Threads, Uring};
use littoral::{
    Buffer, Config, ErrorKind, Io, LockKind, OpenOptions, Shared, Status, SyncKind, Wait, start,
    start_on, wait,
};
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// Longer than a child takes. One that hangs is an answer, too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A driver, the script of its ring, and its folder.
type Driver = (Arc<dyn Io>, Script, tempfile::TempDir);

/// The kernel's ring and the pool of threads, which do what their script says.
fn drivers() -> [Driver; 2] {
    let driver = |pool| {
        let (folder, script) = (support::folder(), Script::new());
        let config = support::config(folder.path()).drain_timeout(PATIENCE);
        let root = folder.path().to_str().map(str::to_owned);
        let setup = Setup { root, in_flight: 256 };
        let ring: Box<dyn Ring> = if pool {
            let ring = Threads::new(&setup).expect("a root");
            Box::new(Faulty::new(ring, Faults::default(), script.clone()))
        } else {
            let ring = Uring::new(&setup).expect("a kernel with io_uring");
            Box::new(Faulty::new(ring, Faults::default(), script.clone()))
        };
        (start_on(ring, config).expect("a driver"), script, folder)
    };
    [driver(false), driver(true)]
}

/// Forks. The child runs `child` and ends; its process number is the parent's.
fn fork(child: impl FnOnce()) -> Pid {
    // SAFETY: the child has this thread alone. It uses what was left consistent by the fork: the
    // allocator, the engines, and values that no other thread was using; then it ends without
    // unwinding into the test's harness.
    match unsafe { libc::fork() } {
        -1 => panic!("no process: {}", std::io::Error::last_os_error()),
        0 => {
            std::panic::set_hook(Box::new(|panic| {
                // Past the harness, which shows what was printed by its own process.
                let _ = rustix::io::write(rustix::stdio::stderr(), format!("{panic}\n").as_bytes());
            }));
            let held = catch_unwind(AssertUnwindSafe(child)).is_ok();
            // SAFETY: ends this process, which nobody else has.
            unsafe { libc::_exit(i32::from(!held)) }
        }
        pid => Pid::from_raw(pid).expect("a process"),
    }
}

/// Waits for the end of a child, which must have found all as it should be.
fn ended(child: Pid) {
    let started = Instant::now();
    let status: WaitStatus = loop {
        let looked = rustix::process::waitpid(Some(child), WaitOptions::NOHANG).expect("a child");
        if let Some((_, status)) = looked {
            break status;
        }
        if started.elapsed() > PATIENCE {
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(status.exit_status(), Some(0), "the child's assertions are above: {status:?}");
}

fn is_lost<T>(result: littoral::Result<T>) {
    match result {
        Err(error) if error.kind() == ErrorKind::RingLost => {
            let text = error.to_string();
            assert!(text.contains("forked") && text.contains("start a new driver"), "{text}");
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it worked"),
    }
}

#[test]
fn a_child_is_refused_everything_and_the_parents_work_goes_on() {
    for (io, script, folder) in drivers() {
        let file = support::open(&*io, "file");
        wait(&*io, file.pwrite(0, b"before".into())).expect("a write");
        // One that is in the ring, one that is queued, one that is finished and not taken.
        script.push(Rule::next(OpKind::Read, Outcome::Park));
        let stuck = file.pread(0, Buffer::with_capacity(6));
        while script.pending() > 0 {
            io.step(io.delivered(), Wait::No);
        }
        let before = io.delivered();
        let mut finished = file.pread(0, Buffer::with_capacity(6));
        while io.delivered() == before {
            io.step(before, Wait::Forever);
        }
        let queued = file.pwrite(6, b" and after".into());
        let path = folder.path().join("file");
        assert_eq!(support::descriptors_of(&path).len(), 1);

        let mut own = Some((io, file, stuck, queued));
        let child = fork(|| {
            let (io, file, stuck, queued) = own.take().expect("the child's copy");
            assert!(support::descriptors_of(&path).is_empty(), "a copy is open");
            assert_eq!(&finished.try_take().expect("it was there").expect("a read")[..], b"before");
            is_lost(wait(&*io, stuck));
            is_lost(wait(&*io, queued));
            is_lost(wait(&*io, file.pwrite(0, b"child!".into())));
            is_lost(wait(&*io, file.pread(0, Buffer::with_capacity(6))));
            is_lost(wait(&*io, file.sync(SyncKind::Full)));
            is_lost(wait(&*io, file.truncate(0)));
            is_lost(wait(&*io, io.open("other", OpenOptions::new().create(true))));
            is_lost(wait(&*io, io.remove("file")));
            is_lost(io.open_now("other", OpenOptions::new().create(true)));
            is_lost(io.remove_now("file"));
            is_lost(io.exists_now("file"));
            is_lost(file.size_now());
            is_lost(wait(&*io, io.shutdown()));
            let (told, telling) = (Arc::new(AtomicBool::new(false)), file.size());
            telling.on_finish({
                let told = Arc::clone(&told);
                move |result| {
                    is_lost(result);
                    told.store(true, Ordering::Relaxed);
                }
            });
            assert!(told.load(Ordering::Relaxed), "it is refused, and there is nothing to step");
            assert_eq!(io.step(io.delivered(), Wait::Forever).status, Status::Idle);
            io.interrupt();
            let started = Instant::now();
            drop((io, file));
            assert!(started.elapsed() < PATIENCE / 4, "the drop waited");
        });
        ended(child);
        let (io, file, stuck, queued) = own.take().expect("the parent's");
        assert_eq!(support::descriptors_of(&path).len(), 1, "the parent's is open");
        wait(&*io, queued).expect("a write");
        wait(&*io, file.sync(SyncKind::Full)).expect("a sync");
        script.release();
        assert_eq!(wait(&*io, stuck).expect("a read")[..], *b"before");
        drop((file, io));
        assert_eq!(fs::read(&path).expect("it is there"), b"before and after");
    }
}

/// Another thread does a write by itself, and is inside the call: its memory is not the child's to
/// free, and the parent hears of its end as ever.
#[test]
fn a_child_of_a_parent_inside_a_call_is_told_that_it_is_lost() {
    let folder = support::folder();
    let root = folder.path().to_str().map(str::to_owned);
    let inner = Uring::new(&Setup { root, in_flight: 64 }).expect("a kernel with io_uring");
    let gate = Arc::<Gate>::default();
    let ring = Wrap { inner, dead: Arc::default(), gate: Arc::clone(&gate) };
    let io = start_on(Box::new(ring), support::config(folder.path())).expect("a driver");
    let file = support::open(&*io, "file");
    gate.hold(|op| matches!(op, Op::Write { .. }));
    let write = file.pwrite(0, b"by a call".into());
    let stepping = Arc::clone(&io);
    let inside = thread::spawn(move || stepping.step(stepping.delivered(), Wait::Forever).status);
    gate.wait_held();
    let mut own = Some((io, file, write));
    let child = fork(|| {
        let (io, file, write) = own.take().expect("the child's copy");
        is_lost(wait(&*io, write));
        is_lost(wait(&*io, file.sync(SyncKind::Data)));
        assert_eq!(io.step(io.delivered(), Wait::Forever).status, Status::Idle);
        assert_eq!(io.statistics().stale, 0);
        drop((io, file));
    });
    ended(child);
    gate.release();
    assert_eq!(inside.join().expect("it steps"), Status::Delivered);
    let (io, file, write) = own.take().expect("the parent's");
    wait(&*io, write).expect("a write");
    wait(&*io, file.sync(SyncKind::Data)).expect("a sync");
    assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), b"by a call");
}

/// The locks are the parent's: a child neither gives them up for it, nor keeps them after it.
#[test]
fn a_child_has_no_part_in_its_parents_locks() {
    for (io, _, folder) in drivers() {
        let exclusive = OpenOptions::new().create(true).lock(LockKind::Exclusive);
        let file = wait(&*io, io.open("file", exclusive)).expect("a file and its lock");
        let other = start(support::config(folder.path()).lock_patience(Duration::ZERO));
        let other = other.expect("a driver");
        let taken = || wait(&*other, other.open("file", exclusive)).map(drop);
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut own = Some((io, file, writer));
        let child = fork(|| {
            let (io, file, writer) = own.take().expect("the child's copy");
            is_lost(wait(&*io, file.unlock()));
            is_lost(wait(&*io, file.lock(LockKind::Shared)));
            drop((io, file, writer));
            // Lives until the parent has looked.
            assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
        });
        let (io, file, writer) = own.take().expect("the parent's");
        for _ in 0..20 {
            assert_eq!(support::kind(taken()), Err(ErrorKind::Locked), "the child gave it up");
            thread::sleep(Duration::from_millis(1));
        }
        drop((io, file));
        // Children of the other tests, forked while this file was being opened, keep it shortly.
        let started = Instant::now();
        while let Err(error) = taken() {
            assert!(started.elapsed() < PATIENCE / 2, "the child keeps it: {error}");
            thread::sleep(Duration::from_millis(1));
        }
        drop(writer);
        ended(child);
    }
}

/// So are the locks of byte ranges; but memory that both have mapped stays memory.
#[test]
fn a_child_has_no_part_in_its_parents_ranges() {
    for ((io, _, folder), owner) in
        drivers().into_iter().zip([LockOwner::Handle, LockOwner::Process])
    {
        let file = support::open(&*io, "file");
        let shared = file.native().expect("processes share it");
        shared.set_len(64).expect("a size");
        let mapping = shared.map(0, 64).expect("a mapping");
        let place = mapping.u32(0).expect("it is aligned");
        shared.lock_range(0..1, LockKind::Exclusive, owner).expect("a lock");
        let other = start(support::config(folder.path())).expect("a driver");
        let watcher = support::open(&*other, "file");
        // Of the other kind, or of another handle: a view of its own.
        let free = || {
            let watcher = watcher.native().expect("processes share it");
            watcher.range_is_free(0..1, LockKind::Shared, LockOwner::Handle).expect("an answer")
        };
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mine = support::config(folder.path());
        let mut own = Some((io, file, writer));
        let child = fork(|| {
            let (io, file, writer) = own.take().expect("the child's copy");
            is_lost(file.native().map(drop));
            place.store(7, Ordering::Release);
            drop((io, file, writer));
            // What it starts of its own is another process's.
            let io = start(mine).expect("a driver");
            let file = support::open(&*io, "file");
            let file = file.native().expect("processes share it");
            for owner in [LockOwner::Handle, LockOwner::Process] {
                let taken = file.try_lock_range(0..1, LockKind::Shared, owner);
                assert!(!taken.expect("an answer"), "the child has its parent's lock");
                file.lock_range(1..2, LockKind::Exclusive, owner).expect("a lock");
                file.unlock_range(1..2, owner).expect("it has it");
            }
            // Lives until the parent has looked.
            assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
        });
        let (io, file, writer) = own.take().expect("the parent's");
        for _ in 0..20 {
            assert!(!free(), "the child gave it up");
            thread::sleep(Duration::from_millis(1));
        }
        drop((io, file));
        assert!(free(), "the child keeps it");
        drop(writer);
        ended(child);
        assert_eq!(place.load(Ordering::Acquire), 7);
    }
}

#[test]
fn a_child_starts_a_driver_of_its_own() {
    for (io, _, folder) in drivers() {
        let file = support::open(&*io, "file");
        wait(&*io, file.pwrite(0, b"parent".into())).expect("a write");
        let mine = Config::new().root(folder.path().to_str().expect("a UTF-8 path"));
        let child = fork(|| {
            let io = start(mine).expect("a driver");
            let file = support::open(&*io, "child");
            wait(&*io, file.pwrite(0, b"child".into())).expect("a write");
            wait(&*io, file.sync(SyncKind::Full)).expect("a sync");
            // And a child of that child, which has lost it, too.
            ended(fork(|| is_lost(wait(&*io, file.size()))));
            assert_eq!(wait(&*io, file.size()).expect("a size"), 5);
        });
        ended(child);
        assert_eq!(fs::read(folder.path().join("child")).expect("it is there"), b"child");
        assert_eq!(wait(&*io, file.size()).expect("a size"), 6);
    }
}

/// Has threads stop also where an assertion fails.
struct Stop<'a>(&'a AtomicBool, &'a dyn Io);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.interrupt();
    }
}

/// A thread sleeps in the ring's doorbell, another behind it: neither is in the child.
#[test]
fn the_last_handle_is_dropped_in_a_child_whose_waiting_threads_are_gone() {
    for (io, script, folder) in drivers() {
        let file = support::open(&*io, "file");
        wait(&*io, file.pwrite(0, b"bytes".into())).expect("a write");
        script.push(Rule::next(OpKind::Read, Outcome::Park));
        let stuck = file.pread(0, Buffer::with_capacity(5));
        let done = AtomicBool::new(false);
        let steps = || {
            while !done.load(Ordering::Relaxed) {
                io.step(io.delivered(), Wait::Forever);
            }
        };
        thread::scope(|scope| {
            let stop = Stop(&done, &*io);
            scope.spawn(steps);
            scope.spawn(steps);
            thread::sleep(Duration::from_millis(50));
            let child = fork(|| {
                // SAFETY: the two threads that borrow it are not here, nor will the scope end here:
                // this handle is the child's only one, and used no more.
                let io = unsafe { std::ptr::read(&raw const io) };
                assert_eq!(Arc::strong_count(&io), 1);
                // SAFETY: as above, of the completion.
                let stuck = unsafe { std::ptr::read(&raw const stuck) };
                let told = Arc::new(AtomicBool::new(false));
                stuck.on_finish({
                    let told = Arc::clone(&told);
                    move |result| {
                        is_lost(result);
                        told.store(true, Ordering::Relaxed);
                    }
                });
                let started = Instant::now();
                drop(io);
                assert!(started.elapsed() < PATIENCE / 4, "the drop waited");
                assert!(told.load(Ordering::Relaxed), "each operation ends");
            });
            ended(child);
            drop(stop);
        });
        script.release();
        assert_eq!(wait(&*io, stuck).expect("a read")[..], *b"bytes");
        drop(folder);
    }
}

#[test]
fn forks_in_the_middle_of_everything_neither_hang_nor_disturb() {
    const BLOCKS: u64 = 64;
    for (io, _, folder) in drivers() {
        let done = AtomicBool::new(false);
        let work = |name: &str| {
            let file = support::open(&*io, name);
            let mut round = 0_u8;
            while !done.load(Ordering::Relaxed) {
                round = round.wrapping_add(1);
                let block = Shared::from(vec![round; 512]);
                let writes: Vec<_> =
                    (0..BLOCKS).map(|n| file.pwrite(n * 512, block.clone())).collect();
                for write in writes {
                    wait(&*io, write).expect("a write");
                }
                wait(&*io, file.sync(SyncKind::Data)).expect("a sync");
                for n in 0..BLOCKS {
                    let read = wait(&*io, file.pread(n * 512, Buffer::with_capacity(512)));
                    assert_eq!(read.expect("a read")[..], [round; 512]);
                }
            }
            (name.to_owned(), round)
        };
        let file = support::open(&*io, "forked");
        thread::scope(|scope| {
            let stop = Stop(&done, &*io);
            let workers = ["one", "two", "three"].map(|name| scope.spawn(move || work(name)));
            for _ in 0..60 {
                let child = fork(|| {
                    is_lost(wait(&*io, file.pwrite(0, b"never".into())));
                    is_lost(io.open_now("never", OpenOptions::new().create(true)));
                    is_lost(wait(&*io, file.size()));
                    while io.step(io.delivered(), Wait::Forever).status != Status::Idle {}
                    let _ = io.statistics();
                });
                ended(child);
            }
            drop(stop);
            for worker in workers {
                let (name, round) = worker.join().expect("nothing was lost or mixed up");
                let bytes = fs::read(folder.path().join(name)).expect("it is there");
                assert!(bytes.len() == 512 * 64 && bytes.iter().all(|&byte| byte == round));
            }
        });
        assert_eq!(wait(&*io, file.size()).expect("a size"), 0);
        assert!(!folder.path().join("never").exists());
    }
}

#[test]
fn programs_are_started_beside_a_driver() {
    for (io, _, folder) in drivers() {
        let file = support::open(&*io, "file");
        let write = file.pwrite(0, b"queued".into());
        let mut command = Command::new("true");
        // SAFETY: it does nothing; with it the library forks instead of spawning.
        unsafe { command.pre_exec(|| Ok(())) };
        assert!(command.status().expect("a program").success());
        wait(&*io, write).expect("a write");
        assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), b"queued");
    }
}

/// The thread that steps is not in the child: what it did there ends, and nobody waits for it.
#[test]
fn a_drivers_thread_and_its_descriptor_stay_the_parents() {
    let folder = support::folder();
    let config = support::config(folder.path()).drain_timeout(PATIENCE).driver_thread("parents");
    let io = start(config).expect("a driver");
    let file = support::open(&*io, "file");
    let poller = io.poller().expect("a descriptor");
    for round in 0..40_u8 {
        // Now and then the thread is in the midst of something.
        let mut write = file.pwrite(0, Shared::from(vec![round; 512]));
        let mut own = Some((Arc::clone(&io), Arc::clone(&file)));
        let child = fork(|| {
            let started = Instant::now();
            let (io, file) = own.take().expect("the child's copy");
            is_lost(wait(&*io, file.size()));
            assert!(poller.step().is_none(), "there is no driver here");
            drop((io, file));
            assert!(started.elapsed() < PATIENCE / 2, "the child waits for a thread it has not");
        });
        ended(child);
        let started = Instant::now();
        while write.try_take().map(|wrote| wrote.expect("a write")).is_none() {
            assert!(started.elapsed() < PATIENCE, "the parent's thread has lost it");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(poller.step().is_some());
    }
    // The child's copy of the last handle, and the end of everything in it.
    let mut own = Some((io, file, poller));
    let child = fork(|| drop(own.take()));
    ended(child);
    drop(own);
}

/// A callback that forks leaves a child whose one thread is the driver's: it is none there.
#[test]
fn a_callback_of_the_drivers_thread_may_fork() {
    let folder = support::folder();
    let config = support::config(folder.path()).drain_timeout(PATIENCE).driver_thread("forks");
    let io = start(config).expect("a driver");
    let file = support::open(&*io, "file");
    let (tell, told) = std::sync::mpsc::channel();
    let inside = Arc::clone(&file);
    file.size().on_finish(move |_| {
        let child = fork(|| is_lost(inside.size_now()));
        tell.send(child).expect("somebody waits");
    });
    ended(told.recv_timeout(PATIENCE).expect("the callback came back"));
    wait(&*io, file.pwrite(0, b"on".into())).expect("it goes on");
}
