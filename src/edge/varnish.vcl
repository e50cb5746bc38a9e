vcl 4.1;

# Varnish 7 in front of pinhole, with the module xkey (Debian: varnish, varnish-modules).
#
# It holds no key of links and verifies nothing: a copy is kept under the whole URL as sent, signature and all, so
# that whoever hits it has the very link that the origin accepted. All who ask within one window have the same
# link, and share a copy; a forged link misses, and the origin refuses it. Whatever is no hit is for the origin to
# answer, refusals too, and only what it calls public is kept.

import std;
import xkey;

backend origin {
    .host = "{{HOST}}";
    .port = "{{PORT}}";
}

# Who may purge: those whom pinhole's outbox speaks from.
acl purgers {
{{PURGERS}}}

sub vcl_recv {
    # What the request is called here and at the origin: by the name that it came with, if that is one word.
    std.collect(req.http.X-Request-Id);
    if (req.http.X-Request-Id !~ "^[A-Za-z0-9._-]{1,64}$") {
        set req.http.X-Request-Id = "varnish-" + req.xid + "-" + std.time2integer(now, 0);
    }
    if (req.method == "PURGE") {
        call purge_image;
    }
    # What is asked of the origin does not hang on how the viewer named it.
    set req.http.Host = "{{PUBLIC_HOST}}";
    if (req.method == "PRI") {
        return (synth(405));
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # Who shows a token is answered by the origin alone: it may be a bad one.
    if (req.http.Authorization) {
        return (pass);
    }
    # An image in the one spelling that is kept, without a query or with that of a link; expiries beyond the
    # year 5138 are not worth keeping. Everything else, and what has expired, is the origin's to judge.
    if (req.url !~ "^/i/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/[A-Za-z0-9=,._-]+(\?exp=[1-9][0-9]{0,10}&kid=[A-Za-z0-9_-]{1,32}&ep=(0|[1-9][0-9]{0,18})&sig=[A-Za-z0-9_-]{43})?$") {
        return (pass);
    }
    if (req.url ~ "\?") {
        if (std.integer(regsub(req.url, "^[^?]*\?exp=([0-9]+)&.*$", "\1"), 0) <= std.time2integer(now, 0)) {
            return (pass);
        }
        # A link speaks for itself: the origin looks at no cookie beside it.
    } else {
        std.collect(req.http.Cookie, "; ");
        if (req.http.Cookie ~ "pinhole_session") {
            return (pass);
        }
    }
    unset req.http.Cookie;

    # One spelling for each class of Accept, so that `Vary: Accept` makes four copies at most. A format counts that
    # is named with a weight above 0 (RFC 9110, section 12.5.1).
    std.collect(req.http.Accept);
    set req.http.X-Formats = "";
    if (req.http.Accept ~ {"(?i){{ACCEPTS_AVIF}}"}) {
        set req.http.X-Formats = "image/avif";
    }
    if (req.http.Accept ~ {"(?i){{ACCEPTS_WEBP}}"}) {
        set req.http.X-Formats = regsub(req.http.X-Formats, "(.)$", "\1,") + "image/webp";
    }
    set req.http.Accept = regsub(req.http.X-Formats, "^$", "*/*");
    unset req.http.X-Formats;
    return (hash);
}

sub purge_image {
    if ({{MAY_NOT_PURGE}}) {
        return (synth(403));
    }
    if (!req.http.xkey-purge) {
        return (synth(400, "xkey-purge is missing"));
    }
    set req.http.X-Purged = xkey.purge(req.http.xkey-purge);
    return (synth(200, "Purged " + req.http.X-Purged));
}

sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # A copy would name the request that it was fetched with.
    unset beresp.http.X-Request-Id;
    if (bereq.uncacheable) {
        return (deliver);
    }
    if (beresp.status != 200 || beresp.http.Cache-Control !~ "(^|,)\s*public\s*(,|$)" || beresp.http.Set-Cookie) {
        # Who asks in the next second need not wait for one another.
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
        set beresp.grace = 0s;
        set beresp.keep = 0s;
        return (deliver);
    }
    set beresp.http.xkey = beresp.http.Surrogate-Key;
    set beresp.keep = 0s;
    if (bereq.url ~ "\?") {
        # Nothing outlives its link.
        set beresp.grace = 0s;
    }
    return (deliver);
}

sub vcl_deliver {
    set resp.http.X-Request-Id = req.http.X-Request-Id;
    unset resp.http.xkey;
    # RFC 9211. The origin's times are of the request that filled the cache.
    if (obj.hits > 0) {
        set resp.http.Cache-Status = "varnish; hit";
        unset resp.http.Server-Timing;
    } else if (obj.uncacheable) {
        set resp.http.Cache-Status = "varnish; fwd=bypass";
    } else {
        set resp.http.Cache-Status = "varnish; fwd=miss";
    }
}

sub vcl_backend_error {
    set beresp.http.Content-Type = "application/problem+json";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "1";
    set beresp.body = {"{"title":"Service Unavailable","status":503,"code":"unavailable","detail":"The origin is away; try again soon.","request_id":""} + bereq.http.X-Request-Id + {"" }"};
    set beresp.status = 503;
    return (deliver);
}

sub vcl_synth {
    set resp.http.X-Request-Id = req.http.X-Request-Id;
    set resp.http.Cache-Control = "no-store";
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    set resp.body = resp.reason + {"
"};
    return (deliver);
}
