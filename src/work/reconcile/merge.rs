//! The join of two ascending streams, the bucket's objects and the ledger's rows, page by page: pure.
//!
//! Neither side is ever whole in memory: the join says whose next page it needs, and in what order
//! the two are read is left to it. Both must come in the byte order of their keys, which is checked:
//! out of order, the join would take for absent what is only elsewhere.

use std::{cmp::Ordering, collections::VecDeque};

use thiserror::Error;

use crate::store::{Listed, ObjectName};

/// An object that the ledger knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: ObjectName,
    /// Whether it must be in the bucket.
    pub(super) live: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next page of objects is needed.
    MoreObjects,
    /// The next page of rows is needed.
    MoreRows,
    /// An object and its row.
    Matched(Listed, Row),
    /// An object that no row knows.
    Unknown(Listed),
    /// A row whose object is not listed.
    Unfound(Row),
    /// Both sides were seen whole.
    End,
}

/// A side is not in the byte order of its keys.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OutOfOrder {
    /// The bucket.
    #[error(
        "the bucket lists {0:?} out of order; pinhole needs a bucket that lists its keys in the order of \
         their bytes, as S3's general purpose buckets do"
    )]
    Bucket(String),
    /// The database.
    #[error(
        "the database sorts {0:?} out of order; its collation must sort hexadecimal by bytes: restore it \
         into a database with LC_COLLATE \"C\""
    )]
    Ledger(String),
}

/// The join; it begins by asking for pages.
#[derive(Debug, Default)]
pub(super) struct Merge {
    objects: Side<Listed>,
    rows: Side<(String, Row)>,
}

#[derive(Debug)]
struct Side<T> {
    waiting: VecDeque<T>,
    last_key: String,
    whole: bool,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), last_key: String::new(), whole: false }
    }
}

impl<T> Side<T> {
    fn needs_more(&self) -> bool {
        self.waiting.is_empty() && !self.whole
    }

    /// Takes one in; gives its key back when it is out of order.
    fn push(&mut self, key: String, item: T) -> Result<(), String> {
        if key <= self.last_key {
            return Err(key);
        }
        self.last_key = key;
        self.waiting.push_back(item);
        Ok(())
    }
}

impl Merge {
    /// Takes a page of objects in, and whether it is the last.
    pub(super) fn add_objects(&mut self, page: Vec<Listed>, is_last: bool) -> Result<(), OutOfOrder> {
        self.objects.whole = is_last;
        for object in page {
            self.objects.push(object.key.clone(), object).map_err(OutOfOrder::Bucket)?;
        }
        Ok(())
    }

    /// Takes a page of rows in, and whether it is the last.
    pub(super) fn add_rows(&mut self, page: Vec<Row>, is_last: bool) -> Result<(), OutOfOrder> {
        self.rows.whole = is_last;
        for row in page {
            let key = row.name.key();
            self.rows.push(key.clone(), (key, row)).map_err(OutOfOrder::Ledger)?;
        }
        Ok(())
    }

    /// Goes on. Objects are asked for first: a row is written before its object, so that rows which
    /// are read after a listing include those of all that it shows.
    pub(super) fn step(&mut self) -> Step {
        if self.objects.needs_more() {
            return Step::MoreObjects;
        }
        if self.rows.needs_more() {
            return Step::MoreRows;
        }
        match (self.objects.waiting.pop_front(), self.rows.waiting.pop_front()) {
            (None, None) => Step::End,
            (Some(object), None) => Step::Unknown(object),
            (None, Some((_, row))) => Step::Unfound(row),
            (Some(object), Some((key, row))) => match object.key.cmp(&key) {
                Ordering::Equal => Step::Matched(object, row),
                Ordering::Less => {
                    self.rows.waiting.push_front((key, row));
                    Step::Unknown(object)
                }
                Ordering::Greater => {
                    self.objects.waiting.push_front(object);
                    Step::Unfound(row)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        id::{BlobKey, VariantName},
        store::Kind,
    };

    fn name(kind: usize, n: u8) -> ObjectName {
        let (kind, key) = (Kind::ALL[kind], BlobKey::parse(&format!("{n:040x}")).unwrap());
        let variant = (kind == Kind::Variant).then(|| VariantName::of("width=1"));
        ObjectName { kind, key, variant }
    }

    fn listed(key: &str) -> Listed {
        Listed { key: key.to_owned(), bytes: 1, modified_secs: 1, etag: String::new() }
    }

    /// Keys of ours, few enough that both sides share many, and keys that are nobody's.
    fn keys() -> impl Strategy<Value = BTreeSet<String>> {
        let ours = (0..Kind::ALL.len(), 0..12u8).prop_map(|(kind, n)| name(kind, n).key());
        let foreign = prop::sample::select(vec!["a", "incoming/", "originals0", "raw", "raw/x", "zz", "ä"]);
        prop::collection::btree_set(prop_oneof![4 => ours, 1 => foreign.prop_map(str::to_owned)], 0..40)
    }

    fn page<T: Clone>(all: &[T], from: &mut usize, size: usize) -> (Vec<T>, bool) {
        let end = (*from + size).min(all.len());
        let page = all[*from..end].to_vec();
        *from = end;
        (page, end == all.len())
    }

    proptest! {
        #[test]
        fn every_key_is_classified_exactly_once(
            in_bucket in keys(),
            known in keys(),
            object_pages in prop::collection::vec(0usize..7, 1..9),
            row_pages in prop::collection::vec(0usize..7, 1..9),
        ) {
            let objects: Vec<_> = in_bucket.iter().map(|key| listed(key)).collect();
            let rows: Vec<_> = known
                .iter()
                .filter_map(|key| Some(Row { name: ObjectName::parse(key)?, live: true }))
                .collect();
            let known: BTreeSet<_> = rows.iter().map(|row| row.name.key()).collect();
            // Every so often a page is not empty, or there would be no end.
            let mut object_pages = object_pages.into_iter().chain([1]).cycle();
            let mut row_pages = row_pages.into_iter().chain([1]).cycle();
            let (mut objects_given, mut rows_given) = (0, 0);
            let (mut matched, mut unknown, mut unfound) = (Vec::new(), Vec::new(), Vec::new());
            let mut merge = Merge::default();
            loop {
                match merge.step() {
                    Step::MoreObjects => {
                        let (page, last) = page(&objects, &mut objects_given, object_pages.next().unwrap());
                        merge.add_objects(page, last).unwrap();
                    }
                    Step::MoreRows => {
                        let (page, last) = page(&rows, &mut rows_given, row_pages.next().unwrap());
                        merge.add_rows(page, last).unwrap();
                    }
                    Step::Matched(object, row) => {
                        prop_assert_eq!(&object.key, &row.name.key());
                        matched.push(object.key);
                    }
                    Step::Unknown(object) => unknown.push(object.key),
                    Step::Unfound(row) => unfound.push(row.name.key()),
                    Step::End => break,
                }
            }
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            prop_assert_eq!(matched, in_bucket.intersection(&known).cloned().collect::<Vec<_>>());
            prop_assert_eq!(unknown, only(&in_bucket, &known));
            prop_assert_eq!(unfound, only(&known, &in_bucket));
        }
    }

    #[test]
    fn a_side_out_of_order_is_refused_within_a_page_and_between_two() {
        for second in ["a", "b"] {
            let mut merge = Merge::default();
            let error = merge.add_objects(vec![listed("b"), listed(second)], true).unwrap_err();
            assert_eq!(error, OutOfOrder::Bucket(second.to_owned()));
            let mut merge = Merge::default();
            merge.add_objects(vec![listed("b")], false).unwrap();
            assert!(merge.add_objects(vec![listed(second)], true).is_err());
        }
        let row = |n| Row { name: name(0, n), live: true };
        for second in [1, 2] {
            let mut merge = Merge::default();
            merge.add_rows(vec![row(2)], false).unwrap();
            let error = merge.add_rows(vec![row(second)], true).unwrap_err();
            assert_eq!(error, OutOfOrder::Ledger(name(0, second).key()));
        }
    }
}
