//! Files made to hurt: each is refused with a clean answer, and the server goes on serving.
//!
//! `cargo test --release hostile -- --nocapture` prints how long each of them took, and with
//! `PINHOLE_TEST_MEGAPIXELS=50` what is as dear as the limits let it be.

use std::{str::FromStr as _, time::Instant};

use crate::{
    files::{self, file, gif_extension, jpeg_claiming, png_chunk},
    referee,
    support::{PATIENCE, Reply, TestApp, jpeg, picture, png},
};

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// A server whose settings are the defaults, and what it had in use after a first picture.
async fn started() -> (TestApp, u64) {
    let app = TestApp::start();
    assert!(is_taken(&app, jpeg(64, 48, 1)).await);
    let used = app.peak_memory();
    (app, used)
}

async fn is_taken(app: &TestApp, bytes: Vec<u8>) -> bool {
    sent(app, "", bytes).await.status == 201
}

/// What a file is answered with; how long that took is printed.
async fn sent(app: &TestApp, what: &str, bytes: Vec<u8>) -> Reply {
    let upload = app.post("/v1/images").user("alice").await.header("content-type", "image/*").body(bytes);
    let begun = Instant::now();
    let reply = upload.patience(10 * PATIENCE).send().await;
    if !what.is_empty() {
        println!("{what}: {} in {} ms", reply.status, begun.elapsed().as_millis());
    }
    reply
}

/// Insists that a file is refused for what it is, and that the next picture is still taken.
async fn assert_refused(app: &TestApp, what: &str, bytes: Vec<u8>) {
    let reply = sent(app, what, bytes).await;
    match reply.status.as_u16() {
        415 => reply.expect_problem(415, "unsupported_type"),
        422 => reply.expect_problem(422, "image_invalid"),
        other => panic!("{what}: {other} {}", reply.text()),
    };
    assert!(is_taken(app, png(8, 8, 1)).await, "{what}: the next picture is not taken");
}

/// Zlib data (RFC 1950) that inflates to `mib` mebibytes of zeros, as a thousandth of that.
fn zeros(mib: usize) -> Vec<u8> {
    referee::python(&format!("import zlib; put(zlib.compress(bytes({mib} << 20), 9))"), b"")
}

/// A PNG with chunks right after its header.
fn png_with(chunks: &[u8]) -> Vec<u8> {
    let whole = png(64, 48, 1);
    [&whole[..33], chunks, &whole[33..]].concat()
}

/// A GIF of `frames` frames of one pixel, on a canvas of a side.
fn gif_of(frames: usize, side: u16) -> Vec<u8> {
    let [low, high] = side.to_le_bytes();
    let mut file = [&b"GIF89a"[..], &[low, high, low, high, 0x80, 0, 0], &[0, 0, 0, 255, 255, 255]].concat();
    // One pixel of colour 0 at the corner: clear, 0, end in codes of three bits.
    let frame = [0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0];
    file.extend(frame.repeat(frames));
    file.push(0x3B);
    file
}

#[tokio::test]
async fn a_bomb_costs_no_memory() {
    let (app, used) = started().await;
    let idat = |width: u32, height: u32, data: &[u8]| {
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
        let chunks = [png_chunk(*b"IHDR", &header), png_chunk(*b"IDAT", data), png_chunk(*b"IEND", b"")];
        [&b"\x89PNG\r\n\x1A\n"[..], &chunks.concat()].concat()
    };
    let bomb = zeros(256);
    for (what, bytes) in [
        ("a PNG of 100 000²", idat(100_000, 100_000, &bomb)),
        ("a JPEG of 65 500²", jpeg_claiming(65_500, 65_500)),
        ("a WebP of 16 384²", files::webp_claiming(16_384, 16_384)),
        ("a GIF of 65 535²", gif_of(1, 65_535)),
        ("a GIF of 3000 frames", gif_of(3_000, 1)),
        ("a GIF of 1000 frames of 1000²", gif_of(1_000, 1_000)),
    ] {
        assert_refused(&app, what, bytes).await;
    }
    let profile = [b"bomb\0\0", &bomb[..]].concat();
    let text = [b"Comment\0\0", &bomb[..]].concat();
    for (what, bytes) in [
        ("more data than pixels", idat(64, 48, &bomb)),
        ("a bomb for a profile", png_with(&png_chunk(*b"iCCP", &profile))),
        ("a bomb for a comment", png_with(&png_chunk(*b"zTXt", &text))),
    ] {
        // The picture itself is fine, so that it is either refused, or taken without its bomb.
        let reply = sent(&app, what, bytes).await;
        assert!([201, 422].contains(&reply.status.as_u16()), "{what}: {}", reply.text());
        if reply.status == 201 {
            let image = reply.json()["id"].as_str().unwrap().to_owned();
            app.get(&format!("/i/{image}/w=32")).user("alice").await.send().await.expect(200);
        }
    }
    let grown = app.peak_memory().saturating_sub(used);
    assert!(grown < 96 * MIB, "{} KiB more in use", grown / 1024);
}

#[tokio::test]
async fn an_animation_of_ten_thousand_frames_is_refused() {
    const FRAMES: u32 = 10_000;
    let (app, used) = started().await;
    let webp = {
        let still = file("webp", &picture(1, 1, 1));
        let header = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let frame = [&[0; 12][..], &[100, 0, 0, 0], &still[12..]].concat();
        let frames = files::webp_chunk(*b"ANMF", &frame).repeat(FRAMES as usize);
        let chunks = [files::webp_chunk(*b"VP8X", &header), files::webp_chunk(*b"ANIM", &[0; 6]), frames];
        files::riff(&chunks.concat())
    };
    let png = {
        let still = png(1, 1, 1);
        let data = still.windows(4).position(|name| name == b"IDAT").unwrap();
        let length = u32::from_be_bytes(still[data - 4..data].try_into().unwrap()) as usize;
        let pixels = &still[data + 4..data + 4 + length];
        let mut file =
            [&still[..33], &png_chunk(*b"acTL", &[FRAMES.to_be_bytes(), [0; 4]].concat())].concat();
        for n in 0..FRAMES {
            // One pixel at the corner for a tenth of a second.
            let control = [1, 1, 0, 0].map(u32::to_be_bytes).concat();
            let number = |n: u32| n.to_be_bytes().to_vec();
            let sequence = (2 * n).saturating_sub(1);
            file.extend(png_chunk(*b"fcTL", &[number(sequence), control, vec![0, 1, 0, 10, 0, 0]].concat()));
            file.extend(match n {
                0 => png_chunk(*b"IDAT", pixels),
                _ => png_chunk(*b"fdAT", &[&number(sequence + 1)[..], pixels].concat()),
            });
        }
        [&file[..], &png_chunk(*b"IEND", b"")].concat()
    };
    for (what, bytes) in [
        ("a GIF of 10 000 frames", gif_of(FRAMES as usize, 1)),
        ("a WebP of 10 000 frames", webp),
        ("a PNG of 10 000 frames", png),
    ] {
        assert_refused(&app, what, bytes).await;
    }
    let grown = app.peak_memory().saturating_sub(used);
    assert!(grown < 64 * MIB, "{} KiB more in use", grown / 1024);
}

/// Files that are small and break no limit, and are as dear to decode as their format allows.
#[tokio::test]
async fn what_is_as_dear_as_the_limits_allow_stays_within_the_budget() {
    let megapixels = std::env::var_os("PINHOLE_TEST_MEGAPIXELS");
    let megapixels = megapixels.map_or(4, |text| u32::from_str(text.to_str().unwrap()).unwrap());
    let side = (megapixels * 1_000_000).isqrt();
    let whole = |side: u32, mode: &str| {
        format!("Image.linear_gradient('L').resize(({side}, {side})).convert('{mode}')")
    };
    let budget = u64::from(megapixels) * 16 * MIB;
    // All frames change all pixels, and together they have four times as many as one picture may.
    let small = side / 10;
    let moving = |format: &str, how: &str| {
        format!(
            "frames = [Image.linear_gradient('L').rotate(90 * (n % 4)).resize(({small}, {small})).convert('RGB').quantize(8).convert('RGB')
                       for n in range(390)]
put(saved(frames[0], '{format}', save_all=True, append_images=frames[1:], duration=50, {how}))"
        )
    };
    let script = |make: String| referee::python(&make, b"");
    let still = |mode: &str, how: &str| script(format!("put(saved({}, {how}))", whole(side, mode)));
    let wide = still("RGBA", "'PNG', compress_level=1");
    // No level of AV1 has larger frames, and the encoder writes nonsense.
    let level = script(format!("put(saved({}, 'PNG', compress_level=1))", whole(side.min(5800), "RGBA")));
    let files = [
        ("a progressive JPEG", still("RGB", "'JPEG', progressive=True, subsampling=0, quality=95")),
        ("a progressive JPEG of inks", still("CMYK", "'JPEG', progressive=True, quality=95")),
        ("a PNG of 16 bits with alpha", referee::convert(&["-", "-depth", "16", "png64:-"], &wide)),
        ("a WebP with alpha", still("RGBA", "'WEBP', method=0")),
        ("a WebP without loss", still("RGB", "'WEBP', lossless=True, quality=0, method=1")),
        ("an AVIF of 10 bits", referee::avif(&["-d", "10", "-y", "444", "-s", "10"], &level)),
        ("a moving GIF", script(moving("GIF", ""))),
        ("a moving WebP", script(moving("WEBP", "method=0, minimize_size=False, kmin=1, kmax=1"))),
        ("a moving PNG", script(moving("PNG", "compress_level=1"))),
    ];
    let app = TestApp::start_with(&[
        ("PINHOLE_WORK__RENDER_MEMORY_BYTES", &budget.to_string()),
        ("MALLOC_ARENA_MAX", "1"),
        ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ("MALLOC_TRIM_THRESHOLD_", "65536"),
    ]);
    assert!(is_taken(&app, jpeg(64, 48, 1)).await);
    let used = app.peak_memory();
    for (what, bytes) in files {
        let reply = sent(&app, what, bytes).await.expect(201);
        let path = format!("/i/{}/w=300,f=jpeg", reply.json()["id"].as_str().unwrap());
        let begun = Instant::now();
        app.get(&path).user("alice").await.patience(10 * PATIENCE).send().await.expect(200);
        println!("{what}, to 300 pixels: {} ms", begun.elapsed().as_millis());
    }
    let grown = app.peak_memory().saturating_sub(used);
    println!("{} MiB more in use, of {} MiB", grown / MIB, budget / MIB);
    // The files themselves, and the answers.
    assert!(grown < budget + 64 * MIB, "{} KiB more in use", grown / 1024);
}

#[tokio::test]
async fn a_jpeg_of_many_scans_is_refused() {
    let (app, _) = started().await;
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 80);
    encoder.set_progressive_scans(3);
    encoder.encode(&picture(512, 512, 1), 512, 512, jpeg_encoder::ColorType::Rgb).unwrap();
    let scan = file.windows(2).rposition(|marker| marker == [0xFF, 0xDA]).unwrap();
    let last = file[scan..file.len() - 2].to_vec();
    let end = file.len() - 2;
    file.splice(end..end, last.repeat(10_000));
    assert_refused(&app, "a JPEG of 10 000 scans", file).await;
}

#[tokio::test]
async fn headers_that_lie_are_refused() {
    let (app, _) = started().await;
    let gif = file("gif", &picture(64, 48, 1));
    let image = gif.iter().position(|byte| *byte == 0x2C).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = gif.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let animated = {
        let header = [&[0x02, 0, 0, 0][..], &[63, 0, 0], &[47, 0, 0]].concat();
        let frame = [&[0; 6][..], &[0xFF, 0x0F, 0], &[0xFF, 0x0F, 0], &[100, 0, 0, 0]].concat();
        let still = file("webp", &picture(64, 48, 1));
        let chunks = [
            files::webp_chunk(*b"VP8X", &header),
            files::webp_chunk(*b"ANIM", &[0; 6]),
            files::webp_chunk(*b"ANMF", &[&frame[..], &still[12..]].concat()),
        ];
        files::riff(&chunks.concat())
    };
    for (what, bytes) in [
        ("a GIF whose frame is taller than its data", changed(image + 7, &[0xFF, 0x0F])),
        ("a GIF whose frame has no size", changed(image + 5, &[0, 0, 0, 0])),
        ("a GIF that starts its codes with 13 bits", {
            let lct = if gif[image + 9] & 0x80 == 0 { 0 } else { 3 << ((gif[image + 9] & 7) + 1) };
            changed(image + 10 + lct, &[13])
        }),
        ("a GIF whose frame is larger than its canvas", changed(image + 5, &[0xFF, 0xFF, 0xFF, 0xFF])),
        ("a GIF without a frame", [&gif[..image], &[0x3B]].concat()),
        ("a WebP whose frame is larger than its canvas", animated),
        ("a WebP whose canvas is larger than its picture", files::webp_claiming(640, 480)),
        ("a PNG that claims to be taller", files::png_claiming(64, 4800)),
    ] {
        assert_refused(&app, what, bytes).await;
    }
}

#[tokio::test]
async fn a_file_that_begins_as_another_is_refused_and_one_that_ends_as_another_is_cut() {
    let (app, _) = started().await;
    let others: [(&str, &[u8]); 4] = [
        ("HTML", b"<!doctype html><script>alert(document.domain)</script>"),
        ("ZIP", b"PK\x03\x04\x14\0\0\0\0\0archive"),
        ("PDF", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>"),
        ("JAR", b"PK\x03\x04\x0A\0\0\0\0\0META-INF/MANIFEST.MF"),
    ];
    for format in files::FORMATS {
        let clean = file(format, &picture(64, 48, 1));
        for (other, bytes) in others {
            assert_refused(&app, &format!("{other} before {format}"), [bytes, &clean].concat()).await;

            let image = app.upload("alice", [&clean, bytes].concat()).await;
            for options in ["original", "w=40"] {
                let path = format!("/i/{image}/{options}");
                let shown = app.get(&path).user("alice").await.send().await.expect(200);
                let found = shown.body.windows(bytes.len()).any(|window| window == bytes);
                assert!(!found, "{other} behind {format}, {options}");
                assert_eq!(shown.header("x-content-type-options"), "nosniff");
            }
        }
    }
    // In a comment, where the file is still an image from its first byte to its last.
    let gif = file("gif", &picture(64, 48, 1));
    let header = 13 + if gif[10] & 0x80 == 0 { 0 } else { 3 << ((gif[10] & 7) + 1) };
    let script = b"*/=1;alert(1)//";
    let comment = gif_extension(0xFE, &[script]);
    let image = app.upload("alice", [&gif[..header], &comment, &gif[header..]].concat()).await;
    let shown = app.get(&format!("/i/{image}/original")).user("alice").await.send().await.expect(200);
    assert!(!shown.body.windows(script.len()).any(|window| window == script));
}

#[tokio::test]
async fn an_avif_that_lies_or_hides_something_is_refused() {
    let (app, used) = started().await;
    let avif = referee::avif(&[], &png(64, 48, 1));
    let at = |name: &[u8]| avif.windows(name.len()).position(|window| window == name).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = avif.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let ispe = at(b"ispe") + 8;
    for (what, bytes) in [
        ("an ispe of 4 294 967 295²", changed(ispe, &[0xFF; 8])),
        ("an ispe of 60 000²", changed(ispe, &[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60])),
        ("an ispe larger than the picture", changed(ispe, &[0, 0, 16, 0, 0, 0, 8, 0])),
        ("no size", changed(ispe, &[0; 8])),
        ("no primary item", changed(at(b"pitm") + 8, &[0xFF, 0xFF])),
        ("another codec", changed(at(b"av01"), b"hvc1")),
        ("tiles", changed(at(b"av01"), b"grid")),
        ("a sequence", [&avif[..], b"\0\0\0\x08moov"].concat()),
        ("no meta", changed(at(b"meta"), b"free")),
        ("a box beyond the end", changed(at(b"iprp") - 4, &[0x7F; 4])),
    ] {
        assert_refused(&app, what, bytes).await;
    }
    for cut in [12, 40, avif.len() / 2, avif.len() - 10, avif.len() - 1] {
        assert_refused(&app, &format!("cut to {cut}"), avif[..cut].to_vec()).await;
    }
    assert_refused(&app, "HTML before", [&b"<!doctype html>"[..], &avif].concat()).await;
    let grown = app.peak_memory().saturating_sub(used);
    assert!(grown < 64 * MIB, "{} KiB more in use", grown / 1024);
}
