//! A hit over a connection that never leaves the process: hyper, the decision, the headers, and no kernel.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use divan::Bencher;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pinhole::{
    app::App,
    config::{Config, Secret},
    db::Db,
    server::Limits,
    store::{Credentials, Settings, Store, embedded},
    web,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::TcpListener,
    runtime::Runtime,
    sync::watch,
};

const SECRET: &str = "a secret for as long as this takes";
/// The picture's side in pixels: as PNG without compression some 10 KB.
const SIDE: u32 = 58;

/// A client's end of a connection.
struct Client {
    io: DuplexStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(app: &Arc<App>) -> Self {
        let (io, served) = tokio::io::duplex(1 << 20);
        let app = Arc::clone(app);
        let answer = service_fn(move |request| {
            let answer = web::handle(Arc::clone(&app), Ipv4Addr::LOCALHOST.into(), request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(served), answer));
        Self { io, buffer: vec![0; 1 << 20] }
    }

    /// Sends a request and reads the answer: its head and its body.
    async fn ask(&mut self, request: &[u8]) -> (&str, &[u8]) {
        self.io.write_all(request).await.unwrap();
        let mut filled = 0;
        loop {
            filled += self.io.read(&mut self.buffer[filled..]).await.unwrap();
            let so_far = &self.buffer[..filled];
            let Some(head) = so_far.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&so_far[..head]).unwrap();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let end = head + 4 + length.map_or(0, |length| length.parse().unwrap());
            if filled >= end {
                let (head, body) = (&self.buffer[..head], &self.buffer[head + 4..end]);
                return (std::str::from_utf8(head).unwrap(), body);
            }
        }
    }

    /// The JSON that answers a request with a body.
    async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Value {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let (head, body) = self.ask(&[head.as_bytes(), body].concat()).await;
        assert!(head.starts_with("HTTP/1.1 20"), "{head}");
        serde_json::from_slice(body).unwrap()
    }
}

async fn app(folder: &Path) -> Arc<App> {
    let mut config = Config::load(None, &[("transform.unsigned", "any")]).unwrap();
    "http://localhost".clone_into(&mut config.server.public_url);
    config.auth.jwt_secret = Secret::new(SECRET);
    config.links.keys = vec![Secret::new("k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let settings = Settings {
        endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        public_endpoint: None,
        region: "us-east-1".to_owned(),
        bucket: "pinhole".to_owned(),
        credentials: Credentials::keys("id", &Secret::new(SECRET), None),
        force_path_style: true,
        operation_timeout: Duration::from_secs(30),
    };
    let limits = Limits {
        max_connections: 100,
        header_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        drain: Duration::ZERO,
        linger: Duration::ZERO,
    };
    let bucket = embedded::Server::open(&folder.join("bucket"), "id", &Secret::new(SECRET)).unwrap();
    let (running, stop) = watch::channel(false);
    tokio::spawn(async move {
        bucket.serve(listener, limits, stop).await;
        drop(running);
    });
    let store = Store::connect(&settings);
    store.ensure_bucket().await.unwrap();
    let db = Db::open_sqlite(&folder.join("ledger.db")).await.unwrap();
    db.migrate().await.unwrap();
    Arc::new(App::new(config, db, store, true).unwrap())
}

/// A picture of noise.
fn picture() -> Vec<u8> {
    let mut seed = 1_u32;
    let noise = image::RgbImage::from_fn(SIDE, SIDE, |_, _| {
        image::Rgb(std::array::from_fn(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_le_bytes()[3]
        }))
    });
    let mut file = std::io::Cursor::new(Vec::new());
    noise.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

#[divan::bench(args = ["public", "signed", "bearer"])]
fn hit_in_process(bencher: Bencher<'_, '_>, right: &str) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let (mut client, request) = runtime.block_on(async {
        let app = app(folder.path()).await;
        let mut client = Client::connect(&app);
        let json = "content-type: application/json\r\n";
        let session = client.post("/dev/session", json, br#"{"user":"alice"}"#).await;
        let bearer = format!("authorization: Bearer {}\r\n", session["token"].as_str().unwrap());
        let headers = format!("{bearer}content-type: image/png\r\n");
        let uploaded = client.post("/v1/images", &headers, &picture()).await;
        let image = uploaded["id"].as_str().unwrap();
        let visibility = if right == "public" { "public" } else { "private" };
        let post = format!(r#"{{"text":"","visibility":"{visibility}","images":["{image}"]}}"#);
        client.post("/v1/posts", &format!("{bearer}{json}"), post.as_bytes()).await;
        let path = format!("/i/{image}/original");
        let path = match right {
            "signed" => {
                let ring = app.links.ring();
                pinhole::link::sign(&ring, &path, u64::MAX >> 12, uploaded["epoch"].as_i64().unwrap())
            }
            _ => path,
        };
        let bearer = if right == "bearer" { &*bearer } else { "" };
        (client, format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{bearer}\r\n"))
    });
    let (head, _) = runtime.block_on(client.ask(request.as_bytes()));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    bencher.bench_local(|| runtime.block_on(async { client.ask(request.as_bytes()).await.1.len() }));
}
