//! The walkers against clean, chatty, cut and corrupted files.

use bytes::Bytes;
use image::{DynamicImage, metadata::Orientation};
use proptest::prelude::*;

use super::super::decode::{Look, Pixels, Source};
use super::super::samples::{self, MARKER, contains};
use super::super::{Limits, inspect};
use super::*;

/// Flags of VP8X (RFC 9649 §2.7).
const ICC_ALPHA_EXIF_XMP: u8 = 0x3C;
const XMP: u8 = 0x04;

fn stripped(source: &[u8], format: Format) -> Result<Bytes, StripError> {
    strip(&Bytes::copy_from_slice(source), format)
}

fn decoded(source: &[u8], format: Format) -> (Pixels, Look) {
    let source = Source::open(source, format, &Limits::default()).unwrap();
    let look = source.look.clone();
    (source.pixels().unwrap(), look)
}

fn profile() -> Vec<u8> {
    samples::icc(&moxcms::ColorProfile::new_display_p3())
}

/// Small files without anything to strip.
fn clean() -> Vec<(&'static str, Format, Vec<u8>)> {
    let picture = samples::gradient(17, 9);
    let rgb = DynamicImage::from(picture.clone()).into_rgb8();
    let frames = [picture.clone(), samples::gradient(17, 9)];
    vec![
        ("baseline", Format::Jpeg, samples::jpeg(&rgb, false)),
        ("progressive", Format::Jpeg, samples::jpeg(&rgb, true)),
        ("apart", Format::Jpeg, samples::jpeg_apart(&rgb)),
        ("png", Format::Png, samples::png(&picture.clone().into(), None)),
        ("apng", Format::Png, samples::animated_png(&frames)),
        ("lossy", Format::Webp, samples::webp(&picture, false)),
        ("lossless", Format::Webp, samples::webp(&picture, true)),
        ("animated", Format::Webp, samples::animated_webp(&frames)),
        ("gif", Format::Gif, samples::gif(&[picture])),
        ("animated gif", Format::Gif, samples::gif(&frames)),
        ("avif", Format::Avif, samples::avif()),
    ]
}

/// Files with a profile, an orientation of 6, and the marker in every corner.
fn chatty() -> Vec<(&'static str, Format, Vec<u8>)> {
    let said = || MARKER.to_vec();
    let picture = samples::gradient(17, 9);
    let rgb = DynamicImage::from(picture.clone()).into_rgb8();
    let jfxx = [b"JFXX\0\x10", MARKER].concat();
    let jfif = [b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x01", MARKER].concat();
    let segments = [
        (0xE0, jfif),
        (0xE0, jfxx),
        samples::jpeg_exif(6),
        (0xE1, [b"http://ns.adobe.com/xap/1.0/\0", MARKER].concat()),
        samples::jpeg_icc(&profile()),
        (0xE2, [b"MPF\0", MARKER].concat()),
        (0xED, said()),
        (0xFE, said()),
    ];
    let second_picture = samples::jpeg_with(&samples::jpeg(&rgb, false), &[(0xFE, said())]);
    let jpeg = |progressive| {
        let mut jpeg = samples::jpeg_with(&samples::jpeg(&rgb, progressive), &segments);
        let end = jpeg.len() - 2;
        jpeg.splice(end..end, [0xFF; 3]); // fill before the last marker
        jpeg.extend(&second_picture);
        jpeg
    };

    let mut png = samples::png_with(
        &samples::png(&picture.clone().into(), Some(profile())),
        &[
            (*b"tEXt", [b"Comment\0", MARKER].concat()),
            (*b"iTXt", [b"XML:com.adobe.xmp\0\0\0\0\0", MARKER].concat()),
            (*b"eXIf", samples::camera_exif(6)),
            (*b"prVt", said()),
            (*b"tIME", vec![7, 234, 1, 1, 0, 0, 0]),
        ],
    );
    png.extend(MARKER);

    let mut webp = samples::webp_with(
        &samples::webp(&picture, true),
        picture.dimensions(),
        ICC_ALPHA_EXIF_XMP,
        &[(*b"ICCP", profile()), (*b"NOTE", said())],
        &[(*b"EXIF", samples::camera_exif(6)), (*b"XMP ", said()), (*b"NOTE", said())],
    );
    webp.extend(MARKER);

    vec![
        ("baseline", Format::Jpeg, jpeg(false)),
        ("progressive", Format::Jpeg, jpeg(true)),
        ("png", Format::Png, png),
        ("webp", Format::Webp, webp),
    ]
}

#[test]
fn metadata_goes_and_the_picture_stays() {
    for (name, format, source) in chatty() {
        assert!(contains(&source, MARKER), "{name} says nothing to strip");
        let stripped = stripped(&source, format).unwrap();
        assert!(!contains(&stripped, MARKER), "{name}");

        let (before, _) = decoded(&source, format);
        let (after, look) = decoded(&stripped, format);
        assert!(before == after, "{name}'s pixels changed");
        assert_eq!(look.orientation, Orientation::Rotate90, "{name}");
        assert_eq!(look.profile, Some(profile()), "{name}");
        inspect(&stripped, format, &Limits::default()).unwrap();
    }
}

#[test]
fn gifs_keep_their_frames_and_how_often_they_are_shown_and_nothing_else() {
    let frames = [samples::gradient(17, 9), samples::gradient(17, 9)];
    let clean = samples::gif(&frames);
    let mut chatty = samples::gif_with(
        &clean,
        &[
            samples::gif_extension(0xFE, &[MARKER]),
            samples::gif_extension(0xFF, &[b"XMP DataXMP", MARKER]),
            samples::gif_extension(0xFF, &[b"ICCRGBG1012", MARKER]),
            samples::gif_extension(0xF9, &[&[0, 1, 0, 0]]),
            samples::gif_extension(0x01, &[&[0; 12], MARKER]),
            samples::gif_extension(0x77, &[MARKER]),
        ],
    );
    chatty.extend(MARKER);
    assert_eq!(stripped(&chatty, Format::Gif).unwrap(), clean);

    let still = samples::gif(&frames[..1]);
    assert_eq!(walk(&still, Format::Gif).unwrap().animation, None);
    for (repeats, plays) in [(None, 1), (Some([0, 0]), 0), (Some([1, 0]), 2), (Some([0xFF, 0xFF]), 65536)] {
        let header = samples::gif_header_len(&clean);
        let once = [&clean[..header], &clean[header + 19..]].concat();
        let said = repeats.map(|[a, b]| samples::gif_extension(0xFF, &[b"ANIMEXTS1.0", &[1, a, b]]));
        let source = samples::gif_with(&once, said.as_slice());
        let expected = Animation { frames: 2, plays };
        for source in [&source[..], &stripped(&source, Format::Gif).unwrap()] {
            assert_eq!(walk(source, Format::Gif).unwrap().animation, Some(expected));
        }
    }
}

#[test]
fn webp_flags_say_what_is_left() {
    let flags = |webp: &[u8]| (webp[12..16].to_vec(), webp[20]);
    let (_, format, source) = chatty().pop().unwrap();
    let all = (b"VP8X".to_vec(), ICC_ALPHA_EXIF_XMP);
    let kept = (b"VP8X".to_vec(), ICC_ALPHA_EXIF_XMP & !XMP);
    assert_eq!(flags(&source), all);
    assert_eq!(flags(&stripped(&source, format).unwrap()), kept);
}

#[test]
fn stripping_twice_changes_nothing() {
    for (name, format, source) in clean().into_iter().chain(chatty()) {
        let once = stripped(&source, format).unwrap();
        assert_eq!(strip(&once, format).unwrap(), once, "{name}");
    }
}

#[test]
fn clean_files_stay_as_they_are_and_upright_ones_get_no_exif() {
    for (name, format, source) in clean() {
        if name == "animated" || name == "avif" {
            continue; // have something to lose, as the next tests want
        }
        assert_eq!(stripped(&source, format).unwrap(), source, "{name}");
    }
    let jpeg = samples::jpeg(&samples::quadrants(16, 8), false);
    let upright = samples::jpeg_with(&jpeg, &[samples::jpeg_exif(1)]);
    assert_eq!(stripped(&upright, Format::Jpeg).unwrap(), jpeg);
}

#[test]
fn what_is_no_profile_goes_and_what_a_profile_is_called_too() {
    let words = [&[0; 36][..], b"acs?", MARKER, &[0; 100]].concat();
    let rgb = samples::quadrants(16, 8);
    let picture = samples::gradient(17, 9);
    let jpeg = samples::jpeg(&rgb, false);
    let webp = samples::webp(&picture, true);
    for (format, clean, with) in [
        (Format::Jpeg, jpeg.clone(), samples::jpeg_with(&jpeg, &[samples::jpeg_icc(&words)])),
        (Format::Webp, webp.clone(), samples::webp_with(&webp, (17, 9), 0x30, &[(*b"ICCP", words)], &[])),
    ] {
        let found = stripped(&with, format).unwrap();
        assert!(contains(&with, MARKER) && !contains(&found, MARKER), "{format}");
        assert!(decoded(&clean, format).0 == decoded(&found, format).0, "{format}");
    }
    // An AVIF's says what it is, and then is it; nothing may move.
    let mut avif = samples::avif();
    let at = avif.windows(8).position(|name| name == b"colrnclx").unwrap() + 4;
    avif[at..at + 11].copy_from_slice(b"profSECRET!");
    let found = stripped(&avif, Format::Avif).unwrap();
    assert!(!contains(&found, b"SECRET!"));
    assert!(decoded(&avif, Format::Avif).0 == decoded(&found, Format::Avif).0);
    // A JPEG's in two pieces that come in the wrong order stays.
    let profile = profile();
    let (head, tail) = profile.split_at(200);
    let piece = |number, piece: &[u8]| (0xE2, [b"ICC_PROFILE\0", &[number, 2][..], piece].concat());
    let apart = samples::jpeg_with(&jpeg, &[piece(2, tail), piece(1, head)]);
    let found = stripped(&apart, Format::Jpeg).unwrap();
    assert_eq!(decoded(&found, Format::Jpeg).1.profile.as_ref(), Some(&profile));

    let named = |name: &[u8]| {
        let png = samples::png(&picture.clone().into(), Some(profile.clone()));
        let at = png.windows(4).position(|name| name == b"iCCP").unwrap();
        let len = usize::try_from(u32::from_be_bytes(png[at - 4..at].try_into().unwrap())).unwrap();
        let (before, data) = (&png[..at - 4], &png[at + 4..at + 4 + len]);
        let end = data.iter().position(|byte| *byte == 0).unwrap();
        let chunk = samples::png_chunk(*b"iCCP", &[name, &data[end..]].concat());
        [before, &chunk, &png[at + 8 + len..]].concat()
    };
    let (ours, theirs) = (named(b"icc"), named(MARKER));
    assert_eq!(stripped(&theirs, Format::Png).unwrap(), ours);
    assert_eq!(decoded(&ours, Format::Png).1.profile, Some(profile));
}

#[test]
fn frames_lose_their_unknown_chunks() {
    let frames = [samples::gradient(17, 9), samples::gradient(17, 9)];
    let source = samples::animated_webp(&frames);
    let stripped = stripped(&source, Format::Webp).unwrap();
    assert!(contains(&source, MARKER) && !contains(&stripped, MARKER));
    let found = inspect(&stripped, Format::Webp, &Limits::default()).unwrap();
    assert_eq!(found.frames, 2);
}

#[test]
fn avif_items_lose_their_names_and_nothing_moves() {
    let source = samples::avif();
    let stripped = stripped(&source, Format::Avif).unwrap();
    for name in [&b"libavif"[..], b"Color", b"Alpha"] {
        assert!(contains(&source, name) && !contains(&stripped, name));
    }
    assert_eq!(source.len(), stripped.len());
    assert!(decoded(&source, Format::Avif).0 == decoded(&stripped, Format::Avif).0);
}

#[test]
fn every_truncation_is_refused() {
    // Only decoding tells whether a JPEG's data is all there: it is cut beside `inspect`.
    for (name, format, source) in clean().into_iter().filter(|(_, format, _)| *format != Format::Jpeg) {
        for cut in 0..source.len() {
            let cut_short = &source[..cut];
            assert!(stripped(cut_short, format).is_err(), "{name} cut at {cut}");
            let found = inspect(cut_short, format, &Limits::default());
            assert!(found.is_err(), "{name} cut at {cut}: {found:?}");
        }
    }
}

#[test]
fn what_is_wrong_around_a_jpegs_data_is_put_right() {
    for progressive in [false, true] {
        let jpeg = samples::jpeg(&samples::quadrants(40, 24), progressive);
        let (first, end) = (2, jpeg.len() - 2);
        let marker = |code| jpeg.windows(2).position(|w| w == [0xFF, code]).unwrap();
        let at = |at, bytes: &[u8]| [&jpeg[..at], bytes, &jpeg[at..]].concat();
        for (what, source) in [
            ("no end", jpeg[..end].to_vec()),
            ("half an end", jpeg[..=end].to_vec()),
            ("something in front of a marker", at(first, b"\0\xFF\0rubbish")),
            ("fill in front of a marker", at(first, &[0xFF; 5])),
            ("fill in front of the end", at(end, &[0xFF; 5])),
            ("the height once more", at(end, b"\xFF\xDC\0\x04\0\x18")),
            ("tables for nothing", at(end, &jpeg[marker(0xC4)..marker(0xDA)])),
            ("something behind the end", [&jpeg[..], b"rubbish"].concat()),
        ] {
            assert_eq!(stripped(&source, Format::Jpeg).unwrap(), jpeg, "{what}");
        }
    }
}

#[test]
fn lying_structures_are_refused() {
    let jpeg = samples::jpeg(&samples::quadrants(16, 8), false);
    let mut two_frames = jpeg.clone();
    let sof = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    let frame = jpeg[sof..sof + 19].to_vec();
    two_frames.splice(sof..sof, frame);
    assert!(stripped(&two_frames, Format::Jpeg).is_err());

    let mut unknown = jpeg.clone();
    unknown[jpeg.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap() + 5] ^= 0x40;
    assert!(stripped(&unknown, Format::Jpeg).is_err());
    // One scan of a progressive picture is where it was cut.
    let mosaic = samples::jpeg(&samples::quadrants(16, 8), true);
    let second = mosaic.windows(2).enumerate().filter(|(_, w)| *w == [0xFF, 0xDA]).nth(1).unwrap().0;
    assert_eq!(stripped(&mosaic[..second], Format::Jpeg).unwrap_err(), StripError::Truncated);

    let png = samples::png(&samples::gradient(8, 8).into(), None);
    let mut bad_sum = png.clone();
    *bad_sum.last_mut().unwrap() ^= 1;
    assert!(stripped(&bad_sum, Format::Png).is_err());
    let critical = samples::png_with(&png, &[(*b"CgBI", vec![0; 4])]);
    assert!(stripped(&critical, Format::Png).is_err());
    let miscounted = samples::png_with(&png, &[(*b"acTL", vec![0, 0, 0, 3, 0, 0, 0, 0])]);
    assert!(stripped(&miscounted, Format::Png).is_err());

    // A small canvas around a picture that would make the decoder take much more.
    let webp = samples::webp(&samples::gradient(8, 8), true);
    let inner_larger = samples::webp_with(&webp, (4, 4), 0x10, &[], &[]);
    assert_eq!(
        stripped(&inner_larger, Format::Webp).unwrap_err(),
        StripError::Malformed("its sizes contradict each other")
    );
    let mut longer_riff = webp;
    longer_riff[4] += 2;
    assert_eq!(stripped(&longer_riff, Format::Webp).unwrap_err(), StripError::Truncated);
}

#[test]
fn restart_markers_and_stuffing_are_data() {
    let mut source = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut source, 100);
    encoder.set_restart_interval(2);
    let picture = samples::gradient(64, 64);
    encoder.encode(&picture, 64, 64, jpeg_encoder::ColorType::Rgba).unwrap();
    assert!(contains(&source, &[0xFF, 0xD3]) && contains(&source, &[0xFF, 0x00]));
    assert_eq!(stripped(&source, Format::Jpeg).unwrap(), source);
}

proptest! {
    #[test]
    fn corrupted_files_never_panic(
        pick in 0usize..15,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (_, format, mut source) = clean().into_iter().chain(chatty()).nth(pick).unwrap();
        for (at, byte) in flips {
            let at = at.index(source.len());
            source[at] = byte;
        }
        // Small bounds keep a canvas that was flipped to gigapixels from slowing the test.
        let limits = Limits { max_pixels: 100_000, ..Limits::default() };
        let _ = inspect(&source, format, &limits);
        if let Ok(once) = stripped(&source, format) {
            prop_assert_eq!(strip(&once, format).unwrap(), once.clone());
            let _ = inspect(&once, format, &limits);
        }
    }

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (format, magic) in [
            (Format::Jpeg, &b"\xFF\xD8\xFF"[..]),
            (Format::Png, b"\x89PNG\r\n\x1A\n"),
            (Format::Webp, b"RIFF\xC8\0\0\0WEBPVP8X\x0A\0\0\0"),
            (Format::Gif, b"GIF89a\x08\0\x08\0\0\0\0"),
            (Format::Avif, b"\0\0\0\x0Cftypavif\0\0\0\x60meta\0\0\0\0"),
        ] {
            let source = [magic, &bytes].concat();
            let _ = stripped(&source, format);
            let _ = stripped(&bytes, format);
        }
    }
}
