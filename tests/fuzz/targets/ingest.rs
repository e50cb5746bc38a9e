//! An upload: what is left of it when it was stripped needs no more stripping, and what is accepted can be
//! shown.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use pinhole_fuzz::{
    pictures::{self, LIMITS, mend},
    render::{self, Format, Rejected},
};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    mend(&mut data[..size]);
    size
});

fuzz_target!(|input: &[u8]| {
    let _ = render::is_heic(input);
    let Some(format) = Format::sniff(input) else { return };
    let stripped = match render::strip(&Bytes::copy_from_slice(input), format) {
        Ok(stripped) => stripped,
        Err(fault) => return drop(Rejected::by_structure(fault, format).to_string()),
    };
    assert_eq!(Format::sniff(&stripped), Some(format));
    assert_eq!(render::strip(&stripped, format).as_ref(), Ok(&stripped));

    let inspected = match render::inspect(&stripped, format, &LIMITS) {
        Ok(inspected) => inspected,
        Err(refusal) => return drop(refusal.to_string()),
    };
    let pixels = u64::from(inspected.width) * u64::from(inspected.height);
    assert!(
        pixels <= LIMITS.max_pixels && pixels * u64::from(inspected.frames) <= LIMITS.max_animation_pixels
    );
    let Some(plan) = pictures::plan("width=16,height=16,fit=crop,format=jpeg", format) else {
        unreachable!()
    };
    let rendered = render::render(&stripped, format, &plan, &LIMITS);
    assert!(rendered.is_ok(), "{rendered:?} after {inspected:?}");

    // Without loss: whatever was dropped, the picture is the same.
    if stripped != input
        && let Ok(as_sent) = render::render(input, format, &pictures::as_it_is(), &LIMITS)
    {
        let kept = render::render(&stripped, format, &pictures::as_it_is(), &LIMITS);
        assert!(kept.as_ref().is_ok_and(|kept| *kept == as_sent), "another picture than was sent");
    }
});
