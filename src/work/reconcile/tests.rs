//! Situations, each as it is found and as it is left, on a real ledger and a real bucket.

mod bench;

use std::collections::BTreeSet;

use self::bench::{Bench, Has};
use super::*;
use crate::{
    id::{BlobKey, UserId, VariantName},
    store::tests::{bucket, plant},
};

/// Masters of each rung are a kind of their own.
const KINDS: usize = Kind::ALL.len();
const DAY_SECS: u64 = 24 * 60 * 60;
const MEND: Mode = Mode::Mend { force: 0 };

fn full(kind: Kind, key: &BlobKey) -> String {
    let variant = (kind == Kind::Variant).then(|| VariantName::of("width=1"));
    ObjectName { kind, key: key.clone(), variant }.key()
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
        let (key, _) = bench.live(&alice(), Has::Both).await;
        for (options, in_bucket) in [("width=1", true), ("width=2", true), ("width=3", false)] {
            bench.variant(&key, options, in_bucket).await;
        }
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
        assert_eq!(young.found.kinds.iter().map(|kind| kind.young).collect::<Vec<_>>(), [tally(1); KINDS]);
        assert_eq!(bench.objects().await, &kept | &orphans);

        let report = bench.reconcile(MEND).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(keys(&report.found.orphans), orphans);
        for (kind, matched) in report.found.kinds.iter().zip([4, 3, 0, 0, 0, 2, 3]) {
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
            assert_eq!(
                report.found.kinds.iter().map(|kind| kind.missing).collect::<Vec<_>>(),
                [1, 1, 0, 0, 0, 0, 0]
            );
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
    assert_eq!((report.swept, report.due.blobs, report.is_clean()), (None, 1, false));
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
    assert_eq!(
        report.refusal,
        Some(Refusal::Disagreement { disagreements: 60, compared: 60, max_percent: 10 })
    );
    assert_eq!(report.found.missing_objects.listed.len(), 50);
    assert_eq!((report.found.missing_objects.more, report.found.missing()), (10, 60));
    assert_eq!((report.swept, bench.rows().await), (None, rows));
}

#[tokio::test]
async fn another_ledger_than_the_buckets_deletes_nothing_unless_told_how_much() {
    for ledger_has_rows in [false, true] {
        let bench = Bench::distrustful().await;
        let orphans = bench.orphans().await;
        let mut disagreements = u64::try_from(KINDS).unwrap();
        if ledger_has_rows {
            // Of another bucket.
            bench.live(&alice(), Has::Nothing).await;
            disagreements += 2;
        }
        for (now, force) in [(bench.now, 0), (bench.later, 0), (bench.later, disagreements - 1)] {
            let report = bench.reconciler.run(now, Mode::Mend { force }).await.unwrap();
            let refusal = Refusal::Disagreement { disagreements, compared: disagreements, max_percent: 10 };
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
    let refusal = Refusal::Disagreement { disagreements: 2, compared: 12, max_percent: 10 };
    assert_eq!(bench.reconcile(MEND).await.refusal, Some(refusal));
    assert_eq!(bench.objects().await.len(), kept + 2);
}

#[tokio::test]
async fn few_of_many_are_left_too_when_they_are_more_than_a_number() {
    // As a copy of the ledger finds what the original has written since.
    let mut bench = Bench::new().await;
    bench.reconciler.rules.max_orphans = 2;
    for _ in 0..5 {
        bench.live(&alice(), Has::Both).await;
    }
    bench.orphans().await;
    let kept = bench.objects().await;
    let refusal = Refusal::Orphans { orphans: u64::try_from(KINDS).unwrap(), max_orphans: 2 };
    for force in [0, 2] {
        let report = bench.reconcile(Mode::Mend { force }).await;
        assert_eq!((report.refusal, report.swept), (Some(refusal), None));
    }
    assert_eq!(bench.objects().await, kept);
    assert!(bench.reconcile(Mode::Mend { force: u64::try_from(KINDS).unwrap() }).await.is_clean());
    assert_eq!(bench.objects().await.len(), kept.len() - KINDS);
}

#[tokio::test]
async fn what_cannot_be_removed_keeps_nothing_else_waiting_and_is_left() {
    let bench = Bench::new().await;
    // More than a scan brings, due before the other.
    for _ in 0..101 {
        bench.writing_until(&alice(), Has::Nothing, bench.now - 1).await;
    }
    let crate::db::Pools::Sqlite { write, .. } = &bench.reconciler.db.pools else {
        unreachable!("a SQLite ledger")
    };
    sqlx::query("UPDATE blobs SET content_type = 'image/unknown'").execute(write).await.unwrap();
    bench.dying(&bob(), Has::Both).await;

    let report = bench.reconcile(MEND).await;
    let swept = report.swept.unwrap();
    assert_eq!((swept.removed_blobs, swept.failed), (1, 101));
    assert_eq!((report.due.blobs, report.left.blobs, report.is_clean()), (102, 101, false));
    assert_eq!(bench.objects().await, BTreeSet::new());
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
    assert_eq!(
        (found.orphans(), found.failed.count()),
        (u64::try_from(KINDS).unwrap(), u64::try_from(KINDS).unwrap() - 1)
    );
    assert_eq!(bench.objects().await.len(), KINDS - 1);
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
        walk.unfound(&Row { name: ObjectName::of(Kind::Raw, key), live: true }).await.unwrap();
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
