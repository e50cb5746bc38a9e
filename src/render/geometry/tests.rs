//! The size rule's examples and laws.

use proptest::prelude::*;

use super::*;
use crate::render::Format;

fn plan(width: Option<u32>, height: Option<u32>, fit: Fit) -> Plan {
    Plan { width, height, fit, quality: 80, format: Format::Jpeg, animation: None }
}

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

fn output(source: Size, width: u32, height: u32, fit: Fit) -> (u32, u32) {
    let some = |side| (side > 0).then_some(side);
    let out = layout(source, &plan(some(width), some(height), fit)).output();
    (out.width, out.height)
}

#[test]
fn the_size_rule_by_example() {
    let photo = size(6000, 4000);
    for (w, h, fit, expected) in [
        (400, 0, Fit::ScaleDown, (400, 267)),
        (0, 400, Fit::ScaleDown, (600, 400)),
        (400, 400, Fit::ScaleDown, (400, 267)),
        (8000, 0, Fit::ScaleDown, (6000, 4000)),
        (8000, 0, Fit::Crop, (6000, 4000)),
        (7500, 0, Fit::Contain, (7500, 5000)),
        (8000, 8000, Fit::ScaleDown, (6000, 4000)),
        (8000, 8000, Fit::Contain, (8000, 5333)),
        (400, 400, Fit::Cover, (400, 400)),
        (7000, 200, Fit::Crop, (6000, 200)),
        (7000, 7000, Fit::Crop, (6000, 4000)),
        (400, 400, Fit::Pad, (400, 400)),
        (1, 400, Fit::Squeeze, (1, 400)),
        (0, 0, Fit::Cover, (6000, 4000)),
    ] {
        assert_eq!(output(photo, w, h, fit), expected, "{w}x{h} {fit}");
    }
}

#[test]
fn halves_round_up_and_nothing_vanishes() {
    assert_eq!(output(size(4, 2), 1, 0, Fit::ScaleDown), (1, 1));
    assert_eq!(output(size(200, 101), 100, 0, Fit::ScaleDown), (100, 51));
    assert_eq!(output(size(8192, 1), 10, 0, Fit::ScaleDown), (10, 1));
    assert_eq!(output(size(1, u32::MAX), 8192, 0, Fit::Contain).1, u32::MAX);
}

#[test]
fn cover_cuts_from_the_middle_and_pad_centres() {
    let cut = layout(size(300, 100), &plan(Some(50), Some(50), Fit::Cover)).crop;
    let middle = CropBox { left: 100.0, top: 0.0, width: 100.0, height: 100.0 };
    assert_eq!(cut, middle);

    let padded = layout(size(300, 100), &plan(Some(60), Some(61), Fit::Pad));
    assert_eq!(padded.size, size(60, 20));
    let canvas = Canvas { size: size(60, 61), left: 0, top: 20 };
    assert_eq!(padded.canvas, Some(canvas));
}

fn any_size() -> impl Strategy<Value = Size> {
    (1u32..=9000, 1u32..=9000).prop_map(|(width, height)| size(width, height))
}

fn any_fit() -> impl Strategy<Value = Fit> {
    prop::sample::select(vec![Fit::ScaleDown, Fit::Contain, Fit::Cover, Fit::Crop, Fit::Pad, Fit::Squeeze])
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let side = || prop::option::of(1u32..=8192);
    (side(), side(), any_fit()).prop_map(|(width, height, fit)| plan(width, height, fit))
}

/// |a·m − n·d| ≤ m/2, or the least there is.
fn within_half_a_pixel(other: u32, n: u32, d: u32, m: u32) -> bool {
    let (other, n, d, m) = (i128::from(other), i128::from(n), i128::from(d), i128::from(m));
    (2 * (other * m - n * d)).abs() <= m || (other == 1 && 2 * n * d < m)
}

proptest! {
    #[test]
    fn the_crop_is_inside_the_source_and_the_answer_exists(source in any_size(), plan in any_plan()) {
        let layout = layout(source, &plan);
        let crop = layout.crop;
        prop_assert!(crop.left >= 0.0 && crop.top >= 0.0 && crop.width > 0.0 && crop.height > 0.0);
        prop_assert!(crop.left + crop.width <= f64::from(source.width));
        prop_assert!(crop.top + crop.height <= f64::from(source.height));
        prop_assert!(layout.size.width >= 1 && layout.size.height >= 1);
        if let Some(canvas) = layout.canvas {
            prop_assert!(canvas.left + layout.size.width <= canvas.size.width);
            prop_assert!(canvas.top + layout.size.height <= canvas.size.height);
        }
    }

    #[test]
    fn scale_down_and_crop_never_enlarge(source in any_size(), plan in any_plan()) {
        prop_assume!(!plan.fit.enlarges());
        let layout = layout(source, &plan);
        prop_assert!(layout.size.fits_in(source));
        // Nor is a part of the source enlarged: the cut is at least as large as the answer.
        prop_assert!(layout.crop.width >= f64::from(layout.size.width) - 1e-6);
        prop_assert!(layout.crop.height >= f64::from(layout.size.height) - 1e-6);
    }

    #[test]
    fn cover_pad_and_squeeze_are_exactly_the_box(source in any_size(), asked in any_size(), fit in any_fit()) {
        prop_assume!(matches!(fit, Fit::Cover | Fit::Pad | Fit::Squeeze));
        let plan = plan(Some(asked.width), Some(asked.height), fit);
        prop_assert_eq!(layout(source, &plan).output(), asked);
    }

    #[test]
    fn contain_binds_one_side_and_keeps_the_shape(source in any_size(), asked in any_size()) {
        let out = layout(source, &plan(Some(asked.width), Some(asked.height), Fit::Contain)).output();
        prop_assert!(out.fits_in(asked));
        let by_width = out.width == asked.width
            && within_half_a_pixel(out.height, out.width, source.height, source.width);
        let by_height = out.height == asked.height
            && within_half_a_pixel(out.width, out.height, source.width, source.height);
        prop_assert!(by_width || by_height);
    }

    #[test]
    fn one_side_is_exact_and_the_other_follows(source in any_size(), width in 1u32..=8192, fit in any_fit()) {
        let out = layout(source, &plan(Some(width), None, fit)).output();
        if !fit.enlarges() && width > source.width {
            prop_assert_eq!(out, source);
        } else {
            prop_assert_eq!(out.width, width);
            prop_assert!(within_half_a_pixel(out.height, width, source.height, source.width));
        }
    }

    #[test]
    fn cover_keeps_the_shape_of_what_it_cuts(source in any_size(), asked in any_size()) {
        let layout = layout(source, &plan(Some(asked.width), Some(asked.height), Fit::Cover));
        let across = layout.crop.width / f64::from(asked.width);
        let down = layout.crop.height / f64::from(asked.height);
        prop_assert!((across / down - 1.0).abs() < 1e-9);
        // Nothing larger would fit: one side is cut not at all.
        let uncut = (layout.crop.width - f64::from(source.width)).abs() < 1e-9
            || (layout.crop.height - f64::from(source.height)).abs() < 1e-9;
        prop_assert!(uncut);
    }

    #[test]
    fn scaling_down_twice_changes_nothing(source in any_size(), plan in any_plan()) {
        let plan = Plan { fit: Fit::ScaleDown, ..plan };
        let once = layout(source, &plan).output();
        prop_assert_eq!(layout(once, &plan).output(), once);
    }
}
