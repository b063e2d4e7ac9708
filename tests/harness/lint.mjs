// `build.sh lint`: the part of the tests that reads code without running it.

import { setup } from './setup.mjs';
import { lintStages, Stages } from './stages.mjs';
import { WRONG } from './outcome.mjs';

/** Runs the lints; gives the closing line and the status. */
export async function lint() {
  const stages = new Stages();
  await lintStages(stages, await setup(['base', 'web']));
  stages.summary();
  const failed = stages.failed.map(({ name }) => name);
  return failed.length === 0
    ? { status: 0, line: `lint: ok ${stages.done.length} stages` }
    : { status: WRONG, line: `lint: FAILED (${failed.join(', ')})` };
}
