//! How large the answer is and which part of the source it shows: pure arithmetic.

use super::options::{Fit, Gravity, Plan, Trim};
use super::{RenderError, Turn};

/// Width and height in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Size {
    /// The area in pixels.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The same picture lying on its side.
    pub(super) fn transposed(self) -> Size {
        Size { width: self.height, height: self.width }
    }

    fn fits_in(self, other: Size) -> bool {
        self.width <= other.width && self.height <= other.height
    }
}

/// A part of the source, in fractional pixels from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CropBox {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl CropBox {
    /// The size of a part in whole pixels.
    pub(super) fn whole_size(self) -> Size {
        Size { width: whole(self.width), height: whole(self.height) }
    }

    /// The left and top edge of a part in whole pixels.
    pub(super) fn whole_corner(self) -> (u32, u32) {
        (whole(self.left), whole(self.top))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is measured in a picture is positive and below 2³²"
)]
fn whole(pixels: f64) -> u32 {
    pixels.round() as u32
}

/// The background that a padded picture is centred on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Canvas {
    pub(super) size: Size,
    pub(super) left: u32,
    pub(super) top: u32,
}

/// What to cut out of the source once it is upright and turned, the size to give it, and what to
/// lay it on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    /// What the options ask for, after what makes the picture upright.
    pub(super) turn: Turn,
    /// What was not trimmed, in whole pixels: nothing outside of it shows, not even in the slightest.
    pub(super) part: CropBox,
    /// What is shown of that.
    pub(super) crop: CropBox,
    pub(super) size: Size,
    pub(super) canvas: Option<Canvas>,
}

impl Layout {
    /// The size of the finished picture.
    pub(super) fn output(&self) -> Size {
        self.canvas.map_or(self.size, |canvas| canvas.size)
    }
}

/// A point as fractions of a picture's sides, each from 0 (left, top) to 1 (right, bottom).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl Point {
    /// The middle.
    pub(super) const CENTRE: Point = Point { x: 0.5, y: 0.5 };

    /// The point that a gravity names; `None` where the picture decides.
    pub(super) fn of(gravity: Gravity) -> Option<Point> {
        match gravity {
            Gravity::At { x, y } => Some(Point { x: x.as_f64(), y: y.as_f64() }),
            Gravity::Auto => None,
        }
    }
}

/// Lays an upright picture of size `source` out as `plan` asks.
///
/// What only the pixels can tell is left out: a border is not cut off yet, and
/// [`Gravity::Auto`] is the centre.
pub(super) fn layout(source: Size, plan: &Plan) -> Result<Layout, RenderError> {
    let towards = Point::of(plan.gravity).unwrap_or(Point::CENTRE);
    Ok(layout_of(trimmed(source, plan.trim)?, source, towards, plan))
}

/// The same for `part` of the upright picture, in whole pixels, kept around `towards`.
pub(super) fn layout_of(part: CropBox, source: Size, towards: Point, plan: &Plan) -> Layout {
    let part = turned(part, source, plan.turn);
    let laid = lay(part.whole_size(), towards, plan);
    let crop = CropBox { left: laid.crop.left + part.left, top: laid.crop.top + part.top, ..laid.crop };
    Layout { part, crop, ..laid }
}

/// Where a part of the upright picture comes to lie when that is turned.
pub(super) fn turned(part: CropBox, source: Size, turn: Turn) -> CropBox {
    turn.inverse().before(part, source)
}

/// What is left when so many pixels are cut off each side.
pub(super) fn trimmed(source: Size, trim: Trim) -> Result<CropBox, RenderError> {
    let Trim::Sides { top, right, bottom, left } = trim else { return Ok(everything(source)) };
    let left_over = |side: u32, one, other| {
        let rest = side.checked_sub(one).and_then(|rest| rest.checked_sub(other));
        rest.filter(|rest| *rest > 0).ok_or(RenderError::NothingLeft(source))
    };
    Ok(CropBox {
        left: left.into(),
        top: top.into(),
        width: left_over(source.width, left, right)?.into(),
        height: left_over(source.height, top, bottom)?.into(),
    })
}

/// Lays a whole picture of size `source` out, turned and trimmed as it is already.
fn lay(source: Size, towards: Point, plan: &Plan) -> Layout {
    let all = everything(source);
    let whole = |size| Layout { turn: plan.turn, part: all, crop: all, size, canvas: None };
    let asked = match (plan.width, plan.height) {
        (Some(width), Some(height)) => Size { width, height },
        (None, None) => return whole(source),
        (width, height) => return whole(by_one_side(source, width, height, plan.fit.enlarges())),
    };
    match plan.fit {
        Fit::ScaleDown if source.fits_in(asked) => whole(source),
        Fit::ScaleDown | Fit::Contain => whole(contain(source, asked)),
        Fit::Squeeze => whole(asked),
        Fit::Cover => Layout { crop: shaped_like(asked, source, towards), ..whole(asked) },
        Fit::Crop => {
            let width = asked.width.min(source.width);
            let height = asked.height.min(source.height);
            let size = Size { width, height };
            Layout { crop: shaped_like(size, source, towards), ..whole(size) }
        }
        Fit::Pad => {
            let size = contain(source, asked);
            let canvas = Canvas {
                size: asked,
                left: (asked.width - size.width) / 2,
                top: (asked.height - size.height) / 2,
            };
            Layout { canvas: Some(canvas), ..whole(size) }
        }
    }
}

/// All of a picture.
pub(super) fn everything(source: Size) -> CropBox {
    CropBox { left: 0.0, top: 0.0, width: f64::from(source.width), height: f64::from(source.height) }
}

/// Where a part of an original of size `original` lies on a master of size `master`.
pub(super) fn on_master(part: CropBox, original: Size, master: Size) -> CropBox {
    let across = f64::from(master.width) / f64::from(original.width);
    let down = f64::from(master.height) / f64::from(original.height);
    CropBox {
        left: part.left * across,
        top: part.top * down,
        width: part.width * across,
        height: part.height * down,
    }
}

/// One side is as asked, the other follows; the source's own size where that would enlarge and
/// must not.
fn by_one_side(source: Size, width: Option<u32>, height: Option<u32>, enlarge: bool) -> Size {
    let size = Size {
        width: width.unwrap_or_else(|| proportional(height, source.width, source.height)),
        height: height.unwrap_or_else(|| proportional(width, source.height, source.width)),
    };
    let larger = width.is_some_and(|width| width > source.width)
        || height.is_some_and(|height| height > source.height);
    if larger && !enlarge { source } else { size }
}

/// The largest size of the source's shape inside `asked`: the binding side is exactly as asked.
pub(super) fn contain(source: Size, asked: Size) -> Size {
    // width/source.width ≤ height/source.height, without dividing.
    let width_binds = u64::from(asked.width) * u64::from(source.height)
        <= u64::from(asked.height) * u64::from(source.width);
    if width_binds {
        by_one_side(source, Some(asked.width), None, true)
    } else {
        by_one_side(source, None, Some(asked.height), true)
    }
}

/// The largest part of the source that has the shape of `asked`. What is cut off is split between
/// two sides as `towards` says.
fn shaped_like(asked: Size, source: Size, towards: Point) -> CropBox {
    let (source_width, source_height) = (f64::from(source.width), f64::from(source.height));
    let (width, height) = (f64::from(asked.width), f64::from(asked.height));
    let crop_width = source_width.min(source_height * width / height);
    let crop_height = source_height.min(source_width * height / width);
    CropBox {
        left: (source_width - crop_width) * towards.x,
        top: (source_height - crop_height) * towards.y,
        width: crop_width,
        height: crop_height,
    }
}

/// `max(1, round_half_up(n·d/m))`: the side that belongs to `n` when `m` becomes `n` and `d`
/// keeps its proportion to `m`.
fn proportional(n: Option<u32>, d: u32, m: u32) -> u32 {
    let (n, d, m) = (u64::from(n.unwrap_or(m)), u64::from(d), u64::from(m.max(1)));
    // n·d < 2⁶⁴ for any two u32; halves round up because m/2 is added before dividing by m.
    let rounded = (u128::from(n * d) * 2 + u128::from(m)) / (u128::from(m) * 2);
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
