//! `blur` and `sharpen`: filters over the finished size, bounded however large their radius.

mod gaussian;

use fast_image_resize::FilterType;
use gaussian::Sigma;
use image::{ImageBuffer, Pixel};

use super::decode::Pixels;
use super::geometry::everything;
use super::options::Decimal;
use super::{RenderError, Size, resize};

/// Standard deviations in a blur's radius: CSS's and canvas's shadows have it so (CSS Backgrounds
/// and Borders 3, §6.1).
const SIGMAS_IN_RADIUS: f32 = 2.0;

/// A wider blur is made at a scale at which it is this wide, in pixels: more detail would be blurred
/// away, and the time for a pixel is bounded whatever the radius.
const MIN_SIGMA: f32 = 2.0;

/// How much the shrinking blurs by itself, as a variance in pixels of the small picture: that of
/// its triangular filter.
const SHRINK_VARIANCE: f32 = 1.0 / 6.0;

/// How far around a pixel sharpening looks, in pixels (a standard deviation).
const SHARPEN_SIGMA: f32 = 1.0;

/// How much of the difference to its surroundings a pixel gets for each unit of `sharpen`: 1 is
/// mild and 10 is five times the difference, where image editors end.
const SHARPEN_UNIT: f64 = 0.5;

/// Blurs by a Gaussian whose standard deviation is half of `radius`, in pixels. Zero does nothing.
pub(super) fn blur(pixels: Pixels, radius: u8) -> Result<Pixels, RenderError> {
    if radius == 0 {
        return Ok(pixels);
    }
    let sigma = f32::from(radius) / SIGMAS_IN_RADIUS;
    let size = pixels.size();
    let small = Size { width: shrunk(size.width, sigma), height: shrunk(size.height, sigma) };
    if small == size {
        return gaussian(pixels, Sigma { across: sigma, down: sigma });
    }
    let shrunk = resize::resized(&pixels, everything(size), small, FilterType::Bilinear)?;
    drop(pixels);
    let of_small = Sigma {
        across: at_scale(sigma, small.width, size.width),
        down: at_scale(sigma, small.height, size.height),
    };
    let blurred = gaussian(shrunk, of_small)?;
    // It goes through the pixels, which a blur has left no edges in that could ring.
    resize::resized(&blurred, everything(small), size, FilterType::CatmullRom)
}

/// A side at the scale at which a blur is made.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a side, which is far below 2²³"
)]
fn shrunk(side: u32, sigma: f32) -> u32 {
    if sigma <= MIN_SIGMA {
        return side;
    }
    (side as f32 * MIN_SIGMA / sigma).ceil() as u32
}

/// What is left to do for `sigma` once `side` pixels have become `small` ones.
#[expect(clippy::cast_precision_loss, reason = "sides are far below 2²³")]
fn at_scale(sigma: f32, small: u32, side: u32) -> f32 {
    if small == side {
        return sigma;
    }
    ((sigma * small as f32 / side as f32).powi(2) - SHRINK_VARIANCE).sqrt()
}

/// Sharpens by adding what a slight blur takes away (an unsharp mask). Zero does nothing.
pub(super) fn sharpen(pixels: Pixels, strength: Decimal) -> Result<Pixels, RenderError> {
    if strength == Decimal::ZERO {
        return Ok(pixels);
    }
    let amount = strength.as_f64() * SHARPEN_UNIT;
    let soft = gaussian(pixels.clone(), Sigma { across: SHARPEN_SIGMA, down: SHARPEN_SIGMA })?;
    Ok(match (pixels, soft) {
        (Pixels::Rgb(mut image), Pixels::Rgb(soft)) => {
            for (value, soft) in image.iter_mut().zip(soft.iter()) {
                *value = away(*value, *soft, amount);
            }
            Pixels::Rgb(image)
        }
        (Pixels::Rgba(mut image), Pixels::Rgba(soft)) => {
            for (pixel, soft) in image.pixels_mut().zip(soft.pixels()) {
                // Alpha stays: sharpening is about what is seen, not about where.
                for n in 0..3 {
                    pixel.0[n] = away(pixel.0[n], soft.0[n], amount);
                }
            }
            Pixels::Rgba(image)
        }
        (pixels, _) => pixels,
    })
}

/// Moves `value` away from `soft`, to the nearest step that there is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of a byte")]
fn away(value: u8, soft: u8, amount: f64) -> u8 {
    let (value, soft) = (f64::from(value), f64::from(soft));
    (value + amount * (value - soft)).round().clamp(0.0, 255.0) as u8
}

/// A Gaussian blur that hidden colours do not bleed into.
fn gaussian(pixels: Pixels, sigma: Sigma) -> Result<Pixels, RenderError> {
    Ok(match pixels {
        Pixels::Rgb(image) => Pixels::Rgb(blurred(&image, sigma)),
        Pixels::Rgba(mut image) => {
            resize::premultiply(&mut image)?;
            let mut blurred = blurred(&image, sigma);
            resize::unpremultiply(&mut blurred)?;
            Pixels::Rgba(blurred)
        }
    })
}

fn blurred<P: Pixel<Subpixel = u8>>(
    image: &ImageBuffer<P, Vec<u8>>,
    sigma: Sigma,
) -> ImageBuffer<P, Vec<u8>> {
    let (width, height) = image.dimensions();
    let plane =
        gaussian::Plane { bytes: image, width: width as usize, channels: usize::from(P::CHANNEL_COUNT) };
    let bytes = gaussian::blur(&plane, sigma);
    // There are as many bytes as before.
    ImageBuffer::from_raw(width, height, bytes).unwrap_or_else(|| ImageBuffer::new(width, height))
}

#[cfg(test)]
mod tests;
