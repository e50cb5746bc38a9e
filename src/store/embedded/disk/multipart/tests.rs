//! Uploads in parts: durable, ended once, and their object whole or absent.

use std::path::Path;

use super::*;

const B: &str = "photos";
const K: &str = "incoming/x";

fn folder() -> (TempDir, Disk) {
    let root = TempDir::new().unwrap();
    let disk = Disk::open(root.path()).unwrap();
    assert!(disk.create_bucket(B).unwrap());
    (root, disk)
}

fn begin(disk: &Disk) -> UploadId {
    let attributes = Attributes { content_type: Some("image/png".into()), ..Attributes::default() };
    disk.create_upload(B, K, attributes).unwrap()
}

fn part(disk: &Disk, id: UploadId, number: u16, body: &[u8]) -> Chosen {
    let declared = Declared { length: body.len() as u64, ..Declared::default() };
    let mut part = disk.begin_part(B, K, id, number, declared).unwrap();
    part.write(body).unwrap();
    (number, part.publish(Overwrite::Allow, |_| None).unwrap().etag)
}

fn complete(disk: &Disk, id: UploadId, parts: &[Chosen]) -> Result<Record, DiskError> {
    disk.complete_upload(B, K, id, parts, 0, Overwrite::Allow)
}

fn get(disk: &Disk) -> Option<Vec<u8>> {
    let stored = match disk.open_object(B, K) {
        Err(DiskError::NoObject) => return None,
        stored => stored.unwrap(),
    };
    let mut body = Vec::new();
    stored.file.take(stored.record.size).read_to_end(&mut body).unwrap();
    Some(body)
}

fn open_ids(disk: &Disk) -> Vec<UploadId> {
    let (uploads, more) = disk.list_uploads(B, "", &Default::default(), 100).unwrap();
    assert!(!more);
    uploads.into_iter().map(|upload| upload.id).collect()
}

fn files_under(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_under(&path) } else { 1 }).sum()
}

#[test]
fn parts_become_one_object_in_the_order_of_their_numbers() {
    let (root, disk) = folder();
    let id = begin(&disk);
    let third = part(&disk, id, 10_000, b"ghi");
    let first = part(&disk, id, 1, b"abc");
    part(&disk, id, 2, b"wrong, and sent again");
    let second = part(&disk, id, 2, b"def");
    part(&disk, id, 7, b"never chosen");
    assert_eq!(get(&disk), None);
    let record = complete(&disk, id, &[first, second, third]).unwrap();
    assert_eq!(get(&disk).unwrap(), b"abcdefghi");
    // MD5 of the three MD5s, computed elsewhere.
    assert_eq!(record.etag, "4421950f664d810f0438efcb9ad4f592-3");
    assert_eq!(record.attributes.content_type.as_deref(), Some("image/png"));
    assert_eq!(open_ids(&disk), []);
    assert_eq!(files_under(&root.path().join("uploads")) + files_under(&root.path().join("tmp")), 0);
}

#[test]
fn what_was_not_sent_so_is_refused_and_the_upload_goes_on() {
    let (_root, disk) = folder();
    let id = begin(&disk);
    let (first, second) = (part(&disk, id, 1, b"abc"), part(&disk, id, 2, b"def"));
    let outdated = part(&disk, id, 3, b"old");
    let third = part(&disk, id, 3, b"new");
    let refused = |parts: &[Chosen]| complete(&disk, id, parts).unwrap_err();
    assert!(matches!(refused(&[first.clone(), (4, third.1.clone())]), DiskError::NoPart));
    assert!(matches!(refused(&[first.clone(), outdated]), DiskError::NoPart));
    assert!(matches!(refused(&[second.clone(), first.clone()]), DiskError::PartOrder));
    assert!(matches!(refused(&[first.clone(), first.clone()]), DiskError::PartOrder));
    let parts = [first, second, third];
    let small = disk.complete_upload(B, K, id, &parts, 4, Overwrite::Allow);
    assert!(matches!(small, Err(DiskError::PartTooSmall)));
    assert_eq!(get(&disk), None);
    complete(&disk, id, &parts).unwrap();
    assert_eq!(get(&disk).unwrap(), b"abcdefnew");
}

#[test]
fn an_aborted_upload_leaves_nothing_and_takes_nothing() {
    let (root, disk) = folder();
    let id = begin(&disk);
    let sent = part(&disk, id, 1, b"abc");
    let mut late = disk.begin_part(B, K, id, 2, Declared { length: 3, ..Declared::default() }).unwrap();
    late.write(b"def").unwrap();
    disk.abort_upload(B, K, id).unwrap();
    let late = late.publish(Overwrite::Allow, |_| None);
    assert!(matches!(late, Err(DiskError::NoUpload)), "{late:?}");
    assert!(matches!(complete(&disk, id, &[sent]), Err(DiskError::NoUpload)));
    assert!(matches!(disk.abort_upload(B, K, id), Err(DiskError::NoUpload)));
    assert!(matches!(disk.begin_part(B, K, id, 1, Declared::default()), Err(DiskError::NoUpload)));
    assert_eq!((get(&disk), open_ids(&disk)), (None, vec![]));
    assert_eq!(files_under(&root.path().join("uploads")) + files_under(&root.path().join("tmp")), 0);
}

#[test]
fn an_abort_beats_a_completion_that_has_not_published() {
    let (_root, disk) = folder();
    let id = begin(&disk);
    let sent = part(&disk, id, 1, b"abc");
    // Whatever order the two take, the client is never told of an abort whose object then appears.
    for _ in 0..20 {
        let id = begin(&disk);
        let sent = part(&disk, id, 1, b"abc");
        let (completed, aborted) = std::thread::scope(|scope| {
            let completing = scope.spawn(|| complete(&disk, id, &[sent]));
            let aborting = scope.spawn(|| disk.abort_upload(B, K, id));
            (completing.join().unwrap(), aborting.join().unwrap())
        });
        assert_ne!(completed.is_ok(), aborted.is_ok(), "{completed:?} {aborted:?}");
        assert_eq!(get(&disk).is_some(), completed.is_ok());
        disk.remove(B, K).unwrap();
    }
    complete(&disk, id, &[sent]).unwrap();
}

#[test]
fn a_completion_killed_before_it_published_leaves_the_parts() {
    let (root, disk) = folder();
    let id = begin(&disk);
    let parts = [part(&disk, id, 1, b"abc"), part(&disk, id, 2, b"def")];
    let (folder, manifest) = disk.upload(B, K, id).unwrap();
    let whole = disk.assemble(B, &folder, manifest, &parts, 0).unwrap();
    // What kill -9 leaves: the file, and nobody to remove it.
    whole.file.keep().unwrap();
    drop(disk);

    let disk = Disk::open(root.path()).unwrap();
    assert_eq!((get(&disk), open_ids(&disk)), (None, vec![id]));
    assert_eq!(files_under(&root.path().join("tmp")), 0);
    complete(&disk, id, &parts).unwrap();
    assert_eq!(get(&disk).unwrap(), b"abcdef");
}

#[test]
fn a_completion_killed_after_it_published_can_be_repeated_or_aborted() {
    for repeat in [true, false] {
        let (root, disk) = folder();
        let id = begin(&disk);
        let parts = [part(&disk, id, 1, b"abc")];
        let (folder, manifest) = disk.upload(B, K, id).unwrap();
        let whole = disk.assemble(B, &folder, manifest, &parts, 0).unwrap();
        whole.place(Overwrite::Allow).unwrap();
        drop(disk);

        let disk = Disk::open(root.path()).unwrap();
        assert_eq!((get(&disk).unwrap(), open_ids(&disk)), (b"abc".to_vec(), vec![id]));
        if repeat {
            complete(&disk, id, &parts).unwrap();
        } else {
            disk.abort_upload(B, K, id).unwrap();
        }
        assert_eq!((get(&disk).unwrap(), open_ids(&disk)), (b"abc".to_vec(), vec![]));
    }
}

#[test]
fn open_uploads_are_listed_by_key_and_age_page_by_page() {
    let (_root, disk) = folder();
    let mut all: Vec<_> = ["b", "a", "b", "c", "a/b"]
        .map(|key| (key.to_owned(), disk.create_upload(B, key, Attributes::default()).unwrap()))
        .into();
    all.sort();
    for page in 1..=all.len() {
        let (mut seen, mut after) = (vec![], Default::default());
        loop {
            let (uploads, more) = disk.list_uploads(B, "", &after, page).unwrap();
            seen.extend(uploads.into_iter().map(|upload| (upload.key, upload.id)));
            if !more {
                break;
            }
            let (key, id) = seen.last().unwrap().clone();
            after = (key, Some(id));
        }
        assert_eq!(seen, all, "{page}");
    }
    let (prefixed, _) = disk.list_uploads(B, "a", &("a".to_owned(), None), 10).unwrap();
    assert_eq!(prefixed.into_iter().map(|upload| upload.key).collect::<Vec<_>>(), ["a/b"]);
}

#[test]
fn an_upload_belongs_to_its_key_and_bucket() {
    let (_root, disk) = folder();
    assert!(disk.create_bucket("other-bucket").unwrap());
    let id = begin(&disk);
    for (bucket, key) in [("other-bucket", K), (B, "incoming/y")] {
        assert!(matches!(disk.abort_upload(bucket, key, id), Err(DiskError::NoUpload)), "{bucket} {key}");
    }
    for text in ["", "..", "../x", &id.text().to_uppercase(), &Uuid::now_v7().to_string()] {
        assert!(matches!(UploadId::parse(text), Err(DiskError::NoUpload)), "{text}");
    }
    assert!(matches!(disk.create_upload("no-bucket", K, Attributes::default()), Err(DiskError::NoBucket)));
    assert_eq!(UploadId::parse(&id.text()).unwrap(), id);
}
