//! Round trips: the real client against the embedded server, over a real socket.

pub(crate) mod bench;
mod browser;
mod grants;
mod listing;
mod protocol;

use std::{net::SocketAddr, path::Path, slice, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{embedded::Server, *};
use crate::{config::Secret, id::BlobKey, server::Limits};

/// An embedded server on a free port.
pub(crate) struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start(root: &Path) -> Self {
        let server = Server::open(root, "AKID", &Secret::new("secret")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stops) = watch::channel(false);
        let limits = Limits {
            max_connections: 256,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            linger: Duration::ZERO,
        };
        let ended = tokio::spawn(server.serve(listener, limits, stops));
        Self { address, stop, ended }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.ended.await.unwrap();
    }
}

fn keys(access_key_id: &str, secret_access_key: &str) -> Credentials {
    Credentials::keys(access_key_id, &Secret::new(secret_access_key), None)
}

fn settings(address: SocketAddr) -> Settings {
    Settings {
        endpoint: Some(format!("http://{address}")),
        public_endpoint: None,
        region: "us-east-1".into(),
        bucket: "photos".into(),
        credentials: keys("AKID", "secret"),
        force_path_style: true,
        operation_timeout: Duration::from_secs(20),
    }
}

/// A server on a fresh folder, and a store with its bucket.
pub(crate) async fn bucket() -> (TempDir, Running, Store) {
    let root = TempDir::new().unwrap();
    let server = Running::start(root.path()).await;
    let store = Store::connect(&settings(server.address));
    store.ensure_bucket().await.unwrap();
    (root, server, store)
}

/// Writes an object under any key, as pinhole itself never would.
pub(crate) async fn plant(store: &Store, key: &str, bytes: &'static str) {
    let put = store.client.put_object().bucket(&store.settings.bucket).key(key);
    put.body(ByteStream::from_static(bytes.as_bytes())).send().await.unwrap();
}

fn original() -> Object {
    Object::Original { key: BlobKey::random(), content_type: "image/png" }
}

/// Bytes that show when they are shuffled or cut.
fn pattern(length: u32) -> Bytes {
    let words = (0..=length / 4).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_be_bytes());
    words.take(length as usize).collect()
}

/// Sends a request as it is, which must ask for `connection: close`, and reads
/// the status line of the answer.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_is_put_is_got_until_it_is_deleted() {
    let (_root, _server, store) = bucket().await;
    let object = original();
    for bytes in [Bytes::new(), Bytes::from("small"), pattern(3_000_000)] {
        store.put(&object, bytes.clone()).await.unwrap();
        let got = store.get(&object, bytes.len() as u64).await.unwrap();
        assert!(got == bytes, "{} bytes differ", bytes.len());
    }
    let raw = Object::Raw { key: BlobKey::random(), content_type: "image/png" };
    store.put(&raw, Bytes::from("raw")).await.unwrap();

    let both = [object.clone(), raw.clone()];
    store.delete(&both).await.unwrap();
    store.delete(&both).await.unwrap();
    for gone in both {
        let error = store.get(&gone, 10).await.unwrap_err();
        assert!(matches!(&error, StoreError::Missing { key } if *key == gone.key()), "{error}");
    }
}

#[tokio::test]
async fn a_range_is_exactly_those_bytes() {
    let (_root, _server, store) = bucket().await;
    let (object, bytes) = (original(), pattern(700_000));
    store.put(&object, bytes.clone()).await.unwrap();
    for (range, expected) in [
        (0..=0, 0..1),
        (5..=9, 5..10),
        (0..=699_999, 0..700_000),
        (200_000..=600_000, 200_000..600_001),
        (699_999..=u64::from(u32::MAX), 699_999..700_000),
    ] {
        let body = store.stream(&object, Some(range.clone())).await.unwrap();
        assert_eq!(body.remaining(), expected.len() as u64, "{range:?}");
        let got = body.collect().await.unwrap().to_bytes();
        assert!(got == bytes.slice(expected), "{range:?}");
    }
    let error = store.stream(&object, Some(700_000..=700_001)).await;
    assert!(matches!(error, Err(StoreError::Range { .. })), "{error:?}");
}

#[tokio::test]
async fn more_than_the_caller_allows_is_refused() {
    let (_root, _server, store) = bucket().await;
    let object = original();
    store.put(&object, Bytes::from("sixsix")).await.unwrap();
    assert_eq!(store.get(&object, 6).await.unwrap(), "sixsix");
    let error = store.get(&object, 5).await.unwrap_err();
    let StoreError::TooLarge { length, limit, .. } = error else {
        unreachable!("{error}");
    };
    assert_eq!((length, limit), (6, 5));
}

#[tokio::test]
async fn objects_survive_a_restart_of_the_server() {
    let (root, server, store) = bucket().await;
    let object = original();
    store.put(&object, Bytes::from("kept")).await.unwrap();
    // The store's idle connection must not hold the server up.
    server.stop().await;

    let server = Running::start(root.path()).await;
    let store = Store::connect(&settings(server.address));
    store.ping().await.unwrap();
    assert_eq!(store.get(&object, 10).await.unwrap(), "kept");
}

#[tokio::test]
async fn a_second_server_on_the_folder_is_refused() {
    let (root, _server, _store) = bucket().await;
    let second = Server::open(root.path(), "AKID", &Secret::new("secret"));
    assert!(matches!(second, Err(embedded::DiskError::InUse(_))));
}

#[tokio::test]
async fn who_has_not_signed_gets_nothing() {
    let (_root, server, store) = bucket().await;
    let object = original();
    store.put(&object, Bytes::from("private")).await.unwrap();
    let path = format!("/photos/{}", object.key());
    for (method, path) in [
        ("GET", path.as_str()),
        ("HEAD", &path),
        ("DELETE", &path),
        ("PUT", "/photos/new"),
        ("GET", "/photos?list-type=2"),
        ("PUT", "/another-bucket"),
        // Whether something exists is not told either.
        ("GET", "/photos/raw/none"),
        ("GET", "/no-such-bucket/x"),
    ] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let status = raw(server.address, request.as_bytes()).await;
        assert_eq!(status, "HTTP/1.1 403 Forbidden", "{method} {path}");
    }
    assert_eq!(store.get(&object, 10).await.unwrap(), "private");
}

#[tokio::test]
async fn wrong_keys_are_denied() {
    let (_root, server, store) = bucket().await;
    let object = original();
    store.put(&object, Bytes::from("private")).await.unwrap();
    let wrong_secret = Settings { credentials: keys("AKID", "Secret"), ..settings(server.address) };
    let unknown_key = Settings { credentials: keys("AKIE", "secret"), ..settings(server.address) };
    for settings in [wrong_secret, unknown_key] {
        let thief = Store::connect(&settings);
        let got = thief.get(&object, 10).await.map(drop);
        let put = thief.put(&object, Bytes::from("mine")).await;
        let ping = thief.ping().await;
        for outcome in [got, put, ping, thief.delete(slice::from_ref(&object)).await] {
            assert!(matches!(outcome, Err(StoreError::Denied(_))), "{outcome:?}");
        }
    }
    assert_eq!(store.get(&object, 10).await.unwrap(), "private");
}

#[tokio::test]
async fn an_outage_is_not_a_missing_object() {
    let (_root, server, store) = bucket().await;
    server.stop().await;
    let error = store.get(&original(), 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("onnect"), "no cause: {error}");

    // Something that accepts and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let hasty = Settings { operation_timeout: Duration::from_millis(100), ..settings(address) };
    let error = Store::connect(&hasty).ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_missing_bucket_is_said_and_can_be_created() {
    let root = TempDir::new().unwrap();
    let server = Running::start(root.path()).await;
    let elsewhere = Settings { region: "eu-central-1".into(), ..settings(server.address) };
    let store = Store::connect(&elsewhere);
    let object = original();
    for outcome in [
        store.ping().await,
        store.put(&object, Bytes::from("x")).await,
        store.get(&object, 10).await.map(drop),
        store.delete(slice::from_ref(&object)).await,
    ] {
        assert!(matches!(outcome, Err(StoreError::NoBucket)), "{outcome:?}");
    }
    store.ensure_bucket().await.unwrap();
    store.ensure_bucket().await.unwrap();
    store.put(&object, Bytes::from("x")).await.unwrap();
}
