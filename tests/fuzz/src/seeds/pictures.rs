//! Seeds with pictures: a small one of each kind.

use image::{DynamicImage, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use moxcms::{ColorProfile, ToneReprCurve};

use crate::{
    carriers::stored,
    pictures::LIMITS,
    render::{self, Accepts, Format, Options},
    samples,
};

pub(super) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let colours = samples::gradient(17, 9);
    let opaque = DynamicImage::from(colours.clone()).into_rgb8();
    let wide = DynamicImage::from(colours.clone());
    let jpeg = samples::jpeg(&opaque, false);
    let profile = samples::icc(&ColorProfile::new_display_p3());
    let frames = [colours.clone(), samples::gradient(17, 9), RgbaImage::new(17, 9)];
    let lossless = samples::webp(&colours, true);
    let gif = samples::gif(&frames[..1]);
    let moving = samples::gif(&frames);
    vec![
        ("jpeg", jpeg.clone()),
        ("jpeg-progressive", samples::jpeg(&opaque, true)),
        ("jpeg-carrying", samples::jpeg_with(&jpeg, &[samples::jpeg_exif(6), samples::jpeg_icc(&profile)])),
        ("jpeg-grey", coded(&[128; 153], ColorType::Luma, SamplingFactor::F_1_1)),
        ("jpeg-cmyk", coded(&colours, ColorType::Cmyk, SamplingFactor::F_1_1)),
        ("jpeg-ycck", coded(&colours, ColorType::CmykAsYcck, SamplingFactor::F_2_1)),
        ("jpeg-420", coded(&opaque, ColorType::Rgb, SamplingFactor::F_2_2)),
        ("png-rgba", samples::png(&colours.clone().into(), None)),
        ("png-16-bits", samples::png(&wide.to_rgba16().into(), Some(profile.clone()))),
        ("png-grey", samples::png(&wide.to_luma_alpha8().into(), None)),
        ("png-palette", palette(2, 0)),
        ("png-interlaced", palette(8, 1)),
        ("png-animated", samples::animated_png(&frames)),
        ("webp-lossless", lossless.clone()),
        ("webp-lossy", samples::webp(&DynamicImage::from(opaque.clone()).into_rgba8(), false)),
        ("webp-lossy-alpha", samples::webp(&colours, false)),
        (
            "webp-extended",
            samples::webp_with(
                &lossless,
                (17, 9),
                0x28,
                &[(*b"ICCP", profile)],
                &[(*b"EXIF", samples::camera_exif(8))],
            ),
        ),
        ("webp-animated", samples::animated_webp(&frames)),
        ("webp-animated-lossy", made(&moving, "format=webp,width=10")),
        ("gif", gif.clone()),
        ("gif-87a", [b"GIF87a", &gif[6..]].concat()),
        ("gif-animated", made(&moving, "format=gif,width=10")),
        ("avif-alpha", samples::avif()),
    ]
}

pub(super) fn metadata() -> Vec<Vec<u8>> {
    let adobe = samples::icc(&ColorProfile::new_adobe_rgb());
    let p3 = samples::icc(&ColorProfile::new_display_p3());
    let grey = samples::icc(&ColorProfile::new_gray_with_gamma(2.2));
    let mut curved = ColorProfile::new_srgb();
    curved.red_trc = Some(ToneReprCurve::Lut((0..64_u16).map(|n| n * n * 16).collect()));
    curved.cicp = None;
    let curved = samples::icc(&curved);
    let lab = samples::icc(&ColorProfile::new_lab());
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let chromaticities = [45_455, 31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000];
    [
        (b'a', samples::camera_exif(6)),
        (b'b', samples::camera_exif(3)),
        (b'c', samples::camera_exif(5)),
        (b'd', adobe),
        (b'e', p3.clone()),
        (b'f', curved),
        (b'g', grey),
        (b'h', p3),
        (b'e', lab),
        (b'i', numbers(&chromaticities)),
        (b'j', vec![12, 13, 0, 1]),
        (b'k', vec![0, 9, 0, 13, 0, 9, 0x80]),
    ]
    .into_iter()
    .chain((b'l'..=b't').map(|carrier| (carrier, b"52.5200N13.4050E\0\0".to_vec())))
    .map(|(carrier, load)| [&[carrier], &load[..]].concat())
    .collect()
}

fn coded(pixels: &[u8], kind: ColorType, sampling: SamplingFactor) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.set_sampling_factor(sampling);
    encoder.encode(pixels, 17, 9, kind).unwrap();
    bytes
}

/// A PNG of four colours, one of them transparent; interlaced, all seven passes lie in it.
fn palette(depth: u8, interlaced: u8) -> Vec<u8> {
    let bytes_in = |pixels: usize| (pixels * usize::from(depth)).div_ceil(8);
    let (width, height) = (17_usize, 9_usize);
    let passes =
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
    let passes = if interlaced == 1 { &passes[..] } else { &[(0, 0, 1, 1)] };
    let mut rows = Vec::new();
    for (x, y, across, down) in passes {
        let columns = (width - x).div_ceil(*across);
        for row in 0..(height - y).div_ceil(*down) {
            rows.push(0); // no filter
            rows.extend(
                (0..bytes_in(columns)).map(|n| if depth == 8 { (n + row) % 4 } else { n * 27 + row } as u8),
            );
        }
    }
    let header = [&17_u32.to_be_bytes()[..], &9_u32.to_be_bytes(), &[depth, 3, 0, 0, interlaced]].concat();
    let chunks = [
        samples::png_chunk(*b"IHDR", &header),
        samples::png_chunk(*b"PLTE", &[255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]),
        samples::png_chunk(*b"tRNS", &[255, 128, 0]),
        samples::png_chunk(*b"IDAT", &stored(&rows)),
        samples::png_chunk(*b"IEND", b""),
    ];
    [&b"\x89PNG\r\n\x1A\n"[..], &chunks.concat()].concat()
}

fn made(source: &[u8], options: &str) -> Vec<u8> {
    let plan = crate::pictures::plan(options, Format::Gif).unwrap();
    render::render(source, Format::Gif, &plan, &LIMITS).unwrap().bytes
}
