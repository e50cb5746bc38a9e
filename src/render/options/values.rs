//! The values that an option may take, and how each is spelt.

use std::fmt;

use crate::render::Format;

/// Why a value was refused, as a sentence that says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: &'static str,
}

impl Fault {
    pub(super) const NOT_YET: Fault = Fault::because("this option is not available yet");

    pub(super) const fn because(reason: &'static str) -> Fault {
        Fault { reason }
    }
}

/// What a refused width or height is told; 8192 is [`super::MAX_SIDE`].
pub(super) const SIDE: Fault = Fault::because("must be a whole number from 1 to 8192 after dpr");
const QUALITY: Fault = Fault::because("must be a whole number from 1 to 100");
const DPR: Fault = Fault::because("must be a number from 0.1 to 4 with at most four decimals");
const FIT: Fault = Fault::because("must be scale-down, contain, cover, crop, pad or squeeze");
const FORMAT: Fault = Fault::because("must be auto, jpeg, png, webp or gif");
const FLAG: Fault = Fault::because("must be true or false");
const FORMAT_NOT_YET: Fault = Fault::because("this format is not available yet");

/// A whole number spelt the one plain way: no sign, no leading zero, no spaces.
fn whole(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    // Five digits hold every bound here, and keep the sums that follow far from overflow.
    (plain && (1..=5).contains(&text.len())).then(|| text.parse().ok()).flatten()
}

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

pub(super) fn flag(text: &str) -> Result<bool, Fault> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(FLAG),
    }
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
            "avif" => Err(FORMAT_NOT_YET),
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

/// Device pixels per asked pixel, held as ten-thousandths so that equal values are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dpr(u32);

impl Dpr {
    const ONE: u32 = 10_000;
    const DECIMALS: usize = 4;
    const MIN: u32 = Dpr::ONE / 10;
    const MAX: u32 = Dpr::ONE * 4;

    pub(super) fn parse(text: &str) -> Result<Dpr, Fault> {
        let (ones, decimals) = match text.split_once('.') {
            Some((ones, decimals)) if !decimals.is_empty() => (ones, decimals),
            Some(_) => return Err(DPR),
            None => (text, ""),
        };
        if decimals.len() > Dpr::DECIMALS || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DPR);
        }
        let ones = whole(ones).filter(|ones| *ones <= 4).ok_or(DPR)?;
        let padded = format!("{decimals:0<width$}", width = Dpr::DECIMALS);
        let fraction: u32 = padded.parse().map_err(|_| DPR)?;
        let ten_thousandths = ones * Dpr::ONE + fraction;
        if !(Dpr::MIN..=Dpr::MAX).contains(&ten_thousandths) {
            return Err(DPR);
        }
        Ok(Dpr(ten_thousandths))
    }

    /// `side · dpr` in whole pixels, rounding half up.
    pub(super) fn scale(self, side: u32) -> u32 {
        let scaled = u64::from(side) * u64::from(self.0) + u64::from(Dpr::ONE) / 2;
        u32::try_from(scaled / u64::from(Dpr::ONE)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Dpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ones, fraction) = (self.0 / Dpr::ONE, self.0 % Dpr::ONE);
        if fraction == 0 {
            return write!(f, "{ones}");
        }
        let decimals = format!("{fraction:0width$}", width = Dpr::DECIMALS);
        write!(f, "{ones}.{}", decimals.trim_end_matches('0'))
    }
}
