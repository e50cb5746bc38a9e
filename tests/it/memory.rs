//! Memory and time: what a picture takes is what was reckoned, many of them stay within their budget, and
//! one that takes too long is given up.
//!
//! What is measured is what a process has resident, as the kernel counts it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use futures_util::future::join_all;
use pinhole::render::{
    Accepts, Catalogue, Format, Limits, Masters, Rendition, Size, cost, inspect_picture, render,
};

use crate::{
    referee,
    support::{PATIENCE, TestApp},
};

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// What glibc is told, so that it gives back at once what is freed: a process is to be measured, and not
/// what is kept for later.
pub const GIVE_BACK: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// Names the file for [`in_a_process_of_its_own`].
const PICTURE: &str = "PINHOLE_TEST_PICTURE";
/// Names its options, between spaces; `masters` is what is done with an upload.
const OPTIONS: &str = "PINHOLE_TEST_OPTIONS";

/// Pillow's part of a picture: 1600 × 1200 of noise, which is the hardest to code, and the same with alpha.
const NOISE: &str = "
import os
def noise(mode, w=1600, h=1200): return Image.frombytes(mode, (w, h), os.urandom(w * h * len(mode)))
def moving(mode, format, **how):
    first, *rest = [noise(mode, 500, 400) for _ in range(6)]
    return saved(first, format, save_all=True, append_images=rest, duration=50, **how)
def partly_moving(format):
    first = noise('P'); second = first.copy(); second.paste(noise('P', 1580, 1180), (9, 9))
    return saved(first, format, save_all=True, append_images=[second, first])
";

fn made(script: &str) -> Vec<u8> {
    referee::python(&format!("{NOISE}\nput({script})"), b"")
}

/// Each way of decoding, with options that make one step or another the dearest.
#[test]
fn a_picture_takes_no_more_than_was_reckoned() {
    let decoding = "masters w=32";
    let all = "masters w=32 w=1000,f=png f=jpeg,q=100 f=webp,q=100 f=gif,rotate=90 w=1590,h=2,fit=squeeze \
               w=1500,h=1300,fit=squeeze,f=jpeg w=1200,h=900,fit=cover,gravity=auto,f=jpeg \
               trim=border,w=900,f=jpeg w=1700,fit=contain,f=jpeg,sharpen=3 w=1500,blur=3,f=jpeg";
    let moving = "masters w=64,f=webp w=64,f=gif f=webp,q=100 f=gif w=900,fit=contain,sharpen=1,f=webp";
    let opaque = made("saved(noise('RGB'), 'PNG', compress_level=0)");
    let alpha = made("saved(noise('RGBA'), 'PNG', compress_level=0)");
    for (what, picture, options) in [
        ("jpeg", made("saved(noise('RGB'), 'JPEG')"), decoding),
        ("grey jpeg", made("saved(noise('L'), 'JPEG')"), decoding),
        ("progressive", made("saved(noise('RGB'), 'JPEG', progressive=True, subsampling=0)"), decoding),
        ("inks", made("saved(noise('CMYK'), 'JPEG', progressive=True, subsampling=0)"), decoding),
        ("grey and alpha", made("saved(noise('LA'), 'PNG', compress_level=1)"), decoding),
        ("16 bits", referee::convert(&["-", "-depth", "16", "-quality", "11", "png64:-"], &alpha), decoding),
        ("lossy alpha", made("saved(noise('RGBA'), 'WEBP', method=0)"), decoding),
        ("lossless", made("saved(noise('RGB'), 'WEBP', lossless=True, quality=0, method=0)"), decoding),
        ("avif", referee::avif(&["-d", "10", "-y", "444"], &alpha), decoding),
        ("png", opaque, all),
        ("alpha", alpha, all),
        ("gif", made("saved(noise('RGB').quantize(), 'GIF')"), decoding),
        ("moving gif", made("moving('RGB', 'GIF')"), moving),
        ("partly moving gif", made("partly_moving('GIF')"), "masters w=64,f=gif"),
        ("moving webp", made("moving('RGBA', 'WEBP', method=0)"), moving),
        ("moving png", made("moving('RGBA', 'PNG')"), moving),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), picture).unwrap();
        for line in measured(file.path(), options).lines() {
            let Some((option, numbers)) = line.split_once(' ') else { continue };
            let [reckoned, taken] = *numbers.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>()
            else {
                unreachable!("{line}")
            };
            println!("{what}, {option}: {} of {} KiB", taken >> 10, reckoned >> 10);
            assert!(taken <= reckoned, "{what}, {option}: {} KiB, not {}", taken >> 10, reckoned >> 10);
        }
    }
}

/// What one picture takes in a process that does nothing else: a line for each option.
fn measured(picture: &Path, options: &str) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "memory::in_a_process_of_its_own",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    child.envs(GIVE_BACK).env(PICTURE, picture).env(OPTIONS, options).stderr(Stdio::inherit());
    let output = child.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("measured ")).collect();
    assert_eq!(lines.len(), options.split_whitespace().count(), "{text}");
    lines.join("\n")
}

#[test]
#[ignore = "it is what the test above runs"]
fn in_a_process_of_its_own() {
    let (Some(picture), Some(options)) = (std::env::var_os(PICTURE), std::env::var_os(OPTIONS)) else {
        return;
    };
    let source = Bytes::from(std::fs::read(picture).unwrap());
    let format = Format::sniff(&source).unwrap();
    let limits = Limits::default();
    let moves = inspect_picture(&source, format, &limits).unwrap().0.frames > 1;
    println!();
    for option in options.to_str().unwrap().split_whitespace() {
        let (reckoned, taken) = if option == "masters" {
            let work = || {
                let (found, picture) = inspect_picture(&source, format, &limits).unwrap();
                let size = Size { width: found.width, height: found.height };
                let masters = Masters::plan(format, size, found.has_alpha, &[1000, 500]);
                picture.map(|picture| picture.masters(&masters).unwrap())
            };
            (cost::of_original(&source, format, 1000, &limits), peak_of(work))
        } else {
            let Ok(Rendition::Variant(wanted)) = Rendition::parse(option, &Catalogue::default()) else {
                unreachable!("{option}")
            };
            let plan = wanted.plan(format, moves, Accepts::default());
            let work = || render(&source, format, &plan, &limits).unwrap();
            (cost::of_variant(&source, format, None, &plan, &limits), peak_of(work))
        };
        println!("measured {option} {reckoned} {taken}");
    }
}

/// How much more is resident at most while some work is done, in bytes.
fn peak_of<T>(work: impl FnOnce() -> T) -> u64 {
    // Forgets the peak so far (proc(5), `clear_refs`).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident("VmRSS:");
    let done = work();
    let peak = resident("VmHWM:");
    drop(done);
    peak.saturating_sub(before)
}

fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// A large picture that is costly to decode, and whose file is small.
fn progressive() -> Vec<u8> {
    let script = "saved(Image.linear_gradient('L').resize((3000, 2000)).convert('RGB'), 'JPEG',
                        progressive=True, subsampling=0)";
    made(script)
}

/// Peak memory of a program that makes eight renditions of one picture at once, beyond what it needed
/// before.
async fn peak_of_eight(picture: &[u8], budget: u64) -> u64 {
    let budget = budget.to_string();
    let mut env = GIVE_BACK.to_vec();
    env.extend([
        ("PINHOLE_WORK__RENDERS", "8"),
        ("PINHOLE_WORK__RENDER_TIMEOUT_SECS", "300"),
        ("PINHOLE_MASTERS__SIDES", ""),
        ("PINHOLE_WORK__RENDER_MEMORY_BYTES", &budget),
    ]);
    let app = TestApp::start_with(&env);
    let image = app.upload("alice", picture.to_vec()).await;
    app.forget_peak();
    let before = app.peak_memory();
    let renders = (0..8).map(|n| {
        let (app, path) = (&app, format!("/i/{image}/w={},f=jpeg", 200 + n));
        async move { app.get(&path).user("alice").await.patience(10 * PATIENCE).send().await.status.as_u16() }
    });
    let statuses = join_all(renders).await;
    assert_eq!(statuses, [200; 8]);
    app.peak_memory() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_renders_at_once_stay_within_their_budget() {
    let picture = progressive();
    let Ok(Rendition::Variant(options)) = Rendition::parse("w=200,f=jpeg", &Catalogue::default()) else {
        unreachable!()
    };
    let plan = options.plan(Format::Jpeg, false, Accepts::default());
    let one = cost::of_variant(&picture, Format::Jpeg, None, &plan, &Limits::default());
    let for_two = 2 * one + MIB;
    let (two, all) = (peak_of_eight(&picture, for_two).await, peak_of_eight(&picture, 20 * one).await);
    println!("one may take {} MiB; eight took {} and {} MiB", one / MIB, two / MIB, all / MIB);
    // Each has its file, and its answer, besides.
    assert!(two <= for_two + 8 * MIB, "{} MiB", two / MIB);
    assert!(all > 3 * one, "that was no trial: {} MiB", all / MIB);
}

#[tokio::test]
async fn a_picture_that_is_larger_than_the_budget_is_made_alone() {
    let app = TestApp::start_with(&[("PINHOLE_WORK__RENDER_MEMORY_BYTES", "1")]);
    let image = app.upload("alice", progressive()).await;
    let both = [300, 301].map(|width| {
        let (app, path) = (&app, format!("/i/{image}/w={width},f=jpeg"));
        async move { app.get(&path).user("alice").await.send().await.expect(200).image().width() }
    });
    assert_eq!(join_all(both).await, [300, 301]);
}

#[tokio::test]
async fn a_render_that_takes_too_long_is_given_up_and_the_next_one_is_made() {
    let app = TestApp::start_with(&[
        ("PINHOLE_WORK__RENDER_TIMEOUT_SECS", "1"),
        ("PINHOLE_WORK__RENDERS", "1"),
        ("PINHOLE_UPLOAD__MAX_ANIMATION_PIXELS", "400000000"),
    ]);
    // Nobody codes two hundred frames of two megapixels in a second.
    let gif = made(
        "saved(noise('RGB', 70, 70), 'GIF', save_all=True, duration=50,
               append_images=[noise('RGB', 70, 70) for _ in range(199)])",
    );
    let image = app.upload("alice", gif).await;
    let path = format!("/i/{image}/w=1400,fit=contain,f=webp");
    let reply = app.get(&path).user("alice").await.send().await.expect_problem(504, "render_timeout");
    assert_eq!(reply.header("retry-after"), "10");

    // Whoever comes next waits for the frame that is being made, and not for all of them.
    let small = format!("/i/{image}/w=8,anim=false,f=png");
    let mut reply = app.get(&small).user("alice").await.send().await;
    while reply.status == 504 {
        reply = app.get(&small).user("alice").await.send().await;
    }
    assert_eq!(reply.expect(200).image().width(), 8);
}
