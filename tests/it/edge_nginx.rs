//! nginx in front of pinhole, in the project's own two configurations: what is shared, what never is, and for how long.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    access::{NARROWINGS, every_cell_is_right, narrow},
    nginx::{Nginx, Recorder, TOKEN, target, write_configuration},
    support::{
        NEVER_THERE, PATIENCE, Reply, TestApp, TestRequest, encode, free_address, jpeg, picture, until,
    },
};

/// How many pictures and decisions the origin was asked for.
async fn asked(app: &TestApp) -> u64 {
    let text = app.get(&format!("{}/metrics", app.ops_url)).send().await.expect(200).text();
    let of = |route: &str| format!("pinhole_http_requests_total{{route=\"{route}\"");
    let counted =
        text.lines().filter(|line| line.starts_with(&of("image")) || line.starts_with(&of("authorize")));
    counted.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A link's path and query.
fn path_of(link: &str) -> &str {
    &link[link.find("/i/").unwrap()..]
}

/// What the edge did, as it says (RFC 9211).
fn did(reply: &Reply) -> &str {
    reply.header("cache-status").strip_prefix("pinhole-edge; ").unwrap_or("nothing")
}

/// A request to the edge, over a connection of its own: one that is reloaded closes the others.
fn at<'a>(app: &'a TestApp, edge: &Nginx, path: &str) -> TestRequest<'a> {
    app.get(&format!("{}{path}", edge.url)).header("connection", "close")
}

fn purge<'a>(app: &'a TestApp, edge: &Nginx, image: &str) -> TestRequest<'a> {
    app.request("PURGE", &format!("{}/i/{image}", edge.url)).header("connection", "close")
}

async fn purged(app: &TestApp, edge: &Nginx, image: &str) {
    purge(app, edge, image).header("authorization", &format!("Bearer {TOKEN}")).send().await.expect(204);
}

/// Whatever the origin and the edge must say alike.
fn told(reply: &Reply) -> (u16, String, String, String, String) {
    let header = |name: &str| reply.header(name).to_owned();
    (
        reply.status.as_u16(),
        reply.text(),
        header("content-type"),
        header("cache-control"),
        header("content-range"),
    )
}

#[tokio::test]
async fn everybody_sees_through_the_edge_that_verifies_what_he_sees_at_the_origin() {
    let mut app = TestApp::start();
    let edge = Nginx::verify(&app);
    app.url.clone_from(&edge.url);
    every_cell_is_right(&app).await;
}

#[tokio::test]
async fn everybody_sees_through_the_edge_that_asks_what_he_sees_at_the_origin() {
    let mut app = TestApp::start();
    let edge = Nginx::ask(&app);
    app.url.clone_from(&edge.url);
    every_cell_is_right(&app).await;
}

#[tokio::test]
async fn the_published_vectors_hold_under_njs_and_node() {
    let app = TestApp::start();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write_configuration(&app, folder.path(), &[&app.url]);
    write("vectors.js", include_str!("edge_nginx/vectors.js"));
    write("vectors.conf", include_str!("edge_nginx/vectors.conf"));
    let address = free_address();
    write("listen.conf", &format!("listen {address};"));
    let files: Value = json!({
        "links": serde_json::from_str::<Value>(include_str!("../vectors/links.json")).unwrap(),
        "accepts": serde_json::from_str::<Value>(include_str!("../vectors/accepts.json")).unwrap(),
    });

    write("files.json", &files.to_string());
    write("package.json", r#"{"type": "module"}"#);
    write(
        "run.js",
        "import fs from 'fs'; import vectors from './vectors.js';
         console.log(vectors.judge(fs.readFileSync('files.json', 'utf8')));",
    );
    let node = Command::new("node").arg("run.js").current_dir(folder.path()).output().unwrap();
    let by_node = String::from_utf8(node.stdout).unwrap();
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));

    let conf = folder.path().join("vectors.conf");
    let edge = Nginx::start(folder, &conf, address);
    let by_njs = app.post(&format!("{}/", edge.url)).json(&files).send().await;
    assert_eq!(by_njs.status, 200, "{}", edge.errors());
    for (who, judged) in [("njs", by_njs.text()), ("Node", by_node)] {
        let judged: Value = serde_json::from_str(&judged).unwrap();
        assert_eq!(judged["wrong"], json!([]), "{who}");
        assert!(judged["judged"].as_u64().unwrap() > 60, "{who}: {judged}");
    }
}

#[tokio::test]
async fn a_link_that_is_none_is_refused_at_the_edge_in_the_origins_words() {
    let app = TestApp::start();
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "width=32").await;
    let (path, query) = path_of(&link).split_once('?').unwrap();
    let mut parts: Vec<&str> = query.split('&').collect();
    parts.swap(0, 1);
    let reordered = parts.join("&");
    let expired = {
        // Signed as the app would, an hour ago.
        let claim = format!(
            "{path}?exp=1700000000&{}",
            query.split('&').skip(1).take(2).collect::<Vec<_>>().join("&")
        );
        let (_, secret) =
            app.secret("link_key").split_once(':').map(|(k, s)| (k.to_owned(), s.to_owned())).unwrap();
        let secret =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, secret).unwrap();
        format!("{claim}&sig={}", crate::support::hmac_sha256(&secret, &claim))
    };
    let wrong = [
        expired,
        format!("{path}?{reordered}"),
        format!("{path}?{query}&x=1"),
        format!("{path}?x=1&{query}"),
        format!("{path}?{query}x"),
        format!("{path}?{}", &query[..query.len() - 1]),
        format!("{path}?{}", query.replace("&ep=1", "&ep=01")),
        format!("{path}?{}", query.replace("&ep=1", "&ep=2")),
        format!("{path}?{}", query.replace("kid=", "kid=__proto__")),
        format!("{path}?{}", query.split("&sig").next().unwrap()),
        format!("{path}?"),
        format!("{path}?v=2"),
        format!("{}?{query}", path.replace("width=32", "width=33")),
        format!("{}?{query}", path.replace("width=32", "w=32")),
        // No id at all, and nothing that options could be.
        format!("/i/nothing/%2e%2e?{query}"),
    ];
    let at_the_origin = join_all(wrong.iter().map(|path| app.get(path).send())).await;
    let before = asked(&app).await;
    for (path, at_the_origin) in wrong.iter().zip(&at_the_origin) {
        let at_the_edge = at(&app, &edge, path).send().await;
        assert_eq!(at_the_edge.status, 403, "{path}");
        assert_eq!(told(&at_the_edge), told(at_the_origin), "{path}");
        // Whoever asks.
        assert_eq!(
            told(&at(&app, &edge, path).user("alice").await.send().await),
            told(at_the_origin),
            "{path}"
        );
    }
    assert_eq!(asked(&app).await, before, "the origin was asked");
    at(&app, &edge, path_of(&link)).send().await.expect(200);
}

#[tokio::test]
async fn viewers_of_a_private_image_by_link_share_one_copy() {
    for conf in ["verify.conf", "ask.conf"] {
        let app = TestApp::start();
        let edge = Nginx::before(&app, conf, free_address(), &[&app.url]);
        let image = app.upload("alice", jpeg(640, 480, 1)).await;
        app.create_post("alice", "private", &[&image]).await;
        let link = app.link("alice", &image, "width=32").await;
        let link = path_of(&link);
        let renders = "pinhole_images_served_total{tier=\"render\"}";
        let before = asked(&app).await;
        if conf == "verify.conf" {
            // Where refusals come the same way, nobody waits long for another's fetch.
            at(&app, &edge, link).send().await.expect(200);
        }
        let replies = join_all((0..40).map(|n| {
            // Cookies of whatever kind do not matter with a link.
            at(&app, &edge, link).header("cookie", &format!("pinhole_session={n}; a=b")).send()
        }))
        .await;
        for reply in replies {
            assert_eq!(reply.expect(200).image().width(), 32);
        }
        let origin = app.get(link).send().await.expect(200);
        let shown = at(&app, &edge, link).send().await.expect(200);
        assert_eq!(did(&shown), "hit");
        assert_eq!((&shown.body, shown.etag()), (&origin.body, origin.etag()));
        assert!(shown.header("cache-control").starts_with("public, max-age="), "{:?}", shown.headers);
        assert!(app.metric(renders).await <= 1.0);
        // One fetch; where the decision is asked for, as many times as it has grown old.
        let fetched = edge.log().iter().filter(|line| line["cache"] == "MISS").count();
        assert_eq!(fetched, 1, "{:?}", edge.log());
        assert!(asked(&app).await - before < 45);
    }
}

#[tokio::test]
async fn a_copy_answers_ranges_and_conditions_as_the_origin_does() {
    for edge in [Nginx::verify, Nginx::ask] {
        let app = TestApp::start();
        let edge = edge(&app);
        let image = app.upload("alice", jpeg(640, 480, 1)).await;
        app.create_post("alice", "public", &[&image]).await;
        let path = format!("/i/{image}/original");
        let whole = at(&app, &edge, &path).send().await.expect(200);
        let etag = whole.etag().to_owned();
        for (name, value) in [
            ("range", "bytes=0-9"),
            ("range", "bytes=-7"),
            ("range", "bytes=5-"),
            ("range", "bytes=999999-"),
            ("range", "lines=1-2"),
            ("if-none-match", "*"),
            ("if-none-match", &etag),
            ("if-none-match", "\"other\""),
            ("if-match", &etag),
            ("if-match", "\"other\""),
            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            let origin = app.get(&path).header(name, value).send().await;
            let copy = at(&app, &edge, &path).header(name, value).send().await;
            assert_eq!(told(&copy), told(&origin), "{name}: {value}");
            let is_told_apart = copy.status == 416 || copy.status == 412 || name == "if-unmodified-since";
            assert!(is_told_apart || did(&copy) == "hit", "{name}: {value}: {:?}", copy.headers);
            if copy.status == 304 {
                assert_eq!(copy.etag(), etag);
            }
        }
        let head = app.request("HEAD", &format!("{}{path}", edge.url)).send().await.expect(200);
        assert_eq!(
            (did(&head), head.header("content-length")),
            ("hit", whole.body.len().to_string().as_str())
        );
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn what_only_looks_like_a_picture_neither_hits_nor_fills() {
    let app = TestApp::start();
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let path = format!("/i/{image}/width=32");
    let cookie = format!("pinhole_session={}", app.token("alice").await);
    let odd = [
        format!("{path}/x.css"),
        format!("{path};x.css"),
        format!("{path}%2fx.css"),
        format!("{path}%00.css"),
        format!("{path}%3fx.css"),
        format!("{path}%23x.css"),
        format!("/i/{image}/x.css"),
        format!("/i/{image}/../{image}/width=32"),
        format!("/i/{image}/./width=32"),
        format!("/i//{image}/width=32"),
        format!("//i/{image}/width=32"),
        format!("/x/../i/{image}/width=32"),
        format!("/%69/{image}/width=32"),
        format!("/i/{}/width=32", image.to_uppercase()),
        format!("/i/{image}/width%3D32"),
        format!("/i/{image}/width=32,"),
        format!("/i/{image}/"),
        format!("/i/{image}"),
        "/_pinhole/cached".to_owned(),
        "/_pinhole/pass".to_owned(),
        "/_pinhole/../i/x".to_owned(),
    ];
    for path in odd.iter().chain([&path]) {
        for credentials in [Some(cookie.as_str()), None] {
            let raw = |authority: &str| {
                let cookie = credentials.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
                format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{cookie}\r\n")
            };
            // As they are: a client's library would mend them.
            let mut through = Vec::new();
            for url in [&app.url, &edge.url] {
                let authority = &url["http://".len()..];
                let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, raw(authority).as_bytes()).await.unwrap();
                through.push(Reply::read(&mut stream).await);
            }
            let [origin, edge] = &through[..] else { unreachable!() };
            // nginx itself refuses what cannot be a path.
            if edge.status != 400 || edge.header("content-type") != "text/html" {
                assert_eq!(told(edge), told(origin), "{path}");
            }
            assert!(!did(edge).starts_with("hit"), "{path}");
        }
    }
    assert_eq!(edge.kept(), 0, "something was kept");
    // The picture itself, by a session, was not either; and is not shown to anybody else.
    let by_session = at(&app, &edge, &path).header("cookie", &cookie).send().await.expect(200);
    assert_eq!((did(&by_session), by_session.header("cache-control")), ("fwd=bypass", "private, no-cache"));
    at(&app, &edge, &path).send().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn what_is_asked_with_a_session_neither_hits_nor_fills() {
    let app = TestApp::start();
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let path = format!("/i/{image}/width=32");
    let link = app.link("alice", &image, "width=32").await;
    let cookie = format!("a=b; pinhole_session={}", app.token("bob").await);
    for path in [path.as_str(), path_of(&link)] {
        let by_token = at(&app, &edge, path).user("bob").await.send().await.expect(200);
        assert_eq!(did(&by_token), "fwd=bypass");
        // A bad token is refused even with a good link.
        let bad = at(&app, &edge, path).header("authorization", "Bearer a.b.c");
        bad.send().await.expect_problem(401, "unauthenticated");
    }
    assert_eq!(did(&at(&app, &edge, &path).header("cookie", &cookie).send().await.expect(200)), "fwd=bypass");
    assert_eq!(edge.kept(), 0);
    // Others' cookies are nothing to pinhole.
    assert_eq!(did(&at(&app, &edge, &path).header("cookie", "a=b").send().await.expect(200)), "fwd=uri-miss");
    assert_eq!(did(&at(&app, &edge, &path).send().await.expect(200)), "hit");
    // Once it is there, those with a session still get none of it.
    assert_eq!(did(&at(&app, &edge, &path).header("cookie", &cookie).send().await.expect(200)), "fwd=bypass");
    // A signed copy is not an unsigned one's.
    assert_eq!(did(&at(&app, &edge, path_of(&link)).send().await.expect(200)), "fwd=uri-miss");
}

#[tokio::test]
async fn a_purge_makes_an_image_forgotten_in_every_form_and_no_other() {
    let app = TestApp::start();
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let other = app.upload("alice", jpeg(64, 48, 2)).await;
    app.create_post("alice", "public", &[&image, &other]).await;
    let link = app.link("alice", &image, "width=32").await;
    let mut forms = vec![path_of(&link).to_owned()];
    forms.extend(["original", "width=32", "w=32", "width=16,format=auto"].map(|o| format!("/i/{image}/{o}")));
    let forms: Vec<(String, &str)> =
        forms.iter().flat_map(|path| ["image/webp", "*/*"].map(|accept| (path.clone(), accept))).collect();
    let other = format!("/i/{other}/width=32");
    let ask = async |path: &str, accept: &str| {
        did(&at(&app, &edge, path).header("accept", accept).send().await.expect(200)).to_owned()
    };
    ask(&other, "*/*").await;
    for round in 0..3 {
        for (path, accept) in &forms {
            ask(path, accept).await;
            assert_eq!(ask(path, accept).await, "hit", "{path}");
        }
        // Nobody else may.
        purge(&app, &edge, &image).send().await.expect_problem(403, "purge_refused");
        for bad in ["Bearer wrong", "Bearer ", "Basic cHVyZ2UtdG9rZW4=", "purge-token"] {
            let refused = purge(&app, &edge, &image).header("authorization", bad).send().await;
            refused.expect_problem(403, "purge_refused");
        }
        assert_eq!(ask(&forms[0].0, forms[0].1).await, "hit");

        // As often as it comes.
        for _ in 0..=round {
            purged(&app, &edge, &image).await;
        }
        let mut seen = std::collections::HashSet::new();
        for (path, accept) in &forms {
            // Both kinds of clients share what does not depend on what they accept.
            let shared = !path.contains("auto") && !seen.insert(path);
            let expected = if shared { "hit" } else { "fwd=uri-miss" };
            assert_eq!(ask(path, accept).await, expected, "{path} {accept}");
        }
        assert_eq!(ask(&other, "*/*").await, "hit");
    }
    purged(&app, &edge, NEVER_THERE).await;
    // Other ways to spell it are not it.
    for path in
        [format!("/i/{image}/"), format!("/i/{image}?x"), format!("/i/{image}/width=32"), "/i/x".to_owned()]
    {
        let request = app.request("PURGE", &format!("{}{path}", edge.url));
        let status = request.header("authorization", &format!("Bearer {TOKEN}")).send().await.status;
        assert!(status == 404 || status == 405, "{path}: {status}");
    }
}

#[tokio::test]
async fn a_purge_outlives_a_restart_of_the_edge() {
    let app = TestApp::start();
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let path = format!("/i/{image}/width=32");
    at(&app, &edge, &path).send().await.expect(200);
    edge.renew(&app);
    assert_eq!(did(&at(&app, &edge, &path).send().await), "hit");
    purged(&app, &edge, &image).await;
    edge.renew(&app);
    assert_eq!(did(&at(&app, &edge, &path).send().await), "fwd=uri-miss");
}

#[tokio::test]
async fn the_origins_own_purges_take_away_every_way_in() {
    let address = free_address();
    let url = format!("http://{address}");
    let target = target(&url);
    let env: Vec<(&str, &str)> = target.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // The copies would otherwise grow old before this is over.
    let long = [("PINHOLE_CACHE__EDGE_TTL_SECS", "3600"), ("PINHOLE_CACHE__BROWSER_TTL_SECS", "3600")];
    let app = TestApp::start_with(&[&env[..], &long[..]].concat());
    let edge = Nginx::before(&app, "verify.conf", address, &[&app.url]);
    for (seed, how) in (0..).zip(NARROWINGS) {
        let image = app.upload("alice", jpeg(64, 48, seed)).await;
        let post = app.create_post("alice", "public", &[&image]).await;
        let link = app.link("alice", &image, "width=32").await;
        let ways =
            [format!("/i/{image}/width=32"), format!("/i/{image}/original"), path_of(&link).to_owned()];
        for path in &ways {
            at(&app, &edge, path).send().await.expect(200);
            assert_eq!(did(&at(&app, &edge, path).send().await.expect(200)), "hit");
        }
        narrow(&app, how, &image, &post).await;
        for path in &ways {
            until_answered(&app, &edge, path, 404).await;
        }
    }
}

/// Waits until the edge answers with a status; how long it did not.
async fn until_answered(app: &TestApp, edge: &Nginx, path: &str, status: u16) -> Duration {
    let what = format!("{path} is answered with {status}");
    until(&what, async || at(app, edge, path).send().await.status == status).await
}

#[tokio::test]
async fn without_the_origin_the_edge_shows_what_is_public_and_no_longer_than_it_was_told() {
    let env = [
        ("PINHOLE_CACHE__EDGE_TTL_SECS", "1"),
        ("PINHOLE_CACHE__BROWSER_TTL_SECS", "1"),
        ("PINHOLE_CACHE__STALE_WHILE_REVALIDATE_SECS", "0"),
        ("PINHOLE_CACHE__STALE_IF_ERROR_SECS", "14"),
    ];
    let app = TestApp::start_with(&env);
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let narrowed = app.upload("alice", jpeg(64, 48, 2)).await;
    app.create_post("alice", "public", &[&image]).await;
    let post = app.create_post("alice", "public", &[&narrowed]).await;
    let link = app.link("alice", &image, "width=32").await;
    let [public, narrowed] = [image, narrowed].map(|image| format!("/i/{image}/width=32"));
    for path in [&public, &narrowed, path_of(&link)] {
        at(&app, &edge, path).send().await.expect(200);
    }
    // What the origin refuses is refused, however stale a copy may be; and what was purged has none.
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    until_answered(&app, &edge, &narrowed, 404).await;
    purged(&app, &edge, &narrowed[3..39]).await;

    app.signal("KILL");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let stale = at(&app, &edge, &public).send().await.expect(200);
    assert_eq!(did(&stale), "hit; detail=stale");
    let refused = at(&app, &edge, path_of(&link)).send().await.expect_problem(503, "unavailable");
    assert!(!refused.header("retry-after").is_empty());
    at(&app, &edge, &narrowed).send().await.expect_problem(503, "unavailable");
    until_answered(&app, &edge, &public, 503).await;
}

#[tokio::test]
async fn each_class_of_clients_has_its_copy() {
    const AVIF: &str = "image/avif,image/webp,image/apng,*/*;q=0.8";
    for edge in [Nginx::verify, Nginx::ask] {
        let app = TestApp::start_with(&[("PINHOLE_CACHE__INTERIM_TTL_SECS", "1")]);
        let edge = edge(&app);
        let image = app.upload("alice", encode(&picture(64, 48, 1), image::ImageFormat::Png)).await;
        app.create_post("alice", "public", &[&image]).await;
        let path = format!("/i/{image}/width=32,format=auto");
        let shown = async |accept: &str| {
            let reply = at(&app, &edge, &path).header("accept", accept).send().await.expect(200);
            assert_eq!(reply.header("vary"), "Accept");
            (reply.header("content-type").to_owned(), did(&reply).starts_with("hit"))
        };
        for (accept, kind, hits) in [
            ("image/webp", "image/webp", false),
            ("text/html, image/webp;q=0.3", "image/webp", true),
            ("*/*", "image/png", false),
            ("image/*, image/webp;q=0", "image/png", true),
            ("image/webp", "image/webp", true),
        ] {
            assert_eq!(shown(accept).await, (kind.to_owned(), hits), "{accept}");
        }
        // What is only shown until the AVIF is there is not kept for longer than that.
        until("AVIF is shown", async || shown(AVIF).await.0 == "image/avif").await;
        assert_eq!(shown("image/avif, image/webp").await, ("image/avif".to_owned(), true));
        assert_eq!(shown("image/webp").await, ("image/webp".to_owned(), true));
        // Where it does not matter, all share one.
        let plain = format!("/i/{image}/width=32");
        at(&app, &edge, &plain).header("accept", AVIF).send().await.expect(200);
        assert_eq!(did(&at(&app, &edge, &plain).header("accept", "*/*").send().await), "hit");
    }
}

#[tokio::test]
async fn no_copy_says_that_it_may_be_kept_for_longer_than_the_link_lives() {
    for edge in [Nginx::verify, Nginx::ask] {
        let app = TestApp::serve_with(&[
            ("PINHOLE_LINKS__WINDOW_SECS", "1"),
            ("PINHOLE_CACHE__EDGE_TTL_SECS", "3600"),
            ("PINHOLE_CACHE__BROWSER_TTL_SECS", "3600"),
        ]);
        let edge = edge(&app);
        let image = app.upload("alice", jpeg(64, 48, 1)).await;
        let link = async |secs: u64| {
            let wanted = json!({"images": [{"id": image, "options": "width=32"}], "expires_in": secs});
            let answer =
                app.post("/v1/links").user("alice").await.json(&wanted).send().await.expect(200).json();
            path_of(answer["links"][0]["url"].as_str().unwrap()).to_owned()
        };
        let (long, short) = (link(3000).await, link(4).await);
        let said = |reply: &Reply| {
            let control = reply.header("cache-control").to_owned();
            let secs =
                control.strip_prefix("public, max-age=").unwrap().split(',').next().unwrap().parse::<u64>();
            secs.unwrap()
        };
        assert!(said(&at(&app, &edge, &long).send().await.expect(200)) > 100);
        let by_short = at(&app, &edge, &short).send().await.expect(200);
        assert_eq!(did(&by_short), "hit");
        assert!(said(&by_short) <= 5, "{:?}", by_short.headers);
        until_answered(&app, &edge, &short, 403).await;
        at(&app, &edge, &short).send().await.expect_problem(403, "link_expired");
        at(&app, &edge, &long).send().await.expect(200);
    }
}

#[tokio::test]
async fn keys_are_rotated_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let key = |kid: &str, n: u8| {
        let secret = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, [n; 32]);
        format!("{kid}:{secret}\n")
    };
    std::fs::write(&file, key("one", 1)).unwrap();
    let bucket = crate::support::Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let mut command = crate::support::serve_command(data.path(), &bucket);
    let settings = data.path().join("pinhole.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let (before, after) = text.split_once("keys = [").unwrap();
    let (_, after) = after.split_once(']').unwrap();
    std::fs::write(&settings, format!("{before}keys_file = {file:?}{after}")).unwrap();
    command.env("PINHOLE_CACHE__EDGE_TTL_SECS", "1");
    let app = TestApp::serve_by(command, data, &bucket);
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let old = app.link("alice", &image, "width=32").await;
    at(&app, &edge, path_of(&old)).send().await.expect(200);

    // The new one below the old one, then above, then alone.
    let rotate = async |text: String, signs: &str| {
        std::fs::write(&file, text).unwrap();
        app.signal("HUP");
        edge.renew(&app);
        let began = Instant::now();
        loop {
            let link = app.link("alice", &image, "width=32").await;
            if link.contains(&format!("kid={signs}&")) {
                break path_of(&link).to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "{link}");
        }
    };
    rotate(key("one", 1) + &key("two", 2), "one").await;
    at(&app, &edge, path_of(&old)).send().await.expect(200);
    let new = rotate(key("two", 2) + &key("one", 1), "two").await;
    at(&app, &edge, path_of(&old)).send().await.expect(200);
    at(&app, &edge, &new).send().await.expect(200);
    rotate(key("two", 2), "two").await;
    at(&app, &edge, path_of(&old)).send().await.expect_problem(403, "link_invalid");
    at(&app, &edge, &new).send().await.expect(200);
}

#[tokio::test]
async fn who_asks_the_origin_learns_of_a_revocation_within_seconds_and_nobody_tells_him() {
    let app = TestApp::start();
    let edge = Nginx::ask(&app);
    app.set_follows("bob", "alice", true).await;
    for (seed, how) in (0..).zip(NARROWINGS) {
        let image = app.upload("alice", jpeg(64, 48, seed)).await;
        let post = app.create_post("alice", "public", &[&image]).await;
        let link = app.link("alice", &image, "width=32").await;
        let paths = [format!("/i/{image}/width=32"), path_of(&link).to_owned()];
        for path in &paths {
            at(&app, &edge, path).send().await.expect(200);
        }
        narrow(&app, how, &image, &post).await;
        for path in &paths {
            let took = until_answered(&app, &edge, path, 404).await;
            assert!(took < Duration::from_secs(3), "{how}: {path}: {took:?}");
        }
        // The owner's right is his own, and comes with his own answer.
        let owners = at(&app, &edge, &paths[0]).user("alice").await.send().await;
        if how != "image deleted" {
            let owners = owners.expect(200);
            assert_eq!(owners.header("cache-control"), "private, no-cache");
            assert_eq!(owners.header("vary"), "Cookie, Authorization");
            assert_eq!(owners.header("cross-origin-resource-policy"), "same-site");
        }
    }
}

#[tokio::test]
async fn cookies_and_tokens_stop_at_the_edge_that_asks() {
    let app = TestApp::start();
    let recorder = Recorder::before(&app.url).await;
    let edge = Nginx::before(&app, "ask.conf", free_address(), &[&recorder.url]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let token = app.token("alice").await;
    let path = format!("/i/{image}/width=32");
    let cookie = format!("theme=dark; pinhole_session={token}");
    for request in [
        at(&app, &edge, &path).header("cookie", &cookie),
        at(&app, &edge, &path).user("alice").await,
        at(&app, &edge, &path).service().header("on-behalf-of", "alice"),
    ] {
        let reply =
            request.header("x-forwarded-for", "1.2.3.4").header("x-forwarded-host", "evil").send().await;
        reply.expect(200);
    }
    at(&app, &edge, &path).send().await.expect_problem(404, "not_found");
    let heads = recorder.heads();
    let (decisions, fetches): (Vec<_>, Vec<_>) =
        heads.iter().partition(|head| head.starts_with("get /authz "));
    assert_eq!((decisions.len(), fetches.len()), (4, 1), "{heads:?}");
    assert!(fetches[0].contains("authorization: bearer dev-service-key"), "{fetches:?}");
    for kept_back in ["cookie", "on-behalf-of", "eyj", "evil", "theme"] {
        assert!(!fetches[0].contains(kept_back), "{kept_back}: {fetches:?}");
    }
    assert!(heads.iter().all(|head| !head.contains("theme") && !head.contains("1.2.3.4")), "{heads:?}");
    // The bytes uploaded are the owner's, and pass by.
    let raw = at(&app, &edge, &format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
    assert_eq!((did(&raw), raw.header("cache-control")), ("fwd=bypass", "private, no-store"));
}

#[tokio::test]
async fn an_image_lies_with_one_of_several_origins_and_the_other_takes_over() {
    let app = TestApp::start();
    let recorders = [Recorder::before(&app.url).await, Recorder::before(&app.url).await];
    let edge = Nginx::before(&app, "verify.conf", free_address(), &[&recorders[0].url, &recorders[1].url]);
    let mut images = Vec::new();
    for seed in 0..24 {
        images.push(app.upload("alice", jpeg(64, 48, seed)).await);
    }
    let all = images.iter().map(String::as_str).collect::<Vec<_>>();
    app.create_post("alice", "public", &all[..12]).await;
    app.create_post("alice", "public", &all[12..]).await;
    for options in ["width=32", "width=16", "original"] {
        for image in &images {
            at(&app, &edge, &format!("/i/{image}/{options}")).send().await.expect(200);
        }
    }
    let [one, other] = recorders;
    let asked = |recorder: &Recorder, image: &str| {
        recorder.heads().iter().filter(|head| head.starts_with(&format!("get /i/{image}/"))).count()
    };
    let of_one: Vec<&String> = images.iter().filter(|image| asked(&one, image) > 0).collect();
    assert!(!of_one.is_empty() && of_one.len() < images.len(), "all with one");
    for image in &images {
        assert!(matches!((asked(&one, image), asked(&other, image)), (3, 0) | (0, 3)), "{image}");
    }
    drop(one);
    for image in &images {
        at(&app, &edge, &format!("/i/{image}/width=8")).send().await.expect(200);
    }
}

#[tokio::test]
async fn the_control_api_passes_through_as_it_is() {
    let mut app = TestApp::start();
    let recorder = Recorder::before(&app.url).await;
    let edge = Nginx::before(&app, "verify.conf", free_address(), &[&recorder.url]);
    app.url.clone_from(&edge.url);
    // Larger than what nginx takes by itself, whole and in pieces.
    let bytes = encode(&noise(1200, 900), image::ImageFormat::Png);
    assert!(bytes.len() > 2 << 20);
    let image = app.upload("alice", bytes.clone()).await;
    let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
    assert!(raw.body == bytes, "other bytes than were uploaded");
    let tus = |method: &str, path: &str| app.request(method, path).header("tus-resumable", "1.0.0");
    let create = tus("POST", "/v1/tus").user("alice").await.header("upload-length", &bytes.len().to_string());
    let location = create.send().await.expect(201).header("location").to_owned();
    let upload = &location[location.find("/v1/").unwrap()..];
    for piece in [0..1 << 20, 1 << 20..bytes.len()] {
        let patch =
            tus("PATCH", upload).user("alice").await.header("upload-offset", &piece.start.to_string());
        let patch = patch.header("content-type", "application/offset+octet-stream");
        patch.body(bytes[piece].to_vec()).send().await.expect(204);
    }
    let head = tus("HEAD", upload).user("alice").await.send().await.expect(200);
    assert_eq!(head.header("upload-offset"), bytes.len().to_string());
    // Whom a client says that he forwards for is nothing to the origin.
    app.get("/v1/profiles/bob")
        .header("x-forwarded-for", "1.2.3.4")
        .header("forwarded", "for=1.2.3.4")
        .send()
        .await;
    let heads = recorder.heads();
    assert!(heads.iter().all(|head| !head.contains("1.2.3.4")) && heads.len() > 5);
    assert!(heads.iter().any(|head| head.contains("x-forwarded-for: 127.0.0.1")));
    assert_eq!(edge.kept(), 0);
    let logged = edge.log();
    assert!(logged.iter().all(|line| line["request_id"].as_str().unwrap().len() == 32), "{logged:?}");
}

/// A picture that compresses badly.
fn noise(width: u32, height: u32) -> image::RgbImage {
    let mut state = 1_u32;
    image::RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, a, b, c] = state.to_le_bytes();
        image::Rgb([a, b, c])
    })
}

#[tokio::test]
async fn who_asks_too_often_is_told_so() {
    let app = TestApp::start();
    let edge = Nginx::verify(&app);
    let own = include_str!("../../nginx/limits.conf");
    std::fs::write(
        edge.path("conf/limits.conf"),
        own.replace("rate=200r/s burst", "rate=1r/s burst")
            .replace("rate=200r/s", "rate=1r/s")
            .replace("burst=1000", "burst=2"),
    )
    .unwrap();
    edge.renew(&app);
    let path = format!("/i/{NEVER_THERE}/original");
    let mut last = at(&app, &edge, &path).send().await;
    for _ in 0..9 {
        last = at(&app, &edge, &path).send().await;
    }
    last.expect_problem(429, "too_many_requests");
}
