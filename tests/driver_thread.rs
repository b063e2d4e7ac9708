//! A driver with a thread of its own: nobody steps, and everything happens all the same.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::platform::{Setup, faulty};
use littoral::{
    Buffer, Config, ErrorKind, File, Io, LockKind, OpenOptions, Shared, SyncKind, Wait, batch,
    start, start_on, wait,
};
use support::backends::Backend;

/// Far more than anything here takes, far less than for ever.
const PROMPT: Duration = Duration::from_secs(10);

fn config(name: &str) -> Config {
    Config::new().operations(64).driver_thread(name)
}

/// Awaits without ever stepping: what a foreign executor does.
fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let started = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park_timeout(PROMPT);
        assert!(started.elapsed() < PROMPT, "nobody has stepped");
    }
}

fn open(io: &Arc<dyn Io>, name: &str) -> Arc<dyn File> {
    park_on(io.open(name, OpenOptions::new().create(true))).expect("a file")
}

/// The numbers of this process's threads of that name.
fn threads_named(name: &str) -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let numbers = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let is_named = |number: &String| {
        let comm = fs::read_to_string(format!("/proc/self/task/{number}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    numbers.filter(is_named).collect()
}

#[test]
fn operations_end_without_anybodys_step() {
    for backend in Backend::ALL {
        support::within(60, "without a step", move || {
            let (io, _folder) = backend.driver(config("no-steps"));
            let file = open(&io, "file");
            for round in 0..50_u8 {
                let at = u64::from(round) * 4096;
                park_on(file.pwrite(at, Shared::from(vec![round; 4096]))).expect("a write");
                let read = park_on(file.pread(at, Buffer::with_capacity(4096))).expect("a read");
                assert!(read.iter().all(|byte| *byte == round), "{backend:?}");
            }
            park_on(file.sync(SyncKind::Full)).expect("a sync");
            // What was taken by nobody, and what is called back.
            let mut taken = file.size();
            let (tell, told) = mpsc::channel();
            file.size().on_finish(move |size| tell.send(size.unwrap()).unwrap());
            assert_eq!(told.recv_timeout(PROMPT).expect("a callback"), 50 * 4096);
            let started = Instant::now();
            let size = loop {
                match taken.try_take() {
                    Some(size) => break size.unwrap(),
                    None => thread::sleep(Duration::from_millis(1)),
                }
                assert!(started.elapsed() < PROMPT, "{backend:?}");
            };
            assert_eq!(size, 50 * 4096);
            // Together, and while somebody else steps beside the thread.
            let writes = batch(&*io, || {
                [0_u64, 1, 2, 3].map(|page| file.pwrite(page * 512, vec![9; 512].into()))
            });
            for write in writes {
                wait(&*io, write).expect("a write");
            }
            assert_eq!(&park_on(file.pread(2040, Buffer::with_capacity(8))).unwrap()[..], [9; 8]);
        });
    }
}

#[test]
fn many_threads_share_one_that_drives() {
    for backend in Backend::ALL {
        support::within(120, "many threads", move || {
            let (io, _folder) = backend.driver(config("shared"));
            let file = open(&io, "shared");
            thread::scope(|scope| {
                for worker in 0..4_u8 {
                    let (io, file) = (&io, &file);
                    scope.spawn(move || {
                        for round in 0..100_u64 {
                            let at = (u64::from(worker) * 100 + round) * 512;
                            let bytes = Shared::from(vec![worker + 1; 512]);
                            // One awaits, one steps.
                            if worker % 2 == 0 {
                                park_on(file.pwrite(at, bytes)).expect("a write");
                            } else {
                                wait(io, file.pwrite(at, bytes)).expect("a write");
                            }
                            let read = file.pread(at, Buffer::with_capacity(512));
                            let read = if round % 2 == 0 { park_on(read) } else { wait(io, read) };
                            assert_eq!(read.expect("a read")[..], [worker + 1; 512]);
                        }
                    });
                }
            });
        });
    }
}

#[test]
fn the_thread_is_named_sleeps_and_goes_with_the_driver() {
    support::within(60, "a name", || {
        let folder = support::folder();
        let io = start(support::config(folder.path()).driver_thread("shore-keeper")).unwrap();
        let file = open(&io, "file");
        park_on(file.pwrite(0, b"x".into())).unwrap();
        let [number] = &threads_named("shore-keeper")[..] else { panic!("one thread") };
        let ticks = || -> u64 {
            let stat = fs::read_to_string(format!("/proc/self/task/{number}/stat")).unwrap();
            let after_name = stat.rsplit(") ").next().unwrap().to_owned();
            let fields: Vec<&str> = after_name.split(' ').collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let before = ticks();
        thread::sleep(Duration::from_millis(500));
        assert!(ticks() - before <= 2, "a thread with nothing to do takes no time");
        drop((file, io));
        assert!(threads_named("shore-keeper").is_empty(), "it outlived its driver");
    });
}

#[test]
fn a_panic_in_a_callback_ends_neither_the_thread_nor_the_driver() {
    for backend in Backend::ALL {
        support::within(60, "a panic", move || {
            let (io, _folder) = backend.driver(config("panics"));
            let file = open(&io, "file");
            let (tell, told) = mpsc::channel();
            for n in 0..9 {
                let tell = tell.clone();
                file.size().on_finish(move |_| {
                    tell.send(n).unwrap();
                    assert!(n % 3 != 1, "on purpose: a callback of a test panics");
                });
            }
            let mut came: Vec<u32> =
                (0..9).map(|_| told.recv_timeout(PROMPT).expect("none is lost")).collect();
            came.sort_unstable();
            assert_eq!(came, (0..9).collect::<Vec<_>>());
            park_on(file.pwrite(0, b"alive".into())).expect("it goes on");
            assert_eq!(io.statistics().panics, 3, "{backend:?}");
        });
    }
}

#[test]
fn the_last_handle_may_go_on_the_drivers_own_thread() {
    for backend in Backend::ALL {
        support::within(60, "its own end", move || {
            let (io, _folder) = backend.driver(config("own-end"));
            let file = open(&io, "file");
            let size = file.size();
            let left = file.pwrite(0, b"left behind".into());
            let (tell, told) = mpsc::channel();
            let go = Arc::new(Mutex::new(()));
            let held = go.lock().unwrap();
            let wait_for = Arc::clone(&go);
            let keeper = Arc::clone(&io);
            size.on_finish(move |_| {
                drop(wait_for.lock());
                // The last one by now, on the thread that steps.
                drop(keeper);
                tell.send(thread::current().name().map(str::to_owned)).unwrap();
            });
            drop(io);
            drop(held);
            let name = told.recv_timeout(PROMPT).expect("the drop came back").expect("a name");
            assert_eq!(name, "own-end");
            // Taken or cancelled, but told.
            let outcome = park_on(left).map_err(|error| error.kind());
            assert!(matches!(outcome, Ok(()) | Err(ErrorKind::Cancelled)), "{outcome:?}");
            let refused = park_on(file.size()).expect_err("there is no driver");
            assert_eq!(refused.kind(), ErrorKind::Closed);
        });
    }
}

/// Whoever drops the last handle holds what a callback waits for.
#[test]
fn a_callback_that_waits_for_the_dropper_holds_him_up_no_longer_than_a_drain() {
    support::within(60, "a bound", || {
        let bound = Duration::from_millis(200);
        let (io, _folder) = Backend::Uring.driver(config("bounded").drain_timeout(bound));
        let file = open(&io, "file");
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let (tell_begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let waits_for = Arc::clone(&lock);
        file.size().on_finish(move |size| {
            tell_begin.send(()).unwrap();
            drop(waits_for.lock());
            end.send(size.is_ok()).unwrap();
        });
        begun.recv_timeout(PROMPT).expect("a callback");
        let started = Instant::now();
        drop((file, io));
        let took = started.elapsed();
        assert!(took >= bound && took < PROMPT, "{took:?}");
        drop(held);
        assert!(ended.recv_timeout(PROMPT).expect("it goes on"), "its size");
        let started = Instant::now();
        while !threads_named("bounded").is_empty() {
            assert!(started.elapsed() < PROMPT, "the thread stays");
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn drivers_come_and_go_in_the_midst_of_work() {
    for backend in [Backend::Uring, Backend::Threads] {
        support::within(120, "ends", move || {
            for round in 0..100 {
                let (io, _folder) = backend.driver(config("ends"));
                let file = io.open_now("file", OpenOptions::new().create(true)).unwrap();
                let writes: Vec<_> =
                    (0..8_u64).map(|page| file.pwrite(page * 512, vec![1; 512].into())).collect();
                let told = Arc::new(AtomicU32::new(0));
                for _ in 0..8 {
                    let told = Arc::clone(&told);
                    file.size().on_finish(move |_| {
                        told.fetch_add(1, Ordering::Relaxed);
                    });
                }
                if round % 2 == 0 {
                    thread::sleep(Duration::from_micros(round * 3));
                }
                drop(io);
                assert_eq!(told.load(Ordering::Relaxed), 8, "callbacks of a driver that is gone");
                for mut write in writes {
                    let outcome = write.try_take().expect("it is over").map_err(|e| e.kind());
                    assert!(matches!(outcome, Ok(()) | Err(ErrorKind::Cancelled)), "{outcome:?}");
                }
            }
        });
    }
}

/// There is no timer but whoever waits: the thread minds the time.
#[test]
fn a_lock_is_waited_for_by_the_thread() {
    for backend in [Backend::Uring, Backend::Threads] {
        support::within(60, "a lock", move || {
            let (io, folder) = backend.driver(config("locks"));
            let other = start(support::config(folder.path())).unwrap();
            let held = support::open(&*other, "file");
            wait(&*other, held.lock(LockKind::Exclusive)).expect("a lock");
            let file = open(&io, "file");
            let mut asked = file.lock(LockKind::Exclusive);
            thread::sleep(Duration::from_millis(100));
            assert!(asked.try_take().is_none(), "it is somebody else's");
            wait(&*other, held.unlock()).expect("no lock");
            park_on(asked).expect("a lock, in the end");
        });
    }
}

#[test]
fn where_it_cannot_be_it_is_refused() {
    let kind = |result: littoral::Result<Arc<dyn Io>>| result.map_err(|error| error.kind());
    let setup = Setup { root: None, in_flight: 64 };
    // As a browser's ring is.
    let hosted = Behaviour { hosted: true, ..Behaviour::seeded(1) };
    let ring = Simulated::new(&setup, Disk::new(), hosted);
    let refused = kind(start_on(Box::new(ring), config("hosted")));
    assert_eq!(refused.err(), Some(ErrorKind::Unsupported));
    let refused = kind(start(config("a\0b")));
    assert_eq!(refused.err(), Some(ErrorKind::InvalidInput));
}

#[test]
fn a_simulated_ring_is_driven_as_well() {
    support::within(60, "simulated", || {
        let setup = Setup { root: None, in_flight: 64 };
        for seed in 0..20 {
            let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(seed));
            let rough = faulty::Faults::rough(seed);
            let ring = faulty::Faulty::new(ring, rough, faulty::Script::new());
            let io = start_on(Box::new(ring), config("simulated")).unwrap();
            let file = open(&io, "file");
            for page in 0..20 {
                park_on(file.pwrite(page * 100, vec![1; 100].into())).unwrap();
            }
            park_on(file.sync(SyncKind::Data)).unwrap();
            assert_eq!(park_on(file.size()).unwrap(), 2000);
        }
    });
}

/// A step of another thread beside: neither sleeps through what the other one delivers.
#[test]
fn others_may_step_beside_it() {
    support::within(60, "beside", || {
        let (io, _folder) = Backend::Uring.driver(config("beside"));
        let file = open(&io, "file");
        for _ in 0..500 {
            let mut size = file.size();
            let mut seen = io.delivered();
            while size.try_take().is_none() {
                seen = io.step(seen, Wait::Forever).delivered;
            }
        }
        // With nothing under way it does not wait for the thread, which waits for ever.
        assert_eq!(io.step(io.delivered(), Wait::Forever).status, littoral::Status::Idle);
    });
}
