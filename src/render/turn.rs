//! The eight ways in which a picture can be turned and mirrored, and what each does to sizes, boxes
//! and pixels.

use std::fmt;

use image::metadata::Orientation;
use image::{ImageBuffer, Pixel, imageops};

use super::Size;
use super::geometry::CropBox;

/// Quarter turns clockwise, and then perhaps left and right swapped: the symmetries of a rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Turn {
    /// 0–3.
    quarters: u8,
    /// Left and right are swapped after the quarter turns.
    mirrored: bool,
}

impl Turn {
    /// The picture as it is.
    pub(super) const NONE: Turn = Turn { quarters: 0, mirrored: false };
    /// Left and right swapped.
    pub(super) const FLIP_H: Turn = Turn { quarters: 0, mirrored: true };
    /// Top and bottom swapped.
    pub(super) const FLIP_V: Turn = Turn { quarters: 2, mirrored: true };

    /// So many quarter turns clockwise.
    pub(super) const fn clockwise(quarters: u8) -> Turn {
        Turn { quarters: quarters % 4, mirrored: false }
    }

    /// This turn, and then another.
    pub(super) fn then(self, next: Turn) -> Turn {
        // A quarter turn clockwise, seen in the mirror, goes the other way.
        let quarters = if self.mirrored { 4 - next.quarters } else { next.quarters };
        Turn { quarters: (self.quarters + quarters) % 4, mirrored: self.mirrored != next.mirrored }
    }

    /// What undoes this turn.
    pub(super) fn inverse(self) -> Turn {
        // Whoever looks into a mirror twice is back.
        if self.mirrored { self } else { Turn::clockwise(4 - self.quarters) }
    }

    /// The size of a picture of size `size` once it is turned.
    pub(super) fn size(self, size: Size) -> Size {
        if self.quarters.is_multiple_of(2) { size } else { size.transposed() }
    }

    /// Where a part of the turned picture lay before. `turned` is the size of the turned picture.
    pub(super) fn before(self, part: CropBox, turned: Size) -> CropBox {
        let (mut part, mut size) = (part, turned);
        if self.mirrored {
            part.left = (f64::from(size.width) - part.left - part.width).max(0.0);
        }
        for _ in 0..self.quarters {
            let CropBox { left, top, width, height } = part;
            let right = (f64::from(size.width) - left - width).max(0.0);
            part = CropBox { left: top, top: right, width: height, height: width };
            size = size.transposed();
        }
        part
    }

    /// Turns pixels.
    pub(super) fn apply<P: Pixel + 'static>(
        self,
        mut image: ImageBuffer<P, Vec<P::Subpixel>>,
    ) -> ImageBuffer<P, Vec<P::Subpixel>> {
        match self.quarters {
            1 => image = imageops::rotate90(&image),
            2 => imageops::rotate180_in_place(&mut image),
            3 => image = imageops::rotate270(&image),
            _ => {}
        }
        if self.mirrored {
            imageops::flip_horizontal_in_place(&mut image);
        }
        image
    }
}

impl From<Orientation> for Turn {
    fn from(orientation: Orientation) -> Turn {
        let (quarters, mirrored) = match orientation {
            Orientation::NoTransforms => (0, false),
            Orientation::Rotate90 => (1, false),
            Orientation::Rotate180 => (2, false),
            Orientation::Rotate270 => (3, false),
            Orientation::FlipHorizontal => (0, true),
            Orientation::FlipVertical => (2, true),
            Orientation::Rotate90FlipH => (1, true),
            Orientation::Rotate270FlipH => (3, true),
        };
        Turn { quarters, mirrored }
    }
}

/// Degrees clockwise, and `h` when it is mirrored after.
impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", u16::from(self.quarters) * 90, if self.mirrored { "h" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;

    fn every() -> impl Iterator<Item = Turn> {
        (0..4).flat_map(|quarters| [false, true].map(|mirrored| Turn { quarters, mirrored }))
    }

    /// A picture in which every pixel is another.
    fn picture() -> GrayImage {
        GrayImage::from_fn(5, 3, |x, y| Luma([u8::try_from(y * 5 + x).unwrap()]))
    }

    #[test]
    fn turning_twice_is_turning_once() {
        for first in every() {
            for second in every() {
                let one_by_one = second.apply(first.apply(picture()));
                assert_eq!(first.then(second).apply(picture()), one_by_one, "{first} then {second}");
            }
            assert_eq!(first.then(first.inverse()), Turn::NONE);
            assert_eq!(first.inverse().then(first), Turn::NONE);
        }
        assert_eq!(Turn::FLIP_H.then(Turn::FLIP_V), Turn::clockwise(2));
    }

    #[test]
    fn flips_swap_what_they_say() {
        assert_eq!(Turn::FLIP_H.apply(picture()), imageops::flip_horizontal(&picture()));
        assert_eq!(Turn::FLIP_V.apply(picture()), imageops::flip_vertical(&picture()));
    }

    #[test]
    fn a_box_is_followed_to_where_it_was() {
        for turn in every() {
            let turned = turn.apply(picture());
            let size = Size { width: turned.width(), height: turned.height() };
            assert_eq!(turn.size(Size { width: 5, height: 3 }), size);
            for (x, y, pixel) in turned.enumerate_pixels() {
                let part = CropBox { left: f64::from(x), top: f64::from(y), width: 1.0, height: 1.0 };
                let before = turn.before(part, size);
                let (_, _, there) = picture()
                    .enumerate_pixels()
                    .find(|(x, y, _)| (f64::from(*x), f64::from(*y)) == (before.left, before.top))
                    .map(|(x, y, pixel)| (x, y, *pixel))
                    .unwrap();
                assert_eq!((*pixel, before.width, before.height), (there, 1.0, 1.0), "{turn}");
            }
        }
    }
}
