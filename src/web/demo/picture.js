// A picture as whoever is signed in is shown it, the way any page would: by cookie, with a placeholder and sizes.

import { el, nameOf } from './dom.js';
import { session } from './session.js';
import { Shown } from './shown.js';
import { paint } from './thumbhash.js';
import { ask, askJson, BY_COOKIE } from './wire.js';

/** Of the widths that pinhole serves unsigned (`transform.widths`), those that this page has a use for. */
const WIDTHS = [320, 640, 960, 1200];

export const pathOf = (image, width) => `/i/${image}/width=${width},format=auto`;

export class Picture extends Shown {
  constructor(image, alt) {
    super();
    this.image = image;
    this.alt = alt;
    this.element.classList.add('mine');
  }

  async load(signal) {
    this.caption.textContent = `As you see it, ${nameOf(session.user)}, by your cookie`;
    // Width, height and placeholder come before the pixels, and only to those who may see them.
    const path = `/v1/images/${this.image}`;
    const known = await askJson({ as: session.user, path, signal, kind: 'view' });
    const canvas = el('canvas', { 'aria-hidden': 'true' });
    paint(canvas, known.thumbhash);
    const widths = WIDTHS.filter((width, at) => at === 0 || width <= known.width);
    const { width, height } = known;
    const image = el('img', { alt: this.alt, width, height, loading: 'lazy', decoding: 'async' });
    image.sizes = '(min-width: 48rem) 26rem, 92vw';
    image.srcset = widths.map((each) => `${pathOf(this.image, each)} ${each}w`).join(', ');
    image.addEventListener('error', () => this.#explain(image), { once: true });
    image.src = pathOf(this.image, widths.at(-1));
    return [canvas, image];
  }

  /** An `<img>` does not say why there is no picture. */
  async #explain(image) {
    const answer = ask({ as: BY_COOKIE, path: image.currentSrc || image.src, kind: 'view' });
    const why = await answer.then(() => 'This browser cannot show it.', (error) => error.message);
    this.frame.replaceChildren(el('p', { class: 'nothing' }, why));
  }
}
