//! What the scans of a JPEG bring (ITU-T T.81, B.2.2 and B.2.3), and whether it makes a picture.

use super::super::reader::Reader;
use super::{Size, StripError};

const PROGRESSIVE: u8 = 0xC2; // SOF2

/// Ten scans are usual. A scan costs a walk over all coefficients, however few bytes it has.
const MAX_SCANS: u32 = 100;

/// What a frame header says.
pub(super) struct Frame {
    size: Size,
    progressive: bool,
    components: Vec<Component>,
    /// The largest sampling factors.
    most: Size,
}

/// A colour of a picture.
struct Component {
    id: u8,
    /// How often it is sampled, across and down, where others are sampled [`Frame::most`] often.
    sampling: Size,
    /// Whether a scan has brought its first coefficients.
    begun: bool,
}

impl Frame {
    pub(super) fn read(marker: u8, payload: &[u8]) -> Result<Frame, StripError> {
        let mut input = Reader::new(payload);
        let _precision = input.byte()?;
        let (height, width) = (u32::from(input.be16()?), u32::from(input.be16()?));
        if width == 0 || height == 0 {
            return Err(StripError::Malformed("its picture has no size"));
        }
        let mut components = Vec::new();
        let mut most = Size { width: 1, height: 1 };
        for _ in 0..input.byte()? {
            let [id, factors, _table] = input.array()?;
            let sampling = Size { width: u32::from(factors >> 4), height: u32::from(factors & 15) };
            if !(1..=4).contains(&sampling.width) || !(1..=4).contains(&sampling.height) {
                return Err(StripError::Malformed("a colour is sampled in an impossible way"));
            }
            most.width = most.width.max(sampling.width);
            most.height = most.height.max(sampling.height);
            components.push(Component { id, sampling, begun: false });
        }
        let size = Size { width, height };
        Ok(Frame { size, progressive: marker == PROGRESSIVE, components, most })
    }

    /// How many blocks a colour has in a scan: what it needs if it is alone there (A.2.2), and whole
    /// units together with others (A.2.3).
    fn blocks(&self, sampling: Size, alone: bool) -> u64 {
        let along = |pixels: u32, sampling: u32, most: u32| {
            if alone {
                (pixels * sampling).div_ceil(most).div_ceil(8)
            } else {
                pixels.div_ceil(8 * most) * sampling
            }
        };
        let across = along(self.size.width, sampling.width, self.most.width);
        let down = along(self.size.height, sampling.height, self.most.height);
        u64::from(across) * u64::from(down)
    }

    /// Whether jpeg-decoder, as of 0.3.2, knows how many blocks such a colour has that is alone in its
    /// scan.
    fn is_counted_right(&self, sampling: Size) -> bool {
        self.components.len() == 1
            || ([1, self.most.width].contains(&sampling.width)
                && [1, self.most.height].contains(&sampling.height))
    }
}

/// The scans of a picture, as they come.
pub(super) struct Scans {
    frame: Frame,
    seen: u32,
}

impl Scans {
    pub(super) fn of(frame: Frame) -> Scans {
        Scans { frame, seen: 0 }
    }

    /// Takes in a scan: what its header says, and how many bytes of code it has.
    pub(super) fn add(&mut self, header: &[u8], coded: usize) -> Result<(), StripError> {
        if self.seen == MAX_SCANS {
            return Err(StripError::Unsupported("it has more scans than any picture needs"));
        }
        self.seen += 1;

        let mut input = Reader::new(header);
        let ids = (0..input.byte()?)
            .map(|_| input.array().map(|[id, _tables]| id))
            .collect::<Result<Vec<u8>, _>>()?;
        let [first, _last, bits] = input.array()?;
        let progressive = self.frame.progressive;
        // Of the first coefficients, which are the blocks' means.
        let (begins, refines) = (first == 0 && bits >> 4 == 0, first == 0 && bits >> 4 != 0);
        let mut blocks = 0;
        for id in &ids {
            let component = self.frame.components.iter_mut().find(|component| component.id == *id);
            let component = component.ok_or(StripError::Malformed("a scan is of no colour"))?;
            if component.begun && !progressive {
                return Err(StripError::Malformed("it has a colour twice"));
            }
            component.begun |= begins || !progressive;
            let sampling = component.sampling;
            if ids.len() == 1 && !progressive && !self.frame.is_counted_right(sampling) {
                return Err(StripError::Unsupported("its colours are coded apart in an unusual way"));
            }
            blocks += self.frame.blocks(sampling, ids.len() == 1);
        }

        // Where code is missing, decoding fails. But a mean is refined by a plain bit.
        let bits = u64::try_from(coded).unwrap_or(u64::MAX).saturating_mul(8);
        if progressive && refines && bits < blocks { Err(StripError::Truncated) } else { Ok(()) }
    }

    /// The size of what is now a picture.
    ///
    /// One scan of a progressive one is no more than a mosaic of its blocks: nobody means that, and
    /// what is cut short within it looks like that.
    pub(super) fn finish(&self) -> Result<Size, StripError> {
        match self.seen {
            0 => Err(StripError::Malformed("it holds no picture")),
            1 if self.frame.progressive => Err(StripError::Truncated),
            _ if self.frame.components.iter().any(|component| !component.begun) => Err(StripError::Truncated),
            _ => Ok(self.frame.size),
        }
    }
}

/// How a picture is coded, as far as it matters who decodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render) enum Coding {
    /// From top to bottom, once.
    Sequential,
    /// So that zune-jpeg 0.5.15 shows another picture without a word: each colour from top to bottom,
    /// but not all of them in one scan (zune-image issues 419 and 422); or the first colour coarser than
    /// another.
    Unusual,
    /// Ever finer.
    Progressive,
}

impl Coding {
    /// By a frame header and the first scan's.
    pub(super) fn read(marker: u8, frame: &[u8], scan: &[u8]) -> Result<Coding, StripError> {
        let frame = Frame::read(marker, frame)?;
        let together = usize::from(Reader::new(scan).byte()?);
        let coarse = frame.components.first().is_some_and(|first| first.sampling != frame.most);
        Ok(match frame.progressive {
            true => Coding::Progressive,
            false if together < frame.components.len() || coarse => Coding::Unusual,
            false => Coding::Sequential,
        })
    }
}
