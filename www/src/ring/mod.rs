//! The platform's ring by itself, driven from `async` code.

pub(crate) mod checks;
pub(crate) mod costs;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use littoral_platform::{
    Cqe, Direct, Doorbell, Errno, Handle, Name, Native, Op, OpenFlags, Ring, Setup, Span, Sqe, Tag,
};

/// Submits one operation at a time or several, and waits for turns of the host.
pub(crate) struct Driver {
    pub(crate) ring: Native,
    next: u64,
    early: HashMap<Tag, Result<u64, Errno>>,
    turn: Arc<Mutex<Turn>>,
}

#[derive(Default)]
struct Turn {
    count: u32,
    waker: Option<Waker>,
}

impl Driver {
    pub(crate) fn new(root: Option<&str>) -> Self {
        Self::with(&Setup { root: root.map(Into::into), in_flight: 512 })
    }

    pub(crate) fn with(setup: &Setup) -> Self {
        let mut ring = Native::new(setup).unwrap_or_else(|e| panic!("{}: {}", e.what, e.code));
        let turn = Arc::new(Mutex::new(Turn::default()));
        let heard = Arc::clone(&turn);
        ring.on_turn(Box::new(move || {
            let mut turn = heard.lock().unwrap();
            turn.count += 1;
            if let Some(waker) = turn.waker.take() {
                waker.wake();
            }
        }));
        Driver { ring, next: 0, early: HashMap::new(), turn }
    }

    /// Turns of the host so far.
    pub(crate) fn turns(&self) -> u32 {
        self.turn.lock().unwrap().count
    }

    /// The next turn of the host.
    pub(crate) async fn turn(&self) {
        let before = self.turns();
        std::future::poll_fn(|context| {
            let mut turn = self.turn.lock().unwrap();
            if turn.count != before {
                return Poll::Ready(());
            }
            turn.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Hands an entry in.
    ///
    /// # Safety
    /// What it points to lives until its tag was reaped.
    pub(crate) unsafe fn push(&mut self, op: Op) -> Tag {
        let tag = Tag(self.next);
        self.next += 1;
        // SAFETY: the caller's promise.
        unsafe { self.ring.push(&Sqe::new(tag, op)) }.expect("room in the ring");
        tag
    }

    /// Submits, and waits for one tag.
    pub(crate) async fn finish(&mut self, tag: Tag) -> Result<u64, Errno> {
        self.ring.submit().expect("a ring that takes entries");
        loop {
            while let Some(Cqe { tag, result }) = self.ring.reap() {
                assert!(self.early.insert(tag, result).is_none(), "{tag:?} came twice");
            }
            if let Some(result) = self.early.remove(&tag) {
                return result;
            }
            self.turn().await;
        }
    }

    /// Runs one operation.
    ///
    /// # Safety
    /// What it points to lives until the future is over, and the future is not dropped before.
    pub(crate) async unsafe fn run(&mut self, op: Op) -> Result<u64, Errno> {
        // SAFETY: the caller's promise.
        let tag = unsafe { self.push(op) };
        self.finish(tag).await
    }

    pub(crate) async fn open(&mut self, name: &str, flags: OpenFlags) -> Result<Handle, Errno> {
        let text = format!("{name}\0");
        // SAFETY: `text` lives to the end of this function, which is run to its end.
        let handle =
            unsafe { self.run(Op::Open { name: name_of(&text), flags, mode: 0o644 }).await }?;
        Ok(Handle(u32::try_from(handle).expect("a handle's number")))
    }

    pub(crate) async fn remove(&mut self, name: &str) -> Result<(), Errno> {
        let text = format!("{name}\0");
        // SAFETY: as in `open`.
        unsafe { self.run(Op::Remove { name: name_of(&text) }).await }.map(drop)
    }

    pub(crate) async fn write(&mut self, file: Handle, at: u64, b: &[u8]) -> Result<u64, Errno> {
        // SAFETY: `b` is borrowed until the end.
        unsafe { self.run(Op::Write { file, at, span: span_of(b) }).await }
    }

    pub(crate) async fn read(&mut self, file: Handle, at: u64, b: &mut [u8]) -> Result<u64, Errno> {
        let span = Span { ptr: b.as_mut_ptr(), len: b.len() };
        // SAFETY: `b` is borrowed until the end.
        unsafe { self.run(Op::Read { file, at, span }).await }
    }

    /// An operation that points to nothing.
    pub(crate) async fn plain(&mut self, op: Op) -> Result<u64, Errno> {
        assert!(matches!(
            op,
            Op::Size { .. }
                | Op::Sync { .. }
                | Op::Truncate { .. }
                | Op::Punch { .. }
                | Op::Zero { .. }
                | Op::Seek { .. }
                | Op::Close { .. }
                | Op::Cancel { .. }
        ));
        // SAFETY: as asserted.
        unsafe { self.run(op).await }
    }

    pub(crate) fn direct(&self) -> Arc<dyn Direct> {
        self.ring.direct()
    }

    pub(crate) fn doorbell(&self) -> Arc<dyn Doorbell> {
        self.ring.doorbell()
    }
}

/// The name in a text that ends with NUL.
pub(crate) fn name_of(text: &str) -> Name {
    assert!(text.ends_with('\0'));
    Name { ptr: text.as_ptr(), len: text.len() - 1 }
}

/// Bytes to be written: nothing writes through the span.
pub(crate) fn span_of(bytes: &[u8]) -> Span {
    Span { ptr: bytes.as_ptr().cast_mut(), len: bytes.len() }
}
