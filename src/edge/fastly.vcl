# Fastly in front of pinhole, as a service's main VCL. The service's one backend is pinhole, by TLS; Range, gzip and
# stale settings stay at their defaults. https://www.fastly.com/documentation/reference/vcl/

# The keys of links that verify: kid, and 32 bytes in base64.
table pinhole_keys {
{{KEYS}}}

sub vcl_recv {
  declare local var.signed STRING;
  declare local var.exp STRING;
  declare local var.kid STRING;
  declare local var.sig STRING;
  declare local var.mac STRING;
  declare local var.formats STRING;
#FASTLY recv
  # What the request is called here and at the origin: by the name that it came with, if that is one word.
  if (req.http.X-Request-Id !~ "^[A-Za-z0-9._-]{1,64}$") {
    set req.http.X-Request-Id = uuid.version4();
  }
  # Whoever asks for a purge must show an API token.
  if (req.method == "FASTLYPURGE") {
    set req.http.Fastly-Purge-Requires-Auth = "1";
    return(lookup);
  }
  if (req.method != "GET" && req.method != "HEAD") {
    return(pass);
  }
  if (req.url !~ "^/i/") {
    return(pass);
  }

  if (req.url ~ "\?") {
    # Exactly these parameters in this order, over the raw URL.
    if (req.url !~ "^([^?]*\?exp=(0|[1-9][0-9]{0,18})&kid=([A-Za-z0-9_-]{1,32})&ep=(?:0|[1-9][0-9]{0,18}))&sig=([A-Za-z0-9_-]{43})$") {
      error 803 "link_invalid";
    }
    set var.signed = re.group.1;
    set var.exp = re.group.2;
    set var.kid = re.group.3;
    set var.sig = re.group.4;
    if (!table.contains(pinhole_keys, var.kid)) {
      error 803 "link_invalid";
    }
    set var.mac = digest.hmac_sha256_base64(digest.base64_decode(table.lookup(pinhole_keys, var.kid)), var.signed);
    set var.mac = regsuball(regsuball(regsuball(var.mac, "\+", "-"), "/", "_"), "=", "");
    if (!digest.secure_is_equal(var.mac, var.sig)) {
      error 803 "link_invalid";
    }
    # What has more digits than these lies beyond the year 5138.
    if (std.strlen(var.exp) <= 11 && std.atoi(var.exp) <= std.atoi(now.sec)) {
      error 804 "link_expired";
    }
    # A link speaks for itself: the origin looks at no cookie beside it.
    unset req.http.Cookie;
  }

  # Who signs in is answered by the origin alone, and so is any other spelling of a path.
  if (req.http.Authorization || req.http.Cookie ~ "pinhole_session") {
    return(pass);
  }
  if (req.url !~ "^/i/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/[A-Za-z0-9=,._-]+(\?|$)") {
    return(pass);
  }
  unset req.http.Cookie;

  # One spelling for each class of Accept, so that `Vary: Accept` makes four copies at most.
  set var.formats = "";
  if (req.http.Accept ~ "(?i){{ACCEPTS_AVIF}}") {
    set var.formats = "image/avif";
  }
  if (req.http.Accept ~ "(?i){{ACCEPTS_WEBP}}") {
    set var.formats = if(var.formats == "", "image/webp", "image/avif,image/webp");
  }
  set req.http.Accept = if(var.formats == "", "*/*", var.formats);
  return(lookup);
}

sub vcl_hash {
  # Signed or not, the raw path, and the epoch: viewers share a copy, whichever link of that epoch they have.
  set req.hash += req.url.path;
  if (req.url ~ "&ep=([0-9]+)&sig=") {
    set req.hash += "#signed,ep=" re.group.1;
  } else {
    set req.hash += "#unsigned";
  }
#FASTLY hash
  return(hash);
}

sub vcl_fetch {
#FASTLY fetch
  # A copy would name the request that it was fetched with.
  unset beresp.http.X-Request-Id;
  # Only what the origin calls public is kept; Fastly would keep a 404 unasked.
  if (beresp.status != 200 || beresp.http.Cache-Control !~ "(^|,)\s*public\s*(,|$)" || beresp.http.Set-Cookie) {
    set beresp.ttl = 1s;
    return(pass);
  }
  if (req.url ~ "\?") {
    # Nothing outlives its link.
    set beresp.stale_while_revalidate = 0s;
    set beresp.stale_if_error = 0s;
  }
  return(deliver);
}

sub vcl_error {
#FASTLY error
  if (obj.status == 803 || obj.status == 804) {
    set obj.http.Content-Type = "application/problem+json";
    set obj.http.Cache-Control = "no-store";
    set obj.http.X-Content-Type-Options = "nosniff";
    if (obj.status == 804) {
      synthetic {"{"title":"Forbidden","status":403,"code":"link_expired","detail":"{{EXPIRED}}" }"};
    } else {
      synthetic {"{"title":"Forbidden","status":403,"code":"link_invalid","detail":"{{INVALID}}" }"};
    }
    set obj.status = 403;
    set obj.response = "Forbidden";
    return(deliver);
  }
}

sub vcl_hit {
#FASTLY hit
}

sub vcl_miss {
#FASTLY miss
  return(fetch);
}

sub vcl_pass {
#FASTLY pass
}

sub vcl_deliver {
#FASTLY deliver
  set resp.http.X-Request-Id = req.http.X-Request-Id;
  return(deliver);
}

sub vcl_log {
#FASTLY log
}
