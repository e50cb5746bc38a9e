//! What blurring and sharpening promise, against a slow and exact blur.

use image::{Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

fn rgb(pixels: Pixels) -> RgbImage {
    match pixels {
        Pixels::Rgb(image) => image,
        Pixels::Rgba(_) => unreachable!("no alpha went in"),
    }
}

fn rgba(pixels: Pixels) -> RgbaImage {
    match pixels {
        Pixels::Rgba(image) => image,
        Pixels::Rgb(_) => unreachable!("alpha went in"),
    }
}

/// A row of black and then white.
fn edge(width: u32, at: u32) -> RgbImage {
    RgbImage::from_fn(width, 9, |x, _| Rgb([if x < at { 0 } else { 255 }; 3]))
}

/// The normal distribution's share below `x` standard deviations, by the midpoint rule.
fn share_below(x: f64) -> f64 {
    let steps = 1000;
    let width = (x + 8.0) / f64::from(steps);
    let density = |at: f64| (-at * at / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0..steps).map(|n| density(-8.0 + (f64::from(n) + 0.5) * width) * width).sum()
}

#[test]
fn an_edge_becomes_the_gaussians_slope() {
    for radius in [2, 3, 5, 8, 9, 16, 31, 60, 100, 250] {
        let sigma = f64::from(radius) / 2.0;
        let (width, at) = (1001, 500);
        let blurred = rgb(blur(Pixels::Rgb(edge(width, at)), radius).unwrap());
        for x in 0..width {
            let far = (f64::from(x) + 0.5 - f64::from(at)) / sigma;
            // At the far ends of the widest, the picture's own edge comes in.
            if far.abs() > 3.0 {
                continue;
            }
            let expected = 255.0 * share_below(far);
            for y in 0..9 {
                let found = f64::from(blurred[(x, y)][0]);
                assert!((found - expected).abs() < 3.0, "{radius} at {far}: {found}, not {expected}");
            }
        }
        let wide: Vec<u8> = blurred.rows().next().unwrap().map(|pixel| pixel[0]).collect();
        assert!(wide.is_sorted(), "{radius} rings");
    }
}

#[test]
fn one_colour_stays_itself() {
    for radius in [0, 1, 2, 7, 8, 50, 250] {
        for (width, height) in [(1, 1), (1, 40), (40, 1), (37, 61)] {
            let flat = RgbImage::from_pixel(width, height, Rgb([10, 128, 250]));
            assert_eq!(rgb(blur(Pixels::Rgb(flat.clone()), radius).unwrap()), flat, "{radius}");
            let flat = RgbaImage::from_pixel(width, height, Rgba([10, 128, 250, 255]));
            assert_eq!(rgba(blur(Pixels::Rgba(flat.clone()), radius).unwrap()), flat, "{radius}");
        }
    }
}

#[test]
fn hidden_colours_do_not_bleed_into_a_blur() {
    let picture =
        RgbaImage::from_fn(
            60,
            60,
            |x, _| {
                if x % 2 == 0 { Rgba([255, 0, 0, 0]) } else { Rgba([0, 0, 255, 255]) }
            },
        );
    for radius in [3, 20, 200] {
        let found = *rgba(blur(Pixels::Rgba(picture.clone()), radius).unwrap()).get_pixel(30, 30);
        assert!(found[0] <= 2 && found[2] >= 253 && found[3].abs_diff(128) <= 4, "{found:?}");
    }
}

#[test]
fn sharpening_widens_an_edge_by_its_strength_and_leaves_the_rest() {
    let step = RgbImage::from_fn(40, 9, |x, _| Rgb([if x < 20 { 100 } else { 140 }; 3]));
    let sharpened = |tenths| rgb(sharpen(Pixels::Rgb(step.clone()), Decimal::tenths(tenths)).unwrap());
    assert_eq!(sharpened(0), step);
    let mut last = 100;
    for tenths in [5, 10, 30, 100] {
        let found = sharpened(tenths);
        assert_eq!((found[(5, 4)], found[(35, 4)]), (step[(5, 4)], step[(35, 4)]));
        let (dark, bright) = (found[(19, 4)][0], found[(20, 4)][0]);
        assert!(dark < last, "{tenths} is stronger");
        assert!((i32::from(bright) - 140 - (100 - i32::from(dark))).abs() <= 1, "as far up as down");
        last = dark;
    }
    // By hand: a Gaussian of 1 has 0.6915 of itself up to half a pixel, cut off at two pixels.
    let dark = f64::from(sharpened(10)[(19, 4)][0]);
    assert!((dark - (100.0 - 0.5 * 40.0 * 0.3085)).abs() <= 2.0, "{dark}");
}

#[test]
fn sharpening_keeps_alpha() {
    let picture =
        RgbaImage::from_fn(20, 20, |x, y| Rgba([100, 50, 30, if (x + y) % 7 < 3 { 0 } else { 200 }]));
    let found = rgba(sharpen(Pixels::Rgba(picture.clone()), Decimal::tenths(100)).unwrap());
    for (found, given) in found.pixels().zip(picture.pixels()) {
        assert_eq!(found[3], given[3]);
        if given[3] > 0 {
            // One visible colour: there is nothing to sharpen, but for rounding times five.
            assert!((0..3).all(|n| found[n].abs_diff(given[n]) <= 10), "{found:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_size_and_radius_comes_out_as_large(width in 1u32..=70, height in 1u32..=70, radius: u8, tenths in 0u32..=100) {
        let given = RgbImage::from_fn(width, height, |x, y| Rgb([u8::try_from((x * y) % 256).unwrap(); 3]));
        let found = blur(Pixels::Rgb(given), radius).unwrap();
        let found = sharpen(found, Decimal::tenths(tenths)).unwrap();
        prop_assert_eq!(found.size(), Size { width, height });
    }

    #[test]
    fn time_for_a_row_is_bounded(side in 1u32..=16_384, radius in 1u8..=250) {
        let sigma = f32::from(radius) / SIGMAS_IN_RADIUS;
        let small = shrunk(side, sigma);
        let (kernel, _) = gaussian::weights(at_scale(sigma, small, side));
        let products = u64::from(small) * u64::try_from(kernel.len()).unwrap();
        prop_assert!(products <= 25 * u64::from(side) + 1000, "{} for {}", products, side);
        prop_assert_eq!(kernel.iter().sum::<u32>(), 1 << 16);
    }
}
