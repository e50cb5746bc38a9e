//! What one frame of an animation changes of the one before it.

use image::RgbaImage;

/// A part of a picture, in pixels from its top left corner; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Part {
    pub(super) fn all_of(picture: &RgbaImage) -> Part {
        Part { left: 0, top: 0, width: picture.width(), height: picture.height() }
    }

    /// The same with an even left and top, as far to the right and down as before.
    pub(super) fn at_even_place(self) -> Part {
        let (left, top) = (self.left & !1, self.top & !1);
        Part { left, top, width: self.width + self.left - left, height: self.height + self.top - top }
    }

    pub(super) fn cut_from(self, picture: &RgbaImage) -> RgbaImage {
        image::imageops::crop_imm(picture, self.left, self.top, self.width, self.height).to_image()
    }
}

/// The smallest part that holds every difference between two pictures of one size; one pixel
/// where there is none, since a frame has to show something.
pub(super) fn changed(before: &RgbaImage, after: &RgbaImage) -> Part {
    let (width, height) = after.dimensions();
    let row_len = width as usize * 4;
    let rows = || before.chunks_exact(row_len).zip(after.chunks_exact(row_len));
    let differs = |(before, after): (&[u8], &[u8])| before != after;
    let Some(top) = rows().position(differs) else {
        return Part { left: 0, top: 0, width: 1, height: 1 };
    };
    let bottom = rows().rposition(differs).unwrap_or(top);

    let (mut left, mut right) = (width as usize, 0);
    for (before, after) in rows().take(bottom + 1).skip(top) {
        let mut pixels = before.chunks_exact(4).zip(after.chunks_exact(4));
        if let Some(first) = pixels.clone().position(differs) {
            left = left.min(first);
            right = right.max(pixels.rposition(differs).unwrap_or(first));
        }
    }
    let pixels = |count: usize| u32::try_from(count).unwrap_or(0);
    let (left, top, right, bottom) = (pixels(left), pixels(top), pixels(right), pixels(bottom));
    Part {
        left: left.min(width - 1),
        top: top.min(height - 1),
        width: (right + 1).saturating_sub(left).max(1),
        height: (bottom + 1).saturating_sub(top).max(1),
    }
}

#[cfg(test)]
mod tests {
    use image::Rgba;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_part_holds_every_change_and_touches_one_at_each_side(
            changes in prop::collection::vec((0_u32..9, 0_u32..7), 0..5),
        ) {
            let before = RgbaImage::new(9, 7);
            let mut after = before.clone();
            for (x, y) in &changes {
                after.put_pixel(*x, *y, Rgba([1, 2, 3, 4]));
            }
            let part = changed(&before, &after);
            let bounds = |of: fn(&(u32, u32)) -> u32| {
                let low = changes.iter().map(of).min().unwrap_or(0);
                (low, changes.iter().map(of).max().unwrap_or(0) - low + 1)
            };
            let ((left, width), (top, height)) = (bounds(|c| c.0), bounds(|c| c.1));
            prop_assert_eq!(part, Part { left, top, width, height });

            let even = part.at_even_place();
            prop_assert!((even.left | even.top) & 1 == 0 && even.left + 1 >= left);
            prop_assert_eq!((even.left + even.width, even.top + even.height), (left + width, top + height));
        }
    }
}
