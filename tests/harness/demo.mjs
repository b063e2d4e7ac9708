// `build.sh demo`: one real database on real data, natively and in a browser, compared.

import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, writeFileSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { program, web } from './cargo.mjs';
import { cities, dist, scratch } from './paths.mjs';
import { Progress, say } from './progress.mjs';
import { output } from './process.mjs';
import { serve } from './server.mjs';
import { setup } from './setup.mjs';
import { Session } from './browser.mjs';
import { answersOfBrowser } from './sabotage.mjs';
import { WRONG } from './outcome.mjs';

/**
 * Facts that must be the same whoever states them. Each topic names its witnesses beforehand, so
 * that a witness who says nothing is a difference too.
 */
export class Comparison {
  #topics = new Map();

  state(topic, witness, value) {
    if (!this.#topics.has(topic)) this.#topics.set(topic, new Map());
    this.#topics.get(topic).set(witness, value);
  }

  /** One row for each topic: `{ topic, agrees, values }`. */
  rows(witnessesOf) {
    return [...this.#topics].map(([topic, said]) => {
      const witnesses = new Set([...witnessesOf(topic), ...said.keys()]);
      const values = {};
      for (const witness of witnesses) values[witness] = said.get(witness) ?? 'nothing';
      const agrees = witnesses.size > 1 && new Set(Object.values(values)).size === 1;
      return { topic, agrees, values };
    });
  }
}

async function sha256(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** The last line of a program's output, which is a JSON object. */
async function json(path, args) {
  return JSON.parse((await output(path, args)).trimEnd().split('\n').at(-1));
}

/** Runs the demo; gives the closing line and the status. */
export async function demo({ browsers, databases, rows: wanted }, report) {
  const groups = ['base', 'web', 'browser'];
  if (browsers.includes('firefox')) groups.push('firefox');
  const tools = await setup(groups);
  say('demo: building');
  const native = await program('cities', 'cities', { profile: 'release' });
  await web(tools);

  const shelf = join(scratch(), 'shelf');
  mkdirSync(shelf);
  const data = join(scratch(), 'cities.json');
  if (wanted === undefined) copyFileSync(cities, data);
  else writeFileSync(data, JSON.stringify(JSON.parse(readFileSync(cities)).slice(0, wanted)));

  const comparison = new Comparison();
  const answerers = [];
  const answers = (witness, list) => {
    answerers.push(witness);
    for (const { query, count, digest } of list) {
      comparison.state(`answer ${query}`, witness, `${count} ${digest}`);
    }
  };

  say('demo: redb natively, on io_uring');
  const here = await json(native, ['--json', data, '--out', scratch()]);
  comparison.state('rows', 'native', here.rows);
  answers('native', here.answers);
  answers('native, direct scan', here.scan);
  comparison.state('raw script', 'uring', here.raw_digest);
  for (const backend of ['faulty-uring', 'simulated', 'faulty-simulated']) {
    const { raw_digest: digest } = await json(native, ['raw', '--backend', backend]);
    comparison.state('raw script', backend, digest);
  }
  const nativeFile = join(scratch(), here.file);
  const nativeDigest = await sha256(nativeFile);
  comparison.state('file native', 'through the trait', here.file_digest);
  comparison.state('file native', 'on disk', nativeDigest);
  copyFileSync(nativeFile, join(shelf, 'native.redb'));

  const server = await serve({ folders: { '/': dist, '/data/cities.json': data }, shelf });
  try {
    for (const browser of browsers) {
      say(`demo: redb in ${browser}'s worker, on OPFS`);
      const session = await Session.start(browser, server.url);
      const bar = new Progress(`demo: ${browser}`);
      try {
        report.versions[browser] = session.version;
        const onProgress = (text) => {
          const { stage = 'working', done = 0, total = 1 } = JSON.parse(text);
          bar.update({ stage, done, total });
        };
        const call = async (name, ...args) =>
          JSON.parse(await session.call(name, args, onProgress));
        for (const backend of ['opfs', 'faulty-opfs']) {
          const raw = await call('raw_script', backend);
          comparison.state('raw script', `${backend} in ${browser}`, raw.digest);
        }
        const there = await call('demo_cities', '/data/cities.json');
        bar.stop();
        comparison.state('rows', browser, there.rows);
        answers(browser, answersOfBrowser(there.answers));
        answers(`${browser}, direct scan`, there.scan);

        const exported = `${browser}.redb`;
        await session.exportFile(there.file, `/shelf/${exported}`);
        const file = join(shelf, exported);
        const digest = await sha256(file);
        comparison.state(`file ${browser}`, 'through the trait', there.digest_trait);
        comparison.state(`file ${browser}`, 'exported', digest);
        const opened = await json(native, ['answer', file]);
        answers(`native, file of ${browser}`, opened.answers);

        await session.importFile('imported.redb', '/shelf/native.redb');
        const foreign = await call('demo_open', 'imported.redb');
        answers(`${browser}, file of native`, foreign.answers);
        const same = digest === nativeDigest ? 'identical' : 'not identical';
        say(`demo: the files made natively and in ${browser} are ${same}`);
      } finally {
        bar.stop();
        await session.close();
      }
    }
  } finally {
    await server.close();
  }

  report.rows = comparison.rows((topic) => (topic.startsWith('answer ') ? answerers : []));
  const differences = report.rows.filter(({ agrees }) => !agrees);
  for (const { topic, values } of differences) {
    say(`DIFFERS ${topic}:`);
    for (const [witness, value] of Object.entries(values)) say(`  ${witness}: ${value}`);
  }
  const queries = report.rows.filter(({ topic }) => topic.startsWith('answer ')).length;
  const platforms = 1 + browsers.length;
  report.extra = { platforms, databases: databases.length, cities: here.rows, queries };
  const count = differences.length + (queries === 0 || here.rows === 0 ? 1 : 0);
  return count > 0
    ? { status: WRONG, line: `demo: DISAGREE (${count} differences)` }
    : {
        status: 0,
        line:
          `demo: all agree (platforms ${platforms}, databases ${databases.length}, ` +
          `rows ${here.rows}, queries ${queries})`,
      };
}
