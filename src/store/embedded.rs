//! The in-process S3 server of `pinhole dev`: authenticates, and answers from a data folder.
//!
//! Layers, top down: this file (who may ask), `cors` (what browsers are told), `forms` (how much
//! memory they may take), `front` (S3's operations), `request` and `answer` (S3's terms and ours),
//! `disk` (files). Signatures, policies and XML are s3s's.

mod answer;
mod cors;
mod disk;
mod forms;
mod front;
mod request;

use std::{path::Path, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use s3s::{
    HttpError,
    auth::SimpleAuth,
    config::{S3Config, StaticConfigProvider},
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, sync::watch};

pub use self::disk::DiskError;
use self::{disk::Disk, front::Front};
use crate::{config::Secret, server};

/// How far a signature's time may lie from ours, in seconds. s3s measures the
/// age of a POST policy by it as well, which must be allowed to live as long as
/// its own expiry says: seven days, the most that `SigV4` permits.
const MAX_SKEW_SECS: u32 = 7 * 24 * 60 * 60;
/// The longest request that is parsed as XML, in bytes: `DeleteObjects` with
/// 1000 keys of 1 KiB.
const MAX_XML_BYTES: usize = 2 * 1024 * 1024;
/// An S3 server on a data folder, ready to serve.
pub struct Server {
    service: S3Service,
    disk: Arc<Disk>,
}

/// What every connection shares.
#[derive(Clone)]
struct Shared {
    service: S3Service,
    disk: Arc<Disk>,
    forms: forms::Memory,
}

impl Server {
    /// Opens the data folder `root`, creating it if need be, for the one client
    /// that knows these keys. Blocks while it touches the disk, briefly.
    ///
    /// Fails with [`DiskError::InUse`] when another process has the folder open.
    pub fn open(root: &Path, access_key_id: &str, secret_access_key: &Secret) -> Result<Self, DiskError> {
        let disk = Arc::new(Disk::open(root)?);
        let mut builder = S3ServiceBuilder::new(Front { disk: Arc::clone(&disk) });
        // With keys set and no access policy, s3s refuses whoever has not signed.
        builder.set_auth(SimpleAuth::from_single(access_key_id, secret_access_key.expose()));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits()))));
        Ok(Self { service: builder.build(), disk })
    }

    /// Serves `listener` until `stop` turns true, then lets the requests under way end; the data
    /// folder is free again when this returns.
    pub async fn serve(self, listener: TcpListener, limits: server::Limits, stop: watch::Receiver<bool>) {
        let shared = Shared { service: self.service, disk: self.disk, forms: forms::Memory::new() };
        let answer = move |_, request| {
            let shared = shared.clone();
            async move { shared.answer(request).await }
        };
        server::serve(listener, limits, None, stop, answer).await;
    }
}

impl Shared {
    /// Tells a browser beside the answer whether its page may read it, refusals included.
    async fn answer(self, request: Request<Incoming>) -> Response<s3s::Body> {
        let allowed = match cors::Asked::of(&request) {
            Some(asked) => asked.allowed(self.disk).await,
            None => None,
        };
        if request.method() == Method::OPTIONS {
            return cors::preflight(allowed);
        }
        let ask = async |request| {
            let answer = self.service.call(request).await;
            answer.unwrap_or_else(|error| failed(&error))
        };
        let mut answer = match forms::length(&request) {
            None => ask(request.map(s3s::Body::from)).await,
            Some(bytes) => {
                let form = request.map(|body| s3s::Body::http_body(forms::Pieces::new(body)));
                self.forms.reserve(bytes, ask(form)).await
            }
        };
        answer.headers_mut().extend(allowed.unwrap_or_default());
        answer
    }
}

/// A refusal in S3's own form, for what never comes to s3s.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn xml_error(status: StatusCode, code: &'static str, message: &'static str) -> Response<s3s::Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(s3s::Body::from(xml));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// What s3s could not put into S3's own error document.
fn failed(error: &HttpError) -> Response<s3s::Body> {
    tracing::error!(?error, "the embedded bucket");
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn limits() -> S3Config {
    let mut config = S3Config::default();
    config.presigned_url_max_skew_time_secs = MAX_SKEW_SECS;
    config.xml_max_body_size = MAX_XML_BYTES;
    config.post_object_max_file_size = forms::MAX_FILE_BYTES;
    config.form_max_field_size = forms::MAX_FIELD_BYTES;
    config.form_max_fields_size = forms::MAX_FIELDS_BYTES;
    config
}
