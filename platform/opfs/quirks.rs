//! What browsers do against the specification, and what is done about it. One function each; its
//! doc names the browser, the version in which it was seen, and the check that fails without it.

use crate::Errno;

/// A failed `read` or `write` comes back as a count: the browser's own error number, which is
/// negative, stored as an unsigned one (`4294967288` is -8, no space).
///
/// - Browser: Chromium 156, incognito windows; part of the bytes may have been written.
/// - Check: `negative_counts_are_file_errors`
pub(super) fn error_in_count(count: f64) -> Option<Errno> {
    const ABOVE_ANY: f64 = 4_294_967_296.0;
    const NEGATIVE_FROM: f64 = 2_147_483_648.0;
    let number = if count < 0.0 {
        count
    } else if (NEGATIVE_FROM..ABOVE_ANY).contains(&count) {
        count - ABOVE_ANY
    } else {
        return None;
    };
    // `base::File::Error` of Chromium, base/files/file.h. Casting saturates, NaN was sorted out.
    #[allow(clippy::cast_possible_truncation, reason = "saturates, and unlisted numbers are EIO")]
    Some(match number as i32 {
        -2 => Errno::BUSY,
        -3 => Errno::EXIST,
        -4 => Errno::NOENT,
        -5 | -11 => Errno::ACCES,
        -6 => Errno::MFILE,
        -7 => Errno::NOMEM,
        -8 => Errno::NOSPC,
        -9 => Errno::NOTDIR,
        -10 => Errno::INVAL,
        -13 => Errno::ISDIR,
        -14 => Errno::NOTEMPTY,
        _ => Errno::IO,
    })
}

/// A write that finds no room is not thrown but counted as nothing written.
///
/// - Browser: Firefox 153 over its quota; Firefox 153 and Chromium 156 on a full disk.
/// - Check: `nothing_written_is_no_space`
pub(super) fn nothing_written(count: usize, asked: usize) -> Result<usize, Errno> {
    if count == 0 && asked > 0 { Err(Errno::NOSPC) } else { Ok(count) }
}

/// A read that failed is counted as nothing read, which otherwise means the end of the file.
///
/// - Browser: Chromium 156 and Firefox 153, after a read error of the disk.
/// - Check: `nothing_read_before_the_end_is_an_error`
pub(super) fn nothing_read(at: u64, size: u64) -> Result<usize, Errno> {
    if at < size { Err(Errno::IO) } else { Ok(0) }
}

/// A `truncate` that found no room returns as if it had been done.
///
/// - Browser: Chromium 156, incognito windows.
/// - Check: `a_silent_truncate_is_found_out`
pub(super) fn truncated(asked: u64, before: u64, now: u64) -> Result<(), Errno> {
    if now == asked {
        Ok(())
    } else if asked > before {
        Err(Errno::NOSPC)
    } else {
        Err(Errno::IO)
    }
}

/// What is thrown where there is no room may be no `DOMException` but an object of the browser's
/// inside, named by its own error numbers.
///
/// - Browser: Firefox 153, `truncate` over the quota.
/// - Check: `names_of_firefox_insides`
pub(super) fn inside_name(name: &str) -> Option<Errno> {
    let inside = name.strip_prefix("NS_ERROR_")?;
    Some(match inside {
        "FILE_NO_DEVICE_SPACE" | "FILE_DISK_FULL" | "DOM_QUOTA_EXCEEDED_ERR" => Errno::NOSPC,
        "FILE_TOO_BIG" => Errno::FBIG,
        "FILE_NOT_FOUND" | "FILE_TARGET_DOES_NOT_EXIST" => Errno::NOENT,
        "FILE_ALREADY_EXISTS" => Errno::EXIST,
        "FILE_IS_DIRECTORY" => Errno::ISDIR,
        "FILE_NOT_DIRECTORY" | "FILE_DESTINATION_NOT_DIR" => Errno::NOTDIR,
        "FILE_DIR_NOT_EMPTY" => Errno::NOTEMPTY,
        "FILE_IS_LOCKED" => Errno::BUSY,
        "FILE_READ_ONLY" => Errno::ROFS,
        "FILE_ACCESS_DENIED" | "DOM_SECURITY_ERR" => Errno::ACCES,
        "FILE_NAME_TOO_LONG" => Errno::NAMETOOLONG,
        "OUT_OF_MEMORY" => Errno::NOMEM,
        _ => Errno::IO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_counts_are_file_errors() {
        assert_eq!(error_in_count(4_294_967_288.0), Some(Errno::NOSPC));
        assert_eq!(error_in_count(-8.0), Some(Errno::NOSPC));
        assert_eq!(error_in_count(4_294_967_295.0), Some(Errno::IO));
        assert_eq!(error_in_count(2_147_483_648.0), Some(Errno::IO));
        assert_eq!(error_in_count(f64::NEG_INFINITY), Some(Errno::IO));
        for none in [0.0, 1.0, 2_147_483_647.0, 4_294_967_296.0, f64::INFINITY, f64::NAN] {
            assert_eq!(error_in_count(none), None, "{none}");
        }
    }

    #[test]
    fn nothing_written_is_no_space() {
        assert_eq!(nothing_written(0, 1), Err(Errno::NOSPC));
        assert_eq!(nothing_written(1, 9), Ok(1));
        assert_eq!(nothing_written(0, 0), Ok(0));
    }

    #[test]
    fn nothing_read_before_the_end_is_an_error() {
        assert_eq!(nothing_read(9, 10), Err(Errno::IO));
        assert_eq!(nothing_read(10, 10), Ok(0));
        assert_eq!(nothing_read(11, 10), Ok(0));
    }

    #[test]
    fn a_silent_truncate_is_found_out() {
        assert_eq!(truncated(8, 4, 8), Ok(()));
        assert_eq!(truncated(8, 4, 4), Err(Errno::NOSPC));
        assert_eq!(truncated(2, 4, 4), Err(Errno::IO));
    }

    #[test]
    fn names_of_firefox_insides() {
        assert_eq!(inside_name("NS_ERROR_FILE_NO_DEVICE_SPACE"), Some(Errno::NOSPC));
        assert_eq!(inside_name("NS_ERROR_NEVER_HEARD_OF"), Some(Errno::IO));
        assert_eq!(inside_name("QuotaExceededError"), None);
    }

    /// Every quirk names its browser and a check that exists in this file.
    #[test]
    fn each_quirk_has_a_browser_and_a_check() {
        let source = include_str!("quirks.rs");
        let production = source.split("#[cfg(test)]").next().unwrap();
        let quirks = production.matches("\npub(super) fn ").count();
        assert!(quirks > 0);
        assert_eq!(production.matches("/// - Browser: ").count(), quirks);
        let checks: Vec<_> = production
            .split("/// - Check: `")
            .skip(1)
            .map(|s| s.split('`').next().unwrap())
            .collect();
        assert_eq!(checks.len(), quirks);
        for check in checks {
            assert!(source.contains(&format!("fn {check}()")), "{check} is gone");
        }
    }
}
