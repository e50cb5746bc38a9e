//! Pixels to pixels: cut and resize, turn, convert to sRGB, filter, lay on a background, mark.

use super::decode::{Look, Pixels};
use super::geometry::{self, CropBox, Layout};
use super::options::Plan;
use super::{KeepGoing, RenderError, Size, Turn, canvas, colour, filter, go_on, resize};

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
    keep_going: KeepGoing<'_>,
) -> Result<Pixels, RenderError> {
    let Placed { turn, part, crop, size } = place(pixels.size(), look, whole, layout);
    let pixels = resize::resize(pixels, part, crop, size)?;
    go_on(keep_going)?;
    let pixels = filter::blur(seen(pixels, turn, look), plan.blur)?;
    go_on(keep_going)?;
    let pixels = filter::sharpen(pixels, plan.sharpen)?;
    go_on(keep_going)?;
    let mut pixels = canvas::lay(pixels, layout.canvas, plan.background);
    if let Some(watermark) = &plan.watermark {
        watermark.draw(&mut pixels)?;
    }
    Ok(pixels)
}

/// Bytes that the resizing of stored pixels of size `found` holds at most beside them and its answer.
pub(super) fn resizing(found: Size, channels: u64, look: &Look, whole: Size, layout: &Layout) -> u64 {
    let Placed { part, crop, size, .. } = place(found, look, whole, layout);
    resize::held(part, crop, size, channels)
}

/// A layout in stored pixels, before the turn that makes it what it says.
struct Placed {
    turn: Turn,
    part: CropBox,
    crop: CropBox,
    size: Size,
}

/// The layout speaks of the original; what is found may be the pixels of a master.
fn place(found: Size, look: &Look, whole: Size, layout: &Layout) -> Placed {
    let turn = Turn::from(look.orientation).then(layout.turn);
    let (whole, found) = (layout.turn.size(whole), turn.size(found));
    let stored = |part| turn.before(geometry::on_master(part, whole, found), found);
    let (part, crop) = (stored(layout.part), stored(layout.crop));
    Placed { turn, part, crop, size: turn.inverse().size(layout.size) }
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
