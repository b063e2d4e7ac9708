// `build.sh bench native|web|instructions`: measurements, judged against the targets that they
// carry.

import { program, web } from './cargo.mjs';
import { dist, gates } from './paths.mjs';
import { Progress, say } from './progress.mjs';
import { run } from './process.mjs';
import { serve } from './server.mjs';
import { setup } from './setup.mjs';
import { Session } from './browser.mjs';
import { WRONG } from './outcome.mjs';

const FIELDS = [
  'question',
  'subject',
  'reference',
  'unit',
  'value',
  'rounds',
  'ratio',
  'low',
  'high',
  'target',
  'outcome',
  'raw',
];

const NEEDS = {
  native: ['base', 'gates', 'bench'],
  web: ['base', 'web', 'browser'],
  instructions: ['base', 'gates'],
};

const MEASURE = {
  native: natively,
  web: inBrowser,
  instructions: async () => {
    const rows = await counted();
    for (const row of rows.filter(({ within }) => !within)) {
      say(`above the ceiling ${row.ceiling} of tests/gates.toml: ${row.question}`);
    }
    return rows;
  },
};

/** What there is to measure. */
export const SIDES = Object.keys(NEEDS);

/** Runs the benchmarks of one side; gives the closing line and the status. */
export async function bench(side, options, report) {
  const tools = await setup(NEEDS[side]);
  const found = await MEASURE[side](tools, options, report);
  for (const row of found) {
    const absent = FIELDS.filter((field) => !(field in row));
    if (absent.length > 0)
      throw new Error(`a row without ${absent.join(', ')}: ${JSON.stringify(row)}`);
    report.rows.push(row);
    if (side !== 'native') tell(row);
  }
  const of = (outcome) => report.rows.filter((row) => row.outcome === outcome).length;
  const targets = report.rows.filter(({ target }) => target !== null).length;
  const [met, missed, inconclusive] = ['met', 'missed', 'inconclusive'].map(of);
  if (report.rows.length === 0) throw new Error('no benchmark reported anything');
  return {
    status: options.strict && missed > 0 ? WRONG : 0,
    line:
      `bench ${side}: ${targets} targets, ${met} met, ${missed} missed, ` +
      `${inconclusive} inconclusive`,
  };
}

/** One row, for a person. */
function tell(row) {
  const { subject, reference, question, value, unit, ratio, low, high, target, outcome } = row;
  if (row.refused || row.kind === 'hazard') {
    say(`${question}: ${subject}: ${row.refused ?? `${outcome}: ${row.configuration}`}`);
    return;
  }
  const against = ratio === null ? '' : `, ${ratio} of ${reference}${interval(low, high)}`;
  const judged = target === null ? '' : `, target ${target}: ${outcome}`;
  say(`${question}: ${subject} ${value} ${unit}${against}${judged}`);
}

const interval = (low, high) => (low === null ? '' : ` [${low}, ${high}]`);

async function rowsOf(path, args, onRow = () => {}) {
  const rows = [];
  const onLine = (line) => {
    if (!line.startsWith('{')) return;
    rows.push(JSON.parse(line));
    onRow(rows.at(-1));
  };
  const { status } = await run(path, args, { onLine });
  if (status !== 0) throw new Error(`${path} ended with ${status}`);
  return rows;
}

async function natively(tools, { only = [], peers = '', rounds = 15, quick, counts }) {
  const path = await program('littoral-benches', 'native', { profile: 'measured' });
  const args = ['--peers', peers, '--rounds', rounds, ...only.flatMap((text) => ['--only', text])];
  if (quick) args.push('--quick');
  if (!counts) args.push('--no-counts');
  // Not in a look at some of it.
  if (quick || only.length > 0) args.push('--no-hazards');
  return rowsOf(path, args, tell);
}

/** What operations cost in instructions and system calls, beside what they may cost at most. */
export async function counted() {
  const path = await program('littoral-benches', 'instructions', { profile: 'measured' });
  return rowsOf(path, ['measure', '--ceilings', gates]);
}

/** What one call of the ring costs, by which the engine's limits were set: told, not judged. */
const cost = ({ what, bytes, micros }) => ({
  question: 'what does a call of the ring cost',
  subject: ['read', 'write'].includes(what) ? `${what} of ${bytes} bytes` : what,
  reference: null,
  unit: 'us',
  value: micros,
  rounds: 15,
  ratio: null,
  low: null,
  high: null,
  target: null,
  outcome: 'no target',
  raw: [],
});

async function inBrowser(tools, { browser }, report) {
  await web(tools);
  const server = await serve({ folders: { '/': dist } });
  const bar = new Progress(`bench: ${browser}`);
  try {
    const session = await Session.start(browser, server.url);
    report.versions[browser] = session.version;
    try {
      const text = await session.call('bench_web', [], (progress) => {
        const { stage = 'measuring', done = 0, total = 1 } = JSON.parse(progress);
        bar.update({ stage, done, total });
      });
      const costs = JSON.parse(await session.call('ring_costs', [], () => {}));
      return [...JSON.parse(text), ...costs.map(cost)];
    } finally {
      bar.stop();
      await session.close();
    }
  } finally {
    await server.close();
  }
}
