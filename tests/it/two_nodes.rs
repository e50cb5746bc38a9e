//! Several nodes on one PostgreSQL: what one takes away the others refuse, whatever breaks between them.
//!
//! They need the server of `tests/with-postgres`; `--ignored` runs them, and `--nocapture` prints how long it
//! takes.

use std::time::Duration;

use serde_json::json;

use crate::support::{TestApp, jpeg, until};

/// What no revocation may take longer than, whatever breaks.
const BOUND: Duration = Duration::from_secs(2);

/// Waits until a node answers with a status; how long it did not.
async fn until_answered(node: &TestApp, user: Option<&str>, path: &str, status: u16) -> Duration {
    let what = format!("{path} is answered with {status}");
    until(&what, async || {
        let request = node.get(path);
        let request = if let Some(user) = user { request.user(user).await } else { request };
        request.send().await.status == status
    })
    .await
}

/// Makes a public image private on one node again and again, and asks the other; how long it still showed
/// it, the shortest time first.
async fn revocations(one: &TestApp, other: &TestApp, times: usize) -> Vec<Duration> {
    let image = one.upload("alice", jpeg(64, 48, 1)).await;
    let post = one.create_post("alice", "public", &[&image]).await;
    let path = format!("/i/{image}/w=32");
    let mut took = Vec::new();
    for _ in 0..times {
        until_answered(other, None, &path, 200).await;
        let link = one.link("alice", &image, "w=32").await;
        until_answered(other, None, &link.replace(&one.url, ""), 200).await;
        one.patch_post("alice", &post, json!({"visibility": "private"})).await;
        // The node that was told refuses the very next request.
        one.get(&path).send().await.expect_problem(404, "not_found");
        let plain = until_answered(other, None, &path, 404);
        let linked = async {
            let link = link.replace(&one.url, "");
            until_answered(other, None, &link, 404).await
        };
        let (plain, linked) = tokio::join!(plain, linked);
        took.push(plain.max(linked));
        one.patch_post("alice", &post, json!({"visibility": "public"})).await;
    }
    took.sort_unstable();
    took
}

fn tell(what: &str, took: &[Duration]) {
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_millis();
    println!("{what}: p50 {} ms, p99 {} ms, of {}", at(50), at(99), took.len());
}

#[tokio::test]
#[ignore = "it needs tests/with-postgres"]
async fn what_one_node_takes_away_the_other_refuses_at_once() {
    let one = TestApp::start();
    let other = one.beside(&[]);
    let took = revocations(&one, &other, 50).await;
    tell("told of by NOTIFY", &took);
    assert!(*took.last().unwrap() < BOUND);

    // A follower whom the author removes on one node sees nothing on the other.
    one.set_follows("bob", "alice", true).await;
    let image = one.upload("alice", jpeg(64, 48, 2)).await;
    one.create_post("alice", "followers", &[&image]).await;
    let path = format!("/i/{image}/original");
    until_answered(&other, Some("bob"), &path, 200).await;
    one.set_follows("bob", "alice", false).await;
    assert!(until_answered(&other, Some("bob"), &path, 404).await < BOUND);
    // An erased user's images are gone, and his token is worth nothing.
    until_answered(&other, Some("alice"), &path, 200).await;
    one.request("DELETE", "/v1/users/alice").service().send().await.expect(202);
    let refused = until_answered(&other, Some("alice"), &path, 401).await;
    assert!(refused < BOUND);
    other.get(&path).service().send().await.expect_problem(404, "not_found");
}

#[tokio::test]
#[ignore = "it needs tests/with-postgres"]
async fn what_one_node_rendered_the_other_does_not() {
    let one = TestApp::start();
    let other = one.beside(&[]);
    let image = one.upload("alice", jpeg(900, 600, 3)).await;
    let path = format!("/i/{image}/w=300");
    let rendered = one.get(&path).user("alice").await.send().await.expect(200);
    until("it is written", async || one.number("SELECT COUNT(*) FROM variants WHERE landed").await == 1)
        .await;
    let found = other.get(&path).user("alice").await.send().await.expect(200);
    assert!(found.header("server-timing").contains("cache;desc=bucket"), "{:?}", found.headers);
    assert_eq!((&found.body, found.etag()), (&rendered.body, rendered.etag()));
    // Both render what neither has, and one of them writes it.
    let path = format!("/i/{image}/w=310");
    let (a, b) = (one.get(&path).user("alice").await, other.get(&path).user("alice").await);
    let (a, b) = tokio::join!(a.send(), b.send());
    assert_eq!(a.expect(200).body, b.expect(200).body);
    one.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    until_answered(&other, Some("alice"), &path, 404).await;
}

#[tokio::test]
#[ignore = "it needs tests/with-postgres"]
async fn nothing_is_shown_for_longer_when_nobody_tells_of_it() {
    let one = TestApp::start();
    // Whoever notifies does nothing, and nobody notices.
    one.alter(
        "CREATE SCHEMA silent;
         CREATE FUNCTION silent.pg_notify(TEXT, TEXT) RETURNS VOID LANGUAGE SQL AS '';
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = silent, public, pg_catalog',
                                    current_database()); END $$",
    )
    .await;
    let one = one.restart();
    let other = one.beside(&[]);
    let took = revocations(&one, &other, 10).await;
    tell("told of by nobody", &took);
    assert!(*took.last().unwrap() < BOUND);
    assert!(took[took.len() / 2] > Duration::from_millis(200), "that was no trial: {took:?}");
}

#[tokio::test]
#[ignore = "it needs tests/with-postgres"]
async fn without_its_database_it_grants_nothing_and_it_recovers_by_itself() {
    let app = TestApp::start();
    let (shown, hidden) =
        (app.upload("alice", jpeg(64, 48, 1)).await, app.upload("alice", jpeg(64, 48, 2)).await);
    app.create_post("alice", "public", &[&shown]).await;
    let paths = [shown, hidden].map(|image| format!("/i/{image}/w=32"));
    for path in &paths {
        app.get(path).user("alice").await.send().await.expect(200);
    }
    app.take_database_away(true).await;
    for path in &paths {
        until_answered(&app, Some("alice"), path, 503).await;
        let refused = app.get(path).user("alice").await.send().await.expect_problem(503, "unavailable");
        assert!(!refused.header("retry-after").is_empty());
        until_answered(&app, None, path, 503).await;
    }
    app.take_database_away(false).await;
    for path in &paths {
        until_answered(&app, Some("alice"), path, 200).await;
    }
    app.get(&paths[1]).send().await.expect_problem(404, "not_found");
    app.create_post("alice", "private", &[]).await;
}

#[tokio::test]
#[ignore = "it needs tests/with-postgres"]
async fn what_an_app_notifies_of_counts_at_once() {
    let app = TestApp::start();
    app.alter("CREATE TABLE app_photos (image_id TEXT PRIMARY KEY, audience TEXT NOT NULL)").await;
    let facts = "SELECT image_id, audience, TRUE AS in_use, 0 AS version FROM app_photos";
    // Nothing but being told would make it look again within this test's patience.
    let app = app.restart_with(&[("PINHOLE_RULES__FACTS", facts), ("PINHOLE_CACHE__FACTS_MILLIS", "1500")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let path = format!("/i/{image}/w=32");
    let mut took = Vec::new();
    for audience in ["public", "owner", "public", "owner"] {
        let status = if audience == "public" { 200 } else { 404 };
        let sql = format!(
            "BEGIN;
             INSERT INTO app_photos VALUES ('{image}', '{audience}')
                 ON CONFLICT (image_id) DO UPDATE SET audience = excluded.audience;
             NOTIFY pinhole_changes, 'image {image}';
             COMMIT"
        );
        app.alter(Box::leak(sql.into_boxed_str())).await;
        took.push(until_answered(&app, None, &path, status).await);
    }
    tell("told of by the app", &took);
    assert!(took.iter().all(|took| *took < Duration::from_millis(1200)), "nobody told: {took:?}");
}
