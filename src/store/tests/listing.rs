//! Walking the bucket.

use super::{
    bench::{benches, incoming},
    *,
};

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

#[tokio::test]
async fn keys_of_any_characters_are_listed_as_they_are() {
    for bench in benches().await {
        let mut keys = vec!["odd/%41", "odd/a b+c", "odd/ü&<\"", "odd/\u{fffd}"];
        // The embedded one takes no such key.
        if bench.name == "external" {
            keys.push("odd/\u{1}\t\n");
        }
        for key in &keys {
            plant(&bench.store, key, "not ours").await;
        }
        keys.sort_unstable();
        let page = bench.store.list("odd/", "", 10).await.unwrap();
        let found: Vec<_> = page.objects.iter().map(|listed| &*listed.key).collect();
        assert_eq!(found, keys, "{}", bench.name);
        // And gone on from.
        let rest = bench.store.list("odd/", keys[1], 10).await.unwrap();
        assert_eq!(rest.objects.len(), keys.len() - 2, "{}", bench.name);
    }
}

#[tokio::test]
async fn a_bucket_is_in_use_once_it_holds_what_is_ours_and_keeps_no_versions() {
    for bench in benches().await {
        let store = &bench.store;
        plant(store, "raw/notes.txt", "not ours").await;
        assert!(!store.is_in_use().await.unwrap(), "{}", bench.name);
        store.put(&original(), Bytes::from_static(b"abc")).await.unwrap();
        assert!(store.is_in_use().await.unwrap(), "{}", bench.name);
        assert!(!store.keeps_versions().await.unwrap(), "{}", bench.name);
    }
}
