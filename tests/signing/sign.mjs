// Signs a link of pinhole: node sign.mjs PATH EXP KID EP SECRET, and what an app's backend in JavaScript needs is `sign`.
//
// PATH is /i/{id}/{options} as it will be asked for, byte for byte: the signature is over that spelling. EP is the
// image's epoch (GET /v1/images/{id}): with another one the link is a 404. EXP, in Unix seconds, is best rounded up
// to a window, as 900 * Math.ceil((now + lifetime) / 900), so that all viewers share one URL and a cache one copy.
import { createHmac } from 'node:crypto';

export function sign(path, exp, kid, ep, secret) {
  const claim = `${path}?exp=${exp}&kid=${kid}&ep=${ep}`;
  const sig = createHmac('sha256', Buffer.from(secret, 'base64url')).update(claim).digest('base64url');
  return `${claim}&sig=${sig}`;
}

console.log(sign(...process.argv.slice(2)));
