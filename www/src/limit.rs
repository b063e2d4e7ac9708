//! An end for what may never end.

use std::pin::pin;
use std::task::Poll;

use crate::opfs;

/// A check that takes longer hangs.
pub(crate) const SECONDS_MAX: i32 = 30;

/// What the future comes to, or that it hangs.
pub(crate) async fn within_limit<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut tried = pin!(future);
    let mut over = pin!(opfs::pause(SECONDS_MAX * 1000));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = tried.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        let hangs = || Err(format!("it hangs: no end within {SECONDS_MAX} s"));
        over.as_mut().poll(context).map(|()| hangs())
    })
    .await
}
