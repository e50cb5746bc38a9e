//! Situations, each as it is found and as it is left, on a real ledger and a real bucket.

use std::{any::Any, collections::BTreeSet};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    db::{
        blobs::{self, NewBlob},
        chunks::{self, Chunk},
        images,
        uploads::{self, Landing, Method, Promised, UploadRow},
        users,
    },
    id::{BlobKey, ImageId, UserId},
    render::Format,
    store::{
        Object,
        tests::{bench::benches, bucket, plant},
    },
};

const DAY_SECS: u64 = 24 * 60 * 60;
const MEND: Mode = Mode::Mend { force: 0 };
/// Pages so small that every walk turns several.
const SMALL_PAGE: u16 = 2;

/// A ledger and a bucket, to be reconciled as they will be in two days, when all of it is old.
struct Bench {
    /// What keeps ledger and bucket there.
    _kept: (TempDir, Box<dyn Any>),
    reconciler: Reconciler,
    /// The time at which everything was written.
    now: i64,
    /// Two days later.
    later: i64,
}

/// Which of a blob's objects are there.
#[derive(Clone, Copy)]
enum Has {
    Both,
    RawAlone,
    OriginalAlone,
    Nothing,
}

impl Bench {
    /// On the embedded bucket.
    async fn new() -> Self {
        let (folder, server, store) = bucket().await;
        Self::on(store, (folder, server)).await
    }

    /// On every bucket at hand.
    async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for bench in benches().await {
            all.push(Self::on(bench.store.clone(), bench).await);
        }
        all
    }

    async fn on(store: Store, kept: impl Any) -> Self {
        let ledger_folder = TempDir::new().unwrap();
        let db = Db::open_sqlite(&ledger_folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let sweeper = Sweeper::new(db.clone(), store.clone(), None);
        // Few things are in these buckets, so that one more or less is a large share.
        let rules = Sweep { grace_secs: DAY_SECS, max_disagreement_percent: 100 };
        let mut reconciler = Reconciler::new(db, store, sweeper, rules);
        reconciler.page = SMALL_PAGE;
        let now = clock::now_micros();
        let later = clock::after(now, 2 * DAY_SECS);
        Self { _kept: (ledger_folder, Box::new(kept)), reconciler, now, later }
    }

    /// The same, distrusting as by default.
    async fn distrustful() -> Self {
        let mut bench = Self::new().await;
        bench.reconciler.rules = Sweep::default();
        bench
    }

    /// A blob that is being written until long after [`Self::later`], and those of its objects.
    async fn writing(&self, owner: &UserId, has: Has) -> BlobKey {
        self.writing_until(owner, has, clock::after(self.later, DAY_SECS)).await
    }

    async fn writing_until(&self, owner: &UserId, has: Has, deadline: i64) -> BlobKey {
        let key = BlobKey::random();
        let mut tx = self.reconciler.db.begin().await.unwrap();
        users::ensure(&mut tx, owner, self.now).await.unwrap();
        let blob = NewBlob {
            key: key.clone(),
            owner: owner.clone(),
            sha256: key.to_string(),
            format: Format::Png,
            bytes: 3,
            width: 1,
            height: 1,
            frames: 1,
        };
        blobs::announce(&mut tx, &blob, self.now, deadline).await.unwrap();
        tx.commit().await.unwrap();
        let [raw, original] = Object::all_of(&key, "image/png");
        let objects = match has {
            Has::Both => vec![raw, original],
            Has::RawAlone => vec![raw],
            Has::OriginalAlone => vec![original],
            Has::Nothing => vec![],
        };
        for object in objects {
            self.reconciler.store.put(&object, Bytes::from_static(b"abc")).await.unwrap();
        }
        key
    }

    /// A live blob with an image that uses it until long after [`Self::later`].
    async fn live(&self, owner: &UserId, has: Has) -> (BlobKey, ImageId) {
        let (key, image) = (self.writing(owner, has).await, ImageId::new());
        let mut tx = self.reconciler.db.begin().await.unwrap();
        blobs::put_into_use(&mut tx, &key).await.unwrap().unwrap();
        let deadline = clock::after(self.later, DAY_SECS);
        images::insert_ready(&mut tx, image, owner, &key, None, self.now, deadline).await.unwrap();
        tx.commit().await.unwrap();
        (key, image)
    }

    /// A blob that was released, whose objects are not all deleted yet.
    async fn dying(&self, owner: &UserId, has: Has) -> BlobKey {
        let key = self.writing_until(owner, has, self.now).await;
        let mut tx = self.reconciler.db.begin().await.unwrap();
        blobs::release(&mut tx, &key, self.now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        key
    }

    /// An upload that may still come, and what has landed of it.
    async fn upload(&self, owner: &UserId, landed: bool) -> BlobKey {
        let key = BlobKey::random();
        let promised = Promised { key: key.clone(), format: Format::Png, sha256: None };
        self.reserve(owner, Method::Put, Landing::Incoming(promised)).await;
        if landed {
            self.plant(Kind::Incoming, &key).await;
        }
        key
    }

    /// A resumable upload that may still go on, with a piece that is being written, and has come if it
    /// `landed`.
    async fn chunk(&self, owner: &UserId, landed: bool) -> BlobKey {
        let image = self.reserve(owner, Method::Tus, Landing::Chunks { received: 0, metadata: None }).await;
        let chunk = Chunk { key: BlobKey::random(), image, first_byte: 0, bytes: 3 };
        let deadline = clock::after(self.later, DAY_SECS);
        let mut tx = self.reconciler.db.begin().await.unwrap();
        assert!(chunks::announce(&mut tx, &chunk, self.now, deadline).await.unwrap());
        if landed {
            assert!(chunks::land(&mut tx, &chunk, self.now, deadline).await.unwrap());
        }
        tx.commit().await.unwrap();
        self.plant(Kind::Incoming, &chunk.key).await;
        chunk.key
    }

    async fn reserve(&self, owner: &UserId, method: Method, landing: Landing) -> ImageId {
        let deadline = clock::after(self.later, DAY_SECS);
        let upload = UploadRow {
            image: ImageId::new(),
            owner: owner.clone(),
            method,
            bytes: 9,
            granted_until_micros: deadline,
            landing,
        };
        let mut tx = self.reconciler.db.begin().await.unwrap();
        users::ensure(&mut tx, owner, self.now).await.unwrap();
        images::reserve(&mut tx, upload.image, owner, None, self.now, deadline).await.unwrap();
        uploads::insert(&mut tx, &upload).await.unwrap();
        tx.commit().await.unwrap();
        upload.image
    }

    async fn plant(&self, kind: Kind, key: &BlobKey) -> String {
        let key = full(kind, key);
        plant(&self.reconciler.store, &key, "abc").await;
        key
    }

    /// An object of each kind that no row knows.
    async fn orphans(&self) -> BTreeSet<String> {
        let mut orphans = BTreeSet::new();
        for kind in Kind::ALL {
            orphans.insert(self.plant(kind, &BlobKey::random()).await);
        }
        orphans
    }

    async fn objects(&self) -> BTreeSet<String> {
        let page = self.reconciler.store.list("", "", 1000).await.unwrap();
        page.objects.into_iter().map(|object| object.key).collect()
    }

    /// Everything of the ledger that a sweep might change.
    async fn rows(&self) -> Vec<(String, Option<i64>)> {
        let Db::Sqlite { read, .. } = &self.reconciler.db else { unreachable!("a SQLite ledger") };
        let sql =
            "SELECT key || state, deadline FROM blobs UNION ALL SELECT id || state, deadline FROM images
                   UNION ALL SELECT image_id, granted_until FROM uploads
                   UNION ALL SELECT key || state, deadline FROM upload_chunks ORDER BY 1";
        sqlx::query_as(sql).fetch_all(read).await.unwrap()
    }

    async fn reconcile(&self, mode: Mode) -> Report {
        self.reconciler.run(self.later, mode).await.unwrap()
    }

    fn walk(&self) -> Walk<'_> {
        Walk { on: &self.reconciler, young_from_secs: u64::MAX, max_deleted: Some(100), found: Found::new() }
    }
}

fn full(kind: Kind, key: &BlobKey) -> String {
    ObjectName { kind, key: key.clone() }.key()
}

fn keys(findings: &Findings<ListedObject>) -> BTreeSet<String> {
    findings.listed.iter().map(|object| object.key.clone()).collect()
}

fn alice() -> UserId {
    UserId::parse("alice").unwrap()
}

fn bob() -> UserId {
    UserId::parse("bob").unwrap()
}

fn tally(objects: u64) -> Tally {
    Tally { objects, bytes: 3 * objects }
}

#[tokio::test]
async fn what_has_its_row_is_left_and_what_has_none_goes_when_it_is_old() {
    for bench in Bench::all().await {
        bench.live(&alice(), Has::Both).await;
        bench.live(&bob(), Has::Both).await;
        for has in [Has::Both, Has::RawAlone, Has::Nothing] {
            bench.writing(&alice(), has).await;
        }
        bench.upload(&alice(), true).await;
        bench.upload(&alice(), false).await;
        bench.chunk(&alice(), true).await;
        bench.chunk(&alice(), false).await;
        let kept = bench.objects().await;
        let orphans = bench.orphans().await;
        let rows = bench.rows().await;

        // Within the grace period nothing happens.
        let young = bench.reconciler.run(bench.now, MEND).await.unwrap();
        assert!(young.is_clean(), "{young:?}");
        assert_eq!(young.found.kinds.iter().map(|kind| kind.young).collect::<Vec<_>>(), [tally(1); 3]);
        assert_eq!(bench.objects().await, &kept | &orphans);

        let report = bench.reconcile(MEND).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(keys(&report.found.orphans), orphans);
        for (kind, matched) in report.found.kinds.iter().zip([4, 3, 3]) {
            assert_eq!(
                (kind.matched, kind.deleted, kind.young),
                (tally(matched), tally(1), tally(0)),
                "{kind:?}"
            );
        }
        assert_eq!(bench.objects().await, kept);
        assert_eq!(bench.rows().await, rows);

        let again = bench.reconcile(MEND).await;
        assert!(again.is_clean() && again.found.orphans.is_empty(), "{again:?}");
    }
}

#[tokio::test]
async fn after_one_sweep_nothing_is_without_its_other_half() {
    let bench = Bench::new().await;
    for has in [Has::Both, Has::RawAlone, Has::Nothing] {
        bench.dying(&alice(), has).await;
        bench.writing_until(&alice(), has, bench.now).await;
    }
    bench.orphans().await;
    let report = bench.reconcile(MEND).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.due.blobs, report.swept.unwrap().removed_blobs), (6, 6));
    assert_eq!((bench.objects().await.len(), bench.rows().await.len()), (0, 0));
}

#[tokio::test]
async fn what_is_not_pinholes_is_reported_and_never_touched() {
    for bench in Bench::all().await {
        let key = BlobKey::random();
        let foreign =
            ["notes.txt", "raw/x", "raw/", "zz", &format!("variants/{key}"), &format!("raw/{key}.bak")]
                .map(str::to_owned);
        for key in &foreign {
            plant(&bench.reconciler.store, key, "abc").await;
        }
        let orphans = bench.orphans().await;
        let report = bench.reconcile(MEND).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.found.foreign, tally(foreign.len() as u64));
        assert_eq!(keys(&report.found.foreign_objects), BTreeSet::from(foreign.clone()));
        assert_eq!(keys(&report.found.orphans), orphans);
        assert_eq!(bench.objects().await, BTreeSet::from(foreign));
    }
}

#[tokio::test]
async fn a_lost_object_is_reported_with_whose_it_was_and_nothing_is_deleted_for_it() {
    for bench in Bench::all().await {
        let (no_raw, image) = bench.live(&alice(), Has::OriginalAlone).await;
        let (no_original, of_bob) = bench.live(&bob(), Has::RawAlone).await;
        let (rows, objects) = (bench.rows().await, bench.objects().await);
        for mode in [Mode::DryRun, MEND] {
            let report = bench.reconcile(mode).await;
            assert!(!report.is_clean());
            let missing = |kind, key, owner, image| MissingObject {
                key: full(kind, key),
                owner,
                images: vec![image],
                more_images: false,
            };
            let expected = [
                missing(Kind::Original, &no_original, bob(), of_bob),
                missing(Kind::Raw, &no_raw, alice(), image),
            ];
            assert_eq!(report.found.missing_objects.listed, expected);
            assert_eq!(report.found.kinds.iter().map(|kind| kind.missing).collect::<Vec<_>>(), [1, 1, 0]);
            assert_eq!((bench.rows().await, bench.objects().await), (rows.clone(), objects.clone()));
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_changes_nothing() {
    let bench = Bench::new().await;
    bench.live(&alice(), Has::Both).await;
    bench.dying(&alice(), Has::Both).await;
    let orphans = bench.orphans().await;
    let (rows, objects) = (bench.rows().await, bench.objects().await);

    let report = bench.reconcile(Mode::DryRun).await;
    assert_eq!((report.swept, report.due.blobs), (None, 1));
    assert_eq!(keys(&report.found.orphans), orphans);
    assert!(report.found.kinds.iter().all(|kind| kind.deleted == tally(0)), "{report:?}");
    assert_eq!((bench.rows().await, bench.objects().await), (rows.clone(), objects.clone()));

    // So there was something to change.
    bench.reconcile(MEND).await;
    assert_ne!(bench.rows().await, rows);
    assert_ne!(bench.objects().await, objects);
}

#[tokio::test]
async fn an_empty_bucket_leaves_the_whole_ledger_as_it_is() {
    let bench = Bench::distrustful().await;
    for _ in 0..30 {
        bench.live(&alice(), Has::Nothing).await;
    }
    bench.dying(&alice(), Has::Nothing).await;
    let rows = bench.rows().await;
    let report = bench.reconcile(MEND).await;
    assert!(!report.is_clean());
    assert_eq!(report.refusal, Some(Refusal { disagreements: 60, compared: 60, max_percent: 10 }));
    assert_eq!(report.found.missing_objects.listed.len(), 50);
    assert_eq!((report.found.missing_objects.more, report.found.missing()), (10, 60));
    assert_eq!((report.swept, bench.rows().await), (None, rows));
}

#[tokio::test]
async fn another_ledger_than_the_buckets_deletes_nothing_unless_told_how_much() {
    for ledger_has_rows in [false, true] {
        let bench = Bench::distrustful().await;
        let orphans = bench.orphans().await;
        let mut disagreements = 3;
        if ledger_has_rows {
            // Of another bucket.
            bench.live(&alice(), Has::Nothing).await;
            disagreements += 2;
        }
        for (now, force) in [(bench.now, 0), (bench.later, 0), (bench.later, disagreements - 1)] {
            let report = bench.reconciler.run(now, Mode::Mend { force }).await.unwrap();
            let refusal = Refusal { disagreements, compared: disagreements, max_percent: 10 };
            assert_eq!((report.refusal, report.swept), (Some(refusal), None));
            assert!(!report.is_clean());
            assert_eq!(bench.objects().await, orphans);
        }
        let report = bench.reconcile(Mode::Mend { force: disagreements }).await;
        assert_eq!((report.refusal, report.is_clean()), (None, !ledger_has_rows));
        assert_eq!(bench.objects().await, BTreeSet::new());
    }
}

#[tokio::test]
async fn a_tenth_may_disagree_and_no_more() {
    let bench = Bench::distrustful().await;
    for _ in 0..5 {
        bench.live(&alice(), Has::Both).await;
    }
    bench.plant(Kind::Raw, &BlobKey::random()).await;
    let kept = bench.objects().await.len() - 1;
    assert_eq!(bench.reconcile(MEND).await.refusal, None);
    assert_eq!(bench.objects().await.len(), kept);
    bench.plant(Kind::Raw, &BlobKey::random()).await;
    bench.plant(Kind::Incoming, &BlobKey::random()).await;
    let refusal = Refusal { disagreements: 2, compared: 12, max_percent: 10 };
    assert_eq!(bench.reconcile(MEND).await.refusal, Some(refusal));
    assert_eq!(bench.objects().await.len(), kept + 2);
}

#[tokio::test]
async fn a_row_that_came_since_its_page_was_read_saves_its_object() {
    let bench = Bench::new().await;
    let of_blob = bench.writing(&alice(), Has::Both).await;
    let of_upload = bench.upload(&alice(), true).await;
    let of_chunk = bench.chunk(&alice(), false).await;
    let nobodys = BlobKey::random();
    bench.plant(Kind::Raw, &nobodys).await;
    // A walk that has read the rows before there were any.
    let mut walk = bench.walk();
    for object in bench.reconciler.store.list("", "", 10).await.unwrap().objects {
        walk.unknown(object).await.unwrap();
    }
    let mut kept: Vec<_> = bench.objects().await.into_iter().collect();
    kept.sort();
    let mut incoming = [full(Kind::Incoming, &of_upload), full(Kind::Incoming, &of_chunk)];
    incoming.sort();
    assert_eq!(kept[..2], incoming);
    assert_eq!(kept[2..], [full(Kind::Original, &of_blob), full(Kind::Raw, &of_blob)]);
    assert_eq!(keys(&walk.found.orphans), BTreeSet::from([full(Kind::Raw, &nobodys)]));
}

#[tokio::test]
async fn no_more_is_deleted_than_was_judged() {
    let bench = Bench::new().await;
    bench.orphans().await;
    let found = bench.reconciler.walk(bench.later, Some(1)).await.unwrap();
    assert_eq!((found.orphans(), found.failed.count()), (3, 2));
    assert_eq!(bench.objects().await.len(), 2);
}

#[tokio::test]
async fn an_object_that_came_or_went_since_its_page_was_listed_is_not_missing() {
    let bench = Bench::new().await;
    let (came, _) = bench.live(&alice(), Has::Both).await;
    let went = bench.dying(&alice(), Has::Nothing).await;
    let (lost, _) = bench.live(&bob(), Has::Nothing).await;
    // A walk that has listed the bucket before anything was there, and read the rows when all were live.
    let mut walk = bench.walk();
    for key in [came, went, lost.clone()] {
        walk.unfound(&Row { name: ObjectName { kind: Kind::Raw, key }, live: true }).await.unwrap();
    }
    let missing: Vec<_> = walk.found.missing_objects.listed.iter().map(|found| &found.key).collect();
    assert_eq!(missing, [&full(Kind::Raw, &lost)]);
}

#[tokio::test]
async fn several_at_once_do_what_one_does() {
    let bench = Bench::new().await;
    bench.live(&alice(), Has::Both).await;
    let kept = bench.objects().await;
    for _ in 0..4 {
        bench.orphans().await;
        bench.dying(&bob(), Has::Both).await;
    }
    let (a, b, c) = tokio::join!(bench.reconcile(MEND), bench.reconcile(MEND), bench.reconcile(MEND));
    for report in [a, b, c] {
        assert!(report.is_clean(), "{report:?}");
    }
    assert_eq!(bench.objects().await, kept);
    assert_eq!(bench.rows().await.len(), 2);
}

#[tokio::test]
async fn a_bucket_that_is_away_is_an_error_and_no_finding() {
    let (folder, server, store) = bucket().await;
    let bench = Bench::on(store, folder).await;
    bench.live(&alice(), Has::Both).await;
    server.stop().await;
    let error = bench.reconciler.run(bench.later, MEND).await.unwrap_err();
    assert!(matches!(error, ReconcileError::Store(StoreError::Unavailable(_))), "{error}");
}
