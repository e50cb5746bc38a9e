//! Pillow, `ImageMagick` and others: they make the files that tests send in, and say what is in the answers.
//!
//! What they make is judged by what the formats say, never by what pinhole answered before.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

/// What every script starts with. `put` is what it gives back.
const PRELUDE: &str = r"
import sys, io, json
from PIL import Image, ImageCms, ImageSequence
given = sys.stdin.buffer.read()
def put(data): sys.stdout.buffer.write(data)
def say(value): put(json.dumps(value).encode())
def saved(picture, format, **how):
    file = io.BytesIO(); picture.save(file, format, **how); return file.getvalue()
";

/// What a script of Python writes, of what it is given.
#[track_caller]
pub fn python(script: &str, given: &[u8]) -> Vec<u8> {
    run(Command::new("python3").arg("-c").arg(format!("{PRELUDE}\n{script}")), given)
}

/// The same as JSON.
#[track_caller]
pub fn ask(script: &str, given: &[u8]) -> Value {
    serde_json::from_slice(&python(script, given)).unwrap()
}

/// What `convert` of `ImageMagick` makes of a file.
#[track_caller]
pub fn convert(arguments: &[&str], given: &[u8]) -> Vec<u8> {
    run(Command::new("convert").args(arguments), given)
}

/// What `cjpeg` of libjpeg makes of a PPM; `scans` is its list of them, its own where that is empty.
#[track_caller]
pub fn cjpeg(arguments: &[&str], scans: &str, ppm: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("scans");
    std::fs::write(&list, scans).unwrap();
    let mut command = Command::new("cjpeg");
    command.args(["-quality", "90"]).args(arguments);
    if !scans.is_empty() {
        command.arg("-scans").arg(&list);
    }
    run(&mut command, ppm)
}

#[track_caller]
fn run(command: &mut Command, given: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let given = given.to_owned();
    // It may write before it has read all; and one that reads nothing closes the pipe.
    let giving = std::thread::spawn(move || drop(stdin.write_all(&given)));
    let output = child.wait_with_output().unwrap();
    giving.join().unwrap();
    assert!(output.status.success(), "{command:?} failed");
    output.stdout
}

/// What is seen of an animation: `{"loop", "frames": [{"ms", "at": [[r, g, b, a], …]}, …]}`, with
/// the colours at `places`, and `loop` as Pillow has it (`null`: nothing is said of it).
#[track_caller]
pub fn frames(file: &[u8], places: &[(u32, u32)]) -> Value {
    let script = format!(
        "picture = Image.open(io.BytesIO(given))
frames = []
for n in range(getattr(picture, 'n_frames', 1)):
    picture.seek(n); picture.load()
    shown = picture.convert('RGBA')
    frames.append({{'ms': round(picture.info.get('duration') or 0), 'at': [shown.getpixel(p) for p in {places}]}})
say({{'format': picture.format, 'size': picture.size, 'loop': picture.info.get('loop'), 'frames': frames}})",
        places = places.iter().fold("[".to_owned(), |list, place| list + &format!("{place:?},")) + "]",
    );
    ask(&script, file)
}

/// All pixels of all frames of a GIF as they are seen, four bytes each; what is transparent is zero.
#[track_caller]
pub fn gif_pixels(file: &[u8]) -> Vec<u8> {
    let mut pixels = convert(&["gif:-", "-coalesce", "-depth", "8", "rgba:-"], file);
    for pixel in pixels.chunks_exact_mut(4).filter(|pixel| pixel[3] == 0) {
        pixel.fill(0);
    }
    pixels
}

/// What `avifenc` makes of a PNG.
#[track_caller]
pub fn avif(arguments: &[&str], png: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.png"), folder.path().join("a.avif"));
    std::fs::write(&from, png).unwrap();
    run(
        Command::new("avifenc").args(["-s", "10"]).args(arguments).args([&from, &to]).stderr(Stdio::null()),
        b"",
    );
    std::fs::read(to).unwrap()
}

/// What `avifdec` sees in an AVIF, before any turn, as a PNG.
#[track_caller]
pub fn avif_as_png(avif: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.avif"), folder.path().join("a.png"));
    std::fs::write(&from, avif).unwrap();
    run(Command::new("avifdec").args(["-d", "8"]).args([&from, &to]), b"");
    std::fs::read(to).unwrap()
}
