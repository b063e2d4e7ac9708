//! A loop's cost, counted.

use std::env;

use anyhow::{Context, Result};
use clap::ValueEnum;
use littoral_benches::callgrind::{Cost, Whole, whole};

use crate::loops::Loop;

/// The slope between a run of `one` and one with twice its rounds.
pub(crate) fn cost(one: &Loop) -> Result<Cost> {
    Ok(counted(one)?.slope(&counted(&Loop { rounds: one.rounds * 2, ..one.clone() })?))
}

/// A choice as it stands on the command line.
pub(crate) fn word(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().expect("no choice is hidden").get_name().to_owned()
}

/// One run under callgrind.
fn counted(one: &Loop) -> Result<Whole> {
    let (depth, rounds) = (one.depth.to_string(), one.rounds.to_string());
    let arguments = [
        ("--side", word(&one.side)),
        ("--operation", word(&one.operation)),
        ("--taken", word(&one.taken)),
        ("--depth", depth),
        ("--rounds", rounds),
    ];
    let words = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    let words = ["run".to_owned()].into_iter().chain(words);
    whole(env::current_exe()?, words, String::new(), |said| {
        said.trim().parse().context("the loop told no count")
    })
}
