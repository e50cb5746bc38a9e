// One post: its picture, what each viewer is shown of it, and who may change that.

import { attempt, el, nameOf, say } from './dom.js';
import { learn } from './people.js';
import { Picture } from './picture.js';
import { session, VIEWERS } from './session.js';
import { Tile } from './tile.js';
import { ask, askJson } from './wire.js';

const FOR = { public: 'everybody', followers: 'followers', private: 'the author alone' };
const LABELS = { public: 'Public', followers: 'Followers', private: 'Private' };

/** `a`, `a and b`, `a, b and c`. */
const list = new Intl.ListFormat('en-GB');

export class Post {
  /**
   * @param {object} post  As the API answers it.
   * @param {{onInspect: (image: string) => void, onChange: (image: string) => void, onDelete: () => void}} told
   */
  constructor(post, told) {
    this.post = post;
    this.told = told;
    this.images = post.images.map((image) => image.id);
    const alt = post.text || `posted by ${post.author}`;
    this.picture = this.images.length > 0 ? new Picture(this.images[0], alt) : null;
    this.tiles = this.images.length > 0 ? VIEWERS.map((viewer) => new Tile(viewer, this.images[0])) : [];
    for (const tile of this.tiles) {
      tile.onAnswer = () => this.#learn(tile);
    }
    this.controls = el('div', { class: 'controls' });
    const heading = el('h3', { id: `post-${post.id}` }, post.text || `${post.author}’s picture`);
    const date = new Date(post.created_at).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
    const by = el('p', { class: 'by' }, `by ${post.author}, `, el('time', { dateTime: post.created_at }, date));
    const tiles = el('div', { class: 'tiles' }, ...this.tiles.map((tile) => tile.element));
    const gone = el('p', { class: 'nothing frame' }, 'The picture was deleted.');
    const about = el('div', { class: 'about' }, heading, by, this.controls, tiles, this.#buttons());
    const article = { class: 'post', 'aria-labelledby': heading.id };
    this.element = el('article', article, this.picture?.element ?? gone, about);
    this.drawControls();
  }

  /** Asks again what everybody is shown. */
  refreshTiles(isUrgent = false) {
    return Promise.all(this.tiles.map((tile) => tile.refresh(isUrgent)));
  }

  /** Somebody else is signed in. */
  drawControls() {
    const { author, visibility, id } = this.post;
    if (author !== session.user) {
      const whose = `For ${FOR[visibility]}. Only ${author} can change that: sign in as ${author}.`;
      this.controls.replaceChildren(el('p', {}, whose));
      return;
    }
    const choice = (value) => {
      const radio = el('input', { type: 'radio', name: `visibility-${id}`, value, checked: value === visibility });
      radio.addEventListener('change', () => attempt(() => this.#show(value)));
      return el('label', {}, radio, el('span', {}, LABELS[value]));
    };
    const choices = el('div', { class: 'segments' }, ...Object.keys(LABELS).map(choice));
    this.controls.replaceChildren(el('fieldset', {}, el('legend', {}, 'Who may see it'), choices));
  }

  drop() {
    this.picture?.drop();
    this.tiles.forEach((tile) => tile.drop());
    this.element.remove();
  }

  #buttons() {
    const name = (at) => (this.images.length > 1 ? `Inspect picture ${at + 1}` : 'Inspect');
    const label = (at) => `${name(at)}: ${this.post.text || this.post.author}`;
    const inspect = (image, at) =>
      el('button', { type: 'button', 'aria-label': label(at), onclick: () => this.told.onInspect(image) }, name(at));
    this.remove = el('button', { type: 'button', onclick: () => attempt(() => this.#delete()) }, 'Delete');
    return el('div', { class: 'buttons' }, ...this.images.map(inspect), this.remove);
  }

  async #show(visibility) {
    const { author, id } = this.post;
    try {
      this.post = await askJson({ as: author, method: 'PATCH', path: `/v1/posts/${id}`, json: { visibility } });
    } finally {
      const hadFocus = this.controls.contains(document.activeElement);
      this.drawControls();
      if (hadFocus) {
        this.controls.querySelector(':checked')?.focus();
      }
    }
    await this.refreshTiles(true);
    const names = (sees) =>
      list.format(this.tiles.filter((tile) => tile.sees === sees).map((tile) => nameOf(tile.viewer)));
    const refused = names(false) && ` Nothing is here any more for ${names(false)}: 404.`;
    say(`Now for ${FOR[this.post.visibility]}. Shown to ${names(true)}.${refused}`);
    this.images.forEach(this.told.onChange);
  }

  async #delete() {
    const as = this.post.author;
    for (const image of this.images) {
      await ask({ as, method: 'DELETE', path: `/v1/images/${image}` });
    }
    await ask({ as, method: 'DELETE', path: `/v1/posts/${this.post.id}` });
    say('Deleted: the post, its pictures, every size of them and every link.');
    this.images.forEach(this.told.onChange);
    this.drop();
    this.told.onDelete();
  }

  #learn({ viewer, sees }) {
    if (this.post.visibility === 'followers') {
      learn(viewer, this.post.author, sees);
    }
  }
}
