//! The file that says what is measured.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use littoral_bench_side::Workload;
use serde::{Deserialize, Serialize};

/// The file: what its comments say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    #[serde(rename = "side")]
    pub(crate) sides: Vec<Taker>,
    #[serde(rename = "workload")]
    pub(crate) workloads: Vec<Workload>,
    #[serde(rename = "target")]
    pub(crate) targets: Vec<Target>,
}

/// Who takes part.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Taker {
    pub(crate) name: String,
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) package: Option<String>,
    pub(crate) program: String,
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    Subject,
    Reference,
    Peer,
}

/// What a figure should come to.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) figure: Figure,
    #[serde(default = "littoral")]
    pub(crate) of: String,
    pub(crate) at: String,
    #[serde(default)]
    pub(crate) over: Option<Over>,
    #[serde(default)]
    pub(crate) minus: bool,
    pub(crate) at_most: f64,
}

/// What a figure is compared with.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Over {
    pub(crate) of: Option<String>,
    pub(crate) at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    Time,
    Instructions,
    Syscalls,
    Allocations,
    Switches,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Figure::Time => "us",
            Figure::Instructions => "instructions",
            Figure::Syscalls => "syscalls",
            Figure::Allocations => "allocations",
            Figure::Switches => "switches",
        }
    }
}

impl Plan {
    /// Reads the file, and keeps what has one of the texts of `only` in the workload's name and one
    /// of those of `peers` in the peer's, or no peer for a lone `-`. Subjects and references always
    /// take part.
    pub(crate) fn read(path: &Path, only: &[String], peers: &[String]) -> Result<Plan> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut plan: Plan = toml::from_str(&text).with_context(|| path.display().to_string())?;
        for target in &plan.targets {
            let known = |of: &String| plan.sides.iter().any(|side| side.name == *of);
            let there = |at: &String| plan.workloads.iter().any(|one| one.name == *at);
            let Over { of, at } = target.over.clone().unwrap_or_default();
            ensure!(
                known(&target.of) && of.iter().all(known),
                "the target `{}` is of nobody who takes part",
                target.name
            );
            ensure!(
                there(&target.at) && at.iter().all(there),
                "the target `{}` is of no workload",
                target.name
            );
        }
        let named = |name: &str, texts: &[String]| texts.iter().any(|text| name.contains(text));
        plan.workloads.retain(|one| only.is_empty() || named(&one.name, only));
        ensure!(
            !plan.workloads.is_empty(),
            "no workload has `{}` in its name",
            only.join("` or `")
        );
        let nobody = peers == ["-"];
        plan.sides.retain(|side| side.role != Role::Peer || (!nobody && named(&side.name, peers)));
        Ok(plan)
    }
}

fn yes() -> bool {
    true
}

fn littoral() -> String {
    "littoral".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(only: &[&str], peers: &[&str]) -> Result<Plan> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("native.toml");
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Plan::read(&path, &texts(only), &texts(peers))
    }

    #[test]
    fn the_plan_makes_sense() {
        let plan = read(&[], &[""]).expect("its targets are of what there is");
        assert_eq!(
            plan.sides[0].name, "littoral",
            "the first side is what the others stand beside"
        );
        let names: Vec<_> = plan.workloads.iter().map(|one| &one.name).collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(names.len(), distinct.len());
    }

    #[test]
    fn workloads_and_peers_are_chosen_by_parts_of_their_names() {
        let plan = read(&["depth 1024", "checkpoint"], &["-"]).expect("there are some");
        assert_eq!(plan.workloads.len(), 2);
        assert!(plan.sides.iter().all(|side| side.role != Role::Peer));
        let plan = read(&[], &["turso", "compio"]).expect("there are some");
        assert_eq!(plan.sides.iter().filter(|side| side.role == Role::Peer).count(), 5);
        assert!(read(&["depth 5"], &[""]).is_err());
    }
}
