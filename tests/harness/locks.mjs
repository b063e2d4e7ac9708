// Locks between tabs: each answers with exactly what it got, and the holder is ended in every way
// a tab can end.

import { CONTEXTS, Session } from './browser.mjs';
import { say } from './progress.mjs';

/** More than anything here takes, so that what waits for its patience shows. */
const LONG = 20_000;
/** How soon after the holder's end a file must be free. */
const FREE_WITHIN = 3_000;

const WITHOUT =
  'close it there, or wait longer (`Config::lock_patience`); LITTORAL_LOCKS=off, or ' +
  '`Config::locks(false)`, goes without locks';

/** The ways in which a holder ends, by the browsers that we can do it to. */
const ENDS = [
  { what: 'its file was closed', end: (tab) => order(tab, 'close a', 'closed') },
  { what: 'its worker was ended', end: (tab) => tab.endWorker() },
  { what: 'its worker was ended while it was busy', busy: true, end: (tab) => tab.endWorker() },
  { what: 'its tab went to another page', end: (tab) => tab.leave() },
  { what: 'its tab was closed', end: (tab) => tab.close() },
  { what: 'its tab was closed while its worker was busy', busy: true, end: (tab) => tab.close() },
  { what: 'its tab crashed', end: (tab) => tab.crash(), only: 'chromium' },
];

/** Gives a tab an order; its answer, and how long it took. */
async function ask(tab, text) {
  const began = performance.now();
  const answer = await tab.call('lock_order', [text]);
  return { answer, millis: Math.round(performance.now() - began) };
}

/** Gives an order to which there is one right answer. */
async function order(tab, text, expected) {
  const { answer, millis } = await ask(tab, text);
  if (answer !== expected) throw new Error(`to "${text}": ${answer}\n  instead of: ${expected}`);
  return millis;
}

/** Waits until the browser says that these Web Locks are held: it is told without waiting. */
async function marked(tab, expected) {
  for (let tries = 0; ; tries += 1) {
    const { answer } = await ask(tab, 'marks');
    if (answer === expected) return;
    if (tries === 50) throw new Error(`Web Locks: "${answer}" instead of "${expected}"`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function between(millis, low, high, what) {
  if (millis < low || millis >= high) throw new Error(`${what} took ${millis} ms`);
}

/** All of it in one context of a browser; throws at the first answer that is wrong. */
export async function locksBetweenTabs(context, url) {
  const session = await Session.start(context, url);
  try {
    await answers(session, url);
    for (const way of ENDS) {
      if (way.only !== undefined && way.only !== CONTEXTS[context].browser) continue;
      const millis = await freed(session, url, way);
      say(`locks ${context}: ${way.what}: free after ${millis} ms`);
      between(millis, 0, FREE_WITHIN, `${way.what}: the file`);
    }
    return true;
  } finally {
    await session.close();
  }
}

/** Two tabs, and who gets what. */
async function answers(session, url) {
  const locked = (how) =>
    `Locked: open on \`main.db\` failed: it is locked by someone else: another tab, worker or ` +
    `driver has it open${how}; ${WITHOUT}`;
  const holder = await session.tab(url);
  const other = await session.tab(url);
  await order(holder, 'start 0', 'started');
  await order(other, 'start 400', 'started');
  await order(holder, 'open a main.db exclusive', 'opened');
  for (const text of ['open b main.db exclusive', 'open b main.db', 'open b main.db read-only']) {
    const millis = await order(other, text, locked(', and kept it for 400 ms'));
    between(millis, 400, 400 + FREE_WITHIN, `to be told that it is locked`);
  }
  // The browser knows as well, by the file's path.
  await marked(other, 'littoral:locks/main.db');
  // The handles of one tab share the file, and have its lock one at a time.
  await order(holder, 'open b main.db', 'opened');
  const here = locked('')
    .replace('open on', 'lock on')
    .replace('another tab, worker or driver has it open', 'another handle of this driver has it');
  await order(holder, 'lock b exclusive', here);
  await order(holder, 'unlock a', 'unlocked');
  await order(holder, 'lock b exclusive', 'locked');
  const shared = await ask(holder, 'lock b shared');
  if (!shared.answer.startsWith('Unsupported: lock on `main.db` failed: ')) {
    throw new Error(`a shared lock: ${shared.answer}`);
  }
  await order(other, 'start 0', 'started');
  const millis = await order(other, 'open b main.db', locked(''));
  between(millis, 0, 1_000, 'an answer at once');
  await order(holder, 'close a', 'closed');
  await order(other, 'open b main.db', locked(''));
  await order(holder, 'close b', 'closed');
  await order(other, 'open b main.db exclusive', 'opened');
  await marked(other, 'littoral:locks/main.db');
  await order(other, 'close b', 'closed');
  await marked(other, '');
  await holder.close();
  await other.close();
}

/** How many milliseconds after a holder's end one who waits has the file. */
async function freed(session, url, { busy, end }) {
  const holder = await session.tab(url);
  const waiter = await session.tab(url);
  await order(holder, 'start 0', 'started');
  await order(waiter, `start ${LONG}`, 'started');
  await order(holder, 'open a main.db exclusive', 'opened');
  const waiting = order(waiter, 'open b main.db exclusive', 'opened');
  let got = false;
  const soon = waiting.finally(() => {
    got = true;
  });
  soon.catch(() => {});
  // It never answers that.
  if (busy) holder.call('lock_order', ['hang']).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  if (got) throw new Error(`two tabs had it at once: ${await waiting}`);
  const ended = performance.now();
  await end(holder);
  await soon;
  const millis = Math.round(performance.now() - ended);
  await order(waiter, 'close b', 'closed');
  await waiter.close();
  await holder.close().catch(() => {});
  return millis;
}
