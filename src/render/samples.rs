//! Pictures and files that the tests make for themselves.

use base64::Engine as _;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, Rgb, RgbImage, Rgba, RgbaImage};
use moxcms::ColorProfile;

/// What must never come out again.
pub(super) const MARKER: &[u8] = b"52.5200N13.4050E";

pub(super) const RED: [u8; 3] = [255, 0, 0];
pub(super) const GREEN: [u8; 3] = [0, 255, 0];
pub(super) const BLUE: [u8; 3] = [0, 0, 255];
pub(super) const BLACK: [u8; 3] = [0, 0, 0];

/// Red and green above blue and black.
pub(super) fn quadrants(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => BLACK,
        })
    })
}

/// Every pixel different, so that no loss of data goes unseen; transparent towards the right.
pub(super) fn gradient(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let byte = |v: u32| u8::try_from(v % 256).unwrap();
        Rgba([byte(x * 37 + y), byte(y * 53), byte(x * y * 11), byte(255 - x)])
    })
}

/// An ICC profile as a file, the same bytes at any time: its header would say the second of its making
/// (ICC.1:2022, §7.2.8).
pub(super) fn icc(profile: &ColorProfile) -> Vec<u8> {
    let mut bytes = profile.encode().unwrap();
    bytes[24..36].copy_from_slice(&[7, 234, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]); // 2026-01-01
    bytes
}

fn be32(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_be_bytes()
}

fn le32(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_le_bytes()
}

/// A TIFF block with a maker's note beside the orientation, big-endian as cameras write it.
pub(super) fn camera_exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x02".to_vec();
    tiff.extend([0x01, 0x0F, 0, 2, 0, 0, 0, 16, 0, 0, 0, 38]); // Make, 16 characters at 38
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    tiff.extend([0, 0, 0, 0]);
    tiff.extend(MARKER);
    tiff
}

// JPEG

pub(super) fn jpeg(image: &RgbImage, progressive: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.set_progressive(progressive);
    let side = |side| u16::try_from(side).unwrap();
    let (width, height) = (side(image.width()), side(image.height()));
    encoder.encode(image, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// A sequential one whose colours are in scans of their own.
pub(super) fn jpeg_apart(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.set_optimized_huffman_tables(true); // makes it write one scan for each
    let side = |side| u16::try_from(side).unwrap();
    let (width, height) = (side(image.width()), side(image.height()));
    encoder.encode(image, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// `jpeg` with segments put in right after its start.
pub(super) fn jpeg_with(jpeg: &[u8], segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    for (marker, payload) in segments {
        bytes.extend([0xFF, *marker]);
        bytes.extend(u16::try_from(payload.len() + 2).unwrap().to_be_bytes());
        bytes.extend(payload);
    }
    bytes.extend(&jpeg[2..]);
    bytes
}

pub(super) fn jpeg_exif(orientation: u8) -> (u8, Vec<u8>) {
    (0xE1, [b"Exif\0\0", &camera_exif(orientation)[..]].concat())
}

pub(super) fn jpeg_icc(profile: &[u8]) -> (u8, Vec<u8>) {
    (0xE2, [b"ICC_PROFILE\0\x01\x01", profile].concat())
}

// PNG

pub(super) fn png(image: &DynamicImage, profile: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile).unwrap();
    }
    let color = ExtendedColorType::from(image.color());
    encoder.write_image(image.as_bytes(), image.width(), image.height(), color).unwrap();
    bytes
}

pub(super) fn png_chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [&name[..], data].concat();
    let crc = !named.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    [&be32(data.len())[..], &named, &crc.to_be_bytes()].concat()
}

/// `png` with chunks put in right after its header.
pub(super) fn png_with(png: &[u8], chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = png[..33].to_vec();
    for (name, data) in chunks {
        bytes.extend(png_chunk(*name, data));
    }
    bytes.extend(&png[33..]);
    bytes
}

/// An animation whose frames all fill the canvas.
pub(super) fn animated_png(frames: &[RgbaImage]) -> Vec<u8> {
    let (width, height) = frames[0].dimensions();
    let mut sequence = 0_u32;
    let mut next = || {
        sequence += 1;
        (sequence - 1).to_be_bytes()
    };
    let first = png(&frames[0].clone().into(), None);
    let mut bytes = first[..33].to_vec();
    bytes.extend(png_chunk(*b"acTL", &[be32(frames.len()), [0; 4]].concat()));
    for (n, frame) in frames.iter().enumerate() {
        let rectangle = [width.to_be_bytes(), height.to_be_bytes(), [0; 4], [0; 4]].concat();
        let control = [&next()[..], &rectangle, &[0, 1, 0, 10, 0, 0]].concat();
        bytes.extend(png_chunk(*b"fcTL", &control));
        let data = png_data(&png(&frame.clone().into(), None));
        if n == 0 {
            bytes.extend(png_chunk(*b"IDAT", &data));
        } else {
            bytes.extend(png_chunk(*b"fdAT", &[&next()[..], &data].concat()));
        }
    }
    bytes.extend(png_chunk(*b"IEND", b""));
    bytes
}

/// The compressed pixels of a PNG that has no chunks but IHDR, IDAT and IEND.
fn png_data(png: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut rest = &png[33..];
    while &rest[4..8] == b"IDAT" {
        let len = usize::try_from(u32::from_be_bytes(rest[..4].try_into().unwrap())).unwrap();
        data.extend(&rest[8..8 + len]);
        rest = &rest[12 + len..];
    }
    data
}

// WebP

pub(super) fn webp(image: &RgbaImage, lossless: bool) -> Vec<u8> {
    let encoder = webp::Encoder::from_rgba(image, image.width(), image.height());
    encoder.encode_simple(lossless, 90.0).unwrap().to_vec()
}

pub(super) fn webp_chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let padding = &[0][..data.len() % 2];
    [&name[..], &le32(data.len()), data, padding].concat()
}

pub(super) fn riff(chunks: &[u8]) -> Vec<u8> {
    [b"RIFF", &le32(chunks.len() + 4)[..], b"WEBP", chunks].concat()
}

/// A simple lossless WebP in the extended layout, with chunks around its picture.
pub(super) fn webp_with(
    webp: &[u8],
    (width, height): (u32, u32),
    flags: u8,
    before: &[([u8; 4], Vec<u8>)],
    after: &[([u8; 4], Vec<u8>)],
) -> Vec<u8> {
    assert_eq!(&webp[12..16], b"VP8L", "the picture must be a simple one");
    let mut header = vec![flags, 0, 0, 0];
    header.extend(&(width - 1).to_le_bytes()[..3]);
    header.extend(&(height - 1).to_le_bytes()[..3]);
    let mut chunks = webp_chunk(*b"VP8X", &header);
    for (name, data) in before {
        chunks.extend(webp_chunk(*name, data));
    }
    chunks.extend(&webp[12..]);
    for (name, data) in after {
        chunks.extend(webp_chunk(*name, data));
    }
    riff(&chunks)
}

/// An animation whose frames all fill the canvas, each with an unknown chunk beside its picture.
pub(super) fn animated_webp(frames: &[RgbaImage]) -> Vec<u8> {
    let (width, height) = frames[0].dimensions();
    let size = [&(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
    let mut chunks = webp_chunk(*b"VP8X", &[&[0x12, 0, 0, 0], &size[..]].concat());
    chunks.extend(webp_chunk(*b"ANIM", &[0; 6]));
    for frame in frames {
        let picture = &webp(frame, true)[12..];
        let header = [&[0; 6], &size[..], &[100, 0, 0, 0]].concat();
        let unknown = webp_chunk(*b"NOTE", MARKER);
        chunks.extend(webp_chunk(*b"ANMF", &[&header[..], picture, &unknown].concat()));
    }
    riff(&chunks)
}

// GIF

/// Two frames or more make an animation that is shown for ever; the frames have few colours.
pub(super) fn gif(frames: &[RgbaImage]) -> Vec<u8> {
    let side = |side| u16::try_from(side).unwrap();
    let (width, height) = (side(frames[0].width()), side(frames[0].height()));
    let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[]).unwrap();
    if frames.len() > 1 {
        encoder.set_repeat(gif::Repeat::Infinite).unwrap();
    }
    for frame in frames {
        // Red, green and blue in steps, 3 + 3 + 2 bits, and what is nearly transparent is.
        let indices: Vec<u8> = frame.pixels().map(|p| p[0] >> 5 << 5 | p[1] >> 5 << 2 | p[2] >> 6).collect();
        let palette: Vec<u8> =
            (0..=u8::MAX).flat_map(|n| [n >> 5 << 5, (n >> 2 & 7) << 5, (n & 3) << 6]).collect();
        let mut frame = gif::Frame::from_palette_pixels(width, height, indices, palette, Some(0));
        frame.delay = 10;
        encoder.write_frame(&frame).unwrap();
    }
    encoder.into_inner().unwrap()
}

/// An extension block: its label, and its data in sub-blocks.
pub(super) fn gif_extension(label: u8, blocks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0x21, label];
    for block in blocks {
        bytes.push(u8::try_from(block.len()).unwrap());
        bytes.extend(*block);
    }
    bytes.push(0);
    bytes
}

pub(super) fn gif_header_len(gif: &[u8]) -> usize {
    13 + if gif[10] & 0x80 == 0 { 0 } else { 3 << ((gif[10] & 7) + 1) }
}

/// `gif` with blocks put in right after its header and its palette.
pub(super) fn gif_with(gif: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
    let (header, rest) = gif.split_at(gif_header_len(gif));
    [header, &blocks.concat(), rest].concat()
}

// AVIF

/// 17 × 9 with alpha, as libavif 0.11 writes it.
pub(super) fn avif() -> Vec<u8> {
    const FILE: &str = "\
     AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAAGNbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAA\
     AAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAsaWxvYwAAAABEAAACAAEAAAABAAABygAAACkAAgAAAAEA\
     AAG1AAAAFQAAAEJpaW5mAAAAAAACAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAAAaaW5mZQIAAAAAAgAAYXYwMU\
     FscGhhAAAAABppcmVmAAAAAAAAAA5hdXhsAAIAAQABAAAAw2lwcnAAAACdaXBjbwAAABRpc3BlAAAAAAAAABEAAAAJ\
     AAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQAMAAAAABNjb2xybmNseAABAA0ABoAAAAAOcGl4aQAAAAABCAAAAAxhdj\
     FDgQAcAAAAADhhdXhDAAAAAHVybjptcGVnOm1wZWdCOmNpY3A6c3lzdGVtczphdXhpbGlhcnk6YWxwaGEAAAAAHmlw\
     bWEAAAAAAAAAAgABBAECgwQAAgQBBYYHAAAARm1kYXQSAAoFGBDhDCoyChtAccEADMl+z/ASAAoJGBDhDBAQ0GhAMh\
     obQBxxxwQAw1SB9ljoA9VUUDX1vLhihglFUQ==\
";
    base64::engine::general_purpose::STANDARD.decode(FILE).unwrap()
}

pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
