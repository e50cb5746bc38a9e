//! Where there is most to see: saliency by maximum symmetric surround.
//!
//! The method is that of Achanta and Süsstrunk (ICIP 2010), which Cloudflare Images names for
//! `gravity=auto`: a pixel stands out by how far its colour is from the mean of the largest
//! surround that is symmetric about it within the picture. Large things are found whole, and
//! backgrounds are not, even those at the edge. Here it runs in integers on a small copy, and in
//! YCbCr rather than Lab, so that every machine finds the same.

use fast_image_resize::FilterType;
use image::RgbaImage;

use crate::render::canvas::with_alpha;
use crate::render::decode::Pixels;
use crate::render::geometry::{CropBox, Point};
use crate::render::{RenderError, Size, Turn, resize};

/// The longer side of the copy that is looked at, in pixels.
const SIDE: u32 = 96;

/// Luma and the two differences, each times 256.
type Colour = [i64; 3];

/// Where to split what is cut off, so that a cut of the size of `crop` out of `part` holds the most.
/// Both are parts of the turned picture, and one of their sides is equal.
pub(super) fn densest(
    pixels: &Pixels,
    turn: Turn,
    part: CropBox,
    crop: CropBox,
) -> Result<Point, RenderError> {
    let stored = turn.before(part, turn.size(pixels.size()));
    let small = resize::resized(pixels, stored, copy_size(stored), FilterType::Box)?;
    let small = turn.apply(with_alpha(small));
    let map = saliency(&small);

    let (width, height) = small.dimensions();
    let columns: Vec<u64> = (0..width).map(|x| (0..height).map(|y| map.at(x, y)).sum()).collect();
    let rows: Vec<u64> = (0..height).map(|y| (0..width).map(|x| map.at(x, y)).sum()).collect();
    Ok(Point {
        x: best_window(&columns, crop.width / part.width),
        y: best_window(&rows, crop.height / part.height),
    })
}

/// As large as [`SIDE`] allows, in the shape of `part`, and never larger than that.
fn copy_size(part: CropBox) -> Size {
    let Size { width, height } = part.whole_size();
    let longer = width.max(height);
    if longer <= SIDE {
        return Size { width, height };
    }
    let side =
        |n: u32| u32::try_from(u64::from(n) * u64::from(SIDE) / u64::from(longer)).unwrap_or(SIDE).max(1);
    Size { width: side(width), height: side(height) }
}

/// One value for each pixel.
struct Map {
    width: u32,
    values: Vec<u64>,
}

impl Map {
    fn at(&self, x: u32, y: u32) -> u64 {
        self.values.get((y * self.width + x) as usize).copied().unwrap_or(0)
    }
}

fn saliency(image: &RgbaImage) -> Map {
    let (width, height) = image.dimensions();
    let sums = Sums::of(image);
    let mut values = Vec::with_capacity((width * height) as usize);
    for (x, y, pixel) in image.enumerate_pixels() {
        let (across, down) = (x.min(width - 1 - x), y.min(height - 1 - y));
        let surround = sums.mean(x - across, y - down, x + across + 1, y + down + 1);
        // A little smoothed, as the paper has it, against noise.
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        let here = sums.mean(left, top, (x + 2).min(width), (y + 2).min(height));
        let apart: u64 = here.iter().zip(surround).map(|(a, b)| a.abs_diff(b).pow(2)).sum();
        // What is not seen does not stand out.
        values.push(apart * u64::from(pixel.0[3]));
    }
    Map { width, values }
}

/// Sums over every rectangle that begins in the top left corner (an integral image).
struct Sums {
    stride: usize,
    sums: Vec<Colour>,
}

impl Sums {
    fn of(image: &RgbaImage) -> Sums {
        let stride = image.width() as usize + 1;
        let mut sums = vec![[0; 3]; stride];
        for row in image.rows() {
            let above = sums.len() - stride;
            sums.push([0; 3]);
            let mut in_row = [0; 3];
            for (x, pixel) in row.enumerate() {
                for (sum, value) in in_row.iter_mut().zip(ycbcr(pixel.0)) {
                    *sum += value;
                }
                let upper = sums[above + x + 1];
                sums.push([in_row[0] + upper[0], in_row[1] + upper[1], in_row[2] + upper[2]]);
            }
        }
        Sums { stride, sums }
    }

    /// The mean from the first corner up to, and without, the second.
    fn mean(&self, left: u32, top: u32, right: u32, bottom: u32) -> Colour {
        let at = |x: u32, y: u32| self.sums[y as usize * self.stride + x as usize];
        let corners = [at(right, bottom), at(left, top), at(left, bottom), at(right, top)];
        let area = i64::from((right - left) * (bottom - top));
        let [plus, and, less, minus] = corners;
        [0, 1, 2].map(|n| (plus[n] + and[n] - less[n] - minus[n]) / area)
    }
}

/// ITU-R BT.601, full range (as in JFIF), times 256.
fn ycbcr([r, g, b, _]: [u8; 4]) -> Colour {
    let (r, g, b) = (i64::from(r), i64::from(g), i64::from(b));
    [77 * r + 150 * g + 29 * b, -43 * r - 85 * g + 128 * b, 128 * r - 107 * g - 21 * b]
}

/// Where a window over `part` of `values` holds the most: 0 at the start, 1 at the end. Of equals,
/// the one nearest to the middle.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "there are at most SIDE values, and the window is a part of them"
)]
fn best_window(values: &[u64], part: f64) -> f64 {
    let length = ((values.len() as f64 * part).round() as usize).clamp(1, values.len());
    let last = values.len() - length;
    if last == 0 {
        return 0.5;
    }
    let sums = values.windows(length).map(|window| window.iter().sum::<u64>());
    let from_middle = |start: usize| (2 * start).abs_diff(last);
    let best = sums.enumerate().max_by_key(|(start, sum)| (*sum, std::cmp::Reverse(from_middle(*start))));
    best.map_or(0.5, |(start, _)| start as f64 / last as f64)
}

#[cfg(test)]
mod tests;
