// So many tasks at once, the others wait in line.

export class Limit {
  #free;
  #waiting = [];

  /** @param {number} atOnce */
  constructor(atOnce) {
    this.#free = atOnce;
  }

  /** Runs a task when there is room; not at all if it was called off before that. */
  async run(task, signal) {
    if (this.#free === 0) {
      await new Promise((go) => this.#waiting.push(go));
    } else {
      this.#free -= 1;
    }
    try {
      signal?.throwIfAborted();
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) {
        next();
      } else {
        this.#free += 1;
      }
    }
  }
}
