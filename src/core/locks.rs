//! Who of this driver has the lock of one file, and what the platform must be told.
//!
//! The driver's handles of a file share what is open of it, so the platform knows one lock of this
//! driver: the strongest that any handle has. Among themselves the handles are told apart here, by
//! the same rules that the platform applies among drivers: shared beside shared, exclusive alone,
//! a handle never in its own way.
//!
//! The platform's lock belongs to one of the file's two platform handles. It is taken by the one
//! that may write, if there is one, since only that can have it exclusively; a lock that was
//! taken for reading, before the other was opened, moves over: shared there first, then given up
//! here, so that there is no moment without one.
//!
//! Worked example, with a platform handle 3 for reading and later 4 for both. Handle a takes it
//! shared: lock 3 shared. Handle b takes it shared: nothing. b wants it exclusively: a is in the
//! way. a gives it up: nothing, b still has it. Now 4 is opened, and b tries again: lock 4 shared,
//! unlock 3, lock 4 exclusive; if the last is refused, b is left with what it had.

use littoral_platform::{Handle, LockKind};

/// The lock of one file.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The handles of this driver that have it. One, if that has it exclusively.
    holders: Vec<(u64, LockKind)>,
    /// What the platform gave, and to which of its handles.
    platform: Option<(Handle, LockKind)>,
    /// The platform handle that it moved away from, to be unlocked.
    left: Option<Handle>,
}

/// The next thing to ask of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Lock(Handle, LockKind),
    Unlock(Handle),
}

impl Registry {
    /// What this handle has.
    pub(crate) fn of(&self, who: u64) -> Option<LockKind> {
        self.holders.iter().find(|holder| holder.0 == who).map(|holder| holder.1)
    }

    /// Whether no other handle of this driver is in the way.
    pub(crate) fn admits(&self, who: u64, kind: LockKind) -> bool {
        let mut others = self.holders.iter().filter(|holder| holder.0 != who);
        others.all(|holder| holder.1.max(kind) == LockKind::Shared)
    }

    /// What the platform has to give if this handle has `kind`.
    pub(crate) fn level_with(&self, who: u64, kind: Option<LockKind>) -> Option<LockKind> {
        let others = self.holders.iter().filter(|holder| holder.0 != who);
        others.map(|holder| holder.1).chain(kind).max()
    }

    /// Notes that this handle has it so now, or not at all.
    pub(crate) fn set(&mut self, who: u64, kind: Option<LockKind>) {
        self.holders.retain(|holder| holder.0 != who);
        self.holders.extend(kind.map(|kind| (who, kind)));
    }

    /// The next step on the way to that level; `best` is the platform handle that can do most.
    pub(crate) fn next_call(&self, level: Option<LockKind>, best: Handle) -> Option<Call> {
        if let Some(left) = self.left {
            return Some(Call::Unlock(left));
        }
        match (self.platform, level) {
            (None, None) => None,
            (Some((handle, _)), None) => Some(Call::Unlock(handle)),
            (Some((_, has)), Some(kind)) if has == kind => None,
            (Some((handle, _)), Some(LockKind::Exclusive)) if handle != best => {
                Some(Call::Lock(best, LockKind::Shared))
            }
            (Some((handle, _)), Some(LockKind::Shared)) => {
                Some(Call::Lock(handle, LockKind::Shared))
            }
            (_, Some(kind)) => Some(Call::Lock(best, kind)),
        }
    }

    /// Notes that the platform did it.
    pub(crate) fn called(&mut self, call: Call) {
        match call {
            Call::Unlock(handle) if self.left == Some(handle) => self.left = None,
            Call::Unlock(_) => self.platform = None,
            Call::Lock(handle, kind) => {
                let before = self.platform.replace((handle, kind));
                self.left = before.map(|before| before.0).filter(|before| *before != handle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockKind::{Exclusive, Shared};
    use proptest::prelude::*;

    const READER: Handle = Handle(3);
    const WRITER: Handle = Handle(4);

    /// Walks to a level on a platform that refuses nothing.
    fn walk(registry: &mut Registry, level: Option<LockKind>, best: Handle) -> Vec<Call> {
        let mut calls = Vec::new();
        while let Some(call) = registry.next_call(level, best) {
            registry.called(call);
            calls.push(call);
        }
        calls
    }

    fn take(registry: &mut Registry, who: u64, kind: LockKind, best: Handle) -> Vec<Call> {
        assert!(registry.admits(who, kind));
        let calls = walk(registry, registry.level_with(who, Some(kind)), best);
        registry.set(who, Some(kind));
        calls
    }

    fn give(registry: &mut Registry, who: u64, best: Handle) -> Vec<Call> {
        let calls = walk(registry, registry.level_with(who, None), best);
        registry.set(who, None);
        calls
    }

    #[test]
    fn the_worked_example() {
        let mut registry = Registry::default();
        assert_eq!(take(&mut registry, 1, Shared, READER), [Call::Lock(READER, Shared)]);
        assert_eq!(take(&mut registry, 2, Shared, READER), []);
        assert!(!registry.admits(2, Exclusive));
        assert_eq!(give(&mut registry, 1, READER), []);
        let moved =
            [Call::Lock(WRITER, Shared), Call::Unlock(READER), Call::Lock(WRITER, Exclusive)];
        assert_eq!(take(&mut registry, 2, Exclusive, WRITER), moved);
        assert_eq!(give(&mut registry, 2, WRITER), [Call::Unlock(WRITER)]);
    }

    #[test]
    fn a_downgrade_is_one_call() {
        let mut registry = Registry::default();
        take(&mut registry, 1, Exclusive, WRITER);
        assert_eq!(take(&mut registry, 1, Shared, WRITER), [Call::Lock(WRITER, Shared)]);
        assert_eq!(registry.of(1), Some(Shared));
    }

    /// The platform's rules, for all drivers together: as open-file-description locks.
    #[derive(Default)]
    struct Platform(Vec<((usize, Handle), LockKind)>);

    impl Platform {
        fn call(&mut self, driver: usize, call: Call) -> bool {
            let (Call::Lock(handle, _) | Call::Unlock(handle)) = call;
            let who = (driver, handle);
            if let Call::Lock(handle, kind) = call {
                let stands = |other: LockKind| other == Exclusive || kind == Exclusive;
                if self.0.iter().any(|held| held.0 != who && stands(held.1)) {
                    return false;
                }
                assert!(kind == Shared || handle == WRITER, "{handle:?} cannot write");
                self.0.retain(|held| held.0 != who);
                self.0.push((who, kind));
            } else {
                let before = self.0.len();
                self.0.retain(|held| held.0 != who);
                assert!(self.0.len() < before, "unlocked what was not locked");
            }
            true
        }
    }

    const DRIVERS: usize = 3;
    const HANDLES: u64 = 4;

    proptest! {
        /// Against the definition: whoever asks gets it exactly if nobody else, in this driver or
        /// another one, is in the way; one who is refused keeps what he had.
        #[test]
        fn one_rule_for_the_handles_of_all_drivers(
            script in prop::collection::vec(
                (0..DRIVERS, 0..HANDLES, 0_u8..5, any::<bool>()), 1..200
            )
        ) {
            let mut platform = Platform::default();
            let mut registries: [Registry; DRIVERS] = Default::default();
            let mut best = [READER; DRIVERS];
            let mut model: Vec<((usize, u64), LockKind)> = Vec::new();
            for (driver, who, action, opens) in script {
                if opens {
                    best[driver] = WRITER;
                }
                let wanted = match action {
                    0 | 1 => Some(Shared),
                    2 | 3 if best[driver] == WRITER => Some(Exclusive),
                    _ => None,
                };
                let registry = &mut registries[driver];
                let mut granted = wanted.is_none_or(|kind| registry.admits(who, kind));
                if granted {
                    let level = registry.level_with(who, wanted);
                    while let Some(call) = registry.next_call(level, best[driver]) {
                        granted = platform.call(driver, call);
                        if !granted {
                            break;
                        }
                        registry.called(call);
                    }
                }
                if granted {
                    registry.set(who, wanted);
                }

                let me = (driver, who);
                let mut others = model.iter().filter(|held| held.0 != me);
                let free = wanted.is_none_or(|kind| {
                    others.all(|held| held.1 == Shared && kind == Shared)
                });
                prop_assert_eq!(granted, free);
                if granted {
                    model.retain(|held| held.0 != me);
                    model.extend(wanted.map(|kind| (me, kind)));
                }
                for (driver, registry) in registries.iter().enumerate() {
                    for who in 0..HANDLES {
                        let has = model.iter().find(|held| held.0 == (driver, who));
                        prop_assert_eq!(registry.of(who), has.map(|held| held.1));
                    }
                    // What the platform gave is what the handles have, no more and no less.
                    let level = registry.level_with(u64::MAX, None);
                    let given = platform.0.iter().filter(|held| held.0.0 == driver);
                    prop_assert_eq!(given.clone().map(|held| held.1).max(), level);
                    prop_assert!(given.count() <= 1);
                }
            }
        }
    }
}
