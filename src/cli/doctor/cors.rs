//! Asks the bucket what a browser asks before a page of another origin uploads to it.
//!
//! <https://fetch.spec.whatwg.org/#cors-preflight-fetch>

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, Method, Response, header};

use super::{finding::Finding, workbench::Workbench};
use crate::{
    cli::serve,
    fetch::FetchError,
    id::BlobKey,
    store::{CorsRule, Named as _, Object},
};

/// How many origins are asked for at once.
const AT_ONCE: usize = 4;

/// Of the pages that are to upload.
pub(super) const OWN: &str = "bucket.cors";
/// Of all others.
const FOREIGN: &str = "bucket.cors.foreign";

pub(super) async fn check(bench: &Workbench<'_>) -> Vec<Finding> {
    vec![own(bench).await, foreign(bench).await]
}

/// A page asks so before it PUTs; and before it POSTs, once it shows how far that is.
async fn preflight(
    bench: &Workbench<'_>,
    origin: &str,
    method: &str,
    headers: &str,
) -> Result<Response<Bytes>, FetchError> {
    let bucket = &bench.urls[1];
    let url = if method == "PUT" {
        // Nothing is there, and nothing will be.
        format!("{bucket}/{}", Object::incoming(&BlobKey::random(), "image/png").name().key())
    } else {
        bucket.clone()
    };
    let asks = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    let asks = &asks[..2 + usize::from(!headers.is_empty())];
    bench.asker.ask(Method::OPTIONS, &url, asks, Bytes::new()).await
}

/// Whether a header's list has the word, or the star that stands for all.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|listed| {
        let listed = listed.trim();
        listed == "*" || listed.eq_ignore_ascii_case(word)
    })
}

fn allows(answer: &Response<Bytes>, origin: &str) -> bool {
    let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    answer.status().is_success() && allowed.is_some_and(|allowed| allowed == origin || allowed == "*")
}

/// Why a page of this origin may not send so; `None` if it may.
async fn refusal(bench: &Workbench<'_>, origin: &str, method: &str, headers: &[String]) -> Option<String> {
    let answer = match preflight(bench, origin, method, &headers.join(",")).await {
        Ok(answer) => answer,
        Err(error) => return Some(error.to_string()),
    };
    if !allows(&answer, origin) {
        return Some(format!("a preflight of {origin} for {method} is answered with {}", answer.status()));
    }
    let said = answer.headers();
    // POST is one of the methods that need no leave of their own.
    if method != "POST" && !lists(said, &header::ACCESS_CONTROL_ALLOW_METHODS, method) {
        return Some(format!("a preflight of {origin} does not allow {method}"));
    }
    let missing = headers.iter().find(|name| !lists(said, &header::ACCESS_CONTROL_ALLOW_HEADERS, name))?;
    Some(format!("a preflight of {origin} for {method} does not allow the header {missing}"))
}

async fn own(bench: &Workbench<'_>) -> Finding {
    let origins = &bench.config.bucket.cors_origins;
    if origins.is_empty() {
        return Finding::skipped(
            OWN,
            "bucket.cors_origins is empty: no web page is to upload straight to the bucket",
        );
    }
    if let Some(endpoint) = serve::closed_endpoint(bench.config, bench.settings) {
        return Finding::failure(OWN, &serve::no_page_reaches(endpoint).replacen(": ", "; ", 1));
    }
    let asking = stream::iter(origins).map(|origin| async move {
        let headers = CorsRule::for_uploads(origin).headers;
        match refusal(bench, origin, "PUT", &headers).await {
            None => refusal(bench, origin, "POST", &[]).await,
            refused => refused,
        }
    });
    let refused: Vec<String> = asking.buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    if refused.is_empty() {
        return Finding::pass(OWN, format_args!("pages of {} may PUT and POST", origins.join(", ")));
    }
    Finding::fail(
        OWN,
        refused.join("; "),
        format_args!(
            "aws s3api put-bucket-cors --bucket {} --cors-configuration '{}', with the rules that it has already",
            bench.settings.bucket,
            CorsRule::document(origins)
        ),
    )
}

async fn foreign(bench: &Workbench<'_>) -> Finding {
    // A name that nobody can have (RFC 6761, section 6.4).
    let origin = format!("https://{}.invalid", BlobKey::random());
    match preflight(bench, &origin, "PUT", "content-type").await {
        Ok(answer) if allows(&answer, &origin) => Finding::fail(
            FOREIGN,
            "a page of any origin may send to the bucket",
            "name the origins of bucket.cors_origins in the bucket's CORS rules, in place of *; on Garage, whose \
             preflights look at no rules of a bucket that only keys have a name for, give it a global alias",
        ),
        Ok(answer) => {
            Finding::pass(FOREIGN, format_args!("a page of another origin may not: {}", answer.status()))
        }
        Err(error) => Finding::skipped(FOREIGN, error),
    }
}
