// The page's end of worker.js: calls become promises, a dead worker rejects all of them.

export class Client {
  #worker;
  #next = 0;
  #pending = new Map();
  #dead;
  #started;

  constructor(url = new URL('./worker.js', import.meta.url)) {
    this.#worker = new Worker(url, { type: 'module', name: 'littoral' });
    this.ready = new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
    });
    // Whoever does not wait for `ready` learns of a failed start from the first call.
    this.ready.catch(() => {});
    this.#worker.addEventListener('message', ({ data }) => this.#heard(data));
    this.#worker.addEventListener('messageerror', () => this.#die('a message was unreadable'));
    // Fired for a script that cannot be loaded; what runs in the worker reports for itself.
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.#die(event.message ?? 'the worker could not be loaded');
    });
  }

  /**
   * Calls an export of the module by name. `onProgress` gets each progress value while it runs.
   * Rejects with the module's own message, also where the module panics.
   */
  call(name, args = [], onProgress = () => {}) {
    if (this.#dead !== undefined) return Promise.reject(new Error(this.#dead));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, call: name, args });
    });
  }

  /** Ends the worker; calls that have not finished are rejected. */
  close() {
    this.#die('the worker was closed');
  }

  #heard(data) {
    if (data.ready) return this.#started.resolve();
    if (data.fatal !== undefined) return this.#die(data.fatal);
    const call = this.#pending.get(data.id);
    if (call === undefined) return undefined;
    if ('progress' in data) return call.onProgress(data.progress);
    this.#pending.delete(data.id);
    return 'error' in data ? call.reject(new Error(data.error)) : call.resolve(data.result);
  }

  #die(reason) {
    if (this.#dead !== undefined) return;
    this.#dead = reason;
    this.#worker.terminate();
    this.#started.reject(new Error(reason));
    for (const { reject } of this.#pending.values()) reject(new Error(reason));
    this.#pending.clear();
  }
}
