//! Threads of our own: named, and deaf to signals.

use std::io;

cfg_if::cfg_if! {
    if #[cfg(littoral_model)] {
        use shuttle::thread::Builder;
        pub use shuttle::thread::{JoinHandle, current};
    } else {
        use std::thread::Builder;
        pub use std::thread::{JoinHandle, current};
    }
}

use crate::Errno;

/// Starts a thread. Signals are the program's business, on its own threads: also a write past
/// `RLIMIT_FSIZE` is then an error (`EFBIG`), not the end of the process.
///
/// `stack` is in bytes; without it the thread has as much as the program gives others.
///
/// # Errors
/// `EOPNOTSUPP` where there are no threads, as in a browser; `EAGAIN` where no more are to be had;
/// `EINVAL` for a name with a NUL in it.
pub fn start(
    name: &str,
    stack: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Errno> {
    if name.contains('\0') {
        return Err(Errno::INVAL);
    }
    let mut builder = Builder::new().name(name.to_owned());
    if let Some(stack) = stack {
        builder = builder.stack_size(stack);
    }
    let started = builder.spawn(move || {
        block_signals();
        body();
    });
    started.map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => Errno::OPNOTSUPP,
        _ => error.raw_os_error().map_or(Errno::AGAIN, Errno::from_raw),
    })
}

cfg_if::cfg_if! {
    if #[cfg(all(unix, not(littoral_model)))] {
        fn block_signals() {
            // SAFETY: the set is initialised by `sigfillset` before it is read; both calls take
            // pointers that live through them, and change this thread only.
            unsafe {
                let mut all = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
                libc::sigfillset(all.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), core::ptr::null_mut());
            }
        }
    } else {
        fn block_signals() {}
    }
}
