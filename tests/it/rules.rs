//! An app that brings its own rules: its tables decide, and pinhole's posts no longer do.

use std::time::Duration;

use serde_json::json;

use crate::support::{TestApp, jpeg, until};

/// The app's own schema, in the ledger's database.
const SCHEMA: &str = "
    CREATE TABLE app_reviews (
        image_id TEXT PRIMARY KEY, visibility TEXT NOT NULL, hidden BOOLEAN NOT NULL, version BIGINT NOT NULL
    );
    CREATE TABLE app_members (image_id TEXT NOT NULL, viewer_id TEXT NOT NULL, PRIMARY KEY (image_id, viewer_id));
    CREATE VIEW app_facts AS
        SELECT image_id, visibility AS audience, NOT hidden AS in_use, version FROM app_reviews;";
const RULES: [(&str, &str); 2] = [
    ("PINHOLE_RULES__FACTS", "app_facts"),
    ("PINHOLE_RULES__ALLOWED", "SELECT image_id, viewer_id FROM app_members;"),
];

/// How long the app's word may go unheard.
const BOUND: Duration = Duration::from_secs(2);

/// The app changes its tables, and pinhole is told by nobody.
async fn app_says(app: &TestApp, sql: String) {
    app.alter(Box::leak(sql.into_boxed_str())).await;
}

async fn until_seen(app: &TestApp, viewer: Option<&str>, path: &str, status: u16) {
    let what = format!("{viewer:?} {path}: {status}");
    let took = until(&what, async || {
        let request = app.get(path);
        let request = if let Some(viewer) = viewer { request.user(viewer).await } else { request };
        request.send().await.status == status
    });
    assert!(took.await < BOUND, "{what}");
}

#[tokio::test]
async fn an_apps_own_tables_decide() {
    let app = TestApp::start();
    app.alter(SCHEMA).await;
    let app = app.restart_with(&RULES);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let path = format!("/i/{image}/w=32");
    // pinhole's own posts say nothing any more.
    app.create_post("alice", "public", &[&image]).await;
    app.get(&path).send().await.expect_problem(404, "not_found");
    app.get(&path).user("alice").await.send().await.expect(200);

    app_says(&app, format!("INSERT INTO app_reviews VALUES ('{image}', 'restricted', FALSE, 1)")).await;
    app_says(&app, format!("INSERT INTO app_members VALUES ('{image}', 'bob')")).await;
    until_seen(&app, Some("bob"), &path, 200).await;
    app.get(&path).user("carol").await.send().await.expect_problem(404, "not_found");
    app.get(&path).send().await.expect_problem(404, "not_found");
    let link = app.link("bob", &image, "w=32").await;
    assert!(link.contains("&ep=4294967297&"), "the epoch and the app's version: {link}");
    app.get(&link).send().await.expect(200);
    let refused = json!({"images": [{"id": image, "options": "w=32"}]});
    let refused = app.post("/v1/links").user("carol").await.json(&refused).send().await.expect(200).json();
    assert_eq!(refused["links"][0]["error"], "not_found");

    app_says(&app, format!("UPDATE app_reviews SET visibility = 'public' WHERE image_id = '{image}'")).await;
    until_seen(&app, None, &path, 200).await;
    // Who widens keeps links alive; who narrows steps the version, and they die.
    app.get(&link).send().await.expect(200);
    app_says(
        &app,
        format!(
            "UPDATE app_reviews SET visibility = 'owner', version = version + 1 WHERE image_id = '{image}'"
        ),
    )
    .await;
    until_seen(&app, None, &path, 404).await;
    until_seen(&app, None, &link, 404).await;
    app.get(&path).user("bob").await.send().await.expect_problem(404, "not_found");
    let shown = app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200).json();
    assert_eq!(shown["epoch"], 4_294_967_298_u64);

    // What is hidden is nobody's but its owner's, whatever its row says.
    app_says(&app, format!("UPDATE app_reviews SET visibility = 'public' WHERE image_id = '{image}'")).await;
    until_seen(&app, None, &path, 200).await;
    app_says(&app, format!("UPDATE app_reviews SET hidden = TRUE WHERE image_id = '{image}'")).await;
    until_seen(&app, None, &path, 404).await;
    app.get(&path).user("alice").await.send().await.expect(200);
    app_says(&app, format!("UPDATE app_reviews SET hidden = FALSE WHERE image_id = '{image}'")).await;

    // No revocation ever makes up for a version that the app took back.
    let link = app.link("alice", &image, "w=32").await;
    app_says(&app, format!("UPDATE app_reviews SET version = version - 1 WHERE image_id = '{image}'")).await;
    until_seen(&app, None, &link, 404).await;
    app.post(&format!("/v1/images/{image}/revoke")).user("alice").await.send().await.expect(204);
    app.get(&link).send().await.expect_problem(404, "not_found");

    // What the app calls back counts at once: the very next request is refused.
    app_says(&app, format!("UPDATE app_reviews SET visibility = 'public' WHERE image_id = '{image}'")).await;
    until_seen(&app, None, &path, 200).await;
    app_says(
        &app,
        format!("UPDATE app_reviews SET visibility = 'owner', version = 9 WHERE image_id = '{image}'"),
    )
    .await;
    app.post(&format!("/v1/images/{image}/revoke")).service().send().await.expect(204);
    app.get(&path).send().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn what_the_app_does_not_say_is_no() {
    let app = TestApp::start();
    app.alter(
        "CREATE TABLE app_photos (image_id TEXT PRIMARY KEY, audience TEXT, hidden BOOLEAN, version BIGINT);
         CREATE VIEW app_facts AS SELECT image_id, audience, NOT hidden AS in_use, version FROM app_photos",
    )
    .await;
    let app = app.restart_with(&[RULES[0], ("PINHOLE_CACHE__FACTS_MILLIS", "0")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let path = format!("/i/{image}/w=32");
    let shown = async || app.get(&path).send().await.status;
    let mut rows = vec![
        ("'public', FALSE, 1", 200),
        ("'public', NULL, 1", 404),
        ("'public', TRUE, 1", 404),
        ("NULL, FALSE, 1", 404),
        ("'public', FALSE, NULL", 200),
        ("'public', FALSE, 4294967295", 200),
        ("'public', FALSE, 4294967296", 500),
        ("'public', FALSE, -1", 500),
    ];
    // SQLite keeps in a column what is no such number; PostgreSQL does not.
    if std::env::var_os("PINHOLE_TEST_POSTGRES").is_none() {
        rows.extend([("'public', FALSE, '2026-11-27'", 500), ("'public', FALSE, 1.5", 500)]);
    }
    for (row, status) in rows {
        app_says(&app, format!("DELETE FROM app_photos; INSERT INTO app_photos VALUES ('{image}', {row})"))
            .await;
        assert_eq!(shown().await, status, "{row}");
        let owner = app.get(&path).user("alice").await.send().await.status;
        assert_eq!(owner, if status == 500 { 500 } else { 200 }, "{row}");
    }
}

#[tokio::test]
async fn what_the_app_uses_is_not_reclaimed() {
    let app = TestApp::start();
    app.alter(SCHEMA).await;
    let app = app.restart_with(&[RULES[0], RULES[1], ("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
    let [used, hidden] =
        [app.upload("alice", jpeg(64, 48, 1)).await, app.upload("alice", jpeg(64, 48, 2)).await];
    for (image, is_hidden) in [(&used, "FALSE"), (&hidden, "TRUE")] {
        app_says(&app, format!("INSERT INTO app_reviews VALUES ('{image}', 'public', {is_hidden}, 1)")).await;
    }
    // The deadline of both is over.
    app.alter("UPDATE images SET deadline = 1").await;
    until("the one that is not in use is reclaimed", async || {
        app.number("SELECT COUNT(*) FROM images WHERE state = 'deleted'").await == 1
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    app.get(&format!("/i/{used}/w=32")).send().await.expect(200);
    app.get(&format!("/i/{hidden}/w=32")).user("alice").await.send().await.expect_problem(404, "not_found");
    // The owner still does with it what he likes, long after its first deadline.
    app.post(&format!("/v1/images/{used}/revoke")).user("alice").await.send().await.expect(204);
}

#[tokio::test]
async fn rules_that_cannot_be_asked_are_refused_at_the_start() {
    let bucket = crate::support::Bucket::of_dev();
    for (facts, allowed, words) in [
        ("SELECT nothing", "", "rules.facts"),
        ("SELECT 'x' AS image_id, 'public' AS audience, TRUE AS in_use", "", "version"),
        ("DELETE FROM images", "", "rules.facts"),
        ("", "SELECT 1", "rules.allowed"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut command = crate::support::serve_command(data.path(), &bucket);
        for (name, value) in [("PINHOLE_RULES__FACTS", facts), ("PINHOLE_RULES__ALLOWED", allowed)] {
            command.env_remove(name);
            if !value.is_empty() {
                command.env(name, value);
            }
        }
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(words), "{facts:?}: {error}");
    }
}
