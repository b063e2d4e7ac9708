// The machine-readable twin of the closing line: report/NAME.json.

import { mkdirSync, writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { release } from 'node:os';
import { reports } from './paths.mjs';
import { output } from './process.mjs';

const SCHEMA = 1;

/** The facts of one run, collected while it goes. */
export class Report {
  #start = performance.now();

  constructor(name) {
    this.name = name;
    this.started = new Date().toISOString();
    this.versions = { node: process.versions.node, kernel: release().split('-')[0] };
    this.rows = [];
    this.extra = {};
  }

  /** Writes the file under its final name only when it is whole. */
  async write(result) {
    const git = (...args) => output('git', args).catch(() => '');
    const facts = {
      schema: SCHEMA,
      commit: (await git('rev-parse', 'HEAD')).trim() || null,
      dirty: (await git('status', '--porcelain')) !== '',
      started: this.started,
      seconds: Math.round(performance.now() - this.#start) / 1000,
      versions: { ...this.versions, rustc: await output('rustc', ['-V']).catch(() => null) },
      result,
      ...this.extra,
      rows: this.rows,
    };
    mkdirSync(reports, { recursive: true });
    const path = join(reports, `${this.name}.json`);
    writeFileSync(`${path}.partial`, `${JSON.stringify(facts, null, 1)}\n`);
    renameSync(`${path}.partial`, path);
  }
}
