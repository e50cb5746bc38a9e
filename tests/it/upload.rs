//! The way in: what is taken, what is refused and how, and what is never given out again.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{GenericImageView as _, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    files::{self, FORMATS, TURNABLE, file},
    support::{Reply, TestApp, jpeg, picture, png},
};

/// Bytes of a mebibyte.
const MIB: usize = 1 << 20;

/// The header lines of the part that an upload has.
const FILE_PART: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"";

async fn upload_as(app: &TestApp, content_type: &str, bytes: impl Into<bytes::Bytes>) -> Reply {
    let upload = app.post("/v1/images").user("alice").await;
    upload.header("content-type", content_type).body(bytes).send().await
}

async fn upload_raw(app: &TestApp, bytes: impl Into<bytes::Bytes>) -> Reply {
    upload_as(app, "image/jpeg", bytes).await
}

async fn count_images(app: &TestApp, user: &str) -> usize {
    let list = app.get("/v1/images").user(user).await.send().await.expect(200);
    list.json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_bytes_decide_what_an_upload_is() {
    let app = TestApp::start();
    for format in FORMATS {
        let bytes = file(format, &picture(64, 48, 1));
        let truth = format!("image/{format}");
        for declared in ["image/jpeg", "image/png", "image/svg+xml", "IMAGE/WEBP; x=y"] {
            let raw = upload_as(&app, declared, bytes.clone()).await.expect(201);
            assert_eq!(raw.json()["content_type"], truth, "{format} as {declared}");

            let headers = format!("{FILE_PART}\r\nContent-Type: {declared}");
            let form = app.upload_form("alice", &[(&headers, &bytes)]).await.expect(201);
            assert_eq!(form.json()["content_type"], truth, "{format} in a form as {declared}");
        }
        let untyped =
            app.upload_form("alice", &[("Content-Disposition: form-data; name=file", &bytes)]).await;
        assert_eq!(untyped.expect(201).json()["content_type"], truth);
    }
}

#[tokio::test]
async fn what_is_no_picture_is_refused_as_unsupported() {
    let app = TestApp::start();
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
    for bytes in ["", "just text", "<!doctype html><script>1</script>", svg, "GIF88a\x01\0\x01\0", "RIFF"] {
        for declared in ["image/jpeg", "image/png", "image/webp", "image/gif"] {
            upload_as(&app, declared, bytes).await.expect_problem(415, "unsupported_type");
        }
        let form = app.upload_form("alice", &[(FILE_PART, bytes.as_bytes())]).await;
        form.expect_problem(415, "unsupported_type");
    }
    assert_eq!(count_images(&app, "alice").await, 0);
}

#[tokio::test]
async fn a_heic_photo_is_told_what_to_do() {
    let app = TestApp::start();
    let heic = [&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], &[0; 200]].concat();
    let reply = upload_as(&app, "image/heic", heic).await.expect_problem(415, "unsupported_type");
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("export it as JPEG") && detail.contains("Most Compatible"), "{detail}");
}

#[tokio::test]
async fn a_body_must_be_declared_an_image_or_a_form() {
    let app = TestApp::start();
    for declared in ["application/octet-stream", "text/plain", "application/json", "imagejpeg", "multipart/x"]
    {
        let reply = upload_as(&app, declared, jpeg(8, 8, 1)).await.expect_problem(415, "unsupported_type");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("multipart/form-data") && detail.contains("image/*"), "{detail}");
    }
    let undeclared = app.post("/v1/images").user("alice").await.body(jpeg(8, 8, 1)).send().await;
    undeclared.expect_problem(415, "unsupported_type");
    assert_eq!(count_images(&app, "alice").await, 0);
}

#[tokio::test]
async fn a_file_cut_short_is_refused() {
    let app = TestApp::start();
    for (format, magic_len) in [("jpeg", 3), ("png", 8), ("webp", 12), ("gif", 6)] {
        let whole = file(format, &picture(64, 48, 1));
        let lengths = [magic_len, 20, 33, whole.len() / 2, whole.len() * 9 / 10, whole.len() - 3];
        // Without its last marker, a JPEG still has all of its picture.
        let last = if format == "jpeg" { 0..0 } else { whole.len() - 2..whole.len() };
        for length in lengths.into_iter().chain(last) {
            let cut = whole[..length].to_vec();
            let reply = upload_raw(&app, cut.clone()).await;
            assert_eq!(reply.status, 422, "{format} cut to {length} of {}", whole.len());
            reply.expect_problem(422, "image_invalid");
            app.upload_form("alice", &[(FILE_PART, &cut)]).await.expect_problem(422, "image_invalid");
        }
        upload_raw(&app, whole).await.expect(201);
    }
}

#[tokio::test]
async fn a_file_that_lies_is_refused() {
    let app = TestApp::start();
    let mut bad_checksum = png(64, 48, 1);
    bad_checksum[30] ^= 1;
    let mut bad_pixels = png(64, 48, 1);
    let end = bad_pixels.len() - 40;
    bad_pixels[end] ^= 0x55;
    let no_pixels = [&png(64, 48, 1)[..33], &files::png_chunk(*b"IEND", b"")].concat();
    for (what, bytes) in [
        ("a PNG that claims to be taller", files::png_claiming(64, 4800)),
        ("a PNG that claims to be wider", files::png_claiming(6400, 48)),
        ("a PNG that claims no size", files::png_claiming(0, 48)),
        ("a PNG with a wrong checksum", bad_checksum),
        ("a PNG with broken pixels", bad_pixels),
        ("a PNG without pixels", no_pixels),
        ("a JPEG of garbage", [&b"\xFF\xD8\xFF\xE0"[..], &[0x5A; 4096]].concat()),
        ("a JPEG that claims no size", files::jpeg_claiming(0, 48)),
        ("a JPEG of nothing", b"\xFF\xD8\xFF\xD9".to_vec()),
        ("a WebP that claims to be larger", files::webp_claiming(640, 480)),
        ("a WebP of garbage", [&b"RIFF\xF8\x0F\0\0WEBP"[..], &[0x5A; 4084]].concat()),
        ("a PNG with a JPEG's beginning", [&b"\xFF\xD8\xFF"[..], &png(64, 48, 1)].concat()),
    ] {
        let reply = upload_raw(&app, bytes).await;
        assert_eq!(reply.status, 422, "{what}: {}", reply.text());
        reply.expect_problem(422, "image_invalid");
    }
    assert_eq!(count_images(&app, "alice").await, 0);
}

/// A head for an upload by alice over a connection of its own.
async fn head(app: &TestApp, rest: &str) -> String {
    let token = app.token("alice").await;
    format!("POST /v1/images HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{rest}\r\n\r\n")
}

/// `body` as one request with a known length, sent whole before the answer is read.
async fn send_with_length(app: &TestApp, content_type: &str, body: &[u8]) -> Reply {
    let rest = format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len());
    app.send_raw([head(app, &rest).await.as_bytes(), body]).await
}

/// `body` in pieces of no announced number, sent whole before the answer is read.
async fn send_chunked(app: &TestApp, content_type: &str, body: &[u8]) -> Reply {
    let head = head(app, &format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked")).await;
    let chunks = body
        .chunks(48 << 10)
        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    app.send_raw(std::iter::once(head.into_bytes()).chain(chunks).chain([b"0\r\n\r\n".to_vec()])).await
}

#[tokio::test]
async fn a_file_of_25_mib_is_taken_and_one_byte_more_is_not() {
    let app = TestApp::start();
    let mut bytes = jpeg(64, 48, 1);
    bytes.resize(25 * MIB, 0);
    let taken = send_with_length(&app, "image/jpeg", &bytes).await.expect(201);
    assert_eq!(taken.json()["bytes"], 25 * MIB);
    let form = files::form("b", &[(FILE_PART, &bytes)]);
    send_chunked(&app, "multipart/form-data; boundary=b", &form).await.expect(201);

    bytes.push(0);
    let form = files::form("b", &[(FILE_PART, &bytes)]);
    for (content_type, body) in [("image/jpeg", &bytes), ("multipart/form-data; boundary=b", &form)] {
        let refused = send_with_length(&app, content_type, body).await.expect_problem(413, "too_large");
        assert!(refused.text().contains("26214400"), "says the limit: {}", refused.text());
        send_chunked(&app, content_type, body).await.expect_problem(413, "too_large");
    }
    assert_eq!(count_images(&app, "alice").await, 2);
}

#[tokio::test]
async fn the_limit_is_a_setting_and_is_met_exactly() {
    let bytes = jpeg(64, 48, 1);
    let form = files::form("b", &[(FILE_PART, &bytes)]);
    for (limit, status) in [(bytes.len(), 201), (bytes.len() - 1, 413)] {
        let app = TestApp::start_with(&[("PINHOLE_UPLOAD__MAX_BYTES", &limit.to_string())]);
        for (content_type, body) in [("image/jpeg", &bytes), ("multipart/form-data; boundary=b", &form)] {
            send_with_length(&app, content_type, body).await.expect(status);
            send_chunked(&app, content_type, body).await.expect(status);
        }
    }
}

#[tokio::test]
async fn a_body_far_too_large_costs_no_memory_and_its_sender_reads_the_answer() {
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__MAX_BYTES", "1000000")]);
    upload_raw(&app, jpeg(64, 48, 1)).await.expect(201);
    let before = app.peak_memory();
    let mut body = jpeg(64, 48, 1);
    body.resize(100 * MIB, 0);
    let start_of_form = files::form("b", &[(FILE_PART, b"\xFF\xD8\xFF")]);
    let form = [&start_of_form[..start_of_form.len() - 9], &body].concat();
    for (content_type, body) in [("image/jpeg", &body), ("multipart/form-data; boundary=b", &form)] {
        send_chunked(&app, content_type, body).await.expect_problem(413, "too_large");
        send_with_length(&app, content_type, body).await.expect_problem(413, "too_large");
    }
    let grown = app.peak_memory() - before;
    assert!(grown < 16 * MIB as u64, "{} KiB more in use", grown / 1024);
}

#[tokio::test]
async fn too_many_pixels_are_refused_before_any_is_decoded() {
    let app = TestApp::start();
    upload_raw(&app, png(64, 48, 1)).await.expect(201);
    let before = app.peak_memory();
    for (what, bytes) in [
        ("8000×7000 black pixels in a PNG", files::black_png(8000, 7000)),
        ("a PNG that claims 60000×60000", files::png_claiming(60_000, 60_000)),
        ("a PNG that claims the most it can", files::png_claiming(i32::MAX as u32, i32::MAX as u32)),
        ("a JPEG that claims 65500×65500", files::jpeg_claiming(65_500, 65_500)),
        ("a WebP that claims 16384×16384", files::webp_claiming(16_384, 16_384)),
    ] {
        let reply = upload_raw(&app, bytes).await;
        assert_eq!(reply.status, 422, "{what}: {}", reply.text());
        reply.expect_problem(422, "image_invalid");
    }
    let grown = app.peak_memory() - before;
    assert!(grown < 24 * MIB as u64, "{} KiB more in use", grown / 1024);
}

#[tokio::test]
async fn the_pixel_limit_is_a_setting_and_is_met_exactly() {
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__MAX_PIXELS", "3072")]);
    for format in FORMATS {
        upload_raw(&app, file(format, &picture(64, 48, 1))).await.expect(201);
        let refused = upload_raw(&app, file(format, &picture(439, 7, 1))).await;
        let refused = refused.expect_problem(422, "image_invalid");
        assert!(refused.text().contains("439×7"), "says what it found: {}", refused.text());
    }
}

#[tokio::test]
async fn a_form_has_one_part_called_file() {
    let app = TestApp::start();
    let bytes = jpeg(8, 8, 1);
    let part = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"a.jpg\"");
    let (file, picture, note) = (part("file"), part("picture"), part("note"));
    let cases: [(&str, &[files::Part<'_>], &str); 6] = [
        ("none", &[], "`file`"),
        ("misnamed", &[(&picture, &bytes)], "`picture`"),
        ("extra", &[(&file, &bytes), (&note, b"hello")], "`note`"),
        ("extra before", &[(&note, b"hello"), (&file, &bytes)], "`note`"),
        ("twice", &[(&file, &bytes), (&file, &bytes)], "`file`"),
        ("without a name", &[("Content-Disposition: form-data", &bytes)], "`file`"),
    ];
    for (what, parts, named) in cases {
        let reply = app.upload_form("alice", parts).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        let reply = reply.expect_problem(400, "invalid_field");
        assert!(reply.text().contains(named), "{what}: {}", reply.text());
    }
    assert_eq!(count_images(&app, "alice").await, 0);
}

#[tokio::test]
async fn a_broken_form_is_refused() {
    let app = TestApp::start();
    let bytes = jpeg(64, 48, 1);
    let whole = files::form("b", &[(FILE_PART, &bytes)]);
    let with_boundary = "multipart/form-data; boundary=b";
    for (what, content_type, body) in [
        ("no boundary", "multipart/form-data", whole.clone()),
        ("another boundary", "multipart/form-data; boundary=c", whole.clone()),
        ("cut in the file", with_boundary, whole[..whole.len() / 2].to_vec()),
        ("cut in the headers", with_boundary, whole[..30].to_vec()),
        ("cut at the last boundary", with_boundary, whole[..whole.len() - 6].to_vec()),
        ("empty", with_boundary, Vec::new()),
        ("no form at all", with_boundary, bytes.clone()),
    ] {
        let reply = upload_as(&app, content_type, body).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json", "{what}");
    }
    assert_eq!(count_images(&app, "alice").await, 0);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let app = TestApp::start();
    let bytes = jpeg(64, 48, 1);
    let rest = format!("Content-Type: image/jpeg\r\nContent-Length: {}", bytes.len());
    let head = head(&app, &rest).await;
    {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = tokio::net::TcpStream::connect(&app.url["http://".len()..]).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    }
    // The connection is gone; the server finds that out before or while it answers this.
    upload_raw(&app, png(8, 8, 1)).await.expect(201);
    assert_eq!(count_images(&app, "alice").await, 1);
}

#[tokio::test]
async fn only_users_upload() {
    let app = TestApp::start();
    let upload = || app.post("/v1/images").header("content-type", "image/jpeg").body(jpeg(8, 8, 1));
    upload().send().await.expect_problem(401, "unauthenticated");
    for token in ["a.b.c", "no-such-key", ""] {
        let request = upload().header("authorization", &format!("Bearer {token}"));
        let reply = request.send().await.expect_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let cookie = upload().header("cookie", "pinhole_session=a.b.c").header("sec-fetch-site", "same-origin");
    cookie.send().await.expect_problem(401, "unauthenticated");
    let reply = upload().service().send().await.expect_problem(400, "on_behalf_of_required");
    assert!(reply.text().contains("On-Behalf-Of"), "{}", reply.text());
    upload().service().header("on-behalf-of", "a b").send().await.expect_problem(400, "invalid_field");

    let image = upload().service().header("on-behalf-of", "dora").send().await.expect(201).json();
    assert_eq!(image["owner"], "dora");
    // The header is the service's alone.
    let image = upload().user("alice").await.header("on-behalf-of", "dora").send().await.expect(201).json();
    assert_eq!(image["owner"], "alice");
    assert_eq!(count_images(&app, "alice").await, 1);
}

#[tokio::test]
async fn an_image_tells_what_it_is() {
    let app = TestApp::start();
    let bytes = files::jpeg_with_orientation(&picture(64, 48, 1), 6);
    let headers = "Content-Disposition: form-data; name=\"file\"; filename=\"holiday on Föhr.jpg\"";
    let before = time::OffsetDateTime::now_utc();
    let reply = app.upload_form("alice", &[(headers, &bytes)]).await.expect(201);
    let after = time::OffsetDateTime::now_utc();
    assert_eq!(reply.header("content-type"), "application/json");
    let image = reply.json();
    let id = image["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/v1/images/{id}"));
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "a UUIDv7: {id}");

    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    let sha256: String = hash.map(|byte| format!("{byte:02x}")).concat();
    let expected = json!({
        "id": id, "owner": "alice", "state": "ready", "content_type": "image/jpeg", "bytes": bytes.len(),
        "width": 48, "height": 64, "frames": 1, "thumbhash": image["thumbhash"],
        "dominant_color": image["dominant_color"], "sha256": sha256,
        "epoch": image["epoch"], "created_at": image["created_at"], "expires_at": image["expires_at"],
        "url": format!("{}/i/{id}/original", app.url), "posts": [], "avatar_of": null,
        "filename": "holiday on Föhr.jpg",
    });
    assert_eq!(image, expected);
    assert!(image["epoch"].is_u64());

    let created = rfc3339(&image["created_at"]);
    assert!((before - time::Duration::seconds(1)..=after).contains(&created), "{created}");
    let lives = rfc3339(&image["expires_at"]) - created;
    assert!((lives - time::Duration::hours(24)).abs() < time::Duration::minutes(1), "{lives}");

    let read =
        async || app.get(&format!("/v1/images/{id}")).user("alice").await.send().await.expect(200).json();
    assert_eq!(read().await, image);
    let post = app.create_post("alice", "private", &[id]).await;
    let attached = read().await;
    assert_eq!((&attached["expires_at"], &attached["posts"]), (&json!(null), &json!([post])));
    app.patch_post("alice", &post, json!({"images": []})).await;
    let detached = read().await;
    assert_eq!(detached["posts"], json!([]));
    assert!(rfc3339(&detached["expires_at"]) >= rfc3339(&image["expires_at"]), "a day from detaching on");

    let avatar = json!({"avatar_image_id": id});
    app.request("PUT", "/v1/profile").user("alice").await.json(&avatar).send().await.expect(200);
    let shown = read().await;
    assert_eq!((&shown["expires_at"], &shown["avatar_of"]), (&json!(null), &json!("alice")));
    // Everybody sees the avatar, and nobody else the owner's fields.
    let strangers = app.get(&format!("/v1/images/{id}")).send().await.expect(200).json();
    for field in ["sha256", "posts", "expires_at", "filename"] {
        assert!(strangers.get(field).is_none(), "{field}: {strangers}");
    }
    assert_eq!(strangers["width"], 48);
    for field in ["thumbhash", "dominant_color"] {
        assert_eq!((strangers[field].is_string(), &strangers[field]), (true, &image[field]), "{field}");
    }
}

/// What a page paints while a picture is on its way.
fn painted(image: &serde_json::Value) -> RgbaImage {
    let hash = STANDARD.decode(image["thumbhash"].as_str().unwrap()).unwrap();
    let (width, height, pixels) = thumbhash::thumb_hash_to_rgba(&hash).unwrap();
    RgbaImage::from_raw(width.try_into().unwrap(), height.try_into().unwrap(), pixels).unwrap()
}

#[tokio::test]
async fn an_image_tells_what_to_show_until_it_comes() {
    let app = TestApp::start();
    // Two thirds are red, to the left; the rest is blue.
    let picture = RgbImage::from_fn(300, 150, |x, _| Rgb(if x < 200 { [250, 0, 0] } else { [0, 0, 250] }));
    for (file, (blue_x, blue_y)) in [
        (file("png", &picture), (28, 8)),
        (file("gif", &picture), (28, 8)),
        (files::jpeg_with_orientation(&picture, 6), (8, 28)), // a quarter clockwise
    ] {
        let image = upload_raw(&app, file).await.expect(201).json();
        let painted = painted(&image);
        let (red, blue) = (painted.get_pixel(4, 4), painted.get_pixel(blue_x, blue_y));
        assert!(red[0] > 180 && red[2] < 80, "{red:?}");
        assert!(blue[2] > 180 && blue[0] < 80, "{blue:?}");
        assert_eq!(painted.width() > painted.height(), image["width"].as_u64() > image["height"].as_u64());
        let dominant = image["dominant_color"].as_str().unwrap();
        assert!(dominant.starts_with("#f") && dominant.len() == 7, "{dominant}");
    }

    // What is transparent has no colour, whatever is hidden there.
    let veiled =
        |alpha: u8| RgbaImage::from_fn(64, 64, |x, _| Rgba([0, 200, 0, if x < 8 { alpha } else { 0 }]));
    for (alpha, colour) in [(255, json!("#00c800")), (0, json!(null))] {
        let mut file = std::io::Cursor::new(Vec::new());
        veiled(alpha).write_to(&mut file, image::ImageFormat::Png).unwrap();
        let image = upload_raw(&app, file.into_inner()).await.expect(201).json();
        assert_eq!(image["dominant_color"], colour);
        assert!(painted(&image).get_pixel(30, 16)[3] < 60, "alpha is part of it");
    }
}

/// Of an animation it is the first frame.
#[tokio::test]
async fn an_animation_is_announced_by_its_first_frame() {
    let app = TestApp::start();
    let mut file = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
    for colour in [[0, 0, 240, 255], [240, 0, 0, 255], [240, 240, 240, 255]] {
        encoder.encode_frame(image::Frame::new(RgbaImage::from_pixel(40, 30, Rgba(colour)))).unwrap();
    }
    drop(encoder);
    let image = upload_raw(&app, file).await.expect(201).json();
    assert_eq!((&image["frames"], &image["dominant_color"]), (&json!(3), &json!("#0000f0")));
    let painted = painted(&image);
    assert!(painted.pixels().all(|pixel| pixel[2] > 200 && pixel[0] < 40));
}

fn rfc3339(value: &serde_json::Value) -> time::OffsetDateTime {
    let text = value.as_str().unwrap();
    assert!(text.ends_with('Z'), "UTC: {text}");
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
}

#[tokio::test]
async fn an_upload_without_a_name_has_none() {
    let app = TestApp::start();
    assert_eq!(upload_raw(&app, jpeg(8, 8, 1)).await.expect(201).json()["filename"], json!(null));
    let hostile = "Content-Disposition: form-data; name=\"file\"; filename=\"../../etc/passwd\"";
    let image = app.upload_form("alice", &[(hostile, &jpeg(8, 8, 1))]).await.expect(201).json();
    assert_eq!(image["filename"], "../../etc/passwd", "kept as the hint it is");
    let long = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{}\"", "x".repeat(5000));
    let image = app.upload_form("alice", &[(&long, &jpeg(8, 8, 1))]).await.expect(201).json();
    assert!(image["filename"].as_str().unwrap().len() < 1000);
}

#[tokio::test]
async fn raw_is_the_very_file_for_its_owner_alone() {
    let app = TestApp::start();
    for format in FORMATS {
        let bytes = files::file_with_secrets(format, 6);
        let image = app.upload("alice", bytes.clone()).await;
        app.create_post("alice", "public", &[&image]).await;
        let path = format!("/i/{image}/raw");
        for raw in [app.get(&path).user("alice").await.send().await, app.get(&path).service().send().await] {
            let raw = raw.expect(200);
            assert_eq!(raw.body, bytes, "{format}");
            assert_eq!(raw.header("cache-control"), "private, no-store");
            assert_eq!(raw.header("content-type"), format!("image/{format}"));
            assert_eq!(raw.header("content-length"), bytes.len().to_string());
            assert_eq!(raw.header("x-content-type-options"), "nosniff");
            assert_eq!(raw.header("content-security-policy"), "default-src 'none'; sandbox");
        }
        let head = app.request("HEAD", &path).user("alice").await.send().await.expect(200);
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        app.get(&path).send().await.expect_problem(404, "not_found");
        app.get(&path).user("bob").await.send().await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn metadata_never_leaves() {
    let app = TestApp::start();
    for format in FORMATS {
        for orientation in [1, 6] {
            let bytes = files::file_with_secrets(format, orientation);
            let image = app.upload("alice", bytes.clone()).await;
            app.create_post("alice", "public", &[&image]).await;
            let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
            assert!(files::has_secret(&raw.body), "the test planted nothing");
            for options in [
                "original",
                "w=64",
                "w=40",
                "w=40,f=jpeg",
                "w=40,f=png",
                "w=40,f=webp",
                "w=40,f=avif",
                "w=40,f=gif",
                "f=auto",
            ] {
                let shown = app.get(&format!("/i/{image}/{options}")).send().await.expect(200);
                assert!(!files::has_secret(&shown.body), "{format}, {orientation}: {options} has the secret");
                for name in ["xmp", "XMP ", "Photoshop", "tEXt", "iTXt", "tIME", "prVt", "NOTE", "MPF\0"] {
                    let found = shown.body.windows(name.len()).any(|window| window == name.as_bytes());
                    assert!(!found, "{format}, {orientation}: {options} has {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn stripping_loses_no_pixel() {
    let app = TestApp::start();
    for format in FORMATS {
        let bytes = files::file_with_secrets(format, 6);
        let uploaded = image::load_from_memory(&bytes).unwrap();
        let image = app.upload("alice", bytes).await;
        let original = app.get(&format!("/i/{image}/original")).user("alice").await.send().await.expect(200);
        assert_eq!(original.header("content-type"), format!("image/{format}"));
        assert!(original.image() == uploaded, "{format}: other pixels");
        assert_eq!(original.image().dimensions(), (64, 48), "as stored");
        if TURNABLE.contains(&format) {
            let orientation = orientation(&original.body, format);
            assert_eq!(orientation, Some(6), "{format}: still says how to turn it upright");
        }
    }
}

/// The EXIF orientation that a decoder finds.
fn orientation(bytes: &[u8], format: &str) -> Option<u8> {
    use image::ImageDecoder as _;
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().unwrap();
    assert_eq!(reader.format().unwrap().to_mime_type(), format!("image/{format}"));
    let orientation = reader.into_decoder().unwrap().orientation().ok()?;
    Some(orientation.to_exif())
}

#[tokio::test]
async fn what_was_answered_with_201_survives_a_crash() {
    let app = TestApp::start();
    let bytes = files::file_with_secrets("jpeg", 1);
    let image = app.upload("alice", bytes.clone()).await;
    let app = app.restart();
    let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
    assert_eq!(raw.body, bytes);
    app.get(&format!("/i/{image}/w=32")).user("alice").await.send().await.expect(200);
}

#[tokio::test]
async fn stopping_lets_an_upload_finish() {
    use tokio::io::AsyncWriteExt as _;
    let mut app = TestApp::start();
    let bytes = jpeg(64, 48, 1);
    let expecting = format!(
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\nConnection: close\r\nExpect: 100-continue",
        bytes.len()
    );
    let head = head(&app, &expecting).await;
    let mut stream = tokio::net::TcpStream::connect(&app.url["http://".len()..]).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is under way.
    let interim = Reply::read(&mut stream).await;
    assert_eq!(interim.status, 100);
    app.signal("TERM");
    stream.write_all(&bytes).await.unwrap();
    Reply::read(&mut stream).await.expect(201);
    assert_eq!(app.wait(), Some(0));
}
