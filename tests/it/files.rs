//! Files that no encoder writes: with secrets planted in them, lying, or cut short.

use image::{DynamicImage, RgbImage};

use crate::support::{encode, picture};

/// What must never come out again.
pub const SECRET: &[u8] = b"52.5200N13.4050E";

/// The formats that are taken, as option strings name them.
pub const FORMATS: [&str; 4] = ["jpeg", "png", "webp", "gif"];

/// The formats that can say which way is up.
pub const TURNABLE: [&str; 3] = ["jpeg", "png", "webp"];

/// A picture as a file of one of [`FORMATS`]; WebP is lossless, GIF has 256 colours.
pub fn file(format: &str, picture: &RgbImage) -> Vec<u8> {
    match format {
        "jpeg" => encode(picture, image::ImageFormat::Jpeg),
        "png" => encode(picture, image::ImageFormat::Png),
        "webp" => webp::Encoder::from_rgb(picture, picture.width(), picture.height())
            .encode_simple(true, 90.0)
            .unwrap()
            .to_vec(),
        "gif" => encode_gif(picture),
        _ => unreachable!("{format}"),
    }
}

fn encode_gif(picture: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::gif::GifEncoder::new_with_speed(&mut file, 10)
        .encode(picture, picture.width(), picture.height(), image::ExtendedColorType::Rgb8)
        .unwrap();
    file
}

/// The same with the secret in every place that the format has for such things, and behind its end.
pub fn file_with_secrets(format: &str, orientation: u8) -> Vec<u8> {
    let picture = picture(64, 48, 7);
    let clean = file(format, &picture);
    let exif = exif(orientation);
    let xmp = [&b"<x:xmpmeta>"[..], SECRET, b"</x:xmpmeta>"].concat();
    let planted = match format {
        "jpeg" => {
            let jfif = [b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0", SECRET].concat();
            let segments = [
                (0xE0, jfif),
                (0xE1, [b"Exif\0\0", &exif[..]].concat()),
                (0xE1, [b"http://ns.adobe.com/xap/1.0/\0", &xmp[..]].concat()),
                (0xE2, [b"MPF\0", SECRET].concat()),
                (0xED, [b"Photoshop 3.0\0", SECRET].concat()),
                (0xEF, SECRET.to_vec()),
                (0xFE, SECRET.to_vec()),
            ];
            [&clean[..2], &segments.map(|(marker, data)| jpeg_segment(marker, &data)).concat(), &clean[2..]]
                .concat()
        }
        "png" => {
            let text = [b"Comment\0", SECRET].concat();
            let international = [b"XML:com.adobe.xmp\0\0\0\0\0", &xmp[..]].concat();
            let chunks = [
                (*b"eXIf", exif),
                (*b"tEXt", text),
                (*b"iTXt", international),
                (*b"tIME", vec![7, 234, 1, 2, 3, 4, 5]),
                (*b"prVt", SECRET.to_vec()),
            ];
            [&clean[..33], &chunks.map(|(name, data)| png_chunk(name, &data)).concat(), &clean[33..]].concat()
        }
        "webp" => {
            // EXIF and XMP, announced in the header as the format wants it.
            let mut header = vec![0x0C, 0, 0, 0];
            header.extend(&(picture.width() - 1).to_le_bytes()[..3]);
            header.extend(&(picture.height() - 1).to_le_bytes()[..3]);
            let chunks = [
                webp_chunk(*b"VP8X", &header),
                webp_chunk(*b"NOTE", SECRET),
                clean[12..].to_vec(),
                webp_chunk(*b"EXIF", &exif),
                webp_chunk(*b"XMP ", &xmp),
            ];
            riff(&chunks.concat())
        }
        "gif" => {
            let header = 13 + if clean[10] & 0x80 == 0 { 0 } else { 3 << ((clean[10] & 7) + 1) };
            let blocks = [
                gif_extension(0xFE, &[SECRET]),
                gif_extension(0xFF, &[b"XMP DataXMP", &xmp]),
                gif_extension(0xFF, &[b"ICCRGBG1012", SECRET]),
                gif_extension(0x01, &[&[0; 12], SECRET]),
            ];
            [&clean[..header], &blocks.concat(), &clean[header..]].concat()
        }
        _ => unreachable!("{format}"),
    };
    [&planted, SECRET].concat()
}

/// A JPEG with an orientation, as cameras write it.
pub fn jpeg_with_orientation(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let clean = file("jpeg", picture);
    let segment = jpeg_segment(0xE1, &[b"Exif\0\0", &exif(orientation)[..]].concat());
    [&clean[..2], &segment, &clean[2..]].concat()
}

/// A TIFF block with a maker's note and a place beside the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x03".to_vec();
    tiff.extend([0x01, 0x0F, 0, 2, 0, 0, 0, 16, 0, 0, 0, 50]); // Make, 16 characters at 50
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    tiff.extend([0x88, 0x25, 0, 4, 0, 0, 0, 1, 0, 0, 0, 66]); // GPS at 66
    tiff.extend([0, 0, 0, 0]);
    tiff.extend(SECRET);
    tiff.extend([0, 1, 0, 27, 0, 7, 0, 0, 0, 16, 0, 0, 0, 84]); // GPSProcessingMethod at 84
    tiff.extend([0, 0, 0, 0]);
    tiff.extend(SECRET);
    tiff
}

fn jpeg_segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap();
    [&[0xFF, marker], &length.to_be_bytes()[..], data].concat()
}

/// A PNG chunk with its checksum.
pub fn png_chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [&name[..], data].concat();
    let crc = !named.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    let length = u32::try_from(data.len()).unwrap();
    [&length.to_be_bytes()[..], &named, &crc.to_be_bytes()].concat()
}

/// A chunk of a WebP.
pub fn webp_chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&name[..], &length.to_le_bytes(), data, &[0][..data.len() % 2]].concat()
}

/// A WebP of chunks.
pub fn riff(chunks: &[u8]) -> Vec<u8> {
    let length = u32::try_from(chunks.len() + 4).unwrap();
    [b"RIFF", &length.to_le_bytes()[..], b"WEBP", chunks].concat()
}

/// A GIF extension block: its label, and its data in sub-blocks.
pub fn gif_extension(label: u8, blocks: &[&[u8]]) -> Vec<u8> {
    let block = |data: &&[u8]| [&[u8::try_from(data.len()).unwrap()], *data].concat();
    [&[0x21, label], &blocks.iter().map(block).collect::<Vec<_>>().concat()[..], &[0]].concat()
}

/// A PNG whose header, with a good checksum, claims another size than its pixels have.
pub fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let honest = file("png", &picture(64, 48, 1));
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &honest[24..29]].concat();
    [&honest[..8], &png_chunk(*b"IHDR", &header), &honest[33..]].concat()
}

/// A JPEG whose frame header claims another size than its pixels have.
pub fn jpeg_claiming(width: u16, height: u16) -> Vec<u8> {
    let mut file = file("jpeg", &picture(64, 48, 1));
    let frame = file.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    file[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    file[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    file
}

/// A WebP whose outer header claims another size than its pixels have.
pub fn webp_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 0];
    header.extend(&(width - 1).to_le_bytes()[..3]);
    header.extend(&(height - 1).to_le_bytes()[..3]);
    riff(&[&webp_chunk(*b"VP8X", &header), &file("webp", &picture(64, 48, 1))[12..]].concat())
}

/// A small PNG file of many black pixels.
pub fn black_png(width: u32, height: u32) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    DynamicImage::new_luma8(width, height).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Whether the secret is somewhere in there.
pub fn has_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET)
}

/// A part of a form: its header lines and its content.
pub type Part<'a> = (&'a str, &'a [u8]);

/// A form's body.
pub fn form(boundary: &str, parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend(format!("--{boundary}\r\n{headers}\r\n\r\n").as_bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").as_bytes());
    body
}
