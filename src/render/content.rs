//! What only the pixels can tell: where a border ends, and where there is most to see.
//!
//! It is decided once for a picture, on the first frame of an animation, so that all frames agree.

mod border;
mod saliency;

use super::decode::{Look, Pixels};
use super::geometry::{self, Layout, Point};
use super::options::{Gravity, Plan, Trim};
use super::{RenderError, Size, Turn};

/// Whether the layout that `plan` asks for depends on the pixels.
pub(super) fn decides(plan: &Plan) -> bool {
    plan.gravity == Gravity::Auto || matches!(plan.trim, Trim::Border { .. })
}

/// The layout of a picture of upright size `source` whose stored pixels are at hand, or those of a
/// master of it; see [`geometry::layout`]. No master has borders to be cut off.
pub(super) fn layout(pixels: &Pixels, look: &Look, source: Size, plan: &Plan) -> Result<Layout, RenderError> {
    let upright = Turn::from(look.orientation);
    let part = match plan.trim {
        Trim::Border { tolerance } => {
            geometry::turned(border::inside(pixels, upright, tolerance), pixels.size(), upright)
        }
        sides @ Trim::Sides { .. } => geometry::trimmed(source, sides)?,
    };
    let around = |towards| geometry::layout_of(part, source, towards, plan);
    if let Some(towards) = Point::of(plan.gravity) {
        return Ok(around(towards));
    }
    let (whole, centred) = (geometry::turned(part, source, plan.turn), around(Point::CENTRE));
    if centred.crop == whole {
        return Ok(centred);
    }
    let turn = upright.then(plan.turn);
    let found = |part| geometry::on_master(part, plan.turn.size(source), turn.size(pixels.size()));
    let towards = saliency::densest(pixels, turn, found(whole), found(centred.crop))?;
    Ok(around(towards))
}
