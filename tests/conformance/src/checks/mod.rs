//! The table of all checks, a file per family of clauses.

mod callbacks;
mod cancel_drop;
mod clock;
mod completions;
mod crash;
mod direct;
mod directories;
mod driving;
mod durable;
mod errors;
mod faults;
mod files;
mod groups;
mod intents;
mod locks;
mod lone;
mod memory;
mod merging;
mod names;
mod order;
mod ordered;
mod overflow;
mod reads;
mod registered;
mod rename;
mod sharing;
mod space;
mod steps;
mod sync_loss;
mod temporaries;
mod vectored;
mod writes;

use crate::Check;

/// Builds a family's part of the table: clause, function, and what it needs of the platform.
macro_rules! family {
    ($($clause:literal $check:ident $([$($need:ident),*])?;)*) => {
        pub(in crate::checks) const CHECKS: &[crate::Check] = &[$(crate::Check {
            clause: $clause,
            name: stringify!($check),
            needs: &[$($(crate::Need::$need),*)?],
            run: |ctx| Box::pin($check(ctx)),
        }),*];
    };
}
pub(crate) use family;

const FAMILIES: &[&[Check]] = &[
    completions::CHECKS,
    callbacks::CHECKS,
    steps::CHECKS,
    lone::CHECKS,
    driving::CHECKS,
    reads::CHECKS,
    writes::CHECKS,
    faults::CHECKS,
    vectored::CHECKS,
    direct::CHECKS,
    direct::ways::CHECKS,
    direct::counts::CHECKS,
    direct::commits::CHECKS,
    overflow::CHECKS,
    merging::CHECKS,
    order::CHECKS,
    sync_loss::CHECKS,
    durable::CHECKS,
    intents::CHECKS,
    groups::CHECKS,
    ordered::CHECKS,
    files::CHECKS,
    locks::CHECKS,
    names::CHECKS,
    rename::CHECKS,
    space::CHECKS,
    sharing::CHECKS,
    directories::CHECKS,
    temporaries::CHECKS,
    cancel_drop::CHECKS,
    errors::CHECKS,
    memory::CHECKS,
    registered::CHECKS,
    clock::CHECKS,
    crash::CHECKS,
];

/// Every check there is.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    FAMILIES.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::checks;

    #[test]
    fn names_are_unique_within_their_clause() {
        let mut seen = HashSet::new();
        for check in checks() {
            assert!(seen.insert((check.clause, check.name)), "{} {}", check.clause, check.name);
        }
    }

    /// The clauses that the contract wants checked on every platform.
    #[test]
    fn every_clause_has_a_check_that_runs_everywhere() {
        let everywhere: HashSet<_> =
            checks().filter(|check| check.needs.is_empty()).map(|check| check.clause).collect();
        let clauses = "C1 C2 C3 C4 C5 C6 C7 C8 R1 R2 R3 W1 W2 W3 W4 V1 V2 V3 V4 V5 V6 V7 \
            O1 O2 O3 O4 M1 S1 S2 S3 S4 S5 S6 S7 T1 T2 T3 T4 A1 A2 A3 A4 \
            F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 P1 \
            L1 L2 L3 L4 L5 N1 N2 N3 X1 D1 D2 D3 E1 E2 \
            B1 B2 B3 B4 I1 I2 I3 I4 K1 K2 K3 G1 G2 U1";
        for clause in clauses.split_whitespace() {
            assert!(everywhere.contains(clause), "{clause} has no check");
        }
    }
}
