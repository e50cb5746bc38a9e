//! Options with every default resolved: what to make, and the text that names it in caches.

use std::fmt;

use super::{Accepts, Fit, FormatChoice, Options};
use crate::render::Format;

/// The quality of an answer when none was asked for, 1–100.
pub const DEFAULT_QUALITY: u8 = 80;

/// Exactly what to make of one source. Requests that must give the same bytes have equal plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Pixels of the answer, `dpr` applied; free when `None`.
    pub width: Option<u32>,
    /// Pixels of the answer, `dpr` applied; free when `None`.
    pub height: Option<u32>,
    /// How the picture meets the box.
    pub fit: Fit,
    /// 1–100; always the default for PNG and GIF, where it changes nothing.
    pub quality: u8,
    /// The format of the answer.
    pub format: Format,
    /// The format of the answer when the source turns out to be an animation; without one, its
    /// first frame is shown.
    pub animation: Option<Format>,
}

impl Options {
    /// Resolves every default for a source of format `source` and a client that takes `accepts`.
    pub fn plan(&self, source: Format, accepts: Accepts) -> Plan {
        let format = match self.format {
            Some(FormatChoice::Exact(format)) => format,
            Some(FormatChoice::Auto) if accepts.webp => Format::Webp,
            Some(FormatChoice::Auto) | None if source.is_written() => source,
            // Who shows AVIF shows WebP; who was asked and names neither gets what everybody shows.
            Some(FormatChoice::Auto) => Format::Jpeg,
            None => Format::Webp,
        };
        Plan {
            width: self.width.map(|side| self.device_pixels(side)),
            height: self.height.map(|side| self.device_pixels(side)),
            fit: self.effective_fit(),
            quality: match format {
                Format::Jpeg | Format::Webp | Format::Avif => self.quality.unwrap_or(DEFAULT_QUALITY),
                Format::Png | Format::Gif => DEFAULT_QUALITY,
            },
            format,
            animation: self.animation(source, format),
        }
    }

    /// Nothing where it changes nothing, so that one picture has one cache key.
    fn animation(&self, source: Format, format: Format) -> Option<Format> {
        let wanted = self.anim.unwrap_or(true) && source.may_move();
        wanted.then_some(format).filter(|format| format.animates())
    }

    /// Without a full box to meet, the fits differ only in whether they enlarge; naming them
    /// alike keeps one picture under one cache key.
    fn effective_fit(&self) -> Fit {
        let fit = self.fit.unwrap_or(Fit::ScaleDown);
        match (self.width, self.height) {
            (Some(_), Some(_)) => fit,
            (None, None) => Fit::ScaleDown,
            _ if fit.enlarges() => Fit::Contain,
            _ => Fit::ScaleDown,
        }
    }
}

/// Stable text for cache keys: every field, always, in one order.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: Option<u32>| side.map_or_else(|| "auto".to_owned(), |n| n.to_string());
        let animation = self.animation.map_or("none", Format::name);
        write!(
            f,
            "width={},height={},fit={},quality={},format={},animation={animation}",
            side(self.width),
            side(self.height),
            self.fit,
            self.quality,
            self.format,
        )
    }
}
