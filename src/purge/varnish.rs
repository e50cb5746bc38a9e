//! Varnish with vmod xkey: `PURGE /` with the tags in a header, which the VCL hands to `xkey.purge()`.
//! <https://github.com/varnish/varnish-modules/blob/master/src/vmod_xkey.vcc>

use bytes::Bytes;
use http::{Request, header};

use super::{RequestError, bearer, purge_method, tags};
use crate::{config::Secret, db::outbox::PurgeRow};

/// Several keys may stand in the header, with spaces between them; one is sent.
pub(super) fn request(
    url: &str,
    token: &Secret,
    purges: &[PurgeRow],
) -> Result<Request<Bytes>, RequestError> {
    let request = Request::builder()
        .method(purge_method()?)
        .uri(format!("{url}/"))
        .header("xkey-purge", tags(purges).join(" "))
        .header(header::AUTHORIZATION, bearer(token))
        .body(Bytes::new())?;
    Ok(request)
}
