// The parts of a test run: each has a name, takes its seconds, and ends well or not.

import { run } from './process.mjs';
import { say, since } from './progress.mjs';
import { hasPackage, targetFolder, WASM, wasmEnv, WEB_PACKAGE } from './cargo.mjs';
import { Missing, oneLine, Usage } from './outcome.mjs';

/** Runs stages one after another and remembers how each ended. */
export class Stages {
  done = [];
  #known = [];

  /** With `only`, a list of names, all other stages are left out. */
  constructor(only) {
    this.only = only;
  }

  /**
   * Runs one stage: `work` gives whether it ended well. A stage that throws has failed, and the
   * next one runs all the same; only what is missing on this machine ends the run. `counts` says
   * that what fails in the stage is counted elsewhere, one by one, unless it throws.
   */
  async stage(name, work, { counts = false } = {}) {
    this.#known.push(name);
    if (this.only !== undefined && !this.only.includes(name)) return;
    const start = performance.now();
    say(`--- ${name}`);
    let ok = false;
    let counted = counts;
    try {
      ok = await work();
    } catch (error) {
      counted = false;
      if (error instanceof Missing) throw error;
      say(`${name}: ${oneLine(error)}`);
    } finally {
      const seconds = since(start);
      this.done.push({ name, seconds, ok, counted });
      say(`--- ${name}: ${ok ? 'ok' : 'FAILED'} in ${seconds} s`);
    }
  }

  get failed() {
    return this.done.filter(({ ok }) => !ok);
  }

  /** Ends the run as bad usage where a wanted stage does not exist. */
  checkNames() {
    const unknown = (this.only ?? []).filter((name) => !this.#known.includes(name));
    if (unknown.length > 0) {
      throw new Usage(`no stage ${unknown.join(', ')}; there are: ${this.#known.join(', ')}`);
    }
  }

  /** The seconds of every stage, as a table for a person. */
  summary() {
    const width = Math.max(...this.done.map(({ name }) => name.length), 0);
    for (const { name, seconds, ok } of this.done) {
      say(`${name.padEnd(width)} ${seconds.toFixed(1).padStart(7)} s  ${ok ? 'ok' : 'FAILED'}`);
    }
  }
}

/** The library with all that is off by default. */
export const WITH_FEATURES = ['--locked', '--package', 'littoral', '--features', 'tracing'];

/** Format, clippy and documentation, for both halves. */
export async function lintStages(stages, tools) {
  const cargo = async (args, env = {}) => (await run('cargo', args, { env })).status === 0;
  const native = ['--locked', '--workspace'];
  const portable = [
    '--locked',
    '--target',
    WASM,
    '--package',
    'littoral',
    '--package',
    'littoral-platform',
  ];
  if (await hasPackage(WEB_PACKAGE)) {
    native.push('--exclude', WEB_PACKAGE);
    portable.push('--package', WEB_PACKAGE);
  }
  const strict = { RUSTDOCFLAGS: '-D warnings' };
  await stages.stage('format', () => cargo(['fmt', '--all', '--check']));
  const judged = ['--all-targets', '--', '-D', 'warnings'];
  await stages.stage(
    'clippy',
    async () =>
      (await cargo(['clippy', ...native, ...judged])) &&
      cargo(['clippy', ...WITH_FEATURES, ...judged]),
  );
  const forced = ['--config', 'build.rustflags=["--cfg","littoral_backend=\\"threads\\""]'];
  // In a folder of its own: another flag has everything built anew, also on the way back.
  await stages.stage('clippy forced backend', async () => {
    const folder = ['--target-dir', await targetFolder('forced')];
    const lib = ['--locked', '--package', 'littoral'];
    return cargo(['clippy', ...lib, ...folder, ...forced, '--', '-D', 'warnings']);
  });
  // Clippy brings its own compiler, which knows only the targets that rustup has added.
  if (tools.WASM_RUSTC === undefined) {
    await stages.stage('clippy wasm', () => cargo(['clippy', ...portable, '--', '-D', 'warnings']));
  } else {
    say('--- clippy wasm: left out, rustup has no wasm32-unknown-unknown here');
  }
  // With all features, as docs.rs builds them: that they build in a browser shows here, too.
  const whole = ['--features', 'littoral/tracing', '--no-deps'];
  await stages.stage('docs', () => cargo(['doc', ...native, ...whole], strict));
  await stages.stage('docs wasm', () =>
    cargo(['doc', ...portable, ...whole], { ...strict, ...wasmEnv(tools) }),
  );
  return native;
}
