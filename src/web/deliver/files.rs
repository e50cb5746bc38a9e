//! Files as they lie in the bucket: originals too large for memory, and `raw`. What is said of them is in the ledger,
//! so the bucket is asked for nothing but the bytes that are sent.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::Either;

use super::{Asked, Noted, Selected, client, respond, still, unless_gone};
use crate::{
    access::{Contents, Denial, Permit},
    error::Error,
    variants::{File, Freshness, Representation, Tier, What},
    web::{Answer, Context, full, headers},
};

/// An original that is not known to be kept in memory.
pub(super) async fn original(
    cx: &Context<'_>,
    asked: &Asked,
    permit: Permit,
    noted: &mut Noted,
    access: Duration,
) -> Answer {
    let client = client(cx, asked);
    let contents = if let Some(contents) = permit.original() {
        *contents
    } else {
        cx.wait.begin().await;
        match cx.app.variants.describe(&permit, client).await {
            Ok(contents) => contents,
            Err(error) => return Err(unless_gone(cx, asked, noted, error).await),
        }
    };
    if cx.app.variants.keeps(&contents) {
        return match cx.app.variants.get(&permit, What::Original, client, cx.wait).await {
            Ok((whole, tier)) => {
                let permit = still(cx, asked, permit, noted).await?;
                noted.tier = Some(tier);
                respond(cx, &permit, false, &whole, Freshness::Settled, access, tier)
            }
            Err(error) => Err(unless_gone(cx, asked, noted, error).await),
        };
    }
    send(cx, asked, permit, File::Original, &contents, noted, access).await
}

/// The very bytes that were uploaded, metadata and all: for the owner and the service themselves.
pub(super) async fn raw(
    cx: &Context<'_>,
    asked: &Asked,
    permit: Permit,
    noted: &mut Noted,
    access: Duration,
) -> Answer {
    require_raw_may(&permit, asked)?;
    let contents = *permit.raw();
    send(cx, asked, permit, File::Raw, &contents, noted, access).await
}

pub(super) fn require_raw_may(permit: &Permit, asked: &Asked) -> Result<(), Error> {
    if asked.link.is_some() || !permit.is_full() { Err(Denial::NotAllowed.into()) } else { Ok(()) }
}

/// Answers with what the client wants of a file. The bucket is asked last, and only if bytes are to be sent.
async fn send(
    cx: &Context<'_>,
    asked: &Asked,
    mut permit: Permit,
    file: File,
    contents: &Contents,
    noted: &mut Noted,
    access: Duration,
) -> Answer {
    let about = Representation::new(contents, permit.format());
    let selected = Selected::of(cx, &about)?;
    let body = if *cx.method == Method::HEAD || selected.range.is_empty() {
        full(Bytes::new())
    } else {
        cx.wait.begin().await;
        let variants = &cx.app.variants;
        let pass = variants.turn_to_stream(client(cx, asked)).await?;
        // It may have been long in coming, and rights may have gone meanwhile.
        permit = still(cx, asked, permit, noted).await?;
        if file == File::Raw {
            require_raw_may(&permit, asked)?;
        }
        match variants.stream(&permit, file, contents, selected.range.clone(), pass).await {
            Ok(streamed) => Either::Right(streamed),
            Err(error) => return Err(unless_gone(cx, asked, noted, error).await),
        }
    };
    noted.tier = Some(Tier::Bucket);
    let headers = match file {
        File::Original => headers::of_whole(&about, &permit, false, Freshness::Settled, &cx.app.config.cache),
        File::Raw => headers::of_raw(&about, &permit),
    };
    Ok(selected.answer(headers, body, access, Tier::Bucket))
}
