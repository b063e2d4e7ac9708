// `build.sh test`: everything that must hold, in one run.

import { run } from './process.mjs';
import { say } from './progress.mjs';
import { web } from './cargo.mjs';
import { dist } from './paths.mjs';
import { serve } from './server.mjs';
import { setup } from './setup.mjs';
import { lintStages, Stages } from './stages.mjs';
import { inBrowser, leftOut, native, NATIVE, WEB } from './conformance.mjs';
import { selfTest } from './selftest.mjs';
import { WRONG } from './outcome.mjs';

/** Runs the stages; gives the closing line and the status. */
export async function test(options, report) {
  const { only, filter, seed } = options;
  const tools = await setup(['base', 'web', 'browser']);
  const stages = new Stages(only);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const runs = [];
  report.extra = { seed, stages: stages.done, cargo: counts };

  const workspace = await lintStages(stages, tools);
  await stages.stage('cargo test', () => cargoTest(workspace, counts));

  const onRow = (row) => {
    report.rows.push(row);
    if (row.outcome === 'failed')
      say(`FAILED ${place(row)}: ${row.clause} ${row.check}: ${row.reason}`);
  };
  const conformance = (name, rowsOf) =>
    stages.stage(`conformance ${name}`, async () => {
      const rows = await rowsOf();
      runs.push(rows);
      const of = (outcome) => rows.filter((row) => row.outcome === outcome).length;
      say(`${of('passed')} passed, ${of('failed')} failed, ${of('skipped')} skipped`);
      if (of('failed') > 0) say(`seed ${seed}; the same again: ./build.sh test --seed ${seed}`);
      return of('failed') === 0;
    });
  for (const backend of NATIVE) {
    await conformance(backend, () => native(backend, { seed, filter, onRow }));
  }
  let built = false;
  await stages.stage('build web', async () => {
    await web(tools);
    built = true;
    return true;
  });
  if (built) {
    const server = await serve({ folders: { '/': dist } });
    try {
      for (const backend of WEB) {
        await conformance(`${backend} chromium`, async () => {
          const { url } = server;
          const { rows, version } = await inBrowser('chromium', backend, {
            url,
            seed,
            filter,
            onRow,
          });
          report.versions.chromium = version;
          return rows;
        });
      }
    } finally {
      await server.close();
    }
  }
  await stages.stage('every check everywhere', async () => {
    const added = leftOut(runs);
    added.forEach(onRow);
    return runs.length > 0 && added.length === 0;
  });
  await stages.stage('harness', () => selfTest());

  stages.checkNames();
  stages.summary();
  return close(report.rows, counts, stages);
}

/** Where a row comes from, for a person. */
function place({ backend, browser }) {
  return browser === null ? backend : `${backend} in ${browser}`;
}

/** The native tests; adds libtest's own totals to `counts`. */
async function cargoTest(workspace, counts) {
  let failed = 0;
  const { status } = await run('cargo', ['test', ...workspace, '--no-fail-fast'], {
    onLine: (line) => {
      process.stderr.write(`${line}\n`);
      const totals = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line);
      if (totals === null) return;
      counts.passed += Number(totals[1]);
      failed += Number(totals[2]);
      counts.skipped += Number(totals[3]);
    },
  });
  counts.failed += failed;
  return status === 0 && failed === 0;
}

/** The closing line. A stage that failed without a failing check counts as one failure. */
function close(rows, counts, stages) {
  const of = (outcome) => rows.filter((row) => row.outcome === outcome).length;
  const told = (name) =>
    (name === 'cargo test' && counts.failed > 0) ||
    ((name.startsWith('conformance') || name.startsWith('every')) && of('failed') > 0);
  const passed = of('passed') + counts.passed;
  const failed =
    of('failed') + counts.failed + stages.failed.filter(({ name }) => !told(name)).length;
  const skipped = of('skipped') + counts.skipped;
  const broken = new Set(rows.filter((row) => row.outcome === 'failed').map((row) => row.clause));
  const held = new Set(rows.filter((row) => row.outcome === 'passed').map((row) => row.clause));
  const clauses = [...held].filter((clause) => !broken.has(clause)).length;
  // A run in which nothing was tested is no success.
  const ok = failed === 0 && passed > 0;
  return {
    status: ok ? 0 : WRONG,
    line:
      `test: ${ok ? 'ok' : 'FAILED'} ${passed} passed, ${failed} failed, ` +
      `${skipped} skipped, ${clauses} clauses`,
  };
}
