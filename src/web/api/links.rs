//! `POST /v1/links`: signed links for images that the caller may see.

use std::collections::HashMap;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    super::{Answer, Context, sent::Sent},
    json,
    whole::Whole,
};
use crate::{
    access::{self, Facts, Permit},
    clock,
    db::facts,
    error::Error,
    id::ImageId,
    identity::Caller,
    link,
    render::Rendition,
};

/// The most links in one call, widths counted.
const MAX_LINKS: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    images: Vec<WantedImage>,
    /// Seconds that the links must live at least.
    expires_in: Option<Whole<u64>>,
    /// One link for each of these widths, in pixels, for a `srcset`.
    widths: Option<Vec<Whole<u32>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedImage {
    id: String,
    options: String,
}

#[derive(Serialize)]
struct Answered {
    links: Vec<LinkView>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LinkView {
    Link { id: String, options: String, url: String, expires_at: String },
    Refused { id: String, error: &'static str, detail: String },
}

/// `POST /v1/links`
pub(in crate::web) async fn create(cx: &Context<'_>, body: Sent<'_>) -> Answer {
    let caller = cx.caller().await?;
    if caller == Caller::Anonymous {
        return Err(Error::unauthenticated(
            "Sign in to mint links: send Authorization: Bearer <token or service key>.",
        ));
    }
    if let Some(user) = caller.user() {
        cx.ensure(user).await?;
    }
    let wanted: Wanted = cx.json(body).await?;
    let lifetime_secs = lifetime_secs(cx, &caller, wanted.expires_in.map(|Whole(secs)| secs))?;
    let widths: Vec<u32> = wanted.widths.unwrap_or_default().into_iter().map(|Whole(width)| width).collect();
    if wanted.images.len() * widths.len().max(1) > MAX_LINKS {
        return Err(Error::invalid_field(
            "images",
            format_args!("at most {MAX_LINKS} links may be asked for at once, widths counted"),
        ));
    }

    let ids: Vec<ImageId> = wanted.images.iter().filter_map(|image| ImageId::parse(&image.id)).collect();
    let found = facts::of_images(&mut cx.app.db.read().await?, &ids, caller.user()).await?;
    let found: HashMap<ImageId, (Facts, bool)> =
        found.into_iter().map(|known| (known.0.image, known)).collect();

    let mut links = Vec::with_capacity(wanted.images.len() * widths.len().max(1));
    for image in &wanted.images {
        match renditions(cx, &image.options, &widths) {
            Ok(renditions) => {
                let permit = permit(cx, &caller, &found, &image.id);
                links.extend(renditions.iter().map(|rendition| match &permit {
                    Ok((permit, epoch)) => mint(cx, permit, *epoch, rendition, lifetime_secs),
                    Err(error) => refused(&image.id, error),
                }));
            }
            // One answer for each width here too, so that answers can be told apart by their place.
            Err(error) => links.extend((0..widths.len().max(1)).map(|_| refused(&image.id, &error))),
        }
    }
    json(StatusCode::OK, &Answered { links })
}

fn lifetime_secs(cx: &Context<'_>, caller: &Caller, asked: Option<u64>) -> Result<u64, Error> {
    let settings = &cx.app.config.links;
    let max = if *caller == Caller::Service { settings.max_service_secs } else { settings.max_user_secs };
    let secs = asked.unwrap_or(settings.default_secs);
    if (1..=max).contains(&secs) {
        Ok(secs)
    } else {
        Err(Error::invalid_field("expires_in", format_args!("must be 1 to {max} seconds")))
    }
}

/// What is to be linked: the options as they are, or once for each width.
fn renditions(cx: &Context<'_>, options: &str, widths: &[u32]) -> Result<Vec<Rendition>, Error> {
    let rendition = Rendition::parse(options, &cx.app.catalogue)?;
    match rendition {
        Rendition::Raw => Err(Error::bad_request(
            "bad_options",
            "`raw` is never linked; its owner asks for it with his own token.",
        )),
        rendition if widths.is_empty() => Ok(vec![rendition]),
        Rendition::Original => {
            Err(Error::bad_request("bad_options", "`original` has one width; leave `widths` out."))
        }
        Rendition::Variant(options) => {
            widths.iter().map(|width| Ok(Rendition::Variant(options.clone().with_width(*width)?))).collect()
        }
    }
}

fn permit(
    cx: &Context<'_>,
    caller: &Caller,
    found: &HashMap<ImageId, (Facts, bool)>,
    id: &str,
) -> Result<(Permit, i64), Error> {
    let (facts, follows_owner) =
        ImageId::parse(id).and_then(|id| found.get(&id)).ok_or_else(Error::not_found)?;
    let permit = access::decide(facts, caller.viewer(*follows_owner), cx.now_micros)?;
    let epoch = permit.linkable_epoch();
    let held = || Error::forbidden("image_held", "The image is held; it is not linked until it is released.");
    Ok((permit, epoch.ok_or_else(held)?))
}

fn mint(
    cx: &Context<'_>,
    permit: &Permit,
    epoch: i64,
    rendition: &Rendition,
    lifetime_secs: u64,
) -> LinkView {
    let image = permit.image();
    let settings = &cx.app.config.links;
    let exp_secs =
        link::windowed_exp(image, clock::secs_up(cx.now_micros), lifetime_secs, settings.window_secs);
    let options = rendition.canonical();
    let signed = link::sign(&cx.app.links.ring(), &format!("/i/{image}/{options}"), exp_secs, epoch);
    LinkView::Link {
        id: image.to_string(),
        options,
        url: format!("{}{signed}", cx.app.config.server.public_url),
        expires_at: clock::rfc3339(clock::after(0, exp_secs)),
    }
}

fn refused(id: &str, error: &Error) -> LinkView {
    // Ids are 36 characters; more than that is not worth echoing.
    let id = id.chars().take(64).collect();
    LinkView::Refused { id, error: error.code(), detail: error.detail().to_owned() }
}
