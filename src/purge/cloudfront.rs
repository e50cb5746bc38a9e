//! Amazon CloudFront: an invalidation, by paths or by cache tags.
//! <https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html>
//!
//! It is accepted at once and done within seconds; `edge.probe` measures when.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{Request, header};
use sha2::{Digest as _, Sha256};

use super::{RequestError, images};
use crate::{
    config::edge::{By, Cloudfront},
    db::outbox::PurgeRow,
};

/// The most paths with `*` that may be in progress, and so in one request; more are refused until some are done.
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/InvalidationLimits.html>
pub(super) const MAX_WILDCARDS: usize = 15;
/// How many tags are named in one request; the API names no bound below 3000 paths.
pub(super) const MAX_TAGS: usize = 100;
/// Where the one API of all distributions is signed for.
/// <https://docs.aws.amazon.com/general/latest/gr/cf_region.html>
const REGION: &str = "us-east-1";

pub(super) fn request(
    to: &Cloudfront,
    purges: &[PurgeRow],
    now_micros: i64,
    credentials: Credentials,
) -> Result<Request<Bytes>, RequestError> {
    let body = document(to.by, purges);
    let url = format!("{}/2020-05-31/distribution/{}/invalidation", to.api_url, to.distribution_id);
    let request = Request::post(&url).header(header::CONTENT_TYPE, "text/xml").body(body.into())?;
    signed(request, &url, now_micros, credentials)
}

/// What is to be forgotten. Ids need no escaping.
fn document(by: By, purges: &[PurgeRow]) -> String {
    let images = images(purges);
    let mut paths = String::new();
    for image in &images {
        // Writing to a String cannot fail.
        let _ = match by {
            // The star stands for the query of a link, too.
            // <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-specifying-objects.html>
            By::Paths => write!(paths, "<Path>/i/{image}/*</Path>"),
            // <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-specifying-tags.html>
            By::Tags => write!(paths, "<Path>#img-{image}</Path>"),
        };
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
         <CallerReference>{}</CallerReference>\
         <Paths><Items>{paths}</Items><Quantity>{}</Quantity></Paths></InvalidationBatch>",
        reference(purges),
        images.len()
    )
}

/// The same as long as the same is tried again, so that what was accepted is not done twice; another one once it
/// was done, or was given up and is wanted again.
fn reference(purges: &[PurgeRow]) -> String {
    let mut rows: Vec<String> = purges
        .iter()
        .map(|purge| format!("{} {} {}\n", purge.image, purge.epoch, purge.since_micros))
        .collect();
    rows.sort_unstable();
    let hash = Sha256::digest(rows.concat());
    hash.iter().take(16).fold("pinhole-".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn signed(
    mut request: Request<Bytes>,
    url: &str,
    now_micros: i64,
    credentials: Credentials,
) -> Result<Request<Bytes>, RequestError> {
    let failed = |error: &dyn std::fmt::Display| RequestError::Signing(error.to_string());
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("cloudfront")
        .time(UNIX_EPOCH + Duration::from_micros(u64::try_from(now_micros).unwrap_or_default()))
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error))?;
    let headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(request.body()))
        .map_err(|error| failed(&error))?;
    let (instructions, _) = sign(signable, &params.into()).map_err(|error| failed(&error))?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}
