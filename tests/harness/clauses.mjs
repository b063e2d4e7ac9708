// What a run says of the contract: where each clause holds, and where it does not although it
// should.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.mjs';

/** A contract's clause has a name like W1; other rows have a word in its place. */
export function isClause(name) {
  return /^[A-Z]\d+$/.test(name);
}

const FAULTY = 'faulty-';

/**
 * What native runs can be without, by the mode of their rows. Such a row's backend is what was left
 * for that very check.
 */
export const WITHOUT = {
  eperm: { what: 'io_uring denied with EPERM', args: ['--deny-io-uring', 'eperm'] },
  enosys: { what: 'io_uring denied with ENOSYS', args: ['--deny-io-uring', 'enosys'] },
  memlock: {
    what: '64 KiB of locked memory, without privileges',
    args: ['--memlock', '65536', '--as-user', 'nobody'],
  },
};

/** Where a row comes from, for a person. */
export function place({ backend, browser, mode }) {
  if (mode in WITHOUT) {
    return `${backend.startsWith(FAULTY) ? FAULTY : ''}native, ${WITHOUT[mode].what}`;
  }
  return browser === null ? backend : `${backend} in ${browser}`;
}

/** How many of these checks ran on each backend. */
export function backends(rows) {
  const counts = new Map();
  for (const { backend } of rows) counts.set(backend, (counts.get(backend) ?? 0) + 1);
  return counts;
}

/** The same place with its ring wrapped in one that misbehaves. */
function wrapped(row) {
  return place({ ...row, backend: `${FAULTY}${row.backend}` });
}

const isWrapped = (row) => row.backend.startsWith(FAULTY);
const key = (where, { clause, check }) => JSON.stringify([where, clause, check]);
const found = (row, reason) => ({ ...row, outcome: 'failed', reason });

/**
 * What is wrong with rows that leave something to another backend, as rows to add. A check that one
 * backend leaves out without a word, and what a plain ring covers in part while its faulty one did
 * not pass it. `runs` are lists of rows, one for each backend that ran.
 */
export function leftOut(runs) {
  const every = new Map();
  const passed = new Set();
  for (const row of runs.flat().filter(({ clause }) => clause !== 'runner')) {
    every.set(key('', row), row);
    if (row.outcome === 'passed') passed.add(key(place(row), row));
  }
  const places = new Set(runs.flat().map(place));
  const added = [];
  for (const rows of runs) {
    for (const row of rows.filter(({ outcome }) => outcome === 'covered')) {
      // Where stages were chosen, the faulty one may not have run.
      if (!places.has(wrapped(row)) || passed.has(key(wrapped(row), row))) continue;
      added.push(found(row, `${wrapped(row)} is to cover it, and did not pass it`));
    }
    const have = new Set(rows.map((row) => key('', row)));
    // A run that broke off has said so already; its missing rows add nothing.
    if (have.has(key('', { clause: 'runner', check: 'runs to its end' }))) continue;
    for (const [name, row] of every) {
      if (have.has(name)) continue;
      const { backend, browser, mode, isolated } = rows[0];
      const here = { ...row, backend, browser, mode, isolated };
      added.push(found(here, 'another backend has this check, this one did not report it'));
    }
  }
  return added;
}

/**
 * Where a clause holds: on a backend all of whose checks of it passed, or were covered by the
 * faulty ring and passed there, or stand in exceptions.toml; and at least one was no exception.
 * Gives a map from clause to the set of such places; faulty rings are no places of their own.
 */
export function verified(rows) {
  const passed = new Set();
  for (const row of rows) if (row.outcome === 'passed') passed.add(key(place(row), row));
  const holds = new Map();
  for (const row of rows.filter((row) => isClause(row.clause))) {
    if (!holds.has(row.clause)) holds.set(row.clause, new Map());
    const plain = isWrapped(row) ? { ...row, backend: row.backend.slice(FAULTY.length) } : row;
    const at = holds.get(row.clause);
    const where = at.get(place(plain)) ?? { good: 0, bad: 0 };
    at.set(place(plain), where);
    const covered = row.outcome === 'covered' && passed.has(key(wrapped(row), row));
    if (row.outcome === 'passed' || covered) where.good += isWrapped(row) ? 0 : 1;
    else if (row.outcome !== 'skipped') where.bad += 1;
  }
  const result = new Map();
  for (const [clause, at] of holds) {
    const good = [...at].filter(([, { good, bad }]) => good > 0 && bad === 0);
    result.set(clause, new Set(good.map(([where]) => where)));
  }
  return result;
}

/** The clauses that hold on every backend of the run. */
export function clausesHeld(rows) {
  const checks = rows.filter((row) => isClause(row.clause) && !isWrapped(row));
  const places = new Set(checks.map(place));
  return [...verified(rows)]
    .filter(([, where]) => [...places].every((each) => where.has(each)))
    .map(([clause]) => clause);
}

/** The names of all clauses in the contract's text. */
export function clausesOf(contract) {
  const names = new Set();
  for (const [, bold] of contract.matchAll(/\*\*([^*]+)\*\*/g)) {
    for (const [name] of bold.matchAll(/\b[A-Z]\d+\b/g)) names.add(name);
  }
  for (const [, letter, from, to] of contract.matchAll(/\b([A-Z])(\d+)-\1(\d+)\b/g)) {
    for (let n = Number(from); n <= Number(to); n += 1) names.add(`${letter}${n}`);
  }
  return [...names];
}

/** The clauses that docs/traceability.md says are checked outside the suite, or later. */
export function clausesElsewhere(traceability) {
  const section = /^## Clauses outside the suite$(.*?)(?=^## )/ms.exec(`${traceability}\n## `);
  if (section === null) throw new Error('docs/traceability.md has no clauses outside the suite');
  return [...section[1].matchAll(/^\| ([A-Z]\d+) \|/gm)].map(([, name]) => name);
}

/** The contract's clauses that the suite has to verify. */
export function clausesToVerify() {
  const read = (name) => readFileSync(join(root, 'docs', name), 'utf8');
  const elsewhere = clausesElsewhere(read('traceability.md'));
  return clausesOf(read('contract.md')).filter((name) => !elsewhere.includes(name));
}

/**
 * The clauses that do not hold in one of the contexts, as rows to add. A context is
 * `{ backend, browser }`.
 */
export function unverified(rows, clauses, contexts) {
  const holds = verified(rows);
  return contexts.flatMap((context) =>
    clauses
      .filter((clause) => !holds.get(clause)?.has(place(context)))
      .map((clause) => ({
        clause,
        check: 'the clause is verified',
        mode: 'default',
        shape: 'default',
        isolated: false,
        ...context,
        outcome: 'failed',
        reason: `not every check of it passed on ${place(context)} or its faulty ring`,
      })),
  );
}
