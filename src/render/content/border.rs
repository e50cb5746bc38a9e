//! Where a border of one colour ends.

use image::{ImageBuffer, Pixel};

use crate::render::Turn;
use crate::render::decode::Pixels;
use crate::render::geometry::{CropBox, everything};

/// The part of the stored picture that is left when its border is taken off: the smallest box around
/// every pixel that is not like the upright picture's top left one. Everything, if there is none.
pub(super) fn inside(pixels: &Pixels, upright: Turn, tolerance: u8) -> CropBox {
    let first = CropBox { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };
    let corner = upright.before(first, upright.size(pixels.size()));
    let at_left = corner.left == 0.0;
    let at_top = corner.top == 0.0;
    let found = match pixels {
        Pixels::Rgb(image) => search(image, at_left, at_top, |one, other| near(one, other, tolerance)),
        Pixels::Rgba(image) => search(image, at_left, at_top, |one, other| {
            (one[3] == 0 && other[3] == 0) || near(one, other, tolerance)
        }),
    };
    found.unwrap_or_else(|| everything(pixels.size()))
}

fn near(one: &[u8], other: &[u8], tolerance: u8) -> bool {
    one.iter().zip(other).all(|(one, other)| one.abs_diff(*other) <= tolerance)
}

fn search<P: Pixel<Subpixel = u8>>(
    image: &ImageBuffer<P, Vec<u8>>,
    at_left: bool,
    at_top: bool,
    like: impl Fn(&[u8], &[u8]) -> bool,
) -> Option<CropBox> {
    let x = if at_left { 0 } else { image.width() - 1 };
    let y = if at_top { 0 } else { image.height() - 1 };
    let corner = image.get_pixel(x, y).channels();
    let mut found: Option<[u32; 4]> = None;
    for (y, row) in (0..).zip(image.rows()) {
        // Where a row is not all border, both searches end at its first pixel that differs.
        let from_left = (0..).zip(row.clone()).find(|(_, pixel)| !like(pixel.channels(), corner));
        let Some((first, _)) = from_left else { continue };
        let from_right = (0..).zip(row.rev()).find(|(_, pixel)| !like(pixel.channels(), corner));
        let last = image.width() - from_right.map_or(0, |(n, _)| n);
        let [left, top, right, _] = found.unwrap_or([first, y, last, y]);
        found = Some([left.min(first), top, right.max(last), y + 1]);
    }
    found.map(|[left, top, right, bottom]| CropBox {
        left: left.into(),
        top: top.into(),
        width: (right - left).into(),
        height: (bottom - top).into(),
    })
}
