//! Originals and raw files: kept in memory or streamed from the bucket, they are the same answer; and what is
//! streamed is whole, or breaks off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use image::{ImageFormat, RgbImage};
use pinhole::{
    id::BlobKey,
    store::{Object, ObjectName},
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
};

use crate::{
    files,
    memory::GIVE_BACK,
    support::{Bucket, PATIENCE, Reply, TestApp, encode, until},
};

/// Nothing is small enough to be kept.
const STREAMED: (&str, &str) = ("PINHOLE_CACHE__MAX_ORIGINAL_BYTES", "0");
/// One stream at a time, and nobody waits.
const ONE: [(&str, &str); 4] =
    [STREAMED, NO_MASTERS, ("PINHOLE_WORK__STREAMS", "1"), ("PINHOLE_WORK__STREAMS_WAITING", "0")];
const SHORT_WRITES: (&str, &str) = ("PINHOLE_SERVER__WRITE_TIMEOUT_SECS", "3");
/// Large uploads are to be taken in quickly.
const NO_MASTERS: (&str, &str) = ("PINHOLE_MASTERS__SIDES", "");
/// What the kernel buffers for a client who reads slowly. For the server it buffers up to 4 MiB (tcp(7), `tcp_wmem`), so
/// a picture has to be larger than that.
const SLOW_BUFFER_BYTES: u32 = 32 << 10;
/// Bytes of a mebibyte.
const MIB: usize = 1 << 20;

/// Noise that no PNG makes smaller, with a comment that never leaves: some `side` × `side` × 3 bytes.
fn noise(side: u32, seed: u32) -> Bytes {
    let mut state = seed | 1;
    let picture = RgbImage::from_fn(side, side, |_, _| {
        image::Rgb([(); 3].map(|()| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        }))
    });
    let mut file = encode(&picture, ImageFormat::Png);
    let after_header = 8 + 25;
    file.splice(after_header..after_header, files::png_chunk(*b"tEXt", b"Comment\0a secret"));
    file.into()
}

/// The same without the comment.
fn stripped(file: &[u8]) -> Bytes {
    let comment = files::png_chunk(*b"tEXt", b"Comment\0a secret").len();
    [&file[..33], &file[33 + comment..]].concat().into()
}

/// An image of alice's that everybody may see.
async fn public(app: &TestApp, bytes: impl Into<Bytes>) -> String {
    let image = app.upload("alice", bytes).await;
    app.create_post("alice", "public", &[&image]).await;
    image
}

#[track_caller]
fn expect_tier(reply: &Reply, tier: &str) {
    let timing = reply.header("server-timing");
    assert!(timing.starts_with("access;dur="), "{timing}");
    assert!(timing.ends_with(&format!("cache;desc={tier}")), "{tier}: {timing}");
}

/// The headers without those that say when, and to which request.
fn timeless(reply: &Reply) -> http::HeaderMap {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    headers.remove("x-request-id");
    headers.remove("server-timing");
    headers
}

async fn count(app: &TestApp, op: &str, outcome: &str) -> u64 {
    let name = format!("pinhole_bucket_operations_total{{op=\"{op}\",outcome=\"{outcome}\"}}");
    app.metric(&name).await.to_string().parse().expect("a whole number")
}

/// What is asked of one path: a method and headers, with `ETAG` and `LEN` to be filled in; and the status.
type Question = (&'static str, &'static [(&'static str, &'static str)], u16);

const QUESTIONS: [Question; 22] = [
    ("GET", &[], 200),
    ("HEAD", &[], 200),
    ("HEAD", &[("range", "bytes=0-9")], 200),
    ("GET", &[("range", "bytes=0-0")], 206),
    ("GET", &[("range", "bytes=1000-1999")], 206),
    ("GET", &[("range", "bytes=1000-")], 206),
    ("GET", &[("range", "bytes=-77")], 206),
    ("GET", &[("range", "bytes=0-999999999")], 206),
    ("GET", &[("range", "bytes=-999999999")], 206),
    ("GET", &[("range", "bytes=LEN-")], 416),
    ("GET", &[("range", "bytes=-0")], 416),
    ("GET", &[("range", "bytes=0-1,5-6")], 200),
    ("GET", &[("range", "bytes=5-2")], 200),
    ("GET", &[("range", "bytes=0-9"), ("if-range", "ETAG")], 206),
    ("GET", &[("range", "bytes=0-9"), ("if-range", "\"x\"")], 200),
    ("GET", &[("range", "bytes=0-9"), ("if-range", "W/ETAG")], 200),
    ("GET", &[("if-none-match", "ETAG")], 304),
    ("HEAD", &[("if-none-match", "\"x\", W/ETAG")], 304),
    ("GET", &[("if-none-match", "*"), ("range", "bytes=LEN-")], 304),
    ("GET", &[("if-match", "ETAG"), ("range", "bytes=2-5")], 206),
    ("GET", &[("if-match", "\"x\"")], 412),
    ("HEAD", &[("if-match", "W/ETAG")], 412),
];

/// Everything that may be asked of a path, by a viewer.
async fn answers(app: &TestApp, path: &str, by: Option<&str>, etag: &str, len: usize) -> Vec<Reply> {
    let mut answers = Vec::new();
    for (method, headers, status) in QUESTIONS {
        let mut request = app.request(method, path);
        for (name, value) in headers {
            request = request.header(name, &value.replace("ETAG", etag).replace("LEN", &len.to_string()));
        }
        if let Some(user) = by {
            request = request.user(user).await;
        }
        let answer = request.send().await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text());
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn kept_or_streamed_the_answer_is_the_same() {
    let app = TestApp::start();
    let file = noise(200, 1);
    let (image, hidden) = (public(&app, file.clone()).await, app.upload("alice", file.clone()).await);
    let link = app.link("alice", &hidden, "original").await;
    let link = link[app.url.len()..].to_owned();
    let (shown, own) = (format!("/i/{image}/original"), format!("/i/{hidden}/original"));
    let ways = [(shown.as_str(), None), (&link, None), (&own, Some("alice"))];
    let original = stripped(&file);
    let etag = app.get(&shown).send().await.expect(200).etag().to_owned();

    let mut kept = Vec::new();
    for (path, by) in ways {
        kept.extend(answers(&app, path, by, &etag, original.len()).await);
    }
    let app = app.restart_with(&[STREAMED]);
    let mut streamed = Vec::new();
    for (path, by) in ways {
        streamed.extend(answers(&app, path, by, &etag, original.len()).await);
    }
    for (kept, streamed) in kept.iter().zip(&streamed) {
        assert_eq!((kept.status, timeless(kept)), (streamed.status, timeless(streamed)));
        assert!(kept.body == streamed.body, "other bytes");
        if streamed.status.is_success() {
            expect_tier(streamed, "bucket");
            assert_eq!(streamed.etag(), etag);
        }
    }
    assert!(
        kept.iter().all(|reply| !reply.status.is_success() || reply.body.is_empty() || reply.etag() == etag)
    );
    assert!(streamed[0].body == original, "not what was uploaded without its comment");
    // The bucket was asked for what was sent, and for nothing else.
    let sent = streamed.iter().filter(|reply| reply.status.is_success() && !reply.body.is_empty()).count();
    assert_eq!(count(&app, "read_original", "found").await, sent as u64);
}

#[tokio::test]
async fn raw_is_answered_likewise_and_never_kept() {
    let app = TestApp::start();
    let file = noise(200, 2);
    let image = public(&app, file.clone()).await;
    let path = format!("/i/{image}/raw");
    let whole = app.get(&path).user("alice").await.send().await.expect(200);
    assert!(whole.body == file);
    let etag = whole.etag().to_owned();
    assert!(etag.len() > 10 && etag.starts_with('"'), "{etag}");
    assert_ne!(app.get(&format!("/i/{image}/original")).send().await.expect(200).etag(), etag, "other bytes");
    let all = answers(&app, &path, Some("alice"), &etag, file.len()).await;
    for reply in &all {
        if reply.status.as_u16() >= 400 {
            assert_eq!(reply.header("cache-control"), "no-store");
            continue;
        }
        assert_eq!(reply.header("cache-control"), "private, no-store");
        assert_eq!(reply.header("vary"), "Cookie, Authorization");
        assert_eq!(reply.header("accept-ranges"), "bytes");
        assert_eq!(reply.etag(), etag);
        expect_tier(reply, "bucket");
    }
    let len = file.len();
    for (index, (from, to)) in [(3, (0, 1)), (4, (1000, 2000)), (5, (1000, len)), (6, (len - 77, len))] {
        assert!(all[index].body == file.slice(from..to));
        assert_eq!(all[index].header("content-range"), format!("bytes {from}-{}/{len}", to - 1));
    }
    // Conditions tell nobody else anything.
    for (method, headers, _) in QUESTIONS {
        for user in [None, Some("bob")] {
            let mut request = app.request(method, &path);
            for (name, value) in headers {
                request = request.header(name, &value.replace("ETAG", &etag));
            }
            let request = match user {
                Some(user) => request.user(user).await,
                None => request,
            };
            request.send().await.expect(404);
        }
    }
}

#[test]
fn any_range_is_cut_from_the_same_bytes() {
    let runtime = Runtime::new().unwrap();
    let (app, path, file) = runtime.block_on(async {
        let app = TestApp::start_with(&[STREAMED]);
        let file = noise(700, 3);
        let image = public(&app, file.clone()).await;
        (app, format!("/i/{image}/original"), stripped(&file))
    });
    let len = file.len();
    let bound = || prop_oneof![0..len, 0..64_usize, (len - 64)..(len + 64), Just(usize::MAX)];
    let ranges = prop_oneof![
        (bound(), bound()).prop_map(|(a, b)| (
            format!("bytes={}-{}", a.min(b), a.max(b)),
            a.min(b),
            a.max(b)
        )),
        bound().prop_map(|from| (format!("bytes={from}-"), from, usize::MAX)),
        (1..=len + 9).prop_map(move |n| (format!("bytes=-{n}"), len.saturating_sub(n), usize::MAX)),
    ];
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let tried = TestRunner::new(config).run(&ranges, |(range, first, last)| {
        let reply = runtime.block_on(app.get(&path).header("range", &range).send());
        if first >= len {
            prop_assert_eq!(reply.status.as_u16(), 416);
            prop_assert_eq!(reply.header("content-range"), format!("bytes */{len}"));
            return Ok(());
        }
        let last = last.min(len - 1);
        prop_assert_eq!(reply.status.as_u16(), 206);
        prop_assert_eq!(reply.header("content-range"), format!("bytes {first}-{last}/{len}"));
        prop_assert_eq!(reply.header("content-length"), (last - first + 1).to_string());
        prop_assert!(reply.body == file.slice(first..=last), "other bytes");
        Ok(())
    });
    tried.unwrap();
}

#[tokio::test]
async fn what_is_said_of_an_original_needs_no_bucket() {
    let bucket = Bucket::of_dev();
    let settings = [STREAMED, ("PINHOLE_BUCKET__OPERATION_TIMEOUT_SECS", "2")];
    let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &bucket, &settings);
    let file = noise(200, 4);
    let image = public(&app, file.clone()).await;
    let paths = [("original", stripped(&file).len()), ("raw", file.len())];
    let mut before = Vec::new();
    for (options, len) in paths {
        let path = format!("/i/{image}/{options}");
        let etag = app.get(&path).user("alice").await.send().await.expect(200).etag().to_owned();
        before.push((answers(&app, &path, Some("alice"), &etag, len).await, path, etag, len));
    }
    bucket.dev.as_ref().unwrap().signal("KILL");
    for (before, path, etag, len) in before {
        for ((method, headers, status), before) in QUESTIONS.iter().zip(before) {
            let mut request = app.request(method, &path).user("alice").await;
            for (name, value) in *headers {
                request =
                    request.header(name, &value.replace("ETAG", &etag).replace("LEN", &len.to_string()));
            }
            if *method == "GET" && [200, 206].contains(status) {
                // One of each is enough: it takes a while.
                if headers.is_empty() || headers[0].1 == "bytes=0-0" {
                    request.send().await.expect_problem(503, "unavailable");
                }
                continue;
            }
            let reply = request.send().await;
            assert_eq!((reply.status, timeless(&reply)), (before.status, timeless(&before)));
        }
    }
}

#[tokio::test]
async fn an_original_of_before_is_found_out_once_and_keeps_its_etag() {
    const FORGET: &str = "UPDATE blobs SET original_bytes = NULL, original_sha256 = NULL";
    const KNOWN: &str = "SELECT CAST(original_bytes AS TEXT) || ' ' || original_sha256 FROM blobs
                         WHERE original_sha256 IS NOT NULL";
    for settings in [&[][..], &[STREAMED]] {
        let app = TestApp::start_with(settings);
        let file = noise(200, 5);
        let image = public(&app, file.clone()).await;
        let path = format!("/i/{image}/original");
        let before = app.get(&path).send().await.expect(200);
        let known = app.texts(KNOWN).await;
        assert_eq!(known.len(), 1);

        let app = app.restart_with(settings);
        app.alter(FORGET).await;
        let asking = || app.get(&path).header("if-none-match", before.etag()).send();
        for reply in join_all((0..20).map(|_| asking())).await {
            let reply = reply.expect(304);
            assert_eq!(reply.etag(), before.etag());
        }
        assert_eq!(app.texts(KNOWN).await, known, "it is written down");
        let after = app.get(&path).send().await.expect(200);
        assert_eq!(timeless(&after), timeless(&before));
        assert!(after.body == before.body && after.body == stripped(&file));
        // Once to find out, and once for its bytes.
        assert_eq!(count(&app, "read_original", "found").await, 2);
    }
}

/// The object of alice's only blob, and which that is.
async fn object(app: &TestApp, raw: bool) -> Object {
    let key = app.texts("SELECT key FROM blobs").await.remove(0);
    let blob = BlobKey::parse(&key).unwrap();
    if raw { Object::raw(&blob, "image/png") } else { Object::original(&blob, "image/png") }
}

/// Asks over a connection of its own: what came before it was closed, and how many bytes were to come.
async fn read_to_end(app: &TestApp, path: &str, headers: &str) -> (u16, Vec<u8>, usize) {
    let mut slow = Slow::begin(app, path, headers).await;
    let (status, length) = (slow.status, slow.length);
    slow.rest().await;
    (status, slow.body, length)
}

/// A client that reads as far as it is told.
struct Slow {
    stream: TcpStream,
    status: u16,
    length: usize,
    body: Vec<u8>,
}

impl Slow {
    /// Asks, and reads the answer's head.
    async fn begin(app: &TestApp, path: &str, headers: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // The kernel is to keep little of what is not read.
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES).unwrap();
        let mut stream = socket.connect(app.url["http://".len()..].parse().unwrap()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection was closed");
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        Self { stream, status, length, body: bytes.split_off(end) }
    }

    /// Reads until the connection is closed, one way or another.
    async fn rest(&mut self) {
        let reading =
            async { while self.stream.read_buf(&mut self.body).await.is_ok_and(|read| read > 0) {} };
        tokio::time::timeout(PATIENCE, reading).await.expect("an end in time");
    }
}

#[tokio::test]
async fn what_is_not_what_was_written_never_passes_for_it() {
    for settings in [&[][..], &[STREAMED]] {
        let app = TestApp::start_with(settings);
        let file = noise(500, 6);
        let image = app.upload("alice", file.clone()).await;
        let bearer = format!("Authorization: Bearer {}\r\n", app.token("alice").await);
        for (options, whole, is_raw) in [("original", stripped(&file), false), ("raw", file.clone(), true)] {
            let (path, object) = (format!("/i/{image}/{options}"), object(&app, is_raw).await);
            let is_streamed = is_raw || !settings.is_empty();
            let flipped = |at: usize| {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 1;
                bytes
            };
            // All has come but the last bytes when it turns out, and those are not sent.
            for wrong in [flipped(0), flipped(whole.len() / 2), flipped(whole.len() - 1)] {
                app.store().put(&object, wrong.into()).await.unwrap();
                let (status, body, length) = read_to_end(&app, &path, &bearer).await;
                if is_streamed {
                    assert_eq!((status, length), (200, whole.len()));
                    assert!(body.len() < length, "it passes for whole");
                } else {
                    assert_eq!(status, 500);
                }
            }
            // That the length is wrong is known before anything is sent.
            let longer = [&whole[..], b"more"].concat();
            for wrong in [whole[..whole.len() - 1].to_vec(), Vec::new(), longer] {
                app.store().put(&object, wrong.into()).await.unwrap();
                for range in ["bytes=0-", "bytes=1-9", "bytes=-9"] {
                    let request = app.get(&path).user("alice").await.header("range", range);
                    request.send().await.expect_problem(500, "internal");
                }
            }
            app.store().delete(&[ObjectName::parse(&object.key()).unwrap()]).await.unwrap();
            app.get(&path).user("alice").await.send().await.expect_problem(500, "internal");
            app.store().put(&object, whole.clone()).await.unwrap();
            let mended = app.get(&path).user("alice").await.send().await.expect(200);
            assert!(mended.body == whole);
            let op = if is_raw { "read_raw" } else { "read_original" };
            assert_eq!(count(&app, op, "foreign").await, 3 + 9, "{op}");
            assert_eq!(count(&app, op, "missing").await, 1, "{op}");
        }
    }
}

#[tokio::test]
async fn too_many_streams_are_refused_and_nothing_else_is() {
    let app = TestApp::start_with(&ONE);
    let file = noise(1600, 7);
    let image = public(&app, file.clone()).await;
    let (path, original) = (format!("/i/{image}/original"), stripped(&file));
    let small = app.get(&format!("/i/{image}/w=64")).send().await.expect(200);
    let mut first = Slow::begin(&app, &path, "").await;

    let refused = app.get(&path).send().await.expect_problem(503, "busy");
    assert_eq!(refused.header("retry-after"), "2");
    app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect_problem(503, "busy");
    app.get(&path).header("range", "bytes=0-0").send().await.expect_problem(503, "busy");
    assert!(app.metric("pinhole_shed_total{queue=\"streams\"}").await > 2.5);
    // What needs no stream has none.
    let head = app.request("HEAD", &path).send().await.expect(200);
    assert_eq!(head.header("content-length"), original.len().to_string());
    app.get(&path).header("if-none-match", head.etag()).send().await.expect(304);
    app.get(&path).header("range", "bytes=999999999-").send().await.expect(416);
    assert_eq!(app.get(&format!("/i/{image}/w=64")).send().await.expect(200).body, small.body);
    app.get(&format!("/i/{image}/w=65")).send().await.expect(200).image();

    first.rest().await;
    assert!(first.body == original);
    until("it is shown", async || app.get(&path).send().await.status == 200).await;

    // Who waits in vain is told so, and who does not is served.
    let waiting = |secs| {
        [STREAMED, NO_MASTERS, ("PINHOLE_WORK__STREAMS", "1"), ("PINHOLE_WORK__STREAMS_WAIT_SECS", secs)]
    };
    let app = app.restart_with(&waiting("1"));
    let held = Slow::begin(&app, &path, "").await;
    app.get(&path).send().await.expect_problem(503, "busy");
    drop(held);
    let app = app.restart_with(&waiting("30"));
    let mut first = Slow::begin(&app, &path, "").await;
    let (second, ()) = tokio::join!(app.get(&path).send(), first.rest());
    assert!(second.expect(200).body == original && first.body == original);
}

#[tokio::test]
async fn who_hangs_up_or_reads_no_further_makes_room() {
    let app = TestApp::start_with(&[ONE[0], ONE[1], ONE[2], ONE[3], SHORT_WRITES]);
    let image = public(&app, noise(1600, 8)).await;
    let path = format!("/i/{image}/original");
    let has_room = async || app.get(&path).header("range", "bytes=0-9").send().await.status == 206;
    let stalled = Slow::begin(&app, &path, "").await;
    assert!(!has_room().await);
    until("there is room", has_room).await;
    drop(stalled);

    let app = app.restart_with(&ONE);
    let has_room = async || app.get(&path).header("range", "bytes=0-9").send().await.status == 206;
    let leaving = Slow::begin(&app, &path, "").await;
    assert!(!has_room().await);
    drop(leaving);
    until("there is room", has_room).await;
}

#[tokio::test]
async fn who_rests_longer_than_a_bucket_may_gets_the_rest() {
    let app = TestApp::start_with(&[STREAMED, NO_MASTERS]);
    let file = noise(1600, 9);
    let image = public(&app, file.clone()).await;
    let mut slow = Slow::begin(&app, &format!("/i/{image}/original"), "").await;
    tokio::time::sleep(Duration::from_secs(13)).await;
    slow.rest().await;
    assert!(slow.body == stripped(&file));
}

#[tokio::test]
async fn an_image_that_is_deleted_meanwhile_is_sent_to_its_end_or_broken_off() {
    let app = TestApp::start_with(&[STREAMED, NO_MASTERS, ("PINHOLE_UPLOAD__SWEEP_SECS", "1")]);
    let file = noise(1600, 10);
    let image = public(&app, file.clone()).await;
    let (path, original) = (format!("/i/{image}/original"), stripped(&file));
    let mut slow = Slow::begin(&app, &path, "").await;
    app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
    app.get(&path).send().await.expect_problem(404, "not_found");
    until("nothing is left", async || app.objects().await.is_empty()).await;
    slow.rest().await;
    assert_eq!(slow.status, 200);
    assert!(original.starts_with(&slow.body), "other bytes");
    app.get(&path).user("alice").await.send().await.expect_problem(404, "not_found");
}

/// A way to a bucket on which answers with originals go on for so many bytes, if not for ever, and then neither
/// go on nor end; or end, if it `cuts`.
async fn way_to(bucket: &Bucket, bytes: Arc<AtomicUsize>, cuts: bool) -> Arc<Bucket> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = bucket.endpoint["http://".len()..].to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let left = Arc::new(AtomicUsize::new(usize::MAX));
            let (bytes, server) = (Arc::clone(&bytes), TcpStream::connect(&server).await.unwrap());
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let budget = Arc::clone(&left);
            tokio::spawn(async move {
                let mut piece = vec![0; 1 << 14];
                while let Ok(length @ 1..) = from_server.read(&mut piece).await {
                    let may = length.min(budget.load(Ordering::Relaxed));
                    budget.fetch_sub(may, Ordering::Relaxed);
                    if to_client.write_all(&piece[..may]).await.is_err() {
                        break;
                    }
                    if may < length {
                        if cuts {
                            break;
                        }
                        std::future::pending::<()>().await;
                    }
                }
            });
            tokio::spawn(async move {
                let mut piece = vec![0; 1 << 16];
                while let Ok(length @ 1..) = from_client.read(&mut piece).await {
                    if piece.starts_with(b"GET /pinhole/originals/") {
                        left.store(bytes.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                    if to_server.write_all(&piece[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let (region, name) = (bucket.region.clone(), bucket.name.clone());
    let (access_key_id, secret_access_key) = (bucket.access_key_id.clone(), bucket.secret_access_key.clone());
    Arc::new(Bucket { endpoint, region, name, access_key_id, secret_access_key, dev: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_bucket_breaks_off_or_stalls_so_does_the_answer() {
    for cuts in [true, false] {
        let (bucket, bytes) = (Bucket::of_dev(), Arc::new(AtomicUsize::new(usize::MAX)));
        let way = way_to(&bucket, Arc::clone(&bytes), cuts).await;
        let app = TestApp::serve_on(tempfile::tempdir().unwrap(), &way, &ONE);
        let file = noise(600, 11);
        let image = public(&app, file.clone()).await;
        let (path, original) = (format!("/i/{image}/original"), stripped(&file));
        assert!(app.get(&path).send().await.expect(200).body == original);
        bytes.store(300_000, Ordering::Relaxed);
        for range in ["", "Range: bytes=9-999999\r\n"] {
            until("there is room", async || {
                app.get(&path).header("range", "bytes=0-9").send().await.status == 206
            })
            .await;
            let (status, body, length) = read_to_end(&app, &path, range).await;
            assert_eq!(status, if range.is_empty() { 200 } else { 206 });
            assert!(!body.is_empty() && body.len() < length, "{} of {length}", body.len());
        }
        assert_eq!(count(&app, "read_original", "failed").await, 2);
        // It holds nothing any more.
        bytes.store(usize::MAX, Ordering::Relaxed);
        until("it is shown", async || app.get(&path).send().await.status == 200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_slow_clients_take_little_memory() {
    const CLIENTS: usize = 32;
    let mut env = GIVE_BACK.to_vec();
    env.extend([NO_MASTERS, ("PINHOLE_SERVER__WRITE_TIMEOUT_SECS", "300")]);
    let app = TestApp::serve_with(&env);
    let file = noise(1500, 12);
    let image = public(&app, file.clone()).await;
    let (path, original) = (format!("/i/{image}/original"), stripped(&file));
    assert!(original.len() > 6 * MIB);
    // Code and connections are there already when it is measured.
    assert!(app.get(&path).send().await.expect(200).body == original);
    app.forget_peak();
    let before = app.peak_memory();
    let mut all = join_all((0..CLIENTS).map(|_| Slow::begin(&app, &path, ""))).await;
    // Each reads a little, and rests, until all have begun and whatever is read ahead has been.
    for piece in 1..=4 {
        let reading = all.iter_mut().map(async |slow| {
            while slow.body.len() < piece * MIB {
                assert_ne!(slow.stream.read_buf(&mut slow.body).await.unwrap(), 0);
            }
        });
        join_all(reading).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let taken = usize::try_from(app.peak_memory() - before).unwrap();
    println!("{CLIENTS} clients of {} MiB took {} MiB", original.len() / MIB, taken / MIB);
    assert!(taken < CLIENTS * 3 / 2 * MIB, "{} MiB", taken / MIB);
    for slow in &mut all[..4] {
        slow.rest().await;
        assert!(slow.body == original);
    }
}

#[tokio::test]
async fn an_original_that_is_kept_is_read_once() {
    let app = TestApp::start();
    let file = noise(300, 13);
    let image = public(&app, file.clone()).await;
    let path = format!("/i/{image}/original");
    for reply in join_all((0..50).map(|_| app.get(&path).send())).await {
        assert!(reply.expect(200).body == stripped(&file));
    }
    expect_tier(&app.get(&path).send().await.expect(200), "memory");
    assert_eq!(count(&app, "read_original", "found").await, 1);

    // And one that is larger each time.
    let large = noise(800, 14);
    let image = public(&app, large.clone()).await;
    let path = format!("/i/{image}/original");
    for _ in 0..3 {
        let reply = app.get(&path).send().await.expect(200);
        expect_tier(&reply, "bucket");
        assert!(reply.body == stripped(&large));
    }
    assert_eq!(count(&app, "read_original", "found").await, 4);
    app.patch_post("alice", &post_of(&app, &image).await, json!({"visibility": "private"})).await;
    app.get(&path).send().await.expect_problem(404, "not_found");
}

async fn post_of(app: &TestApp, image: &str) -> String {
    let image = app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200);
    image.json()["posts"][0].as_str().unwrap().to_owned()
}
