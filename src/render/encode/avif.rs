//! AVIF: our pixels as luma and chroma, AV1 by rav1e, and the boxes around it.
//!
//! Ten bits, since AV1 rounds after every step: that costs no time, and at the same looks 5 % fewer
//! bytes than eight. All decoders have them.

use std::borrow::Cow;

use avif_serialize::{Aviffy, constants};
use image::{GenericImageView as _, Rgb, RgbImage, Rgba, RgbaImage};
use rav1e::prelude::{
    BlockSize, ChromaSampling, ColorDescription, ColorPrimaries, Config, Context, EncoderConfig,
    EncoderStatus, Frame, MatrixCoefficients, PartitionRange, PixelRange, Plane, SceneDetectionSpeed,
    SpeedSettings, TransferCharacteristics,
};

use super::super::{Format, default_quality};
use super::{FULL_CHROMA_QUALITY, Pixels, RenderError, Size};

const BIT_DEPTH: u8 = 10;
/// What 255 of eight bits are of ten.
const WHITE: f32 = 1023.0;
/// What no colour is of ten bits.
const GREY: f32 = 512.0;
/// The parts of red and of blue in luma (ITU-R BT.601, as JFIF has it).
const RED_IN_LUMA: f32 = 0.299;
const BLUE_IN_LUMA: f32 = 0.114;

/// How coarse an alpha plane is: two levels off at most, at the price of a few hundred bytes.
const ALPHA_QUANTIZER: u8 = 32;

/// Encodes `pixels`. `quality` is 1–100.
pub(super) fn avif(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, RenderError> {
    let Size { width, height } = pixels.size();
    let (colours, alpha) = match pixels {
        Pixels::Rgb(image) => (Cow::Borrowed(image), None),
        Pixels::Rgba(image) => (Cow::Owned(without_hidden_colours(image)), Some(image)),
    };
    let alpha = alpha.filter(|image| image.pixels().any(|pixel| pixel[3] < u8::MAX));

    let is_subsampled = quality < FULL_CHROMA_QUALITY;
    let sampling = if is_subsampled { ChromaSampling::Cs420 } else { ChromaSampling::Cs444 };
    let colour = encoded(pixels.size(), sampling, quantizer(quality), |frame| paint(frame, &colours))?;
    let alpha = alpha
        .map(|image| {
            encoded(pixels.size(), ChromaSampling::Cs400, ALPHA_QUANTIZER, |frame| {
                let levels = image.pixels().map(|pixel| level(f32::from(pixel[3]) * WHITE / 255.0));
                fill(&mut frame.planes[0], width, levels);
            })
        })
        .transpose()?;

    let mut file = Vec::new();
    Aviffy::new()
        .set_matrix_coefficients(constants::MatrixCoefficients::Bt601)
        .set_chroma_subsampling((is_subsampled, is_subsampled))
        // Main, and High with all of the chroma (AV1, §6.4.1).
        .set_seq_profile(u8::from(!is_subsampled))
        .write(&mut file, &colour, alpha.as_deref(), width, height, BIT_DEPTH)
        .map_err(|error| failed(&error))?;
    Ok(file)
}

/// One picture as an AV1 stream.
fn encoded(
    size: Size,
    sampling: ChromaSampling,
    quantizer: u8,
    draw: impl FnOnce(&mut Frame<u16>),
) -> Result<Vec<u8>, RenderError> {
    let colours = ColorDescription {
        color_primaries: ColorPrimaries::BT709,
        transfer_characteristics: TransferCharacteristics::SRGB,
        matrix_coefficients: MatrixCoefficients::BT601,
    };
    let config = EncoderConfig {
        width: size.width as usize,
        height: size.height as usize,
        bit_depth: BIT_DEPTH.into(),
        chroma_sampling: sampling,
        pixel_range: PixelRange::Full,
        color_description: (sampling != ChromaSampling::Cs400).then_some(colours),
        still_picture: true,
        quantizer: quantizer.into(),
        min_quantizer: quantizer,
        speed_settings: speed(),
        ..EncoderConfig::default()
    };
    let mut context: Context<u16> =
        Config::new().with_encoder_config(config).with_threads(1).new_context().map_err(|e| failed(&e))?;
    let mut frame = context.new_frame();
    draw(&mut frame);
    context.send_frame(frame).map_err(|error| failed(&error))?;
    context.flush();
    let mut stream = Vec::new();
    loop {
        match context.receive_packet() {
            Ok(packet) => stream.extend(packet.data),
            Err(EncoderStatus::Encoded) => {}
            Err(EncoderStatus::LimitReached) => return Ok(stream),
            Err(error) => return Err(failed(&error)),
        }
    }
}

fn failed(error: &dyn std::error::Error) -> RenderError {
    RenderError::Encode(error.to_string())
}

/// How hard rav1e works: what is fast in finding out how to cut a picture into blocks, and thorough
/// about blocks down to 8 × 8 pixels. Of what was tried (CPU time without assembler, and bytes at
/// SSIMULACRA2 77, for two photographs at 400 and at 1200 pixels, in the mean):
///
/// | | ms | ms | bytes, WebP's being 1 |
/// |---|---|---|---|
/// | 4:4:4, as ravif has it, speed 10 | 110 | 850 | 1.02 |
/// | no blocks below 16 × 16 | 75 | 560 | 0.92 |
/// | **this** | 140 | 1030 | 0.88 |
/// | with fine directions | 185 | 1370 | 0.87 |
/// | rav1e's own speed 6 | 530 | 3870 | 0.86 |
fn speed() -> SpeedSettings {
    let mut settings = SpeedSettings::from_preset(8);
    settings.partition.partition_range = PartitionRange::new(BlockSize::BLOCK_8X8, BlockSize::BLOCK_16X16);
    settings.prediction.fine_directional_intra = false;
    settings.cdef = false;
    // There is one frame, and nothing before or after it to look at.
    settings.rdo_lookahead_frames = 1;
    settings.scene_detection_mode = SceneDetectionSpeed::None;
    settings
}

/// The quantizer of AV1, 0–255, that looks about as good as WebP does at `quality`.
///
/// WebP's SSIMULACRA2 for a photograph at 400 pixels, and the quantizer that reaches it: 29 at 10 (195),
/// 49 at 30 (171), 63 at 50 (150), 76 at 80 (113), 85 at 90 (71), 88 at 95 (49). Two lines come near enough,
/// and meet at the default. There, three photographs at 400 and at 1200 pixels reach 75 to 78, and
/// WebP 71 to 78 with 5 to 10 % more bytes.
fn quantizer(quality: u8) -> u8 {
    const LOWEST: u32 = 207;
    const DEFAULT: u32 = 108;
    const HIGHEST: u32 = 8;
    let (quality, default) = (u32::from(quality.min(100)), u32::from(default_quality(Format::Avif)));
    let quantizer = if quality < default {
        LOWEST - (LOWEST - DEFAULT) * quality / default
    } else {
        HIGHEST + (DEFAULT - HIGHEST) * (100 - quality) / (100 - default)
    };
    u8::try_from(quantizer).unwrap_or(u8::MAX)
}

/// Writes the colours into the three planes of a frame.
fn paint(frame: &mut Frame<u16>, colours: &RgbImage) {
    let (width, height) = colours.dimensions();
    let [luma_plane, blue_plane, red_plane] = &mut frame.planes;
    fill(luma_plane, width, colours.pixels().map(|pixel| level(luma(ten_bits(*pixel)))));

    // A chroma sample stands for so many pixels in each direction.
    let step = 1_usize << blue_plane.cfg.xdec;
    let part = 1_u32 << blue_plane.cfg.xdec;
    let means = || {
        let starts = move |side: u32| (0..side).step_by(step);
        starts(height).flat_map(move |y| starts(width).map(move |x| mean(colours, x, y, part)))
    };
    let width = width.div_ceil(part);
    let chroma = |colour: f32, luma: f32, part: f32| level(GREY + (colour - luma) / (2.0 * (1.0 - part)));
    fill(blue_plane, width, means().map(|rgb| chroma(rgb[2], luma(rgb), BLUE_IN_LUMA)));
    fill(red_plane, width, means().map(|rgb| chroma(rgb[0], luma(rgb), RED_IN_LUMA)));
}

/// Writes samples into a plane, row by row.
fn fill(plane: &mut Plane<u16>, width: u32, mut samples: impl Iterator<Item = u16>) {
    for row in plane.rows_iter_mut() {
        // What a row has beyond the picture is rav1e's own.
        for (place, sample) in row.iter_mut().take(width as usize).zip(&mut samples) {
            *place = sample;
        }
    }
}

/// The mean of the pixels in a square, as far as there is any.
fn mean(colours: &RgbImage, left: u32, top: u32, side: u32) -> [f32; 3] {
    let (width, height) = (side.min(colours.width() - left), side.min(colours.height() - top));
    let square = colours.view(left, top, width, height);
    let mut sums = [0.0; 3];
    for (_, _, pixel) in square.pixels() {
        for (sum, value) in sums.iter_mut().zip(ten_bits(pixel)) {
            *sum += value;
        }
    }
    let count = f32::from(u8::try_from(width * height).unwrap_or(u8::MAX));
    sums.map(|sum| sum / count)
}

fn luma([red, green, blue]: [f32; 3]) -> f32 {
    RED_IN_LUMA * red + (1.0 - RED_IN_LUMA - BLUE_IN_LUMA) * green + BLUE_IN_LUMA * blue
}

fn ten_bits(pixel: Rgb<u8>) -> [f32; 3] {
    pixel.0.map(|value| f32::from(value) * WHITE / 255.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to ten bits first")]
fn level(value: f32) -> u16 {
    value.round().clamp(0.0, WHITE) as u16
}

/// The colours alone. What cannot be seen takes the mean of what can be seen around it: the edge of
/// whatever was hidden there would cost bytes, and smear into the picture.
fn without_hidden_colours(image: &RgbaImage) -> RgbImage {
    const BLOCK: u32 = 16;
    let (width, height) = image.dimensions();
    let mut colours = RgbImage::new(width, height);
    let mut around = [0; 3];
    for top in (0..height).step_by(BLOCK as usize) {
        for left in (0..width).step_by(BLOCK as usize) {
            let block = image.view(left, top, BLOCK.min(width - left), BLOCK.min(height - top));
            let (mut sums, mut weight) = ([0_u32; 3], 0);
            for (_, _, Rgba([red, green, blue, alpha])) in block.pixels() {
                for (sum, value) in sums.iter_mut().zip([red, green, blue]) {
                    *sum += u32::from(value) * u32::from(alpha);
                }
                weight += u32::from(alpha);
            }
            if weight > 0 {
                around = sums.map(|sum| u8::try_from(sum / weight).unwrap_or(u8::MAX));
            }
            for (x, y, Rgba([red, green, blue, alpha])) in block.pixels() {
                let seen = if alpha > 0 { [red, green, blue] } else { around };
                colours.put_pixel(left + x, top + y, Rgb(seen));
            }
        }
    }
    colours
}
