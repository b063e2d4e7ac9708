//! OPFS, the browser's own files, in a dedicated worker.
//!
//! A browser gives a worker *access handles*: `read`, `write`, `getSize`, `truncate`, `flush` and
//! `close` on one open file, each a plain call that is done when it returns. What concerns a name
//! (open, remove, rename, list) is a promise, and a promise is settled only after the worker went
//! back to its event loop: *the host's turn*. So this ring has two kinds of entries:
//!
//! - on an open file: executed inside `submit`, delivered by `reap`;
//! - on a name: started by `submit`, finished on some later turn, which queues the completion and
//!   asks for one call of the `turn` that was given to `on_turn`. That call is a task of its own:
//!   results of several promises are gathered into one, and it never runs inside a microtask, where
//!   a loop of callbacks would starve the worker's messages.
//!
//! # Why a table
//!
//! The handles are objects of JavaScript and belong to one worker. They stay in a thread-local
//! [`table`], and everything that leaves this module (entries, completions, the ring itself) is
//! plain data that names a place in it. That makes `Send` honest instead of asserted.
//!
//! # Why staging
//!
//! A call costs what some hundred kilobytes cost, so a vector must become one call, and the call
//! takes one run of memory: the spans are copied through one area of bounded size. A vector that is
//! larger than it is answered with a short count, and goes on from there like every other one. One
//! span alone is handed over where it lies.
//!
//! # Where a line lives
//!
//! | file | what | tested |
//! |---|---|---|
//! | [`transfer`] | one entry = one call of an access handle, or staging and one call | natively |
//! | [`table`] | handles by number, data operations by [`Op`](crate::Op) | natively |
//! | [`errors`] | thrown values and counts to [`Errno`](crate::Errno) | natively |
//! | [`path`] | the identity of a file, by its path | natively |
//! | [`quirks`] | what a browser does against the specification | natively |
//! | `access` | an access handle, by web-sys | in browsers |
//! | `errand` | an entry on a name, by name and in plain data | in browsers |
//! | `names` | open, remove, rename, directories: the promises | in browsers |
//! | `mark` | the Web Lock beside an access handle | in browsers |
//! | `host` | turns, the root folder: the worker's side of a ring | in browsers |
//! | `ring` | [`Opfs`] | in browsers |

mod errors;
mod path;
mod quirks;
mod table;
#[cfg(test)]
mod tests;
mod transfer;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "wasm32")] {
        #[cfg(target_feature = "atomics")]
        compile_error!(
            "littoral does not support wasm with atomics yet: its access handles belong to one \
             worker, and memory shared between workers would let a ring leave it"
        );

        mod access;
        mod errand;
        mod host;
        mod mark;
        mod names;
        mod ring;

        pub use ring::Opfs;
    }
}
