// Every request of the page: sends it, tells the log of it, and turns a refusal into a sentence.

import { forget, tokenOf } from './session.js';

/** Tells of every request, as an event `sent` with what the log shows of it. */
export const wire = new EventTarget();

/** In place of a viewer: whoever the browser's cookie says. */
export const BY_COOKIE = Symbol('by cookie');

/** What was answered instead of what was asked for. Its message is a sentence. */
export class Refused extends Error {
  constructor(status, text) {
    super(sentence(status, text));
    this.name = 'Refused';
    this.status = status;
  }
}

/** The sentence in a problem document (RFC 9457) of pinhole, or in S3's XML. */
function sentence(status, text) {
  try {
    const { title, detail } = JSON.parse(text);
    return `${status} ${title}: ${detail}`;
  } catch {
    const message = new DOMParser().parseFromString(text, 'text/xml').querySelector('Message')?.textContent;
    return `${status}: ${message ?? 'the answer does not say why.'}`;
  }
}

const unreachable = (url) => new Error(`${new URL(url, location).host} does not answer. Is pinhole dev still running?`);

/** @param {object} entry  `as`, `kind`, `method`, `url`, `status` (0 without an answer), `sent`, `received`, `ms`. */
export function tell(entry) {
  wire.dispatchEvent(new CustomEvent('sent', { detail: { ...entry, url: new URL(entry.url, location) } }));
}

/**
 * Asks for something and reads the whole answer.
 *
 * @param {object} asked
 * @param {string|null|symbol} asked.as  A user, by his token; null for nobody; or `BY_COOKIE`.
 * @param {string} [asked.method]
 * @param {string} asked.path
 * @param {object} [asked.json]  The body.
 * @param {Record<string, string>} [asked.headers]
 * @param {AbortSignal} [asked.signal]
 * @param {string} [asked.kind]  `view` for what viewers are shown, which the log can leave out.
 * @returns {Promise<{status: number, headers: Headers, blob: Blob, ms: number}>}
 * @throws {Refused} when the answer is no success.
 */
export async function ask({ as, method = 'GET', path, json, headers = {}, signal, kind = 'call' }) {
  const body = json === undefined ? undefined : JSON.stringify(json);
  const send = async () => {
    const all = { ...headers, ...(await authorization(as)) };
    if (body !== undefined) {
      all['Content-Type'] = 'application/json';
    }
    // Each viewer asks by a token of his own; the cookie stays out of it, and so does the browser's cache.
    const credentials = as === BY_COOKIE ? 'same-origin' : 'omit';
    const began = performance.now();
    const response = await fetch(path, { method, headers: all, body, signal, credentials, cache: 'no-store' });
    const blob = await response.blob();
    const ms = performance.now() - began;
    const sent = body === undefined ? 0 : new Blob([body]).size;
    tell({ as, kind, method, url: path, status: response.status, sent, received: blob.size, ms });
    return { status: response.status, headers: response.headers, blob, ms };
  };
  try {
    let answer = await send();
    if (answer.status === 401 && typeof as === 'string') {
      // Another data folder, or twelve hours later: the token is no good any more.
      forget(as);
      answer = await send();
    }
    if (answer.status >= 400) {
      throw new Refused(answer.status, await answer.blob.text());
    }
    return answer;
  } catch (error) {
    throw error instanceof TypeError ? unreachable(path) : error;
  }
}

/** The same, for an answer in JSON. */
export const askJson = async (asked) => JSON.parse(await (await ask(asked)).blob.text());

/** The header that says who asks. */
export async function authorization(as) {
  return typeof as === 'string' ? { Authorization: `Bearer ${await tokenOf(as)}` } : {};
}

/**
 * Sends a body that is worth a progress bar, which only XMLHttpRequest knows how to.
 *
 * @param {object} asked
 * @param {string|null} asked.as
 * @param {string} asked.method
 * @param {string} asked.url  Of the app, or of the bucket.
 * @param {Record<string, string>} asked.headers
 * @param {FormData|Blob} asked.body
 * @param {AbortSignal} asked.signal
 * @param {(sent: number, total: number, host: string) => void} asked.onProgress
 * @returns {Promise<string>} The answer's text.
 */
export function upload({ as, method, url, headers, body, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const began = performance.now();
    let sent = 0;
    request.upload.onprogress = (event) => {
      sent = event.loaded;
      onProgress(event.loaded, event.total, new URL(url, location).host);
    };
    const stop = () => request.abort();
    signal.addEventListener('abort', stop);
    request.onloadend = () => {
      signal.removeEventListener('abort', stop);
      const { status, responseText } = request;
      const received = new Blob([responseText]).size;
      tell({ as, kind: 'upload', method, url, status, sent, received, ms: performance.now() - began });
      if (status === 401) {
        // Whoever tries again does so with a new token.
        forget(as);
      }
      if (status >= 200 && status < 300) {
        resolve(responseText);
      } else if (status > 0) {
        reject(new Refused(status, responseText));
      } else {
        reject(signal.aborted ? signal.reason : unreachable(url));
      }
    };
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) {
      request.setRequestHeader(name, value);
    }
    request.send(body);
  });
}
