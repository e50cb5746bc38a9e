//! Grants: what they let through, and all that they do not.

use std::collections::BTreeMap;

use http::{Method, header};
use sha2::{Digest as _, Sha256};

use super::{
    bench::{Answer, Bench, FORM, benches, form, incoming},
    *,
};
use crate::clock;

const HOUR: Duration = Duration::from_hours(1);
const BODY: &[u8] = b"123456789";

async fn post_grant(bench: &Bench, object: &Object) -> PostGrant {
    bench.store.presign_post(object, BODY.len() as u64, HOUR, clock::now_micros()).await.unwrap()
}

async fn put_grant(bench: &Bench, object: &Object, sha256: Option<[u8; 32]>) -> PutGrant {
    let size = BODY.len() as u64;
    bench.store.presign_put(object, size, sha256, HOUR, clock::now_micros()).await.unwrap()
}

fn pairs<'a>(map: &'a BTreeMap<&'static str, String>) -> Vec<(&'a str, &'a str)> {
    map.iter().map(|(&name, value)| (name, value.as_str())).collect()
}

/// The fields with one of them changed.
fn with<'a>(grant: &'a PostGrant, name: &'static str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let swap = |(n, v): (&'a str, &'a str)| if n == name { (n, value) } else { (n, v) };
    pairs(&grant.fields).into_iter().map(swap).collect()
}

async fn put(bench: &Bench, grant: &PutGrant, body: &'static [u8]) -> Answer {
    bench.send(Method::PUT, &grant.url, &pairs(&grant.headers), body).await
}

#[tokio::test]
async fn a_form_is_taken_as_granted_and_again_until_it_expires() {
    for bench in benches().await {
        let object = incoming();
        let grant = post_grant(&bench, &object).await;
        for bytes in [BODY, b"987654321"] {
            let answer = bench.post(&grant.url, pairs(&grant.fields), bytes).await;
            assert!(answer.status.is_success(), "{}: {answer:?}", bench.name);
            assert!(answer.headers.contains_key(header::ETAG), "{}: {answer:?}", bench.name);
            assert!(bench.holds(&object, bytes).await, "{}", bench.name);
        }
        let got = bench.store.client.get_object().bucket(&bench.store.settings.bucket).key(object.key());
        // The form's field counts, not what the file says of itself.
        assert_eq!(got.send().await.unwrap().content_type(), Some("image/png"), "{}", bench.name);
        bench.store.delete(&[object]).await.unwrap();
    }
}

#[tokio::test]
async fn a_form_with_anything_else_is_refused_and_leaves_nothing() {
    for bench in benches().await {
        let (object, other) = (incoming(), incoming());
        let grant = post_grant(&bench, &object).await;
        let other_key = other.key();
        let forged = format!("{:0>64}", "1");
        let foreign = post_grant(&bench, &other).await;
        let plus = |name, value| pairs(&grant.fields).into_iter().chain([(name, value)]).collect();
        let without = |name: &str| pairs(&grant.fields).into_iter().filter(|(n, _)| *n != name).collect();
        let changes: Vec<(&str, Vec<(&str, &str)>)> = vec![
            ("another key", with(&grant, "key", &other_key)),
            ("another type", with(&grant, "Content-Type", "text/html")),
            ("a forged signature", with(&grant, "x-amz-signature", &forged)),
            ("another policy", with(&grant, "policy", &foreign.fields["policy"])),
            ("another date", with(&grant, "x-amz-date", "20151229T000000Z")),
            ("a public object", plus("acl", "public-read")),
            ("metadata", plus("x-amz-meta-a", "b")),
            ("cache control", plus("Cache-Control", "public")),
            ("encryption", plus("x-amz-server-side-encryption", "AES256")),
            ("a redirection", plus("success_action_redirect", "http://evil.example/")),
            ("a second key", plus("key", &other_key)),
            ("no type", without("Content-Type")),
            ("no key", without("key")),
            ("no policy", without("policy")),
            ("no signature", without("x-amz-signature")),
            ("nothing signed", vec![("key", &other_key)]),
        ];
        for (what, fields) in changes {
            let answer = bench.post(&grant.url, fields, BODY).await;
            bench.refused(what, answer, &object).await;
            assert_eq!(bench.store.head(&other).await.unwrap(), None, "{} {what}", bench.name);
        }
        for (what, body) in [("more", &b"1234567890"[..]), ("less", b"12345678"), ("nothing", b"")] {
            let answer = bench.post(&grant.url, pairs(&grant.fields), body).await;
            bench.refused(what, answer, &object).await;
        }
        let mut torn = form(pairs(&grant.fields), BODY);
        torn.truncate(torn.len() - 20);
        let answer = bench.send(Method::POST, &grant.url, &[("content-type", FORM)], torn).await;
        bench.refused("half a form", answer, &object).await;
    }
}

#[tokio::test]
async fn an_expired_grant_is_refused() {
    for bench in benches().await {
        let object = incoming();
        let now = clock::now_micros();
        for (lived, age_secs) in [("expired", 120), ("fresh", 0)] {
            let then = now - age_secs * 1_000_000;
            let minute = Duration::from_mins(1);
            let form = bench.store.presign_post(&object, 9, minute, then).await.unwrap();
            let link = bench.store.presign_put(&object, 9, None, minute, then).await.unwrap();
            let posted = bench.post(&form.url, pairs(&form.fields), BODY).await;
            if lived == "expired" {
                bench.refused(lived, posted, &object).await;
                bench.refused(lived, put(&bench, &link, BODY).await, &object).await;
            } else {
                assert!(posted.status.is_success(), "{}: {posted:?}", bench.name);
                assert!(put(&bench, &link, BODY).await.status.is_success(), "{}", bench.name);
            }
        }
        bench.store.delete(&[object]).await.unwrap();
    }
}

#[tokio::test]
async fn a_form_may_be_large_and_its_start_may_come_with_its_fields() {
    for bench in benches().await {
        // The second looks wherever it is cut as if the form's end could follow.
        for body in [pattern(3_000_000), Bytes::from(vec![b'\r'; 3_000_000])] {
            let (object, size) = (incoming(), body.len() as u64);
            let grant = bench.store.presign_post(&object, size, HOUR, clock::now_micros()).await.unwrap();
            let answer = bench.post(&grant.url, pairs(&grant.fields), &body).await;
            assert!(answer.status.is_success(), "{}: {answer:?}", bench.name);
            assert!(bench.holds(&object, &body).await, "{}", bench.name);
            bench.store.delete(&[object]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_put_is_taken_as_granted() {
    for bench in benches().await {
        let object = incoming();
        for sha256 in [None, Some(Sha256::digest(BODY).into())] {
            let grant = put_grant(&bench, &object, sha256).await;
            let names: Vec<_> = grant.headers.keys().copied().collect();
            let with_sum = ["Content-Type", "x-amz-checksum-sha256"];
            assert_eq!(names, with_sum[..=usize::from(sha256.is_some())]);
            for _ in 0..2 {
                let answer = put(&bench, &grant, BODY).await;
                assert!(answer.status.is_success(), "{}: {answer:?}", bench.name);
            }
            assert!(bench.holds(&object, BODY).await, "{}", bench.name);
            bench.store.delete(slice::from_ref(&object)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_put_of_anything_else_is_refused_and_leaves_nothing() {
    for bench in benches().await {
        let (object, other) = (incoming(), incoming());
        let grant = put_grant(&bench, &object, None).await;
        for (what, body) in [("more", &b"1234567890"[..]), ("less", b"12345678"), ("nothing", b"")] {
            bench.refused(what, put(&bench, &grant, body).await, &object).await;
        }
        let url = &grant.url;
        let (bare, _) = url.split_once('?').unwrap();
        let elsewhere = url.replace(&object.key(), &other.key());
        let longer = url.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000");
        let unsigned_length = url.replace("content-length%3B", "");
        assert!([&elsewhere, &longer, &unsigned_length].iter().all(|changed| *changed != url));
        let png = ("content-type", "image/png");
        for (what, url, headers) in [
            ("another type", url.as_str(), vec![("content-type", "text/html")]),
            ("no type", url, vec![]),
            ("another key", &elsewhere, vec![png]),
            ("a longer life", &longer, vec![png]),
            ("a length that is not signed", &unsigned_length, vec![png]),
            ("no signature", bare, vec![png]),
        ] {
            let answer = bench.send(Method::PUT, url, &headers, BODY).await;
            bench.refused(what, answer, &object).await;
            assert_eq!(bench.store.head(&other).await.unwrap(), None, "{} {what}", bench.name);
        }
        // What may be written may not be read or deleted.
        for method in [Method::GET, Method::DELETE, Method::POST] {
            let answer = bench.send(method.clone(), url, &[png], BODY).await;
            bench.refused(method.as_str(), answer, &object).await;
        }
        let summed = put_grant(&bench, &object, Some(Sha256::digest(BODY).into())).await;
        bench.refused("another sum", put(&bench, &summed, b"987654321").await, &object).await;
        let unsummed = bench.send(Method::PUT, &summed.url, &[png], BODY).await;
        bench.refused("no sum", unsummed, &object).await;
    }
}

#[tokio::test]
async fn a_put_without_a_length_is_refused() {
    for bench in benches().await {
        let object = incoming();
        let grant = put_grant(&bench, &object, None).await;
        let (authority, path) = grant.url["http://".len()..].split_once('/').unwrap();
        let request = format!(
            "PUT /{path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: image/png\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n"
        );
        let address = tokio::net::lookup_host(authority).await.unwrap().next().unwrap();
        let status = raw(address, request.as_bytes()).await;
        assert!(status.starts_with("HTTP/1.1 4"), "{}: {status}", bench.name);
        assert_eq!(bench.store.head(&object).await.unwrap(), None, "{}", bench.name);
    }
}

#[tokio::test]
async fn grants_are_made_out_for_the_endpoint_that_clients_see() {
    let settings = |endpoint: Option<&str>, public: Option<&str>, force_path_style, bucket: &str| Settings {
        endpoint: endpoint.map(Into::into),
        public_endpoint: public.map(Into::into),
        bucket: bucket.into(),
        region: "eu-central-1".into(),
        force_path_style,
        ..super::settings(SocketAddr::from(([127, 0, 0, 1], 9000)))
    };
    let inside = Some("http://10.0.0.1:9000");
    for (settings, url) in [
        (settings(inside, None, true, "photos"), "http://10.0.0.1:9000/photos"),
        (settings(inside, Some("https://s3.example"), true, "photos"), "https://s3.example/photos"),
        (settings(inside, Some("https://s3.example"), false, "photos"), "https://photos.s3.example"),
        (settings(None, None, false, "photos"), "https://photos.s3.eu-central-1.amazonaws.com"),
        (settings(None, None, true, "photos"), "https://s3.eu-central-1.amazonaws.com/photos"),
        // No certificate covers a bucket with dots, so S3 has it in the path.
        (settings(None, None, false, "my.photos"), "https://s3.eu-central-1.amazonaws.com/my.photos"),
    ] {
        let (store, object) = (Store::connect(&settings), incoming());
        let form = store.presign_post(&object, 9, HOUR, 0).await.unwrap();
        assert_eq!(form.url, url);
        let link = store.presign_put(&object, 9, None, HOUR, 0).await.unwrap();
        assert!(link.url.starts_with(&format!("{url}/{}?", object.key())), "{}", link.url);
    }
}

#[tokio::test]
async fn temporary_credentials_sign_their_token() {
    let credentials = Credentials::keys("AKID", &Secret::new("secret"), Some(&Secret::new("the-token")));
    let settings = Settings { credentials, ..settings(SocketAddr::from(([127, 0, 0, 1], 9000))) };
    let (store, object) = (Store::connect(&settings), incoming());
    let form = store.presign_post(&object, 9, HOUR, 0).await.unwrap();
    assert_eq!(form.fields["x-amz-security-token"], "the-token");
    let link = store.presign_put(&object, 9, None, HOUR, 0).await.unwrap();
    assert!(link.url.contains("X-Amz-Security-Token=the-token"), "{}", link.url);
}

#[tokio::test]
async fn what_cannot_be_granted_is_said() {
    let (_root, _server, store) = bucket().await;
    let eight_days = Duration::from_hours(8 * 24);
    let refused = store.presign_put(&incoming(), 9, None, eight_days, clock::now_micros()).await;
    assert!(matches!(refused, Err(StoreError::Rejected(_))), "{refused:?}");
    for published in Object::published(&BlobKey::random(), "image/png") {
        let form = store.presign_post(&published, 9, HOUR, clock::now_micros()).await;
        assert!(matches!(form, Err(StoreError::Rejected(_))), "{form:?}");
        let link = store.presign_put(&published, 9, None, HOUR, clock::now_micros()).await;
        assert!(matches!(link, Err(StoreError::Rejected(_))), "{link:?}");
    }
}
