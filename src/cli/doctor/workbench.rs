//! What every check of the bucket works with.

use super::tools::{Asker, Litter};
use crate::{
    config::Config,
    store::{Object, Settings, Store, StoreError},
};

/// What is written.
pub(super) const BODY: &[u8] = b"pinhole doctor: may be removed";

/// What every check of the bucket needs.
#[derive(Clone, Copy)]
pub(super) struct Workbench<'a> {
    pub(super) config: &'a Config,
    pub(super) settings: &'a Settings,
    pub(super) store: &'a Store,
    pub(super) asker: &'a Asker,
    pub(super) litter: &'a Litter,
    /// The bucket's own URL, as pinhole reaches it, and as clients do.
    pub(super) urls: &'a [String; 2],
}

impl Workbench<'_> {
    /// Whether exactly these bytes lie there.
    pub(super) async fn holds(&self, object: &Object, bytes: &[u8]) -> Result<bool, StoreError> {
        match self.store.get(object, bytes.len() as u64).await {
            Ok(found) => Ok(found == bytes),
            Err(StoreError::Missing { .. } | StoreError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The bucket's URLs, each once.
    pub(super) fn endpoints(&self) -> &[String] {
        let [own, public] = self.urls;
        if own == public { &self.urls[..1] } else { self.urls }
    }
}
