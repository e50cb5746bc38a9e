//! What browsers are told: preflights, and who may read an answer. s3s knows nothing of it.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html>

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{
    disk::{CorsRule, Disk},
    xml_error,
};
use crate::store::cors::like;

/// The part of a request that its bucket's rules are about.
pub(super) struct Asked {
    bucket: String,
    origin: HeaderValue,
    method: String,
    headers: Vec<String>,
}

impl Asked {
    /// What a request with an `Origin` asks for, or a preflight on its behalf;
    /// `None` when no browser is concerned.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let head = |name: HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
        let origin = request.headers().get(header::ORIGIN)?.clone();
        let (method, headers) = if request.method() == Method::OPTIONS {
            let headers = head(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default().split(',');
            let headers = headers.map(|name| name.trim().to_ascii_lowercase());
            (head(header::ACCESS_CONTROL_REQUEST_METHOD)?, headers.filter(|n| !n.is_empty()).collect())
        } else {
            (request.method().as_str(), vec![])
        };
        let bucket = request.uri().path().split('/').nth(1)?.to_owned();
        Some(Self { bucket, origin, method: method.to_owned(), headers })
    }

    /// The headers that let a script of this origin do so, from the first rule
    /// that allows it.
    pub(super) async fn allowed(self, disk: Arc<Disk>) -> Option<HeaderMap> {
        let read = tokio::task::spawn_blocking(move || (disk.cors(&self.bucket), self));
        let (rules, asked) = read.await.ok()?;
        // No bucket, no rules: neither tells an outsider more than the other.
        let rules = rules.unwrap_or_default();
        rules.iter().find(|rule| asked.matches(rule)).map(|rule| asked.answer(rule))
    }

    fn matches(&self, rule: &CorsRule) -> bool {
        let Ok(origin) = self.origin.to_str() else { return false };
        rule.methods.contains(&self.method)
            && rule.origins.iter().any(|pattern| like(pattern, origin))
            && self
                .headers
                .iter()
                .all(|name| rule.headers.iter().any(|pattern| like(&pattern.to_ascii_lowercase(), name)))
    }

    fn answer(&self, rule: &CorsRule) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut say = |name, text: String| {
            // What a rule holds came in XML and need not fit into a header.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        say(header::ACCESS_CONTROL_ALLOW_METHODS, rule.methods.join(", "));
        if !self.headers.is_empty() {
            say(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.join(", "));
        }
        if !rule.exposed.is_empty() {
            say(header::ACCESS_CONTROL_EXPOSE_HEADERS, rule.exposed.join(", "));
        }
        if let Some(secs) = rule.max_age_secs {
            say(header::ACCESS_CONTROL_MAX_AGE, secs.to_string());
        }
        let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
        headers.insert(header::VARY, HeaderValue::from_static(vary));
        let anyone = rule.origins.iter().any(|origin| origin == "*");
        let origin = if anyone { HeaderValue::from_static("*") } else { self.origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers
    }
}

/// The answer to `OPTIONS`, which needs no signature: a browser sends none.
pub(super) fn preflight(allowed: Option<HeaderMap>) -> Response<s3s::Body> {
    let Some(headers) = allowed else {
        return xml_error(StatusCode::FORBIDDEN, "AccessForbidden", "This CORS request is not allowed.");
    };
    let mut answer = Response::new(s3s::Body::empty());
    *answer.headers_mut() = headers;
    answer
}
