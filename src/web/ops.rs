//! The operations listener: `/livez`, `/readyz`, `/metrics`. Not for the public.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{Body, full};
use crate::app::App;

/// Answers one request of an operator or a load balancer.
pub async fn handle(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        // It is served only once all listeners accept.
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => ready(&app).await,
        "/metrics" => {
            app.queues.observe();
            let (metrics, kind) = if takes_open_metrics(request.headers()) {
                (app.metrics.open_metrics(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
            } else {
                (app.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
            };
            let mut response = text(StatusCode::OK, metrics);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(header::VARY, HeaderValue::from_static("Accept"));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned()),
    }
}

/// Whether it is asked for by name. Who takes anything is given what anything reads.
fn takes_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let name = range.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("application/openmetrics-text")
    })
}

async fn ready(app: &App) -> Response<Body> {
    if app.is_draining() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    match app.ready().await {
        Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
