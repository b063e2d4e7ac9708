//! What each operation does to the disk, at the moment it is executed.

use std::collections::HashMap;
use std::sync::Arc;

use super::disk::{Disk, Inode, Node};
use super::{OFFSET_MAX, Random};
use crate::{
    Errno, Extent, FileKind, Geometry, Handle, LockKind, Name, Op, OpenFlags, RESERVED, Region,
    RwFlags, Span, Sqe, Stat,
};

fn known(node: &Node) -> Stat {
    let (kind, size, number) = match node {
        Node::File(inode) => (FileKind::File, inode.lock().size(), inode.number),
        Node::Directory { number } => (FileKind::Directory, 0, *number),
    };
    Stat { kind, size, identity: (0, number), modified: None }
}

/// The open files of one ring. Numbers are reused at once, lowest first, as descriptors are: what
/// confuses a file with its successor shows.
#[derive(Debug)]
pub(super) struct Files {
    disk: Disk,
    /// Where all names are.
    root: String,
    /// A file can be open once only; and, for there is no way to sync them, names are durable.
    exclusive: bool,
    /// What direct I/O asks for, if there is such a thing.
    direct: Option<Geometry>,
    /// Entries that broke that.
    pub(super) misaligned: u64,
    open: Vec<Option<Open>>,
    /// The memory that was registered. It makes nothing faster here; but an entry that names a
    /// region in which it does not lie is found out, as by a kernel.
    regions: HashMap<Region, Span>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Open {
    node: Node,
    /// By which it was opened, for a directory to be known by.
    name: String,
    write: bool,
    /// It takes only what is aligned.
    direct: bool,
    /// To be removed with it, by its name.
    temporary: bool,
    /// What its locks are held by.
    number: u64,
    /// An entry has named it.
    named: bool,
}

impl Files {
    pub(super) fn new(
        disk: Disk,
        root: Option<&str>,
        exclusive: bool,
        direct: Option<Geometry>,
    ) -> Files {
        let root = root.unwrap_or_default().trim_end_matches('/').to_owned();
        if exclusive {
            // What a tab that was closed in the middle has left behind.
            disk.sweep(&root, RESERVED);
        }
        let (open, regions) = (Vec::new(), HashMap::new());
        Files { disk, root, exclusive, direct, misaligned: 0, open, regions }
    }

    pub(super) fn close_all(&mut self) {
        for index in 0..self.open.len() {
            self.close(index);
        }
    }

    /// Whether there was something to close.
    fn close(&mut self, index: usize) -> bool {
        let open = self.open.get_mut(index).and_then(Option::take);
        let Some(Open { node: Node::File(inode), number, temporary, name, .. }) = &open else {
            return open.is_some();
        };
        inode.locks().give(*number);
        if self.exclusive {
            inode.let_go();
            if *temporary {
                // Whoever removed it before has done what is wanted.
                let _ = self.disk.remove(&self.root, name, true);
            }
        }
        open.is_some()
    }

    /// Sees to it that what an entry has named is not closed by a direct call, of which a ring
    /// that keeps the file elsewhere would not know.
    pub(super) fn check_direct_close(&self, op: &Op) {
        if let Op::Close { file } = *op {
            let named = self.get(file).is_ok_and(|open| open.named);
            assert!(!named, "{file:?} is closed by a direct call, and an entry has named it");
        }
    }

    /// Takes note of an entry. Whether its region is one that is known, in which then all of it
    /// lies.
    ///
    /// # Safety
    /// As [`crate::Ring::push`].
    pub(super) unsafe fn take_in(&mut self, sqe: &Sqe) -> bool {
        if let Some((file, ..)) = sqe.op.place()
            && let Some(Some(open)) = self.open.get_mut(file.0 as usize)
        {
            open.named = true;
        }
        let Some(known) = self.regions.get(&sqe.region) else { return false };
        // SAFETY: the caller's promise.
        let spans = unsafe { sqe.op.spans() };
        let from = known.ptr.addr();
        let lies_in = |span: &Span| {
            let start = span.ptr.addr();
            from <= start && start + span.len <= from + known.len
        };
        assert!(spans.iter().all(lies_in), "{sqe:?} does not lie in its region, {known:?}");
        true
    }

    /// Executes one operation, a cancel excepted: it concerns the queue and not the disk.
    ///
    /// # Safety
    /// As [`crate::Direct::call`].
    pub(super) unsafe fn execute(&mut self, op: &Op) -> Result<u64, Errno> {
        match *op {
            Op::Open { name, flags, mode: _ } => {
                // SAFETY: a name is UTF-8 and alive: the pusher's promise.
                let name = unsafe { self.full(name) };
                self.open(&name, flags).map(|file| u64::from(file.0))
            }
            Op::OpenDirect { file, write, geometry } => {
                let (handle, known) = self.open_direct(file, write)?;
                // SAFETY: the pusher's promise: `geometry` is alive and nobody else's.
                unsafe { geometry.write(known) };
                Ok(u64::from(handle.0))
            }
            Op::Geometry { file, geometry } => {
                self.inode(file)?;
                let known = self.direct.ok_or(Errno::OPNOTSUPP)?;
                // SAFETY: as above.
                unsafe { geometry.write(known) };
                Ok(0)
            }
            Op::Close { file } => {
                let closed = self.close(file.0 as usize);
                if closed { Ok(0) } else { Err(Errno::BADF) }
            }
            Op::Stat { file, stat } => {
                let known = self.stat(file)?;
                // SAFETY: the pusher's promise: `stat` is alive and nobody else's.
                unsafe { stat.write(known) };
                Ok(known.size)
            }
            Op::Size { file } => Ok(self.stat(file)?.size),
            Op::Read { file, at, span } => {
                // SAFETY: the span is the pusher's to give; one span is an array of one.
                unsafe { self.read(file, at, &[span]) }
            }
            Op::Readv { file, at, spans, count } => {
                // SAFETY: the pusher's promise: `count` spans are alive there, with their memory.
                unsafe { self.read(file, at, core::slice::from_raw_parts(spans, count as usize)) }
            }
            Op::Write { file, at, span } => {
                // SAFETY: as for `Read`.
                unsafe { self.write(file, at, &[span]) }
            }
            Op::Writev { file, at, spans, count } => {
                // SAFETY: as for `Readv`.
                unsafe { self.write(file, at, core::slice::from_raw_parts(spans, count as usize)) }
            }
            Op::ReadWith { file, at, spans, count, flags: _ } => {
                // SAFETY: as for `Readv`.
                unsafe { self.read(file, at, core::slice::from_raw_parts(spans, count as usize)) }
            }
            Op::WriteWith { file, at, spans, count, flags } => {
                // SAFETY: as for `Writev`.
                let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
                // SAFETY: as for `Writev`.
                let written = unsafe { self.write(file, at, spans) }?;
                if flags.contains(RwFlags::DURABLE) {
                    self.sync_range(file, at, written)?;
                }
                Ok(written)
            }
            // Sizes and contents are flushed together, so one kind is as good as the other.
            Op::Sync { file, kind: _ } => self.sync(file),
            Op::Truncate { file, len } => self.truncate(file, len),
            Op::Allocate { file, at, len } => self.allocate(file, at, len),
            Op::Punch { file, at, len } => self.zero(file, at, len, false),
            Op::Zero { file, at, len } => self.zero(file, at, len, true),
            Op::Seek { file, at, extent } => self.seek(file, at, extent),
            Op::Lock { file, kind } => self.lock(file, kind),
            Op::Unlock { file } => {
                let number = self.get(file)?.number;
                self.inode(file)?.0.locks().give(number);
                Ok(0)
            }
            Op::Register { region, span } => {
                assert!(region != Region::NONE, "no region has that id");
                assert!(span.len <= Region::BYTES_MAX, "{} bytes in one region", span.len);
                let known = self.regions.insert(region, span);
                assert!(known.is_none(), "{region:?} is known already");
                Ok(0)
            }
            Op::Unregister { region } => {
                self.regions.remove(&region).map(|_| 0).ok_or(Errno::NOENT)
            }
            // SAFETY: as for `Open`, and for the others the pusher's promise of what they fill.
            ref on_name => unsafe { self.execute_on_name(on_name) },
        }
    }

    /// # Safety
    /// As [`crate::Direct::call`].
    unsafe fn execute_on_name(&mut self, op: &Op) -> Result<u64, Errno> {
        let Files { disk, root, exclusive: durable, .. } = &*self;
        // SAFETY: a name is UTF-8 and alive: the pusher's promise.
        let full = |name| unsafe { self.full(name) };
        match *op {
            Op::Remove { name } => disk.remove(root, &full(name), *durable)?,
            Op::Rename { from, to } => disk.rename(root, (&full(from), &full(to)), *durable)?,
            Op::MakeDirectory { name } => disk.make_below(root, &full(name), *durable)?,
            Op::RemoveDirectory { name } => disk.remove_directory(root, &full(name), *durable)?,
            Op::List { name, into } => {
                let listed = disk.list_below(root, &full(name))?;
                // SAFETY: the pusher's promise: the list is alive and nobody else's.
                unsafe { &mut *into }.extend(listed);
            }
            Op::Look { name, stat } => {
                let known = known(&disk.look(root, &full(name))?);
                // SAFETY: the pusher's promise: `stat` is alive and nobody else's.
                unsafe { stat.write(known) };
                return Ok(known.size);
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(0)
    }

    /// # Safety
    /// As [`Name::as_str`].
    unsafe fn full(&self, name: Name) -> String {
        // SAFETY: the caller's promise.
        match (self.root.as_str(), unsafe { name.as_str() }) {
            (root, ".") => root.to_owned(),
            ("", name) => name.to_owned(),
            (root, name) => format!("{root}/{name}"),
        }
    }

    fn get(&self, file: Handle) -> Result<&Open, Errno> {
        self.open.get(file.0 as usize).and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    fn inode(&self, file: Handle) -> Result<(&Arc<Inode>, bool), Errno> {
        match self.get(file)? {
            Open { node: Node::File(inode), write, .. } => Ok((inode, *write)),
            Open { node: Node::Directory { .. }, .. } => Err(Errno::ISDIR),
        }
    }

    fn open(&mut self, name: &str, flags: OpenFlags) -> Result<Handle, Errno> {
        let temporary = flags.contains(OpenFlags::TEMPORARY);
        let node = if temporary && !self.exclusive {
            self.disk.new_file()
        } else {
            let made = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
            let flags = if temporary { flags | made } else { flags };
            self.disk.open(&self.root, name, flags, self.exclusive)?
        };
        if let (Node::File(inode), true) = (&node, self.exclusive)
            && !inode.hold()
        {
            return Err(Errno::BUSY);
        }
        let (write, number) = (flags.contains(OpenFlags::WRITE), self.disk.next_open());
        self.enter(Open {
            node,
            name: name.to_owned(),
            write,
            direct: false,
            temporary,
            number,
            named: false,
        })
    }

    fn open_direct(&mut self, file: Handle, write: bool) -> Result<(Handle, Geometry), Errno> {
        let geometry = self.direct.ok_or(Errno::OPNOTSUPP)?;
        let node = Node::File(Arc::clone(self.inode(file)?.0));
        let (name, number) = (self.get(file)?.name.clone(), self.disk.next_open());
        let temporary = false;
        let open = Open { node, name, write, direct: true, temporary, number, named: false };
        self.enter(open).map(|handle| (handle, geometry))
    }

    /// `EINVAL`, and nothing is done, for what a direct handle does not take.
    ///
    /// # Safety
    /// The span array must be alive.
    pub(super) unsafe fn check_alignment(&mut self, op: &Op) -> Result<(), Errno> {
        let (Some(geometry), Some((file, at, write))) = (self.direct, op.place()) else {
            return Ok(());
        };
        if !self.get(file).is_ok_and(|open| open.direct) {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        let spans = unsafe { op.spans() };
        let unit = geometry.offset_of(write) as usize;
        let fits = |span: &Span| {
            span.ptr.addr().is_multiple_of(geometry.memory as usize)
                && span.len.is_multiple_of(unit)
        };
        if at.is_multiple_of(unit as u64) && spans.iter().all(fits) {
            return Ok(());
        }
        self.misaligned += 1;
        Err(Errno::INVAL)
    }

    fn enter(&mut self, open: Open) -> Result<Handle, Errno> {
        let open = Some(open);
        let free = self.open.iter().position(Option::is_none);
        let index = free.unwrap_or(self.open.len());
        if free.is_none() {
            self.open.push(None);
        }
        self.open[index] = open;
        u32::try_from(index).map(Handle).map_err(|_| Errno::MFILE)
    }

    fn stat(&self, file: Handle) -> Result<Stat, Errno> {
        self.get(file).map(|open| known(&open.node))
    }

    fn allocate(&self, file: Handle, at: u64, len: u64) -> Result<u64, Errno> {
        let (inode, write) = self.inode(file)?;
        if self.exclusive {
            return Err(Errno::OPNOTSUPP);
        }
        if !write {
            return Err(Errno::BADF);
        }
        if len == 0 || at.checked_add(len).is_none_or(|end| end > OFFSET_MAX) {
            return Err(Errno::INVAL);
        }
        let mut contents = inode.lock();
        let before = contents.size();
        contents.allocate(at, len)?;
        if contents.size() > before {
            inode.stable().resized(contents.size());
        }
        Ok(0)
    }

    fn zero(&self, file: Handle, at: u64, len: u64, grows: bool) -> Result<u64, Errno> {
        let (inode, write) = self.inode(file)?;
        if self.exclusive {
            return Err(Errno::OPNOTSUPP);
        }
        if !write {
            return Err(Errno::BADF);
        }
        let end = at.checked_add(len).filter(|end| len > 0 && *end <= OFFSET_MAX);
        let range = at..end.ok_or(Errno::INVAL)?;
        let mut contents = inode.lock();
        contents.zero(range.clone(), grows);
        inode.stable().zeroed(range, grows, self.disk.sector());
        Ok(0)
    }

    /// Where a file is open once only, as in browsers, nobody is told of holes.
    fn seek(&self, file: Handle, at: u64, extent: Extent) -> Result<u64, Errno> {
        let contents = self.inode(file)?.0.lock();
        let found = match extent {
            _ if !self.exclusive => contents.seek(at, extent),
            Extent::Data => Some(at),
            Extent::Hole => Some(contents.size()),
        };
        found.filter(|_| at < contents.size()).ok_or(Errno::NXIO)
    }

    /// # Safety
    /// The spans' memory must be valid for writes and nobody else's.
    unsafe fn read(&self, file: Handle, at: u64, spans: &[Span]) -> Result<u64, Errno> {
        let (inode, _) = self.inode(file)?;
        if at > OFFSET_MAX {
            return Err(Errno::INVAL);
        }
        let contents = inode.lock();
        let bad = inode.stable().first_bad(at, self.disk.sector());
        let mut done = 0;
        for span in spans.iter().filter(|span| span.len > 0) {
            let good = usize::try_from(bad - at - done).unwrap_or(usize::MAX);
            // SAFETY: the caller's promise.
            let count = unsafe { contents.read(at + done, span.ptr, span.len.min(good)) };
            done += count as u64;
            if count < span.len {
                let spoilt = count == good && at + done < contents.size();
                return if spoilt && done == 0 { Err(Errno::IO) } else { Ok(done) };
            }
        }
        Ok(done)
    }

    /// # Safety
    /// The spans' memory must be initialised and not written by anyone meanwhile.
    unsafe fn write(&self, file: Handle, at: u64, spans: &[Span]) -> Result<u64, Errno> {
        let (inode, write) = self.inode(file)?;
        if !write {
            return Err(Errno::BADF);
        }
        if at > OFFSET_MAX {
            return Err(Errno::INVAL);
        }
        let mut contents = inode.lock();
        let (mut stable, sector) = (inode.stable(), self.disk.sector());
        let mut done = 0;
        for span in spans.iter().filter(|span| span.len > 0) {
            // As a kernel does: up to the largest size, and nothing from there on.
            let room = OFFSET_MAX - at - done;
            if room == 0 {
                return if done > 0 { Ok(done) } else { Err(Errno::FBIG) };
            }
            let len = usize::try_from(room).map_or(span.len, |room| room.min(span.len));
            // SAFETY: the caller's promise; empty spans, whose address may be nothing, are skipped.
            let bytes = unsafe { core::slice::from_raw_parts(span.ptr, len) };
            let count = contents.write(at + done, bytes);
            stable.wrote(at + done, &bytes[..count], sector);
            done += count as u64;
            if count < len {
                return if done > 0 { Ok(done) } else { Err(Errno::NOSPC) };
            }
        }
        Ok(done)
    }

    fn lock(&self, file: Handle, kind: LockKind) -> Result<u64, Errno> {
        let number = self.get(file)?.number;
        let (inode, write) = self.inode(file)?;
        match kind {
            LockKind::Exclusive if !write => Err(Errno::PERM),
            // What is open once only cannot be shared.
            LockKind::Shared if self.exclusive => Err(Errno::OPNOTSUPP),
            kind => inode.locks().take(number, kind).map(|()| 0),
        }
    }

    fn sync(&self, file: Handle) -> Result<u64, Errno> {
        let Open { node, name, .. } = self.get(file)?;
        match node {
            Node::File(inode) => {
                let contents = inode.lock();
                inode.stable().flush(&contents);
            }
            Node::Directory { .. } => self.disk.sync_directory(name),
        }
        Ok(0)
    }

    /// A flush of what was just written there.
    fn sync_range(&self, file: Handle, at: u64, len: u64) -> Result<(), Errno> {
        let (inode, _) = self.inode(file)?;
        let contents = inode.lock();
        inode.stable().flush_range(&contents, at, len);
        Ok(())
    }

    /// A flush that fails; the error is of a handle that cannot be flushed at all.
    pub(super) fn fail_to_sync(&self, file: Handle, random: &mut Random) -> Result<(), Errno> {
        // A directory's names that no flush covered come back or not at a crash, as before.
        if let Node::File(inode) = &self.get(file)?.node {
            inode.stable().fail_to_flush(random, self.disk.sector());
        }
        Ok(())
    }

    fn truncate(&self, file: Handle, len: u64) -> Result<u64, Errno> {
        let (inode, write) = self.inode(file)?;
        // ftruncate(2): EINVAL for a descriptor not open for writing, and for a negative length.
        if !write || len > OFFSET_MAX {
            return Err(Errno::INVAL);
        }
        let mut contents = inode.lock();
        contents.truncate(len);
        inode.stable().resized(len);
        Ok(0)
    }
}
