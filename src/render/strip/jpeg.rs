//! The JPEG walker (ITU-T T.81, annex B): markers, segments, and the coded data between them.

use super::reader::Reader;
use super::{Size, StripError, Walked, exif};

const PROGRESSIVE: u8 = 0xC2; // SOF2
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;

/// Ten scans are usual. A scan costs a walk over all coefficients, however few bytes it has.
const MAX_SCANS: u32 = 100;
/// The JFIF header up to, and without, the size of its thumbnail.
const JFIF_LEN: usize = 12;
/// The Adobe segment as specified; what follows in a longer one is nobody's business.
const ADOBE_LEN: usize = 12;

pub(super) fn walk(source: &[u8]) -> Result<Walked, StripError> {
    let mut input = Reader::new(source);
    if input.array()? != [0xFF, SOI] {
        return Err(StripError::Malformed("it does not start as a JPEG"));
    }

    let mut jfif = None;
    let mut orientation = None;
    let mut body = Vec::with_capacity(source.len());
    let mut frame = None::<Frame>;
    let mut scans = 0_u32;
    loop {
        let marker = marker(&mut input)?;
        if marker == EOI {
            break;
        }
        let payload = payload(&mut input)?;
        match marker {
            APP0 if payload.starts_with(b"JFIF\0") && payload.len() >= JFIF_LEN => {
                jfif.get_or_insert(&payload[..JFIF_LEN]);
            }
            APP1 if payload.starts_with(exif::PREFIX) => {
                orientation = orientation.or_else(|| exif::orientation(payload));
            }
            APP2 if payload.starts_with(b"ICC_PROFILE\0") => segment(&mut body, marker, &[payload]),
            APP14 if payload.starts_with(b"Adobe") && payload.len() >= ADOBE_LEN => {
                segment(&mut body, marker, &[&payload[..ADOBE_LEN]]);
            }
            // Every other application segment, and comments.
            0xE0..=0xEF | 0xFE => {}
            // SOF0–SOF2: baseline, extended and progressive, all Huffman-coded.
            0xC0..=0xC2 => {
                if frame.replace(Frame::read(marker, payload)?).is_some() {
                    return Err(StripError::Malformed("it has two frame headers"));
                }
                segment(&mut body, marker, &[payload]);
            }
            // The other SOFs, and DAC: lossless, hierarchical or arithmetic coding.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => {
                return Err(StripError::Unsupported("it is coded in a way that is not in use"));
            }
            // DHT, DQT, DNL, DRI.
            0xC4 | 0xDB..=0xDD => segment(&mut body, marker, &[payload]),
            SOS => {
                check_scan(frame.as_ref(), payload)?;
                if scans == MAX_SCANS {
                    return Err(StripError::Unsupported("it has more scans than any picture needs"));
                }
                segment(&mut body, marker, &[payload]);
                body.extend(entropy_coded(&mut input)?);
                scans += 1;
            }
            _ => {
                return Err(StripError::Malformed("it has a marker that does not belong"));
            }
        }
    }
    let (Some(frame), 1..) = (frame, scans) else {
        return Err(StripError::Malformed("it holds no picture"));
    };

    let mut bytes = Vec::with_capacity(body.len() + 64);
    bytes.extend([0xFF, SOI]);
    if let Some(jfif) = jfif {
        segment(&mut bytes, APP0, &[jfif, &[0, 0]]); // a thumbnail of no size
    }
    if let Some(orientation) = orientation {
        segment(&mut bytes, APP1, &[exif::PREFIX, &exif::minimal(orientation)]);
    }
    bytes.append(&mut body);
    bytes.extend([0xFF, EOI]);
    Ok(Walked { bytes, canvas: frame.size, animation: None })
}

/// The next marker's code. Any number of 0xFF may precede it as fill (B.1.1.2).
fn marker(input: &mut Reader<'_>) -> Result<u8, StripError> {
    if input.byte()? != 0xFF {
        return Err(StripError::Malformed("a marker is missing"));
    }
    loop {
        match input.byte()? {
            0xFF => {}
            code => return Ok(code),
        }
    }
}

/// What a segment holds; its length field counts itself.
fn payload<'a>(input: &mut Reader<'a>) -> Result<&'a [u8], StripError> {
    let length = usize::from(input.be16()?)
        .checked_sub(2)
        .ok_or(StripError::Malformed("a segment is shorter than possible"))?;
    input.take(length)
}

/// Writes a segment that is no longer than one that was read.
fn segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend([0xFF, marker]);
    out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(parts.concat());
}

/// What a frame header (B.2.2) says that matters here.
struct Frame {
    size: Size,
    components: u8,
    sequential: bool,
}

impl Frame {
    fn read(marker: u8, payload: &[u8]) -> Result<Frame, StripError> {
        let mut input = Reader::new(payload);
        let _precision = input.byte()?;
        let height = u32::from(input.be16()?);
        let width = u32::from(input.be16()?);
        if width == 0 || height == 0 {
            return Err(StripError::Malformed("its picture has no size"));
        }
        Ok(Frame {
            size: Size { width, height },
            components: input.byte()?,
            sequential: marker != PROGRESSIVE,
        })
    }
}

/// Refuses what the decoder shows wrong without an error: a sequential picture whose components
/// come in scans of their own, as of zune-jpeg 0.5.15 (zune-image issue 422; mended upstream in
/// pull request 421, so this can go once a release has it).
fn check_scan(frame: Option<&Frame>, payload: &[u8]) -> Result<(), StripError> {
    let Some(frame) = frame else {
        return Err(StripError::Malformed("a scan comes before its frame header"));
    };
    let components = Reader::new(payload).byte()?;
    if frame.sequential && components != frame.components {
        return Err(StripError::Unsupported("its colours are coded apart"));
    }
    Ok(())
}

/// Coded data up to the marker that ends it. Inside, 0xFF is followed by zero (a plain 0xFF) or
/// a restart marker; fill before the ending marker is left for [`marker`] to skip.
fn entropy_coded<'a>(input: &mut Reader<'a>) -> Result<&'a [u8], StripError> {
    let data = input.rest();
    let mut at = 0;
    loop {
        at += data[at..].iter().position(|byte| *byte == 0xFF).ok_or(StripError::Truncated)?;
        let fill = data[at..].iter().take_while(|byte| **byte == 0xFF).count();
        match data.get(at + fill) {
            Some(0x00 | 0xD0..=0xD7) => at += fill + 1,
            Some(_) => return input.take(at),
            None => return Err(StripError::Truncated),
        }
    }
}
