//! Files that are open for direct I/O.
//!
//! Such a file has a second handle beside the one through the page cache, and each transfer goes by
//! one of the two, its *lane*: by the direct one if the `File` it was submitted through asked for
//! direct I/O, and its offset, the memory and the length of each of its buffers are aligned; else
//! by the cached one, where everything goes. That is decided when it is submitted. Another `File`
//! of the same file may go by the other lane: what keeps the two right beside each other is in
//! `apart`.
//!
//! A short count on the direct lane may end anywhere. What is left begins at the last aligned
//! position at or below it (the *step back*), and the bytes between are moved again and counted
//! once. Worked example, steps of 512: a read of 2048 gives 700; 188 bytes of the second block are
//! read again: the next entry asks for 1536 at 512, gives 1536, and 1348 of them count.
//!
//! An operation leaves the direct lane, for good, where that does not get on: the platform refuses
//! an aligned entry with `EINVAL` all the same (a limit of the process has cut it to a length that
//! it then finds unaligned; what it told of the file was wrong), or gives no more than the step
//! back. Going by the cached lane it meets the real answer, and no caller meets that one.

use littoral_platform::{Errno, Geometry, Handle, Op, Span};

use super::Core;
use super::apart::{Apart, Lane};
use super::held::{Held, Opened};
use super::push::Now;
use super::state::State;
use super::table::{NONE, Phase, Stage};
use super::writev::Parts;
use crate::geometry::{Directness, refusal};
use crate::{DirectIo, Error, ErrorKind, OpenOptions, Operation, Result};

/// The second side of a file.
#[derive(Debug)]
pub(crate) struct DirectSide {
    /// As those of the file itself.
    pub(crate) readable: Handle,
    pub(crate) writable: Option<Handle>,
    pub(crate) geometry: Geometry,
    pub(crate) apart: Apart,
}

/// What an operation must be aligned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    memory: usize,
    offset: u64,
    /// Lengths: wherever an aligned one is cut into such parts, each begins in aligned memory.
    step: u64,
}

impl Grid {
    fn new(geometry: &Geometry, write: bool) -> Grid {
        let offset = u64::from(geometry.offset_of(write));
        let memory = geometry.memory as usize;
        Grid { memory, offset, step: offset.max(u64::from(geometry.memory)) }
    }

    fn takes(self, at: u64, parts: &impl Parts) -> bool {
        let fits = |span: Span| {
            span.len == 0
                || span.ptr.addr().is_multiple_of(self.memory)
                    && (span.len as u64).is_multiple_of(self.step)
        };
        at.is_multiple_of(self.offset)
            && (0..parts.count()).all(|index| fits(parts.part(index).span))
    }

    /// How many of `done` bytes are moved again.
    fn step_back(self, done: u64) -> u64 {
        done % self.step
    }

    /// Of at most `bytes` of a call, those that are whole steps; 0 if there are none.
    fn whole(self, bytes: usize) -> usize {
        let step = usize::try_from(self.step).unwrap_or(usize::MAX);
        bytes - bytes % step
    }
}

impl Opened {
    /// By which lane a transfer goes.
    pub(crate) fn lane(&self, at: u64, held: &Held, write: bool, bytes_per_call: usize) -> Lane {
        match &self.direct {
            None => Lane::Cached,
            Some(geometry) => {
                let grid = Grid::new(geometry, write);
                let goes = grid.whole(bytes_per_call) > 0 && grid.takes(at, held);
                if goes { Lane::Direct } else { Lane::Cached }
            }
        }
    }

    fn directness(&self) -> Directness {
        match (self.direct, self.direct_refused) {
            (Some(_), _) => Directness::On,
            (None, Some(code)) => Directness::Refused(code),
            (None, None) => Directness::Off,
        }
    }
}

fn refused(code: Errno, operation: Operation) -> Error {
    match code {
        Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS => {
            let error = Error::from_code(code, operation).of_kind(ErrorKind::Unsupported);
            error.because(format!(
                "direct I/O is required, and {}; `DirectIo::Preferred` does without",
                refusal(code)
            ))
        }
        code => Error::from_code(code, operation).because("direct I/O is required"),
    }
}

impl State {
    /// The handle of a lane.
    pub(crate) fn handle_of(&mut self, file: u32, lane: Lane, write: bool) -> Handle {
        match &self.files.get(file).direct {
            Some(side) if lane == Lane::Direct => {
                if write {
                    side.writable.unwrap_or(side.readable)
                } else {
                    side.readable
                }
            }
            _ => self.handle(file, write),
        }
    }

    fn grid(&mut self, slot: u32) -> Option<Grid> {
        let slot = &self.slots[slot];
        let write = matches!(slot.operation, Operation::Pwrite | Operation::Pwritev);
        let side = self.files.get(slot.file).direct.as_ref();
        side.filter(|_| slot.lane == Lane::Direct).map(|side| Grid::new(&side.geometry, write))
    }

    /// How many of its bytes the next entry of a transfer moves again, and how many it moves at
    /// most.
    pub(crate) fn reach_of_entry(&mut self, head: u32) -> (u64, usize) {
        let bytes_max = self.limits.bytes_per_call;
        let done = self.slots[head].done;
        let grid = self.grid(head);
        grid.map_or((0, bytes_max), |grid| (grid.step_back(done), grid.whole(bytes_max)))
    }

    /// The bytes that an entry has moved and those it was asked for, but for those that had been
    /// moved before. `None` if the operation goes on by the other lane.
    pub(crate) fn newly_moved(
        &mut self,
        head: u32,
        result: core::result::Result<u64, Errno>,
    ) -> Option<(core::result::Result<u64, Errno>, u64)> {
        let asked = self.slots[head].asked;
        if self.slots[head].lane == Lane::Cached {
            return Some((result, asked));
        }
        let (back, _) = self.reach_of_entry(head);
        match result {
            Ok(count) if count == 0 || count > back => {
                Some((Ok(count.saturating_sub(back)), asked - back))
            }
            Err(code) if code != Errno::INVAL => Some((Err(code), asked - back)),
            _ => None,
        }
    }

    /// What does not get on by the direct lane goes on by the other one.
    pub(crate) fn leave_direct_lane(&mut self, members: &[u32]) {
        for &member in members {
            self.slots[member].lane = Lane::Cached;
            self.statistics.unaligned += 1;
        }
    }

    /// Whether the next entry of a write may go to the ring. If not, it waits until it may.
    pub(crate) fn may_write(&mut self, head: u32) -> bool {
        if self.files.get(self.slots[head].file).direct.is_none() {
            return true;
        }
        // It may be here once more, because the ring had no room; and others may have joined it.
        self.write_over(head);
        let mut last = head;
        while self.slots[last].next != NONE {
            last = self.slots[last].next;
        }
        let (back, _) = self.reach_of_entry(head);
        let bytes = self.slots[head].position() - back..self.slots[last].end();
        let (file, lane) = (self.slots[head].file, self.slots[head].lane);
        let Some(side) = &mut self.files.get(file).direct else { return true };
        if side.apart.begin(head, lane, &bytes) {
            self.slots[head].kept_apart = true;
            return true;
        }
        self.forget_tail(head);
        let members = self.unchain(head);
        for &member in &members {
            let slot = &mut self.slots[member];
            slot.stage = Stage::Waiting;
            // From its beginning: the step back is within.
            let bytes = slot.at..slot.end();
            if let Some(side) = &mut self.files.get(file).direct {
                side.apart.wait(member, lane, &bytes);
            }
        }
        self.spare(members);
        false
    }

    /// An entry of a write is not in the ring: those who waited for that begin again.
    #[inline]
    pub(crate) fn write_over(&mut self, head: u32) {
        if self.slots[head].kept_apart {
            self.let_others_write(head);
        }
    }

    #[cold]
    fn let_others_write(&mut self, head: u32) {
        self.slots[head].kept_apart = false;
        let mut again = Vec::new();
        if let Some(side) = &mut self.files.get(self.slots[head].file).direct {
            side.apart.end(head, &mut again);
        }
        self.begin_again(again);
    }

    /// One that waits does not want to write any more.
    pub(crate) fn leave_apart(&mut self, slot: u32) {
        let mut again = Vec::new();
        if let Some(side) = &mut self.files.get(self.slots[slot].file).direct {
            side.apart.withdraw(slot, &mut again);
        }
        self.begin_again(again);
    }

    fn begin_again(&mut self, slots: Vec<u32>) {
        for slot in slots {
            self.requeue(slot);
        }
    }

    /// Whether an open has to ask the platform for a direct handle; what need not be asked for is
    /// entered.
    pub(crate) fn lacks_direct(&mut self, opened: &mut Opened, options: OpenOptions) -> bool {
        if options.direct == DirectIo::Off {
            return false;
        }
        match &self.files.get(opened.file).direct {
            Some(side) if !options.write || side.writable.is_some() => {
                opened.direct = Some(side.geometry);
                false
            }
            _ => true,
        }
    }

    /// The platform has answered what came of a direct handle.
    pub(crate) fn direct_answered(
        &mut self,
        opened: &mut Opened,
        options: OpenOptions,
        result: core::result::Result<u64, Errno>,
        geometry: Geometry,
    ) -> Result<()> {
        match result {
            Ok(handle) => {
                let handle = Handle(u32::try_from(handle).expect("a handle's number"));
                self.attach(opened.file, handle, options.write, geometry);
                opened.direct = Some(geometry);
                Ok(())
            }
            Err(code) if options.direct == DirectIo::Required => {
                Err(refused(code, Operation::Open))
            }
            Err(code) => {
                opened.direct_refused = Some(code);
                Ok(())
            }
        }
    }

    /// The file has a direct handle from now on, or one more.
    fn attach(&mut self, file: u32, handle: Handle, write: bool, geometry: Geometry) {
        let entry = self.files.get(file);
        if let Some(side) = &mut entry.direct {
            // There was none to write with.
            side.writable = Some(handle);
            return;
        }
        let mut apart = Apart::default();
        // Writes that went to the ring when there was nothing to keep them apart from.
        let in_ring = |slot: &u32| {
            let slot = &self.slots[*slot];
            let write = matches!(slot.operation, Operation::Pwrite | Operation::Pwritev);
            slot.file == file && write && slot.stage == Stage::Pushed && slot.phase == Phase::Main
        };
        let in_ring: Vec<u32> = self.slots.alive().filter(in_ring).collect();
        for head in in_ring {
            let mut last = head;
            while self.slots[last].next != NONE {
                last = self.slots[last].next;
            }
            let bytes = self.slots[head].position()..self.slots[last].end();
            apart.is_in_ring(head, Lane::Cached, &bytes);
            self.slots[head].kept_apart = true;
        }
        let side =
            DirectSide { readable: handle, writable: write.then_some(handle), geometry, apart };
        self.files.get(file).direct = Some(Box::new(side));
    }

    /// An open has its file, and goes on with what it wants of it. True if it keeps its name.
    pub(crate) fn opened_so_far(&mut self, slot: u32, mut opened: Opened) -> bool {
        let options = self.naming(slot).options;
        if !self.lacks_direct(&mut opened, options) {
            self.opened(slot, opened);
            return false;
        }
        let naming = self.naming(slot);
        naming.opened = Some(opened);
        naming.geometry = Some(Box::default());
        self.slots[slot].phase = Phase::Direct;
        self.requeue(slot);
        true
    }

    /// The ring has answered an open that asked for a direct handle.
    pub(crate) fn open_direct_answered(
        &mut self,
        slot: u32,
        result: core::result::Result<u64, Errno>,
    ) {
        let naming = self.naming(slot);
        let options = naming.options;
        let mut opened = naming.opened.take().expect("it is open before it is direct");
        let geometry = naming.geometry.take().map_or(Geometry::NONE, |geometry| *geometry);
        if self.slots[slot].cancelled && result.is_err() {
            self.let_go(opened.file);
            self.fail(slot, ErrorKind::Cancelled);
            return;
        }
        match self.direct_answered(&mut opened, options, result, geometry) {
            Ok(()) => self.opened(slot, opened),
            Err(error) => {
                self.let_go(opened.file);
                let error = self.describe(slot, error);
                self.finish(slot, Err(error));
            }
        }
    }

    /// The entry that asks for it.
    pub(crate) fn direct_entry(&mut self, slot: u32) -> Op {
        let naming = self.naming(slot);
        let write = naming.options.write;
        let file = naming.opened.as_ref().expect("it is open before it is direct").file;
        let geometry: *mut Geometry = &raw mut **naming.geometry.get_or_insert_default();
        Op::OpenDirect { file: self.handle(file, write), write, geometry }
    }
}

impl Core {
    /// The direct handle of an open that does not wait.
    pub(crate) fn direct_now(&self, mut opened: Opened, options: OpenOptions) -> Result<Opened> {
        let mut state = self.lock();
        if !state.lacks_direct(&mut opened, options) {
            return Ok(opened);
        }
        let handle = state.handle(opened.file, options.write);
        // Its user keeps the handle open.
        drop(state);
        let mut geometry = Geometry::NONE;
        let result = self.call(Now::OpenDirect(handle, options.write, &mut geometry));
        let mut state = self.lock();
        let answered = state.direct_answered(&mut opened, options, result, geometry);
        if answered.is_err() {
            state.drop_handle(&opened);
        }
        self.leave(state);
        answered.map(|()| opened)
    }

    /// What direct I/O on a file asks for.
    pub(crate) fn geometry(&self, opened: &Opened) -> Result<crate::Geometry> {
        let directness = opened.directness();
        if let Some(geometry) = opened.direct {
            return Ok(crate::Geometry::new(directness, geometry));
        }
        let mut geometry = Geometry::NONE;
        let asked = self.ask_now(opened, |file| Now::Geometry(file, &mut geometry))?;
        // Whatever it is refused with, nothing is asked for then.
        let geometry = if asked.is_ok() { geometry } else { Geometry::NONE };
        Ok(crate::Geometry::new(directness, geometry))
    }
}
