//! The pictures themselves, against Pillow and `ImageMagick`: what they make goes in, what they see
//! comes out.

use serde_json::{Value, json};

use crate::{referee, support::TestApp};

/// Colours and how long each is seen, for [`animation`].
const FRAMES: [([u8; 3], u64); 4] =
    [([200, 30, 30], 100), ([30, 160, 30], 250), ([30, 30, 200], 40), ([30, 30, 200], 700)];

/// A canvas of 60 × 40 that is grey on the left and shows [`FRAMES`] in its right half.
fn animation(format: &str, repeat: &str) -> Vec<u8> {
    let script = format!(
        "frames = []
for colour, ms in {frames}:
    frame = Image.new('RGB', (60, 40), (90, 90, 90)); frame.paste(tuple(colour), (30, 0, 60, 40)); frames.append(frame)
put(saved(frames[0], '{format}', save_all=True, append_images=frames[1:], duration=[ms for _, ms in {frames}], {repeat}))",
        frames = json!(FRAMES),
    );
    referee::python(&script, b"")
}

#[track_caller]
fn assert_near(found: &Value, expected: [u8; 4], tolerance: u8, what: &str) {
    let found: [u8; 4] = serde_json::from_value(found.clone()).unwrap();
    let near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= tolerance);
    assert!(near, "{what}: {found:?} is not {expected:?}");
}

async fn shown(app: &TestApp, image: &str, options: &str) -> (String, Vec<u8>) {
    let reply = app.get(&format!("/i/{image}/{options}")).user("alice").await.send().await.expect(200);
    (reply.header("content-type").to_owned(), reply.body.to_vec())
}

#[tokio::test]
async fn animations_keep_their_frames_their_times_and_how_often_they_are_shown() {
    let app = TestApp::start();
    // What Pillow calls a loop is repeats for GIF, and plays for WebP; nothing said is once.
    for (source, repeat, plays) in [
        ("GIF", "loop=0", 0),
        ("GIF", "loop=2", 3),
        ("GIF", "", 1),
        ("WEBP", "lossless=True, loop=0", 0),
        ("WEBP", "lossless=True, loop=3", 3),
        ("PNG", "loop=2, default_image=False", 2),
    ] {
        let file = animation(source, repeat);
        let image = app.upload("alice", file.clone()).await;
        let said =
            app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200).json();
        // Pillow makes one frame of two that are alike, in GIF and PNG.
        let frames = referee::frames(&file, &[]).get("frames").unwrap().as_array().unwrap().len();
        assert!(frames >= 3);
        assert_eq!(said["frames"], frames, "{source}");
        for target in ["webp", "gif"] {
            let what = format!("{source}, {repeat}, to {target}");
            let (content_type, bytes) = shown(&app, &image, &format!("w=30,f={target}")).await;
            assert_eq!(content_type, format!("image/{target}"));
            let seen = referee::frames(&bytes, &[(5, 10), (25, 10)]);
            assert_eq!(seen["size"], json!([30, 20]), "{what}");
            let repeats = match (target, plays) {
                ("gif", 1) => Value::Null,
                ("gif", 2..) => json!(plays - 1),
                _ => json!(plays),
            };
            assert_eq!(seen["loop"], repeats, "{what}");
            let times: Vec<u64> =
                seen["frames"].as_array().unwrap().iter().map(|f| f["ms"].as_u64().unwrap()).collect();
            let expected: Vec<u64> = if frames == 4 { vec![100, 250, 40, 700] } else { vec![100, 250, 740] };
            assert_eq!(times, expected, "{what}");
            for (frame, (colour, _)) in seen["frames"].as_array().unwrap().iter().zip(FRAMES) {
                let [r, g, b] = colour;
                assert_near(&frame["at"][0], [90, 90, 90, 255], 6, &what);
                assert_near(&frame["at"][1], [r, g, b, 255], 14, &what);
            }
        }
    }
}

#[tokio::test]
async fn without_frames_the_first_is_shown() {
    let app = TestApp::start();
    for source in ["GIF", "WEBP"] {
        let image = app.upload("alice", animation(source, "loop=0")).await;
        for options in ["w=30,f=jpeg", "w=30,f=png", "w=30,anim=false", "w=30,f=gif,anim=false"] {
            let (_, bytes) = shown(&app, &image, options).await;
            let seen = referee::frames(&bytes, &[(5, 10), (25, 10)]);
            assert_eq!(seen["frames"].as_array().unwrap().len(), 1, "{source}: {options}");
            assert_near(&seen["frames"][0]["at"][0], [90, 90, 90, 255], 8, options);
            assert_near(&seen["frames"][0]["at"][1], [200, 30, 30, 255], 14, options);
        }
    }
}

/// Every way in which a GIF's frame can make room for the next, and parts that lie apart.
#[tokio::test]
async fn what_frames_leave_behind_is_what_imagemagick_says() {
    let app = TestApp::start();
    for dispose in ["None", "Background", "Previous"] {
        let mut arguments = vec!["-delay", "20", "-loop", "0", "-size", "40x40", "xc:#c83232"];
        arguments.extend(["-dispose", dispose]);
        for (page, size, colour) in [
            ("+0+0", "16x16", "xc:#32c832"),
            ("+20+12", "12x20", "xc:#3232c8"),
            ("+4+24", "16x12", "xc:#c8c832"),
        ] {
            arguments.extend(["(", "-size", size, colour, "-repage", page, ")"]);
        }
        arguments.push("gif:-");
        let file = referee::convert(&arguments, b"");
        let seen = referee::gif_pixels(&file);
        let frames: Vec<&[u8]> = seen.chunks(40 * 40 * 4).collect();
        assert_eq!(frames.len(), 4);
        let places = [(4, 4), (26, 20), (10, 30), (36, 36)];

        let image = app.upload("alice", file).await;
        let (_, bytes) = shown(&app, &image, "f=gif").await;
        assert!(referee::gif_pixels(&bytes) == seen, "{dispose} to gif: another animation");

        let (_, bytes) = shown(&app, &image, "f=webp").await;
        let found = referee::frames(&bytes, &places);
        for (n, frame) in frames.iter().enumerate() {
            for (place, (x, y)) in places.into_iter().enumerate() {
                let at = (y * 40 + x) as usize * 4;
                let colour: [u8; 4] = frame[at..at + 4].try_into().unwrap();
                let what = format!("{dispose} to webp: frame {n} at {x}, {y}");
                let found = &found["frames"][n]["at"][place];
                if colour[3] == 0 {
                    assert_eq!(found[3], 0, "{what}");
                } else {
                    assert_near(found, colour, 16, &what);
                }
            }
        }
    }
}
