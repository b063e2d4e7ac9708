//! What an operation owns until its end, and what it gives back.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

use littoral_platform::{Handle, Name, Stat};

use super::locking::{Locking, Nap};
use super::writev::{Part, Parts};
use crate::{Buffer, OpenOptions, Shared, Vector};

/// What an unfinished operation keeps alive. It is not moved while the ring may look at it, and
/// where the ring looks, it looks at memory behind a pointer of its own.
#[derive(Debug, Default)]
pub(crate) enum Held {
    #[default]
    Nothing,
    Read(Buffer),
    ReadMany(Vec<Buffer>),
    Write(Shared),
    WriteMany(Vector),
    Naming(Box<Naming>),
    Locking(Box<Locking>),
}

/// The business of an open, remove or prepare.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(crate) name: Arc<str>,
    /// The name with a NUL behind it, for the platform.
    pub(crate) bytes: Box<[u8]>,
    pub(crate) options: OpenOptions,
    pub(crate) handle: Option<Handle>,
    pub(crate) stat: Box<Stat>,
    /// For `prepare`: the names to come, and the files that are open already.
    pub(crate) to_prepare: VecDeque<Arc<str>>,
    pub(crate) prepared: Vec<u32>,
    /// For an open that waits for the file's lock: what it opened.
    pub(crate) opened: Option<Opened>,
    pub(crate) nap: Option<Nap>,
}

impl Naming {
    pub(crate) fn new(name: Arc<str>, options: OpenOptions) -> Naming {
        Naming {
            bytes: with_nul(&name),
            name,
            options,
            handle: None,
            stat: Box::default(),
            to_prepare: VecDeque::new(),
            prepared: Vec::new(),
            opened: None,
            nap: None,
        }
    }

    /// Goes on with the next name.
    pub(crate) fn rename(&mut self, name: Arc<str>) {
        self.bytes = with_nul(&name);
        self.name = name;
    }

    pub(crate) fn platform_name(&self) -> Name {
        Name { ptr: self.bytes.as_ptr(), len: self.name.len() }
    }
}

fn with_nul(name: &str) -> Box<[u8]> {
    [name.as_bytes(), &[0]].concat().into()
}

impl Parts for Held {
    fn count(&self) -> usize {
        match self {
            Held::Read(_) | Held::Write(_) => 1,
            Held::ReadMany(buffers) => buffers.len(),
            Held::WriteMany(vector) => vector.parts().len(),
            Held::Nothing | Held::Naming(_) | Held::Locking(_) => 0,
        }
    }

    fn part(&self, index: usize) -> Part {
        let of_buffer = |b: &Buffer| Part { span: b.span(), allocation: b.allocation() };
        let of_shared = |s: &Shared| Part { span: s.span(), allocation: s.allocation() };
        match self {
            Held::Read(buffer) => of_buffer(buffer),
            Held::ReadMany(buffers) => of_buffer(&buffers[index]),
            Held::Write(shared) => of_shared(shared),
            Held::WriteMany(vector) => of_shared(&vector.parts()[index]),
            Held::Nothing | Held::Naming(_) | Held::Locking(_) => {
                unreachable!("no parts were counted")
            }
        }
    }
}

impl Held {
    /// A finished read's buffers, with `count` bytes of theirs filled from the first on.
    pub(crate) fn read_value(self, mut count: u64) -> Value {
        let mut fill = |buffer: Buffer| {
            let here = count.min(buffer.capacity() as u64);
            count -= here;
            buffer.filled(usize::try_from(here).expect("at most the capacity"))
        };
        match self {
            Held::Read(buffer) => Value::Buffer(fill(buffer)),
            Held::ReadMany(buffers) => Value::Buffers(buffers.into_iter().map(fill).collect()),
            _ => unreachable!("only reads have read"),
        }
    }
}

/// What a finished operation gives.
#[derive(Debug)]
pub(crate) enum Value {
    Unit,
    Buffer(Buffer),
    Buffers(Vec<Buffer>),
    Size(u64),
    /// One more user of that file, who must let go of it.
    File(Opened),
}

impl Value {
    /// That of a read into one buffer.
    pub(crate) fn into_buffer(self) -> Buffer {
        match self {
            Value::Buffer(buffer) => buffer,
            _ => unreachable!("the value of another kind of operation"),
        }
    }
}

/// A file that was opened for somebody.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its place in the table: somebody else's once `closed`.
    pub(crate) file: u32,
    /// Names this handle among all: what its locks are held by.
    pub(crate) who: u64,
    pub(crate) write: bool,
    pub(crate) name: Arc<str>,
    /// Set under the engine's lock, and so to be relied on there only.
    closed: AtomicBool,
}

impl Opened {
    pub(crate) fn new(file: u32, write: bool, name: Arc<str>) -> Opened {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let who = NEXT.fetch_add(1, Ordering::Relaxed);
        Opened { file, who, write, name, closed: AtomicBool::new(false) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// True for the first who closes it.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }
}
