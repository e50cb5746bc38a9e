//! Options with every default resolved: what to make, and the text that names it in caches.

use std::{borrow::Cow, fmt, sync::Arc};

use super::{Accepts, Colour, Decimal, Fit, FormatChoice, Gravity, Options, Trim};
use crate::render::{Format, Turn, Watermark};

/// The quality of an answer when none was asked for, 1–100.
///
/// A JPEG needs a few more to look as good as the WebP and the AVIF of that number, and to be as good as what
/// other servers send (`benches/README.md`).
pub const fn default_quality(format: Format) -> u8 {
    match format {
        Format::Jpeg => 84,
        Format::Png | Format::Webp | Format::Gif | Format::Avif => 80,
    }
}

/// Exactly what to make of one source. Requests that must give the same bytes have equal plans.
///
/// The order is that of Cloudflare Images: what is cut off comes first, then the turn, and then
/// width, height, fit and gravity, which speak of the turned picture.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Pixels of the answer, `dpr` applied; free when `None`.
    pub width: Option<u32>,
    /// Pixels of the answer, `dpr` applied; free when `None`.
    pub height: Option<u32>,
    /// How the picture meets the box.
    pub fit: Fit,
    /// Which part is kept; always the centre where the fit cuts nothing off.
    pub gravity: Gravity,
    /// 1–100; always the default for PNG and GIF, where it changes nothing.
    pub quality: u8,
    /// The format of the answer.
    pub format: Format,
    /// The format of the answer when the source turns out to be an animation; without one, its
    /// first frame is shown.
    pub animation: Option<Format>,
    /// Whether the answer becomes a PNG when the source turns out to have an alpha channel, which
    /// nobody chose to lose.
    pub keeps_alpha: bool,
    /// What the picture is laid on; `None` leaves transparency as it is.
    pub background: Option<Colour>,
    /// The radius in pixels of the answer; 0 for none.
    pub blur: u8,
    /// 0 for none, to 10.
    pub sharpen: Decimal,
    /// Flip and rotation in one.
    pub turn: Turn,
    /// What is cut off the upright picture, in its own pixels, `dpr` applied.
    pub trim: Trim,
    /// What is drawn over the finished picture.
    pub watermark: Option<Arc<Watermark>>,
}

impl Options {
    /// Resolves every default for a source of format `source`, which is an animation if it `moves`,
    /// and a client that takes `accepts`.
    pub fn plan(&self, source: Format, moves: bool, accepts: Accepts) -> Plan {
        let moves = moves && self.anim.unwrap_or(true);
        let format = match self.format {
            Some(FormatChoice::Exact(format)) => format,
            // An AVIF would show the first frame alone.
            Some(FormatChoice::Auto) if accepts.avif && !moves => Format::Avif,
            Some(FormatChoice::Auto) if accepts.webp => Format::Webp,
            // What everybody shows.
            Some(FormatChoice::Auto) if source == Format::Avif => Format::Jpeg,
            Some(FormatChoice::Auto) | None => source,
        };
        let is_stopgap = self.varies_by_accept() && format == Format::Jpeg && source == Format::Avif;
        let fit = self.effective_fit();
        let flip = self.flip.map_or(Turn::NONE, super::Flip::turn);
        let trim = self.trim.unwrap_or(Trim::NONE);
        Plan {
            width: self.width.map(|side| self.device_pixels(side)),
            height: self.height.map(|side| self.device_pixels(side)),
            fit,
            gravity: match fit {
                Fit::Cover | Fit::Crop => self.gravity.unwrap_or(Gravity::CENTER),
                _ => Gravity::CENTER,
            },
            quality: match format {
                Format::Jpeg | Format::Webp | Format::Avif => self.quality.unwrap_or(default_quality(format)),
                Format::Png | Format::Gif => default_quality(format),
            },
            format,
            // Nothing where it changes nothing, so that one picture has one cache key.
            animation: Some(format).filter(|format| moves && format.animates()),
            keeps_alpha: is_stopgap && self.effective_background(fit, Format::Png).is_none(),
            background: self.effective_background(fit, format),
            blur: self.blur.unwrap_or(0),
            sharpen: self.sharpen.unwrap_or(Decimal::ZERO),
            turn: flip.then(self.rotate.map_or(Turn::NONE, super::Rotate::turn)),
            trim: self.dpr.map_or(trim, |dpr| trim.times(dpr)),
            watermark: self.watermark.clone(),
        }
    }

    /// What may be answered while [`Options::plan`]'s answer is being made: the best besides AVIF,
    /// where AVIF was not asked for by name.
    pub fn interim(&self, source: Format, moves: bool, accepts: Accepts) -> Option<Plan> {
        let is_slow = self.varies_by_accept() && self.plan(source, moves, accepts).format == Format::Avif;
        is_slow.then(|| self.plan(source, moves, Accepts { avif: false, ..accepts }))
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

    /// White is behind what was asked for without a colour where there must be one, and behind a
    /// colour that shows through where nothing may.
    fn effective_background(&self, fit: Fit, format: Format) -> Option<Colour> {
        let opaque = format == Format::Jpeg;
        match self.background {
            Some(colour) if opaque => Some(colour.over_white()),
            None if opaque || fit == Fit::Pad => Some(Colour::WHITE),
            colour => colour,
        }
    }
}

impl Plan {
    /// This plan for a source that has an alpha channel, or has none.
    pub(in crate::render) fn for_alpha(&self, has_alpha: bool) -> Cow<'_, Plan> {
        if self.keeps_alpha && has_alpha {
            Cow::Owned(Plan { format: Format::Png, background: None, ..self.clone() })
        } else {
            Cow::Borrowed(self)
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
            "width={},height={},fit={},gravity={},quality={},format={},animation={animation},keeps-alpha={},background={},\
             blur={},sharpen={},turn={},trim={},watermark={}",
            side(self.width),
            side(self.height),
            self.fit,
            self.gravity,
            self.quality,
            self.format,
            self.keeps_alpha,
            self.background.map_or_else(|| "none".to_owned(), |colour| colour.to_string()),
            self.blur,
            self.sharpen,
            self.turn,
            self.trim,
            self.watermark.as_ref().map_or("none", |watermark| watermark.fingerprint()),
        )
    }
}
