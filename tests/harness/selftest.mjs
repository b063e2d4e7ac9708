// The test of the harness: it is run as a user runs it, once whole and once for each way in which
// something can be wrong, and must say so every time.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { root, scratch } from './paths.mjs';
import { run } from './process.mjs';
import { say } from './progress.mjs';
import { Session, WITH_FILES } from './browser.mjs';
import { clausesHeld, clausesToVerify, leftOut, unverified } from './clauses.mjs';

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
  {
    name: 'no Firefox here',
    args: ['test', '--only', 'ring firefox'],
    path: () => pathWithout(/^(firefox.*|apt-get)$/),
    status: 3,
    line: /^test: missing: firefox-esr; /,
    report: 'test',
  },
  {
    name: 'no emulator here',
    args: ['test', 'kernel', '6.1'],
    path: () => pathWithout(/^(qemu-system-.*|apt-get)$/),
    cache: () => cacheWithout(/^debian-/),
    status: 3,
    line: /^test kernel 6\.1: missing: .*qemu-system-x86/,
    report: 'test-kernel-6.1',
  },
  {
    name: 'a Rust that is too old',
    args: ['lint'],
    path: () => `${fakeRust('1.80.1')}${delimiter}${process.env.PATH}`,
    status: 3,
    line: /^lint: missing: Rust 1\.\d+ or newer, this is 1\.80\.1; /,
  },
  { name: 'an unknown option', args: ['test', '--bogus'], status: 2, line: undefined },
  { name: 'an unknown kernel', args: ['test', 'kernel', '2.4'], status: 2, line: undefined },
  { name: 'no kernel', args: ['test', 'kernel'], status: 2, line: undefined },
  { name: 'an unknown command', args: ['tset'], status: 2, line: undefined },
  { name: 'an unknown browser', args: ['demo', '--browser', 'lynx'], status: 2, line: undefined },
];

/** Whether every case ended as it must. */
export async function selfTest() {
  let ok = true;
  for (const { name, args, sabotage, path, cache, status, line, report } of CASES) {
    const folder = join(scratch(), `self-test-${name.replaceAll(' ', '-')}`);
    mkdirSync(folder, { recursive: true });
    const ended = await run('bash', ['build.sh', ...args], {
      cwd: root,
      capture: true,
      quiet: true,
      env: {
        LITTORAL_SABOTAGE: sabotage ?? '',
        LITTORAL_REPORT_DIR: folder,
        PATH: path?.() ?? process.env.PATH,
        ...(cache === undefined ? {} : { XDG_CACHE_HOME: cache() }),
      },
    });
    const expected = line === undefined ? ended.lines.length === 0 : oneLineLike(ended.lines, line);
    const written = report === undefined || hasReport(folder, report, ended.lines.at(-1));
    const right = ended.status === status && expected && written;
    const verdict = right ? 'as it must' : 'WRONG';
    if (!right) ended.talk.forEach((talk) => say(`  ${talk}`));
    say(`harness: ${name}: ${verdict}: ${ended.status} ${ended.lines.join(' | ')}`);
    ok &&= right;
  }
  ok = clauseGate() && ok;
  return (await livePage()) && ok;
}

/** A PATH to all programs that there are, but for some. */
function pathWithout(pattern) {
  const folder = mkdtempSync(join(scratch(), 'path-'));
  const programs = new Map();
  for (const from of process.env.PATH.split(delimiter).filter((each) => existsSync(each))) {
    for (const name of readdirSync(from).filter((each) => !pattern.test(each))) {
      // The first one of a name is the one that counts.
      if (!programs.has(name)) programs.set(name, join(from, name));
    }
  }
  for (const [name, file] of programs) symlinkSync(file, join(folder, name));
  return folder;
}

/** A folder for caches with all that there is, but for some. */
function cacheWithout(pattern) {
  const own = mkdtempSync(join(scratch(), 'cache-'));
  mkdirSync(join(own, 'littoral'));
  const from = join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME, '.cache'), 'littoral');
  for (const name of readdirSync(from).filter((each) => !pattern.test(each))) {
    symlinkSync(join(from, name), join(own, 'littoral', name));
  }
  return own;
}

/** A folder with a compiler that knows only its own version. */
function fakeRust(version) {
  const folder = mkdtempSync(join(scratch(), 'rust-'));
  const program = `#!/bin/sh\necho "rustc ${version} (00000000 2024-08-06)"\n`;
  writeFileSync(join(folder, 'rustc'), program, { mode: 0o755 });
  return folder;
}

/** The gate of the clauses, on rows made up: each way of not being verified is found, no other. */
function clauseGate() {
  const contexts = [
    { backend: 'uring', browser: null },
    ...WITH_FILES.map((browser) => ({ backend: 'opfs', browser })),
  ];
  const clauses = clausesToVerify();
  const rowsOf = ({ backend, browser }, outcome) =>
    clauses.flatMap((clause) =>
      ['one', 'other'].map((check) => ({ clause, check, backend, browser, outcome })),
    );
  const faulty = (context) => ({ ...context, backend: `faulty-${context.backend}` });
  const sound = contexts.flatMap((context) => [
    ...rowsOf(context, 'covered'),
    ...rowsOf(faulty(context), 'passed'),
  ]);
  const [clause] = clauses;
  const at = (row, context) =>
    row.clause === clause && row.backend === context.backend && row.browser === context.browser;
  const complaints = (rows) => unverified(rows, clauses, contexts).length;
  const changed = (context, change) =>
    sound.flatMap((row) => (at(row, context) ? change(row) : [row]));
  const as = (outcome) => (row) => [{ ...row, outcome }];
  const oneAs = (outcome) => (row) => [row.check === 'one' ? { ...row, outcome } : row];
  const [, chromium] = contexts;
  const wrong = [
    ['all is sound', complaints(sound) === 0 && leftOut([sound]).length === 0],
    ['and it counts', clausesHeld(sound).length === clauses.length && clauses.length > 50],
    ['no row', complaints(changed(chromium, () => [])) === 1],
    ['skipped alone', complaints(changed(chromium, as('skipped'))) === 1],
    ['one exception', complaints(changed(chromium, oneAs('skipped'))) === 0],
    ['one failed', complaints(changed(chromium, oneAs('failed'))) === 1],
    ['covered by nothing', complaints(changed(faulty(chromium), () => [])) === 1],
    ['covered in vain', complaints(changed(faulty(chromium), oneAs('skipped'))) === 1],
    ['told so', leftOut([changed(faulty(chromium), oneAs('skipped'))]).length === 1],
    ['a browser less', complaints(sound.filter(({ browser }) => browser !== 'firefox')) > 50],
  ].filter(([, right]) => !right);
  const verdict = wrong.length === 0 ? 'as it must' : `WRONG: ${wrong.map(([name]) => name)}`;
  say(`harness: the clause gate: ${verdict}`);
  return wrong.length === 0;
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
    quiet: true,
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
