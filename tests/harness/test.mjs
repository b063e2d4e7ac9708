// `build.sh test`: everything that must hold, in one run.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { output, run } from './process.mjs';
import { say } from './progress.mjs';
import { program, targetFolder, web, webProgram } from './cargo.mjs';
import { dist, scratch } from './paths.mjs';
import { serve } from './server.mjs';
import { counted } from './bench.mjs';
import { setup } from './setup.mjs';
import { lintStages, Stages, WITH_FEATURES } from './stages.mjs';
import { CONTEXTS, WITH_FILES, Session } from './browser.mjs';
import {
  backends,
  clausesHeld,
  clausesToVerify,
  leftOut,
  place,
  unverified,
  WITHOUT,
} from './clauses.mjs';
import {
  checksOf,
  inBrowser,
  native,
  NATIVE,
  nativeCapabilities,
  ringInBrowser,
} from './conformance.mjs';
import { locksBetweenTabs } from './locks.mjs';
import { publishStages } from './publish.mjs';
import { modelled, plantAll } from './planted.mjs';
import { simulate, simulateIn, simulateWithout } from './simulation.mjs';
import { libtest, reproduced, RESTRICTED } from './reproducers.mjs';
import { selfTest } from './selftest.mjs';
import { WRONG } from './outcome.mjs';

/** Runs the stages; gives the closing line and the status. */
export async function test(options, report) {
  const tools = await setup(groups(options.only));
  const stages = new Stages(options.only);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  report.extra = { seed: options.seed, stages: stages.done, cargo: counts, capabilities: {} };

  const workspace = await lintStages(stages, tools);
  await publishStages(stages, tools);
  await stages.stage('cargo test', () => cargoTest(workspace, counts), { counts: true });
  for (const mode of RESTRICTED) {
    await stages.stage(`reproducers ${mode}`, () => reproduced(mode, counts), { counts: true });
  }
  const target = await targetFolder('.');
  await stages.stage('models', () => modelled(target));
  await stages.stage('models planted', () => plantAll(target));
  await stages.stage('gates', () => withinGates(counts, report), { counts: true });

  await stages.stage('simulation', () => simulate(options.seed));
  for (const mode of RESTRICTED) {
    await stages.stage(`simulation ${mode}`, () => simulateWithout(mode, options.seed));
  }
  await conformance(stages, tools, options, report);
  await stages.stage('harness', selfTest);

  stages.checkNames();
  stages.summary();
  return closing(report.rows, counts, stages);
}

/** What has to be here for the chosen stages; all of it for a whole run. */
function groups(only) {
  const firefox = only?.every((name) => !name.includes('firefox')) ? [] : ['firefox'];
  return ['base', 'web', 'browser', 'gates', 'oldest', ...firefox];
}

/** The browsers' contexts as lists: those of one browser follow one another, the lists do not. */
function lanes() {
  const byBrowser = new Map();
  for (const [context, { browser }] of Object.entries(CONTEXTS)) {
    byBrowser.set(browser, [...(byBrowser.get(browser) ?? []), context]);
  }
  return [...byBrowser.values()];
}

/** The conformance suite on every backend, natively and in every context of a browser. */
async function conformance(stages, tools, { filter, seed }, report) {
  const onRow = (row) => {
    report.rows.push(row);
    if (row.outcome !== 'failed') return;
    say(`FAILED ${place(row)}: ${row.clause} ${row.check}: ${row.reason}`);
  };
  const checks = (name, rowsOf) =>
    stages.stage(
      name,
      async () => {
        const rows = await rowsOf();
        const of = (outcome) => rows.filter((row) => row.outcome === outcome).length;
        say(
          `${name}: ${of('passed')} passed, ${of('covered')} covered by the faulty ring, ` +
            `${of('failed')} failed, ${of('skipped')} skipped`,
        );
        if (of('failed') > 0) say(`seed ${seed}; the same again: ./build.sh test --seed ${seed}`);
        return of('failed') === 0;
      },
      { counts: true },
    );
  const runs = [];
  const kept = (rows) => {
    runs.push(rows);
    return rows;
  };

  await stages.stage('capabilities native', async () => {
    for (const mode of [undefined, 'eperm']) {
      const said = await nativeCapabilities(mode);
      report.extra.capabilities[said.backend] = said;
    }
    return true;
  });
  for (const backend of NATIVE) {
    await checks(`conformance ${backend}`, async () =>
      kept(await native(backend, { seed, filter, onRow })),
    );
  }
  for (const [mode, { what }] of Object.entries(WITHOUT)) {
    for (const backend of ['native', 'faulty-native']) {
      await checks(`conformance ${backend} ${mode}`, async () => {
        const rows = kept(await native(backend, { seed, filter, onRow, mode }));
        const on = [...backends(rows)].map(([name, count]) => `${count} on ${name}`);
        say(`${what}: ${on.join(', ')}`);
        return rows;
      });
    }
  }
  let url;
  let server;
  await stages.stage('build web', async () => {
    await web(tools);
    server = await serve({ folders: { '/': dist } });
    url = server.url;
    return true;
  });
  try {
    const needed = () => {
      if (url === undefined) throw new Error('the web half was not built');
    };
    const said = new Map();
    const inContext = async (context) => {
      const noted = ({ rows, version, capabilities }) => {
        report.versions[CONTEXTS[context].browser] = version;
        said.set(context, capabilities);
        return rows;
      };
      const { kinds, backends } = checksOf(context);
      for (const kind of kinds) {
        await checks(`ring ${context}${kind.name}`, async () => {
          needed();
          return noted(await ringInBrowser(context, kind, { url, onRow }));
        });
      }
      if (WITH_FILES.includes(context)) {
        await stages.stage(`locks ${context}`, async () => {
          needed();
          return locksBetweenTabs(context, url);
        });
      }
      for (const backend of backends) {
        await checks(`conformance ${backend} ${context}`, async () => {
          needed();
          return kept(noted(await inBrowser(context, backend, { url, seed, filter, onRow })));
        });
      }
    };
    const printed = new Map();
    await stages.stage('one program', async () => {
      printed.set('natively', await printedNatively('journal'));
      needed();
      await webProgram(tools, 'journal');
      return printed.get('natively') !== '';
    });
    for (const context of ['chromium', 'firefox']) {
      await stages.stage(`one program ${context}`, async () => {
        needed();
        return printsTheSame(context, url, 'journal', printed.get('natively'));
      });
    }
    for (const context of ['chromium', 'firefox']) {
      await stages.stage(`simulation ${context}`, async () => {
        needed();
        return simulateIn(context, url, seed);
      });
    }
    await Promise.all(
      lanes().map(async (contexts) => {
        for (const context of contexts) await inContext(context);
      }),
    );
    // In an order that does not depend on who was faster.
    const order = Object.keys(CONTEXTS);
    for (const context of WITH_FILES.filter((each) => said.has(each))) {
      report.extra.capabilities[`opfs in ${context}`] = said.get(context);
    }
    report.rows.sort((one, other) => order.indexOf(one.browser) - order.indexOf(other.browser));
  } finally {
    await server?.close();
  }
  await stages.stage(
    'every check everywhere',
    async () => {
      if (runs.length === 0) throw new Error('no backend ran');
      const added = leftOut(runs);
      added.forEach(onRow);
      return added.length === 0;
    },
    { counts: true },
  );
  await stages.stage(
    'every clause',
    async () => {
      // A choice of stages or of checks verifies no contract.
      if (stages.only !== undefined || filter !== undefined) return true;
      const contexts = [
        { backend: 'uring', browser: null },
        ...WITH_FILES.map((browser) => ({ backend: 'opfs', browser })),
      ];
      const added = unverified(report.rows, clausesToVerify(), contexts);
      added.forEach(onRow);
      return added.length === 0;
    },
    { counts: true },
  );
}

/** What a program of `examples/` prints on this system. */
async function printedNatively(name) {
  const folder = join(scratch(), name);
  mkdirSync(folder, { recursive: true });
  const text = await output(await program(name, name), [folder]);
  say(text);
  return text;
}

/** Whether it prints the same in a browser's worker. */
async function printsTheSame(context, url, name, expected) {
  if (expected === undefined) throw new Error('it has to run natively first: `one program`');
  const session = await Session.start(context, url);
  try {
    const text = await session.program(`./programs/${name}/${name}.js`);
    if (text !== expected) say(`${context} printed:\n${text}`);
    return text === expected;
  } finally {
    await session.close();
  }
}

/** The native tests; adds libtest's own totals to `counts`. */
async function cargoTest(workspace, counts) {
  let failed = 0;
  const onLine = (line) => {
    process.stderr.write(`${line}\n`);
    const totals = libtest(line);
    counts.passed += totals.passed;
    failed += totals.failed;
    counts.skipped += totals.skipped;
  };
  const statuses = [];
  for (const args of [workspace, [...WITH_FEATURES, '--test', 'tracing']]) {
    statuses.push((await run('cargo', ['test', ...args, '--no-fail-fast'], { onLine })).status);
  }
  counts.failed += failed;
  const wrong = statuses.filter((status) => status !== 0);
  if (wrong.length > 0 && failed === 0) throw new Error(`cargo test ended with ${wrong[0]}`);
  return wrong.length === 0;
}

/** What operations cost on uring, against tests/gates.toml. */
async function withinGates(counts, report) {
  const rows = await counted();
  report.extra.gates = rows;
  for (const { question, value, beside, ceiling, within } of rows) {
    const bare = `a bare loop's ${beside}`;
    say(`${within ? '' : 'ABOVE '}${question}: ${value}, ceiling ${ceiling}, ${bare}`);
    counts[within ? 'passed' : 'failed'] += 1;
  }
  return rows.length > 0 && rows.every(({ within }) => within);
}

/** The closing line. A stage that failed otherwise than by checks counts as one failure. */
function closing(rows, counts, stages) {
  const of = (outcome) => rows.filter((row) => row.outcome === outcome).length;
  const passed = of('passed') + counts.passed;
  const failed =
    of('failed') + counts.failed + stages.failed.filter(({ counted }) => !counted).length;
  const skipped = of('skipped') + counts.skipped;
  const clauses = clausesHeld(rows).length;
  // A whole run in which nothing was tested is no success; a stage alone may count nothing.
  const ok = failed === 0 && (passed > 0 || stages.only !== undefined);
  return {
    status: ok ? 0 : WRONG,
    line:
      `test: ${ok ? 'ok' : 'FAILED'} ${passed} passed, ${failed} failed, ` +
      `${skipped} skipped, ${clauses} clauses`,
  };
}
