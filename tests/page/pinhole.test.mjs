// What src/web/page/pinhole.js does, by a clock and a server of the test's own: node --test tests/page
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Links, srcset } from './module.mjs';

const START = Date.parse('2027-01-15T08:00:00Z');
const LIFETIME_MS = 900_000;

/** A clock that goes when it is told to, with all that waits for it. */
class FakeClock {
  time = START;
  timers = new Map();
  chance = 0.5;
  #next = 1;

  now = () => this.time;
  random = () => this.chance;
  setTimeout = (run, ms) => {
    this.timers.set(this.#next, { run, at: this.time + ms });
    return this.#next++;
  };
  clearTimeout = (timer) => void this.timers.delete(timer);

  async pass(ms) {
    const until = this.time + ms;
    for (;;) {
      await settled();
      const due = [...this.timers].filter(([, timer]) => timer.at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) {
        break;
      }
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
    }
    this.time = until;
    await settled();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** `/v1/links` as src/web/api/links.rs answers it. */
class FakeServer {
  calls = [];
  status = 200;
  headers = {};
  refused = new Set();
  skewMs = 0;

  constructor(clock) {
    this.clock = clock;
  }

  fetch = async (url, request) => {
    request.signal?.throwIfAborted();
    const asked = JSON.parse(request.body);
    this.calls.push({ url, asked, at: this.clock.time, headers: request.headers });
    if (this.status !== 200) {
      return new Response('{}', { status: this.status, headers: this.headers });
    }
    const now = this.clock.time + this.skewMs;
    const links = asked.images.flatMap(({ id, options }) =>
      (asked.widths ?? [null]).map((width) => {
        if (this.refused.has(id)) {
          return { id, error: 'not_found', detail: 'There is no such image.' };
        }
        const path = `/i/${id}/${width ? `width=${width},` : ''}${options}`;
        const url = `https://img.example.org${path}?exp=${now + LIFETIME_MS}&kid=k&ep=1&sig=s`;
        return { id, options, url, expires_at: new Date(now + LIFETIME_MS).toISOString() };
      }),
    );
    return Response.json({ links }, { headers: { Date: new Date(now).toUTCString(), ...this.headers } });
  };
}

function setUp(settings = {}) {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  const errors = [];
  const onError = (error) => errors.push(error);
  const links = new Links({ clock, fetch: server.fetch, endpoint: '/v1/links', onError, ...settings });
  return { clock, server, links, errors };
}

const wanted = (id, widths) => ({ id, options: 'format=auto', widths });

test('an image has a srcset of its links, and the largest as its src', async () => {
  const { clock, server, links } = setUp();
  const pictures = [];
  links.watch(wanted('a', [320, 1280, 640]), (picture) => pictures.push(picture));
  await clock.pass(0);
  const url = (width) => `https://img.example.org/i/a/width=${width},format=auto?exp=${START + LIFETIME_MS}&kid=k&ep=1&sig=s`;
  assert.equal(pictures.length, 1);
  assert.equal(pictures[0].srcset, `${url(320)} 320w, ${url(1280)} 1280w, ${url(640)} 640w`);
  assert.equal(pictures[0].src, url(1280));
  assert.deepEqual(server.calls[0].asked, { images: [{ id: 'a', options: 'format=auto' }], widths: [320, 1280, 640] });
  assert.equal(srcset([{ url: 'u' }], [10]), 'u 10w');
});

test('without widths there is one link', async () => {
  const { clock, server, links } = setUp({ expiresIn: 60 });
  const pictures = [];
  links.watch({ id: 'a', options: 'original' }, (picture) => pictures.push(picture));
  await clock.pass(0);
  assert.equal(pictures[0].srcset, '');
  assert.match(pictures[0].src, /\/i\/a\/original\?/);
  assert.deepEqual(server.calls[0].asked, { images: [{ id: 'a', options: 'original' }], expires_in: 60 });
});

test('links are renewed before they expire, again and again', async () => {
  const { clock, server, links } = setUp();
  const shown = [];
  links.watch(wanted('a'), (picture) => shown.push(picture.expiresAt));
  for (let passed = 0; passed < 4 * LIFETIME_MS; passed += 10_000) {
    await clock.pass(10_000);
    assert.ok(shown.at(-1) > clock.time, 'what is shown is good');
  }
  assert.ok(server.calls.length >= 4 && server.calls.length <= 7, `${server.calls.length} calls`);
});

test('chance spreads the renewals over time', async () => {
  const at = async (chance) => {
    const { clock, server, links } = setUp();
    clock.chance = chance;
    links.watch(wanted('a'), () => {});
    await clock.pass(LIFETIME_MS);
    return server.calls[1].at - START;
  };
  const [first, last] = [await at(0), await at(1)];
  assert.ok(last - first > 60_000 && last < LIFETIME_MS - 60_000, `${first} to ${last}`);
});

test('many images take few calls, of 500 links at most, and the same image one link', async () => {
  const { clock, server, links } = setUp();
  let handed = 0;
  for (let n = 0; n < 700; n++) {
    links.watch(wanted(`image-${n}`), () => handed++);
  }
  for (let n = 0; n < 300; n++) {
    links.watch(wanted(`image-${n}`, [100, 200]), () => handed++);
  }
  links.watch(wanted('image-0'), () => handed++);
  await clock.pass(0);
  assert.equal(handed, 1001);
  const sizes = server.calls.map(({ asked }) => asked.images.length * (asked.widths?.length ?? 1));
  assert.deepEqual(sizes.sort((a, b) => b - a), [500, 500, 200, 100]);
});

test('there is one timer', async () => {
  const { clock, links } = setUp();
  for (let n = 0; n < 50; n++) {
    links.watch(wanted(`image-${n}`), () => {});
    await clock.pass(1_000);
    assert.equal(clock.timers.size, 1);
  }
});

test('a call that fails is tried again later and later, and what is shown stays', async () => {
  const { clock, server, links, errors } = setUp();
  const pictures = [];
  links.watch(wanted('a'), (picture) => pictures.push(picture));
  await clock.pass(0);
  server.status = 503;
  await clock.pass(LIFETIME_MS * 4);
  assert.equal(pictures.length, 1);
  const pauses = server.calls.slice(1).map(({ at }, n, calls) => (n > 0 ? at - calls[n - 1].at : 0)).slice(1);
  assert.ok(pauses.length > 5, `${pauses}`);
  assert.ok(pauses.every((pause, n) => pause >= (pauses[n - 1] ?? 0)), `${pauses}`);
  assert.ok(Math.max(...pauses) <= 60_000, `${pauses}`);
  assert.equal(errors.length, server.calls.length - 1);
  server.status = 200;
  await clock.pass(60_000);
  assert.equal(pictures.length, 2);
  // From then on as if nothing had been.
  await clock.pass(LIFETIME_MS);
  assert.ok(pictures.at(-1).expiresAt > clock.time);
});

test('a server that names a time is left alone until then', async () => {
  const { clock, server, links } = setUp();
  server.status = 429;
  server.headers = { 'Retry-After': '120' };
  links.watch(wanted('a'), () => {});
  await clock.pass(119_000);
  assert.equal(server.calls.length, 1);
  await clock.pass(2_000);
  assert.equal(server.calls.length, 2);
});

test('an image that is not to be seen is told of and not asked for again', async () => {
  const { clock, server, links, errors } = setUp();
  const seen = [];
  server.refused.add('secret');
  links.watch(wanted('secret', [10, 20]), () => seen.push('secret'));
  links.watch(wanted('a', [10, 20]), () => seen.push('a'));
  await clock.pass(LIFETIME_MS);
  assert.deepEqual([...new Set(seen)], ['a']);
  assert.deepEqual(errors.map(({ id, code }) => [id, code]), [['secret', 'not_found']]);
  assert.ok(server.calls.slice(1).every(({ asked }) => asked.images.every(({ id }) => id === 'a')));
});

test('a wrong clock makes no difference', async () => {
  const { clock, server, links } = setUp();
  server.skewMs = -6 * 3_600_000;
  const shown = [];
  links.watch(wanted('a'), (picture) => shown.push(picture.expiresAt));
  await clock.pass(LIFETIME_MS * 2);
  assert.ok(server.calls.length >= 3 && server.calls.length <= 4, `${server.calls.length} calls`);
  assert.ok(shown.at(-1) > clock.time);
});

test('who has stopped is told nothing more, and nothing waits for him', async () => {
  const { clock, server, links } = setUp();
  let handed = 0;
  const stop = links.watch(wanted('a'), () => handed++);
  await clock.pass(0);
  stop();
  assert.equal(clock.timers.size, 0);
  await clock.pass(LIFETIME_MS * 2);
  assert.deepEqual([handed, server.calls.length], [1, 1]);
});

test('a signal ends everything, a call under way too', async () => {
  const controller = new AbortController();
  let asked;
  const fetch = (url, { signal }) => {
    asked = signal;
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const { clock, links, errors } = setUp({ fetch, signal: controller.signal });
  links.watch(wanted('a'), () => assert.fail('nothing came'));
  await clock.pass(0);
  controller.abort();
  await clock.pass(LIFETIME_MS);
  assert.ok(asked.aborted);
  assert.deepEqual([clock.timers.size, errors.length], [0, 0]);
  links.watch(wanted('b'), () => assert.fail('it has ended'));
  assert.equal(clock.timers.size, 0);
});

test('headers are made for each call', async () => {
  let n = 0;
  const { clock, server, links } = setUp({ headers: async () => ({ Authorization: `Bearer ${++n}` }) });
  links.watch(wanted('a'), () => {});
  await clock.pass(LIFETIME_MS);
  assert.deepEqual(server.calls.map(({ headers }) => headers.Authorization), ['Bearer 1', 'Bearer 2']);
});

/** As much of a page as matters. */
function page() {
  const document = new EventTarget();
  document.visibilityState = 'visible';
  document.turn = (state) => {
    document.visibilityState = state;
    document.dispatchEvent(new Event('visibilitychange'));
  };
  class Image extends EventTarget {
    isConnected = true;
    complete = false;
    naturalWidth = 0;
    currentSrc = '';
    sizes = '';
    sets = [];
    #srcset = '';
    set srcset(value) {
      this.#srcset = value;
    }
    get srcset() {
      return this.#srcset;
    }
    set src(value) {
      this.sets.push(value);
      this.currentSrc = value;
    }
    load() {
      this.complete = true;
      this.naturalWidth = 320;
      this.dispatchEvent(new Event('load'));
    }
    decode() {
      return Image.canLoad ? Promise.resolve() : Promise.reject(new Error('broken'));
    }
  }
  Image.canLoad = true;
  return { document, Image };
}

test('nothing is asked for a page that nobody looks at, and at once when somebody does', async (t) => {
  const { document } = page();
  globalThis.document = document;
  t.after(() => delete globalThis.document);
  const { clock, server, links } = setUp();
  links.watch(wanted('a'), () => {});
  await clock.pass(0);
  document.turn('hidden');
  await clock.pass(LIFETIME_MS * 5);
  assert.equal(server.calls.length, 1);
  document.turn('visible');
  await clock.pass(0);
  assert.equal(server.calls.length, 2);
});

test('an element is given a link once there is one, and another once that is loaded', async (t) => {
  const { Image } = page();
  globalThis.Image = Image;
  t.after(() => delete globalThis.Image);
  const { clock, server, links } = setUp();
  const img = new Image();
  server.status = 503;
  links.show(img, wanted('a', [320]));
  await clock.pass(10_000);
  assert.deepEqual(img.sets, [], 'no src before there is a link');
  server.status = 200;
  await clock.pass(60_000);
  assert.equal(img.sets.length, 1);
  assert.match(img.srcset, / 320w$/);
  img.load();
  Image.canLoad = false;
  await clock.pass(LIFETIME_MS);
  assert.equal(img.sets.length, 1, 'what cannot be loaded is not shown');
  Image.canLoad = true;
  await clock.pass(LIFETIME_MS);
  assert.ok(img.sets.length > 1);
});

test('an element whose link has died gets another, and not in a loop', async () => {
  const { Image } = page();
  const { clock, server, links } = setUp();
  const img = new Image();
  links.show(img, wanted('a'));
  await clock.pass(0);
  for (let second = 0; second < 120; second++) {
    if (img.sets.length > 0) {
      img.dispatchEvent(new Event('error'));
    }
    await clock.pass(1_000 * 2 ** Math.min(second, 6));
  }
  assert.ok(img.sets.length > 2, 'it is tried again');
  const early = server.calls.filter(({ at }) => at < START + 60_000);
  assert.ok(early.length < 10, `${early.length} calls in the first minute`);
});

test('an element that has left its document ends by itself', async () => {
  const { Image } = page();
  const { clock, server, links } = setUp();
  const img = new Image();
  links.show(img, wanted('a'));
  await clock.pass(0);
  img.isConnected = false;
  await clock.pass(LIFETIME_MS * 3);
  assert.equal(server.calls.length, 1);
  assert.equal(clock.timers.size, 0);
});
