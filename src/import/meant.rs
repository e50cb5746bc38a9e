//! Whether a file that is not taken is meant to be a picture: then whoever brings in a folder would miss it.

/// What pictures are called that are not taken here, and those that are.
const EXTENSIONS: [&str; 16] = [
    "jpg", "jpeg", "jpe", "png", "gif", "webp", "avif", "heic", "heif", "tif", "tiff", "bmp", "svg", "jxl",
    "psd", "dng",
];

/// Whether it is one by its name or its first bytes.
pub(super) fn is_picture(name: &str, head: &[u8]) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&&*extension))
        || image::guess_format(head).is_ok()
        || head.windows(4).any(|window| window.eq_ignore_ascii_case(b"<svg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_name_or_its_bytes() {
        for (name, head) in [
            ("a.JPG", &b"no picture at all"[..]),
            ("scan", b"II*\0\x08\0\0\0"),
            ("logo", b"<?xml version=\"1.0\"?>\n<SVG xmlns"),
            ("old", b"BM6\0\0\0"),
        ] {
            assert!(is_picture(name, head), "{name}");
        }
        for (name, head) in
            [("README.md", &b"# Photos"[..]), ("Thumbs.db", b"\xd0\xcf\x11\xe0"), ("jpg", b"")]
        {
            assert!(!is_picture(name, head), "{name}");
        }
    }
}
