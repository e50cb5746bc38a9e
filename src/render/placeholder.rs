//! What a page shows while a picture is on its way: a blurred impression, and its commonest colour.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::RgbaImage;
use thumbhash::rgba_to_thumb_hash;

use super::decode::{Look, Pixels};
use super::{RenderError, Size, geometry, resize, transform};

/// The longer side of the copy that is looked at, in pixels: the most that a ThumbHash is made of.
const LONGER_SIDE: u32 = 100;

/// The least that a side of it has. A ThumbHash has up to seven waves along a side, and with fewer
/// pixels it takes the higher ones for what is not there.
const LEAST_SIDE: u32 = 7;

/// How many bits of each channel tell colours apart when they are counted.
const BITS: u32 = 3;

/// A stand-in for a picture, upright and in sRGB; of an animation, for its first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// A [ThumbHash](https://evanw.github.io/thumbhash/) of some 25 bytes, in base64 (RFC 4648 §4).
    pub thumbhash: String,
    /// The commonest colour as `#rrggbb`; none when every pixel is fully transparent.
    ///
    /// Colours are counted on a copy that fits into 100×100 pixels, in 512 groups by the three high bits
    /// of red, green and blue, each pixel by how opaque it is. What the fullest group (of equals the
    /// darkest in red, then green, then blue) has on average is the answer.
    pub dominant_color: Option<String>,
}

/// Makes the placeholder of a stored picture.
pub(super) fn placeholder(pixels: &Pixels, look: &Look) -> Result<Placeholder, RenderError> {
    let small = resize::sampled(pixels, copy_size(pixels.size()))?;
    let small = transform::upright(small, look).into_rgba();
    let (width, height) = (small.width() as usize, small.height() as usize);
    Ok(Placeholder {
        thumbhash: STANDARD.encode(rgba_to_thumb_hash(width, height, &small)),
        dominant_color: dominant(&small).map(|[r, g, b]| format!("#{r:02x}{g:02x}{b:02x}")),
    })
}

fn copy_size(picture: Size) -> Size {
    let Size { width, height } = geometry::contain(picture, Size { width: LONGER_SIDE, height: LONGER_SIDE });
    Size { width: width.max(LEAST_SIDE), height: height.max(LEAST_SIDE) }
}

fn dominant(picture: &RgbaImage) -> Option<[u8; 3]> {
    // Of each group the sums of red, green and blue, by opacity, and the opacity of them all.
    let mut groups = vec![[0_u64; 4]; 1 << (3 * BITS)];
    for pixel in picture.pixels() {
        let [red, green, blue, alpha] = pixel.0;
        let group = [red, green, blue]
            .into_iter()
            .fold(0, |group, channel| group << BITS | usize::from(channel >> (8 - BITS)));
        let weighed = [red, green, blue, 1].map(|value| u64::from(value) * u64::from(alpha));
        for (sum, value) in groups[group].iter_mut().zip(weighed) {
            *sum += value;
        }
    }
    let [red, green, blue, opacity] =
        groups.into_iter().reduce(|fullest, group| if group[3] > fullest[3] { group } else { fullest })?;
    let mean = |sum: u64| (sum + opacity / 2).checked_div(opacity).and_then(|mean| u8::try_from(mean).ok());
    Some([mean(red)?, mean(green)?, mean(blue)?])
}

#[cfg(test)]
mod tests {
    use image::{RgbImage, Rgba};
    use proptest::prelude::*;

    use super::super::samples::{self, BLUE, RED};
    use super::*;
    use crate::render::{Format, Limits, inspect};

    fn of(source: &[u8], format: Format) -> Placeholder {
        inspect(source, format, &Limits::default()).unwrap().placeholder
    }

    /// What a page would paint of it: its size and its pixels.
    fn painted(placeholder: &Placeholder) -> RgbaImage {
        let hash = STANDARD.decode(&placeholder.thumbhash).unwrap();
        let (width, height, pixels) = thumbhash::thumb_hash_to_rgba(&hash).unwrap();
        RgbaImage::from_raw(width.try_into().unwrap(), height.try_into().unwrap(), pixels).unwrap()
    }

    /// The channel that is by far the strongest at a place in fifths of the sides.
    fn strongest(picture: &RgbaImage, x: u32, y: u32) -> Option<usize> {
        let pixel = picture.get_pixel(picture.width() * x / 5, picture.height() * y / 5);
        (0..3).find(|n| (0..3).all(|other| other == *n || pixel[*n] > pixel[other].saturating_add(100)))
    }

    fn red_and_blue(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| image::Rgb(if x < width / 2 { RED } else { BLUE }))
    }

    #[test]
    fn what_is_painted_is_an_impression_of_the_upright_picture() {
        for (width, height) in [(8, 4), (100, 50), (99, 101), (1200, 600), (3000, 40)] {
            let jpeg = samples::jpeg(&red_and_blue(width, height), false);
            let found = painted(&of(&jpeg, Format::Jpeg));
            assert_eq!([1, 4].map(|x| strongest(&found, x, 2)), [Some(0), Some(2)], "{width}×{height}");

            // Turned by a quarter clockwise, what was left is on top.
            let turned = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(6)]);
            let found = painted(&of(&turned, Format::Jpeg));
            assert_eq!([1, 4].map(|y| strongest(&found, 2, y)), [Some(0), Some(2)], "{width}×{height}");
            assert_eq!(found.height() > found.width(), width > height, "{width}×{height}");
        }
    }

    #[test]
    fn an_animation_has_that_of_its_first_frame() {
        let frames = [RED, BLUE].map(|[r, g, b]| RgbaImage::from_pixel(40, 20, Rgba([r, g, b, 255])));
        for (animated, still, format) in [
            (samples::animated_png(&frames), samples::animated_png(&frames[..1]), Format::Png),
            (samples::animated_webp(&frames), samples::animated_webp(&frames[..1]), Format::Webp),
            (samples::gif(&frames), samples::gif(&frames[..1]), Format::Gif),
        ] {
            let found = of(&animated, format);
            assert_eq!(found, of(&still, format), "{format}");
            assert_eq!(strongest(&painted(&found), 2, 2), Some(0), "{format}");
        }
    }

    #[test]
    fn transparency_shows_and_hides_colours() {
        let half = RgbaImage::from_fn(300, 300, |x, _| {
            Rgba(if x < 100 { [255, 0, 0, 255] } else { [0, 255, 0, 0] })
        });
        let found = of(&samples::png(&half.into(), None), Format::Png);
        assert_eq!(found.dominant_color.as_deref(), Some("#ff0000"), "the green is not seen");
        let painted = painted(&found);
        let alpha = |x| painted.get_pixel(x, painted.height() / 2)[3];
        assert!(alpha(2) > 200 && alpha(painted.width() - 3) < 50);

        let nothing = RgbaImage::from_pixel(300, 200, Rgba([9, 99, 199, 0]));
        assert_eq!(of(&samples::png(&nothing.into(), None), Format::Png).dominant_color, None);
    }

    #[test]
    fn every_shape_has_one() {
        for (width, height) in [(1, 1), (1, 2), (101, 1), (1, 5000), (65_535, 2), (2, 65_535), (700, 3)] {
            let picture = RgbImage::from_pixel(width, height, image::Rgb([10, 150, 200]));
            let found = of(&samples::png(&picture.into(), None), Format::Png);
            assert_eq!(found.dominant_color.as_deref(), Some("#0a96c8"), "{width}×{height}");
            for pixel in painted(&found).pixels() {
                let off = [10, 150, 200, 255].iter().zip(pixel.0).map(|(a, b)| b.abs_diff(*a)).max();
                assert!(off < Some(12), "{width}×{height}: {pixel:?}");
            }
        }
    }

    #[test]
    fn colours_are_those_that_are_seen() {
        // The profile says that values are linear light.
        let mut profile = moxcms::ColorProfile::new_srgb();
        let linear = moxcms::ToneReprCurve::Lut(Vec::new());
        profile.red_trc = Some(linear.clone());
        profile.green_trc = Some(linear.clone());
        profile.blue_trc = Some(linear);
        profile.cicp = None;
        let picture = RgbImage::from_pixel(20, 20, image::Rgb([55, 55, 55]));
        let file = samples::png(&picture.into(), Some(samples::icc(&profile)));
        // Which sRGB writes as 128 where it is 55 of 255.
        assert_eq!(of(&file, Format::Png).dominant_color.as_deref(), Some("#808080"));
    }

    fn pictures() -> impl Strategy<Value = Vec<[u8; 4]>> {
        prop::collection::vec(any::<[u8; 4]>(), 1..200)
    }

    fn picture(pixels: &[[u8; 4]]) -> RgbaImage {
        RgbaImage::from_raw(pixels.len().try_into().unwrap(), 1, pixels.concat()).unwrap()
    }

    proptest! {
        #[test]
        fn most_of_a_colour_is_that_colour(mut pixels in pictures(), colour: [u8; 3]) {
            let [r, g, b] = colour;
            let high = |channel: u8| channel >> (8 - BITS);
            // Nothing else of that group, so that the mean is exact.
            pixels.retain(|p| [p[0], p[1], p[2]].map(high) != colour.map(high));
            pixels.extend(vec![[r, g, b, 255]; pixels.len() + 1]);
            prop_assert_eq!(dominant(&picture(&pixels)), Some(colour));
        }

        #[test]
        fn it_lies_between_colours_that_are_seen_wherever_they_are(mut pixels in pictures()) {
            let found = dominant(&picture(&pixels));
            pixels.reverse();
            prop_assert_eq!(dominant(&picture(&pixels)), found);
            pixels.retain(|pixel| pixel[3] > 0);
            prop_assert_eq!(found.is_some(), !pixels.is_empty());
            for (n, channel) in found.into_iter().flatten().enumerate() {
                prop_assert!(pixels.iter().any(|pixel| pixel[n] <= channel));
                prop_assert!(pixels.iter().any(|pixel| pixel[n] >= channel));
            }
        }
    }
}
