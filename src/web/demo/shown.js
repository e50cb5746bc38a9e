// Something that is shown to one viewer: fetched once it is in sight, and again when what he may see has changed.

import { complain, el } from './dom.js';
import { Limit } from './limit.js';

/** How many are fetched at once, of the whole page. */
const line = new Limit(4);

/** A little before it can be seen. */
const sight = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      target.shown.setInSight(isIntersecting);
    }
  },
  { rootMargin: '200px' },
);

export class Shown {
  /** Whether the viewer was shown it, once that is known. @type {boolean|undefined} */
  sees = undefined;
  #isInSight = false;
  #isStale = true;
  #stop = new AbortController();

  /** @param {string} [caption] */
  constructor(caption) {
    this.frame = el('div', { class: 'frame' });
    this.caption = el('figcaption', {}, caption ?? '');
    this.element = el('figure', {}, this.frame, this.caption);
    this.element.shown = this;
    sight.observe(this.element);
  }

  /** Fetches what is to be in the frame. To be overridden. @param {AbortSignal} _signal @returns {Promise<Node[]>} */
  async load(_signal) {
    return [];
  }

  /** Told of each answer. To be overridden. */
  onAnswer() {}

  /** Asks again: at once if it is in sight or must be known now, else when it comes in sight. */
  async refresh(isUrgent = false) {
    this.#stop.abort();
    this.#isStale = !isUrgent && !this.#isInSight;
    if (this.#isStale) {
      return;
    }
    const { signal } = (this.#stop = new AbortController());
    this.element.setAttribute('aria-busy', 'true');
    try {
      const nodes = await line.run(() => this.load(signal), signal);
      signal.throwIfAborted();
      this.#put(true, ...nodes);
    } catch (error) {
      if (!signal.aborted) {
        this.#put(false, el('p', { class: 'nothing' }, error.status === 404 ? 'nothing here: 404' : error.message));
        if (error.status !== 404) {
          complain(error);
        }
      }
    }
  }

  /** Ends it, whatever is under way. */
  drop() {
    this.#stop.abort();
    sight.unobserve(this.element);
  }

  setInSight(isInSight) {
    this.#isInSight = isInSight;
    if (isInSight && this.#isStale) {
      this.refresh();
    }
  }

  #put(sees, ...nodes) {
    this.frame.replaceChildren(...nodes);
    this.element.removeAttribute('aria-busy');
    this.element.classList.toggle('refused', !sees);
    this.sees = sees;
    this.onAnswer();
  }
}
