//! Resampling: a part of a picture becomes a picture of another size.
//!
//! What becomes smaller does so in linear light ([`shrink`]). What becomes larger is made of the values
//! as they are stored, since in light the filter's overshoot would stand out on the dark side of edges.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x4;
use fast_image_resize::{FilterType, MulDiv, ResizeAlg, ResizeOptions, Resizer};
use image::{ImageBuffer, RgbaImage};

use super::decode::Pixels;
use super::geometry::{CropBox, everything};
use super::resizable::{Interleaved, Resizable, failed};
use super::{RenderError, Size, shrink};

/// How often larger the resizer's own order of passes may be than the other order.
const MAX_DETOUR: f64 = 2.0;

/// How many pixels across and down [`sampled`] looks at for one.
const SAMPLES: u8 = 4;

/// Gives the part `crop` of a picture the size `size`, as sharp as can be (Lanczos). What is outside
/// of `part`, in whole pixels around `crop`, does not show at its edges either.
pub(super) fn resize(
    pixels: Pixels,
    part: CropBox,
    crop: CropBox,
    size: Size,
) -> Result<Pixels, RenderError> {
    if pixels.size() == size && crop == everything(size) {
        return Ok(pixels);
    }
    if shrink::applies(crop, size) {
        let relative = CropBox { left: crop.left - part.left, top: crop.top - part.top, ..crop };
        return shrink::shrink(&pixels, part, relative, size);
    }
    either(&pixels, part, crop, size, ResizeAlg::Convolution(FilterType::Lanczos3))
}

/// Bytes that [`resize`] holds at most beside the picture and its answer, for `channels` bytes a pixel.
pub(super) fn held(part: CropBox, crop: CropBox, size: Size, channels: u64) -> u64 {
    if shrink::applies(crop, size) {
        return shrink::held(part, crop, size, channels);
    }
    enlarging(part.whole_size().pixels(), size.pixels(), channels)
}

/// The same where it is not known yet which part, of so many pixels at most, becomes how large.
pub(super) fn held_at_most(part: u64, answer: u64, channels: u64) -> u64 {
    (channels * (8 * part + 3 * answer)).max(enlarging(part, answer, channels))
}

/// The part once more where alpha is multiplied, and what lies between the passes: at most root two of the
/// geometric mean in the resizer's own order, or half of that twice, multiplied once more, in the other.
fn enlarging(part: u64, answer: u64, channels: u64) -> u64 {
    let multiplied = if channels == 4 { part } else { 0 };
    channels * (multiplied + part.saturating_mul(answer).isqrt() * 3 / 2)
}

/// The same for all of a part as it is stored, and by any filter.
pub(super) fn resized(
    pixels: &Pixels,
    part: CropBox,
    size: Size,
    filter: FilterType,
) -> Result<Pixels, RenderError> {
    either(pixels, part, part, size, ResizeAlg::Convolution(filter))
}

/// A small copy of all of a picture for who wants an impression of it: the mean of some [`SAMPLES`]
/// pixels squared for each one, wherever the picture is that much larger. So it takes next to no time,
/// and never a second picture for alpha.
pub(super) fn sampled(pixels: &Pixels, size: Size) -> Result<Pixels, RenderError> {
    let all = everything(pixels.size());
    either(pixels, all, all, size, ResizeAlg::SuperSampling(FilterType::Box, SAMPLES))
}

fn either(
    pixels: &Pixels,
    part: CropBox,
    crop: CropBox,
    size: Size,
    how: ResizeAlg,
) -> Result<Pixels, RenderError> {
    let relative = CropBox { left: crop.left - part.left, top: crop.top - part.top, ..crop };
    Ok(match pixels {
        Pixels::Rgb(image) => Pixels::Rgb(resample(image, part, relative, size, how)?),
        Pixels::Rgba(image) => Pixels::Rgba(resample(image, part, relative, size, how)?),
    })
}

/// Scales the colours by alpha, for a filter that knows nothing of transparency.
pub(super) fn premultiply(image: &mut RgbaImage) -> Result<(), RenderError> {
    let (width, height) = image.dimensions();
    let mut view = TypedImage::<U8x4>::from_buffer(width, height, image).map_err(failed)?;
    MulDiv::new().multiply_alpha_inplace_typed(&mut view).map_err(failed)
}

/// Undoes [`premultiply`].
pub(super) fn unpremultiply(image: &mut RgbaImage) -> Result<(), RenderError> {
    let (width, height) = image.dimensions();
    let mut view = TypedImage::<U8x4>::from_buffer(width, height, image).map_err(failed)?;
    MulDiv::new().divide_alpha_inplace_typed(&mut view).map_err(failed)
}

fn resample<P: Resizable>(
    source: &Interleaved<P>,
    part: CropBox,
    crop: CropBox,
    size: Size,
    how: ResizeAlg,
) -> Result<Interleaved<P>, RenderError> {
    if !across_first(crop, size) {
        return pass(source, part, crop, size, how);
    }
    // Whole rows around what is wanted first; the second pass then finds it among them.
    let (top, bottom) = (crop.top.max(0.0).floor(), (crop.top + crop.height).ceil().min(part.height));
    let rows = CropBox { top, height: bottom - top, ..crop };
    let narrowed = Size { width: size.width, height: rows.whole_size().height };
    let narrow = pass(source, part, rows, narrowed, how)?;
    let down = CropBox { left: 0.0, top: crop.top - top, width: size.width.into(), height: crop.height };
    pass(&narrow, everything(narrowed), down, size, how)
}

/// Whether to change the width before the height.
///
/// The resizer changes the height first, and so holds the part's width times the new height in
/// between. A picture that is very wide and is to become very high would take all memory there is.
/// With the better order it is at most twice the geometric mean of the part and the answer, which are bounded.
fn across_first(crop: CropBox, size: Size) -> bool {
    let (down, across) = between(crop, size);
    down > MAX_DETOUR * across
}

/// The pixels held between two passes: height first, and width first.
fn between(crop: CropBox, size: Size) -> (f64, f64) {
    (crop.width * f64::from(size.height), crop.height * f64::from(size.width))
}

/// The part `crop` of what there is to see of a picture, its `part`, in one go.
fn pass<P: Resizable>(
    source: &Interleaved<P>,
    part: CropBox,
    crop: CropBox,
    size: Size,
    how: ResizeAlg,
) -> Result<Interleaved<P>, RenderError> {
    // Rounding in the last binary digit must not push the box over an edge.
    let (left, top) = (crop.left.max(0.0), crop.top.max(0.0));
    let (width, height) = (crop.width.min(part.width - left), crop.height.min(part.height - top));
    let options = ResizeOptions::new().resize_alg(how).crop(left, top, width, height);

    let mut resized = ImageBuffer::new(size.width, size.height);
    let whole = TypedImageRef::<P::Stored>::from_buffer(source.width(), source.height(), source);
    let ((left, top), seen) = (part.whole_corner(), part.whole_size());
    let from = TypedCroppedImage::new(whole.map_err(failed)?, left, top, seen.width, seen.height);
    let mut into = TypedImage::from_buffer(size.width, size.height, &mut resized).map_err(failed)?;
    Resizer::new().resize_typed(&from.map_err(failed)?, &mut into, &options).map_err(failed)?;
    Ok(resized)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn either_order_gives_the_same_picture() {
        let source = RgbImage::from_fn(96, 64, |x, y| {
            let wave = |n: u32| u8::try_from((n * n + 3 * n) % 200).unwrap();
            Rgb([wave(x / 8), wave(y / 8), wave((x + y) / 16)])
        });
        let crop = CropBox { left: 3.25, top: 7.5, width: 80.5, height: 41.25 };
        let size = Size { width: 10, height: 150 };
        assert!(across_first(crop, size));
        let part = CropBox { left: 1.0, top: 2.0, width: 90.0, height: 50.0 };
        let found = resample(&source, part, crop, size, ResizeAlg::default()).unwrap();
        let other = pass(&source, part, crop, size, ResizeAlg::default()).unwrap();
        for (found, other) in found.iter().zip(other.iter()) {
            assert!(found.abs_diff(*other) <= 2, "{found} is not {other}");
        }
    }

    #[test]
    fn nothing_outside_of_the_part_shows() {
        let source = RgbImage::from_fn(60, 60, |x, y| {
            let inside = (20..40).contains(&x) && (10..50).contains(&y);
            Rgb(if inside { [9, 90, 200] } else { [255, 0, 255] })
        });
        let part = CropBox { left: 20.0, top: 10.0, width: 20.0, height: 40.0 };
        let inner = CropBox { left: 20.5, top: 12.0, width: 19.5, height: 37.25 };
        for (crop, width, height) in [(part, 5, 9), (inner, 5, 9), (inner, 90, 90), (part, 1, 700)] {
            let made = resize(Pixels::Rgb(source.clone()), part, crop, Size { width, height }).unwrap();
            let Pixels::Rgb(made) = made else { unreachable!() };
            assert!(made.pixels().all(|pixel| pixel.0 == [9, 90, 200]), "{width}×{height}");
        }
    }

    proptest! {
        #[test]
        fn little_is_held_between_the_passes(
            width in 1u32..=50_000_000, rows in 1u32..=50_000_000,
            to_width in 1u32..=16_384, to_height in 1u32..=16_384,
        ) {
            let part = CropBox { left: 0.0, top: 0.0, width: width.into(), height: rows.into() };
            let size = Size { width: to_width, height: to_height };
            let (down, across) = between(part, size);
            let held = if across_first(part, size) { across } else { down };
            let mean = (part.width * part.height * f64::from(to_width) * f64::from(to_height)).sqrt();
            prop_assert!(held <= mean * MAX_DETOUR);
        }
    }
}
