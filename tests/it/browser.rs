//! The demo page in a real browser: what people do on it, and who must be able to.
//!
//! `tests/browser/flows.mjs` does it in a headless Chromium, by its driver. With `PINHOLE_TEST_SCREENSHOTS`, a
//! folder, what the page looks like is written there.

use std::{path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use crate::{npm, support::TestApp, tus::noise};

/// Files to choose from: some megabytes that are a picture, and a text that is none.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("noise.png"), noise(1300, 900)).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    folder
}

/// Runs a flow on the page of a fresh `pinhole dev`.
fn run(flow: &str) {
    run_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"), flow);
}

fn run_in(folder: &Path, flow: &str) {
    let app = TestApp::dev();
    let files = files();
    let mut node = Command::new("node");
    node.arg(folder.join("flows.mjs")).args([flow, &app.url, &app.s3_url]).arg(files.path());
    let done = npm::run(&mut node);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn a_picture_comes_in_by_each_way_and_the_page_shows_which_way_its_bytes_went() {
    run("ways");
}

#[test]
fn an_upload_is_called_off_and_tried_again() {
    run("cancel");
}

#[test]
fn what_the_others_are_shown_follows_at_once() {
    run("views");
}

#[test]
fn a_picture_is_inspected_linked_and_its_links_are_revoked() {
    run("inspector");
}

#[test]
fn refusals_are_sentences() {
    run("errors");
}

#[test]
fn the_keyboard_is_enough() {
    run("keyboard");
}

#[test]
fn nothing_moves_by_itself() {
    run("still");
}

#[test]
fn it_is_accessible_in_light_and_dark_on_desk_and_phone() {
    let folder = npm::install("browser", &["browser.mjs", "flows.mjs"]);
    run_in(folder.path(), "accessible");
}

#[test]
fn the_description_of_the_api_is_a_page_to_read() {
    let folder = npm::install("browser", &["browser.mjs", "flows.mjs"]);
    run_in(folder.path(), "docs");
}

/// The page's own decoder against the reference's, to a level of rounding.
#[test]
fn placeholders_are_decoded_as_the_reference_does() {
    let decoder = include_str!("../../src/web/demo/thumbhash.js");
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "globalThis.ImageData = class {{
           constructor(width, height) {{
             Object.assign(this, {{ width, height, data: new Uint8ClampedArray(4 * width * height) }});
           }}
         }};
         {decoder}
         const {{ width, height, data }} = decode(process.argv[2]);
         console.log(JSON.stringify({{ width, height, data: [...data] }}));"
    );
    let file = folder.path().join("decode.mjs");
    std::fs::write(&file, script).unwrap();
    for (width, height, opaque) in [(100, 75, true), (60, 100, true), (100, 20, false), (64, 64, false)] {
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|at| {
                let ramp = |n: usize, of: usize| u8::try_from(n * 255 / of).unwrap();
                let (x, y) = (at % width, at / width);
                let alpha = if opaque { 255 } else { ramp(width - x, width) };
                [ramp(x, width), ramp(y, height), ramp(x * y, width * height), alpha]
            })
            .collect();
        let hash = thumbhash::rgba_to_thumb_hash(width, height, &pixels);
        let (want_width, want_height, wanted) = thumbhash::thumb_hash_to_rgba(&hash).unwrap();
        let decoded = npm::run(Command::new("node").arg(&file).arg(STANDARD.encode(&hash)));
        let decoded: serde_json::Value = serde_json::from_slice(&decoded.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&decoded.stderr)));
        assert_eq!((&decoded["width"], &decoded["height"]), (&want_width.into(), &want_height.into()));
        let data = decoded["data"].as_array().unwrap();
        assert_eq!(data.len(), wanted.len());
        for (at, (got, want)) in data.iter().zip(&wanted).enumerate() {
            let off = got.as_i64().unwrap() - i64::from(*want);
            assert!(off.abs() <= 1, "{width}×{height}, byte {at}: {got} for {want}");
        }
    }
}
