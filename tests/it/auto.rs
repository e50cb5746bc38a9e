//! `format=auto` for clients that take AVIF: what is ready at once first, and AVIF from then on.

use std::time::{Duration, Instant};

use image::GenericImageView as _;

use crate::{
    files::file,
    referee,
    support::{PATIENCE, Reply, TestApp, jpeg, picture, until},
};

const BROWSER: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
/// Times to live that cannot be confused with one another.
const TTLS: [(&str, &str); 4] = [
    ("PINHOLE_CACHE__BROWSER_TTL_SECS", "100"),
    ("PINHOLE_CACHE__EDGE_TTL_SECS", "200"),
    ("PINHOLE_CACHE__STALE_WHILE_REVALIDATE_SECS", "30"),
    ("PINHOLE_CACHE__INTERIM_TTL_SECS", "7"),
];
const SETTLED: &str = "public, max-age=100, s-maxage=200, stale-while-revalidate=30";
const INTERIM: &str = "public, max-age=7, s-maxage=7, stale-while-revalidate=7";

/// An image of alice's that everybody may see.
async fn public(app: &TestApp, bytes: Vec<u8>) -> String {
    let image = app.upload("alice", bytes).await;
    app.create_post("alice", "public", &[&image]).await;
    image
}

async fn ask(app: &TestApp, path: &str, accept: &str) -> Reply {
    let reply = app.get(path).header("accept", accept).send().await.expect(200);
    assert_eq!(reply.header("vary"), "Accept");
    reply
}

/// Asks again until the answer is settled; all before are of the interim format.
async fn settled(app: &TestApp, path: &str, accept: &str, interim: &str) -> Reply {
    let patience = Instant::now();
    loop {
        let reply = ask(app, path, accept).await;
        if reply.header("cache-control") == SETTLED {
            return reply;
        }
        assert_eq!((reply.header("cache-control"), reply.header("content-type")), (INTERIM, interim));
        assert!(patience.elapsed() < PATIENCE, "{path} never settles");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many renders were made behind an answer; counted after they are there to be shown.
async fn made(app: &TestApp) -> u64 {
    let made = app.metric("pinhole_background_renders_total{outcome=\"made\"}").await;
    made.to_string().parse().expect("a whole number")
}

#[tokio::test]
async fn avif_is_made_behind_the_first_answer_and_served_from_then_on() {
    let app = TestApp::start_with(&TTLS);
    let image = public(&app, jpeg(400, 300, 1)).await;
    let path = format!("/i/{image}/w=160,f=auto");

    let first = ask(&app, &path, BROWSER).await;
    assert_eq!((first.header("content-type"), first.header("cache-control")), ("image/webp", INTERIM));
    let best = settled(&app, &path, BROWSER, "image/webp").await;
    assert_eq!(best.header("content-type"), "image/avif");
    assert_eq!(best.image().dimensions(), (160, 120));
    assert!(best.etag().starts_with('"') && best.etag() != first.etag(), "{}", best.etag());
    assert!(best.header("server-timing").contains("cache;desc=memory"), "{:?}", best.headers);
    until("it is counted", async || made(&app).await > 0).await;
    assert_eq!(made(&app).await, 1);

    // It is the same that is given to who asks for it by name.
    let named = app.get(&format!("/i/{image}/w=160,f=avif")).send().await.expect(200);
    assert_eq!((named.etag(), named.header("vary")), (best.etag(), ""));

    // Who does not take it gets what he takes, and that is settled.
    for (accept, format) in [
        ("image/webp", "webp"),
        ("image/avif;q=0,image/webp", "webp"),
        ("image/avif;q=0.000, image/webp;q=0.5", "webp"),
        ("image/avif;q=0", "jpeg"),
        ("image/*", "jpeg"),
        ("", "jpeg"),
    ] {
        let reply = ask(&app, &path, accept).await;
        assert_eq!(reply.header("content-type"), format!("image/{format}"), "{accept}");
        assert_eq!(reply.header("cache-control"), SETTLED, "{accept}");
    }

    let head = app.request("HEAD", &path).header("accept", BROWSER).send().await.expect(200);
    for name in ["content-type", "content-length", "etag", "vary", "cache-control"] {
        assert_eq!(head.header(name), best.header(name), "{name}");
    }
    let get = |etag: &str| app.get(&path).header("accept", BROWSER).header("if-none-match", etag);
    let known = get(best.etag()).send().await.expect(304);
    assert_eq!((known.header("vary"), known.header("cache-control")), ("Accept", SETTLED));
    // Who has the interim answer gets the better one.
    assert_eq!(get(first.etag()).send().await.expect(200).body, best.body);
}

#[tokio::test]
async fn a_304_for_an_interim_answer_is_interim_too() {
    let app = TestApp::start_with(&TTLS);
    let image = public(&app, jpeg(400, 300, 1)).await;
    let webp = app.get(&format!("/i/{image}/w=160,f=webp")).send().await.expect(200);
    let get = app.get(&format!("/i/{image}/w=160,f=auto")).header("accept", BROWSER);
    let known = get.header("if-none-match", webp.etag()).send().await.expect(304);
    assert_eq!((known.header("vary"), known.header("cache-control")), ("Accept", INTERIM));
}

#[tokio::test]
async fn interim_answers_live_no_longer_than_any_right_allows() {
    let app = TestApp::start_with(&TTLS);
    for (n, edge) in [(1, None), (2, Some("3"))] {
        let app = match edge {
            None => &app,
            Some(edge) => {
                &TestApp::start_with(&[&TTLS[..], &[("PINHOLE_CACHE__EDGE_TTL_SECS", edge)]].concat())
            }
        };
        let hidden = app.upload("alice", jpeg(400, 300, n)).await;
        let link = app.link("alice", &hidden, "w=160,f=auto").await;
        let linked = app.get(&link).header("accept", BROWSER).send().await.expect(200);
        let control = format!("public, max-age=7, s-maxage={}", edge.unwrap_or("7"));
        assert_eq!((linked.header("cache-control"), linked.header("vary")), (control.as_str(), "Accept"));
        let own = app.get(&format!("/i/{hidden}/w=300,f=auto")).user("alice").await;
        let own = own.header("accept", BROWSER).send().await.expect(200);
        assert_eq!(own.header("cache-control"), "private, no-cache");
        assert_eq!(own.header("vary"), "Accept, Cookie, Authorization");
    }
}

#[tokio::test]
async fn without_webp_the_interim_answer_is_of_the_source_s_format() {
    let app = TestApp::start_with(&TTLS);
    for (format, interim) in [("jpeg", "image/jpeg"), ("png", "image/png"), ("gif", "image/gif")] {
        let image = public(&app, file(format, &picture(200, 100, 3))).await;
        let path = format!("/i/{image}/w=64,f=auto");
        assert_eq!(ask(&app, &path, "image/avif").await.header("content-type"), interim);
        let best = settled(&app, &path, "image/avif", interim).await;
        assert_eq!(best.header("content-type"), "image/avif");
    }
}

#[tokio::test]
async fn avif_by_name_is_made_at_once() {
    let app = TestApp::start_with(&TTLS);
    let image = public(&app, jpeg(400, 300, 1)).await;
    let named = app.get(&format!("/i/{image}/w=160,f=avif")).send().await.expect(200);
    assert_eq!((named.header("content-type"), named.header("cache-control")), ("image/avif", SETTLED));
    let auto = ask(&app, &format!("/i/{image}/w=160,f=auto"), BROWSER).await;
    assert_eq!((auto.etag(), auto.header("cache-control")), (named.etag(), SETTLED));
    assert!(app.metric("pinhole_background_renders_total{outcome=\"made\"}").await < 0.5);
}

#[tokio::test]
async fn an_animation_never_becomes_a_still() {
    let app = TestApp::start_with(&TTLS);
    let make =
        "frames = [Image.new('RGB', (60, 40), c) for c in [(200, 30, 30), (30, 160, 30), (30, 30, 200)]]
put(saved(frames[0], 'GIF', save_all=True, append_images=frames[1:], duration=100, loop=0))";
    let image = public(&app, referee::python(make, b"")).await;
    for (accept, format) in [(BROWSER, "webp"), ("image/avif", "gif")] {
        let reply = ask(&app, &format!("/i/{image}/w=30,f=auto"), accept).await;
        assert_eq!(reply.header("content-type"), format!("image/{format}"));
        assert_eq!(reply.header("cache-control"), SETTLED, "nothing better is to come");
        assert_eq!(referee::frames(&reply.body, &[])["frames"].as_array().unwrap().len(), 3);
    }
    // Its first frame alone is a still.
    let path = format!("/i/{image}/w=30,f=auto,anim=false");
    assert_eq!(settled(&app, &path, BROWSER, "image/webp").await.header("content-type"), "image/avif");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_place_in_the_queue_is_made_when_it_is_asked_for_again() {
    let app = TestApp::start_with(&[&TTLS[..], &[("PINHOLE_WORK__BACKGROUND_WAITING", "0")]].concat());
    let image = public(&app, jpeg(400, 300, 1)).await;
    let paths: Vec<String> = (0..6).map(|n| format!("/i/{image}/w={},f=auto", 100 + n)).collect();
    for path in &paths {
        assert_eq!(ask(&app, path, BROWSER).await.header("cache-control"), INTERIM);
    }
    for path in &paths {
        let best = settled(&app, path, BROWSER, "image/webp").await;
        assert_eq!(best.header("content-type"), "image/avif");
    }
    until("all are counted", async || made(&app).await >= 6).await;
    assert_eq!(made(&app).await, 6);
    assert!((app.metric("pinhole_render_seconds_count").await - 6.0).abs() < 0.5, "one WebP each");
}

#[tokio::test]
async fn what_cannot_be_made_is_tried_once() {
    let app = TestApp::start_with(&[&TTLS[..], &[("PINHOLE_TRANSFORM__MAX_AVIF_PIXELS", "1000")]].concat());
    let image = public(&app, jpeg(400, 300, 1)).await;
    let path = format!("/i/{image}/w=160,f=auto");
    for _ in 0..3 {
        let reply = settled(&app, &path, BROWSER, "image/webp").await;
        assert_eq!(reply.header("content-type"), "image/webp");
    }
    assert!((app.metric("pinhole_background_renders_total{outcome=\"failed\"}").await - 1.0).abs() < 0.5);
    let named = app.get(&format!("/i/{image}/w=160,f=avif")).send().await;
    let named = named.expect_problem(400, "bad_options");
    assert!(named.text().contains("160×120") && named.text().contains("another format"), "{}", named.text());
}

#[tokio::test]
async fn nothing_is_made_in_the_background_where_that_is_switched_off() {
    let app = TestApp::start_with(&[&TTLS[..], &[("PINHOLE_WORK__BACKGROUND_RENDERS", "0")]].concat());
    let image = public(&app, jpeg(400, 300, 1)).await;
    let reply = ask(&app, &format!("/i/{image}/w=160,f=auto"), BROWSER).await;
    assert_eq!((reply.header("content-type"), reply.header("cache-control")), ("image/webp", SETTLED));
}
