//! What edges are told: every narrowing, by everybody's own words, at least once, twice when all went well, and
//! however long they were away.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    stand_in::{Answers, Edge, SECRET},
    support::{TestApp, jpeg, until},
};

/// Nothing listens there: whatever is written stays in the outbox.
const NOBODY: &str = "http://127.0.0.1:9";
/// So that what is told again is told after some five seconds.
const SOON: [(&str, &str); 5] = [
    ("PINHOLE_CACHE__FACTS_MILLIS", "0"),
    ("PINHOLE_WORK__RENDER_TIMEOUT_SECS", "1"),
    ("PINHOLE_WORK__STREAMS_WAIT_SECS", "1"),
    ("PINHOLE_BUCKET__OPERATION_TIMEOUT_SECS", "2"),
    ("PINHOLE_SERVER__WRITE_TIMEOUT_SECS", "1"),
];
const KINDS: &str = "PINHOLE_EDGE__TARGETS__";

/// Settings of a target, by the environment.
fn target(name: &str, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let name = name.to_uppercase();
    settings.iter().map(|(key, value)| (format!("{KINDS}{name}__{key}"), (*value).to_owned())).collect()
}

fn nginx(name: &str, urls: &str) -> Vec<(String, String)> {
    target(name, &[("KIND", "nginx"), ("URLS", urls), ("TOKEN", "purge-token")])
}

fn webhook(name: &str, url: &str) -> Vec<(String, String)> {
    target(name, &[("KIND", "webhook"), ("URL", url), ("SECRET", SECRET)])
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn start(settings: &[(String, String)]) -> TestApp {
    TestApp::start_with(&borrowed(settings))
}

fn and(mut settings: Vec<(String, String)>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    settings
}

async fn revoke(app: &TestApp, image: &str) {
    app.post(&format!("/v1/images/{image}/revoke")).service().send().await.expect(204);
}

/// Waits until the outbox is as it is to be.
async fn until_outbox(app: &TestApp, sql: &'static str, wanted: i64) {
    until(&format!("{sql}: {wanted}"), async || app.number(sql).await == wanted).await;
}

/// A metric is a whole number here.
fn is(metric: f64, wanted: u8) -> bool {
    (metric - f64::from(wanted)).abs() < 0.5
}

const ALL: &str = "SELECT COUNT(*) FROM purges";
const FIRST: &str = "SELECT COUNT(*) FROM purges WHERE state = 'first'";
const AGAIN: &str = "SELECT COUNT(*) FROM purges WHERE state = 'again'";
const DEAD: &str = "SELECT COUNT(*) FROM purges WHERE state = 'dead'";

/// What the outbox holds beyond what was seen of it before: target, image and reason.
async fn news(app: &TestApp, known: &mut BTreeSet<String>) -> Vec<String> {
    let sql = "SELECT target || ' ' || image_id || ' ' || epoch || ' ' || reason FROM purges";
    let all: BTreeSet<String> = app.texts(sql).await.into_iter().collect();
    let without_epoch = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {} {}", words[0], words[1], words[3])
    };
    let news = all.difference(known).map(without_epoch).collect();
    *known = all;
    news
}

/// One change after another, each with the purges that it is to write.
struct Story {
    app: TestApp,
    known: BTreeSet<String>,
}

impl Story {
    async fn then(&mut self, what: &str, purged: &[(&str, &str)]) {
        let mut wanted: Vec<String> = purged
            .iter()
            .flat_map(|(image, reason)| ["1", "2"].map(|n| format!("front@127.0.0.{n}:9 {image} {reason}")))
            .collect();
        wanted.sort();
        let mut found = news(&self.app, &mut self.known).await;
        found.sort();
        assert_eq!(found, wanted, "{what}");
    }

    async fn put_avatar(&self, avatar: Option<&str>) {
        let profile = self.app.request("PUT", "/v1/profile").user("alice").await;
        profile.json(&json!({"avatar_image_id": avatar})).send().await.expect(200);
    }

    async fn hold(&self, method: &str, image: &str) {
        self.app.request(method, &format!("/v1/images/{image}/hold")).service().send().await.expect(204);
    }

    async fn delete(&self, path: &str) {
        self.app.request("DELETE", path).user("alice").await.send().await;
    }
}

#[tokio::test]
async fn whatever_narrows_is_written_for_every_edge_and_nothing_else_is() {
    let settings = nginx("front", "http://127.0.0.1:9,http://127.0.0.2:9");
    let mut story = Story { app: start(&settings), known: BTreeSet::new() };
    let image = story.app.upload("alice", jpeg(64, 48, 1)).await;
    let image = image.as_str();
    story.then("an upload", &[]).await;
    let post = story.app.create_post("alice", "private", &[image]).await;
    story.then("a use", &[]).await;
    for (visibility, narrows) in
        [("followers", false), ("public", false), ("followers", true), ("private", true), ("public", false)]
    {
        story.app.patch_post("alice", &post, json!({"visibility": visibility})).await;
        let purged: &[_] = if narrows { &[(image, "narrowed")] } else { &[] };
        story.then(visibility, purged).await;
    }
    story.app.patch_post("alice", &post, json!({"text": "other words"})).await;
    story.then("another text", &[]).await;

    let other = story.app.create_post("alice", "public", &[image]).await;
    story.delete(&format!("/v1/posts/{other}")).await;
    story.then("one of two equal uses gone", &[]).await;
    story.app.patch_post("alice", &post, json!({"images": []})).await;
    story.then("detached", &[(image, "narrowed")]).await;
    story.app.patch_post("alice", &post, json!({"images": [image]})).await;
    story.then("attached", &[]).await;
    story.delete(&format!("/v1/posts/{post}")).await;
    story.then("its post deleted", &[(image, "narrowed")]).await;

    story.put_avatar(Some(image)).await;
    story.then("an avatar", &[]).await;
    let second = story.app.upload("alice", jpeg(64, 48, 2)).await;
    let second = second.as_str();
    story.put_avatar(Some(second)).await;
    story.then("another avatar", &[(image, "narrowed")]).await;
    story.put_avatar(None).await;
    story.then("no avatar", &[(second, "narrowed")]).await;

    story.app.set_follows("bob", "alice", true).await;
    story.app.set_follows("bob", "alice", false).await;
    story.then("followed and left", &[]).await;
    revoke(&story.app, image).await;
    story.then("revoked", &[(image, "revoked")]).await;
    revoke(&story.app, image).await;
    story.then("revoked again", &[(image, "revoked")]).await;
    story.hold("PUT", image).await;
    story.then("held", &[(image, "held")]).await;
    story.hold("PUT", image).await;
    story.hold("DELETE", image).await;
    story.then("held again, and let go", &[]).await;
    story
        .app
        .request("POST", &format!("/v1/images/{image}/revoke"))
        .user("bob")
        .await
        .send()
        .await
        .expect(404);
    story.delete(&format!("/v1/images/{}", crate::support::NEVER_THERE)).await;
    story.then("what fails", &[]).await;
    story.delete(&format!("/v1/images/{image}")).await;
    story.then("deleted", &[(image, "deleted")]).await;

    let third = story.app.upload("alice", jpeg(64, 48, 3)).await;
    story.app.create_post("alice", "public", &[&third]).await;
    story.app.request("DELETE", "/v1/users/alice").service().send().await.expect(202);
    until_outbox(&story.app, "SELECT COUNT(*) FROM images WHERE state = 'ready'", 0).await;
    story.then("erased", &[(second, "erased"), (&third, "erased")]).await;
    story.app.request("DELETE", "/v1/users/alice").service().send().await.expect(202);
    story.then("erased again", &[]).await;
}

#[tokio::test]
async fn what_nothing_used_until_its_deadline_is_purged_by_whoever_sweeps_it() {
    let settings = and(nginx("front", NOBODY), &[("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
    let app = start(&settings);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.alter("UPDATE images SET deadline = 1").await;
    until_outbox(&app, ALL, 1).await;
    let wanted = format!("front@127.0.0.1:9 {image} expired");
    assert_eq!(news(&app, &mut BTreeSet::new()).await, [wanted]);
}

#[tokio::test]
async fn without_an_edge_nothing_is_written() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    revoke(&app, &image).await;
    assert_eq!(app.number(ALL).await, 0);
}

#[tokio::test]
async fn every_kind_of_edge_is_told_in_its_own_words() {
    let mut edges = Vec::new();
    for _ in 0..6 {
        edges.push(Edge::start().await);
    }
    let [first, second, varnish, fastly, cloudflare, cloudfront] = edges.try_into().unwrap();
    let hook = Edge::start().await;
    let aws = [("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", "hunter2")];
    let mut settings = nginx("front", &format!("{},{}", first.url, second.url));
    settings
        .extend(target("varnish", &[("KIND", "varnish"), ("URLS", &varnish.url), ("TOKEN", "purge-token")]));
    let of = |kind, id: (&'static str, &'static str), edge: &Edge| {
        target(kind, &[("KIND", kind), id, ("TOKEN", "api-token"), ("API_URL", &edge.url)])
    };
    settings.extend(of("fastly", ("SERVICE_ID", "S1"), &fastly));
    settings.extend(of("cloudflare", ("ZONE_ID", "z1"), &cloudflare));
    settings.extend(target(
        "cloudfront",
        &[("KIND", "cloudfront"), ("DISTRIBUTION_ID", "E1"), ("API_URL", &cloudfront.url), aws[0], aws[1]],
    ));
    settings.extend(webhook("others", &hook.url));
    let app = start(&settings);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    revoke(&app, &image).await;

    for edge in [&first, &second] {
        let seen = edge.until_seen(1).await.remove(0);
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PURGE", format!("/i/{image}").as_str()));
        assert_eq!(seen.header("authorization"), "Bearer purge-token");
    }
    let seen = varnish.until_seen(1).await.remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PURGE", "/"));
    assert_eq!(seen.header("xkey-purge"), format!("img-{image}"));
    let seen = fastly.until_seen(1).await.remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/service/S1/purge"));
    assert_eq!(seen.header("fastly-key"), "api-token");
    assert_eq!(seen.json(), json!({"surrogate_keys": [format!("img-{image}")]}));
    let seen = cloudflare.until_seen(1).await.remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/client/v4/zones/z1/purge_cache"));
    assert_eq!(seen.json(), json!({"tags": [format!("img-{image}")]}));
    let seen = cloudfront.until_seen(1).await.remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", "/2020-05-31/distribution/E1/invalidation")
    );
    assert!(seen.text().contains(&format!("<Path>/i/{image}/*</Path>")), "{}", seen.text());
    assert!(seen.header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    let seen = hook.until_seen(1).await.remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.json()["data"]["image_id"].as_str()),
        ("POST", Some(image.as_str()))
    );
    assert!(seen.header("webhook-signature").starts_with("v1,") && !seen.header("webhook-id").is_empty());
    // All of them have taken it, and are told again later.
    until_outbox(&app, AGAIN, 7).await;
    assert!(is(app.metric("pinhole_purges_total{target=\"fastly\",outcome=\"delivered\"}").await, 1));
}

#[tokio::test]
async fn many_images_are_one_request_where_that_is_possible() {
    let (fastly, nginx_edge) = (Edge::start().await, Edge::start().await);
    let mut settings = nginx("front", &nginx_edge.url);
    settings.extend(target(
        "fastly",
        &[("KIND", "fastly"), ("SERVICE_ID", "S1"), ("TOKEN", "t"), ("API_URL", &fastly.url)],
    ));
    let app = start(&settings);
    let mut images = BTreeSet::new();
    for seed in 0..12 {
        images.insert(app.upload("alice", jpeg(64, 48, seed)).await);
    }
    app.request("DELETE", "/v1/users/alice").service().send().await.expect(202);
    let seen = fastly.until_seen(1).await.remove(0);
    let keys: BTreeSet<String> = serde_json::from_value(seen.json()["surrogate_keys"].clone()).unwrap();
    assert_eq!(keys, images.iter().map(|image| format!("img-{image}")).collect());
    let seen = nginx_edge.until_seen(12).await;
    assert_eq!(seen.iter().map(|seen| seen.path.clone()).collect::<BTreeSet<_>>().len(), 12);
}

#[tokio::test]
async fn an_edge_that_is_away_misses_nothing_and_holds_up_no_other() {
    let (well, ill) = (Edge::start().await, Edge::answering(Answers::With(503, "out of order")).await);
    let mut settings = webhook("well", &well.url);
    settings.extend(webhook("ill", &ill.url));
    let settings =
        and(settings, &[("PINHOLE_EDGE__TIMEOUT_SECS", "1"), ("PINHOLE_EDGE__MAX_PAUSE_SECS", "1")]);
    let app = start(&settings);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let other = app.upload("alice", jpeg(64, 48, 2)).await;
    for _ in 0..3 {
        revoke(&app, &image).await;
    }
    revoke(&app, &other).await;
    well.until_seen(4).await;
    // Neither of these is a purge taken, whatever it looks like.
    for answers in [
        Answers::Saying(302, "location", well.url.clone()),
        Answers::Never,
        Answers::With(401, ""),
        Answers::With(500, ""),
    ] {
        ill.answers(answers);
        let before = ill.seen().len();
        ill.until_seen(before + 2).await;
    }
    assert_eq!(app.number("SELECT COUNT(*) FROM purges WHERE target = 'ill' AND state = 'first'").await, 4);
    assert_eq!(well.seen().len(), 4, "no redirect was followed, and nobody was told twice");
    let why = "SELECT CAST(COUNT(*) > 0 AS INTEGER) * CAST(1 AS BIGINT) FROM purges
               WHERE last_error LIKE '%500 Internal Server Error%'";
    until_outbox(&app, why, 1).await;

    let before = ill.seen().len();
    ill.answers(Answers::With(200, ""));
    ill.until_seen(before + 4).await;
    until_outbox(&app, FIRST, 0).await;
    // Each image's in its order, though the two have nothing to do with each other.
    let told = ill.seen().split_off(before);
    let of_image: Vec<Value> = told
        .iter()
        .map(|seen| seen.json()["data"].clone())
        .filter(|data| data["image_id"] == *image)
        .collect();
    let epochs: Vec<i64> = of_image.iter().map(|data| data["epoch"].as_i64().unwrap()).collect();
    assert_eq!(epochs, [2, 3, 4]);
}

#[tokio::test]
async fn an_edge_that_asks_for_time_gets_it() {
    let edge = Edge::start().await;
    let app = start(&webhook("front", &edge.url));
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    edge.once(Answers::Saying(429, "retry-after", "2".to_owned()));
    revoke(&app, &image).await;
    let seen = edge.until_seen(2).await;
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(2));
    // Whoever keeps book of ids has one message, and not two.
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
}

#[tokio::test]
async fn an_edge_is_told_again_when_no_older_answer_is_under_way_any_more() {
    let edge = Edge::start().await;
    let app = start(&and(webhook("front", &edge.url), &SOON));
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    revoke(&app, &image).await;
    let seen = edge.until_seen(2).await;
    // What is asked of the ledger, a render, a read and a client's silence.
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(5500));
    assert_ne!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    until_outbox(&app, ALL, 0).await;
    assert_eq!(edge.epochs(), [2, 2]);
}

#[tokio::test]
async fn whoever_dies_before_he_has_noted_it_tells_it_again() {
    let edge = Edge::answering(Answers::Never).await;
    let settings = webhook("front", &edge.url);
    let app = start(&settings);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    revoke(&app, &image).await;
    edge.until_seen(1).await;
    // The edge has it, and nobody knows.
    edge.answers(Answers::With(200, ""));
    let app = app.restart_with(&borrowed(&settings));
    assert_eq!(app.number(FIRST).await, 1);
    // His claim runs out.
    app.alter("UPDATE purges SET leased_until = 1").await;
    let seen = edge.until_seen(2).await;
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    until_outbox(&app, AGAIN, 1).await;
}

/// The edges answer while it is waited for the end of the program.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_delivered_at_a_stop_stays_and_what_can_be_is() {
    let (well, ill) = (Edge::start().await, Edge::answering(Answers::With(503, "")).await);
    let mut settings = webhook("well", &well.url);
    settings.extend(webhook("ill", &ill.url));
    let mut app = start(&settings);
    let mut images = Vec::new();
    for seed in 0..4 {
        images.push(app.upload("alice", jpeg(64, 48, seed)).await);
    }
    for image in &images {
        revoke(&app, image).await;
    }
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    assert_eq!(app.number("SELECT COUNT(*) FROM purges WHERE target = 'well' AND state = 'first'").await, 0);
    assert_eq!(app.number("SELECT COUNT(*) FROM purges WHERE target = 'ill' AND state = 'first'").await, 4);
    assert_eq!(well.seen().len(), 4);
    ill.answers(Answers::With(200, ""));
    let before = ill.seen().len();
    let app = app.restart_with(&borrowed(&settings));
    ill.until_seen(before + 4).await;
    until_outbox(&app, FIRST, 0).await;
}

/// Runs `pinhole purges` on what a server was started with.
fn purges(app: &TestApp, args: &[&str], settings: &[(String, String)]) -> Output {
    let data = app.data();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().envs(borrowed(settings)).arg("purges").args(args);
    if data.join("pinhole.toml").exists() {
        command.arg("--config").arg(data.join("pinhole.toml"));
    } else {
        command.arg("--data").arg(data);
    }
    command.output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(words) && error.lines().count() == 1, "{error}");
}

#[tokio::test]
async fn what_was_given_up_is_kept_shown_and_sent_again() {
    let edge = Edge::answering(Answers::With(403, "wrong token")).await;
    let give_up = [
        ("PINHOLE_EDGE__GIVE_UP_SECS", "2"),
        ("PINHOLE_EDGE__TIMEOUT_SECS", "1"),
        ("PINHOLE_EDGE__MAX_PAUSE_SECS", "1"),
    ];
    let settings = and(webhook("front", &edge.url), &give_up);
    let app = start(&settings);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let nothing = said(&purges(&app, &["list"], &settings));
    assert!(nothing.contains("front: 0 to be told, 0 to be told again, 0 dead"), "{nothing}");
    refused(&purges(&app, &["retry", "other"], &settings), 1, "other: nothing waits for any edge");
    revoke(&app, &image).await;
    until_outbox(&app, DEAD, 1).await;

    let listed = said(&purges(&app, &["list"], &settings));
    assert!(
        listed.contains("1 dead") && listed.contains(&image) && listed.contains("wrong token"),
        "{listed}"
    );
    let listed: Value = serde_json::from_str(&said(&purges(&app, &["list", "--json"], &settings))).unwrap();
    assert_eq!(listed["dead"][0]["image_id"], *image);
    assert_eq!(listed["edges"][0]["dead"], 1);
    assert!(is(app.metric("pinhole_purges_total{target=\"front\",outcome=\"dead\"}").await, 1));
    refused(&purges(&app, &["forget", "front"], &settings), 2, "in edge.targets");
    refused(&purges(&app, &["retry", "other"], &settings), 1, "front");

    edge.answers(Answers::With(204, ""));
    assert_eq!(said(&purges(&app, &["retry", "front"], &settings)), "1 purges are sent again\n");
    until_outbox(&app, AGAIN, 1).await;
    // An edge that the settings do not name any more can be forgotten.
    let listed = said(&purges(&app, &["list"], &[]));
    assert!(listed.contains("not in edge.targets"), "{listed}");
    assert_eq!(said(&purges(&app, &["forget", "front"], &[])), "1 purges of front are forgotten\n");
    assert_eq!(app.number(ALL).await, 0);
}

#[tokio::test]
async fn an_erasure_is_done_once_every_edge_was_told_twice() {
    let edge = Edge::answering(Answers::With(503, "")).await;
    let hurry = [("PINHOLE_UPLOAD__SWEEP_SECS", "1"), ("PINHOLE_EDGE__MAX_PAUSE_SECS", "1")];
    let mut settings = webhook("front", &edge.url);
    settings.extend(webhook("other", &edge.url));
    let app = start(&and(and(settings, &SOON), &hurry));
    for seed in 0..3 {
        let image = app.upload("alice", jpeg(64, 48, seed)).await;
        app.create_post("alice", "public", &[&image]).await;
    }
    // Not hers.
    app.upload("bob", jpeg(64, 48, 1)).await;
    let receipt = app.request("DELETE", "/v1/users/alice").service().send().await.expect(202).json();
    assert_eq!((&receipt["edge_purges"], &receipt["edge_purges_left"]), (&json!(6), &json!(6)));
    let erasure = receipt["id"].as_str().unwrap().to_owned();
    until_outbox(&app, "SELECT COUNT(*) FROM blobs WHERE owner_id = 'alice'", 0).await;
    let receipt = app.get(&format!("/v1/erasures/{erasure}")).service().send().await.expect(200).json();
    assert_eq!((&receipt["state"], &receipt["edge_purges_left"]), (&json!("running"), &json!(6)));

    edge.answers(Answers::With(200, ""));
    let receipt = app.erased(&erasure).await;
    assert_eq!((&receipt["edge_purges"], &receipt["edge_purges_left"]), (&json!(6), &json!(0)));
    let taken = edge.seen().len();
    assert!(taken >= 12, "each of two edges, each of three images, twice: {taken}");
    assert_eq!(app.number(ALL).await, 0);
}

#[tokio::test]
async fn the_probe_watches_until_the_edge_refuses() {
    let (purged, edge) = (Edge::start().await, Edge::start().await);
    let settings = and(
        nginx("front", &purged.url),
        &[("PINHOLE_EDGE__PROBE__URL", &edge.url), ("PINHOLE_EDGE__PROBE__OPTIONS", "w=64")],
    );
    let app = start(&settings);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let link = app.link("alice", &image, "w=64").await;
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    // What viewers had, to the letter.
    let seen = edge.until_seen(3).await;
    assert_eq!(seen[0].path, link.replace(&app.url, ""));
    assert!(is(app.metric("pinhole_edge_unrefused").await, 1));
    assert!(is(app.metric("pinhole_edge_revocation_seconds_count").await, 0));
    // An edge that fails has refused nothing.
    edge.answers(Answers::With(502, ""));
    let before = edge.seen().len();
    edge.until_seen(before + 2).await;
    assert!(is(app.metric("pinhole_edge_unrefused").await, 1));
    edge.answers(Answers::With(404, ""));
    until("it notices", async || app.metric("pinhole_edge_revocation_seconds_count").await > 0.5).await;
    assert!(is(app.metric("pinhole_edge_unrefused").await, 0));
    let asked: BTreeSet<String> = edge.seen().into_iter().map(|seen| seen.path).collect();
    assert!(asked.contains(&format!("/i/{image}/width=64")), "without a signature, too: {asked:?}");
}

/// Prints how long it takes until an edge has been told: run it with `--nocapture`.
#[tokio::test]
async fn an_edge_is_told_at_once() {
    let edge = Edge::start().await;
    let app = start(&webhook("front", &edge.url));
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let mut took = Vec::new();
    for nth in 1..=20 {
        let began = Instant::now();
        revoke(&app, &image).await;
        took.push(edge.until_seen(nth).await[nth - 1].at - began);
    }
    took.sort_unstable();
    println!(
        "from the request that revokes until an edge hears of it: p50 {:?}, most {:?}",
        took[10], took[19]
    );
    let epochs: Vec<i64> = (2..=21).collect();
    assert_eq!(edge.epochs(), epochs);
}

/// It needs the server of `tests/with-postgres`.
#[tokio::test]
#[ignore = "it needs PostgreSQL: tests/with-postgres"]
async fn two_nodes_tell_an_edge_once() {
    let (hook, fastly) = (Edge::start().await, Edge::start().await);
    let mut settings = webhook("hook", &hook.url);
    settings.extend(target(
        "fastly",
        &[("KIND", "fastly"), ("SERVICE_ID", "S1"), ("TOKEN", "t"), ("API_URL", &fastly.url)],
    ));
    let one = start(&settings);
    let other = one.beside(&borrowed(&settings));
    let mut images = Vec::new();
    for seed in 0..10 {
        images.push(one.upload("alice", jpeg(64, 48, seed)).await);
    }
    for _ in 0..10 {
        let revoking = images
            .iter()
            .enumerate()
            .map(|(nth, image)| revoke(if nth % 2 == 0 { &one } else { &other }, image));
        futures_util::future::join_all(revoking).await;
    }
    until_outbox(&one, AGAIN, 200).await;
    let ids: BTreeSet<String> = hook.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!((hook.seen().len(), ids.len()), (100, 100));
    // Each image's in its order, whoever of the two told it.
    for image in &images {
        let of_image = hook.seen().into_iter().map(|seen| seen.json()["data"].clone());
        let epochs: Vec<i64> = of_image
            .filter(|data| data["image_id"] == **image)
            .map(|data| data["epoch"].as_i64().unwrap())
            .collect();
        assert_eq!(epochs, (2..=11).collect::<Vec<_>>());
    }
    // What one dies with the other takes over, once its time is over.
    hook.answers(Answers::Never);
    revoke(&one, &images[0]).await;
    hook.until_seen(101).await;
    hook.answers(Answers::With(200, ""));
    drop(one.kill());
    other.alter("UPDATE purges SET leased_until = 1 WHERE state = 'first'").await;
    until_outbox(&other, FIRST, 0).await;
    assert_eq!(other.number(AGAIN).await, 202);
}

/// A narrowing beside it has told the edge just before: the edge may have fetched the image again since.
#[tokio::test]
async fn an_erasure_tells_anew_what_a_narrowing_has_told_already() {
    let edge = Edge::answering(Answers::With(503, "")).await;
    let app = start(&webhook("front", &edge.url));
    app.upload("alice", jpeg(64, 48, 1)).await;
    app.alter(
        "INSERT INTO purges (target, image_id, epoch, reason, state, due_at, since, created_at)
         SELECT 'front', id, epoch + 1, 'revoked', 'again', 9000000000000000, 1, 1 FROM images",
    )
    .await;
    app.request("DELETE", "/v1/users/alice").service().send().await.expect(202);
    let told_anew = "SELECT COUNT(*) FROM purges WHERE state = 'first' AND reason = 'erased'";
    assert_eq!(app.number(told_anew).await, 1);
}
