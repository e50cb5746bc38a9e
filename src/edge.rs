//! Verifiers for the caches of others in front of pinhole: settings in, the text of a configuration out.
//!
//! Each does what the origin does with a link, over the raw path and query: form, signature, expiry. What it lets
//! through, it keeps under signed or not, path, epoch and class of `Accept`; Varnish, which knows no HMAC, keeps what
//! the origin let through, under the whole URL. `tests/vectors` holds all of them to [`crate::link`] and
//! [`crate::render::Accepts`].

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use thiserror::Error;

use crate::config::Secret;

/// The rest of a pattern that says whether an `Accept` header names a media type with a weight above 0 (RFC 9110
/// §12.5.1), as [`crate::render::Accepts`] reads it; without regard to case. PCRE and JavaScript read it alike.
const WITH_WEIGHT: &str = r"[ \t]*(?:;(?![ \t]*q[ \t]*=)[^,;]*)*(?:;[ \t]*q[ \t]*=[ \t]*(?:1(?:\.0{0,3})?|0\.(?!0{0,3}[ \t]*(?:[;,]|$))[0-9]{1,3})[ \t]*(?:;[^,]*)?)?(?:,|$)";

/// What an edge says of a link that is none.
const INVALID: &str = "The link is not one that was signed for this path and query; ask for a new one.";
/// What an edge says of a link whose time is over: the origin's words.
const EXPIRED: &str = "The link has expired; ask for a new one.";

/// The most bytes that a `CloudFront` function may have (quotas on `CloudFront` Functions).
const MAX_CLOUDFRONT_BYTES: usize = 10 * 1024;

/// Why an edge cannot be configured.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum EdgeError {
    /// A key is not of the form `kid:secret`.
    #[error("a link key must have the form kid:secret")]
    Key,
    /// A key that Fastly would cut off.
    #[error(
        "link key {0} has a zero byte, where Fastly's texts end, so that it would take no link for good: make another \
         key, put it on top of links.keys, and take this one out once its links have expired"
    )]
    ZeroByte(String),
    /// The function would be too long.
    #[error(
        "the function would have {0} bytes, and CloudFront takes {MAX_CLOUDFRONT_BYTES}: retire some link keys"
    )]
    TooLong(usize),
    /// An origin is no address that the edge could reach.
    #[error("{0}: must be host:port, such as 10.0.0.1:8080, without a scheme: Varnish asks by plain HTTP")]
    Address(String),
    /// An origin is no URL of an origin.
    #[error("{0}: must be https://host, without a path")]
    Url(String),
    /// There is no `server.public_url`.
    #[error("server.public_url is not set; it is what viewers name in their requests to the edge")]
    PublicUrl,
    /// A token for purges would have to be escaped.
    #[error("the token for purges must be of A-Z a-z 0-9 . _ ~ + / = - alone")]
    Token,
}

/// What Varnish is to be told.
#[derive(Debug)]
pub struct Varnish<'a> {
    /// The origin as Varnish reaches it, `host:port`.
    pub origin: &'a str,
    /// `server.public_url`.
    pub public_url: &'a str,
    /// What purges come with, as `Authorization: Bearer`; without one, none is taken.
    pub purge_token: Option<&'a Secret>,
    /// Whence purges may come.
    pub purgers: &'a [IpAddr],
}

impl Varnish<'_> {
    /// The VCL for Varnish 7.
    pub fn vcl(&self) -> Result<String, EdgeError> {
        let (host, port) = address(self.origin)?;
        let public_host = self.public_url.split_once("://").map(|(_, host)| host);
        let public_host = public_host.filter(|host| is_host(host)).ok_or(EdgeError::PublicUrl)?;
        let may_not_purge = match self.purge_token {
            // There is no constant time here; the list of addresses comes first.
            Some(token) if !token.is_empty() && token.expose().bytes().all(is_plain) => {
                format!(r#"client.ip !~ purgers || req.http.Authorization != "Bearer {}""#, token.expose())
            }
            Some(_) => return Err(EdgeError::Token),
            None => "true || client.ip !~ purgers".to_owned(),
        };
        let purgers = self.purgers.iter().fold(String::new(), |mut lines, ip| {
            // Writing to a String never fails.
            let _ = writeln!(lines, "    \"{ip}\";");
            lines
        });
        Ok(fill(
            include_str!("edge/varnish.vcl"),
            &[
                ("HOST", host),
                ("PORT", port),
                ("PUBLIC_HOST", public_host),
                ("PURGERS", &purgers),
                ("MAY_NOT_PURGE", &may_not_purge),
            ],
        ))
    }
}

/// The function for `CloudFront`, with the keys that verify: `kid:secret`, the newest first.
pub fn cloudfront(keys: &[Secret]) -> Result<String, EdgeError> {
    let keys = javascript_keys(keys)?;
    let text = javascript(include_str!("edge/cloudfront.js"), &[("KEYS", &keys)]);
    if text.len() > MAX_CLOUDFRONT_BYTES { Err(EdgeError::TooLong(text.len())) } else { Ok(text) }
}

/// The Worker for Cloudflare, likewise, with the URL that it asks the origin by.
pub fn cloudflare(keys: &[Secret], origin_url: &str) -> Result<String, EdgeError> {
    let host = origin_url.strip_prefix("https://").or_else(|| origin_url.strip_prefix("http://"));
    if !host.is_some_and(is_host) {
        return Err(EdgeError::Url(origin_url.to_owned()));
    }
    let keys = javascript_keys(keys)?;
    Ok(javascript(
        include_str!("edge/cloudflare.js"),
        &[("KEYS", &keys), ("ORIGIN", &format!("'{origin_url}'"))],
    ))
}

/// The main VCL for Fastly, likewise.
pub fn fastly(keys: &[Secret]) -> Result<String, EdgeError> {
    let mut table = String::new();
    for key in keys {
        let (kid, secret) = split(key)?;
        let bytes = URL_SAFE_NO_PAD.decode(secret).map_err(|_| EdgeError::Key)?;
        if bytes.contains(&0) {
            return Err(EdgeError::ZeroByte(kid.to_owned()));
        }
        let _ = writeln!(table, "  \"{kid}\": \"{}\",", STANDARD.encode(bytes));
    }
    Ok(fill(include_str!("edge/fastly.vcl"), &[("KEYS", &table)]))
}

/// What is particular to an edge, and then what all that run JavaScript have in common.
fn javascript(particular: &str, values: &[(&str, &str)]) -> String {
    format!("{}\n{}", fill(particular, values), fill(include_str!("edge/link.js"), &[]))
}

/// The keys as an object.
fn javascript_keys(keys: &[Secret]) -> Result<String, EdgeError> {
    let mut object = String::from("{\n");
    for key in keys {
        let (kid, secret) = split(key)?;
        let _ = writeln!(object, "  '{kid}': '{secret}',");
    }
    object.push('}');
    Ok(object)
}

/// A key that [`crate::link::LinkKey::parse`] has taken: there is nothing in it to escape.
fn split(key: &Secret) -> Result<(&str, &str), EdgeError> {
    key.expose().split_once(':').ok_or(EdgeError::Key)
}

/// A template with its places filled in, those in all templates too.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let (avif, webp) = (
        format!(r"(?:^|,)[ \t]*image\/avif{WITH_WEIGHT}"),
        format!(r"(?:^|,)[ \t]*image\/webp{WITH_WEIGHT}"),
    );
    let common = [
        ("ACCEPTS_AVIF", avif.as_str()),
        ("ACCEPTS_WEBP", &webp),
        ("INVALID", INVALID),
        ("EXPIRED", EXPIRED),
    ];
    common
        .iter()
        .chain(values)
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// Host and port of an address, without the brackets of IPv6.
fn address(text: &str) -> Result<(&str, &str), EdgeError> {
    let wrong = || EdgeError::Address(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if !port.parse::<u16>().is_ok_and(|port| port > 0) || !is_host(text) {
        return Err(wrong());
    }
    if text.starts_with('[') && text.parse::<SocketAddr>().is_err() {
        return Err(wrong());
    }
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// Whether it has only what hosts and ports have.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:[]".contains(&b))
}

/// Whether a character means nothing inside of quotes.
fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._~+/=-".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkError;

    fn key(kid: &str, byte: u8) -> Secret {
        Secret::new(format!("{kid}:{}", URL_SAFE_NO_PAD.encode([byte; 32])))
    }

    fn varnish(origin: &str) -> Result<String, EdgeError> {
        let purgers = [IpAddr::from([10, 0, 0, 1])];
        let token = Secret::new("t0ken");
        let public_url = "https://img.example.org";
        Varnish { origin, public_url, purge_token: Some(&token), purgers: &purgers }.vcl()
    }

    #[test]
    fn no_place_stays_empty() {
        let keys = [key("new", 1), key("old", 2)];
        for text in [
            varnish("10.0.0.2:8080").unwrap(),
            cloudfront(&keys).unwrap(),
            cloudflare(&keys, "https://origin.example.org").unwrap(),
            fastly(&keys).unwrap(),
        ] {
            assert!(!text.contains("{{") && !text.contains("}}"), "{text}");
        }
    }

    #[test]
    fn an_edge_words_an_expired_link_as_the_origin_does() {
        let said = LinkError::Expired.to_string();
        assert_eq!(EXPIRED.to_lowercase().trim_end_matches('.'), said);
    }

    #[test]
    fn varnish_is_told_the_address_alone() {
        for origin in ["origin.internal:8080", "[::1]:8080"] {
            assert!(varnish(origin).unwrap().contains(".port = \"8080\""));
        }
        assert!(varnish("[::1]:8080").unwrap().contains(".host = \"::1\""));
        for origin in ["http://10.0.0.1:8080", "10.0.0.1", "10.0.0.1:0", "a\"b:80", ":80", "[::1:80"] {
            assert_eq!(varnish(origin).unwrap_err(), EdgeError::Address(origin.to_owned()));
        }
    }

    #[test]
    fn nothing_breaks_out_of_quotes() {
        let token = Secret::new("a\" || true || \"b");
        let told = Varnish {
            origin: "10.0.0.1:80",
            public_url: "https://img.example.org",
            purge_token: Some(&token),
            purgers: &[],
        };
        assert_eq!(told.vcl().unwrap_err(), EdgeError::Token);
        let url = "https://a.example/';alert()//";
        assert_eq!(cloudflare(&[key("a", 1)], url).unwrap_err(), EdgeError::Url(url.to_owned()));
    }

    #[test]
    fn fastly_takes_no_key_that_it_would_cut_off() {
        assert_eq!(fastly(&[key("cut", 0)]).unwrap_err(), EdgeError::ZeroByte("cut".to_owned()));
        assert!(fastly(&[key("whole", 0xff)]).unwrap().contains(&STANDARD.encode([0xff; 32])));
    }

    #[test]
    fn cloudfront_takes_ten_kibibytes() {
        let many: Vec<Secret> = (0..200).map(|n| key(&format!("key-{n}"), 1)).collect();
        assert!(matches!(cloudfront(&many), Err(EdgeError::TooLong(_))));
        assert!(cloudfront(&many[..20]).is_ok());
    }
}
