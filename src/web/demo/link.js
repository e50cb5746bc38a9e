// A signed link to what the inspector shows: sign it, watch its time run, hand it on, spoil it, revoke it.

import { $, attempt, bytes, complain, el, say } from './dom.js';
import { isMade, optionString } from './options.js';
import { Links } from './pinhole.js';
import { session } from './session.js';
import { ACCEPT } from './tile.js';
import { ask, askJson, authorization } from './wire.js';

/** Of the picture that `pinhole.js` keeps fresh. */
const WIDTHS = [320, 640];

export class LinkPanel {
  #inspector;
  /** @type {{url: string, expires_at: string, image: string}|null} */
  #link = null;
  #timer;
  #links = new Links({
    headers: () => authorization(session.user),
    onError: (error) => complain(error),
  });
  #endShow = () => {};

  constructor(inspector) {
    this.#inspector = inspector;
    const buttons = {
      'link-sign': () => this.#sign(),
      'link-copy': () => this.#copy(),
      'link-ask': () => this.#tell(),
      'link-spoil': () => this.#spoil(),
      'link-revoke': () => this.#revoke(),
    };
    for (const [id, press] of Object.entries(buttons)) {
      $(id).addEventListener('click', () => attempt(press));
    }
    inspector.addEventListener('open', () => this.#drop());
    this.#enable();
  }

  /** Who may see an image has changed: its links may have died. */
  changed(image) {
    if (this.#link?.image === image) {
      // What was done says more than what comes of it.
      this.#tell(false);
    }
  }

  async #sign() {
    const image = this.#inspector.image;
    const options = optionString();
    const json = { images: [{ id: image, options }] };
    const { links } = await askJson({ as: session.user, method: 'POST', path: '/v1/links', json });
    if (links[0].error) {
      throw new Error(`No link: ${links[0].detail}`);
    }
    this.#link = { ...links[0], image };
    $('link-url').value = this.#link.url;
    this.#enable();
    this.#countDown();
    this.#show(image, options);
    await this.#tell();
  }

  /** A page would show it so: links for each width, which the module renews before they expire. */
  #show(image, options) {
    this.#endShow();
    const picture = el('img', { alt: 'The picture, shown by signed links', sizes: '12rem', width: 320, height: 240 });
    picture.addEventListener('error', () => picture.remove());
    $('link-frame').replaceChildren(picture);
    this.#endShow = this.#links.show(picture, { id: image, options, widths: isMade() ? WIDTHS : undefined });
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#link.url);
      say('The link is copied. It opens in any browser, signed in or not.');
    } catch {
      $('link-url').select();
      say('The browser lets no page copy here; the link is selected, so copy it by hand.');
    }
  }

  /** What a stranger gets who has a link. */
  async #asked(url) {
    const { pathname, search } = new URL(url);
    return ask({ as: null, path: pathname + search, headers: { Accept: ACCEPT } });
  }

  async #tell(isAloud = true) {
    try {
      const { status, blob } = await this.#asked(this.#link.url);
      this.#state(`Alive. A stranger with this link gets ${status}, ${bytes(blob.size)}.`, true);
      if (isAloud) {
        say('The link is alive.');
      }
    } catch (error) {
      this.#state(`Dead. A stranger with this link gets ${error.message}`, false);
      if (isAloud) {
        complain(error);
      }
    }
  }

  /** Another width is another path, which nobody has signed. */
  async #spoil() {
    const { pathname, search } = new URL(this.#link.url);
    const last = pathname.at(-1);
    const spoilt = pathname.slice(0, -1) + (last === '1' ? '2' : '1') + search;
    try {
      await this.#asked(new URL(spoilt, location).href);
      say('It was answered, which must not be.');
    } catch (error) {
      this.#state(`With its last letter before the “?” changed, the link gets ${error.message}`, false);
      complain(error);
    }
  }

  async #revoke() {
    const { image } = this.#link;
    await ask({ as: session.user, method: 'POST', path: `/v1/images/${image}/revoke` });
    await this.#tell();
  }

  #countDown() {
    clearInterval(this.#timer);
    const end = Date.parse(this.#link.expires_at);
    const tick = () => {
      const left = Math.max(0, Math.round((end - Date.now()) / 1000));
      const [minutes, seconds] = [Math.floor(left / 60), left % 60];
      $('link-left').textContent = `${minutes}:${String(seconds).padStart(2, '0')}`;
      if (left === 0) {
        clearInterval(this.#timer);
        this.#tell();
      }
    };
    this.#timer = setInterval(tick, 1000);
    tick();
  }

  /** Another picture is looked at: what was signed is of another one. */
  #drop() {
    clearInterval(this.#timer);
    this.#endShow();
    this.#link = null;
    $('link-url').value = '';
    $('link-left').textContent = '–:––';
    $('link-frame').replaceChildren();
    this.#state('Nothing is signed yet.', true);
    this.#enable();
  }

  #state(text, isGood) {
    $('link-state').textContent = text;
    $('link-state').classList.toggle('dead', !isGood);
  }

  #enable() {
    $('link-sign').disabled = !this.#inspector.image;
    for (const id of ['link-copy', 'link-ask', 'link-spoil', 'link-revoke']) {
      $(id).disabled = !this.#link;
    }
  }
}
