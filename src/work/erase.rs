//! Erasure: everything that a user left is deleted, and then looked for.
//!
//! The tombstone is set when the erasure begins, so that nobody sees anything of the user from then
//! on. The rest is a job that may be killed anywhere and run again, on any node: what is gone is gone,
//! and what is not is still found by the same queries.

use super::{SweepError, Sweeper, Swept};
use crate::{
    access::State,
    db::{blobs, chunks, erasures, erasures::ErasureRow, images, outbox, uploads},
};

/// How many rows one step takes at once.
const BATCH: i64 = 100;
/// How many blobs, and how many uploads, one run takes on; what is left waits for the next.
const MAX_ROWS: i64 = 10_000;
/// How many steps one run makes of each kind; what is left waits for the next run.
const MAX_BATCHES: usize = 1000;

impl Sweeper {
    /// Goes on with all erasures that are not done.
    pub(super) async fn erase(&self, now_micros: i64, swept: &mut Swept) -> Result<(), SweepError> {
        let running = erasures::running(&mut self.db.read().await?, BATCH).await?;
        for erasure in running {
            if let Err(error) = self.erase_user(&erasure, now_micros).await {
                swept.fail(&error);
            }
        }
        Ok(())
    }

    /// Goes on with one erasure as far as it can now. Bytes that were on their way into the bucket when
    /// the user was erased are waited for: the time of their blob, chunk or variant has to run out first.
    /// Whether it is done.
    pub async fn erase_user(&self, erasure: &ErasureRow, now_micros: i64) -> Result<bool, SweepError> {
        let user = &erasure.user;
        // What he said goes first: it is the quickest.
        let mut tx = self.db.begin().await?;
        erasures::forget_social(&mut tx, user).await?;
        tx.commit().await?;
        for _ in 0..MAX_BATCHES {
            // Read whole before the loop: a connection is not kept while others are asked for.
            let left = erasures::images_left(&mut self.db.read().await?, user, BATCH).await?;
            if left.is_empty() {
                break;
            }
            for image in left {
                let mut tx = self.db.begin().await?;
                images::erase(&mut tx, image, now_micros).await?;
                images::set_failed(&mut tx, image, State::Deleted).await?;
                tx.commit().await?;
                self.forget(image);
            }
        }
        let uploads = uploads::of_user(&mut self.db.read().await?, user, MAX_ROWS).await?;
        for upload in uploads {
            self.clear(&upload, now_micros).await?;
        }
        let keys = blobs::of_user(&mut self.db.read().await?, user, MAX_ROWS).await?;
        for key in keys {
            self.sweep_blob(&key, now_micros).await?;
        }
        let mut conn = self.db.read().await?;
        let is_left = erasures::has_blobs(&mut conn, user).await?
            || chunks::has_any(&mut conn, user).await?
            // Edges that were not told yet, or might still have been filled by an older answer.
            || outbox::left_of_user(&mut conn, user).await? > 0;
        drop(conn);
        if !is_left {
            let mut tx = self.db.begin().await?;
            erasures::finish(&mut tx, erasure.id, now_micros).await?;
            tx.commit().await?;
        }
        Ok(!is_left)
    }
}
