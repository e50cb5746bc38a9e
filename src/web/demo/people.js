// Who is signed in, and who follows whom.

import { $, attempt, el, say } from './dom.js';
import { session, USERS, VIEWERS } from './session.js';
import { ask } from './wire.js';

/** @type {Map<string, HTMLInputElement>} The boxes of who follows whom, by `follower author`. */
const boxes = new Map();

/**
 * The API tells nobody who follows whom, but what a viewer is shown of a followers' post does.
 * @param {string|null} viewer
 * @param {string} author
 * @param {boolean} follows
 */
export function learn(viewer, author, follows) {
  const box = boxes.get(`${viewer} ${author}`);
  if (box) {
    box.indeterminate = false;
    box.checked = follows;
  }
}

/** @param {(author: string) => void} onFollow  Told whose followers have changed. */
export function startPeople(onFollow) {
  for (const viewer of VIEWERS) {
    const radio = el('input', { type: 'radio', name: 'viewer', value: viewer ?? '' });
    radio.addEventListener('change', () => attempt(() => signIn(viewer)));
    $('viewers').append(el('label', {}, radio, el('span', {}, viewer ?? 'nobody')));
  }
  session.addEventListener('change', mark);
  for (const follower of USERS) {
    const others = USERS.filter((user) => user !== follower);
    const labels = others.map((author) => el('label', {}, box(follower, author, onFollow), ` ${author}`));
    const group = { role: 'group', 'aria-label': `${follower} follows` };
    $('following').append(el('div', group, `${follower} follows`, ...labels));
  }
}

/** Marks who is signed in. */
function mark() {
  for (const radio of document.getElementsByName('viewer')) {
    radio.checked = radio.value === (session.user ?? '');
  }
  document.body.dataset.signedIn = session.user ?? '';
}

async function signIn(user) {
  try {
    await session.signIn(user);
  } catch (error) {
    mark();
    throw error;
  }
  say(user === null ? 'Nobody is signed in: you are a stranger.' : `You are ${user}.`);
}

function box(follower, author, onFollow) {
  const box = el('input', { type: 'checkbox', indeterminate: true, 'aria-label': `${follower} follows ${author}` });
  box.addEventListener('change', () =>
    attempt(async () => {
      const follows = box.checked;
      try {
        await ask({ as: follower, method: follows ? 'PUT' : 'DELETE', path: `/v1/following/${author}` });
      } catch (error) {
        box.checked = !follows;
        throw error;
      }
      say(follows ? `${follower} follows ${author}.` : `${follower} follows ${author} no more.`);
      onFollow(author);
    }),
  );
  boxes.set(`${follower} ${author}`, box);
  return box;
}
