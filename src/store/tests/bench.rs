//! The buckets that a test runs against: the embedded one, and a real server's if there is one.
//!
//! `PINHOLE_TEST_S3_ENDPOINT`, `_REGION`, `_ACCESS_KEY_ID` and `_SECRET_ACCESS_KEY` name a real server,
//! over plain http, on which every bench makes a bucket of its own, and `_BUCKET` one that is there
//! already: see `tests/with-garage`.

use std::ffi::OsStr;

use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::*;

/// A bucket, and a browser to send to it with.
pub(crate) struct Bench {
    pub(crate) store: Store,
    /// What to blame when a test fails.
    pub(crate) name: &'static str,
    http: HttpClient<HttpConnector, Full<Bytes>>,
    _embedded: Option<(TempDir, Running)>,
}

/// Status and head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// Every bucket at hand: each is new, and the test's alone.
pub(crate) async fn benches() -> Vec<Bench> {
    let (root, server, store) = bucket().await;
    let embedded = Bench::new("embedded", store, Some((root, server)));
    with_external(embedded, || format!("bench-{}", BlobKey::random())).await
}

/// The same, with the bucket that everybody on the real server knows by its name: Garage answers a
/// preflight for no other by its rules, since a name that one key made up may mean another bucket
/// to the next.
pub(super) async fn named_benches() -> Vec<Bench> {
    let (root, server, store) = bucket().await;
    with_external(Bench::new("embedded", store, Some((root, server))), || needed("BUCKET")).await
}

async fn with_external(embedded: Bench, name: impl FnOnce() -> String) -> Vec<Bench> {
    let mut benches = vec![embedded];
    if let Some(endpoint) = said("ENDPOINT") {
        let store = Store::connect(&external(endpoint, name()));
        store.ensure_bucket().await.unwrap();
        benches.push(Bench::new("external", store, None));
    }
    benches
}

fn said(name: &str) -> Option<String> {
    let name = format!("PINHOLE_TEST_S3_{name}");
    std::env::var_os(&name).as_deref().and_then(OsStr::to_str).map(str::to_owned)
}

fn needed(name: &str) -> String {
    said(name).unwrap_or_else(|| panic!("PINHOLE_TEST_S3_{name} is missing"))
}

fn external(endpoint: String, bucket: String) -> Settings {
    Settings {
        endpoint: Some(endpoint),
        public_endpoint: None,
        region: needed("REGION"),
        bucket,
        credentials: keys(&needed("ACCESS_KEY_ID"), &needed("SECRET_ACCESS_KEY")),
        force_path_style: true,
        operation_timeout: Duration::from_mins(1),
    }
}

impl Bench {
    fn new(name: &'static str, store: Store, embedded: Option<(TempDir, Running)>) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { store, name, http, _embedded: embedded }
    }

    /// Sends a request as it is.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.http.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        Answer { status: head.status, headers: head.headers, text }
    }

    /// Sends a form: these fields in this order, then the file.
    pub(super) async fn post<'a>(
        &self,
        url: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        file: &[u8],
    ) -> Answer {
        let form = form(fields, file);
        self.send(Method::POST, url, &[(header::CONTENT_TYPE.as_str(), FORM)], form).await
    }

    /// Whether exactly these bytes are stored under the object's name.
    pub(super) async fn holds(&self, object: &Object, bytes: &[u8]) -> bool {
        let length = self.store.head(object).await.unwrap();
        length == Some(bytes.len() as u64)
            && self.store.get(object, bytes.len() as u64).await.unwrap() == bytes
    }

    /// Asserts that a request was refused, and left nothing behind.
    pub(super) async fn refused(&self, what: &str, answer: Answer, object: &Object) {
        assert!(answer.status.is_client_error(), "{} took {what}: {answer:?}", self.name);
        let left = self.store.head(object).await.unwrap();
        assert_eq!(left, None, "{} refused {what} and kept it: {answer:?}", self.name);
    }
}

/// How the forms here call themselves.
pub(super) const FORM: &str = "multipart/form-data; boundary=--pinhole-boundary";

/// A form as a browser writes it (RFC 7578).
pub(super) fn form<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, file: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        let part = format!(
            "----pinhole-boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        form.extend(part.as_bytes());
    }
    form.extend(
        b"----pinhole-boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
          Content-Type: application/x-whatever\r\n\r\n",
    );
    form.extend(file);
    form.extend(b"\r\n----pinhole-boundary--\r\n");
    form
}

/// A fresh object that a client is to send.
pub(super) fn incoming() -> Object {
    Object::incoming(&BlobKey::random(), "image/png")
}
