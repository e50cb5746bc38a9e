//! Guides for operators and for apps: documentation alone. They are read as plain files, too
//! (`src/guide/*.md`), and what can be pasted of them is run by the tests (`tests/it/guides.rs`,
//! `tests/it/backup.rs`, and `tests/it/import.rs` for the move from public URLs).
//!
//! A guide's links are to files, by definitions at its end. In this documentation they are links to items, which are
//! checked: of two definitions the first counts (`CommonMark`, section 4.7), and `links.txt` comes before each.

/// Guides, each of a file. The files are read when documentation is made, so that a change of one compiles nothing anew.
macro_rules! guides {
    ($($name:ident $file:literal)*) => {$(
        #[cfg_attr(doc, doc = include_str!("guide/links.txt"))]
        #[cfg_attr(doc, doc = include_str!($file))]
        #[cfg_attr(not(doc), doc = $file)]
        pub mod $name {}
    )*};
}

guides! {
    api "guide/api.md"
    backup "guide/backup.md"
    bucket "guide/bucket.md"
    edge "guide/edge.md"
    integrate "guide/integrate.md"
    keys "guide/keys.md"
    public_urls "guide/public-urls.md"
    rules "guide/rules.md"
    settings "guide/settings.md"
    sizing "guide/sizing.md"
    threats "guide/threats.md"
}
