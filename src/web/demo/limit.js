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
    await this.#turn(signal);
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

  /** Waits until there is room, and takes it. */
  async #turn(signal) {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise((go, stop) => {
      this.#waiting.push(go);
      const leave = () => {
        const at = this.#waiting.indexOf(go);
        if (at >= 0) {
          this.#waiting.splice(at, 1);
          stop(signal.reason);
        }
      };
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}
