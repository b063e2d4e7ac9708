// The live page: runs the conformance suite in this browser and shows each row as it comes.
//
// The body's data-state tells how far it is: running, then passed, failed or unavailable. The
// query string presets the form: ?backend=faulty-opfs&filter=W1&seed=7.

import { Client } from './client.js';

const form = document.querySelector('#controls');
const summary = document.querySelector('#summary');
const table = document.querySelector('#rows');

for (const [name, value] of new URLSearchParams(location.search)) {
  if (form.elements[name] !== undefined) form.elements[name].value = value;
}

function say(state, text) {
  document.body.dataset.state = state;
  summary.textContent = text;
}

/** Adds one row; failures go to the top, where they are seen. */
function show({ clause, check, outcome, reason }) {
  const row = document.createElement('tr');
  for (const text of [clause, check.replaceAll('_', ' '), outcome]) {
    const cell = row.insertCell();
    cell.textContent = text;
  }
  const last = row.lastElementChild;
  last.className = outcome;
  if (reason) {
    const detail = document.createElement('span');
    detail.className = 'reason';
    detail.textContent = reason;
    last.append(detail);
  }
  if (outcome === 'failed') table.prepend(row);
  else table.append(row);
}

/** Why this browser cannot run the suite, in words for a person, or nothing. */
async function obstacle() {
  if (!isSecureContext) return 'Files need a secure page: use https or localhost.';
  if (navigator.storage?.getDirectory === undefined) return 'This browser has no OPFS.';
  try {
    await navigator.storage.getDirectory();
    return undefined;
  } catch (error) {
    return `This browser refuses OPFS here (${error.name}): private windows often do.`;
  }
}

/** Runs the suite, unless it runs already: two runs would meet in the same folder. */
async function run() {
  const button = form.querySelector('button');
  if (button.disabled) return undefined;
  button.disabled = true;
  try {
    const reason = await obstacle();
    if (reason !== undefined) return say('unavailable', reason);
    return await navigator.locks.request('littoral conformance', { ifAvailable: true }, (lock) =>
      lock === null ? say('unavailable', 'It runs in another tab already.') : runAlone(),
    );
  } finally {
    button.disabled = false;
  }
}

async function runAlone() {
  table.replaceChildren();
  const counts = { passed: 0, covered: 0, failed: 0, skipped: 0 };
  const told = () =>
    `${counts.passed} passed, ${counts.covered} in part (the rest is for the faulty ring), ` +
    `${counts.failed} failed, ${counts.skipped} skipped`;
  say('running', 'Running…');
  // A worker of its own for each run: a panic ends the module for good.
  const client = new Client();
  try {
    const { backend, filter, seed } = form.elements;
    const args = [backend.value, '', Number(seed.value), filter.value];
    await client.call('run_conformance', args, (text) => {
      const row = JSON.parse(text);
      if (row.begins !== undefined) return say('running', `${row.begins}… ${told()}`);
      counts[row.outcome] += 1;
      return show(row);
    });
    const good = counts.failed === 0 && counts.passed > 0;
    say(good ? 'passed' : 'failed', `${told()}.`);
  } catch (error) {
    say('failed', `${told()}, then the run broke off: ${error.message}`);
  } finally {
    client.close();
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  run();
});
run();
