//! The pictures themselves, against Pillow and `ImageMagick`: what they make goes in, what they see
//! comes out.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::{files, referee, support::TestApp};

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

#[tokio::test]
async fn options_hold_for_every_frame() {
    let app = TestApp::start();
    let image = app.upload("alice", animation("GIF", "loop=0")).await;
    for (options, size, grey, colour) in [
        ("rotate=180", [60, 40], (50, 20), (10, 20)),
        ("rotate=90,w=20", [20, 30], (10, 5), (10, 25)),
        ("w=20,h=20,fit=cover,g=right", [20, 20], (2, 10), (17, 10)),
        ("w=20,h=20,fit=cover,g=auto", [20, 20], (2, 10), (17, 10)),
        ("trim=0;0;0;20", [40, 40], (4, 20), (30, 20)),
    ] {
        let (_, bytes) = shown(&app, &image, &format!("{options},f=webp")).await;
        let seen = referee::frames(&bytes, &[grey, colour]);
        assert_eq!(seen["size"], json!(size), "{options}");
        let frames = seen["frames"].as_array().unwrap();
        assert_eq!(frames.len(), 3, "{options}");
        // What stands out is not for this test to say.
        for (frame, ([r, g, b], _)) in frames.iter().zip(FRAMES).filter(|_| !options.contains("auto")) {
            assert_near(&frame["at"][0], [90, 90, 90, 255], 12, options);
            assert_near(&frame["at"][1], [r, g, b, 255], 14, options);
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

/// Red and green above blue and black, 48 × 32, as a file with an EXIF orientation.
fn turned(format: &str, orientation: u8) -> Vec<u8> {
    let script = format!(
        "picture = Image.new('RGB', (48, 32))
for n, colour in enumerate([(220, 20, 20), (20, 200, 20), (20, 20, 220), (0, 0, 0)]):
    picture.paste(colour, (n % 2 * 24, n // 2 * 16, n % 2 * 24 + 24, n // 2 * 16 + 16))
exif = Image.Exif(); exif[0x0112] = {orientation}
put(saved(picture, '{format}', exif=exif, quality=95))"
    );
    referee::python(&script, b"")
}

#[tokio::test]
async fn every_orientation_comes_out_as_pillow_turns_it() {
    let app = TestApp::start();
    let files = (1..=8).map(|n| ("JPEG", n)).chain([("PNG", 6), ("PNG", 7), ("WEBP", 8), ("WEBP", 5)]);
    for (format, orientation) in files {
        let file = turned(format, orientation);
        let turn = "from PIL import ImageOps
picture = ImageOps.exif_transpose(Image.open(io.BytesIO(given))); put(saved(picture, 'PNG'))";
        let upright = referee::python(turn, &file);
        let size = referee::frames(&upright, &[])["size"].clone();
        let [width, height]: [u32; 2] = serde_json::from_value(size.clone()).unwrap();
        let places = [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| (width * x / 4, height * y / 4));
        let expected = referee::frames(&upright, &places);

        let image = app.upload("alice", file).await;
        let (_, bytes) = shown(&app, &image, "f=png").await;
        let seen = referee::frames(&bytes, &places);
        let what = format!("{format}, {orientation}");
        assert_eq!(seen["size"], size, "{what}");
        for n in 0..4 {
            let colour = serde_json::from_value(expected["frames"][0]["at"][n].clone()).unwrap();
            assert_near(&seen["frames"][0]["at"][n], colour, 6, &what);
        }
    }
}

/// Sends a file in, and holds the answer as PNG against colours at places of the source.
async fn assert_colours(app: &TestApp, what: &str, file: Vec<u8>, expected: &Value, tolerance: u8) {
    let places: Vec<(u32, u32)> = PATCHES.to_vec();
    let image = app.upload("alice", file).await;
    let (_, bytes) = shown(app, &image, "f=png").await;
    let seen = referee::frames(&bytes, &places);
    for (n, place) in places.iter().enumerate() {
        let colour = serde_json::from_value(expected["frames"][0]["at"][n].clone()).unwrap();
        let what = format!("{what} at {place:?}");
        assert_near(&seen["frames"][0]["at"][n], colour, tolerance, &what);
    }
}

/// In the middle of each of the patches that [`PATCHED`] paints.
const PATCHES: [(u32, u32); 6] = [(8, 8), (24, 8), (40, 8), (8, 24), (24, 24), (40, 24)];

/// A picture of six patches, in Python.
const PATCHED: &str = "picture = Image.new('RGB', (48, 32))
for n, colour in enumerate([(200, 40, 40), (40, 180, 60), (50, 60, 190), (230, 200, 90), (128, 128, 128), (250, 250, 245)]):
    picture.paste(colour, (n % 3 * 16, n // 3 * 16, n % 3 * 16 + 16, n // 3 * 16 + 16))
";

#[tokio::test]
async fn profiles_are_followed_as_littlecms_follows_them() {
    let app = TestApp::start();
    let grey = moxcms::ColorProfile::new_gray_with_gamma(1.0);
    for (name, profile, mode) in [
        ("Display P3", moxcms::ColorProfile::new_display_p3(), "RGB"),
        ("Adobe RGB", moxcms::ColorProfile::new_adobe_rgb(), "RGB"),
        ("ProPhoto RGB", moxcms::ColorProfile::new_pro_photo_rgb(), "RGB"),
        ("linear grey", grey, "L"),
    ] {
        let icc = profile.encode().unwrap();
        for (format, tolerance) in [("PNG", 2), ("JPEG", 6), ("WEBP", 2)] {
            if (mode, format) == ("L", "WEBP") {
                continue; // WebP has no grey
            }
            let make = format!(
                "{PATCHED}put(saved(picture.convert('{mode}'), '{format}', icc_profile=given, quality=97, \
                 {how}))",
                how = if format == "WEBP" { "lossless=True" } else { "subsampling=0" },
            );
            let make = if format == "WEBP" { make } else { make.replace("lossless=True", "") };
            let file = referee::python(&make, &icc);
            let convert = "picture = Image.open(io.BytesIO(given))
profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info['icc_profile']))
seen = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile('sRGB'), outputMode='RGB', renderingIntent=1)
put(saved(seen, 'PNG'))";
            let converted = referee::python(convert, &file);
            let expected = referee::frames(&converted, &PATCHES);
            assert_colours(&app, &format!("{name} in {format}"), file, &expected, tolerance).await;
        }
    }
}

#[tokio::test]
async fn every_kind_of_png_is_what_imagemagick_and_pillow_see() {
    let app = TestApp::start();
    let patches = referee::python(&format!("{PATCHED}put(saved(picture, 'PNG'))"), b"");
    // Colour types of PNG (W3C, §11.2.1) with the depths that each has; small palettes are below.
    let grey: &[&str] = &["-colorspace", "Gray", "+dither"];
    let alpha: &[&str] = &["-alpha", "set", "-channel", "A", "-evaluate", "set", "60%", "+channel"];
    for (kind, depth, how) in [
        ("0", "1", &[grey, &["-posterize", "2"]].concat()[..]),
        ("0", "2", &[grey, &["-posterize", "4"]].concat()),
        ("0", "4", &[grey, &["-posterize", "16"]].concat()),
        ("0", "8", grey),
        ("0", "16", grey),
        ("2", "8", &[]),
        ("2", "16", &[]),
        ("4", "8", &[grey, alpha].concat()),
        ("4", "16", &[grey, alpha].concat()),
        ("3", "8", &["+dither", "-colors", "6"]),
        ("6", "8", alpha),
        ("6", "16", alpha),
    ] {
        for interlace in ["None", "PNG"] {
            let kind_of = format!("png:color-type={kind}");
            let depth_of = format!("png:bit-depth={depth}");
            let mut arguments = vec!["png:-", "-interlace", interlace];
            arguments.extend(how);
            arguments.extend(["-define", &kind_of, "-define", &depth_of]);
            arguments.extend(["-define", "png:exclude-chunks=date,time,gAMA,cHRM", "png:-"]);
            let file = referee::convert(&arguments, &patches);
            let what = format!("type {kind}, {depth} bits, {interlace}");
            let header = [file[25], file[24], file[28]].map(|byte| byte.to_string());
            assert_eq!(header, [kind, depth, if interlace == "PNG" { "1" } else { "0" }], "{what}");
            assert_as_magick_sees(&app, &what, file).await;
        }
    }
    for (depth, colours) in [(1, 2), (2, 4), (4, 6)] {
        let make = format!("{PATCHED}put(saved(picture.quantize({colours}), 'PNG', bits={depth}))");
        let file = referee::python(&make, b"");
        assert_eq!([file[25], file[24]], [3, depth]);
        let interlaced = referee::convert(&["png:-", "-interlace", "PNG", "png:-"], &file);
        assert_eq!([interlaced[25], interlaced[28]], [3, 1]);
        assert_as_magick_sees(&app, &format!("palette, {depth} bits"), file).await;
        assert_as_magick_sees(&app, &format!("palette, {depth} bits, interlaced"), interlaced).await;
    }
}

/// Linear light has half of what is seen in the lowest fifth of its range.
#[tokio::test]
async fn sixteen_bits_are_not_dropped_before_their_curve_is_followed() {
    let app = TestApp::start();
    let make = "import struct, zlib
def chunk(name, data): return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
levels = [20, 60, 120, 300, 1000, 40000]
row = lambda n: b'\\0' + b''.join(struct.pack('>H', levels[n * 3 + x // 16]) for x in range(48))
data = b''.join(row(y // 16) for y in range(32))
put(b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 48, 32, 16, 0, 0, 0, 0))
    + chunk(b'gAMA', struct.pack('>I', 100000)) + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b''))";
    let curve = "light = lambda v: 12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055
grey = [round(255 * light(v / 65535)) for v in [20, 60, 120, 300, 1000, 40000]]
say({'frames': [{'at': [[v, v, v, 255] for v in grey]}]})";
    let expected = referee::ask(curve, b"");
    assert_colours(&app, "linear grey of 16 bits", referee::python(make, b""), &expected, 1).await;
}

/// By way of eight bits for each colour, which Pillow reads right.
async fn assert_as_magick_sees(app: &TestApp, what: &str, file: Vec<u8>) {
    let eight = referee::convert(&["png:-", "-depth", "8", "png32:-"], &file);
    let expected = referee::frames(&eight, &PATCHES);
    assert_colours(app, what, file, &expected, 1).await;
}

#[tokio::test]
async fn a_palette_may_be_transparent() {
    let app = TestApp::start();
    let make =
        format!("{PATCHED}put(saved(picture.quantize(6), 'PNG', transparency=bytes([0, 60, 255, 128])))");
    let file = referee::python(&make, b"");
    let expected = referee::frames(&file, &PATCHES);
    assert_colours(&app, "palette and tRNS", file, &expected, 1).await;
}

/// As browsers do: `sRGB` wins over `gAMA` and `cHRM`, and `iCCP` over all.
#[tokio::test]
async fn what_a_png_says_of_its_colours_is_followed() {
    let app = TestApp::start();
    let plain = referee::python(&format!("{PATCHED}put(saved(picture, 'PNG'))"), b"");
    let with = |chunks: &[([u8; 4], &[u8])]| {
        let chunks: Vec<u8> = chunks.iter().flat_map(|(name, data)| files::png_chunk(*name, data)).collect();
        [&plain[..33], &chunks, &plain[33..]].concat()
    };
    let be = |values: &[u32]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let linear = be(&[100_000]);
    let p3 = be(&[31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000]);
    let srgb_primaries = be(&[31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000]);

    let same = referee::frames(&plain, &PATCHES);
    let srgb = (*b"sRGB", &[0_u8][..]);
    for (what, file) in [
        ("gAMA of sRGB", with(&[(*b"gAMA", &be(&[45_455]))])),
        ("gAMA and cHRM of sRGB", with(&[(*b"gAMA", &be(&[45_455])), (*b"cHRM", &srgb_primaries)])),
        ("sRGB over gAMA", with(&[srgb, (*b"gAMA", &linear)])),
        ("sRGB over gAMA and cHRM", with(&[srgb, (*b"gAMA", &linear), (*b"cHRM", &p3)])),
        ("cHRM alone", with(&[(*b"cHRM", &p3)])),
        ("gAMA of nothing", with(&[(*b"gAMA", &be(&[0]))])),
        ("cHRM of nothing", with(&[(*b"gAMA", &be(&[45_455])), (*b"cHRM", &be(&[0; 8]))])),
        ("cICP of sRGB", with(&[(*b"cICP", &[1, 13, 0, 1]), (*b"gAMA", &linear)])),
    ] {
        assert_colours(&app, what, file, &same, 6).await;
    }

    // The curve of IEC 61966-2-1 over linear light, and P3 by LittleCMS.
    let curve = "curve = [round(255 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055)) for v in (n / 255 for n in range(256))]
put(saved(Image.open(io.BytesIO(given)).point(curve * 3), 'PNG'))";
    let brighter = referee::frames(&referee::python(curve, &plain), &PATCHES);
    assert_colours(&app, "linear gAMA", with(&[(*b"gAMA", &linear)]), &brighter, 2).await;
    let both = with(&[(*b"gAMA", &linear), (*b"cHRM", &srgb_primaries)]);
    assert_colours(&app, "linear gAMA with cHRM", both, &brighter, 2).await;

    let icc = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let script = "import base64
picture = Image.open(io.BytesIO(given))
profile = ImageCms.ImageCmsProfile(io.BytesIO(base64.b64decode(PROFILE)))
put(saved(ImageCms.profileToProfile(picture, profile, ImageCms.createProfile('sRGB'), renderingIntent=1), 'PNG'))";
    let icc = format!("PROFILE = '{}'\n{script}", base64::engine::general_purpose::STANDARD.encode(icc));
    let wide = referee::frames(&referee::python(&icc, &plain), &PATCHES);
    assert_colours(&app, "cICP of P3", with(&[(*b"cICP", &[12, 13, 0, 1])]), &wide, 3).await;
    let chunks = [(*b"gAMA", &be(&[45_455])[..]), (*b"cHRM", &p3)];
    assert_colours(&app, "cHRM of P3", with(&chunks), &wide, 8).await;
}

#[tokio::test]
async fn avif_is_what_libavif_sees() {
    let app = TestApp::start();
    let plain = referee::python(&format!("{PATCHED}put(saved(picture, 'PNG'))"), b"");
    let clear = "-alpha set -channel A -evaluate set 60% +channel png:-";
    let clear: Vec<&str> = ["png:-"].into_iter().chain(clear.split(' ')).collect();
    let clear = referee::convert(&clear, &plain);
    let best = ["--min", "0", "--max", "2", "--minalpha", "0", "--maxalpha", "2"];
    for (what, source, how) in [
        ("4:4:4", &plain, &["-y", "444"][..]),
        ("4:2:2", &plain, &["-y", "422"]),
        ("4:2:0", &plain, &["-y", "420"]),
        ("grey", &plain, &["-y", "400"]),
        ("limited range", &plain, &["-r", "limited"]),
        ("BT.709", &plain, &["--cicp", "1/13/1"]),
        ("ten bits", &plain, &["-d", "10", "-y", "444"]),
        ("twelve bits", &plain, &["-d", "12", "-y", "420", "-r", "limited"]),
        ("lossless", &plain, &["-l"]),
        ("alpha", &clear, &["-y", "444"]),
        ("multiplied alpha", &clear, &["-y", "444", "-p"]),
    ] {
        let best: &[&str] = if what == "lossless" { &[] } else { &best };
        let file = referee::avif(&[best, how].concat(), source);
        let decoded = referee::avif_as_png(&file);
        let decoded = referee::convert(&["png:-", "png32:-"], &decoded);
        let expected = referee::frames(&decoded, &PATCHES);
        assert_colours(&app, what, file, &expected, 3).await;
    }
}

#[tokio::test]
async fn avif_is_turned_as_libheif_turns_it() {
    let app = TestApp::start();
    let upright = referee::python(
        "picture = Image.open(io.BytesIO(given)); put(saved(picture, 'PNG'))",
        &referee::convert(&["jpeg:-", "png:-"], &turned("JPEG", 1)),
    );
    for turns in ["0", "1", "2", "3"] {
        for mirror in [None, Some("0"), Some("1")] {
            let mut how = vec!["--min", "0", "--max", "4", "--irot", turns];
            how.extend(mirror.iter().flat_map(|axis| ["--imir", axis]));
            let file = referee::avif(&how, &upright);
            let expected = referee::convert(&["avif:-", "png:-"], &file);
            let size = referee::frames(&expected, &[])["size"].clone();
            let [width, height]: [u32; 2] = serde_json::from_value(size.clone()).unwrap();
            let places = [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| (width * x / 4, height * y / 4));
            let expected = referee::frames(&expected, &places);

            let image = app.upload("alice", file).await;
            let (_, bytes) = shown(&app, &image, "f=png").await;
            let seen = referee::frames(&bytes, &places);
            let what = format!("turned {turns}, mirrored {mirror:?}");
            assert_eq!(seen["size"], size, "{what}");
            for n in 0..4 {
                let colour = serde_json::from_value(expected["frames"][0]["at"][n].clone()).unwrap();
                assert_near(&seen["frames"][0]["at"][n], colour, 8, &what);
            }
        }
    }
}

#[tokio::test]
async fn an_avif_is_answered_in_its_own_format_or_what_is_accepted() {
    let app = TestApp::start();
    let plain = referee::python(&format!("{PATCHED}put(saved(picture, 'PNG'))"), b"");
    let clear = referee::python(&format!("{PATCHED}picture.putalpha(100); put(saved(picture, 'PNG'))"), b"");
    let [opaque, transparent] = [&plain, &clear].map(|png| referee::avif(&[], png));
    let (opaque, transparent) = (app.upload("alice", opaque).await, app.upload("alice", transparent).await);
    for (image, options, accept, content_type) in [
        (&opaque, "original", "", "image/avif"),
        (&opaque, "w=20", "", "image/avif"),
        (&opaque, "w=20,f=auto", "image/webp", "image/webp"),
        (&opaque, "w=20,f=auto", "image/*", "image/jpeg"),
        (&opaque, "w=20,f=gif", "", "image/gif"),
        (&transparent, "w=20,f=auto", "image/*", "image/png"),
        (&transparent, "w=20,f=auto,bg=ffffff", "image/*", "image/jpeg"),
        (&transparent, "w=20,f=jpeg", "image/*", "image/jpeg"),
    ] {
        let get = app.get(&format!("/i/{image}/{options}")).user("alice").await;
        let reply = get.header("accept", accept).send().await.expect(200);
        assert_eq!(reply.header("content-type"), content_type, "{options}, {accept}");
    }
    let (_, seen) = shown(&app, &transparent, "f=auto").await;
    for n in 0..6 {
        assert_eq!(referee::frames(&seen, &PATCHES)["frames"][0]["at"][n][3], 100);
    }
}

/// What libavif and libheif see in our AVIFs is what was sent in, and nothing else is in them.
#[tokio::test]
async fn avif_answers_are_the_picture_and_nothing_else() {
    let app = TestApp::start();
    let plain = referee::python(&format!("{PATCHED}put(saved(picture, 'PNG'))"), b"");
    let clear = referee::python(
        &format!(
            "{PATCHED}picture.putalpha(Image.linear_gradient('L').resize((48, 32))); put(saved(picture, 'PNG'))"
        ),
        b"",
    );
    for (what, file) in [("opaque", plain), ("transparent", clear)] {
        let expected = referee::frames(&file, &PATCHES);
        let image = app.upload("alice", file).await;
        // With a quarter of the chroma, and with all of it.
        for options in ["f=avif", "f=avif,q=95"] {
            let (content_type, bytes) = shown(&app, &image, options).await;
            assert_eq!(content_type, "image/avif");
            let by_libavif = referee::convert(&["png:-", "png32:-"], &referee::avif_as_png(&bytes));
            // ImageMagick makes up an alpha channel where ten bits have none.
            let by_libheif = referee::convert(&["avif:-", "-alpha", "off", "-depth", "8", "png24:-"], &bytes);
            for (who, png) in [("libavif", by_libavif), ("libheif", by_libheif)] {
                let seen = referee::frames(&png, &PATCHES);
                assert_eq!(seen["size"], json!([48, 32]), "{what}, {options}, {who}");
                for (n, place) in PATCHES.iter().enumerate() {
                    let mut colour: [u8; 4] =
                        serde_json::from_value(expected["frames"][0]["at"][n].clone()).unwrap();
                    if who == "libheif" {
                        colour[3] = 255;
                    }
                    let what = format!("{what}, {options}, {who}, at {place:?}");
                    assert_near(&seen["frames"][0]["at"][n], colour, 8, &what);
                }
            }
        }
    }
    for format in files::TURNABLE {
        let image = app.upload("alice", files::file_with_secrets(format, 6)).await;
        let (_, bytes) = shown(&app, &image, "f=avif").await;
        let size = referee::frames(&referee::avif_as_png(&bytes), &[])["size"].clone();
        assert_eq!(size, json!([48, 64]), "{format}: upright without saying so");
        assert!(!files::has_secret(&bytes), "{format}");
        for name in [&b"Exif"[..], b"mime", b"prof", b"irot", b"imir"] {
            assert!(!bytes.windows(name.len()).any(|window| window == name), "{format}: {name:?}");
        }
    }
}

#[tokio::test]
async fn an_avif_keeps_its_pixels_and_loses_what_it_says() {
    let app = TestApp::start();
    let folder = tempfile::tempdir().unwrap();
    let [exif, xmp] = ["exif", "xmp"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    // A directory with nothing in it, and the secret behind it.
    std::fs::write(&exif, [&b"II*\0\x08\0\0\0\0\0"[..], files::SECRET].concat()).unwrap();
    std::fs::write(&xmp, [&b"<x:xmpmeta>"[..], files::SECRET].concat()).unwrap();
    let plain = referee::python(&format!("{PATCHED}put(saved(picture, 'PNG'))"), b"");
    let file = referee::avif(&["--exif", &exif, "--xmp", &xmp, "-y", "444"], &plain);
    let boxed = [&28_u32.to_be_bytes()[..], b"uuid", &[7; 4], files::SECRET].concat();
    let file = [&file, &boxed[..], files::SECRET].concat();

    let image = app.upload("alice", file.clone()).await;
    let (_, raw) = shown(&app, &image, "raw").await;
    assert_eq!(raw.windows(files::SECRET.len()).filter(|window| *window == files::SECRET).count(), 4);
    let (_, original) = shown(&app, &image, "original").await;
    assert!(!files::has_secret(&original));
    assert!(referee::avif_as_png(&original) == referee::avif_as_png(&file), "other pixels");
    let seen = referee::convert(&["avif:-", "-depth", "8", "rgb:-"], &original);
    assert!(seen == referee::convert(&["avif:-", "-depth", "8", "rgb:-"], &file), "others see other pixels");
}
