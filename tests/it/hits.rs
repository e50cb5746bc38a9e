//! What is in memory: answered on the connection's own thread, counted once, and never for a client that does not
//! read.

use std::time::Duration;

use futures_util::future;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{PATIENCE, TestApp, jpeg};

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(&app.url["http://".len()..]).await.unwrap()
}

fn ask(app: &TestApp, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", &app.url["http://".len()..])
}

async fn published(app: &TestApp, bytes: Vec<u8>) -> String {
    let image = app.upload("alice", bytes).await;
    app.create_post("alice", "public", &[&image]).await;
    image
}

#[tokio::test]
async fn a_miss_and_a_hit_are_counted_once_each() {
    let app = TestApp::start();
    let image = published(&app, jpeg(64, 48, 1)).await;
    let link = app.link("alice", &image, "width=32").await;
    app.get(&link).send().await.expect(200);
    app.get(&link).send().await.expect(200);
    let forged = link.replace("&sig=", "&sig=A");
    app.get(&forged).send().await.expect_problem(403, "link_invalid");
    for (line, count) in [
        (r#"pinhole_links_total{verdict="good"}"#, 2.0),
        (r#"pinhole_links_total{verdict="malformed"}"#, 1.0),
        (r#"pinhole_decisions_total{verdict="granted",reason="link"}"#, 2.0),
        (r#"pinhole_http_requests_total{route="image",status="200"}"#, 2.0),
        (r#"pinhole_http_requests_total{route="image",status="403"}"#, 1.0),
        (r#"pinhole_http_request_seconds_count{route="image"}"#, 3.0),
        (r#"pinhole_images_served_total{tier="render"}"#, 1.0),
        (r#"pinhole_images_served_total{tier="memory"}"#, 1.0),
    ] {
        assert_eq!(app.metric(line).await.to_bits(), f64::to_bits(count), "{line}");
    }
}

#[tokio::test]
async fn what_was_asked_in_one_go_is_answered_in_order() {
    let app = TestApp::start();
    let (one, two) = (published(&app, jpeg(64, 48, 1)).await, published(&app, jpeg(32, 24, 2)).await);
    // The first is a hit, the second a miss, the third is not there, and the last is a hit again.
    let hit = app.get(&format!("/i/{one}/original")).send().await.expect(200);
    let mut stream = connect(&app).await;
    let asked = [
        ask(&app, &format!("/i/{one}/original")),
        ask(&app, &format!("/i/{two}/original")),
        ask(&app, "/i/nothing/original"),
        ask(&app, &format!("/i/{one}/original")).replace("Host", "Connection: close\r\nHost"),
    ];
    stream.write_all(asked.concat().as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answers)).await.expect("answers in time").unwrap();
    let answers = String::from_utf8_lossy(&answers);
    let heads: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    let statuses: Vec<&str> = heads.iter().map(|head| &head[..3]).collect();
    assert_eq!(statuses, ["200", "200", "404", "200"]);
    let is_first: Vec<bool> = heads.iter().map(|head| head.contains(hit.etag())).collect();
    assert_eq!(is_first, [true, false, false, true]);
}

#[tokio::test]
async fn who_does_not_read_is_let_go() {
    let app = TestApp::start_with(&[("PINHOLE_SERVER__WRITE_TIMEOUT_SECS", "1")]);
    let image = published(&app, jpeg(2000, 1500, 3)).await;
    let path = format!("/i/{image}/original");
    let size = app.get(&path).send().await.expect(200).body.len();
    // More than the kernel keeps on both sides of a connection.
    let count = (64 << 20) / size;
    let mut stream = connect(&app).await;
    let all = ask(&app, &path).repeat(count);
    // The server reads no further than it answers.
    let _ = timeout(Duration::from_secs(1), stream.write_all(all.as_bytes())).await;
    sleep(Duration::from_secs(4)).await;
    let mut rest = Vec::new();
    // Closed, or reset since requests were still unread.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end in time");
    assert!(rest.len() < count * size, "all was sent to a client that did not read");
}

/// Nobody is kept waiting by what cannot be made in time, and nobody who wants what is in memory notices.
#[tokio::test]
async fn too_many_renders_are_shed_and_hits_are_not() {
    let app = TestApp::start_with(&[("PINHOLE_WORK__RENDERS", "1"), ("PINHOLE_WORK__RENDERS_WAITING", "4")]);
    let image = published(&app, jpeg(1600, 1200, 4)).await;
    let hit = format!("/i/{image}/width=40");
    app.get(&hit).send().await.expect(200);
    let renders = future::join_all((0..40).map(async |n| {
        let reply = app.get(&format!("/i/{image}/width={}", 1500 + n)).send().await;
        match reply.status.as_u16() {
            200 => true,
            503 => {
                let reply = reply.expect_problem(503, "busy");
                assert_eq!(reply.header("cache-control"), "no-store");
                assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
                false
            }
            status => panic!("{status}"),
        }
    }));
    let hits = future::join_all((0..40).map(|_| app.get(&hit).send()));
    let (renders, hits) = future::join(renders, hits).await;
    assert!(hits.iter().all(|hit| hit.status == 200));
    let made = renders.iter().filter(|made| **made).count();
    let refused = renders.iter().filter(|made| !**made).count();
    assert!(made >= 3 && refused > 0, "{made} were made");
    let shed = app.metric(r#"pinhole_shed_total{queue="renders"}"#).await;
    assert_eq!(shed.to_bits(), f64::from(u32::try_from(refused).unwrap()).to_bits());
    for state in ["running", "waiting"] {
        let line = format!(r#"pinhole_queue_jobs{{queue="renders",state="{state}"}}"#);
        assert_eq!(app.metric(&line).await.to_bits(), 0, "{state}");
    }
}

/// One client that asks for more than can be made leaves room for another.
#[tokio::test]
async fn a_flood_by_one_client_does_not_shut_out_another() {
    let app = TestApp::start_with(&[
        ("PINHOLE_WORK__RENDERS", "1"),
        ("PINHOLE_WORK__RENDERS_WAITING", "7"),
        ("PINHOLE_SERVER__CLIENT_ADDRESS_HEADER", "X-Real-IP"),
    ]);
    let image = published(&app, jpeg(1600, 1200, 5)).await;
    let ask = async |client: &str, width: usize| {
        let request = app.get(&format!("/i/{image}/width={width}")).header("x-real-ip", client);
        request.send().await.status.as_u16()
    };
    let flood = future::join_all((0..60).map(|n| ask("192.0.2.1", 1500 + n)));
    let others = async {
        let shed = r#"pinhole_shed_total{queue="renders"}"#;
        while app.metric(shed).await == 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        future::join_all([("192.0.2.2", 1400), ("192.0.2.3", 1401)].map(|(client, n)| ask(client, n))).await
    };
    let (flood, others) = future::join(flood, others).await;
    assert!(flood.contains(&503), "{flood:?}");
    assert_eq!(others, [200, 200]);
}

/// Whoever waits for a picture waits for nothing once his right is gone.
#[tokio::test]
async fn a_link_that_is_revoked_while_its_picture_is_made_shows_nothing() {
    let app =
        TestApp::start_with(&[("PINHOLE_WORK__RENDERS", "1"), ("PINHOLE_WORK__RENDER_TIMEOUT_SECS", "120")]);
    let image = app.upload("alice", jpeg(1600, 1200, 6)).await;
    let link = app.link("alice", &image, "width=640").await;
    // One at a time: this keeps the other one waiting, on a busy machine for long.
    let slow = format!("/i/{image}/width=1000,format=avif");
    let slow = async { app.get(&slow).user("alice").await.patience(4 * PATIENCE).send().await };
    let waits = async {
        while app.metric(r#"pinhole_queue_jobs{queue="renders",state="running"}"#).await == 0.0 {
            sleep(Duration::from_millis(1)).await;
        }
        app.get(&link).send().await
    };
    let revoked = async {
        while app.metric(r#"pinhole_queue_jobs{queue="renders",state="waiting"}"#).await == 0.0 {
            sleep(Duration::from_millis(1)).await;
        }
        app.post(&format!("/v1/images/{image}/revoke")).user("alice").await.send().await.expect(204);
    };
    let (slow, waited, ()) = future::join3(slow, waits, revoked).await;
    slow.expect(200);
    waited.expect_problem(404, "not_found");
}
