// Writes docs/clauses.md, the table of clause x backend x browser, from the rows of a test run. The
// table is never written by hand: `./build.sh test --write-tables` makes it.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.mjs';

const column = ({ backend, browser }) => (browser === null ? backend : `${backend}, ${browser}`);

/** Clauses in the order of letters and numbers: S2 before S10. */
function byClause(one, other) {
  return one.localeCompare(other, 'en', { numeric: true });
}

/** What a clause's checks did on one backend: `3 passed`, `2 passed, 1 skipped`, or a dash. */
function cell(rows) {
  const of = (outcome) => rows.filter((row) => row.outcome === outcome).length;
  const parts = ['passed', 'failed', 'skipped'].filter((outcome) => of(outcome) > 0);
  return parts.length === 0 ? '-' : parts.map((outcome) => `${of(outcome)} ${outcome}`).join(', ');
}

/** The page's text for the rows of one run. */
export function clauses(rows, versions) {
  const columns = [...new Set(rows.map(column))];
  const names = [...new Set(rows.map(({ clause }) => clause))].sort(byClause);
  const lines = [
    '# Clauses and where they hold',
    '',
    'Made by `./build.sh test --write-tables` from the rows of one run; do not edit.',
    '',
    `The run used ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    'A cell counts the checks of a clause on one backend. `faulty` is a real ring wrapped in one',
    'that shortens, refuses, delays and reorders by seed.',
    '',
    `| clause | ${columns.join(' | ')} |`,
    `|---|${columns.map(() => '---|').join('')}`,
  ];
  for (const name of names) {
    const cells = columns.map((wanted) =>
      cell(rows.filter((row) => row.clause === name && column(row) === wanted)),
    );
    lines.push(`| ${name} | ${cells.join(' | ')} |`);
  }
  const skipped = rows.filter(({ outcome }) => outcome === 'skipped');
  if (skipped.length > 0) {
    lines.push(
      '',
      '## Skipped, and why',
      '',
      '| clause | check | where | reason |',
      '|---|---|---|---|',
    );
    for (const row of skipped) {
      lines.push(
        `| ${row.clause} | ${row.check} | ${column(row)} | ${row.reason.replaceAll('|', '\\|')} |`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Writes the page from a finished run's report. */
export function writeTables({ rows, versions }) {
  mkdirSync(join(root, 'docs'), { recursive: true });
  writeFileSync(join(root, 'docs/clauses.md'), clauses(rows, versions));
}
