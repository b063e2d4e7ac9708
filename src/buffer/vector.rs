//! The argument of a vectored write.

use super::Shared;

/// A list of [`Shared`] buffers, written one behind the other.
///
/// ```
/// use littoral::{Shared, Vector};
/// let mut frames = Vector::new();
/// frames.push(b"header");
/// frames.push(vec![0; 4096]);
/// assert_eq!((frames.parts().len(), frames.bytes()), (2, 4102));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Vector {
    parts: Vec<Shared>,
    bytes: u64,
}

impl Vector {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Vector {
        Vector { parts: Vec::new(), bytes: 0 }
    }

    /// Room for that many buffers.
    #[must_use]
    pub fn with_capacity(parts: usize) -> Vector {
        Vector { parts: Vec::with_capacity(parts), bytes: 0 }
    }

    /// Appends a buffer.
    pub fn push(&mut self, part: impl Into<Shared>) {
        let part = part.into();
        self.bytes += part.len() as u64;
        self.parts.push(part);
    }

    /// The buffers, in order.
    #[must_use]
    pub fn parts(&self) -> &[Shared] {
        &self.parts
    }

    /// Their bytes together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl From<Vec<Shared>> for Vector {
    fn from(parts: Vec<Shared>) -> Vector {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        Vector { parts, bytes }
    }
}

impl From<Shared> for Vector {
    fn from(part: Shared) -> Vector {
        Vector::from(vec![part])
    }
}

impl<T: Into<Shared>> FromIterator<T> for Vector {
    fn from_iter<I: IntoIterator<Item = T>>(parts: I) -> Vector {
        Vector::from(parts.into_iter().map(Into::into).collect::<Vec<_>>())
    }
}

impl<T: Into<Shared>> Extend<T> for Vector {
    fn extend<I: IntoIterator<Item = T>>(&mut self, parts: I) {
        for part in parts {
            self.push(part);
        }
    }
}
