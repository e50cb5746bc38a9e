//! Pixels to pixels: cut and resize, turn, convert to sRGB, filter, lay on a background, mark.

use super::decode::{Look, Pixels};
use super::geometry::Layout;
use super::options::Plan;
use super::{RenderError, Size, Turn, canvas, colour, filter, master, resize};

/// Brings the stored pixels of one frame into the shape of `layout`, and makes of them what `plan`
/// asks for. `whole` is the size of the upright original, which `layout` was made for.
///
/// The order is by cost: everything after the resize touches only the pixels that are left.
pub(super) fn transform(
    pixels: Pixels,
    look: &Look,
    whole: Size,
    layout: &Layout,
    plan: &Plan,
) -> Result<Pixels, RenderError> {
    let upright = Turn::from(look.orientation);
    let turn = upright.then(layout.turn);
    // The layout speaks of the original; these may be the pixels of a master.
    let (whole, found) = (layout.turn.size(whole), turn.size(pixels.size()));
    let stored = |part| turn.before(master::on_master(part, whole, found), found);
    let (part, crop) = (stored(layout.part), stored(layout.crop));
    let size = turn.inverse().size(layout.size);

    let pixels = seen(resize::resize(pixels, part, crop, size)?, turn, look);
    let pixels = filter::blur(pixels, plan.blur)?;
    let pixels = filter::sharpen(pixels, plan.sharpen)?;
    let mut pixels = canvas::lay(pixels, layout.canvas, plan.background);
    if let Some(watermark) = &plan.watermark {
        watermark.draw(&mut pixels)?;
    }
    Ok(pixels)
}

/// A whole stored picture, upright and sRGB.
pub(super) fn upright(pixels: Pixels, look: &Look) -> Pixels {
    seen(pixels, Turn::from(look.orientation), look)
}

fn seen(pixels: Pixels, turn: Turn, look: &Look) -> Pixels {
    let mut pixels = match pixels {
        Pixels::Rgb(image) => Pixels::Rgb(turn.apply(image)),
        Pixels::Rgba(image) => Pixels::Rgba(turn.apply(image)),
    };
    if let Some(profile) = &look.profile {
        colour::to_srgb(&mut pixels, profile);
    }
    pixels
}
