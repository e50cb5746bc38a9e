//! The option string of a rendition: one parse, one canonical text, one meaning.

use std::{borrow::Cow, fmt, sync::Arc};

mod accepts;
mod catalogue;
mod look;
mod number;
mod place;
mod plan;
mod values;

pub use accepts::Accepts;
pub use catalogue::{Catalogue, CatalogueError};
pub use look::Colour;
pub use number::Decimal;
pub use place::{Flip, Gravity, Rotate, Trim};
pub use plan::{Plan, default_quality};
pub use values::{Fit, FormatChoice};

use super::Watermark;
use values::Fault;

/// The largest width or height that may be asked for, in pixels after `dpr`.
pub const MAX_SIDE: u32 = 8192;

/// How much of a caller's own text an error repeats, in characters.
const MAX_ECHO: usize = 40;

/// Which rendition of an image a path asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rendition {
    /// The uploaded picture in its own format, without metadata.
    Original,
    /// The very bytes that were uploaded.
    Raw,
    /// A picture made to order.
    Variant(Options),
}

impl Rendition {
    /// Reads the options segment of a path, exactly as sent. What it calls by name is looked up in
    /// `catalogue`.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Rendition, BadOptions> {
        match text {
            "original" => Ok(Rendition::Original),
            "raw" => Ok(Rendition::Raw),
            _ => Options::parse(text, catalogue).map(Rendition::Variant),
        }
    }

    /// The one spelling of this rendition: long key names in table order, a preset spelt out.
    pub fn canonical(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rendition::Original => f.write_str("original"),
            Rendition::Raw => f.write_str("raw"),
            Rendition::Variant(options) => options.fmt(f),
        }
    }
}

/// What was asked for, key by key, with nothing resolved yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Pixels before `dpr`.
    pub width: Option<u32>,
    /// Pixels before `dpr`.
    pub height: Option<u32>,
    /// How the picture meets a box of another shape.
    pub fit: Option<Fit>,
    /// Which part of it is kept.
    pub gravity: Option<Gravity>,
    /// 1–100.
    pub quality: Option<u8>,
    /// The format of the answer.
    pub format: Option<FormatChoice>,
    /// Device pixels per asked pixel.
    pub dpr: Option<Decimal>,
    /// What shows where the picture does not.
    pub background: Option<Colour>,
    /// 1–250 pixels of the answer.
    pub blur: Option<u8>,
    /// 0–10.
    pub sharpen: Option<Decimal>,
    /// How far it is turned.
    pub rotate: Option<Rotate>,
    /// How it is mirrored.
    pub flip: Option<Flip>,
    /// What is cut off first.
    pub trim: Option<Trim>,
    /// Whether an animation stays one.
    pub anim: Option<bool>,
    /// What is drawn over it.
    pub watermark: Option<Arc<Watermark>>,
}

impl Options {
    /// A preset alone, or pairs.
    fn parse(text: &str, catalogue: &Catalogue) -> Result<Options, BadOptions> {
        match text.strip_prefix("preset=") {
            Some(name) if !name.contains(',') => {
                catalogue.preset(name).cloned().map_err(|fault| BadOptions::new(text, fault))
            }
            _ => Options::parse_pairs(text, catalogue),
        }
    }

    fn parse_pairs(text: &str, catalogue: &Catalogue) -> Result<Options, BadOptions> {
        let mut options = Options::default();
        for item in text.split(',') {
            let fault = match item.split_once('=') {
                Some((key, value)) => options.set(key, value, catalogue),
                None => Err(Fault::because(
                    "options are `original`, `raw`, `preset=NAME`, or `key=value` pairs separated by commas",
                )),
            };
            fault.map_err(|fault| BadOptions::new(item, fault))?;
        }
        options.check_sides()?;
        Ok(options)
    }

    /// Takes one `key=value`. The short and the long name of a key are the same key.
    fn set(&mut self, key: &str, value: &str, catalogue: &Catalogue) -> Result<(), Fault> {
        match key {
            "width" | "w" => once(&mut self.width, values::side(value)?),
            "height" | "h" => once(&mut self.height, values::side(value)?),
            "fit" => once(&mut self.fit, Fit::parse(value)?),
            "gravity" | "g" => once(&mut self.gravity, Gravity::parse(value)?),
            "quality" | "q" => once(&mut self.quality, values::quality(value)?),
            "format" | "f" => once(&mut self.format, FormatChoice::parse(value)?),
            "dpr" => once(&mut self.dpr, values::dpr(value)?),
            "background" | "bg" => once(&mut self.background, Colour::parse(value)?),
            "blur" => once(&mut self.blur, look::blur(value)?),
            "sharpen" => once(&mut self.sharpen, look::sharpen(value)?),
            "rotate" => once(&mut self.rotate, Rotate::parse(value)?),
            "flip" => once(&mut self.flip, Flip::parse(value)?),
            "trim" => once(&mut self.trim, Trim::parse(value)?),
            "anim" => once(&mut self.anim, look::anim(value)?),
            "watermark" => once(&mut self.watermark, catalogue.watermark(value)?),
            "preset" => Err(Fault::because("a preset stands alone, without other options")),
            _ => Err(Fault::because(
                "the known keys are width (w), height (h), fit, gravity (g), quality (q), format (f), dpr, \
                 background (bg), blur, sharpen, rotate, flip, trim, anim and watermark; or preset, alone",
            )),
        }
    }

    /// The bounds of a side hold after `dpr`, which may come later in the text.
    fn check_sides(&self) -> Result<(), BadOptions> {
        for (key, side) in [("width", self.width), ("height", self.height)] {
            let Some(side) = side else { continue };
            if !(1..=MAX_SIDE).contains(&self.device_pixels(side)) {
                return Err(BadOptions::new(&format!("{key}={side}"), values::SIDE));
            }
        }
        Ok(())
    }

    fn device_pixels(&self, side: u32) -> u32 {
        self.dpr.map_or(side, |dpr| dpr.times(side))
    }

    /// These options at another width, for one entry of a `srcset`.
    pub fn with_width(mut self, width: u32) -> Result<Options, BadOptions> {
        self.width = Some(width);
        self.check_sides()?;
        Ok(self)
    }

    /// Whether the answer depends on the request's `Accept` header.
    pub fn varies_by_accept(&self) -> bool {
        self.format == Some(FormatChoice::Auto)
    }

    /// Whether this is exactly one of `widths` (pixels), with at most `format` besides.
    pub fn is_listed(&self, widths: &[u32]) -> bool {
        let bare = Options { width: self.width, format: self.format, ..Options::default() };
        *self == bare && self.width.is_some_and(|width| widths.contains(&width))
    }
}

/// Fills a slot that must still be empty: a key given twice has no one meaning.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    if slot.replace(value).is_some() {
        return Err(Fault::because("each option may be given once"));
    }
    Ok(())
}

/// The canonical text: long key names, table order, nothing that was not asked for.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut pair = |key: &str, value: Option<&dyn fmt::Display>| {
            let Some(value) = value else { return Ok(()) };
            write!(f, "{separator}{key}={value}")?;
            separator = ",";
            Ok(())
        };
        pair("width", self.width.as_ref().map(|v| v as _))?;
        pair("height", self.height.as_ref().map(|v| v as _))?;
        pair("fit", self.fit.as_ref().map(|v| v as _))?;
        pair("gravity", self.gravity.as_ref().map(|v| v as _))?;
        pair("quality", self.quality.as_ref().map(|v| v as _))?;
        pair("format", self.format.as_ref().map(|v| v as _))?;
        pair("dpr", self.dpr.as_ref().map(|v| v as _))?;
        pair("background", self.background.as_ref().map(|v| v as _))?;
        pair("blur", self.blur.as_ref().map(|v| v as _))?;
        pair("sharpen", self.sharpen.as_ref().map(|v| v as _))?;
        pair("rotate", self.rotate.as_ref().map(|v| v as _))?;
        pair("flip", self.flip.as_ref().map(|v| v as _))?;
        pair("trim", self.trim.as_ref().map(|v| v as _))?;
        pair("anim", self.anim.as_ref().map(|v| v as _))?;
        pair("watermark", self.watermark.as_ref().map(|v| v as _))
    }
}

/// Options that mean nothing here. The text is for the caller's eyes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{option}`: {reason}")]
pub struct BadOptions {
    option: String,
    reason: Cow<'static, str>,
}

impl BadOptions {
    /// Repeats the offending option, cut short and made printable: it is anybody's text.
    fn new(option: &str, fault: Fault) -> BadOptions {
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        BadOptions { option: option.chars().map(printable).take(MAX_ECHO).collect(), reason: fault.reason }
    }
}

#[cfg(test)]
mod tests;
