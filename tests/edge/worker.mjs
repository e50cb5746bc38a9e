// Runs a Cloudflare Worker on Node.js: node worker.mjs FILE [NOW]. It prints where it listens.
//
// What Cloudflare has and Node.js lacks is a Cache API; this one does what the Worker relies on, as
// https://developers.cloudflare.com/workers/runtime-apis/cache/ describes it. PURGE with a header xkey-purge stands
// for the zone's purge by Cache-Tag. With NOW, in Unix seconds, the clock stands still.
import { webcrypto } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const entries = new Map();

class Cache {
  async put(request, response) {
    const seconds = /s-maxage=([0-9]+)/.exec(response.headers.get('Cache-Control') || '');
    if (request.method !== 'GET' || response.status === 206 || response.headers.get('Vary') === '*') {
      throw new TypeError('this cannot be kept');
    }
    if (!seconds || response.headers.has('Set-Cookie')) {
      return;
    }
    const body = Buffer.from(await response.arrayBuffer());
    const until = Date.now() + 1000 * seconds[1];
    entries.set(request.url, { status: response.status, headers: [...response.headers], body, until });
  }

  async match(request) {
    const entry = entries.get(request.url);
    if (!entry || entry.until <= Date.now()) {
      return undefined;
    }
    const headers = new Headers(entry.headers);
    headers.set('CF-Cache-Status', 'HIT');
    if (request.headers.get('If-None-Match') === headers.get('ETag')) {
      return new Response(null, { status: 304, headers });
    }
    const range = /^bytes=([0-9]+)-([0-9]*)$/.exec(request.headers.get('Range') || '');
    if (!range) {
      return new Response(entry.body, { status: entry.status, headers });
    }
    const size = entry.body.length;
    const end = Math.min(range[2] === '' ? size : Number(range[2]) + 1, size);
    if (Number(range[1]) >= size) {
      return new Response(null, { status: 416, headers: { 'Content-Range': `bytes */${size}` } });
    }
    headers.set('Content-Range', `bytes ${range[1]}-${end - 1}/${size}`);
    headers.set('Content-Length', String(end - range[1]));
    return new Response(entry.body.subarray(Number(range[1]), end), { status: 206, headers });
  }
}

// Node.js 18 has it under another name.
globalThis.crypto ??= webcrypto;
globalThis.caches = { default: new Cache() };
const [file, now] = process.argv.slice(2);
if (now) {
  Date.now = () => 1000 * now;
}
const { default: worker } = await import(pathToFileURL(file).href);

function purge(request) {
  for (const [url, entry] of entries) {
    if (new Headers(entry.headers).get('Cache-Tag') === request.headers['xkey-purge']) {
      entries.delete(url);
    }
  }
  return new Response('purged');
}

const server = createServer(async (incoming, outgoing) => {
  try {
    const answer = incoming.method === 'PURGE' ? purge(incoming) : await run(incoming);
    // What fetch has undone already.
    const headers = [...answer.headers].filter(([name]) => !['content-encoding', 'transfer-encoding'].includes(name));
    outgoing.writeHead(answer.status, Object.fromEntries(headers));
    outgoing.end(Buffer.from(await answer.arrayBuffer()));
  } catch (error) {
    outgoing.writeHead(500).end(String(error.stack));
  }
});

async function run(incoming) {
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    if (!['host', 'connection', 'content-length', 'transfer-encoding'].includes(incoming.rawHeaders[i].toLowerCase())) {
      headers.append(incoming.rawHeaders[i], incoming.rawHeaders[i + 1]);
    }
  }
  const request = new Request(`http://127.0.0.1:${server.address().port}${incoming.url}`, { method: incoming.method, headers });
  const later = [];
  const answer = await worker.fetch(request, {}, { waitUntil: (promise) => later.push(promise) });
  await Promise.all(later);
  return answer;
}

server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
