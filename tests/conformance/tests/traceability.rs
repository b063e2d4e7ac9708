//! docs/traceability.md, held to what is there: every row has a check, every named check exists,
//! and every clause of the contract has a row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use littoral_conformance::checks;

/// What is planned and not there. Rows go out of this list, none comes in.
const LATER: &[&str] = &[];

/// What the ancestor does and littoral does not, on purpose.
const LEFT_OUT: &[&str] = &["random numbers"];

/// As many as the ancestor has.
const FEATURES: usize = 28;
const DEFECTS: usize = 14;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    let path = root().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the tables below a heading, as cells.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.lines().skip_while(|line| *line != format!("## {heading}")).skip(1);
    let lines = section.take_while(|line| !line.starts_with("## ")).filter(|l| l.starts_with('|'));
    // The head, and the line below it.
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    lines.skip(2).map(cells).collect()
}

/// What stands in backticks.
fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether the word is the name of a clause: a letter and a number.
fn is_clause(word: &str) -> bool {
    let mut chars = word.chars();
    let number = chars.clone().skip(1).all(|c| c.is_ascii_digit());
    word.len() > 1 && number && chars.next().is_some_and(|c| c.is_ascii_uppercase())
}

/// The clauses of the contract: what is printed bold, and ranges like `L1-L5`.
fn clauses(contract: &str) -> BTreeSet<String> {
    let word = |c: char| !c.is_ascii_alphanumeric();
    let bold = contract.split("**").skip(1).step_by(2);
    let mut names: BTreeSet<_> =
        bold.flat_map(|run| run.split(word)).filter(|w| is_clause(w)).map(str::to_owned).collect();
    for token in contract.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let Some((from, to)) = token.split_once('-') else { continue };
        if is_clause(from) && is_clause(to) && from[..1] == to[..1] {
            let number = |name: &str| name[1..].parse::<u32>().expect("digits");
            names.extend((number(from)..=number(to)).map(|n| format!("{}{n}", &from[..1])));
        }
    }
    names
}

/// Whether `file::function` is a test: of cargo, of the browser's ring, or of the compiler.
fn is_test(path: &str, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(root().join(path)) else { return false };
    if path == "tests/conformance/src/lib.rs" {
        let mut after = text.lines().skip_while(|line| !line.starts_with(&format!("//! {name}: ")));
        return after.nth(1).is_some_and(|line| line.starts_with("//! ```compile_fail"));
    }
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let defines = |line: &str| {
        let line = line.trim_start_matches("pub(super) ").trim_start_matches("async ");
        line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{name}(")))
    };
    let Some(at) = lines.iter().position(|line| defines(line)) else { return false };
    if let Some(folder) = path.strip_suffix(".rs").filter(|p| p.starts_with("www/src/ring/checks/"))
    {
        let table = fs::read_to_string(root().join(folder).with_file_name("mod.rs"));
        return table.is_ok_and(|text| text.contains(&format!(" {name}")));
    }
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
    above.into_iter().any(|line| *line == "#[test]")
}

/// What is wrong with a cell of checks.
fn complaints(cell: &str) -> Vec<String> {
    let exists = |named: &str| match named.rsplit_once("::") {
        Some((path, name)) => is_test(path, name),
        None => named.split_once(' ').is_some_and(|(clause, name)| {
            checks().any(|check| check.clause == clause && check.name == name)
        }),
    };
    let named = spans(cell);
    if named.is_empty() {
        return vec![format!("no check in `{cell}`")];
    }
    let gone = named.iter().filter(|named| !exists(named));
    gone.map(|named| format!("`{named}` is no check")).collect()
}

/// Which of `list` the name begins with.
fn listed<'a>(list: &[&'a str], name: &str) -> Option<&'a str> {
    list.iter().copied().find(|entry| {
        let rest = name.strip_prefix(entry);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

/// Checks every row of the page; gives what is wrong, and the marks that were found.
fn judge(traceability: &str, contract: &str) -> (Vec<String>, BTreeSet<&'static str>) {
    let known = clauses(contract);
    let mut wrong = Vec::new();
    let mut later = BTreeSet::new();
    let mut see = |name: &str, cell: &str| {
        let found = match cell {
            "later" => match listed(LATER, name) {
                Some(entry) => {
                    later.insert(entry);
                    return;
                }
                None => vec!["nothing is added to what is later".to_owned()],
            },
            "none" if listed(LEFT_OUT, name).is_some() => return,
            cell => complaints(cell),
        };
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    };
    let features = rows(traceability, "The ancestor, feature by feature");
    let defects = rows(traceability, "Its defects, designed out");
    let suite = rows(traceability, "Clauses of the suite");
    let others = rows(traceability, "Clauses outside the suite");
    for row in features.iter().chain(&defects).chain(&others) {
        see(&row[0], &row[2]);
    }
    for row in &suite {
        let named = spans(&row[1]).iter().map(|n| format!("`{} {n}`", row[0])).collect::<Vec<_>>();
        see(&row[0], &named.concat());
    }
    for row in others.iter().filter(|row| row[2] == "later") {
        if checks().any(|check| check.clause == row[0]) {
            wrong.push(format!("{}: it has checks, and is no longer later", row[0]));
        }
    }
    let numbers: BTreeSet<_> = defects
        .iter()
        .filter_map(|row| row[0].split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok())
        .collect();
    if features.len() != FEATURES || numbers != (1..=DEFECTS).collect() {
        wrong.push(format!("{} features, defects {numbers:?}", features.len()));
    }
    for defect in &defects {
        let gone = defect[1].split(", ").filter(|clause| !known.contains(*clause));
        wrong.extend(gone.map(|clause| format!("{}: {clause} is no clause", defect[0])));
    }
    let rows: Vec<_> = suite.iter().chain(&others).map(|row| row[0].clone()).collect();
    let have: BTreeSet<_> = rows.iter().cloned().collect();
    for name in &have {
        if rows.iter().filter(|row| *row == name).count() > 1 {
            wrong.push(format!("{name} has two rows"));
        }
    }
    wrong.extend(known.difference(&have).map(|clause| {
        format!("{clause} of the contract has no row: ./build.sh test --write-tables")
    }));
    wrong.extend(have.difference(&known).map(|clause| format!("{clause} is not in the contract")));
    (wrong, later)
}

#[test]
fn every_row_names_checks_that_exist() {
    let (wrong, later) = judge(&page("traceability.md"), &page("contract.md"));
    assert!(wrong.is_empty(), "docs/traceability.md:\n{}", wrong.join("\n"));
    let done: Vec<_> = LATER.iter().filter(|entry| !later.contains(*entry)).collect();
    assert!(done.is_empty(), "no longer later, take them out of the list: {done:?}");
}

#[test]
fn every_check_belongs_to_a_clause() {
    let known = clauses(&page("contract.md"));
    let stray: BTreeSet<_> =
        checks().map(|check| check.clause).filter(|clause| !known.contains(*clause)).collect();
    assert!(stray.is_empty(), "not in docs/contract.md: {stray:?}");
}

#[test]
fn what_is_wrong_is_found() {
    let (page, contract) = (page("traceability.md"), page("contract.md"));
    let count = |page: &str, contract: &str| judge(page, contract).0.len();
    let sound = count(&page, &contract);
    for (from, to) in [
        ("`C3 callbacks_submit`", "`C3 callbacks_submit_to_nothing`"),
        ("`T2 what_grows_reads_as_zeros`, `T2 zeros_after_a_shrink_into_a_page`", ""),
        ("descriptor_reuse.rs::a_dropped_file_keeps", "descriptor_reuse.rs::a_dropped_file_loses"),
        ("`B2 each_size_goes_home_to_its_own`", "later"),
        ("| V6 | `V6 a_failing_middle", "| V9 | `V6 a_failing_middle"),
        ("| B3 | `an_owner", "| B2 | `an_owner"),
        ("lies.rs::counts", "lies.rs::same"),
    ] {
        assert!(page.contains(from), "{from} is gone from the page");
        assert!(count(&page.replacen(from, to, 1), &contract) > sound, "{from} -> {to}");
    }
    let more = format!("{contract}\n- **Q7 a new promise.** It holds.\n");
    assert_eq!(count(&page, &more), sound + 1);
    assert!(!is_test("tests/tidy.rs", "root"), "it is no test");
}
