//! The listener: HTTP/2 beside HTTP/1.1 with the same answers, and who is let go.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future;
use h2::{
    Reason,
    client::{self, SendRequest},
};
use http::{HeaderMap, Request, Response, header};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{Duration, sleep, timeout},
};

use crate::{
    support::{NEVER_THERE, PATIENCE, Reply, TestApp, jpeg},
    tus::noise,
};

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(&app.url["http://".len()..]).await.unwrap()
}

/// A client's end of a connection of HTTP/2.
struct Http2 {
    requests: SendRequest<Bytes>,
    /// Ends as the connection does.
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    async fn connect(app: &TestApp) -> Self {
        Self::connect_as(app, &client::Builder::new()).await
    }

    async fn connect_as(app: &TestApp, client: &client::Builder) -> Self {
        let stream = connect(app).await;
        // Small frames would wait for one another.
        stream.set_nodelay(true).unwrap();
        let (requests, connection) = client.handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends a request for a path of the server, or a whole URL.
    async fn send(
        &self,
        app: &TestApp,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let (answer, body) = (self.begin(app, method, path, headers).await, body.into());
        let (answer, mut sending) = answer.unwrap();
        let mut body = Some(body).filter(|body| !body.is_empty());
        // The client's own flow control: it sends as much as it is granted.
        let sent = async {
            while let Some(mut rest) = body.take() {
                sending.reserve_capacity(rest.len());
                let granted = future::poll_fn(|cx| sending.poll_capacity(cx)).await;
                let Some(Ok(granted)) = granted else { return };
                let piece = rest.split_to(granted.min(rest.len()));
                if sending.send_data(piece, false).is_err() {
                    return;
                }
                body = Some(rest).filter(|rest| !rest.is_empty());
            }
            // An answer may come before all is sent.
            let _ = sending.send_data(Bytes::new(), true);
        };
        let (answer, ()) = timeout(PATIENCE, future::join(answer, sent)).await.expect("an answer in time");
        read(answer.unwrap()).await
    }

    /// Sends the head of a request.
    async fn begin(
        &self,
        app: &TestApp,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", app.url) };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await?;
        requests.send_request(request.body(()).unwrap(), false)
    }

    async fn get(&self, app: &TestApp, path: &str) -> Reply {
        self.send(app, "GET", path, &[], "").await
    }

    /// Waits until the server ends the connection.
    async fn ended(self) -> Result<(), h2::Error> {
        // A client that could still ask would keep it open.
        drop(self.requests);
        timeout(PATIENCE, self.connection).await.expect("an end in time").unwrap()
    }
}

async fn read(answer: Response<h2::RecvStream>) -> Reply {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = timeout(PATIENCE, body.data()).await.expect("the body in time") {
        let piece = piece.unwrap();
        bytes.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    Reply { status: head.status, headers: head.headers, body: bytes.into() }
}

/// What does not change from one answer to the next.
fn lasting(headers: &HeaderMap) -> BTreeMap<String, Vec<&[u8]>> {
    let names =
        headers.keys().filter(|name| !["date", "server-timing", "x-request-id"].contains(&name.as_str()));
    let all = |name| headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    names.map(|name| (name.to_string(), all(name))).collect()
}

async fn published(app: &TestApp, bytes: Vec<u8>) -> String {
    let image = app.upload("alice", bytes).await;
    app.create_post("alice", "public", &[&image]).await;
    image
}

#[tokio::test]
async fn http2_answers_as_http_1_1_does() {
    let app = TestApp::start();
    let image = published(&app, jpeg(600, 400, 1)).await;
    let etag = app.get(&format!("/i/{image}/width=200")).send().await.expect(200).etag().to_owned();
    let bearer = format!("Bearer {}", app.token("alice").await);
    let connection = Http2::connect(&app).await;
    for (status, method, path, headers) in [
        (200, "GET", format!("/i/{image}/width=200"), vec![]),
        (200, "HEAD", format!("/i/{image}/width=200"), vec![]),
        (304, "GET", format!("/i/{image}/width=200"), vec![("if-none-match", etag.as_str())]),
        (206, "GET", format!("/i/{image}/width=200"), vec![("range", "bytes=10-99")]),
        (416, "GET", format!("/i/{image}/width=200"), vec![("range", "bytes=999999-")]),
        (200, "GET", format!("/i/{image}/original"), vec![]),
        (200, "GET", format!("/i/{image}/raw"), vec![("authorization", bearer.as_str())]),
        (200, "GET", format!("/i/{image}/width=200,format=auto"), vec![("accept", "image/webp")]),
        (200, "GET", app.link("alice", &image, "width=100").await, vec![]),
        (400, "GET", format!("/i/{image}/width=0"), vec![]),
        (404, "GET", format!("/i/{NEVER_THERE}/width=200"), vec![]),
        (405, "POST", format!("/i/{image}/width=200"), vec![]),
        (401, "GET", "/v1/images".to_owned(), vec![]),
        (404, "GET", "/nothing".to_owned(), vec![]),
    ] {
        let request = app.request(method, &path);
        let asked = || headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let by_http1 = asked().send().await.expect(status);
        let by_http2 = connection.send(&app, method, &path, &headers, "").await.expect(status);
        assert_eq!(by_http2.body, by_http1.body, "{method} {path}");
        assert_eq!(lasting(&by_http2.headers), lasting(&by_http1.headers), "{method} {path}");
        assert!(by_http2.headers.contains_key("date"));
    }
}

#[tokio::test]
async fn uploads_come_over_http2() {
    let app = TestApp::start();
    let bearer = format!("Bearer {}", app.token("alice").await);
    let connection = Http2::connect(&app).await;
    // Larger than everything that may lie in memory unread.
    let file = noise(1200, 900);
    assert!(file.len() > 2 << 20);
    let headers = [("authorization", bearer.as_str()), ("content-type", "image/png")];
    let image = connection.send(&app, "POST", "/v1/images", &headers, file.clone()).await.expect(201);
    let raw = format!("/i/{}/raw", image.json()["id"].as_str().unwrap());
    let shown = connection.send(&app, "GET", &raw, &headers[..1], "").await.expect(200);
    assert_eq!(shown.body, file);
    // And what is refused leaves the connection as it was.
    let refused = connection.send(&app, "POST", "/v1/images", &headers[1..], file).await;
    refused.expect_problem(401, "unauthenticated");
    connection.send(&app, "GET", &raw, &headers[..1], "").await.expect(200);
}

/// Where HTTP/1.1 says Host, HTTP/2 says `:authority`, and HTTP/1.1 in absolute form likewise.
#[tokio::test]
async fn the_host_is_what_the_target_names() {
    let app = TestApp::dev();
    let host = &app.url["http://".len()..];
    let connection = Http2::connect(&app).await;
    let user = json!({"user": "alice"}).to_string();
    let json = ("content-type", "application/json");
    let session = connection.send(&app, "POST", "/dev/session", &[json], user).await.expect(200);
    let cookie = session.header("set-cookie").split(';').next().unwrap().to_owned();
    // HTTP/2 may send cookies one by one (RFC 9113, section 8.2.3).
    let follow = async |origin: &str, target: &str| {
        let headers = [("cookie", "theme=dark"), ("cookie", &*cookie), ("origin", origin)];
        connection.send(&app, "PUT", &format!("{target}/v1/following/bob"), &headers, "").await
    };
    follow(&app.url, &app.url).await.expect(204);
    follow("http://evil.example", &app.url).await.expect_problem(403, "cross_site");
    follow("http://evil.example", "http://evil.example").await.expect_problem(421, "misdirected");
    let lies = [("host", host)];
    connection.send(&app, "GET", "http://evil.example/", &lies, "").await.expect(421);
    connection.send(&app, "GET", "/", &[("host", "evil.example")], "").await.expect(200);
    for (target, said, status) in [
        ("http://evil.example/", host, 421),
        (&*format!("{}/", app.url), "evil.example", 200),
        ("/", "evil.example", 421),
    ] {
        app.send_raw([format!("GET {target} HTTP/1.1\r\nHost: {said}\r\n\r\n")]).await.expect(status);
    }
}

#[tokio::test]
async fn many_are_answered_at_once_on_one_connection() {
    let app = TestApp::start();
    let image = published(&app, jpeg(900, 600, 1)).await;
    let path = format!("/i/{image}/original");
    let one = app.get(&path).send().await.expect(200).body;
    let connection = Http2::connect(&app).await;
    // By now the client knows what the server takes at once, and waits with the rest.
    connection.get(&app, &path).await.expect(200);
    for _ in 0..3 {
        let all = future::join_all((0..250).map(|_| connection.get(&app, &path))).await;
        assert!(all.into_iter().all(|reply| reply.expect(200).body == one));
    }
}

/// Frames as they lie on the wire (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The code of the GOAWAY among frames.
fn goaway(mut frames: &[u8]) -> Option<u32> {
    while frames.len() >= 9 {
        let length = u32::from_be_bytes([0, frames[0], frames[1], frames[2]]) as usize;
        let (one, rest) = frames.split_at_checked(9 + length)?;
        if one[3] == 7 {
            return Some(u32::from_be_bytes(one[13..17].try_into().unwrap()));
        }
        frames = rest;
    }
    None
}

/// CVE-2023-44487.
#[tokio::test]
async fn who_takes_everything_back_at_once_is_sent_away() {
    let app = TestApp::start();
    let image = published(&app, jpeg(600, 400, 1)).await;
    let path = format!("/i/{image}/width=200");
    let other = Http2::connect(&app).await;
    other.get(&app, &path).await.expect(200);
    let literal =
        |index: u8, text: &str| [&[index, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // GET, http (RFC 7541, appendix A), and two that stand for themselves.
    let head =
        [&[0x82, 0x86][..], &literal(0x04, &path), &literal(0x01, &app.url["http://".len()..])].concat();
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(4, 0, 0, &[])].concat();
    for n in 0..1000 {
        bytes.extend(frame(1, 0x5, 2 * n + 1, &head));
        bytes.extend(frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    let mut stream = connect(&app).await;
    // It may be closed before all is sent.
    let _ = stream.write_all(&bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    assert_eq!(goaway(&answer), Some(Reason::ENHANCE_YOUR_CALM.into()));
    other.get(&app, &path).await.expect(200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let app = TestApp::start();
    let connection = Http2::connect(&app).await;
    let large = "x".repeat(8 << 10);
    let headers = |count| vec![("x-large", large.as_str()); count];
    connection.send(&app, "GET", "/nothing", &headers(3), "").await.expect(404);
    connection.send(&app, "GET", "/nothing", &headers(5), "").await.expect(431);
}

#[tokio::test]
async fn who_grants_no_window_is_let_go() {
    let app = TestApp::start_with(&[("PINHOLE_SERVER__WRITE_TIMEOUT_SECS", "2")]);
    let image = published(&app, jpeg(1600, 1200, 1)).await;
    let path = format!("/i/{image}/original");
    let mut client = client::Builder::new();
    let connection = Http2::connect_as(&app, client.initial_window_size(0)).await;
    let (answer, mut sending) = connection.begin(&app, "GET", &path, &[]).await.unwrap();
    sending.send_data(Bytes::new(), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.expect("a head in time").unwrap();
    assert_eq!(answer.status(), 200);
    // The client is there, and answers every ping.
    let Http2 { connection, requests } = connection;
    let _ = timeout(PATIENCE, connection).await.expect("an end in time");
    drop((answer, requests));

    // One that takes its time is not: every frame is granted by itself, for longer than the timeout.
    let connection = Http2::connect_as(&app, client.initial_window_size(4 << 10)).await;
    let (answer, mut sending) = connection.begin(&app, "GET", &path, &[]).await.unwrap();
    sending.send_data(Bytes::new(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    for _ in 0..8 {
        let piece = body.data().await.expect("there is more").unwrap();
        sleep(Duration::from_millis(400)).await;
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    let rest = read(Response::new(body)).await;
    assert!(!rest.body.is_empty());
}

#[tokio::test]
async fn whom_it_is_meant_for_is_said_once() {
    for app in [TestApp::start(), TestApp::serve()] {
        for (version, hosts, status) in [
            ("1.1", "", 400),
            ("1.1", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", 400),
            ("1.1", "Host: 127.0.0.1\r\n", 404),
        ] {
            let mut stream = connect(&app).await;
            let head = format!("GET /i/{NEVER_THERE}/w=32 HTTP/{version}\r\n{hosts}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let reply = timeout(PATIENCE, Reply::read(&mut stream)).await.expect("an answer in time");
            let code = if status == 400 { "bad_request" } else { "not_found" };
            reply.expect_problem(status, code);
        }
    }
}

#[tokio::test]
async fn who_asks_for_nothing_is_let_go() {
    let app = TestApp::start_with(&[("PINHOLE_SERVER__HEADER_TIMEOUT_SECS", "1")]);
    for begun in
        ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHo"]
    {
        let mut stream = connect(&app).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = end.unwrap_or_else(|_| panic!("{begun:?} holds a connection"));
    }
    // After its requests, in all friendship.
    let connection = Http2::connect(&app).await;
    connection.get(&app, "/nothing").await.expect(404);
    let Http2 { connection, requests } = connection;
    timeout(PATIENCE, connection).await.expect("an end in time").unwrap().unwrap();
    drop(requests);
}

#[tokio::test]
async fn a_method_that_begins_as_the_preface_is_http_1_1() {
    let app = TestApp::start();
    let host = app.url["http://".len()..].to_owned();
    let rest =
        |method: &str| format!("{method} /nothing HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    app.send_raw([rest("PRINT")]).await.expect(404);
    let mut stream = connect(&app).await;
    for piece in ["P", &rest("POST")[1..]] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    Reply::read(&mut stream).await.expect(404);
}

/// Whoever sends a byte now and then is never idle, and is let go all the same.
#[tokio::test]
async fn a_body_that_drips_is_let_go() {
    let app = TestApp::start_with(&[("PINHOLE_SERVER__BODY_IDLE_TIMEOUT_SECS", "3")]);
    let token = app.token("alice").await;
    let tus = app.post("/v1/tus").user("alice").await.header("tus-resumable", "1.0.0");
    let tus = tus.header("upload-length", "100000").send().await.expect(201).header("location").to_owned();
    let form = "multipart/form-data; boundary=xx";
    let of_tus = "application/offset+octet-stream\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0";
    let drips = [
        ("POST", "/v1/images", "image/png", ""),
        ("POST", "/v1/images", form, "--xx\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"),
        ("POST", "/v1/images", form, ""),
        ("POST", "/v1/posts", "application/json", "{"),
        ("POST", "/v1/posts", "application/json\r\nIdempotency-Key: drip", "{"),
        ("PATCH", &*tus, of_tus, ""),
    ];
    let drips = drips.map(async |(method, path, content_type, begun)| {
        let mut stream = connect(&app).await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {content_type}\r\nContent-Length: 100000\r\n\r\n{begun}",
            &app.url["http://".len()..]
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let drip = tokio::spawn(async move {
            while writing.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(200)).await;
            }
        });
        let mut answer = Vec::new();
        // The end may be a reset, since it drips on.
        let _ = timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("an end in time");
        drip.abort();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{method} {path} {content_type}: {answer}");
        assert!(answer.contains("connection: close") && answer.contains("\"request_timeout\""), "{answer}");
    });
    future::join_all(drips).await;

    let connection = Http2::connect(&app).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "image/png")];
    let (answer, mut sending) = connection.begin(&app, "POST", "/v1/images", &headers).await.unwrap();
    let drip = tokio::spawn(async move {
        while sending.send_data(Bytes::from_static(b" "), false).is_ok() {
            sleep(Duration::from_millis(200)).await;
        }
    });
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time").unwrap();
    let answer = read(answer).await.expect_problem(408, "request_timeout");
    assert!(!answer.headers.contains_key(header::CONNECTION));
    drip.abort();
    connection.get(&app, "/nothing").await.expect(404);
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_taken() {
    let app = TestApp::start_with(&[("PINHOLE_SERVER__BODY_IDLE_TIMEOUT_SECS", "3")]);
    let (token, file) = (app.token("alice").await, jpeg(900, 600, 1));
    let mut stream = connect(&app).await;
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        &app.url["http://".len()..],
        file.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // In twice the time that a body may be idle.
    let pieces = 30;
    for piece in file.chunks(file.len().div_ceil(pieces)) {
        stream.write_all(piece).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    timeout(PATIENCE, Reply::read(&mut stream)).await.expect("an answer in time").expect(201);
}

#[tokio::test]
async fn what_is_under_way_on_http2_is_finished_at_a_stop() {
    let mut app = TestApp::serve();
    let image = app.upload("alice", jpeg(64, 48, 1)).await;
    let bearer = format!("Bearer {}", app.token("alice").await);
    let headers = [("authorization", bearer.as_str()), ("content-type", "image/jpeg")];
    let connection = Http2::connect(&app).await;
    let path = format!("/i/{image}/original");
    connection.send(&app, "GET", &path, &headers[..1], "").await.expect(200);
    let file = Bytes::from(jpeg(64, 48, 2));
    let (answer, mut sending) = connection.begin(&app, "POST", "/v1/images", &headers).await.unwrap();
    sending.send_data(file.slice(..100), false).unwrap();
    // It is being worked on for certain: a later request on the same connection was answered.
    connection.send(&app, "GET", &path, &headers[..1], "").await.expect(200);
    let idle = Http2::connect(&app).await;
    idle.get(&app, "/nothing").await.expect(404);

    app.signal("TERM");
    idle.ended().await.unwrap();
    // Nothing new is taken: the client is told to go elsewhere.
    let told = async {
        while connection.begin(&app, "GET", &path, &headers[..1]).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("it is told in time");
    sending.send_data(file.slice(100..), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time").unwrap();
    read(answer).await.expect(201);
    connection.ended().await.unwrap();
    assert_eq!(app.wait(), Some(0));
}
