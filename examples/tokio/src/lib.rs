//! How tokio drives littoral.
#![forbid(unsafe_code)]

use std::io;

use littoral::Poller;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Steps whenever the driver's descriptor is readable, until the driver is gone.
///
/// Tokio asks for edges: it is told once when a descriptor becomes readable, and believes that it
/// stays so until it is told to forget. Whatever comes after the step has begun is a new edge.
///
/// # Errors
/// The runtime has no reactor, or it ends.
pub async fn drive(poller: Poller) -> io::Result<()> {
    #[expect(deprecated, reason = "the unsafe one is for descriptors that change; this one cannot")]
    let poller = AsyncFd::with_interest(poller, Interest::READABLE)?;
    loop {
        let mut ready = poller.readable().await?;
        if poller.get_ref().step().is_none() {
            return Ok(());
        }
        ready.clear_ready();
    }
}
