//! GIF, still and animated: palettes, transparency, and which part of a frame is drawn.

use std::collections::BTreeMap;

use color_quant::NeuQuant;
use gif::{DisposalMethod, Encoder, Frame, Repeat};
use image::{Rgba, RgbaImage};

use super::changes::{self, Part};
use super::{RenderError, Size};

/// A pixel is either seen or not: from this alpha on it is.
const OPAQUE_FROM: u8 = 128;
/// Colours of one frame; the last of the 256 places is for what is transparent.
const MAX_COLOURS: usize = 255;
const TRANSPARENT: u8 = 255;
/// Pixels that the quantiser learns from; more cost time and gain nothing that is seen.
const LEARNT_PIXELS: usize = 20_000;
/// Of how many pixels it may look at one, at most.
const MAX_STEP: usize = 30;

/// A GIF in the making. A frame is held back until the next one says what has to become of it.
pub(in crate::render) struct Gif {
    encoder: Encoder<Vec<u8>>,
    held: Option<Held>,
    /// Milliseconds that rounding to hundredths of a second owes to the frames to come.
    owed_ms: u32,
}

struct Held {
    frame: RgbaImage,
    /// What is seen before this frame; nothing when `None`.
    before: Option<RgbaImage>,
    delay_cs: u16,
}

impl Gif {
    /// `plays` is how often it is shown, 0 for ever.
    pub(super) fn new(size: Size, plays: u32) -> Result<Gif, RenderError> {
        let side = |side| u16::try_from(side).map_err(|error| failed(&error));
        let mut encoder = Encoder::new(Vec::new(), side(size.width)?, side(size.height)?, &[])
            .map_err(|error| failed(&error))?;
        // GIF counts what comes after the first time; once is the absence of a word.
        let repeat = match plays {
            0 => Some(Repeat::Infinite),
            1 => None,
            plays => Some(Repeat::Finite(u16::try_from(plays - 1).unwrap_or(u16::MAX))),
        };
        if let Some(repeat) = repeat {
            encoder.set_repeat(repeat).map_err(|error| failed(&error))?;
        }
        Ok(Gif { encoder, held: None, owed_ms: 0 })
    }

    pub(super) fn push(&mut self, mut frame: RgbaImage, delay_ms: u32) -> Result<(), RenderError> {
        for pixel in frame.pixels_mut() {
            *pixel = if pixel[3] < OPAQUE_FROM {
                Rgba([0; 4])
            } else {
                Rgba([pixel[0], pixel[1], pixel[2], u8::MAX])
            };
        }
        let delay_ms = delay_ms.saturating_add(self.owed_ms);
        let delay_cs = u16::try_from(delay_ms / 10).unwrap_or(u16::MAX);
        self.owed_ms = delay_ms % 10;

        let mut before = None;
        if let Some(held) = self.held.take() {
            // Nothing that is drawn makes a pixel transparent again; only wiping everything does.
            if uncovers(&held.frame, &frame) {
                self.write(&held, DisposalMethod::Background)?;
            } else {
                self.write(&held, DisposalMethod::Keep)?;
                before = Some(held.frame);
            }
        }
        self.held = Some(Held { frame, before, delay_cs });
        Ok(())
    }

    /// Bytes of the file so far.
    pub(super) fn written(&self) -> usize {
        self.encoder.get_ref().len()
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, RenderError> {
        if let Some(held) = self.held.take() {
            self.write(&held, DisposalMethod::Keep)?;
        }
        self.encoder.into_inner().map_err(|error| failed(&error))
    }

    fn write(&mut self, held: &Held, dispose: DisposalMethod) -> Result<(), RenderError> {
        // What is wiped is the part that was drawn, so it has to be all.
        let part = match &held.before {
            Some(before) if dispose == DisposalMethod::Keep => changes::changed(before, &held.frame),
            _ => Part::all_of(&held.frame),
        };
        let mut drawn = part.cut_from(&held.frame);
        if let Some(before) = &held.before {
            // What stays as it was is left out, which packs better.
            for (x, y, pixel) in drawn.enumerate_pixels_mut() {
                if before.get_pixel(part.left + x, part.top + y) == pixel {
                    *pixel = Rgba([0; 4]);
                }
            }
        }
        let side = |side| u16::try_from(side).map_err(|error| failed(&error));
        let (palette, indices) = indexed(&drawn);
        // Some wipe to a background that shows, unless the frame knows what transparent is.
        let has_holes = dispose == DisposalMethod::Background || indices.contains(&TRANSPARENT);
        let transparent = has_holes.then_some(TRANSPARENT);
        self.encoder
            .write_frame(&Frame {
                delay: held.delay_cs,
                dispose,
                transparent,
                top: side(part.top)?,
                left: side(part.left)?,
                width: side(part.width)?,
                height: side(part.height)?,
                palette: Some(palette),
                buffer: indices.into(),
                ..Frame::default()
            })
            .map_err(|error| failed(&error))
    }
}

/// Whether a pixel that is seen in `before` is not in `after`.
fn uncovers(before: &RgbaImage, after: &RgbaImage) -> bool {
    before.pixels().zip(after.pixels()).any(|(before, after)| before[3] > after[3])
}

/// A palette of red, green and blue for up to 256 places, and the place of every pixel.
///
/// Up to 255 colours are kept exactly. The quantiser sees only what is opaque: it would blend the
/// transparent into dark colours, and holes would show.
fn indexed(picture: &RgbaImage) -> (Vec<u8>, Vec<u8>) {
    let opaque = || picture.pixels().filter(|pixel| pixel[3] == u8::MAX);
    let mut exact = BTreeMap::new();
    for pixel in opaque() {
        exact.insert(pixel.0, 0_u8);
        if exact.len() > MAX_COLOURS {
            break;
        }
    }
    let mut palette = Vec::with_capacity((MAX_COLOURS + 1) * 3);
    let indices = if exact.len() > MAX_COLOURS {
        let seen: Vec<u8> = opaque().flat_map(|pixel| pixel.0).collect();
        let step = (seen.len() / 4 / LEARNT_PIXELS).clamp(1, MAX_STEP);
        let quantiser = NeuQuant::new(i32::try_from(step).unwrap_or(1), MAX_COLOURS, &seen);
        palette.extend(quantiser.color_map_rgb());
        places(picture, |pixel| u8::try_from(quantiser.index_of(pixel)).unwrap_or(0))
    } else {
        for (index, (colour, place)) in (0..=u8::MAX).zip(exact.iter_mut()) {
            *place = index;
            palette.extend(&colour[..3]);
        }
        places(picture, |pixel| exact.get(pixel).copied().unwrap_or(0))
    };
    palette.resize((MAX_COLOURS + 1) * 3, 0);
    (palette, indices)
}

fn places(picture: &RgbaImage, place: impl Fn(&[u8]) -> u8) -> Vec<u8> {
    picture.pixels().map(|pixel| if pixel[3] == 0 { TRANSPARENT } else { place(&pixel.0) }).collect()
}

fn failed(error: &dyn std::error::Error) -> RenderError {
    RenderError::Encode(error.to_string())
}
