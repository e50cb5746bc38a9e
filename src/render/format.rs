//! The formats that pinhole reads and writes, and how their first bytes tell them apart.

use std::fmt;

/// An image format that can be decoded, stripped and encoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG (ITU-T T.81), baseline or progressive.
    Jpeg,
    /// PNG (W3C, third edition), animated or not.
    Png,
    /// WebP (RFC 9649), lossy, lossless or animated.
    Webp,
    /// GIF (87a and 89a), animated or not.
    Gif,
    /// AVIF (AV1 Image File Format 1.1), still.
    Avif,
}

impl Format {
    /// Every format, in the order in which the API names them.
    pub const ALL: [Format; 5] = [Format::Jpeg, Format::Png, Format::Webp, Format::Gif, Format::Avif];

    /// All of them in a sentence, for people.
    pub const NAMES: &str = "JPEG, PNG, WebP, GIF or AVIF";

    /// All of their media types in a sentence.
    pub const CONTENT_TYPES: &str = "image/jpeg, image/png, image/webp, image/gif or image/avif";

    /// Recognises a file by its magic bytes; what a client declares is only ever a hint.
    pub fn sniff(bytes: &[u8]) -> Option<Format> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Format::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            _ => has_brand(bytes, &[b"avif", b"avis"]).then_some(Format::Avif),
        }
    }

    /// The name used in option strings: `jpeg`, `png`, `webp`, `gif` or `avif`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::Webp => "webp",
            Format::Gif => "gif",
            Format::Avif => "avif",
        }
    }

    /// The format called `name` in an option string.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of a media type that [`Format::content_type`] wrote.
    pub fn from_content_type(media_type: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.content_type().eq_ignore_ascii_case(media_type))
    }

    /// The media type registered with IANA.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::Png => "image/png",
            Format::Webp => "image/webp",
            Format::Gif => "image/gif",
            Format::Avif => "image/avif",
        }
    }

    /// The usual file name extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
            Format::Webp => "webp",
            Format::Gif => "gif",
            Format::Avif => "avif",
        }
    }

    /// Whether an answer in this format can be an animation. Animated PNGs are read but not
    /// written: they are larger than WebP by far, and nobody lacks both of the others.
    pub fn animates(self) -> bool {
        matches!(self, Format::Webp | Format::Gif)
    }
}

/// Whether a file is a photo in HEIC (ISO/IEC 23008-12, §10): what iPhones write unless told
/// otherwise, and what nobody decodes without paying for HEVC's patents.
pub fn is_heic(bytes: &[u8]) -> bool {
    has_brand(bytes, &[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])
}

/// Whether a file begins with a box that names one of these brands, be it as compatible
/// (ISO/IEC 14496-12, §4.3).
fn has_brand(bytes: &[u8], wanted: &[&[u8; 4]]) -> bool {
    /// More brands than any file has.
    const MAX_BOX_BYTES: usize = 256;
    let Some((len, [b'f', b't', b'y', b'p', brands @ ..])) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(0).clamp(8, MAX_BOX_BYTES) - 8;
    let brands = &brands[..len.min(brands.len())];
    // The second is the first one's version.
    let (brands, _) = brands.as_chunks::<4>();
    brands.iter().enumerate().any(|(n, brand)| n != 1 && wanted.contains(&brand))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_decide() {
        assert_eq!(Format::sniff(b"\xFF\xD8\xFF\xE0rest"), Some(Format::Jpeg));
        assert_eq!(Format::sniff(b"\x89PNG\r\n\x1A\nrest"), Some(Format::Png));
        assert_eq!(Format::sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some(Format::Webp));
        assert_eq!(Format::sniff(b"GIF87arest"), Some(Format::Gif));
        assert_eq!(Format::sniff(b"GIF89arest"), Some(Format::Gif));
        for other in [&b""[..], b"\xFF\xD8", b"\x89PNG\n", b"RIFF\0\0\0\0WAVE", b"GIF88a", b"<svg"] {
            assert_eq!(Format::sniff(other), None);
        }
    }

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
        for format in Format::ALL {
            assert!(Format::NAMES.to_lowercase().contains(format.name()));
            assert!(Format::CONTENT_TYPES.contains(format.content_type()));
        }
        assert_eq!(Format::from_name("jpg"), None);
        assert_eq!(Format::from_name("JPEG"), None);
    }
}
