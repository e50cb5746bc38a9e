//! Every option as a page asks for it: what comes out, to the pixel; presets and watermarks.

use image::{DynamicImage, GenericImageView as _, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::json;

use crate::support::{Reply, TestApp, dev_command, encode, jpeg};

const RED: [u8; 4] = [255, 0, 0, 255];
const GREEN: [u8; 4] = [0, 255, 0, 255];
const BLUE: [u8; 4] = [0, 0, 255, 255];
const BLACK: [u8; 4] = [0, 0, 0, 255];
const WHITE: [u8; 4] = [255; 4];

/// Red and green above blue and black, as a PNG.
fn quadrants(width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let [r, g, b, _] = match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => BLACK,
        };
        Rgb([r, g, b])
    });
    encode(&picture, image::ImageFormat::Png)
}

/// A PNG with alpha.
fn png(picture: RgbaImage) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

async fn public(app: &TestApp, bytes: Vec<u8>) -> String {
    let image = app.upload("alice", bytes).await;
    app.create_post("alice", "public", &[&image]).await;
    image
}

async fn show(app: &TestApp, image: &str, options: &str) -> Reply {
    app.get(&format!("/i/{image}/{options}")).send().await
}

/// Asks for options, and looks at points of what comes.
async fn assert_shown(
    app: &TestApp,
    image: &str,
    options: &str,
    size: (u32, u32),
    points: &[(u32, u32, [u8; 4])],
) {
    let shown = show(app, image, options).await.expect(200).image();
    assert_eq!(shown.dimensions(), size, "{options}");
    for (x, y, expected) in points {
        let Rgba(found) = shown.get_pixel(*x, *y);
        let near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 2);
        assert!(near, "{options} at {x}, {y}: {found:?} is not {expected:?}");
    }
}

#[tokio::test]
async fn gravity_says_what_is_kept() {
    let app = TestApp::start();
    let image = public(&app, quadrants(120, 40)).await;
    for fit in ["cover", "crop"] {
        for (gravity, left, right) in [
            ("center", RED, GREEN),
            ("left", RED, RED),
            ("right", GREEN, GREEN),
            ("0x0.5", RED, RED),
            ("1x1", GREEN, GREEN),
            ("0.25x0.5", RED, RED),
        ] {
            for key in ["gravity", "g"] {
                let options = format!("w=20,h=20,fit={fit},{key}={gravity}");
                assert_shown(&app, &image, &options, (20, 20), &[(1, 2, left), (18, 2, right)]).await;
            }
        }
        for (gravity, top, bottom) in [("top", RED, RED), ("bottom", BLUE, BLUE), ("center", RED, BLUE)] {
            let options = format!("w=60,h=10,fit={fit},gravity={gravity}");
            assert_shown(&app, &image, &options, (60, 10), &[(2, 1, top), (2, 8, bottom)]).await;
        }
    }
    // Where nothing is cut off there is nothing to choose.
    let plain = show(&app, &image, "w=20,h=20").await.expect(200);
    assert_eq!(show(&app, &image, "w=20,h=20,g=right").await.expect(200).etag(), plain.etag());
}

#[tokio::test]
async fn gravity_auto_keeps_what_stands_out() {
    let app = TestApp::start();
    for at in [20, 100, 200, 280] {
        let picture = RgbImage::from_fn(300, 100, |x, y| {
            let far = x.abs_diff(at).pow(2) + y.abs_diff(50).pow(2);
            if far < 200 { Rgb([220, 60, 20]) } else { Rgb([120, 125, 130]) }
        });
        let image = public(&app, encode(&picture, image::ImageFormat::Png)).await;
        let shown = show(&app, &image, "w=50,h=50,fit=cover,g=auto").await.expect(200);
        let red = shown.image().to_rgb8().pixels().filter(|pixel| pixel[0] > 190).count();
        assert!(red > 120, "the thing at {at}: {red} pixels of it");
        let other = public(&app, encode(&picture, image::ImageFormat::Png)).await;
        let again = show(&app, &other, "w=50,h=50,fit=cover,g=auto").await.expect(200);
        assert_eq!(again.body, shown.body, "the same picture, the same part of it");
    }
}

#[tokio::test]
async fn a_background_shows_where_the_picture_does_not() {
    let app = TestApp::start();
    let opaque = public(&app, quadrants(40, 20)).await;
    let half = RgbaImage::from_fn(40, 20, |x, _| Rgba(if x < 20 { BLUE } else { [0; 4] }));
    let half = public(&app, png(half)).await;
    for (image, options, size, points) in [
        (&opaque, "w=40,h=40,fit=pad", (40, 40), [(20, 2, WHITE), (2, 12, RED)]),
        (
            &opaque,
            "w=40,h=40,fit=pad,background=00ffff",
            (40, 40),
            [(20, 2, [0, 255, 255, 255]), (38, 28, BLACK)],
        ),
        (&opaque, "w=40,h=40,fit=pad,bg=00FFFF80", (40, 40), [(20, 38, [0, 255, 255, 128]), (2, 12, RED)]),
        (&half, "f=png", (40, 20), [(2, 2, BLUE), (38, 2, [0; 4])]),
        (&half, "bg=112233", (40, 20), [(2, 2, BLUE), (38, 2, [17, 34, 51, 255])]),
        (&half, "bg=11223380", (40, 20), [(2, 2, BLUE), (38, 2, [17, 34, 51, 128])]),
        (
            &half,
            "w=40,h=40,fit=pad,bg=112233",
            (40, 40),
            [(38, 20, [17, 34, 51, 255]), (20, 2, [17, 34, 51, 255])],
        ),
    ] {
        assert_shown(&app, image, options, size, &points).await;
    }
    // JPEG has no alpha: what shows through the colour is white.
    let shown = show(&app, &half, "bg=00000080,f=jpeg,q=100").await.expect(200).image();
    assert!(shown.get_pixel(38, 10)[0].abs_diff(127) <= 2, "{:?}", shown.get_pixel(38, 10));
}

#[tokio::test]
async fn rotation_and_flips_come_before_the_size() {
    let app = TestApp::start();
    let image = public(&app, quadrants(60, 40)).await;
    for (options, size, corners) in [
        ("f=png", (60, 40), [RED, GREEN, BLUE, BLACK]),
        ("rotate=90", (40, 60), [BLUE, RED, BLACK, GREEN]),
        ("rotate=180", (60, 40), [BLACK, BLUE, GREEN, RED]),
        ("rotate=270", (40, 60), [GREEN, BLACK, RED, BLUE]),
        ("flip=h", (60, 40), [GREEN, RED, BLACK, BLUE]),
        ("flip=v", (60, 40), [BLUE, BLACK, RED, GREEN]),
        ("flip=hv", (60, 40), [BLACK, BLUE, GREEN, RED]),
        ("flip=h,rotate=90", (40, 60), [BLACK, GREEN, BLUE, RED]),
        ("rotate=90,w=20", (20, 30), [BLUE, RED, BLACK, GREEN]),
        ("rotate=90,h=30", (20, 30), [BLUE, RED, BLACK, GREEN]),
        ("rotate=270,w=100,h=30,fit=pad,bg=ffffff", (100, 30), [WHITE, WHITE, WHITE, WHITE]),
        ("rotate=90,w=40,h=20,fit=squeeze", (40, 20), [BLUE, RED, BLACK, GREEN]),
    ] {
        let (right, bottom) = (size.0 - 1, size.1 - 1);
        let [a, b, c, d] = corners;
        let points = [(0, 0, a), (right, 0, b), (0, bottom, c), (right, bottom, d)];
        assert_shown(&app, &image, options, size, &points).await;
    }
}

#[tokio::test]
async fn trim_cuts_pixels_or_a_border_off_first() {
    let app = TestApp::start();
    let image = public(&app, quadrants(60, 40)).await;
    for (options, size, points) in [
        ("trim=20;0;0;0", (60, 20), [(1, 1, BLUE), (58, 18, BLACK)]),
        ("trim=0;30;20;0", (30, 20), [(0, 0, RED), (29, 19, RED)]),
        ("trim=1;2;3;4", (54, 36), [(0, 0, RED), (53, 35, BLACK)]),
        ("trim=0;30;20;0,w=10", (10, 7), [(0, 0, RED), (9, 6, RED)]),
        ("trim=0;15;10;0,dpr=2", (30, 20), [(0, 0, RED), (29, 19, RED)]),
        ("trim=20;0;0;30,rotate=90", (20, 30), [(0, 0, BLACK), (19, 29, BLACK)]),
        ("trim=0;0;0;0", (60, 40), [(0, 0, RED), (59, 39, BLACK)]),
    ] {
        assert_shown(&app, &image, options, size, &points).await;
    }
    let nothing = show(&app, &image, "trim=20;0;20;0").await.expect_problem(400, "bad_options");
    let detail = nothing.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`trim`") && detail.contains("60×40"), "{detail}");

    let framed = RgbImage::from_fn(50, 30, |x, y| {
        let inside = (8..40).contains(&x) && (5..21).contains(&y);
        // A border that is not quite of one colour.
        Rgb(if inside { [255, 0, 0] } else { [240 + u8::try_from(x % 8).unwrap(); 3] })
    });
    let framed = public(&app, encode(&framed, image::ImageFormat::Png)).await;
    for (options, size) in [
        ("trim=border", (32, 16)),
        ("trim=border;7", (32, 16)),
        ("trim=border,w=16", (16, 8)),
        ("trim=border,rotate=90", (16, 32)),
        ("trim=border;255", (50, 30)),
    ] {
        let inside = if size.0 == 50 { [240, 240, 240, 255] } else { RED };
        assert_shown(&app, &framed, options, size, &[(0, 0, inside)]).await;
    }
    let strict = show(&app, &framed, "trim=border;6").await.expect(200).image();
    assert!(strict.width() > 32, "{:?}", strict.dimensions());
}

#[tokio::test]
async fn blur_and_sharpen_do_as_they_say() {
    let app = TestApp::start();
    let image = public(&app, quadrants(200, 40)).await;
    let row = async |options: &str| -> Vec<u8> {
        let shown = show(&app, &image, options).await.expect(200).image();
        assert_eq!(shown.dimensions(), (200, 40), "{options}");
        (0..200).map(|x| shown.get_pixel(x, 5)[0]).collect()
    };
    let sharp = row("f=png").await;
    assert_eq!((sharp[99], sharp[100]), (255, 0));
    let mut last = 0;
    for radius in [1, 4, 16, 60, 250] {
        let blurred = row(&format!("blur={radius}")).await;
        assert!(blurred.is_sorted_by(|left, right| left >= right), "{radius}: {blurred:?}");
        // From left to right it falls from red to green over about the radius to each side.
        let slope = blurred.iter().filter(|value| (26..230).contains(*value)).count();
        assert!(slope > last, "{radius}: {slope}");
        last = slope;
    }

    let soft = RgbImage::from_fn(60, 20, |x, _| Rgb([if x < 30 { 100 } else { 150 }; 3]));
    let soft = public(&app, encode(&soft, image::ImageFormat::Png)).await;
    let mut last = 50;
    for strength in ["0.5", "1", "4", "10"] {
        let shown = show(&app, &soft, &format!("sharpen={strength}")).await.expect(200).image();
        let contrast = shown.get_pixel(30, 10)[0] - shown.get_pixel(29, 10)[0];
        assert!(contrast > last, "{strength}: {contrast}");
        assert_eq!((shown.get_pixel(5, 10)[0], shown.get_pixel(55, 10)[0]), (100, 150), "{strength}");
        last = contrast;
    }
    let none = show(&app, &soft, "sharpen=0").await.expect(200);
    assert_eq!(none.etag(), show(&app, &soft, "f=png").await.expect(200).etag());
}

#[tokio::test]
async fn every_wrong_value_is_named() {
    let app = TestApp::start();
    let image = public(&app, jpeg(64, 48, 1)).await;
    for options in [
        "gravity=middle",
        "g=2x0",
        "g=0.5",
        "background=red",
        "bg=fff",
        "blur=0",
        "blur=251",
        "sharpen=11",
        "sharpen=-1",
        "rotate=45",
        "rotate=0",
        "flip=vh",
        "trim=1",
        "trim=1;2;3;x",
        "trim=border;256",
        "anim=yes",
        "watermark=none",
        "preset=none",
    ] {
        for with in [options.to_owned(), format!("w=32,{options}")] {
            let reply = show(&app, &image, &with).await.expect_problem(400, "bad_options");
            let detail = reply.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(&format!("`{options}`")), "{with}: {detail}");
        }
    }
    for (twice, named) in [("g=left,gravity=left", "gravity=left"), ("bg=000000,w=1,bg=000000", "bg=000000")]
    {
        let reply = show(&app, &image, twice).await.expect_problem(400, "bad_options");
        assert!(reply.text().contains(&format!("`{named}`")), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_huge_answer_is_refused_however_it_is_asked_for() {
    let app = TestApp::start();
    let picture = RgbImage::from_fn(64, 48, |x, _| Rgb(if x == 30 { [255, 0, 0] } else { [255; 3] }));
    let image = public(&app, encode(&picture, image::ImageFormat::Png)).await;
    for options in [
        "w=4096,h=4096,dpr=2,fit=pad,blur=250,sharpen=10",
        "w=4096,h=4096,dpr=2,fit=cover,g=auto,rotate=90",
        "w=8192,fit=contain,trim=border",
        "w=8192,fit=contain,trim=0;33;0;30",
    ] {
        let reply = show(&app, &image, options).await.expect_problem(400, "bad_options");
        assert!(reply.text().contains("smaller"), "{}", reply.text());
    }
}

#[tokio::test]
async fn links_spell_all_options_canonically() {
    let app =
        TestApp::start_with(&[("PINHOLE_TRANSFORM__PRESETS__CARD", "h=30,w=40,fit=cover,g=0.5x0,f=auto")]);
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    for (options, canonical) in [
        (
            "flip=v,trim=1;2;3;4,bg=FFAA00FF,sharpen=1.50,g=0.50x1.0,blur=7,rotate=90,anim=false,h=30,w=40,fit=cover",
            "width=40,height=30,fit=cover,gravity=bottom,background=ffaa00,blur=7,sharpen=1.5,rotate=90,flip=v,\
             trim=1;2;3;4,anim=false",
        ),
        ("preset=card", "width=40,height=30,fit=cover,gravity=top,format=auto"),
    ] {
        let wanted = json!({"images": [{"id": image, "options": options}], "widths": [16]});
        let answer = app.post("/v1/links").user("alice").await.json(&wanted).send().await.expect(200).json();
        assert_eq!(answer["links"][0]["options"], canonical.replace("width=40", "width=16"));
        let link = app.link("alice", &image, options).await;
        let path = link.strip_prefix(&app.url).unwrap();
        assert!(path.starts_with(&format!("/i/{image}/{canonical}?exp=")), "{path}");
        app.get(&link).send().await.expect(200);
    }
}

#[tokio::test]
async fn a_preset_is_its_options_by_another_name() {
    let app = TestApp::start_with(&[
        ("PINHOLE_TRANSFORM__UNSIGNED", "listed"),
        ("PINHOLE_TRANSFORM__WIDTHS", "32"),
        ("PINHOLE_TRANSFORM__PRESETS__THUMB", "w=20,h=20,fit=cover,g=left"),
        ("PINHOLE_TRANSFORM__PRESETS__WIDE", "f=auto,w=50"),
    ]);
    let image = public(&app, quadrants(60, 20)).await;
    let preset = show(&app, &image, "preset=thumb").await.expect(200);
    assert_eq!(preset.image().dimensions(), (20, 20));
    for same in ["width=20,height=20,fit=cover,gravity=left", "g=0x0.5,h=20,fit=cover,w=20"] {
        let spelt = show(&app, &image, same).await.expect(200);
        assert_eq!((&spelt.body, spelt.etag()), (&preset.body, preset.etag()), "{same}");
    }
    let renders = app.metric("pinhole_render_seconds_count").await;
    assert!((renders - 1.0).abs() < 0.5, "{renders} renders of one picture");

    let wide = app.get(&format!("/i/{image}/preset=wide")).header("accept", "image/webp");
    let wide = wide.send().await.expect(200);
    assert_eq!((wide.header("content-type"), wide.header("vary")), ("image/webp", "Accept"));

    for (options, says) in [
        ("preset=none", "thumb, wide"),
        ("preset=thumb,w=32", "stands alone"),
        ("w=32,preset=thumb", "stands alone"),
        ("width=21,height=20,fit=cover,gravity=left", "thumb, wide"),
    ] {
        let reply = show(&app, &image, options).await.expect_problem(400, "bad_options");
        assert!(reply.text().contains(says), "{options}: {}", reply.text());
    }
    let none = TestApp::start_with(&[
        ("PINHOLE_TRANSFORM__UNSIGNED", "none"),
        ("PINHOLE_TRANSFORM__PRESETS__THUMB", "w=20"),
    ]);
    let image = public(&none, quadrants(60, 20)).await;
    show(&none, &image, "preset=thumb").await.expect_problem(400, "bad_options");
    none.get(&none.link("alice", &image, "preset=thumb").await).send().await.expect(200);
}

#[tokio::test]
async fn a_watermark_is_drawn_over_the_finished_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logo.png");
    let logo =
        RgbaImage::from_fn(20, 10, |x, _| Rgba(if x < 10 { [255, 255, 0, 255] } else { [255, 0, 255, 0] }));
    std::fs::write(&file, png(logo)).unwrap();
    let file = file.to_str().unwrap();
    let app = TestApp::start_with(&[
        ("PINHOLE_TRANSFORM__WATERMARKS__LOGO__FILE", file),
        ("PINHOLE_TRANSFORM__WATERMARKS__FAINT__FILE", file),
        ("PINHOLE_TRANSFORM__WATERMARKS__FAINT__POSITION", "top-left"),
        ("PINHOLE_TRANSFORM__WATERMARKS__FAINT__OPACITY", "0.2"),
        ("PINHOLE_TRANSFORM__WATERMARKS__FAINT__SCALE", "1"),
    ]);
    let image = public(&app, encode(&RgbImage::new(160, 120), image::ImageFormat::Png)).await;
    let yellow = [255, 255, 0, 255];
    for (options, size, points) in [
        // A quarter of the sides in the bottom right corner; the logo's right half is not to be seen.
        (
            "watermark=logo",
            (160, 120),
            [(121, 101, yellow), (138, 118, yellow), (159, 119, BLACK), (118, 101, BLACK)],
        ),
        (
            "w=80,watermark=logo",
            (80, 60),
            [(61, 51, yellow), (67, 58, yellow), (79, 59, BLACK), (58, 51, BLACK)],
        ),
        // It is the answer's corner, whatever was done to the picture.
        (
            "w=80,h=80,fit=pad,rotate=90,blur=9,watermark=logo",
            (80, 80),
            [(61, 71, yellow), (67, 78, yellow), (78, 78, WHITE), (40, 40, BLACK)],
        ),
        (
            "watermark=faint",
            (160, 120),
            [(1, 1, [51, 51, 0, 255]), (70, 70, [51, 51, 0, 255]), (159, 1, BLACK), (1, 119, BLACK)],
        ),
    ] {
        assert_shown(&app, &image, options, size, &points).await;
    }
    let other = show(&app, &image, "watermark=none").await.expect_problem(400, "bad_options");
    assert!(other.text().contains("faint, logo"), "{}", other.text());
}

#[test]
fn presets_and_watermarks_that_cannot_work_are_refused_at_start() {
    let data = tempfile::tempdir().unwrap();
    let broken = data.path().join("broken.png");
    std::fs::write(&broken, b"\x89PNG\r\n\x1A\nand no more").unwrap();
    let text = data.path().join("text.png");
    std::fs::write(&text, b"no picture").unwrap();
    let good = data.path().join("good.png");
    std::fs::write(&good, quadrants(4, 4)).unwrap();
    let path = |file: &std::path::Path| file.to_str().unwrap().to_owned();
    let missing = path(&data.path().join("missing.png"));
    let (preset, watermark) = ("PINHOLE_TRANSFORM__PRESETS__X", "PINHOLE_TRANSFORM__WATERMARKS__X");
    for (settings, says) in [
        (vec![(preset.to_owned(), "w=0".to_owned())], vec!["transform.presets", "`w=0`"]),
        (vec![(preset.to_owned(), "preset=x".to_owned())], vec!["transform.presets", "alone"]),
        (vec![(preset.to_owned(), "watermark=x".to_owned())], vec!["transform.presets", "no watermarks"]),
        (
            vec![("PINHOLE_TRANSFORM__PRESETS__A B".to_owned(), "w=1".to_owned())],
            vec!["transform.presets", "a b"],
        ),
        (vec![(format!("{watermark}__OPACITY"), "1".to_owned())], vec!["watermarks.x", "file"]),
        (
            vec![(format!("{watermark}__FILE"), missing.clone())],
            vec!["transform.watermarks.x.file", &missing],
        ),
        (vec![(format!("{watermark}__FILE"), path(&broken))], vec!["transform.watermarks.x", "cannot be"]),
        (
            vec![(format!("{watermark}__FILE"), path(&text))],
            vec!["transform.watermarks.x", "PNG, WebP or JPEG"],
        ),
        (
            vec![
                (format!("{watermark}__FILE"), path(&good)),
                (format!("{watermark}__SCALE"), "2".to_owned()),
            ],
            vec!["transform.watermarks.x", "scale must be"],
        ),
        (
            vec![
                (format!("{watermark}__FILE"), path(&good)),
                (format!("{watermark}__POSITION"), "up".to_owned()),
            ],
            vec!["transform.watermarks.x", "position must be"],
        ),
        (
            vec![
                (format!("{watermark}__FILE"), path(&good)),
                (format!("{watermark}__COLOUR"), "up".to_owned()),
            ],
            vec!["colour"],
        ),
    ] {
        let output = dev_command(&data.path().join("data")).envs(settings.clone()).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{settings:?} was taken");
        for says in says {
            assert!(message.contains(says), "{settings:?}: {message}");
        }
    }
}
