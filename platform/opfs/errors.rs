//! From what a browser throws or counts to an [`Errno`].
//!
//! An exception is told by its `name`, a string that the specifications fix; its message is prose
//! and differs. A quota that is used up and a disk that is full are both `ENOSPC`: the browsers
//! report either one as the other, so that telling them apart would be guessing.

use super::quirks;
use crate::Errno;

/// What was called when it threw: the same name means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A folder on the way to the last part of a name.
    Folder,
    /// The last part of a name.
    Leaf,
    /// An access handle that is open.
    Open,
}

/// The number for an exception's name; [`Errno::IO`] for one that nobody heard of.
pub(super) fn by_name(name: &str, place: Place) -> Errno {
    match name {
        "NotFoundError" => Errno::NOENT,
        "TypeMismatchError" if place == Place::Folder => Errno::NOTDIR,
        "TypeMismatchError" => Errno::ISDIR,
        "NoModificationAllowedError" => Errno::BUSY,
        // `removeEntry` of a folder with something in it.
        "InvalidModificationError" => Errno::NOTEMPTY,
        "QuotaExceededError" => Errno::NOSPC,
        "SecurityError" | "NotAllowedError" => Errno::ACCES,
        "NotSupportedError" => Errno::OPNOTSUPP,
        "TimeoutError" => Errno::TIMEDOUT,
        // A name that no file can have; an offset that is no number. Not a call of a method that
        // is missing: what there is was probed when the ring was made.
        "TypeError" | "RangeError" | "SyntaxError" => Errno::INVAL,
        // `InvalidStateError` says that the handle is closed. The table calls open ones only, so
        // the browser closed it by itself (its storage was cleared) or means a failed disk; as do
        // `NotReadableError`, `UnknownError`, `OperationError` and `AbortError`.
        _ => quirks::inside_name(name).unwrap_or(Errno::IO),
    }
}

/// The bytes that a call moved, of those it was asked to.
///
/// Never more than `asked`: what a browser returns is a number of any kind, and a number that no
/// transfer can have moved is an error.
pub(super) fn count(raw: f64, asked: usize) -> Result<usize, Errno> {
    // `raw` is exact: below 2^53 by the comparison, since `asked` is at most `BYTES_PER_CALL`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number between 0 and a usize that f64 holds exactly"
    )]
    if raw >= 0.0 && raw <= asked as f64 && raw.fract() == 0.0 {
        return Ok(raw as usize);
    }
    Err(quirks::error_in_count(raw).unwrap_or(Errno::IO))
}

/// A size in bytes.
pub(super) fn size(raw: f64) -> Result<u64, Errno> {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number between 0 and 2^53 - 1"
    )]
    if raw >= 0.0 && raw <= super::transfer::OFFSET_MAX as f64 && raw.fract() == 0.0 {
        return Ok(raw as u64);
    }
    Err(quirks::error_in_count(raw).unwrap_or(Errno::IO))
}

/// The number for whatever was thrown: a `DOMException`, an `Error`, an object of the browser's
/// inside, or a value without any name.
#[cfg(target_arch = "wasm32")]
pub(super) fn thrown(value: &wasm_bindgen::JsValue, place: Place) -> Errno {
    // Reading a property runs the object's own code, which may throw in turn.
    js_sys::Reflect::get(value, &wasm_bindgen::JsValue::from_str("name"))
        .ok()
        .and_then(|name| name.as_string())
        .map_or(Errno::IO, |name| by_name(&name, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_the_place_makes_them() {
        let table = [
            ("NotFoundError", Place::Leaf, Errno::NOENT),
            ("TypeMismatchError", Place::Leaf, Errno::ISDIR),
            ("TypeMismatchError", Place::Folder, Errno::NOTDIR),
            ("NoModificationAllowedError", Place::Leaf, Errno::BUSY),
            ("InvalidModificationError", Place::Leaf, Errno::NOTEMPTY),
            ("QuotaExceededError", Place::Open, Errno::NOSPC),
            ("NS_ERROR_FILE_NO_DEVICE_SPACE", Place::Open, Errno::NOSPC),
            ("SecurityError", Place::Folder, Errno::ACCES),
            ("TypeError", Place::Leaf, Errno::INVAL),
            ("InvalidStateError", Place::Open, Errno::IO),
            ("", Place::Open, Errno::IO),
        ];
        for (name, place, errno) in table {
            assert_eq!(by_name(name, place), errno, "{name} at {place:?}");
        }
    }

    #[test]
    fn counts_that_cannot_be_are_errors() {
        assert_eq!(count(0.0, 10), Ok(0));
        assert_eq!(count(-0.0, 10), Ok(0));
        assert_eq!(count(10.0, 10), Ok(10));
        assert_eq!(count(11.0, 10), Err(Errno::IO));
        assert_eq!(count(2.5, 10), Err(Errno::IO));
        assert_eq!(count(f64::NAN, 10), Err(Errno::IO));
        assert_eq!(count(f64::INFINITY, 10), Err(Errno::IO));
        assert_eq!(count(4_294_967_288.0, 10), Err(Errno::NOSPC));
        assert_eq!(count(-8.0, 10), Err(Errno::NOSPC));
    }

    #[test]
    fn sizes_end_at_two_to_the_53() {
        assert_eq!(size(0.0), Ok(0));
        assert_eq!(size(9_007_199_254_740_991.0), Ok((1 << 53) - 1));
        assert_eq!(size(9_007_199_254_740_992.0), Err(Errno::IO));
        assert_eq!(size(-1.0), Err(Errno::IO));
        assert_eq!(size(f64::NAN), Err(Errno::IO));
    }
}
