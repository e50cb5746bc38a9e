//! The three ways in: one call, upload and attach, presigned. All end in the same ledger.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    files,
    support::{PATIENCE, Reply, TestApp, jpeg, png, until},
};

const FORM: &str = "multipart/form-data; boundary=x-boundary-x";

/// How many objects the bucket holds, whatever they are.
async fn objects(app: &TestApp) -> usize {
    app.objects().await.len()
}

/// A part of a form: its header and its content.
type Part = (String, Vec<u8>);

fn form_of(parts: &[Part]) -> Vec<u8> {
    let parts: Vec<files::Part<'_>> = parts.iter().map(|(head, body)| (head.as_str(), &body[..])).collect();
    files::form("x-boundary-x", &parts)
}

async fn form(app: &TestApp, method: &str, path: &str, user: &str, parts: &[Part]) -> Reply {
    let request = app.request(method, path).user(user).await.header("content-type", FORM);
    request.body(form_of(parts)).send().await
}

fn text(name: &str, value: &str) -> Part {
    (format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes().to_vec())
}

fn file(name: &str, bytes: &[u8]) -> Part {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"photo.jpg\"");
    (head, bytes.to_vec())
}

#[tokio::test]
async fn a_post_and_its_images_come_in_one_call() {
    let app = TestApp::start();
    let (one, two) = (jpeg(64, 48, 1), png(64, 48, 2));
    let parts =
        [text("text", "hello"), text("visibility", "public"), file("images", &one), file("images", &two)];
    let post = form(&app, "POST", "/v1/posts", "alice", &parts).await.expect(201).json();
    assert_eq!((post["text"].as_str(), post["visibility"].as_str()), (Some("hello"), Some("public")));
    let images = post["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for (image, width) in images.iter().zip([32, 32]) {
        let path = format!("/i/{}/width={width}", image["id"].as_str().unwrap());
        app.get(&path).send().await.expect(200).image();
    }
}

#[tokio::test]
async fn a_profile_and_its_avatar_come_in_one_call() {
    let app = TestApp::start();
    let avatar = jpeg(64, 64, 1);
    let parts = [text("display_name", "Alice"), file("avatar", &avatar)];
    let profile = form(&app, "PUT", "/v1/profile", "alice", &parts).await.expect(200).json();
    assert_eq!(profile["display_name"], "Alice");
    let image = profile["avatar"]["image_id"].as_str().unwrap().to_owned();
    app.get(&format!("/i/{image}/width=32")).send().await.expect(200);
    // Another name alone leaves the avatar; another avatar lets the first one go.
    let renamed = form(&app, "PUT", "/v1/profile", "alice", &[text("display_name", "Al")]).await.expect(200);
    assert_eq!(renamed.json()["avatar"]["image_id"], image.as_str());
    let other = jpeg(64, 64, 2);
    form(&app, "PUT", "/v1/profile", "alice", &[file("avatar", &other)]).await.expect(200);
    app.get(&format!("/i/{image}/width=32")).send().await.expect(404);
}

#[tokio::test]
async fn one_bad_file_undoes_the_whole_call() {
    let app = TestApp::start();
    let (good, bad) = (jpeg(64, 48, 1), b"<svg onload=alert(1)>".to_vec());
    let parts = [text("visibility", "public"), file("images", &good), file("images", &bad)];
    form(&app, "POST", "/v1/posts", "alice", &parts).await.expect_problem(415, "unsupported_type");
    let parts = [text("display_name", "Mallory"), file("avatar", &bad)];
    form(&app, "PUT", "/v1/profile", "alice", &parts).await.expect_problem(415, "unsupported_type");

    let posts = app.get("/v1/posts?author=alice").user("alice").await.send().await.expect(200).json();
    assert_eq!(posts["items"], json!([]));
    let images = app.get("/v1/images").user("alice").await.send().await.expect(200).json();
    assert_eq!(images["items"], json!([]));
    let profile = app.get("/v1/profile").user("alice").await.send().await.expect(200).json();
    assert_eq!(profile["display_name"], "");
}

#[tokio::test]
async fn a_form_with_wrong_parts_is_refused_by_name() {
    let app = TestApp::start();
    let photo = jpeg(64, 48, 1);
    for (parts, named) in [
        (vec![text("text", "x")], "visibility"),
        (vec![text("visibility", "secret")], "visibility"),
        (vec![text("visibility", "public"), text("owner", "bob")], "owner"),
        (vec![text("visibility", "public"), text("visibility", "private")], "visibility"),
        (vec![text("visibility", "public"), file("photos", &photo)], "photos"),
    ] {
        let refused = form(&app, "POST", "/v1/posts", "alice", &parts).await;
        let detail = refused.expect_problem(400, "invalid_field").json()["detail"].to_string();
        assert!(detail.contains(&format!("`{named}`")), "{detail}");
    }
    let many: Vec<Part> =
        [text("visibility", "public")].into_iter().chain((0..21).map(|_| file("images", &photo))).collect();
    form(&app, "POST", "/v1/posts", "alice", &many).await.expect_problem(400, "invalid_field");
}

#[tokio::test]
async fn equal_uploads_of_one_owner_are_stored_once() {
    let app = TestApp::start();
    let photo = jpeg(64, 48, 1);
    let first = app.upload("alice", photo.clone()).await;
    let stored = objects(&app).await;
    let second = app.upload("alice", photo.clone()).await;
    assert_ne!(first, second);
    assert_eq!(objects(&app).await, stored, "the same bytes again");
    let bobs = app.upload("bob", photo.clone()).await;
    assert_eq!(objects(&app).await, stored + 2, "another owner's are his own");

    // Each goes by itself; the bytes go with the last.
    app.request("DELETE", &format!("/v1/images/{first}")).user("alice").await.send().await.expect(204);
    let raw = app.get(&format!("/i/{second}/raw")).user("alice").await.send().await.expect(200);
    assert_eq!(raw.body, photo);
    app.request("DELETE", &format!("/v1/images/{second}")).user("alice").await.send().await.expect(204);
    assert_eq!(objects(&app).await, stored, "bob's are left");
    let raw = app.get(&format!("/i/{bobs}/raw")).user("bob").await.send().await.expect(200);
    assert_eq!(raw.body, photo);
    // And can come again.
    let again = app.upload("alice", photo.clone()).await;
    app.get(&format!("/i/{again}/original")).user("alice").await.send().await.expect(200);
}

/// Asks for a grant.
async fn grant(app: &TestApp, user: &str, upload: Value) -> Reply {
    app.post("/v1/uploads").user(user).await.json(&upload).send().await
}

/// Sends bytes as a grant says, changed a little by `change`; the bucket's status.
async fn send(
    app: &TestApp,
    grant: &Value,
    bytes: &[u8],
    change: impl Fn(&mut BTreeMap<String, String>),
) -> u16 {
    app.as_granted(grant, bytes, change).send().await.status.as_u16()
}

async fn complete(app: &TestApp, user: &str, grant: &Value) -> Reply {
    let path = format!("/v1/uploads/{}/complete", grant["image_id"].as_str().unwrap());
    app.post(&path).user(user).await.send().await
}

/// What a hostile client does to a grant's fields.
type Change = fn(&mut BTreeMap<String, String>);

const METHODS: [&str; 2] = ["post", "put"];

fn announced(method: &str, bytes: &[u8]) -> Value {
    json!({"content_type": "image/jpeg", "size": bytes.len(), "method": method, "filename": "p.jpg"})
}

#[tokio::test]
async fn presigned_bytes_become_an_image_when_they_are_completed() {
    let app = TestApp::start();
    for (method, seed) in METHODS.into_iter().zip(1..) {
        let photo = jpeg(64, 48, seed);
        let granted = grant(&app, "alice", announced(method, &photo)).await.expect(201).json();
        let image = granted["image_id"].as_str().unwrap();
        assert!(granted["url"].as_str().unwrap().starts_with(&app.s3_url), "straight to the bucket");
        assert!(granted.get(if method == "put" { "fields" } else { "headers" }).is_none());
        complete(&app, "alice", &granted).await.expect_problem(409, "upload_missing");
        // Nothing is there to see before.
        app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(404);

        assert!((200..300).contains(&send(&app, &granted, &photo, |_| {}).await), "{method}");
        app.get(&format!("/i/{image}/original")).user("alice").await.send().await.expect(404);
        let done = complete(&app, "alice", &granted).await.expect(201).json();
        assert_eq!((done["id"].as_str(), done["filename"].as_str()), (Some(image), Some("p.jpg")));
        let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
        assert_eq!(raw.body, photo);
        complete(&app, "alice", &granted).await.expect(200);

        // The grant lives on for a while; what is sent with it changes nothing.
        let other = jpeg(64, 48, seed + 100);
        if other.len() == photo.len() {
            send(&app, &granted, &other, |_| {}).await;
        }
        send(&app, &granted, &photo, |_| {}).await;
        complete(&app, "alice", &granted).await.expect(200);
        let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
        assert_eq!(raw.body, photo);
    }
}

#[tokio::test]
async fn the_bucket_takes_nothing_but_what_was_granted() {
    let app = TestApp::start();
    let photo = jpeg(64, 48, 1);
    for method in METHODS {
        let granted = grant(&app, "alice", announced(method, &photo)).await.expect(201).json();
        let refused = |status: u16| (400..500).contains(&status);
        assert!(
            refused(send(&app, &granted, &photo[..photo.len() - 1], |_| {}).await),
            "{method}: undersize"
        );
        assert!(
            refused(send(&app, &granted, &[&photo[..], b"x"].concat(), |_| {}).await),
            "{method}: oversize"
        );
        let html = |map: &mut BTreeMap<String, String>| {
            map.insert("Content-Type".to_owned(), "text/html".to_owned());
        };
        assert!(refused(send(&app, &granted, &photo, html).await), "{method}: wrong type");
        if method == "post" {
            let changes: [(&str, Change); 4] = [
                ("wrong key", |fields| _ = fields.insert("key".to_owned(), "raw/x".to_owned())),
                ("extra field", |fields| _ = fields.insert("acl".to_owned(), "public-read".to_owned())),
                ("tampered policy", |fields| fields.get_mut("policy").unwrap().insert(8, 'A')),
                ("tampered signature", |fields| {
                    fields.get_mut("x-amz-signature").unwrap().replace_range(..1, "x");
                }),
            ];
            for (what, change) in changes {
                assert!(refused(send(&app, &granted, &photo, change).await), "{what}");
            }
        } else {
            let mut elsewhere = granted.clone();
            elsewhere["url"] = granted["url"].as_str().unwrap().replace("/incoming/", "/raw/").into();
            assert!(refused(send(&app, &elsewhere, &photo, |_| {}).await), "wrong key");
        }
        complete(&app, "alice", &granted).await.expect_problem(409, "upload_missing");
    }
}

#[tokio::test]
async fn a_grant_that_ran_out_is_worth_nothing() {
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__GRANT_SECS", "1")]);
    let photo = jpeg(64, 48, 1);
    for method in METHODS {
        let granted = grant(&app, "alice", announced(method, &photo)).await.expect(201).json();
        tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
        let status = send(&app, &granted, &photo, |_| {}).await;
        assert!((400..500).contains(&status), "{method}: {status}");
        complete(&app, "alice", &granted).await.expect_problem(409, "upload_missing");
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_was_promised_are_refused_and_removed() {
    let app = TestApp::start();
    let before = objects(&app).await;
    let html = b"<!doctype html><script>alert(1)</script>".to_vec();
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec();
    let cut = jpeg(64, 48, 1)[..300].to_vec();
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
    let files = [("html", html), ("svg", svg), ("png", png(8, 8, 1)), ("truncated", cut), ("heic", heic)];
    for (what, bytes) in files {
        for method in METHODS {
            let granted = grant(&app, "alice", announced(method, &bytes)).await.expect(201).json();
            assert!((200..300).contains(&send(&app, &granted, &bytes, |_| {}).await), "{what} {method}");
            assert_eq!(complete(&app, "alice", &granted).await.status, 422, "{what} {method}");
            assert_eq!(complete(&app, "alice", &granted).await.status, 422, "{what} {method}, again");
            let path = format!("/i/{}/original", granted["image_id"].as_str().unwrap());
            app.get(&path).user("alice").await.send().await.expect(404);
        }
    }
    assert_eq!(objects(&app).await, before, "nothing is left");
}

#[tokio::test]
async fn a_promised_hash_is_checked() {
    let app = TestApp::start();
    let photo = jpeg(64, 48, 1);
    for method in METHODS {
        let mut upload = announced(method, &photo);
        upload["sha256"] = "0".repeat(64).into();
        let granted = grant(&app, "alice", upload).await.expect(201).json();
        let status = send(&app, &granted, &photo, |_| {}).await;
        if method == "post" {
            assert!((200..300).contains(&status));
            complete(&app, "alice", &granted).await.expect_problem(422, "upload_mismatch");
        } else {
            assert!((400..500).contains(&status), "a signed checksum is the bucket's to compare: {status}");
        }
    }
}

#[tokio::test]
async fn an_upload_is_its_owners_alone() {
    let app = TestApp::start();
    let photo = jpeg(64, 48, 1);
    let granted = grant(&app, "alice", announced("post", &photo)).await.expect(201).json();
    send(&app, &granted, &photo, |_| {}).await;
    let path = format!("/v1/uploads/{}", granted["image_id"].as_str().unwrap());
    complete(&app, "bob", &granted).await.expect_problem(404, "not_found");
    app.request("DELETE", &path).user("bob").await.send().await.expect_problem(404, "not_found");
    app.post(&format!("{path}/complete")).send().await.expect_problem(401, "unauthenticated");
    let before = objects(&app).await;
    app.request("DELETE", &path).user("alice").await.send().await.expect(204);
    assert_eq!(objects(&app).await, before - 1, "what was sent is removed");
    complete(&app, "alice", &granted).await.expect_problem(404, "not_found");
    app.request("DELETE", &path).user("alice").await.send().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_grant_that_cannot_be_kept_is_not_given() {
    let app = TestApp::start();
    for (change, status) in [
        (json!({"content_type": "image/svg+xml"}), 415),
        (json!({"content_type": "text/html"}), 415),
        (json!({"size": 0}), 400),
        (json!({"size": -1}), 400),
        (json!({"size": 26_214_401}), 413),
        (json!({"sha256": "abc"}), 400),
        (json!({"method": "delete"}), 400),
        (json!({"state": "ready"}), 400),
    ] {
        let mut upload = json!({"content_type": "image/jpeg", "size": 1000});
        upload.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let reply = grant(&app, "alice", upload).await;
        assert_eq!(reply.status, status, "{change}: {}", reply.text());
    }
    app.post("/v1/uploads").json(&json!({"content_type": "image/jpeg", "size": 1})).send().await.expect(401);
    // Types have no case (RFC 9110 §8.3.1), and what is null is left out.
    let given =
        json!({"content_type": "Image/JPEG", "size": 1000, "method": null, "filename": null, "sha256": null});
    assert_eq!(grant(&app, "alice", given).await.expect(201).json()["method"], "post");
}

#[tokio::test]
async fn what_nobody_uses_is_swept_out_of_ledger_and_bucket() {
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
    let before = objects(&app).await;
    let attached = app.upload("alice", jpeg(64, 48, 1)).await;
    app.create_post("alice", "public", &[&attached]).await;
    app.upload("alice", jpeg(64, 48, 2)).await;
    assert_eq!(objects(&app).await, before + 4);
    // Its deadline is over, and the sweeper comes by.
    app.alter("UPDATE images SET deadline = 1 WHERE deadline IS NOT NULL").await;
    until("the attached image's two objects are left", async || objects(&app).await == before + 2).await;
    app.get(&format!("/i/{attached}/original")).send().await.expect(200);
}

#[tokio::test]
async fn an_erased_user_leaves_nothing() {
    let app = TestApp::start();
    app.set_follows("bob", "alice", true).await;
    let before = objects(&app).await;
    let photo = jpeg(64, 48, 1);
    let image = app.upload("alice", photo.clone()).await;
    let post = app.create_post("alice", "public", &[&image]).await;
    let link = app.link("alice", &image, "width=32").await;
    let bobs = app.upload("bob", photo.clone()).await;
    let open = grant(&app, "alice", announced("post", &photo)).await.expect(201).json();
    send(&app, &open, &photo, |_| {}).await;

    app.request("DELETE", "/v1/users/alice").user("bob").await.send().await.expect(404);
    app.request("DELETE", "/v1/users/alice").send().await.expect(401);
    let receipt =
        app.request("DELETE", "/v1/users/alice").user("alice").await.send().await.expect(202).json();
    assert_eq!((receipt["originals"].as_i64(), receipt["open_uploads"].as_i64()), (Some(1), Some(1)));
    assert!(receipt["grants_until"].is_string());

    // At once: nobody sees anything, and the name is dead.
    for path in [link, format!("/i/{image}/width=32"), format!("/v1/images/{image}")] {
        app.get(&path).send().await.expect(404);
    }
    app.get(&format!("/v1/posts/{post}")).send().await.expect(404);
    let posts = app.get("/v1/posts?author=alice").send().await.expect(200).json();
    assert_eq!(posts["items"], json!([]));
    app.get("/v1/profile").user("alice").await.send().await.expect(401);
    app.create_post("bob", "public", &[&bobs]).await;
    let bobs_path = format!("/i/{bobs}/width=32");
    app.get(&bobs_path).user("alice").await.send().await.expect(401);
    let cookie = format!("pinhole_session={}", app.token("alice").await);
    app.get(&bobs_path).header("cookie", &cookie).send().await.expect(200);
    app.post("/v1/images")
        .user("alice")
        .await
        .header("content-type", "image/jpeg")
        .body(photo.clone())
        .send()
        .await
        .expect(401);
    app.get("/v1/profiles/alice").send().await.expect(404);

    // Soon: a receipt that says what was verified gone.
    let receipt = app.erased(receipt["id"].as_str().unwrap()).await;
    assert_eq!(receipt["verified_gone"], 2, "{receipt}");
    assert!(receipt["done_at"].is_string());
    let path = format!("/v1/erasures/{}", receipt["id"].as_str().unwrap());
    let own = app.get(&path).user("alice").await.send().await.expect(200).json();
    assert_eq!(own, receipt, "his token is good for this, and for nothing else");
    app.get(&path).user("bob").await.send().await.expect_problem(404, "not_found");
    app.get(&path).send().await.expect_problem(401, "unauthenticated");
    let other = format!("/v1/erasures/{}", crate::support::NEVER_THERE);
    app.get(&other).user("alice").await.send().await.expect_problem(401, "unauthenticated");
    app.get(&other).user("bob").await.send().await.expect_problem(404, "not_found");
    // Besides what was rendered of it a moment ago.
    let left = app.objects().await.into_iter().filter(|key| !key.starts_with("variants/")).count();
    assert_eq!(left, before + 2, "bob's own copy is all there is");
    app.get(&format!("/i/{bobs}/raw")).user("bob").await.send().await.expect(200);
    app.get(&format!("/v1/posts/{post}")).send().await.expect(404);

    // Asked again it is the same erasure.
    let again = app.request("DELETE", "/v1/users/alice").service().send().await.expect(202).json();
    assert_eq!(again["id"], receipt["id"]);
}

#[tokio::test]
async fn a_quota_is_held_by_every_way_in() {
    let app = TestApp::start_with(&[("PINHOLE_QUOTA__IMAGES", "2"), ("PINHOLE_QUOTA__OPEN_UPLOADS", "1")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let photo = jpeg(64, 48, 2);
    let granted = grant(&app, "alice", announced("post", &photo)).await.expect(201).json();
    grant(&app, "alice", announced("post", &photo)).await.expect_problem(429, "too_many_uploads");
    send(&app, &granted, &photo, |_| {}).await;
    complete(&app, "alice", &granted).await.expect(201);

    let third =
        app.post("/v1/images").user("alice").await.header("content-type", "image/jpeg").body(jpeg(64, 48, 3));
    third.send().await.expect_problem(403, "quota_exceeded");
    grant(&app, "alice", announced("put", &photo)).await.expect_problem(403, "quota_exceeded");
    let parts = [text("visibility", "public"), file("images", &jpeg(64, 48, 4))];
    form(&app, "POST", "/v1/posts", "alice", &parts).await.expect_problem(403, "quota_exceeded");
    app.upload("bob", photo.clone()).await;

    app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    form(&app, "POST", "/v1/posts", "alice", &parts).await.expect(201);
}

#[tokio::test]
async fn a_form_without_end_costs_no_memory() {
    let app = TestApp::start();
    app.token("alice").await;
    let before = app.peak_memory();
    // Sixty megabytes in which no part ever begins.
    let preamble = vec![b'-'; 60 << 20];
    let request = app.post("/v1/posts").user("alice").await.header("content-type", FORM).body(preamble);
    request.send().await.expect_problem(400, "invalid_form");
    let grown = app.peak_memory() - before;
    assert!(grown < 20 << 20, "{grown} bytes");
}

/// A PNG of noise, which does not compress: three bytes a pixel.
fn noise(width: u32, height: u32, mut seed: u32) -> Vec<u8> {
    let noise = image::RgbImage::from_fn(width, height, |_, _| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = seed.to_be_bytes();
        image::Rgb([a, b, c])
    });
    crate::support::encode(&noise, image::ImageFormat::Png)
}

#[tokio::test]
async fn large_files_come_in_by_a_form() {
    let app = TestApp::start();
    let large = noise(1700, 1600, 1);
    assert!(large.len() > 6 << 20);
    let parts = [text("visibility", "public"), file("images", &large), file("images", &large)];
    let post = form(&app, "POST", "/v1/posts", "alice", &parts).await.expect(201).json();
    let path = format!("/i/{}/raw", post["images"][1]["id"].as_str().unwrap());
    assert_eq!(app.get(&path).user("alice").await.send().await.expect(200).body, large);
}

/// `PINHOLE_TEST_UPLOADS` says how many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_uploads_at_once_cost_bounded_memory() {
    let uploads = std::env::var_os("PINHOLE_TEST_UPLOADS");
    let uploads: u32 = uploads.map_or(8, |uploads| uploads.to_str().unwrap().parse().unwrap());
    // Each is another picture, so that none is stored already.
    let pictures: Vec<Vec<u8>> = (0..uploads).map(|seed| noise(2650, 2650, seed)).collect();
    assert!(pictures.iter().all(|picture| picture.len() > 20 << 20));
    // What the program holds is to be measured, and not what glibc keeps back for each of its threads.
    let app = TestApp::start_with(&[("MALLOC_ARENA_MAX", "1")]);
    let posts = pictures.into_iter().map(|picture| {
        let app = &app;
        async move {
            let parts = [text("visibility", "public"), file("images", &picture)];
            let post = app.post("/v1/posts").user("alice").await.header("content-type", FORM);
            post.body(form_of(&parts)).patience(10 * PATIENCE).send().await.status.as_u16()
        }
    });
    let statuses = futures_util::future::join_all(posts).await;
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    let peak = app.peak_memory() >> 20;
    println!("{uploads} uploads of 20 MiB at once, peak memory {peak} MiB");
    // What the work on two of them takes, and less than half of each file.
    assert!(peak < 200 + 8 * u64::from(uploads), "{peak} MiB");
}

#[tokio::test]
async fn one_upload_completed_by_many_at_once_is_one_image() {
    let app = TestApp::start();
    for seed in 1..6 {
        let photo = jpeg(320, 240, seed);
        let granted = grant(&app, "alice", announced("post", &photo)).await.expect(201).json();
        send(&app, &granted, &photo, |_| {}).await;
        let all = futures_util::future::join_all((0..4).map(|_| complete(&app, "alice", &granted))).await;
        let statuses: Vec<u16> = all.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 201].contains(status)), "{statuses:?}");
    }
}
