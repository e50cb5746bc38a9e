//! The judgement on an upload: is it a whole, decodable picture of a bearable size?

use image::{ImageError, ImageResult};

use super::decode::{self, Pixels, Source};
use super::strip::{self, Animation, Walked};
use super::{Format, Limits, RenderError, StripError};

/// The longest side of an upload, in pixels: what a JPEG can have at most. A picture that is all width
/// would have few pixels, and make the resizer plan for millions of columns.
const MAX_SOURCE_SIDE: u32 = 65_535;

/// What an upload turned out to be, found out by decoding all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Pixels of the upright picture.
    pub width: u32,
    /// Pixels of the upright picture.
    pub height: u32,
    /// One for a still picture.
    pub frames: u32,
    /// Whether there is an alpha channel.
    pub has_alpha: bool,
}

/// Why an upload is refused. Each text is a sentence that its sender may read.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// More pixels than [`Limits::max_pixels`].
    #[error("The picture is {width}×{height} pixels, which is more than the {max_pixels} pixels allowed.")]
    TooManyPixels {
        /// Pixels, as stored.
        width: u32,
        /// Pixels, as stored.
        height: u32,
        /// The bound.
        max_pixels: u64,
    },
    /// A side longer than that of any JPEG.
    #[error("The picture is {width}×{height} pixels; no side may have more than {MAX_SOURCE_SIDE}.")]
    TooLong {
        /// Pixels, as stored.
        width: u32,
        /// Pixels, as stored.
        height: u32,
    },
    /// More frames times pixels than [`Limits::max_animation_pixels`].
    #[error(
        "The animation has {frames} frames of {width}×{height} pixels, which is more than the {max_animation_pixels} pixels allowed in all."
    )]
    TooLongAnimation {
        /// Frames.
        frames: u32,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// The bound.
        max_animation_pixels: u64,
    },
    /// More frames than [`Limits::max_frames`].
    #[error("The animation has {frames} frames, which is more than the {max_frames} allowed.")]
    TooManyFrames {
        /// Frames.
        frames: u32,
        /// The bound.
        max_frames: u32,
    },
    /// The container is cut short or contradicts itself.
    #[error("The {format} file is damaged or incomplete: {fault}.")]
    Malformed {
        /// What it claims to be.
        format: Format,
        /// What is wrong.
        fault: StripError,
    },
    /// The container is sound but its pixels do not decode.
    #[error("The {format} file is damaged or incomplete: its pixels cannot be decoded.")]
    Undecodable {
        /// What it claims to be.
        format: Format,
        /// The decoder's own words, for logs.
        source: Option<ImageError>,
    },
    /// A kind of file that the format allows and the decoder does not know.
    #[error("This kind of {format} file is not supported: {why}.")]
    Unsupported {
        /// What it claims to be.
        format: Format,
        /// What is not.
        why: StripError,
        /// The decoder's own words, for logs.
        source: Option<ImageError>,
    },
}

/// Looks an upload over: its structure and size first, before any pixel buffer exists, and then
/// a full decode of everything that [`super::strip()`] leaves of it.
///
/// The walk over the structure does what the decoders leave undone. The JPEG decoders know no
/// bound of their scans; the WebP decoder knows no limits, and believes each frame's own header
/// about how much memory it takes.
pub fn inspect(source: &[u8], format: Format, limits: &Limits) -> Result<Inspected, Rejected> {
    let walked = strip::walk(source, format).map_err(|fault| Rejected::by_structure(fault, format))?;
    check_bounds(&walked, limits)?;

    let opened = Source::open(&walked.bytes, format, limits).map_err(|e| decoding(e, format))?;
    let upright = opened.upright_size();
    let pixels = opened.pixels().map_err(|e| decoding(e, format))?;
    let frames = walked.animation.map_or(1, |animation| animation.frames);
    if walked.animation.is_some() {
        let decoded = count_frames(&walked.bytes, format).map_err(|e| verdict(e, format))?;
        if decoded != frames {
            return Err(Rejected::Undecodable { format, source: None });
        }
    }
    Ok(Inspected {
        width: upright.width,
        height: upright.height,
        frames,
        has_alpha: matches!(pixels, Pixels::Rgba(_)),
    })
}

fn check_bounds(walked: &Walked, limits: &Limits) -> Result<(), Rejected> {
    let (width, height) = (walked.canvas.width, walked.canvas.height);
    if walked.canvas.pixels() > limits.max_pixels {
        return Err(Rejected::TooManyPixels { width, height, max_pixels: limits.max_pixels });
    }
    if width.max(height) > MAX_SOURCE_SIDE {
        return Err(Rejected::TooLong { width, height });
    }
    let Some(Animation { frames, .. }) = walked.animation else {
        return Ok(());
    };
    if frames > limits.max_frames {
        return Err(Rejected::TooManyFrames { frames, max_frames: limits.max_frames });
    }
    if walked.canvas.pixels().saturating_mul(u64::from(frames)) > limits.max_animation_pixels {
        return Err(Rejected::TooLongAnimation {
            frames,
            width,
            height,
            max_animation_pixels: limits.max_animation_pixels,
        });
    }
    Ok(())
}

/// Decodes every frame of an animation, and keeps none.
fn count_frames(source: &[u8], format: Format) -> ImageResult<u32> {
    let mut count = 0;
    for frame in decode::frames(source, format)? {
        frame?;
        count += 1;
    }
    Ok(count)
}

impl Rejected {
    /// The refusal of a file whose structure [`super::strip()`] could not follow.
    pub fn by_structure(fault: StripError, format: Format) -> Rejected {
        match fault {
            StripError::Unsupported(_) => Rejected::Unsupported { format, why: fault, source: None },
            StripError::Truncated | StripError::Malformed(_) => Rejected::Malformed { format, fault },
        }
    }
}

fn decoding(error: RenderError, format: Format) -> Rejected {
    match error {
        RenderError::Decode(error) => verdict(error, format),
        // The canvas was measured above: a decoder that sees another one has been lied to.
        _ => Rejected::Undecodable { format, source: None },
    }
}

fn verdict(error: ImageError, format: Format) -> Rejected {
    match error {
        ImageError::Unsupported(_) => Rejected::Unsupported {
            format,
            why: StripError::Unsupported("its decoder does not know it"),
            source: Some(error),
        },
        _ => Rejected::Undecodable { format, source: Some(error) },
    }
}

#[cfg(test)]
mod tests;
