// The list of requests: which went where, with how many bytes, and how long they took.

import { $, bytes, el, millis, nameOf } from './dom.js';
import { BY_COOKIE, tell, wire } from './wire.js';

/** The most rows that are kept. */
const MAX_ROWS = 150;

const where = (url) => (url.host === location.host ? 'app' : 'bucket');

const who = (as) => (as === BY_COOKIE ? 'cookie' : nameOf(as));

/** A path whose ids and keys are cut, and without its query. */
function short({ pathname, search }) {
  const cut = pathname.replace(/[0-9a-f-]{32,36}/g, (id) => `${id.slice(0, 4)}…${id.slice(-4)}`);
  return search ? `${cut}?…` : cut;
}

function row({ as, kind, method, url, status, sent, received, ms }) {
  const place = where(url);
  const answered = status === 0 ? 'none' : String(status);
  const isRefused = status >= 400 || status === 0;
  const host = el('span', { class: 'host' }, url.host);
  const to = el('div', {}, el('span', { class: `place ${place}` }, place), ' ', host);
  const whole = url.pathname + url.search;
  const path = el('div', { class: 'path', title: `${method} ${whole}` }, el('b', {}, method), ` ${short(url)}`);
  const amount = (label, count) => el('div', {}, count > 0 ? bytes(count) : '–', ` ${label}`);
  const cells = [
    el('td', {}, who(as)),
    el('td', { class: 'request' }, to, path),
    el('td', { class: isRefused ? 'status num refused' : 'status num' }, answered),
    el('td', { class: 'num' }, amount('sent', sent), amount('got', received)),
    el('td', { class: 'num' }, millis(ms)),
  ];
  const tr = el('tr', { class: kind }, ...cells);
  tr.dataset.place = place;
  tr.dataset.sent = sent;
  return tr;
}

/** Pictures that the browser itself asks for, with its cookie. */
function watchPictures() {
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const url = new URL(entry.name);
      if (entry.initiatorType === 'img' && url.pathname.startsWith('/i/')) {
        const { responseStatus: status, encodedBodySize: received, duration: ms } = entry;
        tell({ as: BY_COOKIE, kind: 'view', method: 'GET', url, status, sent: 0, received, ms });
      }
    }
  });
  observer.observe({ type: 'resource', buffered: true });
}

export function startLog() {
  const [list, rows] = [$('log'), $('log-rows')];
  wire.addEventListener('sent', ({ detail }) => {
    // Whoever reads further up is left there.
    const isAtEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 4;
    rows.append(row(detail));
    while (rows.rows.length > MAX_ROWS) {
      rows.firstElementChild.remove();
    }
    if (isAtEnd) {
      list.scrollTop = list.scrollHeight;
    }
  });
  $('log-clear').addEventListener('click', () => rows.replaceChildren());
  $('log-views').addEventListener('change', ({ target }) => {
    list.classList.toggle('with-views', target.checked);
  });
  watchPictures();
}
