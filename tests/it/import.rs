//! `pinhole import` as a program: what comes in, whose it is, and that each picture comes in once, whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Config, Credentials, Region},
};
use bytes::Bytes;
use pinhole::{
    id::BlobKey,
    store::{Kind, Object, ObjectName},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    files,
    pasted::{bash, blocks_of, page},
    support::{Bucket, PATIENCE, TestApp, expect_exit, jpeg, now_secs, png},
};

const DAY_SECS: u64 = 24 * 60 * 60;

/// A server, on whichever database and bucket are at hand, and its settings in a file.
fn serve() -> TestApp {
    TestApp::serve_anywhere()
}

/// An import into what a server was started with.
fn import(app: &TestApp, source: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").args(["import", source]).args(flags);
    command.arg("--config").arg(app.data().join("pinhole.toml"));
    command
}

/// A folder of files, by their paths.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn at(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// Runs it with `--json`; the summary.
#[track_caller]
fn summary(mut command: Command, code: i32) -> Value {
    let output = command.arg("--json").output().unwrap();
    serde_json::from_str(&expect_exit(&output, code).0).unwrap()
}

/// The numbers of a summary that are not zero.
fn counts(summary: &Value) -> BTreeMap<&str, u64> {
    ["imported", "changed", "known", "deleted", "expired", "refused", "no_pictures", "passed"]
        .into_iter()
        .map(|name| (name, summary[name].as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The lines of a report by path.
fn report(file: &Path) -> BTreeMap<String, Value> {
    let lines: Vec<Value> =
        fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_path: BTreeMap<_, _> =
        lines.iter().map(|line| (line["path"].as_str().unwrap().to_owned(), line.clone())).collect();
    assert_eq!(by_path.len(), lines.len(), "each file has one line");
    by_path
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// What the API lists of a user's images: the hash of each.
async fn listed(app: &TestApp, user: &str) -> Vec<String> {
    let (mut hashes, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/images?limit=100{cursor}")).user(user).await.send().await;
        let page = page.expect(200).json();
        let items = page["items"].as_array().unwrap();
        hashes.extend(items.iter().map(|item| item["sha256"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return hashes,
        }
    }
}

/// Nothing lies in the bucket that the ledger does not know, nor the other way round.
fn sweep(app: &TestApp, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().arg("sweep").args(flags).arg("--config").arg(app.data().join("pinhole.toml"));
    command
}

fn expect_swept(app: &TestApp) {
    let mut command = sweep(app, &["--dry-run", "--json"]);
    let report: Value = serde_json::from_str(&expect_exit(&command.output().unwrap(), 0).0).unwrap();
    for kind in report["kinds"].as_array().unwrap() {
        for what in ["orphans", "young"] {
            assert_eq!(kind[what]["objects"], 0, "{report}");
        }
        assert_eq!(kind["missing"], 0, "{report}");
    }
}

#[tokio::test]
async fn a_folder_comes_in_beside_a_server_and_the_next_run_knows_it() {
    let app = serve();
    let photo = files::file_with_secrets("jpeg", 6);
    let source = folder(&[
        ("alice/a.jpg", photo.clone()),
        ("alice/2024/twin.jpg", photo.clone()),
        ("bob/b.png", png(300, 200, 1)),
        ("bob/cut.jpg", jpeg(640, 480, 2)[..2000].to_vec()),
        ("bob/i.heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1".to_vec()),
        ("bob/huge.png", files::png_claiming(60_000, 60_000)),
        ("bob/empty.gif", Vec::new()),
        ("bob/notes", b"milk, eggs".to_vec()),
        ("Ann Smith/c.jpg", jpeg(30, 20, 3)),
        ("d.jpg", jpeg(30, 20, 4)),
        (".cache/e.jpg", jpeg(30, 20, 5)),
        ("bob/.f.jpg", jpeg(30, 20, 6)),
    ]);
    let outside = folder(&[("secret.jpg", jpeg(30, 20, 7))]);
    symlink(outside.path(), source.path().join("bob/link")).unwrap();
    symlink(outside.path().join("secret.jpg"), source.path().join("bob/link.jpg")).unwrap();
    let file = app.data().join("report.jsonl");
    let flags = ["--owner-from-folder", "--report", file.to_str().unwrap()];

    let (out, err) = expect_exit(&import(&app, at(&source), &flags).output().unwrap(), 1);
    assert!(out.contains("imported: 3 pictures") && out.contains("read back"), "{out}");
    assert!(!err.contains(['\r', '\u{8}']), "no bar without a terminal: {err:?}");
    let last = err.trim_end().lines().last().unwrap();
    assert!(last.starts_with("pinhole: refused: 6 pictures"), "{err}");
    let first = report(&file);
    for (path, why) in [
        ("bob/cut.jpg", "damaged"),
        ("bob/i.heic", "HEIC"),
        ("bob/huge.png", "pixels"),
        ("bob/empty.gif", "it is empty"),
        ("bob/notes", "no picture"),
        ("Ann Smith/c.jpg", "no user id"),
        ("d.jpg", "no folder"),
    ] {
        let line = &first[path];
        assert_eq!((&line["outcome"], &line["image_id"]), (&json!("refused"), &Value::Null), "{line}");
        assert!(line["why"].as_str().unwrap().contains(why), "{line}");
        assert!(err.contains(&format!("{path:?}")), "named with the reason: {err}");
    }
    assert_eq!(first.len(), 10, "{first:?}");

    let image = &first["alice/a.jpg"];
    let id = image["image_id"].as_str().unwrap();
    assert_eq!((&image["outcome"], &image["owner"]), (&json!("imported"), &json!("alice")));
    let raw = app.get(&format!("/i/{id}/raw")).user("alice").await.send().await.expect(200);
    assert!(raw.body == photo, "the uploaded bytes");
    let url = image["url"].as_str().unwrap();
    assert!(url.ends_with(&format!("/i/{id}/original")), "{url}");
    let original = app.get(&format!("/i/{id}/original")).user("alice").await.send().await.expect(200);
    assert!(!files::has_secret(&original.body), "stripped as any upload");
    app.get(&format!("/i/{id}/width=32")).user("bob").await.send().await.expect(404);
    let described = app.get(&format!("/v1/images/{id}")).user("alice").await.send().await.expect(200).json();
    assert_eq!(described["filename"], "a.jpg");
    assert_eq!(listed(&app, "alice").await, [sha256(&photo), sha256(&photo)]);
    assert_eq!(listed(&app, "bob").await, [sha256(&png(300, 200, 1))]);

    let again = summary(import(&app, at(&source), &flags), 1);
    assert_eq!(
        counts(&again),
        BTreeMap::from([("known", 3), ("refused", 6), ("no_pictures", 1), ("passed", 4)])
    );
    let second = report(&file);
    assert!(second.keys().eq(first.keys()), "a report is complete after every run");
    for path in ["alice/a.jpg", "alice/2024/twin.jpg", "bob/b.png"] {
        assert_eq!(second[path]["outcome"], "known");
        assert_eq!(second[path]["image_id"], first[path]["image_id"]);
    }
    // What was mended comes in, and nothing else does.
    fs::write(source.path().join("bob/cut.jpg"), jpeg(640, 480, 2)).unwrap();
    let mended = summary(import(&app, at(&source), &flags), 1);
    assert_eq!((&mended["imported"], &mended["known"]), (&json!(1), &json!(3)), "{mended}");
}

/// Waits until a report has so many lines of pictures that came in.
fn wait_for_imported(file: &Path, count: usize) {
    let began = Instant::now();
    let imported = || {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"outcome\":\"imported\"")).count()
    };
    while imported() < count {
        assert!(began.elapsed() < PATIENCE, "it goes on");
        thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn stopped_and_killed_anywhere_each_picture_comes_in_once() {
    const PICTURES: u8 = 200;
    let app = serve();
    let pictures: Vec<_> = (0..PICTURES).map(|seed| (format!("{seed}.jpg"), jpeg(160, 120, seed))).collect();
    let source = folder(&pictures.iter().map(|(path, bytes)| (&**path, bytes.clone())).collect::<Vec<_>>());
    let file = app.data().join("report.jsonl");
    let start = || {
        // That of the last run says nothing of this one.
        fs::remove_file(&file).unwrap_or_default();
        let flags = ["--owner", "alice", "--at-once", "2", "--report", file.to_str().unwrap()];
        let mut command = import(&app, at(&source), &flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };

    let stopped = start();
    wait_for_imported(&file, 3);
    signal(&stopped, "INT");
    let (out, err) = expect_exit(&stopped.wait_with_output().unwrap(), 1);
    assert!(err.contains("stopping: what is under way is finished"), "{err}");
    let last = err.trim_end().lines().last().unwrap();
    assert!(last.contains(" of 200 files; run it again, it goes on"), "{err}");
    let imported: usize = out["imported: ".len()..].split(' ').next().unwrap().parse().unwrap();
    assert_eq!(report(&file).len(), imported, "the report has all that came in: {out}");
    assert_eq!(listed(&app, "alice").await.len(), imported);

    for _ in 0..4 {
        let mut killed = start();
        wait_for_imported(&file, 3);
        signal(&killed, "KILL");
        assert_eq!(killed.wait().unwrap().code(), None, "killed, and not done");
        // Whole lines, as far as it came.
        assert!(report(&file).len() < usize::from(PICTURES));
    }

    let (out, _) = expect_exit(&start().wait_with_output().unwrap(), 0);
    assert!(out.contains("refused: 0"), "{out}");
    let all: BTreeSet<String> = pictures.iter().map(|(_, bytes)| sha256(bytes)).collect();
    let hashes = listed(&app, "alice").await;
    assert_eq!(hashes.len(), usize::from(PICTURES), "none twice");
    assert_eq!(hashes.into_iter().collect::<BTreeSet<_>>(), all, "and none is missing");
    assert_eq!(app.number("SELECT COUNT(*) FROM images").await, i64::from(PICTURES));
    let lines = report(&file);
    assert_eq!(lines.len(), usize::from(PICTURES));
    assert!(lines.values().any(|line| line["outcome"] == "known"));
    for (path, bytes) in &pictures[..5] {
        let id = lines[path]["image_id"].as_str().unwrap();
        let raw = app.get(&format!("/i/{id}/raw")).user("alice").await.send().await.expect(200);
        assert!(raw.body == *bytes, "{path} is what its line says");
    }
    expect_swept(&app);
}

#[tokio::test]
async fn two_at_once_bring_each_picture_in_once() {
    const PICTURES: u8 = 12;
    let app = serve();
    let pictures: Vec<_> = (0..PICTURES).map(|seed| (format!("{seed}.png"), png(640, 480, seed))).collect();
    let source = folder(&pictures.iter().map(|(path, bytes)| (&**path, bytes.clone())).collect::<Vec<_>>());
    let start = || {
        let mut command = import(&app, at(&source), &["--owner", "alice", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()].map(|child| {
        let (out, _) = expect_exit(&child.wait_with_output().unwrap(), 0);
        serde_json::from_str::<Value>(&out).unwrap()
    });
    let sum = |name: &str| both.iter().map(|told| told[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("imported"), sum("known")), (PICTURES.into(), PICTURES.into()), "{both:?}");
    assert_eq!(listed(&app, "alice").await.len(), usize::from(PICTURES));
    assert_eq!(app.number("SELECT COUNT(*) FROM images").await, i64::from(PICTURES));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let app = serve();
    // A server that accepts, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let flags =
        ["--owner", "alice", "--source-region", "r", "--source-path-style", "--source-endpoint", &endpoint];
    let mut command = import(&app, "s3://photos", &flags);
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (_asking, _) = silent.accept().unwrap();
    signal(&child, "INT");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("once more stops at once")).unwrap();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.last().unwrap().contains("stopped at once; run it again, it goes on"));
}

#[tokio::test]
async fn a_changed_file_is_a_new_image_and_a_touched_one_is_not() {
    let app = serve();
    let source =
        folder(&[("a.jpg", jpeg(64, 48, 1)), ("b.jpg", jpeg(64, 48, 2)), ("c.jpg", jpeg(64, 48, 3))]);
    let file = app.data().join("report.jsonl");
    let run = || import(&app, at(&source), &["--owner", "alice", "--report", file.to_str().unwrap()]);
    assert_eq!(counts(&summary(run(), 0)), BTreeMap::from([("imported", 3)]));
    let first = report(&file);

    fs::write(source.path().join("a.jpg"), jpeg(64, 48, 9)).unwrap();
    let touched = fs::File::options().write(true).open(source.path().join("b.jpg")).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    let output = run().output().unwrap();
    let (out, err) = expect_exit(&output, 0);
    assert!(out.contains("of which 1 have changed") && out.contains("known already: 2"), "{out}");
    assert!(err.contains("\"a.jpg\" has changed since it came in"), "{err}");
    let second = report(&file);
    assert_eq!(second["a.jpg"]["replaces"], first["a.jpg"]["image_id"]);
    assert_eq!(second["b.jpg"]["image_id"], first["b.jpg"]["image_id"]);
    // The app may show the old one.
    let old = first["a.jpg"]["image_id"].as_str().unwrap();
    app.get(&format!("/i/{old}/raw")).user("alice").await.send().await.expect(200);
    assert_eq!(listed(&app, "alice").await.len(), 4);
    assert_eq!(counts(&summary(run(), 0)), BTreeMap::from([("known", 3)]), "and so it stays");
    expect_swept(&app);
}

#[tokio::test]
async fn what_was_deleted_since_does_not_come_back_by_itself() {
    let app = serve();
    let source = folder(&[("private/me.jpg", jpeg(64, 48, 1)), ("b.jpg", jpeg(64, 48, 2))]);
    let file = app.data().join("report.jsonl");
    let run = |flags: &[&str]| {
        let mut command =
            import(&app, at(&source), &["--owner", "alice", "--report", file.to_str().unwrap()]);
        command.args(flags);
        command
    };
    summary(run(&[]), 0);
    let image = report(&file)["private/me.jpg"]["image_id"].as_str().unwrap().to_owned();
    app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    assert_eq!(app.texts("SELECT path FROM imports WHERE path IS NOT NULL").await, ["b.jpg"]);

    for _ in 0..2 {
        let (out, _) = expect_exit(&run(&[]).output().unwrap(), 0);
        assert!(out.contains("deleted since: 1 (not brought back; --again-deleted does)"), "{out}");
        assert_eq!(report(&file)["private/me.jpg"]["outcome"], "deleted");
        assert_eq!(listed(&app, "alice").await.len(), 1);
    }
    let dry = summary(import(&app, at(&source), &["--owner", "alice", "--dry-run"]), 0);
    assert_eq!(counts(&dry), BTreeMap::from([("deleted", 1), ("known", 1)]));
    assert_eq!(counts(&summary(run(&["--again"]), 0)), BTreeMap::from([("deleted", 1), ("known", 1)]));
    assert_eq!(
        counts(&summary(run(&["--again-deleted"]), 0)),
        BTreeMap::from([("imported", 1), ("known", 1)])
    );
    assert_eq!(listed(&app, "alice").await.len(), 2);
    assert_eq!(counts(&summary(run(&["--again-deleted"]), 0)), BTreeMap::from([("known", 2)]));

    // Another picture in its place is another picture.
    let image = report(&file)["private/me.jpg"]["image_id"].as_str().unwrap().to_owned();
    app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    fs::write(source.path().join("private/me.jpg"), jpeg(80, 60, 9)).unwrap();
    assert_eq!(counts(&summary(run(&[]), 0)), BTreeMap::from([("imported", 1), ("known", 1)]));
}

/// Whoever attached too late is told so, and not by an exit code that says that all is well.
#[tokio::test]
async fn what_expired_since_comes_back_when_it_is_asked_for() {
    let app = serve();
    let source = folder(&[("a.jpg", jpeg(64, 48, 1)), ("b.jpg", jpeg(64, 48, 2))]);
    let run = |flags: &[&str]| {
        let mut command = import(&app, at(&source), &["--owner", "alice"]);
        command.args(flags);
        command
    };
    summary(run(&[]), 0);
    // Whether it was swept or not.
    app.alter("UPDATE images SET deadline = 1 WHERE state = 'ready'").await;
    let (_, err) = expect_exit(&run(&[]).output().unwrap(), 1);
    assert!(err.contains("expired: 2 pictures") && err.contains("--again brings them in anew"), "{err}");
    expect_exit(&sweep(&app, &[]).output().unwrap(), 0);
    assert_eq!(counts(&summary(run(&["--again-deleted"]), 1)), BTreeMap::from([("expired", 2)]));
    assert_eq!(counts(&summary(run(&["--again"]), 0)), BTreeMap::from([("imported", 2)]));
    assert_eq!(listed(&app, "alice").await.len(), 2);
    assert_eq!(counts(&summary(run(&[]), 0)), BTreeMap::from([("known", 2)]));
}

#[tokio::test]
async fn an_erased_user_gets_nothing_and_leaves_nothing() {
    let app = serve();
    let source = folder(&[("alice/a.jpg", jpeg(64, 48, 1)), ("bob/b.jpg", jpeg(64, 48, 2))]);
    let run = || import(&app, at(&source), &["--owner-from-folder"]);
    summary(run(), 0);
    let erasure = app.request("DELETE", "/v1/users/alice").service().send().await.expect(202).json();
    assert_eq!(app.texts("SELECT path FROM imports").await, ["bob/b.jpg"], "at once");
    app.erased(erasure["id"].as_str().unwrap()).await;

    fs::write(source.path().join("alice/new.jpg"), jpeg(64, 48, 3)).unwrap();
    let (out, err) = expect_exit(&run().output().unwrap(), 1);
    assert!(out.contains("imported: 0") && out.contains("known already: 1"), "{out}");
    assert!(err.contains("\"alice/new.jpg\": its owner was erased"), "{err}");
    assert_eq!(app.texts("SELECT path FROM imports").await, ["bob/b.jpg"]);
    let dry = summary(import(&app, at(&source), &["--owner-from-folder", "--dry-run"]), 1);
    assert_eq!(counts(&dry), BTreeMap::from([("known", 1), ("refused", 2)]));
    app.get("/v1/images").user("alice").await.send().await.expect(401);
}

#[tokio::test]
async fn it_is_kept_as_long_as_was_said_and_for_ever_once_it_is_used() {
    let app = serve();
    let source = folder(&[("a.jpg", jpeg(64, 48, 1)), ("b.jpg", jpeg(64, 48, 2))]);
    let file = app.data().join("report.jsonl");
    let run = |keep: &[&str]| {
        let mut command =
            import(&app, at(&source), &["--owner", "alice", "--report", file.to_str().unwrap()]);
        command.args(keep);
        summary(command, 0);
    };
    let expires = async |path: &str| {
        let image = report(&file)[path]["image_id"].as_str().unwrap().to_owned();
        let image = app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200);
        let text = image.json()["expires_at"].as_str().map(str::to_owned);
        text.map(|text| OffsetDateTime::parse(&text, &Rfc3339).unwrap().unix_timestamp().cast_unsigned())
    };
    let began = now_secs();
    run(&["--keep", "2d"]);
    let end = expires("a.jpg").await.unwrap();
    assert!((began + 2 * DAY_SECS..=now_secs() + 2 * DAY_SECS).contains(&end), "{end}");

    // It is used, and put out of use again: from then on it is kept like any other.
    let image = report(&file)["a.jpg"]["image_id"].as_str().unwrap().to_owned();
    let post = app.create_post("alice", "public", &[&image]).await;
    assert_eq!(expires("a.jpg").await, None);
    // A later run gives the whole time again to what nothing uses, and touches nothing else.
    let began = now_secs();
    run(&[]);
    assert_eq!(expires("a.jpg").await, None);
    let end = expires("b.jpg").await.unwrap();
    assert!((began + 30 * DAY_SECS..=now_secs() + 30 * DAY_SECS).contains(&end), "{end}");
    run(&["--keep", "2d"]);
    assert_eq!(expires("b.jpg").await, Some(end), "nothing is taken away");
    app.request("DELETE", &format!("/v1/posts/{post}")).user("alice").await.send().await.expect(204);
    let end = expires("a.jpg").await.unwrap();
    assert!(end <= now_secs() + DAY_SECS, "{end}");
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let app = serve();
    let source = folder(&[
        ("dave/a.jpg", jpeg(64, 48, 1)),
        ("dave/b.jpg", jpeg(640, 480, 2)),
        ("not a user/c.jpg", jpeg(64, 48, 3)),
    ]);
    let bytes: u64 = ["dave/a.jpg", "dave/b.jpg"]
        .iter()
        .map(|path| fs::metadata(source.path().join(path)).unwrap().len())
        .sum();
    let users = app.number("SELECT COUNT(*) FROM users").await;
    let dry = || import(&app, at(&source), &["--owner-from-folder", "--dry-run"]);
    let told = summary(dry(), 1);
    assert_eq!(counts(&told), BTreeMap::from([("imported", 2), ("refused", 1)]));
    assert_eq!((&told["imported_bytes"], &told["dry_run"]), (&json!(bytes), &json!(true)));
    assert_eq!(app.number("SELECT COUNT(*) FROM images").await, 0);
    assert_eq!(app.number("SELECT COUNT(*) FROM users").await, users);
    assert!(app.objects().await.is_empty());

    summary(import(&app, at(&source), &["--owner-from-folder"]), 1);
    assert_eq!(counts(&summary(dry(), 1)), BTreeMap::from([("known", 2), ("refused", 1)]));
    let (text, _) = expect_exit(&dry().output().unwrap(), 1);
    assert!(text.contains("dry run") && text.contains("known already: 2"), "{text}");
}

/// A client of a bucket's server that may do anything there.
fn s3(bucket: &Bucket) -> Client {
    let keys = Credentials::new(&*bucket.access_key_id, &*bucket.secret_access_key, None, None, "test");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&*bucket.endpoint)
        .region(Region::new(bucket.region.clone()))
        .credentials_provider(keys)
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// The flags for another bucket on the same server.
fn from_bucket(app: &TestApp, source: &str, flags: &[&str]) -> Command {
    let bucket = app.bucket();
    let mut command = import(app, source, flags);
    command
        .env("AWS_ACCESS_KEY_ID", &bucket.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &bucket.secret_access_key)
        .args([
            "--source-path-style",
            "--source-endpoint",
            &bucket.endpoint,
            "--source-region",
            &bucket.region,
        ]);
    command
}

#[tokio::test]
async fn another_bucket_comes_in_by_a_list_of_owners() {
    let app = serve();
    let (client, name) = (s3(&app.bucket()), format!("photos-{}", BlobKey::random()));
    client.create_bucket().bucket(&name).send().await.unwrap();
    let put = async |key: &str, bytes: Vec<u8>| {
        client.put_object().bucket(&name).key(key).body(bytes.into()).send().await.unwrap();
    };
    put("old/a.jpg", jpeg(64, 48, 1)).await;
    put("old/b c/ü.png", png(64, 48, 2)).await;
    put("old/nobodys.jpg", jpeg(64, 48, 3)).await;
    // XML has no way to write the first, and URLs another for the rest. The bucket of dev refuses it.
    let odd = if app.bucket().dev.is_some() { "a+b%41.jpg" } else { "\u{1}a+b%41.jpg" };
    put(&format!("old/{odd}"), jpeg(64, 48, 7)).await;
    put("old/.hidden/x.jpg", jpeg(64, 48, 4)).await;
    put("old/folder/", Vec::new()).await;
    put("older/y.jpg", jpeg(64, 48, 5)).await;
    put(&format!("old/{}", "z/".repeat(100) + "deep.jpg"), jpeg(64, 48, 6)).await;
    let list = app.data().join("owners");
    let deep = "z/".repeat(100) + "deep.jpg";
    let text =
        format!("a.jpg\talice\n{}\n{deep}\tbob\n", json!({"path": "b c/ü.png", "owner": "bob", "album": 7}));
    let text = format!("{text}{}\n", json!({"path": odd, "owner": "carol"}));
    fs::write(&list, text).unwrap();
    let file = app.data().join("report.jsonl");
    let source = format!("s3://{name}/old");
    let flags = ["--owners", list.to_str().unwrap(), "--report", file.to_str().unwrap()];
    let run = || from_bucket(&app, &source, &flags);

    assert_eq!(counts(&summary(run(), 1)), BTreeMap::from([("imported", 4), ("refused", 1), ("passed", 2)]));
    assert!(report(&file)["nobodys.jpg"]["why"].as_str().unwrap().contains("does not name it"));
    assert_eq!(listed(&app, "alice").await, [sha256(&jpeg(64, 48, 1))]);
    let bobs: BTreeSet<_> = listed(&app, "bob").await.into_iter().collect();
    assert_eq!(bobs, BTreeSet::from([sha256(&png(64, 48, 2)), sha256(&jpeg(64, 48, 6))]));
    assert_eq!(listed(&app, "carol").await, [sha256(&jpeg(64, 48, 7))]);
    assert_eq!(report(&file)["b c/ü.png"]["owner"], "bob");

    // The same ETag is the same file, whoever wrote it anew; another is another.
    put("old/b c/ü.png", png(64, 48, 2)).await;
    put("old/a.jpg", jpeg(64, 48, 9)).await;
    let again = summary(run(), 1);
    assert_eq!((&again["known"], &again["imported"], &again["changed"]), (&json!(3), &json!(1), &json!(1)));
    assert_eq!(counts(&summary(run(), 1))["known"], 4);
    expect_swept(&app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_public_urls_is_moved_as_the_guide_says() {
    let app = serve();
    let (bucket, guide) = (app.bucket(), page("src/guide/public-urls.md"));
    let (client, name) = (s3(&bucket), format!("old-photos-{}", BlobKey::random()));
    client.create_bucket().bucket(&name).send().await.unwrap();
    for (path, bytes) in [
        ("alice/evening.jpg", jpeg(640, 480, 1)),
        ("bob/dogs/a.png", png(64, 48, 2)),
        ("bob/broken.jpg", b"no picture".to_vec()),
    ] {
        let put = client.put_object().bucket(&name).key(format!("uploads/{path}")).body(bytes.into());
        put.send().await.unwrap();
    }
    // The flags that a server needs which is not Amazon's.
    let source = format!(
        "s3://{name}/uploads --source-path-style --source-endpoint {} --source-region {}",
        bucket.endpoint, bucket.region
    );
    let script = |text: &str| {
        let mut command = bash(&text.replace("s3://old-photos/uploads", &source), &app.data());
        command
            .env("AWS_ACCESS_KEY_ID", &bucket.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &bucket.secret_access_key);
        command.output().unwrap()
    };

    // A look first, then the import, which exits with 1 for the file that is refused.
    let [commands] = blocks_of(guide, "sh,import")[..] else { panic!("one block of imports") };
    let (told, _) = expect_exit(&script(commands), 1);
    assert!(told.contains("would be imported: 3 files") && told.contains("imported: 2 pictures"), "{told}");
    let lines = report(&app.data().join("images.jsonl"));
    assert_eq!(lines["bob/broken.jpg"]["outcome"], "refused");
    let evening = lines["alice/evening.jpg"]["image_id"].as_str().unwrap().to_owned();
    let example: Value = serde_json::from_str(blocks_of(guide, "json")[0]).unwrap();
    for (name, value) in example.as_object().unwrap() {
        let told = &lines["alice/evening.jpg"][name];
        assert!(told == value || (name == "image_id" && told.is_string()), "{name}: {told}");
    }

    // The app's own table, by the statements of steps 2 and 5, from the report as it was written.
    let statements = blocks_of(guide, "sql");
    assert_eq!(statements.len(), 2);
    for (name, sql) in ["ids.sql", "redirect.sql"].into_iter().zip(statements) {
        assert!(sql.starts_with(&format!("-- {name}\n")), "{sql}");
        fs::write(app.data().join(name), sql).unwrap();
    }
    let refused = "https://old-photos.s3.amazonaws.com/uploads/bob/broken.jpg";
    let app_table = format!(
        "CREATE TABLE photos (url TEXT);
         INSERT INTO photos SELECT 'https://old-photos.s3.amazonaws.com/uploads/' || value
             FROM json_each('[\"alice/evening.jpg\",\"bob/dogs/a.png\"]');
         INSERT INTO photos VALUES ('{refused}')"
    );
    fs::write(app.data().join("app.sql"), app_table).unwrap();
    let (told, _) = expect_exit(
        &script(
            "for file in app ids redirect; do sqlite3 app.db <$file.sql; done
             sqlite3 app.db 'SELECT url FROM photos WHERE image_id IS NULL'
             sqlite3 app.db \"SELECT image_id FROM photos WHERE url LIKE '%/evening.jpg'\"",
        ),
        0,
    );
    assert_eq!(told, format!("1\n{evening}\n{refused}\n{evening}\n"));

    // Only its owner sees it, until it is attached; then what step 5 redirects to needs no link.
    let width = "/width=1200";
    app.get(&format!("/i/{evening}{width}")).send().await.expect_problem(404, "not_found");
    app.create_post("alice", "public", &[&evening]).await;
    let app = app.restart_with(&[("PINHOLE_TRANSFORM__UNSIGNED", "listed")]);
    app.get(&format!("/i/{evening}{width}")).send().await.expect(200);
    app.get(&format!("/i/{evening}/width=1201")).send().await.expect_problem(400, "bad_options");
}

#[tokio::test]
async fn pinholes_own_objects_do_not_come_in_again() {
    let app = serve();
    app.upload("alice", jpeg(64, 48, 1)).await;
    let own = &app.bucket().name;
    for prefix in ["", "/raw", "/originals/", "/masters"] {
        let output = from_bucket(&app, &format!("s3://{own}{prefix}"), &["--owner", "bob"]).output().unwrap();
        let (_, err) = expect_exit(&output, 2);
        assert!(err.contains("holds pinhole's own objects"), "{err}");
        assert_eq!(err.trim_end().lines().count(), 1, "{err}");
    }
    // Under a prefix of its own it may lie in the same bucket.
    let (client, key) = (s3(&app.bucket()), "legacy/a.jpg");
    client.put_object().bucket(own).key(key).body(jpeg(64, 48, 2).into()).send().await.unwrap();
    let run = from_bucket(&app, &format!("s3://{own}/legacy"), &["--owner", "bob"]);
    assert_eq!(counts(&summary(run, 0)), BTreeMap::from([("imported", 1)]));
    assert_eq!(listed(&app, "bob").await, [sha256(&jpeg(64, 48, 2))]);
}

#[tokio::test]
async fn what_is_not_in_the_bucket_as_it_was_written_is_no_image() {
    let app = serve();
    let photo = jpeg(64, 48, 1);
    app.upload("alice", photo.clone()).await;
    // Somebody breaks the stored file, to which the next one of the same bytes would be joined.
    let listed_raw = app.store().list(Kind::Raw.prefix(), "", 1).await.unwrap().objects.remove(0);
    let key = ObjectName::parse(&listed_raw.key).unwrap().key;
    let broken = Bytes::from(vec![0; photo.len()]);
    app.store().put(&Object::raw(&key, "image/jpeg"), broken).await.unwrap();

    let source = folder(&[("a.jpg", photo), ("b.jpg", jpeg(64, 48, 2))]);
    let (out, err) = expect_exit(&import(&app, at(&source), &["--owner", "alice"]).output().unwrap(), 1);
    assert!(out.contains("imported: 1 ") && out.contains("refused: 1"), "{out}");
    assert!(err.contains("\"a.jpg\"") && err.contains("is not what was written there"), "{err}");
    assert_eq!(listed(&app, "alice").await.len(), 2);
    assert_eq!(app.texts("SELECT path FROM imports").await, ["b.jpg"]);
}

#[tokio::test]
async fn the_rules_of_uploads_hold() {
    let app = serve();
    let source =
        folder(&[("a.jpg", jpeg(400, 300, 1)), ("b.jpg", jpeg(64, 48, 2)), ("c.jpg", jpeg(64, 48, 3))]);
    let max_bytes = (fs::metadata(source.path().join("a.jpg")).unwrap().len() - 1).to_string();
    let mut command = import(&app, at(&source), &["--owner", "alice", "--at-once", "1"]);
    command.env("PINHOLE_UPLOAD__MAX_BYTES", &max_bytes).env("PINHOLE_QUOTA__IMAGES", "1");
    let (out, err) = expect_exit(&command.output().unwrap(), 1);
    assert!(out.contains("imported: 1 ") && out.contains("refused: 2"), "{out}");
    assert!(
        err.contains(&format!("\"a.jpg\": it has more than upload.max_bytes = {max_bytes} bytes")),
        "{err}"
    );
    assert!(err.contains("\"c.jpg\": its owner has as much as quota.images"), "{err}");
    // What was refused is tried anew.
    let next = summary(import(&app, at(&source), &["--owner", "alice"]), 0);
    assert_eq!(counts(&next), BTreeMap::from([("imported", 2), ("known", 1)]));
}

#[tokio::test]
async fn the_folder_of_a_stopped_dev_takes_it_too() {
    let mut app = TestApp::dev();
    let source = folder(&[("a.jpg", jpeg(64, 48, 1))]);
    let data = app.data();
    let run = |source: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        command.env_clear().arg("import").arg(source).args(["--owner", "alice", "--data"]).arg(&data);
        command.output().unwrap()
    };
    let (_, err) = expect_exit(&run(source.path()), 1);
    assert!(err.contains("another pinhole dev is using this folder"), "{err}");
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    expect_exit(&run(source.path()), 0);
    let (_, err) = expect_exit(&run(&data.join("bucket")), 2);
    assert!(err.contains("lies in the folder of --data"), "{err}");
    // A folder that holds the data folder too is brought in without it.
    let folder = app.kill();
    fs::write(folder.path().join("b.jpg"), jpeg(64, 48, 2)).unwrap();
    let app = TestApp::start_dev(folder, &[]);
    assert_eq!(listed(&app, "alice").await, [sha256(&jpeg(64, 48, 1))]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("owners");
    fs::write(&list, "a.jpg,alice\n").unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        let args = command.env_clear().arg("import").args(args).arg("--data").arg(folder.path());
        args.output().unwrap()
    };
    let list = list.to_str().unwrap();
    for (args, said) in [
        (&["photos"][..], "--owner"),
        (&["photos", "--owner", "a b"], "must be 1 to 64 characters"),
        (&["photos", "--owner", "a", "--owner-from-folder"], "cannot be used with"),
        (&["photos", "--owner", "a", "--keep", "0s"], "--keep"),
        (&["photos", "--owner", "a", "--keep", "8000y"], "--keep"),
        (&["photos", "--owner", "a", "--at-once", "0"], "--at-once"),
        (&["photos", "--owner", "a", "--dry-run", "--report", "x"], "cannot be used with"),
        (&["photos", "--owners", list], "line 1 is neither path<TAB>owner nor"),
    ] {
        let (_, err) = expect_exit(&run(args), 2);
        assert!(err.contains(said), "{args:?}: {err}");
    }
}
