//! The one thing worth keeping of EXIF: which way is up.

use image::metadata::Orientation;

/// What precedes the TIFF block in JPEG's APP1, and by mistake in some WebP files.
pub(super) const PREFIX: &[u8] = b"Exif\0\0";

/// The orientation that an EXIF block asks for, when it is one that changes the picture.
pub(super) fn orientation(block: &[u8]) -> Option<Orientation> {
    let tiff = block.strip_prefix(PREFIX).unwrap_or(block);
    Orientation::from_exif_chunk(tiff).filter(|o| *o != Orientation::NoTransforms)
}

/// A TIFF block (EXIF 2.3, §4.6) with one directory of one entry: the orientation.
pub(super) fn minimal(orientation: Orientation) -> Vec<u8> {
    let mut tiff = Vec::with_capacity(26);
    tiff.extend(b"II*\0"); // little-endian TIFF
    tiff.extend(8_u32.to_le_bytes()); // the directory follows at once
    tiff.extend(1_u16.to_le_bytes()); // entries
    tiff.extend(0x0112_u16.to_le_bytes()); // Orientation
    tiff.extend(3_u16.to_le_bytes()); // of type SHORT
    tiff.extend(1_u32.to_le_bytes()); // one of them
    tiff.extend([orientation.to_exif(), 0, 0, 0]);
    tiff.extend(0_u32.to_le_bytes()); // no further directory
    tiff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for value in 2..=8 {
            let orientation = Orientation::from_exif(value);
            assert_eq!(orientation.map(minimal).as_deref().and_then(super::orientation), orientation);
        }
    }

    #[test]
    fn upright_and_unreadable_are_nothing() {
        assert_eq!(orientation(&minimal(Orientation::NoTransforms)), None);
        assert_eq!(orientation(b""), None);
        assert_eq!(orientation(b"Exif\0\0II*\0\xFF\xFF\xFF\xFF"), None);
    }
}
