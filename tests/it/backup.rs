//! The drill of the guide to backups: a backup beside a running server, changes after it, and both restored as the
//! guide says, on SQLite or PostgreSQL.

use std::{fs, path::Path, process::Command, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    pasted::{blocks, page, paste, section},
    support::{Bucket, TestApp, jpeg, serve_command},
};

/// A link key as it was not before.
const NEW_KEY: (&str, &str) = ("PINHOLE_LINKS__KEYS", "new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");

/// Where the guide's commands run: a data folder, its database, a bucket, and a folder for backups.
struct Place<'a> {
    data: &'a Path,
    bucket: &'a Bucket,
    backup: &'a Path,
}

impl Place<'_> {
    /// The database on a server, if it is on one.
    fn database(&self) -> Option<String> {
        fs::read_to_string(self.data.join("database")).ok()
    }

    /// The guide's blocks for this database in a part of it, as they are here.
    fn script(&self, part: &'static str, with_bucket: bool) -> Vec<String> {
        let database = self.database();
        let kind = if database.is_some() { "sh,postgres" } else { "sh,sqlite" };
        let url = database.unwrap_or_default();
        let (server, name) = url.rsplit_once('/').unwrap_or_default();
        let set_up = format!(
            "BACKUP={backup}\n\
             export RCLONE_CONFIG_PINHOLE_TYPE=s3 RCLONE_CONFIG_PINHOLE_PROVIDER=Other\n\
             export RCLONE_CONFIG=/dev/null RCLONE_S3_NO_CHECK_BUCKET=true\n\
             export RCLONE_CONFIG_PINHOLE_ENDPOINT={endpoint} RCLONE_CONFIG_PINHOLE_REGION={region}\n\
             export RCLONE_CONFIG_PINHOLE_ACCESS_KEY_ID={id} RCLONE_CONFIG_PINHOLE_SECRET_ACCESS_KEY={secret}\n\
             DATABASE_URL={url} SERVER_URL={server}/postgres RESTORED_URL={server}/{name}_restored\n",
            backup = self.backup.display(),
            endpoint = self.bucket.endpoint,
            region = self.bucket.region,
            id = self.bucket.access_key_id,
            secret = self.bucket.secret_access_key,
        );
        let is_wanted = |info| info == "sh" || info == kind || info == "sh,bucket";
        let wanted = blocks(section(page("src/guide/backup.md"), part))
            .into_iter()
            .filter(|block| is_wanted(block.info) && (with_bucket || !block.text.contains("rclone ")));
        let here = wanted.map(|block| {
            let text = block.text.replace("/var/backups/pinhole", &self.backup.display().to_string());
            let text = text.replace("pinhole:pinhole", &format!("pinhole:{}", self.bucket.name));
            set_up.clone() + &text.replace("pinhole_restored", &format!("{name}_restored"))
        });
        let scripts: Vec<String> = here.collect();
        assert!(scripts.len() >= 2, "{part}");
        scripts
    }

    fn back_up(&self, with_bucket: bool) {
        for script in self.script("## Backup\n", with_bucket) {
            paste(&script, self.data);
        }
    }

    /// Restores as the guide says, a day later: the deadlines of the backup have passed. Of `sweep --dry-run` comes
    /// what it printed.
    fn restore(&self, with_bucket: bool) -> String {
        let mut scripts = self.script("## Restore\n", with_bucket);
        let look = scripts.pop().unwrap();
        let put_off = scripts.pop().unwrap();
        assert!(look.contains("pinhole sweep") && put_off.contains("SET deadline"), "{look}{put_off}");
        for script in &scripts {
            paste(script, self.data);
        }
        let passed = "\"UPDATE images SET deadline = 1 WHERE deadline IS NOT NULL\"";
        let let_pass = match self.database() {
            Some(url) => format!("psql -q {url}_restored -c {passed}"),
            None => format!("sqlite3 pinhole.db {passed}"),
        };
        paste(&let_pass, self.data);
        paste(&put_off, self.data);
        if let Some(url) = self.database() {
            fs::write(self.data.join("database"), url + "_restored").unwrap();
        }
        // The settings name what was restored.
        drop(serve_command(self.data, self.bucket));
        paste(&look, self.data)
    }

    /// What `pinhole sweep --json` finds, however small all of this is.
    fn sweep(&self) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinhole"));
        command.env_clear().env("PINHOLE_SWEEP__MAX_DISAGREEMENT_PERCENT", "100");
        command.arg("sweep").arg("--json").arg("--config").arg(self.data.join("pinhole.toml"));
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    }
}

/// An image on a post of its own, and the post.
async fn posted(app: &TestApp, user: &str, seed: u8) -> (String, String) {
    let image = app.upload(user, jpeg(64, 48, seed)).await;
    let post = app.create_post(user, "public", &[&image]).await;
    (image, post)
}

async fn expect(app: &TestApp, image: &str, status: u16) {
    app.get(&format!("/i/{image}/width=32")).send().await.expect(status);
}

async fn delete(app: &TestApp, path: &str, status: u16) -> Value {
    let reply = app.request("DELETE", path).service().send().await.expect(status);
    if reply.body.is_empty() { Value::Null } else { reply.json() }
}

async fn erase(app: &TestApp, user: &str) {
    let erasure = delete(app, &format!("/v1/users/{user}"), 202).await;
    app.erased(erasure["id"].as_str().unwrap()).await;
}

fn serve(data: TempDir, bucket: &Arc<Bucket>, env: &[(&str, &str)]) -> TestApp {
    TestApp::serve_on(data, bucket, env)
}

#[tokio::test]
async fn after_a_restore_what_was_taken_away_is_taken_away_again() {
    let app = TestApp::serve_anywhere();
    let (bucket, backup) = (app.bucket(), tempfile::tempdir().unwrap());
    let (kept, _) = posted(&app, "alice", 1).await;
    let (deleted, _) = posted(&app, "alice", 2).await;
    let (narrowed, post) = posted(&app, "alice", 3).await;
    let (erased, _) = posted(&app, "carol", 4).await;
    let late = app.upload("alice", jpeg(64, 48, 5)).await;
    let link = app.link("alice", &kept, "width=32").await;
    // The port changes with every start.
    let link = link.strip_prefix(&app.url).unwrap();
    app.get(link).send().await.expect(200);

    let data = app.data();
    let place = Place { data: &data, bucket: &bucket, backup: backup.path() };
    place.back_up(false);

    // Life goes on.
    let (new, _) = posted(&app, "alice", 6).await;
    app.create_post("alice", "public", &[&late]).await;
    expect(&app, &late, 200).await;
    delete(&app, &format!("/v1/images/{deleted}"), 204).await;
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    let revoke = format!("/v1/images/{kept}/revoke");
    app.post(&revoke).service().send().await.expect(204);
    erase(&app, "carol").await;
    app.get(link).send().await.expect(404);

    // The database is lost; the bucket is not.
    let folder = app.kill();
    let seen = place.restore(false);
    assert!(
        seen.contains("MISSING originals/") && seen.contains(&deleted) && seen.contains(&erased),
        "{seen}"
    );

    // What the guide warns of is so.
    let app = serve(folder, &bucket, &[]);
    expect(&app, &kept, 200).await;
    app.get(link).send().await.expect(200);
    expect(&app, &narrowed, 200).await;
    expect(&app, &deleted, 500).await;
    expect(&app, &new, 404).await;
    expect(&app, &late, 404).await;
    app.get("/v1/images").user("carol").await.send().await.expect(200);

    // With new keys, and done again on a server that shows nothing, it is not.
    let app = serve(
        app.kill(),
        &bucket,
        &[
            NEW_KEY,
            ("PINHOLE_SERVER__ROLE", "upload"),
            ("PINHOLE_SERVER__PUBLIC_URL", "https://img.example.org"),
        ],
    );
    expect(&app, &narrowed, 404).await;
    app.create_post("alice", "public", &[&late]).await;
    delete(&app, &format!("/v1/images/{deleted}"), 204).await;
    app.patch_post("alice", &post, json!({"visibility": "private"})).await;
    erase(&app, "carol").await;
    let app = serve(app.kill(), &bucket, &[NEW_KEY]);
    app.get(link).send().await.expect_problem(403, "link_invalid");
    for (image, status) in
        [(&kept, 200), (&late, 200), (&narrowed, 404), (&deleted, 404), (&erased, 404), (&new, 404)]
    {
        expect(&app, image, status).await;
    }
    app.get("/v1/images").user("carol").await.send().await.expect(401);
    app.get(&format!("/i/{narrowed}/original")).user("alice").await.send().await.expect(200).image();
    let found = place.sweep();
    let kinds = found["kinds"].as_array().unwrap();
    assert!(kinds.iter().all(|kind| kind["missing"] == 0 && kind["deleted"]["objects"] == 0), "{found:#}");
    assert_eq!(kinds[0]["young"]["objects"], 1, "what was uploaded since is there for a day: {found:#}");
}

#[tokio::test]
#[ignore = "rclone lists by folders, which the bucket of dev does not: run it by tests/with-garage"]
async fn a_lost_bucket_comes_back_from_its_copy_with_what_was_deleted_since() {
    let app = TestApp::serve_anywhere();
    let (bucket, backup) = (app.bucket(), tempfile::tempdir().unwrap());
    let (kept, _) = posted(&app, "alice", 1).await;
    let (deleted, _) = posted(&app, "alice", 2).await;
    let (large, _) = {
        let image = app.upload("alice", jpeg(1600, 1200, 3)).await;
        let post = app.create_post("alice", "public", &[&image]).await;
        (image, post)
    };
    let data = app.data();
    Place { data: &data, bucket: &bucket, backup: backup.path() }.back_up(true);
    delete(&app, &format!("/v1/images/{deleted}"), 204).await;
    let original = app.get(&format!("/i/{kept}/original")).send().await.expect(200).body;

    let folder = app.kill();
    let another = Bucket::external().expect("tests/with-garage");
    let place = Place { data: &data, bucket: &another, backup: backup.path() };
    let seen = place.restore(true);
    assert!(!seen.contains("MISSING"), "{seen}");
    let app = serve(folder, &another, &[NEW_KEY]);
    assert_eq!(app.get(&format!("/i/{kept}/original")).send().await.expect(200).body, original);
    for image in [&kept, &deleted, &large] {
        expect(&app, image, 200).await;
    }
    let found = place.sweep();
    let kinds = found["kinds"].as_array().unwrap();
    assert!(kinds.iter().all(|kind| kind["missing"] == 0 && kind["orphans"]["objects"] == 0), "{found:#}");
}
