//! The values that an option may take, and how each is spelt.

use std::{borrow::Cow, fmt};

use super::number::{Decimal, whole};
use crate::render::Format;

/// Why a value was refused, as a sentence that says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Cow<'static, str>,
}

impl Fault {
    pub(super) const fn because(reason: &'static str) -> Fault {
        Fault { reason: Cow::Borrowed(reason) }
    }

    /// A reason that depends on what is set up here.
    pub(super) const fn saying(reason: String) -> Fault {
        Fault { reason: Cow::Owned(reason) }
    }
}

/// What a refused width or height is told; 8192 is [`super::MAX_SIDE`].
pub(super) const SIDE: Fault = Fault::because("must be a whole number from 1 to 8192 after dpr");
const QUALITY: Fault = Fault::because("must be a whole number from 1 to 100");
const DPR: Fault = Fault::because("must be a number from 0.1 to 4 with at most four decimals");
const MIN_DPR: Decimal = Decimal::tenths(1);
const MAX_DPR: Decimal = Decimal::tenths(40);
const FIT: Fault = Fault::because("must be scale-down, contain, cover, crop, pad or squeeze");
const FORMAT: Fault = Fault::because("must be auto, jpeg, png, webp, gif or avif");

/// A width or height before `dpr`; its bounds are checked once `dpr` is known.
pub(super) fn side(text: &str) -> Result<u32, Fault> {
    whole(text).filter(|side| *side > 0).ok_or(SIDE)
}

pub(super) fn quality(text: &str) -> Result<u8, Fault> {
    whole(text)
        .and_then(|quality| u8::try_from(quality).ok())
        .filter(|quality| (1..=100).contains(quality))
        .ok_or(QUALITY)
}

/// How a picture meets a box of another shape, as Cloudflare Images defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Inside the box, never enlarged. The default.
    ScaleDown,
    /// Inside the box, enlarged if need be.
    Contain,
    /// Fills the box exactly; what sticks out is cut off.
    Cover,
    /// Like `Cover`, but never enlarged.
    Crop,
    /// Like `Contain`, on a background of exactly the box's size.
    Pad,
    /// Exactly the box, whatever becomes of the proportions.
    Squeeze,
}

impl Fit {
    const ALL: [Fit; 6] = [Fit::ScaleDown, Fit::Contain, Fit::Cover, Fit::Crop, Fit::Pad, Fit::Squeeze];

    /// The name used in option strings.
    pub fn name(self) -> &'static str {
        match self {
            Fit::ScaleDown => "scale-down",
            Fit::Contain => "contain",
            Fit::Cover => "cover",
            Fit::Crop => "crop",
            Fit::Pad => "pad",
            Fit::Squeeze => "squeeze",
        }
    }

    /// Whether a picture smaller than what was asked for is made larger.
    pub fn enlarges(self) -> bool {
        !matches!(self, Fit::ScaleDown | Fit::Crop)
    }

    pub(super) fn parse(text: &str) -> Result<Fit, Fault> {
        Fit::ALL.into_iter().find(|fit| fit.name() == text).ok_or(FIT)
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The format that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormatChoice {
    /// The best that the request's `Accept` names, else the source's own.
    Auto,
    /// This one.
    Exact(Format),
}

impl FormatChoice {
    pub(super) fn parse(text: &str) -> Result<FormatChoice, Fault> {
        match text {
            "auto" => Ok(FormatChoice::Auto),
            _ => Format::from_name(text).map(FormatChoice::Exact).ok_or(FORMAT),
        }
    }
}

impl fmt::Display for FormatChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatChoice::Auto => f.write_str("auto"),
            FormatChoice::Exact(format) => format.fmt(f),
        }
    }
}

/// Device pixels per asked pixel: 0.1 to 4.
pub(super) fn dpr(text: &str) -> Result<Decimal, Fault> {
    Decimal::parse(text).filter(|dpr| (MIN_DPR..=MAX_DPR).contains(dpr)).ok_or(DPR)
}
