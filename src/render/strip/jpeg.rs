//! The JPEG walker (ITU-T T.81, annex B): markers, segments, and the coded data between them.

use self::scan::{Frame, Scans};
use super::reader::Reader;
use super::{Size, StripError, Walked, exif, icc};

mod scan;

pub(in crate::render) use self::scan::Coding;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;

/// How every file ends that [`walk`] has written.
pub(in crate::render) const END: [u8; 2] = [0xFF, EOI];

/// The JFIF header up to, and without, the size of its thumbnail.
const JFIF_LEN: usize = 12;
/// The Adobe segment as specified; what follows in a longer one is nobody's business.
const ADOBE_LEN: usize = 12;

/// A file may lack its last marker, as long as it ends in coded data. Whether that data is all there
/// is for decoding to find out.
pub(super) fn walk(source: &[u8]) -> Result<Walked, StripError> {
    let mut input = Reader::new(source);
    if input.array()? != [0xFF, SOI] {
        return Err(StripError::Malformed("it does not start as a JPEG"));
    }

    let mut jfif = None;
    let mut orientation = None;
    let mut body = Vec::with_capacity(source.len());
    // Where in the body a profile lies that comes in pieces, and whether it is one.
    let (mut profile, mut is_profile) = (Vec::new(), false);
    let mut scans = None::<Scans>;
    // Tables behind the last scan are for none.
    let mut end = 0;
    while end == 0 || !input.is_empty() {
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
            APP2 if payload.starts_with(b"ICC_PROFILE\0") => {
                // Its number and how many there are (ICC.1:2022, annex B.4).
                is_profile |= matches!(&payload[12..], [1, _, piece @ ..] if icc::is_profile(piece));
                let start = body.len();
                segment(&mut body, marker, &[payload]);
                profile.push(start..body.len());
            }
            APP14 if payload.starts_with(b"Adobe") && payload.len() >= ADOBE_LEN => {
                segment(&mut body, marker, &[&payload[..ADOBE_LEN]]);
            }
            // Every other application segment, comments, and DNL, which can only repeat the height.
            0xE0..=0xEF | 0xFE | 0xDC => {}
            // SOF0–SOF2: baseline, extended and progressive, all Huffman-coded.
            0xC0..=0xC2 => {
                if scans.replace(Scans::of(Frame::read(marker, payload)?)).is_some() {
                    return Err(StripError::Malformed("it has two frame headers"));
                }
                segment(&mut body, marker, &[payload]);
            }
            // The other SOFs, and DAC: lossless, hierarchical or arithmetic coding.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => {
                return Err(StripError::Unsupported("it is coded in a way that is not in use"));
            }
            // DHT, DQT, DRI.
            0xC4 | 0xDB | 0xDD => segment(&mut body, marker, &[payload]),
            SOS => {
                let scans = scans.as_mut();
                let scans = scans.ok_or(StripError::Malformed("a scan comes before its frame header"))?;
                segment(&mut body, marker, &[payload]);
                let (data, coded) = entropy_coded(&mut input);
                scans.add(payload, coded)?;
                body.extend(data);
                end = body.len();
            }
            _ => {
                return Err(StripError::Malformed("it has a marker that does not belong"));
            }
        }
    }
    body.truncate(end);
    if !is_profile {
        for piece in profile.into_iter().rev().filter(|piece| piece.end <= end) {
            body.drain(piece);
        }
    }
    let canvas = scans.ok_or(StripError::Malformed("it holds no picture"))?.finish()?;

    let mut bytes = Vec::with_capacity(body.len() + 64);
    bytes.extend([0xFF, SOI]);
    if let Some(jfif) = jfif {
        segment(&mut bytes, APP0, &[jfif, &[0, 0]]); // a thumbnail of no size
    }
    if let Some(orientation) = orientation {
        segment(&mut bytes, APP1, &[exif::PREFIX, &exif::minimal(orientation)]);
    }
    bytes.append(&mut body);
    bytes.extend(END);
    Ok(Walked { bytes, canvas, animation: None })
}

/// How a picture is coded, by its headers.
pub(in crate::render) fn coding(file: &[u8]) -> Result<Coding, StripError> {
    let mut input = Reader::new(file.get(2..).ok_or(StripError::Truncated)?);
    let mut frame = None;
    loop {
        let marker = marker(&mut input)?;
        let payload = payload(&mut input)?;
        match (marker, frame) {
            (0xC0..=0xC2, None) => frame = Some((marker, payload)),
            (SOS, Some((marker, frame))) => return Coding::read(marker, frame, payload),
            _ => {}
        }
    }
}

/// The next marker's code. Any number of 0xFF may precede it as fill (B.1.1.2); whatever else does is
/// passed over, as by everybody who shows pictures.
fn marker(input: &mut Reader<'_>) -> Result<u8, StripError> {
    let mut last = 0;
    loop {
        match (last, input.byte()?) {
            (0xFF, code @ 0x01..=0xFE) => return Ok(code),
            (_, byte) => last = byte,
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

/// Coded data up to the marker that ends it, or up to the end of a file without one; and how many of
/// its bytes hold code. Inside, 0xFF is followed by zero (a plain 0xFF) or a restart marker; fill
/// before the ending marker is left for [`marker`] to skip.
fn entropy_coded<'a>(input: &mut Reader<'a>) -> (&'a [u8], usize) {
    let data = input.rest();
    let (mut at, mut coded) = (0, 0);
    let end = loop {
        let plain = data[at..].iter().position(|byte| *byte == 0xFF).unwrap_or(data.len() - at);
        (at, coded) = (at + plain, coded + plain);
        let fill = data[at..].iter().take_while(|byte| **byte == 0xFF).count();
        match data.get(at + fill) {
            Some(0x00) => (at, coded) = (at + fill + 1, coded + 1),
            Some(0xD0..=0xD7) => at += fill + 1,
            Some(_) => break at,
            None => {
                *input = Reader::new(&[]);
                return (&data[..at], coded);
            }
        }
    };
    *input = Reader::new(&data[end..]);
    (&data[..end], coded)
}
