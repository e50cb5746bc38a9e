//! A ledger and a bucket of a test's own, and how to bring them into a situation.

use std::{any::Any, collections::BTreeSet};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    access::Contents,
    db::{
        blobs::{self, NewBlob},
        chunks::{self, Chunk},
        images,
        uploads::{self, Landing, Method, Promised, UploadRow},
        users, variants,
    },
    id::ImageId,
    render::{Format, Masters, Placeholder},
    store::{Object, tests::bench::benches},
};

/// Pages so small that every walk turns several.
const SMALL_PAGE: u16 = 2;

/// A ledger and a bucket, to be reconciled as they will be in two days, when all of it is old.
pub(super) struct Bench {
    /// What keeps ledger and bucket there.
    _kept: (TempDir, Box<dyn Any>),
    pub(super) reconciler: Reconciler,
    /// The time at which everything was written.
    pub(super) now: i64,
    /// Two days later.
    pub(super) later: i64,
}

/// Which of a blob's objects are there.
#[derive(Clone, Copy)]
pub(super) enum Has {
    Both,
    RawAlone,
    OriginalAlone,
    Nothing,
}

impl Bench {
    /// On the embedded bucket.
    pub(super) async fn new() -> Self {
        let (folder, server, store) = bucket().await;
        Self::on(store, (folder, server)).await
    }

    /// On every bucket at hand.
    pub(super) async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for bench in benches().await {
            all.push(Self::on(bench.store.clone(), bench).await);
        }
        all
    }

    pub(super) async fn on(store: Store, kept: impl Any) -> Self {
        let ledger_folder = TempDir::new().unwrap();
        let db = Db::open_sqlite(&ledger_folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let sweeper = Sweeper::new(db.clone(), store.clone(), None, 86_400);
        // Few things are in these buckets, so that one more or less is a large share.
        let rules = Sweep { grace_secs: DAY_SECS, max_disagreement_percent: 100, max_orphans: 100 };
        let mut reconciler = Reconciler::new(db, store, sweeper, rules);
        reconciler.page = SMALL_PAGE;
        let now = clock::now_micros();
        let later = clock::after(now, 2 * DAY_SECS);
        Self { _kept: (ledger_folder, Box::new(kept)), reconciler, now, later }
    }

    /// The same, distrusting as by default.
    pub(super) async fn distrustful() -> Self {
        let mut bench = Self::new().await;
        bench.reconciler.rules = Sweep::default();
        bench
    }

    /// A blob that is being written until long after [`Self::later`], and those of its objects.
    pub(super) async fn writing(&self, owner: &UserId, has: Has) -> BlobKey {
        self.writing_until(owner, has, clock::after(self.later, DAY_SECS)).await
    }

    pub(super) async fn writing_until(&self, owner: &UserId, has: Has, deadline: i64) -> BlobKey {
        let key = BlobKey::random();
        let mut tx = self.reconciler.db.begin().await.unwrap();
        users::ensure(&mut tx, owner, self.now).await.unwrap();
        let blob = NewBlob {
            key: key.clone(),
            owner: owner.clone(),
            sha256: key.to_string(),
            original: Contents { bytes: 3, sha256: [0; 32] },
            format: Format::Png,
            bytes: 3,
            width: 1,
            height: 1,
            frames: 1,
            placeholder: Placeholder { thumbhash: String::new(), dominant_color: None },
            masters: Masters::NONE,
        };
        blobs::announce(&mut tx, &blob, self.now, deadline).await.unwrap();
        tx.commit().await.unwrap();
        let [raw, original] = Object::published(&key, "image/png");
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
    pub(super) async fn live(&self, owner: &UserId, has: Has) -> (BlobKey, ImageId) {
        let (key, image) = (self.writing(owner, has).await, ImageId::new());
        let mut tx = self.reconciler.db.begin().await.unwrap();
        blobs::put_into_use(&mut tx, &key).await.unwrap().unwrap();
        let deadline = clock::after(self.later, DAY_SECS);
        images::insert_ready(&mut tx, image, owner, &key, None, self.now, deadline).await.unwrap();
        tx.commit().await.unwrap();
        (key, image)
    }

    /// A blob that was released, whose objects are not all deleted yet.
    pub(super) async fn dying(&self, owner: &UserId, has: Has) -> BlobKey {
        let key = self.writing_until(owner, has, self.now).await;
        let mut tx = self.reconciler.db.begin().await.unwrap();
        blobs::release(&mut tx, &key, self.now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        key
    }

    /// A variant of a live blob, which may have been lost.
    pub(super) async fn variant(&self, blob: &BlobKey, options: &str, in_bucket: bool) {
        let name = VariantName::of(options);
        let known = variants::Known { format: Format::Png, bytes: 3, sha256: String::new() };
        let until = clock::after(self.later, DAY_SECS);
        let mut tx = self.reconciler.db.begin().await.unwrap();
        assert!(variants::announce(&mut tx, blob, &name, &known, self.now, until).await.unwrap());
        variants::land(&mut tx, blob, &name, until, until).await.unwrap();
        tx.commit().await.unwrap();
        if in_bucket {
            let object = Object::variant(blob, &name, Format::Png);
            self.reconciler.store.put(&object, Bytes::from_static(b"abc")).await.unwrap();
        }
    }

    /// An upload that may still come, and what has landed of it.
    pub(super) async fn upload(&self, owner: &UserId, landed: bool) -> BlobKey {
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
    pub(super) async fn chunk(&self, owner: &UserId, landed: bool) -> BlobKey {
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

    pub(super) async fn reserve(&self, owner: &UserId, method: Method, landing: Landing) -> ImageId {
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

    pub(super) async fn plant(&self, kind: Kind, key: &BlobKey) -> String {
        let key = full(kind, key);
        plant(&self.reconciler.store, &key, "abc").await;
        key
    }

    /// An object of each kind that no row knows.
    pub(super) async fn orphans(&self) -> BTreeSet<String> {
        let mut orphans = BTreeSet::new();
        for kind in Kind::ALL {
            orphans.insert(self.plant(kind, &BlobKey::random()).await);
        }
        orphans
    }

    pub(super) async fn objects(&self) -> BTreeSet<String> {
        let page = self.reconciler.store.list("", "", 1000).await.unwrap();
        page.objects.into_iter().map(|object| object.key).collect()
    }

    /// Everything of the ledger that a sweep might change.
    pub(super) async fn rows(&self) -> Vec<(String, Option<i64>)> {
        let crate::db::Pools::Sqlite { read, .. } = &self.reconciler.db.pools else {
            unreachable!("a SQLite ledger")
        };
        let sql =
            "SELECT key || state, deadline FROM blobs UNION ALL SELECT id || state, deadline FROM images
                   UNION ALL SELECT image_id, granted_until FROM uploads
                   UNION ALL SELECT key || state, deadline FROM upload_chunks
                   UNION ALL SELECT blob_key || name, deadline FROM variants ORDER BY 1";
        sqlx::query_as(sql).fetch_all(read).await.unwrap()
    }

    pub(super) async fn reconcile(&self, mode: Mode) -> Report {
        self.reconciler.run(self.later, mode).await.unwrap()
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { on: &self.reconciler, young_from_secs: u64::MAX, max_deleted: Some(100), found: Found::new() }
    }
}
