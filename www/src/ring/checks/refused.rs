//! A window in which the browser has no files for anybody: the private ones of Firefox and Safari.

use littoral::{Config, ErrorKind, OpenOptions, start};
use littoral_platform::Errno;

use super::{CREATE, Outcome, driver, same};

/// The refusal comes with the first name, as an error of the operation that has it.
pub(super) async fn a_refusal_is_no_access() -> Outcome {
    let mut d = driver();
    same("open", d.open("a", CREATE).await, Err(Errno::ACCES))?;
    same("remove", d.remove("a").await, Err(Errno::ACCES))?;
    let io = start(Config::new()).map_err(|error| format!("start: {error}"))?;
    let opened = io.open("a", OpenOptions::new().create(true)).await;
    let kind = opened.err().map(|error| error.kind());
    same("open by the driver", kind, Some(ErrorKind::PermissionDenied))
}
