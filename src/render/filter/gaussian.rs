//! The Gaussian itself: two passes of whole-number weights, so that one colour stays exactly itself.

/// The sum of all weights, as a power of two.
const SHIFT: u32 = 16;

/// How far the kernel reaches, in standard deviations: what is farther away does not show in 8 bits.
const REACH: f32 = 3.0;

/// Rows of bytes, `channels` to a pixel, without gaps.
pub(super) struct Plane<'a> {
    pub(super) bytes: &'a [u8],
    /// Pixels.
    pub(super) width: usize,
    pub(super) channels: usize,
}

/// Standard deviations in pixels.
#[derive(Clone, Copy)]
pub(super) struct Sigma {
    pub(super) across: f32,
    pub(super) down: f32,
}

/// Blurs by `sigma`. The picture goes on beyond its edges with its outermost pixels.
pub(super) fn blur(plane: &Plane<'_>, sigma: Sigma) -> Vec<u8> {
    let stride = plane.width * plane.channels;
    let mut sums = vec![0; stride];

    let (kernel, reach) = weights(sigma.across);
    let mut across = Vec::with_capacity(plane.bytes.len());
    let mut padded = Vec::with_capacity(stride + 2 * reach * plane.channels);
    for row in plane.bytes.chunks_exact(stride) {
        let (first, last) = (&row[..plane.channels], &row[stride - plane.channels..]);
        padded.clear();
        (0..reach).for_each(|_| padded.extend_from_slice(first));
        padded.extend_from_slice(row);
        (0..reach).for_each(|_| padded.extend_from_slice(last));
        let shifted = kernel.iter().zip((0..).step_by(plane.channels));
        add_up(shifted.map(|(weight, by)| (*weight, &padded[by..by + stride])), &mut sums, &mut across);
    }

    let (kernel, reach) = weights(sigma.down);
    let mut down = Vec::with_capacity(plane.bytes.len());
    let height = across.len() / stride;
    for y in 0..height {
        let rows = kernel.iter().zip(y..).map(|(weight, below)| {
            let y = below.saturating_sub(reach).min(height - 1);
            (*weight, &across[y * stride..(y + 1) * stride])
        });
        add_up(rows, &mut sums, &mut down);
    }
    down
}

/// Appends the weighted sum of rows, rounded to the nearest.
fn add_up<'a>(rows: impl Iterator<Item = (u32, &'a [u8])>, sums: &mut [u32], into: &mut Vec<u8>) {
    sums.fill(1 << (SHIFT - 1));
    for (weight, row) in rows {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += weight * u32::from(*value);
        }
    }
    // The weights add up to one: three bytes hold a sum, and the upper of them is the mean.
    into.extend(sums.iter().map(|sum| sum.to_le_bytes()[2]));
}

/// Weights that add up to one, and how many there are on each side of the middle one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sigma is a few pixels, and a weight is between 0 and 1"
)]
pub(super) fn weights(sigma: f32) -> (Vec<u32>, usize) {
    let reach = (sigma * REACH).ceil() as i32;
    let bell: Vec<f32> = (-reach..=reach).map(|x| (-0.5 * (x as f32 / sigma).powi(2)).exp()).collect();
    let all: f32 = bell.iter().sum();
    let mut weights: Vec<u32> =
        bell.iter().map(|part| (part / all * (1 << SHIFT) as f32).round() as u32).collect();
    // What rounding made too much or too little of goes to the middle, where it is least of the whole.
    let middle = reach as usize;
    let rest: u32 = weights.iter().sum::<u32>() - weights[middle];
    weights[middle] = (1 << SHIFT) - rest;
    (weights, middle)
}
