//! AVIF's boxes (ISO/IEC 14496-12) and items (ISO/IEC 23008-12): where everything lies.

use std::ops::Range;

use super::super::{StripError, reader::Reader};

/// A picture has one item or two; a camera adds some for metadata and previews.
const MAX_ITEMS: usize = 256;
/// Pieces that an item may lie in.
const MAX_EXTENTS: usize = 64;
/// Boxes in a file, items' and properties' included.
const MAX_BOXES: usize = 2_048;

/// How an alpha plane is called (ISO/IEC 23000-22, §7.3.5.2), today and of old.
const ALPHA: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];

pub(super) const MALFORMED: StripError = StripError::Malformed("its boxes contradict each other");

/// Where a box lies, in bytes from the start of the file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: [u8; 4],
    pub(super) start: usize,
    pub(super) body: usize,
    pub(super) end: usize,
    /// How far its own fields reach; what is behind them is unknown, or boxes of its own.
    pub(super) read_to: usize,
    pub(super) space: Space,
}

/// What kind of thing a box's name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Part,
    Property,
    /// The property that makes an item an alpha plane.
    Alpha,
}

/// An item: a coded picture, or something said of one.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) id: u32,
    pub(super) kind: [u8; 4],
    /// Where its kind stands in the file; nowhere for what is spoken of and not there.
    pub(super) info: Option<usize>,
    pub(super) extents: Vec<Extent>,
    /// Places in the list of properties.
    properties: Vec<usize>,
}

/// A piece of an item's data.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    in_idat: bool,
    offset: usize,
    len: usize,
}

/// A file read from its first box to its last.
#[derive(Debug)]
pub(super) struct Avif {
    pub(super) boxes: Vec<Found>,
    pub(super) items: Vec<Item>,
    pub(super) primary: u32,
    /// Where the last box ends.
    pub(super) end: usize,
    /// Places in `boxes`.
    properties: Vec<usize>,
    idat: Option<Range<usize>>,
    /// What is in the boxes that items' data lies in.
    data: Vec<Range<usize>>,
    /// From, to: of each reference by its name.
    pub(super) references: Vec<([u8; 4], u32, u32)>,
}

pub(super) fn read(file: &[u8]) -> Result<Avif, StripError> {
    let mut avif = Avif {
        boxes: Vec::new(),
        items: Vec::new(),
        primary: 0,
        end: 0,
        properties: Vec::new(),
        idat: None,
        data: Vec::new(),
        references: Vec::new(),
    };
    let mut has_meta = false;
    while avif.end < file.len() {
        let at = avif.end;
        let found = match next(file, at, file.len()) {
            Ok(found) => found,
            // Behind the picture, what is no box is no part of the file.
            Err(_) if has_meta => break,
            Err(error) => return Err(error),
        };
        if (at == 0) != (&found.name == b"ftyp") {
            return Err(StripError::Malformed("it does not start as an AVIF"));
        }
        avif.end = found.end;
        match &found.name {
            b"moov" => return Err(StripError::Unsupported("it is an animation, which WebP and GIF may be")),
            b"meta" if has_meta => return Err(MALFORMED),
            b"meta" => {
                has_meta = true;
                let children = found.body + 4;
                avif.push(Found { read_to: children, ..found.clone() })?;
                avif.read_meta(file, children, found.end)?;
            }
            b"mdat" => {
                avif.data.push(found.body..found.end);
                avif.push(found)?;
            }
            _ => avif.push(found)?,
        }
    }
    if !has_meta {
        return Err(StripError::Truncated);
    }
    Ok(avif)
}

impl Avif {
    fn push(&mut self, found: Found) -> Result<(), StripError> {
        if self.boxes.len() == MAX_BOXES {
            return Err(StripError::Unsupported("it has more boxes than any picture needs"));
        }
        self.boxes.push(found);
        Ok(())
    }

    fn read_meta(&mut self, file: &[u8], mut at: usize, end: usize) -> Result<(), StripError> {
        while at < end {
            let found = next(file, at, end)?;
            at = found.end;
            let mut input = Reader::new(&file[found.body..found.end]);
            match &found.name {
                b"pitm" => {
                    let version = version(&mut input)?.0;
                    self.primary = number(&mut input, version > 0)?;
                }
                b"iinf" => {
                    let count_len = if version(&mut input)?.0 == 0 { 2 } else { 4 };
                    let children = found.body + 4 + count_len;
                    self.push(Found { read_to: children, ..found.clone() })?;
                    self.read_infos(file, children, found.end)?;
                    continue;
                }
                b"iprp" => {
                    self.push(found.clone())?;
                    self.read_properties(file, found.body, found.end)?;
                    continue;
                }
                b"iloc" => self.read_places(&mut input)?,
                b"iref" => self.read_references(&mut input)?,
                b"idat" => {
                    self.idat = Some(found.body..found.end);
                    self.push(found)?;
                    continue;
                }
                _ => {
                    self.push(found)?;
                    continue;
                }
            }
            let read_to = found.end - input.rest().len();
            self.push(Found { read_to, ..found })?;
        }
        Ok(())
    }

    fn item(&mut self, id: u32) -> Result<&mut Item, StripError> {
        let at = match self.items.iter().position(|item| item.id == id) {
            Some(at) => at,
            None if self.items.len() == MAX_ITEMS => {
                return Err(StripError::Unsupported("it has more items than any picture needs"));
            }
            None => {
                self.items.push(Item { id, ..Item::default() });
                self.items.len() - 1
            }
        };
        self.items.get_mut(at).ok_or(MALFORMED)
    }

    fn read_infos(&mut self, file: &[u8], mut at: usize, end: usize) -> Result<(), StripError> {
        while at < end {
            let found = next(file, at, end)?;
            at = found.end;
            if &found.name != b"infe" {
                self.push(found)?;
                continue;
            }
            let mut input = Reader::new(&file[found.body..found.end]);
            let (version, _) = version(&mut input)?;
            if version < 2 {
                return Err(MALFORMED);
            }
            let id = number(&mut input, version > 2)?;
            input.take(2)?; // protection, of which there is none
            let info = found.end - input.rest().len();
            let item = self.item(id)?;
            (item.info, item.kind) = (Some(info), input.array()?);
            // The kind is kept or not as the item is.
            self.push(Found { read_to: info, ..found })?;
        }
        Ok(())
    }

    fn read_properties(&mut self, file: &[u8], mut at: usize, end: usize) -> Result<(), StripError> {
        while at < end {
            let found = next(file, at, end)?;
            at = found.end;
            if &found.name == b"ipco" {
                let mut property = found.body;
                self.push(found.clone())?;
                while property < found.end {
                    let child = next(file, property, found.end)?;
                    property = child.end;
                    self.properties.push(self.boxes.len());
                    let says = file.get(child.body + 4..child.end).unwrap_or_default();
                    let is_alpha = &child.name == b"auxC" && ALPHA.iter().any(|urn| says.starts_with(urn));
                    let space = if is_alpha { Space::Alpha } else { Space::Property };
                    self.push(Found { space, ..child })?;
                }
            } else if &found.name == b"ipma" {
                let mut input = Reader::new(&file[found.body..found.end]);
                let (version, flags) = version(&mut input)?;
                for _ in 0..input.be32()? {
                    let id = number(&mut input, version > 0)?;
                    for _ in 0..input.byte()? {
                        let index = if flags & 1 == 0 { input.byte()? & 0x7F } else { 0 };
                        let index = if flags & 1 == 0 { index.into() } else { input.be16()? & 0x7FFF };
                        if let Some(place) = usize::from(index).checked_sub(1) {
                            self.item(id)?.properties.push(place);
                        }
                    }
                }
                let read_to = found.end - input.rest().len();
                self.push(Found { read_to, ..found })?;
            } else {
                self.push(found)?;
            }
        }
        Ok(())
    }

    fn read_places(&mut self, input: &mut Reader<'_>) -> Result<(), StripError> {
        let (version, _) = version(input)?;
        let [sizes, more_sizes] = input.array()?;
        let (offset_len, length_len) = (sizes >> 4, sizes & 15);
        let (base_len, index_len) = (more_sizes >> 4, if version == 0 { 0 } else { more_sizes & 15 });
        for _ in 0..number(input, version > 1)? {
            let id = number(input, version > 1)?;
            let method = if version == 0 { 0 } else { input.be16()? & 15 };
            let elsewhere = input.be16()?;
            if method > 1 || elsewhere != 0 {
                return Err(StripError::Unsupported("its data lies where no other picture's does"));
            }
            let base = sized(input, base_len)?;
            let count = usize::from(input.be16()?);
            let item = self.item(id)?;
            if item.extents.len() + count > MAX_EXTENTS {
                return Err(StripError::Unsupported("it is in more pieces than any picture"));
            }
            for _ in 0..count {
                sized(input, index_len)?;
                let offset = base.checked_add(sized(input, offset_len)?).ok_or(MALFORMED)?;
                let len = sized(input, length_len)?;
                item.extents.push(Extent { in_idat: method == 1, offset, len });
            }
        }
        Ok(())
    }

    fn read_references(&mut self, input: &mut Reader<'_>) -> Result<(), StripError> {
        let (version, _) = version(input)?;
        while !input.is_empty() {
            input.be32()?;
            let name = input.array()?;
            let from = number(input, version > 0)?;
            for _ in 0..input.be16()? {
                if self.references.len() == MAX_BOXES {
                    return Err(MALFORMED);
                }
                self.references.push((name, from, number(input, version > 0)?));
            }
        }
        Ok(())
    }

    /// Where a piece of an item lies in the file: within one of the boxes that are for data, so that
    /// no piece can be anything else besides.
    pub(super) fn place(&self, extent: &Extent) -> Result<Range<usize>, StripError> {
        let origin = if extent.in_idat { self.idat.clone().ok_or(MALFORMED)?.start } else { 0 };
        let start = origin.checked_add(extent.offset).ok_or(MALFORMED)?;
        let end = start.checked_add(extent.len).ok_or(MALFORMED)?;
        let holds = |data: &Range<usize>| data.start <= start && end <= data.end;
        if extent.in_idat && self.idat.iter().any(holds) || !extent.in_idat && self.data.iter().any(holds) {
            return Ok(start..end);
        }
        Err(if end > self.end { StripError::Truncated } else { MALFORMED })
    }

    /// The item that is the primary picture's alpha plane.
    pub(super) fn alpha(&self) -> Option<u32> {
        let said = self.references.iter().find(|(name, from, to)| {
            name == b"auxl" && *to == self.primary && self.has_alpha_property(*from)
        });
        said.map(|(_, from, _)| *from)
    }

    fn has_alpha_property(&self, id: u32) -> bool {
        let Some(item) = self.items.iter().find(|item| item.id == id) else { return false };
        self.properties_of(item).any(|found| found.space == Space::Alpha)
    }

    pub(super) fn properties_of<'a>(&'a self, item: &'a Item) -> impl Iterator<Item = &'a Found> {
        item.properties.iter().filter_map(|place| self.boxes.get(*self.properties.get(*place)?))
    }
}

/// The box at a place, which reaches no further than `end`.
fn next(file: &[u8], at: usize, end: usize) -> Result<Found, StripError> {
    let mut input = Reader::new(file.get(at..end).ok_or(StripError::Truncated)?);
    let short = input.be32()?;
    let name = input.array()?;
    let len = match short {
        0 => end - at,
        1 => sized(&mut input, 8)?,
        short => usize::try_from(short).map_err(|_| MALFORMED)?,
    };
    let body = end - input.rest().len();
    let box_end = at.checked_add(len).filter(|box_end| (body..=end).contains(box_end));
    let box_end = box_end.ok_or(StripError::Truncated)?;
    Ok(Found { name, start: at, body, end: box_end, read_to: body, space: Space::Part })
}

pub(super) fn version(input: &mut Reader<'_>) -> Result<(u8, u8), StripError> {
    let [version, _, _, flags] = input.array()?;
    Ok((version, flags))
}

/// A number of two bytes or, in later versions of a box, of four.
fn number(input: &mut Reader<'_>, is_long: bool) -> Result<u32, StripError> {
    if is_long { input.be32() } else { input.be16().map(u32::from) }
}

/// A number of so many bytes: 0, 4 or 8.
fn sized(input: &mut Reader<'_>, len: u8) -> Result<usize, StripError> {
    let value = match len {
        0 => 0,
        4 => u64::from(input.be32()?),
        8 => u64::from(input.be32()?) << 32 | u64::from(input.be32()?),
        _ => return Err(MALFORMED),
    };
    usize::try_from(value).map_err(|_| MALFORMED)
}
