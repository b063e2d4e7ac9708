//! One entry, one call of an access handle.
//!
//! There is no loop over short counts here, by intention: what a short count means is decided once,
//! above, for every backend.

use super::{errors, quirks};
use crate::{Errno, Span};

/// The largest end of a file: offsets are numbers of JavaScript, exact below 2^53.
pub(super) const OFFSET_MAX: u64 = (1 << 53) - 1;

/// What one call moves at most. Browsers count in 32 bits, and some of them signed.
pub(super) const BYTES_PER_CALL: usize = 1 << 30;

/// What one vector moves at most: the bound of the staging area. At this size copying costs a tenth
/// of the call, and a larger area gains nothing.
pub(super) const STAGING_BYTES: usize = 1 << 20;

/// An open access handle: the calls that do not wait for the host. Numbers are as JavaScript has
/// them, and untrusted; what is thrown is translated.
pub(super) trait Access {
    /// The count as the browser gave it.
    ///
    /// # Safety
    /// `len` bytes from `into` may be written until the call returns.
    unsafe fn read(&self, at: f64, into: *mut u8, len: usize) -> Result<f64, Errno>;

    /// The count as the browser gave it.
    ///
    /// # Safety
    /// `len` bytes from `from` may be read until the call returns.
    unsafe fn write(&self, at: f64, from: *const u8, len: usize) -> Result<f64, Errno>;

    /// Bytes, as the browser gave them.
    fn size(&self) -> Result<f64, Errno>;

    /// Cuts or grows.
    fn truncate(&self, len: f64) -> Result<(), Errno>;

    /// Makes contents and size durable.
    fn flush(&self) -> Result<(), Errno>;

    /// Gives the file free. Does not flush.
    fn close(self) -> Result<(), Errno>;
}

/// The area through which vectors travel. Grows to its bound by use, and stays.
#[derive(Default)]
pub(super) struct Staging {
    area: Vec<u8>,
}

impl Staging {
    /// The first `len` bytes of the area; `None` if there is no memory for them.
    fn take(&mut self, len: usize) -> Option<&mut [u8]> {
        debug_assert!(len <= STAGING_BYTES);
        if self.area.len() < len {
            let grown = len.next_power_of_two();
            self.area.try_reserve_exact(grown - self.area.len()).ok()?;
            self.area.resize(grown, 0);
        }
        Some(&mut self.area[..len])
    }
}

/// How a vector becomes one call.
enum Plan<'a> {
    /// Nothing to move.
    Nothing,
    /// Where it lies: it is alone, or fills a call by itself.
    One(Span),
    /// Through the staging area, of which this is the part.
    Staged(&'a mut [u8]),
}

fn plan<'a>(spans: &[Span], staging: &'a mut Staging) -> Plan<'a> {
    let mut filled = spans.iter().filter(|span| span.len > 0);
    let Some(first) = filled.next() else { return Plan::Nothing };
    let Some(second) = filled.next() else { return Plan::One(*first) };
    if first.len >= STAGING_BYTES {
        return Plan::One(*first);
    }
    let total =
        filled.fold(first.len.saturating_add(second.len), |sum, span| sum.saturating_add(span.len));
    // Without memory for the area the first span alone is progress too.
    match staging.take(total.min(STAGING_BYTES)) {
        Some(area) => Plan::Staged(area),
        None => Plan::One(*first),
    }
}

/// The offset as a number of JavaScript, for `len` bytes that must end within the limit.
fn position(at: u64, len: usize) -> Result<f64, Errno> {
    let end = at.checked_add(len as u64).ok_or(Errno::FBIG)?;
    if end > OFFSET_MAX {
        return Err(Errno::FBIG);
    }
    #[allow(clippy::cast_precision_loss, reason = "below 2^53, so exact")]
    Ok(at as f64)
}

/// Reads into one span. 0 only at or past the end.
///
/// # Safety
/// The span may be written until the call returns.
pub(super) unsafe fn read(file: &impl Access, at: u64, span: Span) -> Result<u64, Errno> {
    let len = span.len.min(BYTES_PER_CALL);
    if len == 0 {
        return Ok(0);
    }
    let from = position(at, len)?;
    // SAFETY: the caller's promise, for no more than the span's length.
    let raw = unsafe { file.read(from, span.ptr, len) }?;
    let moved = match errors::count(raw, len)? {
        0 => quirks::nothing_read(at, size(file)?)?,
        moved => moved,
    };
    Ok(moved as u64)
}

/// Reads into several spans, in order.
///
/// # Safety
/// Every span may be written until the call returns; they do not overlap.
pub(super) unsafe fn readv(
    file: &impl Access,
    at: u64,
    spans: &[Span],
    staging: &mut Staging,
) -> Result<u64, Errno> {
    let area = match plan(spans, staging) {
        Plan::Nothing => return Ok(0),
        // SAFETY: the caller's promise.
        Plan::One(span) => return unsafe { read(file, at, span) },
        Plan::Staged(area) => area,
    };
    let whole = Span { ptr: area.as_mut_ptr(), len: area.len() };
    // SAFETY: `whole` is the area, borrowed for this call.
    let moved = unsafe { read(file, at, whole) }?;
    let mut rest = &area[..usize::try_from(moved).map_err(|_| Errno::IO)?];
    for span in spans {
        let (part, after) = rest.split_at(rest.len().min(span.len));
        // SAFETY: the span may be written, `part` is no longer than it, and lies in the staging
        // area, which is nobody else's.
        unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), span.ptr, part.len()) };
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Ok(moved)
}

/// Writes one span.
///
/// # Safety
/// The span may be read until the call returns.
pub(super) unsafe fn write(file: &impl Access, at: u64, span: Span) -> Result<u64, Errno> {
    let len = span.len.min(BYTES_PER_CALL);
    if len == 0 {
        return Ok(0);
    }
    let to = position(at, len)?;
    // SAFETY: the caller's promise, for no more than the span's length.
    let raw = unsafe { file.write(to, span.ptr, len) }?;
    Ok(quirks::nothing_written(errors::count(raw, len)?, len)? as u64)
}

/// Writes several spans, in order.
///
/// # Safety
/// Every span may be read until the call returns.
pub(super) unsafe fn writev(
    file: &impl Access,
    at: u64,
    spans: &[Span],
    staging: &mut Staging,
) -> Result<u64, Errno> {
    let area = match plan(spans, staging) {
        Plan::Nothing => return Ok(0),
        // SAFETY: the caller's promise.
        Plan::One(span) => return unsafe { write(file, at, span) },
        Plan::Staged(area) => area,
    };
    let mut room = &mut *area;
    for span in spans {
        let len = room.len().min(span.len);
        let (part, after) = room.split_at_mut(len);
        // SAFETY: the span may be read, `part` is no longer than it, and lies in the staging area,
        // which is nobody else's.
        unsafe { core::ptr::copy_nonoverlapping(span.ptr, part.as_mut_ptr(), len) };
        room = after;
        if room.is_empty() {
            break;
        }
    }
    let whole = Span { ptr: area.as_mut_ptr(), len: area.len() };
    // SAFETY: `whole` is the area, borrowed for this call and filled to its end.
    unsafe { write(file, at, whole) }
}

/// The size in bytes.
pub(super) fn size(file: &impl Access) -> Result<u64, Errno> {
    errors::size(file.size()?)
}

/// Cuts or grows the file to `len` bytes.
pub(super) fn truncate(file: &impl Access, len: u64) -> Result<(), Errno> {
    let to = position(len, 0)?;
    let before = size(file)?;
    file.truncate(to)?;
    quirks::truncated(len, before, size(file)?)
}
