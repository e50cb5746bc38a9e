//! From pixels to a file: sRGB in, and no metadata of any kind out.

use image::RgbaImage;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, SamplingFactor};
use webp::{PixelLayout, WebPConfig};

use self::{gif::Gif, webp_animation::WebpAnimation};
use super::decode::Pixels;
use super::{Format, RenderError, Size};

mod avif;
mod changes;
mod gif;
mod webp_animation;

/// From this quality on, colour keeps its full resolution in JPEG and AVIF: who asks for so much sees
/// the difference at edges. Below it, a quarter of the colour saves a third of the bytes.
const FULL_CHROMA_QUALITY: u8 = 90;

/// Optimised tables make the encoder write one scan per component, and a sequential JPEG of that
/// kind is what our own decoder gets wrong. As a progressive one, averages first and details
/// second, it decodes everywhere and is no larger; more scans than these two cost 3–8 % in bytes.
const JPEG_SCANS: u8 = 2;

/// The quality of a master: what is made from it is coded once more, and must not show that it was coded
/// before. Above it the file grows by half and a finished JPEG gains a tenth of a point of SSIMULACRA2.
const MASTER_QUALITY: u8 = 92;

/// How hard libwebp works, 0–6. The last steps cost far more time than they save bytes.
const WEBP_METHOD: i32 = 4;

/// Bytes for each pixel that [`encode`] holds at most beside the picture, the file included: coefficients,
/// tokens, a palette's search. It is what noise takes.
pub(super) fn held(format: Format, quality: u8) -> u64 {
    match format {
        Format::Jpeg | Format::Png => 10,
        // libwebp's tokens, or its search for matches where there is alpha.
        Format::Webp => 48,
        Format::Gif => 4 + 14,
        // rav1e's records of what it may have to code, the more the finer they are.
        Format::Avif if quality < FULL_CHROMA_QUALITY => 100,
        Format::Avif => 260,
    }
}

/// The same for [`master`], whatever its format.
pub(super) fn held_for_master() -> u64 {
    held(Format::Png, MASTER_QUALITY).max(held(Format::Jpeg, MASTER_QUALITY))
}

/// Bytes for each pixel that [`Animator::push`] holds at most beside the frame: the part that changes, and
/// what [`held`] says of it.
pub(super) fn held_for_frame(format: Format, quality: u8) -> u64 {
    4 + held(format, quality)
}

/// Bytes that an animation of so many frames of so many pixels holds between them: earlier frames, and the
/// file of at most `max_bytes`, which is put together of a copy.
pub(super) fn held_between_frames(format: Format, frames: u32, pixels: u64, max_bytes: u64) -> u64 {
    let (earlier, coded) = if format == Format::Gif { (8, 2) } else { (4, 4) };
    let file = pixels.saturating_mul(coded * u64::from(frames)).min(max_bytes);
    earlier * pixels + 2 * file
}

/// Encodes `pixels`. `quality` is 1–100 and means nothing to PNG; JPEG drops the alpha channel,
/// so the caller flattens first.
pub(super) fn encode(pixels: &Pixels, format: Format, quality: u8) -> Result<Vec<u8>, RenderError> {
    match format {
        Format::Jpeg => jpeg(pixels, quality),
        Format::Png => png(pixels),
        Format::Webp => webp(pixels, quality, WEBP_METHOD),
        Format::Avif => avif::avif(pixels, quality),
        Format::Gif => {
            let mut still = Gif::new(pixels.size(), 1)?;
            still.push(pixels.clone().into_rgba(), 0)?;
            still.finish()
        }
    }
}

/// Encodes a master: quick to decode, with its colour in full resolution.
pub(super) fn master(pixels: &Pixels, format: Format) -> Result<Vec<u8>, RenderError> {
    if format == Format::Png { png(pixels) } else { jpeg_of(pixels, MASTER_QUALITY, false) }
}

/// An animation in the making: frames go in one by one, a file comes out.
pub(super) enum Animator {
    Webp(WebpAnimation),
    Gif(Gif),
}

impl Animator {
    /// Starts an animation whose frames all have `size`, shown `plays` times (0 for ever). `format`
    /// is one that animates.
    pub(super) fn new(format: Format, size: Size, quality: u8, plays: u32) -> Result<Animator, RenderError> {
        Ok(match format {
            Format::Gif => Animator::Gif(Gif::new(size, plays)?),
            _ => Animator::Webp(WebpAnimation::new(size, quality, plays)),
        })
    }

    /// Adds a frame that is seen for `delay_ms`.
    pub(super) fn push(&mut self, frame: RgbaImage, delay_ms: u32) -> Result<(), RenderError> {
        match self {
            Animator::Webp(animation) => animation.push(frame, delay_ms),
            Animator::Gif(animation) => animation.push(frame, delay_ms),
        }
    }

    /// Bytes that all frames so far have become.
    pub(super) fn written(&self) -> usize {
        match self {
            Animator::Webp(animation) => animation.written(),
            Animator::Gif(animation) => animation.written(),
        }
    }

    /// The file.
    pub(super) fn finish(self) -> Result<Vec<u8>, RenderError> {
        match self {
            Animator::Webp(animation) => animation.finish(),
            Animator::Gif(animation) => animation.finish(),
        }
    }
}

fn jpeg(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, RenderError> {
    jpeg_of(pixels, quality, true)
}

/// Small, or quick to decode: in one scan by the tables of the standard.
fn jpeg_of(pixels: &Pixels, quality: u8, small: bool) -> Result<Vec<u8>, RenderError> {
    let failed = |error: &dyn std::error::Error| RenderError::Encode(error.to_string());
    let Size { width, height } = pixels.size();
    let width = u16::try_from(width).map_err(|error| failed(&error))?;
    let height = u16::try_from(height).map_err(|error| failed(&error))?;
    let (data, color) = match pixels {
        Pixels::Rgb(image) => (image.as_raw(), ColorType::Rgb),
        Pixels::Rgba(image) => (image.as_raw(), ColorType::Rgba),
    };

    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality);
    if small {
        encoder.set_optimized_huffman_tables(true);
        encoder.set_progressive_scans(JPEG_SCANS);
    }
    encoder.set_sampling_factor(if quality < FULL_CHROMA_QUALITY {
        SamplingFactor::R_4_2_0
    } else {
        SamplingFactor::R_4_4_4
    });
    // The encoder's default takes one colour of four and drops the rest, which shows at edges.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.encode(data, width, height, color).map_err(|error| failed(&error))?;
    Ok(bytes)
}

fn png(pixels: &Pixels) -> Result<Vec<u8>, RenderError> {
    let Size { width, height } = pixels.size();
    let (data, color) = match pixels {
        Pixels::Rgb(image) => (image.as_raw(), ExtendedColorType::Rgb8),
        Pixels::Rgba(image) => (image.as_raw(), ExtendedColorType::Rgba8),
    };
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(data, width, height, color)
        .map_err(|error| RenderError::Encode(error.to_string()))?;
    Ok(bytes)
}

fn webp(pixels: &Pixels, quality: u8, method: i32) -> Result<Vec<u8>, RenderError> {
    let Size { width, height } = pixels.size();
    let (data, layout) = match pixels {
        Pixels::Rgb(image) => (image.as_raw(), PixelLayout::Rgb),
        Pixels::Rgba(image) => (image.as_raw(), PixelLayout::Rgba),
    };
    let mut config = WebPConfig::new().map_err(|()| RenderError::Encode("libwebp's version".to_owned()))?;
    config.quality = f32::from(quality);
    config.method = method;
    webp::Encoder::new(data, layout, width, height)
        .encode_advanced(&config)
        .map(|memory| memory.to_vec())
        .map_err(|error| RenderError::Encode(format!("{error:?}")))
}
