//! AVIF's pixels: AV1 by rav1d, and from luma and chroma to red, green and blue.

use image::error::{DecodingError, ImageFormatHint, LimitError, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use re_rav1d::dav1d::{self, PixelLayout, PlanarImageComponent as Channel};

use super::super::colour::described;
use super::super::strip::{AvifPicture, avif_picture};

/// A file whose boxes have been read; its pixels are still coded.
pub(super) struct AvifDecoder {
    picture: AvifPicture,
}

impl AvifDecoder {
    pub(super) fn new(file: &[u8]) -> ImageResult<AvifDecoder> {
        Ok(AvifDecoder { picture: avif_picture(file).map_err(failed)? })
    }

    /// Decodes one stream, which has to be of the picture's size.
    fn decode(&self, stream: &[u8]) -> ImageResult<dav1d::Picture> {
        let (width, height) = self.dimensions();
        let limit = u32::try_from(u64::from(width) * u64::from(height))
            .map_err(|_| ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError)))?;
        let mut settings = dav1d::Settings::new();
        // One core is what a render has, and one frame is what there is.
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        // No frame larger than announced is even begun.
        settings.set_frame_size_limit(limit);
        let mut decoder = dav1d::Decoder::with_settings(&settings).map_err(failed)?;
        decoder.send_data(stream.to_vec(), None, None, None).map_err(failed)?;
        let decoded = decoder.get_picture().map_err(failed)?;
        if (decoded.width(), decoded.height()) != (width, height) {
            return Err(failed("its sizes contradict each other"));
        }
        Ok(decoded)
    }

    fn channels(&self) -> usize {
        if self.picture.alpha.is_some() { 4 } else { 3 }
    }
}

impl ImageDecoder for AvifDecoder {
    fn dimensions(&self) -> (u32, u32) {
        (self.picture.size.width, self.picture.size.height)
    }

    fn color_type(&self) -> ColorType {
        if self.picture.alpha.is_some() { ColorType::Rgba8 } else { ColorType::Rgb8 }
    }

    /// An ICC profile counts before code points (AVIF 1.1 by way of ISO/IEC 23000-22, §7.3.6.4).
    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        let described = || {
            let ([primaries, transfer, _], _) = self.picture.code_points?;
            described::cicp(primaries, transfer)
        };
        Ok(self.picture.icc.clone().or_else(described))
    }

    /// The file's own turns; an EXIF block has no say in AVIF.
    fn orientation(&mut self) -> ImageResult<Orientation> {
        Ok(self.picture.orientation)
    }

    fn read_image(self, buf: &mut [u8]) -> ImageResult<()> {
        let width = self.picture.size.width as usize;
        let channels = self.channels();
        // One decoded frame at a time is in memory.
        let colour = self.decode(&self.picture.colour)?;
        paint(buf, width, channels, &colour, &Light::new(&colour, self.picture.code_points)?);
        drop(colour);
        if let Some(stream) = &self.picture.alpha {
            let alpha = self.decode(stream)?;
            fade(buf, width, &alpha, &Light::new(&alpha, None)?, self.picture.premultiplied);
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, buf: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(buf)
    }
}

/// Writes the colours of a frame into pixels of three or four channels.
fn paint(buf: &mut [u8], width: usize, channels: usize, frame: &dav1d::Picture, light: &Light) {
    let luma = Samples::new(frame, Channel::Y);
    let layout = frame.pixel_layout();
    let chroma = (layout != PixelLayout::I400)
        .then(|| (Samples::new(frame, Channel::U), Samples::new(frame, Channel::V)));
    let (halve_x, halve_y) = match layout {
        PixelLayout::I420 => (1, 1),
        PixelLayout::I422 => (1, 0),
        PixelLayout::I400 | PixelLayout::I444 => (0, 0),
    };
    for (y, row) in buf.chunks_exact_mut(width * channels).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
            let luma = luma.at(x, y);
            let rgb = chroma.as_ref().map_or_else(
                || light.grey(luma),
                |(u, v)| {
                    let (x, y) = (x >> halve_x, y >> halve_y);
                    light.colour(luma, u.at(x, y), v.at(x, y))
                },
            );
            pixel[..3].copy_from_slice(&rgb);
        }
    }
}

/// Writes a frame's luma into the fourth channel; divides the colours by it where they were
/// multiplied.
fn fade(buf: &mut [u8], width: usize, frame: &dav1d::Picture, light: &Light, premultiplied: bool) {
    let samples = Samples::new(frame, Channel::Y);
    for (y, row) in buf.chunks_exact_mut(width * 4).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let [alpha, ..] = light.grey(samples.at(x, y));
            pixel[3] = alpha;
            if premultiplied {
                for value in &mut pixel[..3] {
                    let whole = u32::from(*value) * 255 / u32::from(alpha.max(1));
                    *value = u8::try_from(whole).unwrap_or(u8::MAX);
                }
            }
        }
    }
}

/// One plane of a decoded frame.
struct Samples {
    plane: dav1d::Plane,
    /// Bytes.
    stride: usize,
    wide: bool,
}

impl Samples {
    fn new(picture: &dav1d::Picture, channel: Channel) -> Samples {
        Samples {
            plane: picture.plane(channel),
            stride: picture.stride(channel) as usize,
            wide: picture.bit_depth() > 8,
        }
    }

    /// The sample's value, of as many bits as the picture has.
    fn at(&self, x: usize, y: usize) -> usize {
        let row = self.plane.get(y * self.stride..).unwrap_or_default();
        if self.wide {
            let sample = row.get(x * 2..).and_then(|row| row.first_chunk()).copied();
            u16::from_ne_bytes(sample.unwrap_or_default()).into()
        } else {
            row.get(x).copied().unwrap_or_default().into()
        }
    }
}

/// From samples to light (ITU-T H.273, §8.3), by tables with a place for every value.
struct Light {
    identity: bool,
    /// Luma as 0–255.
    luma: Vec<f32>,
    /// A chroma value as -127.5–127.5.
    chroma: Vec<f32>,
    /// What chroma adds: V to red, U and V to green, U to blue.
    weights: [f32; 4],
}

impl Light {
    /// `code_points` are the file's, which count before the stream's own.
    fn new(picture: &dav1d::Picture, code_points: Option<([u8; 3], bool)>) -> ImageResult<Light> {
        let (matrix, full) = match code_points {
            Some(([_, _, matrix], full)) => (matrix, full),
            None => {
                (picture.matrix_coefficients() as u8, picture.color_range() == dav1d::pixel::YUVRange::Full)
            }
        };
        let depth = picture.bits_per_component().map_or(8, |bits| bits.0);
        let top = (1_usize << depth) - 1;
        let step = f32::from(1_u16 << (depth - 8));
        let (black, luma_span, chroma_span) =
            if full { (0.0, as_f32(top), as_f32(top)) } else { (16.0 * step, 219.0 * step, 224.0 * step) };
        let middle = 128.0 * step;

        // The parts of red and of blue in luma.
        let (red, blue) = match matrix {
            1 => (0.2126, 0.0722),
            0 | 2 | 5 | 6 => (0.299, 0.114),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => return Err(failed("its colours are coded in a way that is not in use")),
        };
        let green = 1.0 - red - blue;
        let weights = [
            2.0 * (1.0 - red),
            -2.0 * (1.0 - blue) * blue / green,
            -2.0 * (1.0 - red) * red / green,
            2.0 * (1.0 - blue),
        ];
        let identity = matrix == 0 && picture.pixel_layout() == PixelLayout::I444;
        let table = |origin: f32, span: f32| -> Vec<f32> {
            (0..=top).map(|value| (as_f32(value) - origin) / span * 255.0).collect()
        };
        Ok(Light { identity, luma: table(black, luma_span), chroma: table(middle, chroma_span), weights })
    }

    fn grey(&self, luma: usize) -> [u8; 3] {
        [level(look_up(&self.luma, luma)); 3]
    }

    fn colour(&self, luma: usize, u: usize, v: usize) -> [u8; 3] {
        if self.identity {
            return [v, luma, u].map(|value| level(look_up(&self.luma, value)));
        }
        let luma = look_up(&self.luma, luma);
        let (u, v) = (look_up(&self.chroma, u), look_up(&self.chroma, v));
        let [v_red, u_green, v_green, u_blue] = self.weights;
        [luma + v * v_red, luma + u * u_green + v * v_green, luma + u * u_blue].map(level)
    }
}

fn look_up(table: &[f32], value: usize) -> f32 {
    table.get(value).copied().unwrap_or(255.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0–255 first")]
fn level(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[expect(clippy::cast_precision_loss, reason = "samples have at most 12 bits")]
fn as_f32(value: usize) -> f32 {
    value as f32
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Avif), error))
}
