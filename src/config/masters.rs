//! `[masters]`: the web-sized renditions that are stored beside originals.

use serde::Deserialize;

use super::list::list;
use crate::render::Rung;

/// `[masters]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Masters {
    /// The longer sides of the masters that new images get, in pixels: three at the most, the largest first.
    /// None: variants are made from originals. Images that are there already keep what they have.
    #[serde(deserialize_with = "list")]
    pub sides: Vec<u32>,
    /// When they are made.
    pub made: Made,
}

impl Default for Masters {
    /// Enough for pages up to 1600 pixels wide; `benches/README.md` has what each costs and saves.
    fn default() -> Self {
        Self { sides: vec![2048, 1024, 512], made: Made::AtIngest }
    }
}

/// When masters are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// With the upload, which takes longer for it.
    AtIngest,
    /// When a variant needs them; the first one takes longer for it.
    AtFirstUse,
}

/// What the sides must be.
pub(super) const RULE: &str = "must be at most three sides of 64 to 8192 pixels, the largest first";

impl Masters {
    /// Whether the sides are as [`RULE`] says.
    pub(super) fn are_sound(&self) -> bool {
        let falls = self.sides.is_sorted_by(|one, next| one > next);
        falls
            && self.sides.len() <= Rung::ALL.len()
            && self.sides.iter().all(|side| (64..=8192).contains(side))
    }
}
