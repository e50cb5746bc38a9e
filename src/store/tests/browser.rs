//! What a page of another origin may do, as browsers ask for it and hear of it.

use http::{Method, header};

use super::{
    bench::{Answer, Bench, FORM, benches, form, incoming, named_benches},
    *,
};
use crate::clock;

/// No origin at all.
const NOBODY: [&str; 0] = [];
const OURS: &str = "https://app.example";
const LOCAL: &str = "http://localhost:5173";
const EVIL: &str = "https://app.example.evil";

async fn preflight(bench: &Bench, url: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let asks = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    bench.send(Method::OPTIONS, url, &asks[..2 + usize::from(!headers.is_empty())], Bytes::new()).await
}

fn allowed_origin(answer: &Answer) -> Option<&str> {
    answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|v| v.to_str().unwrap())
}

/// A bucket that knows two origins, an object, and a grant to PUT it.
async fn with_rules(bench: &Bench) -> (Object, PutGrant) {
    bench.store.put_cors(&[OURS, LOCAL]).await.unwrap();
    let object = incoming();
    let hour = Duration::from_hours(1);
    let grant = bench.store.presign_put(&object, 9, None, hour, clock::now_micros()).await.unwrap();
    (object, grant)
}

#[tokio::test]
async fn rules_are_told_read_back_and_taken_away() {
    for bench in benches().await {
        let store = &bench.store;
        store.put_cors(&NOBODY).await.unwrap();
        assert_eq!(store.get_cors().await.unwrap(), [], "{}", bench.name);
        store.put_cors(&[OURS, LOCAL]).await.unwrap();
        let expected = [OURS, LOCAL].map(CorsRule::for_uploads);
        assert_eq!(store.get_cors().await.unwrap(), expected, "{}", bench.name);
        store.put_cors(&[LOCAL]).await.unwrap();
        assert_eq!(store.get_cors().await.unwrap(), expected[1..], "{}", bench.name);
        store.put_cors(&NOBODY).await.unwrap();
        assert_eq!(store.get_cors().await.unwrap(), [], "{}", bench.name);
    }
}

#[tokio::test]
async fn a_preflight_says_yes_to_these_origins_methods_and_headers_alone() {
    for bench in named_benches().await {
        let (_, grant) = with_rules(&bench).await;
        let put = "content-type,x-amz-checksum-sha256";
        for (origin, method, headers) in
            [(OURS, "PUT", put), (LOCAL, "PUT", "content-type"), (OURS, "POST", "")]
        {
            let answer = preflight(&bench, &grant.url, origin, method, headers).await;
            assert!(answer.status.is_success(), "{}: {answer:?}", bench.name);
            assert_eq!(allowed_origin(&answer), Some(origin), "{}", bench.name);
            let said = |name| answer.headers.get(name).unwrap().to_str().unwrap().to_ascii_lowercase();
            assert!(said(header::ACCESS_CONTROL_ALLOW_METHODS).contains(&method.to_lowercase()));
            for name in headers.split(',').filter(|name| !name.is_empty()) {
                assert!(said(header::ACCESS_CONTROL_ALLOW_HEADERS).contains(name), "{}", bench.name);
            }
        }
        for (origin, method, headers) in [
            (EVIL, "PUT", "content-type"),
            ("null", "PUT", "content-type"),
            (OURS, "GET", ""),
            (OURS, "DELETE", ""),
            (OURS, "PUT", "content-type,x-amz-acl"),
        ] {
            let answer = preflight(&bench, &grant.url, origin, method, headers).await;
            assert_eq!(answer.status, 403, "{}: {origin} {method} {answer:?}", bench.name);
            if bench.name == "embedded" {
                // Garage lets every page read its errors, which a preflight's sender never sees.
                assert_eq!(allowed_origin(&answer), None, "{origin} {method}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_may_read_the_answer_to_what_it_sent() {
    for bench in benches().await {
        let (object, grant) = with_rules(&bench).await;
        let from = |origin| [("origin", origin), ("content-type", "image/png")];
        let sent = bench.send(Method::PUT, &grant.url, &from(OURS), &b"123456789"[..]).await;
        assert!(sent.status.is_success(), "{}: {sent:?}", bench.name);
        assert_eq!(allowed_origin(&sent), Some(OURS), "{}", bench.name);
        let exposed = sent.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        assert!(exposed.eq_ignore_ascii_case("etag"), "{}: {exposed}", bench.name);

        let hour = Duration::from_hours(1);
        let post = bench.store.presign_post(&object, 9, hour, clock::now_micros()).await.unwrap();
        let body = form(post.fields.iter().map(|(&n, v)| (n, v.as_str())), b"987654321");
        let headers = [("origin", LOCAL), ("content-type", FORM)];
        let sent = bench.send(Method::POST, &post.url, &headers, body).await;
        assert!(sent.status.is_success(), "{}: {sent:?}", bench.name);
        assert_eq!(allowed_origin(&sent), Some(LOCAL), "{}", bench.name);

        let foreign = bench.send(Method::PUT, &grant.url, &from(EVIL), &b"123456789"[..]).await;
        assert_eq!(allowed_origin(&foreign), None, "{}", bench.name);
        bench.store.delete(&[object]).await.unwrap();
    }
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused() {
    // Garage refuses a form without these headers, so this is asked of the embedded server alone.
    let bench = benches().await.swap_remove(0);
    let (_, grant) = with_rules(&bench).await;
    let headers = [("origin", OURS), ("content-type", "image/png")];
    let short = bench.send(Method::PUT, &grant.url, &headers, &b"1"[..]).await;
    let form_headers = [("origin", OURS), ("content-type", FORM)];
    let (url, _) = grant.url.split_once("/incoming/").unwrap();
    let unsigned = bench.send(Method::POST, url, &form_headers, form([("key", "x")], b"x")).await;
    for refused in [short, unsigned] {
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(allowed_origin(&refused), Some(OURS));
        assert!(refused.text.contains("<Code>"), "{refused:?}");
        assert!(refused.headers[header::VARY].to_str().unwrap().contains("Origin"));
    }
}

#[tokio::test]
async fn without_rules_no_origin_may_do_anything() {
    let (root, server, store) = bucket().await;
    store.put_cors(&[OURS]).await.unwrap();
    let ask = |path: &str, origin: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\naccess-control-request-method: PUT\r\n\
             connection: close\r\n\r\n"
        )
    };
    for path in ["/no-such-bucket/x", "/", "/..", "/other-bucket"] {
        assert_eq!(raw(server.address, ask(path, OURS).as_bytes()).await, "HTTP/1.1 403 Forbidden", "{path}");
    }
    server.stop().await;
    // The rules are the bucket's, and outlive the process.
    let server = Running::start(root.path()).await;
    assert_eq!(raw(server.address, ask("/photos/x", OURS).as_bytes()).await, "HTTP/1.1 200 OK");
    Store::connect(&settings(server.address)).put_cors(&NOBODY).await.unwrap();
    assert_eq!(raw(server.address, ask("/photos/x", OURS).as_bytes()).await, "HTTP/1.1 403 Forbidden");
}
