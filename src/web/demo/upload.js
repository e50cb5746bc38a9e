// The form of a new post, and what is on its way: progress, cancel, retry.

import { $, attempt, bytes, complain, el, say } from './dom.js';
import { Limit } from './limit.js';
import { session } from './session.js';
import { WAYS } from './ways.js';

/** The most files that are taken at once, and the most lines of uploads that are kept. */
const MAX_FILES = 10;
const MAX_LINES = 12;
/** How many are sent at once. */
const line = new Limit(2);

class Upload {
  #gallery;
  #draft;
  #way;
  #slot = null;
  #stop = new AbortController();

  constructor(gallery, draft, way) {
    this.#gallery = gallery;
    this.#draft = draft;
    this.#way = way;
    const { name, file } = draft;
    this.bar = el('progress', { max: file.size || 1, value: 0, 'aria-label': `Sent of ${name}` });
    this.state = el('p', { class: 'state' }, 'waiting');
    const button = (text, press) =>
      el('button', { type: 'button', 'aria-label': `${text}: ${name}`, onclick: press }, text);
    this.cancel = button('Cancel', () => this.#stop.abort());
    this.retry = button('Retry', () => this.run());
    this.dismiss = button('Dismiss', () => this.#dismiss());
    const buttons = el('div', { class: 'buttons' }, this.cancel, this.retry, this.dismiss);
    const title = el('p', { class: 'name' }, el('b', {}, name), ` ${bytes(file.size)}`);
    this.element = el('li', {}, title, this.bar, this.state, buttons);
  }

  get isOver() {
    return this.cancel.hidden;
  }

  async run() {
    this.#slot?.remove();
    this.#slot = this.#gallery.reserve(`${this.#draft.name} is on its way.`);
    const { signal } = (this.#stop = new AbortController());
    this.bar.value = 0;
    this.#offer({ cancel: true });
    let went = '';
    const onProgress = (sent, total, host) => {
      this.bar.max = total;
      this.bar.value = sent;
      const place = host === location.host ? 'to the app' : 'straight to the bucket';
      went = `${bytes(sent)} went ${place}, ${host}.`;
      this.#say(`${went} ${Math.floor((100 * sent) / total)} %`);
      // Whether all of it was taken can no longer be called off from here.
      this.cancel.disabled = this.#way === 'one' && sent === total;
    };
    try {
      const watch = { signal, onProgress, onStep: (step) => this.#say(`${went} Now ${step}…`) };
      const post = await line.run(() => WAYS[this.#way](this.#draft, watch), signal);
      this.#gallery.fill(this.#slot, post);
      this.#slot = null;
      this.#say(`Posted. ${went}`);
      say(`${this.#draft.name} is posted. ${went}`);
      this.#offer({ dismiss: true });
    } catch (error) {
      this.#fail(error, signal.aborted);
    }
  }

  #fail(error, isCancelled) {
    if (isCancelled) {
      // It is another attempt, not a repetition.
      this.#draft.key = crypto.randomUUID();
      this.#gallery.release(this.#slot);
      this.#slot = null;
      say(`${this.#draft.name} was cancelled.`);
    } else {
      this.#slot.querySelector('p').textContent = `Not posted: ${error.message}`;
      this.#slot.removeAttribute('aria-busy');
      complain(error);
    }
    this.#say(isCancelled ? 'Cancelled. Nothing of it is kept.' : error.message, !isCancelled);
    const hadFocus = document.activeElement === this.cancel;
    this.#offer({ retry: true, dismiss: true });
    if (hadFocus) {
      this.retry.focus();
    }
  }

  #dismiss() {
    if (this.#slot) {
      this.#gallery.release(this.#slot);
    }
    this.element.remove();
    $('uploads').focus();
  }

  #say(text, isBad = false) {
    this.state.textContent = text;
    this.state.classList.toggle('bad', isBad);
  }

  #offer({ cancel = false, retry = false, dismiss = false }) {
    this.cancel.hidden = !cancel;
    this.cancel.disabled = false;
    this.retry.hidden = !retry;
    this.dismiss.hidden = !dismiss;
  }
}

const checked = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

/** The file input holds what is chosen, however it came. */
function choose(files) {
  const transfer = new DataTransfer();
  for (const file of [...files].slice(0, MAX_FILES)) {
    transfer.items.add(file);
  }
  $('file').files = transfer.files;
  sayChosen();
}

function sayChosen() {
  const files = [...$('file').files];
  const all = files.map((file) => `${file.name}, ${bytes(file.size)}`).join(' · ');
  $('chosen').textContent = all || 'Nothing is chosen yet.';
  if (all) {
    say(`Chosen: ${all}. Post it when you are ready.`);
  }
}

async function chooseSample() {
  const response = await fetch('/demo/photo.jpg');
  if (!response.ok) {
    throw new Error(`The sample picture did not come: ${response.status}.`);
  }
  choose([new File([await response.blob()], 'evening.jpg', { type: 'image/jpeg' })]);
}

/** Files that are dropped anywhere on the page, or pasted. */
function takeFiles() {
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  const over = (isOver) => $('drop').classList.toggle('over', isOver);
  document.addEventListener('dragover', (event) => {
    if (hasFiles(event)) {
      event.preventDefault();
      over(true);
    }
  });
  document.addEventListener('dragleave', (event) => event.relatedTarget === null && over(false));
  document.addEventListener('drop', (event) => {
    if (hasFiles(event)) {
      event.preventDefault();
      over(false);
      choose(event.dataTransfer.files);
    }
  });
  document.addEventListener('paste', (event) => {
    if (event.clipboardData?.files.length > 0) {
      event.preventDefault();
      choose(event.clipboardData.files);
    }
  });
}

/** @param {import('./gallery.js').Gallery} gallery */
export function startUpload(gallery) {
  $('file').addEventListener('change', sayChosen);
  $('sample').addEventListener('click', () => attempt(chooseSample));
  takeFiles();
  /** @type {Upload[]} */
  let all = [];
  $('upload').addEventListener('submit', (event) => {
    event.preventDefault();
    const files = [...$('file').files].slice(0, MAX_FILES);
    if (files.length === 0) {
      complain(new Error('Choose a picture first, or take the sample.'));
      $('file').focus();
      return;
    }
    const [author, text, visibility] = [session.user, $('text').value.trim(), checked('visibility')];
    for (const file of files) {
      const draft = { author, file, name: file.name, text, visibility, key: crypto.randomUUID() };
      const upload = new Upload(gallery, draft, checked('way'));
      all.unshift(upload);
      $('upload-lines').prepend(upload.element);
      upload.run();
    }
    // What is over goes first.
    const surplus = all.filter((upload) => upload.isOver).slice(MAX_LINES);
    surplus.forEach((upload) => upload.element.remove());
    all = all.filter((upload) => !surplus.includes(upload));
    $('file').value = '';
    $('text').value = '';
    sayChosen();
  });
}
