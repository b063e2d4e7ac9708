// The seeds of tests/simulation, natively and in browsers: equal seeds have to come to the same.

import { Session } from './browser.mjs';
import { program } from './cargo.mjs';
import { WITHOUT } from './clauses.mjs';
import { runner } from './conformance.mjs';
import { run } from './process.mjs';
import { say } from './progress.mjs';

/** Seeds of a whole run; the next `--seed` takes the ones that follow. */
const SEEDS = 10_000;
/** So many of them are run in browsers as well, and where something is taken from a process. */
const FEW = 300;

const first = (seed) => seed * SEEDS;

/** The program that runs seeds. */
export const simulation = () =>
  program('littoral-simulation', 'simulation', { profile: 'simulation' });

/** Runs seeds natively; gives what the program said last, or throws. */
async function natively(from, count, before = []) {
  const command = [...before, await simulation(), '--seeds', `${from}..${from + count}`];
  const lines = [];
  const onLine = (line) => {
    lines.push(line);
    say(line);
  };
  const { status } = await run(command[0], command.slice(1), { onLine });
  if (status !== 0) throw new Error(`seeds failed; the command for each stands above`);
  return lines.at(-1);
}

/** Runs the seeds of a whole run. */
export async function simulate(seed) {
  await natively(first(seed), SEEDS);
  return true;
}

/** Runs some of them in a process without something. */
export async function simulateWithout(mode, seed) {
  await natively(first(seed), FEW, [await runner(), ...WITHOUT[mode].args, '--']);
  return true;
}

/** Runs some of them in a browser, and holds the outcome against that of a native run. */
export async function simulateIn(context, url, seed) {
  const from = first(seed);
  const wanted = /digest ([0-9a-f]{16})/.exec(await natively(from, FEW))?.[1];
  const session = await Session.start(context, url);
  try {
    const { digest, counts } = JSON.parse(await session.call('simulate', [from, FEW]));
    say(`${context}: digest ${digest}, ${counts}`);
    return wanted !== undefined && digest === wanted;
  } finally {
    await session.close();
  }
}
