// A Cloudflare Worker in front of pinhole: a module, compatibility date 2024-11-11 or later, on a custom domain or a
// route. https://developers.cloudflare.com/workers/
//
// Copies are kept by the Cache API, since only Enterprise zones may choose a key for fetch (cf.cacheKey). So each
// data centre fills its own cache, without tiered caching and without joining fills; purges by Cache-Tag reach all.
// https://developers.cloudflare.com/workers/runtime-apis/cache/
//
// It holds secrets: whoever may read the Worker may sign links.

// The keys of links that verify, the newest first.
const KEYS = {{KEYS}};
// Where pinhole is asked: another name than the Worker's own, unless the Worker runs on a route of the same zone.
const ORIGIN = {{ORIGIN}};

export default {
  async fetch(request, env, context) {
    const named = new Request(request);
    named.headers.set('X-Request-Id', requestId(request));
    const answer = await respond(named, context);
    // A copy names the request that it was fetched with, and this one is another.
    const own = new Response(answer.body, answer);
    own.headers.set('X-Request-Id', named.headers.get('X-Request-Id'));
    return own;
  },
};

// What the request is called here and at the origin: by the name that it came with, if that is one word, or else by
// Cloudflare's.
function requestId(request) {
  const names = ['X-Request-Id', 'CF-Ray'].map((name) => request.headers.get(name) || '');
  return names.find((name) => /^[A-Za-z0-9._-]{1,64}$/.test(name)) || crypto.randomUUID();
}

async function respond(request, context) {
  const url = new URL(request.url);
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  if (!isRead || !url.pathname.startsWith('/i/')) {
    return ask(request, url);
  }
  let link = null;
  if (request.url.includes('?')) {
    link = parseLink(url.search.slice(1));
    const refusal = await judge(url.pathname, link, Math.floor(Date.now() / 1000));
    if (refusal) {
      return refuse(refusal);
    }
  }
  // A link speaks for itself: the origin looks at no cookie beside it. A bad token it would refuse.
  const isPersonal = request.headers.has('Authorization')
    || (!link && hasSession(request.headers.get('Cookie') || ''));
  if (isPersonal || !IMAGE_PATH.test(url.pathname)) {
    return ask(request, url);
  }
  return shared(request, url, link, context);
}

// Asks the origin, past every cache, for what only it can decide.
function ask(request, url) {
  return fetch(new Request(ORIGIN + url.pathname + searchOf(request), request), { cache: 'no-store', redirect: 'manual' });
}

// The query as it was sent, with its question mark, which may stand alone.
function searchOf(request) {
  const at = request.url.indexOf('?');
  return at < 0 ? '' : request.url.slice(at);
}

// Answers from the copy that all who may see it share: by signed or not, path, epoch, and class of Accept.
async function shared(request, url, link, context) {
  const formats = acceptClass(request.headers.get('Accept') || '');
  const key = url.origin + url.pathname + '?formats=' + formats + (link ? '&ep=' + link.ep : '');
  const asked = new Headers();
  for (const name of ['Range', 'If-Range', 'If-None-Match']) {
    if (request.headers.has(name)) {
      asked.set(name, request.headers.get(name));
    }
  }
  const cached = await caches.default.match(new Request(key, { headers: asked }));
  if (cached) {
    return forMethod(request, cached);
  }
  const answer = await fetch(ORIGIN + url.pathname + searchOf(request), {
    headers: { 'Accept': acceptOf(formats), 'X-Request-Id': request.headers.get('X-Request-Id') },
    cache: 'no-store',
    redirect: 'manual',
  });
  const isPublic = /(?:^|,)[ \t]*public[ \t]*(?:,|$)/.test(answer.headers.get('Cache-Control') || '');
  if (answer.status !== 200 || !isPublic) {
    return forMethod(request, answer);
  }
  const stored = caches.default.put(new Request(key), answer.clone());
  if ([...asked].length === 0) {
    context.waitUntil(stored);
    return forMethod(request, answer);
  }
  // The cache knows how to answer conditions and ranges.
  await stored;
  return forMethod(request, (await caches.default.match(new Request(key, { headers: asked }))) || answer);
}

function forMethod(request, answer) {
  return request.method === 'HEAD' ? new Response(null, answer) : answer;
}

// Why a link is refused, or null if it is good.
async function judge(path, link, nowSecs) {
  const key = link && (await keyOf(link.kid));
  if (!key) {
    return 'link_invalid';
  }
  const text = new TextEncoder().encode(path + '?' + link.signed);
  // Compares in constant time.
  const isGood = await crypto.subtle.verify('HMAC', key, bytesOf(link.sig), text);
  return !isGood ? 'link_invalid' : isExpired(link, nowSecs) ? 'link_expired' : null;
}

const imported = new Map();

async function keyOf(kid) {
  const secret = secretOf(KEYS, kid);
  if (secret && !imported.has(kid)) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    imported.set(kid, await crypto.subtle.importKey('raw', bytesOf(secret), algorithm, false, ['verify']));
  }
  return secret && imported.get(kid);
}

// Unpadded base64url as bytes.
function bytesOf(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function refuse(code) {
  return new Response(problem(code), {
    status: 403,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    },
  });
}
