// Runs a whole program in this worker: the module named by `?module=`, whose `main` is called when
// it is loaded. What it prints goes to the page as `{ printed }`, what it complains of as
// `{ failed }`.

console.log = (...words) => postMessage({ printed: words.join(' ') });
console.error = (...words) => postMessage({ failed: words.join(' ') });
const fail = (thrown) => postMessage({ failed: String(thrown?.message ?? thrown) });
addEventListener('error', (event) => fail(event.error ?? event.message));
addEventListener('unhandledrejection', (event) => fail(event.reason));

const module = new URL(location.href).searchParams.get('module');
import(module).then(({ default: init }) => init()).catch(fail);
