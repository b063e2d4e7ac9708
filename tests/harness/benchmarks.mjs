// docs/benchmarks.md and its charts, from the rows of one run of `bench native`.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { charts, root } from './paths.mjs';
import { comparisons, figures } from './charts.mjs';
import { between, table } from './tables.mjs';

const MARKS = {
  'the other is faster': 'slower',
  'the subject is faster': 'faster',
  level: 'level',
};

/** A name as part of a file's. */
const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, '-');
const number = (value) => (value === null ? '' : String(value));
const of = (rows, kind) => rows.filter((row) => row.kind === kind);
const unique = (values) => [...new Set(values)];

/** What littoral should come to, and came to. */
function targets(rows) {
  return table(
    ['what', 'found', 'wanted, at most', 'outcome'],
    of(rows, 'target').map(({ question, value, unit, ratio, low, high, target, outcome }) => {
      const interval = low === null ? '' : ` [${low}, ${high}]`;
      const found = ratio === null ? `${value} ${unit}` : `${ratio}${interval}`;
      return [question, found, target, outcome];
    }),
  );
}

/** Microseconds of an operation, and what the comparison with littoral says. */
function times(rows, sides) {
  const find = (kind, question, wanted) =>
    rows.find((row) => row.kind === kind && row.question === question && wanted(row));
  const cell = (question, side) => {
    const row = find('figures', question, ({ subject }) => subject === side);
    if (row === undefined || row.value === null) return '–';
    const beside = find('comparison', question, ({ reference }) => reference === side);
    if (beside === undefined) return `${row.value}`;
    const { ratio, low, high, leans, outcome } = beside;
    const said = outcome === 'inconclusive' ? `${MARKS[leans]}?` : MARKS[leans];
    return `${row.value}; ${ratio} [${low}, ${high}] ${said}`;
  };
  const questions = unique(rows.map(({ question }) => question));
  return table(
    ['us by the operation', ...sides],
    questions.map((question) => [question, ...sides.map((side) => cell(question, side))]),
  );
}

/** Counts of every side. */
function counts(rows) {
  const body = of(rows, 'figures').filter((row) => row.value !== null);
  return table(
    ['workload', 'side', 'instructions', 'syscalls', 'allocations', 'switches', 'processor, us'],
    body.map((row) => [
      row.question,
      row.subject,
      ...['instructions', 'syscalls', 'allocations', 'switches', 'processor'].map((figure) =>
        number(row[figure]),
      ),
    ]),
  );
}

/** What each side was, by workload where that differs, and what it refused. */
function configurations(rows) {
  const found = of(rows, 'figures');
  const lines = [];
  for (const side of unique(found.map(({ subject }) => subject))) {
    const mine = found.filter(({ subject }) => subject === side);
    const what = unique(mine.map((row) => row.configuration ?? `refused: ${row.refused}`));
    for (const one of what) {
      const where = mine.filter((row) => (row.configuration ?? `refused: ${row.refused}`) === one);
      const all = where.length === mine.length;
      lines.push([side, one, all ? 'all' : where.map(({ question }) => question).join('; ')]);
    }
  }
  return table(['side', 'configuration, or why not', 'workloads'], lines);
}

/** What peers do in the scenarios of this project's tests. */
function hazards(rows) {
  const found = of(rows, 'hazard');
  const names = unique(found.map(({ question }) => question));
  const cell = (side, name) => {
    const row = found.find(({ question, subject }) => question === name && subject === side);
    return row === undefined ? '' : `${row.outcome}: ${row.configuration}`;
  };
  const sides = unique(found.map(({ subject }) => subject));
  return table(
    ['scenario', ...sides],
    names.map((name) => [name, ...sides.map((side) => cell(side, name))]),
  );
}

/** How many workloads each other side was faster, level or slower on. */
function summary(rows) {
  const found = of(rows, 'comparison');
  return table(
    ['beside', 'role', 'littoral is faster', 'level', 'slower', 'of these inconclusive'],
    unique(found.map(({ reference }) => reference)).map((side) => {
      const mine = found.filter(({ reference }) => reference === side);
      const leaning = (text) => mine.filter(({ leans }) => leans === text).length;
      return [
        side,
        mine[0].role,
        leaning('the subject is faster'),
        leaning('level'),
        leaning('the other is faster'),
        mine.filter(({ outcome }) => outcome === 'inconclusive').length,
      ];
    }),
  );
}

/** Writes the page and its charts anew. */
export async function writeBenchmarks({ rows, versions, started }) {
  rmSync(charts, { recursive: true, force: true });
  mkdirSync(charts, { recursive: true });
  const sides = unique(of(rows, 'figures').map(({ subject }) => subject));
  const lines = [
    '# Native benchmarks',
    '',
    'Made by `./build.sh bench native --write-tables` from one run; do not edit. How it is',
    'measured stands in [benches/README.md](../benches/README.md).',
    `The run: ${started.slice(0, 10)}, ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
    '## What it should come to',
    '',
    ...targets(rows),
    '',
    '## Beside the others',
    '',
    'Workloads by where the interval of the ratio lies. `inconclusive` is an interval wider than',
    '5 % to a side, after it was repeated: a machine with other work on it.',
    '',
    ...summary(rows),
  ];
  for (const chart of unique(of(rows, 'figures').map((row) => row.chart))) {
    const here = rows.filter((row) => row.chart === chart);
    lines.push('', `## ${chart[0].toUpperCase()}${chart.slice(1)}`, '');
    const drawn = {
      [slug(chart)]: await comparisons(chart, rows),
      [`${slug(chart)}-instructions`]: await figures(
        chart,
        'instructions',
        'user instructions by the operation',
        rows,
      ),
    };
    for (const [name, text] of Object.entries(drawn).filter(([, text]) => text !== undefined)) {
      writeFileSync(join(charts, `${name}.svg`), text);
      lines.push(`![${name.replaceAll('-', ' ')}](benchmarks/${name}.svg)`, '');
    }
    lines.push(...times(here, sides));
  }
  lines.push(
    '',
    '## What a bare ring does to its user, tried on peers',
    '',
    'The scenarios stand in [benches/README.md](../benches/README.md).',
    '',
    ...hazards(rows),
  );
  lines.push('', '## Counts', '', ...counts(rows));
  lines.push('', '## Configurations', '', ...configurations(rows));
  writeFileSync(join(root, 'docs/benchmarks.md'), `${lines.join('\n')}\n`);
  const readme = join(root, 'README.md');
  const text = readFileSync(readme, 'utf8');
  writeFileSync(readme, between(text, 'benchmarks', [...targets(rows), '', ...summary(rows)]));
}
