//! How large the answer is and which part of the source it shows: pure arithmetic.

use super::options::{Fit, Plan};

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

/// The background that a padded picture is centred on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Canvas {
    pub(super) size: Size,
    pub(super) left: u32,
    pub(super) top: u32,
}

/// What to cut out of the upright source, the size to give it, and what to lay it on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
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

/// Lays an upright picture of size `source` out as `plan` asks.
pub(super) fn layout(source: Size, plan: &Plan) -> Layout {
    let whole = |size| Layout { crop: everything(source), size, canvas: None };
    let asked = match (plan.width, plan.height) {
        (Some(width), Some(height)) => Size { width, height },
        (None, None) => return whole(source),
        (width, height) => return whole(by_one_side(source, width, height, plan.fit.enlarges())),
    };
    match plan.fit {
        Fit::ScaleDown if source.fits_in(asked) => whole(source),
        Fit::ScaleDown | Fit::Contain => whole(contain(source, asked)),
        Fit::Squeeze => whole(asked),
        Fit::Cover => cover(source, asked),
        Fit::Crop => cover(
            source,
            Size { width: asked.width.min(source.width), height: asked.height.min(source.height) },
        ),
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

fn everything(source: Size) -> CropBox {
    CropBox { left: 0.0, top: 0.0, width: f64::from(source.width), height: f64::from(source.height) }
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
fn contain(source: Size, asked: Size) -> Size {
    // width/source.width ≤ height/source.height, without dividing.
    let width_binds = u64::from(asked.width) * u64::from(source.height)
        <= u64::from(asked.height) * u64::from(source.width);
    if width_binds {
        by_one_side(source, Some(asked.width), None, true)
    } else {
        by_one_side(source, None, Some(asked.height), true)
    }
}

/// Fills `asked` from the largest centred part of the source that has its shape.
fn cover(source: Size, asked: Size) -> Layout {
    let (source_width, source_height) = (f64::from(source.width), f64::from(source.height));
    let (width, height) = (f64::from(asked.width), f64::from(asked.height));
    let crop_width = source_width.min(source_height * width / height);
    let crop_height = source_height.min(source_width * height / width);
    Layout {
        crop: CropBox {
            left: (source_width - crop_width) / 2.0,
            top: (source_height - crop_height) / 2.0,
            width: crop_width,
            height: crop_height,
        },
        size: asked,
        canvas: None,
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
