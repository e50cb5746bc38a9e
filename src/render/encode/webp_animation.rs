//! Animated WebP (RFC 9649 §2.7): each frame is the part that changes, put where it belongs.
//!
//! libwebp's own animation encoder, as the `webp` crate has it, keeps every frame in memory until
//! the end and makes the last frame's duration up; this holds one frame, and keeps all durations.

use image::RgbaImage;

use super::{Pixels, RenderError, Size, changes, webp};

/// How hard libwebp works, 0–6. Frames are many, and each is seen for a moment: half the time of
/// what a still picture gets, for a twelfth more bytes.
const METHOD: i32 = 2;

/// The longest that a frame can be seen, in milliseconds: 24 bits.
const MAX_DELAY_MS: u32 = (1 << 24) - 1;

// Flags of VP8X (§2.7.1) and of ANMF (§2.7.1.1).
const ANIMATION: u8 = 0x02;
const ALPHA: u8 = 0x10;
const REPLACE: u8 = 0x02;

/// An animation in the making.
pub(in crate::render) struct WebpAnimation {
    size: Size,
    quality: u8,
    plays: u32,
    shown: Option<RgbaImage>,
    frames: Vec<u8>,
    has_alpha: bool,
}

impl WebpAnimation {
    /// `plays` is how often it is shown, 0 for ever.
    pub(super) fn new(size: Size, quality: u8, plays: u32) -> WebpAnimation {
        WebpAnimation { size, quality, plays, shown: None, frames: Vec::new(), has_alpha: false }
    }

    pub(super) fn push(&mut self, frame: RgbaImage, delay_ms: u32) -> Result<(), RenderError> {
        let part = match &self.shown {
            Some(shown) => changes::changed(shown, &frame).at_even_place(),
            None => changes::Part::all_of(&frame),
        };
        let still = webp(&Pixels::Rgba(part.cut_from(&frame)), self.quality, METHOD)?;
        let picture = picture(&still).ok_or_else(|| RenderError::Encode("libwebp's answer".to_owned()))?;
        self.has_alpha |= frame.pixels().any(|pixel| pixel[3] != u8::MAX);

        let mut data = Vec::with_capacity(picture.len() + 16);
        for value in
            [part.left / 2, part.top / 2, part.width - 1, part.height - 1, delay_ms.min(MAX_DELAY_MS)]
        {
            data.extend(le24(value));
        }
        data.push(REPLACE);
        data.extend(picture);
        append(&mut self.frames, *b"ANMF", &data);
        self.shown = Some(frame);
        Ok(())
    }

    /// Bytes of the frames so far.
    pub(super) fn written(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, RenderError> {
        let mut header = vec![ANIMATION | if self.has_alpha { ALPHA } else { 0 }, 0, 0, 0];
        header.extend(le24(self.size.width - 1));
        header.extend(le24(self.size.height - 1));
        let plays = u16::try_from(self.plays).unwrap_or(u16::MAX).to_le_bytes();

        let mut chunks = b"WEBP".to_vec();
        append(&mut chunks, *b"VP8X", &header);
        append(&mut chunks, *b"ANIM", &[0, 0, 0, 0, plays[0], plays[1]]);
        chunks.extend(self.frames);
        if u32::try_from(chunks.len()).is_err() {
            return Err(RenderError::Encode("the animation is larger than a RIFF file can be".to_owned()));
        }
        let mut file = Vec::with_capacity(chunks.len() + 8);
        append(&mut file, *b"RIFF", &chunks);
        Ok(file)
    }
}

/// The chunks of a still WebP's picture, without the file around them.
fn picture(still: &[u8]) -> Option<&[u8]> {
    let chunks = still.get(12..)?;
    // With alpha there is an extended header before them, of ten bytes (§2.7).
    if chunks.starts_with(b"VP8X") { chunks.get(18..) } else { Some(chunks) }
}

fn append(out: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    out.extend(name);
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(data);
    out.extend(&[0][..data.len() % 2]);
}

fn le24(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}
