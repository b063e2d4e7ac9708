//! The real engine on the simulated ring, its threads in thousands of orders.
//!
//! Only with `--cfg littoral_model`. A thread that nobody wakes is a deadlock, which the checker
//! finds by itself; so most models just let everything come to its end. A failure prints a
//! schedule; `LITTORAL_SCHEDULE` with it in runs that one again.
#![cfg(littoral_model)]

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::task::Wake;

use littoral::{Buffer, Config, File, Io, OpenOptions, Shared, Status, Wait, start_on, wait};
use littoral_platform::Setup;
use littoral_platform::simulated::{Config as Behaviour, Disk, Simulated};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Runner, thread};

/// Tries `iterations` orders by chance, and as many where a few threads are held up for long.
fn orders(iterations: usize, model: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = shuttle::FailurePersistence::Print;
    if let Ok(schedule) = std::env::var("LITTORAL_SCHEDULE") {
        return shuttle::replay(model, &schedule);
    }
    Runner::new(RandomScheduler::new(iterations), config.clone()).run(model);
    Runner::new(PctScheduler::new(3, iterations), config).run(model);
}

/// A driver on a ring that executes as the order of threads has it, and an open file.
fn driver(config: Config) -> (Arc<dyn Io>, Arc<dyn File>) {
    let setup = Setup { root: None, in_flight: 16 };
    // Whatever is random in the ring stays the same, so that the schedule decides alone.
    let ring = Simulated::new(&setup, Disk::new(), Behaviour::seeded(1));
    let io = start_on(Box::new(ring), config.operations(8).files(2)).expect("a driver");
    let file = wait(&*io, io.open("file", OpenOptions::new().create(true))).expect("a file");
    (io, file)
}

fn page(byte: u8) -> Shared {
    Shared::from(vec![byte; 4])
}

/// Who submits waits for it by steps: the lead goes from one to the other, and no wake-up is lost.
#[test]
fn the_lead_is_handed_over() {
    orders(1000, || {
        let (io, file) = driver(Config::new());
        let workers: Vec<_> = (0..3_u8)
            .map(|n| {
                let (io, file) = (Arc::clone(&io), Arc::clone(&file));
                thread::spawn(move || {
                    let at = u64::from(n) * 4;
                    wait(&*io, file.pwrite(at, page(n))).expect("a write");
                    let read = wait(&*io, file.pread(at, Buffer::with_capacity(4)));
                    assert_eq!(read.expect("a read")[..], [n; 4]);
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// Awaits without stepping: a waker that comes too late is one that never comes.
fn await_without_steps<F: Future>(future: F) -> F::Output {
    #[derive(Default)]
    struct Flag(Mutex<bool>, Condvar);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_all();
        }
    }
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let mut woken = flag.0.lock().unwrap();
        while !*woken {
            woken = flag.1.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// A completion's slot: its result, its waker and its detaching meet a step in any order.
#[test]
fn a_slot_tells_whoever_waits_for_it() {
    orders(1000, || {
        let (io, file) = driver(Config::new());
        let (write, size) = (file.pwrite(0, page(1)), file.size());
        let detached = file.pwrite(4, page(2));
        let awaiting = thread::spawn(move || await_without_steps(write).expect("a write"));
        let dropping = thread::spawn(move || drop(detached));
        // Until nothing is under way, whoever has the results.
        while io.step(io.delivered(), Wait::Forever).status != Status::Idle {}
        awaiting.join().unwrap();
        dropping.join().unwrap();
        assert!(matches!(wait(&*io, size), Ok(4 | 8 | 0)));
        drop(file);
        while io.step(io.delivered(), Wait::Forever).status != Status::Idle {}
    });
}

/// A loop that looks, then steps from the count it read before: what another thread delivers in
/// between is not slept through.
#[test]
fn a_loop_sleeps_through_nothing() {
    orders(1000, || {
        let (io, file) = driver(Config::new());
        let loops: Vec<_> = (0..2_u8)
            .map(|n| {
                let (io, file) = (Arc::clone(&io), Arc::clone(&file));
                thread::spawn(move || {
                    let mut write = file.pwrite(u64::from(n) * 4, page(n));
                    let mut seen = io.delivered();
                    while write.try_take().is_none() {
                        seen = io.step(seen, Wait::Forever).delivered;
                    }
                })
            })
            .collect();
        for each in loops {
            each.join().unwrap();
        }
    });
}

/// An interrupt reaches who is about to wait, and the reason for it stands before.
#[test]
fn an_interrupt_is_seen() {
    orders(1000, || {
        let (io, file) = driver(Config::new());
        // Room for all there can be is never there while this one is not taken.
        let untaken = file.size();
        while io.step(io.delivered(), Wait::Forever).status != Status::Idle {}
        let room = io.room(8);
        let stop = Arc::new(Mutex::new(false));
        let waiting = thread::spawn({
            let (io, stop) = (Arc::clone(&io), Arc::clone(&stop));
            move || {
                loop {
                    let seen = io.delivered();
                    if *stop.lock().unwrap() {
                        break;
                    }
                    io.step(seen, Wait::Forever);
                }
            }
        });
        *stop.lock().unwrap() = true;
        io.interrupt();
        waiting.join().unwrap();
        drop((untaken, room));
    });
}

/// The driver's own thread: it does what is submitted anywhere, and ends with the driver.
#[test]
fn the_drivers_thread_does_it_all_and_ends() {
    orders(1000, || {
        let (io, file) = driver(Config::new().driver_thread("model"));
        let other = thread::spawn({
            let file = Arc::clone(&file);
            move || await_without_steps(file.pwrite(0, page(1))).expect("a write")
        });
        await_without_steps(file.pwrite(4, page(2))).expect("a write");
        other.join().unwrap();
        assert_eq!(await_without_steps(file.size()).expect("a size"), 8);
        let left = file.pwrite(8, page(3));
        // Here or on the thread that has stepped: nobody hangs.
        drop(io);
        let _ = await_without_steps(left);
    });
}

/// The last handle goes in a callback, on the driver's own thread or on the one that drops it.
#[test]
fn a_driver_ends_on_its_own_thread() {
    orders(1000, || {
        let (io, file) = driver(Config::new().driver_thread("model"));
        let keeper = Arc::clone(&io);
        let told = Arc::new((Mutex::new(false), Condvar::new()));
        file.size().on_finish({
            let told = Arc::clone(&told);
            move |_| {
                drop(keeper);
                *told.0.lock().unwrap() = true;
                told.1.notify_all();
            }
        });
        drop(io);
        let mut over = told.0.lock().unwrap();
        while !*over {
            over = told.1.wait(over).unwrap();
        }
        drop(over);
        assert!(await_without_steps(file.size()).is_err(), "there is no driver");
    });
}
