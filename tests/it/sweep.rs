//! `pinhole sweep` as a program: what it says, what it does, and what it leaves alone.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use pinhole::{
    id::BlobKey,
    store::{Kind, Named as _, Object, ObjectName},
};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::support::{TestApp, expect_exit, jpeg};

/// Images in a folder: so many that one object more or less is a small share.
const IMAGES: u8 = 6;

/// A `pinhole dev`, whatever other servers are at hand: it is its folder that is swept.
fn dev() -> TestApp {
    TestApp::start_dev(tempfile::tempdir().unwrap(), &[])
}

/// A `pinhole dev` with some images of alice's.
async fn dev_with_images() -> (TestApp, Vec<String>) {
    let app = dev();
    let mut images = Vec::new();
    for seed in 0..IMAGES {
        images.push(app.upload("alice", jpeg(64, 48, seed)).await);
    }
    (app, images)
}

async fn plant(app: &TestApp) -> ObjectName {
    let orphan = Object::raw(&BlobKey::random(), "image/png");
    app.store().put(&orphan, Bytes::from_static(b"abc")).await.unwrap();
    orphan.name()
}

/// The embedded bucket's files, one an object.
fn objects(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(data.join("bucket/buckets/pinhole")).unwrap().map(Result::unwrap);
    files.map(|file| (file.path().display().to_string(), fs::read(file.path()).unwrap())).collect()
}

/// Makes every object in a stopped folder look as if it had been written in 2001.
fn age(data: &Path) {
    for (path, mut file) in objects(data) {
        let mark = b"\"modified_micros\":";
        let at = file.windows(mark.len()).rposition(|window| window == mark).unwrap() + mark.len();
        file[at..at + 16].copy_from_slice(b"1000000000000000");
        fs::write(path, file).unwrap();
    }
}

/// The settings of a server on this one's bucket and a database.
fn configuration(app: &TestApp, database_url: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let text = format!(
        "[database]\nurl = {database_url:?}\n[bucket]\nendpoint = {:?}\nname = \"pinhole\"\n\
         region = \"us-east-1\"\npath_style = true\naccess_key_id = \"pinhole-dev\"\nsecret_access_key = {:?}\n",
        app.s3_url,
        app.secret("s3_secret_key")
    );
    fs::write(file.path(), text).unwrap();
    file
}

fn sweep_by(config: &NamedTempFile, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().arg("sweep").arg("--config").arg(config.path()).args(flags).output().unwrap()
}

/// Stops it in peace, so that its database is one file; what is left is the data folder.
fn stop(mut app: TestApp) -> TempDir {
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    app.kill()
}

fn sweep(data: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
    command.env_clear().arg("sweep").arg("--data").arg(data).args(flags).output().unwrap()
}

#[track_caller]
fn report(output: &Output, code: i32) -> Value {
    serde_json::from_str(&expect_exit(output, code).0).unwrap()
}

/// Starts on what a sweep left, and sees every image.
async fn expect_images(data: TempDir, images: &[String]) {
    let app = TestApp::start_dev(data, &[]);
    for image in images {
        app.get(&format!("/i/{image}/width=32")).user("alice").await.send().await.expect(200).image();
        app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200).image();
    }
}

#[tokio::test]
async fn an_old_orphan_goes_a_young_one_stays_and_images_are_untouched() {
    let (app, images) = dev_with_images().await;
    let orphan = plant(&app).await;

    let (_, err) = expect_exit(&sweep(&app.data(), &[]), 1);
    assert!(err.contains("another pinhole dev is using this folder"), "{err}");

    let data = app.kill();
    let all = objects(data.path());
    let young = report(&sweep(data.path(), &["--json"]), 0);
    assert_eq!(young["kinds"][0]["young"]["objects"], 1, "{young}");
    assert_eq!(objects(data.path()), all);

    age(data.path());
    let aged = objects(data.path());
    let ledger = fs::read(data.path().join("pinhole.db")).unwrap();
    let (text, _) = expect_exit(&sweep(data.path(), &["--dry-run"]), 1);
    assert!(
        text.contains(&format!("orphan, not deleted: {} (3 bytes, written 2001-", orphan.key())),
        "{text}"
    );
    assert_eq!(objects(data.path()), aged);
    assert!(fs::read(data.path().join("pinhole.db")).unwrap() == ledger, "the ledger is as it was");

    let mended = report(&sweep(data.path(), &["--json"]), 0);
    assert_eq!(mended["kinds"][0]["deleted"]["objects"], 1, "{mended}");
    assert_eq!(mended["kinds"][0]["matched"]["objects"], IMAGES, "{mended}");
    assert_eq!(objects(data.path()).len(), aged.len() - 1);
    let (text, _) = expect_exit(&sweep(data.path(), &[]), 0);
    assert!(!text.contains(&orphan.key()), "{text}");
    expect_images(data, &images).await;
}

#[tokio::test]
async fn a_lost_object_is_named_with_its_image_until_it_is_back() {
    let (app, images) = dev_with_images().await;
    let store = app.store();
    let listed = store.list(Kind::Original.prefix(), "", 1).await.unwrap().objects.remove(0);
    let name = ObjectName::parse(&listed.key).unwrap();
    let lost = Object::original(&name.key, "image/jpeg");
    let backup = store.get(&lost, listed.bytes).await.unwrap();
    store.delete(&[name]).await.unwrap();

    let data = app.kill();
    for flags in [&["--dry-run"][..], &[]] {
        let (out, err) = expect_exit(&sweep(data.path(), flags), 1);
        let line = out.lines().find(|line| line.starts_with("MISSING")).expect("a finding");
        assert!(line.contains(&listed.key) && line.contains("alice"), "{line}");
        assert!(images.iter().any(|image| line.contains(image)), "{line}");
        assert!(err.contains("missing from the bucket: 1 objects"), "{err}");
        assert_eq!(err.trim_end().lines().count(), 1, "{err}");
    }

    let app = TestApp::start_dev(data, &[]);
    app.store().put(&lost, backup).await.unwrap();
    let data = app.kill();
    expect_exit(&sweep(data.path(), &[]), 0);
    expect_images(data, &images).await;
}

#[tokio::test]
async fn a_ledger_that_is_not_the_buckets_deletes_nothing() {
    let (app, images) = dev_with_images().await;
    let (data, other) = (stop(app), stop(dev()));
    age(data.path());
    let all = objects(data.path());
    let (database, own) = (data.path().join("pinhole.db"), data.path().join("own.db"));
    fs::rename(&database, &own).unwrap();
    fs::copy(other.path().join("pinhole.db"), &database).unwrap();

    let count = all.len().to_string();
    for flags in [&[][..], &["--force", "3"], &["--dry-run"]] {
        let (_, err) = expect_exit(&sweep(data.path(), flags), 1);
        assert!(err.contains(&format!("disagree about {count} of {count} objects")), "{err}");
        assert!(err.contains(&format!("--force {count}")), "{err}");
        assert_eq!(objects(data.path()), all);
    }

    fs::rename(&own, &database).unwrap();
    expect_exit(&sweep(data.path(), &[]), 0);
    expect_images(data, &images).await;
}

#[tokio::test]
async fn by_its_configuration_it_runs_beside_a_server() {
    let (app, mut images) = dev_with_images().await;
    let orphan = plant(&app).await;
    let data = app.kill();
    age(data.path());
    let app = Arc::new(TestApp::start_dev(data, &[]));
    let config = configuration(&app, &format!("sqlite:{}", app.data().join("pinhole.db").display()));

    let (text, _) = expect_exit(&sweep_by(&config, &["--dry-run"]), 1);
    assert!(text.contains(&format!("orphan, not deleted: {}", orphan.key())), "{text}");
    // While uploads come in, each as an object whose row is new.
    let stop = Arc::new(AtomicBool::new(false));
    let uploads = {
        let (app, stop) = (Arc::clone(&app), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut images = Vec::new();
            for seed in IMAGES..=u8::MAX {
                images.push(app.upload("alice", jpeg(64, 48, seed)).await);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            images
        })
    };
    let runs = tokio::task::spawn_blocking(move || {
        [0; 5].map(|_| report(&sweep_by(&config, &["--json"]), 0)["kinds"][0]["deleted"]["objects"].clone())
    });
    assert_eq!(runs.await.unwrap(), [1, 0, 0, 0, 0]);
    stop.store(true, Ordering::Relaxed);
    images.extend(uploads.await.unwrap());
    expect_images(Arc::into_inner(app).unwrap().kill(), &images).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_made_and_nothing_is_swept_by_it() {
    let app = dev();
    let folder = tempfile::tempdir().unwrap();
    let (absent, empty) = (folder.path().join("absent.db"), folder.path().join("empty.db"));
    fs::write(&empty, "").unwrap();
    let urls = [&absent, &empty].map(|path| format!("sqlite:{}", path.display()));
    for flags in [&["--dry-run"][..], &[]] {
        for (url, code, named) in [
            ("", 2, "database.url is not set"),
            (&urls[0], 1, "no such file; mend database.url"),
            (&urls[1], 1, "run pinhole migrate first"),
        ] {
            let (out, err) = expect_exit(&sweep_by(&configuration(&app, url), flags), code);
            assert!(err.contains(named) && out.is_empty(), "{url}: {out}{err}");
        }
        assert!(!absent.exists(), "nothing was made");
        assert!(flags.is_empty() || fs::read(&empty).unwrap().is_empty(), "a dry run fills no file");
    }

    let config = configuration(&app, &format!("sqlite:{}", app.data().join("pinhole.db").display()));
    let text = fs::read_to_string(config.path()).unwrap().replace("name = \"pinhole\"", "name = \"another\"");
    fs::write(config.path(), text).unwrap();
    let (_, err) = expect_exit(&sweep_by(&config, &[]), 1);
    assert!(err.contains("bucket another") && err.contains("mend bucket.name"), "{err}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let (_, err) = expect_exit(&sweep(&absent, &[]), 1);
    assert!(err.contains("no pinhole dev has run here"), "{err}");
    assert!(!absent.exists(), "nothing was made");
    expect_exit(&sweep(&absent, &["--dry-run", "--force", "1"]), 2);
    expect_exit(&sweep(&absent, &["--force", "all"]), 2);
    expect_exit(&sweep(&absent, &["--config", "pinhole.toml"]), 2);

    for (variable, value) in [
        ("PINHOLE_SWEEP__GRACE_SECS", "3599"),
        ("PINHOLE_SWEEP__GRACE_SECS", "3600"),
        ("PINHOLE_SWEEP__MAX_DISAGREEMENT_PERCENT", "101"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        let output =
            command.env_clear().env(variable, value).arg("sweep").arg("--data").arg(&absent).output();
        let (_, err) = expect_exit(&output.unwrap(), 2);
        assert!(err.contains(&variable["PINHOLE_".len()..].to_lowercase().replace("__", ".")), "{err}");
    }
}
