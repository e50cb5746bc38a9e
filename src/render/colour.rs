//! Colour management: whatever profile a source carries, what leaves here is sRGB.

use image::{DynamicImage, ImageBuffer, Pixel};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::decode::Pixels;

pub(super) mod described;

/// Converts from the colours that `profile` (ICC) describes to sRGB, in place.
///
/// A profile that cannot be read, or does not describe such pixels, is ignored: the picture is
/// then shown as if it were sRGB, which is what browsers do.
pub(super) fn to_srgb(pixels: &mut Pixels, profile: &[u8]) {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else {
        return;
    };
    match pixels {
        Pixels::Rgb(image) => convert(image, &profile, Layout::Rgb),
        Pixels::Rgba(image) => convert(image, &profile, Layout::Rgba),
    };
}

/// Converts inks (cyan, magenta, yellow, black; 255 is all of one) to sRGB, from pixels of four bytes
/// into pixels of three.
///
/// Without a profile that describes inks they are taken for perfect ones: each lets through what it is
/// not there to hold back, and black holds back all.
pub(super) fn inks_to_srgb(inks: &[u8], profile: Option<&[u8]>, rgb: &mut [u8]) {
    if profile.and_then(|profile| convert_inks(inks, profile, rgb)).is_some() {
        return;
    }
    for ([inks @ .., black], rgb) in inks.as_chunks::<4>().0.iter().zip(rgb.as_chunks_mut::<3>().0) {
        *rgb = inks.map(|ink| {
            let light = u32::from(255 - ink) * u32::from(255 - black);
            u8::try_from((light + 127) / 255).unwrap_or(u8::MAX)
        });
    }
}

/// `None` when the profile does not fit.
fn convert_inks(inks: &[u8], profile: &[u8], rgb: &mut [u8]) -> Option<()> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    if profile.color_space != DataColorSpace::Cmyk {
        return None;
    }
    let srgb = ColorProfile::new_srgb();
    // Four channels are laid out alike, whatever they are.
    let transform =
        profile.create_transform_8bit(Layout::Rgba, &srgb, Layout::Rgb, TransformOptions::default());
    transform.ok()?.transform(inks, rgb).ok()
}

/// [`to_srgb`] for what is still of sixteen bits; grey becomes red, green and blue before.
///
/// A steep curve spreads a few of eight bits' levels over half the range, so that conversion comes
/// before the other eight are dropped. It is done at full size, for sources that few have.
pub(super) fn to_srgb_in_16_bits(picture: DynamicImage, profile: &[u8]) -> DynamicImage {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else {
        return picture;
    };
    if picture.color().has_alpha() {
        let mut image = picture.into_rgba16();
        convert_16_bits(&mut image, &profile, Layout::Rgba);
        image.into()
    } else {
        let mut image = picture.into_rgb16();
        convert_16_bits(&mut image, &profile, Layout::Rgb);
        image.into()
    }
}

/// Row by row, since a second picture of this depth would be a large one. `None` when the profile
/// does not fit.
fn convert_16_bits<P: Pixel<Subpixel = u16>>(
    image: &mut ImageBuffer<P, Vec<u16>>,
    profile: &ColorProfile,
    layout: Layout,
) -> Option<()> {
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions::default();
    let width = usize::try_from(image.width()).ok()?;
    let channels = usize::from(P::CHANNEL_COUNT);
    if profile.color_space == DataColorSpace::Gray {
        let transform = profile.create_transform_16bit(Layout::Gray, &srgb, Layout::Rgb, options).ok()?;
        let mut colours = vec![0; width * 3];
        for row in image.chunks_exact_mut(width * channels) {
            let levels: Vec<u16> = row.iter().step_by(channels).copied().collect();
            transform.transform(&levels, &mut colours).ok()?;
            for (pixel, colour) in row.chunks_exact_mut(channels).zip(colours.chunks_exact(3)) {
                pixel[..3].copy_from_slice(colour);
            }
        }
        return Some(());
    }
    let transform = profile.create_transform_16bit(layout, &srgb, layout, options).ok()?;
    let mut converted = vec![0; width * channels];
    for row in image.chunks_exact_mut(width * channels) {
        transform.transform(row, &mut converted).ok()?;
        row.copy_from_slice(&converted);
    }
    Some(())
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
