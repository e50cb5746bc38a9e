//! Sound little pictures that carry a stranger's EXIF block, colour profile or remark.

use std::sync::LazyLock;

use bytes::Bytes;
use image::{DynamicImage, metadata::Orientation};

use crate::{render::Format, samples};

/// The sides of every carrier, before it is turned.
pub const SIZE: (u32, u32) = (17, 9);

/// A picture, and what was put into it.
pub struct Carrier {
    pub format: Format,
    /// Without it.
    pub bare: Bytes,
    /// With it.
    pub loaded: Bytes,
    pub load: Load,
}

/// What becomes of a load.
#[derive(Debug)]
pub enum Load {
    /// It is an EXIF block, of which the orientation is kept.
    Exif(Orientation),
    /// It says something of colours, and is kept.
    Colours,
    /// It goes.
    Remark,
}

static JPEG: LazyLock<Vec<u8>> = LazyLock::new(|| samples::jpeg(&samples::quadrants(17, 9), false));
static PNG: LazyLock<Vec<u8>> = LazyLock::new(|| samples::png(&colours().into(), None));
static WIDE_PNG: LazyLock<Vec<u8>> =
    LazyLock::new(|| samples::png(&DynamicImage::from(colours()).into_rgb16().into(), None));
static GREY_PNG: LazyLock<Vec<u8>> =
    LazyLock::new(|| samples::png(&DynamicImage::from(colours()).into_luma8().into(), None));
static WEBP: LazyLock<Vec<u8>> = LazyLock::new(|| samples::webp(&colours(), true));
static GIF: LazyLock<Vec<u8>> = LazyLock::new(|| samples::gif(&[colours()]));

fn colours() -> image::RgbaImage {
    samples::gradient(SIZE.0, SIZE.1)
}

/// The carrier that the first byte of an input names, with the others as its load.
pub fn load(input: &[u8]) -> Option<Carrier> {
    let (kind, load) = input.split_first()?;
    let exif = || Load::Exif(Orientation::from_exif_chunk(load).unwrap_or(Orientation::NoTransforms));
    let segment = |marker: u8, prefix: &[u8]| {
        (load.len() < 65_000).then(|| samples::jpeg_with(&JPEG, &[(marker, [prefix, load].concat())]))
    };
    let chunk = |png: &[u8], name: &[u8; 4], data: &[u8]| samples::png_with(png, &[(*name, data.to_vec())]);
    let webp = |flags, before: &[([u8; 4], Vec<u8>)], after: &[([u8; 4], Vec<u8>)]| {
        samples::webp_with(&WEBP, SIZE, flags, before, after)
    };
    let jpeg =
        |marker, prefix: &[u8], load| Some((Format::Jpeg, JPEG.clone(), segment(marker, prefix)?, load));
    let profile = [b"ICC\0\0", &stored(load)[..]].concat();
    let (format, bare, loaded, load) = match kind {
        b'a' => jpeg(0xE1, b"Exif\0\0", exif())?,
        b'b' => (Format::Png, PNG.clone(), chunk(&PNG, b"eXIf", load), exif()),
        b'c' => {
            let (bare, loaded) = (webp(0, &[], &[]), webp(8, &[], &[(*b"EXIF", load.to_vec())]));
            (Format::Webp, bare, loaded, exif())
        }
        b'd' => jpeg(0xE2, b"ICC_PROFILE\0\x01\x01", Load::Colours)?,
        b'e' => (Format::Png, PNG.clone(), chunk(&PNG, b"iCCP", &profile), Load::Colours),
        b'f' => (Format::Png, WIDE_PNG.clone(), chunk(&WIDE_PNG, b"iCCP", &profile), Load::Colours),
        b'g' => (Format::Png, GREY_PNG.clone(), chunk(&GREY_PNG, b"iCCP", &profile), Load::Colours),
        b'h' => {
            let loaded = webp(0x20, &[(*b"ICCP", load.to_vec())], &[]);
            (Format::Webp, webp(0, &[], &[]), loaded, Load::Colours)
        }
        b'i' => {
            // In this order whatever the load says of it.
            let (gamma, primaries) = load.split_at_checked(4)?;
            let chunks = [(*b"gAMA", gamma.to_vec()), (*b"cHRM", primaries.to_vec())];
            (Format::Png, PNG.clone(), samples::png_with(&PNG, &chunks), Load::Colours)
        }
        b'j' => (Format::Png, PNG.clone(), chunk(&PNG, b"cICP", load), Load::Colours),
        b'k' => (Format::Avif, samples::avif(), with_code_points(load)?, Load::Colours),
        b'l' => jpeg(0xFE, b"", Load::Remark)?,
        b'm' => jpeg(0xE1, b"http://ns.adobe.com/xap/1.0/\0", Load::Remark)?,
        b'n' => jpeg(0xED, b"Photoshop 3.0\0", Load::Remark)?,
        b'o' => (Format::Png, PNG.clone(), chunk(&PNG, b"tEXt", load), Load::Remark),
        b'p' => (Format::Png, PNG.clone(), chunk(&PNG, b"zTXt", load), Load::Remark),
        b'q' => (Format::Png, PNG.clone(), chunk(&PNG, b"iTXt", load), Load::Remark),
        b'r' => (Format::Webp, webp(0, &[], &[]), webp(4, &[], &[(*b"XMP ", load.to_vec())]), Load::Remark),
        b's' | b't' => {
            let (label, name): (_, &[u8]) =
                if *kind == b's' { (0xFE, b"remark") } else { (0xFF, b"XMP DataXMP") };
            let blocks: Vec<&[u8]> = std::iter::once(name).chain(load.chunks(255)).collect();
            let loaded = samples::gif_with(&GIF, &[samples::gif_extension(label, &blocks)]);
            (Format::Gif, GIF.clone(), loaded, Load::Remark)
        }
        _ => return None,
    };
    Some(Carrier { format, bare: bare.into(), loaded: loaded.into(), load })
}

/// Data as zlib holds it when it does not compress (RFC 1950, RFC 1951 §3.2.4); the checksum is zero,
/// which the decoder does not ask about.
pub(crate) fn stored(data: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let pieces = data.len().div_ceil(0xFFFF);
    for (n, piece) in data.chunks(0xFFFF).enumerate() {
        let length = u16::try_from(piece.len()).unwrap();
        zlib.push(u8::from(n + 1 == pieces));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(piece);
    }
    zlib.extend([0; 4]);
    zlib
}

/// An AVIF whose colours are described in other numbers.
fn with_code_points(load: &[u8]) -> Option<Vec<u8>> {
    let mut avif = samples::avif();
    let at = avif.windows(4).position(|window| window == b"nclx")? + 4;
    avif[at..at + 7].copy_from_slice(load.first_chunk::<7>()?);
    Some(avif)
}
