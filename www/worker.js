// The dedicated worker in which the wasm module lives, beside its OPFS access handles.
//
// It serves `{ id, call, args }` by calling the module's export of that name, with one more
// argument: a function that posts `{ id, progress }`. It replies `{ id, result }` or
// `{ id, error }`. A panic ends the module, so it is told as `{ fatal }`, after which nothing here
// answers any more.

import init, * as wasm from './pkg/littoral_www.js';

// The panic hook has no other way out than console.error; its text explains the bare
// "unreachable executed" that follows.
let lastComplaint;
const complain = console.error.bind(console);
console.error = (...words) => {
  // The hook appends a stack of this script and the module, which says less than the first lines.
  lastComplaint = words.map(String).join(' ').split('\n\nStack:')[0];
  complain(...words);
};

function describe(thrown) {
  if (thrown instanceof WebAssembly.RuntimeError) return lastComplaint ?? String(thrown);
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
}

function fatal(thrown) {
  postMessage({ fatal: describe(thrown) });
}

// Futures are polled from microtasks: what they throw reaches no caller, only these two.
addEventListener('error', (event) => fatal(event.error ?? event.message));
addEventListener('unhandledrejection', (event) => fatal(event.reason));

const ready = init();

addEventListener('message', async ({ data: { id, call, args } }) => {
  try {
    await ready;
    if (typeof wasm[call] !== 'function') throw new Error(`the module exports no ${call}`);
    const result = await wasm[call](...args, (progress) => postMessage({ id, progress }));
    postMessage({ id, result });
  } catch (thrown) {
    if (thrown instanceof WebAssembly.RuntimeError) fatal(thrown);
    else postMessage({ id, error: describe(thrown) });
  }
});

// Tells that listening has begun; a module that cannot be compiled is told here, not at the first
// call.
ready.then(() => postMessage({ ready: true }), fatal);
