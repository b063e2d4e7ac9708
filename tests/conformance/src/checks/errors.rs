//! E1, E2, K1: errors that say what to do, and failures that none swallows.

use littoral::{Buffer, Error, ErrorKind, OpenOptions, Operation, Shared, SyncKind, Vector};
use littoral_platform::Errno;
use littoral_platform::faulty::{OpKind, Outcome as Fault, Rule};

use super::family;
use crate::ctx::{contents, write};
use crate::{Ctx, Outcome, Plan, ensure, ensure_eq, ensure_kind};

family! {
    "E1" an_error_names_operation_file_and_remedy;
    "E1" kinds_are_the_same_everywhere;
    "E1" bad_input_leaves_the_file_as_it_is;
    "E1" a_foreign_file_is_not_confused;
    "E2" no_failure_is_swallowed;
    "E2" a_failure_without_a_name_is_one_too;
    "K1" what_was_chosen_is_told;
}

fn tells(error: &Error, operation: Operation, file: &str) -> Outcome {
    let text = error.to_string();
    ensure_eq!(error.operation(), operation);
    ensure_eq!(error.file(), Some(file), "the file of {text}");
    ensure!(text.contains(operation.name()), "no operation in: {text}");
    ensure!(text.contains(file), "no file in: {text}");
    // What to do stands behind the last semicolon.
    let remedy = text.rsplit_once("; ").map_or("", |(_, remedy)| remedy);
    ensure!(remedy.split(' ').count() >= 2, "no remedy in: {text}");
    Ok(())
}

async fn an_error_names_operation_file_and_remedy(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::default()).await?;
    let (name, absent) = (file.name().to_owned(), "absent");
    let max = driver.limits().offset_max;
    tells(
        &ensure_kind!(driver.open(absent, OpenOptions::new()).await, NotFound),
        Operation::Open,
        absent,
    )?;
    tells(&ensure_kind!(driver.remove(absent).await, NotFound), Operation::Remove, absent)?;
    let x = || Shared::from(b"x");
    tells(&ensure_kind!(file.pwrite(max, x()).await, InvalidInput), Operation::Pwrite, &name)?;
    let vector = file.pwritev(max, Vector::from(x()));
    tells(&ensure_kind!(vector.await, InvalidInput), Operation::Pwritev, &name)?;
    tells(&ensure_kind!(file.truncate(u64::MAX).await, InvalidInput), Operation::Truncate, &name)?;
    file.close().await?;
    let read = file.pread(0, Buffer::with_capacity(1));
    tells(&ensure_kind!(read.await, Closed), Operation::Pread, &name)?;
    let read = file.preadv(0, vec![Buffer::with_capacity(1)]);
    tells(&ensure_kind!(read.await, Closed), Operation::Preadv, &name)?;
    tells(&ensure_kind!(file.sync(SyncKind::Data).await, Closed), Operation::Sync, &name)?;
    tells(&ensure_kind!(file.size().await, Closed), Operation::Size, &name)?;
    tells(&ensure_kind!(file.close().await, Closed), Operation::Close, &name)?;
    Ok(())
}

async fn kinds_are_the_same_everywhere(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    let missing = ensure_kind!(driver.open("absent", OpenOptions::new()).await, NotFound);
    ensure!(missing.code() == Some(Errno::NOENT), "the code of {missing}");
    for (code, kind) in [
        (Errno::NOENT, ErrorKind::NotFound),
        (Errno::EXIST, ErrorKind::AlreadyExists),
        (Errno::ISDIR, ErrorKind::IsADirectory),
        (Errno::ACCES, ErrorKind::PermissionDenied),
        (Errno::ROFS, ErrorKind::PermissionDenied),
        (Errno::NOSPC, ErrorKind::StorageFull),
        (Errno::MFILE, ErrorKind::OutOfResources),
        (Errno::NOMEM, ErrorKind::OutOfResources),
        (Errno::OPNOTSUPP, ErrorKind::Unsupported),
        (Errno::IO, ErrorKind::Io),
    ] {
        let Some(script) = driver.script() else { continue };
        let name = ctx.name();
        script.push(Rule::next(OpKind::Open, Fault::Fail(code)));
        let open = driver.open(&name, OpenOptions::new().create(true)).await;
        let Err(error) = open else { return Err(format!("{code:?} opened a file").into()) };
        ensure_eq!((error.kind(), error.code()), (kind, Some(code)), "{error}");
        tells(&error, Operation::Open, &name)?;
        script.push(Rule::next(OpKind::Write, Fault::Fail(code)));
        let Err(error) = file.pwrite(0, Shared::from(b"x")).await else {
            return Err(format!("{code:?} wrote a file").into());
        };
        ensure_eq!((error.code(), error.confirmed()), (Some(code), Some(0)), "{error}");
        tells(&error, Operation::Pwrite, file.name())?;
    }
    ensure_eq!(file.size().await?, 0);
    Ok(())
}

/// Everything a caller can get wrong, on one file: each has its kind, and the bytes stay.
async fn bad_input_leaves_the_file_as_it_is(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::operations(8)).await?;
    write(&file, 0, b"as it is").await?;
    let max = driver.limits().offset_max;
    let x = || Shared::from(b"x");
    for at in [max, u64::MAX] {
        ensure_kind!(file.pwrite(at, x()).await, InvalidInput);
        ensure_kind!(file.pwritev(at, Vector::from(vec![x(), x()])).await, InvalidInput);
    }
    ensure_kind!(file.truncate(max + 1).await, InvalidInput);
    file.pwrite(3, Shared::default()).await?;
    file.pwritev(100, Vector::new()).await?;
    ensure_eq!(file.pread(2, Buffer::with_capacity(0)).await?.len(), 0);
    ensure_eq!(file.preadv(2, Vec::new()).await?.len(), 0);

    let reader = driver.open(file.name(), OpenOptions::read_only()).await?;
    ensure_kind!(reader.pwrite(0, x()).await, PermissionDenied);
    ensure_kind!(reader.truncate(0).await, PermissionDenied);
    reader.close().await?;
    ensure_kind!(reader.pwrite(0, x()).await, Closed);

    let full: Vec<_> = (0..8).map(|_| file.size()).collect();
    ensure_kind!(file.pwrite(0, x()).await, Saturated);
    ensure_kind!(file.truncate(0).await, Saturated);
    for size in full {
        ensure_eq!(size.await?, 8);
    }
    for name in ["", "..", "a/../b", "a\0"] {
        ensure_kind!(driver.remove(name).await, InvalidInput);
    }
    ensure_eq!(contents(&file).await?, b"as it is");
    Ok(())
}

/// Files and buffers of one driver beside those of another: handles and slots have equal numbers.
async fn a_foreign_file_is_not_confused(ctx: &Ctx) -> Outcome {
    let (one, first) = ctx.file(&Plan::default()).await?;
    let (two, second) = ctx.file(&Plan::default()).await?;
    let writes = [
        first.pwrite(0, Shared::from(b"first")),
        second.pwrite(0, Shared::from(b"second")),
        first.pwrite(5, Shared::from(b"!")),
    ];
    for write in writes {
        write.await?;
    }
    let bytes = first.pread(0, Buffer::with_capacity(9)).await?;
    second.pwrite(6, bytes.freeze()).await?;
    drop(one);
    ensure_eq!(contents(&second).await?, b"secondfirst!");
    ensure_kind!(first.size().await, Closed);
    drop(two);
    Ok(())
}

async fn no_failure_is_swallowed(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"bytes").await?;
    let fail = |kind| {
        if let Some(script) = driver.script() {
            script.push(Rule::next(kind, Fault::Fail(Errno::IO)));
        }
        driver.script().is_some()
    };
    let x = || Shared::from(b"x");
    if fail(OpKind::Write) {
        ensure_kind!(file.pwrite(0, x()).await, Io);
    }
    if fail(OpKind::Write) {
        ensure_kind!(file.pwritev(0, Vector::from(vec![x(), x()])).await, Io);
    }
    if fail(OpKind::Read) {
        ensure_kind!(file.pread(0, Buffer::with_capacity(3)).await, Io);
    }
    if fail(OpKind::Read) {
        ensure_kind!(file.preadv(0, vec![Buffer::with_capacity(3)]).await, Io);
    }
    if fail(OpKind::Truncate) {
        ensure_kind!(file.truncate(0).await, Io);
    }
    if fail(OpKind::Size) {
        ensure_kind!(file.size().await, Io);
    }
    if fail(OpKind::Open) {
        ensure_kind!(driver.open("x", OpenOptions::new().create(true)).await, Io);
    }
    if fail(OpKind::Remove) {
        ensure_kind!(driver.remove("x").await, Io);
    }
    ensure_eq!(contents(&file).await?, b"bytes", "what failed did nothing");
    if fail(OpKind::Sync) {
        ensure_kind!(file.sync(SyncKind::Data).await, Io);
    }
    if fail(OpKind::Close) {
        ensure_kind!(file.close().await, Io);
    }
    Ok(())
}

/// Numbers that nobody has given a name to yet.
async fn a_failure_without_a_name_is_one_too(ctx: &Ctx) -> Outcome {
    let (driver, file) = ctx.file(&Plan::calm()).await?;
    write(&file, 0, b"bytes").await?;
    for code in [Errno::BADF, Errno::SPIPE, Errno::NOTEMPTY] {
        let Some(script) = driver.script() else { continue };
        for kind in [OpKind::Write, OpKind::Read] {
            script.push(Rule::next(kind, Fault::Fail(code)));
        }
        let error = file.pwrite(0, Shared::from(b"x")).await.err();
        ensure_eq!(error.and_then(|error| error.code()), Some(code));
        let error = file.pread(0, Buffer::with_capacity(1)).await.err();
        ensure_eq!(error.and_then(|error| error.code()), Some(code));
    }
    ensure_eq!(contents(&file).await?, b"bytes");
    Ok(())
}

async fn what_was_chosen_is_told(ctx: &Ctx) -> Outcome {
    let driver = ctx.driver(&Plan::default())?;
    let report = driver.capabilities();
    ensure!(!report.backend.is_empty(), "a backend without a name");
    let (first, second) = (driver.now(), driver.now());
    ensure!(first.monotonic <= second.monotonic, "a monotonic clock that goes back");
    let limits = driver.limits();
    ensure!(limits.in_flight > 0 && limits.spans_per_call > 0 && limits.bytes_per_call > 0);
    ensure!(limits.offset_max >= (1 << 53) - 1, "offsets up to {}", limits.offset_max);
    Ok(())
}
