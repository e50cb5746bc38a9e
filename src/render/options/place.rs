//! Which part of the picture, and which way up: `gravity`, `trim`, `rotate` and `flip`.

use std::fmt;

use super::number::{Decimal, whole};
use super::values::Fault;
use crate::render::turn::Turn;

const GRAVITY: Fault =
    Fault::because("must be center, left, right, top, bottom, auto, or XxY with both from 0 to 1");
const TRIM: Fault = Fault::because(
    "must be top;right;bottom;left in whole pixels up to 65535 each, or border, or border;tolerance from 0 to 255",
);
const ROTATE: Fault = Fault::because("must be 90, 180 or 270");
const FLIP: Fault = Fault::because("must be h, v or hv");

/// The most pixels that `trim` takes off one side, before `dpr`.
const MAX_TRIM: u32 = 65_535;

/// Which part of the picture `fit=cover` and `fit=crop` keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gravity {
    /// A point that both the picture and what is kept of it have at the same fraction of their
    /// sides: what is cut off is split `x` to the left and the rest to the right. So 0 keeps the
    /// left edge and 1 the right one, as with CSS's `object-position`.
    At {
        /// From 0 (left) to 1 (right).
        x: Decimal,
        /// From 0 (top) to 1 (bottom).
        y: Decimal,
    },
    /// Where the picture itself has most to see.
    Auto,
}

impl Gravity {
    /// The default.
    pub const CENTER: Gravity = Gravity::At { x: Decimal::HALF, y: Decimal::HALF };

    /// The points that have names, which are their canonical spelling.
    const NAMED: [(&str, Gravity); 6] = [
        ("center", Gravity::CENTER),
        ("left", Gravity::At { x: Decimal::ZERO, y: Decimal::HALF }),
        ("right", Gravity::At { x: Decimal::ONE, y: Decimal::HALF }),
        ("top", Gravity::At { x: Decimal::HALF, y: Decimal::ZERO }),
        ("bottom", Gravity::At { x: Decimal::HALF, y: Decimal::ONE }),
        ("auto", Gravity::Auto),
    ];

    pub(super) fn parse(text: &str) -> Result<Gravity, Fault> {
        if let Some((_, named)) = Gravity::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*named);
        }
        let part = |text| Decimal::parse(text).filter(|part| *part <= Decimal::ONE);
        let (x, y) = text.split_once('x').ok_or(GRAVITY)?;
        Ok(Gravity::At { x: part(x).ok_or(GRAVITY)?, y: part(y).ok_or(GRAVITY)? })
    }
}

impl fmt::Display for Gravity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = Gravity::NAMED.iter().find(|(_, named)| named == self) {
            return f.write_str(name);
        }
        match self {
            Gravity::At { x, y } => write!(f, "{x}x{y}"),
            Gravity::Auto => f.write_str("auto"),
        }
    }
}

/// What is cut off the upright picture before anything else is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trim {
    /// So many pixels from each side.
    Sides {
        /// Pixels.
        top: u32,
        /// Pixels.
        right: u32,
        /// Pixels.
        bottom: u32,
        /// Pixels.
        left: u32,
    },
    /// The edge that has the colour of the top left pixel.
    Border {
        /// How far each channel may be from that colour, in steps of 255.
        tolerance: u8,
    },
}

impl Trim {
    /// Nothing is cut off.
    pub const NONE: Trim = Trim::Sides { top: 0, right: 0, bottom: 0, left: 0 };

    /// The tolerance of a bare `border`: what JPEG leaves of a plain colour is within it.
    const TOLERANCE: u8 = 10;

    pub(super) fn parse(text: &str) -> Result<Trim, Fault> {
        if text == "border" {
            return Ok(Trim::Border { tolerance: Trim::TOLERANCE });
        }
        if let Some(tolerance) = text.strip_prefix("border;") {
            let tolerance = whole(tolerance).and_then(|n| u8::try_from(n).ok()).ok_or(TRIM)?;
            return Ok(Trim::Border { tolerance });
        }
        let mut sides = [0; 4];
        let mut items = text.split(';');
        for side in &mut sides {
            *side = items.next().and_then(whole).filter(|n| *n <= MAX_TRIM).ok_or(TRIM)?;
        }
        let [top, right, bottom, left] = sides;
        if items.next().is_some() {
            return Err(TRIM);
        }
        Ok(Trim::Sides { top, right, bottom, left })
    }

    /// The same in device pixels.
    pub(super) fn times(self, dpr: Decimal) -> Trim {
        match self {
            Trim::Sides { top, right, bottom, left } => Trim::Sides {
                top: dpr.times(top),
                right: dpr.times(right),
                bottom: dpr.times(bottom),
                left: dpr.times(left),
            },
            Trim::Border { .. } => self,
        }
    }
}

impl fmt::Display for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trim::Sides { top, right, bottom, left } => write!(f, "{top};{right};{bottom};{left}"),
            Trim::Border { tolerance: Trim::TOLERANCE } => f.write_str("border"),
            Trim::Border { tolerance } => write!(f, "border;{tolerance}"),
        }
    }
}

/// How far the picture is turned, clockwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rotate {
    /// A quarter.
    By90,
    /// Upside down.
    By180,
    /// A quarter the other way.
    By270,
}

impl Rotate {
    pub(super) fn parse(text: &str) -> Result<Rotate, Fault> {
        match text {
            "90" => Ok(Rotate::By90),
            "180" => Ok(Rotate::By180),
            "270" => Ok(Rotate::By270),
            _ => Err(ROTATE),
        }
    }

    pub(super) fn turn(self) -> Turn {
        Turn::clockwise(match self {
            Rotate::By90 => 1,
            Rotate::By180 => 2,
            Rotate::By270 => 3,
        })
    }
}

impl fmt::Display for Rotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rotate::By90 => "90",
            Rotate::By180 => "180",
            Rotate::By270 => "270",
        })
    }
}

/// Which sides of the picture are swapped, before it is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flip {
    /// Left and right.
    H,
    /// Top and bottom.
    V,
    /// Both.
    Hv,
}

impl Flip {
    pub(super) fn parse(text: &str) -> Result<Flip, Fault> {
        match text {
            "h" => Ok(Flip::H),
            "v" => Ok(Flip::V),
            "hv" => Ok(Flip::Hv),
            _ => Err(FLIP),
        }
    }

    pub(super) fn turn(self) -> Turn {
        match self {
            Flip::H => Turn::FLIP_H,
            Flip::V => Turn::FLIP_V,
            Flip::Hv => Turn::clockwise(2),
        }
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flip::H => "h",
            Flip::V => "v",
            Flip::Hv => "hv",
        })
    }
}
