//! Where an entry is between push and reap. Pure: no thread, no lock, no call.
//!
//! ```text
//!   push        submit         start            end            take
//!   ----> pushed ----> queued ------> running -------> done ------->
//!                        `--- cancelled ---------------^
//! ```
//!
//! A cancel never leaves `submit`: it finds its target queued, and ends both; or running, and says
//! `EALREADY`, because nothing ends a system call of another thread without touching more than
//! that; or nowhere, and says `ENOENT`. Entries are queued in the order of their pushes, so a
//! cancel cannot overtake its target.

use std::collections::VecDeque;

use crate::{Cqe, Errno, Op, Sqe, Tag};

/// Names a thread of the pool.
pub(super) type Worker = u32;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pushed: VecDeque<Sqe>,
    queued: VecDeque<Sqe>,
    /// At most one for each thread.
    running: Vec<(Worker, Tag)>,
    done: VecDeque<Cqe>,
}

impl Queues {
    pub(super) fn push(&mut self, sqe: Sqe) {
        self.pushed.push_back(sqe);
    }

    /// Pushed and not submitted.
    pub(super) fn unsubmitted(&self) -> usize {
        self.pushed.len()
    }

    /// Queues the first `count` of what was pushed, as far as there is so much.
    pub(super) fn submit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(sqe) = self.pushed.pop_front() else { return };
            let Op::Cancel { target } = sqe.op else {
                self.queued.push_back(sqe);
                continue;
            };
            let result = self.cancel(target);
            self.done.push_back(Cqe { tag: sqe.tag, result });
        }
    }

    fn cancel(&mut self, target: Tag) -> Result<u64, Errno> {
        if let Some(at) = self.queued.iter().position(|sqe| sqe.tag == target) {
            self.queued.remove(at);
            self.done.push_back(Cqe { tag: target, result: Err(Errno::CANCELED) });
            return Ok(0);
        }
        let runs = self.running.iter().any(|(_, tag)| *tag == target);
        Err(if runs { Errno::ALREADY } else { Errno::NOENT })
    }

    /// Whether an entry waits for a thread.
    pub(super) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// The entry that has waited longest is this thread's now.
    pub(super) fn start(&mut self, worker: Worker) -> Option<Sqe> {
        let sqe = self.queued.pop_front()?;
        self.running.push((worker, sqe.tag));
        Some(sqe)
    }

    /// What was started came to an end.
    pub(super) fn end(&mut self, tag: Tag, result: Result<u64, Errno>) {
        let runs = self.running.iter().position(|(_, running)| *running == tag);
        self.running.swap_remove(runs.expect("only what was started ends"));
        self.done.push_back(Cqe { tag, result });
    }

    /// An entry that was executed where it was pushed.
    pub(super) fn done_at_once(&mut self, cqe: Cqe) {
        self.done.push_back(cqe);
    }

    pub(super) fn is_running(&self, worker: Worker) -> bool {
        self.running.iter().any(|(runner, _)| *runner == worker)
    }

    pub(super) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Moves all that is done into `taken`, which is empty.
    pub(super) fn take(&mut self, taken: &mut VecDeque<Cqe>) {
        debug_assert!(taken.is_empty(), "what was taken before comes first");
        core::mem::swap(&mut self.done, taken);
    }

    /// Forgets all but what is running.
    pub(super) fn forget(&mut self) {
        self.pushed.clear();
        self.queued.clear();
        self.done.clear();
    }
}
