//! A driver that a foreign event loop drives: its descriptor is readable exactly when a step is
//! worth while.
#![cfg(target_os = "linux")]

mod support;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use littoral::platform::Setup;
use littoral::platform::faulty::{OpKind, Outcome as Fault, Rule};
use littoral::platform::simulated::{Config as Behaviour, Disk, Simulated};
use littoral::{
    Buffer, Completion, Config, ErrorKind, File, Io, LockKind, OpenOptions, Outcome, Poller,
    Shared, Status, SyncKind, Wait, batch, start, start_on, wait,
};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use support::backends::Backend;

/// Far more than anything here takes, far less than for ever.
const PROMPT: Duration = Duration::from_secs(10);
/// What is not readable after that is not.
const A_WHILE: Duration = Duration::from_millis(50);

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().try_into().unwrap(), tv_nsec: time.subsec_nanos().into() }
}

fn is_readable(poller: &Poller, within: Duration) -> bool {
    let started = Instant::now();
    loop {
        let left = within.saturating_sub(started.elapsed());
        match poll(&mut [PollFd::new(poller, PollFlags::IN)], Some(&timespec(left))) {
            Ok(ready) => return ready > 0,
            // The kernel's own work for the ring may interrupt.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Steps as often as the descriptor says; how often that was.
fn until<T: Outcome>(
    poller: &Poller,
    completion: &mut Completion<T>,
) -> (littoral::Result<T>, u32) {
    let mut steps = 0;
    loop {
        if let Some(result) = completion.try_take() {
            return (result, steps);
        }
        assert!(is_readable(poller, PROMPT), "slept through a result after {steps} steps");
        poller.step().expect("a driver");
        steps += 1;
    }
}

/// Steps until it has nothing to say; how often that was.
fn settle(poller: &Poller) -> u32 {
    let mut steps = 0;
    while is_readable(poller, A_WHILE) {
        poller.step();
        steps += 1;
        assert!(steps < 100, "readable for ever");
    }
    steps
}

fn open(io: &Arc<dyn Io>, poller: &Poller, name: &str) -> Arc<dyn File> {
    until(poller, &mut io.open(name, OpenOptions::new().create(true))).0.expect("a file")
}

fn config() -> Config {
    Config::new().operations(200)
}

#[test]
fn it_drives_everything_by_itself() {
    for backend in Backend::ALL {
        support::within(120, "everything", move || {
            let (io, _folder) = backend.driver(config());
            let poller = io.poller().expect("a descriptor");
            let file = open(&io, &poller, "file");
            for round in 0..50_u8 {
                let at = u64::from(round) * 4096;
                let bytes = Shared::from(vec![round; 4096]);
                until(&poller, &mut file.pwrite(at, bytes)).0.expect("a write");
                let read = until(&poller, &mut file.pread(at, Buffer::with_capacity(4096))).0;
                assert!(read.expect("a read").iter().all(|byte| *byte == round), "{backend:?}");
            }
            until(&poller, &mut file.sync(SyncKind::Full)).0.expect("a sync");
            until(&poller, &mut file.truncate(10)).0.expect("a truncate");
            assert_eq!(until(&poller, &mut file.size()).0.expect("a size"), 10);
            drop(file);
            until(&poller, &mut io.remove("file")).0.expect("a remove");
        });
    }
}

/// Level by level: quiet when nothing is there, readable when something is, until it was stepped
/// for.
#[test]
fn it_is_readable_exactly_when_a_step_is_worth_while() {
    for backend in [Backend::Uring, Backend::Threads] {
        support::within(60, "levels", move || {
            let (io, script, _folder) = backend.scripted(config());
            let poller = io.poller().unwrap();
            assert!(is_readable(&poller, Duration::ZERO), "from the start");
            settle(&poller);
            assert!(!is_readable(&poller, A_WHILE), "with nothing to do");
            let file = open(&io, &poller, "file");
            until(&poller, &mut file.pwrite(0, b"ping".into())).0.unwrap();
            settle(&poller);
            // Submitted: readable until a step has started it.
            script.push(Rule::next(OpKind::Read, Fault::Park));
            let mut read = file.pread(0, Buffer::with_capacity(4));
            assert!(is_readable(&poller, Duration::ZERO), "something was submitted");
            assert!(is_readable(&poller, Duration::ZERO), "and is not started by looking");
            assert_eq!(poller.step().unwrap().status, Status::Pending);
            assert!(!is_readable(&poller, A_WHILE), "it is under way, nothing is to be done");
            // Finished by somebody else.
            let releaser = thread::spawn(move || {
                thread::sleep(A_WHILE);
                script.release();
            });
            assert!(is_readable(&poller, PROMPT), "{backend:?}: it goes on");
            assert!(read.try_take().is_none(), "nothing is delivered without a step");
            assert_eq!(&until(&poller, &mut read).0.unwrap()[..], b"ping");
            releaser.join().unwrap();
            settle(&poller);
            // Told from outside.
            io.interrupt();
            assert!(is_readable(&poller, Duration::ZERO), "interrupted");
            settle(&poller);
            // A refusal's callback waits for a step, and nothing else.
            file.pwrite(u64::MAX, b"x".into()).on_finish(|refused| {
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
            });
            assert!(is_readable(&poller, Duration::ZERO), "somebody is to be told");
            assert!(settle(&poller) <= 2);
        });
    }
}

/// What the kernel ends by itself makes the descriptor readable: nobody is in a call then.
#[test]
fn the_kernels_completions_make_it_readable() {
    support::within(60, "a pipe", || {
        let (io, folder) = Backend::Uring.driver(config());
        let poller = io.poller().unwrap();
        let path = support::pipe(folder.path(), "pipe");
        let pipe = open(&io, &poller, "pipe");
        for _ in 0..20 {
            settle(&poller);
            let mut read = pipe.pread(0, Buffer::with_capacity(4));
            assert_eq!(poller.step().unwrap().status, Status::Pending);
            assert!(!is_readable(&poller, A_WHILE), "it is under way, nothing is to be done");
            let path = path.clone();
            let writer = thread::spawn(move || {
                std::fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .and_then(|mut pipe| std::io::Write::write_all(&mut pipe, b"ping"))
                    .unwrap();
            });
            assert!(is_readable(&poller, PROMPT), "it has ended");
            assert!(read.try_take().is_none(), "nothing is delivered without a step");
            assert_eq!(poller.step().unwrap().status, Status::Delivered);
            assert_eq!(&read.try_take().unwrap().unwrap()[..], b"ping");
            writer.join().unwrap();
        }
    });
}

#[test]
fn many_submissions_are_one_step() {
    support::within(60, "coalesced", || {
        let (io, _folder) = Backend::Uring.driver(config());
        let poller = io.poller().unwrap();
        let file = open(&io, &poller, "file");
        until(&poller, &mut file.pwrite(0, vec![1; 128 * 512].into())).0.unwrap();
        settle(&poller);
        let reads: Vec<_> =
            (0..128).map(|n| file.pread(n * 512, Buffer::with_capacity(512))).collect();
        assert_eq!(io.statistics().in_flight, 0, "a step starts them, all together");
        let mut steps = 0;
        let mut left = reads;
        while !left.is_empty() {
            assert!(is_readable(&poller, PROMPT), "slept");
            poller.step();
            steps += 1;
            left.retain_mut(|read| read.try_take().is_none());
        }
        steps += settle(&poller);
        // One starts them and reaps what was cached, in batches of 64.
        assert!(steps <= 8, "{steps} steps for 128 reads");
        // A batch starts its own.
        let inside =
            batch(&*io, || [0, 1].map(|n| file.pread(n * 512, Buffer::with_capacity(512))));
        for mut read in inside {
            until(&poller, &mut read).0.unwrap();
        }
    });
}

/// A loop that asks for edges hears of everything if it waits for the next after each step.
#[test]
fn edges_are_enough() {
    for backend in Backend::ALL {
        support::within(120, "edges", move || {
            let (io, _folder) = backend.driver(config());
            let poller = io.poller().unwrap();
            let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&set, &poller, epoll::EventData::new_u64(7), flags).unwrap();
            let step_at_an_edge = || {
                let mut events = [epoll::Event {
                    flags: epoll::EventFlags::empty(),
                    data: epoll::EventData::new_u64(0),
                }];
                loop {
                    match epoll::wait(&set, &mut events[..], Some(&timespec(PROMPT))) {
                        Ok(0) => panic!("{backend:?}: no edge"),
                        Ok(_) => break,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                poller.step().unwrap();
            };
            let mut opening = io.open("file", OpenOptions::new().create(true));
            let file = loop {
                if let Some(file) = opening.try_take() {
                    break file.unwrap();
                }
                step_at_an_edge();
            };
            for round in 0..30 {
                // More than a step's batch, and what its callbacks submit.
                let told = Arc::new(AtomicU32::new(0));
                for page in 0..100 {
                    let (told, again) = (Arc::clone(&told), Arc::clone(&file));
                    file.pwrite(page * 64, vec![1; 64].into()).on_finish(move |wrote| {
                        wrote.unwrap();
                        let first = told.fetch_add(1, Ordering::Relaxed) % 10 == round % 10;
                        if first {
                            again.pread(0, Buffer::with_capacity(64)).on_finish(move |read| {
                                assert_eq!(read.unwrap().len(), 64);
                                told.fetch_add(1000, Ordering::Relaxed);
                            });
                        }
                    });
                }
                let all = |told: u32| told >= 10_000 && told % 1000 == 100;
                while !all(told.load(Ordering::Relaxed)) {
                    step_at_an_edge();
                }
            }
        });
    }
}

/// Results that another thread's steps deliver are told to the loop that looks for them.
#[test]
fn it_sleeps_through_nothing_that_another_thread_delivers() {
    for backend in Backend::ALL {
        support::within(120, "another thread", move || {
            let (io, _folder) = backend.driver(config());
            let poller = io.poller().unwrap();
            let file = open(&io, &poller, "file");
            let (stop, stopped) = mpsc::channel::<()>();
            let stepper = thread::spawn({
                let io = Arc::clone(&io);
                move || {
                    let mut beside = 0_u32;
                    while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                        let how = [Wait::No, Wait::For(Duration::from_micros(50))];
                        io.step(io.delivered(), how[beside as usize % 2]);
                        beside += 1;
                    }
                }
            });
            for n in 0..1000_u64 {
                let mut wrote = file.pwrite(n % 7 * 10, vec![1; 10].into());
                until(&poller, &mut wrote).0.unwrap();
            }
            drop(stop);
            stepper.join().unwrap();
        });
    }
}

#[test]
fn two_loops_have_a_descriptor_each() {
    support::within(120, "two loops", || {
        let (io, _folder) = Backend::Uring.driver(config());
        let first = io.poller().unwrap();
        let file = open(&io, &first, "file");
        let workers: Vec<_> = (0..2_u8)
            .map(|worker| {
                let (io, file) = (Arc::clone(&io), Arc::clone(&file));
                thread::spawn(move || {
                    let poller = io.poller().unwrap();
                    for n in 0..1000_u64 {
                        let at = u64::from(worker) * 4096 + n % 8 * 512;
                        let bytes = Shared::from(vec![worker; 512]);
                        until(&poller, &mut file.pwrite(at, bytes)).0.unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        settle(&first);
    });
}

/// There is no timer but whoever waits: the descriptor has one.
#[test]
fn whoever_sleeps_is_woken_by_it() {
    for backend in [Backend::Uring, Backend::Threads] {
        support::within(60, "a lock", move || {
            let (io, folder) = backend.driver(config());
            let other = start(support::config(folder.path())).unwrap();
            let held = support::open(&*other, "file");
            wait(&*other, held.lock(LockKind::Exclusive)).expect("a lock");
            let poller = io.poller().unwrap();
            let file = open(&io, &poller, "file");
            let mut asked = file.lock(LockKind::Exclusive);
            let giver = thread::spawn(move || {
                thread::sleep(Duration::from_millis(120));
                wait(&*other, held.unlock()).expect("no lock");
                (held, other)
            });
            let (lock, steps) = until(&poller, &mut asked);
            lock.expect("a lock, in the end");
            assert!((2..100).contains(&steps), "{steps} steps: it sleeps in between");
            drop(giver.join());
            settle(&poller);
        });
    }
}

#[test]
fn it_tells_of_the_drivers_end_and_does_not_keep_it() {
    for backend in [Backend::Uring, Backend::Threads] {
        support::within(60, "its end", move || {
            let (io, _folder) = backend.driver(config());
            let (poller, other) = (io.poller().unwrap(), io.poller().unwrap());
            let file = open(&io, &poller, "file");
            settle(&poller);
            settle(&other);
            // A poller that is gone leaves nothing behind.
            drop(other);
            let mut left = file.pwrite(0, b"left".into());
            drop(io);
            assert!(is_readable(&poller, Duration::ZERO), "the end is news");
            assert!(poller.step().is_none(), "there is no driver");
            let outcome = left.try_take().expect("it is over").map_err(|error| error.kind());
            assert!(matches!(outcome, Ok(()) | Err(ErrorKind::Cancelled)), "{outcome:?}");
            // Its number stays its own as long as it is there.
            assert!(poller.as_fd().try_clone_to_owned().is_ok());
        });
    }
}

#[test]
fn a_thread_may_wait_beside_it() {
    for backend in Backend::ALL {
        support::within(120, "a waiter", move || {
            let (io, _folder) = backend.driver(config());
            let poller = io.poller().unwrap();
            let file = open(&io, &poller, "file");
            for n in 0..300_u64 {
                let mut first = file.pwrite(n * 8, b"polled!!".into());
                wait(&io, file.pwrite(n * 8 + 8000, b"waited!!".into())).unwrap();
                until(&poller, &mut first).0.unwrap();
            }
        });
    }
}

#[test]
fn it_goes_with_a_thread_of_the_drivers_own() {
    support::within(60, "both", || {
        let (io, _folder) = Backend::Uring.driver(config().driver_thread("both"));
        let poller = io.poller().unwrap();
        let file = open(&io, &poller, "file");
        for _ in 0..300 {
            until(&poller, &mut file.size()).0.unwrap();
        }
        drop((file, io));
        assert!(is_readable(&poller, PROMPT) && poller.step().is_none());
    });
}

#[test]
fn where_there_is_none_it_is_unsupported() {
    let setup = Setup { root: None, in_flight: 64 };
    let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(1));
    let io = start_on(Box::new(ring), config()).unwrap();
    assert_eq!(io.poller().map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
}
