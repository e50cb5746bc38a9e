//! `pinhole sign` and `pinhole verify`: links without a server.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{Failure, say, settings};
use crate::{
    app::{catalogue, keys::LinkKeys},
    clock,
    config::Config,
    id::ImageId,
    link::{self, KeyRing, LinkError},
    render::Rendition,
};

/// Signs a link to an image.
///
/// The link holds as long as the image's epoch is the one that was signed: `GET /v1/images/{id}` tells it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole sign /i/01890a5d-ac96-774b-bcce-b302099a8057/width=400 --expires 1h
  pinhole sign https://img.example.org/i/01890a5d-ac96-774b-bcce-b302099a8057/original --config pinhole.toml --epoch 3")]
pub(super) struct SignArgs {
    /// What is to be seen: /i/{id}/{options}, or the whole URL
    #[arg(value_name = "PATH")]
    path: String,
    /// How long the link lives at least, such as 90s, 15m, 1h, 7d; it ends with a window of `links.window_secs`
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// The image's epoch
    #[arg(long, value_name = "N", default_value_t = 1)]
    epoch: i64,
    #[command(flatten)]
    settings: settings::From,
}

/// Explains whether a link is good, and if not, why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 it is good, 1 it is not.

Examples:
  pinhole verify 'https://img.example.org/i/…/width=400?exp=…&kid=…&ep=1&sig=…'
  pinhole verify '/i/…/width=400?exp=…&kid=…&ep=1&sig=…' --json --config pinhole.toml

--json prints {\"good\": true, \"image_id\", \"options\", \"kid\", \"epoch\", \"expires_at\", \"left_secs\"}, or
{\"good\": false, \"reason\": \"malformed\"|\"unknown_key\"|\"bad_signature\"|\"expired\", \"detail\"}.")]
pub(super) struct VerifyArgs {
    /// The link: the whole URL, or its path and query
    #[arg(value_name = "URL")]
    url: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: settings::From,
}

pub(super) fn sign(args: &SignArgs) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let ring = ring(&config)?;
    let (origin, path) = split(&args.path);
    let (image, options) = image_and_options(path).map_err(Failure::usage)?;
    if path.contains('?') {
        return Err(Failure::usage(format!("{path}: it has a query already; name the path alone")));
    }
    let catalogue = catalogue::load(&config.transform).map_err(Failure::usage)?;
    let rendition = Rendition::parse(options, &catalogue).map_err(Failure::usage)?;
    if rendition == Rendition::Raw {
        return Err(Failure::usage("`raw` is never linked; its owner asks for it with his own token"));
    }
    let max = config.links.max_service_secs;
    if !(1..=max).contains(&args.expires.as_secs()) {
        return Err(Failure::usage(format!("--expires must be 1 to {max} seconds (links.max_service_secs)")));
    }
    let now = clock::secs_up(clock::now_micros());
    let exp = link::windowed_exp(image, now, args.expires.as_secs(), config.links.window_secs);
    let signed = link::sign(&ring, &format!("/i/{image}/{}", rendition.canonical()), exp, args.epoch);
    let origin = if origin.is_empty() { &config.server.public_url } else { origin };
    say::print(format!("{origin}{signed}\n"));
    Ok(())
}

/// A good link, as JSON.
#[derive(Serialize)]
struct GoodLink<'a> {
    good: bool,
    image_id: String,
    options: &'a str,
    kid: &'a str,
    epoch: i64,
    expires_at: String,
    left_secs: u64,
}

/// Any other, likewise.
#[derive(Serialize)]
struct BadLink {
    good: bool,
    /// In a word.
    reason: &'static str,
    /// In a sentence.
    detail: String,
}

pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let ring = ring(&config)?;
    let (_, path_and_query) = split(&args.url);
    let now = clock::secs(clock::now_micros());
    match judge(&ring, path_and_query, now) {
        Ok(link) if args.json => say::print(say::json(&link)?),
        Ok(GoodLink { image_id, options, kid, epoch, expires_at, left_secs, .. }) => {
            let (good, left) = (say::GOOD, span(left_secs));
            say::print(format!(
                "{good}the link is good{good:#}\n  image    {image_id}\n  options  {options}\n  key      {kid}\n  \
                 expires  {expires_at}, in {left}\n  epoch    {epoch}; the link is dead once the image has another one\n",
            ));
        }
        Err(bad) => {
            if args.json {
                say::print(say::json(&bad)?);
            }
            return Err(Failure::failed(bad.detail));
        }
    }
    Ok(())
}

/// What a link is.
fn judge<'a>(ring: &KeyRing, path_and_query: &'a str, now: u64) -> Result<GoodLink<'a>, BadLink> {
    let malformed = |detail: String| BadLink { good: false, reason: "malformed", detail };
    let Some((path, query)) = path_and_query.split_once('?') else {
        let detail = "it has no query, so it is no signed link: ?exp=…&kid=…&ep=…&sig=… is missing";
        return Err(malformed(detail.to_owned()));
    };
    let said = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let verified = link::verify(ring, path, query, now).map_err(|error| {
        let detail = match error {
            LinkError::UnknownKey => {
                let known: Vec<&str> = ring.kids().collect();
                format!("{error}: it says {:?}, and in use are {}", said("kid").unwrap_or_default(), known.join(", "))
            }
            LinkError::Expired => {
                let exp = said("exp").and_then(|exp| exp.parse().ok()).unwrap_or(0);
                format!("{error}; it was good until {}, {} ago", at(exp), span(now.saturating_sub(exp)))
            }
            LinkError::BadSignature => format!(
                "{error}: one of them was changed since, as by another order or spelling of the options, or the \
                 secret of key {:?} is another one here",
                said("kid").unwrap_or_default()
            ),
            LinkError::Malformed(_) => error.to_string(),
        };
        BadLink { good: false, reason: error.as_str(), detail }
    })?;
    let (image, options) = image_and_options(path)
        .map_err(|error| malformed(format!("the signature is good, and yet it leads nowhere: {error}")))?;
    let left_secs = verified.left_secs();
    Ok(GoodLink {
        good: true,
        image_id: image.to_string(),
        options,
        kid: said("kid").unwrap_or_default(),
        epoch: verified.epoch(),
        expires_at: at(now + left_secs),
        left_secs,
    })
}

fn ring(config: &Config) -> Result<Arc<KeyRing>, Failure> {
    let keys = LinkKeys::load(&config.links);
    let keys =
        keys.map_err(|error| Failure::usage(format!("{error}; name the settings with --config or --data")));
    Ok(keys?.ring())
}

/// The origin of a URL, if there is one, and the rest.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find('/').map_or(url.len(), |slash| host + slash);
    if host == 0 { ("", url) } else { url.split_at(end) }
}

fn image_and_options(path: &str) -> Result<(ImageId, &str), String> {
    let wrong = || format!("{path}: it must be /i/{{id}}/{{options}}, such as /i/01890a5d-…/width=400");
    let (id, options) = path.strip_prefix("/i/").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    Ok((ImageId::parse(id).ok_or_else(wrong)?, options))
}

fn at(secs: u64) -> String {
    clock::rfc3339(clock::after(0, secs))
}

fn span(secs: u64) -> String {
    humantime::format_duration(Duration::from_secs(secs)).to_string()
}
