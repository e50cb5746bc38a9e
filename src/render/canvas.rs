//! What a picture is laid on: colours over colours, straight alpha, in sRGB as browsers do it.

use image::{Pixel as _, Rgb, RgbImage, Rgba, RgbaImage, imageops};

use super::decode::Pixels;
use super::geometry::Canvas;
use super::options::Colour;

/// Lays a picture on its background, which is as large as `canvas` says, or as the picture is.
pub(super) fn lay(pixels: Pixels, canvas: Option<Canvas>, background: Option<Colour>) -> Pixels {
    let pixels = match background {
        None => pixels,
        Some(colour) => lay_over(pixels, colour),
    };
    let (Some(canvas), Some(colour)) = (canvas, background) else { return pixels };
    let (Canvas { size, left, top }, Colour(rgba)) = (canvas, colour);
    let (left, top) = (left.into(), top.into());
    match pixels {
        Pixels::Rgb(image) if colour.is_opaque() => {
            let mut laid = RgbImage::from_pixel(size.width, size.height, Rgba(rgba).to_rgb());
            imageops::replace(&mut laid, &image, left, top);
            Pixels::Rgb(laid)
        }
        pixels => {
            let mut laid = RgbaImage::from_pixel(size.width, size.height, Rgba(rgba));
            imageops::replace(&mut laid, &with_alpha(pixels), left, top);
            Pixels::Rgba(laid)
        }
    }
}

/// A colour behind every pixel; alpha is gone where the colour has none.
fn lay_over(pixels: Pixels, colour: Colour) -> Pixels {
    let Pixels::Rgba(mut image) = pixels else { return pixels };
    if !colour.is_opaque() {
        for pixel in image.pixels_mut() {
            pixel.0 = over(pixel.0, colour.0);
        }
        return Pixels::Rgba(image);
    }
    let [r, g, b, _] = colour.0;
    let mut flat = RgbImage::new(image.width(), image.height());
    for (below, above) in flat.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, alpha] = above.0;
        *below = Rgb([blend(red, r, alpha), blend(green, g, alpha), blend(blue, b, alpha)]);
    }
    Pixels::Rgb(flat)
}

/// The same pixels with an alpha channel.
pub(super) fn with_alpha(pixels: Pixels) -> RgbaImage {
    match pixels {
        Pixels::Rgba(image) => image,
        Pixels::Rgb(image) => image::DynamicImage::ImageRgb8(image).into_rgba8(),
    }
}

/// `alpha` parts of `above` and the rest of `below`, of 255, rounded to the nearest.
pub(super) fn blend(above: u8, below: u8, alpha: u8) -> u8 {
    let (above, below, alpha) = (u32::from(above), u32::from(below), u32::from(alpha));
    byte((above * alpha + below * (255 - alpha) + 127) / 255)
}

/// One colour over another, both with alpha (Porter and Duff's `over`).
pub(super) fn over(above: [u8; 4], below: [u8; 4]) -> [u8; 4] {
    // In units of 1/255²: how much there is of each, and of both.
    let seen = u32::from(above[3]) * 255;
    let behind = u32::from(below[3]) * (255 - u32::from(above[3]));
    let both = seen + behind;
    if both == 0 {
        return [0; 4];
    }
    let mix = |n: usize| byte((u32::from(above[n]) * seen + u32::from(below[n]) * behind + both / 2) / both);
    [mix(0), mix(1), mix(2), byte((both + 127) / 255)]
}

fn byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn over_is_what_the_formula_says(above: [u8; 4], below: [u8; 4]) {
            let part = |n: u8| f64::from(n) / 255.0;
            let alpha = part(above[3]) + part(below[3]) * (1.0 - part(above[3]));
            let found = over(above, below);
            prop_assert!((part(found[3]) - alpha).abs() <= 0.51 / 255.0);
            for n in 0..3 {
                let sum = part(above[n]) * part(above[3])
                    + part(below[n]) * part(below[3]) * (1.0 - part(above[3]));
                let expected = if alpha > 0.0 { sum / alpha } else { 0.0 };
                prop_assert!((part(found[n]) - expected).abs() <= 0.51 / 255.0);
            }
        }

        #[test]
        fn an_opaque_ground_is_an_ordinary_blend(above: [u8; 4], below: [u8; 3]) {
            let [r, g, b] = below;
            let found = over(above, [r, g, b, 255]);
            for n in 0..3 {
                prop_assert!(found[n].abs_diff(blend(above[n], below[n], above[3])) <= 1);
            }
            prop_assert_eq!(found[3], 255);
        }
    }
}
