// Writes the tables that users choose by, from a test run: docs/clauses.md, and what stands in
// README.md between its markers. They are never written by hand: `./build.sh test --write-tables`.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.mjs';

/** A contract's clause has a name like W1; other rows have a word in its place. */
export function isClause(name) {
  return /^[A-Z]\d+$/.test(name);
}

/** Where a row comes from, for a person. */
export function place({ backend, browser }) {
  return browser === null ? backend : `${backend} in ${browser}`;
}

/** The clauses that passed somewhere on every place of the run, and failed nowhere. */
export function clausesHeld(rows) {
  const places = new Set(rows.filter(({ clause }) => isClause(clause)).map(place));
  const held = new Map();
  for (const row of rows.filter(({ clause }) => isClause(clause))) {
    if (!held.has(row.clause)) held.set(row.clause, { passed: new Set(), failed: false });
    const clause = held.get(row.clause);
    if (['passed', 'covered'].includes(row.outcome)) clause.passed.add(place(row));
    if (row.outcome === 'failed') clause.failed = true;
  }
  return [...held]
    .filter(([, { passed, failed }]) => !failed && passed.size === places.size)
    .map(([name]) => name);
}

const count = (rows, outcome) => rows.filter((row) => row.outcome === outcome).length;

function tally(rows) {
  const parts = ['passed', 'covered', 'failed', 'skipped']
    .filter((outcome) => count(rows, outcome) > 0)
    .map((outcome) => `${count(rows, outcome)} ${outcome}`);
  return parts.length === 0 ? '-' : parts.join(', ');
}

function table(head, body) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...body.map(line)];
}

/** The page of clauses. */
export function clausesPage(rows, versions) {
  const checks = rows.filter(({ clause }) => isClause(clause));
  const places = [...new Set(checks.map(place))];
  // Letters as the contract has them, numbers as numbers: S2 before S10.
  const names = [...new Set(checks.map(({ clause }) => clause))].sort((one, other) =>
    one.localeCompare(other, 'en', { numeric: true }),
  );
  const of = (name, where) =>
    checks.filter((row) => row.clause === name && (!where || place(row) === where));
  const lines = [
    '# Clauses, and where they were checked',
    '',
    'Made by `./build.sh test --write-tables` from one run; do not edit.',
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
    'A cell counts the checks of a clause on one backend. `faulty` is that ring, the real one too,',
    'wrapped in one that shortens, refuses, delays and reorders by seed.',
    '',
    ...table(
      ['clause', ...places],
      names.map((name) => [name, ...places.map((where) => tally(of(name, where)))]),
    ),
    '',
    '## The checks',
    '',
    ...table(
      ['clause', 'checks'],
      names.map((name) => {
        const all = new Set(of(name).map(({ check }) => check.replaceAll('_', ' ')));
        return [name, [...all].join('; ')];
      }),
    ),
  ];
  const skipped = checks.filter(({ outcome }) => outcome === 'skipped');
  if (skipped.length > 0) {
    lines.push('', '## Skipped, and why', '');
    lines.push(
      ...table(
        ['clause', 'check', 'where', 'reason'],
        skipped.map((row) => [
          row.clause,
          row.check.replaceAll('_', ' '),
          place(row),
          row.reason.replaceAll('|', '\\|'),
        ]),
      ),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Per backend, what passed. */
function summary(rows) {
  const checks = rows.filter(({ clause }) => isClause(clause));
  const body = [...new Set(checks.map(place))].map((where) => {
    const here = checks.filter((row) => place(row) === where);
    const clauses = new Set(
      here
        .filter(({ outcome }) => ['passed', 'covered'].includes(outcome))
        .map(({ clause }) => clause),
    );
    const outcomes = ['passed', 'covered', 'failed', 'skipped'];
    return [where, clauses.size, ...outcomes.map((outcome) => count(here, outcome))];
  });
  const head = ['backend', 'clauses', 'checks passed', 'in part, and on its faulty ring'];
  return table([...head, 'failed', 'skipped'], body);
}

const YES = { true: 'yes', false: 'no' };

const CAPABILITIES = [
  ['a thread may wait in the kernel', ({ may_block }) => YES[may_block]],
  ['calls are done when submitted', ({ executes_at_submit }) => YES[executes_at_submit]],
  ['a file is open once at a time', ({ one_handle_per_file }) => YES[one_handle_per_file]],
  ['operations in flight', ({ in_flight }) => in_flight],
  ['spans per call', ({ spans_per_call }) => spans_per_call],
  ['bytes per call', ({ bytes_per_call }) => bytes_per_call],
  ['largest offset', ({ offset_max }) => power(offset_max)],
  ['a write call costs as much as', ({ write_call_cost }) => `${write_call_cost} bytes`],
  ['a read call costs as much as', ({ read_call_cost }) => `${read_call_cost} bytes`],
  ['refused', ({ refused }) => (refused.length === 0 ? 'nothing' : refused.join('; '))],
];

/** `2^63-1` for its digits. */
function power(digits) {
  const exponent = (BigInt(digits) + 1n).toString(2).length - 1;
  return (1n << BigInt(exponent)) - 1n === BigInt(digits) ? `2^${exponent}-1` : digits;
}

/** What each platform said of itself in this run. */
function capabilities(found) {
  const places = Object.keys(found);
  return table(
    ['', ...places],
    CAPABILITIES.map(([name, of]) => [name, ...places.map((where) => of(found[where]))]),
  );
}

/** `text` with the part between two markers replaced, or as it was without them. */
export function between(text, name, lines) {
  const [begin, end] = [`<!-- ${name}: made by build.sh -->`, `<!-- ${name} ends -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`no markers for ${name}`);
  return `${text.slice(0, from)}${begin}\n${lines.join('\n')}\n${text.slice(to)}`;
}

/** Writes all tables from a finished run's report. */
export function writeTables({ rows, versions, extra }) {
  mkdirSync(join(root, 'docs'), { recursive: true });
  writeFileSync(join(root, 'docs/clauses.md'), clausesPage(rows, versions));
  const path = join(root, 'README.md');
  let readme = readFileSync(path, 'utf8');
  readme = between(readme, 'clauses', summary(rows));
  readme = between(readme, 'capabilities', capabilities(extra.capabilities));
  writeFileSync(path, readme);
}
