//! Cloudflare: a purge by cache tags. <https://developers.cloudflare.com/cache/how-to/purge-cache/purge-by-tags/>

use bytes::Bytes;
use http::{Request, Response, header};
use serde::Deserialize;
use serde_json::json;

use super::{RequestError, Verdict, bearer, judge, tags};
use crate::{config::edge::Cloudflare, db::outbox::PurgeRow};

/// The most tags in one request, whatever the plan.
/// <https://developers.cloudflare.com/cache/how-to/purge-cache/#availability-and-limits>
pub(super) const MAX_TAGS: usize = 100;

/// Every answer of theirs says whether it worked.
#[derive(Deserialize)]
struct Answer {
    success: bool,
}

pub(super) fn request(to: &Cloudflare, purges: &[PurgeRow]) -> Result<Request<Bytes>, RequestError> {
    let body = json!({ "tags": tags(purges) });
    let request = Request::post(format!("{}/client/v4/zones/{}/purge_cache", to.api_url, to.zone_id))
        .header(header::AUTHORIZATION, bearer(&to.token))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())?;
    Ok(request)
}

pub(super) fn judge(answer: &Response<Bytes>) -> Verdict {
    let worked = serde_json::from_slice(answer.body()).is_ok_and(|Answer { success }| success);
    if answer.status().is_success() && worked { Verdict::Done } else { judge::failed(answer) }
}
