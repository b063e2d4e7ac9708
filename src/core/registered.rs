//! Telling the ring of an arena's memory, and having it forget.
//!
//! An arena is registered piece by piece: each is an entry, which the ring executes when it is
//! pushed. A refusal ends nothing: the piece stays as it is, and the reason is told with what was
//! registered. Only the want of memory that may be locked is waited out for a while, because the
//! kernel gives that back late (measured: up to 100 ms after a ring was closed).
//!
//! What is known is counted by its users, for an arena may be registered twice. When the last one
//! goes, an urgent entry has the ring forget the piece. The arena is kept until that was answered:
//! else the piece's id could be another one's while the ring still takes it for this one.
//!
//! Worked example: an arena of 1.5 GiB has two pieces. The first is registered. The second is
//! refused with `ENOMEM`, sleeps 1, 2, 4 ms and so on, and is refused for good after 250 ms. The
//! registration tells of 1 GiB, and of the refusal. Reads into buffers of the second piece are
//! plain ones.

use core::time::Duration;
use std::collections::HashMap;

use littoral_platform::{Errno, Op, Region, Span};

use super::Core;
use super::held::{Held, Value};
use super::locking::Nap;
use super::overflow::Item;
use super::state::{Leftover, State, is_transient};
use super::table::{Key, NONE, Stage};
use crate::{Arena, Error, ErrorKind, Operation, Result};

/// How long the kernel may take to give back locked memory, with room to spare.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often the ring may fail to forget a piece before that counts as never.
const TRIES_MAX: u32 = 256;

/// What came of registering an arena.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) arena: Arena,
    pub(crate) regions: Vec<Region>,
    pub(crate) bytes: u64,
    pub(crate) refused: Option<Error>,
}

/// An arena that is being registered.
#[derive(Debug)]
pub(crate) struct Registering {
    /// So far.
    so_far: Registered,
    /// Those to come, the next one last.
    pieces: Vec<(Region, Span)>,
    /// The next one is on its way to the ring.
    on_its_way: bool,
    pub(crate) nap: Option<Nap>,
}

/// How a ring stands with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Coming,
    Known,
    Going,
}

#[derive(Debug)]
struct Piece {
    standing: Standing,
    users: u32,
    bytes: u64,
    tries: u32,
    /// Keeps the memory, and the id.
    arena: Arena,
}

/// What the ring was told of.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pieces: HashMap<Region, Piece>,
    /// Bytes it knows now.
    pub(crate) bytes: u64,
    /// Bytes that it has refused, and why it did the last time.
    pub(crate) refused: Option<(u64, Errno)>,
}

impl Registry {
    /// The ring is gone: nothing keeps the memory any more but its users.
    pub(crate) fn clear(&mut self) -> Vec<Arena> {
        self.bytes = 0;
        self.pieces.drain().map(|(_, piece)| piece.arena).collect()
    }
}

impl Core {
    pub(crate) fn register(&self, arena: &Arena) -> Result<Key> {
        let mut state = self.lock();
        let refusal = state.refusal(Operation::Register);
        if let Some(error) = refusal.or_else(|| state.saturation(Operation::Register)) {
            return Err(error);
        }
        let mut pieces: Vec<_> = arena.regions().collect();
        pieces.reverse();
        let arena = arena.clone();
        let so_far = Registered { arena, regions: Vec::new(), bytes: 0, refused: None };
        let registering = Registering { so_far, pieces, on_its_way: false, nap: None };
        let held = Held::Registering(Box::new(registering));
        let index = state.begin(Operation::Register, NONE, held);
        let key = state.key(index);
        state.slots[index].stage = Stage::Queued;
        state.queue.admit(index);
        self.leave(state);
        Ok(key)
    }

    /// Somebody needs the registration no longer.
    pub(crate) fn unregister(&self, registered: &Registered) {
        let mut state = self.lock();
        state.unregister(&registered.regions);
        self.leave(state);
    }
}

impl State {
    fn registering(&mut self, slot: u32) -> &mut Registering {
        match &mut self.slots[slot].held {
            Held::Registering(registering) => registering,
            _ => unreachable!("it registers"),
        }
    }

    /// The entry for the next piece that the ring does not know; `None` if there is none now.
    pub(crate) fn register_entry(&mut self, slot: u32) -> Option<Op> {
        loop {
            let registering = self.registering(slot);
            let Some(&(region, span)) = registering.pieces.last() else {
                self.all_registered(slot);
                return None;
            };
            if registering.on_its_way {
                return Some(Op::Register { region, span });
            }
            let arena = registering.so_far.arena.clone();
            let known = self.registry.pieces.get_mut(&region);
            match known.as_ref().map(|piece| piece.standing) {
                None => {
                    let (bytes, tries) = (span.len as u64, 0);
                    let piece = Piece { standing: Standing::Coming, users: 0, bytes, tries, arena };
                    self.registry.pieces.insert(region, piece);
                    self.registering(slot).on_its_way = true;
                }
                Some(Standing::Known) => self.take_piece(slot),
                // Another operation is about to register it, or to have it forgotten.
                Some(Standing::Coming | Standing::Going) => {
                    if self.sleep_within(slot, PATIENCE) {
                        return None;
                    }
                    self.refuse_piece(slot, Errno::BUSY);
                }
            }
        }
    }

    /// The ring has answered the entry of a piece.
    pub(crate) fn registered(&mut self, slot: u32, result: core::result::Result<u64, Errno>) {
        let registering = self.registering(slot);
        registering.on_its_way = false;
        let &(region, _) = registering.pieces.last().expect("it was on its way");
        match result {
            Ok(_) => {
                if let Some(piece) = self.registry.pieces.get_mut(&region) {
                    piece.standing = Standing::Known;
                    self.registry.bytes += piece.bytes;
                }
                self.take_piece(slot);
            }
            Err(code) => {
                self.registry.pieces.remove(&region);
                if self.slots[slot].cancelled && is_transient(code) {
                    self.fail(slot, ErrorKind::Cancelled);
                    return;
                }
                if code == Errno::NOMEM && self.sleep_within(slot, PATIENCE) {
                    return;
                }
                self.refuse_piece(slot, code);
            }
        }
        if self.registering(slot).pieces.is_empty() {
            self.all_registered(slot);
        } else if self.slots[slot].cancelled {
            self.fail(slot, ErrorKind::Cancelled);
        } else {
            self.requeue(slot);
        }
    }

    /// One user more of the next piece.
    fn take_piece(&mut self, slot: u32) {
        let registering = self.registering(slot);
        let Some((region, span)) = registering.pieces.pop() else { return };
        registering.so_far.regions.push(region);
        registering.so_far.bytes += span.len as u64;
        if let Some(piece) = self.registry.pieces.get_mut(&region) {
            piece.users += 1;
        }
    }

    fn refuse_piece(&mut self, slot: u32, code: Errno) {
        let registering = self.registering(slot);
        let Some((_, span)) = registering.pieces.pop() else { return };
        registering.so_far.refused.get_or_insert_with(|| refusal(code));
        let before = self.registry.refused.map_or(0, |(bytes, _)| bytes);
        self.registry.refused = Some((before + span.len as u64, code));
    }

    fn all_registered(&mut self, slot: u32) {
        let held = core::mem::take(&mut self.slots[slot].held);
        let Held::Registering(registering) = held else { unreachable!("it registers") };
        self.finish(slot, Ok(Value::Registered(Box::new(registering.so_far))));
    }

    /// It ends without a registration: what it has got so far is given back.
    pub(crate) fn undo_registering(&mut self, registering: &Registering) {
        if registering.on_its_way
            && let Some((region, _)) = registering.pieces.last()
        {
            // Its entry was taken back before the ring had it.
            self.registry.pieces.remove(region);
        }
        self.unregister(&registering.so_far.regions);
    }

    pub(crate) fn unregister(&mut self, regions: &[Region]) {
        if self.ring.is_none() {
            return;
        }
        for region in regions {
            let Some(piece) = self.registry.pieces.get_mut(region) else { continue };
            piece.users -= 1;
            if piece.users == 0 {
                piece.standing = Standing::Going;
                self.queue.urgent(Item::Unregister(*region));
            }
        }
    }

    /// The ring has answered that it has forgotten a piece, or that it has not.
    pub(crate) fn unregistered(
        &mut self,
        region: Region,
        result: core::result::Result<u64, Errno>,
    ) {
        let Some(piece) = self.registry.pieces.get_mut(&region) else { return };
        match result {
            Ok(_) | Err(Errno::NOENT) => {
                self.registry.bytes -= piece.bytes;
                if let Some(piece) = self.registry.pieces.remove(&region) {
                    self.leftovers.push(Leftover::Arena(piece.arena));
                }
            }
            // Else its memory is kept as long as the ring, which may go on taking it for what it
            // was.
            Err(code) => {
                piece.tries += 1;
                let busy = is_transient(code) || code == Errno::BUSY;
                if busy && piece.tries < TRIES_MAX {
                    self.queue.urgent(Item::Unregister(region));
                }
            }
        }
    }
}

fn refusal(code: Errno) -> Error {
    let error = Error::from_code(code, Operation::Register);
    match code {
        Errno::NOMEM => error.because(
            "the limit of locked memory leaves no room for it: raise RLIMIT_MEMLOCK (ulimit -l, \
             LimitMEMLOCK= of a systemd unit), or register less; its buffers work without",
        ),
        Errno::OPNOTSUPP => {
            error.because("this platform registers no memory; the arena's buffers work without")
        }
        Errno::NFILE => error.because("the ring's table of registered memory is full"),
        _ => error,
    }
}
