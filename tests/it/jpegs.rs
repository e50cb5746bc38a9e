//! JPEG, of which there are more kinds than any decoder likes: all that is sound is taken and shown as
//! libjpeg shows it, and nothing that lacks a part.

use jpeg_encoder::ColorType::{Cmyk, CmykAsYcck};

use crate::{
    referee,
    support::{TestApp, jpeg},
};

/// What a value may be off of what another decoder makes of it: each rounds in its own way.
const TOLERANCE: u8 = 6;

/// A CMYK profile, from Debian's package libgs-common.
const INK_PROFILE: &str = "/usr/share/color/icc/ghostscript/default_cmyk.icc";

/// Every colour and many an edge, 77 × 53, in Python.
const BUSY: &str = "import math
picture = Image.new('RGB', (77, 53))
picture.putdata([(round(128 + 100 * math.sin(x / 5 + y / 9)), x * 3, round(128 + 90 * math.cos(x * y / 300)))
    for y in range(53) for x in range(77)])
";

/// As PPM, which `cjpeg` reads.
fn busy() -> Vec<u8> {
    referee::python(&format!("{BUSY}put(saved(picture, 'PPM'))"), b"")
}

/// Sound files of every kind of coding.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let ppm = busy();
    let apart = "0; 1; 2;";
    [
        ("baseline", &["-sample", "2x2"][..], ""),
        ("optimised", &["-optimize", "-sample", "1x1"], ""),
        ("restarting", &["-restart", "3B", "-sample", "2x1"], ""),
        ("progressive", &["-progressive", "-sample", "2x2"], ""),
        ("progressive, restarting", &["-progressive", "-restart", "1"], ""),
        ("grey", &["-grayscale"], ""),
        ("apart", &["-sample", "2x2"], apart),
        ("apart, restarting", &["-sample", "1x1", "-restart", "5B"], apart),
    ]
    .map(|(kind, how, scans)| (kind, referee::cjpeg(how, scans, &ppm)))
    .into()
}

/// Red, green and blue of every pixel, as Pillow sees them.
fn pillow(file: &[u8]) -> Vec<u8> {
    referee::python("put(Image.open(io.BytesIO(given)).convert('RGB').tobytes())", file)
}

/// The same, of what pinhole makes of a file.
async fn shown(app: &TestApp, file: Vec<u8>) -> Vec<u8> {
    let image = app.upload("alice", file).await;
    let reply = app.get(&format!("/i/{image}/f=png")).user("alice").await.send().await.expect(200);
    pillow(&reply.body)
}

async fn assert_shown(app: &TestApp, what: &str, file: Vec<u8>, expected: &[u8]) {
    let seen = shown(app, file).await;
    assert_eq!(seen.len(), expected.len(), "{what}");
    let off = seen.iter().zip(expected).map(|(seen, expected)| seen.abs_diff(*expected)).max();
    assert!(off <= Some(TOLERANCE), "{what} is off by {off:?}");
}

#[tokio::test]
async fn sequential_colours_may_come_apart() {
    let app = TestApp::start();
    let ppm = busy();
    for scans in ["0; 1; 2;", "0; 1 2;", "0 1; 2;"] {
        for how in ["2x2", "2x2 -restart 1", "2x1", "1x2 -restart 4B", "1x1", "4x1 -optimize"] {
            let arguments: Vec<&str> = ["-sample"].into_iter().chain(how.split(' ')).collect();
            let file = referee::cjpeg(&arguments, scans, &ppm);
            assert_shown(&app, &format!("{scans} {how}"), file.clone(), &pillow(&file)).await;
        }
    }
    // Together, and the first of them the coarsest.
    let file = referee::cjpeg(&["-sample", "1x1,2x2,2x2"], "", &ppm);
    assert_shown(&app, "coarse luma", file.clone(), &pillow(&file)).await;
}

#[tokio::test]
async fn what_is_cut_short_and_closed_is_refused() {
    let app = TestApp::start();
    for (kind, file) in kinds() {
        let data = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap() + 14;
        let end = file.len() - 2;
        for cut in [data, data + (end - data) / 3, data + (end - data) * 4 / 5, end - 9, end - 1] {
            for close in [&[0xFF, 0xD9][..], b""] {
                let upload = app.post("/v1/images").user("alice").await.header("content-type", "image/jpeg");
                let reply = upload.body([&file[..cut], close].concat()).send().await;
                assert_eq!(reply.status, 422, "{kind} cut to {cut} of {end}");
                reply.expect_problem(422, "image_invalid");
            }
        }
        assert_shown(&app, kind, file.clone(), &pillow(&file)).await;
    }
}

#[tokio::test]
async fn what_libjpeg_forgives_is_taken() {
    let app = TestApp::start();
    for (kind, file) in kinds() {
        let expected = pillow(&file);
        let tables = file.windows(2).position(|marker| marker == [0xFF, 0xDB]).unwrap();
        let end = file.len() - 2;
        let with = |at: usize, bytes: &[u8]| [&file[..at], bytes, &file[at..]].concat();
        for (what, file) in [
            ("bytes in front of a marker", with(tables, b"\0\x12\xFF\0\x34")),
            ("fill in front of a marker", with(tables, &[0xFF; 3])),
            ("bytes in front of the end", with(end, b"\0\x12\x34\x56\x78\x9A\xBC\xDE\xF0")),
            ("fill in front of the end", with(end, &[0xFF; 9])),
            ("no end", file[..end].to_vec()),
            ("half an end", file[..=end].to_vec()),
            ("zeros for an end", [&file[..end], &[0; 40]].concat()),
            ("bytes behind the end", [&file[..], b"\xFF\xD8\xFF and more"].concat()),
            ("a restart at the end", with(end, &[0xFF, 0xD0])),
            ("the height once more", with(end, &[0xFF, 0xDC, 0, 4, 0, 53])),
        ] {
            assert_shown(&app, &format!("{kind}, {what}"), file, &expected).await;
        }
    }
    // More data than the picture has room for.
    let mut lower = jpeg(64, 48, 1);
    let frame = lower.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    lower[frame + 6] = 16;
    assert_eq!(shown(&app, lower).await.len(), 64 * 16 * 3);
}

/// What a script makes of `picture`, given a profile.
fn inked(script: &str, profile: &[u8]) -> Vec<u8> {
    referee::python(&format!("{BUSY}{script}"), profile)
}

/// Inks, 77 × 53, in every way to code them.
fn inks_coded(inks: &[u8], profile: Option<&[u8]>) -> Vec<(&'static str, Vec<u8>)> {
    let encoded = |colours, apart, progressive| {
        let mut file = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, 97);
        encoder.set_optimized_huffman_tables(apart);
        encoder.set_progressive(progressive);
        if let Some(profile) = profile {
            encoder.add_icc_profile(profile).unwrap();
        }
        encoder.encode(inks, 77, 53, colours).unwrap();
        file
    };
    vec![
        ("CMYK", encoded(Cmyk, false, false)),
        ("YCCK", encoded(CmykAsYcck, false, false)),
        ("progressive CMYK", encoded(Cmyk, false, true)),
        ("progressive YCCK", encoded(CmykAsYcck, false, true)),
        ("CMYK apart", encoded(Cmyk, true, false)),
        ("YCCK apart", encoded(CmykAsYcck, true, false)),
    ]
}

/// Without a profile, what is let through: 255 − ink, black over all.
fn let_through(file: &[u8]) -> Vec<u8> {
    let script = "from PIL import ImageChops
c, m, y, k = Image.open(io.BytesIO(given)).convert('CMYK').split()
light = lambda ink: ImageChops.multiply(ImageChops.invert(ink), ImageChops.invert(k))
put(Image.merge('RGB', [light(c), light(m), light(y)]).tobytes())";
    referee::python(script, file)
}

#[tokio::test]
async fn ink_becomes_light() {
    let app = TestApp::start();
    let inks = inked("put(picture.convert('CMYK').tobytes())", b"");
    let pillow = inked("put(saved(picture.convert('CMYK'), 'JPEG', quality=97))", b"");
    let magick = referee::convert(&["ppm:-", "-colorspace", "CMYK", "-quality", "97", "jpeg:-"], &busy());
    let files = [("Pillow's CMYK", pillow), ("ImageMagick's CMYK", magick)];
    for (what, file) in files.into_iter().chain(inks_coded(&inks, None)) {
        let expected = let_through(&file);
        assert_shown(&app, what, file, &expected).await;
    }
    // A profile of other colours says nothing of inks.
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let script = "put(saved(picture.convert('CMYK'), 'JPEG', quality=97, icc_profile=given))";
    let file = inked(script, &p3);
    assert_shown(&app, "CMYK with Display P3", file.clone(), &let_through(&file)).await;
}

#[tokio::test]
async fn inks_are_what_littlecms_makes_of_them_by_their_profile() {
    let app = TestApp::start();
    let profile = std::fs::read(INK_PROFILE).unwrap();
    let separate = "ink = ImageCms.ImageCmsProfile(io.BytesIO(given))
inks = ImageCms.profileToProfile(picture, ImageCms.createProfile('sRGB'), ink, outputMode='CMYK')
";
    let by_profile = "picture = Image.open(io.BytesIO(given))
profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info['icc_profile']))
seen = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile('sRGB'), outputMode='RGB', renderingIntent=1)
put(seen.tobytes())";
    let saved = "put(saved(inks, 'JPEG', quality=97, icc_profile=given))";
    let file = ("Pillow's CMYK", inked(&format!("{separate}{saved}"), &profile));
    let inks = inked(&format!("{separate}put(inks.tobytes())"), &profile);
    for (what, file) in [file].into_iter().chain(inks_coded(&inks, Some(&profile))) {
        let expected = referee::python(by_profile, &file);
        assert_shown(&app, what, file, &expected).await;
    }
    // It says nothing of other colours.
    let file = inked("put(saved(picture, 'JPEG', quality=97, icc_profile=given))", &profile);
    assert_shown(&app, "RGB with a profile of inks", file.clone(), &pillow(&file)).await;
}
