//! What entries are made of: tags, handles, and where memory and names are.

/// Names an entry from push to reap. The engine packs a slot and its generation into it, never a
/// pointer, so that a late or stale completion is recognised and not followed.
///
/// `u64::MAX` and `u64::MAX - 1` are the rings' own, for entries that they make themselves; no
/// pushed entry may carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// An open file as the platform knows it: a descriptor, or an index into a table of access handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub u32);

/// Memory that a ring may be told of ahead, so that it need not look at it for each entry: the id
/// of one piece of one arena, which no other piece in the process has at the same time. Whether a
/// ring knows it changes what an entry costs, never what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region(pub u32);

impl Region {
    /// Memory that no ring is told of.
    pub const NONE: Region = Region(u32::MAX);
    /// Bytes of the largest one: what the kernel takes in one piece.
    pub const BYTES_MAX: usize = 1 << 30;
}

/// A run of memory. Laid out as the kernel's `iovec`, so that an array of spans is one of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    /// The first byte.
    pub ptr: *mut u8,
    /// How many bytes.
    pub len: usize,
}

// SAFETY: a span is an address and a length; who may touch the bytes is decided by the owner of the
// memory, and by the promise of `Ring::push`.
unsafe impl Send for Span {}
// SAFETY: as above; sharing the two numbers shares no access to the bytes.
unsafe impl Sync for Span {}

/// Names of which a part begins like this are the platform's own.
pub const RESERVED: &str = ".littoral-";

/// A name below the driver's root (`.` is the root itself), as UTF-8 followed by a NUL that `len`
/// does not count.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The first byte.
    pub ptr: *const u8,
    /// Bytes before the NUL.
    pub len: usize,
}

// SAFETY: as for `Span`: two numbers, whose memory the pusher keeps alive until the completion.
unsafe impl Send for Name {}
// SAFETY: as above.
unsafe impl Sync for Name {}

impl Name {
    /// The name as text.
    ///
    /// # Safety
    /// `ptr` must point to `len` bytes of UTF-8 that stay alive and unchanged for `'a`.
    #[must_use]
    pub unsafe fn as_str<'a>(self) -> &'a str {
        // SAFETY: the caller's promise.
        unsafe { core::str::from_utf8_unchecked(core::slice::from_raw_parts(self.ptr, self.len)) }
    }
}
