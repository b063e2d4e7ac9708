//! Direct I/O: a second descriptor of a file, past the page cache, and what it asks for.
//!
//! The descriptor is opened by way of `/proc/self/fd`, so that it is of the same file whatever
//! became of the name, and whether there is one. What it asks for is told
//!
//! 1. by the kernel (`statx`, since Linux 6.1), of this very file;
//! 2. where it does not tell, by the logical block of the device below (`/sys/dev/block`), or by
//!    the file system's block, which is a multiple of that; a file that has bytes is then read
//!    once, and the larger one holds if the smaller one is refused.
//!
//! A file system in memory takes the flag since Linux 6.6, and goes on as before. There is nothing
//! to go past, so it counts as one without direct I/O, as on older kernels.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::{Errno, Geometry};

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        pub(super) use linux::{geometry, open};
    } else {
        /// Elsewhere it is another thing, or nothing.
        pub(super) fn open(_: BorrowedFd<'_>, _: bool) -> Result<(OwnedFd, Geometry), Errno> {
            Err(Errno::OPNOTSUPP)
        }

        pub(super) fn geometry(_: BorrowedFd<'_>) -> Result<Geometry, Errno> {
            Err(Errno::OPNOTSUPP)
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::os::fd::{AsRawFd, IntoRawFd as _};

    use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
    use rustix::io;

    use super::super::errno;
    use super::{BorrowedFd, Errno, Geometry, OwnedFd};
    use crate::GeometrySource;

    /// `STATX_WRITE_ATOMIC` (Linux 6.11) and `STATX_DIO_READ_ALIGN` (6.14), from linux/stat.h.
    const WRITE_ATOMIC: StatxFlags = StatxFlags::from_bits_retain(0x1_0000);
    const DIO_READ_ALIGN: StatxFlags = StatxFlags::from_bits_retain(0x2_0000);

    /// File systems in memory: tmpfs and ramfs, from linux/magic.h.
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

    /// Logical blocks as they are found; what is said to be larger is a wish, not a need.
    const UNIT_MIN: u32 = 512;
    const UNIT_MAX: u32 = 4096;

    pub(in super::super) fn open(
        file: BorrowedFd<'_>,
        write: bool,
    ) -> Result<(OwnedFd, Geometry), Errno> {
        let geometry = geometry(file)?;
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let opened =
            rustix::fs::open(path, access | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty());
        let direct = opened.map_err(|error| match error {
            // Without `/proc` there is no way to it.
            io::Errno::NOENT => Errno::OPNOTSUPP,
            error => errno(error),
        })?;
        if geometry.source == GeometrySource::Kernel {
            return Ok((direct, geometry));
        }
        match tried(&direct, geometry) {
            Ok(geometry) => Ok((direct, geometry)),
            Err(code) => {
                // As every descriptor of a file; there is nobody to tell how it went.
                let _ = super::super::sharing::close(direct.into_raw_fd());
                Err(code)
            }
        }
    }

    pub(in super::super) fn geometry(file: BorrowedFd<'_>) -> Result<Geometry, Errno> {
        let wanted = StatxFlags::DIOALIGN | WRITE_ATOMIC | DIO_READ_ALIGN;
        let asked = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted);
        match asked {
            Ok(found) if found.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => told(&found),
            Err(error) if error != io::Errno::NOSYS => Err(errno(error)),
            _ => derived(file),
        }
    }

    /// What the kernel says of this file.
    fn told(found: &rustix::fs::Statx) -> Result<Geometry, Errno> {
        let (memory, offset) = (found.stx_dio_mem_align, found.stx_dio_offset_align);
        if memory == 0 || offset == 0 {
            // Not this file: it is encrypted, compressed, journalled with its data, …
            return Err(Errno::OPNOTSUPP);
        }
        let has = |flag: StatxFlags, value: u32| {
            if found.stx_mask & flag.bits() != 0 { value } else { 0 }
        };
        let read_offset = has(DIO_READ_ALIGN, found.stx_dio_read_offset_align);
        let geometry = Geometry {
            memory,
            offset,
            read_offset: if read_offset == 0 { offset } else { read_offset },
            atomic_min: has(WRITE_ATOMIC, found.stx_atomic_write_unit_min),
            atomic_max: has(WRITE_ATOMIC, found.stx_atomic_write_unit_max),
            optimal: found.stx_blksize,
            source: GeometrySource::Kernel,
        };
        let aligns = [geometry.memory, geometry.offset, geometry.read_offset];
        if aligns.iter().all(|align| align.is_power_of_two()) {
            Ok(geometry)
        } else {
            Err(Errno::OPNOTSUPP)
        }
    }

    /// What is known without the kernel's word.
    pub(super) fn derived(file: BorrowedFd<'_>) -> Result<Geometry, Errno> {
        let system = rustix::fs::fstatfs(file).map_err(errno)?;
        let of_system = i128::from(system.f_type);
        if IN_MEMORY.iter().any(|known| i128::from(*known) == of_system) {
            return Err(Errno::OPNOTSUPP);
        }
        let stat = rustix::fs::fstat(file).map_err(errno)?;
        #[allow(clippy::useless_conversion, reason = "systems differ in types")]
        let optimal = u32::try_from(stat.st_blksize).unwrap_or(UNIT_MAX);
        if let Some(unit) = logical_block(stat.st_dev) {
            return Ok(Geometry { optimal, ..Geometry::uniform(unit, GeometrySource::Device) });
        }
        #[allow(clippy::useless_conversion, reason = "systems differ in types")]
        let block = u32::try_from(system.f_bsize).unwrap_or(UNIT_MAX);
        let unit = unit(block).unwrap_or(UNIT_MAX);
        Ok(Geometry { optimal, ..Geometry::uniform(unit, GeometrySource::FileSystem) })
    }

    /// The logical block of a device, whose folder is that of the disk or, of a partition, below.
    fn logical_block(device: u64) -> Option<u32> {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let of = |folder: &str| {
            let path = format!("/sys/dev/block/{major}:{minor}/{folder}queue/logical_block_size");
            std::fs::read_to_string(path).ok()
        };
        unit(of("").or_else(|| of("../"))?.trim().parse().ok()?)
    }

    /// As an alignment, if it can be one.
    fn unit(block: u32) -> Option<u32> {
        (block.is_power_of_two() && block >= UNIT_MIN).then(|| block.min(UNIT_MAX))
    }

    /// Reads once as the geometry says: where that is refused a whole page is asked for.
    fn tried(direct: &OwnedFd, geometry: Geometry) -> Result<Geometry, Errno> {
        #[repr(align(4096))]
        struct Page([u8; UNIT_MAX as usize]);
        let mut page = Page([0; UNIT_MAX as usize]);
        for unit in [geometry.offset, UNIT_MAX] {
            let read = io::pread(direct, &mut page.0[..unit as usize], 0);
            // An empty file, or one that cannot be read, proves nothing against it.
            if read != Err(io::Errno::INVAL) {
                let optimal = geometry.optimal;
                return Ok(Geometry { optimal, ..Geometry::uniform(unit, geometry.source) });
            }
        }
        Err(Errno::INVAL)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::linux::derived;
    use super::{geometry, open};
    use crate::{Errno, GeometrySource};

    /// On the file system of the build, which is a disk's: `/tmp` may be in memory. Another one is
    /// named where the program runs elsewhere than it was built.
    fn file() -> std::fs::File {
        let place = std::env::var_os("LITTORAL_TEST_PLACE");
        let place = place.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        tempfile::tempfile_in(place).expect("a file")
    }

    #[test]
    fn older_means_agree_with_the_kernel() {
        let file = file();
        file.write_all_at(&[7; 8192], 0).unwrap();
        let Ok(told) = geometry(file.as_fd()) else { return };
        let derived = derived(file.as_fd()).unwrap();
        assert!(derived.offset >= told.offset, "{derived:?} must do where {told:?} is asked for");
        assert!(derived.memory >= told.memory, "{derived:?} must do where {told:?} is asked for");
        let (direct, agreed) = open(file.as_fd(), true).unwrap();
        let unit = agreed.offset as usize;
        // Twice what is needed, so that an aligned part is in it.
        let mut memory = vec![0; 2 * 4096 + unit];
        let start = memory.as_ptr().align_offset(4096);
        let span = &mut memory[start..start + unit];
        assert_eq!(rustix::io::pread(&direct, &mut *span, 0), Ok(unit));
        assert!(span.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_file_in_memory_has_none() {
        let Ok(file) = tempfile::tempfile_in("/dev/shm") else { return };
        let kind = rustix::fs::fstatfs(&file).unwrap().f_type;
        if kind == 0x0102_1994 {
            assert_eq!(geometry(file.as_fd()), Err(Errno::OPNOTSUPP));
            assert_eq!(open(file.as_fd(), true).map(drop), Err(Errno::OPNOTSUPP));
        } else {
            assert!(geometry(file.as_fd()).is_ok_and(|g| g.source != GeometrySource::Nothing));
        }
    }
}
