// Asks setup.sh for what a run needs and keeps its answers.

import { join } from 'node:path';
import { harness } from './paths.mjs';
import { run } from './process.mjs';
import { MISSING, Missing } from './outcome.mjs';

/** Installs what the groups need; gives setup.sh's NAME=VALUE lines as an object. */
export async function setup(groups) {
  const { status, lines } = await run('bash', [join(harness, 'setup.sh'), ...groups], {
    capture: true,
  });
  if (status === MISSING) throw new Missing('set-up is incomplete, the last line above says how');
  if (status !== 0) throw new Missing(`set-up ended with ${status}`);
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
}
