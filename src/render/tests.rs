//! Whole renders: what goes in, what must come out.

use image::{DynamicImage, ImageBuffer, Luma, Rgb, Rgba, RgbaImage};
use moxcms::ColorProfile;

use super::samples::{self, BLACK, BLUE, GREEN, MARKER, RED, contains};
use super::*;

fn plan(options: &str, source: Format) -> Plan {
    match Rendition::parse(options, &Catalogue::default()).unwrap() {
        Rendition::Variant(options) => options.plan(source, Accepts::default()),
        other => unreachable!("{options} is {other:?}"),
    }
}

fn made(source: &[u8], format: Format, options: &str) -> Rendered {
    render(source, format, &plan(options, format), &Limits::default()).unwrap()
}

/// Renders and decodes the answer again, by its own magic bytes.
fn seen(source: &[u8], format: Format, options: &str) -> RgbaImage {
    let rendered = made(source, format, options);
    assert_eq!(Format::sniff(&rendered.bytes), Some(rendered.format));
    let picture = image::load_from_memory(&rendered.bytes).unwrap().into_rgba8();
    assert_eq!(picture.dimensions(), (rendered.width, rendered.height));
    picture
}

#[track_caller]
fn assert_near(found: Rgba<u8>, expected: [u8; 3], tolerance: u8) {
    for (found, expected) in found.0.into_iter().zip(expected) {
        assert!(found.abs_diff(expected) <= tolerance, "{found} is not {expected}");
    }
}

/// What EXIF 2.3 (§4.6.4, tag 274) says the four quadrants of [`samples::quadrants`] become.
const UPRIGHT: [(u8, [[u8; 3]; 4]); 8] = [
    (1, [RED, GREEN, BLUE, BLACK]),
    (2, [GREEN, RED, BLACK, BLUE]),
    (3, [BLACK, BLUE, GREEN, RED]),
    (4, [BLUE, BLACK, RED, GREEN]),
    (5, [RED, BLUE, GREEN, BLACK]),
    (6, [BLUE, RED, BLACK, GREEN]),
    (7, [BLACK, GREEN, BLUE, RED]),
    (8, [GREEN, BLACK, RED, BLUE]),
];

fn assert_quadrants(picture: &RgbaImage, expected: [[u8; 3]; 4]) {
    let (width, height) = picture.dimensions();
    let places = [(1, 1), (3, 1), (1, 3), (3, 3)];
    for ((x, y), colour) in places.into_iter().zip(expected) {
        assert_near(*picture.get_pixel(width * x / 4, height * y / 4), colour, 12);
    }
}

#[test]
fn every_orientation_comes_out_upright() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 32), false);
    for (orientation, expected) in UPRIGHT {
        let source = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(orientation)]);
        let lying = orientation < 5;
        for (options, size) in [
            ("w=16,f=png", if lying { (16, 8) } else { (16, 32) }),
            ("f=png", if lying { (64, 32) } else { (32, 64) }),
            ("w=20,h=20,fit=cover,f=png", (20, 20)),
            ("w=40,h=20,fit=squeeze,f=png", (40, 20)),
        ] {
            let picture = seen(&source, Format::Jpeg, options);
            assert_eq!(picture.dimensions(), size, "{orientation} {options}");
            assert_quadrants(&picture, expected);
        }
        let found = inspect(&source, Format::Jpeg, &Limits::default()).unwrap();
        assert_eq!(found.width > found.height, lying);

        let stripped = strip(&source.into(), Format::Jpeg).unwrap();
        assert_quadrants(&seen(&stripped, Format::Jpeg, "w=16,f=png"), expected);
    }
}

#[test]
fn a_part_of_the_upright_picture_is_cut_from_the_right_place() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 32), false);
    for (orientation, expected) in UPRIGHT {
        let source = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(orientation)]);
        let opened = decode::Source::open(&source, Format::Jpeg, &Limits::default()).unwrap();
        let upright = opened.upright_size();
        let (width, height) = (f64::from(upright.width / 2), f64::from(upright.height / 2));
        let look = opened.look.clone();
        let pixels = opened.pixels().unwrap();
        for (n, colour) in expected.into_iter().enumerate() {
            let layout = geometry::Layout {
                crop: geometry::CropBox {
                    left: if n % 2 == 1 { width } else { 0.0 },
                    top: if n >= 2 { height } else { 0.0 },
                    width,
                    height,
                },
                size: Size { width: 6, height: 5 },
                canvas: None,
                turn: Turn::NONE,
                part: geometry::everything(upright),
            };
            let plan = plan("f=png", Format::Jpeg);
            let cut = transform::transform(pixels.clone(), &look, &layout, &plan).unwrap();
            let decode::Pixels::Rgb(cut) = cut else { unreachable!("a JPEG has no alpha") };
            assert_eq!(cut.dimensions(), (6, 5));
            let Rgb([r, g, b]) = *cut.get_pixel(3, 2);
            assert_near(Rgba([r, g, b, 255]), colour, 12);
        }
    }
}

#[test]
fn png_and_webp_orientations_count_too() {
    let rgba = DynamicImage::from(samples::quadrants(64, 32)).into_rgba8();
    let png =
        samples::png_with(&samples::png(&rgba.clone().into(), None), &[(*b"eXIf", samples::camera_exif(6))]);
    let webp = samples::webp_with(
        &samples::webp(&rgba, true),
        (64, 32),
        0x08,
        &[],
        &[(*b"EXIF", samples::camera_exif(6))],
    );
    for (source, format) in [(png, Format::Png), (webp, Format::Webp)] {
        let picture = seen(&source, format, "w=16,f=png");
        assert_eq!(picture.dimensions(), (16, 32));
        assert_quadrants(&picture, UPRIGHT[5].1);
    }
}

/// Display P3 to sRGB by the standards' own numbers: equal transfer curves and white points, and
/// the product of the two primaries' matrices (SMPTE EG 432-1, IEC 61966-2-1).
fn p3_to_srgb(p3: [u8; 3]) -> [u8; 3] {
    let linear = p3.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    let matrix = [
        [1.224_940_2, -0.224_940_4, 0.0],
        [-0.042_056_9, 1.042_057_1, 0.0],
        [-0.019_637_6, -0.078_636_1, 1.098_273_5],
    ];
    matrix.map(|row| {
        let sum: f64 = row.iter().zip(linear).map(|(m, v)| m * v).sum();
        let v = sum.clamp(0.0, 1.0);
        let v = if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
        (0..=255_u8).min_by_key(|n| ((f64::from(*n) - v * 255.0).abs() * 1e6).round().to_bits()).unwrap()
    })
}

#[test]
fn wide_colours_become_their_srgb() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    for colour in [[200, 100, 50], [40, 180, 90], [128, 128, 128], [250, 20, 20]] {
        let expected = p3_to_srgb(colour);
        let picture = image::RgbImage::from_pixel(32, 32, Rgb(colour));
        let png = samples::png(&picture.clone().into(), Some(p3.clone()));
        let found = seen(&png, Format::Png, "w=8,f=png");
        assert_near(*found.get_pixel(4, 4), expected, 1);

        let jpeg = samples::jpeg_with(&samples::jpeg(&picture, false), &[samples::jpeg_icc(&p3)]);
        let found = seen(&jpeg, Format::Jpeg, "f=png");
        assert_near(*found.get_pixel(4, 4), expected, 4);

        let alpha = DynamicImage::from(picture.clone()).into_rgba8();
        let png = samples::png(&alpha.into(), Some(p3.clone()));
        let found = seen(&png, Format::Png, "w=8");
        assert_near(*found.get_pixel(4, 4), expected, 1);
    }
    assert_ne!(p3_to_srgb([200, 100, 50]), [200, 100, 50]);
}

#[test]
fn a_useless_profile_is_ignored() {
    let picture = image::RgbImage::from_pixel(8, 8, Rgb([200, 100, 50]));
    for profile in [b"no profile at all".to_vec(), vec![0; 200]] {
        let png = samples::png(&picture.clone().into(), Some(profile));
        assert_near(*seen(&png, Format::Png, "w=4").get_pixel(1, 1), [200, 100, 50], 0);
    }
}

#[test]
fn a_grey_profile_is_followed() {
    // Linear light: half way up is much brighter on sRGB's curve.
    let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let picture = ImageBuffer::from_pixel(8, 8, Luma([128_u8]));
    let png = samples::png(&DynamicImage::ImageLuma8(picture), Some(linear));
    assert_near(*seen(&png, Format::Png, "w=4").get_pixel(1, 1), [188; 3], 2);
}

#[test]
fn alpha_survives_where_the_format_has_it() {
    let picture = RgbaImage::from_fn(64, 32, |x, _| Rgba([10, 200, 30, if x < 32 { 255 } else { 64 }]));
    let png = samples::png(&picture.into(), None);
    for format in ["webp", "png"] {
        let found = seen(&png, Format::Png, &format!("w=32,f={format}"));
        assert_eq!(found.get_pixel(4, 8)[3], 255);
        assert!(found.get_pixel(28, 8)[3].abs_diff(64) <= 1);
    }
}

#[test]
fn hidden_colours_do_not_bleed() {
    // Invisible red beside visible blue; averaged without premultiplying it would be purple.
    let picture =
        RgbaImage::from_fn(
            64,
            64,
            |x, _| {
                if x % 2 == 0 { Rgba([255, 0, 0, 0]) } else { Rgba([0, 0, 255, 255]) }
            },
        );
    let found = seen(&samples::png(&picture.into(), None), Format::Png, "w=8");
    assert_near(*found.get_pixel(4, 4), BLUE, 2);
}

#[test]
fn jpeg_shows_white_behind_transparency() {
    let picture = RgbaImage::from_fn(64, 32, |x, _| Rgba([0, 0, 0, if x < 32 { 0 } else { 127 }]));
    let png = samples::png(&picture.clone().into(), None);
    let webp = samples::webp(&picture, true);
    for (source, format) in [(png, Format::Png), (webp, Format::Webp)] {
        let found = seen(&source, format, "w=32,f=jpeg");
        assert_near(*found.get_pixel(4, 8), [255; 3], 3);
        assert_near(*found.get_pixel(28, 8), [128; 3], 3);
    }
}

#[test]
fn pad_is_white_around_the_middle() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 32), false);
    let found = seen(&jpeg, Format::Jpeg, "w=40,h=40,fit=pad,f=png");
    assert_eq!(found.dimensions(), (40, 40));
    assert_near(*found.get_pixel(20, 2), [255; 3], 0);
    assert_near(*found.get_pixel(20, 37), [255; 3], 0);
    assert_near(*found.get_pixel(5, 13), RED, 12);
    assert_near(*found.get_pixel(35, 27), BLACK, 12);
}

#[test]
fn renders_say_nothing_but_the_picture() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    let jpeg = samples::jpeg_with(
        &samples::jpeg(&samples::quadrants(64, 32), false),
        &[samples::jpeg_exif(6), samples::jpeg_icc(&p3), (0xFE, MARKER.to_vec())],
    );
    let png = samples::png_with(
        &samples::png(&samples::gradient(64, 32).into(), Some(p3)),
        &[(*b"eXIf", samples::camera_exif(6)), (*b"tEXt", [b"Comment\0", MARKER].concat())],
    );
    for (source, format) in [(jpeg, Format::Jpeg), (png, Format::Png)] {
        assert!(contains(&source, MARKER));
        for target in Format::ALL {
            let bytes = made(&source, format, &format!("w=32,f={target}")).bytes;
            let names = [b"Exif", b"eXIf", b"EXIF", b"iCCP", b"ICCP", b"ICC_", b"tEXt", b"XMP "];
            for name in names {
                assert!(!contains(&bytes, name), "{format} to {target}");
            }
            assert!(!contains(&bytes, MARKER), "{format} to {target}");
            // Nothing is left that the allow-lists would take out again.
            assert_eq!(strip(&bytes.clone().into(), target).unwrap(), bytes);
        }
    }
}

#[test]
fn quality_costs_bytes() {
    let png = samples::png(&samples::gradient(200, 200).into(), None);
    for format in ["jpeg", "webp"] {
        let len = |quality| made(&png, Format::Png, &format!("q={quality},f={format}")).bytes.len();
        assert!(len(30) < len(80) && len(80) < len(95), "{format}");
    }
}

#[test]
fn unusual_sources_decode() {
    let sixteen = ImageBuffer::from_pixel(8, 8, Rgb([0x8000_u16, 0xFFFF, 0]));
    let png = samples::png(&DynamicImage::ImageRgb16(sixteen), None);
    assert_near(*seen(&png, Format::Png, "w=4").get_pixel(1, 1), [128, 255, 0], 1);

    let grey = ImageBuffer::from_pixel(8, 8, image::LumaA([70_u8, 128]));
    let png = samples::png(&DynamicImage::ImageLumaA8(grey), None);
    assert_eq!(seen(&png, Format::Png, "w=4").get_pixel(1, 1).0, [70, 70, 70, 128]);

    let mut cmyk = Vec::new();
    let ink = [0_u8, 255, 255, 0].repeat(64);
    jpeg_encoder::Encoder::new(&mut cmyk, 95).encode(&ink, 8, 8, jpeg_encoder::ColorType::Cmyk).unwrap();
    assert_near(*seen(&cmyk, Format::Jpeg, "f=png").get_pixel(4, 4), RED, 12);
}

#[test]
fn answers_stay_within_their_limits() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 8), false);
    let limits = Limits { max_output_side: 100, max_output_pixels: 1000, ..Limits::default() };
    let outcome = |options| render(&jpeg, Format::Jpeg, &plan(options, Format::Jpeg), &limits);
    assert!(outcome("w=64").is_ok());
    for options in ["w=101,fit=contain", "h=13,fit=contain", "w=40,h=40,fit=pad"] {
        let error = outcome(options).unwrap_err();
        assert!(matches!(error, RenderError::OutputTooLarge { .. }), "{options}");
    }
    let small = Limits { max_pixels: 64 * 8 - 1, ..Limits::default() };
    let error = render(&jpeg, Format::Jpeg, &plan("w=1", Format::Jpeg), &small).unwrap_err();
    assert!(matches!(error, RenderError::SourceTooLarge { pixels: 512, .. }));
}

#[test]
fn an_answer_sent_back_in_is_the_same_picture() {
    let png = samples::png(&samples::quadrants(402, 302).into(), None);
    for (format, quality) in [(Format::Jpeg, 80), (Format::Jpeg, 95), (Format::Webp, 80), (Format::Png, 80)] {
        let options = format!("w=201,q={quality},f={format}");
        let bytes = made(&png, Format::Png, &options).bytes;
        inspect(&bytes, format, &Limits::default()).unwrap();
        assert_quadrants(&seen(&bytes, format, "w=100,f=png"), UPRIGHT[0].1);
    }
}

/// The upright picture, turned by someone else.
fn turned(picture: image::RgbImage, flip: &str, rotate: &str) -> RgbaImage {
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    let flipped = match flip {
        "h" => flip_horizontal(&picture),
        "v" => flip_vertical(&picture),
        "hv" => flip_vertical(&flip_horizontal(&picture)),
        _ => picture,
    };
    let turned = match rotate {
        "90" => rotate90(&flipped),
        "180" => rotate180(&flipped),
        "270" => rotate270(&flipped),
        _ => flipped,
    };
    DynamicImage::from(turned).into_rgba8()
}

#[test]
fn flips_and_rotations_turn_the_upright_picture() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 32), false);
    for (orientation, expected) in UPRIGHT {
        let source = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(orientation)]);
        let (width, height) = if orientation < 5 { (64, 32) } else { (32, 64) };
        let upright = image::RgbImage::from_fn(width, height, |x, y| {
            Rgb(expected[usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2)])
        });
        for flip in ["", "h", "v", "hv"] {
            for rotate in ["", "90", "180", "270"] {
                let expected = turned(upright.clone(), flip, rotate);
                let mut options = "f=png".to_owned();
                for (key, value) in [("flip", flip), ("rotate", rotate)] {
                    if !value.is_empty() {
                        options = format!("{options},{key}={value}");
                    }
                }
                let (width, height) = expected.dimensions();
                let corners = [(0, 0), (1, 0), (0, 1), (1, 1)];
                let corners = corners.map(|(x, y)| {
                    let Rgba([r, g, b, _]) = *expected.get_pixel(x * (width - 1), y * (height - 1));
                    [r, g, b]
                });
                for (and, size) in [
                    ("", (width, height)),
                    (",w=16", (16, 16 * height / width)),
                    (",w=20,h=20,fit=cover", (20, 20)),
                ] {
                    let found = seen(&source, Format::Jpeg, &format!("{options}{and}"));
                    assert_eq!(found.dimensions(), size, "{orientation} {options}{and}");
                    assert_quadrants(&found, corners);
                }
            }
        }
    }
}

#[test]
fn trims_are_of_the_upright_picture() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 32), false);
    for (orientation, [top_left, top_right, bottom_left, bottom_right]) in UPRIGHT {
        let source = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(orientation)]);
        let (width, height) = if orientation < 5 { (64, 32) } else { (32, 64) };
        let (right, down) = (width / 2, height / 2);
        for (trim, colour) in [
            (format!("0;{right};{down};0"), top_left),
            (format!("0;0;{down};{right}"), top_right),
            (format!("{down};{right};0;0"), bottom_left),
            (format!("{down};0;0;{right}"), bottom_right),
        ] {
            for and in ["", ",flip=h", ",rotate=90"] {
                let found = seen(&source, Format::Jpeg, &format!("f=png,trim={trim}{and}"));
                assert_eq!(found.width() * found.height(), 64 * 32 / 4);
                let (x, y) = (found.width() / 2, found.height() / 2);
                assert_near(*found.get_pixel(x, y), colour, 12);
            }
        }
    }
}

/// A frame of one colour around a red box of 20 × 10.
fn framed(top: u32, right: u32, bottom: u32, left: u32) -> image::RgbImage {
    image::RgbImage::from_fn(left + 20 + right, top + 10 + bottom, |x, y| {
        let inside = (left..left + 20).contains(&x) && (top..top + 10).contains(&y);
        Rgb(if inside { RED } else { [250, 250, 240] })
    })
}

#[test]
fn a_border_is_trimmed_wherever_it_is() {
    for (top, right, bottom, left) in [(5, 6, 7, 8), (9, 0, 0, 3), (1, 1, 1, 1)] {
        let png = samples::png(&framed(top, right, bottom, left).into(), None);
        for (options, size) in [("trim=border", (20, 10)), ("trim=border,rotate=90,w=5", (5, 10))] {
            let found = seen(&png, Format::Png, options);
            assert_eq!(found.dimensions(), size);
            assert!(found.pixels().all(|pixel| pixel[0] >= 250 && pixel[1] <= 5), "{options}");
        }
    }
    // Whatever way the camera was held, the upright picture's border goes.
    for orientation in 1..=8 {
        let jpeg = samples::jpeg(&framed(8, 16, 24, 32), false);
        let source = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(orientation)]);
        let (width, height) = seen(&source, Format::Jpeg, "trim=border;40,f=png").dimensions();
        let (long, short) = (width.max(height), width.min(height));
        assert!((20..=24).contains(&long) && (10..=14).contains(&short), "{orientation}: {width}×{height}");
        assert_eq!(width > height, orientation < 5);
    }
}

#[test]
fn a_border_is_as_like_as_the_tolerance_says() {
    let steps = image::RgbImage::from_fn(40, 10, |x, _| Rgb([u8::try_from(100 + x / 10 * 10).unwrap(); 3]));
    let png = samples::png(&steps.into(), None);
    for (tolerance, width) in
        [("0", 30), ("9", 30), ("10", 20), ("20", 10), ("29", 10), ("30", 40), ("255", 40)]
    {
        let found = seen(&png, Format::Png, &format!("trim=border;{tolerance}"));
        assert_eq!(found.width(), width, "{tolerance}");
    }
    assert_eq!(seen(&png, Format::Png, "trim=border").width(), 20);

    // What cannot be seen is alike, whatever colour it would have.
    let hidden = RgbaImage::from_fn(30, 10, |x, y| {
        let byte = u8::try_from(x * 8).unwrap();
        if (10..20).contains(&x) && y == 4 { Rgba([0, 0, 0, 255]) } else { Rgba([byte, 0, byte, 0]) }
    });
    let found = seen(&samples::png(&hidden.into(), None), Format::Png, "trim=border;0");
    assert_eq!(found.dimensions(), (10, 1));
}

#[test]
fn what_is_trimmed_away_counts_for_no_limit_and_what_is_left_does() {
    // One column of red is left: to make it wide is to make it enormous.
    let picture = image::RgbImage::from_fn(40, 40, |x, _| Rgb(if x == 20 { RED } else { [255; 3] }));
    let png = samples::png(&picture.into(), None);
    let limits = Limits { max_output_side: 100, ..Limits::default() };
    let outcome = |options| render(&png, Format::Png, &plan(options, Format::Png), &limits);
    assert!(outcome("w=80,fit=contain").is_ok());
    let error = outcome("w=80,fit=contain,trim=border").unwrap_err();
    assert!(matches!(error, RenderError::OutputTooLarge { width: 80, height: 3200 }), "{error}");
    let error = outcome("trim=20;0;20;0").unwrap_err();
    assert_eq!(error.to_string(), "`trim` leaves nothing of a picture of 40×40 pixels; trim less");
}

#[test]
fn gravity_keeps_the_side_it_names() {
    let png = samples::png(&samples::quadrants(60, 20).into(), None);
    for (gravity, left, right) in [
        ("left", RED, RED),
        ("right", GREEN, GREEN),
        ("center", RED, GREEN),
        ("0x0", RED, RED),
        ("0.25x0", RED, RED),
        ("1x0.3", GREEN, GREEN),
    ] {
        for fit in ["cover", "crop"] {
            let found = seen(&png, Format::Png, &format!("w=10,h=10,fit={fit},g={gravity}"));
            assert_near(*found.get_pixel(1, 2), left, 3);
            assert_near(*found.get_pixel(8, 2), right, 3);
        }
    }
    for (gravity, top, bottom) in [("top", RED, RED), ("bottom", BLUE, BLUE), ("0.5x0.5", RED, BLUE)] {
        let found = seen(&png, Format::Png, &format!("w=30,h=4,fit=cover,g={gravity}"));
        assert_near(*found.get_pixel(2, 0), top, 12);
        assert_near(*found.get_pixel(2, 3), bottom, 12);
    }
}

#[test]
fn gravity_auto_finds_the_thing_in_any_orientation() {
    let picture = image::RgbImage::from_fn(240, 80, |x, y| {
        let far = x.abs_diff(200).pow(2) + y.abs_diff(40).pow(2);
        if far < 225 { Rgb([230, 40, 30]) } else { Rgb([100, 120, 140]) }
    });
    let jpeg = samples::jpeg(&picture, false);
    for orientation in 1..=8 {
        let source = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(orientation)]);
        for and in ["", ",rotate=90", ",flip=h", ",trim=4;4;4;4", ",trim=border;2"] {
            let options = format!("w=40,h=40,fit=cover,g=auto,f=png{and}");
            let found = seen(&source, Format::Jpeg, &options);
            let red = found.pixels().filter(|pixel| pixel[0] > 180).count();
            // All of the disc: 707 pixels of it at a half, or larger where the border went.
            assert!(red > 140, "{orientation} {options}: {red}");
            assert_eq!(found, seen(&source, Format::Jpeg, &options), "the same every time");
        }
    }
}

#[test]
fn a_background_is_under_the_picture_and_around_it() {
    let picture = RgbaImage::from_fn(40, 20, |x, _| Rgba([0, 0, 255, if x < 20 { 255 } else { 0 }]));
    let png = samples::png(&picture.into(), None);
    for (options, hidden, canvas) in [
        ("f=png,bg=00ff00", [0, 255, 0, 255], None),
        ("f=jpeg,bg=00ff00", [0, 255, 0, 255], None),
        ("f=png,bg=00ff0080", [0, 255, 0, 128], None),
        ("f=jpeg,bg=00ff0080", [127, 255, 127, 255], None),
        ("f=webp,bg=00ff0000", [0, 255, 0, 0], None),
        ("w=40,h=40,fit=pad,f=png", [255; 4], Some([255; 4])),
        ("w=40,h=40,fit=pad,bg=ff0000,f=png", [255, 0, 0, 255], Some([255, 0, 0, 255])),
        ("w=40,h=40,fit=pad,bg=ff000040,f=png", [255, 0, 0, 64], Some([255, 0, 0, 64])),
        ("w=40,h=40,fit=pad,bg=00000000,f=jpeg", [255; 4], Some([255; 4])),
    ] {
        let found = seen(&png, Format::Png, options);
        let (x, y) = (35, found.height() / 2);
        let near = |found: Rgba<u8>, expected: [u8; 4]| {
            // Colours of what is not seen are nobody's business.
            let colours = if expected[3] == 0 { 3.. } else { 0.. };
            found.0[colours.clone()].iter().zip(&expected[colours]).all(|(a, b)| a.abs_diff(*b) <= 6)
        };
        assert!(near(*found.get_pixel(x, y), hidden), "{options}: {:?}", found.get_pixel(x, y));
        assert_near(*found.get_pixel(5, y), BLUE, 6);
        if let Some(canvas) = canvas {
            assert!(near(*found.get_pixel(20, 2), canvas), "{options}: {:?}", found.get_pixel(20, 2));
            assert!(near(*found.get_pixel(20, 37), canvas), "{options}");
        }
    }
}

#[test]
fn everything_at_once_is_still_of_the_asked_size() {
    let mut catalogue = Catalogue::default();
    let mark = samples::png(&samples::gradient(30, 20).into(), None);
    catalogue
        .add_watermark("mark", Watermark::new("mark", &mark, WatermarkSettings::default()).unwrap())
        .unwrap();
    let source = samples::png(&samples::gradient(90, 70).into(), None);
    for format in Format::ALL {
        for fit in ["scale-down", "contain", "cover", "crop", "pad", "squeeze"] {
            let options = format!(
                "w=30,h=20,dpr=2,fit={fit},g=auto,f={format},bg=11223344,blur=250,sharpen=10,rotate=270,flip=v,\
                 trim=border,anim=false,watermark=mark"
            );
            let Rendition::Variant(options) = Rendition::parse(&options, &catalogue).unwrap() else {
                unreachable!()
            };
            let plan = options.plan(Format::Png, Accepts::default());
            let made = render(&source, Format::Png, &plan, &Limits::default()).unwrap();
            // 90×70 lies as 70×90 after the turn.
            let size = match fit {
                "scale-down" | "contain" => (31, 40),
                _ => (60, 40),
            };
            assert_eq!((made.width, made.height), size, "{fit} {format}");
            let decoded = image::load_from_memory(&made.bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), size, "{fit} {format}");
        }
    }
}
