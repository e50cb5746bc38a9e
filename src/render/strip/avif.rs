//! The AVIF walker (AV1 Image File Format 1.1, ISO/IEC 23008-12): keeps every byte in its place, and
//! blanks those that the picture does not need.
//!
//! A file says by offsets where its parts lie. Where nothing moves, no offset has to be rewritten;
//! so what is not on the list below becomes zeros, under the name `free` where it was a box.

use super::{StripError, Walked, icc};

mod boxes;
mod picture;

pub(in crate::render) use picture::{Picture, picture};

use boxes::{Found, Space};

/// What a property may be to stay: sizes, depths, colours and turns. What makes an alpha
/// plane stays too.
const PROPERTIES: [&[u8; 4]; 10] =
    [b"ispe", b"pixi", b"av1C", b"colr", b"pasp", b"irot", b"imir", b"clli", b"mdcv", b"cclv"];

/// A name that readers skip, of a box and of an item alike.
const BLANK: [u8; 4] = *b"free";

pub(super) fn walk(source: &[u8]) -> Result<Walked, StripError> {
    let avif = boxes::read(source)?;
    let picture = avif.picture(source)?;
    let mut bytes = vec![0; avif.end];
    for found in &avif.boxes {
        keep_box(&mut bytes, source, found);
    }
    for item in &avif.items {
        let is_needed = Some(item.id) == Some(avif.primary) || Some(item.id) == avif.alpha();
        if let Some(kind) = item.info {
            keep_item(&mut bytes, source, kind, is_needed);
        }
        if is_needed {
            for extent in &item.extents {
                let place = avif.place(extent)?;
                copy(&mut bytes, source, place.start, place.end);
            }
        }
    }
    Ok(Walked { bytes, canvas: picture.size, animation: None })
}

/// Writes a box's size and name, and of what is in it what is known.
fn keep_box(out: &mut [u8], source: &[u8], found: &Found) {
    copy(out, source, found.start, found.body);
    match &found.name {
        b"ftyp" => copy(out, source, found.body, found.end),
        // Version and flags, something reserved, and that it is about pictures; a name may follow.
        b"hdlr" => copy(out, source, found.body, found.end.min(found.body + 12)),
        b"meta" | b"iprp" | b"ipco" | b"mdat" | b"idat" | b"iinf" | b"infe" | b"pitm" | b"iloc" | b"iref"
        | b"ipma" => copy(out, source, found.body, found.read_to),
        _ if found.space == Space::Alpha => copy(out, source, found.body, found.end),
        b"colr" if !holds_colours(&source[found.body..found.end]) => put(out, found.start + 4, BLANK),
        name if found.space == Space::Property && PROPERTIES.contains(&name) => {
            copy(out, source, found.body, found.end);
        }
        _ => put(out, found.start + 4, BLANK),
    }
}

/// Whether a `colr` is one that [`picture()`] follows (ISO/IEC 14496-12, §12.1.5).
fn holds_colours(colr: &[u8]) -> bool {
    match colr.split_first_chunk() {
        Some((b"prof" | b"rICC", profile)) => icc::is_profile(profile),
        _ => true,
    }
}

/// Keeps an item's kind if it is needed; its name is nobody's business.
fn keep_item(out: &mut [u8], source: &[u8], kind: usize, is_needed: bool) {
    if is_needed {
        copy(out, source, kind, kind + 4);
    } else {
        put(out, kind, BLANK);
    }
}

fn copy(out: &mut [u8], source: &[u8], from: usize, to: usize) {
    if let (Some(out), Some(source)) = (out.get_mut(from..to), source.get(from..to)) {
        out.copy_from_slice(source);
    }
}

fn put(out: &mut [u8], at: usize, name: [u8; 4]) {
    if let Some(out) = out.get_mut(at..at + 4) {
        out.copy_from_slice(&name);
    }
}
