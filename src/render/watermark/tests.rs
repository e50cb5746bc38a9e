//! Where watermarks come to lie, and how much of them is seen.

use image::{Rgb, RgbImage, Rgba};

use super::*;
use crate::render::samples;

const RED: [u8; 4] = [255, 0, 0, 255];

fn file(width: u32, height: u32, colour: [u8; 4]) -> Vec<u8> {
    samples::png(&RgbaImage::from_pixel(width, height, Rgba(colour)).into(), None)
}

fn mark(file: &[u8], position: &str, opacity: &str, scale: &str) -> Watermark {
    let settings = WatermarkSettings::parse(Some(position), Some(opacity), Some(scale)).unwrap();
    Watermark::new("mark", file, settings).unwrap()
}

/// The box of pixels that are not black any more: left, top, width, height.
fn marked(width: u32, height: u32, mark: &Watermark) -> (u32, u32, u32, u32) {
    let mut pixels = Pixels::Rgb(RgbImage::new(width, height));
    mark.draw(&mut pixels).unwrap();
    let Pixels::Rgb(image) = pixels else { unreachable!() };
    let red = |(x, y, pixel): (u32, u32, &Rgb<u8>)| (pixel[0] > 0).then_some((x, y));
    let places: Vec<(u32, u32)> = image.enumerate_pixels().filter_map(red).collect();
    let (left, right) =
        (places.iter().map(|p| p.0).min().unwrap(), places.iter().map(|p| p.0).max().unwrap());
    let (top, bottom) =
        (places.iter().map(|p| p.1).min().unwrap(), places.iter().map(|p| p.1).max().unwrap());
    (left, top, right - left + 1, bottom - top + 1)
}

#[test]
fn nine_places_at_any_scale() {
    for (position, x, y) in [
        ("top-left", 0, 0),
        ("top", 1, 0),
        ("top-right", 2, 0),
        ("left", 0, 1),
        ("center", 1, 1),
        ("right", 2, 1),
        ("bottom-left", 0, 2),
        ("bottom", 1, 2),
        ("bottom-right", 2, 2),
    ] {
        for (opacity, scale, width, height) in
            [("1", "0.5", 40, 20), ("0.5", "0.25", 20, 10), ("1", "1", 80, 40)]
        {
            let found = marked(80, 60, &mark(&file(8, 4, RED), position, opacity, scale));
            assert_eq!(found, ((80 - width) * x / 2, (60 - height) * y / 2, width, height), "{position}");
        }
    }
    // A tall one is bound by the height.
    assert_eq!(marked(80, 60, &mark(&file(4, 8, RED), "center", "1", "0.5")), (32, 15, 15, 30));
    // The smallest picture still has room for one pixel.
    assert_eq!(marked(1, 1, &mark(&file(40, 8, RED), "center", "1", "0.0001")), (0, 0, 1, 1));
}

#[test]
fn opacity_and_its_own_alpha_both_count() {
    let seen = |mark: &Watermark, below: Pixels| {
        let mut pixels = below;
        mark.draw(&mut pixels).unwrap();
        with_alpha(pixels).get_pixel(5, 5).0
    };
    let white = || Pixels::Rgb(RgbImage::from_pixel(10, 10, Rgb([255; 3])));
    assert_eq!(seen(&mark(&file(2, 2, RED), "center", "1", "1"), white()), [255, 0, 0, 255]);
    assert_eq!(seen(&mark(&file(2, 2, RED), "center", "0.6", "1"), white()), [255, 102, 102, 255]);
    let half = file(2, 2, [255, 0, 0, 128]);
    assert_eq!(seen(&mark(&half, "center", "0.5", "1"), white()), [255, 191, 191, 255]);
    let nothing = || Pixels::Rgba(RgbaImage::new(10, 10));
    assert_eq!(seen(&mark(&half, "center", "1", "1"), nothing()), [255, 0, 0, 128]);
}

#[test]
fn a_watermark_is_upright() {
    let lying =
        samples::jpeg_with(&samples::jpeg(&samples::quadrants(64, 32), false), &[samples::jpeg_exif(6)]);
    let upright = Watermark::new("mark", &lying, WatermarkSettings::default()).unwrap();
    assert_eq!(upright.image.dimensions(), (32, 64));
    assert!(upright.image.get_pixel(4, 4)[2] > 200, "blue comes to the top left");
}

#[test]
fn what_is_no_watermark_is_refused() {
    let error =
        |file: &[u8]| Watermark::new("mark", file, WatermarkSettings::default()).err().unwrap().to_string();
    assert!(error(b"<svg/>").contains("PNG, WebP or JPEG"));
    assert!(error(&file(2, 2, RED)[..60]).contains("cannot be used"));
    let large = samples::png(&image::DynamicImage::new_luma8(2001, 2000), None);
    assert!(error(&large).contains("4002000"));
    for (position, opacity, scale) in [
        (Some("middle"), None, None),
        (None, Some("0"), None),
        (None, Some("1.1"), None),
        (None, Some("half"), None),
        (None, None, Some("0")),
        (None, None, Some("2")),
    ] {
        assert!(
            WatermarkSettings::parse(position, opacity, scale).is_err(),
            "{position:?} {opacity:?} {scale:?}"
        );
    }
}

#[test]
fn another_file_or_setting_is_another_watermark() {
    let one = mark(&file(2, 2, RED), "center", "1", "1");
    assert_eq!(one, mark(&file(2, 2, RED), "center", "1.0", "1"));
    assert_ne!(one, mark(&file(2, 3, RED), "center", "1", "1"));
    assert_ne!(one, mark(&file(2, 2, RED), "left", "1", "1"));
    assert_ne!(one, mark(&file(2, 2, RED), "center", "0.9", "1"));
    assert_eq!(one.to_string(), "mark");
    assert!(one.fingerprint().starts_with("mark:"));
}
