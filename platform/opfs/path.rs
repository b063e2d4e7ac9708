//! The path of a file below the origin's root, which is all that tells it from others.

/// The parts of a root and a name (`.` is the root itself), in order.
pub(super) fn parts<'a>(root: Option<&'a str>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let root = root.into_iter().flat_map(|root| root.split('/'));
    root.chain(name.split('/')).filter(|part| !part.is_empty() && *part != ".")
}

/// A file's identity: 128 bits of FNV-1a over its path, with a slash before each part. The same in
/// every tab and after every restart. A hash that can be forged by whoever chooses names: those
/// who share an origin share its files anyway, and no file is ever opened by it.
pub(super) fn identity(root: Option<&str>, name: &str) -> (u64, u64) {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = parts(root, name).flat_map(|part| [b"/", part.as_bytes()].concat());
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
    ((hash >> 64) as u64, hash as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_whatever_root() {
        assert_eq!(identity(Some("a/b"), "c"), identity(Some("/a/"), "b/c"));
        assert_eq!(identity(None, "a/b/c"), identity(Some("a"), "b/c"));
        assert_eq!(identity(Some("a"), "."), identity(None, "a"));
        assert_ne!(identity(None, "ab/c"), identity(None, "a/bc"));
        assert_ne!(identity(None, "a"), identity(None, "b"));
        // Computed elsewhere: it is to be the same in every version of this crate.
        assert_eq!(identity(None, "a"), (0x0880_948e_deab_1be9, 0x5aa0_7330_5546_ddad));
    }
}
