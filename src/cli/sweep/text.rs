//! A reconciliation's report as a person reads it.

use std::fmt::{self, Display, Formatter};

use crate::{
    cli::say::BAD,
    clock,
    work::{
        Due,
        reconcile::{Findings, Found, KindFound, ListedObject, Report, Tally},
    },
};

/// A report, to be printed. Keys that are not ours are quoted: they may hold anything.
pub(super) struct Text<'a>(pub(super) &'a Report);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { dry_run, due, swept, left, found, .. } = self.0;
        // Nothing was deleted in a dry run, and nothing is when everything is left alone.
        let deletes = swept.is_some();
        write_due(f, "over by the ledger", due)?;
        match swept {
            Some(swept) => writeln!(
                f,
                "swept: {} images, {} unfinished uploads, {} upload places, {} upload pieces, {} variants, {} blobs, \
                 {} keys; {} failed",
                swept.expired_images,
                swept.abandoned_uploads,
                swept.cleared_uploads,
                swept.removed_chunks,
                swept.removed_variants,
                swept.removed_blobs,
                swept.forgotten_keys,
                swept.failed
            )?,
            None if *dry_run => writeln!(f, "dry run: nothing was changed")?,
            None => writeln!(f, "nothing was changed")?,
        }
        if *left != Due::default() {
            write_due(f, "left for the next sweep", left)?;
        }
        writeln!(
            f,
            "{:<12}{:>10}{:>16}{:>10}{:>16}{:>10}{:>11}{:>9}",
            "", "with row", "bytes", "orphans", "bytes", "deleted", "too young", "missing"
        )?;
        for kind in &found.kinds {
            write_kind(f, kind)?;
        }
        let Tally { objects, bytes } = found.foreign;
        writeln!(f, "not pinhole's: {objects} ({bytes} bytes)")?;
        write_findings(f, found, deletes)
    }
}

fn write_due(f: &mut Formatter<'_>, what: &str, due: &Due) -> fmt::Result {
    let Due { images, uploads, chunks, variants, blobs, keys, erasures } = due;
    writeln!(
        f,
        "{what}: {images} images, {uploads} uploads, {chunks} upload pieces, {variants} variants, \
         {blobs} blobs, {keys} keys, {erasures} erasures"
    )
}

fn write_kind(f: &mut Formatter<'_>, kind: &KindFound) -> fmt::Result {
    let KindFound { prefix, matched, orphans, deleted, young, missing } = kind;
    writeln!(
        f,
        "{prefix:<12}{:>10}{:>16}{:>10}{:>16}{:>10}{:>11}{missing:>9}",
        matched.objects, matched.bytes, orphans.objects, orphans.bytes, deleted.objects, young.objects
    )
}

fn write_findings(f: &mut Formatter<'_>, found: &Found, deletes: bool) -> fmt::Result {
    write_each(f, &found.missing_objects, |f, missing| {
        write!(f, "{BAD}MISSING{BAD:#} {} of {}", missing.key, missing.owner)?;
        let images: Vec<_> = missing.images.iter().map(ToString::to_string).collect();
        let more = if missing.more_images { ", …" } else { "" };
        if images.is_empty() {
            write!(f, ", which no image uses now")
        } else {
            write!(f, ", used by {}{more}", images.join(", "))
        }
    })?;
    write_each(f, &found.failed, |f, failed| {
        write!(f, "{BAD}FAILED{BAD:#} {}: {}", failed.key, failed.error)
    })?;
    let orphan = |f: &mut Formatter<'_>, object: &ListedObject| {
        write!(f, "{} {}", if deletes { "orphan" } else { "orphan, not deleted:" }, object.key)?;
        write_object(f, object)
    };
    write_each(f, &found.orphans, orphan)?;
    write_each(f, &found.foreign_objects, |f, object| {
        write!(f, "not pinhole's: {:?}", object.key)?;
        write_object(f, object)
    })
}

fn write_object(f: &mut Formatter<'_>, object: &ListedObject) -> fmt::Result {
    write!(f, " ({} bytes, written {})", object.bytes, clock::rfc3339(clock::after(0, object.modified_secs)))
}

fn write_each<T>(
    f: &mut Formatter<'_>,
    findings: &Findings<T>,
    write_one: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for finding in &findings.listed {
        write_one(f, finding)?;
        writeln!(f)?;
    }
    if findings.more > 0 {
        writeln!(f, "… and {} more", findings.more)?;
    }
    Ok(())
}
