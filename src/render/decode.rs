//! From bytes to pixels: header first, bounds next, pixels last.

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{
    AnimationDecoder, ColorType, DynamicImage, Frames, ImageDecoder, ImageResult, RgbImage, RgbaImage,
};

use self::{avif::AvifDecoder, jpeg::JpegDecoder};
use super::colour::{self, described};
use super::{Format, Limits, RenderError, Size};

mod avif;
mod jpeg;

/// How much a PNG may make its decoder hold besides pixels, in bytes: one row, and the colour
/// profile, which is compressed and could otherwise inflate to a thousand times its size.
const MAX_PNG_SIDE_BYTES: u64 = 32 << 20;

/// Eight-bit pixels, row by row without gaps, with straight (not premultiplied) alpha.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pixels {
    Rgb(RgbImage),
    Rgba(RgbaImage),
}

impl Pixels {
    pub(super) fn size(&self) -> Size {
        let (width, height) = match self {
            Pixels::Rgb(image) => image.dimensions(),
            Pixels::Rgba(image) => image.dimensions(),
        };
        Size { width, height }
    }

    /// The same pixels, every one of them opaque if there was no alpha channel.
    pub(super) fn into_rgba(self) -> RgbaImage {
        match self {
            Pixels::Rgb(image) => DynamicImage::from(image).into_rgba8(),
            Pixels::Rgba(image) => image,
        }
    }
}

/// What a source says about how its pixels are to be seen.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// What turns the stored picture upright.
    pub(super) orientation: Orientation,
    /// The ICC profile of its colours, unverified; none where they are sRGB already.
    pub(super) profile: Option<Vec<u8>>,
}

/// A source whose header has been read and found small enough; its pixels are still coded.
pub(super) struct Source<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    pub(super) look: Look,
    /// What sixteen bits have to be converted from before they become eight.
    wide_profile: Option<Vec<u8>>,
}

impl<'a> Source<'a> {
    /// Reads the header. No pixel buffer is allocated for a canvas above the limit.
    pub(super) fn open(bytes: &'a [u8], format: Format, limits: &Limits) -> Result<Source<'a>, RenderError> {
        let mut decoder = decoder(bytes, format).map_err(RenderError::Decode)?;
        let (width, height) = decoder.dimensions();
        let pixels = Size { width, height }.pixels();
        if pixels > limits.max_pixels {
            return Err(RenderError::SourceTooLarge { pixels, max_pixels: limits.max_pixels });
        }
        let icc = decoder.icc_profile().map_err(RenderError::Decode)?;
        let profile = if format == Format::Png { described::png(bytes, icc) } else { icc };
        let is_wide = matches!(
            decoder.color_type(),
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16
        );
        let (profile, wide_profile) = if is_wide { (None, profile) } else { (profile, None) };
        let orientation = decoder.orientation().map_err(RenderError::Decode)?;
        Ok(Source { decoder, look: Look { orientation, profile }, wide_profile })
    }

    /// The size of the picture as it is meant to be seen.
    pub(super) fn upright_size(&self) -> Size {
        let (width, height) = self.decoder.dimensions();
        let size = Size { width, height };
        if transposes(self.look.orientation) { size.transposed() } else { size }
    }

    /// Decodes the picture as stored, not yet upright: turning it is cheaper once it is small.
    /// Grey and palettes are expanded, 16 bits reduced; of an animation this is the first frame.
    pub(super) fn pixels(self) -> Result<Pixels, RenderError> {
        let mut decoded = DynamicImage::from_decoder(self.decoder).map_err(RenderError::Decode)?;
        if let Some(profile) = &self.wide_profile {
            decoded = colour::to_srgb_in_16_bits(decoded, profile);
        }
        Ok(if decoded.color().has_alpha() {
            Pixels::Rgba(decoded.into_rgba8())
        } else {
            Pixels::Rgb(decoded.into_rgb8())
        })
    }
}

/// Whether an orientation swaps width and height.
pub(super) fn transposes(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn decoder<'a>(bytes: &'a [u8], format: Format) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    Ok(match format {
        Format::Jpeg => Box::new(JpegDecoder::new(bytes)?),
        Format::Png => Box::new(png(bytes)?),
        Format::Webp => Box::new(WebPDecoder::new(Cursor::new(bytes))?),
        Format::Gif => Box::new(GifDecoder::new(Cursor::new(bytes))?),
        Format::Avif => Box::new(AvifDecoder::new(bytes)?),
    })
}

fn png(bytes: &[u8]) -> ImageResult<PngDecoder<Cursor<&[u8]>>> {
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(MAX_PNG_SIDE_BYTES);
    PngDecoder::with_limits(Cursor::new(bytes), limits)
}

/// The frames of an animation, decoded one at a time: each is the whole canvas as it is seen, what
/// earlier frames left there included. The caller has bounded frames × canvas.
pub(super) fn frames(bytes: &[u8], format: Format) -> ImageResult<Frames<'_>> {
    Ok(match format {
        Format::Jpeg | Format::Avif => Frames::new(Box::new(std::iter::empty())),
        Format::Png => {
            // The frames' two canvases are pixels, which the caller has bounded already.
            let mut decoder = png(bytes)?;
            decoder.set_limits(image::Limits::no_limits())?;
            decoder.apng()?.into_frames()
        }
        Format::Webp => WebPDecoder::new(Cursor::new(bytes))?.into_frames(),
        Format::Gif => GifDecoder::new(Cursor::new(bytes))?.into_frames(),
    })
}
