//! `Idempotency-Key`: whoever repeats a POST under its key gets its answer again, and it is done once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pinhole::identity::service_key_hash;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    files,
    support::{PATIENCE, Reply, SERVICE_KEY, TestApp, TestRequest, jpeg, until},
};

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const REPLAYED: &str = "idempotency-replayed";

/// A body with its content type.
type Sent = (String, Vec<u8>);

fn json_of(value: &Value) -> Sent {
    ("application/json".to_owned(), value.to_string().into_bytes())
}

fn post_of(text: &str) -> Sent {
    json_of(&json!({"text": text, "visibility": "private"}))
}

fn form_of(boundary: &str, parts: &[(&str, &[u8])]) -> Sent {
    let heads: Vec<String> =
        parts.iter().map(|(name, _)| format!("Content-Disposition: form-data; name={name}")).collect();
    let parts: Vec<files::Part<'_>> =
        heads.iter().zip(parts).map(|(head, (_, content))| (head.as_str(), *content)).collect();
    (format!("multipart/form-data; boundary={boundary}"), files::form(boundary, &parts))
}

/// A post that is small to send and takes seconds to verify.
fn slow_post() -> Sent {
    let image = files::black_png(2500, 2500);
    let mut parts: Vec<(&str, &[u8])> = vec![("visibility", b"private")];
    parts.extend([("images", &image[..]); 3]);
    form_of("slow", &parts)
}

fn request<'a>(app: &'a TestApp, path: &str, key: &str, (content_type, body): &Sent) -> TestRequest<'a> {
    let request = app.post(path).header("idempotency-key", key);
    let request =
        if content_type.is_empty() { request } else { request.header("content-type", content_type) };
    request.body(body.clone())
}

/// Sends a request as alice, with a key.
async fn send(app: &TestApp, path: &str, key: &str, sent: &Sent) -> Reply {
    request(app, path, key, sent).user("alice").await.send().await
}

/// Sends it again and again for as long as its key is in use.
async fn send_until_free(app: &TestApp, path: &str, key: &str, sent: &Sent) -> Reply {
    let patience = Instant::now();
    loop {
        let reply = send(app, path, key, sent).await;
        if reply.status != 409 || patience.elapsed() > PATIENCE {
            return reply;
        }
        let reply = reply.expect_problem(409, "idempotency_key_in_use");
        assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[track_caller]
fn assert_replays(again: &Reply, first: &Reply) {
    assert_eq!(again.status, first.status, "{}", again.text());
    assert_eq!(again.body, first.body);
    let mut headers = again.headers.clone();
    assert_eq!(headers.remove(REPLAYED).unwrap(), "true");
    let mut expected = first.headers.clone();
    expected.remove("date");
    headers.remove("date");
    // It is of the request that was sent, and not of the one that is repeated.
    assert_ne!(headers.remove("x-request-id"), expected.remove("x-request-id"));
    assert_eq!(headers, expected);
}

/// How many things a list of alice's has.
async fn count(app: &TestApp, path: &str) -> usize {
    let list = app.get(path).user("alice").await.send().await.expect(200).json();
    list["items"].as_array().unwrap().len()
}

/// The rows that the ledger has of a kind, seen from outside.
async fn rows(app: &TestApp, sql: &'static str) -> i64 {
    app.number(sql).await
}

const ALL_ROWS: &str = "SELECT COUNT(*) FROM idempotency";
const CLAIMS: &str = "SELECT COUNT(*) FROM idempotency WHERE status IS NULL";

/// Waits for so many rows.
async fn wait_for_rows(app: &TestApp, sql: &'static str, wanted: i64) {
    until(&format!("{sql}: {wanted}"), async || rows(app, sql).await == wanted).await;
}

/// Sends a request as alice over a connection of its own, and hangs up without reading anything.
async fn send_and_hang_up(app: &TestApp, path: &str, key: &str, (content_type, body): &Sent) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        app.token("alice").await,
        body.len()
    );
    let mut stream = TcpStream::connect(&app.url["http://".len()..]).await.unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// Begins an upload and sends its bytes to the bucket; the path that completes it.
async fn upload_to_bucket(app: &TestApp, photo: &[u8]) -> String {
    let announced = json!({"content_type": "image/jpeg", "size": photo.len(), "method": "put"});
    let grant = app.post("/v1/uploads").user("alice").await.json(&announced).send().await.expect(201).json();
    let mut put = app.request("PUT", grant["url"].as_str().unwrap()).body(photo.to_vec());
    for (name, value) in grant["headers"].as_object().unwrap() {
        put = put.header(name, value.as_str().unwrap());
    }
    put.send().await.expect(200);
    format!("/v1/uploads/{}/complete", grant["image_id"].as_str().unwrap())
}

#[tokio::test]
async fn every_post_is_done_once_and_answered_again() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let photo = jpeg(64, 48, 2);
    let complete = upload_to_bucket(&app, &jpeg(64, 48, 3)).await;
    let revoke = format!("/v1/images/{image}/revoke");
    let links = json!({"images": [{"id": image, "options": "width=32"}, {"id": "x", "options": "w=1"}]});
    let nothing: Sent = (String::new(), Vec::new());
    let cases = [
        ("/v1/images", ("image/jpeg".to_owned(), photo.clone()), 201),
        ("/v1/images", form_of("a", &[("file", &photo)]), 201),
        ("/v1/uploads", json_of(&json!({"content_type": "image/png", "size": 5})), 201),
        (&complete, nothing.clone(), 201),
        (&revoke, nothing, 204),
        ("/v1/posts", json_of(&json!({"visibility": "public", "images": [image]})), 201),
        ("/v1/posts", form_of("b", &[("visibility", b"public"), ("images", &photo)]), 201),
        ("/v1/links", json_of(&links), 200),
    ];
    for (index, (path, sent, status)) in cases.iter().enumerate() {
        let key = format!("key-{index}");
        let first = send(&app, path, &key, sent).await.expect(*status);
        assert!(!first.headers.contains_key(REPLAYED));
        let is_new_thing = *status == 201 && *path != "/v1/uploads";
        assert_eq!(first.headers.contains_key("location"), is_new_thing, "{path}");
        for _ in 0..2 {
            assert_replays(&send(&app, path, &key, sent).await, &first);
        }
    }
    // One image beside those of the two uploads, the completion and the post; one step of the epoch.
    assert_eq!(count(&app, "/v1/images").await, 5);
    assert_eq!(count(&app, "/v1/posts").await, 2);
    assert_eq!(rows(&app, "SELECT COUNT(*) FROM uploads").await, 2);
    let image = app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200).json();
    assert_eq!(image["epoch"], 2);
}

#[tokio::test]
async fn a_key_names_one_request_alone() {
    let app = TestApp::start();
    let sent = post_of("one");
    let first = send(&app, "/v1/posts", KEY, &sent).await.expect(201);
    let (content_type, body) = sent.clone();
    for (path, other) in [
        ("/v1/posts", post_of("two")),
        ("/v1/posts", (content_type.clone(), [&body[..], b" "].concat())),
        ("/v1/posts", ("text/plain".to_owned(), body.clone())),
        ("/v1/posts", (String::new(), body)),
        ("/v1/posts", form_of("a", &[("text", b"one"), ("visibility", b"private")])),
        ("/v1/posts?x=1", sent.clone()),
        ("/v1/posts?", sent.clone()),
        ("/v1/links", sent.clone()),
    ] {
        send(&app, path, KEY, &other).await.expect_problem(422, "idempotency_key_reused");
    }
    assert_replays(&send(&app, "/v1/posts", KEY, &sent).await, &first);
    assert_eq!(count(&app, "/v1/posts").await, 1);
    // Where a body means nothing it still belongs to the request.
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let revoke = format!("/v1/images/{image}/revoke");
    send(&app, &revoke, "r", &(String::new(), Vec::new())).await.expect(204);
    send(&app, &revoke, "r", &(String::new(), b"x".to_vec()))
        .await
        .expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_form_is_the_same_by_what_it_says() {
    let app = TestApp::start();
    let (one, two) = (jpeg(64, 48, 1), jpeg(64, 48, 2));
    let fields: [(&str, &[u8]); 4] =
        [("text", b"t"), ("visibility", b"private"), ("images", &one), ("images", &two)];
    let first = send(&app, "/v1/posts", KEY, &form_of("a", &fields)).await.expect(201);
    assert_replays(&send(&app, "/v1/posts", KEY, &form_of("another", &fields)).await, &first);
    let moved = [fields[2], fields[1], fields[0], fields[3]];
    assert_replays(&send(&app, "/v1/posts", KEY, &form_of("a", &moved)).await, &first);

    let others: [&[(&str, &[u8])]; 6] = [
        &[fields[0], fields[1], fields[3], fields[2]],
        &[fields[0], fields[1], fields[2]],
        &[fields[0], fields[1], fields[2], fields[3], fields[3]],
        &[("text", b"u"), fields[1], fields[2], fields[3]],
        &[fields[1], fields[2], fields[3]],
        &[fields[0], fields[1], fields[2], ("images; filename=x.jpg", &two)],
    ];
    for other in others {
        let reply = send(&app, "/v1/posts", KEY, &form_of("a", other)).await;
        reply.expect_problem(422, "idempotency_key_reused");
    }
    assert_eq!(count(&app, "/v1/posts").await, 1);
}

#[tokio::test]
async fn a_large_upload_is_compared_by_its_hash() {
    let app = TestApp::start();
    let large = [jpeg(640, 480, 1), vec![0; 8 << 20]].concat();
    let sent = ("image/jpeg".to_owned(), large.clone());
    let first = send(&app, "/v1/images", KEY, &sent).await.expect(201);
    assert_replays(&send(&app, "/v1/images", KEY, &sent).await, &first);
    let other = ("image/jpeg".to_owned(), [&large[..large.len() - 1], b"x"].concat());
    send(&app, "/v1/images", KEY, &other).await.expect_problem(422, "idempotency_key_reused");
    assert_eq!(count(&app, "/v1/images").await, 1);
    let kept = "SELECT SUM(LENGTH(fingerprint) + LENGTH(headers) + LENGTH(body)) FROM idempotency";
    assert!(rows(&app, kept).await < 4096);
}

#[tokio::test]
async fn keys_belong_to_callers() {
    let other_key = "another-service-key";
    let hash = "d94b250aeb9140ee81f08ba58efc2a5210e1b16031f12f92b650ebce0edf2be3";
    let hashes = format!("{hash},{}", service_key_hash(SERVICE_KEY));
    let app = TestApp::start_with(&[("PINHOLE_AUTH__SERVICE_KEY_HASHES", &hashes)]);
    let sent = post_of("mine");
    let tokens = [app.token("alice").await, app.token("bob").await];
    let callers = [
        (tokens[0].as_str(), None),
        (tokens[1].as_str(), None),
        (SERVICE_KEY, Some("alice")),
        (SERVICE_KEY, Some("bob")),
        (other_key, Some("alice")),
    ];
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..2 {
        for (index, (token, on_behalf_of)) in callers.into_iter().enumerate() {
            let post =
                request(&app, "/v1/posts", KEY, &sent).header("authorization", &format!("Bearer {token}"));
            let post = match on_behalf_of {
                Some(user) => post.header("on-behalf-of", user),
                None => post,
            };
            let reply = post.send().await.expect(201);
            let id = reply.json()["id"].clone();
            if let Some(before) = seen.get(index) {
                assert_eq!((&id, reply.header(REPLAYED)), (before, "true"));
            } else {
                assert!(!seen.contains(&id) && !reply.headers.contains_key(REPLAYED));
                seen.push(id);
            }
        }
    }
    // Services for themselves. What they mint differs with the caller alone, so it is the replay that tells.
    let links = json_of(&json!({"images": []}));
    for service in [SERVICE_KEY, other_key] {
        for replayed in ["", "true"] {
            let reply =
                request(&app, "/v1/links", KEY, &links).header("authorization", &format!("Bearer {service}"));
            assert_eq!(reply.send().await.expect(200).header(REPLAYED), replayed);
        }
    }

    // Nobody has no keys, good or bad, and leaves nothing behind.
    let before = rows(&app, ALL_ROWS).await;
    for key in [KEY, "not a key"] {
        for path in ["/v1/posts", "/v1/links", "/v1/images/x/revoke"] {
            request(&app, path, key, &sent).send().await.expect_problem(401, "unauthenticated");
        }
    }
    assert_eq!(rows(&app, ALL_ROWS).await, before);

    // A service key that is no longer good gets nothing, whatever was kept for it.
    let app = app.restart();
    let retired =
        request(&app, "/v1/links", KEY, &links).header("authorization", &format!("Bearer {other_key}"));
    retired.send().await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn of_many_at_once_one_is_done() {
    let app = TestApp::start();
    for round in 0..5_u8 {
        let (key, sent) = (format!("key-{round}"), ("image/jpeg".to_owned(), jpeg(640, 480, round)));
        let replies = join_all((0..8).map(|_| send(&app, "/v1/images", &key, &sent))).await;
        let mut done = Vec::new();
        for reply in replies {
            match reply.status.as_u16() {
                201 => done.push((reply.json()["id"].clone(), reply.header(REPLAYED) == "true")),
                _ => drop(reply.expect_problem(409, "idempotency_key_in_use")),
            }
        }
        assert_eq!(done.iter().filter(|(_, replayed)| !replayed).count(), 1, "{done:?}");
        assert!(done.iter().all(|(id, _)| *id == done[0].0), "{done:?}");
        assert_eq!(count(&app, "/v1/images").await, usize::from(round) + 1);
    }
}

#[tokio::test]
async fn another_request_is_refused_while_the_first_is_under_way() {
    let app = TestApp::start();
    let slow = slow_post();
    send_and_hang_up(&app, "/v1/posts", KEY, &slow).await;
    wait_for_rows(&app, CLAIMS, 1).await;
    send(&app, "/v1/posts", KEY, &post_of("x")).await.expect_problem(422, "idempotency_key_reused");
    let reply = send(&app, "/v1/posts", KEY, &slow).await.expect_problem(409, "idempotency_key_in_use");
    assert_eq!(reply.header("retry-after"), "2");
}

#[tokio::test]
async fn a_client_that_hangs_up_finds_his_answer() {
    let app = TestApp::start();
    for (index, sent) in
        [("image/jpeg".to_owned(), jpeg(640, 480, 1)), form_of("a", &[("file", &jpeg(640, 480, 2))])]
            .iter()
            .enumerate()
    {
        let key = format!("key-{index}");
        send_and_hang_up(&app, "/v1/images", &key, sent).await;
        // Nobody else is there to do it.
        until("it is not given up with its client", async || count(&app, "/v1/images").await > index).await;
        let reply = send_until_free(&app, "/v1/images", &key, sent).await.expect(201);
        assert_eq!(reply.header(REPLAYED), "true");
        assert_eq!(count(&app, "/v1/images").await, index + 1);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_claims_nothing() {
    let app = TestApp::start();
    let (content_type, body) = ("image/jpeg".to_owned(), jpeg(640, 480, 1));
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {KEY}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        app.token("alice").await,
        body.len() + 1
    );
    let mut stream = TcpStream::connect(&app.url["http://".len()..]).await.unwrap();
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    drop(stream);
    let reply = send(&app, "/v1/images", KEY, &(content_type, body)).await.expect(201);
    assert!(!reply.headers.contains_key(REPLAYED));
    assert_eq!(count(&app, "/v1/images").await, 1);
}

#[tokio::test]
async fn stopping_waits_for_an_outcome_that_nobody_listens_for() {
    let mut app = TestApp::start();
    let slow = slow_post();
    send_and_hang_up(&app, "/v1/posts", KEY, &slow).await;
    wait_for_rows(&app, CLAIMS, 1).await;
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    let app = app.restart();
    let reply = send(&app, "/v1/posts", KEY, &slow).await.expect(201);
    assert_eq!(reply.header(REPLAYED), "true");
    assert_eq!(count(&app, "/v1/posts").await, 1);
}

#[tokio::test]
async fn a_crash_bars_a_key_for_its_lease_alone() {
    let app = TestApp::start();
    let slow = slow_post();
    send_and_hang_up(&app, "/v1/posts", KEY, &slow).await;
    wait_for_rows(&app, CLAIMS, 1).await;
    let app = app.restart();
    // Nobody is at work on it any more, which nobody can know before the lease ends.
    send(&app, "/v1/posts", KEY, &slow).await.expect_problem(409, "idempotency_key_in_use");

    let app = TestApp::start_with(&[("PINHOLE_IDEMPOTENCY__LEASE_SECS", "10")]);
    send_and_hang_up(&app, "/v1/posts", KEY, &slow).await;
    wait_for_rows(&app, CLAIMS, 1).await;
    let app = app.restart();
    let reply = send_until_free(&app, "/v1/posts", KEY, &slow).await.expect(201);
    assert!(!reply.headers.contains_key(REPLAYED), "it had come to nothing");
    assert_replays(&send(&app, "/v1/posts", KEY, &slow).await, &reply);
    assert_eq!(count(&app, "/v1/posts").await, 1);
}

#[tokio::test]
async fn a_request_is_given_up_before_its_lease_ends() {
    let app = TestApp::start_with(&[("PINHOLE_IDEMPOTENCY__LEASE_SECS", "1")]);
    let image = files::black_png(2500, 2500);
    let mut parts: Vec<(&str, &[u8])> = vec![("visibility", b"private")];
    parts.extend([("images", &image[..]); 20]);
    let reply = send(&app, "/v1/posts", KEY, &form_of("a", &parts)).await;
    reply.expect_problem(503, "took_too_long");
    assert_eq!(count(&app, "/v1/posts").await, 0);
    send_until_free(&app, "/v1/posts", KEY, &post_of("shorter")).await.expect(201);
    assert_eq!(count(&app, "/v1/posts").await, 1);
}

#[tokio::test]
async fn a_failure_gives_the_key_back() {
    let app = TestApp::start();
    // A corrected request.
    send(&app, "/v1/posts", "a", &json_of(&json!({"text": "x"}))).await.expect_problem(400, "invalid_field");
    assert_eq!(rows(&app, ALL_ROWS).await, 0);
    let unknown = json!({"visibility": "public", "images": [crate::support::NEVER_THERE]});
    send(&app, "/v1/posts", "a", &json_of(&unknown)).await.expect_problem(422, "image_unknown");
    send(&app, "/v1/images", "a", &("image/jpeg".to_owned(), b"no picture".to_vec())).await.expect(415);
    let first = send(&app, "/v1/posts", "a", &post_of("x")).await.expect(201);
    assert!(!first.headers.contains_key(REPLAYED));
    assert_replays(&send(&app, "/v1/posts", "a", &post_of("x")).await, &first);

    // The same request, once it can succeed.
    let photo = jpeg(64, 48, 1);
    let announced = json!({"content_type": "image/jpeg", "size": photo.len(), "method": "put"});
    let grant = send(&app, "/v1/uploads", "b", &json_of(&announced)).await.expect(201).json();
    let path = format!("/v1/uploads/{}/complete", grant["image_id"].as_str().unwrap());
    let nothing = (String::new(), Vec::new());
    send(&app, &path, "c", &nothing).await.expect_problem(409, "upload_missing");
    let mut put = app.request("PUT", grant["url"].as_str().unwrap()).body(photo);
    for (name, value) in grant["headers"].as_object().unwrap() {
        put = put.header(name, value.as_str().unwrap());
    }
    put.send().await.expect(200);
    let first = send(&app, &path, "c", &nothing).await.expect(201);
    assert_replays(&send(&app, &path, "c", &nothing).await, &first);
    // Without a key it is told that it was repeated.
    app.post(&path).user("alice").await.send().await.expect(200);

    // Who may not do it at all: a service alone, where a user is asked for.
    let services = request(&app, "/v1/posts", "d", &post_of("x")).service().send().await;
    services.expect_problem(400, "on_behalf_of_required");
    assert_eq!(rows(&app, CLAIMS).await, 0);
}

#[tokio::test]
async fn a_key_is_visible_ascii_bare_or_quoted_and_given_once() {
    let app = TestApp::start();
    let long = "k".repeat(256);
    for bad in ["", "\"\"", "a b", "\"a b\"", "\"a", "\"a\"b\"", "\"a\", \"b\"", "\"a\\b\"", &long] {
        let reply = send(&app, "/v1/posts", bad, &post_of("x")).await.expect_problem(400, "invalid_field");
        assert!(reply.text().contains("`Idempotency-Key`"), "{bad:?}: {}", reply.text());
    }
    let twice =
        request(&app, "/v1/posts", "a", &post_of("x")).header("idempotency-key", "a").user("alice").await;
    let reply = twice.send().await.expect_problem(400, "invalid_field");
    assert!(reply.text().contains("`Idempotency-Key`"));
    assert_eq!(count(&app, "/v1/posts").await, 0);

    for (bare, quoted) in
        [("k", r#""k""#), ("a;b=\"1\"", r#""a;b=\"1\"""#), (&long[..255], &format!("\"{}\"", &long[..255]))]
    {
        let first = send(&app, "/v1/posts", bare, &post_of(bare)).await.expect(201);
        assert_replays(&send(&app, "/v1/posts", quoted, &post_of(bare)).await, &first);
    }
    assert_eq!(count(&app, "/v1/posts").await, 3);
}

#[tokio::test]
async fn an_erased_users_answers_go_with_him() {
    let app = TestApp::start();
    let sent = post_of("private facts");
    send(&app, "/v1/posts", KEY, &sent).await.expect(201);
    let by_service = request(&app, "/v1/posts", KEY, &sent).service().header("on-behalf-of", "alice");
    by_service.send().await.expect(201);
    request(&app, "/v1/posts", KEY, &sent).user("bob").await.send().await.expect(201);
    // One of his is under way.
    let slow = slow_post();
    let under_way = async { send(&app, "/v1/posts", "slow", &slow).await };
    let erasing = async {
        wait_for_rows(&app, CLAIMS, 1).await;
        app.request("DELETE", "/v1/users/alice").service().send().await.expect(202);
        assert_eq!(rows(&app, ALL_ROWS).await, 1, "bob's");
    };
    let (reply, ()) = tokio::join!(under_way, erasing);
    reply.expect_problem(401, "unauthenticated");
    send(&app, "/v1/posts", KEY, &sent).await.expect_problem(401, "unauthenticated");
    let by_service = request(&app, "/v1/posts", KEY, &sent).service().header("on-behalf-of", "alice");
    by_service.send().await.expect_problem(401, "unauthenticated");
    assert_eq!(rows(&app, ALL_ROWS).await, 1, "bob's");
    let bobs = request(&app, "/v1/posts", KEY, &sent).user("bob").await.send().await.expect(201);
    assert_eq!(bobs.header(REPLAYED), "true");
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_swept() {
    let keep = ("PINHOLE_IDEMPOTENCY__KEEP_SECS", "1");
    let app = TestApp::start_with(&[keep, ("PINHOLE_UPLOAD__SWEEP_SECS", "3600")]);
    let first = send(&app, "/v1/posts", KEY, &post_of("x")).await.expect(201);
    until("it is kept no longer", async || {
        let reply = send(&app, "/v1/posts", KEY, &post_of("x")).await.expect(201);
        let replayed = reply.headers.contains_key(REPLAYED);
        assert_eq!(reply.json()["id"] == first.json()["id"], replayed);
        !replayed
    })
    .await;
    assert_eq!(count(&app, "/v1/posts").await, 2);
    assert_eq!(rows(&app, ALL_ROWS).await, 1);

    let app = app.restart_with(&[keep, ("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
    wait_for_rows(&app, ALL_ROWS, 0).await;
    send(&app, "/v1/posts", KEY, &post_of("x")).await.expect(201);
    wait_for_rows(&app, ALL_ROWS, 0).await;
}

#[tokio::test]
async fn only_posts_of_the_api_look_at_the_key() {
    let app = TestApp::dev();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    for key in [KEY, "not a key"] {
        for (method, path, body, status) in [
            ("PUT", "/v1/profile".to_owned(), json!({"display_name": "A"}), 200),
            ("PUT", "/v1/profile".to_owned(), json!({"display_name": "B"}), 200),
            ("PUT", "/v1/following/bob".to_owned(), json!({}), 204),
            ("DELETE", "/v1/following/bob".to_owned(), json!({}), 204),
            ("GET", format!("/v1/images/{image}"), json!({}), 200),
            ("GET", format!("/i/{image}/original"), json!({}), 200),
            ("DELETE", "/v1/images/x".to_owned(), json!({}), 404),
            ("POST", "/dev/session".to_owned(), json!({"user": "alice"}), 200),
            ("POST", "/dev/session".to_owned(), json!({"user": "bob"}), 200),
            ("POST", "/v1/nothing".to_owned(), json!({}), 404),
            ("POST", "/v1/profile".to_owned(), json!({}), 405),
        ] {
            let reply = app.request(method, &path).user("alice").await.header("idempotency-key", key);
            let reply = reply.json(&body).send().await.expect(status);
            assert!(!reply.headers.contains_key(REPLAYED), "{method} {path}");
        }
    }
    let profile = app.get("/v1/profile").user("alice").await.send().await.expect(200).json();
    assert_eq!(profile["display_name"], "B");
    assert_eq!(rows(&app, ALL_ROWS).await, 0);
}
