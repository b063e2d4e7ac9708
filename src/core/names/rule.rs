//! The one rule for names, on every platform.

use std::sync::Arc;

use littoral_platform::RESERVED;

use crate::{Error, ErrorKind, Operation};

/// Bytes of a name, and of one component of it.
const NAME_MAX: usize = 1024;
const COMPONENT_MAX: usize = 255;

/// What is wrong with one component.
pub(crate) fn broken(component: &str) -> Option<&'static str> {
    Some(if component.len() > COMPONENT_MAX {
        "a component has 255 bytes at most"
    } else if component.is_empty() {
        "a component is empty"
    } else if matches!(component, "." | "..") {
        "no component is `.` or `..`"
    } else if component.chars().any(|c| c.is_control() || c == '\\') {
        "a name has no control characters and no `\\`"
    } else if component.starts_with(RESERVED) {
        "no component begins with `.littoral-`, as those of temporary files do"
    } else {
        return None;
    })
}

/// A name that keeps the rule.
pub(crate) fn check_name(name: &str, operation: Operation) -> Result<Arc<str>, Error> {
    let what = if name.is_empty() {
        Some("it is empty")
    } else if name.len() > NAME_MAX {
        Some("a name has 1024 bytes at most")
    } else if name.starts_with('/') {
        Some("names are relative to the root, so none starts with `/`")
    } else {
        name.split('/').find_map(broken)
    };
    match what {
        None => Ok(name.into()),
        Some(what) => Err(Error::new(ErrorKind::InvalidInput, operation).on(name).because(what)),
    }
}

/// The name of a directory: also the root's, which is empty.
pub(crate) fn check_directory(name: &str, operation: Operation) -> Result<Arc<str>, Error> {
    if name.is_empty() { Ok(name.into()) } else { check_name(name, operation) }
}
