//! JPEG's pixels, by the decoder that shows each kind right; and nothing where some of them are missing.

use image::error::{DecodingError, ImageFormatHint, UnsupportedError, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use jpeg_decoder::ColorTransform;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::colour;
use super::super::strip::{JPEG_END, JpegCoding, jpeg_coding};

/// Most blocks that one code can say to have nothing new (T.81, G.1.2.2).
const MAX_RUN: usize = 0x7FFF;

/// A file whose header has been read; its pixels are still coded.
pub(super) struct JpegDecoder<'a> {
    file: &'a [u8],
    coding: JpegCoding,
    colours: Colours,
    width: u16,
    height: u16,
    icc: Option<Vec<u8>>,
    exif: Option<Vec<u8>>,
}

/// What the components of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colours {
    Grey,
    Rgb,
    YCbCr,
    /// Inks, all of them inverted, as everybody stores them since Adobe did.
    Cmyk,
    /// The same, the first three as luma and chroma.
    Ycck,
}

impl Colours {
    /// By the number of components, and by what the decoder makes of a file's header: it knows about
    /// Adobe's segment before it knows the number.
    fn of(components: u8, seen: ColorSpace) -> Option<Colours> {
        match (components, seen) {
            (1, _) => Some(Colours::Grey),
            (3, ColorSpace::RGB | ColorSpace::CMYK) => Some(Colours::Rgb),
            (3, ColorSpace::YCbCr | ColorSpace::YCCK) => Some(Colours::YCbCr),
            (4, ColorSpace::CMYK) => Some(Colours::Cmyk),
            (4, ColorSpace::YCCK) => Some(Colours::Ycck),
            _ => None,
        }
    }

    /// How zune-jpeg is asked for them: inks as they are stored, since it does not follow profiles.
    fn wanted(self) -> ColorSpace {
        match self {
            Colours::Grey => ColorSpace::Luma,
            Colours::Rgb | Colours::YCbCr => ColorSpace::RGB,
            Colours::Cmyk => ColorSpace::CMYK,
            Colours::Ycck => ColorSpace::YCCK,
        }
    }

    /// What jpeg-decoder is to make grey, RGB or inks from.
    fn transform(self) -> ColorTransform {
        match self {
            Colours::Grey => ColorTransform::Grayscale,
            Colours::Rgb => ColorTransform::RGB,
            Colours::YCbCr => ColorTransform::YCbCr,
            Colours::Cmyk => ColorTransform::CMYK,
            Colours::Ycck => ColorTransform::YCCK,
        }
    }

    fn are_inks(self) -> bool {
        matches!(self, Colours::Cmyk | Colours::Ycck)
    }
}

impl<'a> JpegDecoder<'a> {
    pub(super) fn new(file: &'a [u8]) -> ImageResult<JpegDecoder<'a>> {
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(file), options());
        decoder.decode_headers().map_err(by_zune)?;
        let (Some(info), Some(seen)) = (decoder.info(), decoder.input_colorspace()) else {
            return Err(failed("it has no header"));
        };
        let colours = Colours::of(info.components, seen).ok_or_else(|| {
            let kind = format!("{} components of {seen:?}", info.components);
            unsupported(kind)
        })?;
        Ok(JpegDecoder {
            file,
            coding: jpeg_coding(file).map_err(failed)?,
            colours,
            width: info.width,
            height: info.height,
            icc: decoder.icc_profile(),
            exif: info.exif_data,
        })
    }

    /// The file with one bits behind its coded data, of which no code consists (T.81, annex C): a
    /// decoder that needs more data than there is finds out at once, and not as soon as it has
    /// invented a grey rest of the picture.
    fn guarded(&self) -> Vec<u8> {
        let ones = match self.coding {
            JpegCoding::Sequential | JpegCoding::Unusual => 8,
            // Within a run of blocks bits are taken that are no code: at most 63 for each block.
            JpegCoding::Progressive => {
                let blocks = usize::from(self.width).div_ceil(8) * usize::from(self.height).div_ceil(8);
                8 * (1 + blocks.min(MAX_RUN))
            }
        };
        let file = self.file.strip_suffix(&JPEG_END).unwrap_or(self.file);
        let mut guarded = Vec::with_capacity(file.len() + 2 * ones + JPEG_END.len());
        guarded.extend(file);
        guarded.extend([0xFF, 0].repeat(ones));
        guarded.extend(JPEG_END);
        guarded
    }

    /// Decodes grey, RGB, or inks of which 255 is all.
    fn decode(&self, pixels: &mut [u8]) -> ImageResult<()> {
        let file = self.guarded();
        if self.coding == JpegCoding::Unusual {
            let mut decoder = jpeg_decoder::Decoder::new(&file[..]);
            decoder.set_color_transform(self.colours.transform());
            let decoded = decoder.decode().map_err(by_jpeg_decoder)?;
            if decoded.len() != pixels.len() {
                return Err(failed("its sizes contradict each other"));
            }
            pixels.copy_from_slice(&decoded);
            return Ok(());
        }
        let options = options().jpeg_set_out_colorspace(self.colours.wanted());
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(&file[..]), options);
        decoder.decode_into(pixels).map_err(by_zune)?;
        match self.colours {
            Colours::Grey | Colours::Rgb | Colours::YCbCr => {}
            Colours::Cmyk => pixels.iter_mut().for_each(|ink| *ink = 255 - *ink),
            Colours::Ycck => pixels.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = inks(*pixel)),
        }
        Ok(())
    }
}

/// Bytes for each pixel that a decoder holds beside those it writes: the inks, if there are any; two for each
/// component until the last scan, where there are several; and all of the picture twice more, where another
/// decoder takes it.
pub(super) fn held(file: &[u8]) -> u64 {
    let Ok(JpegDecoder { coding, colours, .. }) = JpegDecoder::new(file) else { return 0 };
    let (components, inks) = match colours {
        Colours::Grey => (1, 0),
        Colours::Rgb | Colours::YCbCr => (3, 0),
        Colours::Cmyk | Colours::Ycck => (4, 4),
    };
    inks + match coding {
        JpegCoding::Sequential => 0,
        JpegCoding::Progressive => 2 * components,
        JpegCoding::Unusual => 4 * components,
    }
}

impl ImageDecoder for JpegDecoder<'_> {
    fn dimensions(&self) -> (u32, u32) {
        (self.width.into(), self.height.into())
    }

    fn color_type(&self) -> ColorType {
        if self.colours == Colours::Grey { ColorType::L8 } else { ColorType::Rgb8 }
    }

    /// Of the pixels as they are decoded: inks have become sRGB by then.
    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.icc.clone().filter(|_| !self.colours.are_inks()))
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.exif.clone())
    }

    fn read_image(self, buf: &mut [u8]) -> ImageResult<()> {
        if !self.colours.are_inks() {
            return self.decode(buf);
        }
        let mut inks = vec![0; buf.len() / 3 * 4];
        self.decode(&mut inks)?;
        colour::inks_to_srgb(&inks, self.icc.as_deref(), buf);
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, buf: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(buf)
    }
}

/// Every size is allowed, since it has been judged before pixels are decoded; nothing is forgiven.
fn options() -> DecoderOptions {
    let options = DecoderOptions::default().set_strict_mode(true);
    options.set_max_width(usize::MAX).set_max_height(usize::MAX)
}

/// From luma, chroma and inverted black (ITU-R BT.601 in all of its range, as JFIF has it): what they
/// make of red, green and blue is inks already, since these are inverted too.
fn inks([luma, blue, red, black]: [u8; 4]) -> [u8; 4] {
    const ONE: i32 = 1 << 16;
    let luma = i32::from(luma) * ONE + ONE / 2;
    let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
    let rgb = [luma + 91_881 * red, luma - 22_554 * blue - 46_802 * red, luma + 116_130 * blue];
    let [c, m, y] = rgb.map(|value| u8::try_from((value / ONE).clamp(0, 255)).unwrap_or(u8::MAX));
    [c, m, y, 255 - black]
}

fn by_zune(error: DecodeErrors) -> ImageError {
    match error {
        DecodeErrors::Unsupported(scheme) => unsupported(format!("{scheme:?}")),
        error => failed(error),
    }
}

fn by_jpeg_decoder(error: jpeg_decoder::Error) -> ImageError {
    match error {
        jpeg_decoder::Error::Unsupported(feature) => unsupported(format!("{feature:?}")),
        error => failed(error),
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), error))
}

fn unsupported(what: String) -> ImageError {
    ImageError::Unsupported(UnsupportedError::from_format_and_kind(
        ImageFormatHint::Exact(ImageFormat::Jpeg),
        UnsupportedErrorKind::GenericFeature(what),
    ))
}
