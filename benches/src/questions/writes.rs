//! What writing many pages at once costs.

use std::os::unix::fs::FileExt;

use anyhow::Result;
use littoral::{Completion, Shared, Vector, wait};

use crate::measure::{Duel, Plan, Row};
use crate::sides::{FILE_PAGES, PAGE, Sides, pages};

const VECTOR_PAGES: usize = 256;
const QUEUED_PAGES: usize = 64;

/// Where the nth run of so many pages begins: one behind the other, and again from the start.
fn run_at(number: u32, count: usize) -> u64 {
    (number as usize % (FILE_PAGES / count) * count * PAGE) as u64
}

fn pwrites(sides: &Sides, count: usize) -> impl FnMut(u32) -> Result<()> {
    let pages: Vec<Vec<u8>> = (0..count).map(|page| vec![page.to_le_bytes()[0]; PAGE]).collect();
    move |number| {
        for (at, page) in (run_at(number, count)..).step_by(PAGE).zip(&pages) {
            sides.plain.write_all_at(page, at)?;
        }
        Ok(())
    }
}

pub(super) fn vector(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let (subject, reference) = ("one pwritev", "256 pwrites");
    let duel = Duel { asks, subject, reference, target: Some(1.0), times: 16 };
    let vector = Vector::from(pages(VECTOR_PAGES));
    let ours = |number| {
        let at = run_at(number, VECTOR_PAGES);
        Ok(wait(&*sides.io, sides.file.pwritev(at, vector.clone()))?)
    };
    duel.ask(plan, ours, pwrites(sides, VECTOR_PAGES))
}

pub(super) fn adjacent(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let (subject, reference) = ("64 pwrites, then wait for each", "64 pwrites");
    let duel = Duel { asks, subject, reference, target: Some(1.0), times: 64 };
    let pages: Vec<Shared> = pages(QUEUED_PAGES);
    let mut under_way: Vec<Completion<()>> = Vec::with_capacity(QUEUED_PAGES);
    let ours = |number| {
        for (at, page) in (run_at(number, QUEUED_PAGES)..).step_by(PAGE).zip(&pages) {
            under_way.push(sides.file.pwrite(at, page.clone()));
        }
        for write in under_way.drain(..) {
            wait(&*sides.io, write)?;
        }
        Ok(())
    };
    duel.ask(plan, ours, pwrites(sides, QUEUED_PAGES))
}
