//! The reconciliation of bucket and ledger, both ways: an object without a row is deleted once it is
//! old enough, a row without its objects is reported, and nothing is decided from one look alone.
//!
//! In the ordinary course neither comes to be, since a row is written before its objects and removed
//! after them. This is for what the order of writes cannot prevent: a ledger that was restored from
//! a backup, objects that somebody deleted, bytes that came late, a defect.
//!
//! **What must not happen** is that a wrong setting destroys what it was pointed at. So both sides are
//! looked at whole before anything is changed, and when they disagree in more than a bounded share
//! ([`crate::config::Sweep::max_disagreement_percent`]) or there are more orphans than a bounded number
//! ([`crate::config::Sweep::max_orphans`]), nothing is touched, the ledger's own sweep included: it would
//! take a wrong, empty bucket for one that was cleared, and forget the rows.
//!
//! That tells a ledger of another bucket, and an empty one. It does not tell a recent copy of the bucket's
//! own ledger, beside which the original lives on: the few objects that only the original knows are like
//! any orphans. One bucket has one ledger, and a copy must never meet it.
//!
//! **Age** is the bucket's `LastModified` against our clock. The two clocks may differ, but by no more
//! than 15 minutes, or the bucket would not answer what we sign; the least grace period is four times
//! that. It also exceeds the time that any upload may go on without a sign of progress.
//!
//! Any number of these may run, beside any number of servers, and be killed anywhere: what is deleted
//! has no row and never gets one, since keys are random and never used twice. But for variants, whose names
//! say what they are: one that is written in that very moment may be lost, and is made again.

mod merge;
mod report;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use thiserror::Error;

use self::merge::{Merge, Row, Step};
pub use self::{
    merge::OutOfOrder,
    report::{Failed, Findings, Found, KindFound, ListedObject, MissingObject, Refusal, Report, Tally},
};
use super::{Due, SweepError, Sweeper};
use crate::{
    clock,
    config::Sweep,
    db::{
        Db, DbError,
        survey::{self, KnownKey},
    },
    id::VariantName,
    store::{Kind, Listed, ObjectName, Store, StoreError},
};

/// How many objects, and how many rows, are read at once.
const PAGE: u16 = 1000;
/// How many objects that a listing lacks are asked for by name. A blob that went live between the
/// two pages explains a few; beyond this many the listing is believed.
const MAX_ASKED: u64 = 1000;
/// How many of the images that lack an object are named.
const MAX_IMAGES: usize = 10;

/// Reconciles a bucket and a ledger.
#[derive(Debug)]
pub struct Reconciler {
    db: Db,
    store: Store,
    sweeper: Sweeper,
    rules: Sweep,
    page: u16,
    compared: Arc<AtomicU64>,
}

/// What to do about what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: look, and say what would be done.
    DryRun,
    /// Mend what can be mended.
    Mend {
        /// Go on although the two sides disagree too much, or there are too many orphans, as long as
        /// they are no more than these: as many as the operator was told of.
        force: u64,
    },
}

/// Why a reconciliation stopped; it can simply be run again.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The ledger failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The bucket failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger's own sweep stopped.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A side cannot be compared.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// One look at both sides, and what to do on the way.
struct Walk<'a> {
    on: &'a Reconciler,
    /// What was written at this second or later is too young to be deleted.
    young_from_secs: u64,
    /// How many orphans may be deleted; `None` when it is only looked.
    max_deleted: Option<u64>,
    found: Found,
}

/// Where the walk through the ledger is.
struct Rows {
    /// The kinds still to come, the last one first.
    kinds: Vec<Kind>,
    after: String,
    /// Which variant of that blob.
    after_variant: String,
}

impl Reconciler {
    /// A reconciler that also sweeps, by these rules.
    pub fn new(db: Db, store: Store, sweeper: Sweeper, rules: Sweep) -> Self {
        Self { db, store, sweeper, rules, page: PAGE, compared: Arc::default() }
    }

    /// How many objects and rows were compared in the look that is being taken.
    pub fn compared(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.compared)
    }

    /// Reconciles once, at a time in microseconds since the Unix epoch. A dry run changes nothing at all.
    pub async fn run(&self, now_micros: i64, mode: Mode) -> Result<Report, ReconcileError> {
        let due = self.sweeper.due(now_micros).await?;
        let found = self.walk(now_micros, None).await?;
        let refusal = found.distrust(&self.rules);
        let dry_run = mode == Mode::DryRun;
        let report = Report { dry_run, due, swept: None, left: Due::default(), found, refusal };
        let Mode::Mend { force } = mode else { return Ok(report) };
        if refusal.is_some_and(|refusal| refusal.force() > force) {
            return Ok(report);
        }
        let swept = Some(self.sweeper.sweep(now_micros).await?);
        // Deletes no more than was seen and judged. What was swept may have taken rows with it that
        // lacked their objects.
        let orphans = Some(report.found.orphans());
        let found = if report.found.orphans() > 0 || report.found.missing() > 0 {
            self.walk(now_micros, orphans).await?
        } else {
            report.found
        };
        let left = self.sweeper.due(now_micros).await?;
        Ok(Report { dry_run, due, swept, left, found, refusal: None })
    }

    async fn walk(&self, now_micros: i64, max_deleted: Option<u64>) -> Result<Found, ReconcileError> {
        let young_from_secs = clock::secs(clock::before(now_micros, self.rules.grace_secs));
        let mut walk = Walk { on: self, young_from_secs, max_deleted, found: Found::new() };
        let (mut merge, mut rows, mut after) = (Merge::default(), Rows::new(), String::new());
        self.compared.store(0, Ordering::Relaxed);
        loop {
            let step = merge.step();
            if matches!(step, Step::Matched(..) | Step::Unknown(_) | Step::Unfound(_)) {
                self.compared.fetch_add(1, Ordering::Relaxed);
            }
            match step {
                Step::MoreObjects => {
                    // Without a prefix, so that what lies outside of ours is seen as well.
                    let page = self.store.list("", &after, self.page).await?;
                    merge.add_objects(page.objects, page.next.is_none())?;
                    after = page.next.unwrap_or_default();
                }
                Step::MoreRows => {
                    let page = rows.next_page(&self.db, self.page).await?;
                    merge.add_rows(page, rows.kinds.is_empty())?;
                }
                Step::Matched(object, row) => walk.found.of(row.name.kind).matched.add(object.bytes),
                Step::Unknown(object) => walk.unknown(object).await?,
                Step::Unfound(row) => walk.unfound(&row).await?,
                Step::End => return Ok(walk.found),
            }
        }
    }
}

impl Rows {
    fn new() -> Self {
        let mut kinds = Kind::ALL.to_vec();
        kinds.sort_by(|a, b| b.prefix().cmp(a.prefix()));
        Self { kinds, after: String::new(), after_variant: String::new() }
    }

    /// The next rows; the last, once no kinds are left.
    async fn next_page(&mut self, db: &Db, limit: u16) -> Result<Vec<Row>, DbError> {
        let Some(&kind) = self.kinds.last() else { return Ok(Vec::new()) };
        let conn = &mut db.read().await?;
        let of_kind = |KnownKey { key, live }| Row { name: ObjectName::of(kind, key), live };
        let rows: Vec<Row> = match kind {
            Kind::Raw | Kind::Original => {
                survey::blobs(conn, &self.after, limit.into()).await?.into_iter().map(of_kind).collect()
            }
            Kind::Master(rung) => {
                let known = survey::with_masters(conn, &self.after, rung as usize + 1, limit.into()).await?;
                known.into_iter().map(of_kind).collect()
            }
            Kind::Variant => {
                let after = (&*self.after, &*self.after_variant);
                let known = survey::variants(conn, after, limit.into()).await?;
                let row = |(key, name)| Row { name: ObjectName::of_variant(key, name), live: false };
                known.into_iter().map(row).collect()
            }
            Kind::Incoming => {
                survey::incoming(conn, &self.after, limit.into()).await?.into_iter().map(of_kind).collect()
            }
        };
        if rows.len() < limit.into() {
            self.kinds.pop();
            self.after.clear();
            self.after_variant.clear();
        } else if let Some(Row { name, .. }) = rows.last() {
            name.key.as_str().clone_into(&mut self.after);
            name.variant.as_ref().map_or("", VariantName::as_str).clone_into(&mut self.after_variant);
        }
        Ok(rows)
    }
}

impl Walk<'_> {
    /// An object that the ledger did not list.
    async fn unknown(&mut self, object: Listed) -> Result<(), ReconcileError> {
        let Some(name) = ObjectName::parse(&object.key) else {
            self.found.foreign.add(object.bytes);
            self.found.foreign_objects.add(object.into());
            return Ok(());
        };
        if object.modified_secs >= self.young_from_secs {
            self.found.of(name.kind).young.add(object.bytes);
            return Ok(());
        }
        if let Some(max_deleted) = self.max_deleted {
            // The very last moment: a row may have come since its page was read.
            if self.on.is_known(&name).await? {
                self.found.of(name.kind).matched.add(object.bytes);
                return Ok(());
            }
            self.delete(&name, object.bytes, max_deleted).await?;
        }
        self.found.of(name.kind).orphans.add(object.bytes);
        self.found.orphans.add(object.into());
        Ok(())
    }

    /// Deletes an orphan, or notes why not.
    async fn delete(&mut self, name: &ObjectName, bytes: u64, max_deleted: u64) -> Result<(), StoreError> {
        let error = if self.found.orphans() >= max_deleted {
            "there are more orphans now than at first sight".to_owned()
        } else {
            match self.on.store.delete(std::slice::from_ref(name)).await {
                Ok(()) => {
                    self.found.of(name.kind).deleted.add(bytes);
                    return Ok(());
                }
                // Every other object would have to wait for the same.
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => error.to_string(),
            }
        };
        self.found.failed.add(Failed { key: name.key(), error });
        Ok(())
    }

    /// A row whose object was not listed. Only of a live blob it must be there.
    async fn unfound(&mut self, Row { name, live }: &Row) -> Result<(), ReconcileError> {
        if !live {
            return Ok(());
        }
        let listed = self.found.missing_objects.has_room();
        if listed || self.found.missing() < MAX_ASKED {
            // Written since it was listed?
            if let Some(bytes) = self.on.store.head(name).await? {
                self.found.of(name.kind).matched.add(bytes);
                return Ok(());
            }
            // Live before the bucket was asked and live after: live meanwhile, for a blob that
            // leaves that state never comes back to it. So nobody but a stranger removed its object.
            let conn = &mut self.on.db.read().await?;
            let Some(owner) = survey::live_owner(conn, &name.key).await? else { return Ok(()) };
            if listed {
                let most = MAX_IMAGES + 1;
                let asked = i64::try_from(most).unwrap_or(i64::MAX);
                let mut images = survey::images_using(conn, &name.key, asked).await?;
                let more_images = images.len() == most;
                images.truncate(MAX_IMAGES);
                let missing = MissingObject { key: name.key(), owner, images, more_images };
                self.found.missing_objects.add(missing);
            }
        }
        if !listed {
            self.found.missing_objects.more += 1;
        }
        self.found.of(name.kind).missing += 1;
        Ok(())
    }
}

impl Reconciler {
    /// Whether the ledger knows of this object now.
    async fn is_known(&self, name: &ObjectName) -> Result<bool, DbError> {
        let conn = &mut self.db.read().await?;
        match name.kind {
            Kind::Raw | Kind::Original => survey::is_blob(conn, &name.key).await,
            Kind::Master(rung) => survey::has_master(conn, &name.key, rung as usize + 1).await,
            Kind::Variant => match &name.variant {
                Some(variant) => survey::is_variant(conn, &name.key, variant).await,
                None => Ok(false),
            },
            Kind::Incoming => survey::is_incoming(conn, &name.key).await,
        }
    }
}
