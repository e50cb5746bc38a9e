//! The WebP walker (RFC 9649): RIFF chunks, some of them inside frames.

use super::reader::{Reader, length};
use super::{Animation, Size, StripError, Walked, exif, icc};

// Flags of VP8X (§2.7.1). EXIF's is set only for the block that is written here; XMP's never.
const ICC: u8 = 0x20;
const ALPHA: u8 = 0x10;
const EXIF: u8 = 0x08;
const ANIMATION: u8 = 0x02;

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
}

pub(super) fn walk(source: &[u8]) -> Result<Walked, StripError> {
    let mut input = Reader::new(source);
    if &input.array()? != b"RIFF" {
        return Err(StripError::Malformed("it does not start as a WebP"));
    }
    let riff_len = length(input.le32()?)?;
    // What follows the RIFF chunk is no part of the file.
    let mut riff = Reader::new(input.take(riff_len)?);
    if &riff.array()? != b"WEBP" {
        return Err(StripError::Malformed("it does not start as a WebP"));
    }
    let first = chunk(&mut riff)?;
    match &first.name {
        b"VP8X" => extended(&first, riff),
        b"VP8 " | b"VP8L" => simple(&first, riff),
        _ => Err(StripError::Malformed("it does not start with a picture")),
    }
}

/// One picture and nothing else; what follows it is skipped as the standard says.
fn simple(picture: &Chunk<'_>, mut rest: Reader<'_>) -> Result<Walked, StripError> {
    while !rest.is_empty() {
        chunk(&mut rest)?;
    }
    let mut body = Vec::with_capacity(picture.data.len() + 16);
    append(&mut body, picture.name, picture.data);
    Ok(Walked { bytes: file(&body)?, canvas: picture_size(picture)?, animation: None })
}

fn extended(header: &Chunk<'_>, mut rest: Reader<'_>) -> Result<Walked, StripError> {
    let mut input = Reader::new(header.data);
    let [flags, _, _, _] = input.array()?;
    let canvas = Size { width: input.le24()? + 1, height: input.le24()? + 1 };
    let animated = flags & ANIMATION != 0;

    let mut kept_flags = flags & (ALPHA | ANIMATION);
    let mut body = Vec::with_capacity(rest.rest().len());
    let mut orientation = None;
    let mut pictures = 0_u32;
    let mut frames = 0_u32;
    let mut plays = 0;
    while !rest.is_empty() {
        let chunk = chunk(&mut rest)?;
        match &chunk.name {
            b"ICCP" if kept_flags & ICC == 0 && icc::is_profile(chunk.data) => {
                kept_flags |= ICC;
                append(&mut body, chunk.name, chunk.data);
            }
            b"ANIM" if animated => {
                let control = Reader::new(chunk.data).array::<6>()?;
                plays = u16::from_le_bytes([control[4], control[5]]);
                append(&mut body, chunk.name, &control);
            }
            b"ANMF" if animated => {
                append(&mut body, chunk.name, &frame(chunk.data, canvas)?);
                frames += 1;
            }
            b"ALPH" | b"VP8 " | b"VP8L" if !animated => {
                pictures += part(&mut body, &chunk, canvas)?;
            }
            b"ALPH" | b"VP8 " | b"VP8L" | b"ANIM" | b"ANMF" => {
                return Err(StripError::Malformed("it is half an animation"));
            }
            b"EXIF" => orientation = orientation.or_else(|| exif::orientation(chunk.data)),
            _ => {}
        }
    }
    match (animated, pictures, frames) {
        (true, _, 1..) | (false, 1, _) => {}
        _ => return Err(StripError::Malformed("it does not hold one picture")),
    }

    if let Some(orientation) = orientation {
        kept_flags |= EXIF;
        append(&mut body, *b"EXIF", &exif::minimal(orientation));
    }
    let mut chunks = Vec::with_capacity(body.len() + 18);
    let mut own_header = vec![kept_flags, 0, 0, 0];
    own_header.extend(&header.data[4..10]); // the canvas, which was read above
    append(&mut chunks, *b"VP8X", &own_header);
    chunks.append(&mut body);
    let animation = animated.then(|| Animation { frames, plays: plays.into() });
    Ok(Walked { bytes: file(&chunks)?, canvas, animation })
}

/// An animation frame (§2.7.1.1): where it goes, and the one picture that is shown there.
fn frame(data: &[u8], canvas: Size) -> Result<Vec<u8>, StripError> {
    let mut input = Reader::new(data);
    let mut kept = input.take(16)?.to_vec();
    let mut header = Reader::new(&kept);
    let (left, top) = (header.le24()? * 2, header.le24()? * 2);
    let size = Size { width: header.le24()? + 1, height: header.le24()? + 1 };
    if left + size.width > canvas.width || top + size.height > canvas.height {
        return Err(StripError::Malformed("a frame lies outside its picture"));
    }
    let mut pictures = 0;
    while !input.is_empty() {
        pictures += part(&mut kept, &chunk(&mut input)?, size)?;
    }
    if pictures != 1 {
        return Err(StripError::Malformed("a frame does not hold one picture"));
    }
    Ok(kept)
}

/// Keeps a chunk that is part of a picture of `size`; says how many pictures that makes.
fn part(out: &mut Vec<u8>, chunk: &Chunk<'_>, size: Size) -> Result<u32, StripError> {
    let is_picture = match &chunk.name {
        b"ALPH" => false,
        b"VP8 " | b"VP8L" => true,
        _ => return Ok(0),
    };
    // The decoder takes memory by the inner size before it compares it with the outer one.
    if is_picture && picture_size(chunk)? != size {
        return Err(StripError::Malformed("its sizes contradict each other"));
    }
    append(out, chunk.name, chunk.data);
    Ok(u32::from(is_picture))
}

/// The size that the coded picture itself claims: RFC 6386 §9.1 for VP8, RFC 9649 §3.4 for VP8L.
fn picture_size(chunk: &Chunk<'_>) -> Result<Size, StripError> {
    let mut input = Reader::new(chunk.data);
    let size = if &chunk.name == b"VP8 " {
        let [tag, _, _] = input.array()?;
        let is_key_frame = tag & 1 == 0;
        if !is_key_frame || input.array()? != [0x9D, 0x01, 0x2A] {
            return Err(StripError::Malformed("its picture has no header"));
        }
        Size { width: u32::from(input.le16()? & 0x3FFF), height: u32::from(input.le16()? & 0x3FFF) }
    } else {
        if input.byte()? != 0x2F {
            return Err(StripError::Malformed("its picture has no header"));
        }
        let bits = input.le32()?;
        Size { width: (bits & 0x3FFF) + 1, height: (bits >> 14 & 0x3FFF) + 1 }
    };
    if size.width == 0 || size.height == 0 {
        return Err(StripError::Malformed("its picture has no size"));
    }
    Ok(size)
}

/// A chunk's name and data; an odd length is followed by one byte of padding.
fn chunk<'a>(input: &mut Reader<'a>) -> Result<Chunk<'a>, StripError> {
    let name = input.array()?;
    let len = length(input.le32()?)?;
    let data = input.take(len)?;
    input.take(len % 2)?;
    Ok(Chunk { name, data })
}

fn append(out: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    out.extend(name);
    // Nothing here is longer than what a 32-bit length described when it was read.
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(data);
    out.extend(&[0][..data.len() % 2]);
}

fn file(chunks: &[u8]) -> Result<Vec<u8>, StripError> {
    let riff_len = u32::try_from(chunks.len() + 4)
        .map_err(|_| StripError::Malformed("it is larger than a RIFF file can be"))?;
    let mut bytes = Vec::with_capacity(chunks.len() + 12);
    bytes.extend(b"RIFF");
    bytes.extend(riff_len.to_le_bytes());
    bytes.extend(b"WEBP");
    bytes.extend(chunks);
    Ok(bytes)
}
