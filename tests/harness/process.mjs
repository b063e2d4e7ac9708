// Child processes: their output as lines, their end as a value, and none left behind.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from './paths.mjs';

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/**
 * Runs a program to its end and gives `{ status, lines }`: its exit status (a name where a signal
 * ended it) and, with `onLine` or `capture`, what it printed. Otherwise its stdout joins our
 * stderr: our own stdout belongs to the one closing line. What it says on stderr is shown, or with
 * `quiet` kept as `talk`. A program that prints nothing for `quietSeconds` is killed. `onStart`
 * gets the child.
 */
export async function run(command, args, options = {}) {
  const { cwd = root, env = {}, onLine, capture = false, quiet = false } = options;
  const { quietSeconds, onStart } = options;
  const reads = capture || onLine !== undefined;
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', reads ? 'pipe' : 2, quiet ? 'pipe' : 'inherit'],
  });
  alive.add(child);
  onStart?.(child);
  const lines = [];
  const talk = [];
  if (quiet) createInterface({ input: child.stderr }).on('line', (line) => talk.push(line));
  let timer;
  let silent = false;
  const heard = () => {
    if (quietSeconds === undefined) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      silent = true;
      child.kill('SIGKILL');
    }, quietSeconds * 1000);
  };
  heard();
  if (reads) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      heard();
      if (capture) lines.push(line);
      onLine?.(line);
    });
  }
  const status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  clearTimeout(timer);
  alive.delete(child);
  return { status: silent ? `no output for ${quietSeconds} s` : status, lines, talk };
}

/** Runs a program that must succeed and gives what it printed. */
export async function output(command, args, options = {}) {
  const { status, lines } = await run(command, args, { ...options, capture: true });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ended with ${status}`);
  return lines.join('\n');
}
