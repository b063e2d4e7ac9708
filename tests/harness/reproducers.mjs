// The tests that show what kernels do to whoever trusts a bare ring, and that the engine does not:
// run where something is taken from them, too. (As they are they run with all other tests.)

import { runner } from './conformance.mjs';
import { tests } from './cargo.mjs';
import { WITHOUT } from './clauses.mjs';
import { run } from './process.mjs';
import { say } from './progress.mjs';

/** Tests of the package `littoral`, by the fact that each shows. */
export const REPRODUCERS = [
  'descriptor_reuse',
  'thread_exit',
  'completion_overflow',
  'drop_in_flight',
  'cancel_direct',
  'short_write_in_a_chain',
];

/** What is taken from them. */
export const RESTRICTED = ['eperm', 'memlock'];

/** What a line of a test program says of how its tests ended. */
export function libtest(line) {
  const totals = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line);
  const [passed, failed, skipped] = totals?.slice(1).map(Number) ?? [0, 0, 0];
  return { passed, failed, skipped };
}

/** How a test program is run without something; a ring at a time, where memory is short. */
export function restricted(mode, launcher, path) {
  return [launcher, ...WITHOUT[mode].args, '--', path, '--test-threads=1', '--nocapture'];
}

/** Takes a line of a test program into `counts`; a test that cannot run here says so itself. */
export function count(line, counts) {
  const { passed, failed, skipped } = libtest(line);
  const left = /^(\| )?SKIPPED /.test(line) ? 1 : 0;
  counts.passed += passed - left;
  counts.failed += failed;
  counts.skipped += skipped + left;
}

/** Runs them all without something. */
export async function reproduced(mode, counts) {
  const launcher = await runner();
  const built = await tests(['littoral']);
  let ok = true;
  for (const name of REPRODUCERS) {
    const { path } = built.find((each) => each.name === name);
    const before = counts.failed;
    const [command, ...args] = restricted(mode, launcher, path);
    const onLine = (line) => count(line, counts);
    const ended = await run(command, args, { onLine, quiet: true, env: { TMPDIR: '/var/tmp' } });
    ended.talk.filter((line) => line.startsWith('SKIPPED ')).forEach(onLine);
    const right = ended.status === 0 && counts.failed === before;
    if (!right) {
      ended.talk.forEach(say);
      if (counts.failed === before) counts.failed += 1;
    }
    say(`${name}, ${WITHOUT[mode].what}: ${right ? 'ok' : `FAILED with ${ended.status}`}`);
    ok &&= right;
  }
  return ok;
}
