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
  const answers = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
  if (status === MISSING) throw new Missing(answers.MISSING ?? 'the last line above says what');
  if (status !== 0) throw new Missing(`set-up ended with ${status}`);
  return answers;
}
