//! A form, or an image as a body: it ends, and reads the same in whatever pieces it comes.
//!
//! A number, so many lengths of pieces, the content type up to the line's end, and the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinhole_fuzz::web;

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((pieces, rest)) = rest.split_at_checked(usize::from(count % 8)) else { return };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let (content_type, body) = (&rest[..end], &rest[end + 1..]);

    let whole = web::read_form(content_type, body, &[]);
    if !pieces.is_empty() {
        let (whole, pieced) = (whole.and_then(Result::ok), web::read_form(content_type, body, pieces));
        assert_eq!(whole, pieced.and_then(Result::ok));
    }
});
