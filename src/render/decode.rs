//! From bytes to pixels: header first, bounds next, pixels last.

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{
    AnimationDecoder, ColorType, DynamicImage, Frames, ImageDecoder, ImageResult, RgbImage, RgbaImage,
};

use self::{avif::AvifDecoder, jpeg::JpegDecoder};
use super::colour::{self, described};
use super::{Format, Limits, RenderError, Size, strip};

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

impl Look {
    /// The size of the profile in bytes.
    pub(super) fn profile_bytes(&self) -> u64 {
        self.profile.as_ref().map_or(0, |profile| profile.len() as u64)
    }
}

/// A source whose header has been read and found small enough; its pixels are still coded.
pub(super) struct Source<'a> {
    file: &'a [u8],
    format: Format,
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
        Ok(Source { file: bytes, format, decoder, look: Look { orientation, profile }, wide_profile })
    }

    /// The size of the picture as it is stored.
    pub(super) fn size(&self) -> Size {
        let (width, height) = self.decoder.dimensions();
        Size { width, height }
    }

    /// Bytes of a pixel once it is decoded: three, or four with alpha.
    pub(super) fn channels(&self) -> u64 {
        if self.decoder.color_type().has_alpha() { 4 } else { 3 }
    }

    /// Bytes that [`Source::pixels`] holds at most, those that it returns included.
    pub(super) fn decoding(&self) -> u64 {
        let (colour, eight) = (self.decoder.color_type(), self.channels());
        let decoded = u64::from(colour.bytes_per_pixel());
        // What the decoder itself holds for each pixel: coefficients, planes, or a frame to be put in place.
        let beside = match self.format {
            Format::Jpeg => jpeg::held(self.file),
            Format::Png => 0,
            Format::Webp if eight == 4 || strip::animation(self.file, self.format).is_some() => 8,
            Format::Webp => 4,
            Format::Gif => 5,
            // Three planes of more than eight bits.
            Format::Avif => 6,
        };
        // Sixteen bits are brought to colours, and then to eight bits; grey becomes colour.
        let converting = match decoded / u64::from(colour.channel_count()) {
            2 => decoded.max(eight) + 2 * eight,
            _ if decoded == eight => 0,
            _ => decoded + eight,
        };
        let copies = match self.format {
            Format::Jpeg => 1,
            // What is coded, and what of it the decoder has been sent.
            Format::Avif => 2,
            Format::Png | Format::Webp | Format::Gif => 0,
        };
        copies * self.file.len() as u64 + (decoded + beside).max(converting) * self.size().pixels()
    }

    /// The size of the picture as it is meant to be seen.
    pub(super) fn upright_size(&self) -> Size {
        let size = self.size();
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

/// Bytes for each pixel of the canvas that [`frames`] keeps from frame to frame, and that it holds beside
/// while it decodes one, the frame included, which has four.
pub(super) fn held_for_frames(format: Format) -> (u64, u64) {
    match format {
        Format::Jpeg | Format::Avif => (0, 0),
        // Two canvases; a list of places and colours when one is cleared.
        Format::Png => (8, 12),
        // A canvas; a frame with its alpha apart, luma and chroma, and what it becomes.
        Format::Webp => (4, 11),
        // A canvas; a frame, its places in the palette, and what it becomes.
        Format::Gif => (4, 9),
    }
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
