// One picture, by options that can be turned: the URL, what it answers, and where that came from.

import { $, bytes, complain, el, millis, nameOf } from './dom.js';
import { optionString, startOptions } from './options.js';
import { session } from './session.js';
import { ACCEPT, imageOf } from './tile.js';
import { ask, askJson, BY_COOKIE } from './wire.js';

/** How long the controls must rest before anything is asked, in milliseconds. */
const REST_MS = 250;

/** What stands for where an answer came from, in `Server-Timing` (W3C Server Timing). */
const FROM = {
  memory: 'pinhole’s memory',
  bucket: 'the bucket: it was made before',
  render: 'a render, made for this request',
};

/** `access;dur=0.1, cache;desc=memory` as a map of maps. */
function timings(header) {
  const metrics = (header ?? '').split(',').map((metric) => metric.trim().split(';'));
  return new Map(metrics.map(([name, ...rest]) => [name, new Map(rest.map((part) => part.trim().split('=')))]));
}

const originOf = (timing) => {
  const tier = timing.get('cache')?.get('desc');
  const took = timing.get('render')?.get('dur');
  return (FROM[tier] ?? 'not said: it is streamed as it lies') + (took ? `, in ${millis(Number(took))}` : '');
};

export class Inspector extends EventTarget {
  /** The image that is looked at. @type {string|null} */
  image = null;
  /** What is known of it to whoever looks, if he may see it. */
  #known = null;
  #stop = new AbortController();
  #timer;

  constructor() {
    super();
    startOptions(() => this.#soon());
    $('inspect-again').addEventListener('click', () => this.refresh());
    session.addEventListener('change', () => this.image && this.refresh());
    this.#sayUrl();
  }

  /** Looks at an image. */
  open(image) {
    this.image = image;
    this.dispatchEvent(new Event('open'));
    return this.refresh();
  }

  /** Asks again. */
  async refresh() {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#sayUrl();
    if (!this.image) {
      return;
    }
    const { signal } = (this.#stop = new AbortController());
    $('inspect-answer').setAttribute('aria-busy', 'true');
    // By the options of now: they may be others once the first answer is there.
    const asked = { as: BY_COOKIE, path: this.#path(), headers: { Accept: ACCEPT }, signal };
    const alt = `The picture, by ${optionString()}`;
    try {
      // What it is, is asked by the same viewer: it may have gone for him meanwhile.
      this.#known = await askJson({ as: session.user, path: `/v1/images/${this.image}`, signal, kind: 'view' });
    } catch {
      this.#known = null;
    }
    try {
      const answer = await ask(asked);
      const picture = await imageOf(answer.blob, { alt });
      signal.throwIfAborted();
      this.#show(answer, picture);
    } catch (error) {
      if (!signal.aborted) {
        this.#refuse(error);
      }
    } finally {
      if (!signal.aborted) {
        $('inspect-answer').removeAttribute('aria-busy');
      }
    }
  }

  /** Asks once the options rest. What they were is not waited for any more. */
  #soon() {
    this.#sayUrl();
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), REST_MS);
  }

  #path() {
    return `/i/${this.image}/${optionString()}`;
  }

  #sayUrl() {
    $('inspect-url').textContent = this.image ? this.#path() : `/i/…/${optionString()}`;
  }

  #show({ status, headers, blob, ms }, picture) {
    const timing = timings(headers.get('Server-Timing'));
    const decision = millis(Number(timing.get('access')?.get('dur') ?? 0));
    this.#facts({
      status: `${status}, as ${nameOf(session.user)} by cookie`,
      type: headers.get('Content-Type'),
      pixels: `${picture.naturalWidth} × ${picture.naturalHeight}`,
      size: bytes(blob.size) + this.#partOfWhole(blob.size),
      from: originOf(timing),
      took: `${millis(ms)} as this browser saw it; the decision ${decision}`,
      cache: headers.get('Cache-Control'),
    });
    $('inspect-headers').textContent = [...headers].map(([name, value]) => `${name}: ${value}`).join('\n');
    $('inspect-frame').replaceChildren(picture);
  }

  #partOfWhole(count) {
    const whole = this.#known?.bytes;
    if (!whole) {
      return '';
    }
    const percent = ((100 * count) / whole).toFixed(count < whole / 10 ? 1 : 0);
    return `, ${percent} % of the original’s ${bytes(whole)}`;
  }

  #refuse(error) {
    this.#facts({ status: error.status ? String(error.status) : 'none' });
    $('inspect-headers').textContent = 'A refusal is never cached, and looks the same to everybody.';
    $('inspect-frame').replaceChildren(el('p', { class: 'nothing' }, error.message));
    complain(error);
  }

  #facts(facts) {
    for (const place of $('inspect-facts').querySelectorAll('dd')) {
      place.textContent = facts[place.dataset.fact] ?? '–';
    }
  }
}
