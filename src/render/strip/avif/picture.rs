//! What a file's items and properties make: one picture, upright or to be turned, with its colours.

use image::metadata::Orientation;

use super::super::{Size, StripError, icc, reader::Reader};
use super::boxes::{self, Avif, Item, MALFORMED, version};

/// What makes the picture.
#[derive(Debug)]
pub(in crate::render) struct Picture {
    /// As stored, before any turn.
    pub(in crate::render) size: Size,
    pub(in crate::render) orientation: Orientation,
    /// An AV1 stream of one frame.
    pub(in crate::render) colour: Vec<u8>,
    /// The same of its alpha plane.
    pub(in crate::render) alpha: Option<Vec<u8>>,
    /// Colours were multiplied by alpha.
    pub(in crate::render) premultiplied: bool,
    pub(in crate::render) icc: Option<Vec<u8>>,
    /// Code points of primaries, transfer and matrix (ITU-T H.273), and whether the range is full.
    pub(in crate::render) code_points: Option<([u8; 3], bool)>,
}

/// Reads a file's picture.
pub(in crate::render) fn picture(file: &[u8]) -> Result<Picture, StripError> {
    boxes::read(file)?.picture(file)
}

impl Avif {
    /// Puts the picture together out of its items.
    pub(super) fn picture(&self, file: &[u8]) -> Result<Picture, StripError> {
        let coded = |id: u32| {
            let item =
                self.items.iter().find(|item| item.id == id && item.info.is_some()).ok_or(MALFORMED)?;
            match &item.kind {
                b"av01" => Ok(item),
                b"grid" => Err(StripError::Unsupported("it is put together out of tiles")),
                _ => Err(StripError::Unsupported("it is not coded as AV1")),
            }
        };
        let data = |item: &Item| {
            let mut data = Vec::new();
            for extent in &item.extents {
                let piece = &file[self.place(extent)?];
                // Pieces may overlap, so that a small file could claim to be a large one.
                if data.len() + piece.len() > file.len() {
                    return Err(MALFORMED);
                }
                data.extend(piece);
            }
            one_frame(&data).map(|()| data)
        };
        let item = coded(self.primary)?;
        let mut picture = Picture {
            size: Size { width: 0, height: 0 },
            orientation: Orientation::NoTransforms,
            colour: data(item)?,
            alpha: self.alpha().map(|id| coded(id).and_then(data)).transpose()?,
            premultiplied: self.references.iter().any(|(name, from, to)| {
                name == b"prem" && *from == self.primary && Some(*to) == self.alpha()
            }),
            icc: None,
            code_points: None,
        };
        let (mut turns, mut mirror) = (0, None);
        for found in self.properties_of(item) {
            let mut input = Reader::new(&file[found.body..found.end]);
            match &found.name {
                b"ispe" => {
                    version(&mut input)?;
                    picture.size = Size { width: input.be32()?, height: input.be32()? };
                }
                b"irot" => turns = input.byte()? & 3,
                b"imir" => mirror = Some(input.byte()? & 1),
                b"colr" => match &input.array()? {
                    b"nclx" => {
                        let [_, primaries, _, transfer, _, matrix, range] = input.array()?;
                        picture.code_points = Some(([primaries, transfer, matrix], range & 0x80 != 0));
                    }
                    b"prof" | b"rICC" if icc::is_profile(input.rest()) => {
                        picture.icc = Some(input.rest().to_vec());
                    }
                    _ => {}
                },
                b"clap" => return Err(StripError::Unsupported("it says which part of it to show")),
                b"a1op" | b"lsel" | b"a1lx" => return Err(StripError::Unsupported("it has layers")),
                _ => {}
            }
        }
        if picture.size.width == 0 || picture.size.height == 0 {
            return Err(StripError::Malformed("its picture has no size"));
        }
        picture.orientation = orientation(turns, mirror);
        Ok(picture)
    }
}

/// Quarter turns to the left first, and then a mirror: 0 swaps top and bottom, 1 left and right
/// (ISO/IEC 23008-12, §6.5.10 and §6.5.12).
fn orientation(turns: u8, mirror: Option<u8>) -> Orientation {
    // Swapping top and bottom is half a turn and swapping left and right.
    let turns = if mirror == Some(0) { turns + 2 } else { turns } % 4;
    match (turns, mirror.is_some()) {
        (1, false) => Orientation::Rotate270,
        (2, false) => Orientation::Rotate180,
        (3, false) => Orientation::Rotate90,
        (0, true) => Orientation::FlipHorizontal,
        (1, true) => Orientation::Rotate270FlipH,
        (2, true) => Orientation::FlipVertical,
        (3, true) => Orientation::Rotate90FlipH,
        _ => Orientation::NoTransforms,
    }
}

/// Sees that a stream has one frame (AV1, §5.3): each more would cost as much as a picture.
fn one_frame(stream: &[u8]) -> Result<(), StripError> {
    const FRAME_HEADER: u8 = 3;
    const FRAME: u8 = 6;
    let mut input = Reader::new(stream);
    let mut frames = 0;
    while !input.is_empty() {
        let header = input.byte()?;
        if header & 4 != 0 {
            input.byte()?; // the extension
        }
        let kind = header >> 3 & 15;
        frames += u32::from(kind == FRAME_HEADER || kind == FRAME);
        // Without a size it reaches to the end.
        let len = if header & 2 == 0 { input.rest().len() } else { leb128(&mut input)? };
        input.take(len)?;
    }
    match frames {
        1 => Ok(()),
        0 => Err(StripError::Malformed("it holds no picture")),
        _ => Err(StripError::Unsupported("it has layers")),
    }
}

fn leb128(input: &mut Reader<'_>) -> Result<usize, StripError> {
    let mut value = 0;
    for n in 0..4 {
        let byte = input.byte()?;
        value |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(MALFORMED)
}
