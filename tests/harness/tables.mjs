// Writes the tables that users choose by, from a test run: docs/clauses.md, and what stands in
// README.md between its markers. They are never written by hand: `./build.sh test --write-tables`.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { backends, isClause, place, verified, WITHOUT } from './clauses.mjs';
import { root } from './paths.mjs';

const count = (rows, outcome) => rows.filter((row) => row.outcome === outcome).length;

/** A cell: `4`, `4 + 2` with two that the faulty ring covers, and what else there is in words. */
function tally(rows) {
  const numbers = [count(rows, 'passed')];
  if (count(rows, 'covered') > 0) numbers.push(count(rows, 'covered'));
  const parts = ['failed', 'skipped']
    .filter((outcome) => count(rows, outcome) > 0)
    .map((outcome) => `${count(rows, outcome)} ${outcome}`);
  return rows.length === 0 ? '-' : [numbers.join(' + '), ...parts].join(', ');
}

const words = (check) => check.replaceAll('_', ' ');

/** A table of markdown, as lines. */
export function table(head, body) {
  // A bar inside a cell would end it.
  const inside = (cell) => String(cell).replaceAll('|', '\\|');
  const line = (cells) => `| ${cells.map(inside).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...body.map(line)];
}

/** The rows of checks, but for those of runs without something, which have a table of their own. */
const checksOf = (rows) =>
  rows.filter(({ clause, mode }) => isClause(clause) && !(mode in WITHOUT));

/** What was left where something was taken away, and what passed on it. */
function withoutTable(rows) {
  const runs = rows.filter(({ clause, mode }) => isClause(clause) && mode in WITHOUT);
  const body = [...new Set(runs.map(place))].map((where) => {
    const here = runs.filter((row) => place(row) === where);
    const on = [...backends(here)].map(([name, checks]) => `${checks} on ${name}`);
    return [where, on.join(', '), tally(here)];
  });
  return table(['run', 'backend that was left', 'checks'], body);
}

/** The page of clauses. */
export function clausesPage(rows, versions) {
  const checks = checksOf(rows);
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
    'A cell counts the checks of a clause that passed on one backend. `faulty` is that ring, the',
    'real one too, wrapped in one that shortens, refuses, delays and reorders by seed or script.',
    'Where a check wants such a ring, a plain one does what it can of it: `4 + 2` are four that',
    'passed whole, and two that passed as far as they go there and whole on the faulty ring.',
    '',
    ...table(
      ['clause', ...places],
      names.map((name) => [name, ...places.map((where) => tally(of(name, where)))]),
    ),
    '',
    '## With something taken away',
    '',
    'The same checks in a process to which the kernel refuses what it usually gives. A backend is',
    'what `capabilities()` said; one that is not what is left, or hides the reason, fails its',
    'check.',
    '',
    ...withoutTable(rows),
    '',
    '## The checks',
    '',
    ...table(
      ['clause', 'checks'],
      names.map((name) => {
        const all = new Set(of(name).map(({ check }) => words(check)));
        return [name, [...all].join('; ')];
      }),
    ),
  ];
  const skipped = new Map();
  for (const row of checks.filter(({ outcome }) => outcome === 'skipped')) {
    const { clause, check, reason } = row;
    const key = JSON.stringify([clause, words(check), reason.replaceAll('|', '\\|')]);
    skipped.set(key, [...(skipped.get(key) ?? []), place(row)]);
  }
  if (skipped.size > 0) {
    lines.push('', '## Skipped, and why', '');
    lines.push(
      ...table(
        ['clause', 'check', 'where', 'reason'],
        [...skipped].map(([key, where]) => {
          const [clause, check, reason] = JSON.parse(key);
          return [clause, check, where.join(', '), reason];
        }),
      ),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** The rows of docs/traceability.md for the clauses of the suite. */
export function suiteTable(rows) {
  const checks = new Map();
  for (const { clause, check } of rows.filter(({ clause }) => isClause(clause))) {
    checks.set(clause, (checks.get(clause) ?? new Set()).add(`\`${check}\``));
  }
  const names = [...checks.keys()].sort((one, other) =>
    one.localeCompare(other, 'en', { numeric: true }),
  );
  return table(
    ['clause', 'checks'],
    names.map((name) => [name, [...checks.get(name)].join(', ')]),
  );
}

/** Per backend and context, what passed. */
function summary(rows) {
  const checks = checksOf(rows);
  const plain = checks.filter(({ backend }) => !backend.startsWith('faulty-'));
  const holds = verified(rows);
  const body = [...new Set(plain.map(place))].map((where) => {
    const here = plain.filter((row) => place(row) === where);
    const [passed, covered, failed, skipped] = ['passed', 'covered', 'failed', 'skipped'].map(
      (outcome) => count(here, outcome),
    );
    const clauses = [...holds.values()].filter((places) => places.has(where)).length;
    return [where, clauses, passed + covered, covered, failed, skipped];
  });
  const head = ['backend', 'clauses verified', 'checks passed', 'of them with its faulty ring'];
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
  const columns = new Map();
  for (const [where, said] of Object.entries(found)) {
    const cells = JSON.stringify(CAPABILITIES.map(([, of]) => of(said)));
    columns.set(cells, [...(columns.get(cells) ?? []), where]);
  }
  const cells = [...columns.keys()].map((column) => JSON.parse(column));
  return table(
    ['', ...[...columns.values()].map((places) => places.join(', '))],
    CAPABILITIES.map(([name], line) => [name, ...cells.map((column) => column[line])]),
  );
}

/** `text` with the part between two markers replaced, or as it was without them. */
export function between(text, name, lines) {
  const [begin, end] = [`<!-- ${name}: made by build.sh -->`, `<!-- ${name} ends -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`no markers for ${name}`);
  return `${text.slice(0, from)}${begin}\n${lines.join('\n')}\n${text.slice(to)}`;
}

/** Puts tables between their markers in a file of the tree. */
function replaceIn(file, tables) {
  const path = join(root, file);
  let text = readFileSync(path, 'utf8');
  for (const [name, lines] of Object.entries(tables)) text = between(text, name, lines);
  writeFileSync(path, text);
}

/** Writes all tables from a finished run's report. */
export function writeTables({ rows, versions, extra }) {
  writeFileSync(join(root, 'docs/clauses.md'), clausesPage(rows, versions));
  replaceIn('docs/traceability.md', { suite: suiteTable(rows) });
  replaceIn('README.md', {
    clauses: summary(rows),
    capabilities: capabilities(extra.capabilities),
  });
}
