//! What `pinhole serve` says at its start, and `--check` before it, of settings, a database and a bucket
//! that do not fit together.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    thread,
};

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    serve::{expect_failure, migrate_command, text},
    support::{Bucket, TestApp, jpeg, serve_command},
};

/// An empty bucket on a server that answers all else with 200 and nothing, but where it is told otherwise:
/// a request line's part, and the answer.
fn bucket_that_says(part: &'static str, status: &'static str, document: &'static str) -> Bucket {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            // A connection that was opened ahead, and never used.
            let Some(request) = head.next() else { continue };
            assert!(head.any(|line| line.is_empty()), "a whole head");
            let (status, document) = match () {
                () if request.contains(part) => (status, document),
                () if request.contains("list-type=2") => {
                    ("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
                }
                () => ("200 OK", ""),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{document}",
                document.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    Bucket {
        endpoint,
        region: "us-east-1".to_owned(),
        name: "pinhole".to_owned(),
        access_key_id: "AKID".to_owned(),
        secret_access_key: "secret".to_owned(),
        dev: None,
    }
}

fn check(data: &Path, bucket: &Bucket, env: &[(&str, &str)]) -> (Output, String) {
    let output = serve_command(data, bucket).envs(env.iter().copied()).arg("--check").output().unwrap();
    let report = text(&output.stdout);
    (output, report)
}

/// What is said on stderr by a start that goes as far as to find its port taken.
fn start(data: &Path, bucket: &Bucket, env: &[(&str, &str)]) -> String {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = serve_command(data, bucket);
    command.envs(env.iter().copied()).arg("--listen").arg(taken.local_addr().unwrap().to_string());
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("choose another address"), "{said}");
    said
}

fn failures(report: &str) -> Vec<&str> {
    report.lines().filter(|line| line.starts_with("FAIL ")).collect()
}

#[test]
fn a_bucket_that_keeps_versions_is_said_to_keep_what_was_deleted() {
    const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let data = tempfile::tempdir().unwrap();
    let bucket = bucket_that_says("versioning", "200 OK", ENABLED);
    let (output, report) = check(data.path(), &bucket, &[]);
    expect_failure(&output, 1, "FAIL");
    let failed = failures(&report);
    assert!(failed.len() == 1 && failed[0].contains("suspend versioning"), "{report}");
    assert!(start(data.path(), &bucket, &[]).contains("suspend versioning"));

    for (status, document) in [
        ("501 Not Implemented", "<Error><Code>NotImplemented</Code></Error>"),
        ("200 OK", "<VersioningConfiguration/>"),
        ("200 OK", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"),
    ] {
        let bucket = bucket_that_says("versioning", status, document);
        let (output, report) = check(data.path(), &bucket, &[]);
        assert!(output.status.success() && report.contains("ok    versions"), "{report}");
        assert!(!start(data.path(), &bucket, &[]).contains("versions"));
    }
}

#[test]
fn a_bucket_of_another_region_is_said_to_be_one() {
    let data = tempfile::tempdir().unwrap();
    let bucket = bucket_that_says("HEAD /pinhole", "301 Moved Permanently", "");
    let output = serve_command(data.path(), &bucket).output().unwrap();
    expect_failure(&output, 1, "the bucket is in another region; mend bucket.region");
}

#[test]
fn an_endpoint_that_no_page_reaches_is_said() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let page = &*bucket.dev.as_ref().unwrap().url;
    let env =
        [("PINHOLE_SERVER__PUBLIC_URL", "https://img.example.org"), ("PINHOLE_BUCKET__CORS_ORIGINS", page)];
    for (public_endpoint, is_reached) in [
        ("", false),
        ("http://s3.example.org", false),
        ("https://localhost:9000", false),
        ("https://s3.example.org", true),
    ] {
        let env = [&env[..], &[("PINHOLE_BUCKET__PUBLIC_ENDPOINT", public_endpoint)]].concat();
        let (output, report) = check(data.path(), &bucket, &env);
        assert_eq!(output.status.success(), is_reached, "{public_endpoint}: {report}");
        assert_eq!(report.contains("no page can upload"), !is_reached, "{public_endpoint}: {report}");
        let said = start(data.path(), &bucket, &env);
        assert_eq!(said.contains("bucket.public_endpoint"), !is_reached, "{public_endpoint}: {said}");
    }
}

#[tokio::test]
async fn a_new_ledger_is_refused_by_a_bucket_that_was_served_from() {
    let app = TestApp::serve();
    app.upload("alice", jpeg(64, 48, 1)).await;
    let bucket = app.bucket();
    let lost = app.kill();

    let data = tempfile::tempdir().unwrap();
    let (output, report) = check(data.path(), &bucket, &[]);
    expect_failure(&output, 1, "FAIL");
    assert!(failures(&report).len() == 1 && report.contains("already holds pinhole's objects"), "{report}");
    // Not the second time either, when its file is there.
    for _ in 0..2 {
        let output = serve_command(data.path(), &bucket).output().unwrap();
        expect_failure(&output, 1, "already holds pinhole's objects; mend database.url");
    }
    // Nor once it has its tables.
    assert!(migrate_command(data.path()).status().unwrap().success());
    let (output, report) = check(data.path(), &bucket, &[]);
    expect_failure(&output, 1, "FAIL");
    assert!(report.contains("already holds pinhole's objects"), "{report}");
    for command in [&["serve"][..], &["import", ".", "--owner", "a"], &["sweep"], &["sweep", "--dry-run"]] {
        let mut pinhole = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        pinhole.env_clear().args(command).arg("--config").arg(data.path().join("pinhole.toml"));
        expect_failure(&pinhole.output().unwrap(), 1, "already holds pinhole's objects; mend database.url");
    }
    TestApp::serve_on(lost, &bucket, &[]);
}

#[test]
fn a_file_of_which_the_folder_is_missing_is_named() {
    let (bucket, data) = (Bucket::of_dev(), tempfile::tempdir().unwrap());
    let url = format!("sqlite:{}", data.path().join("missing/pinhole.db").display());
    let (output, report) = check(data.path(), &bucket, &[("PINHOLE_DATABASE__URL", &url)]);
    expect_failure(&output, 1, "FAIL");
    assert!(failures(&report).len() == 1 && report.contains("its folder is not there"), "{report}");
}

#[tokio::test]
async fn a_check_leaves_a_databases_file_as_it_is() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("pinhole.db");
    fs::write(&file, "").unwrap();
    let (_, report) = check(data.path(), &bucket, &[]);
    assert!(report.contains("is empty; the first start sets it up"), "{report}");
    assert_eq!(fs::read(&file).unwrap(), b"");

    assert!(migrate_command(data.path()).status().unwrap().success());
    // As a backup may bring it back.
    let mut ledger = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut ledger).await.unwrap();
    ledger.close().await.unwrap();
    let before = fs::read(&file).unwrap();
    let (output, report) = check(data.path(), &bucket, &[]);
    assert!(output.status.success() && report.contains("none pending"), "{report}");
    assert!(fs::read(&file).unwrap() == before, "it was written to");
}

#[test]
fn what_others_set_in_the_environment_is_ignored_and_named() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let (output, report) = check(
        data.path(),
        &bucket,
        &[
            ("PINHOLE_SERVICE_HOST", "10.96.0.7"),
            ("PINHOLE_PORT", "tcp://10.96.0.7:8080"),
            ("PINHOLE_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
            ("PINHOLE_DATABASE", "postgres://hunter:hunter2@db/pinhole"),
            ("PINHOLE_TEST_S3_ENDPOINT", "http://127.0.0.1:1"),
        ],
    );
    assert!(output.status.success(), "{report}");
    let said = text(&output.stderr);
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    let named = "PINHOLE_DATABASE, PINHOLE_PORT, PINHOLE_PORT_8080_TCP, PINHOLE_SERVICE_HOST";
    assert!(said.contains(named), "{said}");
    assert!(!said.contains("hunter") && !said.contains("10.96") && !said.contains("TEST"), "{said}");
}

#[test]
fn no_secret_is_said_however_it_is_misspelled() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    for (setting, value) in [
        ("PINHOLE_DATABASE__URL", "postgres://127.0.0.1:1/pinhole?passwort=hunter2"),
        ("PINHOLE_DATABASE__URL", "postgres://hunter:hunter2?x@127.0.0.1:1/pinhole"),
        ("PINHOLE_DATABASE__URL__", "hunter2"),
        ("PINHOLE_AUTH__JWT_SECRET__VALUE", "hunter2"),
        ("PINHOLE_SERVER__ROLE", "hunter2"),
    ] {
        let (output, report) = check(data.path(), &bucket, &[(setting, value)]);
        assert!(!output.status.success(), "{setting}");
        let said = report + &text(&output.stderr);
        assert!(!said.contains("hunter2"), "{setting}: {said}");
    }
    let file = data.path().join("wrong.toml");
    for (settings, message) in [
        ("[auth]\njwt_secret = hunter2\n", "wrong.toml: TOML parse error at line 2, column 14: "),
        ("[auth]\njwt_secret = \"hunter2\n", "wrong.toml: TOML parse error at line 2, "),
        ("database = \"postgres://hunter:hunter2@db/pinhole\"\n", "database: expected a section"),
    ] {
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        let output = command.env_clear().args(["serve", "--config"]).arg(&file).output().unwrap();
        expect_failure(&output, 2, message);
        assert!(!text(&output.stderr).contains("hunter2"), "{settings}");
    }
}

#[test]
fn the_edges_that_are_told_are_named_and_their_secrets_are_not() {
    let (data, bucket) = (tempfile::tempdir().unwrap(), bucket_that_says("never", "200 OK", ""));
    let (_, report) = check(data.path(), &bucket, &[]);
    assert!(report.contains("note  edge      edge.targets is empty"), "{report}");
    let edge = [
        ("PINHOLE_EDGE__TARGETS__FRONT__KIND", "nginx"),
        ("PINHOLE_EDGE__TARGETS__FRONT__URLS", "http://10.0.0.5:8081,https://edge.example.org"),
        ("PINHOLE_EDGE__TARGETS__FRONT__TOKEN", "hunter2"),
        ("PINHOLE_EDGE__PROBE__URL", "https://img.example.org"),
    ];
    let (_, report) = check(data.path(), &bucket, &edge);
    let told = "ok    edge      purges go to front@10.0.0.5:8081, front@edge.example.org";
    assert!(report.contains(told) && report.contains("https://img.example.org"), "{report}");
    assert!(!report.contains("hunter2"), "{report}");
    // A secret is not for whoever reads along.
    let (output, _) = check(
        data.path(),
        &bucket,
        &[edge[0], ("PINHOLE_EDGE__TARGETS__FRONT__URLS", "http://edge.example.org"), edge[2]],
    );
    expect_failure(&output, 2, "edge.targets.front.urls must be https://");
}
