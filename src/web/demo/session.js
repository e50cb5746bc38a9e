// Who is signed in, and the tokens of all viewers.
//
// A browser has one cookie, so it is one viewer's: the one who is signed in. To look through everybody's eyes at once,
// the page asks for each viewer with a token of his own.

export const USERS = ['alice', 'bob', 'carol'];
/** Everybody whom the page shows things to; null is a stranger. */
export const VIEWERS = [...USERS, null];

/** Who is signed in; tells of a change with an event `change`. */
class Session extends EventTarget {
  /** @type {string|null} */
  user = null;

  #last = Promise.resolve();

  /** Signs a user in, or out with null: the cookie is set by the server alone. One after the other. */
  signIn(user) {
    this.#last = this.#last.catch(() => {}).then(() => this.#switch(user));
    return this.#last;
  }

  async #switch(user) {
    const response = user === null ? await dropCookie() : await newSession(user, 'same-origin');
    if (!response.ok) {
      throw new Error(`Nobody could be signed in: ${response.status}. Is pinhole dev still running?`);
    }
    this.user = user;
    sessionStorage.setItem('user', user ?? '');
    this.dispatchEvent(new Event('change'));
  }

  /** Whoever was signed in when the page was last open in this tab; alice at first. */
  remembered() {
    const user = sessionStorage.getItem('user') ?? USERS[0];
    return USERS.includes(user) ? user : null;
  }
}

export const session = new Session();

/** @type {Map<string, Promise<string>>} */
const tokens = new Map();

/** A user's token. Fetching it does not sign him in. */
export function tokenOf(user) {
  if (!tokens.has(user)) {
    const token = newSession(user, 'omit').then(async (response) => (await response.json()).token);
    token.catch(() => tokens.delete(user));
    tokens.set(user, token);
  }
  return tokens.get(user);
}

/** Lets a token go that is no good any more. */
export const forget = (user) => tokens.delete(user);

function newSession(user, credentials) {
  const headers = { 'Content-Type': 'application/json' };
  return fetch('/dev/session', { method: 'POST', headers, body: JSON.stringify({ user }), credentials });
}

const dropCookie = () => fetch('/dev/session', { method: 'DELETE', credentials: 'same-origin' });
