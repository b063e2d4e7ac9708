//! The questions: one function each.

use littoral::{Buffer, Completion, Shared, SyncKind, Vector, Wait, wait};
use wasm_bindgen::JsValue;

use super::measure::{Done, Duel, Measurement};
use super::{Sides, told};

type Ask = fn(&Sides) -> Result<Measurement, JsValue>;

pub(super) const ALL: &[Ask] = &[
    one_write,
    one_read,
    scattered_pages_as_a_vector,
    scattered_pages_through_us,
    adjacent_writes_queued_together,
    adjacent_reads_queued_together,
    a_commit,
];

const PAGE: usize = 4096;
const PAGES: usize = 256;

/// Pages that lie apart in memory.
fn pages() -> Vec<Shared> {
    (0..PAGES).map(|page| vec![page.to_le_bytes()[0]; PAGE].into()).collect()
}

fn offsets() -> impl Iterator<Item = u64> {
    (0..).step_by(PAGE).take(PAGES)
}

impl Sides {
    /// Steps until all have ended: in a worker, one step does it.
    fn finish<T>(&self, completions: &mut [Completion<T>]) -> Done
    where
        Completion<T>: Take,
    {
        self.io.step(self.io.delivered(), Wait::No);
        completions.iter_mut().try_for_each(Take::take_now)
    }

    fn raw_write(&self, at: u64, bytes: &[u8]) -> Done {
        self.options.set_at_f64(exact(at));
        let count = self.raw.write_with_u8_array_and_options(bytes, &self.options)?;
        check(count, bytes.len())
    }

    fn raw_read(&self, at: u64, bytes: &mut [u8]) -> Done {
        self.options.set_at_f64(exact(at));
        let len = bytes.len();
        check(self.raw.read_with_u8_array_and_options(bytes, &self.options)?, len)
    }
}

/// A result that must be there by now.
trait Take {
    fn take_now(&mut self) -> Done;
}

macro_rules! take {
    ($($value:ty),+) => {
        $(impl Take for Completion<$value> {
            fn take_now(&mut self) -> Done {
                match self.try_take() {
                    Some(Ok(_)) => Ok(()),
                    Some(Err(error)) => Err(told(error)),
                    None => Err("an operation on an open file did not end in one step".into()),
                }
            }
        })+
    };
}

take!((), Buffer);

#[allow(clippy::cast_precision_loss, reason = "the benchmark's file has a few MiB")]
fn exact(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::float_cmp, reason = "counts are whole numbers, and exact")]
fn check(count: f64, len: usize) -> Done {
    if count == exact(len as u64) { Ok(()) } else { Err(format!("{count} of {len}").into()) }
}

fn one_write(sides: &Sides) -> Result<Measurement, JsValue> {
    let page: Shared = vec![1; PAGE].into();
    let theirs = vec![1; PAGE];
    Duel {
        asks: "what does one write cost",
        subject: "pwrite of 4 KiB and step",
        reference: "FileSystemSyncAccessHandle.write",
        target: Some(1.2),
        times: 200,
    }
    .ask(
        || wait(&*sides.io, sides.file.pwrite(0, page.clone())).map_err(told),
        || sides.raw_write(0, &theirs),
    )
}

fn one_read(sides: &Sides) -> Result<Measurement, JsValue> {
    let mut ours = Some(Buffer::with_capacity(PAGE));
    let mut theirs = vec![0; PAGE];
    Duel {
        asks: "what does one read cost",
        subject: "pread of 4 KiB and step",
        reference: "FileSystemSyncAccessHandle.read",
        target: Some(1.5),
        times: 1000,
    }
    .ask(
        || {
            let mut buffer = ours.take().unwrap_or_else(|| Buffer::with_capacity(PAGE));
            buffer.truncate(0);
            ours = Some(wait(&*sides.io, sides.file.pread(0, buffer)).map_err(told)?);
            Ok(())
        },
        || sides.raw_read(0, &mut theirs),
    )
}

fn scattered_pages_as_a_vector(sides: &Sides) -> Result<Measurement, JsValue> {
    let (pages, theirs) = (pages(), vec![1; PAGE]);
    Duel {
        asks: "are 256 pages one write",
        subject: "one pwritev of 256 pages",
        reference: "256 calls of FileSystemSyncAccessHandle.write",
        target: Some(0.25),
        times: 1,
    }
    .ask(
        || {
            let vector: Vector = pages.iter().cloned().collect();
            wait(&*sides.io, sides.file.pwritev(0, vector)).map_err(told)
        },
        || offsets().try_for_each(|at| sides.raw_write(at, &theirs)),
    )
}

fn scattered_pages_through_us(sides: &Sides) -> Result<Measurement, JsValue> {
    let pages = pages();
    Duel {
        asks: "is a vector better than many writes",
        subject: "one pwritev of 256 pages",
        reference: "256 times pwrite and step",
        target: Some(0.25),
        times: 1,
    }
    .ask(
        || {
            let vector: Vector = pages.iter().cloned().collect();
            wait(&*sides.io, sides.file.pwritev(0, vector)).map_err(told)
        },
        || {
            offsets().zip(&pages).try_for_each(|(at, page)| {
                wait(&*sides.io, sides.file.pwrite(at, page.clone())).map_err(told)
            })
        },
    )
}

fn adjacent_writes_queued_together(sides: &Sides) -> Result<Measurement, JsValue> {
    let (pages, theirs) = (pages(), vec![1; PAGE]);
    Duel {
        asks: "are queued neighbours merged",
        subject: "256 adjacent pwrites, one step",
        reference: "256 calls of FileSystemSyncAccessHandle.write",
        target: Some(0.25),
        times: 1,
    }
    .ask(
        || {
            let writes = offsets().zip(&pages);
            let mut writes: Vec<Completion<()>> =
                writes.map(|(at, page)| sides.file.pwrite(at, page.clone())).collect();
            sides.finish(&mut writes)
        },
        || offsets().try_for_each(|at| sides.raw_write(at, &theirs)),
    )
}

fn adjacent_reads_queued_together(sides: &Sides) -> Result<Measurement, JsValue> {
    let mut theirs = vec![0; PAGE];
    Duel {
        asks: "are queued neighbours read together",
        subject: "256 adjacent preads, one step",
        reference: "256 calls of FileSystemSyncAccessHandle.read",
        target: None,
        times: 4,
    }
    .ask(
        || {
            let mut reads: Vec<Completion<Buffer>> =
                offsets().map(|at| sides.file.pread(at, Buffer::with_capacity(PAGE))).collect();
            sides.finish(&mut reads)
        },
        || offsets().try_for_each(|at| sides.raw_read(at, &mut theirs)),
    )
}

fn a_commit(sides: &Sides) -> Result<Measurement, JsValue> {
    let page: Shared = vec![2; PAGE].into();
    let theirs = vec![2; PAGE];
    Duel {
        asks: "what does a commit cost",
        subject: "pwrite of 4 KiB and sync, one step",
        reference: "write and flush of the handle",
        target: Some(1.1),
        times: 4,
    }
    .ask(
        || {
            let write = sides.file.pwrite(0, page.clone());
            let sync = sides.file.sync(SyncKind::Data);
            sides.finish(&mut [write, sync])
        },
        || {
            sides.raw_write(0, &theirs)?;
            sides.raw.flush()
        },
    )
}
