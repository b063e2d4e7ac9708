// The test of the harness: it is run as a user runs it, once whole and once for each way in which
// something can be wrong, and must say so every time.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, scratch } from './paths.mjs';
import { run } from './process.mjs';
import { say } from './progress.mjs';
import { Session } from './browser.mjs';

// Small inputs: what is tested is the judging, not the judged.
const DEMO = ['demo', '--rows', '3000'];
const TEST = ['test', '--only', 'build web,conformance opfs chromium', '--filter', 'W1'];

const CASES = [
  {
    name: 'nothing wrong in the demo',
    args: DEMO,
    status: 0,
    line: /^demo: all agree \(platforms 2, /,
  },
  {
    name: 'one answer differs',
    args: DEMO,
    sabotage: 'answer',
    status: 1,
    line: /^demo: DISAGREE \(1 differences\)$/,
    report: 'demo',
  },
  {
    name: 'nothing wrong in the checks',
    args: TEST,
    status: 0,
    line: /^test: ok [1-9]\d* passed, 0 failed, /,
  },
  {
    name: 'one check fails',
    args: TEST,
    sabotage: 'check',
    status: 1,
    line: /^test: FAILED \d+ passed, 1 failed, /,
    report: 'test',
  },
  {
    name: 'the browser vanishes',
    args: TEST,
    sabotage: 'browser',
    status: 3,
    line: /^test: missing: chromium went away/,
    report: 'test',
  },
  { name: 'an unknown option', args: ['test', '--bogus'], status: 2, line: undefined },
  { name: 'an unknown command', args: ['tset'], status: 2, line: undefined },
  { name: 'an unknown browser', args: ['demo', '--browser', 'lynx'], status: 2, line: undefined },
];

/** Whether every case ended as it must. */
export async function selfTest() {
  let ok = true;
  for (const { name, args, sabotage, status, line, report } of CASES) {
    const folder = join(scratch(), `self-test-${name.replaceAll(' ', '-')}`);
    mkdirSync(folder, { recursive: true });
    const ended = await run('bash', ['build.sh', ...args], {
      cwd: root,
      capture: true,
      env: { LITTORAL_SABOTAGE: sabotage ?? '', LITTORAL_REPORT_DIR: folder },
    });
    const expected = line === undefined ? ended.lines.length === 0 : oneLineLike(ended.lines, line);
    const written = report === undefined || hasReport(folder, report, ended.lines.at(-1));
    const right = ended.status === status && expected && written;
    const verdict = right ? 'as it must' : 'WRONG';
    say(`harness: ${name}: ${verdict}: ${ended.status} ${ended.lines.join(' | ')}`);
    ok &&= right;
  }
  return (await livePage()) && ok;
}

/** The live page as a visitor sees it, without isolation, and the end of its server by SIGINT. */
async function livePage() {
  let server;
  let shown;
  const look = async (line) => {
    const url = line.replace('www: ready ', '');
    try {
      const session = await Session.start('chromium', url);
      shown = await session.visit(`${url}?backend=opfs&filter=W1`).finally(() => session.close());
    } finally {
      server.kill('SIGINT');
    }
  };
  let looking;
  const ended = await run('bash', ['build.sh', 'www', '--no-isolation'], {
    cwd: root,
    capture: true,
    onStart: (child) => {
      server = child;
    },
    onLine: (line) => {
      looking = look(line).catch((error) => say(`harness: the live page: ${error.message}`));
    },
  });
  await looking;
  const right =
    ended.status === 0 &&
    oneLineLike(ended.lines, /^www: ready http:/) &&
    shown !== undefined &&
    shown.state === 'passed' &&
    shown.rows > 0 &&
    !shown.isolated;
  say(`harness: the live page: ${right ? 'as it must' : 'WRONG'}: ${JSON.stringify(shown)}`);
  return right;
}

function oneLineLike(lines, pattern) {
  return lines.length === 1 && pattern.test(lines[0]);
}

function hasReport(folder, name, line) {
  const report = JSON.parse(readFileSync(join(folder, `${name}.json`)));
  return report.schema === 1 && report.result === line;
}
