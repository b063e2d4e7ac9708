//! A descriptor for a foreign event loop to poll.
//!
//! One epoll descriptor joins what can make a step worth while: the ring's own descriptor, readable
//! while completions are in its queue; an eventfd for the news that no kernel knows of (something
//! was submitted, another thread delivered a result, completions that were made without the
//! kernel); and a timer for those who try again later. It stays readable until it was stepped for,
//! so loops that ask for levels and loops that ask for edges are both served: a step that leaves
//! something raises it anew.
//!
//! Why not an eventfd registered with the ring: the kernel would write to it for every completion,
//! also while nobody polls, and every step would have to read it. Being polled costs a ring
//! nothing until somebody waits.

// Its tests run where no descriptor is, too.
#[cfg(any(target_os = "linux", test))]
mod latch;
#[cfg(unix)]
mod ones;

#[cfg(unix)]
pub(crate) use ones::PolledOnes;

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod linux;
        pub use linux::Polled;
    } else {
        mod nowhere;
        pub use nowhere::Polled;
    }
}
