// What nginx decides of a request for an image by itself: what it is, whether its link is good, and the key of its
// copy. For njs 0.7.9 or later; only `fs` and `crypto` are used, so that it also runs under Node.
//
// Everything goes by the request's target as it was sent ($request_uri), never by the path as nginx reads it: what
// is signed and what is cached is one spelling, which nobody has decoded, merged or shortened.
import crypto from 'crypto';
import fs from 'fs';
import keys from './keys.js';

const SIG_CHARS = 43;
const MAX_U64 = '18446744073709551615';
const MAX_I64 = '9223372036854775807';
// A path that the origin takes for an image's, whatever it thinks of the two parts.
const IMAGE_PATH = /^\/i\/[^/?#]*\/[^/?#]*$/;
// One that may be cached: an id as pinhole writes it, and characters that options have. `;` stands in `trim`.
const CANONICAL = /^\/i\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/([A-Za-z0-9_=,.;:-]+)$/;
const PURGED_PATH = /^\/i\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
// Options whose answer may depend on Accept. A preset may stand for any options.
const BY_ACCEPT = /(?:^|,)(?:format|f)=auto(?:,|$)|^preset=/;

// ---------------------------------------------------------------- links (src/link.rs)

const FORM = 'The query must be exactly ?exp=…&kid=…&ep=…&sig=…, in this order and nothing else: ';

// Verifies a path and its query as sent, at a time in Unix seconds: { ep, left } or { code, detail }.
function verify(links, path, query, now) {
    const claim = parse(query);
    if (claim.fault) {
        return { code: 'link_invalid', detail: FORM + claim.fault + '.' };
    }
    if (!Object.prototype.hasOwnProperty.call(links, claim.kid)) {
        return { code: 'link_invalid', detail: 'The link was signed with a key that is not in use (kid).' };
    }
    const key = Buffer.from(links[claim.kid], 'base64url');
    const sig = crypto.createHmac('sha256', key).update(path + '?' + claim.signed).digest('base64url');
    if (!isSame(sig, claim.sig)) {
        return { code: 'link_invalid', detail: 'The signature (sig) does not match this path and query.' };
    }
    const left = Number(claim.exp) - now;
    if (left <= 0) {
        return { code: 'link_expired', detail: 'The link has expired; ask for a new one.' };
    }
    return { ep: claim.ep, left: left };
}

// Takes a query apart as `Claim::parse` does, so that both say the same of what is wrong.
function parse(query) {
    const sig_at = query.lastIndexOf('&sig=');
    if (sig_at < 0) {
        return { fault: 'sig is missing' };
    }
    const signed = query.slice(0, sig_at);
    const sig = query.slice(sig_at + 5);
    if (!signed.startsWith('exp=')) {
        return { fault: 'exp must come first' };
    }
    const kid_at = signed.indexOf('&kid=');
    if (kid_at < 0) {
        return { fault: 'kid must come second' };
    }
    const ep_at = signed.indexOf('&ep=', kid_at + 5);
    if (ep_at < 0) {
        return { fault: 'ep must come third' };
    }
    const exp = signed.slice(4, kid_at);
    const ep = signed.slice(ep_at + 4);
    if (!isNumber(exp, MAX_U64)) {
        return { fault: 'exp must be a number of seconds' };
    }
    if (!isNumber(ep, MAX_I64)) {
        return { fault: 'ep must be a number' };
    }
    if (sig.length != SIG_CHARS) {
        return { fault: 'sig must be 43 characters' };
    }
    // The last character carries four bits; the other two must be zero.
    if (!/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(sig)) {
        return { fault: 'sig must be base64url' };
    }
    return { signed: signed, exp: exp, kid: signed.slice(kid_at + 5, ep_at), ep: ep, sig: sig };
}

// Decimal digits without sign or leading zero, and no more than `max`: one number, one spelling.
function isNumber(text, max) {
    return /^(?:0|[1-9][0-9]*)$/.test(text)
        && (text.length < max.length || (text.length == max.length && text <= max));
}

// Compares in a time that says nothing of where two texts differ.
function isSame(a, b) {
    let difference = a.length ^ b.length;
    for (let i = 0; i < a.length; i++) {
        difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
    }
    return difference === 0;
}

// ---------------------------------------------------------------- Accept (src/render/options/accepts.rs)

// What the origin is told of what the client accepts: one of four texts, in place of thousands.
function accepted(lines) {
    let avif = false;
    let webp = false;
    lines.join(',').split(',').forEach(range => {
        const parts = range.split(';');
        const type = parts[0].trim().toLowerCase();
        if (type == 'image/avif') {
            avif = avif || hasWeight(parts);
        } else if (type == 'image/webp') {
            webp = webp || hasWeight(parts);
        }
    });
    return [avif ? 'image/avif' : '', webp ? 'image/webp' : ''].filter(type => type).join(',');
}

// Whether a media range's weight is above zero. No `q` means 1; a `q` that is no weight cannot be trusted to mean yes.
function hasWeight(parts) {
    for (let i = 1; i < parts.length; i++) {
        const at = parts[i].indexOf('=');
        if (at >= 0 && parts[i].slice(0, at).trim().toLowerCase() == 'q') {
            return /^(?:1(?:\.0{0,3})?|0\.(?!0*$)[0-9]{1,3})$/.test(parts[i].slice(at + 1).trim());
        }
    }
    return true;
}

// ---------------------------------------------------------------- requests

function values(r, name) {
    return r.rawHeadersIn.filter(header => header[0].toLowerCase() == name).map(header => header[1]);
}

function now() {
    return Math.floor(Date.now() / 1000);
}

// The request's target in its parts, or nothing when it is not an image's path in the one spelling that is cached.
// `query` is undefined where there is none.
function target(r) {
    const raw = r.variables.request_uri;
    const at = raw.indexOf('?');
    const path = at < 0 ? raw : raw.slice(0, at);
    const canonical = CANONICAL.exec(path);
    const is_read = r.method == 'GET' || r.method == 'HEAD';
    r.variables.pinhole_image = canonical ? canonical[1] : path;
    return {
        path: path,
        query: at < 0 ? undefined : raw.slice(at + 1),
        // Whether the origin would take it for an image's, too: it sees nothing of what follows a `#`.
        is_image: is_read && IMAGE_PATH.test(path) && raw.indexOf('#') < 0,
        image: canonical && canonical[1],
        options: canonical && canonical[2],
    };
}

// Whether it depends on a date that pictures do not have: nginx would refuse a copy then, and the origin does not care.
function hasUnknownDate(r) {
    return values(r, 'if-unmodified-since').length > 0;
}

// What the picture depends on besides its path, and what the origin is told: nothing else may be in either.
function accept(r, options) {
    const text = BY_ACCEPT.test(options) ? accepted(values(r, 'accept')) : '';
    r.variables.pinhole_accept = text;
    return text;
}

// verify.conf: where a request for /i/… goes.
function routeVerified(r) {
    const to = target(r);
    if (r.method == 'PURGE' && PURGED_PATH.test(to.path) && to.query === undefined) {
        return 'purge';
    }
    if (!to.is_image || hasUnknownDate(r)) {
        return 'pass';
    }
    let link = '-';
    if (to.query !== undefined) {
        const verified = verify(keys.links, to.path, to.query, now());
        if (verified.code) {
            r.variables.pinhole_problem = problem(403, 'Forbidden', verified.code, verified.detail);
            return 'refuse';
        }
        r.variables.pinhole_left = String(verified.left);
        link = verified.ep;
    }
    // A token that is bad is 401 even with a good link, and a private answer is nobody else's. A link speaks for
    // itself, so that cookies do not matter with one; without one, pinhole's own does, and no other.
    if (!to.image || to.options == 'raw' || values(r, 'authorization').length
        || (link == '-' && values(r, 'cookie').join(';').indexOf('pinhole_session') >= 0)) {
        return 'pass';
    }
    r.variables.pinhole_key = [link, generation(r, to.image), accept(r, to.options), to.path].join(' ');
    return 'cached';
}

// ask.conf: where a request for /i/… goes.
function routeAsked(r) {
    const to = target(r);
    const authorization = values(r, 'authorization');
    const on_behalf_of = values(r, 'on-behalf-of');
    // The very bytes that were uploaded are kept nowhere. Two of what there should be one of, the origin refuses.
    if (!to.is_image || hasUnknownDate(r) || !to.image || to.options == 'raw' || authorization.length > 1 || on_behalf_of.length > 1) {
        return 'pass';
    }
    // A link speaks for itself: who follows it shares the answer. Of a viewer's cookies, pinhole's is asked with.
    const cookie = to.query === undefined ? session(values(r, 'cookie')) : '';
    r.variables.pinhole_cookie = cookie;
    const viewer = JSON.stringify([authorization, on_behalf_of, cookie]);
    const exp = to.query === undefined ? null : /^exp=([0-9]{1,15})&/.exec(to.query);
    let lapsed = '';
    if (exp) {
        const left = Number(exp[1]) - now();
        r.variables.pinhole_left = String(Math.max(left, 0));
        // What was answered a moment before it expired holds no longer.
        lapsed = left > 0 ? '' : 'lapsed';
    }
    // Everything that the origin is asked with, and nothing else.
    r.variables.pinhole_viewer = lapsed + crypto.createHash('sha256').update(viewer).digest('base64url');
    r.variables.pinhole_key = accept(r, to.options) + ' ' + to.path;
    return 'ask';
}

// The cookie that holds a user's token, as the origin finds it: the first of its name.
function session(lines) {
    const pairs = lines.join(';').split(';').map(pair => pair.trim());
    return pairs.find(pair => pair.startsWith('pinhole_session=')) || '';
}

// A problem document as the origin writes it (src/error.rs).
function problem(status, title, code, detail) {
    return JSON.stringify({ title: title, status: status, code: code, detail: detail });
}

// A range that the copy does not have: nginx has put the copy's headers there already, which are of no use with this.
function unsatisfiable(r) {
    const range = r.headersOut['Content-Range'];
    Object.keys(r.headersOut).forEach(name => {
        delete r.headersOut[name];
    });
    r.headersOut['Content-Range'] = range;
    answer(r, 416, problem(416, 'Range Not Satisfiable', 'range_not_satisfiable',
        'The image has ' + range.split('/')[1] + ' bytes; ask for a range within them.'));
}

// ---------------------------------------------------------------- how far an answer may be kept

// The origin's Cache-Control, and never for longer than the link lives: the copy may have come by one that lives
// longer.
function control(r) {
    if (!/^(?:200|206|304)$/.test(r.variables.status)) {
        return 'no-store';
    }
    return capped(r.variables.upstream_http_cache_control || '', r.variables.pinhole_left);
}

// ask.conf: what the origin says of this viewer, and never for longer than the link lives, or than until a better
// picture may be there.
function controlAsked(r) {
    if (!/^(?:200|206|304)$/.test(r.variables.status)) {
        return 'no-store';
    }
    const said = capped(r.variables.pinhole_said || 'no-store', r.variables.pinhole_left);
    return capped(said, r.variables.upstream_http_x_accel_expires);
}

function capped(said, secs) {
    if (!secs) {
        return said;
    }
    return said.replace(/(max-age|s-maxage|stale-while-revalidate|stale-if-error)=([0-9]+)/g,
        (all, name, n) => name + '=' + Math.min(Number(n), Number(secs)));
}

// ---------------------------------------------------------------- purges

// The number of an image's copies: those with an earlier one are never found again. It is in a small file beside
// the cache, so that all workers know it, after a restart too. Most images were never purged and have none.
function generation(r, image) {
    try {
        return fs.readFileSync(r.variables.document_root + '/' + image, 'utf8');
    } catch (e) {
        if (e.code == 'ENOENT') {
            return '-';
        }
        // Better a copy that nobody shares than one that was purged.
        r.error('the generation of ' + image + ' cannot be read: ' + e.message);
        return r.variables.request_id;
    }
}

// PURGE /i/{id}: makes all copies of an image unreachable, of every size and link and epoch.
function purge(r) {
    const token = /^Bearer +([!-~]+)$/i.exec(values(r, 'authorization').join(','));
    const hash = token ? crypto.createHash('sha256').update(token[1]).digest('hex') : '';
    if (!keys.purgers.filter(known => isSame(known, hash)).length) {
        answer(r, 403, problem(403, 'Forbidden', 'purge_refused',
            'A purge needs the token of an edge target: Authorization: Bearer <token>.'));
        return;
    }
    const file = r.variables.document_root + '/' + PURGED_PATH.exec(r.variables.request_uri)[1];
    // A random number never comes twice, whatever the clock does.
    const beside = file + '.' + r.variables.request_id;
    try {
        fs.writeFileSync(beside, r.variables.request_id, { mode: 0o600 });
        fs.renameSync(beside, file);
    } catch (e) {
        r.error('a purge failed: ' + e.message);
        answer(r, 503, problem(503, 'Service Unavailable', 'purge_failed',
            'The purge could not be written down; send it again.'));
        return;
    }
    r.headersOut['Cache-Control'] = 'no-store';
    r.return(204);
}

function answer(r, status, text) {
    r.headersOut['Content-Type'] = 'application/problem+json';
    r.headersOut['Cache-Control'] = 'no-store';
    r.headersOut['X-Content-Type-Options'] = 'nosniff';
    r.return(status, text);
}

export default { accepted, control, controlAsked, purge, routeAsked, routeVerified, unsatisfiable, verify };
