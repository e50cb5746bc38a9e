//! What the checks share: plain HTTP within bounds, objects that are cleared away, and patience.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response};

use super::finding::{Finding, ahead_secs};
use crate::{
    clock,
    fetch::{FetchError, Fetcher},
    id::BlobKey,
    store::{Object, Store},
};

/// How long one answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long one check may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(40);
/// The most of an answer that is read, in bytes; pictures are the largest.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// How many objects are removed at once.
const AT_ONCE: usize = 4;
/// How many seconds a clock may be off that others' signatures and deadlines rest on. S3 takes 15 minutes.
const MAX_SKEW_SECS: u64 = 30;

/// Asks as anybody could: nothing is signed.
#[derive(Debug)]
pub(super) struct Asker(pub(super) Fetcher);

impl Asker {
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.send(request.body(body.into())?, MAX_ANSWER_BYTES, PATIENCE).await
    }

    pub(super) async fn get(&self, url: &str) -> Result<Response<Bytes>, FetchError> {
        self.ask(Method::GET, url, &[], Bytes::new()).await
    }

    /// Compares this machine's clock with what a server dates its answers by, whatever it answers.
    pub(super) async fn clock(&self, check: &'static str, whose: &str, url: &str) -> Finding {
        let before = clock::now_micros();
        let answer = match self.get(url).await {
            Ok(answer) => answer,
            Err(error) => {
                return Finding::skipped(
                    check,
                    format_args!("{whose} says no time, since it says nothing: {error}"),
                );
            }
        };
        match ahead_secs(answer.headers(), before, clock::now_micros()) {
            None => Finding::skipped(check, format_args!("{whose} answers without a Date")),
            Some(ahead) if ahead.unsigned_abs() <= MAX_SKEW_SECS => Finding::pass(
                check,
                format_args!("this machine and {whose} agree to {} s", ahead.unsigned_abs() + 1),
            ),
            Some(ahead) => Finding::fail(
                check,
                format_args!(
                    "this machine's clock is {} s {} that of {whose}; signatures, grants and links rest on it",
                    ahead.unsigned_abs(),
                    if ahead > 0 { "ahead of" } else { "behind" },
                ),
                "set the clock of whichever is wrong, by NTP",
            ),
        }
    }
}

/// Everything that was, or may have been, written into the bucket.
#[derive(Debug, Default)]
pub(super) struct Litter(Mutex<Vec<Object>>);

impl Litter {
    /// A fresh name where clients' unverified bytes lie, that nobody can guess; it is cleared in the end.
    pub(super) fn object(&self) -> Object {
        let object = Object::incoming(&BlobKey::random(), "image/png");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(object.clone());
        object
    }

    /// Removes all of it.
    pub(super) async fn clear(&self, store: &Store) -> Vec<Finding> {
        const CHECK: &str = "bucket.cleared";
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if all.is_empty() {
            return Vec::new();
        }
        let removing = stream::iter(&all).map(|object| async move {
            let removed = store.delete(std::slice::from_ref(object)).await;
            removed.err().map(|error| (object.key(), error))
        });
        let left: Vec<_> = removing.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
        vec![match left.first() {
            None => Finding::pass(CHECK, "nothing of what was tried lies in the bucket"),
            Some((_, error)) => {
                let keys: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
                Finding::fail(
                    CHECK,
                    format_args!("may still lie in the bucket: {} ({error})", keys.join(", ")),
                    "allow s3:DeleteObject; pinhole sweep removes what has lain there for sweep.grace_secs",
                )
            }
        }]
    }
}

/// What a check found, unless it took too long.
pub(super) async fn within(check: &'static str, found: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(CHECK_PATIENCE, found).await.unwrap_or_else(|_| {
        vec![Finding::fail(
            check,
            format_args!("there was no end of it within {} s", CHECK_PATIENCE.as_secs()),
            "look for what is slow: the network, or the server that is asked",
        )]
    })
}
