//! The PNG walker (W3C PNG, third edition, §5 and §11): chunks with names and checksums.

use super::reader::{Reader, length};
use super::{Animation, Size, StripError, Walked, exif};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1A\n";

/// The chunks that decoding, colour and animation need.
const KEPT: [&[u8; 4]; 14] = [
    b"PLTE", b"IDAT", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD", b"pHYs",
    b"acTL", b"fcTL", b"fdAT",
];

/// What any profile is called.
const PROFILE_NAME: &[u8] = b"icc";

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    /// Length, name, data and checksum, as they stand in the file.
    whole: &'a [u8],
}

pub(super) fn walk(source: &[u8]) -> Result<Walked, StripError> {
    let mut input = Reader::new(source);
    if input.array()? != SIGNATURE {
        return Err(StripError::Malformed("it does not start as a PNG"));
    }
    let header = chunk(&mut input)?;
    let canvas = canvas(&header)?;

    let mut orientation = None;
    let mut body = Vec::with_capacity(source.len());
    let mut has_pixels = false;
    let mut announced = None;
    let mut frames = 0_u32;
    let end = loop {
        let chunk = chunk(&mut input)?;
        match &chunk.name {
            b"IEND" => break chunk,
            b"IHDR" => return Err(StripError::Malformed("it has two headers")),
            b"IDAT" => has_pixels = true,
            b"acTL" => {
                let mut control = Reader::new(chunk.data);
                announced = Some((control.be32()?, control.be32()?));
            }
            b"fcTL" => frames += 1,
            b"eXIf" => orientation = orientation.or_else(|| exif::orientation(chunk.data)),
            // An upper-case first letter marks a chunk that decoding cannot do without (§5.4).
            name if name[0].is_ascii_uppercase() && !KEPT.contains(&name) => {
                return Err(StripError::Malformed("it has an unknown critical chunk"));
            }
            _ => {}
        }
        if &chunk.name == b"iCCP" {
            // What a profile is called is nobody's business either (§11.3.2.3). Without an end of that there is none.
            if let Some(end) = chunk.data.iter().position(|byte| *byte == 0) {
                append(&mut body, chunk.name, &[PROFILE_NAME, &chunk.data[end..]].concat());
            }
        } else if KEPT.contains(&&chunk.name) {
            body.extend(chunk.whole);
        }
    };
    if !has_pixels {
        return Err(StripError::Malformed("it holds no picture"));
    }
    let animation = announced.map(|(frames, plays)| Animation { frames, plays });
    if animation.map_or(0, |animation| animation.frames) != frames || animation.is_some() && frames == 0 {
        return Err(StripError::Malformed("its animation miscounts its frames"));
    }

    let mut bytes = Vec::with_capacity(body.len() + 128);
    bytes.extend(SIGNATURE);
    bytes.extend(header.whole);
    if let Some(orientation) = orientation {
        append(&mut bytes, *b"eXIf", &exif::minimal(orientation));
    }
    bytes.append(&mut body);
    bytes.extend(end.whole);
    Ok(Walked { bytes, canvas, animation })
}

fn chunk<'a>(input: &mut Reader<'a>) -> Result<Chunk<'a>, StripError> {
    let from = input.rest();
    let data_len = length(input.be32()?)?;
    let name = input.array()?;
    let data = input.take(data_len)?;
    let checksum = input.be32()?;
    // The checksum covers name and data, not the length.
    if crc32(&from[4..8 + data_len]) != checksum {
        return Err(StripError::Malformed("a chunk's checksum is wrong"));
    }
    Ok(Chunk { name, data, whole: &from[..12 + data_len] })
}

fn canvas(header: &Chunk<'_>) -> Result<Size, StripError> {
    if &header.name != b"IHDR" || header.data.len() != 13 {
        return Err(StripError::Malformed("it does not start with a header"));
    }
    let mut input = Reader::new(header.data);
    let (width, height) = (input.be32()?, input.be32()?);
    if width == 0 || height == 0 {
        return Err(StripError::Malformed("its picture has no size"));
    }
    Ok(Size { width, height })
}

/// Writes a small chunk of our own.
pub(super) fn append(out: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    let start = out.len();
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(name);
    out.extend(data);
    let checksum = crc32(&out[start + 4..]);
    out.extend(checksum.to_be_bytes());
}

/// CRC-32 as PNG's annex D gives it, a byte at a time.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        let mut start = 0_u32;
        while n < 256 {
            let mut c = start;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
                bit += 1;
            }
            table[n] = c;
            n += 1;
            start += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    })
}
