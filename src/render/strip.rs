//! The lossless way out of metadata: the same coded pixels, and nothing that decoding does not need.
//!
//! Each format has a walker that copies what is on its list and drops the rest. An allow-list
//! stays right when a camera maker invents a new place for the owner's name. The walkers are our
//! own because they must refuse what general-purpose readers forgive: `img-parts` takes
//! everything behind a JPEG's first scan as it comes, so a missing end, a second picture and
//! trailing data all survive it.

use bytes::Bytes;

use super::{Format, Size};

mod avif;
mod exif;
mod gif;
mod icc;
mod jpeg;
mod png;
mod reader;
mod webp;

pub(super) use avif::{Picture as AvifPicture, picture as avif_picture};
pub(super) use jpeg::{Coding as JpegCoding, END as JPEG_END, coding as jpeg_coding};

/// What is wrong with a file's structure. The text reads on from "the file is refused: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripError {
    /// Something announced reaches past the end of the file.
    #[error("it ends too early")]
    Truncated,
    /// The file contradicts its format or itself.
    #[error("{0}")]
    Malformed(&'static str),
    /// The format allows it, but the decoder would fail or, worse, show another picture.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// A file walked from its first byte to its proper end.
#[derive(Debug)]
pub(super) struct Walked {
    /// The file again, with only what decoding needs.
    pub(super) bytes: Vec<u8>,
    /// The picture's size as stored, before any orientation.
    pub(super) canvas: Size,
    /// `None` for a still picture.
    pub(super) animation: Option<Animation>,
}

/// What an animation says of itself beside its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Animation {
    /// How many there are; at least one.
    pub(super) frames: u32,
    /// How often all of them are shown; 0 for ever and ever.
    pub(super) plays: u32,
}

/// Removes everything but the coded picture, its colour profile and its orientation.
///
/// The pixels decode exactly as before. Anything behind the picture's end is dropped; a file
/// that does not reach its end is an error, save for a JPEG that ends in coded data: whether all of
/// that is there, [`super::inspect()`] finds out.
pub fn strip(source: &Bytes, format: Format) -> Result<Bytes, StripError> {
    let stripped = walk(source, format)?.bytes;
    // Most files that were clean stay the very same buffer.
    if stripped == source.as_ref() {
        return Ok(source.clone());
    }
    Ok(stripped.into())
}

pub(super) fn walk(source: &[u8], format: Format) -> Result<Walked, StripError> {
    match format {
        Format::Jpeg => jpeg::walk(source),
        Format::Png => png::walk(source),
        Format::Webp => webp::walk(source),
        Format::Gif => gif::walk(source),
        Format::Avif => avif::walk(source),
    }
}

/// What an animation says of itself; `None` for a still picture, and for what is no such file.
pub(super) fn animation(source: &[u8], format: Format) -> Option<Animation> {
    walk(source, format).ok()?.animation
}

#[cfg(test)]
mod tests;
