//! The GIF walker (specification 89a): blocks by their first byte, data in sub-blocks.

use super::reader::Reader;
use super::{Animation, Size, StripError, Walked};

const IMAGE: u8 = 0x2C;
const EXTENSION: u8 = 0x21;
const TRAILER: u8 = 0x3B;

const PLAIN_TEXT: u8 = 0x01;
const CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

/// The two names under which programs write how often an animation is repeated.
const REPEATS: [&[u8; 11]; 2] = [b"NETSCAPE2.0", b"ANIMEXTS1.0"];

pub(super) fn walk(source: &[u8]) -> Result<Walked, StripError> {
    let mut input = Reader::new(source);
    let signature: [u8; 6] = input.array()?;
    if &signature != b"GIF87a" && &signature != b"GIF89a" {
        return Err(StripError::Malformed("it does not start as a GIF"));
    }
    let [a, b, c, d, flags, background, aspect] = input.array()?;
    let canvas = Size { width: le16(a, b), height: le16(c, d) };
    if canvas.width == 0 || canvas.height == 0 {
        return Err(StripError::Malformed("its picture has no size"));
    }
    let palette = input.take(palette_len(flags))?;

    let mut body = Vec::with_capacity(source.len());
    let mut control = None;
    let mut repeats = None;
    let mut frames = 0_u32;
    loop {
        match input.byte()? {
            IMAGE => {
                // What a control block says holds for the one picture that follows it.
                if let Some(control) = control.take() {
                    body.extend([EXTENSION, CONTROL, 4]);
                    body.extend::<[u8; 4]>(control);
                    body.push(0);
                }
                image(&mut body, &mut input, canvas)?;
                frames += 1;
            }
            EXTENSION => match input.byte()? {
                CONTROL => {
                    control = Some(Reader::new(sub_block(&mut input)?).array()?);
                    skip(&mut input)?;
                }
                APPLICATION => {
                    let name = sub_block(&mut input)?;
                    let data = if name.is_empty() { name } else { sub_block(&mut input)? };
                    if let (true, [1, low, high, ..]) = (REPEATS.iter().any(|known| name == *known), data) {
                        repeats = repeats.or(Some([*low, *high]));
                    }
                    if !data.is_empty() {
                        skip(&mut input)?;
                    }
                }
                label => {
                    // A comment, a text that nobody ever showed, or what is not specified.
                    if label == PLAIN_TEXT {
                        control = None;
                    }
                    skip(&mut input)?;
                }
            },
            TRAILER => break,
            _ => return Err(StripError::Malformed("it has a block that does not belong")),
        }
    }
    if frames == 0 {
        return Err(StripError::Malformed("it holds no picture"));
    }

    let mut bytes = Vec::with_capacity(body.len() + palette.len() + 64);
    bytes.extend(signature);
    bytes.extend([a, b, c, d, flags, background, aspect]);
    bytes.extend(palette);
    if let Some([low, high]) = repeats {
        bytes.extend([EXTENSION, APPLICATION, 11]);
        bytes.extend(REPEATS[0]);
        bytes.extend([3, 1, low, high, 0]);
    }
    bytes.append(&mut body);
    bytes.push(TRAILER);
    let animation = Animation { frames, plays: plays(repeats) };
    Ok(Walked { bytes, canvas, animation: (frames > 1).then_some(animation) })
}

/// What browsers make of it: shown once without a word, else as often as said and once more.
fn plays(repeats: Option<[u8; 2]>) -> u32 {
    match repeats.map(u16::from_le_bytes) {
        None => 1,
        Some(0) => 0,
        Some(repeats) => u32::from(repeats) + 1,
    }
}

/// Copies an image: where it lies, its palette, and its coded pixels. It may reach over the edge, but
/// not be larger than the canvas: the decoder takes memory by its size.
fn image(out: &mut Vec<u8>, input: &mut Reader<'_>, canvas: Size) -> Result<(), StripError> {
    let descriptor: [u8; 9] = input.array()?;
    let [_, _, _, _, a, b, c, d, flags] = descriptor;
    let size = Size { width: le16(a, b), height: le16(c, d) };
    if size.width == 0 || size.height == 0 {
        return Err(StripError::Malformed("a frame has no size"));
    }
    if size.width > canvas.width || size.height > canvas.height {
        return Err(StripError::Malformed("a frame is larger than its picture"));
    }
    out.push(IMAGE);
    out.extend(descriptor);
    out.extend(input.take(palette_len(flags))?);
    out.push(input.byte()?); // the first code's size
    loop {
        let data = sub_block(input)?;
        out.extend(u8::try_from(data.len()));
        out.extend(data);
        if data.is_empty() {
            return Ok(());
        }
    }
}

/// Bytes of the palette that a descriptor's flags announce.
fn palette_len(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Up to 255 bytes behind their number; none ends the data.
fn sub_block<'a>(input: &mut Reader<'a>) -> Result<&'a [u8], StripError> {
    let len = input.byte()?;
    input.take(len.into())
}

fn skip(input: &mut Reader<'_>) -> Result<(), StripError> {
    while !sub_block(input)?.is_empty() {}
    Ok(())
}

fn le16(low: u8, high: u8) -> u32 {
    u16::from_le_bytes([low, high]).into()
}
