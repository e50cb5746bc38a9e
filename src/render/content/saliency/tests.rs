//! What stands out is found, wherever it is.

use image::{Rgb, RgbImage};

use super::*;

/// A grey field with soft waves, and a disc of another colour around `(cx, cy)`.
fn disc(width: u32, height: u32, cx: u32, cy: u32, radius: u32) -> Pixels {
    Pixels::Rgb(RgbImage::from_fn(width, height, |x, y| {
        let far = x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2);
        let wave = u8::try_from((x / 3 + y / 5) % 12).unwrap();
        if far <= radius * radius { Rgb([200, 60, 30]) } else { Rgb([110 + wave, 115 + wave, 120 + wave]) }
    }))
}

fn everything(pixels: &Pixels) -> CropBox {
    crate::render::geometry::everything(pixels.size())
}

#[test]
fn a_thing_is_kept_whole() {
    for (width, height) in [(600, 200), (200, 600), (900, 300), (96, 32)] {
        let along = width.max(height);
        let radius = along / 16;
        for place in [along / 8, along / 3, along / 2, along * 3 / 4, along - along / 8] {
            let (cx, cy) = if width > height { (place, height / 2) } else { (width / 2, place) };
            let pixels = disc(width, height, cx, cy, radius);
            let part = everything(&pixels);
            let side = f64::from(width.min(height));
            let crop = CropBox { width: side, height: side, ..part };
            let found = densest(&pixels, Turn::NONE, part, crop).unwrap();
            let left = (part.width - side) * found.x;
            let top = (part.height - side) * found.y;
            let (cx, cy, radius) = (f64::from(cx), f64::from(cy), f64::from(radius));
            let slack = f64::from(along) / f64::from(SIDE);
            assert!(
                left <= cx - radius + slack && left + side >= cx + radius - slack,
                "{width}×{height} at {place}"
            );
            assert!(
                top <= cy - radius + slack && top + side >= cy + radius - slack,
                "{width}×{height} at {place}"
            );
        }
    }
}

#[test]
fn a_turned_picture_has_its_thing_elsewhere() {
    let pixels = disc(600, 200, 100, 100, 40);
    let crop = CropBox { left: 0.0, top: 0.0, width: 200.0, height: 200.0 };
    let part = CropBox { width: 600.0, ..crop };
    let lying = densest(&pixels, Turn::NONE, part, crop).unwrap();
    let mirrored = densest(&pixels, Turn::FLIP_H, part, crop).unwrap();
    assert!(lying.x < 0.25 && mirrored.x > 0.75, "{lying:?} {mirrored:?}");
    let part = CropBox { width: 200.0, height: 600.0, ..crop };
    let upright = densest(&pixels, Turn::clockwise(1), part, crop).unwrap();
    assert!(upright.y < 0.25, "{upright:?}");
}

#[test]
fn where_nothing_stands_out_the_middle_is_kept() {
    let flat = Pixels::Rgb(RgbImage::from_pixel(300, 100, Rgb([90, 120, 60])));
    let part = everything(&flat);
    let crop = CropBox { width: 100.0, ..part };
    assert_eq!(densest(&flat, Turn::NONE, part, crop).unwrap(), Point::CENTRE);
    // Nor does what cannot be seen.
    let hidden = RgbaImage::from_fn(300, 100, |x, _| image::Rgba([if x < 50 { 255 } else { 0 }, 0, 0, 0]));
    assert_eq!(densest(&Pixels::Rgba(hidden), Turn::NONE, part, crop).unwrap(), Point::CENTRE);
}

#[test]
fn windows_go_to_the_most_and_the_middle_of_equals() {
    let at = |values: &[u64], part| format!("{:.2}", best_window(values, part));
    assert_eq!(at(&[0, 0, 9, 0], 0.5), "0.50");
    assert_eq!(at(&[0, 0, 9, 0], 0.25), "0.67");
    assert_eq!(at(&[9, 0, 0, 0], 0.25), "0.00");
    assert_eq!(at(&[0, 0, 0, 9], 0.25), "1.00");
    assert_eq!(at(&[1, 1, 1, 1, 1], 0.2), "0.50");
    assert_eq!(at(&[5, 5], 1.0), "0.50");
    assert_eq!(at(&[5], 0.01), "0.50");
}
