//! Guides for operators and for apps: documentation alone. They are read as plain files, too
//! (`src/guide/*.md`), and what can be pasted of them is run by the tests (`tests/it/guides.rs`).
//!
//! A guide's links are to files, at its end; here they become links to items, by definitions that come before.

/// A guide: its file, in front of it what its links mean here.
macro_rules! guides {
    ($($name:ident $file:literal)*) => {$(
        #[doc = include_str!("guide/links.txt")]
        #[doc = include_str!($file)]
        pub mod $name {}
    )*};
}

guides! {
    api "guide/api.md"
    backup "guide/backup.md"
    edge "guide/edge.md"
    integrate "guide/integrate.md"
    rules "guide/rules.md"
    settings "guide/settings.md"
    sizing "guide/sizing.md"
}
