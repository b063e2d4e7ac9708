//! Getting a ring from a kernel that may say no.
//!
//! The ladder, from the top: all flags and the size that was asked for; on `EINVAL`, which is how a
//! kernel answers a flag it does not know, the same size with the newest flag less; on `ENOMEM`,
//! once, a pause, because the memory of a ring closed just before comes back with a delay; then
//! half the size. Any other refusal stands, whatever the flags: it is not about them.
//!
//! For example a Linux 5.10 with a tight memory lock, asked for 500 in flight:
//!
//! ```text
//!   CLAMP SUBMIT_ALL CQSIZE   256 entries, 512 completions   EINVAL   SUBMIT_ALL came with 5.18
//!   CLAMP            CQSIZE   256 entries, 512 completions   ENOMEM   pause
//!   CLAMP            CQSIZE   256 entries, 512 completions   ENOMEM   halve
//!   CLAMP            CQSIZE   128 entries, 256 completions   a ring: 255 in flight
//! ```
//!
//! Not asked for: `SQPOLL` (3-4 times slower at depth 1 on two cores, and it burns one while idle),
//! `SINGLE_ISSUER` and `DEFER_TASKRUN` (refuse every thread but one), `COOP_TASKRUN` (where the
//! waiter is not the submitter, completions wait for the submitter's next system call).

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::{IoUring, Probe};

use super::doorbell::Bell;
use super::entry::{CODES, Ops};
use super::regions::Regions;
use super::slots::Slots;
use super::{Uring, code};
use crate::unix::{Files, limits};
use crate::{Errno, Report, Ring, Setup, SetupError};

/// Entries of the submission queue: more are pushed only after a submit anyway.
const SQ_MAX: u32 = 256;
/// What kernels before `IORING_SETUP_CLAMP` take without complaint.
const SQ_PLAIN_MAX: u32 = 4096;
/// The kernel's `IORING_MAX_CQ_ENTRIES`.
const CQ_MAX: u32 = 65_536;
/// Below this a ring is not worth having.
const CQ_MIN: u32 = 8;
/// How long the kernel takes to give back the memory of a closed ring.
const RELEASE: Duration = Duration::from_millis(100);

bitflags::bitflags! {
    /// Flags of `io_uring_setup(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Flags: u8 {
        /// Linux 5.5: the size of the completion queue. Without it twice the submission queue's.
        const CQSIZE = 1;
        /// Linux 5.6: sizes that are too large are made smaller.
        const CLAMP = 1 << 1;
        /// Linux 5.18: a bad entry completes with its error and does not end the batch.
        const SUBMIT_ALL = 1 << 2;
    }
}

/// One thing to ask the kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) flags: Flags,
    /// Entries of the submission queue, a power of two.
    pub(super) sq: u32,
    /// Entries of the completion queue, a power of two.
    pub(super) cq: u32,
}

impl Rung {
    /// What we want: room for all in flight and for the doorbell.
    fn best(in_flight: u32) -> Rung {
        let cq = in_flight.max(1).saturating_add(1).min(CQ_MAX).next_power_of_two();
        Rung { flags: Flags::all(), sq: cq.min(SQ_MAX), cq }
    }

    /// The newest flag less.
    fn plainer(self) -> Option<Rung> {
        let newest = self.flags.iter().last()?;
        let flags = self.flags - newest;
        if flags.contains(Flags::CQSIZE) {
            return Some(Rung { flags, ..self });
        }
        let sq = (self.cq / 2).min(SQ_PLAIN_MAX);
        Some(Rung { flags, sq, cq: 2 * sq })
    }

    /// Half the size.
    fn fewer(self) -> Option<Rung> {
        let smaller = Rung { sq: (self.sq / 2).max(2), cq: self.cq / 2, ..self };
        (self.cq > CQ_MIN).then_some(smaller)
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rung { flags, sq, cq } = self;
        write!(f, "set-up with flags {}, {sq} entries, {cq} completions", names(*flags))
    }
}

fn names(flags: Flags) -> String {
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "none".into() } else { names.join("|") }
}

/// Refusals on the way, with their codes.
pub(crate) type Refused = Vec<(String, Errno)>;

/// Goes down the ladder until `ask` succeeds; `pause` lets the kernel release memory.
pub(super) fn climb<T>(
    in_flight: u32,
    mut ask: impl FnMut(&Rung) -> Result<T, Errno>,
    mut pause: impl FnMut(),
) -> (Result<(T, Rung), Errno>, Refused) {
    let mut refused = Refused::new();
    let mut rung = Rung::best(in_flight);
    let mut paused = false;
    loop {
        let error = match ask(&rung) {
            Ok(built) => return (Ok((built, rung)), refused),
            Err(error) => error,
        };
        refused.push((rung.to_string(), error));
        let next = match error {
            Errno::INVAL => rung.plainer(),
            Errno::NOMEM if !paused => {
                paused = true;
                pause();
                Some(rung)
            }
            Errno::NOMEM => rung.fewer(),
            _ => None,
        };
        match next {
            Some(next) => rung = next,
            None => return (Err(error), refused),
        }
    }
}

/// Asks the kernel.
fn build(rung: &Rung) -> Result<IoUring, Errno> {
    let mut builder = IoUring::builder();
    if rung.flags.contains(Flags::CQSIZE) {
        builder.setup_cqsize(rung.cq);
    }
    if rung.flags.contains(Flags::CLAMP) {
        builder.setup_clamp();
    }
    if rung.flags.contains(Flags::SUBMIT_ALL) {
        builder.setup_submit_all();
    }
    builder.build(rung.sq).map_err(|error| code(&error))
}

/// The likely cause of a refusal, and what to do about it.
pub(super) fn explain(error: Errno, disabled: Option<&str>) -> String {
    let cause = match (error, disabled.map(str::trim)) {
        (Errno::PERM | Errno::ACCES, Some("2")) => {
            "the sysctl kernel.io_uring_disabled is 2: set it to 0"
        }
        (Errno::PERM | Errno::ACCES, Some("1")) => {
            "the sysctl kernel.io_uring_disabled is 1: set it to 0, or add this process to the \
             group in kernel.io_uring_group"
        }
        (Errno::PERM | Errno::ACCES | Errno::OPNOTSUPP, _) => {
            "a seccomp filter or security module forbids it, as many containers do: allow \
             io_uring_setup, io_uring_enter and io_uring_register (with Docker: \
             --security-opt seccomp=PROFILE)"
        }
        (Errno::NOSYS, _) => {
            "the kernel is older than 5.1 or built without io_uring, or a seccomp filter hides it \
             as many containers do: use a newer kernel, or allow io_uring_setup, io_uring_enter \
             and io_uring_register"
        }
        (Errno::NOMEM, _) => {
            "the memory lock limit is used up: raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK= of \
             a systemd unit), or ask for fewer operations"
        }
        (Errno::MFILE | Errno::NFILE, _) => {
            "no descriptor is left: raise RLIMIT_NOFILE (ulimit -n)"
        }
        _ => "an unexpected refusal: see io_uring_setup(2)",
    };
    format!("io_uring refused: {cause}")
}

/// What a kernel can do, with what it cannot.
pub(super) struct Able {
    pub(super) ops: Ops,
    /// A wait takes a timeout.
    pub(super) timeouts: bool,
}

/// Asks the ring what it can do. What it cannot is noted, and done in another way.
fn probe(ring: &IoUring, refused: &mut Refused) -> Able {
    let mut answer = Probe::new();
    let ops = match ring.submitter().register_probe(&mut answer) {
        Ok(()) => Ops::of(&answer),
        Err(error) => {
            refused.push(("IORING_REGISTER_PROBE".into(), code(&error)));
            Ops::FIRST
        }
    };
    let timeouts = ring.params().is_feature_ext_arg();
    if !timeouts {
        let what = "feature EXT_ARG (Linux 5.11): a wait with a timeout is a poll";
        refused.push((what.into(), Errno::INVAL));
    }
    if !ring.params().is_feature_nodrop() {
        // Harmless: the queue holds all that may be in flight.
        refused.push(("feature NODROP (Linux 5.5)".into(), Errno::INVAL));
    }
    Able { ops, timeouts }
}

/// Why there is no ring, and all that was refused on the way there.
pub(crate) type Refusal = (SetupError, Refused);

/// [`Uring::on`].
pub(super) fn on(files: Arc<Files>, setup: &Setup) -> Result<Uring, Refusal> {
    let pause = || std::thread::sleep(RELEASE);
    let (climbed, mut refused) = climb(setup.in_flight, build, pause);
    match climbed {
        Err(code) => Err((failed(code), refused)),
        Ok((ring, Rung { flags, .. })) => {
            let able = probe(&ring, &mut refused);
            assemble(setup, files, ring, flags, &able, refused)
        }
    }
}

fn failed(code: Errno) -> SetupError {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    SetupError { what: explain(code, disabled.as_deref()), code }
}

/// Puts the parts together and sends the doorbell's poll through: a set-up alone proves nothing,
/// a filter may let it pass and forbid the rest.
pub(super) fn assemble(
    setup: &Setup,
    files: Arc<Files>,
    ring: IoUring,
    flags: Flags,
    able: &Able,
    mut refused: Refused,
) -> Result<Uring, Refusal> {
    let bell = match Bell::new(ring, able.timeouts) {
        Ok(bell) => Arc::new(bell),
        Err(code) => return Err((failed(code), refused)),
    };
    let ring = &bell.ring;
    let (sq, cq) = (ring.params().sq_entries(), ring.params().cq_entries());
    let in_flight = cq - 1;
    if in_flight < setup.in_flight {
        let what = format!("{} in flight: the completion queue holds {in_flight}", setup.in_flight);
        refused.push((what, Errno::INVAL));
    }
    for (op, code, since) in CODES {
        if !able.ops.contains(op) {
            let name = names_of(op);
            let fixed = Ops::READV_FIXED | Ops::WRITEV_FIXED;
            let instead = if fixed.contains(op) { "as a plain vector" } else { "by a direct call" };
            let what = format!("opcode {name} ({code}, Linux {since}): done {instead}");
            refused.push((what, Errno::INVAL));
        }
    }
    let mut chosen = vec![
        format!("flags {}", names(flags)),
        format!("{sq} submission entries"),
        format!("{cq} completion entries"),
        format!("opcodes {}", names_of(able.ops)),
    ];
    if able.timeouts {
        chosen.push("feature EXT_ARG".into());
    }
    if ring.params().is_feature_nodrop() {
        chosen.push("feature NODROP".into());
    }
    let root = files.root().as_raw_fd();
    let places = sq as usize - 1;
    let mut uring = Uring {
        bell,
        files,
        root,
        ops: able.ops,
        regions: Regions::default(),
        slots: Slots::default(),
        made: VecDeque::with_capacity(16),
        live: 0,
        room: places,
        room_for_reads: if able.ops.contains(Ops::READ) { places } else { 0 },
        armed: false,
        limits: limits(in_flight),
        report: Report { backend: "uring", chosen, refused },
    };
    uring.arm();
    match uring.submit() {
        Ok(()) => Ok(uring),
        Err(code) => Err((failed(code), uring.report.refused)),
    }
}

fn names_of(ops: Ops) -> String {
    let known = CODES.iter().flat_map(|(op, ..)| op.iter_names());
    let names: Vec<&str> =
        known.filter(|(_, op)| ops.contains(*op)).map(|(name, _)| name).collect();
    names.join(" ")
}
