//! A picture made to order out of whatever was accepted: it is there, it is what was ordered, and it would
//! be accepted itself.
//!
//! The options up to the line's end, and the source.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use pinhole_fuzz::{
    pictures::{LIMITS, mend, plan},
    render::{self, Format, Limits, RenderError},
};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    mend(&mut data[..size]);
    size
});

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(options), source) = (str::from_utf8(&input[..end]), &input[end + 1..]) else { return };
    let Some(format) = Format::sniff(source) else { return };
    let Some(plan) = plan(options, format) else { return };
    let Ok(stripped) = render::strip(&Bytes::copy_from_slice(source), format) else { return };
    let Ok(inspected) = render::inspect(&stripped, format, &LIMITS) else { return };

    let rendered = match render::render(&stripped, format, &plan, &LIMITS) {
        Ok(rendered) => rendered,
        // What was asked for is too much, or nothing.
        Err(
            RenderError::OutputTooLarge { .. }
            | RenderError::AnimationTooLarge { .. }
            | RenderError::NothingLeft(_),
        ) => return,
        Err(error) => panic!("{error:?} after {inspected:?}"),
    };
    assert!(rendered.format == plan.format || Some(rendered.format) == plan.animation);
    assert_eq!(Format::sniff(&rendered.bytes), Some(rendered.format));
    let bytes = Bytes::from(rendered.bytes);
    assert_eq!(
        render::strip(&bytes, rendered.format).as_ref(),
        Ok(&bytes),
        "there is metadata in the answer"
    );
    // An answer may have as many pixels as it may, and a source fewer.
    let again =
        render::inspect(&bytes, rendered.format, &Limits::default()).expect("the answer is a picture");
    assert_eq!((again.width, again.height), (rendered.width, rendered.height));
    assert!(again.frames == 1 || plan.animation.is_some() && again.frames <= inspected.frames);
});
