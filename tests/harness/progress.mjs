// What a person sees while waiting: everything here goes to stderr.

import { SingleBar, Presets } from 'cli-progress';

/** One line for a person. */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Seconds since a time of `performance.now()`, with one digit. */
export function since(start) {
  return Math.round((performance.now() - start) / 100) / 10;
}

/**
 * A bar that is fed with `{ stage, done, total }`; stages follow one another on one bar. Without a
 * terminal it prints a line every five seconds instead of redrawing one.
 */
export class Progress {
  #bar;
  #stage;

  constructor(title) {
    this.title = title;
  }

  update({ stage, done, total }) {
    if (stage !== this.#stage) {
      this.stop();
      this.#stage = stage;
      this.#bar = new SingleBar(
        {
          stream: process.stderr,
          format:
            `${this.title}: ${stage} [{bar}] {percentage}% ` +
            '{value}/{total} {duration_formatted}',
          hideCursor: true,
          noTTYOutput: true,
          notTTYSchedule: 5000,
        },
        Presets.legacy,
      );
      this.#bar.start(total, done);
    }
    this.#bar.setTotal(total);
    this.#bar.update(done);
  }

  stop() {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#stage = undefined;
  }
}
