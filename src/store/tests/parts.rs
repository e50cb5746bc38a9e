//! Uploads in parts, and walking the bucket.

use super::{
    bench::{Bench, benches, incoming},
    *,
};

/// The least that S3 takes for a part before the last.
const PART_BYTES: u32 = 5 << 20;

async fn send(bench: &Bench, object: &Object, id: &str, number: u16, bytes: &Bytes) -> Part {
    let etag = bench.store.upload_part(object, id, number, bytes.clone()).await.unwrap();
    Part { number, etag }
}

/// The uploads of one object that are still open.
async fn open(store: &Store, object: &Object) -> Vec<OpenUpload> {
    let page = store.list_multipart(&object.key(), None, 10).await.unwrap();
    assert_eq!(page.next, None);
    page.uploads
}

#[tokio::test]
async fn parts_come_in_any_order_and_may_come_again() {
    for bench in benches().await {
        let (store, object) = (&bench.store, incoming());
        let (first, last) = (pattern(PART_BYTES), pattern(1234));
        let id = store.create_multipart(&object).await.unwrap();
        let two = send(&bench, &object, &id, 2, &last).await;
        send(&bench, &object, &id, 1, &Bytes::from("not this")).await;
        let one = send(&bench, &object, &id, 1, &first).await;
        assert_eq!(store.head(&object).await.unwrap(), None, "{}", bench.name);
        let [upload] = &open(store, &object).await[..] else { unreachable!("{}", bench.name) };
        assert_eq!((&upload.key, &upload.upload_id), (&object.key(), &id));
        let age = crate::clock::secs(crate::clock::now_micros()).abs_diff(upload.initiated_secs);
        assert!(age < 60, "{}: {age} s", bench.name);

        store.complete_multipart(&object, &id, &[two, one]).await.unwrap();
        let whole = [first, last].concat();
        assert!(bench.holds(&object, &whole).await, "{}", bench.name);
        assert_eq!(open(store, &object).await, [], "{}", bench.name);
        let found = store.client.head_object().bucket(&store.settings.bucket).key(object.key());
        let found = found.send().await.unwrap();
        assert_eq!(found.content_type(), Some("image/png"), "{}", bench.name);
        assert_eq!(found.cache_control(), Some("private, no-store"), "{}", bench.name);
        store.delete(&[object]).await.unwrap();
    }
}

#[tokio::test]
async fn an_abort_leaves_nothing_and_may_be_repeated() {
    for bench in benches().await {
        let (store, object) = (&bench.store, incoming());
        let id = store.create_multipart(&object).await.unwrap();
        let part = send(&bench, &object, &id, 1, &pattern(1234)).await;
        // The sweeper knows no more than what a listing shows.
        let name = ObjectName::parse(&open(store, &object).await[0].key).unwrap();
        for _ in 0..2 {
            store.abort_multipart(&name, &id).await.unwrap();
        }
        assert_eq!(open(store, &object).await, [], "{}", bench.name);
        assert_eq!(store.head(&object).await.unwrap(), None, "{}", bench.name);
        let late = store.upload_part(&object, &id, 2, pattern(10)).await.map(drop);
        let completed = store.complete_multipart(&object, &id, &[part]).await;
        for outcome in [late, completed] {
            assert!(matches!(outcome, Err(StoreError::NoUpload { .. })), "{} {outcome:?}", bench.name);
        }
    }
}

#[tokio::test]
async fn a_completion_that_is_not_true_makes_nothing() {
    for bench in benches().await {
        let (store, object) = (&bench.store, incoming());
        let id = store.create_multipart(&object).await.unwrap();
        let one = send(&bench, &object, &id, 1, &pattern(1234)).await;
        let never = Part { number: 2, etag: one.etag.clone() };
        let other = Part { number: 1, etag: format!("\"{:0>32}\"", 1) };
        for parts in [vec![one.clone(), never], vec![other], vec![]] {
            let refused = store.complete_multipart(&object, &id, &parts).await;
            assert!(matches!(refused, Err(StoreError::Rejected(_))), "{} {refused:?}", bench.name);
        }
        assert_eq!(store.head(&object).await.unwrap(), None, "{}", bench.name);
        store.complete_multipart(&object, &id, slice::from_ref(&one)).await.unwrap();
        let again = store.complete_multipart(&object, &id, &[one]).await;
        // Servers differ in what they say to a repetition; that the object stands they do not.
        assert!(matches!(again, Ok(()) | Err(StoreError::NoUpload { .. })), "{} {again:?}", bench.name);
        assert!(bench.holds(&object, &pattern(1234)).await, "{}", bench.name);
        store.delete(&[object]).await.unwrap();
    }
}

#[tokio::test]
async fn small_parts_before_the_last_are_refused_here_as_at_amazon() {
    let (_root, _server, store) = bucket().await;
    let object = incoming();
    let id = store.create_multipart(&object).await.unwrap();
    let mut parts = vec![];
    for number in [1, 2] {
        let etag = store.upload_part(&object, &id, number, pattern(PART_BYTES - 1)).await.unwrap();
        parts.push(Part { number, etag });
    }
    let refused = store.complete_multipart(&object, &id, &parts).await.unwrap_err();
    assert!(refused.to_string().contains("EntityTooSmall"), "{refused}");
    for number in [0, 10_001] {
        let refused = store.upload_part(&object, &id, number, pattern(1)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rejected(_)), "{refused}");
    }
}

#[tokio::test]
async fn parts_survive_a_restart_of_the_server() {
    let (root, server, store) = bucket().await;
    let object = incoming();
    let id = store.create_multipart(&object).await.unwrap();
    let etag = store.upload_part(&object, &id, 1, Bytes::from("kept")).await.unwrap();
    server.stop().await;

    let server = Running::start(root.path()).await;
    let store = Store::connect(&settings(server.address));
    assert_eq!(open(&store, &object).await.len(), 1);
    store.complete_multipart(&object, &id, &[Part { number: 1, etag }]).await.unwrap();
    assert_eq!(store.get(&object, 10).await.unwrap(), "kept");
}

#[tokio::test]
async fn open_uploads_come_page_by_page() {
    let (_root, _server, store) = bucket().await;
    let mut expected: Vec<String> = Vec::new();
    for _ in 0..7 {
        let object = incoming();
        store.create_multipart(&object).await.unwrap();
        expected.push(object.key());
    }
    expected.sort();
    for limit in [1, 3, 6, 7, 1000] {
        let (mut seen, mut after) = (Vec::new(), None);
        // One page more than needed would be an endless listing.
        for _ in 0..expected.len() {
            let page = store.list_multipart("incoming/", after.as_ref(), limit).await.unwrap();
            seen.extend(page.uploads.into_iter().map(|upload| upload.key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((&seen, &after), (&expected, &None), "{limit}");
    }
    assert_eq!(store.list_multipart("raw/", None, 10).await.unwrap().uploads, []);
}

#[tokio::test]
async fn the_bucket_is_walked_page_by_page() {
    for bench in benches().await {
        let store = &bench.store;
        let [object, other] = [incoming(), incoming()];
        for each in [&object, &other] {
            store.put(each, Bytes::from("12345")).await.unwrap();
        }
        let page = store.list(&object.key(), "", 10).await.unwrap();
        let [listed] = &page.objects[..] else { unreachable!("{}: {page:?}", bench.name) };
        assert_eq!((&listed.key, listed.bytes, page.next), (&object.key(), 5, None));
        let age = crate::clock::secs(crate::clock::now_micros()).abs_diff(listed.modified_secs);
        assert!(age < 60, "{}: {age} s", bench.name);
        let name = ObjectName::parse(&listed.key).unwrap();
        assert_eq!(store.head(&name).await.unwrap(), Some(5));
        assert_eq!(store.list(&object.key(), &object.key(), 10).await.unwrap().objects, []);

        // Two pages of one see both of ours, whatever else lies there.
        let mut ours = [object.key(), other.key()];
        ours.sort();
        let just_before = &ours[0][..ours[0].len() - 1];
        let first = store.list("incoming/", just_before, 1).await.unwrap();
        assert_eq!(first.next.as_ref(), Some(&first.objects[0].key), "{}", bench.name);
        assert_eq!(first.objects[0].key, ours[0], "{}", bench.name);
        store.delete(&[object, other]).await.unwrap();
        assert_eq!(store.head(&name).await.unwrap(), None, "{}", bench.name);
    }
}
