//! The data plane: `GET|HEAD /i/{id}/{options}`, and `GET /authz`, which decides alike.
//!
//! In this order: the link's signature, who asks, what is asked for, the decision, the bytes. Nothing
//! is looked up for a forged link, and nothing that depends on the image is said before the decision.

mod files;
mod selected;

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use self::selected::Selected;
use super::{
    Answer, Context, full, headers,
    route::{self, Route},
};
use crate::{
    access::{self, Denial, Permit},
    app::{App, decisions::Decision},
    client::Client,
    clock,
    config::{Transform, Unsigned},
    error::Error,
    id::ImageId,
    identity::Caller,
    link::{self, Verified},
    metrics,
    render::{Accepts, Catalogue, Options, Rendition},
    variants::{Freshness, Tier, Variant, What},
    wait::Wait,
};

/// What an edge was asked for, as it was sent.
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
/// How he who asked an edge is to be answered.
pub(super) const PINHOLE_STATUS: HeaderName = HeaderName::from_static("pinhole-status");

/// What is to be counted and logged of an answer once it is there. What turns out to need waiting for is asked
/// once more where one may wait, and counted there alone.
struct Noted {
    started: Instant,
    link: Option<&'static str>,
    decision: Option<Decision>,
    tier: Option<Tier>,
}

impl Noted {
    fn new() -> Self {
        Self { started: Instant::now(), link: None, decision: None, tier: None }
    }

    fn write(&self, app: &App) {
        if let Some(verdict) = self.link {
            app.metrics.link_verified(verdict);
        }
        if let Some(decision) = &self.decision {
            app.decisions.record(decision);
        }
        if let Some(tier) = self.tier {
            app.metrics.served(tier.as_str(), self.started.elapsed());
        }
    }
}

pub(super) async fn deliver(cx: &Context<'_>, id: &str, options: &str) -> Answer {
    let mut noted = Noted::new();
    let mut answer = answer(cx, id, options, &mut noted).await;
    noted.write(cx.app);
    // Where it is put costs something, and only who logs it looks there.
    if let (Ok(answer), Some(tier), true) = (&mut answer, noted.tier, cx.app.requests.has_all()) {
        answer.extensions_mut().insert(tier);
    }
    answer
}

async fn answer(cx: &Context<'_>, id: &str, options: &str, noted: &mut Noted) -> Answer {
    let started = noted.started;
    let asked = ask(cx, cx.uri.path(), cx.uri.query(), id, options, noted).await?;
    let permit = permit(cx, &asked, cx.now_micros, noted).await?;
    let access = started.elapsed();

    let (what, interim, by_accept) = match &asked.rendition {
        Rendition::Raw => return Box::pin(files::raw(cx, &asked, permit, noted, access)).await,
        Rendition::Original if !is_kept(cx, &permit) => {
            return Box::pin(files::original(cx, &asked, permit, noted, access)).await;
        }
        Rendition::Original => (What::Original, None, false),
        Rendition::Variant(options) => {
            let (source, moves, accepts) = (permit.format(), permit.moves(), accepts(cx.headers));
            let plan = options.plan(source, moves, accepts);
            let interim = options.interim(source, moves, accepts).map(What::Rendered);
            (What::Rendered(plan), interim, options.varies_by_accept())
        }
    };
    let variants = &cx.app.variants;
    let client = client(cx, &asked);
    let found = match interim {
        None => variants
            .get(&permit, what, client, cx.wait)
            .await
            .map(|(variant, tier)| (variant, tier, Freshness::Settled)),
        Some(interim) => variants.get_best(&permit, what, interim, client, cx.wait).await,
    };
    let (variant, tier, freshness) = match found {
        Ok(found) => found,
        Err(error) => return Err(unless_gone(cx, &asked, noted, error).await),
    };
    let permit = still(cx, &asked, permit, noted).await?;
    noted.tier = Some(tier);
    let mut answer = respond(cx, &permit, by_accept, &variant, freshness, access, tier)?;
    if freshness == Freshness::Interim && asked.caller == Caller::Service {
        headers::interim_for_edge(answer.headers_mut(), &cx.app.config.cache);
    }
    Ok(answer)
}

/// Whose share of the machine the request takes.
fn client(cx: &Context<'_>, asked: &Asked) -> Client {
    cx.app.clients.of(asked.caller.user(), cx.headers, cx.peer)
}

/// Whether the original is known to be one that is kept in memory.
fn is_kept(cx: &Context<'_>, permit: &Permit) -> bool {
    permit.original().is_some_and(|original| cx.app.variants.keeps(original))
}

/// Why there are no bytes. An image that was deleted between the decision and the read is simply not there any
/// more.
async fn unless_gone(cx: &Context<'_>, asked: &Asked, noted: &mut Noted, error: impl Into<Error>) -> Error {
    match permit(cx, asked, clock::now_micros(), noted).await {
        Ok(_) => error.into(),
        Err(gone) => gone,
    }
}

/// `GET /authz`: whether what an edge has been asked for may be seen, by whoever asked it. The edge passes on
/// his own Cookie and Authorization, and in `X-Original-URI` what he asked for, as he sent it.
///
/// 204, with what is to be said of the picture to him; or 403 with the status that he would have been answered here.
pub(super) async fn authorize(cx: &Context<'_>) -> Answer {
    let mut uris = cx.headers.get_all(X_ORIGINAL_URI).iter();
    let only = uris.next().filter(|_| uris.next().is_none()).and_then(|uri| uri.to_str().ok());
    let uri = only.ok_or_else(|| {
        Error::invalid_field(
            "X-Original-URI",
            format_args!("must be given once: the path and query asked for"),
        )
    })?;
    let mut noted = Noted::new();
    let authorized = authorized(cx, uri, &mut noted).await;
    noted.write(cx.app);
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match authorized {
        Ok(Some((basis, by_accept))) => headers::for_edge(out, basis, by_accept, &cx.app.config.cache),
        Ok(None) => {}
        Err(error) if error.status().is_client_error() => {
            out.insert(PINHOLE_STATUS, HeaderValue::from(error.status().as_u16()));
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
        Err(error) => return Err(error),
    }
    Ok(response)
}

/// Where the right to it comes from, and whether the picture depends on what is accepted; nothing for `raw`, which
/// no edge keeps.
async fn authorized(
    cx: &Context<'_>,
    uri: &str,
    noted: &mut Noted,
) -> Result<Option<(access::Basis, bool)>, Error> {
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let role = cx.app.config.server.role;
    let Route::Deliver { id, options } = route::find(&Method::GET, path, role, cx.app.dev)? else {
        return Err(Error::not_found());
    };
    let asked = ask(cx, path, query, id, options, noted).await?;
    let permit = permit(cx, &asked, cx.now_micros, noted).await?;
    match &asked.rendition {
        Rendition::Raw => {
            files::require_raw_may(&permit, &asked)?;
            Ok(None)
        }
        Rendition::Original => Ok(Some((permit.basis(), false))),
        Rendition::Variant(options) => Ok(Some((permit.basis(), options.varies_by_accept()))),
    }
}

/// A request for an image, before anything of the image is known.
struct Asked {
    link: Option<Verified>,
    caller: Caller,
    rendition: Rendition,
    image: ImageId,
}

async fn ask(
    cx: &Context<'_>,
    path: &str,
    query: Option<&str>,
    id: &str,
    options: &str,
    noted: &mut Noted,
) -> Result<Asked, Error> {
    let link = verified_link(cx, path, query, noted)?;
    let caller = cx.viewer().await?;
    let rendition = Rendition::parse(options, &cx.app.catalogue)?;
    if link.is_none() {
        require_unsigned_may(&cx.app.config.transform, &cx.app.catalogue, &rendition)?;
    }
    let image = ImageId::parse(id).ok_or(Denial::Unknown)?;
    Ok(Asked { link, caller, rendition, image })
}

/// What the client accepts: one list, over however many lines (RFC 9110 §5.3).
fn accepts(headers: &HeaderMap) -> Accepts {
    Accepts::parse(headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()))
}

/// The link that the request carries, if it has a query; any other query is refused.
fn verified_link(
    cx: &Context<'_>,
    path: &str,
    query: Option<&str>,
    noted: &mut Noted,
) -> Result<Option<Verified>, Error> {
    let Some(query) = query else { return Ok(None) };
    let verified = link::verify(&cx.app.links.ring(), path, query, clock::secs(cx.now_micros));
    noted.link = Some(verified.as_ref().map_or_else(|error| error.as_str(), |_| metrics::GOOD));
    Ok(Some(verified?))
}

/// Without a signature, only what `transform.unsigned` allows: anything else would let anybody fill
/// the caches and the cores with renders.
fn require_unsigned_may(
    transform: &Transform,
    catalogue: &Catalogue,
    rendition: &Rendition,
) -> Result<(), Error> {
    let Rendition::Variant(options) = rendition else { return Ok(()) };
    let may = |options: &Options| match transform.unsigned {
        Unsigned::Any => true,
        Unsigned::Listed => options.is_listed(&transform.widths) || catalogue.has_preset_of(options),
        Unsigned::None => false,
    };
    if may(options) {
        return Ok(());
    }
    let widths: Vec<String> = transform.widths.iter().map(u32::to_string).collect();
    let presets: Vec<&str> = catalogue.presets().collect();
    Err(Error::bad_request(
        "bad_options",
        match transform.unsigned {
            Unsigned::None => "Options need a signed link here; ask for one, or for `original`.".to_owned(),
            _ => format!(
                "These options need a signed link; without one, `width` alone or with `format` may be asked for, \
                 and `width` must be one of {}{}.",
                widths.join(", "),
                if presets.is_empty() {
                    String::new()
                } else {
                    format!("; or `preset`, one of {}", presets.join(", "))
                },
            ),
        },
    ))
}

/// The right to what was waited for: it may have gone, or have less time left, since it was asked for. Where
/// nobody waits, none has.
async fn still(cx: &Context<'_>, asked: &Asked, before: Permit, noted: &mut Noted) -> Result<Permit, Error> {
    match cx.wait {
        Wait::MayNot => Ok(before),
        Wait::May => permit(cx, asked, clock::now_micros(), noted).await,
    }
}

/// Asks what is known, then the rule, as of `now_micros`.
async fn permit(
    cx: &Context<'_>,
    asked: &Asked,
    now_micros: i64,
    noted: &mut Noted,
) -> Result<Permit, Error> {
    let Asked { image, caller, .. } = asked;
    let (image, link) = (*image, asked.link.as_ref());
    // A link speaks for itself, whoever follows it.
    let viewer = caller.user().filter(|_| link.is_none());
    let found = cx.app.rights.of_image(image, viewer, cx.wait).await?;
    let decided = match (found, link) {
        (None, _) => Err(Denial::Unknown),
        (Some((facts, _)), Some(link)) => access::honour(&facts, link, now_micros),
        (Some((facts, follows_owner)), None) => {
            access::decide(&facts, caller.viewer(follows_owner), now_micros)
        }
    };
    noted.decision = Some(Decision::new(image, caller, link.is_some(), &decided));
    Ok(decided?)
}

fn respond(
    cx: &Context<'_>,
    permit: &Permit,
    by_accept: bool,
    variant: &Variant,
    freshness: Freshness,
    access: Duration,
    tier: Tier,
) -> Answer {
    let selected = Selected::of(cx, &variant.about)?;
    let headers = headers::of_whole(&variant.about, permit, by_accept, freshness, &cx.app.config.cache);
    let bytes = variant.bytes.slice(selected.within(variant.bytes.len()));
    Ok(selected.answer(headers, full(bytes), access, tier))
}
