//! What a seed makes of everything that stays the same during a run: the disk, the ring and how it
//! misbehaves, the driver, and who makes it progress.

use core::time::Duration;
use std::sync::Arc;

use littoral::platform::faulty::OpKind;
use littoral::platform::simulated::{
    Config as Behaviour, Control, Disk, Failing, Faults, Host, Permille, Simulated,
};
use littoral::platform::{Geometry, RwFlags, Setup};
use littoral::{Config, Errno, GeometrySource, Io, Status, Wait, start_on};

use crate::random::Random;

/// Steps without a result after which a driver counts as stuck.
const STEPS_MAX: u32 = 100_000;

/// How a driver is made to progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A thread waits.
    Waits,
    /// A loop steps without waiting.
    Polls,
    /// As in a browser's worker: the host takes turns.
    Hosted,
}

#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, not one state")]
pub(crate) struct World {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) disk: Disk,
    pub(crate) control: Control,
    pub(crate) shape: Shape,
    /// What goes wrong beside what an engine makes up for.
    pub(crate) broken: bool,
    /// The disk may be full.
    pub(crate) is_small: bool,
    /// There are fewer operations than the script starts.
    pub(crate) is_narrow: bool,
    /// What direct I/O wants offsets and lengths to be multiples of. Of memory it wants nothing:
    /// where that lies is no business of a seed's.
    pub(crate) grain: u64,
    faults: Faults,
    host: Host,
    in_vain: u32,
    /// Somebody waits for room, which there is once results are taken, and not by waiting.
    pub(crate) has_room: bool,
}

impl World {
    pub(crate) fn new(seed: u64, random: &mut Random) -> Result<World, String> {
        let shape = random.one_of(&[Shape::Waits, Shape::Polls, Shape::Hosted]);
        let broken = random.chance(40);
        let is_small = broken && random.chance(30);
        let is_narrow = random.chance(20);
        let faults = faults(random, broken);
        let grain = random.one_of(&[1, 8, 64, 512]);
        let direct = Geometry { memory: 1, ..Geometry::uniform(grain, GeometrySource::Simulated) };
        let behaviour = Behaviour {
            direct: Some(direct),
            prompt: Permille(random.one_of(&[0, 100, 500, 900, 1000])),
            hosted: shape == Shape::Hosted,
            latency_max: Duration::from_micros(random.one_of(&[1, 100, 10_000])),
            spans_per_call: random.one_of(&[2, 3, 1024]),
            bytes_per_call: random.one_of(&[1000, 4096, 0x7fff_f000]),
            write_call_cost: random.one_of(&[0, 2000, 64 * 1024]),
            read_call_cost: random.one_of(&[0, 2000, 64 * 1024]),
            lone_calls: random.chance(50),
            flags: random.one_of(&[RwFlags::all(), RwFlags::empty()]),
            ..Behaviour::seeded(seed)
        };
        let disk = Disk::new();
        disk.set_sector(random.one_of(&[1, 16, 512, 4096]));
        let setup = Setup { root: None, in_flight: random.one_of(&[2, 4, 16, 64]) };
        let ring = Simulated::new(&setup, disk.clone(), behaviour);
        let (host, control) = (ring.host(), ring.control());
        let operations = if is_narrow { 8 } else { 64 };
        let config = Config::new().operations(operations).drain_timeout(Duration::from_secs(5));
        let io = start_on(Box::new(ring), config).map_err(|error| error.to_string())?;
        let (in_vain, has_room) = (0, false);
        Ok(World {
            io,
            disk,
            control,
            shape,
            broken,
            is_small,
            is_narrow,
            grain: u64::from(grain),
            faults,
            host,
            in_vain,
            has_room,
        })
    }

    /// From now on things go wrong.
    pub(crate) fn unleash(&self, random: &mut Random) {
        self.control.set_faults(self.faults.clone());
        if self.is_small {
            self.disk.limit(Some(self.disk.used() + random.below(60_000) as u64));
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn calm(&self) {
        self.control.set_faults(Faults::default());
        self.disk.limit(None);
    }

    /// Once around: whatever makes progress in this shape.
    pub(crate) fn turn(&mut self) -> Result<(), String> {
        let seen = self.io.delivered();
        // Only for the ring: what another thread would have to do is not waited for.
        let may_wait = self.shape == Shape::Waits && !self.has_room;
        let (now, calls) = (self.io.statistics(), self.io.limits().lone_calls);
        // A wait without a limit is what a call takes that is made instead of an entry.
        let wait = if may_wait && calls && now.in_flight + now.queued > 0 {
            Wait::Forever
        } else if may_wait && now.in_flight > 0 {
            Wait::For(Duration::from_secs(3600))
        } else {
            Wait::No
        };
        let step = self.io.step(seen, wait);
        self.host.turn();
        self.in_vain = if step.delivered == seen { self.in_vain + 1 } else { 0 };
        if self.in_vain > STEPS_MAX {
            return Err(format!(
                "stuck: {:?} {:?} {:?}",
                self.shape,
                self.faults,
                self.io.statistics()
            ));
        }
        if wait != Wait::No && step.status == Status::Pending {
            return Err(format!("it slept for an hour: {:?}", self.io.statistics()));
        }
        Ok(())
    }

    /// Until nothing is under way: cancels are answered after their targets, closes after all.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        (self.in_vain, self.has_room) = (0, false);
        while self.io.statistics().in_flight > 0 || self.io.statistics().alive > 0 {
            self.turn()?;
        }
        Ok(())
    }
}

/// What goes wrong, by the seed. Only what is `broken` shows to a caller.
fn faults(random: &mut Random, broken: bool) -> Faults {
    let rates = [Permille::NEVER, Permille(50), Permille(300), Permille(800)];
    let mut faults = Faults {
        short: random.one_of(&rates),
        interrupt: random.one_of(&rates),
        refuse: random.one_of(&rates),
        late: random.one_of(&rates),
        late_max: Duration::from_micros(random.one_of(&[10, 300])),
        stale: random.one_of(&rates),
        waits: Permille::NEVER,
        failing: Vec::new(),
    };
    if broken {
        for op in [OpKind::Write, OpKind::Read, OpKind::Truncate, OpKind::Sync, OpKind::Size] {
            let code = random.one_of(&[Errno::IO, Errno::IO, Errno::NOSPC]);
            let rate = random.one_of(&[Permille::NEVER, Permille(20), Permille(200)]);
            faults.failing.push(Failing { op, code, rate });
        }
    }
    faults
}
