//! The argument of a vectored write.

use std::sync::Arc;

use super::Shared;

/// A list of [`Shared`] buffers, written one behind the other.
///
/// A clone shares the list until one of the two is changed. So a list can be used for one write
/// after another without allocating: write a clone of it, and when the write has ended,
/// [`clear`](Vector::clear) it and push the next buffers.
///
/// ```
/// use littoral::{Shared, Vector};
/// let mut frames = Vector::new();
/// frames.push(b"header");
/// frames.push(vec![0; 4096]);
/// let borrowed = [1, 2, 3];
/// frames.push_copy(&borrowed[..2]);
/// assert_eq!((frames.parts().len(), frames.bytes()), (3, 4104));
///
/// // The list's memory serves one write after another.
/// let written = frames.clone();
/// drop(written);
/// frames.clear();
/// assert_eq!(frames.bytes(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Vector {
    parts: Arc<Vec<Shared>>,
    bytes: u64,
}

impl Vector {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Vector {
        Vector::default()
    }

    /// Room for that many buffers.
    #[must_use]
    pub fn with_capacity(parts: usize) -> Vector {
        Vector { parts: Arc::new(Vec::with_capacity(parts)), bytes: 0 }
    }

    /// Appends a buffer.
    pub fn push(&mut self, part: impl Into<Shared>) {
        let part = part.into();
        self.bytes += part.len() as u64;
        Arc::make_mut(&mut self.parts).push(part);
    }

    /// Appends a copy of borrowed bytes.
    pub fn push_copy(&mut self, bytes: &[u8]) {
        self.push(Shared::copied(bytes));
    }

    /// Lets go of the buffers. The list's memory is kept for the next ones, unless a write still
    /// has it.
    pub fn clear(&mut self) {
        self.bytes = 0;
        match Arc::get_mut(&mut self.parts) {
            Some(parts) => parts.clear(),
            None => self.parts = Arc::default(),
        }
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
        Vector { parts: Arc::new(parts), bytes }
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
