//! The rules of style that no compiler checks, as tests of the tree.
//!
//! Each rule is a function from a file to complaints, so that every rule is itself tried on text
//! that breaks it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ignore::WalkBuilder;

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 600;
/// Lines between an unsafe block and its `SAFETY`.
const FACT_ABOVE: usize = 7;

/// Where raw memory is handled: the platforms, the one allocation and its arena, the one push; and
/// what tries or measures a ring with nothing above it. Folders end with a slash.
const UNSAFE_ROOMS: &[&str] = &[
    "platform/",
    "src/buffer/arena.rs",
    "src/buffer/raw.rs",
    "src/buffer/shared.rs",
    "src/buffer/unique.rs",
    "src/core/push.rs",
    "www/src/ring/",
    "tests/allocations.rs",
    "tests/busy.rs",
    "tests/cancel_direct.rs",
    "tests/completion_overflow.rs",
    "tests/descriptor_reuse.rs",
    "tests/drop_in_flight.rs",
    "tests/fork.rs",
    "tests/loom/",
    "tests/support/",
    "tests/short_write_in_a_chain.rs",
    "tests/thread_exit.rs",
    "benches/src/instructions/bare.rs",
    "benches/src/registered/main.rs",
    "benches/src/sides/bare.rs",
];

/// Where targets differ: the platforms, the one file that drives a platform's waiting, the
/// browser's package, and tests of one platform.
const TARGET_ROOMS: &[&str] = &["platform/", "src/drive/", "www/", "tests/", "benches/"];

/// One source file of the tree.
struct Source {
    /// Relative to the root, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    fn is_in(&self, rooms: &[&str]) -> bool {
        rooms.iter().any(|room| {
            if room.ends_with('/') { self.path.starts_with(room) } else { self.path == *room }
        })
    }

    /// The number and the text of each line, and its code: what is left without line comments and
    /// without what stands in quotes.
    fn lines(&self) -> impl Iterator<Item = (usize, &str, String)> {
        (1..).zip(self.text.lines()).map(|(number, line)| (number, line, code_of(line)))
    }
}

/// A line without its comment and without the insides of its strings.
fn code_of(line: &str) -> String {
    let (mut code, mut quoted, mut escaped) = (String::new(), false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            '"' if !escaped => quoted = !quoted,
            _ if !quoted => code.push(c),
            _ => (),
        }
        escaped = c == '\\' && !escaped;
    }
    code
}

fn complain(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", source.path)
}

fn long_lines(source: &Source) -> Vec<String> {
    if source.path.ends_with("Cargo.toml") {
        // A description is one line.
        return Vec::new();
    }
    let long = source.lines().filter(|(_, line, _)| line.chars().count() > COLUMNS_MAX);
    long.map(|(number, ..)| complain(source, number, "more than 100 columns")).collect()
}

fn long_files(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let long = lines > LINES_MAX;
    long.then(|| complain(source, lines, "more than 600 lines")).into_iter().collect()
}

/// Whether the code has `unsafe` as a word that does something, not as a lint's name.
fn has_unsafe(code: &str) -> bool {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern"];
    words.iter().any(|word| code.contains(word)) || code.trim_end().ends_with(" unsafe")
}

fn unsafe_outside_its_rooms(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.is_in(UNSAFE_ROOMS) {
        return Vec::new();
    }
    let found = source.lines().filter(|(.., code)| has_unsafe(code));
    found.map(|(number, ..)| complain(source, number, "`unsafe` outside its rooms")).collect()
}

/// A comment that names the fact stands at most seven lines above each block and implementation.
fn unsafe_without_a_fact(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    let mut complaints = Vec::new();
    for (place, (number, line, code)) in lines.iter().enumerate() {
        let block = code.contains("unsafe {") || code.contains("unsafe impl");
        if !source.is_rust() || !block || line.trim_start().starts_with("//") {
            continue;
        }
        let mut above = lines[place.saturating_sub(FACT_ABOVE)..=place].iter();
        if !above.any(|(_, line, _)| line.contains("// SAFETY:")) {
            complaints.push(complain(source, *number, "an unsafe block without `// SAFETY:`"));
        }
    }
    complaints
}

fn targets_outside_their_rooms(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.is_in(TARGET_ROOMS) {
        return Vec::new();
    }
    let selects = |code: &str| {
        let cfg = code.contains("cfg(") || code.contains("cfg!(") || code.contains("cfg_attr(");
        cfg && (code.contains("target_") || code.contains("unix") || code.contains("windows"))
    };
    let found = source.lines().filter(|(.., code)| selects(code));
    found.map(|(number, ..)| complain(source, number, "a target outside its rooms")).collect()
}

/// Every `allow` and `expect` attribute says why, by its own `reason`.
fn exceptions_without_a_reason(source: &Source) -> Vec<String> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let text = line.trim_start();
        let opens = ["#[allow(", "#[expect(", "#![allow(", "#![expect("];
        if !opens.iter().any(|open| text.starts_with(open)) {
            continue;
        }
        let rest = source.text.lines().skip(number - 1);
        let mut attribute = String::new();
        for line in rest {
            attribute.push_str(line.trim());
            if line.trim_end().ends_with(']') {
                break;
            }
        }
        if !attribute.contains("reason = \"") {
            complaints.push(complain(source, number, "an exception without `reason = …`"));
        }
    }
    complaints
}

fn unfinished_work(source: &Source) -> Vec<String> {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];
    let found = source.lines().filter(|(_, line, code)| {
        let comment = line.strip_prefix(code.as_str()).unwrap_or_default();
        words[..3].iter().any(|word| code.contains(word))
            || words[3..].iter().any(|word| comment.contains(word))
    });
    found.map(|(number, ..)| complain(source, number, "unfinished work")).collect()
}

/// Every allowed lint of the workspace has a comment above it.
fn lints_without_a_reason(source: &Source) -> Vec<String> {
    if !source.path.ends_with("Cargo.toml") {
        return Vec::new();
    }
    let lines: Vec<_> = source.text.lines().collect();
    let bare = |at: &usize| {
        lines[*at].contains("\"allow\"") && !(*at > 0 && lines[at - 1].starts_with('#'))
    };
    let found = (0..lines.len()).filter(bare);
    found.map(|at| complain(source, at + 1, "an allowed lint without a reason above")).collect()
}

type Rule = fn(&Source) -> Vec<String>;

const RULES: &[Rule] = &[
    long_lines,
    long_files,
    unsafe_outside_its_rooms,
    unsafe_without_a_fact,
    targets_outside_their_rooms,
    exceptions_without_a_reason,
    unfinished_work,
    lints_without_a_reason,
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources of the tree: what version control ignores is none of ours.
fn sources() -> Vec<Source> {
    let wanted = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("rs" | "mjs" | "js" | "sh")) || name == "Cargo.toml"
    };
    let walk = WalkBuilder::new(root()).require_git(false).build();
    let files = walk.map(|entry| entry.expect("the tree can be read").into_path());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source is text");
        let path = path.strip_prefix(root()).expect("it is below the root");
        Source { path: path.to_string_lossy().replace('\\', "/"), text }
    };
    files.filter(|path| path.is_file() && wanted(path)).map(read).collect()
}

#[test]
fn the_tree_is_tidy() {
    let sources = sources();
    let known = |path: &str| sources.iter().any(|source| source.path == path);
    assert!(known("src/lib.rs") && known("platform/ring.rs") && known("build.sh"), "half a tree");
    let complaints: Vec<_> = RULES.iter().flat_map(|rule| sources.iter().flat_map(rule)).collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_room_is_there() {
    for room in UNSAFE_ROOMS.iter().chain(TARGET_ROOMS) {
        assert!(root().join(room).exists(), "{room} is listed and does not exist");
    }
    let sources = sources();
    for room in UNSAFE_ROOMS {
        let mut inside = sources.iter().filter(|source| source.is_in(&[room]));
        let used = inside.any(|source| source.lines().any(|(.., code)| has_unsafe(&code)));
        assert!(used, "{room} is excused and has no need to be");
    }
}

#[test]
fn every_rule_finds_what_breaks_it() {
    let mut long = String::new();
    for n in 0..601 {
        writeln!(long, "// {n}").unwrap();
    }
    let wide = format!("// {}", "x".repeat(98));
    // In pieces, so that this file breaks none of them.
    let bad = |text: &str| text.replace('~', "");
    let rust: &[(Rule, String)] = &[
        (long_lines, wide),
        (long_files, long),
        (unsafe_outside_its_rooms, bad("let x = un~safe { *p };")),
        (unsafe_outside_its_rooms, bad("un~safe impl Send for X {}")),
        (unsafe_without_a_fact, bad("// Safe enough.\nlet x = un~safe { *p };")),
        (targets_outside_their_rooms, bad("#[cf~g(target_os = \"linux\")]")),
        (exceptions_without_a_reason, bad("#[al~low(dead_code)]")),
        (exceptions_without_a_reason, bad("#![ex~pect(\n    dead_code,\n)]")),
        (unfinished_work, bad("to~do!()")),
        (unfinished_work, bad("let x = 1; // FIX~ME")),
    ];
    for (place, (rule, text)) in rust.iter().enumerate() {
        let source = Source { path: "src/some.rs".into(), text: text.clone() };
        assert_eq!(rule(&source).len(), 1, "sample {place}");
    }
    let manifest = Source { path: "Cargo.toml".into(), text: "x = \"allow\"".into() };
    assert_eq!(lints_without_a_reason(&manifest).len(), 1);
}

#[test]
fn no_rule_finds_what_keeps_it() {
    let lines = [
        "// SAFETY: it is alive.",
        "let x = unsafe { *p };",
        "#[expect(dead_code, reason = \"why\")]",
        "let s = \"unsafe { } cfg(target_os)\"; // todo",
    ];
    let text = lines.join("\n");
    let source = Source { path: "platform/some.rs".into(), text };
    for rule in RULES {
        assert_eq!(rule(&source), Vec::<String>::new());
    }
    let outside = Source { path: "src/some.rs".into(), text: "// unsafe { } here".into() };
    assert_eq!(unsafe_outside_its_rooms(&outside), Vec::<String>::new());
}

/// The packages that a build of the library for that target has in it.
fn packages_for(target: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "littoral", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--target", target])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn each_platform_builds_with_its_own_packages_only() {
    let native = packages_for("x86_64-unknown-linux-gnu");
    for package in ["littoral", "littoral-platform", "io-uring", "rustix"] {
        assert!(native.iter().any(|name| name == package), "{package} is not in {native:?}");
    }
    for package in ["wasm-bindgen", "wasm-bindgen-futures", "web-sys", "js-sys"] {
        assert!(native.iter().all(|name| name != package), "{package} is in the native build");
    }
    let web = packages_for("wasm32-unknown-unknown");
    for package in ["littoral", "littoral-platform", "wasm-bindgen", "web-sys"] {
        assert!(web.iter().any(|name| name == package), "{package} is not in {web:?}");
    }
    for package in ["io-uring", "rustix", "libc", "linux-raw-sys"] {
        assert!(web.iter().all(|name| name != package), "{package} is in the browser's build");
    }
}
