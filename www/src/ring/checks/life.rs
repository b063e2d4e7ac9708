//! When completions come, and what is left when a ring goes.

use littoral_platform::{Errno, Op, Ring, Setup, Sqe, Tag};

use super::{CREATE, Outcome, ROOT, WRITE, driver, fine, same};
use crate::opfs::pause;
use crate::ring::{Driver, name_of};

pub(super) async fn full_and_reaped_once() -> Outcome {
    let mut d = Driver::with(&Setup { root: Some(ROOT.into()), in_flight: 3 });
    let file = fine("open", d.open("a", CREATE).await)?;
    let ring = &mut d.ring;
    let op = Op::Size { file };
    for round in 0..3 {
        for entry in 0..3 {
            let tag = Tag(100 + round * 3 + entry);
            // SAFETY: it points to nothing, and the file is open.
            same("room", unsafe { ring.push(&Sqe::new(tag, op)) }.is_ok(), true)?;
        }
        same("to submit", ring.unsubmitted(), 3)?;
        // SAFETY: as above.
        let full = unsafe { ring.push(&Sqe::new(Tag(0), op)) };
        same("full of pushed ones", full.is_err(), true)?;
        same("nothing before submit", ring.reap().is_some(), false)?;
        fine("submit", ring.submit())?;
        same("submitted", ring.unsubmitted(), 0)?;
        // SAFETY: as above.
        let full = unsafe { ring.push(&Sqe::new(Tag(0), op)) };
        same("full of finished ones", full.is_err(), true)?;
        let tags: Vec<u64> = std::iter::from_fn(|| ring.reap()).map(|cqe| cqe.tag.0).collect();
        let first = 100 + round * 3;
        same("each once", tags, vec![first, first + 1, first + 2])?;
    }
    Ok(())
}

pub(super) async fn cancel_asks_in_vain() -> Outcome {
    let mut d = driver();
    let none = d.plain(Op::Cancel { target: Tag(12_345) }).await;
    same("nothing like that", none, Err(Errno::NOENT))?;
    let text = "a\0";
    // SAFETY: the text is static.
    let open = unsafe { d.push(Op::Open { name: name_of(text), flags: CREATE, mode: 0o644 }) };
    let cancel = d.plain(Op::Cancel { target: open }).await;
    same("under way", cancel, Err(Errno::ALREADY))?;
    let file = fine("the open itself", d.finish(open).await)?;
    same("known", u32::try_from(file).is_ok(), true)?;
    same("over", d.plain(Op::Cancel { target: open }).await, Err(Errno::NOENT))
}

pub(super) async fn turns_are_gathered() -> Outcome {
    let d = driver();
    let before = d.turns();
    let bell = d.doorbell();
    for _ in 0..10 {
        bell.ring();
    }
    same("none inside the call", d.turns(), before)?;
    // Microtasks run before the next task, however long the chain of them is.
    for _ in 0..100 {
        let done = js_sys::Promise::resolve(&wasm_bindgen::JsValue::NULL);
        wasm_bindgen_futures::JsFuture::from(done).await.map_err(|e| format!("{e:?}"))?;
    }
    same("none between microtasks", d.turns(), before)?;
    pause(20).await;
    same("one for all", d.turns(), before + 1)?;
    bell.ring();
    pause(20).await;
    same("and another", d.turns(), before + 2)
}

pub(super) async fn waiting_is_refused() -> Outcome {
    let d = driver();
    let bell = d.doorbell();
    same("no limit", bell.wait(0, None), Err(Errno::AGAIN))?;
    let hour = std::time::Duration::from_secs(3600);
    same("an hour", bell.wait(0, Some(hour)), Err(Errno::AGAIN))
}

/// Waits until a file can be opened; promises of a ring that is gone need some turns.
async fn opens_again(name: &str) -> Outcome {
    let mut last = Errno::IO;
    for _ in 0..100 {
        let mut d = driver();
        match d.open(name, WRITE).await {
            Ok(file) => return same("close", d.plain(Op::Close { file }).await, Ok(0)),
            Err(errno) => last = errno,
        }
    }
    Err(format!("the file stays locked: {last}"))
}

pub(super) async fn a_late_open_is_closed() -> Outcome {
    let mut d = driver();
    let file = fine("create", d.open("a", CREATE).await)?;
    fine("close", d.plain(Op::Close { file }).await)?;
    let text = String::from("a\0");
    // SAFETY: the text lives until the ring is gone.
    unsafe { d.push(Op::Open { name: name_of(&text), flags: WRITE, mode: 0o644 }) };
    fine("submit", d.ring.submit())?;
    // What outlives the ring must not keep the file.
    let direct = d.direct();
    drop(d);
    drop(text);
    opens_again("a").await?;
    drop(direct);
    Ok(())
}

pub(super) async fn an_unreaped_open_is_closed() -> Outcome {
    let mut d = driver();
    // SAFETY: the text is static.
    unsafe { d.push(Op::Open { name: name_of("a\0"), flags: CREATE, mode: 0o644 }) };
    fine("submit", d.ring.submit())?;
    d.turn().await;
    // What outlives the ring must not keep the file.
    let direct = d.direct();
    drop(d);
    let mut d = driver();
    let file = fine("open at once", d.open("a", WRITE).await)?;
    drop(direct);
    same("close", d.plain(Op::Close { file }).await, Ok(0))
}

pub(super) async fn files_go_with_the_last_owner() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let direct = d.direct();
    drop(d);
    // SAFETY: it points to nothing.
    same("still open", unsafe { direct.call(&Op::Size { file }) }, Ok(0))?;
    let mut other = driver();
    same("still locked", other.open("a", WRITE).await, Err(Errno::BUSY))?;
    drop(direct);
    let file = fine("free", other.open("a", WRITE).await)?;
    same("close", other.plain(Op::Close { file }).await, Ok(0))
}
