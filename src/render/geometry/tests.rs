//! The size rule's examples and laws.

use proptest::prelude::*;

use super::*;
use crate::render::{Accepts, Decimal, Format, Options};

fn plan(width: Option<u32>, height: Option<u32>, fit: Fit) -> Plan {
    Plan { width, height, fit, ..Options::default().plan(Format::Jpeg, false, Accepts::default()) }
}

/// What [`super::layout`] makes of a picture that is not trimmed away.
fn layout(source: Size, plan: &Plan) -> Layout {
    super::layout(source, plan).unwrap()
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

/// The size rule over again, in exact fractions and in another way: every candidate size is tried.
fn by_the_rule(source: Size, plan: &Plan) -> Size {
    let (w, h) = (i128::from(source.width), i128::from(source.height));
    // Of all whole numbers the nearest to n·d/m, the larger of two; at least 1.
    let follow = |n: i128, d: i128, m: i128| {
        let below = n * d / m;
        let rest = n * d - below * m;
        (if 2 * rest >= m { below + 1 } else { below }).max(1)
    };
    let asked = (plan.width.map(i128::from), plan.height.map(i128::from));
    let (width, height) = match (asked, plan.fit) {
        ((Some(aw), None), fit) if fit.enlarges() || aw <= w => (aw, follow(aw, h, w)),
        ((None, Some(ah)), fit) if fit.enlarges() || ah <= h => (follow(ah, w, h), ah),
        ((_, None) | (None, _), _) => (w, h),
        ((Some(aw), Some(ah)), Fit::Cover | Fit::Pad | Fit::Squeeze) => (aw, ah),
        ((Some(aw), Some(ah)), Fit::Crop) => (aw.min(w), ah.min(h)),
        ((Some(aw), Some(ah)), Fit::ScaleDown) if aw >= w && ah >= h => (w, h),
        // The side whose scale is the smaller binds.
        ((Some(aw), Some(ah)), _) if aw * h <= ah * w => (aw, follow(aw, h, w)),
        ((Some(_), Some(ah)), _) => (follow(ah, w, h), ah),
    };
    size(width.try_into().unwrap(), height.try_into().unwrap())
}

fn any_turn() -> impl Strategy<Value = Turn> {
    (0u8..4, any::<bool>()).prop_map(|(quarters, mirrored)| {
        Turn::clockwise(quarters).then(if mirrored { Turn::FLIP_H } else { Turn::NONE })
    })
}

fn at(x: f64, y: f64) -> Point {
    Point { x, y }
}

#[test]
fn trim_comes_first_then_the_turn_then_the_size() {
    let trim = Trim::Sides { top: 10, right: 20, bottom: 30, left: 40 };
    let plan = Plan { trim, turn: Turn::clockwise(1), ..plan(Some(100), None, Fit::ScaleDown) };
    let laid = layout(size(300, 240), &plan);
    // 240×200 are left, and lie on their side as 200×240.
    assert_eq!(laid.size, size(100, 120));
    // What was at the bottom is on the left, and what was on the left is at the top.
    assert_eq!(laid.crop, CropBox { left: 30.0, top: 40.0, width: 200.0, height: 240.0 });
}

#[test]
fn a_trim_that_leaves_nothing_is_an_error() {
    let trimmed = |top, right, bottom, left| {
        let plan =
            Plan { trim: Trim::Sides { top, right, bottom, left }, ..plan(None, None, Fit::ScaleDown) };
        super::layout(size(30, 20), &plan).map(|laid| laid.size)
    };
    assert_eq!(trimmed(10, 15, 9, 14).unwrap(), size(1, 1));
    for (top, right, bottom, left) in
        [(10, 0, 10, 0), (0, 15, 0, 15), (21, 0, 0, 0), (0, 0, 0, u32::MAX), (u32::MAX, 1, u32::MAX, 1)]
    {
        assert!(matches!(trimmed(top, right, bottom, left), Err(RenderError::NothingLeft(_))));
    }
}

#[test]
fn gravity_says_what_is_cut_off() {
    let wide = |x, y| {
        let gravity = Gravity::At { x, y };
        let plan = Plan { gravity, ..plan(Some(50), Some(50), Fit::Cover) };
        let crop = layout(size(300, 100), &plan).crop;
        (crop.left, crop.top)
    };
    assert_eq!(wide(Decimal::ZERO, Decimal::HALF), (0.0, 0.0));
    assert_eq!(wide(Decimal::ONE, Decimal::HALF), (200.0, 0.0));
    assert_eq!(wide(Decimal::QUARTER, Decimal::ONE), (50.0, 0.0));
    let fits = Plan {
        gravity: Gravity::At { x: Decimal::ONE, y: Decimal::ONE },
        ..plan(Some(50), Some(50), Fit::Crop)
    };
    assert_eq!(layout(size(40, 30), &fits).crop, everything(size(40, 30)));
}

proptest! {
    #[test]
    fn sizes_are_by_the_rule(source in any_size(), plan in any_plan()) {
        prop_assert_eq!(layout(source, &plan).output(), by_the_rule(source, &plan));
    }

    #[test]
    fn small_sizes_are_by_the_rule(
        w in 1u32..=12, h in 1u32..=12, aw in prop::option::of(1u32..=12), ah in prop::option::of(1u32..=12), fit in any_fit(),
    ) {
        let plan = plan(aw, ah, fit);
        prop_assert_eq!(layout(size(w, h), &plan).output(), by_the_rule(size(w, h), &plan));
    }

    #[test]
    fn a_turned_and_trimmed_picture_is_laid_out_like_one_that_was_so(
        source in any_size(), plan in any_plan(), turn in any_turn(), trims in [0u32..4000, 0u32..4000, 0u32..4000, 0u32..4000],
    ) {
        let [top, right, bottom, left] = trims;
        let options = Plan { turn, trim: Trim::Sides { top, right, bottom, left }, ..plan.clone() };
        let Ok(laid) = super::layout(source, &options) else {
            prop_assert!(left + right >= source.width || top + bottom >= source.height);
            return Ok(());
        };
        let rest = turn.size(size(source.width - left - right, source.height - top - bottom));
        let alone = layout(rest, &plan);
        prop_assert_eq!((laid.size, laid.canvas), (alone.size, alone.canvas));
        prop_assert!((laid.crop.width, laid.crop.height) == (alone.crop.width, alone.crop.height));
        // It lies within what was not trimmed, wherever that has been turned to.
        let within = turn.before(laid.crop, turn.size(source));
        let (far, low) = (within.left + within.width, within.top + within.height);
        let near = |n: u32| f64::from(n) + 1e-6;
        prop_assert!(within.left >= f64::from(left) - 1e-6 && far <= near(source.width - right));
        prop_assert!(within.top >= f64::from(top) - 1e-6 && low <= near(source.height - bottom));
    }

    #[test]
    fn gravity_moves_the_cut_the_way_it_points(
        source in any_size(), asked in any_size(),
        x in 0.0f64..=1.0, y in 0.0f64..=1.0, further in 0.0f64..=1.0, fit in prop::sample::select(vec![Fit::Cover, Fit::Crop]),
    ) {
        let plan = plan(Some(asked.width), Some(asked.height), fit);
        let crop = |x, y| layout_of(everything(source), source, at(x, y), &plan).crop;
        let (here, there) = (crop(x, y), crop(x + (1.0 - x) * further, y + (1.0 - y) * further));
        prop_assert!(here.left <= there.left && here.top <= there.top);
        prop_assert!((here.width, here.height) == (there.width, there.height));
        prop_assert!(here.left >= 0.0 && here.left + here.width <= f64::from(source.width) + 1e-9);
        prop_assert!(here.top >= 0.0 && here.top + here.height <= f64::from(source.height) + 1e-9);
        // The named point is never cut off, and the ends are the picture's own.
        prop_assert!(here.left <= x * f64::from(source.width) + 1e-9);
        prop_assert!(here.left + here.width >= x * f64::from(source.width) - 1e-9);
        let (first, last) = (crop(0.0, 0.0), crop(1.0, 1.0));
        prop_assert!(first.left == 0.0 && first.top == 0.0);
        prop_assert!((last.left + last.width - f64::from(source.width)).abs() < 1e-6);
        prop_assert!((last.top + last.height - f64::from(source.height)).abs() < 1e-6);
    }
}
