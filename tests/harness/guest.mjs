// What a guest runs, and what it says: lines of guest.sh around those of the programs.

import { tests } from './cargo.mjs';
import { WITHOUT } from './clauses.mjs';
import { Rows, runner } from './conformance.mjs';
import { count, REPRODUCERS, restricted, RESTRICTED } from './reproducers.mjs';
import { oneLine } from './outcome.mjs';
import { say } from './progress.mjs';
import { simulation } from './simulation.mjs';

/** Backends that have to do with the kernel. */
const BACKENDS = ['uring', 'threads', 'faulty-uring', 'faulty-threads'];
/** Tests of sources, which are not in the guest. */
const OF_SOURCES = ['tidy', 'public_api', 'error_texts'];
/** Tests of what is the same on every kernel, within those of the platform. */
const PORTABLE = ['simulated::', 'opfs::', 'faulty::'];
/** They are the same on every kernel: so few, also of those that are run under restrictions. */
const SEEDS = 1000;
const SEEDS_RESTRICTED = 100;
/** Seconds that a part may take, many times what it does. */
const SUITE = 600;
const PROGRAM = 400;

/** What reproducers saw, and what they could not. */
const TOLD = /^(\| )?(test .* \.\.\. )?(bare ring|ECANCELED|NOT SEEN|SKIPPED|.*, naive: )/;

const skipped = (name) =>
  name === 'littoral_platform' ? PORTABLE.flatMap((each) => ['--skip', each]) : [];
const inGuest = (name) => `/programs/${name}`;
const LAUNCHER = inGuest('conformance');

/** The parts in their order, and the programs that they need. */
export async function plan(seed) {
  const built = await tests(['littoral', 'littoral-platform']);
  const ofKernel = built.filter(({ name }) => !OF_SOURCES.includes(name));
  const programs = new Map(ofKernel.map(({ name, path }) => [name, path]));
  programs.set('conformance', await runner());
  programs.set('simulation', await simulation());

  const suite = (name, backend, mode, before = []) => ({
    name: `conformance ${name}`,
    seconds: SUITE,
    command: [
      ...before,
      ...[LAUNCHER, '--backend', backend, '--seed', `${seed}`],
      ...(WITHOUT[mode]?.args ?? []),
    ],
    kind: 'rows',
    context: mode === undefined ? { backend } : { mode },
  });
  const seeds = (name, many, before = []) => ({
    name: `simulation${name}`,
    seconds: SUITE,
    command: [...before, inGuest('simulation'), '--seeds', `${seed * many}..${(seed + 1) * many}`],
    kind: 'text',
  });
  const test = (name, what, command) => ({ name: what, seconds: PROGRAM, command, kind: 'tests' });

  const parts = [
    { name: 'capabilities', seconds: 60, command: [LAUNCHER, '--capabilities'], kind: 'text' },
    ...ofKernel.map(({ name }) =>
      test(name, `test ${name}`, [inGuest(name), '--nocapture', ...skipped(name)]),
    ),
    ...BACKENDS.map((backend) => suite(backend, backend)),
    suite('uring on tmpfs', 'uring', undefined, ['env', 'TMPDIR=/tmp']),
    seeds('', SEEDS),
  ];
  for (const mode of Object.keys(WITHOUT)) {
    for (const backend of ['native', 'faulty-native']) {
      parts.push(suite(`${backend} ${mode}`, backend, mode));
    }
  }
  for (const mode of RESTRICTED) {
    for (const name of REPRODUCERS) {
      parts.push(test(name, `test ${name} ${mode}`, restricted(mode, LAUNCHER, inGuest(name))));
    }
    parts.push(seeds(` ${mode}`, SEEDS_RESTRICTED, [LAUNCHER, ...WITHOUT[mode].args, '--']));
  }
  return { parts, programs };
}

/** Hears a guest and judges it. */
export class Guest {
  counts = { passed: 0, failed: 0, skipped: 0 };
  ended = [];
  isDone = false;
  release;
  #part;
  #lines = [];

  constructor(version, parts, onRow) {
    this.version = version;
    this.parts = parts;
    this.onRow = onRow;
  }

  take(line) {
    const told = /^@(kernel|begin|end|done) ?(.*)$/.exec(line);
    if (told === null) this.#said(line);
    else this[`_${told[1]}`](told[2]);
  }

  _kernel(text) {
    [this.release] = text.split(' ');
    say(`--- the guest runs Linux ${text} s`);
    if (!this.release.startsWith(`${this.version}.`)) this.broken('another kernel was wanted');
  }

  _begin(name) {
    this.#part = this.parts.find((part) => part.name === name);
    this.#lines = [];
    this.failedBefore = this.counts.failed;
    if (this.#part.kind !== 'rows') return;
    const onRow = (row) => {
      this.onRow(row);
      if (row.outcome === 'failed') this.counts.rowsFailed = (this.counts.rowsFailed ?? 0) + 1;
    };
    this.rows = new Rows({ browser: null, ...this.#part.context }, onRow);
  }

  #said(line) {
    if (line === '') return;
    this.#lines.push(line);
    if (this.#part?.kind === 'tests') count(line, this.counts);
    if (this.#part?.kind !== 'rows' || line.startsWith('| ')) return;
    try {
      this.rows.take(line);
    } catch (error) {
      this.rows.broken(oneLine(error));
    }
  }

  _end(text) {
    const { name, kind } = this.#part;
    const [status, seconds] = text.slice(name.length + 1).split(' ').map(Number);
    let failed = this.counts.failed > this.failedBefore;
    if (kind === 'rows') {
      failed = this.rows.list.some((row) => row.outcome === 'failed');
      // Status 1 is the program's word that a check failed, and then a row says which.
      if (status !== 0 && !(status === 1 && failed)) this.rows.broken(`it ended with ${status}`);
      this.rows.end();
      failed ||= status !== 0;
    } else {
      // A program that ends badly and has counted nothing is one failure.
      if (status !== 0 && !failed) this.counts.failed += 1;
      else if (status === 0 && kind === 'text') this.counts.passed += 1;
      failed ||= status !== 0;
    }
    const told = this.#lines.filter((line) => !line.startsWith('{'));
    told.filter((line) => failed || TOLD.test(line)).forEach(say);
    this.ended.push({ name, status, seconds, ok: !failed });
    say(`--- ${name}: ${failed ? `FAILED with ${status}` : 'ok'} in ${seconds} s`);
    this.#part = undefined;
  }

  _done() {
    this.isDone = true;
  }

  /** A failure of the guest itself. */
  broken(why) {
    say(`FAILED ${this.#part?.name ?? 'between two parts'}: ${why}`);
    this.#lines.forEach(say);
    this.counts.failed += 1;
  }

  /** Every part has to have been run. */
  conclude() {
    const missed = this.parts.filter(({ name }) => !this.ended.some((end) => end.name === name));
    if (missed.length === 0) return;
    say(`FAILED never came to their end: ${missed.map(({ name }) => name).join(', ')}`);
    this.counts.failed += missed.length;
  }
}
