//! Whole renders: what goes in, what must come out.

mod options;

use image::{DynamicImage, ImageBuffer, Luma, Rgb, Rgba, RgbaImage};
use moxcms::ColorProfile;

use super::samples::{self, BLACK, BLUE, GREEN, MARKER, RED, contains};
use super::*;

fn plan(options: &str, source: Format) -> Plan {
    match Rendition::parse(options, &Catalogue::default()).unwrap() {
        // What a still picture is, the file says once more.
        Rendition::Variant(options) => options.plan(source, true, Accepts::default()),
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
    let picture = decoded(&rendered.bytes);
    assert_eq!(picture.dimensions(), (rendered.width, rendered.height));
    picture
}

/// What is in a file: by somebody else's decoder, as far as there is one here.
fn decoded(file: &[u8]) -> RgbaImage {
    if Format::sniff(file) == Some(Format::Avif) {
        let source = decode::Source::open(file, Format::Avif, &Limits::default()).unwrap();
        return source.pixels().unwrap().into_rgba();
    }
    image::load_from_memory(file).unwrap().into_rgba8()
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
        assert_near(*picture.get_pixel(width * x / 4, height * y / 4), colour, 20);
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
            let cut = transform::transform(pixels.clone(), &look, upright, &layout, &plan, &|| true).unwrap();
            let decode::Pixels::Rgb(cut) = cut else { unreachable!("a JPEG has no alpha") };
            assert_eq!(cut.dimensions(), (6, 5));
            let Rgb([r, g, b]) = *cut.get_pixel(3, 2);
            assert_near(Rgba([r, g, b, 255]), colour, 20);
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
    let p3 = samples::icc(&ColorProfile::new_display_p3());
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
    let linear = samples::icc(&ColorProfile::new_gray_with_gamma(1.0));
    let picture = ImageBuffer::from_pixel(8, 8, Luma([128_u8]));
    let png = samples::png(&DynamicImage::ImageLuma8(picture), Some(linear));
    assert_near(*seen(&png, Format::Png, "w=4").get_pixel(1, 1), [188; 3], 2);
}

#[test]
fn alpha_survives_where_the_format_has_it() {
    let picture = RgbaImage::from_fn(64, 32, |x, _| Rgba([10, 200, 30, if x < 32 { 255 } else { 64 }]));
    let png = samples::png(&picture.into(), None);
    for (format, tolerance) in [("webp", 1), ("png", 1), ("avif", 2)] {
        let found = seen(&png, Format::Png, &format!("w=32,f={format}"));
        assert!(found.get_pixel(4, 8)[3] >= 255 - tolerance, "{format}");
        assert!(found.get_pixel(28, 8)[3].abs_diff(64) <= tolerance, "{format}");
        assert_near(*found.get_pixel(4, 8), [10, 200, 30], 12);
        assert_near(*found.get_pixel(28, 8), [10, 200, 30], 12);
    }
}

#[test]
fn what_nobody_asked_to_flatten_stays_transparent() {
    let avif = samples::avif();
    let options = match Rendition::parse("w=9,f=auto", &Catalogue::default()).unwrap() {
        Rendition::Variant(options) => options,
        other => unreachable!("{other:?}"),
    };
    let made = |source: &[u8]| {
        let plan = options.plan(Format::Avif, false, Accepts::default());
        render(source, Format::Avif, &plan, &Limits::default()).unwrap()
    };
    let rendered = made(&avif);
    assert_eq!(rendered.format, Format::Png);
    let found = decoded(&rendered.bytes);
    assert!(found.pixels().any(|pixel| pixel[3] < 255));
    assert_eq!(found, decoded(&super::tests::made(&avif, Format::Avif, "w=9,f=png").bytes));

    let opaque = super::tests::made(&avif, Format::Avif, "bg=ffffff,f=avif").bytes;
    assert_eq!(made(&opaque).format, Format::Jpeg);
}

#[test]
fn an_avif_of_any_size_is_what_it_was_made_of() {
    for (width, height) in [(1, 1), (1, 40), (40, 1), (7, 5), (16, 16), (17, 33), (65, 63), (200, 9)] {
        // Nowhere so steep that a quarter of the chroma would not do.
        let byte = |n: u32| u8::try_from(40 + n).unwrap();
        let picture = RgbaImage::from_fn(width, height, |x, y| Rgba([byte(x), byte(y), 120, byte(x + y)]));
        let plain = DynamicImage::from(picture.clone()).into_rgb8();
        for (png, has_alpha) in
            [(samples::png(&picture.clone().into(), None), true), (samples::png(&plain.into(), None), false)]
        {
            for quality in [85, 95] {
                let found = seen(&png, Format::Png, &format!("f=avif,q={quality}"));
                for (found, given) in found.pixels().zip(picture.pixels()) {
                    assert_near(*found, [given[0], given[1], given[2]], 8);
                    let alpha = if has_alpha { given[3] } else { 255 };
                    assert!(found[3].abs_diff(alpha) <= 3, "{width}×{height}: {} is not {alpha}", found[3]);
                }
            }
        }
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

    // Beside a hidden area, whatever colour lies there.
    let [one, other] = [[255, 0, 0, 0], [0, 255, 0, 0]].map(|hidden| {
        let picture =
            RgbaImage::from_fn(50, 50, |x, _| if x < 21 { Rgba(hidden) } else { Rgba([0, 0, 255, 255]) });
        made(&samples::png(&picture.into(), None), Format::Png, "f=avif").bytes
    });
    assert_eq!(one, other);
    let found = decoded(&one);
    for x in 21..50 {
        assert_near(*found.get_pixel(x, 20), BLUE, 6);
    }
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
    let p3 = samples::icc(&ColorProfile::new_display_p3());
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
    for format in ["jpeg", "webp", "avif"] {
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
    let limits = Limits { max_avif_pixels: 200, ..limits };
    let outcome = |options| render(&jpeg, Format::Jpeg, &plan(options, Format::Jpeg), &limits);
    assert!(outcome("w=40,f=avif").is_ok() && outcome("w=64,f=webp").is_ok());
    let error = outcome("w=64,f=avif").unwrap_err();
    assert!(matches!(error, RenderError::AvifTooLarge { width: 64, height: 8 }), "{error}");

    let gif = samples::gif(&[samples::gradient(20, 10), samples::gradient(20, 10)]);
    let limits = Limits { max_animation_pixels: 2 * 20 * 10, ..limits };
    let outcome = |options| render(&gif, Format::Gif, &plan(options, Format::Gif), &limits);
    assert!(outcome("w=20").is_ok() && outcome("w=40,fit=contain,anim=false").is_ok());
    let error = outcome("w=22,fit=contain").unwrap_err();
    assert!(matches!(error, RenderError::AnimationTooLarge { frames: 2, width: 22, height: 11 }), "{error}");
    let short = Limits { max_animation_bytes: 100, ..Limits::default() };
    for options in ["f=gif", "f=webp"] {
        let error = render(&gif, Format::Gif, &plan(options, Format::Gif), &short).unwrap_err();
        assert!(matches!(error, RenderError::AnimationTooLarge { .. }), "{options}: {error}");
    }

    let small = Limits { max_pixels: 64 * 8 - 1, ..Limits::default() };
    let error = render(&jpeg, Format::Jpeg, &plan("w=1", Format::Jpeg), &small).unwrap_err();
    assert!(matches!(error, RenderError::SourceTooLarge { pixels: 512, .. }));
}

#[test]
fn a_render_ends_as_soon_as_it_may_not_go_on() {
    let jpeg = samples::jpeg(&samples::quadrants(64, 32), false);
    let gif =
        samples::gif(&[samples::gradient(20, 10), samples::gradient(20, 10), samples::gradient(20, 10)]);
    for (source, format, options, least) in [
        (&jpeg, Format::Jpeg, "w=16,blur=2,sharpen=1", 4),
        (&gif, Format::Gif, "w=16,f=webp", 3),
        (&gif, Format::Gif, "w=16,f=gif", 3),
    ] {
        // How often it asks, and what it says, when the answer to all but the first `n` questions is no.
        let after = |n: u32| {
            let asked = std::cell::Cell::new(0);
            let keep_going = || {
                asked.set(asked.get() + 1);
                asked.get() <= n
            };
            let plan = plan(options, format);
            let made = render_while(source, format, None, &plan, &Limits::default(), &keep_going);
            (asked.get(), made)
        };
        let (all, made_in_time) = after(u32::MAX);
        assert_eq!(made_in_time.unwrap(), made(source, format, options));
        assert!(all >= least, "{options}: it asks {all} times");
        for n in 0..all {
            let (asked, ended) = after(n);
            assert!(matches!(ended, Err(RenderError::OutOfTime)), "{options}, {n}");
            assert_eq!(asked, n + 1, "{options}: it went on after a no");
        }
    }
}

/// An index of a palette is a byte, and so is the one for what is transparent.
#[test]
fn as_many_colours_as_a_gif_can_have_are_kept() {
    for colours in [2, 254, 255] {
        let picture = RgbaImage::from_fn(colours, 3, |x, _| Rgba([u8::try_from(x).unwrap(), 7, 9, 255]));
        let png = samples::png(&picture.clone().into(), None);
        assert_eq!(seen(&png, Format::Png, "f=gif"), picture, "{colours}");
    }
}

#[test]
fn an_answer_sent_back_in_is_the_same_picture() {
    let png = samples::png(&samples::quadrants(402, 302).into(), None);
    for (format, quality) in [
        (Format::Jpeg, 80),
        (Format::Jpeg, 95),
        (Format::Webp, 80),
        (Format::Png, 80),
        (Format::Avif, 80),
        (Format::Avif, 95),
    ] {
        let options = format!("w=201,q={quality},f={format}");
        let bytes = made(&png, Format::Png, &options).bytes;
        inspect(&bytes, format, &Limits::default()).unwrap();
        assert_quadrants(&seen(&bytes, format, "w=100,f=png"), UPRIGHT[0].1);
    }
}
