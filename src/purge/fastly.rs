//! Fastly: a batch of surrogate keys. <https://www.fastly.com/documentation/reference/api/purging/#bulk-purge-tag>

use bytes::Bytes;
use http::{Request, header};
use serde_json::json;

use super::{RequestError, tags};
use crate::{config::edge::Fastly, db::outbox::PurgeRow};

/// The most keys in one request.
pub(super) const MAX_KEYS: usize = 256;

/// Without `Fastly-Soft-Purge`, which would let stale copies be shown.
pub(super) fn request(to: &Fastly, purges: &[PurgeRow]) -> Result<Request<Bytes>, RequestError> {
    let body = json!({ "surrogate_keys": tags(purges) });
    let request = Request::post(format!("{}/service/{}/purge", to.api_url, to.service_id))
        .header("Fastly-Key", to.token.expose())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())?;
    Ok(request)
}
