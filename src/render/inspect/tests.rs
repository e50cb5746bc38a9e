//! Uploads that must be taken for what they are, and uploads that must be refused.

use image::DynamicImage;

use super::super::samples::{self, MARKER};
use super::*;

#[test]
fn inspection_reports_what_is_there() {
    let gradient = samples::gradient(17, 9);
    let frames = [gradient.clone(), samples::gradient(17, 9), gradient.clone()];
    let rgb = samples::quadrants(17, 9);
    for (source, format, frames, has_alpha) in [
        (samples::jpeg(&rgb, false), Format::Jpeg, 1, false),
        (samples::jpeg(&rgb, true), Format::Jpeg, 1, false),
        (samples::jpeg_apart(&rgb), Format::Jpeg, 1, false),
        (samples::png(&rgb.into(), None), Format::Png, 1, false),
        (samples::png(&gradient.clone().into(), None), Format::Png, 1, true),
        (samples::webp(&gradient, false), Format::Webp, 1, true),
        (samples::animated_png(&frames), Format::Png, 3, true),
        (samples::animated_webp(&frames), Format::Webp, 3, true),
        (samples::gif(&frames[..1]), Format::Gif, 1, true),
        (samples::gif(&frames), Format::Gif, 3, true),
        (samples::avif(), Format::Avif, 1, true),
    ] {
        let found = inspect(&source, format, &Limits::default()).unwrap();
        let expected = Inspected { width: 17, height: 9, frames, has_alpha, ..found.clone() };
        assert_eq!(found, expected);
    }
}

#[test]
fn no_side_is_longer_than_a_jpegs() {
    for (width, height) in [(MAX_SOURCE_SIDE, 1), (1, MAX_SOURCE_SIDE)] {
        let line = |width, height| samples::png(&samples::quadrants(width, height).into(), None);
        assert!(inspect(&line(width, height), Format::Png, &Limits::default()).is_ok());
        let longer = line(width + u32::from(width > 1), height + u32::from(height > 1));
        let rejected = inspect(&longer, Format::Png, &Limits::default());
        assert!(matches!(rejected, Err(Rejected::TooLong { .. })), "{rejected:?}");
    }
}

#[test]
fn a_canvas_beyond_the_limit_is_refused_by_its_header() {
    // None of these has the pixels it claims: only the header can be what refuses them.
    let mut jpeg = samples::jpeg(&samples::quadrants(16, 8), false);
    let sof = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[sof + 5..sof + 9].fill(0xFF);

    let png = samples::png(&samples::gradient(8, 8).into(), None);
    let mut header = png[16..29].to_vec();
    header[..8].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
    let png = [&png[..8], &samples::png_chunk(*b"IHDR", &header), &png[33..]].concat();

    let mut webp = samples::webp(&samples::gradient(8, 8), true);
    webp[21..25].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0x0F]);

    let mut gif = samples::gif(&[samples::gradient(8, 8)]);
    gif[6..10].fill(0xFF);

    let mut avif = samples::avif();
    let ispe = avif.windows(4).position(|w| w == b"ispe").unwrap();
    avif[ispe + 8..ispe + 16].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);

    for (source, format) in [
        (jpeg, Format::Jpeg),
        (png, Format::Png),
        (webp, Format::Webp),
        (gif, Format::Gif),
        (avif, Format::Avif),
    ] {
        let rejected = inspect(&source, format, &Limits::default()).unwrap_err();
        assert!(matches!(rejected, Rejected::TooManyPixels { .. }), "{rejected}");
    }
}

#[test]
fn animations_are_bounded_and_decoded_to_the_last_frame() {
    let frames = [samples::gradient(17, 9), samples::gradient(17, 9)];
    let limits = Limits { max_animation_pixels: 17 * 9 * 2 - 1, ..Limits::default() };
    for (mut source, format, last) in [
        (samples::animated_png(&frames), Format::Png, &b"fdAT"[..]),
        (samples::animated_webp(&frames), Format::Webp, b"ANMF"),
        (samples::gif(&frames), Format::Gif, &[0x2C, 0, 0, 0]),
    ] {
        let rejected = inspect(&source, format, &limits).unwrap_err();
        assert!(matches!(rejected, Rejected::TooLongAnimation { frames: 2, .. }), "{rejected}");
        let limits = Limits { max_frames: 1, ..Limits::default() };
        let rejected = inspect(&source, format, &limits).unwrap_err();
        assert!(matches!(rejected, Rejected::TooManyFrames { frames: 2, .. }), "{rejected}");

        let at = source.windows(last.len()).rposition(|w| w == last).unwrap();
        if format == Format::Png {
            // Valid checksums around data that is no zlib stream.
            let len = usize::from(source[at - 1]) + usize::from(source[at - 2]) * 256;
            let broken =
                samples::png_chunk(*b"fdAT", &[&source[at + 4..at + 8], &vec![0xA5; len - 4][..]].concat());
            source.splice(at - 4..at + 8 + len, broken);
        } else if format == Format::Gif {
            // Past descriptor, palette, code size and the sub-block's length: the end, at once.
            source[at + 10 + 768 + 2..][..4].copy_from_slice(&[1, 1, 1, 1]);
        } else {
            // Past the ANMF header, VP8L's header and its size, the coded data.
            let end = source.len();
            source[at + 8 + 16 + 8 + 5..end].fill(0xFF);
            let note = samples::webp_chunk(*b"NOTE", MARKER);
            source[end - note.len()..].copy_from_slice(&note);
        }
        let rejected = inspect(&source, format, &Limits::default()).unwrap_err();
        assert!(matches!(rejected, Rejected::Undecodable { .. }), "{rejected}");
    }
}

#[test]
fn refusals_are_sentences_for_the_sender() {
    let png = samples::png(&samples::gradient(8, 8).into(), None);
    let small = Limits { max_pixels: 63, ..Limits::default() };
    assert_eq!(
        inspect(&png, Format::Png, &small).unwrap_err().to_string(),
        "The picture is 8×8 pixels, which is more than the 63 pixels allowed."
    );
    assert_eq!(
        inspect(&png[..40], Format::Png, &small).unwrap_err().to_string(),
        "The png file is damaged or incomplete: it ends too early."
    );
    let mut lossless = samples::jpeg(&samples::quadrants(16, 8), false);
    let sof = lossless.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    lossless[sof + 1] = 0xC3;
    assert_eq!(
        inspect(&lossless, Format::Jpeg, &Limits::default()).unwrap_err().to_string(),
        "This kind of jpeg file is not supported: it is coded in a way that is not in use."
    );
}

/// Where the coded data of a JPEG ends, and nothing is missing: before each marker that is no restart.
fn is_between_scans(jpeg: &[u8], at: usize) -> bool {
    matches!(jpeg.get(at..at + 2), Some([0xFF, code]) if !matches!(code, 0 | 0xD0..=0xD7))
}

/// Decoders go on with zeros or grey where the data ends, and call it a picture.
#[test]
fn a_jpeg_that_is_cut_short_and_closed_is_refused() {
    let picture = DynamicImage::from(samples::gradient(67, 45)).into_rgb8();
    let mut restarting = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut restarting, 80);
    encoder.set_restart_interval(3);
    encoder.encode(&picture, 67, 45, jpeg_encoder::ColorType::Rgb).unwrap();
    for (kind, jpeg) in [
        ("baseline", samples::jpeg(&picture, false)),
        ("apart", samples::jpeg_apart(&picture)),
        ("restarting", restarting),
        ("progressive", samples::jpeg(&picture, true)),
    ] {
        inspect(&jpeg, Format::Jpeg, &Limits::default()).unwrap();
        for cut in 0..jpeg.len() - 2 {
            // What was cut there is whole, only not as sharp. So it is if the last bytes of a scan are
            // lost that say of how many blocks they say nothing.
            let whole = (cut.max(1) - 1..cut + 4).any(|at| is_between_scans(&jpeg, at));
            for end in [&[0xFF, 0xD9][..], b""] {
                let cut_short = [&jpeg[..cut], end].concat();
                let found = inspect(&cut_short, Format::Jpeg, &Limits::default());
                let may_be_taken = kind == "progressive" && whole;
                assert!(found.is_err() || may_be_taken, "{kind} cut at {cut}: {found:?}");
            }
        }
    }
}

/// Each frame would be decoded for its own sake; what is shown is one.
#[test]
fn an_avif_has_one_frame_of_the_size_it_says() {
    let avif = samples::avif();
    let ispe = avif.windows(4).position(|w| w == b"ispe").unwrap();
    for (width, height) in [(16, 9), (17, 10), (200, 200), (1, 1)] {
        let mut lying = avif.clone();
        lying[ispe + 11] = width;
        lying[ispe + 15] = height;
        let rejected = inspect(&lying, Format::Avif, &Limits::default()).unwrap_err();
        assert!(matches!(rejected, Rejected::Undecodable { .. }), "{rejected}");
    }
}
