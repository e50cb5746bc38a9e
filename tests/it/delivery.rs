//! The way out: headers, conditions, ranges, options, links, and what odd requests come to.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use image::{DynamicImage, GenericImageView as _, metadata::Orientation};
use serde_json::json;

use crate::{
    files::{self, FORMATS, file},
    support::{NEVER_THERE, Reply, TestApp, TestRequest, hmac_sha256, jpeg, now_secs, picture, png},
};

/// Times to live that cannot be confused with one another.
const TTLS: [(&str, &str); 3] = [
    ("PINHOLE_CACHE__BROWSER_TTL_SECS", "100"),
    ("PINHOLE_CACHE__EDGE_TTL_SECS", "200"),
    ("PINHOLE_CACHE__STALE_WHILE_REVALIDATE_SECS", "30"),
];

/// An image of alice's that everybody may see.
async fn public(app: &TestApp, bytes: Vec<u8>) -> String {
    let image = app.upload("alice", bytes).await;
    app.create_post("alice", "public", &[&image]).await;
    image
}

/// Signs a link as `src/link.rs` says, with the key of the data folder.
fn sign(app: &TestApp, path: &str, exp: u64, epoch: u64) -> String {
    let key = app.secret("link_key");
    let (kid, key) = key.split_once(':').unwrap();
    let claim = format!("{path}?exp={exp}&kid={kid}&ep={epoch}");
    let sig = hmac_sha256(&URL_SAFE_NO_PAD.decode(key).unwrap(), &claim);
    format!("{claim}&sig={sig}")
}

async fn epoch(app: &TestApp, image: &str) -> u64 {
    let image = app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200);
    image.json()["epoch"].as_u64().unwrap()
}

/// What every answer with an image carries, whoever asked.
#[track_caller]
fn assert_image_headers(reply: &Reply, image: &str) {
    for (name, value) in [
        ("content-length", reply.body.len().to_string()),
        ("accept-ranges", "bytes".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("content-security-policy", "default-src 'none'; sandbox".to_owned()),
        ("cache-tag", format!("img-{image}")),
        ("surrogate-key", format!("img-{image}")),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
        assert_eq!(reply.headers.get_all(name).iter().count(), 1, "{name} once");
    }
    assert!(reply.header("content-type").starts_with("image/"), "{:?}", reply.headers);
    let etag = reply.etag();
    assert!(etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");
    let timing = reply.header("server-timing");
    assert!(timing.starts_with("access;dur=") && timing.contains("cache;desc="), "{timing}");
    assert!(reply.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn each_right_has_its_own_caching() {
    let app = TestApp::start_with(&TTLS);
    let image = public(&app, jpeg(64, 48, 1)).await;
    let hidden = app.upload("alice", jpeg(64, 48, 2)).await;
    for options in ["original", "w=32"] {
        let shown = app.get(&format!("/i/{image}/{options}")).send().await.expect(200);
        assert_image_headers(&shown, &image);
        let control = "public, max-age=100, s-maxage=200, stale-while-revalidate=30";
        assert_eq!(shown.header("cache-control"), control);
        assert_eq!(shown.header("vary"), "");
        assert_eq!(shown.header("cross-origin-resource-policy"), "cross-origin");

        // Whoever may see a public image anyway gets the public answer, with a session or without.
        let with_session = app.get(&format!("/i/{image}/{options}")).user("bob").await.send().await;
        assert_eq!(with_session.expect(200).header("cache-control"), control);

        let link = app.link("alice", &hidden, options).await;
        let linked = app.get(&link).send().await.expect(200);
        assert_image_headers(&linked, &hidden);
        assert_eq!(linked.header("cache-control"), "public, max-age=100, s-maxage=200");
        assert_eq!(linked.header("vary"), "");
        assert_eq!(linked.header("cross-origin-resource-policy"), "cross-origin");

        let path = format!("/i/{hidden}/{options}");
        let cookie = format!("pinhole_session={}", app.token("alice").await);
        for own in [
            app.get(&path).user("alice").await.send().await,
            app.get(&path).header("cookie", &cookie).send().await,
            app.get(&path).service().send().await,
        ] {
            let own = own.expect(200);
            assert_image_headers(&own, &hidden);
            assert_eq!(own.header("cache-control"), "private, no-cache");
            assert_eq!(own.header("vary"), "Cookie, Authorization");
            assert_ne!(own.header("cross-origin-resource-policy"), "cross-origin");
            assert_eq!((&own.body, own.etag()), (&linked.body, linked.etag()), "one URL, one picture");
        }
    }
}

#[tokio::test]
async fn an_answer_never_outlives_its_link() {
    let app = TestApp::start_with(&TTLS);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let epoch = epoch(&app, &image).await;
    let path = format!("/i/{image}/width=32");
    let ages = async |lifetime: u64| {
        let link = sign(&app, &path, now_secs() + lifetime, epoch);
        let control = app.get(&link).send().await.expect(200).header("cache-control").to_owned();
        let (browser, edge) =
            control.strip_prefix("public, max-age=").unwrap().split_once(", s-maxage=").unwrap();
        (browser.parse::<u64>().unwrap(), edge.parse::<u64>().unwrap())
    };
    let (browser, edge) = ages(40).await;
    assert!((1..=40).contains(&browser) && (1..=40).contains(&edge), "{browser}, {edge}");
    let (browser, edge) = ages(170).await;
    assert!(browser == 100 && (101..=170).contains(&edge), "{browser}, {edge}");
    assert_eq!(ages(100_000).await, (100, 200));
}

#[tokio::test]
async fn server_timing_tells_where_the_bytes_came_from() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    for (options, first) in [("original", "bucket"), ("w=32", "render")] {
        for (tier, renders) in [(first, first == "render"), ("memory", false)] {
            let reply = app.get(&format!("/i/{image}/{options}")).send().await.expect(200);
            let timing = reply.header("server-timing");
            assert!(timing.contains(&format!("cache;desc={tier}")), "{options}: {timing}");
            assert_eq!(timing.contains("render;dur="), renders, "{options}: {timing}");
        }
    }
}

/// The headers without those that say when, and to which request.
fn timeless(reply: &Reply) -> http::HeaderMap {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    headers.remove("x-request-id");
    headers.remove("server-timing");
    headers
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    let hidden = app.upload("alice", jpeg(64, 48, 2)).await;
    let link = app.link("alice", &hidden, "original").await;
    let paths = [
        format!("/i/{image}/original"),
        format!("/i/{image}/w=32,f=auto"),
        format!("/i/{image}/nonsense"),
        format!("/i/{image}/w=32?x"),
        format!("/i/{NEVER_THERE}/w=32"),
        format!("/i/{hidden}/w=32"),
        format!("/i/{hidden}/raw"),
        format!("/v1/images/{hidden}"),
        link,
    ];
    for path in &paths {
        for user in [None, Some("alice")] {
            let ask = async |method| {
                let request = app.request(method, path);
                match user {
                    Some(user) => request.user(user).await.send().await,
                    None => request.send().await,
                }
            };
            let (get, head) = (ask("GET").await, ask("HEAD").await);
            assert_eq!((get.status, timeless(&get)), (head.status, timeless(&head)), "{path}");
            assert!(head.body.is_empty() && !get.body.is_empty());
        }
    }
}

#[tokio::test]
async fn an_etag_names_the_bytes() {
    let app = TestApp::start();
    let one = public(&app, jpeg(64, 48, 1)).await;
    let same = public(&app, jpeg(64, 48, 1)).await;
    let other = public(&app, jpeg(64, 48, 2)).await;
    let fetch = async |image: &str, options: &str| {
        let reply = app.get(&format!("/i/{image}/{options}")).send().await.expect(200);
        (reply.etag().to_owned(), reply.body)
    };
    let mut seen = Vec::new();
    for image in [&one, &same, &other] {
        for options in ["original", "w=32", "w=32,q=50", "w=32,f=png", "w=32,f=webp", "w=64"] {
            seen.push(fetch(image, options).await);
        }
    }
    let etags: HashSet<_> = seen.iter().map(|(etag, _)| etag).collect();
    let bodies: HashSet<_> = seen.iter().map(|(_, body)| body).collect();
    let pairs: HashSet<_> = seen.iter().collect();
    assert_eq!((etags.len(), bodies.len(), pairs.len()), (12, 12, 12));
}

#[tokio::test]
async fn who_has_the_bytes_is_not_sent_them_again() {
    let app = TestApp::start();
    let hidden = app.upload("alice", jpeg(64, 48, 1)).await;
    let link = app.link("alice", &hidden, "w=32").await;
    let image = public(&app, jpeg(64, 48, 2)).await;
    let paths = [format!("/i/{image}/original"), format!("/i/{image}/w=32,f=auto"), link];
    let own = format!("/i/{hidden}/w=32");
    for path in paths.iter().chain([&own]) {
        let ask = async |headers: &[(&str, &str)]| {
            let mut request = app.get(path);
            if *path == own {
                request = request.user("alice").await;
            }
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.send().await
        };
        let whole = ask(&[]).await.expect(200);
        let etag = whole.etag();
        let weak = format!("W/{etag}");
        let among = format!("\"x\", {etag}");
        for known in ["*", etag, &weak, &among] {
            let reply = ask(&[("if-none-match", known)]).await.expect(304);
            assert!(reply.body.is_empty());
            for name in ["etag", "cache-control", "vary", "cache-tag", "surrogate-key"] {
                assert_eq!(reply.header(name), whole.header(name), "{path}: {name}");
            }
            assert!(["", whole.header("content-length")].contains(&reply.header("content-length")));
            // What the client has comes before any range.
            ask(&[("if-none-match", known), ("range", "bytes=0-1")]).await.expect(304);
        }
        for unknown in ["\"x\"", "", etag.trim_matches('"')] {
            assert_eq!(ask(&[("if-none-match", unknown)]).await.expect(200).body, whole.body);
        }
    }
}

#[tokio::test]
async fn ranges_are_cut_from_the_same_bytes() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    for options in ["original", "w=32"] {
        let path = format!("/i/{image}/{options}");
        let whole = app.get(&path).send().await.expect(200);
        let len = whole.body.len();
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=10-19".to_owned(), 10, 20),
            ("bytes=10-".to_owned(), 10, len),
            ("bytes=-7".to_owned(), len - 7, len),
            ("bytes=-999999".to_owned(), 0, len),
            (format!("bytes={}-999999", len - 1), len - 1, len),
        ] {
            let part = app.get(&path).header("range", &range).send().await.expect(206);
            assert_eq!(part.body, whole.body.slice(from..to), "{range}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{len}", to - 1));
            assert_image_headers(&part, &image);
            for name in ["etag", "cache-control", "content-type"] {
                assert_eq!(part.header(name), whole.header(name), "{name}");
            }
        }
        for range in [format!("bytes={len}-"), "bytes=999999-9999999".to_owned(), "bytes=-0".to_owned()] {
            let none = app.get(&path).header("range", &range).send().await;
            let none = none.expect_problem(416, "range_not_satisfiable");
            assert_eq!(none.header("content-range"), format!("bytes */{len}"), "{range}");
        }
        for odd in ["bytes=5-2", "bytes=", "bytes=a-b", "items=0-1", "bytes=0-1,5-6"] {
            let all = app.get(&path).header("range", odd).send().await.expect(200);
            assert_eq!(all.body, whole.body, "{odd}");
        }
        app.request("HEAD", &path).header("range", "bytes=0-1").send().await.expect(200);

        // Half a picture must never be put together with half of another.
        let if_range = async |validator: &str| {
            let request = app.get(&path).header("range", "bytes=0-1").header("if-range", validator);
            request.send().await.status.as_u16()
        };
        assert_eq!(if_range(whole.etag()).await, 206);
        for other in ["\"x\"", &format!("W/{}", whole.etag()), "Sun, 06 Nov 2044 08:49:37 GMT"] {
            assert_eq!(if_range(other).await, 200, "{other}");
        }
    }
}

#[tokio::test]
async fn all_spellings_of_the_same_options_are_the_same_picture() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    let spellings = [
        "w=40,h=30",
        "h=30,w=40",
        "width=40,height=30",
        "height=30,width=40",
        "w=20,height=15,dpr=2",
        "dpr=2.0,w=20,h=15",
        "w=40,h=30,q=84,fit=scale-down,format=jpeg",
    ];
    let mut replies = Vec::new();
    for options in spellings {
        replies.push(app.get(&format!("/i/{image}/{options}")).send().await.expect(200));
    }
    for (reply, options) in replies.iter().zip(spellings) {
        assert_eq!((&reply.body, reply.etag()), (&replies[0].body, replies[0].etag()), "{options}");
    }
    assert!((app.metric("pinhole_render_seconds_count").await - 1.0).abs() < 0.5, "rendered once for all");
}

const FORMATS_ASKED: [(&str, &str); 5] = [
    ("w=40,f=jpeg", "jpeg"),
    ("w=40,f=png", "png"),
    ("w=40,f=webp", "webp"),
    ("w=40,f=gif", "gif"),
    ("w=40,f=avif", "avif"),
];

#[tokio::test]
async fn any_format_goes_in_and_any_comes_out() {
    let app = TestApp::start();
    for source in FORMATS {
        let image = public(&app, file(source, &picture(64, 48, 1))).await;
        for (options, format) in [("w=40", source)].into_iter().chain(FORMATS_ASKED) {
            let reply = app.get(&format!("/i/{image}/{options}")).send().await.expect(200);
            assert_eq!(reply.header("content-type"), format!("image/{format}"), "{source}: {options}");
            let guessed = image::guess_format(&reply.body).unwrap();
            assert_eq!(guessed.to_mime_type(), format!("image/{format}"), "{source}: {options}");
            assert_eq!(reply.image().dimensions(), (40, 30), "{source}: {options}");
            let expected = picture(40, 30, 1);
            let off = mean_difference(&reply.image(), &DynamicImage::ImageRgb8(expected));
            // 256 colours are not many for two ramps, and less so when they are chosen twice.
            let allowed = if [source, format].contains(&"gif") { 10.0 } else { 4.0 };
            assert!(off < allowed, "{source}: {options}: another picture: {off}");
        }
    }
}

/// How far two pictures of one size are apart, in steps of a colour.
fn mean_difference(one: &DynamicImage, other: &DynamicImage) -> f64 {
    let (one, other) = (one.to_rgb8(), other.to_rgb8());
    assert_eq!(one.dimensions(), other.dimensions());
    let sum: u32 = one.iter().zip(other.iter()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / f64::from(u32::try_from(one.len()).unwrap())
}

#[tokio::test]
async fn the_size_is_exactly_what_the_rule_says() {
    let app = TestApp::start();
    let image = public(&app, png(64, 48, 1)).await;
    for (options, width, height) in [
        ("w=32", 32, 24),
        ("h=24", 32, 24),
        ("w=33", 33, 25), // 24.75
        ("w=30", 30, 23), // 22.5 rounds half up
        ("w=1", 1, 1),
        ("w=200", 64, 48),
        ("h=49", 64, 48),
        ("w=200,h=24", 32, 24),
        ("w=200,h=200", 64, 48),
        ("w=32,h=32", 32, 24),
        ("w=128,fit=contain", 128, 96),
        ("w=100,h=100,fit=contain", 100, 75),
        ("w=20,h=20,fit=cover", 20, 20),
        ("w=100,h=100,fit=cover", 100, 100),
        ("w=20,h=20,fit=crop", 20, 20),
        ("w=100,h=20,fit=crop", 64, 20),
        ("w=200,h=200,fit=crop", 64, 48),
        ("w=100,h=90,fit=pad", 100, 90),
        ("w=20,h=20,fit=pad", 20, 20),
        ("w=10,h=40,fit=squeeze", 10, 40),
        ("w=100,h=200,fit=squeeze", 100, 200),
        ("w=16,dpr=2", 32, 24),
        ("w=15,dpr=1.5", 23, 17), // 22.5 rounds half up, and then 17.25
        ("w=40,dpr=0.1", 4, 3),
        ("w=40,dpr=4", 64, 48),
        ("f=png", 64, 48),
    ] {
        let reply = app.get(&format!("/i/{image}/{options}")).send().await.expect(200);
        assert_eq!(reply.image().dimensions(), (width, height), "{options}");
    }
}

#[tokio::test]
async fn quality_buys_bytes() {
    let app = TestApp::start();
    for format in ["jpeg", "webp"] {
        let image = public(&app, file(format, &noise(256, 192))).await;
        let mut sizes = Vec::new();
        for quality in [10, 50, 90] {
            let path = format!("/i/{image}/w=200,q={quality}");
            sizes.push(app.get(&path).send().await.expect(200).body.len());
        }
        assert!(sizes.is_sorted_by(|less, more| less < more), "{format}: {sizes:?}");
    }
}

/// A picture that does not compress well.
fn noise(width: u32, height: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let mixed = (x + 1).wrapping_mul(0x9E37_79B1) ^ (y + 1).wrapping_mul(0x85EB_CA77);
        let [.., a, b, c] = mixed.wrapping_mul(0xC2B2_AE3D).to_le_bytes();
        image::Rgb([a, b, c])
    })
}

fn with_accept<'a>(request: TestRequest<'a>, accept: Option<&str>) -> TestRequest<'a> {
    match accept {
        Some(accept) => request.header("accept", accept),
        None => request,
    }
}

#[tokio::test]
async fn format_auto_goes_by_accept_and_says_so() {
    let app = TestApp::start();
    let image = public(&app, png(64, 48, 1)).await;
    let hidden = app.upload("alice", png(64, 48, 1)).await;
    for (accept, format) in [
        (None, "png"),
        (Some("*/*"), "png"),
        (Some("image/*"), "png"),
        (Some("image/webp"), "webp"),
        (Some("image/avif;q=0,image/webp,*/*;q=0.8"), "webp"),
        (Some("text/html, IMAGE/WebP;q=0.1"), "webp"),
        (Some("image/webp;q=0"), "png"),
        (Some("image/png, image/webp; q=0.000"), "png"),
        (Some("image/webpx"), "png"),
    ] {
        let reply = with_accept(app.get(&format!("/i/{image}/w=32,f=auto")), accept).send().await.expect(200);
        assert_eq!(reply.header("content-type"), format!("image/{format}"), "{accept:?}");
        assert_eq!(reply.header("vary"), "Accept", "{accept:?}");
        assert_eq!(reply.image().dimensions(), (32, 24));
        // Named formats and the source's own are the same whatever is accepted.
        let reply = with_accept(app.get(&format!("/i/{image}/w=32")), accept).send().await.expect(200);
        assert_eq!((reply.header("content-type"), reply.header("vary")), ("image/png", ""));
        let own = app.get(&format!("/i/{hidden}/w=32,f=auto")).user("alice").await;
        let reply = with_accept(own, accept).send().await.expect(200);
        assert_eq!(reply.header("vary"), "Accept, Cookie, Authorization");
    }
    // A list may come over several lines (RFC 9110 §5.3).
    let two_lines = app.get(&format!("/i/{image}/w=32,f=auto")).header("accept", "image/png");
    let reply = two_lines.header("accept", "image/webp").send().await.expect(200);
    assert_eq!(reply.header("content-type"), "image/webp");
}

#[tokio::test]
async fn pictures_come_out_upright() {
    let app = TestApp::start();
    let stored = picture(64, 48, 99);
    for exif in 1..=8 {
        let orientation = Orientation::from_exif(exif).unwrap();
        let mut upright = DynamicImage::ImageRgb8(stored.clone());
        upright.apply_orientation(orientation);
        let image = public(&app, files::jpeg_with_orientation(&stored, exif)).await;
        for options in ["f=png", "q=95", "f=webp,q=95"] {
            let shown = app.get(&format!("/i/{image}/{options}")).send().await.expect(200).image();
            let off = mean_difference(&shown, &upright);
            assert!(off < 5.0, "orientation {exif}: {options}: {off}");
        }
        let narrow = app.get(&format!("/i/{image}/w=24")).send().await.expect(200).image();
        let height = if exif < 5 { 18 } else { 32 };
        assert_eq!(narrow.dimensions(), (24, height), "orientation {exif}: asked sizes are of the upright");
    }
}

#[tokio::test]
async fn bad_options_are_named_whatever_the_image() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    let hidden = app.upload("alice", jpeg(64, 48, 1)).await;
    for (options, named) in [
        ("nonsense", "nonsense"),
        ("ORIGINAL", "ORIGINAL"),
        ("w=40,", ""),
        (",w=40", ""),
        ("colour=red", "colour"),
        ("W=40", "W=40"),
        ("w=0", "w=0"),
        ("w=8193", "width=8193"),
        ("w=-1", "w=-1"),
        ("w=040", "w=040"),
        ("w=4e1", "w=4e1"),
        ("w=40.0", "w=40.0"),
        ("w=99999999999999999999", "w=9999"),
        ("w=", "w="),
        ("w", "w"),
        ("w=4096,dpr=3", "width=4096"),
        ("h=1,dpr=0.1", "height=1"),
        ("h=9000", "height=9000"),
        ("w=40,w=50", "w=50"),
        ("w=40,width=40", "width=40"),
        ("q=80,w=40,quality=80", "quality=80"),
        ("fit=zoom", "fit=zoom"),
        ("fit=Cover", "fit=Cover"),
        ("q=0", "q=0"),
        ("q=101", "q=101"),
        ("f=bmp", "f=bmp"),
        ("dpr=0", "dpr=0"),
        ("dpr=5", "dpr=5"),
        ("dpr=NaN", "dpr=NaN"),
        ("w=40,original", "original"),
        ("w=40&h=40", "w=40&h=40"),
        ("w%3D40", "w%3D40"),
    ] {
        let ask = async |image: &str| app.get(&format!("/i/{image}/{options}")).send().await;
        let reply = ask(&image).await;
        assert_eq!(reply.status, 400, "{options}: {}", reply.text());
        let reply = reply.expect_problem(400, "bad_options");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("`{named}")), "{options}: {detail}");
        // It is said before anything is looked up, so it says nothing about what is there.
        for other in [hidden.as_str(), NEVER_THERE, "not-an-id"] {
            let reply = ask(other).await.expect(400);
            assert_eq!(reply.text().replace(other, &image), ask(&image).await.text(), "{options}: {other}");
        }
    }
}

#[tokio::test]
async fn an_answer_too_large_to_make_is_refused() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    let before = app.peak_memory();
    for options in ["w=8192,h=8192,fit=squeeze", "w=8192,h=8192,fit=pad", "w=8192,h=8192,fit=cover"] {
        app.get(&format!("/i/{image}/{options}")).send().await.expect_problem(400, "bad_options");
    }
    let grown = app.peak_memory() - before;
    assert!(grown < 32 << 20, "{} KiB more in use", grown / 1024);
}

#[tokio::test]
async fn unsigned_requests_get_what_is_listed() {
    for (policy, listed, auto, original) in [("listed", 200, 200, 200), ("none", 400, 400, 200)] {
        let app = TestApp::start_with(&[
            ("PINHOLE_TRANSFORM__UNSIGNED", policy),
            ("PINHOLE_TRANSFORM__WIDTHS", "32,48"),
        ]);
        let image = public(&app, jpeg(64, 48, 1)).await;
        let hidden = app.upload("alice", jpeg(64, 48, 2)).await;
        for (options, status) in [
            ("w=32", listed),
            ("width=48", listed),
            ("w=32,f=auto", auto),
            ("w=32,f=webp", auto),
            ("original", original),
            ("w=33", 400),
            ("h=32", 400),
            ("w=32,h=32", 400),
            ("w=32,q=50", 400),
            ("w=32,dpr=1", 400),
            ("w=16,dpr=2", 400),
            ("f=webp", 400),
        ] {
            let reply = app.get(&format!("/i/{image}/{options}")).send().await;
            assert_eq!(reply.status, status, "{policy}: {options}: {}", reply.text());
            // The rule is about the signature, not about who asks, and not about what is there.
            let own = app.get(&format!("/i/{hidden}/{options}")).user("alice").await.send().await;
            assert_eq!(own.status, status, "{policy}: {options} by the owner");
            if status == 400 {
                let reply = reply.expect_problem(400, "bad_options");
                let unknown = app.get(&format!("/i/{NEVER_THERE}/{options}")).send().await;
                assert_eq!((unknown.status, &unknown.body), (reply.status, &reply.body));
            }
            let link = app.link("alice", &hidden, options).await;
            app.get(&link).send().await.expect(200);
        }
        app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
    }
}

#[tokio::test]
async fn a_query_is_a_good_link_or_refused() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "w=32").await;
    let (path, query) = link[app.url.len()..].split_once('?').unwrap();
    app.get(&format!("{path}?{query}")).send().await.expect(200);

    let parts: Vec<&str> = query.split('&').collect();
    let [exp, kid, ep, sig] = parts[..] else { panic!("four parameters: {query}") };
    let bare_sig = &sig["sig=".len()..];
    assert_eq!((bare_sig.len(), &exp[..4], &kid[..4], &ep[..3]), (43, "exp=", "kid=", "ep="));
    let last = bare_sig.chars().last().unwrap();
    // The last character carries two bits that mean nothing: the other spellings are none.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sibling = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let swapped = if bare_sig.starts_with('A') { "B" } else { "A" };

    let refused = [
        String::new(),
        "x".to_owned(),
        "x=1".to_owned(),
        "width=32".to_owned(),
        sig.to_owned(),
        format!("{query}&"),
        format!("&{query}"),
        format!("{query}&x=1"),
        format!("x=1&{query}"),
        format!("{exp}&{query}"),
        format!("{query}&{sig}"),
        format!("{query}&{query}"),
        format!("{query}?{query}"),
        format!("{kid}&{exp}&{ep}&{sig}"),
        format!("{exp}&{ep}&{kid}&{sig}"),
        format!("{sig}&{exp}&{kid}&{ep}"),
        format!("{exp}&{kid}&{sig}"),
        format!("{exp}&{kid}&{ep}"),
        format!("{exp}&{kid}&{ep}&sig="),
        format!("{exp}&{kid}&{ep}&sig={}", &bare_sig[..42]),
        format!("{query}A"),
        format!("{query}="),
        format!("{exp}&{kid}&{ep}&sig={swapped}{}", &bare_sig[1..]),
        format!("{exp}&{kid}&{ep}&sig={}{sibling}", &bare_sig[..42]),
        format!("{exp}&{kid}&{ep}&sig={}", bare_sig.to_uppercase()),
        format!("{exp}&{kid}&{ep}&sig=%{:02X}{}", bare_sig.as_bytes()[0], &bare_sig[1..]),
        format!("{exp}&{kid}&{ep}&Sig={bare_sig}"),
        format!("%65{}&{kid}&{ep}&{sig}", &exp[1..]),
        query.to_uppercase(),
        query.replace('&', "&amp;"),
        query.replace('&', ";"),
        query.replace("exp=", "exp=0"),
        query.replace("exp=", "exp=%2B"),
        query.replace("exp=", "exp=-"),
        query.replace("exp=", "exp=9"),
        query.replace("exp=", "exp=99999999999999999999"),
        query.replace("kid=", "kid=x"),
        query.replace("ep=", "ep=0"),
        format!("{exp}&{kid}&ep=7&{sig}"),
    ];
    for query in &refused {
        let reply = app.get(&format!("{path}?{query}")).send().await;
        assert_eq!(reply.status, 403, "{query}");
        let reply = reply.expect_problem(403, "link_invalid");
        // Nobody's own right helps a bad link, and nothing is said about what is there.
        let own = app.get(&format!("{path}?{query}")).user("alice").await.send().await;
        let unknown = app.get(&format!("/i/{NEVER_THERE}/width=32?{query}")).send().await;
        assert_eq!((own.status, &own.body), (reply.status, &reply.body), "{query}");
        assert_eq!((unknown.status, &unknown.body), (reply.status, &reply.body), "{query}");
    }

    let other = public(&app, jpeg(64, 48, 2)).await;
    for path in [
        format!("/i/{other}/width=32"),
        format!("/i/{image}/width=33"),
        format!("/i/{image}/w=32"),
        format!("/i/{image}/original"),
        format!("/i/{image}/raw"),
        format!("/i/{image}/nonsense"),
        format!("/i/{image}/width%3D32"),
        format!("/i/{}/width=32", image.to_uppercase()),
    ] {
        app.get(&format!("{path}?{query}")).send().await.expect_problem(403, "link_invalid");
    }
}

#[tokio::test]
async fn a_link_is_checked_before_all_else_and_against_the_image() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let epoch = epoch(&app, &image).await;
    let path = format!("/i/{image}/w=32,h=24");
    let soon = now_secs() + 600;
    app.get(&sign(&app, &path, soon, epoch)).send().await.expect(200);

    for exp in [0, 1, now_secs() - 1, now_secs()] {
        app.get(&sign(&app, &path, exp, epoch)).send().await.expect_problem(403, "link_expired");
        // What is forged and expired is forged.
        let forged = sign(&app, &path, exp, epoch).replace("w=32", "w=33");
        app.get(&forged).send().await.expect_problem(403, "link_invalid");
        // Expired options and images are not looked at any more.
        let nonsense = sign(&app, &format!("/i/{NEVER_THERE}/nonsense"), exp, epoch);
        app.get(&nonsense).send().await.expect_problem(403, "link_expired");
    }
    let nothing = app.get(&format!("/i/{NEVER_THERE}/w=32")).send().await.expect_problem(404, "not_found");
    for (what, link) in [
        ("a later epoch", sign(&app, &path, soon, epoch + 1)),
        ("an image that is not there", sign(&app, &format!("/i/{NEVER_THERE}/w=32"), soon, epoch)),
        ("no image at all", sign(&app, "/i/x/w=32", soon, epoch)),
        ("the raw file", sign(&app, &format!("/i/{image}/raw"), soon, epoch)),
    ] {
        let reply = app.get(&link).send().await;
        assert_eq!((reply.status, &reply.body), (nothing.status, &nothing.body), "{what}");
        // The owner's own right does not mix with a link.
        let own = app.get(&link).user("alice").await.send().await;
        assert_eq!((own.status, &own.body), (nothing.status, &nothing.body), "{what}, by the owner");
    }
    let bad = sign(&app, &format!("/i/{image}/w=0"), soon, epoch);
    app.get(&bad).send().await.expect_problem(400, "bad_options");
}

#[tokio::test]
async fn raw_is_never_linked() {
    let app = TestApp::start();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let wanted = json!({"images": [{"id": image, "options": "raw"}]});
    for request in [app.post("/v1/links").user("alice").await, app.post("/v1/links").service()] {
        let answer = request.json(&wanted).send().await.expect(200).json();
        assert_eq!(answer["links"][0]["error"], "bad_options");
        assert!(answer["links"][0].get("url").is_none());
    }
}

#[tokio::test]
async fn viewers_share_one_link() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    // Should a window end in between, the first link is not what alice gets at last, and it starts over.
    loop {
        let first = app.link("alice", &image, "w=32,h=24").await;
        let others =
            [app.link("bob", &image, "h=24,w=32").await, app.link("carol", &image, "width=32,h=24").await];
        if app.link("alice", &image, "w=32,h=24").await == first {
            assert_eq!(others, [first.as_str(), first.as_str()]);
            break;
        }
    }
    let wanted = json!({"images": [{"id": image, "options": "f=auto"}], "widths": [16, 32, 48]});
    let answer = app.post("/v1/links").user("bob").await.json(&wanted).send().await.expect(200).json();
    let links = answer["links"].as_array().unwrap();
    let expiries: HashSet<_> = links.iter().map(|link| link["expires_at"].as_str().unwrap()).collect();
    assert_eq!((links.len(), expiries.len()), (3, 1), "one expiry for a whole srcset");
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in [format!("/i/{image}/w=32"), format!("/i/{NEVER_THERE}/w=32"), "/i/x/y?z".to_owned()] {
            let reply = app.request(method, &path).send().await.expect_problem(405, "method_not_allowed");
            assert_eq!(reply.header("allow"), "GET, HEAD", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn odd_paths_lead_nowhere() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    let ask = async |target: &str| {
        app.send_raw([format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")]).await
    };
    ask(&format!("/i/{image}/w=40")).await.expect(200);
    for (path, status) in [
        (format!("//i/{image}/w=40"), 404),
        (format!("/i//{image}/w=40"), 404),
        (format!("/i/{image}//w=40"), 404),
        (format!("/i/{image}/w=40/"), 404),
        (format!("/i/{image}/w=40/.."), 404),
        (format!("/x/../i/{image}/w=40"), 404),
        (format!("/i/./{image}/w=40"), 404),
        (format!("/I/{image}/w=40"), 404),
        (format!("/%69/{image}/w=40"), 404),
        (format!("/i%2F{image}/w=40"), 404),
        (format!("/i/{image}%2Fw=40"), 404),
        (format!("/i/{}/w=40", image.to_uppercase()), 404),
        (format!("/i/{}/w=40", image.replace('-', "")), 404),
        (format!("/i/{{{image}}}/w=40"), 404),
        (format!("/i/{image}%00/w=40"), 404),
        (format!("/i/urn:uuid:{image}/w=40"), 404),
        (format!("/i/{image}"), 404),
        (format!("/i/{image}/%2e%2e"), 400),
        (format!("/i/{image}/.."), 400),
        (format!("/i/{image}/..%2f..%2fetc%2fpasswd"), 400),
        (format!("/i/{image}/"), 400),
        (format!("/i/{image}/w=40%00"), 400),
        (format!("/i/{image}/w=40%20"), 400),
        (format!("/i/{image}/w=40+"), 400),
        (format!("/i/{image}/w=40;h=40"), 400),
        (format!("/i/{image}/{}", "w=40,".repeat(8000)), 400),
        (format!("/i/{}/w=40", "0".repeat(40_000)), 404),
        ("/i/%2e%2e/original".to_owned(), 404),
        ("/i/../original".to_owned(), 404),
        ("/i///".to_owned(), 404),
        ("/..".to_owned(), 404),
    ] {
        let reply = ask(&path).await;
        let shown = &path[..path.len().min(100)];
        assert_eq!(reply.status, status, "{shown}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json", "{shown}");
        assert!(reply.body.len() < 1000, "{shown}");
    }
    for target in [
        format!("/i/{image}/{}", "x".repeat(100_000)),
        format!("/i/{image}/w=40?{}", "x".repeat(60_000)),
        format!("/i/{image}/é"),
        format!("/i/{image}/w=40#fragment w=40"),
        "i".to_owned(),
    ] {
        let status = ask(&target).await.status;
        assert!(status.is_client_error(), "{}: {status}", &target[..target.len().min(100)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_at_once_cost_one_render() {
    let app = Arc::new(TestApp::start());
    let image = public(&app, jpeg(2000, 1500, 1)).await;
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let (app, image) = (Arc::clone(&app), image.clone());
            // Two spellings of one picture.
            let options = if n % 2 == 0 { "w=1900,q=70" } else { "quality=70,width=1900" };
            tokio::spawn(async move { app.get(&format!("/i/{image}/{options}")).send().await })
        })
        .collect();
    let mut bodies = HashSet::new();
    for reply in asking {
        bodies.insert(reply.await.unwrap().expect(200).body);
    }
    assert_eq!(bodies.len(), 1);
    let renders = app.metric("pinhole_render_seconds_count").await;
    assert!((renders - 1.0).abs() < 0.5, "{renders} renders");
}

#[tokio::test]
async fn the_bucket_shows_nothing_to_strangers() {
    let app = TestApp::start();
    public(&app, jpeg(64, 48, 1)).await;
    for path in ["/pinhole", "/pinhole?list-type=2", "/", "/pinhole/original"] {
        let reply = app.get(&format!("{}{path}", app.s3_url)).send().await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn no_copy_that_a_link_brings_in_outlives_its_picture() {
    let app = TestApp::start_with(&[("PINHOLE_UPLOAD__UNATTACHED_SECS", "40")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let reply = app.get(&app.link("alice", &image, "width=32").await).send().await.expect(200);
    let said = reply.header("cache-control").to_owned();
    let ages =
        said.split(", ").filter_map(|part| part.split_once("max-age=").or(part.split_once("s-maxage=")));
    let ages: Vec<u32> = ages.map(|(_, secs)| secs.parse().unwrap()).collect();
    assert!(ages.len() == 2 && ages.iter().all(|secs| *secs <= 40), "{said}");
}
