// Whether the models of concurrency find anything: one mistake at a time is planted in a copy of
// the tree, and its model has to fail there.

import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './paths.mjs';
import { run } from './process.mjs';
import { say, since } from './progress.mjs';

const LOOM = { package: 'littoral-loom', test: 'orders' };
const SHUTTLE = { package: 'littoral-shuttle', test: 'engine' };

/** Where it is planted, what stands there (so often), what is put there, and who has to see it. */
const PLANTED = [
  {
    what: 'news that comes while the descriptor is stepped for is forgotten',
    file: 'platform/polled/latch.rs',
    old: 'self.0.swap(LOW, Ordering::AcqRel) & NEWS != 0',
    wrong: 'self.0.swap(LOW, Ordering::AcqRel) & NEWS > NEWS',
    ...LOOM,
    model: 'polled_descriptor',
  },
  {
    what: 'a bell that nobody waits for yet is forgotten',
    file: 'platform/uring/bell.rs',
    old: 'IDLE => EARLY,',
    wrong: 'IDLE => return,',
    ...LOOM,
    model: 'doorbell',
  },
  {
    what: 'takes are not counted: a stack that looks the same is taken for the same',
    file: 'src/buffer/free.rs',
    old: '.wrapping_add(1), below)',
    wrong: '.wrapping_add(0), below)',
    ...LOOM,
    model: 'arena_return',
  },
  {
    what: 'a place is given back before what was done with it',
    file: 'src/buffer/free.rs',
    old: 'Ordering::Release, Ordering::Relaxed',
    wrong: 'Ordering::Relaxed, Ordering::Relaxed',
    ...LOOM,
    model: 'arena_return',
  },
  {
    what: 'a claim is given up before the last use',
    file: 'src/buffer/raw.rs',
    old: 'fetch_sub(1, Ordering::Release)',
    wrong: 'fetch_sub(1, Ordering::Relaxed)',
    ...LOOM,
    model: 'holders',
  },
  {
    what: 'the lock is given up between seeing a leader and parking for him',
    file: 'src/core/step.rs',
    old: '        state.is_followed();\n',
    wrong: '        drop(state);\n        state = self.lock();\n        state.is_followed();\n',
    ...SHUTTLE,
    model: 'the_lead_is_handed_over',
  },
  {
    what: 'whoever gives up the lead tells nobody, nor of what he has delivered',
    file: 'src/core/step.rs',
    old: 'self.followers.notify_all();',
    times: 3,
    wrong: 'let _ = &self.followers;',
    ...SHUTTLE,
    model: 'the_lead_is_handed_over',
  },
  {
    what: 'a waker is put into a slot without looking once more',
    file: 'src/core/mod.rs',
    old: 'let unused = if slot.is_published() {',
    wrong: 'let unused = if false {',
    ...SHUTTLE,
    model: 'a_slot_tells_whoever_waits_for_it',
  },
  {
    what: 'an interrupt does not move the delivery count',
    file: 'src/core/step.rs',
    old: '        let mut state = self.lock();\n        state.delivered += 1;\n',
    wrong: '        let state = self.lock();\n',
    ...SHUTTLE,
    model: 'an_interrupt_is_seen',
  },
  {
    what: 'a thread goes to rest without looking whether it was told to stop',
    file: 'src/core/thread.rs',
    old: 'if state.delivered != seen || state.has_business() {',
    wrong: 'if state.has_business() {',
    ...SHUTTLE,
    model: 'the_drivers_thread_does_it_all_and_ends',
  },
  {
    what: 'a thread is waited for by itself',
    file: 'src/core/thread.rs',
    old: 'is_none_or(is_own)',
    wrong: 'is_none_or(|thread| is_own(thread) && false)',
    ...SHUTTLE,
    model: 'a_driver_ends_on_its_own_thread',
  },
];

/** What the engine's models need in their environment, and where they are built. */
function modelEnv(target) {
  return { RUSTFLAGS: '--cfg littoral_model', CARGO_TARGET_DIR: join(target, 'models') };
}

/** Runs the engine's models as they are. (Those of the small parts are among the workspace's.) */
export async function modelled(target) {
  const args = ['test', '--locked', '--package', SHUTTLE.package, '--test', SHUTTLE.test];
  return (await run('cargo', args, { env: modelEnv(target) })).status === 0;
}

/**
 * Plants all of them, one after another; whether each was found. They are built in a folder of
 * their own: cargo takes the copy for the tree that it is a copy of, and would run what was planted
 * there.
 */
export async function plantAll(target) {
  const copy = join(target, 'planted');
  const built = join(target, 'planted-build');
  rmSync(copy, { recursive: true, force: true });
  const own = (from) => !/(^|\/)(target|node_modules|report|dist|\.git)$/.test(from);
  // One by one: the copy lies inside of what is copied.
  for (const entry of readdirSync(root).filter(own)) {
    cpSync(join(root, entry), join(copy, entry), { recursive: true, filter: own });
  }
  let missed = 0;
  for (const planted of PLANTED) {
    const file = join(copy, planted.file);
    const text = readFileSync(file, 'utf8');
    if (text.split(planted.old).length !== 1 + (planted.times ?? 1)) {
      say(`planted.mjs does not find its place in ${planted.file}: ${planted.what}`);
      missed += 1;
      continue;
    }
    writeFileSync(file, text.replaceAll(planted.old, () => planted.wrong));
    const start = performance.now();
    const args = ['test', '--locked', '--package', planted.package, '--test', planted.test];
    const env =
      planted.package === SHUTTLE.package ? modelEnv(built) : { CARGO_TARGET_DIR: built };
    const lines = [];
    const onLine = (line) => lines.push(line);
    const options = { cwd: copy, env, onLine, quiet: true, quietSeconds: 300 };
    await run('cargo', [...args, '--', planted.model], options);
    // Built, run, and failed by the model: neither more nor less.
    const found = lines.some((line) => line.includes(`${planted.model} ... FAILED`));
    say(`${found ? 'found' : 'MISSED'} in ${since(start)} s: ${planted.what}`);
    missed += found ? 0 : 1;
    writeFileSync(file, text);
  }
  return missed === 0;
}
