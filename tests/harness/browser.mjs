// A real browser, started headless with a profile of its own, and the page in it.
//
// What counts as what: a browser that does not come up is tried once more, then it is missing here.
// A browser that goes away later is missing too: it says nothing about us. Everything that the page
// itself does wrong, panics and silences among them, is a wrong result and is never tried again.

import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { Missing, oneLine } from './outcome.mjs';
import { scratch } from './paths.mjs';
import { say } from './progress.mjs';
import { afterSignOfLife } from './sabotage.mjs';

/** The browsers that we can drive, and the names their programs go by. */
export const BROWSERS = {
  chromium: {
    puppeteer: 'chrome',
    programs: ['chromium', 'chromium-browser', 'google-chrome'],
    install: 'chromium',
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // The sandbox refuses root. What runs in this browser is our own page alone.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  },
  firefox: {
    puppeteer: 'firefox',
    programs: ['firefox-esr', 'firefox'],
    install: 'firefox-esr',
    args: [],
  },
};

/**
 * Where checks run: a browser, and the kind of its profile. An incognito window keeps files in
 * memory, a private one has none, so that all there is to check is that we are told so.
 */
export const CONTEXTS = {
  chromium: { browser: 'chromium', profile: 'regular' },
  'chromium-incognito': { browser: 'chromium', profile: 'incognito' },
  firefox: { browser: 'firefox', profile: 'regular' },
  'firefox-private': { browser: 'firefox', profile: 'private' },
};

/** The contexts in which there are files. */
export const WITH_FILES = Object.keys(CONTEXTS).filter(
  (context) => CONTEXTS[context].profile !== 'private',
);

/**
 * What Firefox is told when it starts, where Chromium learns it later, by its page: how much an
 * origin is granted, in KiB, and that its windows are private.
 */
function preferences({ profile, quota }) {
  const set = {};
  if (quota !== undefined) {
    set['dom.quotaManager.temporaryStorage.fixedLimit'] = Math.floor(quota / 1024);
  }
  if (profile === 'private') set['browser.privatebrowsing.autostart'] = true;
  return set;
}

const START_SECONDS = 60;
const SILENCE_SECONDS = 120;

function find(programs) {
  for (const program of programs) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(folder, program);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  return undefined;
}

/** Rejects with `error()` when the promise takes longer. */
async function within(seconds, promise, error) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(error()), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One browser with one page, whose worker holds one instance of the module. */
export class Session {
  #browser;
  #context;
  #page;
  #profile;
  #next = 0;
  #listeners = new Map();
  #gone;
  #closing = false;

  /**
   * Starts the browser of a context, on the harness page of the server at `url`; a failed start is
   * tried again. `quota` is what the origin may store, in bytes.
   */
  static async start(context, url, { quota } = {}) {
    const kind = BROWSERS[CONTEXTS[context].browser];
    const program = find(kind.programs);
    if (program === undefined) {
      throw new Missing(`${context}; install the package ${kind.install}`);
    }
    for (let attempt = 1; ; attempt += 1) {
      const session = new Session(context);
      try {
        await session.#start(program, url, { quota });
        return session;
      } catch (error) {
        await session.close();
        // The module's own failure to start is ours, not the browser's.
        if (error instanceof ModuleFailed) throw error;
        if (attempt === 2) {
          const why = oneLine(error);
          throw new Missing(
            `${context} does not start (${why}); reinstall the package ${kind.install}`,
          );
        }
        say(`${context}: did not start, trying once more: ${oneLine(error)}`);
      }
    }
  }

  constructor(name) {
    this.name = name;
  }

  async #start(program, url, { quota }) {
    const { browser, profile } = CONTEXTS[this.name];
    const kind = BROWSERS[browser];
    this.#profile = mkdtempSync(join(scratch(), `${this.name}-`));
    const home = join(this.#profile, 'home');
    mkdirSync(home);
    const late = (what) => () => new Error(`${what} took more than ${START_SECONDS} s`);
    this.#browser = await puppeteer.launch({
      browser: kind.puppeteer,
      executablePath: program,
      headless: true,
      userDataDir: join(this.#profile, 'profile'),
      args: kind.args,
      extraPrefsFirefox: preferences({ profile, quota }),
      timeout: START_SECONDS * 1000,
      protocolTimeout: 0,
      // Whatever the browser drops outside its profile lands in a folder that goes with it.
      env: {
        ...process.env,
        HOME: home,
        TMPDIR: home,
        XDG_CACHE_HOME: home,
        XDG_CONFIG_HOME: home,
      },
    });
    this.version = await this.#browser.version();
    this.#gone = new Promise((_, reject) => {
      this.#browser.once('disconnected', () => {
        reject(new Missing(`${this.name} went away in the middle of the run; start it again`));
      });
    });
    // Only calls wait for this; between them nobody does.
    this.#gone.catch(() => {});
    const inMemory = profile === 'incognito';
    const context = inMemory ? await this.#browser.createBrowserContext() : this.#browser;
    const page = await context.newPage();
    this.#context = context;
    this.#page = page;
    if (quota !== undefined && browser === 'chromium') {
      const { origin } = new URL(url);
      const session = await page.createCDPSession();
      await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: quota });
    }
    const crash = new Promise((_, reject) => {
      page.once('error', (error) => reject(new Error(`${this.name}: ${oneLine(error)}`)));
    });
    this.#gone = Promise.race([this.#gone, crash]);
    this.#gone.catch(() => {});
    page.on('console', (message) => {
      if (message.type() === 'error') say(`${this.name}: ${message.text()}`);
    });
    page.on('pageerror', (error) => say(`${this.name}: ${oneLine(error)}`));
    await page.exposeFunction('littoralProgress', (id, value) => this.#listeners.get(id)?.(value));
    await within(
      START_SECONDS,
      page.goto(new URL('harness.html', url).href, { timeout: 0 }),
      late('loading the page'),
    );
    const started = within(
      START_SECONDS,
      page.evaluate(() =>
        window.littoral.ready().then(
          () => null,
          (error) => error.message,
        ),
      ),
      late('the worker'),
    );
    const failure = await Promise.race([started, this.#gone]);
    if (failure !== null) throw new ModuleFailed(`${this.name}: ${failure}`);
    this.isolated = await page.evaluate(() => window.littoral.isolated());
  }

  /**
   * Calls an export of the module. `onProgress` gets each progress value; two minutes without one,
   * and without an end, are taken as a hang.
   */
  async call(name, args = [], onProgress = () => {}) {
    const id = this.#next;
    this.#next += 1;
    let timer;
    const silence = new Promise((_, reject) => {
      const arm = () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          reject(new Error(`${this.name}: ${name}: no sign of life for ${SILENCE_SECONDS} s`));
        }, SILENCE_SECONDS * 1000);
      };
      this.#listeners.set(id, (value) => {
        arm();
        onProgress(value);
        afterSignOfLife(this);
      });
      arm();
    });
    const result = this.#page.evaluate(
      (id, name, args) =>
        window.littoral.call(id, name, args).then(
          (value) => ({ value }),
          (error) => ({ error: error.message }),
        ),
      id,
      name,
      args,
    );
    try {
      const { value, error } = await Promise.race([this.#orGone(result), silence]);
      if (error !== undefined) throw new Error(`${this.name}: ${name}: ${error}`);
      return value;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(id);
    }
  }

  /** Runs a whole program, a module on the server, in a worker of its own; gives what it prints. */
  program(path) {
    const ended = this.#page.evaluate((path) => window.littoral.program(path), path);
    const late = () => new Error(`${this.name}: ${path} took more than ${SILENCE_SECONDS} s`);
    return within(SILENCE_SECONDS, this.#orGone(ended), late);
  }

  /** Copies a file out of OPFS to the server's shelf; gives its size. */
  exportFile(path, url) {
    return this.#orGone(
      this.#page.evaluate((path, url) => window.littoral.exportFile(path, url), path, url),
    );
  }

  /** Copies a file from the server's shelf into OPFS. */
  importFile(path, url) {
    return this.#orGone(
      this.#page.evaluate((path, url) => window.littoral.importFile(path, url), path, url),
    );
  }

  /** Opens the live page in a tab of its own and gives what it shows when its run has ended. */
  async visit(url) {
    const page = await this.#browser.newPage();
    await page.goto(url, { timeout: START_SECONDS * 1000 });
    await page.waitForSelector('body:not([data-state=loading]):not([data-state=running])', {
      timeout: SILENCE_SECONDS * 1000,
    });
    const shown = await page.evaluate(() => ({
      state: document.body.dataset.state,
      summary: document.querySelector('#summary').textContent,
      rows: document.querySelectorAll('#rows tr').length,
      isolated: window.crossOriginIsolated,
    }));
    await page.close();
    return shown;
  }

  /** One more tab beside the session's own, of the same origin and with the same files. */
  async tab(url) {
    const page = await this.#orGone(this.#context.newPage());
    await this.#orGone(page.goto(new URL('harness.html', url).href, { timeout: 0 }));
    await this.#orGone(page.evaluate(() => window.littoral.ready()));
    return new Tab(page);
  }

  /** Ends the browser without asking it, as a crash would. */
  kill() {
    this.#browser.process().kill('SIGKILL');
  }

  /** Ends the browser and removes its profile. */
  async close() {
    if (this.#closing) return;
    this.#closing = true;
    const browser = this.#browser;
    if (browser !== undefined) {
      const child = browser.process();
      await within(10, browser.close(), () => new Error('late')).catch(() =>
        child?.kill('SIGKILL'),
      );
    }
    if (this.#profile !== undefined) {
      rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    }
  }

  /**
   * The promise's own outcome, or `Missing` where the browser has gone: the errors of a torn
   * connection come first and say less.
   */
  async #orGone(promise) {
    try {
      return await Promise.race([promise, this.#gone]);
    } catch (error) {
      if (
        this.#browser.connected &&
        !/Target closed|Connection closed|detached/i.test(error.message)
      ) {
        throw error;
      }
      return within(10, this.#gone, () => error);
    }
  }
}

/** The page came up and the module in it did not. */
class ModuleFailed extends Error {}

/** A tab that a test may end in any way. */
export class Tab {
  #page;

  constructor(page) {
    this.#page = page;
  }

  /** Calls an export of the module in this tab's worker. */
  call(name, args) {
    return this.#page.evaluate((name, args) => window.littoral.call(0, name, args), name, args);
  }

  /** Closes it, as a user does. */
  close() {
    return this.#page.close();
  }

  /** Goes to another page. */
  leave() {
    return this.#page.goto('about:blank');
  }

  /** Ends its worker, and nothing else. */
  endWorker() {
    return this.#page.evaluate(() => window.littoral.end());
  }

  /** Kills the process it lives in. Chromium only: Firefox has one for all tabs of an origin. */
  async crash() {
    const session = await this.#page.createCDPSession();
    // It does not live to answer.
    session.send('Page.crash').catch(() => {});
  }
}
