//! What an operation owns until its end, and what it gives back.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

use littoral_platform::{Errno, Geometry, Handle, Listed, Name, Stat};

use super::locking::{Locking, Nap};
use super::registered::{Registered, Registering};
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
    /// For what is known of an open file.
    Stat(Box<Stat>),
    Naming(Box<Naming>),
    Locking(Box<Locking>),
    Registering(Box<Registering>),
}

/// The business of an operation on a name.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(crate) name: Arc<str>,
    /// The name with a NUL behind it, for the platform: `.` for the root, whose name is empty, and
    /// the beginning of the name while directories are made.
    bytes: Box<[u8]>,
    /// The other name of a rename, in the same two forms.
    pub(crate) target: Option<(Arc<str>, Box<[u8]>)>,
    /// Of a rename: what has each name that was looked at, if that is one file.
    pub(crate) linked: Option<(u64, u64)>,
    /// How many of the two names it has, the lesser one first.
    pub(crate) has: u8,
    pub(crate) options: OpenOptions,
    /// It opens a file without a name.
    pub(crate) temporary: bool,
    pub(crate) handle: Option<Handle>,
    pub(crate) stat: Box<Stat>,
    #[expect(clippy::box_collection, reason = "the ring fills it where it lies")]
    pub(crate) list: Box<Vec<Listed>>,
    /// For `prepare`: the names and the number of temporaries to come, and the files that are open
    /// already.
    pub(crate) to_prepare: VecDeque<Arc<str>>,
    pub(crate) temporaries: usize,
    pub(crate) prepared: Vec<u32>,
    /// For an open that waits for the file's lock, or its direct handle: what it opened.
    pub(crate) opened: Option<Opened>,
    /// For one that is opened for direct I/O, too.
    pub(crate) geometry: Option<Box<Geometry>>,
    pub(crate) nap: Option<Nap>,
}

impl Naming {
    pub(crate) fn new(name: Arc<str>, options: OpenOptions) -> Naming {
        Naming {
            bytes: with_nul(&name),
            name,
            target: None,
            linked: None,
            has: 0,
            options,
            temporary: false,
            handle: None,
            stat: Box::default(),
            list: Box::default(),
            to_prepare: VecDeque::new(),
            temporaries: 0,
            prepared: Vec::new(),
            opened: None,
            geometry: None,
            nap: None,
        }
    }

    /// A rename to `to`.
    pub(crate) fn onto(self, to: Arc<str>) -> Naming {
        let bytes = with_nul(&to);
        Naming { target: Some((to, bytes)), ..self }
    }

    /// Goes on with the next name.
    pub(crate) fn rename(&mut self, name: Arc<str>) {
        self.bytes = with_nul(&name);
        self.name = name;
    }

    /// Goes on with the part of the name before its slash at or after byte `from`, or with the
    /// whole of it; how long that is.
    pub(crate) fn cut(&mut self, from: usize) -> usize {
        let slash = self.name.get(from..).and_then(|rest| rest.find('/'));
        let len = slash.map_or(self.name.len(), |at| from + at);
        self.bytes = with_nul(&self.name[..len]);
        len
    }

    pub(crate) fn platform_name(&self) -> Name {
        Name { ptr: self.bytes.as_ptr(), len: self.bytes.len() - 1 }
    }

    pub(crate) fn platform_target(&self) -> Name {
        let (_, bytes) = self.target.as_ref().expect("a rename has a target");
        Name { ptr: bytes.as_ptr(), len: bytes.len() - 1 }
    }

    /// The names to be had, in the order in which everyone takes them, so that nobody waits for
    /// one that waits for him.
    pub(crate) fn keys(&self) -> [Option<&Arc<str>>; 2] {
        match &self.target {
            Some((target, _)) if *target < self.name => [Some(target), Some(&self.name)],
            Some((target, _)) if *target > self.name => [Some(&self.name), Some(target)],
            _ => [Some(&self.name), None],
        }
    }
}

fn with_nul(name: &str) -> Box<[u8]> {
    let name = if name.is_empty() { "." } else { name };
    [name.as_bytes(), &[0]].concat().into()
}

impl Parts for Held {
    fn count(&self) -> usize {
        match self {
            Held::Read(_) | Held::Write(_) => 1,
            Held::ReadMany(buffers) => buffers.len(),
            Held::WriteMany(vector) => vector.parts().len(),
            Held::Nothing
            | Held::Stat(_)
            | Held::Naming(_)
            | Held::Locking(_)
            | Held::Registering(_) => 0,
        }
    }

    fn part(&self, index: usize) -> Part {
        let of_buffer =
            |b: &Buffer| Part { span: b.span(), allocation: b.allocation(), region: b.region() };
        let of_shared =
            |s: &Shared| Part { span: s.span(), allocation: s.allocation(), region: s.region() };
        match self {
            Held::Read(buffer) => of_buffer(buffer),
            Held::ReadMany(buffers) => of_buffer(&buffers[index]),
            Held::Write(shared) => of_shared(shared),
            Held::WriteMany(vector) => of_shared(&vector.parts()[index]),
            Held::Nothing
            | Held::Stat(_)
            | Held::Naming(_)
            | Held::Locking(_)
            | Held::Registering(_) => {
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
    /// Where something was found, if it was.
    Place(Option<u64>),
    Metadata(Stat),
    Exists(bool),
    List(Vec<Listed>),
    /// One more user of that file, who must let go of it.
    File(Opened),
    /// One more user of what was registered, as above.
    Registered(Box<Registered>),
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
    /// What is aligned like this goes by the file's direct handle.
    pub(crate) direct: Option<Geometry>,
    /// Why nothing does, though it was preferred.
    pub(crate) direct_refused: Option<Errno>,
    /// Set under the engine's lock, and so to be relied on there only.
    closed: AtomicBool,
}

impl Opened {
    pub(crate) fn new(file: u32, write: bool, name: Arc<str>) -> Opened {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let who = NEXT.fetch_add(1, Ordering::Relaxed);
        let closed = AtomicBool::new(false);
        Opened { file, who, write, name, direct: None, direct_refused: None, closed }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// True for the first who closes it.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }
}
