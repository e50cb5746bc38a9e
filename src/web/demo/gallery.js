// The posts of all users, newest first, whoever is signed in: this page may ask as each of them.

import { $, attempt, el } from './dom.js';
import { Post } from './post.js';
import { session, USERS, VIEWERS } from './session.js';
import { askJson } from './wire.js';

/** How many posts are shown at first, and with each press of the button. */
const STEP = 6;

/** One author's posts, newest first, page by page. */
class Feed {
  #author;
  #items = [];
  #cursor = null;
  #isOver = false;

  constructor(author) {
    this.#author = author;
  }

  /** His next post, which stays where it is. */
  async peek() {
    if (this.#items.length === 0 && !this.#isOver) {
      const query = new URLSearchParams({ author: this.#author, limit: STEP });
      if (this.#cursor) {
        query.set('cursor', this.#cursor);
      }
      const { items, next_cursor } = await askJson({ as: this.#author, path: `/v1/posts?${query}`, kind: 'view' });
      this.#items = items;
      this.#cursor = next_cursor;
      this.#isOver = next_cursor === null;
    }
    return this.#items[0];
  }

  take() {
    return this.#items.shift();
  }
}

/** A card of a post's size, with nothing on it but a sentence. */
function emptyCard(text) {
  const blank = (name, properties) => el(name, properties, '\u00a0');
  const figure = (...inside) => el('figure', {}, el('div', { class: 'frame' }, ...inside), blank('figcaption'));
  const mine = figure(el('p', { class: 'nothing' }, text));
  mine.classList.add('mine');
  const lines = [blank('p', { class: 'h3' }), blank('p', { class: 'by' }), el('div', { class: 'controls' })];
  const tiles = el('div', { class: 'tiles' }, ...VIEWERS.map(() => figure()));
  const buttons = el('div', { class: 'buttons' }, el('button', { type: 'button', disabled: true }, 'Inspect'));
  const about = el('div', { class: 'about' }, ...lines, tiles, buttons);
  return el('article', { class: 'post slot', 'aria-busy': 'true' }, mine, about);
}

export class Gallery {
  #feeds = USERS.map((author) => new Feed(author));
  /** @type {Set<Post>} */
  #posts = new Set();
  #told;

  /** @param {{onInspect: (image: string) => void, onChange: (image: string) => void}} told */
  constructor(told) {
    this.#told = { ...told, onDelete: () => {} };
    session.addEventListener('change', () => this.#posts.forEach((post) => post.drawControls()));
    session.addEventListener('change', () => this.#posts.forEach((post) => post.picture?.refresh()));
    $('older').addEventListener('click', () => attempt(() => this.showMore()));
  }

  /** Shows the next few posts of all feeds. */
  async showMore() {
    const cards = [];
    let next = await this.#newest();
    for (; next && cards.length < STEP; next = await this.#newest()) {
      cards.push(this.#card(next.take()).element);
    }
    $('posts').append(...cards);
    $('posts').classList.remove('loading');
    $('older').disabled = !next;
    this.#sayWhetherEmpty();
  }

  /** The feed that has the newest of all posts that are not shown yet. */
  async #newest() {
    const heads = await Promise.all(this.#feeds.map(async (feed) => [feed, await feed.peek()]));
    const full = heads.filter(([, post]) => post);
    full.sort(([, a], [, b]) => b.created_at.localeCompare(a.created_at));
    return full[0]?.[0];
  }

  /** The newest picture that is shown. */
  newestImage() {
    const first = $('posts').querySelector('article.post');
    return [...this.#posts].find((post) => post.element === first)?.images[0];
  }

  /** Keeps a place for a post that is on its way, so that nothing moves when it comes. */
  reserve(text) {
    const slot = emptyCard(text);
    $('posts').prepend(slot);
    this.#sayWhetherEmpty();
    return slot;
  }

  fill(slot, post) {
    slot.replaceWith(this.#card(post).element);
    this.#sayWhetherEmpty();
  }

  /** Gives a place up. */
  release(slot) {
    slot.remove();
    this.#sayWhetherEmpty();
  }

  /** Asks again what everybody is shown of an author's posts. */
  refresh(author) {
    this.#posts.forEach((post) => {
      if (post.post.author === author) {
        post.refreshTiles();
        post.picture?.refresh();
      }
    });
  }

  #card(post) {
    const onDelete = () => {
      this.#posts.delete(card);
      this.#sayWhetherEmpty();
      // The keyboard's place is not lost with the button that was pressed.
      $('gallery-title').focus();
    };
    const card = new Post(post, { ...this.#told, onDelete });
    this.#posts.add(card);
    return card;
  }

  #sayWhetherEmpty() {
    $('empty').hidden = $('posts').querySelector('article') !== null;
  }
}
