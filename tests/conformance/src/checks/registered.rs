//! B4: registering memory changes what it costs, and nothing else.

use std::sync::Arc;

use littoral::{Arena, Buffer, ErrorKind, File, Intent, Registration, Shared, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{Driver, contents, pattern};
use crate::verdict::ensure_bytes;
use crate::{Ctx, Failure, Outcome, Plan, ensure, ensure_eq};

family! {
    "B4" an_arena_serves_any_driver;
    "B4" registering_changes_no_result;
    "B4" what_is_refused_works_as_before;
    "B4" locked_memory_is_waited_for;
    "B4" one_arena_is_registered_often;
    "B4" a_registration_ends_under_operations;
    "B4" a_registration_is_given_up_unseen;
    "B4" a_registration_outlives_its_driver;
}

const PAGE: usize = 4_096;
/// The second size, no multiple of a page: a frame of a log.
const FRAME: usize = PAGE + 24;

fn empty(arena: &Arena, len: usize) -> Outcome<Buffer> {
    arena.take(len).map_err(|none| Failure::new(none.to_string()))
}

fn filled(arena: &Arena, len: usize, salt: u8) -> Outcome<Shared> {
    let mut buffer = empty(arena, len)?;
    buffer.extend_from_slice(&pattern(len, salt));
    Ok(buffer.freeze())
}

async fn an_arena_serves_any_driver(ctx: &Ctx) -> Outcome {
    let (one, first) = ctx.file(&Plan::default()).await?;
    let (_two, second) = ctx.file(&Plan::default()).await?;
    let arena = Arena::new(&[(512, 2), (100, 2)]);
    let page = filled(&arena, 512, 7)?;
    let writes = [first.pwrite(0, page.clone()), second.pwrite(0, page)];
    for write in writes {
        write.await?;
    }
    let found = second.pread(0, first.pread(0, empty(&arena, 512)?).await?).await?;
    ensure_bytes(&found, &pattern(512, 7), "one buffer, two drivers")?;
    drop(one);
    let small = second.pread(500, empty(&arena, 100)?).await?;
    ensure_bytes(&small, &pattern(512, 7)[500..], "a smaller one")?;
    drop((found, small));
    ensure_eq!((arena.free(512), arena.free(100)), (2, 4), "home");
    Ok(())
}

fn joined(parts: &[Buffer]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

/// Writes and reads with buffers of the arena in every form there is, alone and beside others.
async fn use_it(file: &Arc<dyn File>, arena: &Arena, salt: u8) -> Outcome {
    let salted = |n: u8| salt.wrapping_mul(31).wrapping_add(n);
    // One by one: a write, and a read into another place.
    file.pwrite(0, filled(arena, PAGE, salted(0))?).await?;
    let page = file.pread(0, empty(arena, PAGE)?).await?;
    ensure_bytes(&page, &pattern(PAGE, salted(0)), "one page")?;
    drop(page);
    // The same, durable: with a flag on its entry, where entries have those.
    let durable = Intent::new().durable(true);
    file.pwrite_with(0, filled(arena, PAGE, salted(20))?, durable).await?;
    let page = file.pread(0, empty(arena, PAGE)?).await?;
    ensure_bytes(&page, &pattern(PAGE, salted(20)), "one durable page")?;
    drop(page);
    // A slice of a buffer, at an odd place of the file.
    file.pwrite(9_001, filled(arena, FRAME, salted(1))?.slice(7..4_000)).await?;
    let slice = file.pread(9_001, empty(arena, 3_993)?).await?;
    ensure_bytes(&slice, &pattern(FRAME, salted(1))[7..4_000], "a slice")?;
    // A vector of one class, scattered in memory by what is kept between.
    let mut parts = Vec::new();
    let mut kept = Vec::new();
    let mut expected = Vec::new();
    for n in 0..4 {
        parts.push(filled(arena, PAGE, salted(2 + n))?);
        expected.extend(pattern(PAGE, salted(2 + n)));
        kept.push(empty(arena, PAGE)?);
    }
    drop(kept);
    file.pwritev(20_000, Vector::from(parts)).await?;
    let many = (0..4).map(|_| empty(arena, PAGE)).collect::<Outcome<Vec<_>>>()?;
    let read = file.preadv(20_000, many).await?;
    ensure_bytes(&joined(&read), &expected, "a vector of pages")?;
    drop(read);
    // Two classes and memory of other makers, in one vector.
    let mixed = vec![
        filled(arena, PAGE, salted(6))?,
        Shared::from(pattern(5_000, salted(7))),
        filled(arena, FRAME, salted(8))?,
        Shared::from_static(b"static"),
        filled(arena, PAGE, salted(9))?.slice(1..17),
    ];
    let expected = [
        pattern(PAGE, salted(6)),
        pattern(5_000, salted(7)),
        pattern(FRAME, salted(8)),
        b"static".to_vec(),
        pattern(PAGE, salted(9))[1..17].to_vec(),
    ];
    let expected = expected.concat();
    file.pwritev(50_001, Vector::from(mixed)).await?;
    let into = vec![
        empty(arena, FRAME)?,
        Buffer::with_capacity(3_000),
        empty(arena, PAGE)?,
        Buffer::with_capacity(PAGE),
    ];
    let read = file.preadv(50_001, into).await?;
    ensure_bytes(&joined(&read), &expected, "a mixed vector")?;
    // Neighbours in the file and in memory, queued together: they may travel as one.
    let writes: Vec<_> = (0..4_u8)
        .map(|n| Ok(file.pwrite(u64::from(n) * 4_096, filled(arena, PAGE, salted(10 + n))?)))
        .collect::<Outcome<_>>()?;
    for write in writes {
        write.await?;
    }
    let whole = file.pread(0, Buffer::with_capacity(4 * PAGE)).await?;
    let expected: Vec<u8> = (0..4).flat_map(|n| pattern(PAGE, salted(10 + n))).collect();
    ensure_bytes(&whole, &expected, "neighbours")
}

fn arena() -> Arena {
    Arena::new(&[(PAGE, 12), (FRAME, 4)])
}

/// What it says of itself is what the driver says of it.
fn ensure_told(driver: &Driver, registration: &Registration) -> Outcome {
    let statistics = registration.arena().statistics();
    let all: usize = statistics.iter().map(|of| of.size.next_multiple_of(64) * of.count).sum();
    let (all, bytes) = (all as u64, registration.bytes());
    ensure!(bytes <= all, "{bytes} of {all} bytes");
    ensure_eq!(registration.refused().is_none(), bytes == all, "{registration:?}");
    let capabilities = driver.capabilities();
    let named = |what: &str| what.starts_with("registering ");
    let told = capabilities.refused.iter().any(|(what, _)| named(what));
    if let Some(refused) = registration.refused() {
        ensure_eq!(refused.operation(), littoral::Operation::Register);
        ensure!(told, "refused, and not told: {refused}; {capabilities:?}");
    }
    Ok(())
}

async fn registering_changes_no_result(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let arena = arena();
    use_it(&file, &arena, 1).await?;
    let before = driver.statistics();
    ensure_eq!((before.registered, before.fixed), (0, 0), "nothing is registered");
    let registration = driver.register(&arena).await?;
    ensure_told(&driver, &registration)?;
    ensure_eq!(driver.statistics().registered, registration.bytes());
    use_it(&file, &arena, 2).await?;
    let fixed = driver.statistics().fixed;
    if registration.refused().is_none() {
        // Two writes, two vectors, and the neighbours as one; reads that are alone need no entry.
        ensure!(fixed >= 5, "{fixed} entries gained by it");
    } else if registration.bytes() == 0 {
        ensure_eq!(fixed, 0, "nothing is registered");
    }
    drop(registration);
    ctx.until("it is forgotten", || driver.statistics().registered == 0).await?;
    let fixed = driver.statistics().fixed;
    use_it(&file, &arena, 3).await?;
    ensure_eq!(driver.statistics().fixed, fixed, "entries gained by what is forgotten");
    ensure_eq!((arena.free(PAGE), arena.free(FRAME)), (16, 4), "home");
    Ok(())
}

async fn what_is_refused_works_as_before(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let arena = arena();
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Register, Fault::Fail(Errno::PERM)));
        script.push(Rule::next(OpKind::Register, Fault::Fail(Errno::OPNOTSUPP)));
    }
    let registration = driver.register(&arena).await?;
    ensure_told(&driver, &registration)?;
    if driver.script().is_some() {
        // One for each class, and the first is the one to tell.
        ensure_eq!(registration.bytes(), 0);
        let refused = registration.refused().map(littoral::Error::kind);
        ensure_eq!(refused, Some(ErrorKind::PermissionDenied));
        ensure_eq!(driver.statistics().registered, 0);
    }
    use_it(&file, &arena, 4).await?;
    if driver.script().is_some() {
        ensure_eq!(driver.statistics().fixed, 0, "entries gained by what was refused");
    }
    drop(registration);
    // Half of it is half of it.
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Register, Fault::Fail(Errno::PERM)).skip(1));
    }
    let registration = driver.register(&arena).await?;
    ensure_told(&driver, &registration)?;
    use_it(&file, &arena, 5).await
}

async fn locked_memory_is_waited_for(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let arena = Arena::new(&[(PAGE, 12)]);
    // As a kernel that has not given back yet what was given up just before.
    if let Some(script) = driver.script() {
        script.push(Rule::next(OpKind::Register, Fault::Fail(Errno::NOMEM)).times(3));
    }
    let begun = driver.now().monotonic;
    let registration = driver.register(&arena).await?;
    ensure_told(&driver, &registration)?;
    if driver.script().is_some() {
        let tries = driver.trace().count(OpKind::Register);
        // A real kernel may have reasons of its own for some more.
        ensure!(tries >= 4, "{tries} tries");
        let waited = driver.now().monotonic - begun;
        ensure!(waited >= 7_000_000, "{waited} ns is not 1 + 2 + 4 ms");
    }
    let page = filled(&arena, PAGE, 6)?;
    file.pwrite(0, page).await?;
    ensure_bytes(&contents(&file).await?, &pattern(PAGE, 6), "what was written")?;
    drop(registration);
    // For a while only.
    if let Some(script) = driver.script() {
        ctx.until("it is forgotten", || driver.statistics().registered == 0).await?;
        script.push(Rule::next(OpKind::Register, Fault::Fail(Errno::NOMEM)).times(100_000));
        let refused = driver.register(&arena).await?;
        ensure_eq!(refused.refused().map(littoral::Error::kind), Some(ErrorKind::OutOfResources));
        script.clear();
        // Who waits for it may stop waiting.
        script.push(Rule::next(OpKind::Register, Fault::Fail(Errno::NOMEM)).times(100_000));
        driver.forget_trace();
        let waiting = driver.register(&arena);
        ctx.until("it was tried", || driver.trace().count(OpKind::Register) > 0).await?;
        waiting.cancel();
        let error = crate::ensure_kind!(waiting.await, Cancelled);
        ensure_eq!(error.operation(), littoral::Operation::Register);
        script.clear();
    }
    let again = driver.register(&arena).await?;
    ensure_told(&driver, &again)
}

async fn one_arena_is_registered_often(ctx: &Ctx) -> Outcome {
    let (one, first) = ctx.file(&Plan::default()).await?;
    let (two, second) = ctx.file(&Plan::default()).await?;
    let arena = arena();
    // At once: whoever comes second waits for the first.
    let (a, b, c) = (one.register(&arena), one.register(&arena), two.register(&arena));
    let (a, b, c) = (a.await?, b.await?, c.await?);
    for (driver, registration) in [(&one, &a), (&one, &b), (&two, &c)] {
        ensure_told(driver, registration)?;
    }
    ensure_eq!(one.statistics().registered, a.bytes(), "once, with two users");
    ensure_eq!(a.bytes(), b.bytes());
    drop(a);
    use_it(&first, &arena, 7).await?;
    use_it(&second, &arena, 8).await?;
    ensure_eq!(one.statistics().registered, b.bytes(), "one user is left");
    drop(b);
    ctx.until("it is forgotten", || one.statistics().registered == 0).await?;
    ensure_eq!(two.statistics().registered, c.bytes(), "the other driver's is its own");
    let again = one.register(&arena).await?;
    ensure_told(&one, &again)?;
    // At once again, on the heels of what is given up.
    drop(again);
    let again = one.register(&arena).await?;
    ensure_told(&one, &again)?;
    use_it(&first, &arena, 9).await?;
    // Many arenas one after another: what is given up is free for the next.
    for salt in 0..40 {
        let passing = Arena::new(&[(PAGE, 12), (FRAME, 4)]);
        let registration = one.register(&passing).await?;
        ensure_told(&one, &registration)?;
        if salt % 8 == 0 {
            use_it(&first, &passing, salt).await?;
        }
    }
    Ok(())
}

async fn a_registration_ends_under_operations(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    file.pwrite(0, pattern(8 * PAGE, 10).into()).await?;
    let arena = arena();
    let registration = driver.register(&arena).await?;
    if let Some(script) = driver.script() {
        // One that the platform has, one that waits for its turn there.
        script.push(Rule::next(OpKind::Read, Fault::Late));
        script.push(Rule::next(OpKind::Read, Fault::Park));
    }
    // Apart, so that none travels with another.
    let reads: Vec<_> = (0..4_u64)
        .map(|page| Ok(file.pread(page * 8_192, empty(&arena, PAGE)?)))
        .collect::<Outcome<_>>()?;
    if let Some(script) = driver.script() {
        ctx.until("they are there", || driver.trace().count(OpKind::Read) >= 4).await?;
        drop(registration);
        ctx.until("it is forgotten", || driver.statistics().registered == 0).await?;
        script.release();
    } else {
        drop(registration);
    }
    for (page, read) in reads.into_iter().enumerate() {
        let expected = &pattern(8 * PAGE, 10)[2 * page * PAGE..][..PAGE];
        ensure_bytes(&read.await?, expected, &format!("page {page}"))?;
    }
    ctx.until("it is forgotten", || driver.statistics().registered == 0).await?;
    ensure_eq!((arena.free(PAGE), arena.free(FRAME)), (16, 4), "home");
    Ok(())
}

async fn a_registration_is_given_up_unseen(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let arena = arena();
    // Nobody takes it: neither before it is there nor after.
    drop(driver.register(&arena));
    let mut registering = driver.register(&arena);
    let seen = driver.delivered();
    ctx.until("it is there", || driver.delivered() > seen || driver.statistics().registered > 0)
        .await?;
    ctx.settle().await;
    let _ = registering.try_take();
    registering = driver.register(&arena);
    registering.cancel();
    drop(registering.await.ok());
    ctx.until("it is forgotten", || driver.statistics().registered == 0).await?;
    use_it(&file, &arena, 11).await?;
    ensure_eq!((arena.free(PAGE), arena.free(FRAME)), (16, 4), "home");
    Ok(())
}

async fn a_registration_outlives_its_driver(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    file.pwrite(0, pattern(4 * PAGE, 12).into()).await?;
    let arena = arena();
    let registration = driver.register(&arena).await?;
    let reads: Vec<_> = (0..4_u64)
        .map(|page| Ok(file.pread(page * 4_096, empty(&arena, PAGE)?)))
        .collect::<Outcome<_>>()?;
    let writes: Vec<_> = (4..8_u8)
        .map(|page| Ok(file.pwrite(u64::from(page) * 4_096, filled(&arena, PAGE, page)?)))
        .collect::<Outcome<_>>()?;
    let bytes = registration.bytes();
    drop(driver);
    ctx.until("the driver is gone", || ctx.live().is_empty()).await?;
    for (page, read) in reads.into_iter().enumerate() {
        if let Ok(read) = read.await {
            let expected = &pattern(4 * PAGE, 12)[page * PAGE..][..PAGE];
            ensure_bytes(&read, expected, &format!("page {page}"))?;
        }
    }
    for write in writes {
        let _ = write.await;
    }
    ensure_eq!((arena.free(PAGE), arena.free(FRAME)), (16, 4), "home");
    ensure_eq!(registration.bytes(), bytes, "it says what it said");
    drop(registration);
    let (_, other) = ctx.file(&Plan::calm()).await?;
    drop(file);
    drop(other);
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let registration = driver.register(&arena).await?;
    ensure_told(&driver, &registration)?;
    use_it(&file, &arena, 13).await
}
