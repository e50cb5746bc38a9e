//! Resumable uploads by the tus protocol: cut, killed, raced, refused, given up, and completed once.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{NEVER_THERE, Reply, TestApp, TestRequest, encode, jpeg, until};

const BODY: &str = "application/offset+octet-stream";
const MIB: usize = 1 << 20;

/// A request of the protocol's version.
async fn tus<'a>(app: &'a TestApp, method: &str, path: &str, user: &str) -> TestRequest<'a> {
    app.request(method, path).header("tus-resumable", "1.0.0").user(user).await
}

/// Begins an upload of so many bytes; its path.
async fn create(app: &TestApp, user: &str, bytes: usize) -> String {
    let created = tus(app, "POST", "/v1/tus", user).await.header("upload-length", &bytes.to_string());
    created.send().await.expect(201).header("location").to_owned()
}

/// Sends the bytes that follow `offset`.
async fn patch(app: &TestApp, path: &str, offset: usize, bytes: &[u8]) -> Reply {
    patch_with(app, path, offset, bytes, &[]).await
}

async fn patch_with(
    app: &TestApp,
    path: &str,
    offset: usize,
    bytes: &[u8],
    headers: &[(&str, &str)],
) -> Reply {
    let request = tus(app, "PATCH", path, "alice").await.header("content-type", BODY);
    let request = request.header("upload-offset", &offset.to_string()).body(bytes.to_vec());
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
}

async fn head(app: &TestApp, path: &str) -> Reply {
    tus(app, "HEAD", path, "alice").await.send().await
}

/// How far an upload has come.
async fn offset(app: &TestApp, path: &str) -> usize {
    head(app, path).await.expect(200).header("upload-offset").parse().unwrap()
}

fn image_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// Insists that an upload has become an image of exactly these bytes.
async fn assert_is_image(app: &TestApp, path: &str, bytes: &[u8]) {
    let raw = app.get(&format!("/i/{}/raw", image_of(path))).user("alice").await.send().await.expect(200);
    assert!(raw.body == bytes, "other bytes than were uploaded");
}

/// A picture that does not compress, as a PNG file of some megabytes.
pub fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut seed = 1_u32;
    let noise = image::RgbImage::from_fn(width, height, |_, _| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = seed.to_be_bytes();
        image::Rgb([a, b, c])
    });
    encode(&noise, image::ImageFormat::Png)
}

/// How many objects the bucket holds, whatever they are.
async fn objects(app: &TestApp) -> usize {
    app.objects().await.len()
}

/// Lets every deadline of an unfinished upload pass.
const TIME_PASSES: &str = "
    UPDATE images SET deadline = 1 WHERE state IN ('reserved', 'uploaded');
    UPDATE upload_chunks SET deadline = 1 WHERE state = 'writing';
    UPDATE uploads SET granted_until = 1;";
const CHUNKS: &str = "SELECT COUNT(*) FROM upload_chunks";

#[tokio::test]
async fn anybody_may_ask_what_is_spoken() {
    let app = TestApp::start();
    for path in ["/v1/tus", &format!("/v1/tus/{NEVER_THERE}")] {
        for version in ["1.0.0", "0.2.2"] {
            let options = app.request("OPTIONS", path).header("tus-resumable", version);
            let options = options.send().await.expect(204);
            assert_eq!(options.header("tus-resumable"), "1.0.0");
            assert_eq!(options.header("tus-version"), "1.0.0");
            assert_eq!(options.header("tus-extension"), "creation,expiration,checksum,termination");
            assert_eq!(options.header("tus-max-size"), "26214400");
            assert_eq!(options.header("tus-checksum-algorithm"), "sha1,sha256");
        }
    }
}

#[tokio::test]
async fn pieces_become_an_image_with_the_last_of_them() {
    let app = TestApp::start();
    let before = objects(&app).await;
    let photo = jpeg(320, 240, 1);
    // The type is a hint that nobody believes.
    let metadata = format!("filename {},filetype {}", STANDARD.encode("ä.jpg"), STANDARD.encode("image/gif"));
    let created = tus(&app, "POST", "/v1/tus", "alice").await.header("upload-metadata", &metadata);
    let created = created.header("upload-length", &photo.len().to_string()).send().await.expect(201);
    let path = created.header("location").to_owned();
    assert!(path.starts_with("/v1/tus/"), "{path}");
    assert!(created.header("upload-expires").ends_with(" GMT"));

    let (mut at, total) = (0, photo.len().to_string());
    for piece in photo.chunks(photo.len().div_ceil(3)) {
        let found = head(&app, &path).await.expect(200);
        assert_eq!(found.header("upload-offset"), at.to_string());
        assert_eq!(found.header("upload-length"), total);
        assert_eq!(found.header("upload-metadata"), metadata);
        assert_eq!(found.header("cache-control"), "no-store");
        assert_eq!(found.header("tus-resumable"), "1.0.0");
        assert_eq!(found.header("link"), "");
        let image = format!("/v1/images/{}", image_of(&path));
        app.get(&image).user("alice").await.send().await.expect(404);
        let sent = patch(&app, &path, at, piece).await.expect(204);
        at += piece.len();
        assert_eq!(sent.header("upload-offset"), at.to_string());
        assert_eq!(sent.header("upload-expires").is_empty(), at == photo.len(), "said until it is done");
    }
    let link = format!("</v1/images/{}>; rel=\"related\"", image_of(&path));
    // Repetition changes nothing.
    for _ in 0..2 {
        let found = head(&app, &path).await.expect(200);
        assert_eq!((found.header("upload-offset"), found.header("link")), (&*total, &*link));
        let again = patch(&app, &path, photo.len(), b"").await.expect(204);
        assert_eq!((again.header("upload-offset"), again.header("link")), (&*total, &*link));
        let complete = format!("/v1/uploads/{}/complete", image_of(&path));
        let image = app.post(&complete).user("alice").await.send().await.expect(200).json();
        assert_eq!((&image["filename"], &image["content_type"]), (&json!("ä.jpg"), &json!("image/jpeg")));
    }
    assert_is_image(&app, &path, &photo).await;
    assert_eq!(objects(&app).await, before + 2, "the published ones alone");
    assert_eq!(app.number(CHUNKS).await, 0);
    // A finished upload is over; its image is deleted as any other.
    tus(&app, "DELETE", &path, "alice").await.send().await.expect_problem(404, "not_found");
    patch(&app, &path, 0, &photo).await.expect_problem(409, "offset_mismatch");
    assert_is_image(&app, &path, &photo).await;
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused_by_name() {
    let app = TestApp::start();
    let path = create(&app, "alice", 1000).await;
    let token = format!("Bearer {}", app.token("alice").await);
    let long = format!("x {}", "A".repeat(5000));
    let all = [("tus-resumable", "1.0.0"), ("authorization", &token)];
    let to_create = [("upload-length", "1000")];
    let to_patch = [("upload-offset", "0"), ("content-type", BODY)];
    for (method, path, base, change, status, code, named) in [
        ("POST", "/v1/tus", &to_create[..], ("tus-resumable", ""), 412, "tus_version", "Tus-Resumable"),
        ("POST", "/v1/tus", &to_create, ("tus-resumable", "0.2.2"), 412, "tus_version", "Tus-Resumable"),
        ("HEAD", &path, &[], ("tus-resumable", "2.0.0"), 412, "", ""),
        ("PATCH", &path, &to_patch, ("tus-resumable", ""), 412, "tus_version", "Tus-Resumable"),
        ("DELETE", &path, &[], ("tus-resumable", ""), 412, "tus_version", "Tus-Resumable"),
        ("POST", "/v1/tus", &to_create, ("authorization", ""), 401, "unauthenticated", ""),
        ("POST", "/v1/tus", &to_create, ("upload-length", ""), 400, "invalid_field", "Upload-Length"),
        ("POST", "/v1/tus", &to_create, ("upload-length", "0"), 400, "invalid_field", "Upload-Length"),
        ("POST", "/v1/tus", &to_create, ("upload-length", "-1"), 400, "invalid_field", "Upload-Length"),
        ("POST", "/v1/tus", &to_create, ("upload-length", "26214401"), 413, "too_large", "26214400"),
        ("POST", "/v1/tus", &[], ("upload-defer-length", "1"), 400, "invalid_field", "Upload-Defer-Length"),
        ("POST", "/v1/tus", &to_create, ("upload-concat", "partial"), 400, "invalid_field", "Upload-Concat"),
        ("POST", "/v1/tus", &to_create, ("content-type", BODY), 400, "invalid_field", "Content-Type"),
        ("POST", "/v1/tus", &to_create, ("upload-metadata", "a,a"), 400, "invalid_field", "Upload-Metadata"),
        ("POST", "/v1/tus", &to_create, ("upload-metadata", "a !"), 400, "invalid_field", "Upload-Metadata"),
        ("POST", "/v1/tus", &to_create, ("upload-metadata", &long), 400, "invalid_field", "Upload-Metadata"),
        ("PATCH", &path, &to_patch, ("content-type", ""), 415, "unsupported_type", BODY),
        ("PATCH", &path, &to_patch, ("content-type", "image/jpeg"), 415, "unsupported_type", BODY),
        ("PATCH", &path, &to_patch, ("upload-offset", ""), 400, "invalid_field", "Upload-Offset"),
        ("PATCH", &path, &to_patch, ("upload-offset", "+0"), 400, "invalid_field", "Upload-Offset"),
        ("PATCH", &path, &to_patch, ("upload-offset", "1"), 409, "offset_mismatch", ""),
        ("PATCH", &path, &to_patch, ("upload-checksum", "md5 AA=="), 400, "invalid_field", "Upload-Checksum"),
        (
            "PATCH",
            &path,
            &to_patch,
            ("upload-checksum", "sha1 AA=="),
            400,
            "invalid_field",
            "Upload-Checksum",
        ),
        ("PUT", &path, &[], ("x-any", ""), 405, "method_not_allowed", "PATCH"),
        ("GET", "/v1/tus", &[], ("x-any", ""), 405, "method_not_allowed", "POST"),
        ("HEAD", "/v1/tus/x", &[], ("x-any", ""), 404, "", ""),
        ("POST", "/v1/tus/x/y", &[], ("x-any", ""), 404, "not_found", ""),
    ] {
        let what = format!("{method} {change:?}");
        // An empty value leaves the header out.
        let kept = all.iter().chain(base).filter(|(name, _)| *name != change.0);
        let headers = kept.chain(Some(&change).filter(|(_, value)| !value.is_empty()));
        let request = headers.fold(app.request(method, path), |r, (name, value)| r.header(name, value));
        let reply = request.send().await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        assert_eq!(reply.header("tus-resumable"), "1.0.0", "{what}");
        assert_eq!(reply.header("tus-version"), if status == 412 { "1.0.0" } else { "" }, "{what}");
        assert_eq!(reply.header("cache-control"), "no-store", "{what}");
        if method != "HEAD" {
            let problem = reply.expect_problem(status, code).json();
            assert!(problem["detail"].as_str().unwrap().contains(named), "{what}: {problem}");
        }
    }
    // More than was announced is refused, whether it is said beforehand or not, and never completes.
    patch(&app, &path, 0, &[0; 1001]).await.expect_problem(400, "too_long");
    let chunked = format!(
        "PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: 0\r\nContent-Type: {BODY}\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{:01000}\r\n\
         1\r\n0\r\n0\r\n\r\n",
        0
    );
    app.send_raw([chunked]).await.expect_problem(400, "too_long");
    assert_eq!(offset(&app, &path).await, 0, "nothing of it counts");
    // Only a path of tus has methods in headers.
    let elsewhere = app.post("/v1/uploads").user("alice").await.header("x-http-method-override", "DELETE");
    elsewhere.json(&json!({"content_type": "image/png", "size": 1})).send().await.expect(201);
}

#[tokio::test]
async fn an_upload_is_not_there_for_anybody_else() {
    let app = TestApp::start();
    let before = objects(&app).await;
    let photo = jpeg(64, 48, 1);
    let path = create(&app, "alice", photo.len()).await;
    patch(&app, &path, 0, &photo[..100]).await.expect(204);
    let presigned = json!({"content_type": "image/jpeg", "size": 100});
    let presigned =
        app.post("/v1/uploads").user("bob").await.json(&presigned).send().await.expect(201).json();
    let presigned = format!("/v1/tus/{}", presigned["image_id"].as_str().unwrap());
    let nothing = format!("/v1/tus/{NEVER_THERE}");
    for method in ["HEAD", "PATCH", "DELETE"] {
        let mut answers = Vec::new();
        for path in [&path, &nothing, &presigned, "/v1/tus/x"] {
            let request = tus(&app, method, path, "bob").await.header("content-type", BODY);
            let reply = request.header("upload-offset", "100").send().await.expect(404);
            let mut headers = reply.headers.clone();
            headers.remove("date");
            headers.remove("x-request-id");
            answers.push((headers, reply.body));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{method}: {answers:?}");
        app.request(method, &path).header("tus-resumable", "1.0.0").send().await.expect(401);
    }
    assert_eq!(offset(&app, &path).await, 100);

    // The app's backend speaks for him.
    let service = |method| {
        app.request(method, &path).header("tus-resumable", "1.0.0").service().header("on-behalf-of", "alice")
    };
    assert_eq!(service("HEAD").send().await.expect(200).header("upload-offset"), "100");
    // And so may a client who can send neither PATCH nor DELETE, nor even HEAD.
    let rest = service("POST").header("x-http-method-override", "PATCH").header("upload-offset", "100");
    let rest = rest.header("content-type", BODY).body(photo[100..200].to_vec()).send().await.expect(204);
    assert_eq!(rest.header("upload-offset"), "200");
    let found = service("POST").header("x-http-method-override", "HEAD").send().await.expect(200);
    assert_eq!(found.header("upload-offset"), "200");
    assert_eq!(objects(&app).await, before + 2);
    service("GET").header("x-http-method-override", "DELETE").send().await.expect(204);
    assert_eq!(objects(&app).await, before, "what had come is removed");
    head(&app, &path).await.expect(404);
}

#[tokio::test]
async fn a_body_counts_only_with_its_checksum() {
    let app = TestApp::start();
    // Longer than what goes to the bucket at once.
    let photo = noise(1500, 1200);
    assert!(photo.len() > 5 * MIB);
    let path = create(&app, "alice", photo.len()).await;
    let sha256 = |bytes: &[u8]| format!("sha256 {}", STANDARD.encode(Sha256::digest(bytes)));
    let first = &photo[..1000];
    for wrong in [sha256(b"other"), "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".to_owned()] {
        let refused = patch_with(&app, &path, 0, first, &[("upload-checksum", &wrong)]).await;
        refused.expect_problem(460, "checksum_mismatch");
        assert_eq!(offset(&app, &path).await, 0);
    }
    patch_with(&app, &path, 0, first, &[("upload-checksum", &sha256(first))]).await.expect(204);
    // Of a body that breaks off nothing counts, since nobody can tell whether it was right.
    let rest = &photo[1000..];
    let mut cut = begin_patch(&app, &path, 1000, rest.len(), &[("Upload-Checksum", &sha256(rest))]).await;
    cut.write_all(&rest[..5 * MIB]).await.unwrap();
    drop(cut);
    let wrong = [("upload-checksum", &*sha256(b"other"))];
    patch_with(&app, &path, 1000, rest, &wrong).await.expect_problem(460, "checksum_mismatch");
    assert_eq!((offset(&app, &path).await, app.number(CHUNKS).await), (1000, 1));
    patch_with(&app, &path, 1000, rest, &[("upload-checksum", &sha256(rest))]).await.expect(204);
    assert_is_image(&app, &path, &photo).await;
}

/// Opens a connection and sends the head of a PATCH.
async fn begin_patch(
    app: &TestApp,
    path: &str,
    offset: usize,
    length: usize,
    more: &[(&str, &str)],
) -> TcpStream {
    let more: String = more.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: {offset}\r\nContent-Type: {BODY}\r\nContent-Length: {length}\r\n{more}\r\n",
        app.token("alice").await
    );
    let mut stream = TcpStream::connect(&app.url["http://".len()..]).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn what_came_before_a_cut_is_kept() {
    let app = TestApp::start();
    let photo = noise(1500, 1200);
    let path = create(&app, "alice", photo.len()).await;
    let mut at = 0;
    // Within a chunk, and beyond one.
    for piece in [1, 100_000, 4 * MIB + 1] {
        let mut cut = begin_patch(&app, &path, at, photo.len() - at, &[]).await;
        cut.write_all(&photo[at..at + piece]).await.unwrap();
        drop(cut);
        at += piece;
        until("every byte that was sent is kept", async || offset(&app, &path).await == at).await;
    }
    patch(&app, &path, at, &photo[at..]).await.expect(204);
    assert_is_image(&app, &path, &photo).await;
}

#[tokio::test]
async fn acknowledged_bytes_survive_being_killed_and_others_leave_nothing() {
    let mut app = TestApp::start();
    let before = objects(&app).await;
    let photo = noise(1500, 1200);
    let path = create(&app, "alice", photo.len()).await;
    let abandoned = create(&app, "alice", photo.len()).await;
    let (mut at, piece) = (0, photo.len() / 6);
    for round in 0..5 {
        patch(&app, &path, at, &photo[at..at + piece]).await.expect(204);
        at += piece;
        // Killed while other bytes are under way, at another moment in every round.
        let came = offset(&app, &abandoned).await;
        let mut under_way = begin_patch(&app, &abandoned, came, photo.len() - came, &[]).await;
        under_way.write_all(&photo[..photo.len() - MIB]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        app = app.restart_with(&[("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
        assert_eq!(offset(&app, &path).await, at);
        assert!(offset(&app, &abandoned).await >= came);
    }
    patch(&app, &path, at, &photo[at..]).await.expect(204);
    assert_is_image(&app, &path, &photo).await;
    app.alter(TIME_PASSES).await;
    until("the sweeper removes the rest", async || app.number(CHUNKS).await == 0).await;
    assert_eq!(objects(&app).await, before + 3, "the image's alone: raw, original and one master");
    head(&app, &abandoned).await.expect(404);
}

#[tokio::test]
async fn of_two_writers_at_one_offset_one_wins() {
    let app = TestApp::start();
    let before = objects(&app).await;
    // Different pictures of one length.
    let photos: Vec<Vec<u8>> = (1..5).map(|seed| [jpeg(320, 240, seed), vec![0; 9000]].concat()).collect();
    let photos: Vec<&[u8]> = photos.iter().map(|photo| &photo[..9000]).collect();
    for round in 1..6 {
        let path = create(&app, "alice", 9000).await;
        let sent = photos.iter().map(|photo| patch(&app, &path, 0, &photo[..5000]));
        let answers = futures_util::future::join_all(sent).await;
        let won: Vec<usize> = (0..answers.len()).filter(|i| answers[*i].status == 204).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        for (i, answer) in answers.into_iter().enumerate() {
            if i != won[0] {
                answer.expect_problem(409, "offset_mismatch");
            }
        }
        assert_eq!(app.number(CHUNKS).await, 1, "what the others wrote is removed");
        patch(&app, &path, 5000, &photos[won[0]][5000..]).await.expect(204);
        assert_is_image(&app, &path, photos[won[0]]).await;
        assert!(objects(&app).await <= before + 2 * round);
    }
}

#[tokio::test]
async fn bytes_that_are_no_image_are_refused_for_good() {
    let app = TestApp::start();
    let before = objects(&app).await;
    let html = b"<!doctype html><script>alert(1)</script>".to_vec();
    let cut = jpeg(64, 48, 1)[..300].to_vec();
    // A kind of its own, since elsewhere it is told what to do instead.
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
    for bytes in [html, cut, heic] {
        let metadata = format!("filename {},filetype aW1hZ2UvanBlZw==", STANDARD.encode("a.jpg"));
        let created = tus(&app, "POST", "/v1/tus", "alice").await.header("upload-metadata", &metadata);
        let created = created.header("upload-length", &bytes.len().to_string()).send().await.expect(201);
        let path = created.header("location").to_owned();
        patch(&app, &path, 0, &bytes[..10]).await.expect(204);
        patch(&app, &path, 10, &bytes[10..]).await.expect_problem(422, "image_invalid");
        assert_eq!((objects(&app).await, app.number(CHUNKS).await), (before, 0), "nothing is left");
        // Said again whenever he asks.
        patch(&app, &path, bytes.len(), b"").await.expect_problem(422, "upload_rejected");
        head(&app, &path).await.expect(422);
        let complete = format!("/v1/uploads/{}/complete", image_of(&path));
        app.post(&complete).user("alice").await.send().await.expect_problem(422, "upload_rejected");
        let image = format!("/i/{}/original", image_of(&path));
        app.get(&image).user("alice").await.send().await.expect(404);
    }
}

#[tokio::test]
async fn an_upload_that_could_not_be_completed_is_completed_by_asking() {
    let quota = [("PINHOLE_QUOTA__IMAGES", "1"), ("PINHOLE_UPLOAD__SWEEP_SECS", "1")];
    let mut app = TestApp::start_with(&quota);
    for (seed, way) in (2..).zip(["HEAD", "PATCH", "complete"]) {
        let photo = jpeg(64, 48, seed);
        let path = create(&app, "alice", photo.len()).await;
        let in_the_way = app.upload("alice", jpeg(64, 48, 1)).await;
        // What has no room is not begun, and what was is not finished.
        let another = tus(&app, "POST", "/v1/tus", "alice").await.header("upload-length", "1");
        another.send().await.expect_problem(403, "quota_exceeded");
        // All bytes have come, and the image is one too many.
        patch(&app, &path, 0, &photo).await.expect_problem(403, "quota_exceeded");
        head(&app, &path).await.expect(403);
        // Its chunk stays, and that of it which was published in vain does not.
        let kept = app.number("SELECT COUNT(*) FROM blobs WHERE deadline IS NULL").await;
        until("only the chunk is left", async || app.number("SELECT COUNT(*) FROM blobs").await == kept)
            .await;
        assert_eq!(objects(&app).await, 2 * usize::try_from(kept).unwrap() + 1, "{way}");
        app = app.restart_with(&quota);
        let delete = format!("/v1/images/{in_the_way}");
        app.request("DELETE", &delete).user("alice").await.send().await.expect(204);
        match way {
            "HEAD" => assert_eq!(offset(&app, &path).await, photo.len()),
            "PATCH" => _ = patch(&app, &path, photo.len(), b"").await.expect(204),
            _ => {
                let complete = format!("/v1/uploads/{}/complete", image_of(&path));
                app.post(&complete).user("alice").await.send().await.expect(201);
            }
        }
        assert_is_image(&app, &path, &photo).await;
        assert_eq!(app.number(CHUNKS).await, 0, "{way}");
        let delete = format!("/v1/images/{}", image_of(&path));
        app.request("DELETE", &delete).user("alice").await.send().await.expect(204);
    }
    // What has not come whole cannot be.
    let path = create(&app, "alice", 100).await;
    let complete = format!("/v1/uploads/{}/complete", image_of(&path));
    app.post(&complete).user("alice").await.send().await.expect_problem(409, "upload_missing");
}

#[tokio::test]
async fn an_abandoned_upload_ends_at_its_deadline_and_progress_puts_it_off() {
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
    let before = objects(&app).await;
    let path = create(&app, "alice", 1000).await;
    let expires = head(&app, &path).await.header("upload-expires").to_owned();
    app.alter("UPDATE images SET deadline = deadline - 1800000000").await;
    assert_ne!(head(&app, &path).await.header("upload-expires"), expires);
    // Nothing sent is no progress.
    patch(&app, &path, 0, b"").await.expect(204);
    let half_way = head(&app, &path).await.header("upload-expires").to_owned();
    let sent = patch(&app, &path, 0, &[0; 500]).await.expect(204);
    let put_off = sent.header("upload-expires").to_owned();
    assert_ne!(put_off, half_way);
    // When it is whole it is remembered for as long again, however long it took.
    let remembered =
        "SELECT COUNT(*) FROM uploads u JOIN images i ON i.id = u.image_id WHERE granted_until = deadline";
    assert_eq!(app.number(remembered).await, 1);
    assert_eq!(head(&app, &path).await.header("upload-expires"), put_off);
    assert_eq!(objects(&app).await, before + 1);

    app.alter(TIME_PASSES).await;
    head(&app, &path).await.expect(404);
    patch(&app, &path, 500, &[0; 100]).await.expect_problem(404, "not_found");
    until("the sweeper forgets it", async || app.number("SELECT COUNT(*) FROM uploads").await == 0).await;
    assert_eq!((objects(&app).await, app.number(CHUNKS).await), (before, 0));
    head(&app, &path).await.expect(404);
}

#[tokio::test]
async fn open_uploads_are_counted_and_either_door_gives_them_up() {
    let app = TestApp::start_with(&[("PINHOLE_QUOTA__OPEN_UPLOADS", "1")]);
    let before = objects(&app).await;
    for door in ["/v1/tus", "/v1/uploads"] {
        let path = create(&app, "alice", 1000).await;
        patch(&app, &path, 0, &[0; 500]).await.expect(204);
        let another = tus(&app, "POST", "/v1/tus", "alice").await.header("upload-length", "9");
        another.send().await.expect_problem(429, "too_many_uploads");
        let door = format!("{door}/{}", image_of(&path));
        tus(&app, "DELETE", &door, "alice").await.send().await.expect(204);
        assert_eq!((objects(&app).await, app.number(CHUNKS).await), (before, 0), "{door}");
        tus(&app, "DELETE", &door, "alice").await.send().await.expect_problem(404, "not_found");
        patch(&app, &path, 500, &[0; 10]).await.expect_problem(404, "not_found");
        head(&app, &path).await.expect(404);
    }
}

#[tokio::test]
async fn a_creation_is_done_once_under_its_key() {
    let app = TestApp::start();
    let create = async |length: &str, metadata: &str| {
        let created = tus(&app, "POST", "/v1/tus", "alice").await.header("idempotency-key", "one");
        created.header("upload-length", length).header("upload-metadata", metadata).send().await
    };
    let first = create("100", "filename YQ==").await.expect(201);
    let again = create("100", "filename YQ==").await.expect(201);
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!((again.header("tus-resumable"), again.header("idempotency-replayed")), ("1.0.0", "true"));
    // What is asked stands in headers.
    for (length, metadata) in [("101", "filename YQ=="), ("100", "filename Yg==")] {
        create(length, metadata).await.expect_problem(422, "idempotency_key_reused");
    }
    assert_eq!(app.number("SELECT COUNT(*) FROM uploads").await, 1);
}

#[tokio::test]
async fn an_upload_of_too_many_pieces_is_refused() {
    let app = TestApp::start();
    let path = create(&app, "alice", 2000).await;
    patch(&app, &path, 0, &[0]).await.expect(204);
    app.alter(
        "WITH RECURSIVE pieces (n) AS (SELECT 1001 UNION ALL SELECT n + 1 FROM pieces WHERE n < 2000)
         INSERT INTO upload_chunks
         SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' || n, image_id, 1, 1, 'writing', 9000000000000000
         FROM uploads CROSS JOIN pieces",
    )
    .await;
    patch(&app, &path, 1, &[0]).await.expect_problem(400, "too_many_chunks");
    assert_eq!(offset(&app, &path).await, 1);
}

#[tokio::test]
async fn an_erased_users_upload_is_gone() {
    let app = TestApp::start();
    let before = objects(&app).await;
    let created = tus(&app, "POST", "/v1/tus", "alice").await.header("upload-metadata", "filename YQ==");
    let created = created.header("upload-length", "9000000").send().await.expect(201);
    let path = created.header("location").to_owned();
    patch(&app, &path, 0, &[0; 500]).await.expect(204);
    // One that is under way has put a chunk there already, and goes on.
    let mut under_way = begin_patch(&app, &path, 500, 5 * MIB, &[]).await;
    under_way.write_all(&vec![0; 4 * MIB + 1]).await.unwrap();
    until("a chunk has landed", async || offset(&app, &path).await > 500).await;

    let receipt =
        app.request("DELETE", "/v1/users/alice").user("alice").await.send().await.expect(202).json();
    assert_eq!(receipt["open_uploads"], 1);
    assert_eq!(receipt["grants_until"], json!(null), "no client may write into the bucket");
    patch(&app, &path, 500, &[0; 500]).await.expect_problem(401, "unauthenticated");
    under_way.write_all(&vec![0; MIB - 1]).await.unwrap();
    Reply::read(&mut under_way).await.expect_problem(401, "unauthenticated");
    let path = format!("/v1/erasures/{}", receipt["id"].as_str().unwrap());
    until("it is done", async || {
        let receipt = app.get(&path).service().send().await.expect(200).json();
        receipt["state"] == "done" && receipt["verified_gone"].as_i64() >= Some(2)
    })
    .await;
    assert_eq!((objects(&app).await, app.number(CHUNKS).await), (before, 0));
    assert_eq!(app.number("SELECT COUNT(metadata) FROM uploads").await, 0);
}

#[tokio::test]
async fn many_slow_uploads_cost_little_memory() {
    const UPLOADS: usize = 64;
    // As much as goes to the bucket at once, all but a byte.
    const EACH: usize = 4 * MIB - 1;
    let app = TestApp::start();
    let mut paths = Vec::new();
    for _ in 0..UPLOADS {
        paths.push(create(&app, "alice", 4 * MIB).await);
    }
    let before = app.peak_memory();
    let mut open = Vec::new();
    let bytes = vec![0; EACH];
    for path in &paths {
        let mut slow = begin_patch(&app, path, 0, 4 * MIB, &[]).await;
        slow.write_all(&bytes).await.unwrap();
        open.push(slow);
    }
    // All at once they break off, and what came is brought to the bucket.
    drop(open);
    for path in &paths {
        until("all of it is kept", async || offset(&app, path).await == EACH).await;
    }
    let grown = app.peak_memory() - before;
    println!("{UPLOADS} uploads of {EACH} bytes: {} KiB more in use", grown / 1024);
    assert!(grown < (UPLOADS * EACH / 2) as u64, "{} KiB more in use", grown / 1024);
}
