// `build.sh bench native|web`: measurements, judged against the targets that they carry.

import { program, web } from './cargo.mjs';
import { dist } from './paths.mjs';
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

/** Runs the benchmarks of one side; gives the closing line and the status. */
export async function bench({ side, browser, strict }, report) {
  const tools = await setup(side === 'web' ? ['base', 'web', 'browser'] : ['base']);
  const found = side === 'web' ? await inBrowser(browser, tools, report) : await natively();
  for (const row of found) {
    const absent = FIELDS.filter((field) => !(field in row));
    if (absent.length > 0)
      throw new Error(`a row without ${absent.join(', ')}: ${JSON.stringify(row)}`);
    report.rows.push(row);
    const { subject, reference, question, value, unit, ratio, low, high, target, outcome } = row;
    const against = ratio === null ? '' : `, ${ratio} of ${reference} [${low}, ${high}]`;
    const judged = target === null ? '' : `, target ${target}: ${outcome}`;
    say(`${question}: ${subject} ${value} ${unit}${against}${judged}`);
  }
  const of = (outcome) => report.rows.filter((row) => row.outcome === outcome).length;
  const targets = report.rows.filter(({ target }) => target !== null).length;
  const [met, missed, inconclusive] = ['met', 'missed', 'inconclusive'].map(of);
  if (report.rows.length === 0) throw new Error('no benchmark reported anything');
  return {
    status: strict && missed > 0 ? WRONG : 0,
    line:
      `bench ${side}: ${targets} targets, ${met} met, ${missed} missed, ` +
      `${inconclusive} inconclusive`,
  };
}

async function natively() {
  const path = await program('littoral-benches', 'benches', { release: true });
  const { status, lines } = await run(path, [], { capture: true });
  if (status !== 0) throw new Error(`the benchmarks ended with ${status}`);
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
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

async function inBrowser(browser, tools, report) {
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
