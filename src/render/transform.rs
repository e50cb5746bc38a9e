//! Pixels to pixels: cut and resize, turn upright, convert to sRGB, lay on white.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{ImageBuffer, Pixel, Rgb, RgbImage, RgbaImage, imageops};

use super::decode::{Look, Pixels, transposes};
use super::geometry::{Canvas, CropBox, Layout};
use super::{Format, RenderError, Size, colour};

/// What shows through where a picture is transparent or too small, sRGB.
const BACKGROUND: Rgb<u8> = Rgb([255, 255, 255]);

/// Brings stored pixels into the shape of `layout` for a file of format `target`.
///
/// The order is by cost: everything after the resize touches only the pixels that are left.
pub(super) fn transform(
    pixels: Pixels,
    look: &Look,
    layout: &Layout,
    target: Format,
) -> Result<Pixels, RenderError> {
    let upright = if transposes(look.orientation) { pixels.size().transposed() } else { pixels.size() };
    let crop = as_stored(layout.crop, upright, look.orientation);
    let size = if transposes(look.orientation) { layout.size.transposed() } else { layout.size };

    let mut pixels = match resize(pixels, crop, size)? {
        Pixels::Rgb(image) => Pixels::Rgb(turn(image, look.orientation)),
        Pixels::Rgba(image) => Pixels::Rgba(turn(image, look.orientation)),
    };
    if let Some(profile) = &look.profile {
        colour::to_srgb(&mut pixels, profile);
    }
    Ok(match layout.canvas {
        Some(canvas) => Pixels::Rgb(lay_on(&flatten(pixels), canvas)),
        None if target == Format::Jpeg => Pixels::Rgb(flatten(pixels)),
        None => pixels,
    })
}

/// Where a part of the upright picture lies in the stored one. `upright` is the upright size.
fn as_stored(crop: CropBox, upright: Size, orientation: Orientation) -> CropBox {
    let CropBox { left, top, width, height } = crop;
    let right = (f64::from(upright.width) - left - width).max(0.0);
    let bottom = (f64::from(upright.height) - top - height).max(0.0);
    let (left, top) = match orientation {
        Orientation::NoTransforms => (left, top),
        Orientation::Rotate90 => (top, right),
        Orientation::Rotate180 => (right, bottom),
        Orientation::Rotate270 => (bottom, left),
        Orientation::FlipHorizontal => (right, top),
        Orientation::FlipVertical => (left, bottom),
        Orientation::Rotate90FlipH => (top, left),
        Orientation::Rotate270FlipH => (bottom, right),
    };
    let (width, height) = if transposes(orientation) { (height, width) } else { (width, height) };
    CropBox { left, top, width, height }
}

fn resize(pixels: Pixels, crop: CropBox, size: Size) -> Result<Pixels, RenderError> {
    if pixels.size() == size && crop.left == 0.0 && crop.top == 0.0 {
        let whole = (f64::from(size.width), f64::from(size.height));
        if (crop.width, crop.height) == whole {
            return Ok(pixels);
        }
    }
    Ok(match pixels {
        Pixels::Rgb(image) => Pixels::Rgb(resample(&image, PixelType::U8x3, crop, size)?),
        // U8x4 is premultiplied for the resize and divided after it, so that colours hidden
        // under transparency do not bleed into what is seen.
        Pixels::Rgba(image) => Pixels::Rgba(resample(&image, PixelType::U8x4, crop, size)?),
    })
}

fn resample<P: Pixel<Subpixel = u8>>(
    source: &ImageBuffer<P, Vec<u8>>,
    pixel_type: PixelType,
    crop: CropBox,
    size: Size,
) -> Result<ImageBuffer<P, Vec<u8>>, RenderError> {
    let failed = |error: &dyn std::error::Error| RenderError::Resize(error.to_string());
    // Rounding in the last binary digit must not push the box over the edge.
    let width = crop.width.min(f64::from(source.width()) - crop.left);
    let height = crop.height.min(f64::from(source.height()) - crop.top);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(crop.left, crop.top, width, height);

    let mut resized = ImageBuffer::new(size.width, size.height);
    let from =
        ImageRef::new(source.width(), source.height(), source, pixel_type).map_err(|error| failed(&error))?;
    let mut into = Image::from_slice_u8(size.width, size.height, &mut resized, pixel_type)
        .map_err(|error| failed(&error))?;
    Resizer::new().resize(&from, &mut into, &options).map_err(|error| failed(&error))?;
    Ok(resized)
}

fn turn<P: Pixel + 'static>(
    mut image: ImageBuffer<P, Vec<P::Subpixel>>,
    orientation: Orientation,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    match orientation {
        Orientation::NoTransforms => {}
        Orientation::Rotate90 => image = imageops::rotate90(&image),
        Orientation::Rotate180 => imageops::rotate180_in_place(&mut image),
        Orientation::Rotate270 => image = imageops::rotate270(&image),
        Orientation::FlipHorizontal => imageops::flip_horizontal_in_place(&mut image),
        Orientation::FlipVertical => imageops::flip_vertical_in_place(&mut image),
        Orientation::Rotate90FlipH => {
            image = imageops::rotate90(&image);
            imageops::flip_horizontal_in_place(&mut image);
        }
        Orientation::Rotate270FlipH => {
            image = imageops::rotate270(&image);
            imageops::flip_horizontal_in_place(&mut image);
        }
    }
    image
}

fn flatten(pixels: Pixels) -> RgbImage {
    match pixels {
        Pixels::Rgb(image) => image,
        Pixels::Rgba(image) => over_background(&image),
    }
}

fn over_background(image: &RgbaImage) -> RgbImage {
    let mut flat = RgbImage::new(image.width(), image.height());
    for (below, above) in flat.pixels_mut().zip(image.pixels()) {
        let alpha = above[3];
        for channel in 0..3 {
            below[channel] = blend(above[channel], BACKGROUND[channel], alpha);
        }
    }
    flat
}

/// `alpha` parts of `above` and the rest of `below`, of 255, rounded to the nearest.
fn blend(above: u8, below: u8, alpha: u8) -> u8 {
    let (above, below, alpha) = (u32::from(above), u32::from(below), u32::from(alpha));
    let mixed = (above * alpha + below * (255 - alpha) + 127) / 255;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

fn lay_on(image: &RgbImage, canvas: Canvas) -> RgbImage {
    let mut laid = RgbImage::from_pixel(canvas.size.width, canvas.size.height, BACKGROUND);
    imageops::replace(&mut laid, image, canvas.left.into(), canvas.top.into());
    laid
}
