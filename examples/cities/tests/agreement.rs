//! Both paths give the same answers, and every backend the same bytes.

use std::sync::Arc;

use cities::progress::Progress;
use cities::query::QUERIES;
use cities::{demo, raw};
use littoral::platform::Setup;
use littoral::platform::faulty::{Faults, Faulty, Script};
use littoral::platform::simulated::{self, Disk, Simulated};
use littoral::{Config, Io, block_on, start, start_on};
use serde_json::json;

/// Enough for every question to have an answer, and every special case of one to occur.
fn data() -> Vec<u8> {
    let mut rows = Vec::new();
    let mut row = |name: &str, lat: &str, lng: &str, country: &str, admin1: &str| {
        rows.push(json!({
            "name": name, "lat": lat, "lng": lng,
            "country": country, "admin1": admin1, "admin2": "",
        }));
    };
    row("San Francisco", "37.77493", "-122.41942", "US", "CA");
    row("San Francisco", "10", "-84.12934", "CR", "04");
    row("Zürich", "47.36667", "8.55", "CH", "ZH");
    row("Saint-Étienne", "45.43389", "4.39", "FR", "84");
    row("Saint-Denis", "48.93564", "2.35387", "FR", "11");
    row("Åre", "63.39909", "13.08155", "SE", "07");
    row("Reykjavík", "64.13548", "-21.89541", "IS", "39");
    // Two northernmost, two at one distance from the origin, both zeros, both sides of a border.
    row("Tie \"A\"", "70.0", "25.5", "NO", "54");
    row("Tie\tB", "70.00000", "-25.5", "NO", "54");
    row("Null Island", "-0.0", "0.0", "XX", "");
    row("East", "0.5", "0", "XX", "");
    row("West", "-0.5", "-0", "XX", "");
    row("On the Border", "45.8", "10.5", "IT", "09");
    row("Past the Border", "45.79999", "10.50001", "IT", "09");
    row("Date Line West", "-17", "179.9", "FJ", "01");
    row("Date Line East", "-17.1", "-179.9", "FJ", "01");
    for number in 0..12 {
        row("Springfield", "40", "-90", &format!("{}{}", 'A', char::from(b'A' + number)), "");
    }
    for number in 0..3000 {
        let (lat, lng) = (f64::from(number) / 50.0 - 30.0, f64::from(number) / 10.0 - 150.0);
        row(
            &format!("Town {}", number % 700),
            &format!("{lat:.2}"),
            &format!("{lng:.1}"),
            "TT",
            "1",
        );
    }
    serde_json::to_vec(&rows).expect("it is JSON")
}

fn simulated(seed: u64) -> Arc<dyn Io> {
    let ring = Simulated::new(
        &Setup { root: None, in_flight: 256 },
        Disk::new(),
        simulated::Config::seeded(seed),
    );
    let ring = Faulty::new(ring, Faults::rough(seed), Script::new());
    start_on(Box::new(ring), Config::new().operations(256)).expect("it is in memory")
}

#[test]
fn the_database_and_the_scan_agree_on_every_platform() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("text");
    let kernel = start(Config::new().root(root)).expect("a ring");
    let json = data();
    let mut outcomes = Vec::new();
    for io in [kernel, simulated(1), simulated(2)] {
        let mut last = None;
        let mut report = |progress: Progress| last = Some(progress);
        let found = block_on(&io, demo::run(&io, "db", &json, &mut report));
        let found = found.expect("rings here can wait").expect("it runs");
        assert_eq!(found.answers.len(), QUERIES.len());
        assert_eq!(found.answers, found.scan);
        let last = last.expect("it told its progress");
        assert_eq!(last.done, last.total);

        let again = block_on(&io, demo::answer(&io, "db", &mut |_| ()));
        let again = again.expect("rings here can wait").expect("it opens");
        assert_eq!(again, found.answers);
        outcomes.push((found.rows, found.answers));
    }
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    let counts: Vec<u64> = outcomes[0].1.iter().map(|answer| answer.count).collect();
    assert_eq!(counts, [2, 1, 0, 2, 1, 1, 1, 23, 1, 1, 2, 2, 20, 1, 10]);
}

#[test]
fn running_again_replaces_the_database() {
    let io = simulated(3);
    let few = br#"[{"name":"A","lat":"1","lng":"2","country":"AA","admin1":"","admin2":""}]"#;
    for json in [&data()[..], few] {
        let found = block_on(&io, demo::run(&io, "db", json, &mut |_| ()));
        let found = found.expect("rings here can wait").expect("it runs");
        assert_eq!(found.answers, found.scan);
    }
}

#[test]
fn the_raw_script_leaves_the_same_bytes_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("text");
    let kernel = start(Config::new().root(root)).expect("a ring");
    let mut results = Vec::new();
    for io in [kernel, simulated(1), simulated(2)] {
        let raw = block_on(&io, raw::run(&io, &mut |_| ()));
        results.push(raw.expect("rings here can wait").expect("it runs"));
    }
    assert!(results.iter().all(|raw| *raw == results[0]), "{results:?}");
    let on_disk = std::fs::metadata(folder.path().join(raw::FILE)).expect("it is there");
    assert_eq!(on_disk.len(), results[0].size);
}

#[test]
fn what_is_no_city_is_an_error() {
    let io = simulated(4);
    for json in [
        "",
        "{}",
        "[{}]",
        r#"[{"name":"A","lat":"x","lng":"2","country":"AA","admin1":"","admin2":""}]"#,
    ] {
        let found = block_on(&io, demo::run(&io, "db", json.as_bytes(), &mut |_| ()));
        assert!(found.expect("rings here can wait").is_err(), "{json}");
    }
}
