//! An epoll descriptor over a ring's, an eventfd and a timer.

use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::latch::Latch;
use crate::Errno;
use crate::unix::errno;

/// A descriptor that is readable while its driver has something to do for who polls it.
///
/// What it is over is closed with it. It does not keep the ring: one that is closed leaves the
/// epoll set by itself.
#[derive(Debug)]
pub struct Polled {
    epoll: OwnedFd,
    event: OwnedFd,
    timer: OwnedFd,
    latch: Latch,
    /// When the timer is over.
    due: Mutex<Option<Instant>>,
}

fn read(from: &OwnedFd) -> bool {
    let mut count = [0; 8];
    // Refused with EAGAIN if there is nothing in it.
    rustix::io::read(from, &mut count).is_ok()
}

impl Polled {
    /// One without a ring's own descriptor: all its news is raised.
    pub(crate) fn new() -> Result<Polled, Errno> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        );
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(errno)?;
        let polled = Polled {
            epoll,
            event: event.map_err(errno)?,
            timer: timer.map_err(errno)?,
            latch: Latch::default(),
            due: Mutex::new(None),
        };
        polled.join(polled.event.as_fd())?;
        polled.join(polled.timer.as_fd())?;
        Ok(polled)
    }

    /// One that is readable as well while `ring` is.
    #[cfg(not(littoral_backend = "threads"))]
    pub(crate) fn over(ring: BorrowedFd<'_>) -> Result<Polled, Errno> {
        let polled = Polled::new()?;
        polled.join(ring)?;
        Ok(polled)
    }

    fn join(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN).map_err(errno)
    }

    /// There is news: the descriptor is readable until the next step, or, if one is under way,
    /// after it.
    pub fn raise(&self) {
        self.latch.raise(|| self.fill());
    }

    fn fill(&self) {
        // Refused with EAGAIN only if it is full: then it is readable, which is all we want.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// There will be news after that time, at the latest.
    pub fn raise_after(&self, time: Duration) {
        // A time past the clock's end is never.
        let now = Instant::now();
        let Some(due) = now.checked_add(time) else { return };
        let mut earliest = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is over stands for nothing later, though nobody has looked at the timer yet.
        if earliest.is_some_and(|earliest| now < earliest && earliest <= due) {
            return;
        }
        // Zero would be no timer at all.
        let time = time.max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once) {
            Ok(_) => *earliest = Some(due),
            // Past what the kernel counts: early does no harm.
            Err(_) => self.raise(),
        }
    }

    /// A step begins: what is new from here on is raised at its end.
    pub fn begin(&self) {
        self.latch.begin(|| {
            read(&self.event);
        });
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_some() && read(&self.timer) {
            *due = None;
        }
    }

    /// The step is over.
    pub fn end(&self) {
        self.latch.end(|| self.fill());
    }
}

impl AsFd for Polled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Polled {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::thread;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::Polled;

    fn is_readable(polled: &Polled, seconds: i64) -> bool {
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(polled, PollFlags::IN)], Some(&timeout)).expect("a poll") > 0
    }

    /// A step on a slow machine: its time is over after it has looked at the timer, and it asks
    /// for the next one.
    #[test]
    fn a_time_that_is_over_hides_no_later_one() {
        let polled = Polled::new().expect("descriptors");
        polled.begin();
        polled.raise_after(Duration::from_millis(1));
        thread::sleep(Duration::from_millis(20));
        polled.raise_after(Duration::from_millis(100));
        polled.end();
        // Another one, for something else.
        polled.begin();
        polled.end();
        assert!(!is_readable(&polled, 0), "it is too early");
        assert!(is_readable(&polled, 10), "the later one is lost");
    }

    #[test]
    fn the_earliest_of_two_times_counts() {
        let polled = Polled::new().expect("descriptors");
        polled.raise_after(Duration::from_secs(3600));
        polled.raise_after(Duration::from_millis(1));
        polled.raise_after(Duration::from_secs(3600));
        assert!(is_readable(&polled, 10));
    }
}
