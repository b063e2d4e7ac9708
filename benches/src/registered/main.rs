//! What do registered buffers and registered files gain, on the bare ring?
//!
//! The same transfers in four forms, in turns: plain, from a registered buffer, on a registered
//! file, and both. Instructions of the program are equal; what differs is the kernel's time. So a
//! row tells the ratio of each form to the plain one, in time and in the process's processor time
//! (kernel workers included), as the median of its rounds with an interval that holds 95 of 100
//! bootstrapped medians. Below 1 the form gains; gains and losses are told alike.
//!
//! ```sh
//! cargo run --release -p littoral-benches --bin registered -- --dir /mnt/disk
//! ```
#![allow(unsafe_code, reason = "pushing an entry to the kernel, and registering memory, are")]
#![allow(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]

use std::fs::{self, File};
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fastrand::Rng;
use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};
use littoral_bench_side::DIRECT;
use serde::Serialize;

/// Measures what registering gains on the bare ring; rows as JSON, one on a line.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Rounds of each workload, with two turns of each form.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(5..=1000))]
    rounds: u32,
    /// An existing folder on the device to measure on; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Only the workloads with this text in their names.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

const PAGE: usize = 4096;
/// Spans of a vector, every other page of the memory.
const SPANS: usize = 32;
const FILE_BYTES: usize = 256 << 20;
const MEMORY_BYTES: usize = 16 << 20;
const PLACE: u16 = 0;

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Readv,
    Writev,
}

struct Workload {
    name: &'static str,
    kind: Kind,
    direct: bool,
    /// Bytes of a transfer, of all its spans together.
    bytes: usize,
    depth: usize,
    /// Transfers of a turn: some milliseconds.
    transfers: usize,
}

/// Each with what is registered: the buffer, the file.
const FORMS: [(&str, bool, bool); 4] =
    [("plain", false, false), ("buffer", true, false), ("file", false, true), ("both", true, true)];

fn workloads() -> Vec<Workload> {
    let mut all = Vec::new();
    let mut add = |name, kind, direct, bytes, depth, transfers| {
        all.push(Workload { name, kind, direct, bytes, depth, transfers });
    };
    add("cached 4 KiB reads, depth 1", Kind::Read, false, PAGE, 1, 4000);
    add("cached 4 KiB reads, depth 32", Kind::Read, false, PAGE, 32, 6400);
    add("cached 128 KiB reads, depth 1", Kind::Read, false, 32 * PAGE, 1, 400);
    add("cached 32 pages by readv, depth 1", Kind::Readv, false, 32 * PAGE, 1, 400);
    add("buffered 4 KiB writes, depth 8", Kind::Write, false, PAGE, 8, 1600);
    add("direct 4 KiB reads, depth 1", Kind::Read, true, PAGE, 1, 400);
    add("direct 4 KiB reads, depth 32", Kind::Read, true, PAGE, 32, 1600);
    add("direct 128 KiB reads, depth 8", Kind::Read, true, 32 * PAGE, 8, 160);
    add("direct 4 KiB overwrites, depth 1", Kind::Write, true, PAGE, 1, 400);
    add("direct 4 KiB overwrites, depth 32", Kind::Write, true, PAGE, 32, 1600);
    add("direct 128 KiB overwrites, depth 8", Kind::Write, true, 32 * PAGE, 8, 160);
    add("direct 32 pages by readv, depth 8", Kind::Readv, true, 32 * PAGE, 8, 160);
    add("direct 32 pages by writev, depth 8", Kind::Writev, true, 32 * PAGE, 8, 160);
    all
}

/// A ring that knows one file and one buffer, and everything it takes to use them or not.
struct Bench {
    ring: IoUring,
    fd: RawFd,
    /// Leaked, so that nothing the kernel has is ever freed.
    memory: *mut u8,
    vectors: Vec<Vec<IoSliceMut<'static>>>,
    random: Rng,
}

impl Bench {
    fn new(file: &File, depth: usize) -> Result<Bench> {
        let pages = Box::leak(vec![[7_u8; PAGE]; MEMORY_BYTES / PAGE].into_boxed_slice());
        let memory = pages.as_flattened_mut();
        // Direct I/O wants sectors; the allocator gives this much memory as pages, less a header.
        let off = pages_off(memory.as_ptr().addr());
        let memory = &mut memory[off..];
        let start = memory.as_mut_ptr();
        let whole = (MEMORY_BYTES - PAGE) as libc::size_t;
        let vectors = memory
            .chunks_exact_mut(2 * SPANS * PAGE)
            .take(depth)
            .map(|part| {
                let pages = part.chunks_exact_mut(PAGE).step_by(2);
                // SAFETY: the memory is leaked, and used by the kernel alone from here on.
                let forever = |page: &mut [u8]| unsafe {
                    std::slice::from_raw_parts_mut(page.as_mut_ptr(), PAGE)
                };
                pages.map(|page| IoSliceMut::new(forever(page))).collect()
            })
            .collect();
        let ring = IoUring::builder().setup_submit_all().build(64)?;
        let submitter = ring.submitter();
        submitter.register_buffers_sparse(16)?;
        let buffer = libc::iovec { iov_base: start.cast(), iov_len: whole };
        // SAFETY: the memory is leaked.
        unsafe { submitter.register_buffers_update(u32::from(PLACE), &[buffer], None)? };
        submitter.register_files_sparse(16)?;
        submitter.register_files_update(0, &[file.as_raw_fd()])?;
        let fd = file.as_raw_fd();
        Ok(Bench { ring, fd, memory: start, vectors, random: Rng::with_seed(1) })
    }

    fn entry(&mut self, work: &Workload, nth: usize, (buffer, file): (bool, bool)) -> Entry {
        let at = (self.random.usize(..FILE_BYTES / work.bytes) * work.bytes) as u64;
        let fd = types::Fd(if file { 0 } else { self.fd });
        let len = u32::try_from(work.bytes).expect("transfers are small");
        let memory = self.memory.wrapping_add(nth * work.bytes);
        let spans = self.vectors.get(nth).map_or(std::ptr::null(), |all| all.as_ptr().cast());
        let count = u32::try_from(SPANS).expect("few");
        let entry = match (work.kind, buffer) {
            (Kind::Read, false) => opcode::Read::new(fd, memory, len).offset(at).build(),
            (Kind::Read, true) => opcode::ReadFixed::new(fd, memory, len, PLACE).offset(at).build(),
            (Kind::Write, false) => opcode::Write::new(fd, memory, len).offset(at).build(),
            (Kind::Write, true) => {
                opcode::WriteFixed::new(fd, memory, len, PLACE).offset(at).build()
            }
            (Kind::Readv, false) => opcode::Readv::new(fd, spans, count).offset(at).build(),
            (Kind::Readv, true) => {
                opcode::ReadvFixed::new(fd, spans, count, PLACE).offset(at).build()
            }
            (Kind::Writev, false) => opcode::Writev::new(fd, spans, count).offset(at).build(),
            (Kind::Writev, true) => {
                opcode::WritevFixed::new(fd, spans, count, PLACE).offset(at).build()
            }
        };
        if file { entry.flags(Flags::FIXED_FILE) } else { entry }
    }

    /// Microseconds of a transfer: by the clock, and of the processor.
    fn turn(&mut self, work: &Workload, form: (bool, bool)) -> Result<[f64; 2]> {
        let (begun, spent) = (Instant::now(), processor()?);
        for _ in 0..work.transfers / work.depth {
            for nth in 0..work.depth {
                let entry = self.entry(work, nth, form);
                // SAFETY: its memory is leaked, its spans live as long as the ring, and all are
                // waited for below.
                unsafe { self.ring.submission().push(&entry)? };
            }
            self.ring.submit_and_wait(work.depth)?;
            for completion in self.ring.completion() {
                let whole = usize::try_from(completion.result()) == Ok(work.bytes);
                ensure!(whole, "{} of {} bytes", completion.result(), work.bytes);
            }
        }
        let each = work.transfers as f64;
        let wall = begun.elapsed().as_secs_f64() * 1e6;
        Ok([wall / each, (processor()? - spent) / each])
    }
}

/// Bytes from an address to the next page.
fn pages_off(address: usize) -> usize {
    address.next_multiple_of(PAGE) - address
}

/// Microseconds of the processor that this process has used, kernel workers included.
fn processor() -> Result<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

/// A form beside the plain one.
#[derive(Serialize)]
struct Row {
    workload: &'static str,
    registered: &'static str,
    /// Microseconds of a transfer in the plain form: by the clock, and of the processor.
    plain: [f64; 2],
    /// Ratio to it: median, low, high.
    time: [f64; 3],
    processor: [f64; 3],
    rounds: usize,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median, and where 95 of 100 medians of as many draws lie.
fn estimate(values: &[f64]) -> [f64; 3] {
    let mut random = Rng::with_seed(1);
    let mut draw = || {
        let mut drawn: Vec<f64> =
            (0..values.len()).map(|_| values[random.usize(..values.len())]).collect();
        median(&mut drawn)
    };
    let mut medians: Vec<f64> = (0..2000).map(|_| draw()).collect();
    medians.sort_unstable_by(f64::total_cmp);
    [median(&mut values.to_vec()), medians[50], medians[1949]]
        .map(|value| (value * 1000.0).round() / 1000.0)
}

fn ask(work: &Workload, file: &File, rounds: usize) -> Result<Vec<Row>> {
    let mut bench = Bench::new(file, work.depth)?;
    // What is only done once: page tables, lazily made kernel workers.
    for (_, buffer, file) in FORMS {
        bench.turn(work, (buffer, file))?;
    }
    let mut sums = vec![[[0.0; 2]; FORMS.len()]; rounds];
    for (round, sums) in sums.iter_mut().enumerate() {
        let mut order: Vec<usize> = (0..FORMS.len()).chain((0..FORMS.len()).rev()).collect();
        // Each form has every place in the order as often.
        for form in &mut order {
            *form = (*form + round) % FORMS.len();
        }
        for form in order {
            let (_, buffer, file) = FORMS[form];
            let spent = bench.turn(work, (buffer, file))?;
            (0..2).for_each(|of| sums[form][of] += spent[of] / 2.0);
        }
    }
    let of = |form: usize, of: usize| -> Vec<f64> {
        sums.iter().map(|round| round[form][of] / round[0][of]).collect()
    };
    let plain = |of: usize| {
        let mut values: Vec<f64> = sums.iter().map(|round| round[0][of]).collect();
        (median(&mut values) * 100.0).round() / 100.0
    };
    let row = |form: usize| Row {
        workload: work.name,
        registered: FORMS[form].0,
        plain: [plain(0), plain(1)],
        time: estimate(&of(form, 0)),
        processor: estimate(&of(form, 1)),
        rounds,
    };
    Ok((1..FORMS.len()).map(row).collect())
}

fn main() -> Result<()> {
    let Arguments { rounds, dir, only } = Arguments::parse();
    let parent = dir.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::tempdir_in(&parent);
    let folder = folder.with_context(|| format!("a folder in {}", parent.display()))?;
    let path = folder.path().join("file");
    fs::write(&path, vec![7; FILE_BYTES])?;
    let mut options = File::options();
    let cached = options.read(true).write(true).open(&path)?;
    cached.sync_all()?;
    let direct = options.custom_flags(DIRECT).open(&path)?;
    for work in workloads().iter().filter(|work| work.name.contains(&only)) {
        let file = if work.direct { &direct } else { &cached };
        for row in ask(work, file, rounds as usize).with_context(|| work.name)? {
            // Not `println`, which panics when nobody reads.
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&row)?)?;
        }
    }
    Ok(())
}
