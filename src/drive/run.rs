//! A whole program, the same on every platform.

use core::fmt::Display;
use core::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use crate::{Config, Io, Result, start};

/// Runs a program on a driver of its own: all that a `main` has to do, without a line that asks
/// for the platform.
///
/// What the program gives is printed, and what it fails with complained about. Natively that is
/// standard output and standard error, and `main` ends with the program, with status 1 where it
/// failed. In a browser's worker it is the console; `main` returns at once, and the host drives the
/// program to its end.
///
/// ```
/// use std::process::ExitCode;
/// use std::sync::Arc;
/// use littoral::{Buffer, Config, Io, OpenOptions, Result, SyncKind, run};
///
/// fn main() -> ExitCode {
/// #   let folder = tempfile::tempdir().unwrap();
/// #   let config = Config::new().root(folder.path());
/// #   return run(config, greet);
///     run(Config::new(), greet)
/// }
///
/// async fn greet(io: Arc<dyn Io>) -> Result<String> {
///     let file = io.open("greeting", OpenOptions::new().create(true)).await?;
///     file.pwrite(0, b"from the shore".into()).await?;
///     file.sync(SyncKind::Data).await?;
///     let text = file.pread(5, Buffer::with_capacity(9)).await?;
///     Ok(String::from_utf8_lossy(&text).into_owned())
/// }
/// ```
pub fn run<P, F, E>(config: Config, program: P) -> ExitCode
where
    P: FnOnce(Arc<dyn Io>) -> F,
    F: Future<Output = Result<String, E>> + 'static,
    E: Display + 'static,
{
    match start(config) {
        Ok(io) => drive(&io, program(Arc::clone(&io))),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn drive<E: Display>(
    io: &Arc<dyn Io>,
    program: impl Future<Output = Result<String, E>>,
) -> ExitCode {
    use std::io::Write as _;

    match super::block_on(io, program) {
        Ok(Ok(text)) => {
            // Not `println`, which panics when nobody reads.
            let told = writeln!(std::io::stdout(), "{text}");
            return if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Ok(Err(error)) => complain(&error),
        Err(error) => complain(&error),
    }
    ExitCode::FAILURE
}

#[cfg(not(target_arch = "wasm32"))]
fn complain(what: &impl Display) {
    eprintln!("{what}");
}

/// The driver is the program's: it goes with it.
#[cfg(target_arch = "wasm32")]
fn drive<E: Display>(
    _: &Arc<dyn Io>,
    program: impl Future<Output = Result<String, E>> + 'static,
) -> ExitCode {
    use crate::platform::host;

    // A panic is told as a bare `unreachable` otherwise.
    std::panic::set_hook(Box::new(|info| complain(info)));
    host::spawn(async {
        match program.await {
            Ok(text) => host::print(&text),
            Err(error) => complain(&error),
        }
    });
    ExitCode::SUCCESS
}

#[cfg(target_arch = "wasm32")]
fn complain(what: &impl Display) {
    crate::platform::host::complain(&what.to_string());
}
