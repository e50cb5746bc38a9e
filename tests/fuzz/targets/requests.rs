//! A request's head: path, conditions and ranges, resumable uploads, and a JSON body.
//!
//! The first line is the method and the path, then lines of headers, and behind an empty line the body.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use pinhole_fuzz::web;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, rest) = input.split_at(end);
    let Some((method, path)) = str::from_utf8(first).ok().and_then(|line| line.split_once(' ')) else {
        return;
    };
    let body = rest.windows(2).position(|window| window == b"\n\n").unwrap_or(rest.len());
    let (lines, body) = rest.split_at(body);
    let headers = web::headers(lines);
    if let Ok(method) = Method::from_bytes(method.as_bytes()) {
        web::find_route(&method, path);
    }
    for length in [0, 1, 1_000, u64::MAX] {
        web::select(&headers, length);
    }
    web::read_tus(&headers, path);
    web::read_json(&headers, body.trim_ascii_start());
});
