//! `pinhole doctor`: passes what is well, finds what is not, and leaves nothing behind.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    nginx::{Nginx, target},
    serve::{expect_failure, text},
    stand_in::{Answers, Edge},
    support::{Bucket, NEVER_THERE, PATIENCE, TestApp, jpeg, serve_command},
};

const PUBLIC_URL: &str = "PINHOLE_SERVER__PUBLIC_URL";
/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// What a doctor found, and how it ended.
struct Seen {
    output: Output,
    report: Value,
}

/// Runs a doctor, on a thread of its own: what stands in for others is served by the test's.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The command of a doctor with the settings of a data folder.
fn command(data: &std::path::Path, env: &[(&str, &str)], flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").envs(env.iter().copied());
    command.arg("doctor").arg("--config").arg(data.join("pinhole.toml")).args(flags);
    command
}

async fn doctor(data: &std::path::Path, env: &[(&str, &str)], flags: &[&str]) -> Seen {
    let output = run(command(data, env, &[&["--json"], flags].concat())).await;
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
    Seen { output, report }
}

impl Seen {
    /// The findings of a check.
    fn of(&self, check: &str) -> Vec<&Value> {
        let all = self.report["findings"].as_array().unwrap();
        all.iter().filter(|finding| finding["check"] == check).collect()
    }

    #[track_caller]
    fn expect(&self, outcome: &str, checks: &[&str]) {
        for check in checks {
            let found = self.of(check);
            let are_so = found.iter().all(|finding| finding["outcome"] == outcome);
            assert!(!found.is_empty() && are_so, "{check} is not {outcome}: {:#}", self.report);
        }
    }

    /// A failure, with its mend.
    #[track_caller]
    fn expect_fail(&self, check: &str, mend: &str) {
        self.expect("fail", &[check]);
        assert!(self.of(check)[0]["mend"].as_str().unwrap().contains(mend), "{:#}", self.report);
        assert_eq!(self.output.status.code(), Some(1));
    }

    #[track_caller]
    fn expect_success(&self) {
        assert_eq!(self.output.status.code(), Some(0), "{:#}", self.report);
        assert_eq!(self.report["failed"], 0, "{:#}", self.report);
    }
}

/// Every key in the bucket.
async fn keys(app: &TestApp) -> Vec<String> {
    let page = app.store().list("", "", 1000).await.unwrap();
    page.objects.into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn what_is_well_passes_and_nothing_is_left() {
    let app = TestApp::serve_anywhere();
    app.upload("alice", jpeg(64, 48, 1)).await;
    let before = keys(&app).await;
    let mut env = vec![(PUBLIC_URL, app.url.as_str())];
    let bucket = app.bucket();
    let page = bucket.dev.as_ref().map(|dev| dev.url.clone());
    env.extend(page.as_ref().map(|page| ("PINHOLE_BUCKET__CORS_ORIGINS", page.as_str())));
    let seen = doctor(&app.data(), &env, &[]).await;
    if page.is_some() {
        seen.expect_success();
        seen.expect("pass", &["bucket.cors", "bucket.cors.foreign"]);
    } else {
        // Garage says yes to any preflight for a bucket that one key alone knows by its name, as the tests make it.
        seen.expect_fail("bucket.cors.foreign", "global alias");
        assert_eq!(seen.report["failed"], 1, "{:#}", seen.report);
    }
    seen.expect("pass", &["database.reached", "database.migrations", "database.write"]);
    let on_a_server = app.data().join("database").exists();
    let told = if on_a_server { "pass" } else { "skipped" };
    seen.expect(told, &["database.clock", "database.listen"]);
    seen.expect(
        "pass",
        &["bucket.reached", "bucket.object", "bucket.clock", "bucket.private", "bucket.unlisted"],
    );
    seen.expect("pass", &["bucket.post", "bucket.post.oversize", "bucket.post.type", "bucket.post.key"]);
    seen.expect("pass", &["bucket.put", "bucket.put.oversize", "bucket.put.type", "bucket.put.replay"]);
    seen.expect("pass", &["bucket.versions", "bucket.cleared"]);
    seen.expect("pass", &["server.answers", "server.refusals", "server.clock"]);
    seen.expect("skipped", &["edge.hit"]);
    assert_eq!(keys(&app).await, before);
    assert_eq!(app.number("SELECT COUNT(*) FROM users WHERE id LIKE 'doctor%'").await, 0);
}

#[tokio::test]
async fn a_person_reads_lines_and_a_pipe_gets_ascii() {
    let app = TestApp::serve();
    let output = run(command(&app.data(), &[], &["--only", "database,server"])).await;
    let said = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{said}{}", text(&output.stderr));
    assert!(said.contains("ok   database.write ") && said.contains("skip server.answers "), "{said}");
    assert!(!said.contains("bucket.") && said.is_ascii(), "{said}");
    let output = run(command(&app.data(), &[(PUBLIC_URL, NOBODY)], &["--only", "server"])).await;
    let said = text(&output.stdout);
    assert!(said.contains("FAIL server.answers ") && said.contains("mend: start pinhole serve"), "{said}");
    expect_failure(&output, 1, "checks that failed: 1");
}

#[tokio::test]
async fn settings_that_are_no_good_are_refused_before_anything_is_tried() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    serve_command(data.path(), &bucket);
    for (setting, value, message) in [
        ("PINHOLE_LINKS__KEYS", "", "links.keys"),
        ("PINHOLE_DATABASE__URL", "mysql://db/pinhole", "database.url"),
        ("PINHOLE_BUCKET__NAME", "", "bucket.name"),
    ] {
        let output = run(command(data.path(), &[(setting, value)], &[])).await;
        expect_failure(&output, 2, message);
        assert!(output.stdout.is_empty());
    }
    let output = run(command(data.path(), &[], &["--image", "me"])).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_up_to_date_is_said_to_be() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    serve_command(data.path(), &bucket);
    let seen = doctor(data.path(), &[], &[]).await;
    seen.expect_fail("database.reached", "database.url");
    assert!(!data.path().join("pinhole.db").exists(), "nothing was made");
    seen.expect("pass", &["bucket.object", "bucket.put.replay"]);

    std::fs::write(data.path().join("pinhole.db"), "").unwrap();
    let seen = doctor(data.path(), &[], &["--only", "database"]).await;
    seen.expect_fail("database.migrations", "run pinhole migrate first");
    seen.expect("skipped", &["database.write"]);
}

#[tokio::test]
async fn keys_that_open_nothing_are_named_and_the_rest_is_tried() {
    let app = TestApp::serve();
    let env = [("PINHOLE_BUCKET__SECRET_ACCESS_KEY", "wrong"), (PUBLIC_URL, app.url.as_str())];
    let seen = doctor(&app.data(), &env, &[]).await;
    seen.expect_fail("bucket.reached", "mend the keys");
    seen.expect("skipped", &["bucket.object", "bucket.private", "bucket.post", "bucket.put"]);
    seen.expect("pass", &["bucket.clock", "bucket.unlisted", "database.write", "server.answers"]);
}

#[tokio::test]
async fn pages_that_the_bucket_refuses_are_named_with_the_rules_that_they_need() {
    let app = TestApp::serve();
    let page = app.bucket().dev.as_ref().unwrap().url.clone();
    let origins = format!("{page},https://app.example");
    let env = [("PINHOLE_BUCKET__CORS_ORIGINS", origins.as_str())];
    let seen = doctor(&app.data(), &env, &["--only", "bucket"]).await;
    seen.expect_fail("bucket.cors", "put-bucket-cors");
    let detail = seen.of("bucket.cors")[0]["detail"].as_str().unwrap();
    assert!(detail.contains("https://app.example") && !detail.contains(&page), "{detail}");
    seen.expect("pass", &["bucket.cors.foreign", "bucket.post"]);
}

#[tokio::test]
async fn a_bucket_that_lets_anybody_do_anything_is_found_out() {
    const VERSIONS: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let app = TestApp::serve();
    let open = Edge::answering(Answers::With(200, VERSIONS)).await;
    let env = [("PINHOLE_BUCKET__ENDPOINT", open.url.as_str())];
    let seen = doctor(&app.data(), &env, &["--only", "bucket"]).await;
    seen.expect_fail("bucket.versions", "suspend versioning");
    for check in ["bucket.private", "bucket.unlisted"] {
        seen.expect_fail(check, "put-public-access-block");
    }
    seen.expect("fail", &["bucket.object", "bucket.post.oversize", "bucket.post.type", "bucket.post.key"]);
    seen.expect("fail", &["bucket.put.oversize", "bucket.put.type", "bucket.put.replay"]);

    // The same where it is in front of one that does not.
    let env = [("PINHOLE_BUCKET__PUBLIC_ENDPOINT", open.url.as_str())];
    let seen = doctor(&app.data(), &env, &["--only", "bucket"]).await;
    seen.expect("pass", &["bucket.object", "bucket.versions", "bucket.cleared"]);
    seen.expect_fail("bucket.private", "put-public-access-block");
    seen.expect_fail("bucket.put", "bucket.public_endpoint");
    seen.expect("fail", &["bucket.post.oversize", "bucket.put.oversize", "bucket.put.replay"]);
    assert!(keys(&app).await.is_empty());

    open.answers(Answers::Saying(200, "access-control-allow-origin", "*".to_owned()));
    let seen = doctor(&app.data(), &env, &["--only", "bucket"]).await;
    seen.expect_fail("bucket.cors.foreign", "in place of *");
}

#[tokio::test]
async fn clocks_that_disagree_are_told_apart() {
    let app = TestApp::serve();
    let date = "Tue, 14 Nov 2023 22:13:20 GMT";
    let past = Edge::answering(Answers::Saying(403, "date", date.to_owned())).await;
    let env = [("PINHOLE_BUCKET__ENDPOINT", past.url.as_str()), (PUBLIC_URL, past.url.as_str())];
    let seen = doctor(&app.data(), &env, &[]).await;
    for clock in ["bucket.clock", "server.clock"] {
        seen.expect_fail(clock, "NTP");
        assert!(seen.of(clock)[0]["detail"].as_str().unwrap().contains("s ahead of"), "{:#}", seen.report);
    }
    seen.expect_fail("server.answers", "lead /i/");
    seen.expect("pass", &["database.write"]);
}

#[tokio::test]
async fn an_edge_is_seen_to_keep_to_verify_and_to_forget() {
    let app = TestApp::serve();
    let edge = Nginx::verify(&app);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let told = target(&edge.url);
    let mut env: Vec<(&str, &str)> = told.iter().map(|(key, value)| (*key, value.as_str())).collect();
    env.push((PUBLIC_URL, edge.url.as_str()));

    let seen = doctor(&app.data(), &env, &["--only", "edge"]).await;
    seen.expect("skipped", &["edge.image"]);
    let post = app.create_post("alice", "public", &[&image]).await;
    let before = keys(&app).await;
    let seen = doctor(&app.data(), &env, &["--only", "edge,server"]).await;
    seen.expect_success();
    seen.expect("pass", &["edge.shown", "edge.hit", "edge.forged", "edge.purge", "edge.purged"]);
    seen.expect("pass", &["server.answers", "server.refusals"]);
    assert_eq!(keys(&app).await, before);

    // A private one alone where it is named.
    app.patch_post("alice", &post, serde_json::json!({"visibility": "private"})).await;
    let seen = doctor(&app.data(), &env, &["--only", "edge"]).await;
    seen.expect("skipped", &["edge.image"]);
    let seen = doctor(&app.data(), &env, &["--only", "edge", "--image", &image]).await;
    seen.expect_success();
    seen.expect("pass", &["edge.hit", "edge.purged"]);
    let seen = doctor(&app.data(), &env, &["--only", "edge", "--image", NEVER_THERE]).await;
    seen.expect_fail("edge.image", "--image");

    // Nothing in front keeps anything; and who is to be told is gone.
    env[1].1 = NOBODY;
    let seen = doctor(&app.data(), &env, &["--only", "edge", "--image", &image, "--edge", &app.url]).await;
    seen.expect_fail("edge.purge", "mend edge.targets.front");
    seen.expect("pass", &["edge.shown", "edge.forged"]);
    seen.expect("skipped", &["edge.hit", "edge.purged"]);
}

#[tokio::test]
async fn an_edge_that_verifies_nothing_and_forgets_nothing_is_found_out() {
    let app = TestApp::serve();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&image]).await;
    let careless = Edge::answering(Answers::Saying(200, "x-cache", "HIT".to_owned())).await;
    let told = target(&careless.url);
    let mut env: Vec<(&str, &str)> = told.iter().map(|(key, value)| (*key, value.as_str())).collect();
    env.extend([(PUBLIC_URL, careless.url.as_str()), ("PINHOLE_EDGE__TIMEOUT_SECS", "2")]);
    let seen = doctor(&app.data(), &env, &["--only", "edge"]).await;
    seen.expect("pass", &["edge.shown", "edge.hit", "edge.purge"]);
    seen.expect_fail("edge.forged", "verify links");
    seen.expect_fail("edge.purged", "edge.targets");

    careless.answers(Answers::Saying(200, "cf-cache-status", "DYNAMIC".to_owned()));
    let seen = doctor(&app.data(), &env, &["--only", "edge"]).await;
    seen.expect_fail("edge.hit", "s-maxage");
    careless.answers(Answers::With(403, ""));
    let seen = doctor(&app.data(), &env, &["--only", "edge"]).await;
    seen.expect_fail("edge.shown", "links.keys");
}

#[tokio::test]
async fn who_is_stopped_clears_away_what_he_wrote() {
    let app = TestApp::serve();
    let mute = Edge::answering(Answers::Never).await;
    let env = [("PINHOLE_BUCKET__PUBLIC_ENDPOINT", mute.url.as_str())];
    let mut command = command(&app.data(), &env, &["--only", "bucket"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while keys(&app).await.is_empty() {
        assert!(began.elapsed() < PATIENCE, "nothing was written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    expect_failure(&output, 1, "it was stopped");
    assert!(keys(&app).await.is_empty());
}
