//! `[rules]`: an app's own tables, where they decide who may see an image.

use serde::Deserialize;

/// `[rules]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// A statement, view or table of the app's, in the ledger's database, with a row for each image in use;
    /// [`crate::db::rules`] says which columns. Without it pinhole's own posts, avatars and followers decide.
    pub facts: Option<String>,
    /// The same with a row for each viewer of a restricted image; without it nobody but its owner sees one.
    pub allowed: Option<String>,
}
