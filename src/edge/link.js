// What every edge that runs JavaScript knows of pinhole: the form of a signed link, the class of an Accept
// header, and how the origin refuses. It imports nothing, and uses nothing that njs and CloudFront Functions
// lack. src/link.rs and src/render/options/accepts.rs rule; tests/vectors holds all of them to the same.

// Exactly these parameters in this order. The last of 43 characters carries four bits, and two that must be 0.
const LINK_QUERY = /^exp=(0|[1-9][0-9]{0,19})&kid=([A-Za-z0-9_-]{1,32})&ep=(0|[1-9][0-9]{0,18})&sig=([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/;
const MAX_EXP = '18446744073709551615';
const MAX_EP = '9223372036854775807';

// An image as links name it, in the one spelling that may be kept under a key. The origin judges all others.
const IMAGE_PATH = /^\/i\/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\/[A-Za-z0-9=,._-]+$/;

// A media range of that type whose weight is above 0; a parameter `q` that is no weight says nothing.
const ACCEPTS_AVIF = /{{ACCEPTS_AVIF}}/i;
const ACCEPTS_WEBP = /{{ACCEPTS_WEBP}}/i;

// '', 'avif', 'webp' or 'avif,webp': all that `format=auto` asks of an Accept header.
function acceptClass(accept) {
  const avif = ACCEPTS_AVIF.test(accept);
  const webp = ACCEPTS_WEBP.test(accept);
  return avif && webp ? 'avif,webp' : avif ? 'avif' : webp ? 'webp' : '';
}

// Whether one decimal number without leading zeros is at most another. Doubles cannot hold all of them.
function isAtMost(number, most) {
  return number.length < most.length || (number.length === most.length && number <= most);
}

// The query of a link taken apart, not yet believed, or null if it has another form.
function parseLink(query) {
  const match = LINK_QUERY.exec(query);
  if (!match || !isAtMost(match[1], MAX_EXP) || !isAtMost(match[3], MAX_EP)) {
    return null;
  }
  return { signed: query.slice(0, -('&sig='.length + 43)), exp: match[1], kid: match[2], ep: match[3], sig: match[4] };
}

// The secret of a key in use, or undefined. A name that every object has is no key.
function secretOf(keys, kid) {
  return Object.prototype.hasOwnProperty.call(keys, kid) ? keys[kid] : undefined;
}

// Whether two texts are the same, in a time that tells no more than their lengths.
function isSame(a, b) {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) {
    difference |= a.charCodeAt(i) ^ b.charCodeAt(i % b.length);
  }
  return difference === 0;
}

// Whether it may have been good once, but its time is over.
function isExpired(link, nowSecs) {
  return Number(link.exp) <= nowSecs;
}

// Whether a request may carry the cookie that a user signs in with: rather once too often.
function hasSession(cookie) {
  return cookie.indexOf('pinhole_session') >= 0;
}

// What to ask the origin for in a class's name.
function acceptOf(formats) {
  return formats === '' ? '*/*' : 'image/' + formats.replace(',', ',image/');
}

// A refusal as the origin has it (RFC 9457), though it does not say what exactly is wrong with a link.
function problem(code) {
  const detail = code === 'link_expired' ? '{{EXPIRED}}' : '{{INVALID}}';
  return JSON.stringify({ title: 'Forbidden', status: 403, code: code, detail: detail });
}
