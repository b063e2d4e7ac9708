// The conformance suite on every backend, as rows
// { clause, check, backend, browser, mode, shape, isolated, outcome, reason }.
//
// An outcome is `passed`, `failed`, `skipped`, or `covered`: what a plain ring can do of the check
// passed, and all of it is for the same ring wrapped in one that misbehaves.

import { output, run } from './process.mjs';
import { program } from './cargo.mjs';
import { WITHOUT } from './clauses.mjs';
import { oneLine, Missing } from './outcome.mjs';
import { rowOfCheck } from './sabotage.mjs';
import { Session, WITH_FILES } from './browser.mjs';
import { say } from './progress.mjs';

/** Backends that run as a native program, and those that run in a browser's worker. */
export const NATIVE = [
  'uring',
  'threads',
  'simulated',
  'faulty-uring',
  'faulty-threads',
  'faulty-simulated',
];
const WEB = ['opfs', 'faulty-opfs'];

const OUTCOMES = new Set(['passed', 'covered', 'failed', 'skipped']);
const SILENCE_SECONDS = 120;

/** Rows of one backend on one platform, whatever way they come in. */
export class Rows {
  list = [];

  constructor(context, onRow) {
    this.context = context;
    this.onRow = onRow;
  }

  /** Takes a row, or the word that a check begins. */
  take(text) {
    const told = JSON.parse(text);
    if (told.begins !== undefined) {
      this.begun = told.begins;
      return;
    }
    this.begun = undefined;
    const row = rowOfCheck({ browser: null, ...told, ...this.context });
    for (const field of ['clause', 'check', 'backend', 'mode', 'shape']) {
      if (typeof row[field] !== 'string' || row[field] === '') {
        throw new Error(`a row without ${field}: ${text}`);
      }
    }
    if (!OUTCOMES.has(row.outcome)) throw new Error(`a row with an unknown outcome: ${text}`);
    if (row.outcome !== 'passed' && !row.reason) throw new Error(`a row without reason: ${text}`);
    this.list.push(row);
    this.onRow(row);
  }

  /** A failure of the run itself, which no check can report. */
  broken(why) {
    const reason = this.begun === undefined ? why : `${why}; it was in ${this.begun}`;
    const row = {
      clause: 'runner',
      check: 'runs to its end',
      backend: 'native',
      browser: null,
      mode: 'default',
      shape: 'default',
      isolated: false,
      ...this.context,
      outcome: 'failed',
      reason,
    };
    this.list.push(row);
    this.onRow(row);
  }

  end() {
    if (this.list.length === 0) this.broken('no check reported anything');
    return this.list;
  }
}

/** The program that runs the suite, and can take things from itself and from others. */
export const runner = () => program('littoral-conformance', 'conformance');

/** What the native driver says of itself, on its own or without something. */
export async function nativeCapabilities(mode) {
  const args = ['--capabilities', ...(WITHOUT[mode]?.args ?? [])];
  return JSON.parse(await output(await runner(), args));
}

/** Runs one native backend, on its own or without something; then the rows say on what. */
export async function native(backend, { seed, filter, onRow, mode }) {
  const context = mode === undefined ? { backend, browser: null } : { browser: null, mode };
  const rows = new Rows(context, onRow);
  const path = await runner();
  const args = ['--backend', backend, '--seed', String(seed), ...(WITHOUT[mode]?.args ?? [])];
  if (filter) args.push('--filter', filter);
  let unreadable;
  // What it says is in its rows already, unless it says something that no row tells.
  const { status, talk } = await run(path, args, {
    quietSeconds: SILENCE_SECONDS,
    quiet: true,
    onLine: (line) => {
      try {
        rows.take(line);
      } catch (error) {
        unreadable ??= oneLine(error);
      }
    },
  });
  if (unreadable !== undefined) rows.broken(unreadable);
  // Status 1 is the program's word that a check failed, and then a row says which.
  const failed = rows.list.some((row) => row.outcome === 'failed');
  if (status !== 0 && !(status === 1 && failed)) rows.broken(`the program ended with ${status}`);
  if (status !== 0) talk.forEach(say);
  return rows.end();
}

/** Runs one backend in a browser of its own; also gives what the driver there says of itself. */
export function inBrowser(context, backend, { url, seed, filter, onRow }) {
  const args = [backend, context, seed, filter ?? ''];
  return rowsOf({ browser: context, backend, url, onRow }, 'run_conformance', args);
}

/** What the module knows to check of its ring alone, below the engine, where there are files. */
const RING = [
  { name: '', call: 'ring_self_test', options: {} },
  // Each context has its own way to say that there is no room: by what it throws, counts or omits.
  { name: ' small quota', call: 'ring_out_of_space', options: { quota: 8 << 20 } },
];

/** And where there are none. */
const REFUSED = [{ name: '', call: 'ring_refused', options: {} }];

/** What there is to check in a context: of the ring, and by the suite. */
export function checksOf(context) {
  return WITH_FILES.includes(context)
    ? { kinds: RING, backends: WEB }
    : { kinds: REFUSED, backends: [] };
}

/** Runs one kind of the ring's checks. */
export function ringInBrowser(context, { name, call, options }, { url, onRow }) {
  const mode = name.trim() || 'default';
  return rowsOf({ browser: context, backend: 'opfs', mode, url, onRow }, call, [], options);
}

/** Calls an export that tells rows one by one and at its end all of them. */
async function rowsOf({ url, onRow, ...place }, name, args, options) {
  const session = await Session.start(place.browser, url, options);
  const rows = new Rows({ ...place, isolated: session.isolated }, onRow);
  let unreadable;
  let capabilities;
  try {
    capabilities = JSON.parse(await session.call('capabilities'));
    const all = await session.call(name, args, (text) => {
      try {
        rows.take(text);
      } catch (error) {
        unreadable ??= oneLine(error);
      }
    });
    const told = JSON.parse(all).length;
    if (unreadable !== undefined) rows.broken(unreadable);
    else if (told !== rows.list.length) {
      rows.broken(`${rows.list.length} rows arrived, the module counted ${told}`);
    }
  } catch (error) {
    if (error instanceof Missing) throw error;
    rows.broken(oneLine(error));
  } finally {
    await session.close();
  }
  return { rows: rows.end(), version: session.version, capabilities };
}
