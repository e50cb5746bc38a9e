//! What a picture costs: the most memory that making it holds at once, told before anything is decoded.
//!
//! It is counted in whole pictures and in what the file, its header and the plan say; each step says
//! beside its code what it holds. Where the coded size decides, noise is assumed, which is the most.
//! `tests/it/memory.rs` holds it against what a process really takes. The file that a picture is made
//! from is not counted: whoever asks has it in memory already. Copies of it are.

use super::decode::Source;
use super::geometry::everything;
use super::options::Trim;
use super::{Format, Limits, Plan, Size, content, decode, encode, geometry, resize, strip, transform};

/// What any picture costs, in bytes: tables, rows, the program's own pages, and what an allocator keeps.
const LEAST: u64 = 8 << 20;
/// How many copies of a file its walker holds when it asks whether the file is an animation.
const COPIES_TO_WALK: u64 = 3;
/// How often a profile is held: by the decoder, by the picture, and parsed.
const COPIES_OF_PROFILE: u64 = 4;
/// The most bytes of a pixel of an answer.
const PIXEL: u64 = 4;
/// Bytes for each pixel of an answer that filters, turns, colours and backgrounds hold at most, the answer
/// included. Sharpening with alpha is the dearest: the picture, a copy, and a blur's two passes.
const FINISH: u64 = 16;
/// Bytes for each pixel of a watermark: a copy of it, one scaled by its alpha, and what lies between the
/// resizer's passes; the same once more is held for each pixel of the answer.
const WATERMARK: u64 = 12;

/// Bytes that [`super::render_while`] holds at most for the same arguments; what cannot be made costs next
/// to nothing.
pub fn of_variant(
    source: &[u8],
    format: Format,
    original: Option<Size>,
    plan: &Plan,
    limits: &Limits,
) -> u64 {
    let Ok(opened) = Source::open(source, format, limits) else { return LEAST };
    let whole = original.unwrap_or(opened.upright_size());
    let (pixels, channels) = (opened.size().pixels(), opened.channels());
    let plan = &*plan.for_alpha(channels == PIXEL);
    let max_answer = match plan.format {
        Format::Avif => limits.max_avif_pixels.min(limits.max_output_pixels),
        _ => limits.max_output_pixels,
    };
    let layout = geometry::layout(whole, plan).ok().filter(|laid| laid.output().pixels() <= max_answer);
    let Some(layout) = layout else { return LEAST };

    let mut answer = layout.output().pixels();
    let mut resizing = transform::resizing(opened.size(), channels, &opened.look, whole, &layout);
    if matches!(plan.trim, Trim::Border { .. }) {
        // How much is left decides, and that nobody knows yet.
        answer = match (plan.width, plan.height) {
            (Some(width), Some(height)) => Size { width, height }.pixels(),
            _ if plan.fit.enlarges() => max_answer,
            _ => whole.pixels(),
        }
        .min(max_answer);
        resizing = resize::held_at_most(pixels, answer, channels);
    }
    // A small copy of the picture is looked at, for which one with alpha is multiplied first.
    let deciding = if content::decides(plan) { channels * pixels } else { 0 };

    let mut finishing = FINISH * answer;
    if let Some(watermark) = &plan.watermark {
        finishing = finishing.max(WATERMARK * (watermark.pixels() + answer) + PIXEL * answer);
    }
    // Nobody knows whether it is an animation before all of it has been looked at.
    let looking = original.map_or_else(|| plan.animation, |_| None);
    let walking = if looking.is_some() { COPIES_TO_WALK * length(source) } else { 0 };
    let still = [
        opened.decoding().max(walking),
        channels * pixels + deciding.max(resizing + channels * answer),
        finishing.max((PIXEL + encode::held(plan.format, plan.quality)) * answer),
    ];
    let most = match looking.and_then(|target| Some((target, strip::animation(source, format)?))) {
        None => still.into_iter().max(),
        Some((target, animation)) => {
            let (kept, decoding) = decode::held_for_frames(format);
            let frame = [
                decoding * pixels,
                PIXEL * pixels + resizing + PIXEL * answer,
                finishing.max((PIXEL + encode::held_for_frame(target, plan.quality)) * answer),
            ];
            let made =
                encode::held_between_frames(target, animation.frames, answer, limits.max_animation_bytes);
            let moving = kept * pixels + made + frame.into_iter().max().unwrap_or(0);
            Some(moving.max(still[0] + deciding))
        }
    };
    LEAST + COPIES_OF_PROFILE * opened.look.profile_bytes() + most.unwrap_or(0)
}

/// Bytes that [`super::inspect_picture`] holds at most, and the making of masters whose longer sides are
/// up to `longest` pixels, from there or by [`super::master::make`].
pub fn of_original(source: &[u8], format: Format, longest: u32, limits: &Limits) -> u64 {
    let Ok(opened) = Source::open(source, format, limits) else {
        return LEAST + COPIES_TO_WALK * length(source);
    };
    let (pixels, channels) = (opened.size().pixels(), opened.channels());
    let frames = strip::animation(source, format).map_or(0, |_| {
        let (kept, decoding) = decode::held_for_frames(format);
        (kept + decoding) * pixels
    });
    let (mut master, mut resizing) = (0, 0);
    if longest > 0 {
        let (whole, box_of) = (opened.size(), Size { width: longest, height: longest });
        let size = geometry::contain(whole, box_of);
        master = size.pixels().min(pixels);
        resizing = resize::held(everything(whole), everything(whole), size, channels);
    }
    // What is decoded is a copy, too.
    let most = [
        (COPIES_TO_WALK - 1) * length(source),
        opened.decoding(),
        frames,
        channels * pixels + resizing + channels * master,
        (PIXEL + encode::held_for_master()) * master,
    ];
    let most = most.into_iter().max().unwrap_or(0);
    LEAST + length(source) + COPIES_OF_PROFILE * opened.look.profile_bytes() + most
}

fn length(source: &[u8]) -> u64 {
    source.len() as u64
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;
    use crate::render::options::{Accepts, Catalogue, Rendition};

    const MIB: u64 = 1 << 20;

    fn within(source: &[u8], format: Format, options: &str, limits: &Limits) -> u64 {
        let Ok(Rendition::Variant(options)) = Rendition::parse(options, &Catalogue::default()) else {
            unreachable!("{options}")
        };
        of_variant(source, format, None, &options.plan(format, true, Accepts::default()), limits)
    }

    fn of(source: &[u8], format: Format, options: &str) -> u64 {
        within(source, format, options, &Limits::default())
    }

    #[test]
    fn what_is_held_longer_or_wider_costs_more() {
        let picture = samples::quadrants(2000, 1000);
        let [baseline, progressive] = [false, true].map(|progressive| samples::jpeg(&picture, progressive));
        let of_jpeg = |file: &[u8]| of(file, Format::Jpeg, "w=100");
        // Coefficients for two million pixels, where else less than a picture is held beside.
        assert!(of_jpeg(&progressive) > of_jpeg(&baseline) + 5 * MIB);

        let narrow = samples::png(&picture.clone().into(), None);
        let wide = samples::png(&DynamicImage::from(picture).into_rgb16().into(), None);
        let of_png = |file: &[u8]| of(file, Format::Png, "w=100");
        assert!(of_png(&wide) > of_png(&narrow) + 5 * MIB);
        assert!(of_original(&wide, Format::Png, 0, &Limits::default()) > of_png(&narrow) + 5 * MIB);
    }

    #[test]
    fn what_cannot_be_made_costs_next_to_nothing() {
        let png = samples::png(&samples::quadrants(2000, 2000).into(), None);
        let small = Limits { max_pixels: 1999 * 2000, max_output_pixels: 1000, ..Limits::default() };
        for cost in [
            of(b"", Format::Jpeg, "w=100"),
            of(&png[..20], Format::Png, "w=100"),
            of(&png, Format::Png, "trim=1000;0;1000;0"),
            within(&png, Format::Png, "w=1", &small),
            within(&png, Format::Png, "w=100", &Limits { max_pixels: u64::MAX, ..small }),
            of_original(&png, Format::Png, 2048, &small),
        ] {
            assert!(cost < 10 * MIB, "{cost}");
        }
        assert!(of(&png, Format::Png, "w=100") > 20 * MIB, "that was no trial");
    }

    proptest! {
        #[test]
        fn a_larger_answer_never_costs_less(
            width in 1u32..3000, height in 1u32..3000, more in 1u32..3000,
            fit in prop::sample::select(vec!["scale-down", "contain", "cover", "pad", "squeeze"]),
            rest in prop::sample::select(vec!["", ",trim=border", ",f=webp", ",f=gif", ",sharpen=1", ",rotate=90"]),
        ) {
            let png = samples::png(&samples::quadrants(30, 20).into(), None);
            let cost = |width| of(&png, Format::Png, &format!("w={width},h={height},fit={fit}{rest}"));
            prop_assert!(cost(width + more) >= cost(width));
        }
    }
}
