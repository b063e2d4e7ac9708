//! The table and the transfers over a file that lives in memory and lies when told to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::table::{Entered, Table};
use super::transfer::{Access, OFFSET_MAX, STAGING_BYTES};
use crate::{Errno, FileKind, Handle, Op, OpenFlags, Span, Stat, SyncKind};

fn entered(writable: bool, ring: u64) -> Entered {
    Entered { writable, ring, ..Entered::default() }
}

/// What the next calls answer instead of the truth.
#[derive(Clone, Copy, Default)]
enum Lie {
    #[default]
    None,
    /// This count, nothing moved.
    Count(f64),
    /// At most so many bytes move.
    Short(usize),
    /// `truncate` does nothing.
    SilentTruncate,
    /// It throws.
    Throw(Errno),
}

#[derive(Default)]
struct Fake {
    bytes: RefCell<Vec<u8>>,
    lie: Cell<Lie>,
    /// Reads and writes so far.
    calls: Cell<usize>,
    flushes: Cell<usize>,
    closed: Cell<bool>,
}

impl Fake {
    /// How many of `len` bytes move, or what is answered instead.
    fn asked(&self, len: usize) -> Result<Result<usize, f64>, Errno> {
        assert!(!self.closed.get(), "a closed handle was called");
        self.calls.set(self.calls.get() + 1);
        match self.lie.get() {
            Lie::Count(count) => Ok(Err(count)),
            Lie::Short(most) => Ok(Ok(len.min(most))),
            Lie::Throw(errno) => Err(errno),
            Lie::None | Lie::SilentTruncate => Ok(Ok(len)),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a small file"
)]
impl Access for Rc<Fake> {
    unsafe fn read(&self, at: f64, into: *mut u8, len: usize) -> Result<f64, Errno> {
        let len = match self.asked(len)? {
            Ok(len) => len,
            Err(count) => return Ok(count),
        };
        let bytes = self.bytes.borrow();
        let rest = bytes.get(at as usize..).unwrap_or(&[]);
        let part = &rest[..rest.len().min(len)];
        // SAFETY: the caller's promise for `len` bytes, of which `part` is no more.
        unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), into, part.len()) };
        Ok(part.len() as f64)
    }

    unsafe fn write(&self, at: f64, from: *const u8, len: usize) -> Result<f64, Errno> {
        let len = match self.asked(len)? {
            Ok(len) => len,
            Err(count) => return Ok(count),
        };
        // SAFETY: the caller's promise.
        let part = unsafe { core::slice::from_raw_parts(from, len) };
        let (start, end) = (at as usize, at as usize + len);
        let mut bytes = self.bytes.borrow_mut();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(part);
        Ok(len as f64)
    }

    fn size(&self) -> Result<f64, Errno> {
        Ok(self.bytes.borrow().len() as f64)
    }

    fn truncate(&self, len: f64) -> Result<(), Errno> {
        match self.lie.get() {
            Lie::SilentTruncate => {}
            Lie::Throw(errno) => return Err(errno),
            _ => self.bytes.borrow_mut().resize(len as usize, 0),
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        self.flushes.set(self.flushes.get() + 1);
        match self.lie.get() {
            Lie::Throw(errno) => Err(errno),
            _ => Ok(()),
        }
    }

    fn close(self) -> Result<(), Errno> {
        assert!(!self.closed.replace(true), "closed twice");
        Ok(())
    }
}

/// One open file in a table of its own.
struct Bench {
    table: Table<Rc<Fake>>,
    fake: Rc<Fake>,
    file: Handle,
}

impl Bench {
    fn new() -> Self {
        let (mut table, fake) = (Table::default(), Rc::new(Fake::default()));
        let file = table.insert(Rc::clone(&fake), entered(true, 0)).ok().unwrap();
        Bench { table, fake, file }
    }

    fn call(&mut self, op: &Op) -> Result<u64, Errno> {
        // SAFETY: every test points to its own live buffers.
        unsafe { self.table.call(op) }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<u64, Errno> {
        let span = Span { ptr: bytes.as_ptr().cast_mut(), len: bytes.len() };
        self.call(&Op::Write { file: self.file, at, span })
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<u64, Errno> {
        let span = Span { ptr: into.as_mut_ptr(), len: into.len() };
        self.call(&Op::Read { file: self.file, at, span })
    }

    fn writev(&mut self, at: u64, parts: &[&[u8]]) -> Result<u64, Errno> {
        let spans: Vec<_> =
            parts.iter().map(|p| Span { ptr: p.as_ptr().cast_mut(), len: p.len() }).collect();
        let count = u32::try_from(spans.len()).unwrap();
        self.call(&Op::Writev { file: self.file, at, spans: spans.as_ptr(), count })
    }

    fn readv(&mut self, at: u64, parts: &mut [Vec<u8>]) -> Result<u64, Errno> {
        let spans: Vec<_> =
            parts.iter_mut().map(|p| Span { ptr: p.as_mut_ptr(), len: p.len() }).collect();
        let count = u32::try_from(spans.len()).unwrap();
        self.call(&Op::Readv { file: self.file, at, spans: spans.as_ptr(), count })
    }
}

#[test]
fn a_vector_is_one_call() {
    let mut bench = Bench::new();
    assert_eq!(bench.writev(2, &[b"ab", b"", b"cde", b"f"]), Ok(6));
    assert_eq!(bench.fake.calls.get(), 1);
    assert_eq!(*bench.fake.bytes.borrow(), b"\0\0abcdef");

    let mut parts = [vec![9; 3], vec![], vec![9; 1], vec![9; 9]];
    assert_eq!(bench.readv(1, &mut parts), Ok(7));
    assert_eq!(bench.fake.calls.get(), 2);
    assert_eq!(parts[0], b"\0ab");
    assert_eq!(parts[2], b"c");
    assert_eq!(parts[3], b"def\x09\x09\x09\x09\x09\x09", "what was not read is not touched");
}

#[test]
fn a_short_count_is_handed_on_and_not_resumed() {
    let mut bench = Bench::new();
    for most in 1..6 {
        bench.fake.bytes.borrow_mut().clear();
        bench.fake.calls.set(0);
        bench.fake.lie.set(Lie::Short(most));
        assert_eq!(bench.writev(0, &[b"abc", b"def"]), Ok(most as u64));
        assert_eq!(bench.fake.calls.get(), 1);
        assert_eq!(*bench.fake.bytes.borrow(), b"abcdef"[..most]);
        let mut parts = [vec![0; 2], vec![0; 4]];
        bench.fake.lie.set(Lie::None);
        assert_eq!(bench.readv(0, &mut parts), Ok(most as u64));
        assert_eq!(parts.concat()[..most], b"abcdef"[..most]);
    }
}

#[test]
fn a_vector_larger_than_the_area_is_short() {
    let mut bench = Bench::new();
    let (small, large) = (vec![1; 10], vec![2; STAGING_BYTES]);
    assert_eq!(bench.writev(0, &[&small, &large]), Ok(STAGING_BYTES as u64));
    assert_eq!(bench.fake.bytes.borrow()[..12], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);
    // A first span that fills a call goes without the copy.
    assert_eq!(bench.writev(0, &[&large, &small]), Ok(STAGING_BYTES as u64));
    let mut parts = [vec![0; STAGING_BYTES - 1], vec![0; 5]];
    assert_eq!(bench.readv(0, &mut parts), Ok(STAGING_BYTES as u64));
    assert_eq!(parts[1], [2, 0, 0, 0, 0]);
}

#[test]
fn nothing_to_move_is_no_call() {
    let mut bench = Bench::new();
    assert_eq!(bench.writev(5, &[]), Ok(0));
    assert_eq!(bench.writev(5, &[b"", b""]), Ok(0));
    assert_eq!(bench.write(5, b""), Ok(0));
    assert_eq!(bench.read(5, &mut []), Ok(0));
    assert_eq!(bench.readv(5, &mut [vec![]]), Ok(0));
    assert_eq!(bench.fake.calls.get(), 0);
}

#[test]
fn counts_that_lie_are_errors() {
    let mut bench = Bench::new();
    bench.write(0, b"0123456789").unwrap();
    let cases = [
        (4_294_967_288.0, Errno::NOSPC),
        (-8.0, Errno::NOSPC),
        (4_294_967_280.0, Errno::IO),
        (f64::NAN, Errno::IO),
        (5.0, Errno::IO),
        (0.5, Errno::IO),
    ];
    for (count, errno) in cases {
        bench.fake.lie.set(Lie::Count(count));
        assert_eq!(bench.write(0, b"abcd"), Err(errno), "{count}");
        assert_eq!(bench.writev(0, &[b"ab", b"cd"]), Err(errno), "{count}");
        assert_eq!(bench.read(0, &mut [0; 4]), Err(errno), "{count}");
        assert_eq!(bench.readv(0, &mut [vec![0; 2], vec![0; 2]]), Err(errno), "{count}");
    }
    bench.fake.lie.set(Lie::Count(0.0));
    assert_eq!(bench.write(0, b"abcd"), Err(Errno::NOSPC));
    assert_eq!(bench.read(9, &mut [0; 4]), Err(Errno::IO), "nothing read, and not at the end");
    assert_eq!(bench.read(10, &mut [0; 4]), Ok(0));
}

#[test]
fn what_is_thrown_comes_out() {
    let mut bench = Bench::new();
    bench.fake.lie.set(Lie::Throw(Errno::NOSPC));
    let file = bench.file;
    assert_eq!(bench.write(0, b"a"), Err(Errno::NOSPC));
    assert_eq!(bench.call(&Op::Truncate { file, len: 9 }), Err(Errno::NOSPC));
    assert_eq!(bench.call(&Op::Sync { file, kind: SyncKind::Data }), Err(Errno::NOSPC));
}

#[test]
fn truncate_cuts_grows_and_is_checked() {
    let mut bench = Bench::new();
    let file = bench.file;
    bench.write(0, b"abc").unwrap();
    assert_eq!(bench.call(&Op::Truncate { file, len: 5 }), Ok(0));
    assert_eq!(*bench.fake.bytes.borrow(), b"abc\0\0");
    assert_eq!(bench.call(&Op::Truncate { file, len: 1 }), Ok(0));
    assert_eq!(bench.call(&Op::Size { file }), Ok(1));
    bench.fake.lie.set(Lie::SilentTruncate);
    assert_eq!(bench.call(&Op::Truncate { file, len: 5 }), Err(Errno::NOSPC));
    assert_eq!(bench.call(&Op::Truncate { file, len: 0 }), Err(Errno::IO));
    assert_eq!(bench.call(&Op::Truncate { file, len: 1 }), Ok(0));
    assert_eq!(bench.call(&Op::Truncate { file, len: OFFSET_MAX + 1 }), Err(Errno::FBIG));
}

#[test]
fn offsets_end_before_two_to_the_53() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(OFFSET_MAX, b"a"), Err(Errno::FBIG));
    assert_eq!(bench.write(u64::MAX, b"a"), Err(Errno::FBIG));
    assert_eq!(bench.read(u64::MAX, &mut [0]), Err(Errno::FBIG));
    assert_eq!(bench.writev(OFFSET_MAX - 1, &[b"a", b"b"]), Err(Errno::FBIG));
    assert_eq!(bench.fake.calls.get(), 0);
    assert_eq!(bench.read(OFFSET_MAX - 1, &mut [0]), Ok(0));
}

#[test]
fn a_file_opened_for_reading_is_not_changed() {
    let mut bench = Bench::new();
    bench.write(0, b"abc").unwrap();
    let fake = Rc::clone(&bench.fake);
    bench.table.close_all_of(0);
    assert!(fake.closed.replace(false));
    let file = bench.table.insert(Rc::clone(&fake), entered(false, 0)).ok().unwrap();
    bench.file = file;
    assert_eq!(bench.write(0, b"x"), Err(Errno::BADF));
    assert_eq!(bench.writev(0, &[b"x", b"y"]), Err(Errno::BADF));
    assert_eq!(bench.call(&Op::Truncate { file, len: 0 }), Err(Errno::BADF));
    assert_eq!(bench.read(0, &mut [0; 3]), Ok(3));
    assert_eq!(bench.call(&Op::Sync { file, kind: SyncKind::Full }), Ok(0));
    assert_eq!(fake.flushes.get(), 1);
    assert_eq!(*fake.bytes.borrow(), b"abc");
}

#[test]
fn handles_are_places() {
    let mut bench = Bench::new();
    let first = bench.file;
    let other = Rc::new(Fake::default());
    let temporary = Some(".littoral-1".to_owned());
    let temporary = Entered { identity: (1, 2), temporary, ..entered(true, 7) };
    let second = bench.table.insert(Rc::clone(&other), temporary).ok().unwrap();
    let mut stats = [Stat::default(); 2];
    assert_eq!(bench.call(&Op::Stat { file: first, stat: &raw mut stats[0] }), Ok(0));
    assert_eq!(bench.call(&Op::Stat { file: second, stat: &raw mut stats[1] }), Ok(0));
    assert_eq!(stats.map(|stat| stat.identity), [(0, 0), (1, 2)]);
    assert_eq!(stats[0].kind, FileKind::File);

    assert_eq!(bench.table.take_temporary(first), None);
    assert_eq!(bench.table.close_all_of(7), [".littoral-1"]);
    assert_eq!(bench.table.take_temporary(second), None);
    assert!(other.closed.get() && !bench.fake.closed.get());
    assert_eq!(bench.call(&Op::Size { file: second }), Err(Errno::BADF));
    assert_eq!(bench.call(&Op::Close { file: second }), Err(Errno::BADF));
    assert_eq!(bench.call(&Op::Close { file: first }), Ok(0));
    assert_eq!(bench.write(0, b"x"), Err(Errno::BADF));
    assert_eq!(bench.call(&Op::Size { file: Handle(u32::MAX) }), Err(Errno::BADF));

    let third = bench.table.insert(Rc::default(), entered(true, 0)).ok().unwrap();
    assert!(third == first || third == second, "a free place is used again");
}

#[test]
fn names_need_the_host() {
    let mut bench = Bench::new();
    let name = crate::Name { ptr: c"x".as_ptr().cast(), len: 1 };
    assert_eq!(bench.call(&Op::Remove { name }), Err(Errno::AGAIN));
    assert_eq!(
        bench.call(&Op::Open { name, flags: OpenFlags::WRITE, mode: 0o644 }),
        Err(Errno::AGAIN)
    );
}
