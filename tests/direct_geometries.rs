//! Direct files of every geometry, on a ring that insists on it and gives short counts: the engine
//! sends it nothing else, and every byte is right.

use littoral::platform::simulated::{Config as Behaviour, Disk, Faults, Permille, Simulated};
use littoral::platform::{Geometry, GeometrySource, Setup};
use littoral::{Arena, Buffer, Config, DirectIo, Directness, OpenOptions, Shared, Vector};
use littoral::{start_on, wait};
use proptest::prelude::*;

/// Bytes of the file that is worked on, at first.
const SIZE: usize = 64 * 1024;

/// Some memory at `skew` bytes behind a page, of that many bytes.
fn part(arena: &Arena, skew: usize, bytes: &[u8]) -> Shared {
    let mut buffer = arena.take(skew + bytes.len()).expect("one of many");
    buffer.extend_from_slice(&vec![0; skew]);
    buffer.extend_from_slice(bytes);
    buffer.freeze().slice(skew..)
}

#[derive(Clone, Debug)]
struct Move {
    write: bool,
    at: usize,
    /// Length, and where its memory lies, of each part.
    parts: Vec<(usize, usize)>,
}

/// A number up to `most` that is a multiple of a small or large power of two, or of none.
fn number(most: usize) -> impl Strategy<Value = usize> {
    (0..=most, prop::sample::select(vec![1, 4, 512, 512, 4096, 4096]))
        .prop_map(|(number, unit)| number - number % unit)
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let parts = prop::collection::vec((number(12_000), number(4096)), 1..5);
    let one = (any::<bool>(), number(SIZE), parts).prop_map(|(write, at, parts)| Move {
        write,
        at,
        parts,
    });
    prop::collection::vec(one, 1..12)
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let power = |from: u32, to: u32| (from..=to).prop_map(|exponent| 1_u32 << exponent);
    (power(0, 12), power(6, 12), 0_u32..4).prop_map(|(memory, offset, less)| Geometry {
        memory,
        read_offset: offset >> less,
        ..Geometry::uniform(offset, GeometrySource::Simulated)
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_unaligned_is_sent_and_every_byte_is_right(
        geometry in geometry(),
        moves in moves(),
        seed in any::<u64>(),
        spans_per_call in prop::sample::select(vec![1_usize, 2, 1024]),
        bytes_per_call in prop::sample::select(vec![1000_usize, 5000, 1 << 20]),
        short in prop::sample::select(vec![0_u32, 300, 800]),
    ) {
        let short = Permille(u16::try_from(short).expect("small"));
        let faults = Faults { short, interrupt: Permille(50), ..Faults::default() };
        let direct = Some(geometry);
        let behaviour =
            Behaviour { direct, faults, spans_per_call, bytes_per_call, ..Behaviour::seeded(seed) };
        let setup = Setup { root: None, in_flight: 16 };
        let ring = Simulated::new(&setup, Disk::new(), behaviour);
        let control = ring.control();
        let io = start_on(Box::new(ring), Config::new().operations(64)).expect("a driver");
        let options = OpenOptions::new().create(true).direct(DirectIo::Required);
        let file = wait(&*io, io.open("file", options)).expect("a file");
        let told = file.geometry().expect("it is open");
        prop_assert_eq!(told.direct, Directness::On);
        prop_assert_eq!(told.memory_align, geometry.memory);
        prop_assert_eq!(told.read_align, geometry.read_offset);

        let arena = Arena::aligned(4096, &[(16 * 1024, 16)]);
        let mut model: Vec<u8> = Vec::new();
        for (round, Move { write, at, parts }) in (1_u8..).zip(moves) {
            let total: usize = parts.iter().map(|(len, _)| len).sum();
            if write {
                let bytes: Vec<u8> = (0..total).map(|n| round ^ n.to_le_bytes()[0]).collect();
                let mut rest = &bytes[..];
                let vector: Vector = parts
                    .iter()
                    .map(|(len, skew)| {
                        let (here, others) = rest.split_at(*len);
                        rest = others;
                        part(&arena, *skew, here)
                    })
                    .collect();
                wait(&*io, file.pwritev(at as u64, vector)).expect("a write");
                if total > 0 {
                    model.resize(model.len().max(at + total), 0);
                    model[at..at + total].copy_from_slice(&bytes);
                }
            } else {
                let into = parts.iter().map(|(len, _)| arena.take(*len).expect("one of many"));
                let found = wait(&*io, file.preadv(at as u64, into.collect())).expect("a read");
                let found: Vec<u8> = found.iter().flat_map(|part| part.iter().copied()).collect();
                let end = model.len().min(at + total);
                let expected = model.get(at.min(end)..end).unwrap_or_default();
                prop_assert!(found == expected, "{total} bytes at {at} of {}", model.len());
            }
        }
        let all = wait(&*io, file.pread(0, Buffer::with_capacity(model.len() + 1)));
        prop_assert!(all.expect("a read")[..] == model[..], "all of it");
        prop_assert_eq!(control.misaligned(), 0, "entries that the ring did not take");
    }
}
