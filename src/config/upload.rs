//! `[upload]` and `[quota]`: what may come in, and how much of it.

use serde::Deserialize;

/// `[upload]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upload {
    /// The largest file taken, in bytes.
    pub max_bytes: u64,
    /// The most pixels an image may have, width × height.
    pub max_pixels: u64,
    /// The longest animation, in frames times pixels.
    pub max_animation_pixels: u64,
    /// The most frames an animation may have.
    pub max_frames: u32,
    /// Seconds that a ready image without any use is kept.
    pub unattached_secs: u64,
    /// Seconds that an upload may stay unfinished; a resumable one, without progress.
    pub reserved_secs: u64,
    /// Seconds that a presigned upload may be sent for.
    pub grant_secs: u64,
    /// Seconds between sweeps.
    pub sweep_secs: u64,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            max_bytes: 25 << 20,
            max_pixels: 50_000_000,
            max_animation_pixels: 200_000_000,
            max_frames: 2_000,
            unattached_secs: 24 * 60 * 60,
            reserved_secs: 60 * 60,
            grant_secs: 15 * 60,
            sweep_secs: 60,
        }
    }
}

/// `[quota]`: how much one user may have at once; without a number there is no limit.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Images.
    pub images: Option<i64>,
    /// Bytes of uploaded files, counted for each image.
    pub bytes: Option<i64>,
    /// Uploads that were begun and not completed.
    pub open_uploads: Option<i64>,
}

impl Quota {
    /// Whether so many images with so many bytes are more than one user may have.
    pub fn is_exceeded(&self, images: i64, bytes: i64) -> bool {
        self.images.is_some_and(|max| images > max) || self.bytes.is_some_and(|max| bytes > max)
    }
}
