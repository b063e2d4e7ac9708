//! The sides' programs, built all in the same way.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::plan::Taker;

/// Optimised as a whole, for all.
const PROFILE: &str = "measured";

/// What cargo tells of a program that it has built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
}

/// Builds a side's program, or finds it built, and gives its path.
pub(crate) fn built(side: &Taker) -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("the package lies in the tree")?;
    let manifest = match &side.package {
        None => here.join("Cargo.toml"),
        Some(package) => here.join("peers").join(package).join("Cargo.toml"),
    };
    // One folder for all, so that what they share is built once, and none inside a peer's.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let said = Command::new("cargo")
        .args(["build", "--locked", "--profile", PROFILE, "--bin", &side.program])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run")?;
    ensure!(said.status.success(), "{} does not build", side.program);
    let lines = String::from_utf8(said.stdout)?;
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| message.executable)
        .next_back()
        .with_context(|| format!("cargo told no path of {}", side.program))
}
