//! Can any number of threads share one driver, its files and its completions?
#![cfg(target_os = "linux")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use littoral::{
    Buffer, Completion, ErrorKind, File, Io, OpenOptions, Result, Status, SyncKind, Wait, block_on,
    wait,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const THREADS: u64 = 8;
const ROUNDS: u32 = 300;
/// Bytes of the shared file that are one thread's.
const REGION: u64 = 64 * 1024;

/// Starts an operation until there is room for it.
fn retried<T>(
    io: &dyn Io,
    mut start: impl FnMut() -> Completion<T>,
    finish: impl Fn(Completion<T>) -> Result<T>,
) -> Result<T> {
    loop {
        match finish(start()) {
            Err(error) if error.kind() == ErrorKind::Saturated => wait(io, io.room(1))?,
            ended => return ended,
        }
    }
}

/// One thread's work: writes and reads its region, in all the ways there are to wait.
fn work(io: &Arc<dyn Io>, file: &Arc<dyn File>, own: &Arc<dyn File>, thread: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(thread);
    let mut model = vec![0; usize::try_from(REGION).expect("small")];
    let base = thread * REGION;
    retried(&**io, || file.pwrite(base, model.clone().into()), |write| wait(&**io, write))?;
    for round in 0..ROUNDS {
        let at = random.random_range(0..model.len() - 1);
        let len = random.random_range(1..=(model.len() - at).min(9000));
        let bytes = vec![random.random::<u8>(); len];
        let write = || file.pwrite(base + at as u64, bytes.clone().into());
        match round % 5 {
            0 => retried(&**io, write, |write| block_on(io, write)?)?,
            1 => retried(&**io, write, |write| by_callback(io, write))?,
            2 => {
                // Cancelled, it is repeated: nothing is known of the bytes.
                let cancelled = |write: Completion<()>| {
                    write.cancel();
                    wait(&**io, write)
                };
                match retried(&**io, write, cancelled) {
                    Err(error) if error.kind() == ErrorKind::Cancelled => {
                        retried(&**io, write, |write| wait(&**io, write))?;
                    }
                    ended => ended?,
                }
            }
            3 => {
                // Detached, a later sync covers it.
                retried(&**io, write, |write| {
                    let mut write = write;
                    match write.try_take() {
                        None => {
                            write.detach();
                            Ok(())
                        }
                        Some(ended) => ended,
                    }
                })?;
                loop {
                    match retried(&**io, || file.sync(SyncKind::Data), |sync| wait(&**io, sync)) {
                        // Another thread's cancelled write, of which it has not heard yet.
                        Err(error) if error.kind() == ErrorKind::WriteLost => thread::yield_now(),
                        ended => break ended?,
                    }
                }
            }
            _ => retried(&**io, write, |write| wait(&**io, write))?,
        }
        model[at..at + len].copy_from_slice(&bytes);
        let from = random.random_range(0..model.len());
        let len = random.random_range(0..=model.len() - from);
        let read = || file.pread(base + from as u64, Buffer::with_capacity(len));
        let read = retried(&**io, read, |read| wait(&**io, read))?;
        assert!(read[..] == model[from..from + len], "thread {thread}, round {round}");
        retried(&**io, || own.truncate(u64::from(round)), |cut| wait(&**io, cut))?;
        assert_eq!(retried(&**io, || own.size(), |size| wait(&**io, size))?, u64::from(round));
    }
    Ok(())
}

fn by_callback(io: &Arc<dyn Io>, write: Completion<()>) -> Result<()> {
    let (tell, told) = mpsc::channel();
    let weak: Weak<dyn Io> = Arc::downgrade(io);
    write.on_finish(move |ended| {
        // Whatever thread this is, it may step here as well.
        if let Some(io) = weak.upgrade() {
            io.step(io.delivered(), Wait::No);
        }
        tell.send(ended).expect("it is waited for");
    });
    loop {
        let seen = io.delivered();
        match told.try_recv() {
            Ok(ended) => return ended,
            // Another thread may be on its way to call it.
            Err(mpsc::TryRecvError::Empty) => {
                _ = io.step(seen, Wait::For(Duration::from_millis(1)));
            }
            Err(mpsc::TryRecvError::Disconnected) => panic!("a callback was lost"),
        }
    }
}

#[test]
fn threads_that_submit_and_wait_in_every_way() {
    support::within(120, "hammer", || {
        let folder = support::folder();
        // Fewer places than the threads want now and then.
        let io = support::driver(folder.path(), 8);
        let file = support::open(&*io, "shared");
        let owns = (0..THREADS).map(|thread| support::open(&*io, &format!("own-{thread}")));
        let owns: Vec<_> = owns.collect();
        let threads = (0..).zip(owns).map(|(thread, own)| {
            let (io, file) = (Arc::clone(&io), Arc::clone(&file));
            thread::spawn(move || work(&io, &file, &own, thread).expect("nothing fails"))
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.join().expect("no panic");
        }
        let left = io.statistics();
        assert_eq!((left.alive, left.stale), (0, 0), "{left:?}");
        println!("{left:?}");
    });
}

#[test]
fn threads_that_open_close_and_remove_the_same_names() {
    support::within(120, "names", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let threads = (0..THREADS).map(|thread| {
            let io = Arc::clone(&io);
            thread::spawn(move || {
                let mut random = StdRng::seed_from_u64(thread);
                let mut removed = 0;
                for round in 0..ROUNDS {
                    let name = format!("name-{}", random.random_range(0..3));
                    let options = OpenOptions::new().create(true);
                    let file = if random.random() {
                        wait(&*io, io.open(&name, options)).expect("it opens")
                    } else {
                        io.open_now(&name, options).expect("it opens now")
                    };
                    let (at, bytes) = (thread * 8, u64::from(round).to_le_bytes());
                    wait(&*io, file.pwrite(at, bytes.to_vec().into())).expect("it is open");
                    let read = wait(&*io, file.pread(at, Buffer::with_capacity(8)));
                    assert_eq!(read.expect("it is open")[..], bytes, "nobody removes an open file");
                    match random.random_range(0..3) {
                        0 => drop(file),
                        1 => wait(&*io, file.close()).expect("it closes"),
                        _ => file.close().detach(),
                    }
                    let ended = if random.random() {
                        wait(&*io, io.remove(&name))
                    } else {
                        io.remove_now(&name)
                    };
                    match support::kind(ended) {
                        Ok(()) => removed += 1,
                        Err(ErrorKind::Busy | ErrorKind::NotFound) => {}
                        Err(other) => panic!("remove: {other:?}"),
                    }
                }
                removed
            })
        });
        let threads: Vec<_> = threads.collect();
        let removed: u32 = threads.into_iter().map(|t| t.join().expect("no panic")).sum();
        assert!(removed > 0, "never once was a name free");
        let left = io.statistics();
        assert_eq!((left.alive, left.stale), (0, 0), "{left:?}");
        drop(io);
        for name in 0..3 {
            let path = folder.path().join(format!("name-{name}"));
            assert!(support::descriptors_of(&path).is_empty(), "a descriptor leaked");
        }
    });
}

/// The smallest executor: polls, and sleeps until it is woken.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Sleeper(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Steps until it is told to stop.
fn stepper(io: &Arc<dyn Io>, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (io, stop) = (Arc::clone(io), Arc::clone(stop));
    thread::spawn(move || {
        loop {
            let seen = io.delivered();
            if stop.load(Ordering::SeqCst) {
                return;
            }
            if io.step(seen, Wait::Forever).status == Status::Idle {
                thread::yield_now(); // Nothing is alive now.
            }
        }
    })
}

#[test]
fn one_thread_steps_and_the_others_await() {
    support::within(120, "executors", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 64);
        let stop = Arc::new(AtomicBool::new(false));
        let stepping = stepper(&io, &stop);
        let threads = (0..THREADS).map(|thread| {
            let io = Arc::clone(&io);
            thread::spawn(move || {
                run(async {
                    let name = format!("file-{thread}");
                    let file = io.open(&name, OpenOptions::new().create(true)).await?;
                    for round in 0..u64::from(ROUNDS) {
                        let bytes = round.to_le_bytes();
                        // Two at once, the second awaited first.
                        let first = file.pwrite(round * 16, bytes.to_vec().into());
                        let second = file.pwrite(round * 16 + 8, bytes.to_vec().into());
                        second.await?;
                        first.await?;
                        let read = file.pread(round * 16, Buffer::with_capacity(16)).await?;
                        assert_eq!((&read[..8], &read[8..]), (&bytes[..], &bytes[..]));
                    }
                    file.sync(SyncKind::Full).await?;
                    assert_eq!(file.size().await?, u64::from(ROUNDS) * 16);
                    file.close().await
                })
            })
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.join().expect("no panic").expect("nothing fails");
        }
        stop.store(true, Ordering::SeqCst);
        io.interrupt();
        stepping.join().expect("no panic");
        assert_eq!(io.statistics().alive, 0);
    });
}

/// Threads that have files and no driver: it goes while they submit and await.
#[test]
fn the_driver_goes_while_others_use_its_files() {
    support::within(120, "going", || {
        let folder = support::folder();
        for round in 0..20 {
            let io = support::driver(folder.path(), 64);
            let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
            let threads = (0..THREADS).map(|thread| {
                let file = support::open(&*io, &format!("file-{thread}"));
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    loop {
                        let at = done.fetch_add(1, Ordering::SeqCst) % 100 * 4096;
                        let other = file.pread(at, Buffer::with_capacity(4096));
                        let ended = run(file.pwrite(at, vec![1; 4096].into()));
                        let other = run(other).map(drop);
                        for ended in [ended, other] {
                            match support::kind(ended) {
                                Ok(()) => {}
                                // It was in the kernel when the driver went, or came too late.
                                Err(ErrorKind::Cancelled | ErrorKind::Closed) => return,
                                Err(kind) => panic!("{kind:?}"),
                            }
                        }
                    }
                })
            });
            let threads: Vec<_> = threads.collect();
            let stepping = stepper(&io, &stop);
            while done.load(Ordering::SeqCst) < 200 + round {
                thread::yield_now();
            }
            stop.store(true, Ordering::SeqCst);
            io.interrupt();
            drop(io); // The stepping thread has the last handle, or had.
            stepping.join().expect("no panic");
            for thread in threads {
                thread.join().expect("no panic");
            }
            for thread in 0..THREADS {
                let path = folder.path().join(format!("file-{thread}"));
                assert!(support::descriptors_of(&path).is_empty(), "a descriptor leaked");
            }
        }
    });
}

/// A driver whose operation never ends by itself, to be dropped; and that operation.
fn busy_driver(folder: &std::path::Path, pipe: &str) -> (Arc<dyn Io>, Completion<Buffer>) {
    let io = support::driver(folder, 8);
    support::pipe(folder, pipe);
    let read = support::open(&*io, pipe).pread(0, Buffer::with_capacity(1));
    io.step(io.delivered(), Wait::No);
    (io, read)
}

#[test]
fn a_callback_may_drop_the_last_handle_of_a_driver() {
    support::within(60, "dropped by a callback", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 8);
        let file = support::open(&*io, "file");
        let (other, mut read) = busy_driver(folder.path(), "pipe");
        let own = Arc::clone(&io);
        let (tell, told) = mpsc::channel();
        file.pwrite(0, b"bytes".into()).on_finish(move |ended| {
            drop(other);
            drop(own); // Not the last: somebody is stepping.
            tell.send(ended).expect("it is waited for");
        });
        while let Err(mpsc::TryRecvError::Empty) = told.try_recv() {
            io.step(io.delivered(), Wait::For(Duration::from_millis(5)));
        }
        let ended = read.try_take().expect("its driver is gone").map(drop);
        assert_eq!(support::kind(ended), Err(ErrorKind::Cancelled));
        assert_eq!(wait(&*io, file.size()).expect("this driver lives"), 5);
    });
}

/// What a write is made from is dropped by the engine at the write's end: it may be anything.
#[test]
fn a_buffers_owner_may_drop_the_last_handle_of_a_driver() {
    struct Owner(#[expect(dead_code, reason = "it is kept to be dropped")] Arc<dyn Io>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"bytes"
        }
    }
    support::within(60, "dropped by an owner", || {
        let folder = support::folder();
        let io = support::driver(folder.path(), 8);
        let file = support::open(&*io, "file");
        let (other, mut read) = busy_driver(folder.path(), "pipe");
        let write = file.pwrite(0, littoral::Shared::from_owner(Owner(other)));
        assert!(read.try_take().is_none(), "the owner keeps its driver");
        wait(&*io, write).expect("it is written");
        let ended = read.try_take().expect("its driver is gone").map(drop);
        assert_eq!(support::kind(ended), Err(ErrorKind::Cancelled));
    });
}
