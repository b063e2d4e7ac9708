//! A file that outgrows what the browser grants. Only where the quota was made small beforehand:
//! some MiB, below the limit at which these checks give up.

use littoral_platform::{Errno, Handle, Op, SyncKind};

use super::{CREATE, Outcome, driver, fine, same};
use crate::ring::Driver;

const PIECE: usize = 256 << 10;
const PIECES_MAX: u64 = 256;
const BEYOND: u64 = PIECES_MAX * 2 * PIECE as u64;

/// Writes until there is no room; the bytes that were confirmed.
async fn fill(d: &mut Driver, file: Handle) -> Result<u64, String> {
    let piece: Vec<u8> = (0..=u8::MAX).cycle().take(PIECE).collect();
    let mut at = 0;
    while at < PIECES_MAX * PIECE as u64 {
        match d.write(file, at, &piece).await {
            // Short counts go on at their end, and must lead to a plain no in the end.
            Ok(count) => at += count,
            Err(Errno::NOSPC) => return Ok(at),
            Err(errno) => return Err(format!("write at {at}: {errno}")),
        }
        if at % PIECE as u64 != 0 {
            let rest = &piece[usize::try_from(at % PIECE as u64).expect("of a piece")..];
            match d.write(file, at, rest).await {
                Ok(count) => at += count,
                Err(Errno::NOSPC) => return Ok(at),
                Err(errno) => return Err(format!("write at {at}: {errno}")),
            }
        }
    }
    Err(format!("{at} bytes were written: make the quota small before this check"))
}

pub(super) async fn a_write_without_room_is_no_space() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let confirmed = fill(&mut d, file).await?;
    same("something was written", confirmed > 0, true)?;
    same("far out", d.write(file, BEYOND, b"x").await, Err(Errno::NOSPC))?;
    same("flush", d.plain(Op::Sync { file, kind: SyncKind::Data }).await, Ok(0))?;
    let mut back = vec![0; usize::try_from(confirmed).expect("some MiB")];
    same("read", d.read(file, 0, &mut back).await, Ok(confirmed))?;
    let kept = back.iter().enumerate().all(|(at, byte)| *byte == at.to_le_bytes()[0]);
    same("what was confirmed is there", kept, true)
}

pub(super) async fn a_truncate_without_room_is_no_space() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    fine("write", d.write(file, 0, b"kept").await)?;
    same("grow", d.plain(Op::Truncate { file, len: BEYOND }).await, Err(Errno::NOSPC))?;
    same("size", d.plain(Op::Size { file }).await, Ok(4))
}

pub(super) async fn room_that_was_given_back_is_there() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let confirmed = fill(&mut d, file).await?;
    same("cut", d.plain(Op::Truncate { file, len: 0 }).await, Ok(0))?;
    same("as much again", fill(&mut d, file).await.is_ok_and(|again| again >= confirmed / 2), true)
}
