//! Tries the bucket: whether it lets us in, does what it is asked, keeps the time, and keeps everybody else out.

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

use super::{
    cors,
    finding::Finding,
    tools::within,
    uploads,
    workbench::{BODY, Workbench},
};
use crate::{cli::serve, store::StoreError};

/// How many checks are under way at once.
const AT_ONCE: usize = 4;

const REACHED: &str = "bucket.reached";
const OBJECT: &str = "bucket.object";
const CLOCK: &str = "bucket.clock";
const PRIVATE: &str = "bucket.private";
const UNLISTED: &str = "bucket.unlisted";
const VERSIONS: &str = "bucket.versions";
const NOT_REACHED: &str = "the bucket does not let pinhole in";

pub(super) async fn check(bench: Workbench<'_>) -> Vec<Finding> {
    let reached = reached(&bench).await;
    let has_been = reached.has_passed();
    let mut checks: Vec<LocalBoxFuture<'_, Vec<Finding>>> = vec![
        within(CLOCK, async { vec![bench.asker.clock(CLOCK, "the bucket", &bench.urls[0]).await] })
            .boxed_local(),
        within(UNLISTED, unlisted(&bench)).boxed_local(),
        within(cors::OWN, cors::check(&bench)).boxed_local(),
    ];
    if has_been {
        checks.insert(0, within(OBJECT, object(&bench)).boxed_local());
        checks.insert(2, within(PRIVATE, private(&bench)).boxed_local());
        checks.push(within(VERSIONS, versions(&bench)).boxed_local());
        checks.push(within(uploads::POST, uploads::posts(&bench)).boxed_local());
        checks.push(within(uploads::PUT, uploads::puts(&bench)).boxed_local());
    }
    let mut found = vec![reached];
    found.extend(stream::iter(checks).buffered(AT_ONCE).concat().await);
    if !has_been {
        let left_out = [OBJECT, PRIVATE, VERSIONS, uploads::POST, uploads::PUT];
        found.extend(left_out.map(|check| Finding::skipped(check, NOT_REACHED)));
    }
    found
}

async fn reached(bench: &Workbench<'_>) -> Finding {
    let name = serve::bucket_name(bench.settings);
    match bench.store.ping().await {
        Ok(()) => Finding::pass(REACHED, name),
        Err(error) => Finding::fail(REACHED, format_args!("{name}: {error}"), serve::bucket_mend(&error)),
    }
}

/// All that pinhole itself does with an object.
async fn object(bench: &Workbench<'_>) -> Vec<Finding> {
    let object = bench.litter.object();
    let at = |what: &str, error: StoreError| {
        let mend = match error {
            StoreError::Denied(_) => {
                "allow pinhole s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there"
            }
            _ => serve::bucket_mend(&error),
        };
        vec![Finding::fail(OBJECT, format_args!("{what}: {error}"), mend)]
    };
    let not_so = |what: &str| {
        let mend =
            "look at what is between pinhole and the bucket: it must change no byte, and answer ranges";
        vec![Finding::fail(OBJECT, what, mend)]
    };
    if let Err(error) = bench.store.put(&object, Bytes::from_static(BODY)).await {
        return at("writing an object", error);
    }
    match bench.holds(&object, BODY).await {
        Ok(true) => {}
        Ok(false) => return not_so("an object that was written is read as something else"),
        Err(error) => return at("reading an object", error),
    }
    let (first, last) = (2_u8, 6_u8);
    match bench.store.stream(&object, Some(first.into()..=last.into())).await {
        Ok(body) => match body.collect().await.map(http_body_util::Collected::to_bytes) {
            Ok(part) if part == BODY[first.into()..=last.into()] => {}
            Ok(_) => return not_so("a part of an object is read as something else"),
            Err(error) => return at("reading a part of an object", error),
        },
        Err(error) => return at("reading a part of an object", error),
    }
    match bench.store.list(&object.key(), "", 1).await {
        Ok(page) if page.objects.iter().any(|listed| listed.key == object.key()) => {}
        Ok(_) => return not_so("an object that was written is not listed"),
        Err(error) => return at("listing objects", error),
    }
    if let Err(error) = bench.store.delete(std::slice::from_ref(&object)).await {
        return at("deleting an object", error);
    }
    match bench.store.head(&object).await {
        Ok(None) => vec![Finding::pass(OBJECT, "written, read whole and in part, listed, and deleted")],
        Ok(Some(_)) => not_so("an object that was deleted is there"),
        Err(error) => at("asking for a deleted object", error),
    }
}

/// What it means that somebody who is nobody was answered so.
enum Openness {
    Closed,
    Open,
    Unclear(String),
}

impl Openness {
    /// R2 refuses with 400 who signs nothing.
    fn of(status: StatusCode) -> Self {
        match status {
            _ if status.is_success() => Self::Open,
            _ if status.is_client_error() => Self::Closed,
            _ => Self::Unclear(format!("it answers with {status}, which is no refusal")),
        }
    }
}

/// What nobody who has signed nothing may do, at either endpoint.
async fn refused_to_anybody(
    bench: &Workbench<'_>,
    check: &'static str,
    what: &str,
    tries: &[(Method, String)],
) -> Finding {
    for (method, url) in tries {
        let body = if *method == Method::PUT { Bytes::from_static(BODY) } else { Bytes::new() };
        let openness = match bench.asker.ask(method.clone(), url, &[], body).await {
            Ok(answer) => Openness::of(answer.status()),
            Err(error) => Openness::Unclear(error.to_string()),
        };
        match openness {
            Openness::Closed => {}
            Openness::Open => {
                return Finding::fail(
                    check,
                    format_args!("anybody may {method} {url}, without any signature"),
                    format_args!(
                        "make the bucket private: block all public access (aws s3api put-public-access-block --bucket \
                         {}), and take away its website and every policy or ACL for anybody",
                        bench.settings.bucket
                    ),
                );
            }
            Openness::Unclear(why) => {
                return Finding::fail(
                    check,
                    format_args!("{method} {url}: {why}"),
                    "mend bucket.endpoint or bucket.public_endpoint, or what is in front of the bucket there",
                );
            }
        }
    }
    Finding::pass(check, what)
}

/// An object that is there, asked for by nobody.
async fn private(bench: &Workbench<'_>) -> Vec<Finding> {
    let object = bench.litter.object();
    if let Err(error) = bench.store.put(&object, Bytes::from_static(BODY)).await {
        return vec![Finding::skipped(PRIVATE, format_args!("there is no object to ask for: {error}"))];
    }
    let urls = bench.endpoints().iter().map(|url| format!("{url}/{}", object.key()));
    let tries: Vec<_> = urls.flat_map(|url| [(Method::GET, url.clone()), (Method::PUT, url)]).collect();
    let what = "nobody reads or writes an object without a signature";
    vec![refused_to_anybody(bench, PRIVATE, what, &tries).await]
}

async fn unlisted(bench: &Workbench<'_>) -> Vec<Finding> {
    let list = |url: &String| (Method::GET, format!("{url}?list-type=2&max-keys=1"));
    let tries: Vec<_> = bench.endpoints().iter().map(list).collect();
    vec![refused_to_anybody(bench, UNLISTED, "nobody lists objects without a signature", &tries).await]
}

async fn versions(bench: &Workbench<'_>) -> Vec<Finding> {
    vec![match bench.store.keeps_versions().await {
        Ok(false) => Finding::pass(VERSIONS, "no versions are kept of what is deleted"),
        Ok(true) => Finding::failure(VERSIONS, &serve::VERSIONS.replacen(": ", "; ", 1)),
        Err(error) => {
            Finding::skipped(VERSIONS, format_args!("it cannot be read whether they are kept: {error}"))
        }
    }]
}
