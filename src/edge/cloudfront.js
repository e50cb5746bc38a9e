// A CloudFront Function for viewer requests, in front of pinhole: JavaScript runtime 2.0.
// https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-functions.html
//
// It goes with a cache behaviour for the distribution's one origin, pinhole, that has
// - a cache policy with minimum and default TTL 0, maximum TTL 31536000, neither gzip nor brotli, and in its key
//   the query string `ep`, the headers `Accept` and `Authorization`, and the cookie `pinhole_session`: so the key is
//   signed or not, path, epoch and class of Accept, and whoever signs in never meets the shared copy;
// - an origin request policy that forwards all query strings, and the header `X-Request-Id`;
// - a response headers policy that removes `X-Request-Id`, which would be of the request that a copy was fetched with:
//   CloudFront names each request by `X-Amz-Cf-Id`;
// - custom error responses for 400, 403, 404, 405, 500, 502, 503 and 504 that only say: error caching minimum TTL 0.
//   Else CloudFront keeps each refusal for ten seconds, `no-store` or not.
//
// It holds secrets: whoever may read the function may sign links.

const crypto = require('crypto');

// The keys of links that verify, the newest first.
const KEYS = {{KEYS}};

function handler(event) {
  const request = event.request;
  // Once something else of the query is touched, what was sent is not to be had any more.
  const query = request.rawQueryString();
  // What the origin is to call the request: what CloudFront calls it, in one word.
  const id = String(event.context && event.context.requestId).replace(/[^A-Za-z0-9._-]/g, '').slice(0, 64);
  request.headers['x-request-id'] = { value: id };
  if (request.uri.indexOf('/i/') !== 0) {
    return request;
  }
  if (query !== undefined) {
    const refusal = judge(request.uri, query, Math.floor(Date.now() / 1000));
    if (refusal) {
      return refuse(refusal);
    }
    // A link speaks for itself: the origin looks at no cookie beside it, and viewers share one copy.
    request.cookies = {};
    request.querystring = query;
  }
  // One spelling for each class, since Accept is part of the cache key.
  const accept = request.headers.accept;
  const formats = acceptClass(accept ? accept.multiValue ? accept.multiValue.map(valueOf).join() : accept.value : '');
  request.headers.accept = { value: acceptOf(formats) };
  return request;
}

function valueOf(header) {
  return header.value;
}

// Why a link is refused, or null if it is good.
function judge(path, query, nowSecs) {
  const link = parseLink(query);
  const secret = link && secretOf(KEYS, link.kid);
  if (!secret) {
    return 'link_invalid';
  }
  const hmac = crypto.createHmac('sha256', Buffer.from(secret, 'base64url'));
  if (!isSame(hmac.update(path + '?' + link.signed).digest('base64url'), link.sig)) {
    return 'link_invalid';
  }
  return isExpired(link, nowSecs) ? 'link_expired' : null;
}

function refuse(code) {
  return {
    statusCode: 403,
    statusDescription: 'Forbidden',
    headers: {
      'content-type': { value: 'application/problem+json' },
      'cache-control': { value: 'no-store' },
      'x-content-type-options': { value: 'nosniff' },
    },
    body: { encoding: 'text', data: problem(code) },
  };
}
