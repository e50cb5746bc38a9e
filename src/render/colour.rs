//! Colour management: whatever profile a source carries, what leaves here is sRGB.

use image::{ImageBuffer, Pixel};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::decode::Pixels;

pub(super) mod described;

/// Converts from the colours that `profile` (ICC) describes to sRGB, in place.
///
/// A profile that cannot be read, or does not describe such pixels, is ignored: the picture is
/// then shown as if it were sRGB, which is what browsers do. CMYK profiles are among these, since
/// the decoder has turned CMYK into RGB already.
pub(super) fn to_srgb(pixels: &mut Pixels, profile: &[u8]) {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else {
        return;
    };
    match pixels {
        Pixels::Rgb(image) => convert(image, &profile, Layout::Rgb),
        Pixels::Rgba(image) => convert(image, &profile, Layout::Rgba),
    };
}

/// `None` when the profile does not fit.
fn convert<P: Pixel<Subpixel = u8>>(
    image: &mut ImageBuffer<P, Vec<u8>>,
    profile: &ColorProfile,
    layout: Layout,
) -> Option<()> {
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions::default();
    if profile.color_space == DataColorSpace::Gray {
        // Grey was expanded to three equal channels; the profile speaks of the one.
        let transform = profile.create_transform_8bit(Layout::Gray, &srgb, Layout::Rgb, options).ok()?;
        let levels: Vec<u8> = (0..=u8::MAX).collect();
        let mut colours = vec![0; levels.len() * 3];
        transform.transform(&levels, &mut colours).ok()?;
        for pixel in image.pixels_mut() {
            let level = usize::from(pixel.channels()[0]);
            pixel.channels_mut()[..3].copy_from_slice(&colours[level * 3..][..3]);
        }
        return Some(());
    }
    let transform = profile.create_transform_8bit(layout, &srgb, layout, options).ok()?;
    let mut converted = vec![0; image.len()];
    transform.transform(image, &mut converted).ok()?;
    image.copy_from_slice(&converted);
    Some(())
}
