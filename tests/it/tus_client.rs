//! A stock client of resumable uploads, tus-js-client on Node.js, over a line that is cut.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    npm::{install, run},
    support::TestApp,
    tus::noise,
};

const MIB: usize = 1 << 20;

/// A line to the server, cut whenever so many bytes have gone up it since the last time.
struct Line {
    url: String,
    /// After how many bytes it will be cut, the next first; once there are none it stays.
    cuts: Arc<Mutex<Vec<usize>>>,
}

impl Line {
    async fn to(app: &TestApp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/tus", listener.local_addr().unwrap());
        let (server, cuts) = (app.url["http://".len()..].to_owned(), Arc::default());
        let line = Self { url, cuts: Arc::clone(&cuts) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&cuts)));
            }
        });
        line
    }

    fn cut_after(&self, bytes: &[usize]) {
        *self.cuts.lock().unwrap() = bytes.to_vec();
    }

    fn is_whole_again(&self) -> bool {
        self.cuts.lock().unwrap().is_empty()
    }
}

/// Carries bytes both ways until either side, or the line, has had enough.
async fn carry(client: TcpStream, server: TcpStream, cuts: Arc<Mutex<Vec<usize>>>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = async {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let length = from_client.read(&mut bytes).await.unwrap_or(0);
            if length == 0 || to_server.write_all(&bytes[..length]).await.is_err() {
                return;
            }
            let mut cuts = cuts.lock().unwrap();
            if let Some(left) = cuts.first_mut() {
                *left = left.saturating_sub(length);
                if *left == 0 {
                    cuts.remove(0);
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// What the client did.
#[derive(Debug)]
struct Uploaded {
    succeeded: bool,
    /// A line for each request, and one for the upload's URL at the end.
    lines: Vec<Value>,
}

impl Uploaded {
    /// Where in the file its requests of one method began, as far as they were answered.
    fn offsets(&self, method: &str, status: u16) -> Vec<u64> {
        let wanted = |line: &&Value| line["method"] == method && line["status"] == status;
        self.lines.iter().filter(wanted).map(|line| line["offset"].as_u64().unwrap()).collect()
    }

    fn path(&self) -> &str {
        let url = self.lines.last().and_then(|line| line["url"].as_str()).expect("the upload's URL");
        &url[url.find("/v1/tus/").unwrap()..]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_resumes_over_a_line_that_is_cut() {
    let app = TestApp::start();
    let line = Line::to(&app).await;
    let token = app.token("alice").await;
    let folder = install("tus", &["client.mjs"]);
    let file = folder.path().join("noise.png");
    let upload = async |retries: &str| {
        let mut node = Command::new("node");
        node.args(["client.mjs", &line.url, &token]).arg(&file).args(["uploads.json", retries]);
        node.current_dir(folder.path());
        let done = tokio::task::spawn_blocking(move || run(&mut node)).await.unwrap();
        eprintln!("the client: {}", String::from_utf8_lossy(&done.stderr));
        let output = String::from_utf8(done.stdout).unwrap();
        Uploaded {
            succeeded: done.status.success(),
            lines: output.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
    };
    std::fs::write(folder.path().join("uploads.json"), "{}").unwrap();
    let is_image = async |uploaded: &Uploaded, bytes: &[u8]| {
        let image = uploaded.path().rsplit('/').next().unwrap();
        let raw = app.get(&format!("/i/{image}/raw")).user("alice").await.send().await.expect(200);
        assert!(raw.body == bytes, "other bytes than were uploaded");
        let image = app.get(&format!("/v1/images/{image}")).user("alice").await.send().await.expect(200);
        assert_eq!(image.json()["filename"], "noise.png");
    };

    // The line comes back while the client still tries.
    let picture = noise(1700, 1600);
    assert!(picture.len() > 7 * MIB);
    std::fs::write(&file, &picture).unwrap();
    line.cut_after(&[2 * MIB, 5 * MIB]);
    let uploaded = upload("20").await;
    assert!(uploaded.succeeded && line.is_whole_again(), "{uploaded:?}");
    let last = *uploaded.offsets("PATCH", 204).last().expect("a PATCH that went through");
    assert!(last > 0, "it went on where it stood: {uploaded:?}");
    assert!(uploaded.offsets("HEAD", 200).len() >= 2, "{uploaded:?}");
    is_image(&uploaded, &picture).await;

    // It comes back when the client has given up, and is started anew.
    let picture = noise(1600, 1700);
    std::fs::write(&file, &picture).unwrap();
    line.cut_after(&[5 * MIB]);
    let uploaded = upload("0").await;
    assert!(!uploaded.succeeded && line.is_whole_again(), "{uploaded:?}");
    assert_eq!(uploaded.offsets("POST", 201).len(), 1, "{uploaded:?}");
    let uploaded = upload("20").await;
    assert!(uploaded.succeeded, "{uploaded:?}");
    assert_eq!(uploaded.offsets("POST", 201), Vec::<u64>::new(), "not a new upload: {uploaded:?}");
    let last = *uploaded.offsets("PATCH", 204).last().expect("a PATCH that went through");
    assert!(last > 0, "it went on where it stood: {uploaded:?}");
    is_image(&uploaded, &picture).await;
}
