//! Looks at a picture through the edge: that it is kept, that a forged link is refused, and that a purge is obeyed.

mod copy;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Response;
use tokio::time::Instant;

use self::copy::Copy;
use super::{finding::Finding, tools::Asker};
use crate::{
    access::{self, Viewer},
    app::catalogue,
    cli::{look_at, require_there},
    clock,
    config::{Config, Place},
    db::{
        Db, checkup, facts,
        outbox::{PurgeRow, Reason, State},
    },
    id::ImageId,
    link::{self, KeyRing},
    purge::{Target, Verdict},
    render::Rendition,
    work::Courier,
};

/// How long the doctor's own link lives, in seconds.
const LINK_SECS: u64 = 300;
/// Between two looks at a picture: so that a copy has an `Age`, and another `Date` than a new answer.
const PAUSE: Duration = Duration::from_millis(1100);
/// How many of the newest images are considered.
const CANDIDATES: i64 = 20;

const IMAGE: &str = "edge.image";
const SHOWN: &str = "edge.shown";
const HIT: &str = "edge.hit";
const FORGED: &str = "edge.forged";
const PURGE: &str = "edge.purge";
const GONE: &str = "edge.purged";

/// What to look at, and through what.
pub(super) struct Wanted<'a> {
    /// The edge's origin, if the flags name it.
    pub(super) url: Option<&'a str>,
    /// The image, if the flags name it.
    pub(super) image: Option<ImageId>,
    pub(super) ring: &'a KeyRing,
}

/// A picture that is there.
struct Picture {
    image: ImageId,
    epoch: i64,
    url: String,
}

pub(super) async fn check(config: &Config, place: &Place, asker: &Asker, wanted: Wanted<'_>) -> Vec<Finding> {
    let targets = Target::all(&config.edge);
    if targets.is_empty() && wanted.url.is_none() {
        return vec![Finding::skipped(HIT, "edge.targets names no edge, and --edge none either")];
    }
    let probe = Some(config.edge.probe.url.as_str()).filter(|url| !url.is_empty());
    let origin = wanted.url.or(probe).unwrap_or(&config.server.public_url);
    let picture = match picture(config, place, origin, &wanted).await {
        Ok(picture) => picture,
        Err(finding) => return vec![finding],
    };
    let mut found = Vec::new();
    let seen = if origin.is_empty() {
        found.push(Finding::skipped(SHOWN, "server.public_url is not set, and --edge names no URL"));
        None
    } else {
        look(asker, origin, &picture, &mut found).await
    };
    found.extend(purge(config, asker, &targets, &picture).await);
    if !targets.is_empty() {
        let were_all_told = found.iter().filter(|finding| finding.check == PURGE).all(Finding::has_passed);
        found.push(match seen {
            None => Finding::skipped(
                GONE,
                "no copy was seen before, so that nothing would show whether it is gone",
            ),
            Some(_) if !were_all_told => Finding::skipped(GONE, "not every edge took the purge"),
            Some(seen) => gone(config, asker, &picture, &seen).await,
        });
    }
    found
}

/// The image that was named, or the newest that is public; by a link that is the doctor's own.
async fn picture(
    config: &Config,
    place: &Place,
    origin: &str,
    wanted: &Wanted<'_>,
) -> Result<Picture, Finding> {
    let away =
        |error: &dyn std::fmt::Display| Finding::skipped(IMAGE, format_args!("no image was found: {error}"));
    require_there(place).map_err(|failure| away(&failure.message))?;
    let db = look_at(place).await.map_err(|failure| away(&failure.message))?;
    let found = find(config, &db, wanted.image).await;
    db.close().await;
    let Some((image, epoch)) = found.map_err(|error| away(&error))? else {
        return Err(match wanted.image {
            Some(image) => Finding::fail(
                IMAGE,
                format_args!("{image} is no image that can be linked to"),
                "name one with --image that is ready, and not held",
            ),
            None => Finding::skipped(IMAGE, "there is no public image yet; name another one with --image"),
        });
    };
    let options = &config.edge.probe.options;
    let bad = |error: &dyn std::fmt::Display| Finding::fail(IMAGE, error, "mend edge.probe.options");
    let catalogue = catalogue::load(&config.transform).map_err(|error| bad(&error))?;
    let rendition = Rendition::parse(options, &catalogue).map_err(|error| bad(&error))?;
    let exp_secs = clock::secs(clock::now_micros()) + LINK_SECS;
    let path = format!("/i/{image}/{}", rendition.canonical());
    Ok(Picture { image, epoch, url: format!("{origin}{}", link::sign(wanted.ring, &path, exp_secs, epoch)) })
}

/// An image and the epoch that its links are bound to.
async fn find(
    config: &Config,
    db: &Db,
    named: Option<ImageId>,
) -> Result<Option<(ImageId, i64)>, crate::db::DbError> {
    let db = db.clone().judged_by(&config.rules).await?;
    let mut conn = db.read().await?;
    let candidates = match named {
        Some(image) => vec![image],
        // An app's own rules leave no trace on the row.
        None => checkup::newest_ready(&mut conn, db.rules().are_the_apps(), CANDIDATES).await?,
    };
    let viewer = if named.is_some() { Viewer::Service } else { Viewer::Anonymous };
    let mut known = facts::of_images(&mut conn, &candidates, None).await?;
    known.sort_unstable_by_key(|(facts, _)| std::cmp::Reverse(facts.image));
    let now_micros = clock::now_micros();
    let linkable = |(facts, _): (access::Facts, bool)| {
        let permit = access::decide(&facts, viewer, now_micros).ok()?;
        Some((permit.image(), permit.linkable_epoch()?))
    };
    Ok(known.into_iter().find_map(linkable))
}

/// Looks twice, and once with a forged link; what was seen the first time, if the second was a copy.
async fn look(
    asker: &Asker,
    origin: &str,
    picture: &Picture,
    found: &mut Vec<Finding>,
) -> Option<Response<Bytes>> {
    let first = match asker.get(&picture.url).await {
        Ok(answer) if answer.status() == 200 => answer,
        Ok(answer) => {
            found.push(Finding::fail(
                SHOWN,
                format_args!("{origin} answers with {} to a good link to {}", answer.status(), picture.image),
                match answer.status().as_u16() {
                    403 => "give edge and server the same links.keys as here (pinhole edge KIND prints the edge's)",
                    404 => "lead it to the pinhole that has this database",
                    _ => "look at the log of edge and server",
                },
            ));
            return None;
        }
        Err(error) => {
            let mend = "mend --edge, edge.probe.url or server.public_url, or start what is there";
            found.push(Finding::fail(SHOWN, format_args!("{origin}: {error}"), mend));
            return None;
        }
    };
    found.push(Finding::pass(SHOWN, format_args!("{origin} shows {} by a link", picture.image)));
    tokio::time::sleep(PAUSE).await;
    let copy = match asker.get(&picture.url).await {
        Ok(again) if again.body() == first.body() => copy::of(&again, &first),
        Ok(again) => Copy::Unknown(format!("it is shown otherwise the second time: {}", again.status())),
        Err(error) => Copy::Unknown(error.to_string()),
    };
    let is_hit = matches!(copy, Copy::Hit(_));
    found.push(match copy {
        Copy::Hit(why) => {
            Finding::pass(HIT, format_args!("the second time it is a copy of the edge's: {why}"))
        }
        Copy::Miss(why) => Finding::fail(
            HIT,
            format_args!("the second time it is asked of pinhole again: {why}"),
            "let the edge keep /i/ as Cache-Control says, s-maxage first (pinhole edge KIND prints how)",
        ),
        Copy::Unknown(why) => {
            Finding::skipped(HIT, format_args!("it cannot be told whether the edge keeps it: {why}"))
        }
    });
    found.push(forged(asker, picture).await);
    is_hit.then_some(first)
}

/// The same link with another signature, while the edge has a copy for the good one.
async fn forged(asker: &Asker, picture: &Picture) -> Finding {
    let (claim, sig) = picture.url.rsplit_once("&sig=").unwrap_or((&picture.url, ""));
    let other = if sig.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{claim}&sig={other}{}", sig.get(1..).unwrap_or_default());
    match asker.get(&forged).await {
        Ok(answer) if answer.status() == 403 => Finding::pass(FORGED, "a forged link is refused: 403"),
        Ok(answer) if answer.status().is_success() => Finding::fail(
            FORGED,
            "a forged link is shown the picture",
            "let the edge verify links, or have the whole query in its key (pinhole edge KIND prints how)",
        ),
        Ok(answer) => Finding::fail(
            FORGED,
            format_args!("a forged link is answered with {}", answer.status()),
            "let the edge pass on query and refusals as they are",
        ),
        Err(error) => Finding::skipped(FORGED, error),
    }
}

/// Has every edge forget the image, which it may fetch again at once.
async fn purge(config: &Config, asker: &Asker, targets: &[Target], picture: &Picture) -> Vec<Finding> {
    let courier = Courier::new(asker.0.clone());
    let patience = Duration::from_secs(config.edge.timeout_secs);
    let now_micros = clock::now_micros();
    let courier = &courier;
    let telling = stream::iter(targets).map(|target| async move {
        let purge = PurgeRow {
            target: target.name.clone(),
            image: picture.image,
            epoch: picture.epoch,
            reason: Reason::Revoked,
            state: State::First,
            due_micros: Some(now_micros),
            attempts: 1,
            since_micros: now_micros,
            last_error: None,
            created_micros: now_micros,
        };
        match courier.send(target, &[purge], patience).await {
            Verdict::Done => {
                Finding::pass(PURGE, format_args!("{} takes a purge of {}", target.name, picture.image))
            }
            Verdict::Failed(why, _) => {
                let setting = target.name.split('@').next().unwrap_or_default();
                Finding::fail(
                    PURGE,
                    format_args!("{} takes no purge: {why}", target.name),
                    format_args!(
                        "mend edge.targets.{setting}, its address and its secret, or start the edge there"
                    ),
                )
            }
        }
    });
    telling.buffered(config.edge.at_once).collect().await
}

/// Looks until it is no copy any more, for as long as a purge may take.
async fn gone(config: &Config, asker: &Asker, picture: &Picture, seen: &Response<Bytes>) -> Finding {
    let give_up = Instant::now() + Duration::from_secs(config.edge.timeout_secs);
    loop {
        let copy = match asker.get(&picture.url).await {
            Ok(answer) => copy::of(&answer, seen),
            Err(error) => Copy::Unknown(error.to_string()),
        };
        match copy {
            Copy::Miss(why) => return Finding::pass(GONE, format_args!("the copy is gone: {why}")),
            Copy::Unknown(why) => return Finding::skipped(GONE, format_args!("it cannot be told: {why}")),
            Copy::Hit(why) if Instant::now() >= give_up => {
                return Finding::fail(
                    GONE,
                    format_args!("after {} s the edge still shows its copy: {why}", config.edge.timeout_secs),
                    "name every cache in front in edge.targets, and let each purge by Cache-Tag, Surrogate-Key or path",
                );
            }
            Copy::Hit(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
