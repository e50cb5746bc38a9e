//! The pixel room: pure and synchronous, bytes in, bytes out.
//!
//! The way down for a picture made to order is [`render`]:
//!
//! ```text
//! options   the path's text            → Plan      what to make, defaults resolved
//! decode    the source's header        → size, orientation, profile, checked against Limits
//! geometry  source size and Plan       → Layout    what to cut, how large, on what canvas
//! decode    the source's pixels
//! content   pixels and Plan            → Layout    where only the pixels can tell
//! transform pixels, Layout and Plan    → upright sRGB pixels of exactly the asked size
//! encode    pixels and Plan            → bytes without any metadata
//! ```
//!
//! An animation takes the last three steps once for every frame, where the answer's format has frames.
//!
//! A variant is made from the original, or by the same way from a smaller [`master`] of it.
//!
//! The way in for an upload is [`strip()`], which keeps only what decoding needs, and then
//! [`inspect()`], which decodes all of what will be published, and makes its [`Placeholder`] of that.
//! The sources are hostile: they meet bounds before buffers, and memory-safe decoders only. What the
//! encoders see is our own pixels.

mod canvas;
mod colour;
mod content;
pub mod cost;
mod decode;
mod encode;
mod filter;
mod format;
mod geometry;
mod inspect;
pub mod master;
mod options;
mod placeholder;
mod resizable;
mod resize;
mod shrink;
mod strip;
mod transform;
mod turn;
mod watermark;

pub use format::{Format, is_heic};
pub use geometry::Size;
pub use inspect::{Inspected, Picture, Rejected, inspect, inspect_picture};
pub use master::{Masters, Rung};
pub use options::{
    Accepts, BadOptions, Catalogue, CatalogueError, Colour, Decimal, Fit, Flip, FormatChoice, Gravity,
    MAX_SIDE, Options, Plan, Rendition, Rotate, Trim, default_quality,
};
pub use placeholder::Placeholder;
pub use strip::{StripError, strip};
pub use turn::Turn;
pub use watermark::{Watermark, WatermarkError, WatermarkSettings};

/// Steps whenever the same plan comes out as other bytes than before: what was kept elsewhere of the old ones is
/// never found again.
pub const VERSION: u32 = 1;

/// The bounds that keep one picture from costing more than its share; [`cost`] tells how much memory that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest source, in pixels of its canvas.
    pub max_pixels: u64,
    /// The longest animation: frames times pixels of the canvas.
    pub max_animation_pixels: u64,
    /// The most frames of an animation, however small.
    pub max_frames: u32,
    /// The largest file of an animated answer, in bytes.
    pub max_animation_bytes: u64,
    /// The longest side of an answer, in pixels.
    pub max_output_side: u32,
    /// The largest answer, in pixels.
    pub max_output_pixels: u64,
    /// The largest answer in AVIF, in pixels: each takes ten times as long as one of WebP.
    pub max_avif_pixels: u64,
}

impl Default for Limits {
    /// Room for a 100-megapixel photograph and for answers as large as options can ask for.
    fn default() -> Limits {
        Limits {
            max_pixels: 100_000_000,
            max_animation_pixels: 400_000_000,
            max_frames: 2_000,
            max_animation_bytes: 64 << 20,
            max_output_side: MAX_SIDE,
            max_output_pixels: u64::from(MAX_SIDE) * u64::from(MAX_SIDE),
            max_avif_pixels: 10_000_000,
        }
    }
}

/// A finished picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The encoded file.
    pub bytes: Vec<u8>,
    /// Its format.
    pub format: Format,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The source is larger than [`Limits::max_pixels`].
    #[error("the source has {pixels} pixels, more than the {max_pixels} allowed")]
    SourceTooLarge {
        /// Pixels of the source.
        pixels: u64,
        /// The bound.
        max_pixels: u64,
    },
    /// The answer would be larger than [`Limits`] allow; the options or their absence ask for it.
    #[error("an answer of {width}×{height} pixels is larger than allowed; ask for a smaller width or height")]
    OutputTooLarge {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The answer would be larger than [`Limits::max_avif_pixels`].
    #[error(
        "an AVIF of {width}×{height} pixels is larger than allowed; ask for a smaller width or height, or for another format"
    )]
    AvifTooLarge {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The options cut everything off.
    #[error("`trim` leaves nothing of a picture of {}×{} pixels; trim less", .0.width, .0.height)]
    NothingLeft(Size),
    /// All frames of the answer would be larger than [`Limits::max_animation_pixels`], or their file larger
    /// than [`Limits::max_animation_bytes`].
    #[error(
        "an animation of {frames} frames of {width}×{height} pixels is larger than allowed; ask for a smaller width or height, or for `anim=false`"
    )]
    AnimationTooLarge {
        /// Frames.
        frames: u32,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// It was not to go on.
    #[error("it was given up after as long as a render may take")]
    OutOfTime,
    /// The source does not decode.
    #[error("the source cannot be decoded")]
    Decode(#[source] image::ImageError),
    /// The resizer refused, which a layout of ours should never make it do.
    #[error("resizing failed: {0}")]
    Resize(String),
    /// The encoder refused, which pixels of ours should never make it do.
    #[error("encoding failed: {0}")]
    Encode(String),
}

/// Asked between the steps of a render, and between frames: false ends it.
pub type KeepGoing<'a> = &'a dyn Fn() -> bool;

fn go_on(keep_going: KeepGoing<'_>) -> Result<(), RenderError> {
    if keep_going() { Ok(()) } else { Err(RenderError::OutOfTime) }
}

/// Makes the picture that `plan` asks for out of the original `source`, however long that takes.
pub fn render(source: &[u8], format: Format, plan: &Plan, limits: &Limits) -> Result<Rendered, RenderError> {
    render_while(source, format, None, plan, limits, &|| true)
}

/// Makes the picture that `plan` asks for as long as it may, out of the original itself, or out of a master
/// of an original of size `original`. It has the size that the original's would have (see
/// [`Masters::fit_for`] for which masters are large enough).
pub fn render_while(
    source: &[u8],
    format: Format,
    original: Option<Size>,
    plan: &Plan,
    limits: &Limits,
    keep_going: KeepGoing<'_>,
) -> Result<Rendered, RenderError> {
    if let Some(target) = plan.animation
        && original.is_none()
        && let Some(animation) = strip::animation(source, format)
    {
        return render_animation(source, format, (animation, target), plan, limits, keep_going);
    }
    let source = decode::Source::open(source, format, limits)?;
    let whole = original.unwrap_or(source.upright_size());
    let mut layout = geometry::layout(whole, plan)?;
    check_output(layout.output(), plan, limits)?;

    let look = source.look.clone();
    let pixels = source.pixels()?;
    let plan = &*plan.for_alpha(matches!(pixels, decode::Pixels::Rgba(_)));
    go_on(keep_going)?;
    if content::decides(plan) {
        layout = content::layout(&pixels, &look, whole, plan)?;
        check_output(layout.output(), plan, limits)?;
    }
    let size = layout.output();
    let pixels = transform::transform(pixels, &look, whole, &layout, plan, keep_going)?;
    Ok(Rendered {
        bytes: encode::encode(&pixels, plan.format, plan.quality)?,
        format: plan.format,
        width: size.width,
        height: size.height,
    })
}

/// The same for every frame of an animation; one frame at a time is in memory.
fn render_animation(
    source: &[u8],
    format: Format,
    (animation, target): (strip::Animation, Format),
    plan: &Plan,
    limits: &Limits,
    keep_going: KeepGoing<'_>,
) -> Result<Rendered, RenderError> {
    let opened = decode::Source::open(source, format, limits)?;
    let whole = opened.upright_size();
    let mut layout = geometry::layout(whole, plan)?;
    check_output(layout.output(), plan, limits)?;
    let look = opened.look.clone();
    if content::decides(plan) {
        layout = content::layout(&opened.pixels()?, &look, whole, plan)?;
        check_output(layout.output(), plan, limits)?;
    }
    let size = layout.output();
    let Size { width, height } = size;
    let too_large = RenderError::AnimationTooLarge { frames: animation.frames, width, height };
    if size.pixels().saturating_mul(animation.frames.into()) > limits.max_animation_pixels {
        return Err(too_large);
    }

    let mut encoder = encode::Animator::new(target, size, plan.quality, animation.plays)?;
    for frame in decode::frames(source, format).map_err(RenderError::Decode)? {
        let frame = frame.map_err(RenderError::Decode)?;
        go_on(keep_going)?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let pixels = decode::Pixels::Rgba(frame.into_buffer());
        let pixels = transform::transform(pixels, &look, whole, &layout, plan, keep_going)?;
        encoder.push(pixels.into_rgba(), numerator / denominator.max(1))?;
        if encoder.written() as u64 > limits.max_animation_bytes {
            return Err(too_large);
        }
    }
    Ok(Rendered { bytes: encoder.finish()?, format: target, width, height })
}

fn check_output(size: Size, plan: &Plan, limits: &Limits) -> Result<(), RenderError> {
    let Size { width, height } = size;
    if width.max(height) > limits.max_output_side || size.pixels() > limits.max_output_pixels {
        return Err(RenderError::OutputTooLarge { width, height });
    }
    if plan.format == Format::Avif && size.pixels() > limits.max_avif_pixels {
        return Err(RenderError::AvifTooLarge { width, height });
    }
    Ok(())
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
