//! Anything else: a signed request, as Standard Webhooks has it.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, header};
use serde_json::json;
use sha2::Sha256;

use super::{RequestError, tag};
use crate::{clock, db::outbox::PurgeRow};

/// The id is the same however often it is tried, so that a receiver can tell what he has had.
pub(super) fn request(
    url: &str,
    key: &[u8],
    purges: &[PurgeRow],
    now_micros: i64,
) -> Result<Request<Bytes>, RequestError> {
    let signing = |error: &dyn std::fmt::Display| RequestError::Signing(error.to_string());
    let purge = purges.first().ok_or_else(|| signing(&"nothing is to be purged"))?;
    let id = format!("purge-{}-{}-{}", purge.image, purge.epoch, purge.since_micros);
    let body = json!({
        "type": "image.purge",
        "timestamp": clock::rfc3339(purge.created_micros),
        "data": {
            "image_id": purge.image.to_string(),
            "tag": tag(purge.image),
            "path": format!("/i/{}/", purge.image),
            "epoch": purge.epoch,
            "reason": purge.reason.as_str(),
        },
    })
    .to_string();
    let timestamp = clock::secs(now_micros).to_string();
    let mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| signing(&error))?;
    let mac = mac.chain_update(format!("{id}.{timestamp}.{body}")).finalize().into_bytes();
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(mac)))
        .body(body.into())?;
    Ok(request)
}
