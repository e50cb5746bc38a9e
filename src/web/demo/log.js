// The list of requests: which went where, with how many bytes, and how long they took.

import { $, bytes, el, millis, nameOf } from './dom.js';
import { BY_COOKIE, tell, wire } from './wire.js';

/** The most rows that are kept. */
const MAX_ROWS = 150;

const where = (url) => (url.host === location.host ? 'app' : 'bucket');

const who = (as) => (as === BY_COOKIE ? 'cookie' : nameOf(as));

function row({ as, kind, method, url, status, sent, received, ms }) {
  const place = where(url);
  const host = el('span', { class: `place ${place}` }, place);
  const answered = status === 0 ? 'none' : String(status);
  const cells = [
    el('td', {}, who(as)),
    el('td', {}, host, ' ', el('span', { class: 'host' }, url.host)),
    el('td', { class: 'path' }, el('b', {}, method), ' ', url.pathname + (url.search ? '?…' : '')),
    el('td', { class: status >= 400 || status === 0 ? 'num refused' : 'num' }, answered),
    el('td', { class: 'num' }, sent > 0 ? bytes(sent) : '–'),
    el('td', { class: 'num' }, received > 0 ? bytes(received) : '–'),
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
  const rows = $('log-rows');
  wire.addEventListener('sent', ({ detail }) => {
    rows.prepend(row(detail));
    while (rows.rows.length > MAX_ROWS) {
      rows.lastElementChild.remove();
    }
  });
  $('log-clear').addEventListener('click', () => rows.replaceChildren());
  $('log-views').addEventListener('change', ({ target }) => {
    $('log').classList.toggle('with-views', target.checked);
  });
  watchPictures();
}
