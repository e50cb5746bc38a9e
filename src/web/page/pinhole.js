// Shows images of pinhole by signed links, and renews the links before they expire. An ES module without
// dependencies, for browsers and Node.js.
//
//   import { Links } from './pinhole.js';
//   const links = new Links({ endpoint: 'https://img.example.org/v1/links', headers: () => ({ Authorization }) });
//   const stop = links.show(document.querySelector('img'), { id, options: 'format=auto', widths: [320, 640, 1280] });
//
// Without `headers` the user's cookie goes along, which wants a page of the same origin. The endpoint may be one of
// the app's own, which asks pinhole as a service, and answers alike. Links hold a quarter of an hour at least, so
// that viewers share them: nothing is asked for a page that nobody looks at.

/**
 * @typedef {object} Wanted  An image, and how it is to be shown.
 * @property {string} id
 * @property {string} options  As in the path `/i/{id}/{options}`.
 * @property {number[]} [widths]  In pixels: one link for each, in place of a width in `options`.
 */

/**
 * @typedef {object} Picture  What to show.
 * @property {string} id
 * @property {string} src  The largest, for browsers that know no `srcset`.
 * @property {string} srcset  Empty without widths.
 * @property {number} expiresAt  When the first of the links expires, in milliseconds of this machine's clock.
 */

/**
 * @typedef {object} Settings
 * @property {string} [endpoint]  Where links are minted; `/v1/links` of the page's origin without it.
 * @property {() => Record<string, string> | Promise<Record<string, string>>} [headers]  To be sent with each call.
 * @property {number} [expiresIn]  Seconds that a link is to live at least.
 * @property {(error: Error & {id?: string, code?: string}) => void} [onError]  Told of calls that failed, which
 *   are tried again, and of images (`id`, `code`) that are not to be seen, which are not.
 * @property {AbortSignal} [signal]  Ends everything, as `close` does.
 * @property {typeof globalThis.fetch} [fetch]
 * @property {Clock} [clock]
 */

/** @typedef {{now(): number, setTimeout(run: () => void, ms: number): any, clearTimeout(timer: any): void, random(): number}} Clock */

/** The most links that one call answers, widths counted. */
const MAX_LINKS = 500;
/** Links that are due so soon, in milliseconds, are renewed with those that are due now. */
const TOGETHER_MS = 30_000;
/** The pause after a first failure, and the longest, in milliseconds; between them it doubles. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** Browsers know no longer timer, in milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** @type {Clock} */
const SYSTEM = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/**
 * What stands in `srcset` for the links of one image, in the order of their widths.
 * @param {{url: string}[]} links
 * @param {number[]} widths
 */
export function srcset(links, widths) {
  return widths.map((width, at) => `${links[at].url} ${width}w`).join(', ');
}

/** Links that are kept fresh, all by one timer. */
export class Links {
  /** @type {Set<{wanted: Wanted, use: (picture: Picture) => void, dueAt: number, isGone: () => boolean}>} */
  #entries = new Set();
  #clock;
  #settings;
  #timer = null;
  #isAsking = false;
  #failures = 0;
  #notBefore = 0;
  #ended = new AbortController();

  /** @param {Settings} [settings] */
  constructor(settings = {}) {
    this.#settings = settings;
    this.#clock = settings.clock ?? SYSTEM;
    settings.signal?.addEventListener('abort', () => this.close(), { once: true });
    if (settings.signal?.aborted) {
      this.close();
    }
    globalThis.document?.addEventListener('visibilitychange', this.#plan, { signal: this.#ended.signal });
  }

  /**
   * Hands over an image's links, now and whenever they were renewed. Calls of one moment are asked for together.
   * @param {Wanted} wanted
   * @param {(picture: Picture) => void} use
   * @returns {() => void} Ends it.
   */
  watch(wanted, use) {
    return this.#add(wanted, use, () => false).stop;
  }

  /**
   * Shows an image in an `<img>`, whose `sizes` stay what they are. It changes once a new link is there, and what
   * is shown already only when the next is loaded; it ends when the element has left its document.
   * @param {HTMLImageElement} img
   * @param {Wanted} wanted
   * @returns {() => void} Ends it; the image stays.
   */
  show(img, wanted) {
    let wasConnected = false;
    let failures = 0;
    const set = (picture) => {
      img.srcset = picture.srcset;
      img.src = picture.src;
    };
    const use = async (picture) => {
      wasConnected ||= img.isConnected;
      if (img.currentSrc && img.complete && img.naturalWidth > 0 && globalThis.Image) {
        const next = new Image();
        next.sizes = img.sizes;
        next.srcset = picture.srcset;
        next.src = picture.src;
        // What cannot be loaded is not shown; the next link may be better.
        await next.decode().then(() => listening.signal.aborted || set(picture), () => retry());
      } else {
        set(picture);
      }
    };
    const { entry, stop } = this.#add(wanted, use, () => wasConnected && !img.isConnected);
    const retry = () => this.#renew(entry, pause(failures++, this.#clock));
    // A link may have died early, or the machine have slept.
    const listening = new AbortController();
    img.addEventListener('error', retry, { signal: listening.signal });
    img.addEventListener('load', () => (failures = 0), { signal: listening.signal });
    return () => {
      listening.abort();
      stop();
    };
  }

  /** Ends everything; what is shown stays. */
  close() {
    this.#ended.abort();
    this.#entries.clear();
    this.#plan();
  }

  #add(wanted, use, isGone) {
    const entry = { wanted, use, isGone, dueAt: this.#clock.now() };
    if (!this.#ended.signal.aborted) {
      this.#entries.add(entry);
      this.#plan();
    }
    return { entry, stop: () => void (this.#entries.delete(entry) && this.#plan()) };
  }

  #renew(entry, inMs) {
    entry.dueAt = this.#clock.now() + inMs;
    this.#plan();
  }

  /** Sets the one timer to when the next link is due, if anybody looks. */
  #plan = () => {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#entries.size === 0 || this.#isAsking || globalThis.document?.visibilityState === 'hidden') {
      return;
    }
    let next = Infinity;
    for (const entry of this.#entries) {
      next = Math.min(next, entry.dueAt);
    }
    const inMs = Math.max(next, this.#notBefore) - this.#clock.now();
    this.#timer = this.#clock.setTimeout(this.#run, Math.min(Math.max(inMs, 0), LONGEST_TIMER_MS));
  };

  #run = async () => {
    this.#isAsking = true;
    try {
      for (const call of this.#calls()) {
        await this.#ask(call);
      }
      this.#failures = 0;
      this.#notBefore = 0;
    } catch (error) {
      if (!this.#ended.signal.aborted) {
        const wait = Math.max(pause(this.#failures++, this.#clock), 1000 * (error.retryAfterSecs ?? 0));
        this.#notBefore = this.#clock.now() + wait;
        this.#settings.onError?.(error);
      }
    } finally {
      this.#isAsking = false;
      this.#plan();
    }
  };

  /** What is due, in as few calls as may be: by widths, the same image once. */
  #calls() {
    const groups = new Map();
    const soon = this.#clock.now() + TOGETHER_MS;
    for (const entry of this.#entries) {
      if (entry.isGone()) {
        this.#entries.delete(entry);
      } else if (entry.dueAt <= soon) {
        const widths = entry.wanted.widths ?? [];
        const group = groups.get(widths.join()) ?? { widths, images: new Map() };
        groups.set(widths.join(), group);
        const image = `${entry.wanted.id}/${entry.wanted.options}`;
        group.images.set(image, [...(group.images.get(image) ?? []), entry]);
      }
    }
    const calls = [];
    for (const { widths, images } of groups.values()) {
      const all = [...images.values()];
      const atOnce = Math.max(1, Math.floor(MAX_LINKS / Math.max(1, widths.length)));
      for (let from = 0; from < all.length; from += atOnce) {
        calls.push({ widths, images: all.slice(from, from + atOnce) });
      }
    }
    return calls;
  }

  async #ask({ widths, images }) {
    const body = { images: images.map(([{ wanted }]) => ({ id: wanted.id, options: wanted.options })) };
    if (widths.length > 0) {
      body.widths = widths;
    }
    if (this.#settings.expiresIn) {
      body.expires_in = this.#settings.expiresIn;
    }
    const headers = { 'Content-Type': 'application/json', ...(await this.#settings.headers?.()) };
    const response = await (this.#settings.fetch ?? fetch)(this.#settings.endpoint ?? '/v1/links', {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: this.#ended.signal,
    });
    if (!response.ok) {
      const error = new Error(`links were refused: ${response.status}`);
      throw Object.assign(error, { retryAfterSecs: Number(response.headers.get('Retry-After')) || 0 });
    }
    const { links } = await response.json();
    const each = Math.max(1, widths.length);
    const now = this.#clock.now();
    // By the server's clock, as far as it can be seen, and not by one that may be wrong.
    const skew = (Date.parse(response.headers.get('Date') ?? '') || now) - now;
    images.forEach((entries, at) => this.#hand(entries, links.slice(at * each, (at + 1) * each), widths, skew));
  }

  /** Hands an image's links to all who want it. */
  #hand(entries, links, widths, skew) {
    const refused = links.find((link) => link.error);
    for (const entry of entries.filter((entry) => this.#entries.has(entry))) {
      if (refused) {
        this.#entries.delete(entry);
        const error = new Error(refused.detail ?? `image ${refused.id}: ${refused.error}`);
        this.#settings.onError?.(Object.assign(error, { id: refused.id, code: refused.error }));
        continue;
      }
      const now = this.#clock.now();
      const expiresAt = Math.min(...links.map((link) => Date.parse(link.expires_at))) - skew;
      // In the last third, not everybody at once.
      entry.dueAt = now + Math.max(expiresAt - now, FIRST_PAUSE_MS) * (0.7 + 0.15 * this.#clock.random());
      const largest = widths.length > 0 ? widths.indexOf(Math.max(...widths)) : 0;
      const picture = { id: entry.wanted.id, src: links[largest].url, srcset: srcset(links, widths), expiresAt };
      entry.use(picture);
    }
  }
}

/** Milliseconds to wait after so many failures before: twice as long each time, and half of it by chance. */
function pause(failures, clock) {
  return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures, 16), LONGEST_PAUSE_MS) * (0.5 + 0.5 * clock.random());
}
