//! Masters: web-sized renditions that are stored beside an original, and that variants are made from.
//!
//! A master is upright, in sRGB and without metadata, so that a variant made from it never touches the
//! original again. Which master a variant is made from follows from what the ledger says and from the
//! options alone, never from what happens to lie in the bucket: one URL means the same bytes always.

use std::fmt;

use super::decode::{Look, Pixels};
use super::geometry::{self, everything};
use super::options::{Plan, Trim};
use super::{Format, Limits, RenderError, Size, decode, encode, resize, transform};

/// One of the masters of an image, the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rung {
    /// The largest.
    First,
    /// The one below.
    Second,
    /// The one below that.
    Third,
}

impl Rung {
    /// As many as an image may have.
    pub const ALL: [Rung; 3] = [Rung::First, Rung::Second, Rung::Third];
}

/// A picture is worth a master when its longer side is so many times that of the master.
const WORTH: f64 = 1.2;
/// The same of a master without loss, which is large, and hardly quicker to decode than the original.
const WORTH_WITHOUT_LOSS: f64 = 1.5;
/// A master is large enough when it has so many pixels for each of the answer's, across and down. Below
/// that the loss of the master's own coding would show (SSIMULACRA2 of the finished JPEG falls by more
/// than half a point).
const ENOUGH: f64 = 1.25;

/// The masters that an image has, or will have once they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    lossless: bool,
    /// Their longer sides in pixels, the largest first.
    sides: Vec<u32>,
}

impl Masters {
    /// None: variants are made from the original.
    pub const NONE: Masters = Masters { lossless: false, sides: Vec::new() };

    /// Which masters a still picture of `size` is given out of `ladder`: longer sides in pixels, the
    /// largest first. What came without loss, or with transparency, keeps both.
    pub fn plan(format: Format, size: Size, has_alpha: bool, ladder: &[u32]) -> Masters {
        let longer = f64::from(size.width.max(size.height));
        let lossless = has_alpha || matches!(format, Format::Png | Format::Gif);
        let worth = if lossless { WORTH_WITHOUT_LOSS } else { WORTH };
        let sides = ladder.iter().copied().filter(|side| longer >= f64::from(*side) * worth);
        Masters { lossless, sides: sides.take(Rung::ALL.len()).collect() }
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Masters> {
        if text.is_empty() {
            return Some(Masters::NONE);
        }
        let (format, sides) = text.split_once(' ')?;
        let lossless = match Format::from_name(format)? {
            Format::Png => true,
            Format::Jpeg => false,
            _ => return None,
        };
        let sides: Vec<u32> = sides.split(' ').map(|side| side.parse().ok()).collect::<Option<_>>()?;
        (sides.len() <= Rung::ALL.len()).then_some(Masters { lossless, sides })
    }

    /// The format of every one of them.
    pub fn format(&self) -> Format {
        if self.lossless { Format::Png } else { Format::Jpeg }
    }

    /// Those that there are.
    pub fn rungs(&self) -> impl ExactSizeIterator<Item = Rung> + use<> {
        Rung::ALL.into_iter().take(self.sides.len())
    }

    /// The longer side of the largest in pixels; 0 when there is none.
    pub fn longest(&self) -> u32 {
        self.sides.first().copied().unwrap_or(0)
    }

    /// The smallest master that is large enough for what `plan` asks of an original of size `source`,
    /// if there is one. What is trimmed, in the original's pixels, is cut from the original.
    pub fn fit_for(&self, source: Size, plan: &Plan) -> Option<Rung> {
        if plan.trim != Trim::NONE {
            return None;
        }
        let layout = geometry::layout(source, plan).ok()?;
        let (across, down) = (
            layout.crop.width / f64::from(layout.size.width),
            layout.crop.height / f64::from(layout.size.height),
        );
        let longer = f64::from(source.width.max(source.height));
        let is_enough = |side: &u32| across.min(down) * f64::from(*side) / longer >= ENOUGH;
        Rung::ALL.into_iter().zip(&self.sides).rev().find(|(_, side)| is_enough(side)).map(|(rung, _)| rung)
    }
}

/// The format and the sides, as the ledger keeps them: `jpeg 2048 1024 512`; empty for none.
impl fmt::Display for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sides.is_empty() {
            return Ok(());
        }
        f.write_str(self.format().name())?;
        self.sides.iter().try_for_each(|side| write!(f, " {side}"))
    }
}

/// Makes all masters of an original: the files, the largest first. The same, byte for byte, whenever.
pub fn make(
    original: &[u8],
    format: Format,
    masters: &Masters,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, RenderError> {
    let source = decode::Source::open(original, format, limits)?;
    let look = source.look.clone();
    make_of(source.pixels()?, &look, masters)
}

/// The same of the original's stored pixels. Each is made from the one above.
pub(super) fn make_of(
    mut pixels: Pixels,
    look: &Look,
    masters: &Masters,
) -> Result<Vec<Vec<u8>>, RenderError> {
    let mut files = Vec::new();
    for (n, &side) in masters.sides.iter().enumerate() {
        let whole = pixels.size();
        let size = geometry::contain(whole, Size { width: side, height: side });
        pixels = resize::resize(pixels, everything(whole), everything(whole), size)?;
        if n == 0 {
            pixels = transform::upright(pixels, look);
        }
        files.push(encode::master(&pixels, masters.format())?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::options::{Accepts, Catalogue, Rendition};

    const LADDER: [u32; 3] = [2048, 1024, 512];

    fn plan(options: &str) -> Plan {
        let Ok(Rendition::Variant(options)) = Rendition::parse(options, &Catalogue::default()) else {
            unreachable!("{options}")
        };
        options.plan(Format::Jpeg, false, Accepts::default())
    }

    #[test]
    fn a_picture_has_the_masters_that_are_worth_it() {
        let masters =
            |width, height| Masters::plan(Format::Jpeg, Size { width, height }, false, &LADDER).to_string();
        assert_eq!(masters(6000, 4000), "jpeg 2048 1024 512");
        assert_eq!(masters(4000, 6000), "jpeg 2048 1024 512");
        assert_eq!(masters(2458, 100), "jpeg 2048 1024 512");
        assert_eq!(masters(2457, 100), "jpeg 1024 512");
        assert_eq!(masters(615, 615), "jpeg 512");
        assert_eq!(masters(614, 614), "");
        let png = |has_alpha, format| {
            Masters::plan(format, Size { width: 800, height: 800 }, has_alpha, &LADDER).to_string()
        };
        assert_eq!([png(false, Format::Png), png(true, Format::Webp)], ["png 512"; 2]);
        let narrow = Size { width: 767, height: 767 };
        assert_eq!(Masters::plan(Format::Png, narrow, false, &LADDER).to_string(), "");
        assert_eq!(png(false, Format::Webp), "jpeg 512");
    }

    #[test]
    fn the_smallest_that_is_large_enough_is_used() {
        let size = Size { width: 4288, height: 2848 };
        let masters = Masters::plan(Format::Jpeg, size, false, &LADDER);
        let used = |options| masters.fit_for(size, &plan(options));
        assert_eq!(used("w=400"), Some(Rung::Third));
        assert_eq!(used("w=410"), Some(Rung::Second));
        assert_eq!(used("w=800"), Some(Rung::Second));
        assert_eq!(used("w=1600"), Some(Rung::First));
        assert_eq!(used("w=1700"), None);
        // A square cut out of the middle has only the height's pixels.
        assert_eq!(used("w=272,h=272,fit=cover"), Some(Rung::Third));
        assert_eq!(used("w=300,h=300,fit=cover"), Some(Rung::Second));
        assert_eq!(used("w=300,h=300,fit=crop"), Some(Rung::Second));
        assert_eq!(used("f=png"), None);
        assert_eq!(used("w=64,trim=1;0;0;0"), None);
        assert_eq!(used("w=64,trim=border"), None);
        assert_eq!(Masters::NONE.fit_for(size, &plan("w=64")), None);
    }

    proptest! {
        #[test]
        fn the_ledger_gives_back_what_it_was_given(width in 1u32..9000, height in 1u32..9000, alpha: bool) {
            let masters = Masters::plan(Format::Jpeg, Size { width, height }, alpha, &LADDER);
            let read = Masters::parse(&masters.to_string()).unwrap();
            prop_assert_eq!(read.to_string(), masters.to_string());
            prop_assert_eq!(read.rungs().len(), masters.rungs().len());
        }

        #[test]
        fn a_master_never_has_fewer_pixels_than_the_answer(
            width in 1u32..9000, height in 1u32..9000, w in 1u32..3000, h in 1u32..3000,
            fit in prop::sample::select(vec!["scale-down", "contain", "cover", "crop", "pad", "squeeze"]),
        ) {
            let size = Size { width, height };
            let masters = Masters::plan(Format::Jpeg, size, false, &LADDER);
            let plan = plan(&format!("w={w},h={h},fit={fit}"));
            let Some(rung) = masters.fit_for(size, &plan) else { return Ok(()) };
            let side = masters.sides[rung as usize];
            let master = geometry::contain(size, Size { width: side, height: side });
            let layout = geometry::layout(size, &plan).unwrap();
            let seen = geometry::on_master(layout.crop, size, master);
            // The master's shorter side is rounded to whole pixels.
            prop_assert!(seen.width * 1.02 >= f64::from(layout.size.width));
            prop_assert!(seen.height * 1.02 + 1.0 >= f64::from(layout.size.height));
        }
    }

    #[test]
    fn what_is_no_list_of_masters_is_not_taken_for_one() {
        for text in ["jpeg", "webp 512", "jpeg x", "jpeg 1 2 3 4", "512", "jpeg  512"] {
            assert_eq!(Masters::parse(text), None, "{text:?}");
        }
    }
}
