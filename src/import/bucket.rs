//! What lies under a prefix of a bucket that somebody else has filled.

use http_body_util::BodyExt as _;

use super::file::{File, Finds, Found, Place, Read, ReadError, Reading, SourceError};
use crate::store::{Kind, Listed, ObjectName, Settings, Store, StoreError};

/// How many objects are listed at once.
const PAGE: u16 = 1000;

/// The objects under a prefix.
#[derive(Clone, Debug)]
pub struct Prefix {
    store: Store,
    /// What their keys begin with.
    start: String,
    name: String,
}

/// Reads `s3://bucket/prefix`: the bucket, and the prefix as a folder, with a slash at its end unless it is empty.
/// `None` for what is no such thing.
pub fn parse(url: &str) -> Option<(String, String)> {
    let (bucket, prefix) =
        url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
    let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
    (!bucket.is_empty()).then(|| (bucket.to_owned(), format!("{prefix}{slash}")))
}

/// Whether objects under a prefix of one bucket may be pinhole's own in the other: those would come in again and again.
pub fn is_own(own: &Settings, source: &Settings, prefix: &str) -> bool {
    let endpoint = |settings: &Settings| {
        settings.endpoint.as_deref().map(|url| url.trim_end_matches('/').to_lowercase())
    };
    let is_one = own.bucket == source.bucket && endpoint(own) == endpoint(source);
    is_one
        && Kind::ALL.iter().any(|kind| prefix.starts_with(kind.prefix()) || kind.prefix().starts_with(prefix))
}

impl Prefix {
    /// The objects under a prefix that [`parse`] has read.
    pub fn new(settings: &Settings, prefix: String) -> Self {
        let name = format!("s3://{}/{prefix}", settings.bucket);
        Self { store: Store::connect(settings), start: prefix, name }
    }

    /// What the ledger calls it. The endpoint is not part of it: it may move, and the objects stay what they are.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bucket.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(super) async fn walk(&self, found: &Finds) {
        let mut after = String::new();
        loop {
            let page = match self.store.list(&self.start, &after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    let _ = found.send(Err(SourceError::Bucket(self.name.clone(), error))).await;
                    return;
                }
            };
            for object in page.objects {
                if found.send(Ok(self.look(object))).await.is_err() {
                    return;
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return,
            }
        }
    }

    fn look(&self, object: Listed) -> Found {
        let path = object.key.strip_prefix(&self.start).unwrap_or(&object.key).to_owned();
        // An object with a slash at its end stands for a folder.
        if path.is_empty() || path.ends_with('/') || path.split('/').any(|name| name.starts_with('.')) {
            return Found::Passed;
        }
        if path.contains('\0') {
            return Found::Refused {
                path: path.replace('\0', "\u{fffd}"),
                why: "its key holds a NUL".to_owned(),
            };
        }
        if ObjectName::parse(&object.key).is_some() {
            return Found::Refused { path, why: "its key is one of pinhole's own".to_owned() };
        }
        Found::File(file(object, path))
    }

    /// Reads an object, if it is still the one that was listed.
    pub(super) async fn read(&self, listed: &Listed, mut reading: Reading) -> Result<Read, ReadError> {
        let failed = |error: StoreError| match error {
            StoreError::Unavailable(_)
            | StoreError::Credentials(_)
            | StoreError::NoBucket
            | StoreError::Region => ReadError::Stop(SourceError::Bucket(self.name.clone(), error)),
            StoreError::Changed { .. } => {
                ReadError::Refused("it was written to while it was read".to_owned())
            }
            StoreError::Missing { .. } => ReadError::Refused("it was deleted meanwhile".to_owned()),
            error => ReadError::Refused(format!("it cannot be read: {error}")),
        };
        let mut body = self.store.stream_listed(listed).await.map_err(failed)?;
        while let Some(frame) = body.frame().await.transpose().map_err(failed)? {
            if let Ok(bytes) = frame.into_data() {
                reading.take(&bytes).await?;
            }
        }
        reading.finish().await
    }
}

fn file(listed: Listed, path: String) -> File {
    let Listed { bytes, modified_secs, etag, .. } = &listed;
    let version =
        if etag.is_empty() { format!("{bytes} {modified_secs}") } else { format!("{bytes} {etag}") };
    File { path, bytes: listed.bytes, version, place: Place::Object(listed) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config::Secret, store::Credentials};

    #[test]
    fn a_prefix_is_a_folder() {
        let read = |url| parse(url).map(|(bucket, prefix)| format!("{bucket} {prefix}"));
        assert_eq!(read("s3://photos").as_deref(), Some("photos "));
        assert_eq!(read("s3://photos/").as_deref(), Some("photos "));
        assert_eq!(read("s3://photos/a/b").as_deref(), Some("photos a/b/"));
        assert_eq!(read("s3://photos/a/").as_deref(), Some("photos a/"));
        for bad in ["photos", "s3://", "s3:///a", "https://photos/a"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_pinholes_own_is_known_by_bucket_endpoint_and_prefix() {
        let settings = |endpoint: Option<&str>, bucket: &str| Settings {
            endpoint: endpoint.map(str::to_owned),
            public_endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: bucket.to_owned(),
            credentials: Credentials::keys("id", &Secret::default(), None),
            force_path_style: true,
            operation_timeout: Duration::from_secs(1),
        };
        let own = settings(Some("http://a:9000"), "pinhole");
        let same = settings(Some("http://A:9000/"), "pinhole");
        for prefix in ["", "raw/", "originals/old/", "masters/"] {
            assert!(is_own(&own, &same, prefix), "{prefix}");
            assert!(!is_own(&own, &settings(Some("http://a:9000"), "photos"), prefix));
            assert!(!is_own(&own, &settings(None, "pinhole"), prefix));
        }
        assert!(!is_own(&own, &same, "legacy/"));
    }
}
