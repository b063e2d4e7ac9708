//! I1, I2 and I4: direct I/O where there is any, and what is done where there is none.

pub(super) mod commits;
pub(super) mod counts;
pub(super) mod ways;

use std::sync::Arc;

use littoral::{
    Arena, Buffer, DirectIo, Directness, File, GeometrySource, OpenOptions, Result, Shared,
    SyncKind, Vector,
};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, pattern, read, write};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Failure, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "I1" preferred_says_what_came_of_it;
    "I1" required_is_direct_or_unsupported;
    "I1" every_way_to_open_heeds_it;
    "I2" anything_goes_on_a_direct_file;
    "I2" odd_spans_are_one_vector;
    "I2" it_ends_and_grows_at_any_byte;
    "I2" a_refused_entry_is_nobodys_error;
    "I2" what_is_aligned_goes_past_the_cache;
    "I4" a_geometry_is_told;
}

const PREFERRED: OpenOptions = OpenOptions::new().create(true).direct(DirectIo::Preferred);
const PLAIN: OpenOptions = OpenOptions::new().create(true);

/// A driver and a new file of it, which is direct where that can be had.
async fn direct_file(ctx: &Ctx, plan: &Plan) -> Outcome<(Driver, Arc<dyn File>)> {
    let driver = ctx.driver(plan)?;
    let file = driver.open(&ctx.name(), PREFERRED).await?;
    Ok((driver, file))
}

fn is_direct(file: &Arc<dyn File>) -> Result<bool> {
    Ok(file.geometry()?.direct == Directness::On)
}

/// What offsets, lengths and memory are to be multiples of, here at least 512: so the same is asked
/// for where nothing has to be aligned.
fn unit_of(file: &Arc<dyn File>) -> Result<usize> {
    let geometry = file.geometry()?;
    let most = geometry.offset_align.max(geometry.memory_align).max(geometry.read_align).max(512);
    Ok(most as usize)
}

/// Bytes in memory that is aligned to a page.
fn aligned(bytes: &[u8]) -> Shared {
    // One of a page or more is aligned so; what is less is a part of one.
    let mut buffer = Buffer::with_capacity(bytes.len().max(4096));
    buffer.extend_from_slice(bytes);
    buffer.freeze().slice(..bytes.len())
}

/// The same in memory that is aligned to nothing.
fn crooked(bytes: &[u8]) -> Shared {
    let mut buffer = Buffer::with_capacity(bytes.len() + 4097);
    buffer.extend_from_slice(&[0]);
    buffer.extend_from_slice(bytes);
    buffer.freeze().slice(1..)
}

fn shown(at: usize, len: usize, what: &str) -> String {
    format!("{what}, {len} bytes at {at}")
}

fn as_offset(at: usize) -> u64 {
    at as u64
}

async fn preferred_says_what_came_of_it(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::default()).await?;
    let plain = driver.create(&ctx.name()).await?;
    ensure_eq!(plain.geometry()?.direct, Directness::Off, "it was not asked for");
    let geometry = file.geometry()?;
    match geometry.direct {
        Directness::On => {
            ensure!(geometry.source != GeometrySource::Nothing, "nobody told {geometry:?}");
            ensure_eq!(plain.geometry()?.offset_align, geometry.offset_align, "of a plain file");
            ensure_eq!(geometry.direct.to_string(), "direct I/O is on");
        }
        Directness::Refused(code) => {
            let expected = matches!(code, Errno::INVAL | Errno::OPNOTSUPP);
            ensure!(expected, "refused with {code:?}");
            let text = geometry.direct.to_string();
            ensure!(text.contains("was refused") && text.contains(&format!("{code:?}")), "{text}");
        }
        other => return Err(Failure::new(format!("{other:?} came of a preference"))),
    }
    write(&file, 0, b"either way").await?;
    ensure_eq!(contents(&file).await?, b"either way");
    file.close().await?;
    ensure_kind!(file.geometry(), Closed);
    Ok(())
}

async fn required_is_direct_or_unsupported(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::default()).await?;
    let required = OpenOptions::new().create(true).direct(DirectIo::Required);
    let name = ctx.name();
    match driver.open(&name, required).await {
        Ok(required) => {
            ensure!(is_direct(&file)?, "required is had, and preferred is not");
            ensure_eq!(required.geometry()?.direct, Directness::On);
        }
        Err(error) => {
            ensure!(!is_direct(&file)?, "preferred is had, and required is not: {error}");
            let error = ensure_kind!(Err::<(), _>(error), Unsupported);
            let text = error.to_string();
            ensure!(text.contains("DirectIo::Preferred") && text.contains(&name), "{text}");
            // The refused open has left nothing open.
            driver.create(&name).await?.close().await?;
            driver.remove(&name).await?;
        }
    }
    Ok(())
}

async fn every_way_to_open_heeds_it(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::default()).await?;
    let expected = file.geometry()?.direct;
    let temporary = driver.temporary(OpenOptions::new().direct(DirectIo::Preferred)).await?;
    ensure_eq!(temporary.geometry()?.direct, expected, "a temporary file");
    let bytes = pattern(8192, 1);
    temporary.pwrite(0, aligned(&bytes)).await?;
    ensure_bytes(&contents(&temporary).await?, &bytes, "in a temporary file")?;

    let name = ctx.name();
    driver.prepare(&[&name], 1).await?;
    let now = driver.open_now(&name, PREFERRED)?;
    ensure_eq!(now.geometry()?.direct, expected, "at once");
    now.pwrite(0, aligned(&bytes)).await?;
    let prepared = driver.open(&name, PREFERRED).await?;
    ensure_eq!(prepared.geometry()?.direct, expected, "a prepared one");
    ensure_bytes(&read(&prepared, 0, 9000).await?, &bytes, "in a prepared file")?;
    let temporary = driver.temporary_now(OpenOptions::new().direct(DirectIo::Preferred))?;
    ensure_eq!(temporary.geometry()?.direct, expected, "a temporary one at once");

    // Read first, written later: the second handle is one to write with.
    let name = ctx.name();
    driver.create(&name).await?.close().await?;
    let looking = OpenOptions::read_only().direct(DirectIo::Preferred);
    let reader = driver.open(&name, looking).await?;
    let writer = driver.open(&name, PREFERRED).await?;
    ensure_eq!(writer.geometry()?.direct, expected, "for writing after reading");
    writer.pwrite(0, aligned(&bytes)).await?;
    ensure_bytes(&read(&reader, 0, 9000).await?, &bytes, "by the reader")?;
    ensure_kind!(reader.pwrite(0, aligned(&bytes)).await, PermissionDenied);
    Ok(())
}

/// Every mixture of an aligned and an unaligned offset, length and memory, against a model.
async fn anything_goes_on_a_direct_file(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::default()).await?;
    let unit = unit_of(&file)?;
    let mut model = pattern(16 * unit, 0);
    file.pwrite(0, aligned(&model)).await?;
    let mut salt = 0;
    let mut unaligned = 0;
    for at in [0, unit, 3 * unit, 1, unit - 1, unit + 100] {
        for len in [unit, 2 * unit, 4 * unit, 1, 100, unit - 1, unit + 1] {
            for straight in [true, false] {
                salt += 1;
                let bytes = pattern(len, salt);
                let from = if straight { aligned(&bytes) } else { crooked(&bytes) };
                let is_aligned = at % unit == 0 && len % unit == 0 && straight;
                unaligned += u64::from(!is_aligned);
                file.pwrite(as_offset(at), from).await?;
                model[at..at + len].copy_from_slice(&bytes);
                let found = file.pread(as_offset(at), Buffer::with_capacity(len)).await?;
                ensure_bytes(&found, &bytes, &shown(at, len, "read back"))?;
            }
        }
        ensure_bytes(&read(&file, 0, 17 * unit).await?, &model, "all of it")?;
    }
    if is_direct(&file)? && driver.script().is_some() {
        let counted = driver.statistics().unaligned;
        ensure!(counted >= unaligned, "{counted} of {unaligned} unaligned writes are counted");
    }
    file.sync(SyncKind::Data).await?;
    ensure_bytes(&ctx.outside(file.name()).await?, &model, "seen from outside")
}

async fn odd_spans_are_one_vector(ctx: &Ctx) -> Outcome {
    let (_driver, file) = direct_file(ctx, &Plan::default()).await?;
    let unit = unit_of(&file)?;
    let bytes = pattern(8 * unit, 1);
    // Aligned spans; spans of any length that make a whole; aligned ones with one that is not; a
    // frame of a log, a header and a page, also from an arena.
    let cuts: [&[usize]; 4] = [
        &[unit, 2 * unit, 0, 5 * unit],
        &[100, unit - 100, 3, 7 * unit - 3],
        &[unit, unit + 1, unit - 1, unit],
        &[24, 2 * unit, 24, 2 * unit],
    ];
    for cut in cuts {
        for at in [0, 4 * unit, 24] {
            let (mut rest, mut parts) = (&bytes[..], Vec::new());
            for len in cut {
                let (part, others) = rest.split_at(*len);
                parts.push(aligned(part));
                rest = others;
            }
            let total = bytes.len() - rest.len();
            file.pwritev(as_offset(at), Vector::from(parts)).await?;
            let into = cut.iter().map(|len| Buffer::with_capacity(*len)).collect();
            let found = file.preadv(as_offset(at), into).await?;
            let found: Vec<u8> = found.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            ensure_bytes(&found, &bytes[..total], &format!("{cut:?} at {at}"))?;
        }
    }
    let arena = Arena::aligned(512, &[(4096 + 24, 8)]);
    let frames: Vec<_> = (0..8_u8)
        .map(|salt| {
            let mut frame = arena.take(4096 + 24).map_err(|none| none.to_string())?;
            frame.extend_from_slice(&pattern(4096 + 24, salt));
            Ok(frame.freeze())
        })
        .collect::<core::result::Result<_, String>>()?;
    let expected: Vec<u8> = (0..8_u8).flat_map(|salt| pattern(4096 + 24, salt)).collect();
    file.pwritev(32, Vector::from(frames)).await?;
    ensure_bytes(&read(&file, 32, expected.len()).await?, &expected, "frames of a log")?;
    ensure_eq!(arena.free(4096), 8, "they came home");
    Ok(())
}

async fn it_ends_and_grows_at_any_byte(ctx: &Ctx) -> Outcome {
    let (_driver, file) = direct_file(ctx, &Plan::default()).await?;
    let unit = unit_of(&file)?;
    let mut model = Vec::new();
    for (salt, len) in (1..).zip([100, unit - 100, unit, 3 * unit + 7, 1, 5 * unit]) {
        let bytes = pattern(len, salt);
        file.pwrite(as_offset(model.len()), aligned(&bytes)).await?;
        model.extend_from_slice(&bytes);
        ensure_eq!(file.size().await?, as_offset(model.len()), "after {len} more");
        // An aligned read that is longer than what is left.
        let start = model.len() / unit * unit;
        let found = file.pread(as_offset(start), Buffer::with_capacity(4 * unit)).await?;
        ensure_bytes(&found, &model[start..], &shown(start, len, "the end"))?;
        let past = file.pread(as_offset(start + unit), Buffer::with_capacity(unit)).await?;
        ensure_eq!(past.len(), 0, "past the end");
    }
    // A gap behind an end inside of a block, and a cut into one.
    let far = 20 * unit;
    file.pwrite(as_offset(far), aligned(&pattern(unit, 9))).await?;
    model.resize(far, 0);
    model.extend_from_slice(&pattern(unit, 9));
    ensure_bytes(&contents(&file).await?, &model, "zeros between")?;
    file.truncate(as_offset(3 * unit + 11)).await?;
    file.truncate(as_offset(6 * unit)).await?;
    model.truncate(3 * unit + 11);
    model.resize(6 * unit, 0);
    let found = file.pread(0, Buffer::with_capacity(8 * unit)).await?;
    ensure_bytes(&found, &model, "zeros after a cut")
}

async fn a_refused_entry_is_nobodys_error(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let unit = unit_of(&file)?;
    let bytes = pattern(4 * unit, 1);
    file.pwrite(0, aligned(&bytes)).await?;
    let before = driver.statistics().unaligned;
    let is_direct = is_direct(&file)?;
    if let Some(script) = driver.script().filter(|_| is_direct) {
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INVAL)));
        file.pwrite(0, aligned(&bytes[unit..2 * unit])).await?;
        script.push(Rule::next(OpKind::Read, Fault::Fail(Errno::INVAL)));
        let found = file.pread(0, Buffer::with_capacity(2 * unit.max(4096))).await?;
        let again = [&bytes[unit..2 * unit], &bytes[unit..]].concat();
        ensure_bytes(&found[..2 * unit], &again[..2 * unit], "by the other handle")?;
        ensure_eq!(driver.statistics().unaligned, before + 2, "each is counted");
        ensure_eq!(script.pending(), 0, "rules that were not used");
        // By the other handle the answer stands.
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::INVAL)).times(2));
        ensure_kind!(file.pwrite(0, aligned(&bytes)).await, InvalidInput);
        script.push(Rule::next(OpKind::Write, Fault::Fail(Errno::IO)));
        ensure_kind!(file.pwrite(0, aligned(&bytes)).await, Io);
        file.sync(SyncKind::Data).await?;
    }
    file.pwrite(0, aligned(&bytes)).await?;
    ensure_bytes(&contents(&file).await?, &bytes, "in the end")
}

async fn what_is_aligned_goes_past_the_cache(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let unit = unit_of(&file)?.max(4096);
    let bytes = pattern(4 * unit, 1);
    driver.forget_trace();
    let before = driver.statistics().unaligned;
    file.pwrite(0, aligned(&bytes)).await?;
    let parts = bytes.chunks(unit).map(aligned).collect::<Vec<_>>();
    file.pwritev(as_offset(4 * unit), Vector::from(parts)).await?;
    let found = file.pread(0, Buffer::with_capacity(4 * unit)).await?;
    ensure_bytes(&found, &bytes, "read past the cache")?;
    ensure_eq!(driver.statistics().unaligned, before, "none was unaligned");
    let found = file.pread(1, Buffer::with_capacity(4 * unit)).await?;
    ensure_bytes(&found[..4 * unit - 1], &bytes[1..], "read through the cache")?;
    ensure_eq!(driver.statistics().unaligned - before, u64::from(is_direct(&file)?), "but one");
    if driver.script().is_some() {
        let trace = driver.trace();
        let writes: Vec<_> = trace.visits(OpKind::Write).iter().map(|v| v.entry.file).collect();
        let reads: Vec<_> = trace.visits(OpKind::Read).iter().map(|v| v.entry.file).collect();
        ensure_eq!(writes.len(), 2, "writes");
        ensure_eq!(writes[0], writes[1], "handles");
        ensure_eq!(reads[0], writes[0], "handles");
        ensure_eq!(reads[1] != reads[0], is_direct(&file)?, "the other handle");
    }
    Ok(())
}

async fn a_geometry_is_told(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::default()).await?;
    let geometry = file.geometry()?;
    let numbers =
        [geometry.memory_align, geometry.offset_align, geometry.read_align, geometry.optimal];
    ensure!(numbers.iter().all(|n| n.is_power_of_two()), "{geometry:?}");
    ensure!(geometry.read_align <= geometry.offset_align, "{geometry:?}");
    if let Some((least, most)) = geometry.atomic_write {
        ensure!(0 < least && least <= most, "{geometry:?}");
    }
    let none = geometry.source == GeometrySource::Nothing;
    ensure_eq!(none, (geometry.memory_align, geometry.offset_align) == (1, 1), "{geometry:?}");
    ensure!(!(none && is_direct(&file)?), "direct, and nobody says how: {geometry:?}");
    // It is the same for another handle, another driver, and while operations are under way.
    let again = driver.open(file.name(), PREFERRED).await?;
    let under_way = again.pwrite(0, aligned(&pattern(8192, 1)));
    ensure_eq!(again.geometry()?, geometry);
    under_way.await?;
    drop((again, file));
    Ok(())
}
