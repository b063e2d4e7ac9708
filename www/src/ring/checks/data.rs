//! Operations on open files.

use littoral_platform::{Errno, FileKind, Handle, Op, OpenFlags, Span, Stat, SyncKind};

use super::{CREATE, Outcome, driver, fine, same};
use crate::ring::{Driver, span_of};

/// Bytes of which no stretch is like another one.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

async fn writev(d: &mut Driver, file: Handle, at: u64, parts: &[Vec<u8>]) -> Result<u64, Errno> {
    let spans: Vec<Span> = parts.iter().map(|part| span_of(part)).collect();
    let count = u32::try_from(spans.len()).expect("few");
    // SAFETY: `spans` and `parts` live until the end.
    unsafe { d.run(Op::Writev { file, at, spans: spans.as_ptr(), count }).await }
}

async fn readv(d: &mut Driver, file: Handle, at: u64, parts: &mut [Vec<u8>]) -> Result<u64, Errno> {
    let spans: Vec<Span> =
        parts.iter_mut().map(|part| Span { ptr: part.as_mut_ptr(), len: part.len() }).collect();
    let count = u32::try_from(spans.len()).expect("few");
    // SAFETY: as in `writev`.
    unsafe { d.run(Op::Readv { file, at, spans: spans.as_ptr(), count }).await }
}

pub(super) async fn bytes_come_back() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let bytes = pattern(300_000, 1);
    same("write", d.write(file, 1000, &bytes).await, Ok(300_000))?;
    same("size", d.plain(Op::Size { file }).await, Ok(301_000))?;
    let mut back = vec![7; 301_500];
    same("read past the end", d.read(file, 0, &mut back).await, Ok(301_000))?;
    same("the hole is zeros", back[..1000].iter().all(|b| *b == 0), true)?;
    same("the bytes", back[1000..301_000] == bytes[..], true)?;
    same("the rest is untouched", back[301_000..].iter().all(|b| *b == 7), true)?;
    same("read at the end", d.read(file, 301_000, &mut back).await, Ok(0))?;
    same("read far behind", d.read(file, 1 << 40, &mut back).await, Ok(0))?;
    same("empty write", d.write(file, 1 << 40, &[]).await, Ok(0))?;
    same("empty read", d.read(file, 0, &mut []).await, Ok(0))?;
    same("size, still", d.plain(Op::Size { file }).await, Ok(301_000))?;
    same("overwrite", d.write(file, 2000, &[1; 10]).await, Ok(10))?;
    same("read of it", d.read(file, 1999, &mut back[..12]).await, Ok(12))?;
    same("inside", &back[1..11], &[1; 10])?;
    same("before and after", (back[0], back[11]), (bytes[999], bytes[1010]))?;
    same("close", d.plain(Op::Close { file }).await, Ok(0))?;
    same("use after close", d.plain(Op::Size { file }).await, Err(Errno::BADF))
}

pub(super) async fn vectors_are_one_call() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let lens = [1, 0, 4096, 3, 70_000, 0, 1, 512];
    let parts: Vec<Vec<u8>> = (0..).zip(lens).map(|(seed, len)| pattern(len, seed)).collect();
    let whole = parts.concat();
    same("writev", writev(&mut d, file, 5, &parts).await, Ok(whole.len() as u64))?;
    let mut back = vec![0; whole.len()];
    same("read", d.read(file, 5, &mut back).await, Ok(whole.len() as u64))?;
    same("the bytes, gathered", back == whole, true)?;
    let mut into = [vec![0; 2], vec![], vec![0; 70_001], vec![9; 9000]];
    same("readv", readv(&mut d, file, 5, &mut into).await, Ok(whole.len() as u64))?;
    let scattered = into.concat();
    same("the bytes, scattered", scattered[..whole.len()] == whole[..], true)?;
    same("no more", scattered[whole.len()..].iter().all(|b| *b == 9), true)?;
    same("an empty vector", writev(&mut d, file, 5, &[]).await, Ok(0))?;
    same("of empty ones", readv(&mut d, file, 5, &mut [vec![], vec![]]).await, Ok(0))
}

pub(super) async fn vectors_end_at_the_area() -> Outcome {
    const MIB: usize = 1 << 20;
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let parts = [pattern(MIB - 1, 1), pattern(MIB, 2)];
    let whole = parts.concat();
    // The ring does not go on by itself: this is what the engine does.
    same("first call", writev(&mut d, file, 0, &parts).await, Ok(MIB as u64))?;
    let rest = d.write(file, MIB as u64, &whole[MIB..]).await;
    same("the rest", rest, Ok((whole.len() - MIB) as u64))?;
    let mut into = [vec![0; 10], vec![0; 2 * MIB]];
    same("readv", readv(&mut d, file, 0, &mut into).await, Ok(MIB as u64))?;
    same("the bytes", into.concat()[..MIB] == whole[..MIB], true)?;
    let mut all = vec![0; whole.len()];
    same("one span is not bounded", d.read(file, 0, &mut all).await, Ok(whole.len() as u64))?;
    same("all bytes", all == whole, true)
}

pub(super) async fn sync_truncate_and_size() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    fine("write", d.write(file, 0, &[5; 5000]).await)?;
    same("data", d.plain(Op::Sync { file, kind: SyncKind::Data }).await, Ok(0))?;
    same("full", d.plain(Op::Sync { file, kind: SyncKind::Full }).await, Ok(0))?;
    same("cut", d.plain(Op::Truncate { file, len: 10 }).await, Ok(0))?;
    same("grow", d.plain(Op::Truncate { file, len: 6000 }).await, Ok(0))?;
    let mut back = vec![1; 6000];
    same("read", d.read(file, 0, &mut back).await, Ok(6000))?;
    same("kept", back[..10].iter().all(|b| *b == 5), true)?;
    same("zeros", back[10..].iter().all(|b| *b == 0), true)?;
    let mut stat = Stat::default();
    // SAFETY: `stat` lives until the end.
    let size = unsafe { d.run(Op::Stat { file, stat: &raw mut stat }).await };
    same("stat", (size, stat.size, stat.kind), (Ok(6000), 6000, FileKind::File))?;
    let far = d.plain(Op::Truncate { file, len: 1 << 53 }).await;
    same("past the limit", far, Err(Errno::FBIG))
}

pub(super) async fn a_file_for_reading() -> Outcome {
    let mut d = driver();
    let file = fine("create", d.open("a", CREATE).await)?;
    fine("write", d.write(file, 0, b"abc").await)?;
    fine("close", d.plain(Op::Close { file }).await)?;
    let file = fine("open", d.open("a", OpenFlags::empty()).await)?;
    same("write", d.write(file, 0, b"x").await, Err(Errno::BADF))?;
    same("writev", writev(&mut d, file, 0, &[vec![1], vec![2]]).await, Err(Errno::BADF))?;
    same("truncate", d.plain(Op::Truncate { file, len: 0 }).await, Err(Errno::BADF))?;
    let mut back = [0; 3];
    same("read", d.read(file, 0, &mut back).await, Ok(3))?;
    same("bytes", &back, b"abc")
}

pub(super) async fn far_offsets() -> Outcome {
    const FAR: u64 = (4 << 30) + 12_345;
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    same("past the limit", d.write(file, (1 << 53) - 1, b"x").await, Err(Errno::FBIG))?;
    // 32 bits are passed, so that an offset which lost some would land at the file's beginning.
    let written = d.write(file, FAR, b"far").await;
    if written == Err(Errno::NOSPC) {
        // A browser that keeps files in memory counts the hole, and has no room for it.
        return same("nothing is there", d.plain(Op::Size { file }).await, Ok(0));
    }
    same("write", written, Ok(3))?;
    same("size", d.plain(Op::Size { file }).await, Ok(FAR + 3))?;
    let mut back = [9; 4];
    same("read", d.read(file, FAR - 1, &mut back).await, Ok(4))?;
    same("bytes", &back, b"\0far")?;
    same("read where it would be cut", d.read(file, 12_345, &mut back).await, Ok(4))?;
    same("zeros", back, [0; 4])?;
    same("cut to as much", d.plain(Op::Truncate { file, len: FAR }).await, Ok(0))?;
    same("size", d.plain(Op::Size { file }).await, Ok(FAR))
}

/// A view of wasm memory dies when the memory grows; none may be kept from call to call.
pub(super) async fn memory_may_grow() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let mut kept = Vec::new();
    for round in 0..4 {
        let bytes = pattern(4096, round);
        fine("write", d.write(file, 0, &bytes).await)?;
        kept.push(vec![0_u8; 16 << 20]);
        let mut back = [vec![0; 1000], vec![0; 3096]];
        same("readv", readv(&mut d, file, 0, &mut back).await, Ok(4096))?;
        same("bytes", back.concat() == bytes, true)?;
    }
    same("grown", kept.iter().all(|part| part.len() == 16 << 20), true)
}

pub(super) async fn direct_calls() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let direct = d.direct();
    // SAFETY: everything that is pointed to lives longer than the call.
    let call = |op: Op| unsafe { direct.call(&op) };
    same("write", call(Op::Write { file, at: 3, span: span_of(b"direct") }), Ok(6))?;
    let mut back = [0; 6];
    let span = Span { ptr: back.as_mut_ptr(), len: 6 };
    same("read", call(Op::Read { file, at: 3, span }), Ok(6))?;
    same("bytes", &back, b"direct")?;
    same("sync", call(Op::Sync { file, kind: SyncKind::Data }), Ok(0))?;
    same("truncate", call(Op::Truncate { file, len: 4 }), Ok(0))?;
    same("size", call(Op::Size { file }), Ok(4))?;
    let name = crate::ring::name_of("b\0");
    same("open", call(Op::Open { name, flags: CREATE, mode: 0o644 }), Err(Errno::AGAIN))?;
    same("remove", call(Op::Remove { name }), Err(Errno::AGAIN))?;
    same("close", call(Op::Close { file }), Ok(0))?;
    same("size after close", call(Op::Size { file }), Err(Errno::BADF))
}
