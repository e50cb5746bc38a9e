//! EXIF blocks, colour profiles and remarks in sound pictures: of all that, the way up and the colours are
//! kept, and none of it keeps a picture from being shown.
//!
//! A letter that names the carrier, and its load.
#![no_main]

use image::metadata::Orientation;
use libfuzzer_sys::fuzz_target;
use pinhole_fuzz::{
    carriers::{self, Load, SIZE},
    pictures::{self, LIMITS},
    render,
};

/// Room for an EXIF block with the orientation alone, in any format.
const MINIMAL_EXIF_BYTES: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some(carrier) = carriers::load(input) else { return };
    let format = carrier.format;
    let Ok(bare) = render::strip(&carrier.bare, format) else { unreachable!() };
    let stripped = match render::strip(&carrier.loaded, format) {
        Ok(stripped) => stripped,
        Err(fault) => panic!("{fault}"),
    };
    assert_eq!(render::strip(&stripped, format).as_ref(), Ok(&stripped));
    match carrier.load {
        Load::Remark | Load::Exif(Orientation::NoTransforms) => assert_eq!(stripped, bare),
        Load::Exif(_) => assert!(stripped.len() <= bare.len() + MINIMAL_EXIF_BYTES),
        Load::Colours => {}
    }

    let inspected = render::inspect(&stripped, format, &LIMITS);
    let Ok(inspected) = inspected else {
        assert!(matches!(carrier.load, Load::Colours), "{inspected:?}");
        return;
    };
    let (width, height) = SIZE;
    let turned = match carrier.load {
        Load::Exif(
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH,
        ) => (height, width),
        _ => (width, height),
    };
    assert_eq!((inspected.width, inspected.height), turned, "{:?}", carrier.load);
    let rendered =
        render::render(&stripped, format, &pictures::as_it_is(), &LIMITS).expect("it was accepted");
    assert_eq!((rendered.width, rendered.height), turned);
});
