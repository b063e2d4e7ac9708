//! What reading cached pages costs.

use std::os::unix::fs::FileExt;

use anyhow::{Result, ensure};
use littoral::{Buffer, Completion, wait};

use crate::measure::{Duel, Plan, Row};
use crate::reference::BareRing;
use crate::sides::{PAGE, Sides};

const DEPTH: u32 = 32;

const ONE: &str = "pread and wait";
const MANY: &str = "32 preads, then wait for each";

/// Reads one page at a time, into one buffer.
fn one(sides: &Sides) -> impl FnMut(u32) -> Result<()> {
    let mut spare = Some(Buffer::with_capacity(PAGE));
    move |number| {
        let into = spare.take().unwrap_or_else(|| Buffer::with_capacity(PAGE));
        let page = wait(&*sides.io, sides.file.pread(sides.offset(number), into))?;
        ensure!(page.len() == PAGE, "{} bytes", page.len());
        spare = Some(page);
        Ok(())
    }
}

/// Reads as many pages as the depth is, at once.
fn many(sides: &Sides) -> impl FnMut(u32) -> Result<()> {
    let mut spare: Vec<Buffer> = (0..DEPTH).map(|_| Buffer::with_capacity(PAGE)).collect();
    let mut under_way: Vec<Completion<Buffer>> = Vec::with_capacity(DEPTH as usize);
    move |number| {
        for (nth, into) in (0..).zip(spare.drain(..)) {
            under_way.push(sides.file.pread(sides.offset(number * DEPTH + nth), into));
        }
        for read in under_way.drain(..) {
            let page = wait(&*sides.io, read)?;
            ensure!(page.len() == PAGE, "{} bytes", page.len());
            spare.push(page);
        }
        Ok(())
    }
}

/// `pread`, so many times.
fn preads(sides: &Sides, count: u32) -> impl FnMut(u32) -> Result<()> {
    let mut page = vec![0; PAGE];
    move |number| {
        for nth in 0..count {
            sides.plain.read_exact_at(&mut page, sides.offset(number * count + nth))?;
        }
        Ok(())
    }
}

fn ring(sides: &Sides, depth: u32) -> Result<impl FnMut(u32) -> Result<()>> {
    let mut ring = BareRing::new(&sides.plain, depth)?;
    Ok(move |number| ring.read((0..depth).map(|nth| sides.offset(number * depth + nth))))
}

pub(super) fn one_by_pread(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    // A ring is the wrong tool for one cached read at a time; how wrong is told.
    let duel = Duel { asks, subject: ONE, reference: "pread", target: None, times: 5000 };
    duel.ask(plan, one(sides), preads(sides, 1))
}

pub(super) fn one_by_ring(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let reference = "bare io-uring, submit and wait for one";
    let duel = Duel { asks, subject: ONE, reference, target: Some(1.25), times: 5000 };
    duel.ask(plan, one(sides), ring(sides, 1)?)
}

pub(super) fn many_by_pread(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let duel = Duel { asks, subject: MANY, reference: "32 preads", target: None, times: 200 };
    duel.ask(plan, many(sides), preads(sides, DEPTH))
}

pub(super) fn many_by_ring(asks: &'static str, sides: &Sides, plan: Plan) -> Result<Row> {
    let reference = "bare io-uring, submit 32 and wait for all";
    let duel = Duel { asks, subject: MANY, reference, target: Some(1.25), times: 200 };
    duel.ask(plan, many(sides), ring(sides, DEPTH)?)
}
