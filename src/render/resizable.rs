//! What is resized: a picture of one kind of pixels, in the words of the resizer.

use fast_image_resize::PixelTrait;
use fast_image_resize::pixels::{U8x3, U8x4, U16x3, U16x4};
use image::{ImageBuffer, Pixel, Rgb, Rgba};

use super::RenderError;

/// Pixels of one kind, each with its samples side by side.
pub(super) type Interleaved<P> = ImageBuffer<P, Vec<u8>>;

/// A pixel, and what the resizer calls it. By type, since the resizer is generic: asked for a picture whose type is
/// told while it runs, it is compiled for all thirteen that there are, in each place that asks.
pub(super) trait Resizable: Pixel<Subpixel = u8> {
    /// As it is stored.
    type Stored: PixelTrait;
    /// Its light, sixteen bits a sample.
    type Light: PixelTrait;
}

impl Resizable for Rgb<u8> {
    type Stored = U8x3;
    type Light = U16x3;
}

/// Multiplied by alpha before a filter and divided after it, so that colours hidden under transparency do not bleed
/// into what is seen.
impl Resizable for Rgba<u8> {
    type Stored = U8x4;
    type Light = U16x4;
}

/// What the resizer refused.
pub(super) fn failed(error: impl std::error::Error) -> RenderError {
    RenderError::Resize(error.to_string())
}
