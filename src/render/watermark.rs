//! Watermarks: pictures that are laid over finished answers.

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use image::RgbaImage;
use sha2::{Digest as _, Sha256};

use super::canvas::{blend, over, with_alpha};
use super::decode::{Pixels, Source};
use super::geometry::{self, everything};
use super::options::Decimal;
use super::{Format, Limits, RenderError, Size, resize, transform};

/// The largest watermark, in pixels: it is held in memory for as long as the program runs.
const MAX_PIXELS: u64 = 4_000_000;

/// Bytes of the hash that tells two watermarks of one name apart.
const FINGERPRINT_BYTES: usize = 9;

/// A picture to lay over others, decoded and ready. Two are equal when they leave the same mark.
#[derive(Clone)]
pub struct Watermark {
    name: String,
    image: RgbaImage,
    settings: WatermarkSettings,
    fingerprint: String,
}

/// How a watermark is laid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatermarkSettings {
    /// Where.
    position: Position,
    /// How much of it is seen, above 0 and to 1.
    opacity: Decimal,
    /// The part of the answer's width and height that it may fill, above 0 and to 1.
    scale: Decimal,
}

impl Default for WatermarkSettings {
    /// In the bottom right corner, opaque, a quarter of the answer's sides.
    fn default() -> WatermarkSettings {
        WatermarkSettings {
            position: Position { x: 2, y: 2 },
            opacity: Decimal::ONE,
            scale: Decimal::QUARTER,
        }
    }
}

/// One of nine places in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// Halves of the free width on its left: 0 to 2.
    x: u8,
    /// Halves of the free height above it: 0 to 2.
    y: u8,
}

/// Why a watermark cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// The position has another name.
    #[error(
        "position must be center, left, right, top, bottom, top-left, top-right, bottom-left or bottom-right"
    )]
    Position,
    /// The opacity is out of range.
    #[error("opacity must be a number above 0 and up to 1, with at most four decimals")]
    Opacity,
    /// The scale is out of range.
    #[error("scale must be a number above 0 and up to 1, with at most four decimals")]
    Scale,
    /// The file is of no known format.
    #[error("the file is not an image that is read here; use a PNG, WebP or JPEG")]
    Unknown,
    /// The file is damaged, or larger than a watermark may be.
    #[error("the file cannot be used: {0}")]
    Unusable(#[from] RenderError),
}

impl WatermarkSettings {
    /// Reads settings as the operator writes them; what is not there keeps its default.
    pub fn parse(
        position: Option<&str>,
        opacity: Option<&str>,
        scale: Option<&str>,
    ) -> Result<WatermarkSettings, WatermarkError> {
        let part = |text| Decimal::parse(text).filter(|part| (Decimal::LEAST..=Decimal::ONE).contains(part));
        let mut settings = WatermarkSettings::default();
        if let Some(position) = position {
            settings.position = Position::parse(position).ok_or(WatermarkError::Position)?;
        }
        if let Some(opacity) = opacity {
            settings.opacity = part(opacity).ok_or(WatermarkError::Opacity)?;
        }
        if let Some(scale) = scale {
            settings.scale = part(scale).ok_or(WatermarkError::Scale)?;
        }
        Ok(settings)
    }
}

impl Position {
    fn parse(name: &str) -> Option<Position> {
        let (x, y) = match name {
            "top-left" => (0, 0),
            "top" => (1, 0),
            "top-right" => (2, 0),
            "left" => (0, 1),
            "center" => (1, 1),
            "right" => (2, 1),
            "bottom-left" => (0, 2),
            "bottom" => (1, 2),
            "bottom-right" => (2, 2),
            _ => return None,
        };
        Some(Position { x, y })
    }
}

impl Watermark {
    /// Decodes a watermark from a file's bytes: upright, sRGB, the first frame.
    pub fn new(name: &str, file: &[u8], settings: WatermarkSettings) -> Result<Watermark, WatermarkError> {
        let format = Format::sniff(file).ok_or(WatermarkError::Unknown)?;
        let limits = Limits { max_pixels: MAX_PIXELS, ..Limits::default() };
        let source = Source::open(file, format, &limits)?;
        let look = source.look.clone();
        let image = with_alpha(transform::upright(source.pixels()?, &look));

        let hash = Sha256::new().chain_update(file).chain_update(format!("{settings:?}")).finalize();
        let hash = URL_SAFE_NO_PAD.encode(&hash[..FINGERPRINT_BYTES]);
        Ok(Watermark { name: name.to_owned(), image, settings, fingerprint: format!("{name}:{hash}") })
    }

    /// The name, and what tells this watermark from another that had the same name.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How many pixels it has.
    pub(super) fn pixels(&self) -> u64 {
        let (width, height) = self.image.dimensions();
        Size { width, height }.pixels()
    }

    /// Draws the watermark on a picture. It is as large as fits into its part of the picture.
    pub(super) fn draw(&self, pixels: &mut Pixels) -> Result<(), RenderError> {
        let Size { width, height } = pixels.size();
        let (mark_width, mark_height) = self.image.dimensions();
        let whole = Size { width: mark_width, height: mark_height };
        let scale = self.settings.scale;
        let room = Size { width: scale.times(width).max(1), height: scale.times(height).max(1) };
        let size = geometry::contain(whole, room);
        let mark = Pixels::Rgba(self.image.clone());
        let mark = with_alpha(resize::resize(mark, everything(whole), everything(whole), size)?);

        let half = |free: u32, halves: u8| free * u32::from(halves) / 2;
        let left = half(width - size.width, self.settings.position.x);
        let top = half(height - size.height, self.settings.position.y);
        for (x, y, mark) in mark.enumerate_pixels() {
            let [r, g, b, alpha] = mark.0;
            let alpha = u8::try_from(self.settings.opacity.times(alpha.into())).unwrap_or(u8::MAX);
            match pixels {
                Pixels::Rgb(image) => {
                    let below = &mut image.get_pixel_mut(left + x, top + y).0;
                    *below =
                        [blend(r, below[0], alpha), blend(g, below[1], alpha), blend(b, below[2], alpha)];
                }
                Pixels::Rgba(image) => {
                    let below = &mut image.get_pixel_mut(left + x, top + y).0;
                    *below = over([r, g, b, alpha], *below);
                }
            }
        }
        Ok(())
    }
}

/// The name alone, as option strings have it.
impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watermark").field(&self.fingerprint).finish()
    }
}

impl PartialEq for Watermark {
    fn eq(&self, other: &Watermark) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Watermark {}

impl Hash for Watermark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

#[cfg(test)]
mod tests;
