//! What survives `kill -9`: every acknowledged image whole, and nothing half.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use crate::support::{TestApp, jpeg};

/// How often the server is killed.
const KILLS: usize = 8;
/// How many clients upload at once.
const UPLOADERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_images_survive_and_half_ones_are_never_shown() {
    let mut data = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    let mut cut_off = 0;
    for round in 0..KILLS {
        let app = Arc::new(TestApp::start_on(data, &[]));
        app.token("alice").await;
        let killed = Arc::new(AtomicBool::new(false));
        let seed = Arc::new(AtomicU8::new(0));
        let uploaders: Vec<_> = (0..UPLOADERS)
            .map(|_| {
                let (app, killed, seed) = (Arc::clone(&app), Arc::clone(&killed), Arc::clone(&seed));
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    let mut cut_off = 0;
                    while !killed.load(Ordering::Relaxed) {
                        let file = jpeg(320, 240, seed.fetch_add(1, Ordering::Relaxed));
                        let upload = app.post("/v1/images").user("alice").await;
                        let upload = upload.header("content-type", "image/jpeg").body(file.clone());
                        match upload.try_send().await {
                            Ok(reply) => {
                                let image = reply.expect(201).json()["id"].as_str().unwrap().to_owned();
                                done.push((image, file));
                            }
                            Err(_) => cut_off += 1,
                        }
                    }
                    (done, cut_off)
                })
            })
            .collect();
        // At another moment in every round: some uploads are under way whenever it comes.
        tokio::time::sleep(std::time::Duration::from_millis(120 + 37 * round as u64)).await;
        app.signal("KILL");
        killed.store(true, Ordering::Relaxed);
        for uploader in uploaders {
            let (done, cut) = uploader.await.unwrap();
            acknowledged.extend(done);
            cut_off += cut;
        }
        data = Arc::into_inner(app).unwrap().kill();
    }

    let app = TestApp::start_on(data, &[]);
    for (image, file) in &acknowledged {
        let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
        assert_eq!(raw.body, *file, "the uploaded bytes");
        app.get(&format!("/i/{image}/width=64")).user("alice").await.send().await.expect(200).image();
    }
    // Whatever else the ledger shows is whole as well: acknowledged, or finished just before the kill.
    let mut shown = 0;
    let mut cursor = String::new();
    loop {
        let page =
            app.get(&format!("/v1/images?limit=200{cursor}")).user("alice").await.send().await.expect(200);
        let page = page.json();
        for image in page["items"].as_array().unwrap() {
            shown += 1;
            let path = format!("/i/{}/original", image["id"].as_str().unwrap());
            let original = app.get(&path).user("alice").await.send().await.expect(200).image();
            assert_eq!((original.width(), original.height()), (320, 240));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    println!(
        "{KILLS} kills: {} uploads acknowledged and all there, {cut_off} cut off, {shown} images shown, all whole",
        acknowledged.len()
    );
    assert!(acknowledged.len() >= KILLS, "too few uploads to mean anything: {}", acknowledged.len());
    assert!(shown >= acknowledged.len());
    assert!(cut_off > 0, "no upload was under way at any kill");
}
