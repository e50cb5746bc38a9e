//! Uploads as clients do, straight to the bucket, and as they must not: too large, as something else, elsewhere,
//! and again.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};

use super::{
    finding::Finding,
    workbench::{BODY, Workbench},
};
use crate::{
    cli::serve,
    clock,
    fetch::FetchError,
    store::{Object, PostGrant, PutGrant, StoreError},
};

/// How long a grant lives that is used at once.
const GRANT: Duration = Duration::from_mins(2);
/// What makes a form of its parts; no part has it.
const BOUNDARY: &str = "pinhole-doctor-5f1c4f0e2a";
/// One byte more than was granted.
const MORE: &[u8] = b"pinhole doctor: may be removed!";
/// As many as were granted, and others.
const OTHER: &[u8] = b"pinhole doctor: is sent again.";

pub(super) const POST: &str = "bucket.post";
pub(super) const PUT: &str = "bucket.put";

type Answer = Result<Response<Bytes>, FetchError>;

/// What was sent, and must be refused.
struct Wrong<'a> {
    check: &'static str,
    what: &'static str,
    answer: Answer,
    /// Where it must have changed nothing, and what lies there.
    object: &'a Object,
    before: Option<&'static [u8]>,
}

impl Workbench<'_> {
    /// A refusal tells something only where the same was taken when it was right.
    async fn refuses(&self, wrong: Wrong<'_>, was_right_taken: bool) -> Finding {
        let Wrong { check, what, answer, object, before } = wrong;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Finding::skipped(check, format_args!("{what}: {error}")),
        };
        let status = answer.status();
        let is_unchanged = match before {
            None => self.store.head(object).await.map(|found| found.is_none()),
            Some(bytes) => self.holds(object, bytes).await,
        };
        match is_unchanged {
            Ok(true) if !status.is_success() && was_right_taken => {
                Finding::pass(check, format_args!("{what} is refused: {status}"))
            }
            Ok(true) if !status.is_success() => Finding::skipped(
                check,
                format_args!("{what} is refused ({status}), but so is what was granted"),
            ),
            Ok(_) => Finding::fail(
                check,
                format_args!("{what} is taken: {status}"),
                "this server does not enforce grants: mend or renew it, take away any policy that lets anybody write, \
                 or let no client upload straight to it",
            ),
            Err(error) => {
                let what = format_args!("{what} is answered with {status}, and then: {error}");
                Finding::fail(check, what, serve::bucket_mend(&error))
            }
        }
    }

    /// What was sent exactly as granted, and must be there.
    async fn takes(&self, check: &'static str, what: &str, answer: Answer, object: &Object) -> Finding {
        let endpoint = "mend bucket.public_endpoint, bucket.region or the proxy in front of the bucket, which must pass \
                        on Host, path, query and headers as they were sent";
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Finding::fail(check, format_args!("{what}: {error}"), endpoint),
        };
        let status = answer.status();
        if !status.is_success() {
            let said = said(answer.body());
            return Finding::fail(check, format_args!("{what} is refused: {status} {said}"), endpoint);
        }
        match self.holds(object, BODY).await {
            Ok(true) => Finding::pass(check, format_args!("{what} is taken: {status}")),
            Ok(false) => Finding::fail(
                check,
                format_args!("{what} is answered with {status}, and yet it is not in the bucket"),
                "lead bucket.public_endpoint to the same bucket as bucket.endpoint",
            ),
            Err(error) => Finding::fail(check, &error, serve::bucket_mend(&error)),
        }
    }

    async fn post(&self, grant: &PostGrant, change: (&str, &str), file: &[u8]) -> Answer {
        let mut form = Vec::new();
        for (name, value) in &grant.fields {
            let value = if *name == change.0 { change.1 } else { value };
            let part =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            form.extend(part.as_bytes());
        }
        let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: image/png";
        form.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        form.extend(file);
        form.extend(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.asker.ask(Method::POST, &grant.url, &[("content-type", &content_type)], form).await
    }

    async fn put(
        &self,
        grant: &PutGrant,
        url: &str,
        content_type: Option<&str>,
        bytes: &'static [u8],
    ) -> Answer {
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        let header = |(name, value): (&&'static str, &'_ String)| {
            let value = content_type.filter(|_| is_type(name)).unwrap_or(value);
            (*name, value.to_owned())
        };
        let headers: Vec<(&str, String)> = grant.headers.iter().map(header).collect();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.asker.ask(Method::PUT, url, &headers, bytes).await
    }
}

/// What a refusal says (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>), without the rest, which
/// may repeat the request with its token.
fn said(document: &[u8]) -> String {
    let text = String::from_utf8_lossy(document);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split('<').next()?.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    [element("Code"), element("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

fn size() -> u64 {
    BODY.len() as u64
}

fn no_grant(check: &'static str, error: &StoreError) -> Vec<Finding> {
    vec![Finding::fail(check, format_args!("no grant could be made: {error}"), serve::bucket_mend(error))]
}

/// Forms: a policy with the exact key, type and length.
pub(super) async fn posts(bench: &Workbench<'_>) -> Vec<Finding> {
    const NONE: (&str, &str) = ("", "");
    let [right, strict, elsewhere] = [(); 3].map(|()| bench.litter.object());
    let (grant, wrongly) = tokio::join!(
        bench.store.presign_post(&right, size(), GRANT, clock::now_micros()),
        bench.store.presign_post(&strict, size(), GRANT, clock::now_micros()),
    );
    let (grant, wrongly) = match (grant, wrongly) {
        (Ok(grant), Ok(wrongly)) => (grant, wrongly),
        (Err(error), _) | (_, Err(error)) => return no_grant(POST, &error),
    };
    let answer = bench.post(&grant, NONE, BODY).await;
    if answer.as_ref().is_ok_and(|answer| answer.status() == 501) {
        let why = "this bucket takes no forms (501): let clients ask for \"method\": \"put\"";
        return vec![Finding::skipped(POST, why)];
    }
    let is_answered = answer.is_ok();
    let mut found = vec![bench.takes(POST, "a form as granted", answer, &right).await];
    if !is_answered {
        return found;
    }
    let was_right_taken = found[0].has_passed();
    let other_key = elsewhere.key();
    for (check, what, change, file, object) in [
        ("bucket.post.oversize", "a form with a byte too many", NONE, MORE, &strict),
        ("bucket.post.type", "a form of another type", ("Content-Type", "text/html"), BODY, &strict),
        ("bucket.post.key", "a form with another key", ("key", &*other_key), BODY, &elsewhere),
    ] {
        let answer = bench.post(&wrongly, change, file).await;
        let wrong = Wrong { check, what, answer, object, before: None };
        found.push(bench.refuses(wrong, was_right_taken).await);
    }
    found
}

/// A PUT whose length and type are signed; and what somebody can do with one that was used.
pub(super) async fn puts(bench: &Workbench<'_>) -> Vec<Finding> {
    let [right, strict, others] = [(); 3].map(|()| bench.litter.object());
    let (grant, wrongly, planted) = tokio::join!(
        bench.store.presign_put(&right, size(), None, GRANT, clock::now_micros()),
        bench.store.presign_put(&strict, size(), None, GRANT, clock::now_micros()),
        bench.store.put(&others, Bytes::from_static(BODY)),
    );
    let (grant, wrongly) = match (grant, wrongly, planted) {
        (Ok(grant), Ok(wrongly), Ok(())) => (grant, wrongly),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return no_grant(PUT, &error),
    };
    let answer = bench.put(&grant, &grant.url, None, BODY).await;
    let is_answered = answer.is_ok();
    let mut found = vec![bench.takes(PUT, "a PUT as granted", answer, &right).await];
    if !is_answered {
        return found;
    }
    let was_right_taken = found[0].has_passed();
    for (check, what, content_type, bytes) in [
        ("bucket.put.oversize", "a PUT with a byte too many", None, MORE),
        ("bucket.put.type", "a PUT of another type", Some("text/html"), BODY),
    ] {
        let answer = bench.put(&wrongly, &wrongly.url, content_type, bytes).await;
        let wrong = Wrong { check, what, answer, object: &strict, before: None };
        found.push(bench.refuses(wrong, was_right_taken).await);
    }
    found.push(replay(bench, &grant, [&right, &others], was_right_taken).await);
    found
}

/// A grant may be used again until it expires: where its own object was, which is read once and published under
/// another key, and nowhere else.
async fn replay(
    bench: &Workbench<'_>,
    grant: &PutGrant,
    objects: [&Object; 2],
    was_right_taken: bool,
) -> Finding {
    const CHECK: &str = "bucket.put.replay";
    let [own, others] = objects.map(Object::key);
    let elsewhere = grant.url.replacen(&own, &others, 1);
    if elsewhere == grant.url {
        let mend = "set bucket.endpoint and bucket.public_endpoint to S3's own, without parts of keys";
        return Finding::fail(CHECK, "the grant's URL does not name its object", mend);
    }
    // Whether it is taken once more is of no matter.
    let _ = bench.put(grant, &grant.url, None, OTHER).await;
    let answer = bench.put(grant, &elsewhere, None, OTHER).await;
    let what = "a grant that was used, once more and for another object,";
    let wrong = Wrong { check: CHECK, what, answer, object: objects[1], before: Some(BODY) };
    bench.refuses(wrong, was_right_taken).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_refusal_no_more_is_said_than_its_code_and_message() {
        let document =
            b"<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\n<Message>It does\n not.\
                         </Message><CanonicalRequest>X-Amz-Security-Token=hunter2</CanonicalRequest></Error>";
        assert_eq!(said(document), "SignatureDoesNotMatch: It does not.");
        assert_eq!(said(b"<html>hunter2</html>"), "");
    }

    #[test]
    fn what_is_sent_is_longer_or_other_as_it_says() {
        assert_eq!(MORE.len(), BODY.len() + 1);
        assert_eq!(OTHER.len(), BODY.len());
        assert_ne!(OTHER, BODY);
    }
}
