//! Memory that lives as long as the process, so that no ring outlives it.

/// Pages that are neighbours in memory, each aligned to 4 KiB as direct I/O wants it. They are
/// leaked.
pub fn neighbours(count: usize, bytes: usize) -> impl Iterator<Item = &'static mut [u8]> {
    const ALIGNMENT: usize = 4096;
    let memory = vec![0; count * bytes + ALIGNMENT].leak();
    let skipped = memory.as_ptr().align_offset(ALIGNMENT);
    memory[skipped..].chunks_exact_mut(bytes).take(count)
}

/// As [`neighbours`], but each from an allocation of its own.
pub fn apart(count: usize, bytes: usize) -> impl Iterator<Item = &'static mut [u8]> {
    (0..count).flat_map(move |_| neighbours(1, bytes))
}
