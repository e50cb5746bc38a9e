//! `[transform]` and `[cache]`: what may be rendered, and what is kept for how long.

use serde::Deserialize;

use super::{
    list::list,
    presets::{Presets, Watermarks},
};

/// `[transform]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transform {
    /// What a request without a signature may ask for.
    pub unsigned: Unsigned,
    /// The widths, in pixels, of `unsigned = "listed"`.
    #[serde(deserialize_with = "list")]
    pub widths: Vec<u32>,
    /// The longest side, in pixels, that is ever rendered.
    pub max_side: u32,
    /// The most pixels that are ever rendered.
    pub max_pixels: u64,
    /// The most pixels that are ever rendered as AVIF, which takes ten times as long as WebP.
    pub max_avif_pixels: u64,
    /// Option strings by name.
    pub presets: Presets,
    /// Pictures to lay over others, by name.
    pub watermarks: Watermarks,
}

impl Default for Transform {
    fn default() -> Self {
        Self {
            unsigned: Unsigned::Listed,
            widths: vec![64, 128, 256, 320, 400, 640, 800, 960, 1200, 1600, 1920, 2400],
            max_side: 16_384,
            max_pixels: 40_000_000,
            max_avif_pixels: 10_000_000,
            presets: Presets::new(),
            watermarks: Watermarks::new(),
        }
    }
}

/// What a request without a signature may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsigned {
    /// Any options.
    Any,
    /// A listed width, in any format, or a preset.
    Listed,
    /// The original alone.
    None,
}

/// `[cache]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Bytes of variants and originals kept in memory.
    pub memory_bytes: u64,
    /// Bytes of the largest original that is kept there; a larger one is streamed from the bucket each time.
    pub max_original_bytes: u64,
    /// Seconds that variants are kept in the bucket, too, so that neither a restart nor another node makes them
    /// again; 0: they are not.
    pub bucket_ttl_secs: u64,
    /// Seconds that a browser may show a public image without asking again; for so long it may still
    /// show one that has turned private.
    pub browser_ttl_secs: u64,
    /// Seconds that a CDN may, likewise.
    pub edge_ttl_secs: u64,
    /// Seconds that a cache may show a stale public image while it asks again.
    pub stale_while_revalidate_secs: u64,
    /// Seconds that a cache may show a stale public image while nobody answers it (RFC 5861 §4); 0: it is not told
    /// that it may.
    pub stale_if_error_secs: u64,
    /// Seconds that anybody may keep what `format=auto` answers while something better is being made.
    pub interim_ttl_secs: u64,
    /// Milliseconds that an answer of the ledger about rights counts, should nobody tell of a change; 0 asks
    /// it every time. A change in the same process counts at once, one in another as soon as PostgreSQL
    /// tells of it.
    pub facts_millis: u64,
    /// How many such answers are kept.
    pub facts_entries: u64,
}

/// What is refused within two seconds, whatever breaks, leaves this for the age of what is remembered.
pub(super) const MAX_FACTS_MILLIS: u64 = 1500;

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            max_original_bytes: 1 << 20,
            bucket_ttl_secs: 30 * 24 * 60 * 60,
            browser_ttl_secs: 60,
            edge_ttl_secs: 60,
            stale_while_revalidate_secs: 10,
            stale_if_error_secs: 0,
            interim_ttl_secs: 5,
            facts_millis: 1000,
            facts_entries: 100_000,
        }
    }
}
