//! Do operations survive the thread that submitted them?
//!
//! The kernel runs part of an operation in the name of the thread that submitted it. When that
//! thread ends first, reads that wait (buffered ones for the disk, others for data) end as
//! `EFAULT`, which nobody asked for. Work that is queued for the thread's kernel workers (buffered
//! writes, flushes, truncates) may be cancelled likewise; Linux 6.18 cancels none of it that is on
//! a regular file, but has the end of the thread wait for it. The same submissions on a bare ring
//! show what this kernel does.
#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use io_uring::{opcode, squeue, types};
use littoral::platform::Errno;
use littoral::{Arena, Buffer, Completion, Io, OpenOptions, SyncKind, Wait, wait};

const READS: usize = 16;
const LEN: usize = LEN_OF_ENTRY as usize;
const LEN_OF_ENTRY: u32 = 1 << 18;
const BYTE: u8 = 0x77;
const ROUNDS: usize = 10;

/// Submits on a thread that ends at once, with all of it in the kernel.
fn on_a_short_lived_thread<T: Send + 'static>(submit: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(submit).join().expect("it submits")
}

fn number(code: Errno) -> i32 {
    -code.raw()
}

/// Buffered reads of a file that is not cached.
mod reads {
    use super::*;

    fn file(folder: &Path) -> std::path::PathBuf {
        support::file_of(folder, "data", BYTE, READS * LEN)
    }

    #[test]
    fn are_completed_by_another_thread() {
        support::within(120, "reads", || {
            let folder = support::folder();
            let path = file(folder.path());
            let io = support::driver(folder.path(), 64);
            for _ in 0..ROUNDS {
                support::uncache(&path);
                let (inner, before) = (Arc::clone(&io), io.statistics());
                let reads: Vec<Completion<Buffer>> = on_a_short_lived_thread(move || {
                    let file = inner.open_now("data", OpenOptions::new()).expect("it is there");
                    let read = |place| file.pread((place * LEN) as u64, Buffer::with_capacity(LEN));
                    let reads = (0..READS).map(read).collect();
                    inner.step(inner.delivered(), Wait::No);
                    reads
                });
                for read in reads {
                    let buffer = wait(&*io, read).expect("it survives");
                    assert!(buffer.chunks(4096).all(|part| part == [BYTE; 4096]), "other bytes");
                }
                let after = io.statistics();
                println!("engine: {READS} reads, {} retried", after.retried - before.retried);
                assert_eq!(after.alive, 0);
            }
        });
    }

    #[test]
    fn end_as_efault_on_a_bare_ring() {
        support::within(120, "bare reads", || {
            let folder = support::folder();
            let path = file(folder.path());
            let mut failed = 0;
            for round in 0..ROUNDS {
                support::uncache(&path);
                let file = File::open(&path).expect("it is there");
                let mut memory = Buffer::zeroed(READS * LEN);
                let fd = types::Fd(file.as_raw_fd());
                let entries: Vec<squeue::Entry> = memory
                    .chunks_mut(LEN)
                    .zip(0..)
                    .map(|(part, place)| {
                        let at = place * u64::from(LEN_OF_ENTRY);
                        opcode::Read::new(fd, part.as_mut_ptr(), LEN_OF_ENTRY).offset(at).build()
                    })
                    .collect();
                let ring = on_a_short_lived_thread(move || {
                    let mut ring = support::raw::Raw::new("end_as_efault_on_a_bare_ring", 64)?;
                    for entry in &entries {
                        // SAFETY: all are waited for below, before the memory goes.
                        unsafe { ring.push(entry) };
                    }
                    ring.submit();
                    Some(ring)
                });
                let Some(mut ring) = ring else { return };
                let results = ring.results(READS);
                let here = results.iter().filter(|r| **r == number(Errno::FAULT)).count();
                println!("bare ring, round {round}: {here} of {READS} reads ended as EFAULT");
                failed += here;
            }
            if failed == 0 {
                eprintln!("NOT SEEN: this kernel mends it: no read of {ROUNDS} rounds failed");
            }
        });
    }
}

/// Reads that wait for data, not for a disk.
mod reads_of_a_pipe {
    use super::*;

    #[test]
    fn are_completed_by_another_thread() {
        support::within(60, "reads of pipes", || {
            let folder = support::folder();
            let io = support::driver(folder.path(), 64);
            if io.capabilities().backend == "threads" {
                eprintln!("SKIPPED reads_of_a_pipe: a pool of threads reads files alone");
                return;
            }
            let names: Vec<String> = (0..10).map(|n| format!("pipe-{n}")).collect();
            for name in &names {
                support::pipe(folder.path(), name);
            }
            let (inner, pipes) = (Arc::clone(&io), names.clone());
            let reads = on_a_short_lived_thread(move || {
                let read = |name: &String| {
                    let pipe = inner.open_now(name, OpenOptions::new()).expect("it is there");
                    pipe.pread(0, Buffer::with_capacity(4))
                };
                let reads: Vec<_> = pipes.iter().map(read).collect();
                inner.step(inner.delivered(), Wait::No);
                reads
            });
            for (name, read) in names.iter().zip(reads) {
                fs::write(folder.path().join(name), b"ping").expect("it is open for reading");
                assert_eq!(&wait(&*io, read).expect("it survives")[..], b"ping");
            }
            println!("engine: 10 reads of pipes, {} retried", io.statistics().retried);
        });
    }
}

/// The doorbell is an entry, too, and some thread's.
#[test]
fn a_wait_can_be_interrupted_after_the_thread_that_armed_its_bell_ended() {
    support::within(60, "the bell", || {
        let folder = support::folder();
        let starting = folder.path().to_owned();
        let io = on_a_short_lived_thread(move || support::driver(&starting, 64));
        support::pipe(folder.path(), "pipe");
        let pipe = support::open(&*io, "pipe");
        let read = pipe.pread(0, Buffer::with_capacity(4));
        for _ in 0..20 {
            let seen = io.delivered();
            let stepping = Arc::clone(&io);
            let waiting = thread::spawn(move || stepping.step(seen, Wait::Forever));
            thread::sleep(Duration::from_millis(5));
            let ringing = Arc::clone(&io);
            on_a_short_lived_thread(move || ringing.interrupt());
            waiting.join().expect("no panic");
        }
        drop(read);
    });
}

/// What runs in the submitting thread's kernel workers.
mod queued_work {
    use super::*;

    const WRITES: usize = 64;
    const WRITE: usize = 1 << 20;

    #[test]
    fn is_completed_by_another_thread() {
        support::within(120, "queued work", || {
            let folder = support::folder();
            let io = support::driver(folder.path(), 256);
            let arena = Arena::new(&[(WRITE, WRITES)]);
            for round in 0..ROUNDS {
                let (inner, arena) = (Arc::clone(&io), arena.clone());
                let byte = u8::try_from(round).expect("few rounds") + 1;
                let started: Vec<Completion<()>> =
                    on_a_short_lived_thread(move || submit(&*inner, &arena, byte));
                for completion in started {
                    wait(&*io, completion).expect("it survives");
                }
                println!("engine: {} retried so far", io.statistics().retried);
                let bytes = fs::read(folder.path().join("data")).expect("it is there");
                assert_eq!(bytes.len(), WRITES * WRITE);
                assert!(bytes.chunks(4096).all(|part| part == [byte; 4096]), "other bytes");
                let len = fs::metadata(folder.path().join("cut")).expect("it is there").len();
                assert_eq!(len, u64::from(byte) * 1000);
            }
        });
    }

    /// Writes all over one file, a sync behind them, and a truncate of another.
    fn submit(io: &dyn Io, arena: &Arena, byte: u8) -> Vec<Completion<()>> {
        let data = io.open_now("data", OpenOptions::new().create(true)).expect("it opens");
        let mut started: Vec<_> = (0..WRITES)
            .map(|place| {
                let mut buffer = arena.take(WRITE).expect("as many as writes");
                buffer.fill_with_zeros();
                buffer.fill(byte);
                data.pwrite((place * WRITE) as u64, buffer.freeze())
            })
            .collect();
        started.push(data.sync(SyncKind::Full));
        let cut = io.open_now("cut", OpenOptions::new().create(true)).expect("it opens");
        started.push(cut.pwrite(0, b"before the cut".into()));
        started.push(cut.truncate(u64::from(byte) * 1000));
        started.push(cut.sync(SyncKind::Data));
        io.step(io.delivered(), Wait::No);
        started
    }

    #[test]
    fn is_finished_or_cancelled_on_a_bare_ring() {
        support::within(120, "bare queued work", || {
            let folder = support::folder();
            let (mut cancelled, mut finished, mut submitted) = ([0; 3], 0, 0);
            for _ in 0..ROUNDS {
                let file = File::create(folder.path().join("data")).expect("a file");
                let fd = types::Fd(file.as_raw_fd());
                let memory = vec![BYTE; WRITE];
                let mut entries: Vec<squeue::Entry> = (0..WRITES as u64)
                    .map(|place| {
                        let len = 1 << 20;
                        let write = opcode::Write::new(fd, memory.as_ptr(), len);
                        write.offset(place * u64::from(len)).build()
                    })
                    .collect();
                entries.push(opcode::Fsync::new(fd).build().user_data(1));
                let ring = on_a_short_lived_thread(move || {
                    let test = "is_finished_or_cancelled_on_a_bare_ring";
                    let mut ring = support::raw::Raw::new(test, 128)?;
                    // Linux 6.9.
                    if ring.can(opcode::Ftruncate::CODE) {
                        let truncate = opcode::Ftruncate::new(fd, 1 << 20).build();
                        entries.push(truncate.user_data(2));
                    }
                    for entry in &entries {
                        // SAFETY: all are waited for below, before the memory goes.
                        unsafe { ring.push(entry) };
                    }
                    ring.submit();
                    Some((ring, entries.len()))
                });
                let Some((mut ring, all)) = ring else { return };
                finished += ring.finished();
                submitted += all;
                for (kind, result) in ring.tagged_results(all) {
                    assert!(result >= 0 || result == number(Errno::CANCELED), "{kind}: {result}");
                    let place = usize::try_from(kind).expect("one of three");
                    cancelled[place] += usize::from(result < 0);
                }
            }
            let [writes, syncs, truncates] = cancelled;
            println!(
                "bare ring, {ROUNDS} rounds: {finished} of {submitted} finished with their thread"
            );
            println!("ECANCELED on {writes} writes, {syncs} flushes, {truncates} truncates");
            if writes + syncs + truncates == 0 {
                assert_eq!(finished, submitted, "neither cancelled nor waited for");
            }
        });
    }
}
