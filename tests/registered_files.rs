//! Does a driver that keeps files in the kernel's table read and write the right ones, also when
//! there are more than the table holds and their descriptors come again?
#![cfg(target_os = "linux")]

mod support;

use littoral::{Buffer, OpenOptions, start, wait};

const TABLE: u32 = 4;
const FILES: u8 = 6;
const DEPTH: u64 = 8;

#[test]
fn every_read_is_of_its_own_file() {
    let folder = support::folder();
    for byte in 0..FILES {
        std::fs::write(folder.path().join(byte.to_string()), vec![byte; 4096]).expect("a file");
    }
    let io = start(support::config(folder.path()).registered_files(TABLE)).expect("a driver");
    let told = io.capabilities();
    let told = told.chosen.iter().chain(told.refused.iter().map(|(what, _)| what));
    let told: Vec<_> = told.filter(|what| what.contains("registered files")).collect();
    assert_eq!(told.len(), 1, "used or refused, it is told: {told:?}");
    for round in 0..12_u8 {
        // Another order each time, so that numbers and files do not go together.
        let names: Vec<u8> = (0..FILES).map(|nth| (nth * 5 + round) % FILES).collect();
        let open = |byte: &u8| wait(&*io, io.open(&byte.to_string(), OpenOptions::new()));
        let files: Vec<_> = names.iter().map(|byte| open(byte).expect("it opens")).collect();
        for _ in 0..3 {
            let mut reads = Vec::new();
            for (file, byte) in files.iter().zip(&names) {
                let read = |nth| (*byte, file.pread(nth * 512, Buffer::with_capacity(512)));
                reads.extend((0..DEPTH).map(read));
            }
            for (byte, read) in reads {
                assert_eq!(wait(&*io, read).expect("it reads")[..], [byte; 512], "round {round}");
            }
            for (file, byte) in files.iter().zip(&names) {
                wait(&*io, file.pwrite(0, vec![*byte; 100].into())).expect("it writes");
            }
        }
    }
    drop(io);
    for byte in 0..FILES {
        let bytes = std::fs::read(folder.path().join(byte.to_string())).expect("it is there");
        assert_eq!(bytes, vec![byte; 4096]);
    }
}
