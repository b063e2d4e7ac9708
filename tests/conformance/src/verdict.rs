//! How a check says what is wrong, and how assertions are counted.

use core::cell::Cell;
use core::fmt;
use core::panic::Location;

thread_local! {
    /// Assertions since the check began. One check runs on one thread; what it asserts on others it
    /// brings home as a result.
    static ASSERTED: Cell<u64> = const { Cell::new(0) };
    /// Whether it asked for a ring that misbehaves, and had a plain one.
    static PARTIAL: Cell<bool> = const { Cell::new(false) };
}

/// Counts one assertion; used by the macros.
pub fn count() {
    ASSERTED.set(ASSERTED.get() + 1);
}

/// How many assertions there were since the last call.
pub(crate) fn take_count() -> u64 {
    ASSERTED.replace(0)
}

/// Notes that the check does only a part of its work on this ring.
pub(crate) fn missed_a_script() {
    PARTIAL.set(true);
}

/// How much was done since the last call.
pub(crate) fn take_extent() -> Extent {
    if PARTIAL.replace(false) { Extent::Part } else { Extent::Whole }
}

/// How much of a check was done where it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What can be done on a ring that cannot be made to misbehave.
    Part,
}

/// What a check ends with.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a check failed, and where.
#[derive(Clone, Debug)]
pub struct Failure {
    text: String,
    at: &'static Location<'static>,
}

impl Failure {
    /// A failure at the caller's place.
    #[track_caller]
    #[must_use]
    pub fn new(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), at: Location::caller() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.at.file().rsplit('/').next().unwrap_or_default();
        write!(f, "{} ({file}:{})", self.text, self.at.line())
    }
}

impl From<littoral::Error> for Failure {
    #[track_caller]
    fn from(error: littoral::Error) -> Failure {
        Failure::new(format!("unexpected error: {error}"))
    }
}

impl From<String> for Failure {
    #[track_caller]
    fn from(text: String) -> Failure {
        Failure::new(text)
    }
}

/// Asserts a condition; ends the check if it does not hold.
#[macro_export]
macro_rules! ensure {
    ($condition:expr $(,)?) => { $crate::ensure!($condition, "{}", stringify!($condition)) };
    ($condition:expr, $($text:tt)+) => {{
        $crate::count();
        if !$condition {
            return Err($crate::Failure::new(format!($($text)+)));
        }
    }};
}

/// Asserts that two values are equal.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr $(,)?) => {
        $crate::ensure_eq!($left, $right, "{}", stringify!($left))
    };
    ($left:expr, $right:expr, $($text:tt)+) => {{
        let (left, right) = (&$left, &$right);
        $crate::ensure!(*left == *right, "{}: {left:?} instead of {right:?}", format!($($text)+));
    }};
}

/// Asserts that a result is an error of one of these kinds, and gives the error.
#[macro_export]
macro_rules! ensure_kind {
    ($result:expr, $($kind:ident)|+ $(,)?) => {
        match $result {
            Err(error) => {
                let kind = error.kind();
                let expected = matches!(kind, $(littoral::ErrorKind::$kind)|+);
                $crate::ensure!(expected, "{} instead of {kind:?}: {error}",
                    stringify!($($kind)|+));
                error
            }
            Ok(_) => {
                $crate::count();
                let expected = stringify!($($kind)|+);
                return Err($crate::Failure::new(
                    format!("{expected} was expected, and it succeeded")));
            }
        }
    };
}

/// Asserts that two runs of bytes are equal; tells where they differ instead of printing both.
#[track_caller]
pub(crate) fn ensure_bytes(found: &[u8], expected: &[u8], what: &str) -> Outcome {
    count();
    if found == expected {
        return Ok(());
    }
    let differ = found.iter().zip(expected).position(|(a, b)| a != b);
    let at = differ.unwrap_or(found.len().min(expected.len()));
    Err(Failure::new(format!(
        "{what}: {} bytes instead of {}, different from byte {at}: {:?} instead of {:?}",
        found.len(),
        expected.len(),
        found.get(at),
        expected.get(at),
    )))
}
