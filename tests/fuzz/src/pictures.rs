//! What the targets that handle pictures share: bounds, names, and a way past checksums.

use std::sync::LazyLock;

use crate::render::{
    Accepts, Catalogue, Format, Limits, Options, Plan, Rendition, Watermark, WatermarkSettings,
};
use crate::samples;

/// Small enough that hundreds of pictures are made in a second. Whatever a file claims, no single buffer
/// may be larger than `./run` allows.
pub const LIMITS: Limits = Limits {
    max_pixels: 1 << 16,
    max_animation_pixels: 1 << 18,
    max_frames: 64,
    max_animation_bytes: 1 << 20,
    max_output_side: 1 << 10,
    max_output_pixels: 1 << 16,
    max_avif_pixels: 1 << 12,
};

/// A preset and a watermark to call by name.
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mark = samples::png(&samples::gradient(8, 5).into(), None);
    let mark = Watermark::new("mark", &mark, WatermarkSettings::default()).unwrap();
    let mut catalogue = Catalogue::default();
    catalogue.add_watermark("mark", mark).unwrap();
    catalogue.add_preset("small", "width=20,height=20,fit=cover,gravity=auto,watermark=mark").unwrap();
    catalogue
});

/// The plan of an option string for a browser of today.
pub fn plan(options: &str, source: Format) -> Option<Plan> {
    match Rendition::parse(options, &CATALOGUE).ok()? {
        Rendition::Variant(options) => Some(options.plan(source, false, Accepts::parse(Some("image/webp")))),
        Rendition::Original | Rendition::Raw => None,
    }
}

/// The plan of the picture as it is, without loss.
pub fn as_it_is() -> Plan {
    let plain =
        Options { format: Some(crate::render::FormatChoice::Exact(Format::Png)), ..Options::default() };
    plain.plan(Format::Png, false, Accepts::default())
}

/// Makes the checksums right of the first PNG in an input, as far as its chunks can be followed: no mutation
/// would ever hit upon one.
pub fn mend(input: &mut [u8]) {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";
    let Some(start) = input.windows(SIGNATURE.len()).position(|window| window == SIGNATURE) else { return };
    let mut rest = &mut input[start + SIGNATURE.len()..];
    while let Some((length, after)) = rest.split_first_chunk_mut::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((named, after)) = length.checked_add(4).and_then(|len| after.split_at_mut_checked(len))
        else {
            return;
        };
        let Some((checksum, after)) = after.split_first_chunk_mut::<4>() else { return };
        let chunk = samples::png_chunk([named[0], named[1], named[2], named[3]], &named[4..]);
        checksum.copy_from_slice(&chunk[chunk.len() - 4..]);
        rest = after;
    }
}
