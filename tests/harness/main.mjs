// What build.sh hands over to: reads the command line, runs one command, and ends stdout with
// exactly one line. The status is 0 for good, 1 for a wrong result, 2 for a command line that makes
// no sense, 3 for something that is missing on this machine.

import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { BROWSERS } from './browser.mjs';
import { bench, SIDES } from './bench.mjs';
import { demo } from './demo.mjs';
import { lint } from './lint.mjs';
import { Report } from './report.mjs';
import { say } from './progress.mjs';
import { test } from './test.mjs';
import { www } from './www.mjs';
import { MISSING, Missing, oneLine, USAGE, Usage, WRONG } from './outcome.mjs';

const DATABASES = ['redb'];
/** Versions of Linux that setup.sh fetches. */
const KERNELS = ['6.1'];

function whole(low, high) {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

const words = (text) => text.split(',').map((word) => word.trim());

/** Runs one command to its closing line, whatever happens. */
async function conclude(name, reportName, work) {
  const report = reportName === undefined ? undefined : new Report(reportName);
  let result;
  try {
    result = await work(report);
  } catch (error) {
    if (error instanceof Usage) {
      process.stderr.write(`error: ${oneLine(error)}\n`);
      process.exit(USAGE);
    }
    if (!(error instanceof Missing)) say(error.stack);
    result =
      error instanceof Missing
        ? { status: MISSING, line: `${name}: missing: ${oneLine(error)}` }
        : { status: WRONG, line: `${name}: FAILED ${oneLine(error)}` };
  }
  await report?.write(result.line);
  if (result.line !== undefined) process.stdout.write(`${result.line}\n`);
  process.exit(result.status);
}

/** The native half on another kernel; `test kernel` takes none of what chooses among the stages. */
async function onKernel(version, { seed, filter, only, writeTables }) {
  if (version === undefined || filter !== undefined || only !== undefined || writeTables) {
    process.stderr.write(`error: test kernel takes ${KERNELS.join('|')} and --seed alone\n`);
    process.exit(USAGE);
  }
  const { testKernel } = await import('./kernel.mjs');
  await conclude(`test kernel ${version}`, `test-kernel-${version}`, (report) =>
    testKernel(version, { seed }, report),
  );
}

const seed = new Option('--seed <number>', 'replays what the seeded backends did')
  .default(1)
  .argParser(whole(0, 0xffffffff));
// For the test of the harness, which needs the same judging on less.
const hidden = (flags) => new Option(flags).hideHelp();

const program = new Command('build.sh')
  .description('the one command of littoral')
  .exitOverride()
  .showSuggestionAfterError(false)
  .helpCommand(false);

const command = (name, description) => program.command(name).description(description);

command('demo', 'loads real data into a real database, natively and in a browser, and compares')
  .addOption(
    new Option('--browser <name>', 'where to run the browser half')
      .choices([...Object.keys(BROWSERS), 'all'])
      .default('chromium'),
  )
  .addOption(new Option('--only <database>', 'runs one database alone').choices(DATABASES))
  .addOption(hidden('--rows <number>').argParser(whole(1, 1e9)))
  .action(({ browser, only, rows }) =>
    conclude('demo', 'demo', (report) =>
      demo(
        {
          browsers: browser === 'all' ? Object.keys(BROWSERS) : [browser],
          databases: only === undefined ? DATABASES : [only],
          rows,
        },
        report,
      ),
    ),
  );

command('test', 'format, lints, documentation, all tests, natively and in a browser')
  .addArgument(new Argument('[kernel]', 'natively on another kernel').choices(['kernel']))
  .addArgument(new Argument('[version]', 'of the kernel').choices(KERNELS))
  .addOption(seed)
  .option('--filter <text>', 'only conformance checks whose clause or name has this text')
  .addOption(new Option('--only <stages>', 'only these stages, comma-separated').argParser(words))
  .addOption(
    new Option(
      '--write-tables',
      'also writes the tables of README.md and docs/ from this run',
    ).conflicts(['only', 'filter']),
  )
  .action((kernel, version, options) => {
    if (kernel !== undefined) return onKernel(version, options);
    return conclude('test', 'test', async (report) => {
      const result = await test(options, report);
      if (options.writeTables) {
        const { writeTables } = await import('./tables.mjs');
        writeTables(report);
      }
      return result;
    });
  });

command('bench', 'measures against targets')
  .addArgument(new Argument('<side>').choices(SIDES))
  .addOption(
    new Option('--browser <name>', 'where web runs')
      .choices(Object.keys(BROWSERS))
      .default('chromium'),
  )
  .option('--strict', 'a missed target is an error')
  .option('--only <texts...>', 'native: only workloads with one of these in their names')
  .option('--peers <texts>', 'native: only peers with one of these in their names; - for none')
  .addOption(
    new Option('--rounds <number>', 'native: rounds of each workload').argParser(whole(3, 1000)),
  )
  .option('--quick', 'native: a look, not a judgement')
  .option('--no-counts', 'native: without counting instructions and system calls')
  .addOption(
    new Option(
      '--write-tables',
      'native: also writes docs/benchmarks.md, its charts and the table of README.md',
    ).conflicts(['only', 'peers', 'quick']),
  )
  .action((side, options) =>
    conclude(`bench ${side}`, `bench-${side}`, async (report) => {
      const result = await bench(side, options, report);
      if (options.writeTables) {
        const { writeBenchmarks } = await import('./benchmarks.mjs');
        await writeBenchmarks(report);
      }
      return result;
    }),
  );

command('www', 'serves the page that runs the conformance checks live')
  .addOption(
    new Option('--port <number>', 'the port on 127.0.0.1, 0 for any free one')
      .default(0)
      .argParser(whole(0, 65535)),
  )
  .option('--no-isolation', 'without the headers of cross-origin isolation')
  .action(({ port, isolation }) =>
    conclude('www', undefined, () =>
      www({ port, isolated: isolation }, (line) => process.stdout.write(`${line}\n`)),
    ),
  );

command('lint', 'format, lints and documentation alone').action(() =>
  conclude('lint', undefined, lint),
);

for (const each of program.commands) each.exitOverride().showSuggestionAfterError(false);

// `exit` and not the signal's own end: children are killed and the scratch folder removed there.
// The live page's server has an end of its own.
if (process.argv[2] !== 'www') {
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
}
try {
  await program.parseAsync();
} catch (error) {
  // Commander has printed its one line; help and version are no errors.
  process.exit(error.exitCode === 0 ? 0 : USAGE);
}
