//! The ladder against kernels that refuse, made up and real; what the report and the errors say.

use std::collections::VecDeque;

use super::super::entry::Ops;
use super::super::setup::{Able, Flags, Rung, climb, explain};
use super::{able, native};
use crate::{Errno, Native, Ring, Setup, Uring};

/// Climbs against a kernel that gives `answers` in turn and agrees at their end. Returns what was
/// asked for, how often it paused, the outcome and how many refusals were kept.
fn against(in_flight: u32, answers: &[Errno]) -> (Vec<Rung>, u32, Result<Rung, Errno>, usize) {
    let mut answers: VecDeque<Errno> = answers.iter().copied().collect();
    let (mut asked, mut pauses) = (Vec::new(), 0);
    let ask = |rung: &Rung| {
        asked.push(*rung);
        answers.pop_front().map_or(Ok(()), Err)
    };
    let (climbed, refused) = climb(in_flight, ask, || pauses += 1);
    (asked, pauses, climbed.map(|((), rung)| rung), refused.len())
}

#[test]
fn the_first_rung_fits_what_was_asked_for() {
    let sizes = |in_flight| {
        let (asked, _, found, refused) = against(in_flight, &[]);
        assert_eq!((asked.len(), refused, found), (1, 0, Ok(asked[0])));
        assert_eq!(asked[0].flags, Flags::all());
        (asked[0].sq, asked[0].cq)
    };
    assert_eq!(sizes(0), (2, 2));
    assert_eq!(sizes(1), (2, 2));
    assert_eq!(sizes(3), (4, 4));
    assert_eq!(sizes(4), (8, 8));
    assert_eq!(sizes(255), (256, 256));
    assert_eq!(sizes(256), (256, 512));
    assert_eq!(sizes(u32::MAX), (256, 65_536));
}

#[test]
fn flags_are_given_up_from_the_newest() {
    let (asked, pauses, found, refused) = against(600, &[Errno::INVAL; 3]);
    let flags: Vec<Flags> = asked.iter().map(|rung| rung.flags).collect();
    let cqsize = Flags::CQSIZE;
    assert_eq!(flags, [Flags::all(), cqsize | Flags::CLAMP, cqsize, Flags::empty()]);
    assert_eq!((pauses, refused), (0, 3));
    // Without CQSIZE the completion queue is twice the submission queue: it must still fit.
    assert_eq!(found, Ok(Rung { flags: Flags::empty(), sq: 512, cq: 1024 }));
    let (_, _, found, refused) = against(600, &[Errno::INVAL; 4]);
    assert_eq!((found, refused), (Err(Errno::INVAL), 4));
}

#[test]
fn memory_is_waited_for_once_and_then_done_without() {
    let (asked, pauses, found, refused) = against(500, &[Errno::NOMEM; 3]);
    let sizes: Vec<_> = asked.iter().map(|rung| (rung.sq, rung.cq)).collect();
    assert_eq!(sizes, [(256, 512), (256, 512), (128, 256), (64, 128)]);
    assert_eq!((pauses, refused, found), (1, 3, Ok(asked[3])));
    let (asked, pauses, found, _) = against(500, &[Errno::NOMEM; 99]);
    assert_eq!((pauses, found), (1, Err(Errno::NOMEM)));
    assert_eq!(asked.last().map(|rung| rung.cq), Some(8));
}

#[test]
fn the_example_of_the_file() {
    let (asked, pauses, found, _) = against(500, &[Errno::INVAL, Errno::NOMEM, Errno::NOMEM]);
    let flags = Flags::CLAMP | Flags::CQSIZE;
    assert_eq!((asked.len(), pauses), (4, 1));
    assert_eq!(found, Ok(Rung { flags, sq: 128, cq: 256 }));
}

#[test]
fn other_refusals_stand_at_once() {
    for error in [Errno::NOSYS, Errno::PERM, Errno::ACCES, Errno::OPNOTSUPP, Errno::MFILE] {
        let (asked, pauses, found, refused) = against(8, &[error]);
        assert_eq!((asked.len(), pauses, found, refused), (1, 0, Err(error), 1));
    }
}

#[test]
fn errors_name_cause_and_remedy() {
    let says = |error, disabled, words: &[&str]| {
        let text = explain(error, disabled);
        for word in words {
            assert!(text.contains(word), "{error:?} {disabled:?}: {text}");
        }
    };
    says(Errno::PERM, Some("2\n"), &["kernel.io_uring_disabled is 2", "set it to 0"]);
    says(Errno::PERM, Some("1\n"), &["is 1", "kernel.io_uring_group"]);
    says(Errno::PERM, Some("0\n"), &["seccomp", "io_uring_setup"]);
    says(Errno::PERM, None, &["seccomp"]);
    says(Errno::NOSYS, None, &["5.1", "seccomp"]);
    says(Errno::NOMEM, Some("0"), &["RLIMIT_MEMLOCK"]);
    says(Errno::MFILE, None, &["RLIMIT_NOFILE"]);
}

#[test]
fn a_filter_that_forbids_set_up_or_entering_is_named() {
    for (forbidden, errno) in [
        (libc::SYS_io_uring_setup, Errno::PERM),
        (libc::SYS_io_uring_setup, Errno::NOSYS),
        (libc::SYS_io_uring_enter, Errno::PERM),
    ] {
        // A filter binds only the thread that asks for it.
        let refused = std::thread::spawn(move || {
            forbid(forbidden, errno);
            Uring::new(&Setup { root: None, in_flight: 8 }).err()
        });
        let refused = refused.join().expect("a thread").expect("a refusal");
        assert_eq!(refused.code, errno);
        assert!(refused.what.contains("seccomp"), "{}", refused.what);
    }
}

#[test]
fn whatever_the_refusal_threads_take_over_and_tell_of_it() {
    let setup = libc::SYS_io_uring_setup;
    let refusals = [
        (setup, Errno::NOSYS),
        (setup, Errno::PERM),
        (setup, Errno::ACCES),
        (setup, Errno::NOMEM),
        (setup, Errno::INVAL),
        (setup, Errno::OPNOTSUPP),
        (setup, Errno::MFILE),
        (setup, Errno::from_raw(4095)),
        (libc::SYS_io_uring_enter, Errno::PERM),
        (libc::SYS_eventfd2, Errno::MFILE),
    ];
    for (forbidden, errno) in refusals {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let there = super::setup(&folder, 8);
        let absent = Setup { root: Some("/nowhere at all".into()), in_flight: 8 };
        let (taken, lost) = std::thread::spawn(move || {
            forbid(forbidden, errno);
            (crate::native(&there), Native::new(&absent).err())
        })
        .join()
        .expect("a thread");
        let ring = taken.expect("a ring all the same");
        let report = ring.report();
        assert_eq!(report.backend, "threads");
        let (what, code) = report.refused.last().expect("the reason");
        assert!(what.starts_with("io_uring refused: ") && *code == errno, "{what} {code:?}");
        drop(ring);
        // A root that is not there is no refusal.
        assert_eq!(lost.expect("no root, no ring").code, Errno::NOENT);
    }
}

#[test]
fn what_is_not_refused_is_the_kernels_ring() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ring = Native::new(&super::setup(&folder, 8)).expect("a ring");
    assert!(matches!(ring, Native::Uring(_)));
    assert_eq!(ring.into_ring().report().backend, "uring");
}

#[test]
fn a_filter_that_forbids_probing_leaves_a_ring() {
    let thread = std::thread::spawn(|| {
        forbid(libc::SYS_io_uring_register, Errno::PERM);
        let ring = Uring::new(&Setup { root: None, in_flight: 8 }).expect("a ring");
        (ring.ops, ring.report())
    });
    let (ops, report) = thread.join().expect("a thread");
    assert_eq!(ops, Ops::FIRST);
    assert_eq!(report.refused[0], ("IORING_REGISTER_PROBE".into(), Errno::PERM));
}

/// Answers a system call of this thread with `errno` from now on.
fn forbid(call: libc::c_long, errno: Errno) {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let (equal, give) = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::BPF_RET | libc::BPF_K);
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).expect("a code"),
        jt,
        jf,
        k,
    };
    let mut program = [
        // The system call's number is the first field of what a filter sees.
        step(load, 0, 0, 0),
        step(equal, 0, 1, u32::try_from(call).expect("a number")),
        step(give, 0, 0, libc::SECCOMP_RET_ERRNO | errno.raw().cast_unsigned()),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: both calls change this thread only; the program and its frame outlive them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter), 0);
    }
}

#[test]
fn a_root_that_is_no_folder_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let absent = folder.path().join("absent");
    for (root, code) in [(&file, Errno::NOTDIR), (&absent, Errno::NOENT)] {
        let root = root.to_str().expect("a name in UTF-8");
        let refused = Uring::new(&Setup { root: Some(root.into()), in_flight: 8 }).err();
        let refused = refused.expect("a refusal");
        assert_eq!(refused.code, code);
        assert!(refused.what.contains(root), "{}", refused.what);
    }
}

#[test]
fn the_report_says_what_is_in_use_and_what_is_not() {
    let (ring, _folder) = native(300);
    let report = ring.report();
    assert_eq!(report.backend, "uring");
    let chosen = report.chosen.join("\n");
    for words in ["256 submission", "512 completion", "CQSIZE", "READV", "RENAMEAT"] {
        assert!(chosen.contains(words), "{chosen}");
    }

    let ops = Ops::all() - Ops::FTRUNCATE - Ops::UNLINKAT;
    let (ring, _folder) = able(8, &Able { ops, timeouts: true });
    let report = ring.report();
    let refused: Vec<_> = report.refused.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("UNLINKAT") && refused[0].contains("5.11"), "{refused:?}");
    assert!(refused[1].contains("FTRUNCATE") && refused[1].contains("6.9"), "{refused:?}");
    let chosen = report.chosen.join("\n");
    assert!(!chosen.contains("FTRUNCATE") && chosen.contains("OPENAT"), "{chosen}");

    let (ring, _folder) = native(70_000);
    assert_eq!(ring.limits().in_flight, 65_535);
    let refused = ring.report().refused;
    assert!(refused.iter().any(|(what, _)| what.starts_with("70000 in flight")), "{refused:?}");
}
