// A headless Chromium with an empty profile, driven over WebDriver (https://www.w3.org/TR/webdriver2/).

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Nothing that is waited for takes longer than this, in milliseconds. */
const PATIENCE_MS = 30_000;
/** How an element is named in WebDriver's JSON. */
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';
/** Keys without a character (WebDriver, table of keyboard actions). */
export const KEYS = { tab: '\uE004', enter: '\uE007', space: ' ', left: '\uE012', right: '\uE014', shift: '\uE008' };

export class Browser {
  #base;
  #driver;
  #profile;

  static async open({ width, height }) {
    const browser = new Browser();
    browser.#driver = spawn('chromedriver', ['--port=0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    browser.#driver.on('error', (error) => {
      console.error(`chromedriver: ${error.message}; tests/run installs it`);
      process.exit(1);
    });
    process.on('exit', () => browser.#driver.kill());
    const server = await browser.#listening();
    browser.#profile = await mkdtemp(join(tmpdir(), 'pinhole-browser-'));
    const args = ['--headless=new', '--lang=en-GB', `--window-size=${width},${height}`];
    args.push(`--user-data-dir=${browser.#profile}`);
    // A container's /dev/shm is often too small, and root has no sandbox.
    args.push('--disable-dev-shm-usage', ...(process.getuid() === 0 ? ['--no-sandbox'] : []));
    const alwaysMatch = { 'goog:chromeOptions': { args }, 'goog:loggingPrefs': { browser: 'ALL' } };
    const { sessionId } = await post(`${server}/session`, { capabilities: { alwaysMatch } });
    browser.#base = `${server}/session/${sessionId}`;
    return browser;
  }

  async close() {
    await fetch(this.#base, { method: 'DELETE' }).catch(() => {});
    this.#driver.kill();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Where the driver listens; whatever else it says is read and let go, so that it never waits for a reader. */
  #listening() {
    return new Promise((resolve, reject) => {
      let said = '';
      this.#driver.stdout.on('data', (chunk) => {
        said += chunk;
        const port = /successfully on port (\d+)/.exec(said)?.[1];
        if (port) {
          resolve(`http://127.0.0.1:${port}`);
        }
      });
      this.#driver.on('exit', () => reject(new Error(`chromedriver did not start: ${said}`)));
    });
  }

  go(url) {
    return post(`${this.#base}/url`, { url });
  }

  reload() {
    return post(`${this.#base}/refresh`, {});
  }

  /** Runs a function in the page; what it promises is waited for. */
  run(page, ...args) {
    return post(`${this.#base}/execute/sync`, { script: `return (${page})(...arguments)`, args });
  }

  /** Waits until a function in the page says something true, and answers it. */
  async until(page, ...args) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const value = await this.run(page, ...args);
      if (value) {
        return value;
      }
      if (Date.now() > end) {
        throw new Error(`it never came to be: ${page} of ${JSON.stringify(args)}; ${await this.textOf('#said')}`);
      }
      await sleep(50);
    }
  }

  async #find(selector) {
    return (await post(`${this.#base}/element`, { using: 'css selector', value: selector }))[ELEMENT];
  }

  async click(selector) {
    // The bars at top and bottom would be in the way of what is just beneath them.
    await this.run((selector) => document.querySelector(selector).scrollIntoView({ block: 'center' }), selector);
    await post(`${this.#base}/element/${await this.#find(selector)}/click`, {});
  }

  /** Types into a field; into one for files, their paths. */
  async type(selector, text) {
    await post(`${this.#base}/element/${await this.#find(selector)}/value`, { text });
  }

  /** Puts a value into a field in place of what was there. */
  set(selector, value) {
    return this.run(
      (selector, value) => {
        const field = document.querySelector(selector);
        field.value = value;
        field.dispatchEvent(new Event('input', { bubbles: true }));
      },
      selector,
      value,
    );
  }

  /** Presses keys, one after the other. */
  async press(...keys) {
    const actions = keys.flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]);
    await post(`${this.#base}/actions`, { actions: [{ type: 'key', id: 'keyboard', actions }] });
  }

  textOf(selector) {
    return this.run((selector) => document.querySelector(selector)?.innerText ?? '', selector);
  }

  /** A command of the Chrome DevTools protocol. */
  cdp(cmd, params) {
    return post(`${this.#base}/goog/cdp/execute`, { cmd, params });
  }

  /** A slower network: bytes a second that may go up, 0 for as many as will; and milliseconds until an answer. */
  async slow({ uploads = 0, latency = 0 }) {
    await this.cdp('Network.enable', {});
    const conditions = { offline: false, latency, downloadThroughput: -1, uploadThroughput: uploads || -1 };
    await this.cdp('Network.emulateNetworkConditions', conditions);
  }

  /** The console's messages since the last time. */
  console() {
    return post(`${this.#base}/se/log`, { type: 'browser' });
  }

  /** Writes the whole page as a PNG. */
  async screenshot(file) {
    const { cssContentSize } = await this.cdp('Page.getLayoutMetrics', {});
    const clip = { ...cssContentSize, scale: 1 };
    const { data } = await this.cdp('Page.captureScreenshot', { captureBeyondViewport: true, clip });
    await writeFile(file, Buffer.from(data, 'base64'));
  }
}

async function post(url, body) {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) {
    throw new Error(`${value.error}: ${value.message}`);
  }
  return value;
}
