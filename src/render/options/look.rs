//! What is done to the colours: `background`, `blur`, `sharpen`, and whether it moves: `anim`.

use std::fmt;

use super::number::{Decimal, whole};
use super::values::Fault;
use crate::render::canvas::blend;

const BACKGROUND: Fault =
    Fault::because("must be a colour of six or eight hexadecimal digits, rrggbb or rrggbbaa");
const BLUR: Fault = Fault::because("must be a whole number from 1 to 250");
const SHARPEN: Fault = Fault::because("must be a number from 0 to 10 with at most four decimals");
const ANIM: Fault = Fault::because("must be true or false");

/// The largest `blur`.
const MAX_BLUR: u32 = 250;
/// The largest `sharpen`.
const MAX_SHARPEN: Decimal = Decimal::tenths(100);

/// An sRGB colour with straight alpha.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colour(pub [u8; 4]);

impl Colour {
    /// White, opaque.
    pub const WHITE: Colour = Colour([255; 4]);

    /// Whether nothing shows through it.
    pub fn is_opaque(self) -> bool {
        self.0[3] == u8::MAX
    }

    /// This colour laid on white.
    pub(super) fn over_white(self) -> Colour {
        let [r, g, b, a] = self.0;
        let over = |channel| blend(channel, u8::MAX, a);
        Colour([over(r), over(g), over(b), u8::MAX])
    }

    pub(super) fn parse(text: &str) -> Result<Colour, Fault> {
        // `from_str_radix` would take a sign.
        if !matches!(text.len(), 6 | 8) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BACKGROUND);
        }
        let mut channels = [u8::MAX; 4];
        for (n, channel) in channels.iter_mut().enumerate().take(text.len() / 2) {
            *channel = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| BACKGROUND)?;
        }
        Ok(Colour(channels))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.is_opaque() { &self.0[..3] } else { &self.0[..] };
        shown.iter().try_for_each(|channel| write!(f, "{channel:02x}"))
    }
}

pub(super) fn blur(text: &str) -> Result<u8, Fault> {
    whole(text)
        .filter(|radius| (1..=MAX_BLUR).contains(radius))
        .and_then(|radius| u8::try_from(radius).ok())
        .ok_or(BLUR)
}

pub(super) fn sharpen(text: &str) -> Result<Decimal, Fault> {
    Decimal::parse(text).filter(|strength| *strength <= MAX_SHARPEN).ok_or(SHARPEN)
}

pub(super) fn anim(text: &str) -> Result<bool, Fault> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ANIM),
    }
}
