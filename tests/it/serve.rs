//! `pinhole serve` and `pinhole migrate` as programs: on a SQLite file, and the bucket of a `pinhole dev`
//! as the S3 server that it finds.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};
use sqlx::SqlitePool;

use crate::{
    files,
    support::{Bucket, NEVER_THERE, TestApp, jpeg, serve_command, user_token},
};

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Insists on an exit code and on one line on stderr, and that it contains `message`.
#[track_caller]
pub fn expect_failure(output: &Output, code: i32, message: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(said.starts_with("pinhole: ") && said.contains(message), "{message:?} is not in {said}");
}

pub fn migrate_command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().arg("migrate").arg("--config").arg(data.join("pinhole.toml"));
    command
}

#[tokio::test]
async fn it_serves_what_dev_serves_without_the_demo() {
    let app = TestApp::serve();
    for path in ["/livez", "/readyz", "/metrics"] {
        app.get(&format!("{}{path}", app.ops_url)).send().await.expect(200);
    }
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let rendition = format!("/i/{image}/width=32");
    app.get(&rendition).user("alice").await.send().await.expect(200).image();
    app.get(&rendition).user("bob").await.send().await.expect(404);
    app.get(&rendition).service().send().await.expect(200);
    let link = app.link("alice", &image, "width=32").await;
    app.get(&link).send().await.expect(200);

    for path in ["/", "/demo/photo.jpg", "/dev/session"] {
        app.get(path).send().await.expect_problem(404, "not_found");
    }
    app.post("/dev/session").json(&json!({"user": "alice"})).send().await.expect_problem(404, "not_found");
    // It is reached by whatever name its proxy gives it.
    app.get(&link).header("host", "img.example.org").send().await.expect(200);
}

/// Asks for a grant for a file.
pub async fn grant(app: &TestApp, method: &str, file: &[u8]) -> Value {
    let wanted = json!({"content_type": "image/jpeg", "size": file.len(), "method": method});
    app.post("/v1/uploads").user("alice").await.json(&wanted).send().await.expect(201).json()
}

/// Uploads a file straight to the bucket by each kind of grant.
pub async fn upload_straight_to_the_bucket(app: &TestApp) {
    let file = jpeg(64, 48, 1);
    let posted = grant(app, "post", &file).await;
    let fields = posted["fields"].as_object().unwrap().iter();
    let mut parts: Vec<(String, &[u8])> = fields
        .map(|(name, value)| {
            (format!("Content-Disposition: form-data; name=\"{name}\""), value.as_str().unwrap().as_bytes())
        })
        .collect();
    parts.push(("Content-Disposition: form-data; name=\"file\"; filename=\"a\"".to_owned(), &file));
    let parts: Vec<files::Part<'_>> = parts.iter().map(|(head, body)| (head.as_str(), *body)).collect();
    let form = files::form("x-boundary-x", &parts);
    let sent = app.post(posted["url"].as_str().unwrap()).body(form);
    let sent = sent.header("content-type", "multipart/form-data; boundary=x-boundary-x").send().await;
    assert!(sent.status.is_success(), "{}", sent.text());

    let put = grant(app, "put", &file).await;
    let mut sent = app.request("PUT", put["url"].as_str().unwrap()).body(file);
    for (name, value) in put["headers"].as_object().unwrap() {
        sent = sent.header(name, value.as_str().unwrap());
    }
    sent.send().await.expect(200);
    for granted in [posted, put] {
        let path = format!("/v1/uploads/{}/complete", granted["image_id"].as_str().unwrap());
        app.post(&path).user("alice").await.send().await.expect(201);
    }
}

#[tokio::test]
async fn clients_upload_straight_to_its_bucket() {
    upload_straight_to_the_bucket(&TestApp::serve()).await;
}

#[tokio::test]
async fn data_survives_kill_9() {
    let app = TestApp::serve();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "width=32").await;
    let path = link.strip_prefix(&app.url).unwrap().to_owned();
    let bucket = app.bucket();
    let app = TestApp::serve_on(app.kill(), &bucket, &[]);
    app.get(&path).send().await.expect(200).image();
    app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200);
}

#[tokio::test]
async fn the_environment_overrides_the_file_and_flags_override_both() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let mut command = serve_command(data.path(), &bucket);
    let public_url = "https://img.example.org";
    command.envs([
        ("PINHOLE_SERVER__PUBLIC_URL", public_url),
        ("PINHOLE_SERVER__ROLE", "deliver"),
        ("PINHOLE_AUTH__JWT_SECRET", "another secret that is long enough, too"),
        ("PINHOLE_FOLLOWS", "service"),
    ]);
    command.args(["--role", "upload"]);
    let app = TestApp::serve_by(command, data, &bucket);
    app.get("/v1/images").user("alice").await.send().await.expect(401);
    let token = format!("Bearer {}", user_token("another secret that is long enough, too", "alice"));
    app.get("/v1/images").header("authorization", &token).send().await.expect(200);
    let follows = app.request("PUT", "/v1/following/bob").header("authorization", &token);
    follows.send().await.expect(403);
    let image = app.post("/v1/images").header("authorization", &token).header("content-type", "image/*");
    let image = image.body(jpeg(64, 48, 1)).send().await.expect(201).json();
    assert!(image["url"].as_str().unwrap().starts_with(&format!("{public_url}/i/")), "{image}");
}

#[test]
fn what_cannot_work_in_production_is_refused_by_name() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    for (setting, value, message) in [
        ("SERVER__PUBLIC_URL", "http://img.example.org", "server.public_url http://img.example.org"),
        ("SERVER__PUBLIC_URL", "img.example.org", "server.public_url"),
        ("SERVER__LISTEN", "0.0.0.0:0", "server.public_url is not set"),
        ("SERVER__ROLE", "upload", "server.public_url is not set"),
        ("SERVER__LISTEN", "here", "server.listen"),
        ("SERVER__ROLE", "both", "server.role"),
        ("DATABASE__URL", "", "database.url is not set"),
        ("DATABASE__URL", "mysql://db.example/pinhole", "database.url must begin with"),
        ("DATABASE__URL", "sqlite::memory:", "database.url must name a file"),
        ("AUTH__JWT_SECRET", "", "auth.jwt_secret is not set"),
        ("AUTH__JWT_SECRET", "short", "auth.jwt_secret must have at least 32"),
        ("AUTH__SERVICE_KEY_HASHES", "my-service-key", "sha256sum"),
        ("LINKS__KEYS", "", "links.keys is not set"),
        ("LINKS__KEYS", "a:short", "links.keys: the secret of link key a"),
        ("BUCKET__NAME", "", "bucket.name is not set"),
        ("BUCKET__ENDPOINT", "s3.example", "bucket.endpoint must be"),
        ("BUCKET__ACCESS_KEY_ID", "", "bucket.secret_access_key belong together"),
        ("BUCKET__REGION", "", "bucket.region is not set"),
        ("BUCKET__OPERATION_TIMEOUT_SECS", "3600", "bucket.operation_timeout_secs"),
        ("BUCKET__CORS_ORIGINS", "app.example", "bucket.cors_origins"),
        ("BUCKET__NAMES", "x", "names"),
        ("TRANSFORM__PRESETS__THUMB", "w=0", "transform.presets: thumb: `w=0`"),
        ("TRANSFORM__WATERMARKS__LOGO__FILE", "/nowhere.png", "transform.watermarks.logo.file: /nowhere.png"),
    ] {
        for check in [&[][..], &["--check"]] {
            let mut command = serve_command(data.path(), &bucket);
            let output = command.env(format!("PINHOLE_{setting}"), value).args(check).output().unwrap();
            expect_failure(&output, 2, message);
            assert!(!data.path().join("pinhole.db").exists(), "nothing was made");
        }
    }
}

#[test]
fn a_file_that_is_not_settings_is_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("wrong.toml");
    for (settings, message) in [
        ("[server]\nlissten = \"127.0.0.1:0\"\n", "lissten"),
        ("[servers]\n", "servers"),
        ("[server\n", "wrong.toml"),
        ("[upload]\nmax_bytes = \"many\"\n", "upload.max_bytes"),
    ] {
        std::fs::write(&file, settings).unwrap();
        for verb in ["serve", "migrate"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
            let output = command.env_clear().args([verb, "--config"]).arg(&file).output().unwrap();
            expect_failure(&output, 2, message);
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    let output = command.env_clear().args(["serve", "--config", "no-such.toml"]).output().unwrap();
    expect_failure(&output, 2, "no-such.toml");
}

#[test]
fn a_bucket_that_does_not_let_it_in_is_said_and_never_made() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    for (setting, value, message) in [
        ("BUCKET__NAME", "elsewhere", "bucket elsewhere at http://127.0.0.1"),
        ("BUCKET__NAME", "elsewhere", "the bucket does not exist; create it"),
        ("BUCKET__SECRET_ACCESS_KEY", "wrong", "refused the request: 403"),
        ("BUCKET__ENDPOINT", "http://127.0.0.1:1", "mend bucket.endpoint"),
    ] {
        let mut command = serve_command(data.path(), &bucket);
        let output = command.env(format!("PINHOLE_{setting}"), value).output().unwrap();
        expect_failure(&output, 1, message);
    }
}

#[test]
fn a_taken_port_is_named() {
    let app = TestApp::serve();
    let data = tempfile::tempdir().unwrap();
    let taken = app.url.strip_prefix("http://").unwrap();
    for flag in ["--listen", "--ops-listen"] {
        let output = serve_command(data.path(), &app.bucket()).args([flag, taken]).output().unwrap();
        expect_failure(&output, 1, &format!("{flag} {taken}"));
    }
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_is_refused_and_others_may_pass_by() {
    let app = TestApp::serve();
    let output = serve_command(&app.data(), &app.bucket()).output().unwrap();
    expect_failure(&output, 1, "has exactly one server");
    let link = app.data().join("link.db");
    std::os::unix::fs::symlink(app.data().join("pinhole.db"), &link).unwrap();
    let mut by_link = serve_command(&app.data(), &app.bucket());
    by_link.env("PINHOLE_DATABASE__URL", format!("sqlite:{}", link.display()));
    expect_failure(&by_link.output().unwrap(), 1, "has exactly one server");

    let migrated = migrate_command(&app.data()).output().unwrap();
    assert!(migrated.status.success() && text(&migrated.stdout).contains("nothing to do"), "{migrated:?}");
    let checked = serve_command(&app.data(), &app.bucket()).arg("--check").output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    app.upload("alice", jpeg(64, 48, 1)).await;
}

#[test]
fn serve_keeps_off_the_file_of_a_running_dev() {
    let bucket = Bucket::of_dev();
    let file = bucket.dev.as_ref().unwrap().data().join("pinhole.db");
    let data = tempfile::tempdir().unwrap();
    let mut command = serve_command(data.path(), &bucket);
    let output = command.env("PINHOLE_DATABASE__URL", format!("sqlite:{}", file.display())).output().unwrap();
    expect_failure(&output, 1, "has exactly one server");
}

#[test]
fn migrations_are_applied_once_and_named() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    // It writes the settings, which migrate reads as well.
    serve_command(data.path(), &bucket);
    let migrate = || {
        let output = migrate_command(data.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(migrate().contains("applied 0001_ledger"));
    let again = migrate();
    assert!(again.contains("nothing to do") && !again.contains("applied"), "{again}");
    TestApp::serve_on(data, &bucket, &[]);
}

#[tokio::test]
async fn a_database_of_another_version_is_left_as_it_is() {
    let bucket = Bucket::of_dev();
    let data = TestApp::serve_on(tempfile::tempdir().unwrap(), &bucket, &[]).kill();
    let database =
        SqlitePool::connect(&format!("sqlite:{}/pinhole.db", data.path().display())).await.unwrap();
    let last = "SELECT MAX(version) FROM _sqlx_migrations";
    for (change, message) in [
        (format!("UPDATE _sqlx_migrations SET version = 9999 WHERE version = ({last})"), "run the newer one"),
        ("DELETE FROM _sqlx_migrations WHERE version = 9999".to_owned(), "run pinhole migrate first"),
    ] {
        let changed = sqlx::query(sqlx::AssertSqlSafe(change)).execute(&database).await.unwrap();
        assert_eq!(changed.rows_affected(), 1);
        let output = serve_command(data.path(), &bucket).output().unwrap();
        expect_failure(&output, 1, message);
        let output = serve_command(data.path(), &bucket).arg("--check").output().unwrap();
        expect_failure(&output, 1, "FAIL");
        assert!(text(&output.stdout).contains(message), "{}", text(&output.stdout));
    }
}

#[tokio::test]
async fn a_role_has_its_own_routes_and_no_others() {
    let bucket = Bucket::of_dev();
    let delivery = "https://img.example.org";
    let role = |role| [("PINHOLE_SERVER__ROLE", role), ("PINHOLE_SERVER__PUBLIC_URL", delivery)];
    let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &bucket, &role("upload"));
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "width=32").await;
    let path = link.strip_prefix(delivery).unwrap().to_owned();
    for path in [&path, &format!("/i/{image}/original")] {
        app.get(path).user("alice").await.send().await.expect_problem(404, "not_found");
    }

    let app = TestApp::serve_on(app.kill(), &bucket, &role("deliver"));
    app.get(&path).send().await.expect(200).image();
    app.get(&format!("/i/{image}/original")).user("alice").await.send().await.expect(200).image();
    app.get(&format!("/i/{image}/original")).user("bob").await.send().await.expect(404);
    let not_there = app.get(&format!("/i/{NEVER_THERE}/original")).send().await.expect(404);
    for (method, path) in [
        ("GET", format!("/v1/images/{image}")),
        ("DELETE", format!("/v1/images/{image}")),
        ("POST", "/v1/images".to_owned()),
        ("POST", "/v1/uploads".to_owned()),
        ("POST", "/v1/links".to_owned()),
    ] {
        let refused = app.request(method, &path).user("alice").await.send().await;
        assert_eq!(refused.expect_problem(404, "not_found").body, not_there.body, "{method} {path}");
    }
    app.get(&format!("{}/readyz", app.ops_url)).send().await.expect(200);
}

#[test]
fn a_check_says_what_it_finds_and_changes_nothing() {
    let bucket = Bucket::of_dev();
    let data = tempfile::tempdir().unwrap();
    let check = |env: &[(&str, &str)]| {
        let mut command = serve_command(data.path(), &bucket);
        let output = command.envs(env.iter().copied()).arg("--check").output().unwrap();
        let report = text(&output.stdout);
        let secrets = [&bucket.secret_access_key, "long enough", "test:"];
        assert!(!secrets.iter().any(|secret| report.contains(secret)), "{report}");
        (output, report)
    };
    let (output, report) = check(&[]);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report.lines().all(|line| line.starts_with("ok ") || line.starts_with("note ")), "{report}");
    for found in ["not there yet", "bucket pinhole at http://127.0.0.1", "bucket.cors_origins is empty"] {
        assert!(report.contains(found), "{found} is not in {report}");
    }
    assert!(!data.path().join("pinhole.db").exists());

    // The rules of dev's bucket are for its own page.
    let page = &bucket.dev.as_ref().unwrap().url;
    let (output, report) = check(&[("PINHOLE_BUCKET__CORS_ORIGINS", page)]);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report.contains(&format!("pages of {page} may upload")), "{report}");

    let origins = format!("{page},https://app.example");
    let (output, report) = check(&[("PINHOLE_BUCKET__CORS_ORIGINS", &origins)]);
    expect_failure(&output, 1, "FAIL");
    let failed: Vec<_> = report.lines().filter(|line| line.starts_with("FAIL ")).collect();
    assert_eq!(failed.len(), 1, "{report}");
    assert!(failed[0].contains("pages of https://app.example may not upload"), "{report}");
    let (_, rules) = report.split_once("needed: ").unwrap();
    let rules: Value = serde_json::from_str(rules.lines().next().unwrap()).unwrap();
    assert_eq!(rules["CORSRules"][1]["AllowedOrigins"], json!(["https://app.example"]));

    // All that is wrong is said at once.
    let (output, report) = check(&[
        ("PINHOLE_DATABASE__URL", "postgres://pinhole:hunter2@127.0.0.1:1/pinhole"),
        ("PINHOLE_BUCKET__NAME", "elsewhere"),
    ]);
    expect_failure(&output, 1, "FAIL");
    assert_eq!(report.lines().filter(|line| line.starts_with("FAIL ")).count(), 2, "{report}");
    assert!(report.contains("postgres://127.0.0.1:1/pinhole") && !report.contains("hunter2"), "{report}");
    assert!(report.contains("refused"), "it says why: {report}");
}

/// Stops it while it is being sent a picture: it takes that, and nobody new.
pub async fn stops_in_peace(mut app: TestApp) {
    let token = app.token("alice").await;
    let file = jpeg(640, 480, 1);
    let mut socket = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
         Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        file.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    // It asks for the body once the request is under way.
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 100 "), "{line}");
    app.signal("TERM");
    while app.get("/").try_send().await.is_ok() {
        tokio::task::yield_now().await;
    }
    // Balancers are told so, and who measures goes on.
    let ready = app.get(&format!("{}/readyz", app.ops_url)).send().await.expect(503);
    assert_eq!(ready.text(), "draining\n");
    app.get(&format!("{}/metrics", app.ops_url)).send().await.expect(200);
    socket.write_all(&file).unwrap();
    let mut answer = String::new();
    answers.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 201 Created"), "{answer}");
    assert_eq!(app.wait(), Some(0));
}

#[tokio::test]
async fn it_finishes_what_is_under_way_before_it_stops() {
    stops_in_peace(TestApp::serve()).await;
}

#[test]
fn every_command_explains_itself_with_examples() {
    for command in ["dev", "serve", "migrate", "import", "sweep"] {
        let output = Command::new(env!("CARGO_BIN_EXE_pinhole")).args([command, "--help"]).output().unwrap();
        let help = text(&output.stdout);
        assert!(output.status.success() && help.contains("Examples:"), "{help}");
        let usage = Command::new(env!("CARGO_BIN_EXE_pinhole")).args([command, "--nonsense"]).output();
        assert_eq!(usage.unwrap().status.code(), Some(2));
    }
}
