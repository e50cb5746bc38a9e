//! The bucket tier of variants: what was rendered once is not rendered again, and nothing of it outlives its
//! image.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use pinhole::{
    clock,
    db::variants::{self, Known},
    id::{BlobKey, VariantName},
    render::Format,
    store::{Object, ObjectName},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{Bucket, Reply, TestApp, jpeg, until};

/// Sweeps often, and gives writes up soon.
const QUICK: [(&str, &str); 2] =
    [("PINHOLE_UPLOAD__SWEEP_SECS", "1"), ("PINHOLE_BUCKET__OPERATION_TIMEOUT_SECS", "3")];
const NO_MEMORY: (&str, &str) = ("PINHOLE_CACHE__MEMORY_BYTES", "0");

/// What lies in the bucket under `variants/`.
async fn stored(app: &TestApp) -> Vec<String> {
    app.objects().await.into_iter().filter(|key| key.starts_with("variants/")).collect()
}

async fn rows(app: &TestApp) -> i64 {
    app.number("SELECT COUNT(*) FROM variants").await
}

/// Waits until so many variants have landed.
async fn landed(app: &TestApp, count: i64) {
    until("they land", async || app.number("SELECT COUNT(*) FROM variants WHERE landed").await == count)
        .await;
}

async fn shown(app: &TestApp, image: &str, options: &str) -> Reply {
    app.get(&format!("/i/{image}/{options}")).user("alice").await.send().await.expect(200)
}

#[track_caller]
fn expect_tier(reply: &Reply, tier: &str) {
    let timing = reply.header("server-timing");
    assert!(timing.contains(&format!("cache;desc={tier}")), "{tier}: {timing}");
}

async fn renders(app: &TestApp) -> f64 {
    app.metric("pinhole_render_seconds_count").await
}

async fn reads(app: &TestApp, outcome: &str) -> f64 {
    let name = format!("pinhole_bucket_operations_total{{op=\"read_variant\",outcome=\"{outcome}\"}}");
    app.metric(&name).await
}

#[track_caller]
fn expect_count(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.5, "{found} instead of {expected}");
}

#[tokio::test]
async fn after_a_restart_nothing_is_rendered_again() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(900, 600, 1)).await;
    let first = shown(&app, &image, "width=300").await;
    expect_tier(&first, "render");
    landed(&app, 1).await;
    assert_eq!(stored(&app).await.len(), 1);

    let app = app.restart();
    let again = shown(&app, &image, "width=300").await;
    expect_tier(&again, "bucket");
    assert_eq!((&again.body, again.etag()), (&first.body, first.etag()));
    assert_eq!(again.header("content-type"), "image/jpeg");
    expect_tier(&shown(&app, &image, "width=300").await, "memory");
    expect_count(renders(&app).await, 0.0);
    expect_count(reads(&app, "found").await, 1.0);

    // Another rendition is looked for in the ledger, and not in the bucket.
    expect_tier(&shown(&app, &image, "width=301").await, "render");
    for outcome in ["missing", "failed", "foreign"] {
        expect_count(reads(&app, outcome).await, 0.0);
    }
}

#[tokio::test]
async fn a_shutdown_in_peace_loses_nothing() {
    let mut app = TestApp::start();
    let image = app.upload("alice", jpeg(900, 600, 1)).await;
    shown(&app, &image, "width=300").await;
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    expect_tier(&shown(&app.restart(), &image, "width=300").await, "bucket");
}

#[tokio::test]
async fn who_asks_at_once_shares_one_render_and_one_read() {
    const CLIENTS: usize = 1000;
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(900, 600, 2)).await;
    let all = async |app: &TestApp| {
        let asking = (0..CLIENTS).map(|_| shown(app, &image, "width=300"));
        let replies = futures_util::future::join_all(asking).await;
        assert!(replies.iter().all(|reply| reply.body == replies[0].body));
        let from_memory = app.metric("pinhole_images_served_total{tier=\"memory\"}").await;
        expect_count(from_memory, 999.0);
        let joined = app.metric("pinhole_coalesced_total").await;
        assert!(joined > 0.0 && joined < 1000.0, "{joined}");
    };
    all(&app).await;
    expect_count(renders(&app).await, 1.0);
    expect_count(reads(&app, "found").await, 0.0);
    landed(&app, 1).await;
    // It is counted after its row is written.
    until("it is counted", async || {
        app.metric("pinhole_variants_written_total{outcome=\"written\"}").await > 0.5
    })
    .await;
    expect_count(app.metric("pinhole_variants_written_total{outcome=\"written\"}").await, 1.0);
    for call in ["database_call_seconds_count{op=\"commit\"", "bucket_call_seconds_count{op=\"put\""] {
        assert!(app.metric(&format!("pinhole_{call},outcome=\"ok\"}}")).await > 0.0, "{call}");
    }

    let app = app.restart();
    all(&app).await;
    expect_count(renders(&app).await, 0.0);
    expect_count(reads(&app, "found").await, 1.0);
    expect_count(app.metric("pinhole_images_served_total{tier=\"bucket\"}").await, 1.0);
}

#[tokio::test]
async fn without_the_tier_nothing_is_kept() {
    let app = TestApp::start_with(&[NO_MEMORY, ("PINHOLE_CACHE__BUCKET_TTL_SECS", "0")]);
    let image = app.upload("alice", jpeg(900, 600, 3)).await;
    for _ in 0..2 {
        expect_tier(&shown(&app, &image, "width=300").await, "render");
    }
    assert_eq!((rows(&app).await, stored(&app).await.len()), (0, 0));
}

#[tokio::test]
async fn what_is_not_what_was_written_is_not_served() {
    let app = TestApp::start_with(&[NO_MEMORY]);
    let image = app.upload("alice", jpeg(900, 600, 4)).await;
    let first = shown(&app, &image, "width=300").await;
    landed(&app, 1).await;
    let key = stored(&app).await.remove(0);
    let name = ObjectName::parse(&key).unwrap();
    let object = Object::variant(&name.key, name.variant.as_ref().unwrap(), Format::Jpeg);
    let (store, whole) = (app.store(), first.body.clone());
    let mut changed = whole.to_vec();
    changed[whole.len() / 2] ^= 1;
    let longer = [&whole[..], b"more"].concat();
    let foreign = jpeg(300, 200, 99);
    for wrong in [changed, whole[..whole.len() - 1].to_vec(), Vec::new(), longer, foreign] {
        store.put(&object, Bytes::from(wrong)).await.unwrap();
        let reply = shown(&app, &image, "width=300").await;
        expect_tier(&reply, "render");
        assert_eq!((&reply.body, reply.etag()), (&whole, first.etag()));
        // And it is mended.
        until("it is mended", async || store.get(&object, 1 << 20).await.unwrap() == whole).await;
        landed(&app, 1).await;
        expect_tier(&shown(&app, &image, "width=300").await, "bucket");
    }
    expect_count(reads(&app, "foreign").await, 5.0);

    // One that was lost is no loss.
    store.delete(&[name]).await.unwrap();
    expect_tier(&shown(&app, &image, "width=300").await, "render");
    until("it is stored", async || !stored(&app).await.is_empty()).await;
    landed(&app, 1).await;
    assert_eq!(stored(&app).await, [key]);
    expect_count(reads(&app, "missing").await, 1.0);
}

#[tokio::test]
async fn variants_go_with_their_image() {
    let app = TestApp::start_with(&QUICK);
    let (gone, kept) =
        (app.upload("alice", jpeg(700, 500, 5)).await, app.upload("alice", jpeg(700, 500, 6)).await);
    for options in ["width=300", "width=200", "width=100,format=webp"] {
        shown(&app, &gone, options).await;
    }
    shown(&app, &kept, "width=300").await;
    landed(&app, 4).await;
    app.request("DELETE", &format!("/v1/images/{gone}")).user("alice").await.send().await.expect(204);
    until("one is left", async || rows(&app).await == 1).await;
    assert_eq!(stored(&app).await.len(), 1);
    expect_tier(&shown(&app.restart(), &kept, "width=300").await, "bucket");
}

#[tokio::test]
async fn an_erasure_counts_variants_and_leaves_none() {
    let app = TestApp::start_with(&QUICK);
    let image = app.upload("alice", jpeg(500, 400, 7)).await;
    for options in ["width=300", "width=200"] {
        shown(&app, &image, options).await;
    }
    landed(&app, 2).await;
    let asked = app.request("DELETE", "/v1/users/alice").service().send().await.expect(202).json();
    let receipt = app.erased(asked["id"].as_str().unwrap()).await;
    assert_eq!(
        (&receipt["variants"], &receipt["verified_gone"]),
        (&Value::from(2), &Value::from(4)),
        "{receipt}"
    );
    assert_eq!((rows(&app).await, app.objects().await.len()), (0, 0));
}

#[tokio::test]
async fn what_is_written_while_its_image_is_deleted_does_not_stay() {
    let app = TestApp::start_with(&QUICK);
    let image = app.upload("alice", jpeg(500, 400, 8)).await;
    let blob = app.texts("SELECT key FROM blobs").await.remove(0);
    let (blob, name) = (BlobKey::parse(&blob).unwrap(), VariantName::of("width=1"));
    // As another node does that is slow.
    let ledger = app.ledger().await;
    let known = Known { format: Format::Jpeg, bytes: 3, sha256: String::new() };
    let now = clock::now_micros();
    let (until_micros, kept_until) = (clock::after(now, 3600), clock::after(now, 7200));
    let mut tx = ledger.begin().await.unwrap();
    assert!(variants::announce(&mut tx, &blob, &name, &known, now, until_micros).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = ledger.begin().await.unwrap();
    assert!(
        !variants::announce(&mut tx, &blob, &name, &known, now, until_micros).await.unwrap(),
        "one at a time"
    );
    tx.commit().await.unwrap();

    app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((rows(&app).await, app.number("SELECT COUNT(*) FROM blobs").await), (1, 1));

    let object = Object::variant(&blob, &name, Format::Jpeg);
    app.store().put(&object, Bytes::from_static(b"abc")).await.unwrap();
    let mut tx = ledger.begin().await.unwrap();
    variants::land(&mut tx, &blob, &name, until_micros, kept_until).await.unwrap();
    tx.commit().await.unwrap();
    until("no object is left", async || app.objects().await.is_empty()).await;
    until("no row is left", async || app.number("SELECT COUNT(*) FROM blobs").await == 0).await;
    assert_eq!(rows(&app).await, 0);
    let mut tx = ledger.begin().await.unwrap();
    assert!(
        !variants::announce(&mut tx, &blob, &name, &known, now, until_micros).await.unwrap(),
        "it is gone"
    );
}

#[tokio::test]
async fn images_that_are_deleted_while_they_are_looked_at_leave_nothing() {
    let app = TestApp::start_with(&QUICK);
    for seed in 0..12 {
        let image = app.upload("alice", jpeg(320, 240, seed)).await;
        let looking = (1..6).map(async |n| {
            let path = format!("/i/{image}/width={}", n * 40);
            app.get(&path).user("alice").await.send().await.status.as_u16()
        });
        let deleting = async {
            tokio::time::sleep(Duration::from_millis(u64::from(seed) * 4)).await;
            app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204)
        };
        let (seen, _) = tokio::join!(futures_util::future::join_all(looking), deleting);
        assert!(seen.iter().all(|status| [200, 404].contains(status)), "{seen:?}");
    }
    until("no object is left", async || app.objects().await.is_empty()).await;
    until("no row is left", async || app.number("SELECT COUNT(*) FROM blobs").await == 0).await;
    assert_eq!((rows(&app).await, app.objects().await.len()), (0, 0));
}

#[tokio::test]
async fn variants_are_kept_for_so_long_and_no_longer() {
    let app = TestApp::start_with(&[QUICK[0], QUICK[1], ("PINHOLE_CACHE__BUCKET_TTL_SECS", "5")]);
    let image = app.upload("alice", jpeg(500, 400, 9)).await;
    shown(&app, &image, "width=300").await;
    landed(&app, 1).await;
    until("none is left", async || rows(&app).await == 0 && stored(&app).await.is_empty()).await;
    expect_tier(&shown(&app, &image, "width=300").await, "memory");
    assert_eq!(app.objects().await.len(), 2, "the image itself stays");
    expect_tier(&shown(&app.restart(), &image, "width=300").await, "render");
}

#[tokio::test]
async fn avif_that_was_made_once_is_served_at_once_after_a_restart() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(400, 300, 10)).await;
    let path = format!("/i/{image}/width=160,format=auto");
    let ask = async |app: &TestApp| {
        let request = app.get(&path).header("accept", "image/avif,image/webp").user("alice").await;
        request.send().await.expect(200)
    };
    assert_eq!(ask(&app).await.header("content-type"), "image/webp");
    until("AVIF is made", async || ask(&app).await.header("content-type") == "image/avif").await;
    let best = ask(&app).await;
    landed(&app, 2).await;

    let app = app.restart();
    let again = ask(&app).await;
    expect_tier(&again, "bucket");
    assert_eq!((&again.body, again.etag()), (&best.body, best.etag()));
    expect_tier(&ask(&app).await, "memory");
    expect_count(renders(&app).await, 0.0);
    for outcome in ["made", "failed", "shed"] {
        expect_count(
            app.metric(&format!("pinhole_background_renders_total{{outcome=\"{outcome}\"}}")).await,
            0.0,
        );
    }
}

#[tokio::test]
async fn what_is_in_memory_needs_no_bucket_and_what_is_not_is_503() {
    let bucket = Bucket::of_dev();
    let settings = [("PINHOLE_BUCKET__OPERATION_TIMEOUT_SECS", "2")];
    let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &bucket, &settings);
    let image = app.upload("alice", jpeg(500, 400, 11)).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let first = shown(&app, &image, "width=300").await;
    shown(&app, &image, "width=200").await;
    landed(&app, 2).await;
    // One of them is in the bucket alone.
    let app = app.restart_with(&settings);
    expect_tier(&shown(&app, &image, "width=300").await, "bucket");
    bucket.dev.as_ref().unwrap().signal("KILL");

    let path = format!("/i/{image}/width=300");
    let again = app.get(&path).send().await.expect(200);
    expect_tier(&again, "memory");
    assert_eq!(again.body, first.body);
    for options in ["width=200", "width=100", "original"] {
        let path = format!("/i/{image}/{options}");
        let refused = app.get(&path).send().await.expect_problem(503, "unavailable");
        assert!(!refused.header("retry-after").is_empty());
    }
    // It is decided anew, bucket or not.
    app.patch_post("alice", &post, serde_json::json!({"visibility": "private"})).await;
    app.get(&path).send().await.expect_problem(404, "not_found");
    expect_tier(&shown(&app, &image, "width=300").await, "memory");
}

/// A way to a bucket on which reads of variants are never answered while `hangs`.
async fn way_to(bucket: &Bucket, hangs: Arc<AtomicBool>) -> Arc<Bucket> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = bucket.endpoint["http://".len()..].to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (hangs, server) = (Arc::clone(&hangs), TcpStream::connect(&server).await.unwrap());
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut piece = vec![0; 1 << 16];
                while let Ok(length @ 1..) = from_client.read(&mut piece).await {
                    if piece.starts_with(b"GET /pinhole/variants/") && hangs.load(Ordering::Relaxed) {
                        std::future::pending::<()>().await;
                    }
                    if to_server.write_all(&piece[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let (region, name) = (bucket.region.clone(), bucket.name.clone());
    let (access_key_id, secret_access_key) = (bucket.access_key_id.clone(), bucket.secret_access_key.clone());
    Arc::new(Bucket { endpoint, region, name, access_key_id, secret_access_key, dev: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_hangs_is_not_waited_for() {
    let (bucket, hangs) = (Bucket::of_dev(), Arc::new(AtomicBool::new(false)));
    let way = way_to(&bucket, Arc::clone(&hangs)).await;
    let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &way, &[NO_MEMORY]);
    let image = app.upload("alice", jpeg(500, 400, 12)).await;
    let first = shown(&app, &image, "width=300").await;
    landed(&app, 1).await;
    expect_tier(&shown(&app, &image, "width=300").await, "bucket");

    hangs.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let again = shown(&app, &image, "width=300").await;
    let took = began.elapsed();
    expect_tier(&again, "render");
    assert_eq!((&again.body, again.etag()), (&first.body, first.etag()));
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    expect_count(reads(&app, "took_too_long").await, 1.0);
}
