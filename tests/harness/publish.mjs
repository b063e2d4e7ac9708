// What must hold before the crates can be published: each builds from its package alone, and with the
// lowest version of Rust that its manifest promises.

import { run } from './process.mjs';
import { say } from './progress.mjs';
import { targetFolder, WASM, wasmEnv } from './cargo.mjs';

/** In the order in which they depend on each other. */
const PUBLISHED = ['--package', 'littoral-platform', '--package', 'littoral'];

/** The stages of publishing, for both targets. */
export async function publishStages(stages, tools) {
  const cargo = async (args, env = {}) => (await run('cargo', args, { env })).status === 0;
  // The second one is built against the package of the first, not against the folder beside it.
  // Quiet, for cargo tells of every test that is no part of a package.
  const packages = ['package', '--quiet', '--locked', '--allow-dirty', ...PUBLISHED];
  await stages.stage('packages', () => cargo(packages));
  await stages.stage('packages wasm', () => cargo([...packages, '--target', WASM], wasmEnv(tools)));

  const { OLDEST_RUST: oldest, OLDEST_RUST_WASM: wasm } = tools;
  if (oldest === undefined) {
    say('--- oldest rust: left out, rustup has no toolchain of that version here');
    return;
  }
  const check = async (...target) => {
    const folder = await targetFolder('oldest');
    const args = ['--locked', '--target-dir', folder, ...PUBLISHED, ...target];
    return cargo([`+${oldest}`, 'check', ...args]);
  };
  await stages.stage('oldest rust', () => check());
  if (wasm === undefined) say(`--- oldest rust wasm: left out, Rust ${oldest} has no ${WASM} here`);
  else await stages.stage('oldest rust wasm', () => check('--target', WASM));
}
