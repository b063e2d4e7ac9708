//! The pool of threads.
