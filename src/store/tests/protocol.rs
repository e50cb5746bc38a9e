//! The embedded server's S3, as the SDK and a raw socket see it.

use aws_sdk_s3::{
    config::{
        Config, ConfigBag, Intercept, RequestChecksumCalculation, RuntimeComponents, http::HttpRequest,
        interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    operation::put_object::builders::PutObjectFluentBuilder,
    presigning::PresigningConfig,
    primitives::SdkBody,
    types::{Delete, ObjectIdentifier},
};

use super::*;

const B: &str = "photos";

fn put(store: &Store, key: &str, body: &'static str) -> PutObjectFluentBuilder {
    let body = ByteStream::from_static(body.as_bytes());
    store.client.put_object().bucket(B).key(key).body(body)
}

async fn get(store: &Store, key: &str) -> Option<Bytes> {
    let sent = store.client.get_object().bucket(B).key(key).send().await;
    match sent {
        Ok(found) => Some(found.body.collect().await.unwrap().into_bytes()),
        Err(e) => {
            assert_eq!(e.code(), Some("NoSuchKey"), "{key}");
            None
        }
    }
}

/// The keys of a page, and where the next one begins.
async fn page(
    store: &Store,
    prefix: &str,
    after: &str,
    token: Option<String>,
    max_keys: i32,
) -> (Vec<String>, Option<String>) {
    let sent = store
        .client
        .list_objects_v2()
        .bucket(B)
        .prefix(prefix)
        .start_after(after)
        .set_continuation_token(token)
        .max_keys(max_keys)
        .send();
    let page = sent.await.unwrap();
    let keys: Vec<String> = page.contents().iter().map(|o| o.key().unwrap().into()).collect();
    assert_eq!(page.key_count(), i32::try_from(keys.len()).ok());
    assert_eq!(page.is_truncated(), Some(page.next_continuation_token().is_some()));
    (keys, page.next_continuation_token)
}

#[tokio::test]
async fn lists_every_key_once_in_byte_order() {
    let (_root, _server, store) = bucket().await;
    let ordered = ["Z", "a", "a b&<c>", "a/b", "a0", "b", "ä", "\u{1f600}"];
    for key in ordered.iter().rev() {
        put(&store, key, "x").send().await.unwrap();
    }
    for page_size in [1, 3, 7, 8, 1000] {
        let (mut seen, mut token) = (Vec::new(), None);
        // One page more than needed would be an endless listing.
        for _ in 0..ordered.len() {
            let (keys, next) = page(&store, "", "", token, page_size).await;
            seen.extend(keys);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!((seen, token), (ordered.map(String::from).to_vec(), None));
    }
    assert_eq!(page(&store, "a", "a", None, 10).await.0, ["a b&<c>", "a/b", "a0"]);
    assert_eq!(page(&store, "", "", None, 0).await, (vec![], None));
}

#[tokio::test]
async fn dots_in_a_key_are_only_letters() {
    let (root, _server, store) = bucket().await;
    let keys = ["../escape", "../../etc/passwd", "a/../b", "..", "a//b", "/a"];
    for key in keys {
        put(&store, key, "x").send().await.unwrap();
    }
    for key in keys {
        assert_eq!(get(&store, key).await.unwrap(), "x", "{key}");
    }
    assert_eq!(get(&store, "b").await, None);
    assert_eq!(page(&store, "", "", None, 100).await.0.len(), keys.len());
    let names = std::fs::read_dir(root.path()).unwrap();
    let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["buckets", "cors", "lock", "tmp"]);
}

#[tokio::test]
async fn keys_are_bounded_and_printable() {
    let (_root, _server, store) = bucket().await;
    let longest = "k".repeat(1024);
    put(&store, &longest, "x").send().await.unwrap();
    assert_eq!(get(&store, &longest).await.unwrap(), "x");
    for bad in [&"k".repeat(1025), "a\u{1}b"] {
        let error = put(&store, bad, "x").send().await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    }
    assert_eq!(page(&store, "", "", None, 10).await.0, [longest]);
}

#[tokio::test]
async fn attributes_and_conditions() {
    let (_root, _server, store) = bucket().await;
    let object = original();
    store.put(&object, Bytes::from("123456789")).await.unwrap();
    let key = object.key();
    let head = || store.client.head_object().bucket(B).key(&key);
    let found = head().send().await.unwrap();
    assert_eq!(found.content_type(), Some("image/png"));
    assert_eq!(found.cache_control(), Some("private, no-store"));
    assert_eq!(found.content_length(), Some(9));
    let etag = "\"25f9e794323b453885f5181f1b624d0b\"";
    assert_eq!(found.e_tag(), Some(etag));

    let get = || store.client.get_object().bucket(B).key(&key);
    assert!(get().if_match(etag).send().await.is_ok());
    assert!(get().if_none_match("\"other\"").send().await.is_ok());
    for (request, expected) in [
        (get().if_match("\"other\""), 412),
        (get().if_none_match(etag), 304),
        (get().if_none_match("*"), 304),
    ] {
        let error = request.send().await.unwrap_err();
        let answer = error.raw_response().unwrap();
        assert_eq!(answer.status().as_u16(), expected);
        assert_eq!(answer.headers().get("etag"), (expected == 304).then_some(etag));
    }

    let first = put(&store, "new", "first").if_none_match("*");
    first.metadata("name", "value").send().await.unwrap();
    let second = put(&store, "new", "second").if_none_match("*");
    let error = second.send().await.unwrap_err();
    assert_eq!(error.code(), Some("PreconditionFailed"));
    let found = store.client.get_object().bucket(B).key("new").send().await;
    let found = found.unwrap();
    assert_eq!(found.metadata().unwrap()["name"], "value");
    assert_eq!(found.body.collect().await.unwrap().into_bytes(), "first");
}

#[tokio::test]
async fn a_broken_promise_leaves_the_old_object() {
    let (_root, _server, store) = bucket().await;
    put(&store, "k", "old").send().await.unwrap();
    for request in [
        put(&store, "k", "new").checksum_crc32("AAAAAA=="),
        put(&store, "k", "new").content_md5("AAAAAAAAAAAAAAAAAAAAAA=="),
    ] {
        let error = request.send().await.unwrap_err();
        assert_eq!(error.code(), Some("BadDigest"));
    }
    let alter = OnTheWire(|request| {
        *request.body_mut() = SdkBody::from("neW");
        Ok(())
    });
    let altered = put(&store, "k", "new").customize().interceptor(alter);
    let error = altered.send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    assert_eq!(get(&store, "k").await.unwrap(), "old");
    assert_eq!(page(&store, "", "", None, 10).await.0, ["k"]);
}

/// Looks at, or meddles with, a request after it was signed.
#[derive(Debug)]
struct OnTheWire(fn(&mut HttpRequest) -> Result<(), BoxError>);

impl Intercept for OnTheWire {
    fn name(&self) -> &'static str {
        "OnTheWire"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        (self.0)(context.request_mut())
    }
}

#[tokio::test]
async fn a_checksum_may_come_in_a_trailer() {
    let (_root, _server, store) = bucket().await;
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), pattern(300_000)).unwrap();
    let body = ByteStream::from_path(source.path()).await.unwrap();
    let trailing = Config::builder().request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let announced = OnTheWire(|request| match request.headers().get("x-amz-trailer") {
        Some("x-amz-checksum-crc32") => Ok(()),
        other => Err(format!("the SDK sends another trailer now: {other:?}").into()),
    });
    let sent = store.client.put_object().bucket(B).key("k").body(body);
    let sent = sent.customize().config_override(trailing);
    sent.interceptor(announced).send().await.unwrap();
    assert_eq!(get(&store, "k").await.unwrap(), pattern(300_000));
}

/// The first bytes of an upload of nine, to be followed by the rest.
async fn half_an_upload(server: &Running, store: &Store, root: &Path) -> TcpStream {
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let grant = store.client.put_object().bucket(B).key("k");
    let grant = grant.presigned(minute).await.unwrap();
    let host = server.address.to_string();
    let path = grant.uri().split_once(&host).unwrap().1;
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9\r\n\r\n");
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(b"1234").await.unwrap();
    unfinished(root, 1).await;
    socket
}

/// Waits until that many uploads are under way.
async fn unfinished(root: &Path, count: usize) {
    let reached = async {
        while std::fs::read_dir(root.join("tmp")).unwrap().count() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, reached).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_midway_leaves_nothing() {
    let (root, server, store) = bucket().await;
    put(&store, "k", "old").send().await.unwrap();
    let leaving = half_an_upload(&server, &store, root.path()).await;
    drop(leaving);
    unfinished(root.path(), 0).await;
    assert_eq!(get(&store, "k").await.unwrap(), "old");
}

#[tokio::test]
async fn a_request_under_way_outlasts_the_stop() {
    let (root, server, store) = bucket().await;
    let mut uploading = half_an_upload(&server, &store, root.path()).await;
    let address = server.address;
    let rest = async {
        // The listener closes first, so this shows that the stop has begun.
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // An impatient server hangs up within this.
        tokio::time::sleep(Duration::from_millis(30)).await;
        uploading.write_all(b"56789").await.unwrap();
        let mut answer = String::new();
        uploading.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (answer, ()) = tokio::join!(rest, server.stop());
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let server = Running::start(root.path()).await;
    let store = Store::connect(&settings(server.address));
    assert_eq!(get(&store, "k").await.unwrap(), "123456789");
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let (_root, _server, store) = bucket().await;
    for key in ["a", "b", "c"] {
        put(&store, key, "x").send().await.unwrap();
    }
    let ids = ["a", "c", "none"].map(|k| ObjectIdentifier::builder().key(k).build().unwrap());
    let delete = Delete::builder().set_objects(Some(ids.to_vec())).build();
    let sent = store.client.delete_objects().bucket(B);
    let answer = sent.delete(delete.unwrap()).send().await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors().len()), (3, 0));
    assert_eq!(page(&store, "", "", None, 10).await.0, ["b"]);
}
