//! Who sees what: every viewer against every state of an image, over every way to ask.

use serde_json::json;

use crate::support::{Reply, TestApp, TestRequest, dev_command, jpeg};

/// Everyone who may ask, by every kind of credentials. The images are alice's; bob follows her, carol does not.
const VIEWERS: [&str; 10] = [
    "anonymous",
    "alice",
    "alice by cookie",
    "bob",
    "bob by cookie",
    "carol",
    "carol by cookie",
    "service",
    "service for bob",
    "service for carol",
];

/// An image's state, who may see it, and whether it may be linked.
struct Case {
    name: &'static str,
    image: String,
    seen_by: &'static [&'static str],
    linkable: bool,
}

async fn as_viewer<'a>(request: TestRequest<'a>, viewer: &str) -> TestRequest<'a> {
    match viewer {
        "anonymous" => request,
        "service" => request.service(),
        "service for bob" => request.service().header("on-behalf-of", "bob"),
        "service for carol" => request.service().header("on-behalf-of", "carol"),
        user => match user.strip_suffix(" by cookie") {
            None => request.user(user).await,
            Some(user) => {
                let cookie = format!("pinhole_session={}", request.app.token(user).await);
                request.header("cookie", &cookie).header("sec-fetch-site", "same-origin")
            }
        },
    }
}

const EVERYBODY: &[&str] = &VIEWERS;
const FOLLOWERS: &[&str] =
    &["alice", "alice by cookie", "bob", "bob by cookie", "service", "service for bob"];
const OWNER: &[&str] = &["alice", "alice by cookie", "service"];
const NOBODY: &[&str] = &[];

/// One image in every state that an image can be in.
async fn cases(app: &TestApp) -> Vec<Case> {
    app.set_follows("bob", "alice", true).await;
    let mut cases = Vec::new();
    let mut add = |name, image: &str, seen_by, linkable| {
        cases.push(Case { name, image: image.to_owned(), seen_by, linkable });
    };
    let mut seed = 0;
    let mut new = async || {
        seed += 1;
        app.upload("alice", jpeg(64, 48, seed)).await
    };

    let unattached = new().await;
    add("unattached", &unattached, OWNER, true);
    for (visibility, seen_by) in [("public", EVERYBODY), ("followers", FOLLOWERS), ("private", OWNER)] {
        let image = new().await;
        app.create_post("alice", visibility, &[&image]).await;
        add(visibility, &image, seen_by, true);
    }

    let avatar = new().await;
    let profile = json!({"avatar_image_id": avatar});
    app.request("PUT", "/v1/profile").user("alice").await.json(&profile).send().await.expect(200);
    add("avatar", &avatar, EVERYBODY, true);

    let twice = new().await;
    app.create_post("alice", "private", &[&twice]).await;
    app.create_post("alice", "followers", &[&twice]).await;
    add("on a private and a followers post", &twice, FOLLOWERS, true);

    let narrowed = new().await;
    let post = app.create_post("alice", "public", &[&narrowed]).await;
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    add("narrowed to private", &narrowed, OWNER, true);

    let widened = new().await;
    let post = app.create_post("alice", "private", &[&widened]).await;
    app.patch_post("alice", &post, json!({"visibility": "followers"})).await;
    add("widened to followers", &widened, FOLLOWERS, true);

    let detached = new().await;
    let post = app.create_post("alice", "public", &[&detached]).await;
    app.patch_post("alice", &post, json!({"images": []})).await;
    add("detached", &detached, OWNER, true);

    let postless = new().await;
    let post = app.create_post("alice", "public", &[&postless]).await;
    app.request("DELETE", &format!("/v1/posts/{post}")).user("alice").await.send().await.expect(204);
    add("its post deleted", &postless, OWNER, true);

    let held = new().await;
    app.create_post("alice", "public", &[&held]).await;
    app.request("PUT", &format!("/v1/images/{held}/hold")).service().send().await.expect(204);
    add("held", &held, OWNER, false);

    let released = new().await;
    app.create_post("alice", "public", &[&released]).await;
    for method in ["PUT", "DELETE"] {
        app.request(method, &format!("/v1/images/{released}/hold")).service().send().await.expect(204);
    }
    add("held and released", &released, EVERYBODY, true);

    let deleted = new().await;
    app.create_post("alice", "public", &[&deleted]).await;
    app.request("DELETE", &format!("/v1/images/{deleted}")).user("alice").await.send().await.expect(204);
    add("deleted", &deleted, NOBODY, false);

    add("never there", "01890000-0000-7000-8000-000000000000", NOBODY, false);
    cases
}

/// Ways to ask for an image's bytes.
const WAYS: [&str; 9] = [
    "GET original",
    "GET width=32",
    "GET width=32,format=auto",
    "HEAD original",
    "HEAD width=32",
    "GET original, range",
    "GET original, If-None-Match: *",
    "GET original, If-None-Match: its ETag",
    "GET raw",
];

async fn ask(app: &TestApp, case: &Case, viewer: &str, way: &str, etag: &str) -> Reply {
    let (request, condition) = way.split_once(", ").unwrap_or((way, ""));
    let (method, options) = request.split_once(' ').unwrap();
    let request = app.request(method, &format!("/i/{}/{options}", case.image));
    let request = match condition {
        "range" => request.header("range", "bytes=0-9"),
        "If-None-Match: *" => request.header("if-none-match", "*"),
        "If-None-Match: its ETag" => request.header("if-none-match", etag),
        _ => request,
    };
    as_viewer(request, viewer).await.send().await
}

#[tokio::test]
async fn every_viewer_sees_exactly_what_is_his() {
    every_cell_is_right(&TestApp::start()).await;
}

/// Asks for everything as everybody, in every way, at the app's URL: the origin's, or that of an edge before it.
pub async fn every_cell_is_right(app: &TestApp) {
    let cases = cases(app).await;
    let nothing = app.get("/i/01890000-0000-7000-8000-000000000001/original").send().await.body;
    let mut cells = 0;
    let mut wrong = Vec::new();
    for case in &cases {
        let owners = as_viewer(app.get(&format!("/i/{}/original", case.image)), "alice").await.send().await;
        let etag = if case.seen_by.is_empty() { "\"x\"".to_owned() } else { owners.etag().to_owned() };
        for viewer in VIEWERS {
            let sees = case.seen_by.contains(&viewer);
            for way in WAYS {
                let reply = ask(app, case, viewer, way, &etag).await;
                let sees_this = sees && (way != "GET raw" || OWNER.contains(&viewer));
                let expected = match way {
                    _ if !sees_this => 404,
                    "GET original, range" => 206,
                    way if way.contains("If-None-Match") => 304,
                    _ => 200,
                };
                let leaks = !sees_this && !way.starts_with("HEAD") && reply.body != nothing;
                let stored = !sees_this && reply.header("cache-control") != "no-store";
                if reply.status != expected || leaks || stored {
                    wrong.push(format!(
                        "{}: {viewer}: {way}: {} instead of {expected}",
                        case.name, reply.status
                    ));
                }
                cells += 1;
            }
            // An edge that asks is told the same, and what to answer.
            for options in ["original", "width=32", "raw"] {
                let uri = format!("/i/{}/{options}", case.image);
                let request = app.get("/authz").header("x-original-uri", &uri);
                let reply = as_viewer(request, viewer).await.send().await;
                let sees_this = sees && (options != "raw" || OWNER.contains(&viewer));
                let is_right = match reply.status.as_u16() {
                    204 => sees_this,
                    403 => !sees_this && reply.header("pinhole-status") == "404" && reply.body.is_empty(),
                    _ => false,
                };
                if !is_right || reply.header("cache-control") != "no-store" {
                    wrong.push(format!("{}: {viewer}: authz {options}: {}", case.name, reply.status));
                }
                cells += 1;
            }
            // Metadata follows the same right, and the owner's fields are the owner's.
            let reply = as_viewer(app.get(&format!("/v1/images/{}", case.image)), viewer).await.send().await;
            let shows_owners_fields = reply.status == 200 && reply.json().get("sha256").is_some();
            let right = reply.status == if sees { 200 } else { 404 }
                && (sees || reply.body == nothing)
                && shows_owners_fields == (sees && OWNER.contains(&viewer));
            if !right {
                wrong.push(format!("{}: {viewer}: metadata: {}", case.name, reply.text()));
            }
            // So does minting links, and a minted link works for anybody.
            let wanted = json!({"images": [{"id": case.image, "options": "width=32"}]});
            let reply = as_viewer(app.post("/v1/links").json(&wanted), viewer).await.send().await;
            if viewer == "anonymous" {
                assert_eq!(reply.status, 401);
            } else {
                let answer = &reply.expect(200).json()["links"][0];
                let expected = match (sees, case.linkable) {
                    (true, true) => None,
                    (true, false) => Some("image_held"),
                    (false, _) => Some("not_found"),
                };
                if answer["error"].as_str() != expected {
                    wrong.push(format!("{}: {viewer}: link: {answer}", case.name));
                }
                if let Some(url) = answer["url"].as_str() {
                    // Whatever is in front answers for the same paths.
                    let uri = &url[url.find("/i/").unwrap()..];
                    for (method, extra) in [("GET", ""), ("HEAD", ""), ("GET", "range")] {
                        let request = app.request(method, uri);
                        let request =
                            if extra.is_empty() { request } else { request.header("range", "bytes=0-9") };
                        let status = request.send().await.status;
                        if status != if extra.is_empty() { 200 } else { 206 } {
                            wrong.push(format!("{}: {viewer}: {method} by link: {status}", case.name));
                        }
                        cells += 1;
                    }
                    let status = app.get("/authz").header("x-original-uri", uri).send().await.status;
                    if status != 204 {
                        wrong.push(format!("{}: {viewer}: authz by link: {status}", case.name));
                    }
                    cells += 1;
                }
            }
            cells += 2;
        }
    }
    println!(
        "{cells} cells: {} states × {} viewers × ways, {} wrong",
        cases.len(),
        VIEWERS.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} of {cells} cells wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every way to take a public image out of a stranger's sight.
pub const NARROWINGS: [&str; 6] =
    ["to followers", "to private", "detached", "post deleted", "image deleted", "held"];

/// Does something to a public image on a post that must take it out of a stranger's sight at once.
pub async fn narrow(app: &TestApp, how: &str, image: &str, post: &str) {
    let image_path = format!("/v1/images/{image}");
    let post_path = format!("/v1/posts/{post}");
    let request = match how {
        "to followers" => app.request("PATCH", &post_path).json(&json!({"visibility": "followers"})),
        "to private" => app.request("PATCH", &post_path).json(&json!({"visibility": "private"})),
        "detached" => app.request("PATCH", &post_path).json(&json!({"images": []})),
        "post deleted" => app.request("DELETE", &post_path),
        "image deleted" => app.request("DELETE", &image_path),
        "held" => {
            app.request("PUT", &format!("{image_path}/hold")).service().send().await.expect(204);
            return;
        }
        _ => unreachable!("{how}"),
    };
    let status = request.user("alice").await.send().await.status;
    assert!(status.is_success(), "{how}: {status}");
}

#[tokio::test]
async fn after_narrowing_every_way_in_is_shut_at_once() {
    let app = TestApp::start();
    for (seed, how) in (0..).zip(NARROWINGS) {
        let image = app.upload("alice", jpeg(64, 48, seed)).await;
        let post = app.create_post("alice", "public", &[&image]).await;
        let link = app.link("alice", &image, "width=32").await;
        let plain = format!("/i/{image}/width=32");
        let etag = app.get(&plain).send().await.expect(200).etag().to_owned();
        app.get(&link).send().await.expect(200);

        narrow(&app, how, &image, &post).await;

        for (what, request) in [
            ("the plain URL", app.get(&plain)),
            ("a 304", app.get(&plain).header("if-none-match", &etag)),
            ("a range", app.get(&plain).header("range", "bytes=0-1")),
            ("HEAD", app.request("HEAD", &plain)),
            ("the old link", app.get(&link)),
            ("a 304 by the old link", app.get(&link).header("if-none-match", &etag)),
            ("metadata", app.get(&format!("/v1/images/{image}"))),
        ] {
            assert_eq!(request.send().await.status, 404, "{how}: {what}");
        }
    }
}

#[tokio::test]
async fn revoking_kills_links_and_nothing_else() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let link = app.link("bob", &image, "width=32").await;
    let revoke = format!("/v1/images/{image}/revoke");
    app.post(&revoke).user("bob").await.send().await.expect_problem(404, "not_found");
    app.get(&link).send().await.expect(200);
    app.post(&revoke).user("alice").await.send().await.expect(204);
    app.get(&link).send().await.expect_problem(404, "not_found");
    app.get(&format!("/i/{image}/width=32")).send().await.expect(200);
    let fresh = app.link("bob", &image, "width=32").await;
    app.get(&fresh).send().await.expect(200);
}

#[tokio::test]
async fn a_link_outlives_what_does_not_narrow() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let post = app.create_post("alice", "followers", &[&image]).await;
    let other = app.create_post("alice", "private", &[&image]).await;
    let link = app.link("alice", &image, "width=32").await;
    app.patch_post("alice", &post, json!({"visibility": "public", "text": "new"})).await;
    app.request("DELETE", &format!("/v1/posts/{other}")).user("alice").await.send().await.expect(204);
    app.get(&link).send().await.expect(200);
}

#[tokio::test]
async fn who_loses_his_following_loses_sight_at_once() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "followers", &[&image]).await;
    let see = async || app.get(&format!("/i/{image}/width=32")).user("bob").await.send().await.status;
    assert_eq!(see().await, 404);
    app.set_follows("bob", "alice", true).await;
    assert_eq!(see().await, 200);
    app.set_follows("bob", "alice", false).await;
    assert_eq!(see().await, 404);
    app.set_follows("bob", "alice", true).await;
    app.request("DELETE", "/v1/followers/bob").user("alice").await.send().await.expect(204);
    assert_eq!(see().await, 404);
}

#[tokio::test]
async fn an_unattached_image_is_gone_at_its_deadline() {
    const SECS: u64 = 5;
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__UNATTACHED_SECS", &SECS.to_string())]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let taken = std::time::Instant::now();
    let path = format!("/i/{image}/width=32");
    app.get(&path).user("alice").await.send().await.expect(200);
    let link = app.link("alice", &image, "width=32").await;
    tokio::time::sleep(std::time::Duration::from_secs(SECS).saturating_sub(taken.elapsed())).await;
    app.get(&path).user("alice").await.send().await.expect(404);
    app.get(&link).send().await.expect(404);
    let post = json!({"text": "", "visibility": "public", "images": [image]});
    let late = app.post("/v1/posts").user("alice").await.json(&post).send().await;
    late.expect_problem(422, "image_unknown");
}

#[tokio::test]
async fn nobody_attaches_what_is_not_his() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let there = json!({"text": "", "visibility": "public", "images": [image]});
    let not_there =
        json!({"text": "", "visibility": "public", "images": ["01890000-0000-7000-8000-000000000000"]});
    let attach = async |post| app.post("/v1/posts").user("carol").await.json(post).send().await;
    let theirs = attach(&there).await.expect_problem(422, "image_unknown");
    let nobodys = attach(&not_there).await.expect_problem(422, "image_unknown");
    assert_eq!(theirs.body, nobodys.body);
    let avatar = json!({"avatar_image_id": image});
    let taken = app.request("PUT", "/v1/profile").user("carol").await.json(&avatar).send().await;
    taken.expect_problem(422, "image_unknown");
}

#[tokio::test]
async fn a_held_image_is_not_there_for_others() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let profile = json!({"avatar_image_id": image});
    app.request("PUT", "/v1/profile").user("alice").await.json(&profile).send().await.expect(200);
    app.request("PUT", &format!("/v1/images/{image}/hold")).service().send().await.expect(204);
    for (viewer, sees) in [("anonymous", false), ("bob", false), ("alice", true), ("service", true)] {
        let post =
            as_viewer(app.get(&format!("/v1/posts/{post}")), viewer).await.send().await.expect(200).json();
        assert_eq!(post["images"].as_array().unwrap().len(), usize::from(sees), "{viewer}");
        let profile = as_viewer(app.get("/v1/profiles/alice"), viewer).await.send().await.expect(200).json();
        assert_eq!(profile["avatar"].is_object(), sees, "{viewer}");
    }
}

#[tokio::test]
async fn an_edge_that_asks_is_told_what_to_answer() {
    let app = TestApp::start_with(&[("PINHOLE_TRANSFORM__UNSIGNED", "listed")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let link = app.link("alice", &image, "width=33").await.replace(&app.url, "");
    let ask = async |uri: &str, bearer: &str| {
        let request = app.get("/authz").header("x-original-uri", uri);
        let request = if bearer.is_empty() { request } else { request.header("authorization", bearer) };
        let reply = request.send().await;
        assert!(reply.body.is_empty() && !reply.headers.contains_key("set-cookie"));
        match reply.status.as_u16() {
            403 => reply.header("pinhole-status").parse().unwrap(),
            status => status,
        }
    };
    for (uri, bearer, status) in [
        (format!("/i/{image}/width=64"), "", 204),
        (format!("/i/{image}/original"), "", 204),
        (link.clone(), "", 204),
        // As the origin itself would.
        (format!("/i/{image}/width=33"), "", 400),
        (format!("/i/{image}/width=0"), "", 400),
        (link.replace("width=33", "width=34"), "", 403),
        (format!("/i/{image}/original?x=1"), "", 403),
        (format!("/i/{image}/original"), "Bearer a.b.c", 401),
        (format!("/i/{image}/raw"), "", 404),
        (format!("/i/{image}"), "", 404),
        (format!("http://evil.example/i/{image}/original"), "", 404),
        (format!("//i/{image}/original"), "", 404),
        (format!("/i/{image}/../{image}/original"), "", 404),
        ("/v1/profile".to_owned(), "", 404),
    ] {
        assert_eq!(ask(&uri, bearer).await, status, "{uri} {bearer}");
    }
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    assert_eq!(ask(&link, "").await, 404);
    assert_eq!(ask(&format!("/i/{image}/original"), "").await, 404);
    app.get("/authz").send().await.expect_problem(400, "invalid_field");
}

#[tokio::test]
async fn decisions_are_counted_and_logged_without_saying_who_or_how() {
    let data = tempfile::tempdir().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = dev_command(data.path());
    command.env("PINHOLE_LOG__DECISIONS_ONE_IN", "1").stderr(log.reopen().unwrap());
    let app = TestApp::dev_by(command, data);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let path = format!("/i/{image}/w=32");
    let link = app.link("alice", &image, "w=32").await;
    app.get(&path).user("alice").await.send().await.expect(200);
    app.get(&path).send().await.expect(404);
    app.get(&link).send().await.expect(200);
    app.get(&link.replace("&sig=", "&sig=A")).send().await.expect(403);
    app.get("/i/01890000-0000-7000-8000-000000000001/w=32").service().send().await.expect(404);
    for (metric, count) in [
        (r#"pinhole_decisions_total{verdict="granted",reason="session"}"#, 1.0),
        (r#"pinhole_decisions_total{verdict="refused",reason="not_allowed"}"#, 1.0),
        (r#"pinhole_decisions_total{verdict="refused",reason="unknown"}"#, 1.0),
        (r#"pinhole_decisions_total{verdict="granted",reason="link"}"#, 1.0),
        (r#"pinhole_links_total{verdict="good"}"#, 1.0),
        (r#"pinhole_links_total{verdict="malformed"}"#, 1.0),
    ] {
        assert!((app.metric(metric).await - count).abs() < 0.5, "{metric}");
    }
    let log = std::fs::read_to_string(log.path()).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("pinhole::decisions")).collect();
    assert_eq!(lines.len(), 4, "{log}");
    for (line, words) in lines.iter().zip([
        ["viewer=\"user\"", "verdict=\"granted\"", "reason=\"session\""],
        ["viewer=\"anonymous\"", "verdict=\"refused\"", "reason=\"not_allowed\""],
        ["viewer=\"link\"", "verdict=\"granted\"", "reason=\"link\""],
        ["viewer=\"service\"", "verdict=\"refused\"", "reason=\"unknown\""],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    let sig = link.split("&sig=").nth(1).unwrap();
    let token = app.token("alice").await;
    assert!(![sig, &token, "alice", "dev-service-key"].iter().any(|secret| log.contains(secret)), "{log}");
}

/// Whatever is good for one thing is good for nothing else, wherever it is put.
#[tokio::test]
async fn nothing_stands_in_for_anything_else() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "w=32").await;
    let path = link[..link.find('?').unwrap()].replace(&app.url, "");
    let query = &link[link.find('?').unwrap() + 1..];
    let sig = link.split("&sig=").nth(1).unwrap();
    let announced = json!({"content_type": "image/jpeg", "size": 1000, "method": "put"});
    let grant = app.post("/v1/uploads").user("alice").await.json(&announced).send().await.expect(201).json();
    let presigned = grant["url"].as_str().unwrap();
    let signature = presigned.split("X-Amz-Signature=").nth(1).unwrap();
    let token = app.token("alice").await;
    let key = crate::support::SERVICE_KEY;
    // Each credential, in every place where another one belongs. Its own place is known to work.
    let pieces = [
        ("a token", token.as_str()),
        ("a service key", key),
        ("a link's query", query),
        ("a link's signature", sig),
        ("a grant's signature", signature),
        ("a link key's id", "test"),
    ];
    let mut cells = 0;
    for (what, piece) in pieces {
        let bearer = app.get(&path).header("authorization", &format!("Bearer {piece}")).send().await.status;
        let is_its_place = matches!(what, "a token" | "a service key");
        assert_eq!(bearer == 200, is_its_place, "{what} as a bearer: {bearer}");
        assert!(is_its_place || bearer == 401, "{what} as a bearer: {bearer}");

        let cookie = app.get(&path).header("cookie", &format!("pinhole_session={piece}")).send().await.status;
        assert_eq!(cookie, if what == "a token" { 200 } else { 404 }, "{what} as a cookie");

        let in_query = [
            format!("{path}?exp=9999999999&kid=test&ep=1&sig={piece}"),
            format!("{path}?token={piece}"),
            format!("{path}?{piece}"),
        ];
        for (n, url) in in_query.iter().enumerate() {
            let status = app.get(url).send().await.status;
            let is_its_place = what == "a link's query" && n == 2;
            assert_eq!(status, if is_its_place { 200 } else { 403 }, "{what} in {url}");
        }
        let put =
            app.request("PUT", &presigned.replace(signature, piece)).header("content-type", "image/jpeg");
        let put = put.body(vec![0; 1000]).send().await.status;
        if what != "a grant's signature" {
            assert!(put.is_client_error(), "{what} as a grant's signature: {put}");
        }
        cells += 6;
    }
    // A link opens no door of the API, and a grant shows nothing.
    for (method, path) in
        [("GET", "/v1/profile"), ("DELETE", &format!("/v1/images/{image}") as &str), ("POST", "/v1/links")]
    {
        let request = app.request(method, &format!("{path}?{query}")).json(&json!({"images": []}));
        assert_eq!(request.send().await.status, 401, "{method} {path} by a link");
        cells += 1;
    }
    assert_eq!(app.get(presigned).send().await.status.as_u16() / 100, 4, "a grant to write reads nothing");
    println!("{cells} cells");
}

/// Whoever is refused learns nothing: not by a header, and not by how long it took, which is printed.
#[tokio::test]
async fn what_is_not_allowed_looks_like_what_is_not_there() {
    let app = TestApp::start();
    let [private, followers, held] = [
        app.upload("alice", jpeg(64, 48, 1)).await,
        app.upload("alice", jpeg(64, 48, 2)).await,
        app.upload("alice", jpeg(64, 48, 3)).await,
    ];
    app.create_post("alice", "private", &[&private]).await;
    app.create_post("alice", "followers", &[&followers]).await;
    app.create_post("alice", "public", &[&held]).await;
    app.request("PUT", &format!("/v1/images/{held}/hold")).service().send().await.expect(204);
    let mut took: std::collections::BTreeMap<_, Vec<_>> = std::collections::BTreeMap::new();
    for n in 0..40 {
        let never = format!("01890000-0000-7000-8000-0000000000{n:02}");
        for viewer in ["anonymous", "carol"] {
            for (way, path) in [("image", "/i/IMAGE/w=32"), ("metadata", "/v1/images/IMAGE")] {
                let mut seen = None;
                let cases = [
                    ("never there", &never),
                    ("private", &private),
                    ("followers", &followers),
                    ("held", &held),
                ];
                for (case, image) in cases {
                    // Its owner looks at it, so that it is known.
                    if case != "never there" {
                        app.get(&path.replace("IMAGE", image)).user("alice").await.send().await.expect(200);
                    }
                    let request = as_viewer(app.get(&path.replace("IMAGE", image)), viewer).await;
                    let began = std::time::Instant::now();
                    let mut reply = request.send().await.expect_problem(404, "not_found");
                    took.entry((way, viewer, case)).or_default().push(began.elapsed());
                    reply.headers.remove("date");
                    reply.headers.remove("x-request-id");
                    let told = (reply.headers, reply.body);
                    assert_eq!(*seen.get_or_insert_with(|| told.clone()), told, "{way} for {viewer}: {case}");
                }
            }
        }
    }
    for ((way, viewer, case), mut took) in took {
        took.sort_unstable();
        println!("{way} for {viewer}, {case}: {:.2} ms", took[took.len() / 2].as_secs_f64() * 1000.0);
    }
}
