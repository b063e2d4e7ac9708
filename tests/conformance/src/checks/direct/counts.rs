//! V5's part: counts on a direct file, which may end anywhere.

use littoral::{Buffer, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::super::family;
use super::{aligned, as_offset, direct_file, is_direct, unit_of};
use crate::ctx::{pattern, read};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq};

family! {
    "V5" direct_counts_resume_at_the_last_aligned_byte;
    "V5" a_direct_read_ends_where_the_file_ends;
    "V5" who_gets_nowhere_goes_through_the_cache;
}

/// A short count at any byte of a direct transfer goes on from the last aligned byte.
async fn direct_counts_resume_at_the_last_aligned_byte(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let unit = unit_of(&file)?;
    let (total, at) = (4 * unit, unit);
    let is_direct = is_direct(&file)?;
    file.pwrite(0, aligned(&vec![0; 6 * unit])).await?;
    let firsts = [1, unit - 1, unit, unit + 1, 2 * unit + 100, 3 * unit, 4 * unit - 1];
    for (salt, first) in (1..).zip(firsts) {
        let second = unit + 3;
        let bytes = pattern(total, salt);
        let floor = |done: usize| if is_direct { done / unit * unit } else { done };
        // The second count is of an entry that begins at the aligned byte.
        let after_first = floor(first);
        let after_second = floor((after_first + second).min(total));
        let spans = [unit, 2 * unit, unit];
        let (mut rest, mut parts) = (&bytes[..], Vec::new());
        for len in spans {
            let (part, others) = rest.split_at(len);
            parts.push(aligned(part));
            rest = others;
        }
        let mut expected = vec![
            (as_offset(at), as_offset(total)),
            (as_offset(at + after_first), as_offset(total - after_first)),
        ];
        expected.push(expected[1]);
        if after_first + second < total {
            expected.push((as_offset(at + after_second), as_offset(total - after_second)));
        }
        let what = format!("cut after {first}, interrupted, cut after {second}");
        let rules = |kind| {
            [
                Rule::next(kind, Fault::Short(first)),
                Rule::next(kind, Fault::Fail(Errno::INTR)),
                Rule::next(kind, Fault::Short(second)),
            ]
        };
        driver.forget_trace();
        if let Some(script) = driver.script() {
            for rule in rules(OpKind::Write) {
                script.push(rule);
            }
        }
        file.pwritev(as_offset(at), Vector::from(parts)).await?;
        if let Some(script) = driver.script() {
            ensure_eq!(driver.trace().writes(), expected, "{what}");
            for rule in rules(OpKind::Read) {
                script.push(rule);
            }
        }
        let into = spans.map(|len| Buffer::with_capacity(len.max(4096)));
        // Of a vector each buffer is filled: one whose pages are larger is read alone.
        if unit >= 4096 {
            let found = file.preadv(as_offset(at), into.into()).await?;
            let found: Vec<u8> = found.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            ensure_bytes(&found, &bytes, &what)?;
        } else {
            let found = file.pread(as_offset(at), Buffer::with_capacity(total.max(4096))).await?;
            ensure_bytes(&found[..total], &bytes, &what)?;
        }
        if let Some(script) = driver.script() {
            let reads = driver.trace().visits(OpKind::Read).into_iter();
            let offsets: Vec<_> = reads.map(|visit| visit.entry.at).collect();
            let expected: Vec<_> = expected.iter().map(|(offset, _)| *offset).collect();
            ensure!(offsets.starts_with(&expected[..3]), "{what}: {offsets:?}, not {expected:?}");
            script.clear();
        }
    }
    Ok(())
}

async fn a_direct_read_ends_where_the_file_ends(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let unit = unit_of(&file)?;
    for end in [1, unit - 1, unit + 1, 2 * unit + 100, 3 * unit] {
        let bytes = pattern(end, 3);
        file.truncate(0).await?;
        file.pwrite(0, aligned(&bytes)).await?;
        for cut in [None, Some(1), Some(end / 2)] {
            if let (Some(cut), Some(script)) = (cut.filter(|cut| *cut > 0), driver.script()) {
                script.push(Rule::next(OpKind::Read, Fault::Short(cut)));
            }
            let found = file.pread(0, Buffer::with_capacity(4 * unit.max(4096))).await?;
            ensure_bytes(&found, &bytes, &format!("{end} bytes, cut after {cut:?}"))?;
            if let Some(script) = driver.script() {
                script.clear();
            }
        }
    }
    Ok(())
}

/// Counts that never pass the step back: the rest goes through the cache, byte by byte if it must.
async fn who_gets_nowhere_goes_through_the_cache(ctx: &Ctx) -> Outcome {
    let (driver, file) = direct_file(ctx, &Plan::calm()).await?;
    let unit = unit_of(&file)?.max(4096);
    let bytes = pattern(2 * unit, 5);
    file.pwrite(0, aligned(&vec![0; 2 * unit])).await?;
    let is_direct = is_direct(&file)?;
    for kind in [OpKind::Write, OpKind::Read] {
        driver.forget_trace();
        if let Some(script) = driver.script() {
            script.push(Rule::next(kind, Fault::Short(100)));
            script.push(Rule::next(kind, Fault::Short(60)));
            script.push(Rule::next(kind, Fault::Short(1)));
        }
        if kind == OpKind::Write {
            file.pwrite(0, aligned(&bytes)).await?;
        } else {
            let found = file.pread(0, Buffer::with_capacity(2 * unit)).await?;
            ensure_bytes(&found, &bytes, "read")?;
        }
        if let Some(script) = driver.script() {
            let visits = driver.trace().visits(kind);
            let offsets: Vec<_> = visits.iter().map(|visit| visit.entry.at).collect();
            let expected = if is_direct { [0, 0, 100, 101] } else { [0, 100, 160, 161] };
            ensure_eq!(offsets, expected, "{kind:?}");
            let same = visits[0].entry.file == visits[3].entry.file;
            ensure_eq!(same, !is_direct, "the handle");
            ensure_eq!(script.pending(), 0, "rules that were not used");
        }
    }
    ensure_bytes(&read(&file, 0, 2 * unit).await?, &bytes, "in the end")
}
