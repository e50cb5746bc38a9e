//! Whole renders with options that move, cut and colour: the right pixels, whichever way up the source is.

use super::*;

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
            // The filter reaches across the edge: a few thousandths of the light are a dozen levels of black.
            assert_near(*found.get_pixel(1, 2), left, 16);
            assert_near(*found.get_pixel(8, 2), right, 16);
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
            let plan = options.plan(Format::Png, false, Accepts::default());
            let made = render(&source, Format::Png, &plan, &Limits::default()).unwrap();
            // 90×70 lies as 70×90 after the turn.
            let size = match fit {
                "scale-down" | "contain" => (31, 40),
                _ => (60, 40),
            };
            assert_eq!((made.width, made.height), size, "{fit} {format}");
            let decoded = decoded(&made.bytes);
            assert_eq!(decoded.dimensions(), size, "{fit} {format}");
        }
    }
}
