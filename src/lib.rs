//! littoral.
