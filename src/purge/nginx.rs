//! nginx, by the protocol of the configurations in `nginx/`: `PURGE /i/<id>`, with a token.

use bytes::Bytes;
use http::{Request, header};

use super::{RequestError, bearer, images, purge_method};
use crate::{config::Secret, db::outbox::PurgeRow};

/// One image; any 2xx says that it is forgotten, or was not there.
pub(super) fn request(
    url: &str,
    token: &Secret,
    purges: &[PurgeRow],
) -> Result<Request<Bytes>, RequestError> {
    let image = images(purges).first().map(ToString::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(purge_method()?)
        .uri(format!("{url}/i/{image}"))
        .header(header::AUTHORIZATION, bearer(token))
        .body(Bytes::new())?;
    Ok(request)
}
