// What people do on the demo page, done by a browser. Ends with 0 when all of it went as it should.
//
// node flows.mjs FLOW URL S3_URL FILES
//
// FILES is a folder with `noise.png`, some megabytes, and `notes.txt`, which is no picture. With
// PINHOLE_TEST_SCREENSHOTS, a folder, the flow `accessible` writes there what the page looks like.

import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { Browser, KEYS } from './browser.mjs';

const [flow, url, s3Url, files] = process.argv.slice(2);
const [app, bucket] = [url, s3Url].map((each) => new URL(each).host);
const noise = join(files, 'noise.png');

/** The upload that was begun last. */
const NEWEST = '#upload-lines li:first-child';
const SIZES = {
  desk: { width: 1280, height: 900, deviceScaleFactor: 1, mobile: false },
  phone: { width: 390, height: 844, deviceScaleFactor: 1, mobile: true },
};

let browser;

/** Opens the page, and waits until it shows what there is. */
async function open() {
  await browser.go(url);
  await ready();
}

const ready = () =>
  browser.until(() => document.querySelector('#viewers :checked') && !document.querySelector('#posts.loading'));

const cards = () => browser.run(() => document.querySelectorAll('.post:not(.slot)').length);

/** Waits until there are so many posts. */
const posted = (count) =>
  browser.until((count) => document.querySelectorAll('.post:not(.slot)').length === count, count);

async function chooseSample() {
  await browser.click('#sample');
  await browser.until(() => document.getElementById('file').files[0]?.name === 'evening.jpg');
}

const choose = (name, value) => browser.click(`input[name="${name}"][value="${value}"]`);

const submit = () => browser.click('#upload .main');

async function signIn(user) {
  await choose('viewer', user);
  // Not by the words that say so: what is not there for the new viewer may be told of right after.
  await browser.until((user) => document.body.dataset.signedIn === user, user);
}

async function postSample(visibility, way = 'one') {
  const before = await cards();
  await chooseSample();
  await choose('visibility', visibility);
  await choose('way', way);
  await submit();
  await posted(before + 1);
}

/** The status line, once it says something with these words. */
const said = (words) =>
  browser.until((words) => {
    const text = document.getElementById('said').textContent;
    return text.includes(words) && text;
  }, words);

/** Waits until exactly these viewers are shown the first post's picture, and the others a 404. */
const shownTo = (...viewers) =>
  browser.until((viewers) => {
    document.querySelector('.post:not(.slot) .tiles').scrollIntoView({ block: 'center' });
    const tiles = [...document.querySelectorAll('.post:not(.slot)')][0].querySelectorAll('.tiles figure');
    return (
      tiles.length === 4 &&
      [...tiles].every((tile) => {
        const sees = viewers.includes(tile.dataset.viewer);
        const isDone = !tile.hasAttribute('aria-busy');
        return isDone && (sees ? tile.querySelector('img') : tile.innerText.includes('nothing here: 404'));
      })
    );
  }, viewers);

/** The rows of the log, newest last, but for pictures and lookups. */
const log = () =>
  browser.run(() =>
    [...document.querySelectorAll('#log-rows tr:not(.view)')].map((row) => ({
      place: row.dataset.place,
      host: row.querySelector('.host').textContent,
      request: row.querySelector('.path').textContent,
      status: row.querySelector('.status').textContent,
      sent: Number(row.dataset.sent),
    })),
  );

/** Counts in the page what must be let go, and how many pictures are fetched at once. */
function countResources() {
  const used = (window.used = { made: 0, revoked: 0, now: 0, most: 0 });
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (blob) => ((used.made += 1), createObjectURL.call(URL, blob));
  URL.revokeObjectURL = (url) => ((used.revoked += 1), revokeObjectURL.call(URL, url));
  const { fetch } = window;
  window.fetch = async (...asked) => {
    const isPicture = String(asked[0]).startsWith('/i/');
    used.now += isPicture;
    used.most = Math.max(used.most, used.now);
    try {
      return await fetch(...asked);
    } finally {
      used.now -= isPicture;
    }
  };
}

/** Nobody is to be shown JSON. */
function isSentence(text) {
  assert.match(text, /^.*[.?]$/s, text);
  assert.doesNotMatch(text, /[{}]|undefined|\[object/, text);
}

const flows = {
  async ways() {
    await open();
    const size = (await stat(noise)).size;
    for (const [at, way] of ['one', 'two', 'post', 'put'].entries()) {
      await browser.click('#log-clear');
      await browser.type('#file', noise);
      await choose('way', way);
      await browser.slow({ uploads: 4_000_000 });
      await browser.run(() => {
        window.progress = [];
        const watch = new MutationObserver(() => {
          const bar = document.querySelector('#upload-lines progress');
          window.progress.push(bar.value / bar.max);
        });
        watch.observe(document.getElementById('upload-lines'), { subtree: true, childList: true, attributes: true });
      });
      await submit();
      await posted(at + 1);
      await browser.slow({ uploads: 0 });
      const seen = await browser.run(() => window.progress);
      assert.ok(seen.filter((part) => part > 0 && part < 1).length >= 2, `${way}: the bar moves: ${seen}`);
      const rows = await log();
      const most = (place) => Math.max(0, ...rows.filter((row) => row.place === place).map((row) => row.sent));
      const state = await browser.textOf(`${NEWEST} .state`);
      if (way === 'one' || way === 'two') {
        assert.ok(most('app') >= size && most('bucket') === 0, JSON.stringify(rows));
        assert.ok(state.includes(`to the app, ${app}`), state);
      } else {
        assert.ok(most('bucket') >= size, JSON.stringify(rows));
        assert.ok(most('app') < 1000, `the app carries no bytes: ${JSON.stringify(rows)}`);
        assert.ok(rows.every((row) => row.host === (row.place === 'bucket' ? bucket : app)), JSON.stringify(rows));
        assert.ok(state.includes(`straight to the bucket, ${bucket}`), state);
      }
      const calls = { one: 1, two: 2, post: 4, put: 4 };
      assert.equal(rows.filter((row) => row.status.startsWith('2')).length, calls[way], JSON.stringify(rows));
    }
    // Dropped, and pasted.
    for (const kind of ['drop', 'paste']) {
      await browser.run((kind) => {
        const data = new DataTransfer();
        data.items.add(new File(['x'], `${kind}.png`, { type: 'image/png' }));
        const init = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
        document.body.dispatchEvent(new (kind === 'drop' ? DragEvent : ClipboardEvent)(kind, init));
      }, kind);
      assert.match(await browser.textOf('#chosen'), new RegExp(`${kind}\\.png, 1 B`));
    }
  },

  async cancel() {
    await open();
    for (const [at, way] of ['one', 'put'].entries()) {
      await browser.type('#file', noise);
      await choose('way', way);
      await browser.slow({ uploads: 300_000 });
      await submit();
      await browser.until(() => document.querySelector('#upload-lines progress').value > 0);
      await browser.click(`${NEWEST} [aria-label^="Cancel"]`);
      await said('noise.png was cancelled.');
      assert.equal(await browser.textOf(`${NEWEST} .state`), 'Cancelled. Nothing of it is kept.');
      assert.equal(await cards(), at, 'no post of it');
      assert.equal(await browser.run(() => document.querySelectorAll('.slot').length), 0);
      await browser.slow({ uploads: 0 });
      await browser.click(`${NEWEST} [aria-label^="Retry"]`);
      await posted(at + 1);
      assert.match(await browser.textOf(`${NEWEST} .state`), /^Posted\./);
    }
    const deleted = (await log()).filter((row) => row.request.startsWith('DELETE /v1/uploads/'));
    assert.deepEqual(deleted.map((row) => row.status), ['204'], 'what was granted was given up');
  },

  async views() {
    await browser.cdp('Page.addScriptToEvaluateOnNewDocument', { source: `(${countResources})()` });
    await open();
    await postSample('followers');
    await shownTo('alice');
    await browser.click('input[aria-label="bob follows alice"]');
    await shownTo('alice', 'bob');
    await setVisibility('public');
    await shownTo('alice', 'bob', 'carol', 'nobody');
    await setVisibility('private');
    await shownTo('alice');
    await said('Shown to alice. Nothing is here any more for bob, carol and nobody: 404.');
    await setVisibility('followers');
    await shownTo('alice', 'bob');
    await browser.click('input[aria-label="bob follows alice"]');
    await shownTo('alice');

    // The large picture is the cookie's.
    const mine = () => browser.run(() => document.querySelector('.post:not(.slot) .mine').innerText);
    const isLoaded = () => {
      document.querySelector('.post:not(.slot) .mine').scrollIntoView({ block: 'center' });
      return document.querySelector('.post:not(.slot) .mine img')?.naturalWidth > 0;
    };
    await browser.until(isLoaded);
    const image = await browser.run(() =>
      Object.fromEntries(
        [...document.querySelector('.post:not(.slot) .mine img').attributes].map(({ name, value }) => [name, value]),
      ),
    );
    const marked = `${image.width} × ${image.height}, ${image.loading}, ${image.decoding}`;
    assert.equal(marked, '1600 × 1200, lazy, async');
    assert.match(image.srcset, /width=320,format=auto 320w, .*width=1200,format=auto 1200w/);
    assert.ok(image.sizes && image.alt, JSON.stringify(image));
    await signIn('bob');
    await browser.until(() => {
      document.querySelector('.post:not(.slot) .mine').scrollIntoView({ block: 'center' });
      return document.querySelector('.post:not(.slot) .mine').innerText.includes('nothing here: 404');
    });
    assert.match(await mine(), /As you see it, bob/);
    const radios = await browser.run(() => document.querySelectorAll('.post input[type=radio]').length);
    assert.equal(radios, 0, 'it is not his to change');
    await signIn('');
    await browser.until(() => {
      document.querySelector('.post:not(.slot) .mine').scrollIntoView({ block: 'center' });
      return document.querySelector('.post:not(.slot) .mine').innerText.includes('As you see it, nobody');
    });
    await signIn('alice');
    await browser.until(isLoaded);
    // A sign-in lasts over a reload, and so does what was posted.
    await signIn('carol');
    await browser.reload();
    await ready();
    assert.equal(await browser.run(() => document.querySelector('#viewers :checked').value), 'carol');
    assert.equal(await cards(), 1);
    // What bob is shown of a followers' post tells whether he follows.
    await shownTo('alice');
    const known = await browser.run(() => {
      const box = document.querySelector('input[aria-label="bob follows alice"]');
      return [box.indeterminate, box.checked];
    });
    assert.deepEqual(known, [false, false]);

    // Many viewers of many pictures are fetched a few at a time, and no blob is held on to.
    for (let times = 0; times < 3; times += 1) {
      await postSample('public');
    }
    await browser.cdp('Emulation.setDeviceMetricsOverride', { ...SIZES.desk, height: 4000 });
    await browser.reload();
    const used = await browser.until(() => {
      const { made, revoked } = window.used;
      // Three posts for four viewers, and what is inspected.
      return made >= 13 && made === revoked && window.used;
    });
    assert.ok(used.most >= 2 && used.most <= 5, JSON.stringify(used));
  },

  async inspector() {
    await open();
    await postSample('public');
    await browser.click('.post:not(.slot) .buttons button');
    const fact = (name) => browser.run((name) => document.querySelector(`[data-fact=${name}]`).textContent, name);
    const factIs = (name, pattern) =>
      browser.until(
        (name, pattern) => {
          const isBusy = document.getElementById('inspect-answer').hasAttribute('aria-busy');
          return !isBusy && new RegExp(pattern).test(document.querySelector(`[data-fact=${name}]`).textContent);
        },
        name,
        pattern,
      );
    await factIs('pixels', '^640 × 480$');
    assert.equal(await browser.run(() => document.activeElement.id), 'inspector-title');

    await browser.set('#option-width', '123');
    await browser.set('#option-format', 'jpeg');
    await browser.set('#option-rotate', '90');
    await factIs('pixels', '^123 × 164$');
    assert.match(await browser.textOf('#inspect-url'), /^\/i\/[0-9a-f-]{36}\/width=123,format=jpeg,rotate=90$/);
    assert.equal(await fact('type'), 'image/jpeg');
    assert.match(await fact('from'), /^a render, made for this request, in \d/);
    assert.match(await fact('size'), /^[\d.]+ k?B, [\d.]+ % of the original’s [\d.]+ kB$/);
    assert.match(await browser.textOf('#inspect-headers'), /etag: "/);
    await browser.click('#inspect-again');
    await factIs('from', '^pinhole’s memory$');

    // What is asked by the options of now is not asked by those of later on: that would be done twice.
    await browser.slow({ latency: 200 });
    await browser.set('#option-width', '45');
    await browser.until(() => document.getElementById('inspect-answer').hasAttribute('aria-busy'));
    await browser.set('#option-rotate', '180');
    await factIs('pixels', '^45 × 34$');
    assert.match(await fact('from'), /^a render, made for this request, in \d/);
    await browser.slow({});

    await browser.click('#examples button:last-child');
    isSentence(await said('400 Bad Request'));
    assert.match(await browser.textOf('#inspect-frame'), /width/);
    await browser.click('#examples button:first-child');
    await factIs('pixels', '^640 × 480$');

    // A link: what it is, how long, what becomes of it.
    await browser.click('#link-sign');
    await browser.until(() => document.getElementById('link-state').textContent.startsWith('Alive'));
    const link = await browser.run(() => document.getElementById('link-url').value);
    assert.match(link, /\/i\/[^?]+\?exp=\d+&kid=[^&]+&ep=\d+&sig=[\w-]{43}$/);
    const left = await browser.textOf('#link-left');
    assert.match(left, /^\d+:\d\d$/);
    await browser.until((left) => document.getElementById('link-left').textContent !== left, left);
    await browser.until(() => document.querySelector('#link-frame img')?.naturalWidth > 0);
    const srcset = await browser.run(() => document.querySelector('#link-frame img').srcset);
    assert.match(srcset, /sig=\S+ 320w, .*sig=\S+ 640w/);
    await browser.click('#link-spoil');
    isSentence(await said('403 Forbidden'));
    await browser.click('#link-ask');
    await said('The link is alive.');
    assert.equal((await fetch(link)).status, 200);
    await browser.click('#link-revoke');
    isSentence(await said('404 Not Found'));
    assert.match(await browser.textOf('#link-state'), /^Dead\. A stranger with this link gets 404/);
    assert.equal((await fetch(link)).status, 404);

    // Narrowing kills them, too, and the page sees it at once.
    await browser.click('#link-sign');
    await browser.until(() => document.getElementById('link-state').textContent.startsWith('Alive'));
    await setVisibility('private');
    await browser.until(() => document.getElementById('link-state').textContent.startsWith('Dead'));
  },

  async errors() {
    await open();
    for (const way of ['one', 'two', 'post', 'put']) {
      await browser.type('#file', join(files, 'notes.txt'));
      await choose('way', way);
      await submit();
      isSentence(await said('415 Unsupported Media Type'));
      const shown = await browser.run(() => document.querySelector('#upload-lines .state').textContent);
      isSentence(shown);
      assert.match(await browser.textOf('.slot'), /Not posted: 415/);
      await browser.click('#upload-lines button[aria-label^="Dismiss"]');
      await browser.until(() => document.querySelectorAll('.slot, #upload-lines li').length === 0);
    }
    // Text that calls itself a picture is found out once it has landed in the bucket.
    await browser.run(() => {
      const data = new DataTransfer();
      data.items.add(new File(['no picture at all'], 'lie.png', { type: 'image/png' }));
      document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: data }));
    });
    await choose('way', 'put');
    await submit();
    isSentence(await said('422 Unprocessable'));
    await browser.click('#upload-lines button[aria-label^="Dismiss"]');
    await signIn('');
    await chooseSample();
    await choose('way', 'one');
    await submit();
    isSentence(await said('401 Unauthorized'));
    await browser.until(() => document.querySelector('.slot')?.innerText.includes('401'));
  },

  async keyboard() {
    await open();
    const focus = () => browser.run(() => {
      const { id, name, value, tagName } = document.activeElement;
      return id || (name ? `${name}=${value}` : tagName);
    });
    /** Goes on by Tab until something has the focus, which must be seen. */
    const tabTo = async (wanted) => {
      for (let times = 0; times < 80; times += 1) {
        await browser.press(KEYS.tab);
        const isSeen = await browser.run(() => {
          const { activeElement } = document;
          const { top, bottom } = activeElement.getBoundingClientRect();
          return activeElement === document.body || (bottom > 0 && top < innerHeight);
        });
        assert.ok(isSeen, `${await focus()} has the focus out of sight`);
        if ((await focus()).match(wanted)) {
          return;
        }
      }
      assert.fail(`Tab never leads to ${wanted}`);
    };
    await browser.press(KEYS.tab);
    assert.equal(await browser.run(() => document.activeElement.className), 'skip');
    await tabTo(/^viewer=/);
    await browser.press(KEYS.right);
    await said('You are bob.');
    await browser.press(KEYS.left);
    await said('You are alice.');
    await tabTo(/^sample$/);
    await browser.press(KEYS.enter);
    await browser.until(() => document.getElementById('file').files.length === 1);
    await tabTo(/^text$/);
    await browser.press(...'Hills');
    await tabTo(/^visibility=/);
    await browser.press(KEYS.left);
    await tabTo(/^way=one$/);
    await browser.press(KEYS.right, KEYS.right);
    assert.equal(await focus(), 'way=post');
    await browser.press(KEYS.enter);
    await posted(1);
    await shownTo('alice', 'bob', 'carol', 'nobody');
    await browser.run(() => document.getElementById('gallery-title').focus());
    await tabTo(/^visibility-.*=public$/);
    await browser.press(KEYS.right);
    await shownTo('alice');
    assert.match(await focus(), /^visibility-.*=followers$/, 'the focus stays where it was');
    await browser.run(() => document.getElementById('gallery-title').focus());
    await tabTo(/^BUTTON$/);
    await browser.press(KEYS.enter);
    await browser.until(() => document.activeElement.id === 'inspector-title');
    await tabTo(/^link-sign$/);
    await browser.press(KEYS.space);
    await browser.until(() => document.getElementById('link-state').textContent.startsWith('Alive'));
  },

  async still() {
    // What is already there comes late; so do the answers to what is done.
    await open();
    await postSample('public');
    await postSample('followers', 'put');
    const sum = await browser.cdp('Page.addScriptToEvaluateOnNewDocument', {
      source: `window.shifts = [];
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) {
            if (!entry.hadRecentInput) {
              window.shifts.push([entry.value, ...entry.sources.map((source) => source.node?.outerHTML?.slice(0, 80))]);
            }
          }
        }).observe({ type: 'layout-shift', buffered: true });`,
    });
    assert.ok(sum.identifier);
    const isStill = async (when) => {
      const shifts = await browser.run(() => window.shifts);
      const total = shifts.reduce((sum, [value]) => sum + value, 0);
      assert.ok(total < 0.02, `${when}: ${JSON.stringify(shifts)}`);
    };
    for (const phone of [false, true]) {
      if (phone) {
        await browser.cdp('Emulation.setDeviceMetricsOverride', SIZES.phone);
      }
      await browser.reload();
      await ready();
      await browser.until(() => document.querySelector('#inspect-frame img'));
      await isStill('the page opens');
      await shownTo(...(phone ? ['alice', 'bob', 'carol', 'nobody'] : ['alice']));
      await isStill('the posts come');
      await postSample('private');
      await shownTo('alice');
      await isStill('a post is written');
      await setVisibility('public');
      await shownTo('alice', 'bob', 'carol', 'nobody');
      await signIn('bob');
      await isStill('others look');
      await browser.click('.post:not(.slot) .buttons button');
      await browser.click('#examples button:nth-child(2)');
      await browser.until(() => document.querySelector('[data-fact=pixels]').textContent === '240 × 240');
      await browser.click('#examples button:last-child');
      await said('400 Bad Request');
      await browser.click('#examples button:first-child');
      await browser.until(() => document.querySelector('[data-fact=pixels]').textContent === '640 × 480');
      await browser.click('#link-sign');
      await browser.until(() => document.getElementById('link-state').textContent.startsWith('Alive'));
      await isStill('a picture is inspected');
      await signIn('alice');
    }
  },

  async accessible() {
    await open();
    await postSample('public');
    await postSample('followers', 'post');
    await browser.type('#file', join(files, 'notes.txt'));
    await submit();
    await said('415');
    await browser.click('.post:not(.slot) .buttons button');
    await browser.until(() => document.querySelector('#inspect-frame img'));
    await browser.click('#link-sign');
    await browser.until(() => document.querySelector('#link-frame img')?.naturalWidth > 0);
    for (const card of [0, 1]) {
      await browser.run((card) => document.querySelectorAll('.post:not(.slot)')[card].scrollIntoView(), card);
      await browser.until((card) => {
        const tiles = [...document.querySelectorAll('.post:not(.slot)')[card].querySelectorAll('.tiles figure')];
        return tiles.every((tile) => tile.querySelector('.frame > *') && !tile.hasAttribute('aria-busy'));
      }, card);
    }
    await isAccessible('page');
  },

  /** The description of the API as a page. */
  async docs() {
    await browser.go(`${url}/docs`);
    await browser.until(() => document.querySelector('.operation'));
    const { paths } = await (await fetch(`${url}/openapi.json`)).json();
    const ids = Object.values(paths).flatMap((item) => Object.values(item).map(({ operationId }) => operationId));
    const shown = () => browser.run(() => [...document.querySelectorAll('.operation:not([hidden])')].map(({ id }) => id));
    assert.deepEqual((await shown()).sort(), ids.filter(Boolean).sort());
    await isAccessible('docs');

    await browser.type('#find', 'on-behalf-of');
    assert.ok((await shown()).length < 5);
    await browser.set('#find', 'erasure');
    assert.ok((await shown()).includes('get_erasure'));
    await browser.run(() => document.querySelector('nav a:not([hidden])').focus());
    await browser.press(KEYS.enter);
    const open = await browser.until(() => document.querySelector('.operation[open]')?.id);
    assert.match(await browser.textOf(`#${open}`), /Answers/);
    assert.equal(await browser.run(() => document.activeElement.parentElement.id), open);
  },
};

/** Nothing that axe finds fault with, in light and dark, on desk and phone; and nothing wider than the window. */
async function isAccessible(name) {
  const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  const screenshots = process.env.PINHOLE_TEST_SCREENSHOTS;
  for (const [size, metrics] of Object.entries(SIZES)) {
    await browser.cdp('Emulation.setDeviceMetricsOverride', metrics);
    for (const theme of ['light', 'dark']) {
      const features = [{ name: 'prefers-color-scheme', value: theme }];
      await browser.cdp('Emulation.setEmulatedMedia', { features });
      await browser.run(() => scrollTo(0, 0));
      const found = await browser.run(`async () => {
        ${axe};
        const { violations } = await axe.run(document, { resultTypes: ['violations'] });
        const all = (nodes) => nodes.map((node) => node.html + ' ' + node.failureSummary);
        return violations.map(({ id, help, nodes }) => [id, help, ...all(nodes)]);
      }`);
      assert.deepEqual(found, [], `${size}, ${theme}`);
      const [width, room] = await browser.run(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(width <= room, `${size}: ${width} px wide on ${room}`);
      if (screenshots) {
        await browser.screenshot(join(screenshots, `${name === 'page' ? '' : `${name}-`}${size}-${theme}.png`));
      }
    }
  }
  assert.equal(await browser.run(() => document.querySelectorAll('h1').length), 1);
}

async function setVisibility(value) {
  await browser.click(`.post:not(.slot) .controls input[value="${value}"]`);
  await said('Now for ');
}

browser = await Browser.open({ width: 1280, height: 900 });
try {
  await flows[flow]();
  // Refused requests are meant; what the page must not do, or does wrong, is not.
  const wrong = (await browser.console()).filter(({ source, level }) => source !== 'network' && level === 'SEVERE');
  assert.deepEqual(wrong, []);
} catch (error) {
  console.error(`${flow}: ${error.stack}`);
  const lines = await browser.console().catch(() => []);
  console.error(lines.filter(({ source }) => source !== 'network'));
  process.exitCode = 1;
} finally {
  await browser.close();
}
