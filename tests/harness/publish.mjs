// What must hold before the crates can be published: each builds from its package alone, and with
// the lowest version of Rust that its manifest promises.

import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './process.mjs';
import { say } from './progress.mjs';
import { targetFolder, version, WASM, wasmEnv } from './cargo.mjs';

/** In the order in which they depend on each other. */
const PUBLISHED = ['littoral-platform', 'littoral'];
const NAMED = PUBLISHED.flatMap((name) => ['--package', name]);

const cargo = async (args, env = {}) => (await run('cargo', args, { env })).status === 0;

/** The stages of publishing, for both targets. */
export async function publishStages(stages, tools) {
  let folders;
  await stages.stage('packages', async () => {
    folders = await unpacked();
    return folders !== undefined && builds(folders);
  });
  await stages.stage('packages wasm', async () => {
    folders ??= await unpacked();
    return folders !== undefined && builds(folders, ['--target', WASM], wasmEnv(tools));
  });

  const { OLDEST_RUST: oldest, OLDEST_RUST_WASM: wasm } = tools;
  if (oldest === undefined) {
    say('--- oldest rust: left out, rustup has no toolchain of that version here');
    return;
  }
  const check = async (...target) => {
    const folder = ['--target-dir', await targetFolder('oldest')];
    const args = ['check', '--locked', ...folder, ...NAMED, '--all-features', ...target];
    return cargo([`+${oldest}`, ...args]);
  };
  await stages.stage('oldest rust', () => check());
  if (wasm === undefined) say(`--- oldest rust wasm: left out, Rust ${oldest} has no ${WASM} here`);
  else await stages.stage('oldest rust wasm', () => check('--target', WASM));
}

/**
 * Makes the packages and unpacks them; gives the folder of each, nothing if that fails.
 *
 * Cargo can verify packages by itself, but takes one that was unpacked before for the same as long
 * as the version is: the second crate would be built against what the first one once was.
 */
async function unpacked() {
  const from = await targetFolder('package');
  const to = await targetFolder('unpacked');
  // Quiet, for cargo tells of every test that is no part of a package.
  const options = ['--quiet', '--locked', '--allow-dirty', '--no-verify'];
  if (!(await cargo(['package', ...options, ...NAMED]))) return undefined;
  const folders = new Map();
  for (const name of PUBLISHED) {
    const whole = `${name}-${await version(name)}`;
    const folder = join(to, whole);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(to, { recursive: true });
    // With the time of now: inside a package all files are of 2006, and cargo looks at times.
    const tar = ['--extract', '--touch', '--file', join(from, `${whole}.crate`), '--directory', to];
    if ((await run('tar', tar)).status !== 0) return undefined;
    // It may lie below our own workspace, and is none of its members.
    appendFileSync(join(folder, 'Cargo.toml'), '\n[workspace]\n');
    folders.set(name, folder);
  }
  return folders;
}

/** Whether each package builds, with those before it in place of what a registry would give. */
async function builds(folders, target = [], env = {}) {
  const folder = ['--target-dir', await targetFolder('unpacked/target')];
  const patches = [];
  for (const [name, path] of folders) {
    say(`building the package of ${name}`);
    const manifest = ['--manifest-path', join(path, 'Cargo.toml'), '--all-features'];
    if (!(await cargo(['build', ...manifest, ...folder, ...patches, ...target], env))) return false;
    patches.push('--config', `patch.crates-io.${name}.path=${JSON.stringify(path)}`);
  }
  return true;
}
