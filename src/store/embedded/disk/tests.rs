//! The data folder's promises: whole or absent, durable, ordered, one user.

use std::{fs, io::Read, path::Path, sync::Barrier};

use tempfile::TempDir;

use super::*;

const B: &str = "photos";

fn folder() -> (TempDir, Disk) {
    let root = TempDir::new().unwrap();
    let disk = Disk::open(root.path()).unwrap();
    assert!(disk.create_bucket(B).unwrap());
    (root, disk)
}

fn declared(length: usize) -> Declared {
    Declared { length: length as u64, ..Declared::default() }
}

fn begin(disk: &Disk, key: &str, declared: Declared) -> Upload {
    disk.begin(B, key, Attributes::default(), declared).unwrap()
}

fn put(disk: &Disk, key: &str, body: &[u8]) {
    let mut upload = begin(disk, key, declared(body.len()));
    upload.write(body).unwrap();
    upload.publish(Overwrite::Allow, |_| None).unwrap();
}

fn get(disk: &Disk, key: &str) -> Option<Vec<u8>> {
    let stored = match disk.open_object(B, key) {
        Err(DiskError::NoObject) => return None,
        stored => stored.unwrap(),
    };
    let mut body = Vec::new();
    let mut bounded = stored.file.take(stored.record.size);
    bounded.read_to_end(&mut body).unwrap();
    Some(body)
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn keys(page: &Page) -> Vec<&str> {
    page.records.iter().map(|r| r.key.as_str()).collect()
}

#[test]
fn an_object_comes_back_with_its_attributes() {
    let (_root, disk) = folder();
    let attributes = Attributes {
        content_type: Some("image/png".into()),
        cache_control: Some("private, no-store".into()),
        metadata: BTreeMap::from([("name".into(), "ü".into())]),
    };
    let mut upload = disk.begin(B, "k", attributes.clone(), declared(9)).unwrap();
    upload.write(b"12345").unwrap();
    upload.write(b"6789").unwrap();
    let record = upload.publish(Overwrite::Allow, |_| None).unwrap();
    assert_eq!(record.etag, "25f9e794323b453885f5181f1b624d0b");
    assert_eq!((record.size, &record.attributes), (9, &attributes));
    assert_eq!(disk.open_object(B, "k").unwrap().record, record);
    assert_eq!(get(&disk, "k").unwrap(), b"123456789");
}

#[test]
fn hostile_and_neighbouring_keys_live_side_by_side_inside() {
    let (root, disk) = folder();
    let long = "k".repeat(1024);
    let all = ["a", "A", "a/", "a/b", "a//b", "/a", "..", "../a", "../../lock", ".", "a\0", "a\\b", &long];
    for key in all {
        put(&disk, key, key.as_bytes());
    }
    for key in all {
        assert_eq!(get(&disk, key).as_deref(), Some(key.as_bytes()), "{key}");
    }
    assert_eq!(files_in(root.path()), 4, "lock, tmp, buckets and cors");
    assert_eq!(files_in(&root.path().join("buckets")), 1);
    assert_eq!(files_in(&root.path().join("buckets").join(B)), all.len());
}

#[test]
fn a_failed_upload_leaves_the_old_object_and_no_file() {
    let (root, disk) = folder();
    put(&disk, "k", b"old");

    let mut long = begin(&disk, "k", declared(3));
    assert!(matches!(long.write(b"long"), Err(DiskError::BodyLength)));
    drop(long);

    let mut short = begin(&disk, "k", declared(9));
    short.write(b"short").unwrap();
    let error = short.publish(Overwrite::Allow, |_| None).unwrap_err();
    assert!(matches!(error, DiskError::BodyLength));

    let promise = (Algorithm::Crc32, Promise::Value("AAAAAA==".into()));
    let wrong_sum = Declared { checksums: vec![promise], ..declared(3) };
    let mut wrong = begin(&disk, "k", wrong_sum);
    wrong.write(b"new").unwrap();
    let error = wrong.publish(Overwrite::Allow, |_| None).unwrap_err();
    assert!(matches!(error, DiskError::Digest("x-amz-checksum-crc32")));

    let mut abandoned = begin(&disk, "k", declared(3));
    abandoned.write(b"new").unwrap();
    assert_eq!(get(&disk, "k").unwrap(), b"old", "not visible before publish");
    assert_eq!(files_in(&root.path().join("tmp")), 1);
    drop(abandoned);

    assert_eq!(get(&disk, "k").unwrap(), b"old");
    assert_eq!(files_in(&root.path().join("tmp")), 0);
}

#[test]
fn leftovers_of_a_killed_process_go_and_objects_stay() {
    let (root, disk) = folder();
    put(&disk, "k", b"kept");
    let mut killed = begin(&disk, "half", declared(9));
    killed.write(b"half").unwrap();
    // What kill -9 leaves: the file, and nobody to remove it.
    let (_file, _path) = killed.file.keep().unwrap();
    assert_eq!(files_in(&root.path().join("tmp")), 1);
    drop(disk);

    let disk = Disk::open(root.path()).unwrap();
    assert_eq!(files_in(&root.path().join("tmp")), 0);
    assert_eq!(get(&disk, "k").unwrap(), b"kept");
    assert_eq!(get(&disk, "half"), None);
}

#[test]
fn a_folder_has_one_user_at_a_time() {
    let (root, disk) = folder();
    assert!(matches!(
        Disk::open(root.path()),
        Err(DiskError::InUse(path)) if path == root.path()
    ));
    drop(disk);
    assert!(Disk::open(root.path()).is_ok());
}

#[test]
fn readers_keep_what_they_opened() {
    let (_root, disk) = folder();
    put(&disk, "k", b"first");
    let mut opened = disk.open_object(B, "k").unwrap();
    put(&disk, "k", b"second, and longer");
    disk.remove(B, "k").unwrap();
    disk.remove(B, "k").unwrap();
    assert_eq!(get(&disk, "k"), None);
    let mut body = vec![0; 5];
    opened.file.read_exact(&mut body).unwrap();
    assert_eq!(body, b"first");
}

#[test]
fn of_simultaneous_first_writers_one_wins() {
    const WRITERS: usize = 8;
    let (_root, disk) = folder();
    let start = Barrier::new(WRITERS);
    let won = std::thread::scope(|scope| {
        let (disk, start) = (&disk, &start);
        let writers: Vec<_> = (0..WRITERS)
            .map(|i| {
                scope.spawn(move || {
                    let mut upload = begin(disk, "k", declared(1));
                    upload.write(i.to_string().as_bytes()).unwrap();
                    start.wait();
                    match upload.publish(Overwrite::Refuse, |_| None) {
                        Ok(_) => Some(i.to_string().into_bytes()),
                        Err(error) => {
                            assert!(matches!(error, DiskError::Exists), "{error}");
                            None
                        }
                    }
                })
            })
            .collect();
        let ended = writers.into_iter().map(|w| w.join().unwrap());
        ended.flatten().collect::<Vec<_>>()
    });
    assert_eq!(won, [get(&disk, "k").unwrap()]);
}

#[test]
fn lists_in_byte_order_page_by_page() {
    let (_root, disk) = folder();
    // By bytes `Z` < `a` < `ä`, and U+FFFD sorts before U+1F600, which UTF-16
    // would reverse.
    let ordered = ["Z", "a", "a/b", "a0", "b", "ä", "\u{fffd}", "\u{1f600}"];
    for key in ordered.iter().rev() {
        put(&disk, key, b"x");
    }
    let all = disk.list(B, "", "", 100).unwrap();
    assert_eq!((keys(&all), all.more), (ordered.to_vec(), false));

    let first = disk.list(B, "", "", 3).unwrap();
    assert_eq!((keys(&first), first.more), (vec!["Z", "a", "a/b"], true));
    let rest = disk.list(B, "", "a/b", 5).unwrap();
    assert_eq!((keys(&rest), rest.more), (ordered[3..].to_vec(), false));

    let prefixed = disk.list(B, "a", "a", 100).unwrap();
    assert_eq!(keys(&prefixed), ["a/b", "a0"]);
    assert!(disk.list(B, "none", "", 100).unwrap().records.is_empty());
}

#[test]
fn a_damaged_file_is_told_from_a_missing_one() {
    let (root, disk) = folder();
    put(&disk, "k", b"body");
    put(&disk, "other", b"x");
    let path = |key| {
        let bucket = root.path().join("buckets").join(B);
        bucket.join(object_name(key).unwrap())
    };

    let whole = fs::read(path("k")).unwrap();
    fs::write(path("k"), &whole[..whole.len() - 1]).unwrap();
    let error = disk.open_object(B, "k").unwrap_err();
    assert!(matches!(error, DiskError::Damaged(_)), "{error}");
    assert_eq!(keys(&disk.list(B, "", "", 10).unwrap()), ["other"]);

    fs::copy(path("other"), path("k")).unwrap();
    let error = disk.open_object(B, "k").unwrap_err();
    assert!(matches!(error, DiskError::Damaged(_)), "{error}");
}

#[test]
fn buckets_are_apart_and_must_exist() {
    let (_root, disk) = folder();
    assert!(!disk.create_bucket(B).unwrap());
    assert!(disk.create_bucket("other-bucket").unwrap());
    put(&disk, "k", b"x");
    let error = disk.open_object("other-bucket", "k").unwrap_err();
    assert!(matches!(error, DiskError::NoObject));
    let error = disk.open_object("no-bucket", "k").unwrap_err();
    assert!(matches!(error, DiskError::NoBucket));
    let error = disk.create_bucket("../escape").unwrap_err();
    assert!(matches!(error, DiskError::BucketName));
}
